"""Remembers where files, folders and sockets were opened, for Python's warnings that they were not closed."""

import re
import socket
import sys
from typing import Any
from weakref import ref

import pytest

from .places import current_line

# What is told by an audit hook as something is opened.
OPENING = frozenset(["open", "socket.__new__", "tempfile.mkdtemp"])

SOCKET = re.compile(r"<socket\.socket fd=(\d+)")
PATH = re.compile(r"'([^']+)'")

# The attribute of an error that says where the thing was opened that it is about.
OPENED_AT = "_guard_opened_at"


class Origins:
    """Where the project's own lines opened what must be closed."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}
        # By their id: they tell of themselves as they end, when most references are gone.
        self._sockets: dict[int, tuple[str, ref[socket.socket]]] = {}
        self._hook: Any = sys.unraisablehook

    def note(self, event: str, args: tuple[Any, ...]) -> None:
        """Take note of what is opened. Is called by the audit hook."""
        line = current_line(sys._getframe(2))
        if event == "socket.__new__":
            # The id may have been that of another one. A socket of C alone has no references.
            if isinstance(args[0], socket.socket):
                self._sockets[id(args[0])] = (line, ref(args[0]))
        elif line:
            self._paths[str(args[0])] = line

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin to look at what Python cannot raise, before pytest does."""
        self._hook = sys.unraisablehook
        monkeypatch.setattr(sys, "unraisablehook", self._note_unraisable)

    def _note_unraisable(self, unraisable: Any) -> None:  # noqa: ANN401 - has no name at run time
        if unraisable.exc_value:
            setattr(unraisable.exc_value, OPENED_AT, self._line(unraisable))
        self._hook(unraisable)

    def _line(self, unraisable: Any) -> str:  # noqa: ANN401
        """Return where it was opened that could not end well, "" if nobody knows."""
        thing: Any = unraisable.object
        if unraisable.exc_traceback:  # of its `__del__`
            thing = unraisable.exc_traceback.tb_frame.f_locals.get("self", thing)
        # A stream or a transport has a socket.
        for name in ["_transport", "_sock"]:
            thing = getattr(thing, "__dict__", {}).get(name, thing)
        if isinstance(thing, socket.socket):
            return self._sockets[id(thing)][0] if id(thing) in self._sockets else ""
        message = str(unraisable.exc_value)
        # Since Python 3.13 it is named in the message alone.
        if number := SOCKET.search(message):
            return self._line_of_socket(int(number[1]))
        paths = PATH.findall(message)
        return next((self._paths[path] for path in paths if path in self._paths), "")

    def _line_of_socket(self, number: int) -> str:
        """Return where the socket was made that has a descriptor."""
        for line, find in list(self._sockets.values()):
            made = find()
            if made is not None and made.fileno() == number:
                return line
        return ""
