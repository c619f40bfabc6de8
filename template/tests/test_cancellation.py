"""Tests of work in tasks of its own: whose cancellation is whose."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

import pytest

from tests.subject import cancellation

pytestmark = pytest.mark.looptime

Work = Callable[[], Awaitable[object]]


async def fail() -> None:
    raise LookupError("no luck")


async def wait() -> None:
    await asyncio.sleep(3600)


async def cancel_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def handle_a_failed_group() -> str:
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
    return "handled"


async def swallow() -> str:
    # ast-grep-ignore: suppressed-cancellation
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(3600)
    return "swallowed"


async def fail_at_the_end() -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        raise LookupError("no luck")


async def end_slowly() -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(100)


async def cancel(work: Work, times: int = 1) -> asyncio.Task[object]:
    """Return a caller that waited for work, and was cancelled."""
    caller = asyncio.create_task(cancellation.isolated(work))
    for _ in range(times):
        await asyncio.sleep(1)
        caller.cancel()
    await asyncio.wait([caller])
    return caller


async def start(work: Work) -> object:
    return await work()


async def run_together(*all_works: Work) -> None:
    async with cancellation.together() as works:
        for work in all_works:
            _ = works.start(start(work))


async def test_the_result_is_that_of_the_work() -> None:
    async def work() -> int:
        return 7

    assert await cancellation.isolated(work) == 7


async def test_the_error_is_that_of_the_work() -> None:
    with pytest.raises(LookupError, match="no luck"):
        await cancellation.isolated(fail)


async def test_work_that_cancels_itself_cancels_no_caller() -> None:
    with pytest.raises(cancellation.WorkCancelledError):
        await cancellation.isolated(cancel_itself)

    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_work_may_handle_a_failed_group() -> None:
    result = await cancellation.isolated(handle_a_failed_group)

    assert result == "handled"


@pytest.mark.parametrize("work", [wait, swallow, end_slowly])
async def test_cancelling_the_caller_ends_the_work_first(
    work: Work,
) -> None:
    before = asyncio.all_tasks()

    caller = await cancel(work)

    assert caller.cancelled()
    assert asyncio.all_tasks() == before


async def test_what_work_raises_in_the_end_is_the_cause() -> None:
    caller = await cancel(fail_at_the_end)

    with pytest.raises(asyncio.CancelledError) as caught:
        caller.result()
    assert repr(caught.value.__cause__) == "LookupError('no luck')"


async def test_a_second_cancellation_reaches_the_work_too() -> None:
    start = asyncio.get_running_loop().time()

    caller = await cancel(end_slowly, times=2)

    took = asyncio.get_running_loop().time() - start
    assert caller.cancelled()
    assert took == pytest.approx(2, abs=0.1)


async def clean_up(by: Work) -> object:
    """Wait to be cancelled, and return what the cleaning up does."""
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(3600)
    return await cancellation.isolated(by)


async def test_a_cancelled_caller_cleans_up_by_work() -> None:
    caller = asyncio.create_task(clean_up(handle_a_failed_group))
    await asyncio.sleep(1)

    caller.cancel()

    assert await caller == "handled"


@pytest.mark.parametrize("work", [wait, swallow, end_slowly])
async def test_cleaning_up_is_cancelled_like_other_work(
    work: Work,
) -> None:
    before = asyncio.all_tasks()
    caller = asyncio.create_task(clean_up(work))
    await asyncio.sleep(1)
    caller.cancel()
    await asyncio.sleep(1)

    caller.cancel()

    await asyncio.wait([caller])
    assert caller.cancelled()
    assert asyncio.all_tasks() == before


async def test_work_that_must_finish_does_so_first() -> None:
    ended = []

    async def work() -> None:
        await asyncio.sleep(10)
        ended.append(True)

    call = asyncio.create_task(cancellation.finish(work()))
    for _ in range(2):
        await asyncio.sleep(1)
        call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert ended == [True]


async def test_the_first_failure_ends_the_others() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await run_together(wait, swallow, fail_at_the_end, fail)

    assert [str(e) for e in caught.value.exceptions] == ["no luck"] * 2
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_error_that_several_raise_is_told_once() -> None:
    async with contextlib.AsyncExitStack() as stack:
        caught = stack.enter_context(pytest.raises(ExceptionGroup))
        works = await stack.enter_async_context(cancellation.together())
        failing = works.start(fail())
        _ = works.start(asyncio.wait_for(failing, 60))

    assert len(caught.value.exceptions) == 1


async def test_nothing_starts_once_the_others_end() -> None:
    works = cancellation.Works()
    works.ending = True

    with pytest.raises(asyncio.CancelledError):
        _ = works.start(wait())

    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_reading_ends_though_the_source_swallows_it() -> None:
    async def source() -> AsyncIterator[str]:
        while True:
            yield await swallow()

    async def read(works: cancellation.Works) -> list[str]:
        async with contextlib.aclosing(works.read(source())) as items:
            return [item async for item in items]

    works = cancellation.Works()
    reading = works.start(read(works))
    await asyncio.sleep(1)
    works.ending = True
    await cancellation.end([reading])

    assert reading.cancelled()


async def test_work_that_must_finish_returns_its_result() -> None:
    result = await cancellation.finish(handle_a_failed_group())

    assert result == "handled"


async def test_a_source_is_read_to_its_end_and_closed() -> None:
    closed = []

    async def source() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    items = cancellation.Works().read(source())

    assert [item async for item in items] == [1, 2]
    assert closed == [True]


async def test_a_source_that_cannot_be_closed_will_do() -> None:
    class Source:
        def __aiter__(self) -> Self:
            return self

        async def __anext__(self) -> int:
            raise StopAsyncIteration

    items = cancellation.Works().read(Source())

    assert [item async for item in items] == []


async def test_works_go_on_after_a_failed_group() -> None:
    for step in [handle_a_failed_group, cancellation.Works().go_on]:
        await step()

    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_works_do_not_go_on_when_cancelled_just_now() -> None:
    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await cancellation.Works().go_on()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(work())
