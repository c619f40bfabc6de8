"""What the error of a test tells of: a finding of the guard, a warning that became an error, a time-out."""

import re
import sys
from asyncio import _get_running_loop, all_tasks, current_task
from collections.abc import Iterable, Iterator, Sequence
from threading import get_ident
from typing import Any

import pytest
from _pytest.outcomes import Failed

from .findings import Finding
from .origins import OPENED_AT
from .places import (
    current_line,
    line_that_raised,
    line_that_waits,
    path_in_project,
)
from .watch import CHECKS, Check, sentence

PAGE = "tests/guard/README.md"

# Lines beside that of a finding.
LINES = 4

# The attribute of an error that has what the guard has found beside it.
FOUND = "_guard_found"

LINE = re.compile(r"\b(?:src|tests)/[^\s:]+:\d+")
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
NEVER_AWAITED = re.compile(r"coroutine .*was never awaited")
ORIGIN = re.compile(r'File "(.+)", line (\d+)')
TIMEOUT = re.compile(r"Timeout \(>[\d.]+s\) from pytest-timeout\.")

Found = Iterable[tuple[str, str]]


class FoundError(Failed):
    """The guard has found something in a test that passed otherwise.

    Args:
        found: Checks, each with what is wrong.
    """

    def __init__(self, found: list[tuple[str, str]]) -> None:
        super().__init__("\n".join(sentence(*each) for each in found), pytrace=False)
        setattr(self, FOUND, found)


def findings_in(error: BaseException, test: str, waits: Sequence[str]) -> Iterator[Finding]:
    """Yield what the error of a test tells of, nothing if it is for pytest to show.

    Args:
        error: What it failed for.
        test: Where the test is.
        waits: Where the project waited as the time was up.
    """
    own = list(_findings_of(error, test, waits))
    found = [finding_of(check, what, test) for check, what in getattr(error, FOUND, [])]
    is_leak = any(each.what.startswith("leaked-") for each in found)
    for finding in own:
        # What is left open tells of itself, and of what it holds.
        if not (is_leak and finding.where == test and "nclosed" in finding.what):
            yield finding
    if own or isinstance(error, FoundError):
        yield from found


def _findings_of(error: BaseException, test: str, waits: Sequence[str]) -> Iterator[Finding]:
    if isinstance(error, BaseExceptionGroup):
        parts = [list(findings_in(each, test, waits)) for each in error.exceptions]
        for part in parts if all(parts) else []:
            yield from part
    elif isinstance(error, pytest.PytestUnraisableExceptionWarning):
        yield _unraisable(error, test)
    elif isinstance(error, pytest.PytestUnhandledThreadExceptionWarning):
        yield _in_thread(error, test)
    elif isinstance(error, Failed) and TIMEOUT.fullmatch(str(error)):
        yield _timeout(error, waits or [test])


def finding_of(check: str, what: str, test: str) -> Finding:
    """Return what the guard has found, in a test that is at a place."""
    places = list(dict.fromkeys(LINE.findall(what))) or [test]
    # A call of the code is told by the line of the test, too.
    places.sort(key=lambda place: place.startswith("tests/"))
    known = CHECKS.get(check, Check(why="", remedy=""))
    return Finding(
        f"{check}: {what}" if check in CHECKS else what,
        where=places[0],
        why=known.why,
        remedy=known.remedy,
        page=PAGE,
        also=tuple(places[1 : LINES + 1]),
    )


def _unraisable(warning: BaseException, test: str) -> Finding:
    error = warning.__cause__
    message = str(error)
    if error and NEVER_AWAITED.match(message):
        origins = [
            f"{path_in_project(file)}:{line}"
            for file, line in ORIGIN.findall(message)
            if path_in_project(file)
        ]
        return Finding(
            message.splitlines()[0],
            where=[test, *origins][-1],
            why="Nothing of it has run, and nobody sees that.",
            remedy="Await it, or start it in a TaskGroup.",
            page=PAGE,
        )
    if isinstance(error, ResourceWarning):
        return Finding(
            f"ResourceWarning: {_plain(message)}",
            where=getattr(error, OPENED_AT, "") or test,
            why="It stays open until the garbage collector finds it, whenever that is.",
            remedy="Close it: use it by `with` or `async with`, or close it in a finally.",
            page=PAGE,
        )
    return Finding(
        _with_cause(warning),
        where=line_that_raised(error.__traceback__ if error else None) or test,
        why="Python cannot raise it where it happens, so that the program goes on without a word.",
        remedy="Close it by a context manager, whose errors are seen.",
        page=PAGE,
    )


def _in_thread(warning: BaseException, test: str) -> Finding:
    error = warning.__cause__
    return Finding(
        _with_cause(warning),
        where=line_that_raised(error.__traceback__ if error else None) or test,
        why="The thread has ended by it, and nobody who waits for the thread is told.",
        remedy="Use asyncio.to_thread or an executor, whose result raises it.",
        page=PAGE,
    )


def _timeout(error: BaseException, waits: Sequence[str]) -> Finding:
    return Finding(
        str(error).rstrip("."),
        where=waits[0],
        why="What it waits for there does not come, or takes longer than `timeout` in pytest.ini.",
        remedy="Let something end the wait, or limit it: async with asyncio.timeout(...).",
        page=PAGE,
        also=tuple(waits[1 : LINES + 1]),
    )


def _with_cause(warning: BaseException) -> str:
    """Return the first line of a warning with the error that it is about."""
    first = _plain(str(warning)).partition("\n")[0]
    error = warning.__cause__
    return f"{first}: {type(error).__name__}: {error}" if error else first


def _plain(message: str) -> str:
    return ADDRESS.sub("", message)


class Waits:
    """Knows where the project waits as a test has run out of time."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of what shows the stacks of all threads."""
        timeout = sys.modules.get("pytest_timeout")
        if timeout:
            monkeypatch.setattr(timeout, "dump_stacks", self._note)

    def take(self) -> list[str]:
        """Return the lines where it waited, that of the test first, and forget them."""
        lines, self._lines = self._lines, []
        return lines

    def _note(self, _: object) -> None:
        loop: Any = _get_running_loop()
        lines = [] if loop and not current_task(loop) else [current_line()]
        tasks = all_tasks(loop) if loop else set()
        lines += [line_that_waits(task.get_coro()) for task in tasks if _is_of_test(loop, task)]
        lines += sorted(line_that_waits(task.get_coro()) for task in tasks)
        own = get_ident()
        lines += [current_line(each) for id_, each in sys._current_frames().items() if id_ != own]
        self._lines = [line for line in dict.fromkeys(lines) if line]


def _is_of_test(loop: Any, task: object) -> bool:  # noqa: ANN401 - any loop
    return hasattr(loop, "is_own") and bool(loop.is_own(task))
