"""Background processing: started now, awaited or ended later."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import count
from types import TracebackType
from typing import Generic, Self, TypeVar

from ..cancellation import end
from ..fan_out import fan_out
from .attempts import Attempt
from .checks import at_least_one

Item = TypeVar("Item")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the processing is, in items.

    Attributes:
        total: All that were ever given.
        succeeded: Those that were processed.
        failed: Those whose processing raised an error.
    """

    total: int
    succeeded: int
    failed: int

    @property
    def remaining(self) -> int:
        """Return how many are waiting, under way, or were cancelled."""
        return self.total - self.succeeded - self.failed


@dataclass(frozen=True, slots=True)
class Failure(Generic[Item]):
    """An item, and what its processing raised."""

    item: Item
    error: Exception


class BackgroundProcessor(Generic[Item]):
    """Processes items in the background, a limited number at a time.

        async with BackgroundProcessor(send_mail) as processor:
            processor.start_processing(addresses)
            await processor.wait_for_completion()

    Or call `shutdown` in the end. Leaving cancels what is not done:
    call `wait_for_completion` before. An error is logged at once, for
    maybe nobody is waiting; it is kept in `failures` and raised by
    whoever waits.

    Args:
        process: The async function that is called with each item.
        max_concurrent: How many items may be processed at once.

    Raises:
        ValueError: The limit is below 1.
    """

    def __init__(
        self,
        process: Callable[[Item], Awaitable[object]],
        *,
        max_concurrent: int = 3,
    ) -> None:
        at_least_one(max_concurrent=max_concurrent)
        self._function = process
        self._max_concurrent = max_concurrent
        self._limit = asyncio.Semaphore(max_concurrent)
        self._numbers = count(1)
        self._runs: set[asyncio.Task[object]] = set()
        self._total = 0
        self._succeeded = 0
        self._failures: list[Failure[Item]] = []
        self._raised = 0
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.shutdown()

    @property
    def progress(self) -> Progress:
        """Return how far the processing is now."""
        return Progress(
            total=self._total,
            succeeded=self._succeeded,
            failed=len(self._failures),
        )

    @property
    def failures(self) -> list[Failure[Item]]:
        """Return all that failed so far, in the order of failing."""
        return list(self._failures)

    def start_processing(self, items: Iterable[Item]) -> None:
        """Start to process these items, and return at once.

        It may be called again while others are being processed. All
        items are kept in memory; for a long or endless source of them,
        see `QueueProcessor` and `AsyncTaskQueue.stream`.

        Raises:
            RuntimeError: The processor is shut down, or no event loop
                is running.
        """
        if self._closed:
            raise RuntimeError(
                "the processor is shut down: make a new one",
            )
        loop = asyncio.get_running_loop()
        waiting = [(next(self._numbers), item) for item in items]
        self._total += len(waiting)
        run = loop.create_task(self._run(waiting))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)

    async def wait_for_completion(self) -> None:
        """Wait until all that was started has ended.

        Cancelling this, as a timeout does, ends the wait alone: the
        processing goes on.

        Raises:
            ExceptionGroup: Items failed; it holds every error that no
                earlier wait has raised.
        """
        while self._runs:
            await asyncio.wait(self._runs)
        new = self._failures[self._raised :]
        self._raised = len(self._failures)
        if new:
            raise ExceptionGroup(
                f"{len(new)} of {self._total} items failed",
                [failure.error for failure in new],
            )

    async def shutdown(self) -> None:
        """Cancel what is not done, and wait until it has ended.

        Afterwards nothing can be started. Shutting down twice is fine.
        """
        self._closed = True
        await end(list(self._runs))

    async def _run(self, items: list[tuple[int, Item]]) -> None:
        await fan_out(self._process, items, limit=self._max_concurrent)

    async def _process(self, numbered: tuple[int, Item]) -> None:
        number, item = numbered
        function = partial(self._function, item)
        attempt = Attempt(f"item {number}", function, self._limit)
        try:
            await attempt.outcome()
        finally:
            # It may have ended in the moment of the shutdown.
            self._count(item, attempt)

    def _count(self, item: Item, attempt: Attempt[object]) -> None:
        result = attempt.result
        if result is None:
            return
        if result.error is None:
            self._succeeded += 1
            return
        logger.error("%s failed: %r", result.task_id, result.error)
        self._failures.append(Failure(item, result.error))
