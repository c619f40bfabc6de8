"""Notices clients, threads and processes that outlive their test."""

import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

from .places import current_line, frames, is_importing, path_in_project
from .watch import Watch

# Seconds that a thread may need to end after it was told to.
GRACE = 1.0

# Pools start threads and processes late and keep them: pools count.
POOLS = tuple(
    os.path.join(*names, "")  # noqa: PTH118 - a part of a path
    for names in [("concurrent", "futures"), ("multiprocessing",), ("asyncio",)]
)


@dataclass
class Made:
    """Something that must come to an end.

    Attributes:
        check: The check that it falls under.
        thing: What was made.
        line: Where it was made.
        is_open: Says whether it has not come to its end.
    """

    check: str
    thing: Any
    line: str
    is_open: Callable[[Any], bool]


class Resources:
    """What the project's code has made and must bring to an end."""

    def __init__(self, watch: Watch) -> None:
        self._is_lasting = False
        self._watch = watch
        self._made: list[Made] = []
        self._lasting: list[Made] = []
        self._undo: list[Callable[[], None]] = []
        self._watched: set[str] = set()

    def start(self) -> None:
        """Begin to take note of what is made."""
        self._after(threading.Thread, "start", self._note_thread)
        self._after(subprocess.Popen, "__init__", self._note_process)
        self._after(ThreadPoolExecutor, "__init__", self._note_threads)

    def watch_imported(self) -> None:
        """Take note of clients, too, once their library is imported."""
        for module, owner, note in [
            ("aiohttp", "ClientSession", self._note_client),
            ("httpx", "AsyncClient", self._note_client),
            ("httpx", "Client", self._note_client),
            ("httpx2", "AsyncClient", self._note_client),
            ("httpx2", "Client", self._note_client),
            (
                "concurrent.futures.process",
                "ProcessPoolExecutor",
                self._note_processes,
            ),
        ]:
            name = f"{module}.{owner}"
            if name not in self._watched and module in sys.modules:
                self._watched.add(name)
                cls = getattr(sys.modules[module], owner)
                self._after(cls, "__init__", note)
        name = "multiprocessing.process"
        if name not in self._watched and name in sys.modules:
            self._watched.add(name)
            process = sys.modules[name].BaseProcess
            self._after(process, "start", self._note_child)

    def stop(self) -> None:
        """Leave everything as it was before `start`."""
        while self._undo:
            self._undo.pop()()

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """Take what is made within for what outlives its test."""
        before, self._is_lasting = self._is_lasting, True
        try:
            yield
        finally:
            self._is_lasting = before

    def check(self) -> None:
        """Take note of what the test has made and not ended."""
        made, self._made = self._made, []
        self._check(made)

    def check_lasting(self) -> None:
        """Take note of what fixtures have made and not ended."""
        made, self._lasting = self._lasting, []
        self._check(made)

    def _check(self, made: list[Made]) -> None:
        for each in made:
            if each.is_open(each.thing):
                name = type(each.thing).__name__
                self._watch.found(
                    each.check,
                    f"{name}, made at {each.line}, was not ended",
                )
        # It is reported: what its end says then would be a second time.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            made.clear()

    def _after(
        self,
        owner: type,
        name: str,
        note: Callable[[Any], None],
    ) -> None:
        original = getattr(owner, name)

        @wraps(original)
        def noted(
            thing: object,
            *args: object,
            **options: object,
        ) -> None:
            original(thing, *args, **options)
            note(thing)

        setattr(owner, name, noted)
        self._undo.append(lambda: setattr(owner, name, original))

    def _note(
        self,
        check: str,
        thing: object,
        is_open: Callable[[Any], bool],
    ) -> None:
        line = current_line()
        # What a module holds lives as long as the program.
        if line and not is_importing(sys._getframe()):
            made = Made(check, thing, line, is_open)
            (self._lasting if self._is_lasting else self._made).append(
                made,
            )

    def _note_client(self, client: object) -> None:
        self._note("leaked-client", client, _is_open_client)

    def _note_thread(self, thread: threading.Thread) -> None:
        if not _is_of_a_pool():
            self._note("leaked-thread", thread, _is_alive)

    def _note_threads(self, pool: ThreadPoolExecutor) -> None:
        if not _is_of_a_pool():
            self._note("leaked-thread", pool, _is_open_pool)

    def _note_process(self, process: subprocess.Popen[Any]) -> None:
        self._note("leaked-process", process, _is_running)

    def _note_child(self, process: object) -> None:
        if not _is_of_a_pool():
            self._note("leaked-process", process, _is_alive)

    def _note_processes(self, pool: object) -> None:
        self._note("leaked-process", pool, _is_open_pool)


def _is_of_a_pool() -> bool:
    """Return whether a pool is at work, not the project's own code."""
    for frame in frames(sys._getframe(3)):
        file = frame.f_code.co_filename
        if path_in_project(file):
            return False
        if any(pool in file for pool in POOLS):
            return True
    return False


def _is_open_client(client: Any) -> bool:  # noqa: ANN401
    closed = getattr(client, "closed", None)
    return not (client.is_closed if closed is None else closed)


def _is_alive(thread: Any) -> bool:  # noqa: ANN401 - or a process
    try:
        thread.join(GRACE if thread.is_alive() else 0)
        return bool(thread.is_alive())
    except ValueError:  # of a process that was closed
        return False


def _is_open_pool(pool: Any) -> bool:  # noqa: ANN401
    # A pool that was never used has started nothing.
    if hasattr(pool, "_threads"):
        return bool(pool._threads) and not pool._shutdown
    return bool(pool._processes) and not pool._shutdown_thread


def _is_running(process: subprocess.Popen[Any]) -> bool:
    return process.returncode is None and process.poll() is None
