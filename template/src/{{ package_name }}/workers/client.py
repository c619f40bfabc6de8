"""Submits tasks by name and waits for their results."""

import asyncio
import inspect
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, get_type_hints

from redis.exceptions import RedisError
from taskiq import AsyncBroker, AsyncTaskiqTask
from taskiq.compat import parse_obj_as
from taskiq.decor import AsyncTaskiqDecoratedTask
from taskiq.exceptions import ResultBackendError, SendTaskError

from ..cancellation import isolated
from .broker import running, unreachable
from .errors import unpack


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """How a task ended that a worker ran, here or far away.

    Attributes:
        task_id: The id that `submit` returned.
        result: What the task returned, None if it failed.
        error: What it raised, None if it succeeded.
        duration: Seconds that its last try took.
    """

    task_id: str
    result: Any
    error: BaseException | None
    duration: float

    @property
    def succeeded(self) -> bool:
        """Whether the task returned."""
        return self.error is None


class TaskClient:
    """Submits tasks and waits for their results.

        async with TaskClient(make_broker()) as tasks:
            result = await tasks.run("summarise", {"numbers": [1, 2]})
            result.result, result.error, result.duration

    Args:
        broker: What `make_broker` returned; the client starts it and
            closes it.
        poll_interval: Seconds between two looks for a result.

    Raises:
        ValueError: The interval is not above 0.
    """

    def __init__(
        self,
        broker: AsyncBroker,
        *,
        poll_interval: float = 0.1,
    ) -> None:
        if not poll_interval > 0:
            raise ValueError(
                f"poll_interval must be above 0, not {poll_interval}",
            )
        self._broker = broker
        self._poll_interval = poll_interval
        self._lock = asyncio.Lock()
        self._stack: AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Start the broker; connecting twice is fine.

        Raises:
            ConnectionError: Redis does not answer.
        """
        async with self._lock:
            if self._stack is not None:
                return
            stack = AsyncExitStack()
            await stack.enter_async_context(running(self._broker))
            self._stack = stack

    async def close(self) -> None:
        """Close the connections; closing twice is fine.

        Tasks in memory are cancelled. Those in Redis go on.
        """
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    async def submit(
        self,
        name: str,
        payload: Mapping[str, object] | None = None,
    ) -> str:
        """Return the id of a new task, which a worker will run.

        When the connection breaks in the middle, nobody knows whether
        the task was taken. To submit it again is safe if it is
        idempotent: see `make_broker`.

        Args:
            name: The name of the task.
            payload: Its arguments by name, as JSON can hold them.

        Raises:
            LookupError: There is no task of this name.
            TypeError: The payload does not fit the task's parameters,
                or JSON cannot hold it.
            ValueError: A value does not fit its parameter's type.
            ConnectionError: Redis does not answer.
            RuntimeError: The client is not connected.
        """
        self._check_connected()
        task = self._broker.find_task(name)
        if task is None:
            names = ", ".join(sorted(self._broker.get_all_tasks()))
            raise LookupError(
                f"there is no task {name!r}, but these: {names}",
            )
        arguments = dict(payload or {})
        _check_payload(task, arguments)
        try:
            sent = await task.kicker().kiq(**arguments)
        except SendTaskError as error:
            raise unreachable(error.__cause__ or error) from error
        return sent.task_id

    async def wait(
        self,
        task_id: str,
        timeout: float = 60,  # noqa: ASYNC109 - with a sentence
    ) -> WorkerResult:
        """Return how the task ended. Not to wait longer ends no task.

        Args:
            task_id: What `submit` returned.
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: There is no result yet. The task goes on, if
                there is one of this id: wait again.
            ConnectionError: Redis does not answer.
            ValueError: The timeout is not above 0.
            RuntimeError: The client is not connected, or was closed
                meanwhile.
        """
        if not timeout > 0:
            raise ValueError(
                f"timeout must be above 0 seconds, not {timeout}",
            )
        self._check_connected()
        backend = self._broker.result_backend
        task = AsyncTaskiqTask[Any](task_id, backend)
        try:
            async with asyncio.timeout(timeout):
                # The client of Redis may swallow a cancellation.
                while not await isolated(task.is_ready):
                    self._check_connected()
                    await asyncio.sleep(self._poll_interval)
                result = await task.get_result()
        except TimeoutError:
            raise TimeoutError(
                f"task {task_id} has no result after {timeout} s yet",
            ) from None
        except ResultBackendError as error:
            if isinstance(error.__cause__, RedisError):
                raise unreachable(error.__cause__) from error
            raise
        return WorkerResult(
            task_id=task_id,
            result=result.return_value,
            error=unpack(result.error),
            duration=result.execution_time,
        )

    async def run(
        self,
        name: str,
        payload: Mapping[str, object] | None = None,
        timeout: float = 60,  # noqa: ASYNC109 - as for wait
    ) -> WorkerResult:
        """Submit a task and return how it ended.

        Raises:
            Exception: As `submit` and `wait`.
        """
        task_id = await self.submit(name, payload)
        return await self.wait(task_id, timeout)

    def _check_connected(self) -> None:
        if self._stack is None:
            raise RuntimeError(
                "the client is not connected: call connect() first",
            )


def _check_payload(
    task: AsyncTaskiqDecoratedTask[Any, Any],
    payload: dict[str, object],
) -> None:
    """Refuse here what would fail in a worker, later and far away."""
    function = task.original_func
    try:
        inspect.signature(function).bind(**payload)
        json.dumps(payload, allow_nan=False)
    except (RecursionError, TypeError, ValueError) as error:
        raise TypeError(
            f"the payload does not suit task {task.task_name}: {error}",
        ) from error
    hints = get_type_hints(function)
    for name in payload.keys() & hints.keys():
        try:
            parse_obj_as(hints[name], payload[name])
        except ValueError:
            # Not with the value, which may be a secret.
            place = f"{name} of task {task.task_name}"
            raise ValueError(f"{place} must be {hints[name]}") from None
