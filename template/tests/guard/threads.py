"""Notices what asyncio is told from a thread that is not its loop's.

The loop does not wake up for it, and two threads change the same lists
at once. In asyncio's debug mode the loop itself looks out for that; what
nobody waits for yet, such as an empty queue, tells no loop at all.
"""

import asyncio
import sys
from asyncio import Future, _get_running_loop
from collections.abc import Callable
from functools import wraps
from threading import get_ident
from typing import Any

import pytest

from .places import current_line, frames, path_in_project
from .watch import Watch

# What changes the state of each, without a call of the loop where nobody waits.
METHODS: dict[Any, list[str]] = {
    asyncio.Queue: ["put_nowait", "get_nowait", "task_done"],
    asyncio.Event: ["set"],
}

# The attribute that says in which loop and where one of these was made.
MADE_IN = "_guard_made_in"


class WrongThreads:
    """Watches queues and events; the loop watches itself."""

    def __init__(self, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
        self._watch = watch
        self._monkeypatch = monkeypatch

    def start(self) -> None:
        """Begin to take note."""
        for owner, names in METHODS.items():
            self._monkeypatch.setattr(owner, "__init__", _remembering(owner.__init__))
            for name in names:
                self._monkeypatch.setattr(owner, name, self._noting(getattr(owner, name)))

    def _noting(self, original: Callable[..., object]) -> Callable[..., object]:
        @wraps(original)
        def noting(thing: Any, *args: object, **options: object) -> object:  # noqa: ANN401
            loop, line = getattr(thing, MADE_IN, (None, ""))
            note_wrong_thread(self._watch, thing._loop or loop, line)
            return original(thing, *args, **options)

        return noting


class ProjectFuture(Future[Any]):
    """A future that the project has made; those of others are as they are."""

    made_at = ""

    def set_result(self, result: object) -> None:
        """Set it as usual."""
        self._note()
        super().set_result(result)

    def set_exception(self, exception: Any) -> None:  # noqa: ANN401 - a class or an object
        """Set it as usual."""
        self._note()
        super().set_exception(exception)

    def cancel(self, msg: object = None) -> bool:
        """Cancel it as usual."""
        self._note()
        return super().cancel(msg)

    def _note(self) -> None:
        loop: Any = self.get_loop()
        note_wrong_thread(loop.watch, loop, self.made_at)


# As messages and the representation of a future call it.
ProjectFuture.__name__ = ProjectFuture.__qualname__ = "Future"


def note_wrong_thread(watch: Watch, loop: Any, made_at: str = "") -> None:  # noqa: ANN401
    """Take note if a loop is at work in another thread, and the project is in this one.

    Args:
        watch: What is told of it.
        loop: The loop, if one is known.
        made_at: Where that was made whose function this thread calls at once.
    """
    thread = getattr(loop, "_thread_id", None)
    if thread is None or thread == get_ident():
        return
    line = _line_of_thread()
    if line:
        watch.found("wrong-thread", f"asyncio was called outside of its loop's thread at {line}")
    elif line is None and made_at:
        what = f"what was made at {made_at} was changed outside of its loop's thread"
        watch.found("wrong-thread", what)


def _line_of_thread() -> str | None:
    """Return the line of the project that makes a call itself.

    Returns "" if a library makes it, on whatever account, and None if the
    thread was given nothing else to do.
    """
    for frame in frames(sys._getframe(2)):
        file = frame.f_code.co_filename
        path = path_in_project(file)
        if path:
            return f"{path}:{frame.f_lineno}"
        name = str(frame.f_globals.get("__name__", ""))
        is_passed_on = name.partition(".")[0] in sys.stdlib_module_names
        if not is_passed_on and name.rpartition(".")[0] != __package__:
            return ""
    return None


def _remembering(make: Callable[..., None]) -> Callable[..., None]:
    @wraps(make)
    def remembering(thing: object, *args: object, **options: object) -> None:
        make(thing, *args, **options)
        loop = _get_running_loop()
        if loop:
            setattr(thing, MADE_IN, (loop, current_line()))

    return remembering
