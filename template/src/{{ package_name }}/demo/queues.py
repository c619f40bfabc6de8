"""Shows the queues: limits, progress, shared state, offloading."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from pathlib import Path

import rich
from rich.table import Table

from ..queues import (
    AsyncCache,
    AsyncTaskQueue,
    BackgroundProcessor,
    ProcessPool,
    QueueProcessor,
    SafeCounter,
    ThreadPool,
    file_digest,
)
from .folders import temporary_folder

ROUNDS = 3
WAITS = 20
WAIT_SECONDS = 0.005
COMPUTATIONS = 4
COMPUTED_FACTORIAL = 12_000


async def show() -> None:
    """Run tasks in every way there is, and print what happens."""
    await _show_task_queue()
    await _show_background()
    await _show_producers_and_consumers()
    await _show_shared_state()
    await _show_offloading()
    await _show_comparison()


async def _work(number: int) -> int:
    await asyncio.sleep(0.02)
    if number == 3:
        raise ValueError("3 is not allowed")
    return 10 * number


async def _show_task_queue() -> None:
    queue = AsyncTaskQueue(max_concurrent=3)
    numbers = range(1, 6)
    tasks = [(f"task {n}", partial(_work, n)) for n in numbers]
    for result in await queue.process_all(tasks):
        outcome = result.result if result.succeeded else result.error
        took = result.duration * 1000
        print(f"{result.task_id}: {outcome!r} after {took:.0f} ms")

    many = ((f"task {number}", _nothing) for number in range(1000))
    count = 0
    async for _ in queue.stream(many):
        count += 1
    print(f"streamed {count} results of an iterator, and kept none")


async def _nothing() -> None:
    pass


async def _show_background() -> None:
    async with BackgroundProcessor(_work) as processor:
        processor.start_processing(range(4, 12))
        await asyncio.sleep(0.03)
        print(f"in the background: {processor.progress}")
        await processor.wait_for_completion()
        print(f"when complete: {processor.progress}")


async def _show_producers_and_consumers() -> None:
    processor = QueueProcessor(_work, consumers=4, queue_size=2)
    results = await processor.process_all(range(10, 15), range(20, 25))
    print(f"2 producers, 4 consumers: {sorted(results)}")


async def _show_shared_state() -> None:
    async def save(_: int) -> None:
        await asyncio.sleep(0)

    counter = SafeCounter(save=save)
    await asyncio.gather(*[counter.increment() for _ in range(100)])
    print(f"100 concurrent increments count to {counter.value}")

    loaded: list[int] = []

    async def load(key: int) -> int:
        loaded.append(key)
        return await _work(key)

    cache = AsyncCache(load)
    await asyncio.gather(*[cache.get(7) for _ in range(100)])
    print(f"100 concurrent misses of a key loaded {len(loaded)} time")


async def _show_offloading() -> None:
    async with temporary_folder() as folder:
        files = [folder / f"file {number}" for number in (1, 2, 3)]
        async with ThreadPool() as threads:
            written = threads.as_completed(_write, files)
            async for file, size in written:
                print(f"a thread wrote {size} bytes to {file.name}")
        print(f"its digest: {await file_digest(files[0])}")


def _write(file: Path) -> int:
    return file.write_bytes(bytes(100_000))


async def _show_comparison() -> None:
    """Print how long the same work takes in each way.

    The processes are started before, for they are made to be kept.
    """
    ways = ["in turn", "asyncio", "20 threads", "2 processes"]
    table = Table("work", *ways)
    async with ThreadPool(20) as threads, ProcessPool(2) as processes:
        await _consume(processes.as_completed(_compute, [1, 2]))
        table.add_row(
            f"{WAITS} waits",
            *await _compare(
                partial(_in_turn, _wait, WAITS),
                partial(_at_once, _wait, WAITS),
                partial(_offload, threads, _block, WAITS),
                partial(_offload, processes, _block, WAITS),
            ),
        )
        table.add_row(
            f"{COMPUTATIONS} factorials",
            *await _compare(
                partial(_in_turn, _compute_here, COMPUTATIONS),
                partial(_at_once, _compute_here, COMPUTATIONS),
                partial(_offload, threads, _compute, COMPUTATIONS),
                partial(_offload, processes, _compute, COMPUTATIONS),
            ),
        )
    print("seconds for the same work, and times as fast as in turn:")
    rich.get_console().print(table)


async def _compare(*ways: Callable[[], Awaitable[None]]) -> list[str]:
    in_turn, *others = [await _best_time(way) for way in ways]
    cells = [f"{in_turn:.3f}"]
    for took in others:
        cells.append(f"{took:.3f} ({in_turn / took:.1f}x)")
    return cells


async def _best_time(way: Callable[[], Awaitable[None]]) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        await way()
        times.append(time.perf_counter() - start)
        # So that the loop stands still for one round, not for all.
        await asyncio.sleep(0)
    return min(times)


async def _in_turn(
    work: Callable[[], Awaitable[None]],
    times: int,
) -> None:
    for _ in range(times):
        await work()


async def _at_once(
    work: Callable[[], Awaitable[None]],
    times: int,
) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(times):
            group.create_task(_call(work))


async def _call(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _offload(
    pool: ThreadPool | ProcessPool,
    work: Callable[[int], None],
    times: int,
) -> None:
    await _consume(pool.as_completed(work, range(times)))


async def _consume(calls: AsyncGenerator[object, None]) -> None:
    async for _ in calls:
        pass


async def _wait() -> None:
    await asyncio.sleep(WAIT_SECONDS)


def _block(_: int) -> None:
    time.sleep(WAIT_SECONDS)


async def _compute_here() -> None:
    _compute(0)


def _compute(_: int) -> None:
    math.factorial(COMPUTED_FACTORIAL)
