"""Runs one async function over many items, a few at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import chain, islice
from typing import TypeVar

from .cancellation import (
    WorkCancelledError,
    Works,
    isolated,
    together,
)

Item = TypeVar("Item")
Result = TypeVar("Result")


async def fan_out(
    function: Callable[[Item], Awaitable[Result]],
    items: Iterable[Item],
    *,
    limit: int = 10,
) -> list[Result]:
    """Return the results of `function` for all items, in their order.

        users = await fan_out(fetch_user, [1, 2, 3], limit=2)

    At most `limit` calls run at once, and items are taken only as calls
    finish, so that an iterator of a million is fine. The first failure
    cancels the calls under way and starts no more.

    Raises:
        ExceptionGroup: A call failed; it holds every failure. One that
            cancelled itself is a WorkCancelledError in it.
        ValueError: The limit is below 1.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    results: dict[int, Result] = {}
    waiting = enumerate(items)

    async def work(works: Works, first: tuple[int, Item]) -> None:
        for position, item in chain([first], waiting):
            try:
                results[position] = await function(item)
                await works.go_on()
            except asyncio.CancelledError as error:
                if works.ending:
                    raise
                problem = WorkCancelledError(
                    f"the call for {item!r} was cancelled",
                )
                raise problem from error  # noqa: ASYNC104 - not ours

    async with together() as works:
        for first in islice(waiting, limit):
            _ = works.start(work(works, first))
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

        outcomes = await fan_out_outcomes(fetch_user, [1, 2, 3])
        users = [each for each in outcomes if isinstance(each, User)]

    Raises:
        ExceptionGroup: The items themselves could not be read.
        ValueError: The limit is below 1.
    """

    async def outcome(item: Item) -> Result | Exception:
        try:
            return await isolated(partial(function, item))
        except Exception as error:  # noqa: BLE001 - an outcome
            return error

    return await fan_out(outcome, items, limit=limit)
