"""Tests of the fan-out: order, limit, failures, cancellation."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.subject import fan_out


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def fail_on_two(number: int) -> int:
    if number == 2:
        raise LookupError("two")
    return await double(number)


class Gauge:
    """Counts the calls that are under way, and remembers the most."""

    def __init__(self) -> None:
        self.active = 0
        self.most = 0

    async def wait(self, seconds: float) -> float:
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.active -= 1
        return seconds


@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_results_come_in_the_order_of_the_items(
    limit: int,
) -> None:
    results = await fan_out.fan_out(double, range(10), limit=limit)

    assert results == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]


async def test_no_items_give_no_results() -> None:
    assert await fan_out.fan_out(double, []) == []


@pytest.mark.looptime
async def test_slow_items_do_not_change_the_order() -> None:
    gauge = Gauge()

    assert await fan_out.fan_out(gauge.wait, [3, 1, 2]) == [3, 1, 2]


@pytest.mark.looptime
async def test_as_many_run_at_once_as_the_limit_says() -> None:
    gauge = Gauge()

    await fan_out.fan_out(gauge.wait, [1.0] * 20, limit=4)

    assert gauge.most == 4


@pytest.mark.looptime
async def test_calls_overlap() -> None:
    start = asyncio.get_running_loop().time()

    await fan_out.fan_out(Gauge().wait, [1.0] * 20, limit=10)

    assert asyncio.get_running_loop().time() - start == pytest.approx(2)


@pytest.mark.looptime
async def test_items_are_taken_only_as_calls_finish() -> None:
    taken = []
    gate = asyncio.Event()

    def numbers() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    async def wait(_: int) -> None:
        await gate.wait()

    call = asyncio.create_task(
        fan_out.fan_out(wait, numbers(), limit=3),
    )
    await asyncio.sleep(1)
    before = len(taken)
    gate.set()
    await call

    assert before == 3


async def test_a_failure_is_raised_in_a_group() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await fan_out.fan_out(fail_on_two, range(5), limit=2)

    assert [str(error) for error in caught.value.exceptions] == ["two"]


@pytest.mark.looptime
async def test_a_failure_cancels_the_calls_under_way() -> None:
    gauge = Gauge()

    async def fail_or_wait(number: int) -> float:
        if number == 0:
            await asyncio.sleep(1)
            raise LookupError("zero")
        return await gauge.wait(3600)

    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(ExceptionGroup):
        await fan_out.fan_out(fail_or_wait, range(4))

    assert (gauge.most, gauge.active) == (3, 0)
    assert loop.time() - start == pytest.approx(1)


@pytest.mark.looptime
async def test_after_a_failure_no_more_items_are_taken() -> None:
    items = iter(range(10))

    with pytest.raises(ExceptionGroup):
        await fan_out.fan_out(fail_on_two, items, limit=1)

    assert next(items) == 3


@pytest.mark.looptime
async def test_a_call_that_resists_cancellation_is_the_last() -> None:
    started = []

    async def resist(number: int) -> None:
        started.append(number)
        # ast-grep-ignore: suppressed-cancellation
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await fan_out.fan_out_outcomes(resist, range(9), limit=2)

    assert sorted(started) == [0, 1]


async def cancel_itself(number: int) -> int:
    if number == 2:
        raise asyncio.CancelledError
    return await double(number)


async def test_a_call_that_cancels_itself_is_a_failure() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await fan_out.fan_out(cancel_itself, range(4))

    assert caught.group_contains(RuntimeError, match="for 2 was cancel")


async def cancel_its_task(_: int) -> int:
    task = asyncio.current_task()
    return 0 if task and task.cancel() else 1


@pytest.mark.parametrize("limit", [1, 3])
async def test_no_item_is_lost_in_silence(limit: int) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await fan_out.fan_out(cancel_its_task, range(4), limit=limit)

    assert caught.group_contains(RuntimeError, match=r"call for \d was")


async def test_a_call_that_cancels_itself_is_an_outcome() -> None:
    outcomes = await fan_out.fan_out_outcomes(cancel_itself, [1, 2, 3])

    assert (outcomes[0], outcomes[2]) == (2, 6)
    assert isinstance(outcomes[1], RuntimeError)


@pytest.mark.looptime
async def test_as_many_outcomes_run_at_once_as_the_limit_says() -> None:
    gauge = Gauge()

    await fan_out.fan_out_outcomes(gauge.wait, [1.0] * 20, limit=4)

    assert gauge.most == 4


async def test_outcomes_hold_failures_in_their_places() -> None:
    outcomes = await fan_out.fan_out_outcomes(fail_on_two, [1, 2, 3])

    assert [repr(outcome) for outcome in outcomes] == [
        "2",
        "LookupError('two')",
        "6",
    ]


@pytest.mark.looptime
async def test_cancelling_the_caller_cancels_every_call() -> None:
    gauge = Gauge()
    waits = [3600.0] * 4
    call = asyncio.create_task(
        fan_out.fan_out_outcomes(gauge.wait, waits),
    )
    await asyncio.sleep(1)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert (gauge.most, gauge.active) == (4, 0)


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="limit must be at least 1"):
        await fan_out.fan_out(double, [1], limit=limit)


async def fail_in_a_group(_: int) -> int:
    """Fail as a task group waits, which counts as a cancellation."""
    async with asyncio.TaskGroup() as group:
        group.create_task(fail_on_two(2))
        return 0


async def double_by_group(number: int) -> list[int]:
    calls = range(number, number + 2)
    return await fan_out.fan_out(fail_on_two, calls, limit=1)


async def test_a_fan_out_inside_of_another_loses_nothing() -> None:
    outcomes = await fan_out.fan_out_outcomes(
        double_by_group,
        [3, 1, 5],
    )

    assert [outcomes[0], outcomes[2]] == [[6, 8], [10, 12]]
    assert isinstance(outcomes[1], ExceptionGroup)


async def test_a_failed_group_that_a_call_handles_is_fine() -> None:
    async def handle(number: int) -> int:
        with pytest.raises(ExceptionGroup):
            await fail_in_a_group(number)
        return await double(number)

    assert await fan_out.fan_out(handle, [1, 2], limit=1) == [2, 4]


async def test_the_caller_is_not_cancelled_by_a_failure() -> None:
    with pytest.raises(ExceptionGroup):
        await fan_out.fan_out(fail_on_two, range(5))

    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


@pytest.mark.parametrize("call", [cancel_its_task, fail_in_a_group])
async def test_what_a_call_does_to_its_task_is_its_outcome_alone(
    call: Callable[[int], Awaitable[int]],
) -> None:
    async def call_if_two(number: int) -> int:
        return await call(2) if number == 2 else number

    outcomes = await fan_out.fan_out_outcomes(
        call_if_two,
        [1, 2, 3],
        limit=1,
    )

    assert [outcomes[0], outcomes[2]] == [1, 3]
    assert isinstance(outcomes[1], Exception)


@pytest.mark.looptime
async def test_no_more_tasks_are_made_than_there_are_items() -> None:
    before = asyncio.all_tasks()
    call = asyncio.create_task(
        fan_out.fan_out(Gauge().wait, [1, 1, 1], limit=5000),
    )
    await asyncio.sleep(0.5)
    tasks = asyncio.all_tasks() - before
    await call

    assert len(tasks) == 1 + 3


@pytest.mark.looptime
async def test_failures_of_cancelled_calls_are_raised_too() -> None:
    async def fail_at_the_end(number: int) -> None:
        try:
            await asyncio.sleep(number)
        finally:
            raise LookupError(number)

    with pytest.raises(ExceptionGroup) as caught:
        await fan_out.fan_out(fail_at_the_end, [3, 1, 2])

    failures = {str(error) for error in caught.value.exceptions}
    assert failures == {"1", "2", "3"}
