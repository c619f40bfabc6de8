"""Calls in threads that end before a cancellation goes on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")


async def finish(work: Awaitable[Result]) -> Result:
    """Return what `work` returns; if cancelled, let it end first.

    A call in a thread cannot be stopped. Whoever goes on without it
    gets a file that is closed while it is written, or one that nobody
    closes.

    Raises:
        CancelledError: The caller was cancelled; the work has ended.
        Exception: What `work` raised.
    """
    ending = asyncio.ensure_future(work)
    cancellation: asyncio.CancelledError | None = None
    while not ending.done():
        try:
            await asyncio.wait([ending])
        except asyncio.CancelledError as error:  # noqa: ASYNC103
            cancellation = error  # raised below
    if cancellation is not None:
        _ = ending.cancelled() or ending.exception()
        raise cancellation
    return ending.result()


async def in_thread(
    function: Callable[..., Result],
    *arguments: object,
) -> Result:
    """Return what `function` returns, called in a thread.

    Raises:
        CancelledError: The caller was cancelled; the call has ended.
        Exception: What `function` raised.
    """
    loop = asyncio.get_running_loop()
    return await finish(
        loop.run_in_executor(None, function, *arguments),
    )
