"""Makes the broker of tasks: in memory, or over Redis streams."""

import functools
import inspect
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from redis.exceptions import RedisError
from taskiq import AsyncBroker
from taskiq_redis import RedisAsyncResultBackend

from ..cancellation import isolated
from .memory import MemoryBroker
from .middlewares import (
    SERIALIZER,
    Correlation,
    JSONResults,
    Retries,
    TimeLimit,
)
from .settings import TaskSettings
from .streams import StreamBroker
from .tasks import TASKS, TaskFunction

# taskiq's log, too, is quiet unless the application configures it.
logging.getLogger("taskiq").addHandler(logging.NullHandler())


def make_broker(
    tasks: Mapping[str, TaskFunction] = TASKS,
    *,
    redis_url: str | None = None,
    settings: TaskSettings | None = None,
) -> AsyncBroker:
    """Return a broker of these tasks, not yet started.

    With a Redis, tasks are delivered at least once: one that has been
    submitted is run until a worker has saved its result. So it may run
    twice, when a worker dies or Redis goes away after the task's effect
    and before its result is saved. Give a task whose effect matters a
    key that tells the runs of one order apart from another order, and
    let the place of the effect take each key once, such as a database
    table in which the key is unique.

    In memory, tasks run in this process, and end with it.

    Args:
        tasks: The async functions, by the names to submit them by.
        redis_url: Where Redis is, such as redis://127.0.0.1:6379. Taken
            from the environment's REDIS_URL if not given; empty means
            in memory.
        settings: How tasks are run.

    Raises:
        ValueError: A name is blank, or the URL is no URL of a Redis.
        TypeError: A task is no async function.
    """
    settings = settings or TaskSettings()
    if redis_url is None:
        redis_url = os.environ.get("REDIS_URL", "")
    broker: AsyncBroker = MemoryBroker(settings)
    if redis_url:
        broker = _redis(redis_url, settings)
    broker.add_middlewares(
        Retries(settings),
        TimeLimit(settings),
        Correlation(),
        JSONResults(),
    )
    for name, function in tasks.items():
        if not name.strip():
            raise ValueError("the name of a task must not be blank")
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"task {name} must be an async function")
        broker.register_task(_for_taskiq(function), name)
    return broker


def _for_taskiq(function: TaskFunction) -> TaskFunction:
    """Return what taskiq may rename, and call in the worker's task.

    So it sees no cancellation but that of the worker: see `Retries`.
    """

    @functools.wraps(function, assigned=["__annotations__"])
    async def task(*args: object, **kwargs: object) -> object:
        return await isolated(
            functools.partial(function, *args, **kwargs),
        )

    return task


def _redis(url: str, settings: TaskSettings) -> AsyncBroker:
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError(
            "REDIS_URL must start with redis://, rediss:// or unix://",
        )
    broker = StreamBroker(url, settings)
    results = RedisAsyncResultBackend[object](
        url,
        result_ex_time=settings.keep_results,
        serializer=SERIALIZER,
        prefix_str="result",
    )
    return broker.with_result_backend(results)


@asynccontextmanager
async def running(broker: AsyncBroker) -> AsyncIterator[None]:
    """Start the broker, and close its connections at the end.

    Raises:
        ConnectionError: Redis does not answer.
    """
    try:
        try:
            await broker.startup()
        except RedisError as error:
            raise unreachable(error) from error
        yield
    finally:
        await broker.shutdown()


def unreachable(error: BaseException) -> ConnectionError:
    """Return an error that says what to do when Redis fails."""
    advice = "start the one of REDIS_URL, or `docker compose up`"
    return ConnectionError(f"Redis does not serve: {error}; {advice}")
