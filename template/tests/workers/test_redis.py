"""Tests of tasks over a real Redis: delivery, outages, lost workers."""

import asyncio
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.subject import logs, workers
from tests.workers import conftest, jobs

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("redis-server") is None,
        reason="redis-server is not installed",
    ),
]

# A worker process with the tests' tasks; it ends as serve() does.
WORKER = """
import asyncio
from tests.workers.jobs import JOBS, SETTINGS
from tests.subject import workers
broker = workers.make_broker(JOBS, settings=SETTINGS)
asyncio.run(workers.serve(broker))
"""


@pytest.fixture
async def client(
    redis_server: conftest.RedisServer,
) -> AsyncIterator[workers.TaskClient]:
    """Return a client that is connected to the Redis."""
    async with redis_server.client() as client:
        yield client


@pytest.fixture
async def redis(
    redis_server: conftest.RedisServer,
) -> AsyncIterator[Redis]:
    """Return a plain connection, to look at what is in Redis."""
    async with Redis.from_url(redis_server.url) as redis:
        yield redis


async def start_worker(url: str) -> asyncio.subprocess.Process:
    """Start a worker process; it takes tasks as soon as it is up."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        WORKER,
        env={**os.environ, "REDIS_URL": url},
        stderr=PIPE,
    )


async def test_a_worker_runs_what_a_client_submits(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
) -> None:
    async with redis_server.worker():
        result = await client.run("add", {"first": 2, "second": 3}, 5)

    assert (result.result, result.error) == (5, None)


async def test_an_error_comes_back_as_it_was_raised(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
) -> None:
    jobs.FAILURES.append(LookupError("no luck"))

    async with redis_server.worker():
        result = await client.run("fail", timeout=5)

    assert repr(result.error) == "LookupError('no luck')"


async def test_a_task_that_failed_is_tried_again(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
) -> None:
    jobs.FAILURES[:] = [ConnectionError("down")] * 2

    async with redis_server.worker():
        result = await client.run("fail", timeout=5)

    assert (result.result, len(jobs.STARTED)) == ("done", 3)


WAITING = replace(jobs.SETTINGS, first_wait=0.2, longest_wait=1)


async def until_one_waits(redis: Redis) -> None:
    """Return when a task waits for another try."""
    async with asyncio.timeout(5):
        # Nobody but Redis knows.
        while not await redis.exists("tasks-waiting"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_task_that_fails_by_a_group_has_failed(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    redis: Redis,
) -> None:
    jobs.FAILURES.append(LookupError("no luck"))

    async with redis_server.worker(grace=5):
        result = await client.run("fail_in_a_group", timeout=5)

    assert isinstance(result.error, ExceptionGroup)
    assert repr(result.error.exceptions) == "(LookupError('no luck'),)"
    assert await redis.xlen("tasks") == 0


async def test_a_wait_for_another_try_holds_no_slot(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    redis: Redis,
) -> None:
    jobs.FAILURES.append(ConnectionError("down"))
    settings = replace(
        WAITING,
        max_concurrent=1,
        first_wait=60,
        longest_wait=60,
    )

    async with redis_server.worker(settings=settings):
        await client.submit("fail")
        await until_one_waits(redis)
        between = await client.run("add", {"first": 1}, 5)
        waiting = await redis.exists("tasks-waiting")

    assert (between.result, waiting) == (2, 1)


async def test_a_wait_for_another_try_outlives_the_worker(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    redis: Redis,
) -> None:
    jobs.FAILURES.append(ConnectionError("down"))
    async with redis_server.worker(settings=WAITING):
        failing = await client.submit("fail")
        await until_one_waits(redis)

    async with redis_server.worker():
        result = await client.wait(failing, 5)

    assert result.result == "done"


@pytest.mark.parametrize("kind", ["set", "500 deep"])
async def test_a_result_that_json_cannot_hold_is_an_error(
    kind: str,
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
) -> None:
    async with redis_server.worker():
        result = await client.run("answer", {"kind": kind}, 5)

    assert "the result of answer is not JSON" in str(result.error)


async def test_the_request_is_followed_to_the_worker(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
) -> None:
    async with redis_server.worker():
        with logs.correlation("order-1"):
            result = await client.run("follow", timeout=5)

    assert result.result == "order-1"


async def test_what_came_before_the_first_worker_is_run(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    redis: Redis,
) -> None:
    await redis.flushall()
    task_id = await client.submit("add", {"first": 1})

    async with redis_server.worker():
        assert (await client.wait(task_id, 5)).result == 2


async def test_what_is_done_leaves_the_stream(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    redis: Redis,
) -> None:
    async with redis_server.worker(grace=5):
        await client.run("add", {"first": 1}, 5)

    assert await redis.xlen("tasks") == 0


async def test_results_do_not_stay_for_ever(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    redis: Redis,
) -> None:
    async with redis_server.worker():
        result = await client.run("add", {"first": 1}, 5)

    assert 0 < await redis.ttl(f"result:{result.task_id}") <= 86_400


async def test_results_are_stored_as_json_and_not_as_code(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    redis: Redis,
) -> None:
    async with redis_server.worker():
        result = await client.run("add", {"first": 1}, 5)

    stored: Any = await redis.get(f"result:{result.task_id}")
    assert json.loads(stored)["return_value"] == 2


async def test_a_busy_worker_leaves_new_tasks_to_others(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    phone: conftest.Phone,
    redis: Redis,
) -> None:
    for _ in range(5):
        await client.submit("ask", {"port": phone.port})

    one = replace(jobs.SETTINGS, max_concurrent=1)
    async with redis_server.worker(settings=one):
        await phone.call()
        held: Any = await redis.xpending("tasks", "workers")

    assert held["pending"] == 1


async def test_a_task_that_the_worker_does_not_know_is_an_error(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task_id = await client.submit("add", {"first": 1})
    monkeypatch.delitem(jobs.JOBS, "add")

    async with redis_server.worker():
        result = await client.wait(task_id, 5)

    assert "the worker has no task 'add'" in str(result.error)


async def test_what_is_no_task_is_dropped(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    redis: Redis,
) -> None:
    await redis.xadd("tasks", {"data": "nonsense"})
    await redis.xadd("tasks", {"other": "nonsense"})

    async with redis_server.worker(grace=5):
        assert (await client.run("add", {"first": 1}, 5)).succeeded

    assert await redis.xlen("tasks") == 0


async def test_a_task_that_kills_its_workers_is_given_up(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    redis: Redis,
) -> None:
    task_id = await client.submit("add", {"first": 1})
    new: Any = {"tasks": ">"}
    taken: Any = await redis.xreadgroup("workers", "dead", new)
    message_id = taken[0][1][0][0]
    await redis.xclaim(
        *("tasks", "workers", "dead", 0, [message_id]),
        retrycount=5,
    )
    await redis_server.pass_time()

    async with redis_server.worker(grace=5):
        result = await client.wait(task_id, 5)
        # When the next one is run, this one has been dropped.
        await client.run("add", {"first": 1}, 5)

    assert "given up: 5 workers took it" in str(result.error)
    assert await redis.xlen("tasks") == 0


async def test_a_task_is_left_to_the_worker_that_runs_it(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    redis: Redis,
) -> None:
    held = await client.submit("add", {"first": 1})
    await redis.xreadgroup("workers", "alive", {"tasks": ">"})

    async with redis_server.worker():
        assert (await client.run("add", {"first": 2}, 5)).succeeded
        with pytest.raises(TimeoutError):
            await client.wait(held, 0.05)


async def test_a_worker_that_stops_finishes_its_tasks(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    phone: conftest.Phone,
) -> None:
    task_id = await client.submit("ask", {"port": phone.port})
    stop = asyncio.Event()
    worker = asyncio.create_task(
        workers.run_worker(redis_server.broker(), stop, grace=5),
    )
    call = await phone.call()

    stop.set()
    call.answer("done")
    await worker

    assert (await client.wait(task_id, 5)).result == "done"


async def test_what_a_stopped_worker_cannot_finish_another_does(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    phone: conftest.Phone,
) -> None:
    task_id = await client.submit("ask", {"port": phone.port})
    async with redis_server.worker(grace=0):
        await phone.call()
    await redis_server.pass_time()

    async with redis_server.worker():
        (await phone.call()).answer("done")
        result = await client.wait(task_id, 5)

    assert result.result == "done"


async def test_cancelling_a_worker_leaves_its_task_to_others(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    phone: conftest.Phone,
    redis: Redis,
) -> None:
    before = asyncio.all_tasks()
    await client.submit("ask", {"port": phone.port})
    worker = asyncio.create_task(
        workers.run_worker(redis_server.broker(), asyncio.Event()),
    )
    await phone.call()

    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker

    assert await redis.xlen("tasks") == 1
    assert asyncio.all_tasks() <= before


@pytest.mark.slow
async def test_a_task_survives_its_worker_and_pays_once(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    phone: conftest.Phone,
    tmp_path: Path,
) -> None:
    ledger = conftest.make_ledger(tmp_path)
    payload = {"ledger": ledger, "key": "order-1", "port": phone.port}
    task_id = await client.submit("pay", payload)
    worker = await start_worker(redis_server.url)
    first = await phone.call()

    worker.kill()
    await worker.communicate()
    await redis_server.pass_time()
    async with redis_server.worker():
        second = await phone.call()
        second.answer("paid")
        result = await client.wait(task_id, 5)

    assert result.result == "paid"
    assert [first.caller, second.caller] == [worker.pid, os.getpid()]
    assert conftest.payments(ledger) == ["order-1"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_a_worker_after_its_task(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    phone: conftest.Phone,
    number: signal.Signals,
) -> None:
    task_id = await client.submit("ask", {"port": phone.port})
    serve = workers.serve(redis_server.broker(), grace=5)
    worker = asyncio.create_task(serve)
    call = await phone.call()

    signal.raise_signal(number)
    call.answer("done")
    await worker

    assert (await client.wait(task_id, 5)).result == "done"


@pytest.mark.slow
async def test_a_signal_ends_a_worker_process_well(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    phone: conftest.Phone,
) -> None:
    task_id = await client.submit("ask", {"port": phone.port})
    worker = await start_worker(redis_server.url)
    call = await phone.call()

    worker.terminate()
    call.answer("done")
    _, errors = await worker.communicate()

    assert (worker.returncode, errors) == (0, b"")
    assert (await client.wait(task_id, 5)).result == "done"


async def test_no_task_is_lost_when_redis_goes_away(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    phone: conftest.Phone,
) -> None:
    async with redis_server.worker():
        held = await client.submit("ask", {"port": phone.port})
        call = await phone.call()
        await redis_server.stop()

        with pytest.raises(ConnectionError, match="does not serve"):
            await client.wait(held, 5)
        with pytest.raises(ConnectionError, match="does not serve"):
            await client.submit("add", {"first": 1})

        await redis_server.start()
        call.answer("done")
        assert (await client.wait(held, 5)).result == "done"
        assert (await client.run("add", {"first": 1}, 5)).succeeded


async def test_what_could_not_be_saved_is_run_again(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    phone: conftest.Phone,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = redis_server.broker()
    away = AsyncMock(side_effect=RedisConnectionError("away"))
    monkeypatch.setattr(broker.result_backend, "set_result", away)
    task_id = await client.submit("ask", {"port": phone.port})
    stop = asyncio.Event()
    worker = asyncio.create_task(workers.run_worker(broker, stop))
    call = await phone.call()
    stop.set()
    call.answer("not saved")
    await worker
    await redis_server.pass_time()

    async with redis_server.worker():
        (await phone.call()).answer("saved")
        result = await client.wait(task_id, 5)

    assert result.result == "saved"


async def test_a_worker_goes_on_after_redis_has_lost_everything(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
    redis: Redis,
) -> None:
    async with redis_server.worker():
        await client.run("add", {"first": 1}, 5)
        await redis.flushall()

        assert (await client.run("add", {"first": 1}, 5)).succeeded


async def test_a_redis_that_asks_for_a_password_says_so(
    redis_server: conftest.RedisServer,
) -> None:
    await redis_server.stop()
    await redis_server.start("--requirepass", "hunter2")

    with pytest.raises(ConnectionError, match="authenticated"):
        await redis_server.client().connect()


async def test_a_worker_keeps_its_own_time_limit(
    redis_server: conftest.RedisServer,
    client: workers.TaskClient,
) -> None:
    settings = replace(jobs.SETTINGS, task_timeout=0.05, max_retries=0)

    async with redis_server.worker(settings=settings):
        result = await client.run("sleep", {"seconds": 3600})

    assert "TimeoutError" in repr(result.error)
