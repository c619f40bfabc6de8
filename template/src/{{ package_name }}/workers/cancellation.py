"""Notices a cancellation that a library has swallowed.

On Python 3.11, `asyncio.wait_for` swallows one that comes just as the
awaited call ends, and the client of Redis sends by way of it. So a loop
around such calls has to look for itself, or it may never end.
"""

import asyncio


def times_cancelled() -> int:
    """Return how often the running task has been asked to end."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def raise_if_cancelled(before: int = 0) -> None:
    """Return if the task has not been asked to end more often by now.

    Args:
        before: What `times_cancelled` returned at the start; nothing is
            needed in a task that was made for the work.

    Raises:
        asyncio.CancelledError: It has been asked to end.
    """
    if times_cancelled() > before:
        raise asyncio.CancelledError
