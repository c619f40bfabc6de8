"""A tool of development for tests: it does its own work in the middle of other code."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any


def look(*_: object) -> None:
    """Look up a file, as a tool does that shows where a program is."""
    Path(__file__).stat()


pause = look


def compute(*_: object) -> None:
    """Work for longer than a step of the loop may take."""
    end = time.thread_time() + 0.7
    while time.thread_time() < end:
        pass


@contextlib.contextmanager
def tracing(work: Callable[..., None] = look) -> Iterator[None]:
    """Do the work whenever a function of others begins, by sys.settrace."""

    def trace(frame: FrameType, *_: object) -> None:
        if frame.f_code.co_name == "helper":
            work()

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@contextlib.contextmanager
def monitoring() -> Iterator[None]:
    """Do the same by sys.monitoring, which came with Python 3.12."""
    monitor: Any = getattr(sys, "monitoring", None)
    if monitor is None:
        with tracing():
            yield
        return
    event = monitor.events.PY_START
    monitor.use_tool_id(4, "toolbox")
    monitor.register_callback(4, event, look)
    monitor.set_events(4, event)
    try:
        yield
    finally:
        monitor.set_events(4, 0)
        monitor.free_tool_id(4)


def patched_open(path: str) -> object:
    """Open a file as a stand-in for `open` does that first looks around."""
    look()
    return contextlib.nullcontext(path)


class Stream:
    """Takes what is printed."""

    def write(self, _: str) -> None:
        """Look up a file instead."""
        look()

    def flush(self) -> None:
        """Write nothing."""


def on_audit(function: Callable[[], object]) -> object:
    """Call a function and look whenever Python reports something of it."""

    def hook(event: str, _: object) -> None:
        if event == "toolbox.called":
            look()

    sys.addaudithook(hook)
    sys.audit("toolbox.called")
    return function()
