"""Tests of the task queue: limit, order, outcomes, cancellation."""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from functools import partial

import pytest

from tests.queues.gauge import Gauge
from tests.subject import queues

Work = Callable[[], Coroutine[None, None, float]]


def waits(gauge: Gauge, *seconds: float) -> list[tuple[str, Work]]:
    works = [partial(gauge.wait, each) for each in seconds]
    return [(f"task {n}", work) for n, work in enumerate(works)]


async def fail() -> float:
    raise LookupError("no luck")


async def raise_cancelled_error() -> float:
    raise asyncio.CancelledError


async def cancel_itself() -> float:
    task = asyncio.current_task()
    return 0 if task and task.cancel() else 1


async def resist() -> float:
    # ast-grep-ignore: suppressed-cancellation
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(3600)
    return 1


@pytest.mark.looptime
async def test_results_come_in_the_order_of_submission(
    gauge: Gauge,
) -> None:
    queue = queues.AsyncTaskQueue()

    results = await queue.process_all(waits(gauge, 3, 1, 2))

    assert [result.result for result in results] == [3, 1, 2]
    assert queue.results == results


@pytest.mark.looptime
async def test_a_result_says_what_ran_and_when(gauge: Gauge) -> None:
    before = datetime.now(UTC)

    result = await queues.AsyncTaskQueue().process_task(
        "report",
        partial(gauge.wait, 90),
    )

    assert (result.task_id, result.error) == ("report", None)
    assert result.succeeded
    assert before <= result.started_at <= datetime.now(UTC)
    assert result.duration == pytest.approx(90)


@pytest.mark.looptime
async def test_the_wait_for_its_turn_is_no_part_of_the_duration(
    gauge: Gauge,
) -> None:
    queue = queues.AsyncTaskQueue(1)

    results = await queue.process_all(waits(gauge, 5, 5))

    assert [result.duration for result in results] == [5, 5]


async def test_no_tasks_give_no_results() -> None:
    assert await queues.AsyncTaskQueue().process_all([]) == []


async def test_a_failed_task_stops_no_other(gauge: Gauge) -> None:
    tasks = [("bad", fail), *waits(gauge, 0)]

    bad, good = await queues.AsyncTaskQueue(1).process_all(tasks)

    assert (bad.result, repr(bad.error)) == (
        None,
        "LookupError('no luck')",
    )
    assert (bad.succeeded, good.succeeded) == (False, True)


@pytest.mark.looptime
async def test_a_task_that_times_out_by_itself_has_failed() -> None:
    async def give_up() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(3600)

    queue = queues.AsyncTaskQueue()
    result = await queue.process_task("slow", give_up)

    assert isinstance(result.error, TimeoutError)


@pytest.mark.parametrize("work", [raise_cancelled_error, cancel_itself])
async def test_a_task_that_cancels_itself_has_failed(
    gauge: Gauge,
    work: Work,
) -> None:
    queue = queues.AsyncTaskQueue(1)

    results = await queue.process_all(
        [("odd", work), *waits(gauge, 0)],
    )

    assert isinstance(results[0].error, queues.WorkCancelledError)
    assert [result.succeeded for result in results] == [False, True]
    assert queue.results == results


async def test_a_task_that_fails_by_a_group_has_failed() -> None:
    async def fail_in_a_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    queue = queues.AsyncTaskQueue()
    result = await queue.process_task("group", fail_in_a_group)

    assert isinstance(result.error, ExceptionGroup)


async def test_a_function_may_come_with_its_arguments() -> None:
    async def divide(number: int, *, by: int) -> float:
        return number / by

    queue = queues.AsyncTaskQueue()
    result = await queue.process_task("half", divide, 3, by=2)

    assert result.result == 1.5


async def test_results_can_be_forgotten(gauge: Gauge) -> None:
    queue = queues.AsyncTaskQueue()
    await queue.process_all(waits(gauge, 0, 0))

    queue.forget_results()
    await queue.process_task("last", gauge.wait, 0)

    assert [result.task_id for result in queue.results] == ["last"]


@pytest.mark.looptime
async def test_as_many_run_at_once_as_the_limit_says(
    gauge: Gauge,
) -> None:
    await queues.AsyncTaskQueue().process_all(waits(gauge, *[1] * 20))

    assert gauge.most == 3


@pytest.mark.looptime
async def test_all_calls_of_a_queue_share_the_limit(
    gauge: Gauge,
) -> None:
    queue = queues.AsyncTaskQueue(2)

    await asyncio.gather(
        queue.process_all(waits(gauge, *[1] * 5)),
        queue.process_all(waits(gauge, *[1] * 5)),
        queue.process_task("one more", partial(gauge.wait, 1)),
    )

    assert gauge.most == 2


@pytest.mark.looptime
async def test_tasks_are_taken_only_as_others_end() -> None:
    taken = []
    gate = asyncio.Event()

    def tasks() -> Iterator[queues.NamedTask[bool]]:
        for number in range(1000):
            taken.append(number)
            yield f"task {number}", gate.wait

    queue = queues.AsyncTaskQueue(4)
    call = asyncio.create_task(queue.process_all(tasks()))
    await asyncio.sleep(1)
    before = len(taken)
    gate.set()
    await call

    assert (before, len(taken)) == (4, 1000)


@pytest.mark.looptime
async def test_results_survive_a_timeout(gauge: Gauge) -> None:
    queue = queues.AsyncTaskQueue(2)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10):
            await queue.process_all(waits(gauge, 3600, 1, 2))

    assert [result.result for result in queue.results] == [1, 2]
    assert gauge.active == 0


async def test_what_ended_as_the_caller_was_cancelled_is_kept() -> None:
    queue = queues.AsyncTaskQueue()

    async def cancel_the_caller() -> None:
        call.cancel()

    call = asyncio.create_task(
        queue.process_task("last", cancel_the_caller),
    )
    with pytest.raises(asyncio.CancelledError):
        await call

    assert [result.task_id for result in queue.results] == ["last"]


@pytest.mark.looptime
async def test_a_task_that_resists_cancellation_is_the_last() -> None:
    queue = queues.AsyncTaskQueue(1)
    tasks = [("first", resist), ("second", resist)]
    call = asyncio.create_task(queue.process_all(tasks))
    await asyncio.sleep(1)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert [result.task_id for result in queue.results] == ["first"]


async def test_a_call_that_is_cancelled_before_its_turn_runs_nothing(
    gauge: Gauge,
) -> None:
    queue = queues.AsyncTaskQueue()
    call = asyncio.create_task(queue.process_all(waits(gauge, 0)))

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert (queue.results, gauge.most) == ([], 0)


@pytest.mark.looptime
async def test_a_cancelled_wait_for_a_turn_frees_nobody_elses_turn(
    gauge: Gauge,
) -> None:
    queue = queues.AsyncTaskQueue(1)
    gate = asyncio.Event()
    first = asyncio.create_task(queue.process_task("a", gate.wait))
    await asyncio.sleep(1)
    second = asyncio.create_task(queue.process_task("b", gate.wait))
    await asyncio.sleep(1)

    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.set()
    await first
    third = await queue.process_task("c", partial(gauge.wait, 0))

    assert third.succeeded
    assert [result.task_id for result in queue.results] == ["a", "c"]


async def test_context_variables_do_not_leak_to_the_next_task() -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def look() -> str:
        seen = variable.get()
        variable.set("set")
        return seen

    queue = queues.AsyncTaskQueue(1)
    results = await queue.process_all([("a", look), ("b", look)])

    assert [each.result for each in results] == ["unset", "unset"]


async def test_a_task_list_that_fails_is_an_error() -> None:
    def tasks() -> Iterator[queues.NamedTask[float]]:
        yield "bad", fail
        raise OSError("the list is broken")

    queue = queues.AsyncTaskQueue()
    with pytest.raises(ExceptionGroup) as caught:
        await queue.process_all(tasks())

    assert caught.group_contains(OSError, match="list is broken")


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="max_concurrent must be at"):
        queues.AsyncTaskQueue(limit)


@pytest.mark.parametrize("task_id", ["", " "])
async def test_a_blank_id_is_refused(task_id: str) -> None:
    with pytest.raises(ValueError, match="task_id must not be blank"):
        await queues.AsyncTaskQueue().process_task(task_id, fail)


@pytest.mark.looptime
async def test_a_stream_yields_in_the_order_of_submission(
    gauge: Gauge,
) -> None:
    queue = queues.AsyncTaskQueue()

    stream = queue.stream(waits(gauge, 3, 1, 2, 0))
    results = [result.result async for result in stream]

    assert results == [3, 1, 2, 0]
    assert queue.results == []


@pytest.mark.looptime
async def test_a_stream_keeps_the_limit(gauge: Gauge) -> None:
    stream = queues.AsyncTaskQueue(4).stream(waits(gauge, *[1] * 20))

    assert [result.succeeded async for result in stream] == [True] * 20
    assert gauge.most == 4


@pytest.mark.looptime
async def test_a_stream_looks_no_further_ahead_than_it_may(
    gauge: Gauge,
) -> None:
    tasks = iter(waits(gauge, *[1] * 100))

    stream = queues.AsyncTaskQueue(2).stream(tasks, look_ahead=5)
    async with contextlib.aclosing(stream):
        await anext(stream)

    # Five ahead, and the one that found no room.
    assert len(list(tasks)) == 100 - 5 - 1


async def test_a_stream_yields_failures_too() -> None:
    tasks = [("a", fail), ("b", cancel_itself)]

    stream = queues.AsyncTaskQueue().stream(tasks)
    errors = [type(result.error) async for result in stream]

    assert errors == [LookupError, queues.WorkCancelledError]


@pytest.mark.looptime
async def test_leaving_a_stream_cancels_what_is_under_way(
    gauge: Gauge,
) -> None:
    queue = queues.AsyncTaskQueue(3)
    stream = queue.stream(waits(gauge, 1, 3600, 3600, 3600))

    async with contextlib.aclosing(stream):
        await anext(stream)

    assert (gauge.most, gauge.active) == (3, 0)


@pytest.mark.looptime
async def test_cancelling_the_reader_of_a_stream_cancels_all(
    gauge: Gauge,
) -> None:
    queue = queues.AsyncTaskQueue(3)
    stream = queue.stream(waits(gauge, *[3600] * 9))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await anext(stream)

    assert (gauge.most, gauge.active) == (3, 0)


async def test_a_stream_of_a_task_list_that_fails_raises(
    gauge: Gauge,
) -> None:
    def tasks() -> Iterator[queues.NamedTask[float]]:
        yield from waits(gauge, 0)
        raise OSError("the list is broken")

    stream = queues.AsyncTaskQueue().stream(tasks())

    with pytest.raises(OSError, match="list is broken"):
        await anext(stream)


def test_a_look_ahead_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="look_ahead must be at least"):
        queues.AsyncTaskQueue().stream([], look_ahead=0)


@pytest.mark.looptime
async def test_a_task_cancelled_by_others_has_failed() -> None:
    queue = queues.AsyncTaskQueue(1)
    gate = asyncio.Event()
    first = asyncio.create_task(queue.process_task("a", gate.wait))
    await asyncio.sleep(1)
    known = asyncio.all_tasks()
    second = asyncio.create_task(queue.process_task("b", gate.wait))
    await asyncio.sleep(1)
    (hidden,) = asyncio.all_tasks() - known - {second}

    hidden.cancel()
    result = await second
    gate.set()
    await first

    assert isinstance(result.error, queues.WorkCancelledError)
