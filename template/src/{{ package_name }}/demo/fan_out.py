"""Shows the fan-out: many waits, a few at a time."""

import asyncio
import time

from ..fan_out import fan_out


async def show() -> None:
    """Wait 12 times 50 ms, four at a time, and print the time."""

    async def wait(number: int) -> int:
        await asyncio.sleep(0.05)
        return number

    start = time.perf_counter()
    numbers = await fan_out(wait, range(12), limit=4)
    took = time.perf_counter() - start
    print(f"12 waits of 50 ms, 4 at a time, took {took * 1000:.0f} ms")
    print(f"results in the order asked: {numbers}")
