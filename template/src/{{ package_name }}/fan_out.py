"""Runs one async function over many items, a few at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def fan_out(
    function: Callable[[Item], Awaitable[Result]],
    items: Iterable[Item],
    *,
    limit: int = 10,
) -> list[Result]:
    """Return the results of `function` for all items, in their order.

    At most `limit` calls run at once, and items are taken only as calls
    finish, so that an iterator of a million is fine. The first failure
    cancels the calls under way and starts no more.

    Raises:
        ExceptionGroup: A call failed; it holds every failure. One that
            cancelled itself, or its task, is a RuntimeError in it.
        ValueError: The limit is below 1.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    results: dict[int, Result] = {}
    waiting = enumerate(items)

    async def work() -> None:
        for position, item in waiting:
            results[position] = await _call(function, item)
            # The call may have swallowed the cancellation of this task.
            _raise_if_cancelled()

    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(work()) for _ in range(limit)]
    if any(worker.cancelled() for worker in workers):
        # Neither the caller nor the group did that.
        error = RuntimeError("a call cancelled the task it ran in")
        raise ExceptionGroup("items are lost", [error])
    return [results[position] for position in range(len(results))]


async def fan_out_outcomes(
    function: Callable[[Item], Awaitable[Result]],
    items: Iterable[Item],
    *,
    limit: int = 10,
) -> list[Result | Exception]:
    """Return a result or an exception for each item, in their order.

    Unlike `fan_out`, a failure stops nothing: it takes the place of its
    item's result. Cancelling the caller cancels all calls.

    Raises:
        ExceptionGroup: The items themselves could not be read, or a
            call cancelled the task that it ran in.
        ValueError: The limit is below 1.
    """

    async def outcome(item: Item) -> Result | Exception:
        try:
            return await _call(function, item)
        except Exception as error:  # noqa: BLE001 - an outcome
            return error

    return await fan_out(outcome, items, limit=limit)


async def _call(
    function: Callable[[Item], Awaitable[Result]],
    item: Item,
) -> Result:
    """Return a call's result; let one that cancels itself fail.

    A task group takes a task that ends as cancelled for one that nobody
    misses, so its item would be lost without a word.
    """
    try:
        return await function(item)
    except asyncio.CancelledError as error:
        _raise_if_cancelled()
        raise RuntimeError(  # noqa: ASYNC104 - not the caller's
            f"the call for {item!r} was cancelled",
        ) from error


def _raise_if_cancelled() -> None:
    """Raise CancelledError if the running task was cancelled."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
