"""Tests of the background processor: progress, failures, shutdown."""

import asyncio
import logging

import pytest

from tests.queues.gauge import Gauge
from tests.subject import queues

pytestmark = pytest.mark.looptime


async def fail_on_two(number: int) -> None:
    await asyncio.sleep(number)
    if number == 2:
        raise LookupError("two")


async def raise_cancelled_error(_: int) -> None:
    raise asyncio.CancelledError


async def test_it_processes_while_the_caller_goes_on(
    gauge: Gauge,
) -> None:
    async with queues.BackgroundProcessor(gauge.wait) as processor:
        processor.start_processing([1, 1])
        await asyncio.sleep(0.5)
        active = gauge.active
        await processor.wait_for_completion()

    assert (active, gauge.active) == (2, 0)


async def test_progress_can_be_read_at_any_time(gauge: Gauge) -> None:
    async with queues.BackgroundProcessor(gauge.wait) as processor:
        processor.start_processing([1, 5, 9])
        await asyncio.sleep(2)
        first = processor.progress
        await processor.wait_for_completion()
        last = processor.progress

    assert first == queues.Progress(total=3, succeeded=1, failed=0)
    assert (first.remaining, last.remaining) == (2, 0)


async def test_no_more_run_at_once_than_allowed_over_all_starts(
    gauge: Gauge,
) -> None:
    async with queues.BackgroundProcessor(
        gauge.wait,
        max_concurrent=2,
    ) as processor:
        processor.start_processing([1] * 5)
        processor.start_processing([1] * 5)
        await processor.wait_for_completion()

    assert gauge.most == 2


async def test_waiting_with_nothing_started_ends_at_once(
    gauge: Gauge,
) -> None:
    async with queues.BackgroundProcessor(gauge.wait) as processor:
        processor.start_processing([])
        await processor.wait_for_completion()

    assert processor.progress == queues.Progress(0, 0, 0)


async def test_waiting_raises_failures_when_all_is_done() -> None:
    async with queues.BackgroundProcessor(fail_on_two) as processor:
        processor.start_processing([2, 3, 1])
        with pytest.raises(ExceptionGroup, match="1 of 3") as caught:
            await processor.wait_for_completion()

    assert caught.group_contains(LookupError, match="two")
    assert processor.progress == queues.Progress(3, 2, 1)


async def test_a_failure_is_raised_once_and_stays_readable() -> None:
    async with queues.BackgroundProcessor(fail_on_two) as processor:
        processor.start_processing([2])
        with pytest.raises(ExceptionGroup):
            await processor.wait_for_completion()
        processor.start_processing([1])
        await processor.wait_for_completion()

    (failure,) = processor.failures
    assert (failure.item, repr(failure.error)) == (
        2,
        "LookupError('two')",
    )


async def test_a_failure_is_logged_though_nobody_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)

    async with queues.BackgroundProcessor(fail_on_two) as processor:
        processor.start_processing([1, 2])
        await asyncio.sleep(3)

    assert caplog.messages == ["item 2 failed: LookupError('two')"]


async def test_an_item_that_cancels_itself_has_failed() -> None:
    async with queues.BackgroundProcessor(
        raise_cancelled_error,
    ) as processor:
        processor.start_processing([1, 2])
        with pytest.raises(ExceptionGroup, match="2 of 2") as caught:
            await processor.wait_for_completion()

    assert caught.group_contains(queues.WorkCancelledError)


async def test_leaving_cancels_what_is_not_done(gauge: Gauge) -> None:
    async with queues.BackgroundProcessor(gauge.wait) as processor:
        processor.start_processing([1, *[3600] * 9])
        await asyncio.sleep(2)
        active = gauge.active

    assert (active, gauge.active) == (3, 0)
    assert processor.progress == queues.Progress(10, 1, 0)
    assert processor.failures == []


async def test_leaving_waits_for_the_end_of_cleanups() -> None:
    log = []

    async def clean_up(_: int) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(5)
            log.append("cleaned up")

    async with queues.BackgroundProcessor(clean_up) as processor:
        processor.start_processing([1])
        await asyncio.sleep(1)

    assert log == ["cleaned up"]


async def test_a_failing_body_cancels_what_is_not_done(
    gauge: Gauge,
) -> None:
    processor = queues.BackgroundProcessor(gauge.wait)

    async def fail() -> None:
        async with processor:
            processor.start_processing([3600])
            await asyncio.sleep(1)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()

    assert (gauge.most, gauge.active) == (1, 0)


async def test_a_timeout_of_the_wait_ends_the_wait_alone(
    gauge: Gauge,
) -> None:
    async with queues.BackgroundProcessor(gauge.wait) as processor:
        processor.start_processing([10])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await processor.wait_for_completion()
        await processor.wait_for_completion()

    assert processor.progress == queues.Progress(1, 1, 0)


async def test_a_wait_ends_when_the_processor_is_shut_down(
    gauge: Gauge,
) -> None:
    processor = queues.BackgroundProcessor(gauge.wait)
    processor.start_processing([3600])
    wait = asyncio.create_task(processor.wait_for_completion())
    await asyncio.sleep(1)

    await processor.shutdown()
    await processor.shutdown()

    await wait
    assert processor.progress.remaining == 1


async def test_nothing_starts_after_the_shutdown(gauge: Gauge) -> None:
    processor = queues.BackgroundProcessor(gauge.wait)
    await processor.shutdown()

    with pytest.raises(RuntimeError, match="shut down"):
        processor.start_processing([1])


async def test_a_limit_below_one_is_refused(gauge: Gauge) -> None:
    with pytest.raises(ValueError, match="max_concurrent must be at"):
        queues.BackgroundProcessor(gauge.wait, max_concurrent=0)
