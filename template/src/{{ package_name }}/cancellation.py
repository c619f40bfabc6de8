"""Runs work in tasks of its own, so that cancellations are told apart.

Work may cancel itself, swallow a cancellation, or handle a task group
that failed, after which `Task.cancelling` counts one too many before
Python 3.13 (cpython issue 116720). In a task of its own it does so to
itself alone, and whoever waits for it is cancelled by others only. Who
ends works says so first, in `Works.ending`.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
)
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkCancelledError(RuntimeError):
    """Work was cancelled, mostly by itself; its caller was not.

    As an ordinary error it can be raised and collected like any other,
    and no caller takes it for a cancellation of their own.
    """


async def isolated(
    function: Callable[[], Awaitable[Result]],
) -> Result:
    """Return what `function` returns, called in a task of its own.

    Raises:
        Exception: As `result_of`.
    """

    return await result_of(asyncio.ensure_future(function()))


async def result_of(work: asyncio.Future[Result]) -> Result:
    """Return the result of the work; cancel it if the caller is.

    Raises:
        asyncio.CancelledError: The caller was cancelled. The work has
            ended, be it with a result; its error is the cause.
        WorkCancelledError: The work was cancelled, but not the caller.
        Exception: What the work raised.
    """
    caller = cast("asyncio.Task[object]", asyncio.current_task())
    if caller.cancelling():
        await _until_done([work], cancel=True)
        return outcome(work)
    # Not cancelled so far, it can tell afterwards whether it is now.
    cancellation = asyncio.CancelledError()
    try:
        await work
    except asyncio.CancelledError as error:  # noqa: ASYNC103
        cancellation = error  # whose, is told below
    except Exception:  # noqa: BLE001, S110 - the outcome raises it
        pass
    if caller.cancelling():
        raise cancellation from _first_error([work])
    return outcome(work)


def outcome(work: asyncio.Future[Result]) -> Result:
    """Return the result of work that has ended.

    Raises:
        WorkCancelledError: It was cancelled.
        Exception: What it raised.
    """
    if work.cancelled():
        raise WorkCancelledError(
            "the work was cancelled, its caller was not",
        )
    return work.result()


async def finish(work: Awaitable[Result]) -> Result:
    """Return what `work` returns; if cancelled, let it end first.

    For what must not be stopped half-way, or cannot be, as a call in a
    thread: whoever goes on without it gets a file that is closed while
    it is written, or one that nobody closes.

    Raises:
        asyncio.CancelledError: The caller was cancelled; the work has
            ended, and its error is the cause.
        Exception: What `work` raised.
    """
    ending = asyncio.ensure_future(work)
    await _until_done([ending], cancel=False)
    return ending.result()


async def end(
    works: Collection[asyncio.Future[Any]],
) -> list[Exception]:
    """Cancel work and return what it raised as it ended.

    Raises:
        asyncio.CancelledError: The caller was cancelled meanwhile. All
            work has ended; what it raised is the cause.
    """
    for work in works:
        work.cancel()
    await _until_done(works, cancel=True)
    return _errors(works)


async def _until_done(
    works: Collection[asyncio.Future[Any]],
    *,
    cancel: bool,
) -> None:
    """Wait until all have ended, even if the caller is cancelled.

    Raises:
        asyncio.CancelledError: The caller was. With `cancel` it reached
            the work, each time.
    """
    cancellation: asyncio.CancelledError | None = None
    while pending := [work for work in works if not work.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:  # noqa: ASYNC103
            cancellation = error  # raised below
            for work in pending if cancel else ():
                work.cancel()
    if cancellation is not None:
        raise cancellation from _first_error(works)


def _first_error(
    works: Collection[asyncio.Future[Any]],
) -> Exception | None:
    return next(iter(_errors(works)), None)


def _errors(works: Collection[asyncio.Future[Any]]) -> list[Exception]:
    ended = [work for work in works if not work.cancelled()]
    errors = [work.exception() for work in ended]
    return [error for error in errors if isinstance(error, Exception)]


class Works:
    """Works that end together, see `together`.

    Attributes:
        ending: Whether they have been asked to end.
        running: Those under way, or not yet waited for.
        ended: Those that have ended, to be waited for.
    """

    def __init__(self) -> None:
        self.ending = False
        self.running: set[asyncio.Task[Any]] = set()
        self.ended: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()

    def start(
        self,
        work: Coroutine[Any, Any, Result],
    ) -> asyncio.Task[Result]:
        """Return a new task of the work.

        Raises:
            asyncio.CancelledError: The works are ending.
        """
        if self.ending:
            work.close()
            raise asyncio.CancelledError
        task = asyncio.create_task(work)
        self.running.add(task)
        task.add_done_callback(self.ended.put_nowait)
        return task

    async def go_on(self) -> None:
        """Forget how often what was awaited cancelled the running work.

        For works that call often: as `isolated`, but no task is made.

        Raises:
            asyncio.CancelledError: The works are ending, or the work
                was cancelled just now.
        """
        task = cast("asyncio.Task[object]", asyncio.current_task())
        if task.cancelling():
            # By itself, or by a task group that failed: see above.
            await asyncio.sleep(0)
            while task.cancelling():
                task.uncancel()
        if self.ending:
            raise asyncio.CancelledError

    async def read(
        self,
        source: AsyncIterable[Item],
    ) -> AsyncGenerator[Item, None]:
        """Yield what the source does, and close an async generator.

        Raises:
            asyncio.CancelledError: The works are ending. That is for
                certain, though the source may swallow a cancellation.
        """
        items = aiter(source)
        try:
            async for item in items:
                await self.go_on()
                yield item
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()


@asynccontextmanager
async def together() -> AsyncIterator[Works]:
    """Give what starts works, and wait for their end.

    The first that fails ends the others, as in an `asyncio.TaskGroup`.
    Unlike there, a work that cancels itself has failed, and the task of
    the context is never cancelled: inside, wait for nothing.

    Raises:
        ExceptionGroup: It holds every failure, once.
    """
    works = Works()
    failures: list[Exception] = []
    try:
        yield works
        while works.running:
            ended = await works.ended.get()
            works.running.discard(ended)
            outcome(ended)
    except Exception as error:  # noqa: BLE001 - raised below
        failures.append(error)
    finally:
        works.ending = True
        failures += await end(works.running)
    if failures:
        # What one waited for that another raised comes from both.
        once = {id(failure): failure for failure in failures}
        raise ExceptionGroup("work failed", list(once.values()))
