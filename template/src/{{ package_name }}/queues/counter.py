"""A counter that concurrent tasks share without losing an update."""

import asyncio
from collections.abc import Awaitable, Callable

from .checks import at_least_one


class SafeCounter:
    """Counts up, and saves each new value before it holds.

        counter = SafeCounter(save=write_to_database)
        number = await counter.increment()

    Between reading and writing the value there is an await, in which
    other tasks run; a lock keeps them from reading the same value.

    Args:
        value: Where to start.
        save: An async function that is called with each new value, such
            as one that writes it into a file or a database. If it
            raises or is cancelled, the value stays as it was.
    """

    def __init__(
        self,
        value: int = 0,
        *,
        save: Callable[[int], Awaitable[object]] | None = None,
    ) -> None:
        self._value = value
        self._save = save
        self._lock = asyncio.Lock()

    @property
    def value(self) -> int:
        """Return the last value that was saved."""
        return self._value

    async def increment(self, by: int = 1) -> int:
        """Add `by` and return the new value, which no other call gets.

        Raises:
            ValueError: `by` is below 1.
            Exception: What `save` raised.
        """
        at_least_one(by=by)
        async with self._lock:
            value = self._value + by
            if self._save is not None:
                await self._save(value)
            self._value = value
        return value
