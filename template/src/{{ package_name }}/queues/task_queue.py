"""A task queue: many named tasks, a few at a time."""

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
)
from functools import partial
from itertools import count
from typing import ParamSpec, TypeVar

from ..cancellation import end
from ..fan_out import fan_out
from .attempts import Attempt, TaskResult
from .checks import at_least_one

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# An id, and an async function to call without arguments.
NamedTask = tuple[str, Callable[[], Awaitable[Result]]]


class AsyncTaskQueue:
    """Runs tasks with a limit, and says of each how it ended.

        queue = AsyncTaskQueue(max_concurrent=3)
        result = await queue.process_task("report", write, "a.txt")
        result.result, result.error, result.duration

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
        under way then have no result. A queue that lives on keeps them
        all in memory until `forget_results` is called.
        """
        in_order = sorted(self._results.items())
        return [result for _, result in in_order]

    def forget_results(self) -> None:
        """Let go of all `results` so far."""
        self._results.clear()

    async def process_task(
        self,
        task_id: str,
        function: Callable[Parameters, Awaitable[Result]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> TaskResult[Result]:
        """Run one task when its turn comes, and return how it ended.

        Args:
            task_id: Its name, in its result.
            function: The async function to call.
            *args: Its arguments.
            **kwargs: Its arguments by name.

        Raises:
            ValueError: The id is blank.
        """
        work = partial(function, *args, **kwargs)
        return await self._process(next(self._numbers), task_id, work)

    async def _process(
        self,
        number: int,
        task_id: str,
        function: Callable[[], Awaitable[Result]],
    ) -> TaskResult[Result]:
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
            task: tuple[int, str, Callable[[], Awaitable[Result]]],
        ) -> Awaitable[TaskResult[Result]]:
            return self._process(*task)

        numbered = ((next(self._numbers), *task) for task in tasks)
        limit = self.max_concurrent
        return await fan_out(process, numbered, limit=limit)

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
            await end([attempt.task for attempt in window])
