"""Tests of the worker in virtual time, over made-up streams."""

import asyncio
import contextlib
from typing import Self

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from taskiq import TaskiqMessage
from taskiq.brokers.inmemory_broker import InmemoryResultBackend

from tests.subject import workers
from tests.workers import jobs

pytestmark = [pytest.mark.unit, pytest.mark.looptime]

SETTINGS = workers.TaskSettings(reconnect_wait=7, max_deliveries=3)

Messages = list[tuple[str, dict[bytes, bytes]]]


class Streams:
    """What a worker uses of Redis, in memory.

    Attributes:
        new: The messages that no worker has got yet, or errors.
        idle: Those of silent workers, with how often they had one.
        done: The ids of the messages that were acknowledged, each with
            the number of the results that had been saved by then.
        group_error: What Redis answers when the group is made.
        waiting: The messages with a delay, by when they are due.
    """

    def __init__(self) -> None:
        self.new: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.idle: list[tuple[bytes, int]] = []
        self.done: list[tuple[str, int]] = []
        self.group_error: Exception | None = None
        self.waiting: dict[bytes, float] = {}
        self.results = InmemoryResultBackend[object]()
        broker = workers.make_broker(
            jobs.JOBS,
            redis_url="redis://127.0.0.1:1",
            settings=SETTINGS,
        )
        self.broker = broker.with_result_backend(self.results)
        vars(self.broker)["redis"] = self

    def message(self, name: str, **payload: object) -> bytes:
        """Return a message for a task; the name is its id, too."""
        task = TaskiqMessage(
            task_id=name,
            task_name=name,
            labels={},
            args=[],
            kwargs=payload,
        )
        return self.broker.formatter.dumps(task).message

    async def run(self, name: str) -> workers.WorkerResult:
        """Let a worker run until this task has a result; return it."""
        stop = asyncio.Event()
        run = workers.run_worker(self.broker, stop)
        worker = asyncio.create_task(run)
        async with workers.TaskClient(self.broker) as client:
            result = await client.wait(name)
            stop.set()
            await worker
        return result

    async def xgroup_create(self, *_: str, **__: object) -> None:
        if self.group_error is not None:
            raise self.group_error

    async def xpending_range(
        self,
        *_: str,
        **__: object,
    ) -> list[dict[str, object]]:
        pending: list[dict[str, object]] = []
        for _data, times in self.idle:
            entry = {"message_id": "idle", "times_delivered": times}
            pending.append(entry)
        return pending

    async def xclaim(self, *_: str, **__: object) -> Messages:
        data, _times = self.idle.pop()
        return [("idle", {b"data": data})]

    async def xreadgroup(
        self,
        *_: object,
        block: int,
        **__: object,
    ) -> list[tuple[str, Messages]]:
        try:
            async with asyncio.timeout(block / 1000):
                found = await self.new.get()
        except TimeoutError:
            return []
        if isinstance(found, Exception):
            raise found
        return [("tasks", [("new", {b"data": found})])]

    async def time(self) -> tuple[int, int]:
        return 0, round(asyncio.get_running_loop().time() * 1_000_000)

    async def zadd(self, _: str, due: dict[bytes, float]) -> None:
        self.waiting.update(due)

    async def eval(self, *arguments: object) -> object:
        now = asyncio.get_running_loop().time() * 1000
        for message, due in list(self.waiting.items()):
            if due <= now:
                del self.waiting[message]
                self.new.put_nowait(message)
        return arguments[-1]

    def pipeline(self, **_: bool) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def xack(self, _: str, __: str, message_id: str) -> None:
        self.done.append((message_id, len(self.results.results)))

    async def xdel(self, _: str, __: str) -> None:
        pass

    async def execute(self) -> None:
        pass


@pytest.fixture
async def streams() -> Streams:
    """Return streams without a message."""
    return Streams()


async def test_a_message_is_acknowledged_after_its_result_is_saved(
    streams: Streams,
) -> None:
    streams.new.put_nowait(streams.message("sleep", seconds=5))

    result = await streams.run("sleep")

    assert result.result == 5
    assert streams.done == [("new", 1)]


async def test_a_message_is_not_acknowledged_if_it_cannot_be_saved(
    streams: Streams,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: object) -> None:
        streams.new.put_nowait(streams.message("add", first=1))
        monkeypatch.undo()
        raise RedisConnectionError("away")

    monkeypatch.setattr(streams.results, "set_result", fail)
    streams.new.put_nowait(streams.message("sleep", seconds=5))

    await streams.run("add")

    assert streams.done == [("new", 1)]
    assert list(streams.results.results) == ["add"]


async def test_a_worker_looks_for_a_lost_redis_now_and_then(
    streams: Streams,
) -> None:
    for _ in range(3):
        streams.new.put_nowait(RedisConnectionError("away"))
    streams.new.put_nowait(streams.message("add", first=1))
    start = asyncio.get_running_loop().time()

    await streams.run("add")

    took = asyncio.get_running_loop().time() - start
    assert took == pytest.approx(3 * 7, abs=0.5)


async def test_a_task_of_a_silent_worker_is_taken_without_new_ones(
    streams: Streams,
) -> None:
    streams.idle.append((streams.message("add", first=1), 2))

    assert (await streams.run("add")).result == 2
    assert streams.done == [("idle", 1)]


async def test_a_task_that_outlived_too_many_workers_is_given_up(
    streams: Streams,
) -> None:
    streams.idle.append((streams.message("add", first=1), 3))

    error = (await streams.run("add")).error

    assert str(error) == "given up: 3 workers took it and none finished"
    assert streams.done == [("idle", 1)]


async def test_a_task_that_the_worker_does_not_know_is_an_error(
    streams: Streams,
) -> None:
    streams.new.put_nowait(streams.message("sum", first=1))

    error = (await streams.run("sum")).error

    assert str(error) == "the worker has no task 'sum'"


async def test_a_task_that_failed_waits_outside_of_its_worker(
    streams: Streams,
) -> None:
    jobs.FAILURES.append(ConnectionError("down"))
    streams.new.put_nowait(streams.message("fail"))
    start = asyncio.get_running_loop().time()

    result = await streams.run("fail")

    took = asyncio.get_running_loop().time() - start
    # A second and the jitter, and a look every second.
    assert 1 <= took <= 3.5
    assert result.result == "done"
    assert streams.done == [("new", 0), ("new", 1)]


async def test_what_is_no_task_is_dropped(streams: Streams) -> None:
    streams.new.put_nowait(b"nonsense")
    streams.new.put_nowait(streams.message("add", first=1))

    await streams.run("add")

    assert streams.done == [("new", 0), ("new", 1)]


async def test_a_stop_gives_tasks_some_time_to_finish(
    streams: Streams,
) -> None:
    streams.new.put_nowait(streams.message("sleep", seconds=20))
    stop = asyncio.Event()
    worker = asyncio.create_task(
        workers.run_worker(streams.broker, stop, grace=30),
    )
    await asyncio.sleep(1)

    stop.set()
    await worker

    assert streams.done == [("new", 1)]


async def test_what_takes_longer_to_finish_is_left_to_others(
    streams: Streams,
) -> None:
    streams.new.put_nowait(streams.message("sleep", seconds=20))
    stop = asyncio.Event()
    worker = asyncio.create_task(
        workers.run_worker(streams.broker, stop, grace=10),
    )
    await asyncio.sleep(1)

    stop.set()
    await worker

    assert asyncio.get_running_loop().time() == pytest.approx(11, abs=1)
    assert (streams.done, dict(streams.results.results)) == ([], {})


async def test_cancelling_a_worker_leaves_its_tasks_to_others(
    streams: Streams,
) -> None:
    before = asyncio.all_tasks()
    streams.new.put_nowait(streams.message("sleep", seconds=20))
    worker = asyncio.create_task(
        workers.run_worker(streams.broker, asyncio.Event()),
    )
    await asyncio.sleep(1)

    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker

    assert (streams.done, dict(streams.results.results)) == ([], {})
    assert asyncio.all_tasks() == before


async def test_a_worker_stops_though_a_library_swallows_cancellation(
    streams: Streams,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = streams.xreadgroup

    async def swallow_once(*_: object, **__: object) -> list[object]:
        monkeypatch.setattr(streams, "xreadgroup", usual)
        # ast-grep-ignore: suppressed-cancellation
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        return []

    monkeypatch.setattr(streams, "xreadgroup", swallow_once)
    stop = asyncio.Event()
    worker = asyncio.create_task(
        workers.run_worker(streams.broker, stop),
    )
    await asyncio.sleep(1)

    stop.set()

    await asyncio.wait([worker], timeout=60)
    assert worker.done()
    assert worker.exception() is None


async def test_a_group_that_is_there_is_joined(
    streams: Streams,
) -> None:
    streams.group_error = ResponseError("BUSYGROUP it exists")
    streams.new.put_nowait(streams.message("add", first=1))

    assert (await streams.run("add")).result == 2


async def test_a_stream_that_is_none_is_refused(
    streams: Streams,
) -> None:
    streams.group_error = ResponseError("WRONGTYPE it is a string")

    with pytest.raises(ConnectionError, match="it is a string"):
        await workers.run_worker(streams.broker, asyncio.Event())
