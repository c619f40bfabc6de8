"""Tests of producers and consumers: nothing lost, nothing hangs."""

import asyncio
import contextlib
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Self

import pytest

from tests.queues.gauge import Gauge
from tests.subject import queues

pytestmark = pytest.mark.looptime


async def double(number: int) -> int:
    await asyncio.sleep(number % 7)
    return 2 * number


async def fail_on_two(number: int) -> int:
    if number == 2:
        raise LookupError("two")
    return number


async def raise_cancelled_error(_: int) -> int:
    raise asyncio.CancelledError


async def cancel_itself(_: int) -> int:
    task = asyncio.current_task()
    return 0 if task and task.cancel() else 1


async def numbers() -> AsyncIterator[int]:
    for number in range(3):
        await asyncio.sleep(1)
        yield number


@pytest.mark.parametrize("consumers", [1, 2, 20])
@pytest.mark.parametrize("queue_size", [1, 100])
async def test_each_item_is_processed_exactly_once(
    consumers: int,
    queue_size: int,
) -> None:
    processor = queues.QueueProcessor(
        double,
        consumers=consumers,
        queue_size=queue_size,
    )

    results = await processor.process_all(range(20), range(20, 50))

    assert sorted(results) == list(range(0, 100, 2))


async def test_sources_may_be_async() -> None:
    processor = queues.QueueProcessor(double)

    results = await processor.process_all(numbers(), [10])

    assert sorted(results) == [0, 2, 4, 20]


@pytest.mark.parametrize("sources", [[], [[]], [[], []]])
async def test_no_items_give_no_results(
    sources: list[list[int]],
) -> None:
    processor = queues.QueueProcessor(double)

    assert await processor.process_all(*sources) == []


async def test_results_come_in_the_order_of_completion(
    gauge: Gauge,
) -> None:
    processor = queues.QueueProcessor(gauge.wait)

    assert await processor.process_all([3, 1, 2]) == [1, 2, 3]


async def test_as_many_items_are_processed_at_once_as_consumers(
    gauge: Gauge,
) -> None:
    processor = queues.QueueProcessor(gauge.wait, consumers=4)

    await processor.process_all([1] * 20)

    assert gauge.most == 4


async def test_producers_wait_while_the_queue_is_full() -> None:
    taken = []
    gate = asyncio.Event()

    def source() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    async def wait(_: int) -> None:
        await gate.wait()

    processor = queues.QueueProcessor(wait, consumers=2, queue_size=5)
    run = asyncio.create_task(processor.process_all(source()))
    await asyncio.sleep(1)
    before = len(taken)
    gate.set()
    results = await run

    # Two are being processed, five wait, one finds the queue full.
    assert before == 2 + 5 + 1
    assert len(results) == 1000


@pytest.mark.parametrize("consumers", [1, 3])
async def test_a_failure_ends_the_run_with_producers_waiting(
    consumers: int,
) -> None:
    processor = queues.QueueProcessor(
        fail_on_two,
        consumers=consumers,
        queue_size=1,
    )

    with pytest.raises(ExceptionGroup) as caught:
        await processor.process_all(range(1000), range(1000))

    assert caught.group_contains(LookupError, match="two")


@pytest.mark.parametrize(
    "process",
    [raise_cancelled_error, cancel_itself],
)
async def test_a_consumer_that_cancels_itself_ends_the_run(
    process: Callable[[int], Awaitable[int]],
) -> None:
    processor = queues.QueueProcessor(process, queue_size=1)

    with pytest.raises(ExceptionGroup) as caught:
        await processor.process_all(range(1000))

    assert caught.group_contains(queues.WorkCancelledError)


async def test_a_source_that_fails_ends_the_run(gauge: Gauge) -> None:
    def source() -> Iterator[float]:
        yield 3600
        raise OSError("disk gone")

    processor = queues.QueueProcessor(gauge.wait)
    with pytest.raises(ExceptionGroup) as caught:
        await processor.process_all(source())

    assert caught.group_contains(OSError, match="disk gone")
    assert gauge.active == 0


async def test_a_source_that_cancels_itself_ends_the_run() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError

    processor = queues.QueueProcessor(double)
    with pytest.raises(ExceptionGroup) as caught:
        await processor.process_all(source())

    assert caught.group_contains(queues.WorkCancelledError)


async def test_what_was_done_before_a_failure_is_kept() -> None:
    processor = queues.QueueProcessor(fail_on_two, consumers=1)

    with pytest.raises(ExceptionGroup):
        await processor.process_all(range(5))

    assert processor.results == [0, 1]


async def test_cancelling_the_run_stops_producers_and_consumers(
    gauge: Gauge,
) -> None:
    processor = queues.QueueProcessor(gauge.wait, queue_size=1)
    seconds = [1, *[3600] * 100]

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10):
            await processor.process_all(seconds)

    assert (gauge.most, gauge.active) == (3, 0)
    assert processor.results == [1]


async def test_an_item_that_resists_cancellation_is_the_last() -> None:
    started = []

    async def resist(number: int) -> None:
        started.append(number)
        # ast-grep-ignore: suppressed-cancellation
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)

    processor = queues.QueueProcessor(resist, consumers=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await processor.process_all(range(9))

    assert started == [0]


async def test_a_source_that_resists_cancellation_is_left() -> None:
    class Resisting:
        def __aiter__(self) -> Self:
            return self

        async def __anext__(self) -> int:
            # ast-grep-ignore: suppressed-cancellation
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            return 1

    processor = queues.QueueProcessor(double)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await processor.process_all(Resisting())

    assert asyncio.get_running_loop().time() < 3600


def test_the_error_passes_between_processes() -> None:
    error = queues.WorkCancelledError()

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - own

    assert str(again) == str(error)


async def test_a_processor_can_be_used_again() -> None:
    processor = queues.QueueProcessor(fail_on_two)
    with pytest.raises(ExceptionGroup):
        await processor.process_all([2])

    assert sorted(await processor.process_all([1, 3])) == [1, 3]


@pytest.mark.parametrize("name", ["consumers", "queue_size"])
async def test_a_number_below_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        queues.QueueProcessor(double, **{name: 0})


async def fail_in_a_group(number: int) -> int:
    async with asyncio.TaskGroup() as group:
        group.create_task(fail_on_two(2))
        return number


async def handle_a_failed_group(number: int) -> int:
    with pytest.raises(ExceptionGroup):
        await fail_in_a_group(number)
    return number


async def test_an_item_may_handle_a_failed_group() -> None:
    processor = queues.QueueProcessor(handle_a_failed_group)

    assert len(await processor.process_all(range(9))) == 9


async def test_a_source_may_handle_a_failed_group() -> None:
    async def source() -> AsyncIterator[int]:
        for number in range(9):
            yield await handle_a_failed_group(number)

    processor = queues.QueueProcessor(double, consumers=1)

    assert len(await processor.process_all(source())) == 9


async def test_a_source_that_is_a_generator_is_closed() -> None:
    closed = []

    async def source() -> AsyncIterator[int]:
        try:
            while True:
                yield 2
        finally:
            closed.append(True)

    processor = queues.QueueProcessor(fail_on_two, queue_size=1)
    with pytest.raises(ExceptionGroup):
        await processor.process_all(source())

    assert closed == [True]
