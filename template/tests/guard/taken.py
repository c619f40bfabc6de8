"""What a call takes and makes, for the question what it leaves when it is cancelled."""

import asyncio
import gc
import os
import sys
import threading
from asyncio import Task
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import Future as ThreadFuture
from functools import wraps
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import pytest

from .loop import MADE_AT
from .places import current_line, is_source, path_in_project

# The most objects that are looked at for what a call has changed or can still reach.
MOST_OBJECTS = 1000

# What a walk from object to object does not enter: from there, all is within reach.
BARRIERS = (
    asyncio.AbstractEventLoop,
    CodeType,
    FunctionType,
    ModuleType,
    Task,
    asyncio.Future,
    type,
)


class Left(NamedTuple):
    """Something that a call has taken or made.

    Attributes:
        what: What it is, in words.
        line: Where it was taken or made.
        thing: The object itself.
        is_held: Whether it was there before, and others wait for it.
        item: What was taken out of it, if that is a queue.
    """

    what: str
    line: str
    thing: Any
    is_held: bool = False
    item: Any = None


class Ledger:
    """What is taken of locks, semaphores and queues and not given back, and which files are made.

    Args:
        holder: Returns the task at work, if it belongs to the call that is watched.
        line_of_call: Returns where that is; "" if there is none.
        monkeypatch: What leaves everything as it was.
    """

    # An audit hook cannot be removed: one stays, and asks who listens.
    _listening: Any = None
    _is_hooked = False

    def __init__(
        self,
        holder: Callable[[], Task[Any] | None],
        line_of_call: Callable[[], str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self._holder = holder
        self._line_of_call = line_of_call
        self._held: dict[int, list[tuple[Left, Task[Any]]]] = defaultdict(list)
        self._files: list[Left] = []
        # What the call itself has made goes with it. Kept, so that no id is used twice.
        self._own: dict[int, object] = {}
        self._monkeypatch = monkeypatch
        # The items that calls of the test have taken out of queues.
        self._taken_before: dict[tuple[int, int], object] = {}
        # What was taken before the call: how often it has given back, by what and line.
        self.given_back = Counter[tuple[str, str]]()

    def start(self) -> None:
        """Begin to keep it."""
        for owner, what in [(asyncio.Lock, "lock"), (asyncio.Semaphore, "semaphore")]:
            self._patch_acquire(owner, f"the {what}, acquired")
            self._patch(owner, "release", self._give_back)
            self._patch(owner, "__init__", self._note_own)
        self._patch(asyncio.Queue, "__init__", self._note_own)
        self._patch(asyncio.Queue, "get_nowait", self._take_item)
        self._patch(asyncio.Queue, "put_nowait", self._put_back)
        self._patch(asyncio.Queue, "task_done", self._give_back)
        self._monkeypatch.setattr(Ledger, "_listening", self)
        if not Ledger._is_hooked:
            Ledger._is_hooked = True
            sys.addaudithook(_audit)

    def forget(self) -> None:
        """Begin anew, with a new test."""
        self._taken_before.clear()

    def clear(self) -> None:
        """Begin anew, with a new call."""
        self._held.clear()
        self._files.clear()
        self._own.clear()
        self.given_back.clear()

    def held(self) -> Iterator[Left]:
        """Yield what the call has taken and not given back."""
        working = self._holder()
        for taken in self._held.values():
            # What a task of the call holds that goes on is its own affair.
            yield from (left for left, task in taken if task is working or task.done())

    def files(self) -> list[Left]:
        """Return the files that the call has made."""
        return list(self._files)

    def note_file(self, path: str) -> None:
        """Take note of a file or folder that is about to be made."""
        # In a thread, most likely one that does it for the call.
        is_in_thread = threading.current_thread() is not threading.main_thread()
        line = ""
        if is_in_thread or self._holder():
            line = _line_of_source() or (self._line_of_call() if is_in_thread else "")
        if line and self._line_of_call() and not os.path.lexists(path):
            self._files.append(Left("the file, made", line, str(Path(path).absolute())))

    def _note_own(self, thing: object, _: object) -> None:
        if self._holder():
            self._own[id(thing)] = thing

    def _take(self, thing: object, what: str, item: object = None) -> None:
        task = self._holder()
        # A task of `lock.acquire()` alone has no line of the project at work.
        line = (_line_of_source() or getattr(task, MADE_AT, "")) if task else ""
        if is_source(line) and task and id(thing) not in self._own:
            self._held[id(thing)].append((Left(what, line, thing, is_held=True, item=item), task))

    def _take_item(self, queue: object, item: object) -> None:
        if self._holder():
            self._taken_before[id(queue), id(item)] = item
        self._take(queue, "an item of the queue, taken", item)

    def _put_back(self, queue: object, item: object) -> None:
        # Another item is none that was taken.
        if self._held.get(id(queue)) or (id(queue), id(item)) in self._taken_before:
            self._give_back(queue, item)

    def _give_back(self, thing: object, _: object) -> None:
        taken = self._held.get(id(thing))
        if taken:
            taken.pop()
        elif self._holder():
            self.given_back[type(thing).__name__.lower(), _line_of_source()] += 1

    def _patch(self, owner: type, name: str, note: Callable[[Any, Any], None]) -> None:
        original = getattr(owner, name)

        @wraps(original)
        def noted(thing: object, *args: object, **options: object) -> object:
            result = original(thing, *args, **options)
            note(thing, args[0] if args else result)
            return result

        self._monkeypatch.setattr(owner, name, noted)

    def _patch_acquire(self, owner: Any, what: str) -> None:  # noqa: ANN401 - a lock's class
        original = owner.acquire

        @wraps(original)
        async def noted(thing: object) -> object:
            result = await original(thing)
            self._take(thing, what)
            return result

        self._monkeypatch.setattr(owner, "acquire", noted)


def _line_of_source() -> str:
    line = current_line()
    return line if is_source(line) else ""


def _audit(event: str, args: tuple[Any, ...]) -> None:
    ledger: Ledger | None = Ledger._listening
    if ledger is None:
        return
    if event == "open" and isinstance(args[0], str | bytes) and args[2] & os.O_CREAT:
        ledger.note_file(os.fsdecode(args[0]))
    if event in {"tempfile.mkstemp", "tempfile.mkdtemp", "os.mkdir"}:
        ledger.note_file(os.fsdecode(args[0]))


THREAD_LOCK = type(threading.Lock())

# An attribute: the name of its class and its own, and the id of the object.
Attribute = tuple[str, str, int]


class Value(NamedTuple):
    """What an attribute was at a moment.

    Attributes:
        value: The object; of a lock of threads, whether it is held.
        entries: The ids of what it holds, if it is a collection.
    """

    value: Any
    entries: frozenset[int]


def attributes(
    arguments: Iterable[object], names: dict[str, Any], in_use: Container[int] = ()
) -> dict[Attribute, Value]:
    """Return the attributes of the project's objects within reach, and their values.

    Args:
        arguments: Those of a call.
        names: What its module holds. Of these, the names of values are among the attributes.
        in_use: The ids of what is no matter of the call, as others work with it.
    """
    found: dict[Attribute, Value] = {}
    values = {name: value for name, value in names.items() if _is_value(value) and name[:2] != "__"}
    for name, value in values.items():
        found["", name, 0] = Value(value, _entries(value, in_use))
    for thing in _walk([*arguments, *values.values()], _inside_project):
        name = type(thing).__qualname__
        for attribute, value in _own_attributes(thing):
            state = value.locked() if isinstance(value, THREAD_LOCK) else value
            found[name, attribute, id(thing)] = Value(state, _entries(value, in_use))
    return found


def is_within_reach(thing: object, roots: Iterable[object]) -> bool:
    """Return whether the roots lead to an object, so that it can still be closed."""
    return any(each is thing for each in _walk(roots, _inside))


def _walk(
    roots: Iterable[object], inside: Callable[[object], Iterable[object]]
) -> Iterator[object]:
    waiting = deque(roots)
    seen: set[int] = set()
    kept: list[object] = []  # so that no id is used twice
    while waiting and len(seen) < MOST_OBJECTS:
        thing = waiting.popleft()
        if id(thing) not in seen:
            seen.add(id(thing))
            kept.append(thing)
            yield thing
            waiting.extend(inside(thing))


def _inside_project(thing: object) -> Iterator[object]:
    values: Iterable[object] = [value for _, value in _own_attributes(thing)]
    if isinstance(thing, dict):
        values = list(thing.values())
    elif isinstance(thing, list | tuple | set | frozenset | deque):
        values = list(thing)
    for value in values:
        if _is_of_project(value) or isinstance(value, dict | list | tuple | set | deque):
            yield value


def _inside(thing: object) -> Iterable[object]:
    return [] if isinstance(thing, BARRIERS) else gc.get_referents(thing)


def _is_value(thing: object) -> bool:
    plain = (bool, int, float, str, dict, list, set, deque)
    return thing is None or isinstance(thing, plain) or _is_of_project(thing)


def _own_attributes(thing: object) -> list[tuple[str, object]]:
    if not _is_of_project(thing):
        return []
    declared = [getattr(cls, "__slots__", ()) for cls in type(thing).__mro__]
    names = [name for each in declared for name in ([each] if isinstance(each, str) else each)]
    slots = [
        (name, getattr(thing, name))
        for name in names
        if not name.startswith("__") and hasattr(thing, name)
    ]
    # A class has what its objects begin with.
    shared = {
        name: value
        for cls in reversed(type(thing).__mro__)
        for name, value in vars(cls).items()
        if name[:2] != "__" and (value is None or isinstance(value, bool | int | float | str))
    }
    return [*(shared | getattr(thing, "__dict__", {})).items(), *slots]


def _is_of_project(thing: object) -> bool:
    module = sys.modules.get(type(thing).__module__)
    file = getattr(module, "__file__", None)
    return bool(file) and is_source(path_in_project(file))


def _entries(value: object, in_use: Container[int]) -> frozenset[int]:
    """Return the ids of what a collection holds.

    But for what is in use, for work that goes on, which is kept so that it does, and for parts of a
    stream, which the next call wants.
    """
    if isinstance(value, dict):
        # Another task may have put something else under the same key.
        return frozenset(
            hash((id(key), id(each))) for key, each in list(value.items()) if id(each) not in in_use
        )
    if not isinstance(value, list | set | deque):
        return frozenset()
    return frozenset(
        id(each)
        for each in list(value)
        if id(each) not in in_use
        and not (isinstance(each, Task | ThreadFuture) and not each.done())
        and not isinstance(each, bytes)
    )
