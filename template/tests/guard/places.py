"""Finds the line of the project's own code that is at work, or waits."""

import sys
from asyncio import events
from collections.abc import Iterable, Iterator
from functools import cache
from gc import get_referents
from itertools import takewhile
from pathlib import Path
from types import (
    AsyncGeneratorType,
    CodeType,
    CoroutineType,
    FrameType,
    GeneratorType,
    TracebackType,
)
from typing import Any

PROJECT = Path(__file__).parents[2]
GUARD = Path(__file__).parent

# The folders of the sources: another one by `guard_sources` in pytest.ini.
SOURCES = ["src"]

# What stands between a coroutine and what it waits for.
WRAPPERS = frozenset(
    ["async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper"]
)


@cache
def path_in_project(file: str) -> str:
    """Return the path from the project's folder, "" for other code.

    Sources and tests are the project's own code; this plugin is not.
    """
    path = Path(file)
    if path.is_relative_to(GUARD) or not path.is_relative_to(PROJECT):
        return ""
    inside = path.relative_to(PROJECT)
    return inside.as_posix() if inside.parts[0] in {*SOURCES, "tests"} else ""


def is_source(path: str) -> bool:
    """Return whether a path or line of the project is in its sources."""
    return path.partition("/")[0] in SOURCES


def set_sources(folders: Iterable[str]) -> None:
    """Say which folders of the project hold its sources."""
    SOURCES[:] = folders
    path_in_project.cache_clear()
    _is_elsewhere.cache_clear()


def path_of(frame: FrameType) -> str:
    """Return the same of what is at work in a frame.

    A look at a frame's code is an audit event, and takes ten times as long as one at its globals while
    there is a hook. Where these are of a module elsewhere, so is the code.
    """
    file = frame.f_globals.get("__file__")
    if isinstance(file, str) and _is_elsewhere(file):
        return ""
    return path_in_project(frame.f_code.co_filename)


@cache
def _is_elsewhere(file: str) -> bool:
    return Path(file).is_absolute() and not path_in_project(file)


def is_step(frame: FrameType) -> bool:
    """Return whether a loop begins a step or a callback in a frame: what is further out makes none of it."""
    return frame.f_globals is vars(events)


def frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames at work, innermost first."""
    while frame:
        yield frame
        frame = frame.f_back


def is_importing(frame: FrameType | None) -> bool:
    """Return whether a module is being imported, by Python or by pytest."""
    return any(
        each.f_code.co_filename.startswith("<frozen importlib")
        or (each.f_code.co_name == "<module>" and path_in_project(each.f_code.co_filename))
        for each in takewhile(lambda each: not is_step(each), frames(frame))
    )


def current_line(frame: FrameType | None = None) -> str:
    """Return the project's innermost line at work, as "file:line"."""
    if frame is None:
        frame = sys._getframe(1)
    # Not by `frames`, as this is called often.
    while frame is not None and not is_step(frame):
        path = path_of(frame)
        if path:
            return f"{path}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def line_of(code: CodeType) -> str:
    """Return where code of the project begins, "" for other code."""
    path = path_in_project(code.co_filename)
    return path and f"{path}:{code.co_firstlineno}"


def line_that_raised(traceback: TracebackType | None) -> str:
    """Return the project's innermost line of a traceback, or ""."""
    line = ""
    while traceback:
        path = path_in_project(traceback.tb_frame.f_code.co_filename)
        if path:
            line = f"{path}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return line


def line_that_waits(thing: object) -> str:
    """Return the project's innermost line in what is awaited, such as a coroutine, or ""."""
    line = ""
    for _, frame in waiting(thing):
        path = path_in_project(frame.f_code.co_filename) if frame else ""
        if frame and path:
            line = f"{path}:{frame.f_lineno}"
    return line


def waiting(thing: object) -> Iterator[tuple[object, FrameType | None]]:
    """Yield something that is awaited, what that waits for, and so on, each with where it stands."""
    while thing is not None:
        yield thing, frame_of(thing)
        thing = awaited_by(thing)


def frame_of(thing: Any) -> FrameType | None:  # noqa: ANN401 - whatever is awaited
    """Return where something stands, as far as Python tells."""
    for name in ["cr_frame", "ag_frame", "gi_frame"]:
        frame: FrameType | None = getattr(thing, name, None)
        if frame:
            return frame
    return None


def awaited_by(thing: Any) -> Any:  # noqa: ANN401 - whatever is awaited
    """Return what something waits for, as far as Python tells."""
    if isinstance(thing, CoroutineType):
        return thing.cr_await
    if isinstance(thing, AsyncGeneratorType):
        return thing.ag_await
    if isinstance(thing, GeneratorType):
        return thing.gi_yieldfrom
    # A step of an async generator, or what `__await__` returns.
    if type(thing).__name__ in WRAPPERS:
        wrapped = (AsyncGeneratorType, CoroutineType)
        return next((each for each in get_referents(thing) if isinstance(each, wrapped)), None)
    return None
