"""Lets mocks suspend, as what they stand for does.

AsyncMock and MockTransport never give way to another task, so that no
race behind them can show. In a seeded schedule they give way at random,
at a pace that each task keeps for a while: as one call may take longer
than five others.
"""

import sys
from asyncio import _get_running_loop, current_task
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any
from unittest import mock

import pytest

from .loop import PACE, GuardLoop, draw_at_times, take_turn

# The least and the most turns that a mock gives way, before and after its
# answer. The bounds are far apart: a mock that takes no turn at all runs ahead
# of all others, and more than two would take longer than tests wait.
PACES = [(0, 0), (0, 1), (1, 2), (2, 2)]


class SuspendingMocks:
    """Makes AsyncMock and the MockTransport of httpx2 give way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._patched: set[type] = set()

    def start(self) -> None:
        """Begin to suspend."""
        self._patch(mock.AsyncMock, "_execute_mock_call")

    def watch_imported(self) -> None:
        """Suspend in MockTransport, too, once it is imported."""
        for name in ["httpx", "httpx2"]:
            transport = getattr(sys.modules.get(name), "MockTransport", None)
            if transport and transport not in self._patched:
                self._patch(transport, "handle_async_request")

    def _patch(self, owner: type, name: str) -> None:
        self._patched.add(owner)
        original: Callable[..., Awaitable[Any]] = getattr(owner, name)

        @wraps(original)
        async def suspending(*args: object, **options: object) -> object:
            await _give_way()
            answer = await original(*args, **options)
            await _give_way()
            return answer

        self._monkeypatch.setattr(owner, name, suspending)


async def _give_way() -> None:
    # There is none where a mock runs in no loop of asyncio.
    loop = _get_running_loop()
    if not isinstance(loop, GuardLoop) or not loop.random:
        return
    task = current_task(loop)
    assert task
    least, most = draw_at_times(task, PACE, loop.random, partial(loop.random.choice, PACES))
    loop.giving_way.add(task)
    try:
        for _ in range(loop.random.randint(least, most)):
            await take_turn()
    finally:
        loop.giving_way.discard(task)
