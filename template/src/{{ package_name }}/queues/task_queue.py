"""A task queue: many named tasks, a few at a time."""

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
)
from itertools import count
from typing import TypeVar

from ..fan_out import fan_out
from .attempts import Attempt, TaskResult
from .checks import at_least_one

Result = TypeVar("Result")

# An id, and an async function to call without arguments.
NamedTask = tuple[str, Callable[[], Awaitable[Result]]]


class AsyncTaskQueue:
    """Runs tasks with a limit, and says of each how it ended.

    The limit holds for all calls of one queue together. A failed task
    stops no other. A task is a function rather than a coroutine, so
    that one that never gets its turn leaves nothing behind.

    Args:
        max_concurrent: How many tasks may run at once.

    Raises:
        ValueError: The limit is below 1.
    """

    def __init__(self, max_concurrent: int = 3) -> None:
        at_least_one(max_concurrent=max_concurrent)
        self.max_concurrent = max_concurrent
        self._limit = asyncio.Semaphore(max_concurrent)
        self._numbers = count()
        self._results: dict[int, TaskResult[object]] = {}

    @property
    def results(self) -> list[TaskResult[object]]:
        """Return how tasks ended so far, in the order of submission.

        Holds what `process_task` and `process_all` have finished, also
        when they were cancelled or ran into a timeout. Tasks that were
        under way then have no result.
        """
        in_order = sorted(self._results.items())
        return [result for _, result in in_order]

    async def process_task(
        self,
        task_id: str,
        function: Callable[[], Awaitable[Result]],
    ) -> TaskResult[Result]:
        """Run one task when its turn comes, and return how it ended.

        Raises:
            ValueError: The id is blank.
        """
        number = next(self._numbers)
        attempt = Attempt(task_id, function, self._limit)
        try:
            return await attempt.outcome()
        finally:
            # It may have ended in the moment of the caller's
            # cancellation.
            if attempt.result is not None:
                self._results[number] = attempt.result

    async def process_all(
        self,
        tasks: Iterable[NamedTask[Result]],
    ) -> list[TaskResult[Result]]:
        """Run all tasks and return how they ended, in their order.

        Tasks are taken only as others end, so that an iterator of a
        million is fine; for results that are not to be kept in memory,
        see `stream`.

        Raises:
            ExceptionGroup: There was no next task to be had: the
                iterator failed, or an id is blank.
        """

        def process(
            task: NamedTask[Result],
        ) -> Awaitable[TaskResult[Result]]:
            return self.process_task(*task)

        return await fan_out(process, tasks, limit=self.max_concurrent)

    def stream(
        self,
        tasks: Iterable[NamedTask[Result]],
        *,
        look_ahead: int | None = None,
    ) -> AsyncGenerator[TaskResult[Result], None]:
        """Yield how tasks end, in their order, and keep none of it.

        Memory is bounded by `look_ahead`, whatever the number of tasks.
        Leaving early cancels what is under way: at once and for certain
        inside `async with contextlib.aclosing(queue.stream(...))`.

        Args:
            tasks: An id and a function each, taken as there is room.
            look_ahead: How many tasks may be waiting, under way or
                ended ahead of the result that is next; by default ten
                times the limit. One slow task holds up the rest if it
                is low.

        Raises:
            ValueError: The look-ahead is below 1, or an id is blank.
            Exception: What the iterator of the tasks raised.
        """
        if look_ahead is None:
            look_ahead = 10 * self.max_concurrent
        at_least_one(look_ahead=look_ahead)
        return self._stream(tasks, look_ahead)

    async def _stream(
        self,
        tasks: Iterable[NamedTask[Result]],
        look_ahead: int,
    ) -> AsyncGenerator[TaskResult[Result], None]:
        window: deque[Attempt[Result]] = deque()
        try:
            for task_id, function in tasks:
                if len(window) == look_ahead:
                    yield await window.popleft().outcome()
                window.append(Attempt(task_id, function, self._limit))
            while window:
                yield await window.popleft().outcome()
        finally:
            await _cancel([attempt.task for attempt in window])


async def _cancel(tasks: Iterable[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
