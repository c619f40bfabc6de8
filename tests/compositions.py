"""Tests of systems inside of systems: the outer tells what the inner did.

Each outer system runs one work that goes through an inner system, where
it fails, is cancelled, or takes too long. Whatever that does to the
tasks in between, the outer reports it as a failure of this work, and
whoever called the outer is not cancelled. It runs in a project of all
examples, as tests/test_compositions.py.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from tests.subject import (
    api_server,
    cancellation,
    clients,
    fan_out,
    pipeline,
    queues,
    workers,
)

Work = Callable[[], Awaitable[object]]
System = Callable[[Work], Awaitable[object]]


# What a work does.


async def fail() -> object:
    raise LookupError("no luck")


async def cancel_itself() -> object:
    task = asyncio.current_task()
    return task is not None and task.cancel()


async def raise_cancelled_error() -> object:
    raise asyncio.CancelledError


async def take_too_long() -> object:
    return await asyncio.sleep(3600)


WORKS: dict[Work, type[Exception]] = {
    fail: LookupError,
    cancel_itself: cancellation.WorkCancelledError,
    raise_cancelled_error: cancellation.WorkCancelledError,
    take_too_long: TimeoutError,
}


# Systems, each running a work; what fails is raised.


async def by_fan_out(work: Work) -> object:
    return await fan_out.fan_out(lambda _: work(), range(3))


async def by_outcomes(work: Work) -> object:
    [outcome] = await fan_out.fan_out_outcomes(lambda _: work(), [1])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def by_task_group(work: Work) -> object:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(3600))
        group.create_task(cancellation.isolated(work))
    return None


async def by_task_queue(work: Work) -> object:
    result = await queues.AsyncTaskQueue(1).process_task("work", work)
    if result.error is not None:
        raise result.error
    return result.result


async def by_stream(work: Work) -> object:
    stream = queues.AsyncTaskQueue().stream([("work", work)])
    [result] = [each async for each in stream]
    if result.error is not None:
        raise result.error
    return result.result


async def by_consumers(work: Work) -> object:
    processor = queues.QueueProcessor(lambda _: work(), queue_size=1)
    return await processor.process_all(range(5), range(5))


async def by_source(work: Work) -> object:
    async def source() -> AsyncIterator[int]:
        yield 1
        await work()

    processor = queues.QueueProcessor(asyncio.sleep)
    return await processor.process_all(source())


async def by_background(work: Work) -> object:
    async with queues.BackgroundProcessor(lambda _: work()) as processor:
        processor.start_processing([1, 2])
        await processor.wait_for_completion()
    return None


async def by_cache(work: Work) -> object:
    return await queues.AsyncCache(lambda _: work()).get("key")


class Nowhere:
    """Saves nothing."""

    async def save(self, samples: Sequence[pipeline.Sample]) -> None:
        """Save nothing."""


async def records() -> AsyncIterator[bytes]:
    for number in range(3):
        yield pipeline.Sample((number,), number).to_json().encode()


async def by_preprocessing(work: Work) -> object:
    async def preprocess(
        batch: Sequence[bytes],
    ) -> list[pipeline.Sample | Exception]:
        await work()
        return [pipeline.parse_sample(record) for record in batch]

    return await pipeline.data_pipeline(
        records(),
        Nowhere(),
        batch_size=1,
        preprocess=preprocess,
    )


async def by_records(work: Work) -> object:
    async def source() -> AsyncIterator[bytes]:
        async for record in records():
            yield record
        await work()

    return await pipeline.data_pipeline(source(), Nowhere())


async def by_store(work: Work) -> object:
    class Store(Nowhere):
        async def save(self, samples: Sequence[pipeline.Sample]) -> None:
            await work()

    return await pipeline.data_pipeline(records(), Store())


async def by_worker(work: Work) -> object:
    async def task() -> bool:
        await work()
        return True

    settings = workers.TaskSettings(max_retries=0)
    broker = workers.make_broker(
        {"task": task},
        redis_url="",
        settings=settings,
    )
    async with workers.TaskClient(broker) as client:
        result = await client.run("task")
    if result.error is not None:
        raise result.error
    return result.result


SYSTEMS: list[System] = [
    by_fan_out,
    by_outcomes,
    by_task_group,
    by_task_queue,
    by_stream,
    by_consumers,
    by_source,
    by_background,
    by_cache,
    by_preprocessing,
    by_records,
    by_store,
    by_worker,
]


async def in_time(system: System, work: Work) -> object:
    async with asyncio.timeout(60):
        return await system(work)


def kinds(error: BaseException) -> set[type[BaseException]]:
    """Return the types of what a group holds, or of the error itself."""
    if isinstance(error, BaseExceptionGroup):
        return set().union(*map(kinds, error.exceptions))
    return {type(error)}


@pytest.mark.looptime
@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("inner", SYSTEMS)
@pytest.mark.parametrize("outer", SYSTEMS)
async def test_the_outer_system_reports_what_the_inner_one_did(
    outer: System,
    inner: System,
    work: Work,
) -> None:
    with pytest.raises((Exception,)) as caught:
        await outer(lambda: in_time(inner, work))

    assert kinds(caught.value) == {WORKS[work]}
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.looptime
@pytest.mark.parametrize("system", SYSTEMS)
async def test_a_failure_that_the_work_handles_is_none(
    system: System,
) -> None:
    async def handle() -> bool:
        with pytest.raises(ExceptionGroup):
            await by_task_group(fail)
        return True

    await system(handle)

    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


@pytest.mark.looptime
@pytest.mark.parametrize("inner", SYSTEMS)
@pytest.mark.parametrize("outer", SYSTEMS)
async def test_cancelling_the_outer_system_ends_the_inner_one(
    outer: System,
    inner: System,
) -> None:
    call = asyncio.create_task(outer(lambda: inner(take_too_long)))
    await asyncio.sleep(1)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert asyncio.all_tasks() == {asyncio.current_task()}


# A pool in a pipeline: threads, so real time.


def parse(batch: Sequence[bytes]) -> list[pipeline.Sample | Exception]:
    return [pipeline.parse_sample(record) for record in batch]


async def by_pool(
    pool: queues.ThreadPool,
    function: Callable[
        [Sequence[bytes]],
        list[pipeline.Sample | Exception],
    ],
) -> pipeline.PipelineResult:
    async def preprocess(
        batch: Sequence[bytes],
    ) -> list[pipeline.Sample | Exception]:
        return await pool.run(function, batch)

    return await pipeline.data_pipeline(
        records(),
        Nowhere(),
        batch_size=1,
        preprocess=preprocess,
    )


async def test_a_pipeline_preprocesses_in_a_pool() -> None:
    async with queues.ThreadPool(2) as pool:
        result = await by_pool(pool, parse)

    assert result.saved == 3


async def test_a_failure_in_the_pool_fails_the_pipeline() -> None:
    def fail_at_once(_: Sequence[bytes]) -> list[pipeline.Sample | Exception]:
        raise LookupError("no luck")

    async with queues.ThreadPool(2) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            await by_pool(pool, fail_at_once)

    assert kinds(caught.value) == {LookupError}


async def test_a_pool_that_is_closed_fails_the_pipeline() -> None:
    reached, gate = threading.Event(), threading.Event()

    def wait(batch: Sequence[bytes]) -> list[pipeline.Sample | Exception]:
        reached.set()
        gate.wait()
        return parse(batch)

    async with queues.ThreadPool(1) as pool:
        run = asyncio.create_task(by_pool(pool, wait))
        await asyncio.to_thread(reached.wait)
        closing = asyncio.create_task(pool.close())
        with pytest.raises(ExceptionGroup) as caught:
            await run
        gate.set()
        await closing

    assert kinds(caught.value) <= {
        cancellation.WorkCancelledError,
        RuntimeError,
    }


# A client in a worker.


async def error_of_fetching(
    user_id: int,
    delay: float = 0,
    close_after: float = 3600,
) -> BaseException | None:
    """Return the error of a task that fetches a user."""
    api = api_server.UserAPI()
    api.delay = delay

    async def fetch(user_id: int) -> str:
        user = await client.fetch_user(user_id)
        return user.name

    broker = workers.make_broker({"fetch": fetch}, redis_url="")
    retry = clients.RetryPolicy(max_retries=0)
    closing: list[asyncio.Future[None]] = []
    async with (
        api.serve(),
        clients.UserAPIClient(api.base_url, 5, retry=retry) as client,
        workers.TaskClient(broker) as tasks,
    ):
        task_id = await tasks.submit("fetch", {"user_id": user_id})
        asyncio.get_running_loop().call_later(
            close_after,
            lambda: closing.append(asyncio.ensure_future(client.close())),
        )
        return (await tasks.wait(task_id, 600)).error


@pytest.mark.looptime
async def test_a_client_in_a_worker_says_that_there_is_no_user() -> None:
    error = await error_of_fetching(999)

    assert isinstance(error, clients.UserNotFoundError)


@pytest.mark.looptime
async def test_a_client_in_a_worker_runs_out_of_time() -> None:
    assert isinstance(await error_of_fetching(1, delay=60), TimeoutError)


@pytest.mark.looptime
async def test_a_client_that_is_closed_cancels_no_worker() -> None:
    error = await error_of_fetching(1, delay=4, close_after=1)

    assert isinstance(error, Exception)
