"""Notices calls that block the loop, wherever they hide.

Nothing is raised into the code under test, where `except Exception`
would hide it: an audit hook (PEP 578) only takes note.
"""

import hashlib
import os
import sqlite3
import ssl
import sys
import threading
import time
from asyncio import _get_running_loop
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from .callers import calling_line
from .origins import OPENING, Origins
from .places import is_source
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
    }
)

# What blocks and Python does not report, or not in every version.
PATCHED: list[tuple[Any, str, str]] = [
    (os, "stat", "os.stat"),
    (threading.Condition, "wait", "waiting for a thread"),
    (threading.Thread, "join", "waiting for a thread"),
    (time, "sleep", "time.sleep"),
    (hashlib, "pbkdf2_hmac", "hashlib.pbkdf2_hmac"),
    (hashlib, "scrypt", "hashlib.scrypt"),
    (ssl.SSLContext, "load_cert_chain", "loading certificates"),
    (ssl.SSLContext, "load_verify_locations", "loading certificates"),
    (ssl.SSLContext, "set_default_verify_paths", "loading certificates"),
]

# Those of them that wait for as long as they are told to.
WAITING = frozenset(["join", "sleep", "wait"])

# The same in packages that a project may have.
PATCHED_IN_PACKAGES = [("bcrypt", "checkpw"), ("bcrypt", "hashpw")]

# Sets in `os` of its functions that can do something: what stands for one can do it, too.
CAN = ["supports_dir_fd", "supports_fd", "supports_follow_symlinks"]


class BlockingCalls:
    """Takes note of what blocks while the loop runs.

    Attributes:
        lines: Where that was in this test: each line is told once.
        origins: What is told of all that is opened.
    """

    # An audit hook cannot be removed: one stays, and asks who listens.
    _listening: Any = None
    _is_hooked = False

    def __init__(self, watch: Watch, origins: Origins, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: set[str] = set()
        self.origins = origins
        self._watch = watch
        self._monkeypatch = monkeypatch

    def start(self) -> None:
        """Begin to take note."""
        self._monkeypatch.setattr(BlockingCalls, "_listening", self)
        if not BlockingCalls._is_hooked:
            BlockingCalls._is_hooked = True
            sys.addaudithook(_audit)
        for owner, name, what in PATCHED:
            self._patch(owner, name, what)
        for package, name in PATCHED_IN_PACKAGES:
            if find_spec(package):
                self._patch(import_module(package), name, f"{package}.{name}")
        self._watch_statements()

    def note(self, what: str, *, is_for_project: bool = True) -> None:
        """Take note of a call, if code in the sources made it.

        Args:
            what: What was called.
            is_for_project: Whether the project can choose where a package calls it.
        """
        line = calling_line(sys._getframe(2), through_packages=is_for_project)
        if is_source(line) and line not in self.lines:
            self.lines.add(line)
            self._watch.found("blocking-call", f"{what} stopped the loop at {line}")

    def _patch(self, owner: object, name: str, what: str) -> None:
        original = getattr(owner, name)
        # Whoever makes a client of a package has no say in when that loads its certificates.
        is_for_project = owner is not ssl.SSLContext

        @wraps(original)
        def noted(*args: object, **options: object) -> object:
            if _is_running() and _can_block(name, args, options):
                self.note(what, is_for_project=is_for_project)
            return original(*args, **options)

        self._monkeypatch.setattr(owner, name, noted)
        for names in CAN:
            functions = getattr(os, names)
            if original in functions:
                self._monkeypatch.setattr(os, names, functions | {noted})

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

        self._monkeypatch.setattr(sqlite3, "connect", connect)


def _is_running() -> bool:
    return _get_running_loop() is not None


def _can_block(function: str, args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    if function == "join" and not args[0].is_alive():
        return False
    if function not in WAITING:
        return True
    limits = args if function == "sleep" else args[1:]
    return 0 not in [*limits, *options.values()]


def _is_quick(path: str) -> bool:
    """Return whether a file is the kernel's, or a time zone, which is read once."""
    return path.startswith(("/proc/", "/sys/", os.devnull)) or f"{os.sep}zoneinfo{os.sep}" in path


def _audit(event: str, args: tuple[Any, ...]) -> None:
    listener = BlockingCalls._listening
    if listener is None:
        return
    if event in OPENING:
        listener.origins.note(event, args)
    if event in EVENTS and _is_running():
        if event == "socket.connect" and args[0].gettimeout() == 0:
            return
        if event == "open" and _is_quick(str(args[0])):
            return
        listener.note(event)
