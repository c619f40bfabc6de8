"""Tests of tasks in memory: results, refusals, retries, ends."""

import asyncio
import contextlib
import logging
import math
import os
import uuid
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from taskiq import TaskiqEvents
from taskiq.exceptions import ResultGetError

from tests.subject import logs, workers
from tests.workers import conftest, jobs

pytestmark = [pytest.mark.unit, pytest.mark.looptime]


def memory_client(
    settings: workers.TaskSettings | None = None,
) -> workers.TaskClient:
    """Return a client of tasks in memory, not yet connected."""
    broker = workers.make_broker(
        jobs.JOBS,
        redis_url="",
        settings=settings,
    )
    return workers.TaskClient(broker)


async def submit_sleeps(
    client: workers.TaskClient,
    count: int,
) -> list[str]:
    """Return the ids of tasks that sleep a second each."""
    ids = []
    for _ in range(count):
        ids.append(await client.submit("sleep", {"seconds": 1}))
    return ids


def waits_between_tries() -> list[float]:
    """Return the virtual seconds between the tries of a job."""
    pairs = zip(jobs.STARTED, jobs.STARTED[1:], strict=False)
    return [round(later - former, 3) for former, later in pairs]


async def test_a_task_returns_its_result(
    client: workers.TaskClient,
) -> None:
    task_id = await client.submit("add", {"first": 2, "second": 3})

    result = await client.wait(task_id)
    assert (result.task_id, result.result) == (task_id, 5)
    assert result.succeeded
    assert result.error is None


async def test_a_failure_is_a_result_with_the_error(
    client: workers.TaskClient,
) -> None:
    jobs.FAILURES.append(LookupError("no luck"))

    result = await client.run("fail")

    assert repr(result.error) == "LookupError('no luck')"
    assert not result.succeeded
    assert result.result is None


async def test_a_failed_task_does_not_stop_the_others(
    client: workers.TaskClient,
) -> None:
    jobs.FAILURES.append(LookupError("no luck"))
    failing = await client.submit("fail")
    working = await client.submit("add", {"first": 1})

    results = [await client.wait(failing), await client.wait(working)]

    assert [result.succeeded for result in results] == [False, True]


async def test_tasks_run_side_by_side(
    client: workers.TaskClient,
) -> None:
    ids = await submit_sleeps(client, 9)
    start = asyncio.get_running_loop().time()

    for task_id in ids:
        await client.wait(task_id)

    took = asyncio.get_running_loop().time() - start
    assert took == pytest.approx(1, abs=0.2)


async def test_no_more_run_at_once_than_the_limit_says() -> None:
    settings = workers.TaskSettings(max_concurrent=2)
    async with memory_client(settings) as client:
        for task_id in await submit_sleeps(client, 5):
            await client.wait(task_id)

    assert waits_between_tries() == [0, 1, 0, 1]


async def test_a_result_can_be_waited_for_twice(
    client: workers.TaskClient,
) -> None:
    task_id = await client.submit("add", {"first": 1})

    first = await client.wait(task_id)

    assert await client.wait(task_id) == first


async def test_waiting_ends_when_the_client_is_closed(
    client: workers.TaskClient,
) -> None:
    task_id = await client.submit("sleep", {"seconds": 3600})
    wait = asyncio.create_task(client.wait(task_id))
    await asyncio.sleep(1)

    await client.close()

    with pytest.raises(RuntimeError, match="not connected"):
        await wait


async def test_results_are_what_json_makes_of_them(
    client: workers.TaskClient,
) -> None:
    result = await client.run("answer", {"kind": "tuple"})

    assert result.result == [1, 2]


@pytest.mark.parametrize("kind", ["set", "500 deep", "nan", "deep"])
async def test_a_result_that_json_cannot_hold_is_an_error(
    client: workers.TaskClient,
    kind: str,
) -> None:
    result = await client.run("answer", {"kind": kind})

    assert "the result of answer is not JSON" in str(result.error)
    assert result.result is None


async def test_an_unknown_task_is_refused(
    client: workers.TaskClient,
) -> None:
    with pytest.raises(LookupError, match="no task 'sum', but these"):
        await client.submit("sum")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({}, "missing a required argument: 'first'"),
        ({"first": 1, "third": 3}, "unexpected keyword argument"),
        ({"first": {1}}, "not JSON serializable"),
        ({"first": math.nan}, "not JSON compliant"),
    ],
)
async def test_a_payload_that_does_not_fit_is_refused(
    client: workers.TaskClient,
    payload: dict[str, object],
    reason: str,
) -> None:
    with pytest.raises(TypeError, match=reason):
        await client.submit("add", payload)


async def test_a_value_of_the_wrong_type_is_refused_unseen(
    client: workers.TaskClient,
) -> None:
    with pytest.raises(ValueError, match="first of task add") as error:
        await client.submit("add", {"first": "hunter2"})

    assert "hunter2" not in str(error.value)


async def test_waiting_longer_than_the_timeout_is_an_error(
    client: workers.TaskClient,
) -> None:
    task_id = await client.submit("sleep", {"seconds": 0.9})

    with pytest.raises(
        TimeoutError,
        match=r"no result after 0\.5 s yet",
    ):
        await client.wait(task_id, timeout=0.5)

    assert (await client.wait(task_id)).result == 0.9


async def test_cancelling_the_wait_does_not_cancel_the_task(
    client: workers.TaskClient,
) -> None:
    task_id = await client.submit("sleep", {"seconds": 0.9})
    wait = asyncio.create_task(client.wait(task_id))
    await asyncio.sleep(0.2)

    wait.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wait

    assert (await client.wait(task_id)).succeeded


async def test_a_task_takes_no_longer_than_its_timeout() -> None:
    settings = workers.TaskSettings(task_timeout=2, max_retries=0)
    async with memory_client(settings) as client:
        start = asyncio.get_running_loop().time()
        result = await client.run("sleep", {"seconds": 3600})

    assert isinstance(result.error, TimeoutError)
    took = asyncio.get_running_loop().time() - start
    assert took == pytest.approx(2, abs=0.2)


async def test_a_task_that_took_too_long_is_tried_again() -> None:
    settings = workers.TaskSettings(task_timeout=1, max_retries=1)
    async with memory_client(settings) as client:
        await client.run("sleep", {"seconds": 3600})

    assert len(jobs.STARTED) == 2


async def test_waits_between_tries_double_up_to_the_longest() -> None:
    jobs.FAILURES[:] = [ConnectionError("down")] * 5
    settings = workers.TaskSettings(
        max_retries=5,
        first_wait=1,
        longest_wait=5,
        jitter=0,
    )
    async with memory_client(settings) as client:
        result = await client.run("fail")

    assert result.result == "done"
    assert waits_between_tries() == [1, 2, 4, 5, 5]


async def test_jitter_spreads_the_waits() -> None:
    jobs.FAILURES[:] = [ConnectionError("down")] * 5
    settings = workers.TaskSettings(
        max_retries=5,
        first_wait=0,
        jitter=9,
    )
    async with memory_client(settings) as client:
        await client.run("fail")

    assert len(set(waits_between_tries())) > 1
    assert max(waits_between_tries()) <= 9


async def test_the_last_error_is_the_result_when_tries_are_used_up(
    client: workers.TaskClient,
) -> None:
    jobs.FAILURES[:] = [ConnectionError(str(n)) for n in range(9)]

    result = await client.run("fail")

    assert repr(result.error) == "ConnectionError('3')"
    assert len(jobs.STARTED) == 4


async def test_an_error_that_will_come_again_is_not_retried(
    client: workers.TaskClient,
) -> None:
    jobs.FAILURES.append(ValueError("never good"))

    result = await client.run("fail")

    assert repr(result.error) == "ValueError('never good')"
    assert len(jobs.STARTED) == 1


async def test_a_cancellation_inside_a_task_is_an_outcome(
    client: workers.TaskClient,
) -> None:
    jobs.FAILURES.append(asyncio.CancelledError("a child's"))

    result = await client.run("fail")

    assert "the work was cancelled" in str(result.error)


async def test_closing_ends_the_tasks_under_way() -> None:
    before = asyncio.all_tasks()

    async with memory_client() as client:
        await client.submit("sleep", {"seconds": 50})
        await asyncio.sleep(1)

    assert asyncio.all_tasks() == before


async def test_closing_ends_the_waits_for_another_try() -> None:
    jobs.FAILURES.append(ConnectionError("down"))
    before = asyncio.all_tasks()

    async with memory_client() as client:
        await client.submit("fail")
        await asyncio.sleep(0.5)

    assert (asyncio.all_tasks(), len(jobs.STARTED)) == (before, 1)


async def test_the_request_is_followed_into_the_task(
    client: workers.TaskClient,
) -> None:
    with logs.correlation("order-1"):
        first = await client.submit("follow")
    with logs.correlation("order-2"):
        second = await client.submit("follow")

    results = [await client.wait(first), await client.wait(second)]
    assert [result.result for result in results] == [
        "order-1",
        "order-2",
    ]


async def test_connecting_and_closing_twice_is_fine() -> None:
    client = memory_client()

    await client.connect()
    await client.connect()
    assert (await client.run("add", {"first": 1})).succeeded
    await client.close()
    await client.close()


async def test_connecting_at_once_starts_the_broker_once() -> None:
    broker = workers.make_broker(jobs.JOBS, redis_url="")
    starts = []

    async def record(_: object) -> None:
        starts.append(broker)
        await asyncio.sleep(1)

    broker.add_event_handler(TaskiqEvents.CLIENT_STARTUP, record)
    client = workers.TaskClient(broker)

    await asyncio.gather(client.connect(), client.connect())
    await client.close()

    assert starts == [broker]


async def test_a_client_that_is_not_connected_says_so() -> None:
    client = memory_client()

    with pytest.raises(RuntimeError, match="not connected"):
        await client.submit("add", {"first": 1})
    with pytest.raises(RuntimeError, match="not connected"):
        await client.wait(uuid.uuid4().hex)


async def test_an_error_of_the_results_themselves_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = workers.make_broker(jobs.JOBS, redis_url="")
    broken = AsyncMock(side_effect=ValueError("broken"))
    monkeypatch.setattr(broker.result_backend, "get_result", broken)

    async with workers.TaskClient(broker) as client:
        with pytest.raises(ResultGetError):
            await client.run("add", {"first": 1})


@pytest.mark.parametrize("timeout", [0, -1, math.nan])
async def test_a_timeout_out_of_range_is_refused(
    client: workers.TaskClient,
    timeout: float,  # noqa: ASYNC109 - what is tested
) -> None:
    with pytest.raises(ValueError, match="timeout must be above 0"):
        await client.wait("some-id", timeout)


@pytest.mark.parametrize("interval", [0, -1, math.nan])
async def test_a_poll_interval_out_of_range_is_refused(
    interval: float,
) -> None:
    broker = workers.make_broker(redis_url="")

    with pytest.raises(ValueError, match="poll_interval must be"):
        workers.TaskClient(broker, poll_interval=interval)


async def test_a_wait_ends_though_a_library_swallows_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = workers.make_broker(jobs.JOBS, redis_url="")
    backend = broker.result_backend

    async def swallow_once(_: str) -> bool:
        ready = AsyncMock(return_value=True)
        monkeypatch.setattr(backend, "is_result_ready", ready)
        # ast-grep-ignore: suppressed-cancellation
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        return False

    monkeypatch.setattr(backend, "is_result_ready", swallow_once)

    async with workers.TaskClient(broker) as client:
        with pytest.raises(TimeoutError):
            await client.wait("some-id", 1)


async def test_a_caller_that_was_cancelled_can_wait_while_it_cleans_up(
    client: workers.TaskClient,
) -> None:
    results = []

    async def clean_up() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            results.append(await client.run("sleep", {"seconds": 1}))

    caller = asyncio.create_task(clean_up())
    await asyncio.sleep(1)
    caller.cancel()
    await asyncio.wait([caller])

    assert [result.result for result in results] == [1]


async def test_a_job_that_asks_gets_its_answer(
    client: workers.TaskClient,
    phone: conftest.Phone,
) -> None:
    task_id = await client.submit("ask", {"port": phone.port})
    call = await phone.call()
    call.answer("done")

    assert call.caller == os.getpid()
    assert (await client.wait(task_id)).result == "done"


async def test_a_payment_with_the_same_key_is_booked_once(
    client: workers.TaskClient,
    phone: conftest.Phone,
    tmp_path: Path,
) -> None:
    ledger = conftest.make_ledger(tmp_path)
    payload = {"ledger": ledger, "key": "order-1", "port": phone.port}
    for _ in range(2):
        await client.submit("pay", payload)
        (await phone.call()).answer("paid")

    assert conftest.payments(ledger) == ["order-1"]


async def test_the_shipped_task_summarises_numbers() -> None:
    shipped = workers.TaskClient(workers.make_broker(redis_url=""))
    async with shipped as client:
        result = await client.run("summarise", {"numbers": [1, 2, 3]})

    assert result.result == {"count": 3, "mean": 2, "deviation": 1}


async def test_the_shipped_task_refuses_too_few_numbers() -> None:
    with pytest.raises(ValueError, match="at least two"):
        await workers.TASKS["summarise"]([1.0])


async def test_failures_are_quiet_unless_configured(
    client: workers.TaskClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    jobs.FAILURES.append(LookupError("no luck"))

    await client.run("fail")

    assert capsys.readouterr() == ("", "")


async def test_a_group_of_errors_comes_back_as_one(
    client: workers.TaskClient,
) -> None:
    inner = ExceptionGroup("inner", [LookupError("no luck")])
    group = ExceptionGroup("outer", [inner, OSError(2, "?")])
    jobs.FAILURES.append(group)

    result = await client.run("fail")

    assert repr(result.error) == repr(group)


async def test_a_task_that_fails_by_a_group_has_failed(
    client: workers.TaskClient,
) -> None:
    jobs.FAILURES.append(LookupError("no luck"))

    result = await client.run("fail_in_a_group")

    assert isinstance(result.error, ExceptionGroup)
    assert repr(result.error.exceptions) == "(LookupError('no luck'),)"


async def test_a_wait_for_another_try_holds_no_slot() -> None:
    jobs.FAILURES.append(ConnectionError("down"))
    settings = workers.TaskSettings(max_concurrent=1, first_wait=20)
    loop = asyncio.get_running_loop()
    async with memory_client(settings) as client:
        failing = await client.submit("fail")
        start = loop.time()
        await client.run("sleep", {"seconds": 1})
        took = loop.time() - start
        result = await client.wait(failing)

    assert took == pytest.approx(1, abs=0.2)
    assert result.result == "done"


async def test_closing_again_while_tasks_end_leaves_none() -> None:
    before = asyncio.all_tasks()
    client = memory_client()
    await client.connect()
    await client.submit("linger")
    await asyncio.sleep(1)

    closing = asyncio.create_task(client.close())
    for _ in range(2):
        await asyncio.sleep(1)
        closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing

    assert asyncio.all_tasks() == before
