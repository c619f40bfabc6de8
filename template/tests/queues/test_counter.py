"""Tests of the counter, and of the bug that it is there for."""

import asyncio
import runpy
from pathlib import Path

import pytest

from tests.subject import queues


async def save(_: int) -> None:
    await asyncio.sleep(0)


async def test_no_increment_is_lost() -> None:
    counter = queues.SafeCounter(save=save)

    values = await asyncio.gather(
        *[counter.increment() for _ in range(100)],
    )

    assert counter.value == 100
    assert sorted(values) == list(range(1, 101))


async def test_without_a_lock_increments_are_lost() -> None:
    code = Path(__file__).with_name("unsafe_counter.txt")
    counter = runpy.run_path(str(code))["UnsafeCounter"]()

    await asyncio.gather(*[counter.increment() for _ in range(100)])

    assert counter.value == 1


async def test_it_counts_on_from_a_value_in_steps() -> None:
    counter = queues.SafeCounter(10)

    assert await counter.increment(5) == 15
    assert counter.value == 15


async def test_every_value_is_saved_in_order() -> None:
    saved = []

    async def keep(value: int) -> None:
        await asyncio.sleep(0)
        saved.append(value)

    counter = queues.SafeCounter(save=keep)
    await asyncio.gather(*[counter.increment() for _ in range(5)])

    assert saved == [1, 2, 3, 4, 5]


async def test_a_value_that_was_not_saved_does_not_count() -> None:
    async def fail(_: int) -> None:
        raise OSError("disk full")

    counter = queues.SafeCounter(save=fail)
    with pytest.raises(OSError, match="disk full"):
        await counter.increment()

    assert counter.value == 0


@pytest.mark.looptime
async def test_a_cancelled_increment_counts_nothing() -> None:
    async def save_slowly(_: int) -> None:
        await asyncio.sleep(10)

    counter = queues.SafeCounter(save=save_slowly)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await counter.increment()

    assert await counter.increment() == 1


@pytest.mark.parametrize("by", [0, -1])
async def test_a_step_below_one_is_refused(by: int) -> None:
    with pytest.raises(ValueError, match="by must be at least 1"):
        await queues.SafeCounter().increment(by)
