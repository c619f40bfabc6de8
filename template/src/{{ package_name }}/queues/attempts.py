"""One task on its way: waits its turn, runs, says how it ended."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Generic, NamedTuple, TypeVar

from ..cancellation import WorkCancelledError, result_of

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class TaskResult(NamedTuple, Generic[Result_co]):
    """How a task ended: with a result, or with an error.

    Attributes:
        task_id: The name it was submitted under.
        result: What it returned; None if it failed.
        error: What it raised; None if it succeeded. A task that
            cancelled itself has a WorkCancelledError.
        started_at: When it started, after it had waited for its turn,
            by the wall clock, in UTC.
        completed_at: `started_at` plus the time taken by the event
            loop's monotonic clock: never earlier, even when the wall
            clock is set back in between.
    """

    task_id: str
    result: Result_co | None
    error: Exception | None
    started_at: datetime
    completed_at: datetime

    @property
    def duration(self) -> float:
        """Return the seconds it took, without the wait for its turn."""
        return (self.completed_at - self.started_at).total_seconds()

    @property
    def succeeded(self) -> bool:
        """Return whether it returned and did not raise."""
        return self.error is None


class Attempt(Generic[Result]):
    """Runs a function in a task of its own as soon as `limit` allows.

    With a task of its own the function has its own context variables,
    and its cancellation of itself is told apart from that of its
    caller.

    Attributes:
        task: The task, for whoever wants to cancel it or wait for it.
        result: How it ended; None before, and if it was cancelled.

    Raises:
        ValueError: The id is blank.
    """

    def __init__(
        self,
        task_id: str,
        function: Callable[[], Awaitable[Result]],
        limit: asyncio.Semaphore,
    ) -> None:
        if not task_id.strip():
            raise ValueError("task_id must not be blank")
        self.result: TaskResult[Result] | None = None
        self._task_id = task_id
        self._loop = asyncio.get_running_loop()
        self._start: tuple[datetime, float] | None = None
        self.task = self._loop.create_task(self._run(function, limit))

    async def outcome(self) -> TaskResult[Result]:
        """Return how it ended; cancelling this cancels it, too."""
        try:
            return await result_of(self.task)
        except WorkCancelledError as error:
            return self._ended(None, error)

    async def _run(
        self,
        function: Callable[[], Awaitable[Result]],
        limit: asyncio.Semaphore,
    ) -> TaskResult[Result]:
        async with limit:
            self._start = self._now()
            try:
                return self._ended(await function(), None)
            except Exception as error:  # noqa: BLE001 - an outcome
                return self._ended(None, error)

    def _now(self) -> tuple[datetime, float]:
        return datetime.now(UTC), self._loop.time()

    def _ended(
        self,
        result: Result | None,
        error: Exception | None,
    ) -> TaskResult[Result]:
        # Without a start it was cancelled before its turn.
        started_at, started = self._start or self._now()
        took = timedelta(seconds=self._loop.time() - started)
        self.result = TaskResult(
            self._task_id,
            result,
            error,
            started_at,
            started_at + took,
        )
        return self.result
