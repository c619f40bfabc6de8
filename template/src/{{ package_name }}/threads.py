"""Calls in threads that end before a cancellation goes on."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from .cancellation import finish

Result = TypeVar("Result")


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
        loop.run_in_executor(None, call, function, *arguments),
    )


def call(
    function: Callable[..., Result],
    *arguments: object,
) -> Result:
    """Return what `function` returns, to be called in an executor.

    Raises:
        RuntimeError: It raised StopIteration, which no future can hold:
            who waits for it would wait for ever.
        Exception: What else it raised.
    """
    try:
        return function(*arguments)
    except StopIteration as error:
        raise RuntimeError(
            f"{function!r} raised StopIteration",
        ) from error
