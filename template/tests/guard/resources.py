"""Notices clients, threads and processes that outlive their test."""

import gc
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
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary, ref

import pytest

from .places import current_line, frames, is_importing, path_in_project
from .watch import Watch

# Seconds that a thread may need to end after it was told to.
GRACE = 1.0

# Pools start threads and processes late and keep them: pools count.
POOLS = tuple(
    os.path.join(*names, "")  # noqa: PTH118 - a part of a path
    for names in [("concurrent", "futures"), ("multiprocessing",), ("asyncio",)]
)


# Transports of httpx that reach out of the process, and the one that stands for them in tests.
REACHING = ("HTTPTransport", "AsyncHTTPTransport", "MockTransport")


@dataclass
class Made:
    """Something that must come to an end.

    Attributes:
        check: The check that it falls under.
        find: Returns what was made, or None if it is gone.
        line: Where it was made.
        is_open: Says whether it has not come to its end.
    """

    check: str
    find: Callable[[], Any]
    line: str
    is_open: Callable[[Any], bool]


class Resources:
    """What the project's code has made and must bring to an end.

    Attributes:
        told: The numbers of processes that were sent a signal.
        note_made: Is told of each thing that is made.
    """

    def __init__(self, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
        self._is_lasting = False
        self._watch = watch
        self._made: list[Made] = []
        self._lasting: list[Made] = []
        self._monkeypatch = monkeypatch
        self._watched: set[str] = set()
        self._watched_closing: set[tuple[type, str]] = set()
        self.told: set[int] = set()
        self.note_made: Callable[[Made], None] = _ignore
        # Those of the lists above that are clients, by their id.
        self._clients = WeakValueDictionary[int, Made]()

    def start(self) -> None:
        """Begin to take note of what is made."""
        self._after(threading.Thread, "start", self._note_thread)
        self._after(subprocess.Popen, "__init__", self._note_process)
        # asyncio's own sends by the number.
        self._after(subprocess.Popen, "send_signal", lambda process: self.told.add(process.pid))
        self._after(os, "kill", self.told.add)
        self._after(ThreadPoolExecutor, "__init__", self._note_threads)

    def watch_imported(self) -> None:
        """Take note of clients, too, once their library is imported."""
        for module, owner, note in [
            ("aiohttp", "ClientSession", self._note_client),
            ("httpx", "AsyncClient", self._note_client),
            ("httpx", "Client", self._note_client),
            ("httpx2", "AsyncClient", self._note_client),
            ("httpx2", "Client", self._note_client),
            ("concurrent.futures.process", "ProcessPoolExecutor", self._note_processes),
            ("multiprocessing.process", "BaseProcess", self._note_child),
        ]:
            name = f"{module}.{owner}"
            if name not in self._watched and module in sys.modules:
                self._watched.add(name)
                method = "start" if owner == "BaseProcess" else "__init__"
                self._after(getattr(sys.modules[module], owner), method, note)

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
        if any(each.find() is not None for each in made):
            # Some ends when nobody refers to it: what only refers to itself does not count.
            gc.collect()
        # In a function of its own, so that nothing here holds the last of them.
        self._report(made)
        # It is reported: what its end says then would be a second time.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            made.clear()

    def _report(self, made: list[Made]) -> None:
        for each in made:
            thing = each.find()
            if thing is not None and each.is_open(thing):
                what = f"{type(thing).__name__}, made at {each.line}, was not ended"
                self._watch.found(each.check, what)

    def _after(
        self,
        owner: Any,  # noqa: ANN401 - a class or a module
        name: str,
        note: Callable[[Any], None],
    ) -> None:
        original = getattr(owner, name)

        @wraps(original)
        def noted(thing: object, *args: object, **options: object) -> None:
            original(thing, *args, **options)
            note(thing)

        self._monkeypatch.setattr(owner, name, noted)

    def _note(self, check: str, find: Callable[[], Any], is_open: Callable[[Any], bool]) -> Made:
        made = Made(check, find, current_line(), is_open)
        # What a module holds lives as long as the program.
        if made.line and not is_importing(sys._getframe()):
            (self._lasting if self._is_lasting else self._made).append(made)
            self.note_made(made)
        return made

    def _note_client(self, client: object) -> None:
        # Held until it is closed: one that is dropped would be gone unseen.
        made = self._note("leaked-client", lambda: client, _is_open_client)
        self._clients[id(client)] = made
        for name in ["close", "aclose", "__exit__", "__aexit__"]:
            self._watch_closing(type(client), name)

    def _watch_closing(self, owner: type, name: str) -> None:
        """Let go of a client once it is closed, or its context has ended."""
        original = getattr(owner, name, None)
        if original is None or (owner, name) in self._watched_closing:
            return
        self._watched_closing.add((owner, name))

        @wraps(original)
        def closed(client: object, *args: object, **options: object) -> object:
            self._let_go(client)
            return original(client, *args, **options)

        # As async as the original is, or a mock of its signature would not be.
        @wraps(original)
        async def closed_async(client: object, *args: object, **options: object) -> object:
            self._let_go(client)
            return await original(client, *args, **options)

        closing = closed_async if iscoroutinefunction(original) else closed
        self._monkeypatch.setattr(owner, name, closing)

    def _let_go(self, client: object) -> None:
        made = self._clients.get(id(client))
        if made and made.find() is client:
            made.find = _nothing

    def _note_thread(self, thread: threading.Thread) -> None:
        if not _is_of_a_pool() and not (thread.daemon and _is_of_a_library()):
            self._note("leaked-thread", ref(thread), _is_alive)

    def _note_threads(self, pool: ThreadPoolExecutor) -> None:
        if not _is_of_a_pool():
            self._note("leaked-thread", ref(pool), _is_open_pool)

    def _note_process(self, process: subprocess.Popen[Any]) -> None:
        # Held: one that is dropped while it runs is told by its line here.
        self._note("leaked-process", lambda: process, _is_running)

    def _note_child(self, process: object) -> None:
        if not _is_of_a_pool():
            self._note("leaked-process", ref(process), _is_alive)

    def _note_processes(self, pool: object) -> None:
        self._note("leaked-process", ref(pool), _is_open_pool)


def _ignore(_: Made) -> None:
    """Do nothing with what is made."""


def _nothing() -> None:
    """Return what has come to its end."""


def _is_of_a_pool() -> bool:
    """Return whether a pool is at work, not the project's own code."""
    for frame in frames(sys._getframe(3)):
        file = frame.f_code.co_filename
        if path_in_project(file):
            return False
        if any(pool in file for pool in POOLS):
            return True
    return False


def _is_of_a_library() -> bool:
    """Return whether code that is installed starts it, on its own account."""
    for frame in frames(sys._getframe(3)):
        file = frame.f_code.co_filename
        if path_in_project(file):
            return False
        if "site-packages" in Path(file).parts:
            return True
    return False


def _is_open_client(client: Any) -> bool:  # noqa: ANN401
    closed = getattr(client, "closed", None)
    if closed is not None:
        return not closed
    return not client.is_closed and any(map(_is_reaching, _transports(client)))


def _transports(client: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield the transports of a client of httpx, and those that they wrap."""
    for transport in [client._transport, *client._mounts.values()]:
        yield transport
        yield from getattr(transport, "__dict__", {}).values()


def _is_reaching(transport: object) -> bool:
    """Return whether a client by it holds connections, or would outside of tests."""
    return any(cls.__name__ in REACHING for cls in type(transport).__mro__)


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
