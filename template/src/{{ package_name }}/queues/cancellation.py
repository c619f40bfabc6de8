"""Tells cancellation from within a task from that of its caller."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")


class WorkCancelledError(RuntimeError):
    """Work was cancelled, mostly by itself; its caller was not.

    As an ordinary error it can be raised and collected like any other,
    and no caller takes it for a cancellation of their own.
    """

    def __init__(
        self,
        message: str = "the work was cancelled, its caller was not",
    ) -> None:
        super().__init__(message)


def cancel_requests() -> int:
    """Return how often the running task has been asked to stop."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def raise_if_cancelled(before: int) -> None:
    """Return if the task was not asked to stop more often by now.

    What it awaits may have swallowed the cancellation: user code, or
    `asyncio.wait_for` on Python 3.11.

    Raises:
        asyncio.CancelledError: It was asked to stop.
    """
    if cancel_requests() > before:
        raise asyncio.CancelledError


async def result_of(work: asyncio.Future[Result]) -> Result:
    """Return the result of the work; cancel it if the caller is.

    Raises:
        asyncio.CancelledError: The caller was cancelled, even if the
            work went on to a result of its own.
        WorkCancelledError: The work was cancelled, but not the caller.
        Exception: What the work raised.
    """
    requests = cancel_requests()
    try:
        result = await work
    except asyncio.CancelledError as error:
        if cancel_requests() == requests:
            raise WorkCancelledError from error  # noqa: ASYNC104 - not the caller's
        raise
    raise_if_cancelled(requests)
    return result


async def isolated(
    function: Callable[[], Awaitable[Result]],
) -> Result:
    """Return what `function` returns, called in a task of its own.

    Raises:
        WorkCancelledError: It cancelled itself; in a TaskGroup that
            would otherwise pass for a success.
        Exception: What it raised.
    """

    async def call() -> Result:
        return await function()

    return await result_of(asyncio.create_task(call()))
