"""An async cache: loads each value once, keeps no failures."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextvars import ContextVar
from typing import Generic, TypeVar

from ..cancellation import end, outcome
from .checks import at_least_one

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

# The caches and keys whose loads the running code is a part of.
_loading: ContextVar[frozenset[tuple[object, Hashable]]] = ContextVar(
    "_loading",
    default=frozenset(),
)


class _Load(Generic[Value]):
    """A value that is being loaded, and how many wait for it."""

    def __init__(self, task: asyncio.Task[Value]) -> None:
        self.task = task
        self.waiters = 0


class AsyncCache(Generic[Key, Value]):
    """Loads each value once and keeps the most recently used ones.

        cache = AsyncCache(load_profile, max_size=1000)
        profile = await cache.get(user_id)

    A load runs in a task of its own: when one of several callers who
    wait for it is cancelled, the others get the value all the same.
    When the last one is, so is the load.

    Args:
        load: The async function that loads the value of a key.
        max_size: How many values are kept; beyond that, the value goes
            that was not asked for for the longest time.

    Raises:
        ValueError: The size is below 1.
    """

    def __init__(
        self,
        load: Callable[[Key], Awaitable[Value]],
        *,
        max_size: int = 1000,
    ) -> None:
        at_least_one(max_size=max_size)
        self._function = load
        self._max_size = max_size
        self._values: dict[Key, Value] = {}
        self._loads: dict[Key, _Load[Value]] = {}

    def __len__(self) -> int:
        """Return how many values are kept."""
        return len(self._values)

    async def get(self, key: Key) -> Value:
        """Return the value of the key, loading it if need be.

        Raises:
            WorkCancelledError: The load cancelled itself.
            RuntimeError: The load of the key asks for the key.
            Exception: What the load raised. The next call loads again.
        """
        if key in self._values:
            self._keep(key, self._values.pop(key))
            return self._values[key]
        if (self, key) in _loading.get():
            raise RuntimeError(
                f"the load of {key!r} needs {key!r} itself",
            )
        load = self._loads.get(key) or self._start(key)
        load.waiters += 1
        try:
            # Neither cancels the load with the caller, nor raises.
            await asyncio.wait([load.task])
        finally:
            load.waiters -= 1
            if not load.waiters:
                await self._give_up(key, load)
        return outcome(load.task)

    def forget(self, key: Key) -> None:
        """Let the next call load this key anew; unknown keys are fine.

        Callers who wait for a load that is under way get its value, but
        it is not kept.
        """
        self._values.pop(key, None)
        self._loads.pop(key, None)

    def _start(self, key: Key) -> _Load[Value]:
        async def run() -> Value:
            _loading.set(_loading.get() | {(self, key)})
            try:
                value = await self._function(key)
                if self._loads.get(key) is load:
                    self._keep(key, value)
                return value
            finally:
                self._drop(key, load)

        load = _Load(asyncio.create_task(run()))
        self._loads[key] = load
        return load

    async def _give_up(self, key: Key, load: _Load[Value]) -> None:
        self._drop(key, load)
        await end([load.task])

    def _drop(self, key: Key, load: _Load[Value]) -> None:
        if self._loads.get(key) is load:
            del self._loads[key]

    def _keep(self, key: Key, value: Value) -> None:
        self._values[key] = value
        if len(self._values) > self._max_size:
            del self._values[next(iter(self._values))]
