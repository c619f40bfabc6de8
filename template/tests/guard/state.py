"""Notices state that a test leaves to the next one."""

import os
import sys
from asyncio import mixins
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from .places import PROJECT, current_line, path_in_project
from .watch import Watch

# pytest itself says in it which test is running.
NOT_OURS = "PYTEST_CURRENT_TEST"

# From a module to its objects, their attributes, what those hold.
STEPS = 4


class State:
    """The environment, the folder, and what is bound to a loop."""

    def __init__(self, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
        self._watch = watch
        self._environment: dict[str, str] = {}
        self._folder = ""
        self._bound: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
        self._monkeypatch = monkeypatch

    def start(self) -> None:
        """Begin to take note of what waits in a loop."""
        owner: Any = mixins._LoopBoundMixin
        original = owner._get_loop
        bound = self._bound

        def noted(thing: object) -> object:
            loop = original(thing)
            if thing not in bound:
                bound[thing] = current_line()
            return loop

        self._monkeypatch.setattr(owner, "_get_loop", noted)

    def remember(self) -> None:
        """Keep how the environment is before a test."""
        self._environment = _environment()
        self._folder = _folder()

    @contextmanager
    def accepting(self) -> Iterator[None]:
        """Keep what is changed within: it outlives the test."""
        before, folder = _environment(), _folder()
        yield
        now = _environment()
        for name in _changed(before, now):
            _set(self._environment, name, now.get(name))
        if _folder() != folder:
            self._folder = _folder()

    def check(self) -> None:
        """Take note of what the test changed, and undo it."""
        before = self._environment
        for name in _changed(before, _environment()):
            self._watch.found("environment", f"the test has left the variable {name} changed")
            _set(os.environ, name, before.get(name))
        if _folder() != self._folder:
            self._watch.found("environment", "the test has left the current folder changed")
            os.chdir(self._folder or PROJECT)
        # Each is looked at once, as the look takes a while.
        ended = [thing for thing in self._bound if thing._loop.is_closed()]
        lines = {id(thing): self._bound.pop(thing) for thing in ended}
        kept = _kept_by_modules() if lines else {}
        for number in lines.keys() & kept.keys():
            self._watch.found(
                "loop-state",
                f"{type(kept[number]).__name__}, waited for at {lines[number]}, "
                "is kept by a module, and its loop has ended",
            )


def _kept_by_modules() -> dict[int, object]:
    """Return what the project's modules hold, by id."""
    modules = [
        module
        for module in list(sys.modules.values())
        if path_in_project(getattr(module, "__file__", None) or "")
    ]
    found: dict[int, object] = {}
    layer: list[object] = [*modules]
    for _ in range(STEPS):
        # Each once: what many share would be followed many times.
        inside = {id(inner): inner for thing in layer for inner in _inside(thing)}
        layer = [thing for number, thing in inside.items() if number not in found]
        found |= inside
    return found


def _inside(thing: object) -> list[object]:
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, list | tuple | set | frozenset):
        return list(thing)
    if isinstance(thing, ModuleType) and not path_in_project(
        getattr(thing, "__file__", None) or ""
    ):
        return []
    try:
        return list(getattr(thing, "__dict__", {}).values())
    except Exception:  # noqa: BLE001 - a stand-in for what is not there yet
        return []


def _environment() -> dict[str, str]:
    # As it is kept: `os.environ` decodes all of it at every look.
    kept = dict(getattr(os.environ, "_data", os.environ))
    for name in [NOT_OURS, os.fsencode(NOT_OURS)]:
        kept.pop(name, None)
    return dict(_decoded(tuple(kept.items())))


@lru_cache(maxsize=1)
def _decoded(variables: tuple[tuple[Any, Any], ...]) -> dict[str, str]:
    return {os.fsdecode(name): os.fsdecode(value) for name, value in variables}


def _folder() -> str:
    """Return the current folder, "" if it was removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - compared as it is
    except OSError:
        return ""


def _changed(before: dict[str, str], now: dict[str, str]) -> list[str]:
    if now == before:
        return []
    names = sorted(now.keys() | before.keys())
    return [name for name in names if now.get(name) != before.get(name)]


def _set(variables: MutableMapping[str, str], name: str, value: str | None) -> None:
    if value is None:
        variables.pop(name, None)
    else:
        variables[name] = value
