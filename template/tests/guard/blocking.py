"""Notices calls that block the loop, wherever they hide.

Nothing is raised into the code under test, where `except Exception`
would hide it: an audit hook (PEP 578) only takes note.
"""

import asyncio
import inspect
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from .places import frames, path_in_project
from .watch import Watch

# What Python itself reports, and blocks: library reference, "Audit
# events table".
EVENTS = frozenset(
    {
        "builtins.input",
        "fcntl.flock",
        "fcntl.lockf",
        "ftplib.connect",
        "http.client.connect",
        "imaplib.open",
        "open",
        "os.listdir",
        "os.mkdir",
        "os.posix_spawn",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.scandir",
        "os.system",
        "os.truncate",
        "poplib.connect",
        "shutil.copyfile",
        "shutil.rmtree",
        "smtplib.connect",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.gethostbyaddr",
        "socket.gethostbyname",
        "socket.getnameinfo",
        "sqlite3.connect",
        "subprocess.Popen",
        "tempfile.mkdtemp",
        "tempfile.mkstemp",
        "urllib.Request",
    },
)

# What blocks and Python does not report, or not in every version.
PATCHED: list[tuple[Any, str, str]] = [
    (os, "stat", "os.stat"),
    (threading.Condition, "wait", "waiting for a thread"),
    (threading.Thread, "join", "waiting for a thread"),
    (time, "sleep", "time.sleep"),
]


# These look up what helps to report or to load, once.
EXCUSED = (
    "<frozen importlib",
    f"{os.sep}linecache.py",
    f"{os.sep}logging{os.sep}",
    f"{os.sep}pdb.py",
    f"{os.sep}traceback.py",
    f"{os.sep}bdb.py",
    f"{os.sep}concurrent{os.sep}futures{os.sep}",
    f"{os.sep}multiprocessing{os.sep}",
    f"{os.sep}warnings.py",
    f"{os.sep}zoneinfo{os.sep}",
)

# What a pool itself waits for is its own affair, as at its end, but not these.
WAITS = {"as_completed", "exception", "result", "wait"}

# Sets of the functions of `os` that can do something: what stands for one can do it, too.
CAN = [os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks]

ASYNC_CODE = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class BlockingCalls:
    """Takes note of what blocks while the loop runs.

    Attributes:
        lines: Where that was in this test: each line is told once.
    """

    # An audit hook cannot be removed: one stays, and asks who listens.
    _listening: Any = None
    _is_hooked = False

    def __init__(self, watch: Watch) -> None:
        self.lines: set[str] = set()
        self._watch = watch
        self._undo: list[Callable[[], None]] = []

    def start(self) -> None:
        """Begin to take note."""
        BlockingCalls._listening = self
        if not BlockingCalls._is_hooked:
            BlockingCalls._is_hooked = True
            sys.addaudithook(_audit)
        for owner, name, what in PATCHED:
            self._patch(owner, name, what)
        self._watch_statements()

    def stop(self) -> None:
        """Leave everything as it was before `start`, but the hook."""
        BlockingCalls._listening = None
        while self._undo:
            self._undo.pop()()

    def note(self, what: str) -> None:
        """Take note of a call, if code of the project made it.

        Not if an async function of a library did, on its way: what
        libraries do is not for the project to mend.
        """
        for frame in frames(sys._getframe(2)):
            code = frame.f_code
            path = path_in_project(code.co_filename)
            if path:
                if path.startswith("src/"):
                    self._note_line(what, f"{path}:{frame.f_lineno}")
                return
            if code.co_flags & ASYNC_CODE or _is_excused(
                code.co_filename,
                code.co_name,
            ):
                return
            if code.co_name == "start" and frame.f_globals is vars(
                threading,
            ):
                return

    def _note_line(self, what: str, line: str) -> None:
        if line not in self.lines:
            self.lines.add(line)
            self._watch.found(
                "blocking-call",
                f"{what} stopped the loop at {line}",
            )

    def _patch(
        self,
        owner: object,
        name: str,
        what: str,
    ) -> None:
        original = getattr(owner, name)

        @wraps(original)
        def noted(*args: object, **options: object) -> object:
            if _is_running() and _can_block(name, args, options):
                self.note(what)
            return original(*args, **options)

        setattr(owner, name, noted)
        self._undo.append(lambda: setattr(owner, name, original))
        for functions in CAN:
            if original in functions:
                functions.add(noted)
                self._undo.append(partial(functions.discard, noted))

    def _watch_statements(self) -> None:
        original = sqlite3.connect

        def note(_: str) -> None:
            if _is_running():
                self.note("a statement of sqlite3")

        @wraps(original)
        def connect(*args: Any, **options: Any) -> Any:  # noqa: ANN401
            connection = original(*args, **options)
            connection.set_trace_callback(note)
            return connection

        sqlite3.connect = connect
        self._undo.append(lambda: setattr(sqlite3, "connect", original))


def _is_running() -> bool:
    return asyncio._get_running_loop() is not None


def _is_excused(file: str, function: str) -> bool:
    return function not in WAITS and any(part in file for part in EXCUSED)


def _can_block(
    function: str,
    args: tuple[Any, ...],
    options: dict[str, Any],
) -> bool:
    if function == "join" and not args[0].is_alive():
        return False
    limits = args if function == "sleep" else args[1:]
    return function == "stat" or 0 not in [*limits, *options.values()]


def _audit(event: str, args: tuple[Any, ...]) -> None:
    listener = BlockingCalls._listening
    if listener is None:
        return
    if event in EVENTS and _is_running():
        if event == "socket.connect" and args[0].gettimeout() == 0:
            return
        # A time zone is read once, at its first use.
        if event == "open" and f"{os.sep}zoneinfo{os.sep}" in str(args[0]):
            return
        listener.note(event)
