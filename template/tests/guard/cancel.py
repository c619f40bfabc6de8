"""Cancels what a test awaits at each of its suspensions, and tells what is left then.

A call that is cancelled leaves what it found. Compared are the moment
before the call, that of the suspension, and the end of the call: what
it had taken by the suspension must be given back in the end. What a
call keeps that is not cancelled, its object may keep.
"""

import dis
import os
import signal
import sys
from asyncio import (
    CancelledError,
    Task,
    _get_running_loop,
    all_tasks,
    current_task,
    wait_for,
)
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from select import select
from subprocess import Popen
from types import CodeType, CoroutineType, FrameType, coroutine
from typing import Any
from weakref import WeakSet

import pytest
from _pytest.runner import runtestprotocol

from .callers import ASYNC_CODE
from .loop import GRACE, MADE_AT, MADE_BY, GuardLoop
from .places import (
    awaited_by,
    current_line,
    is_source,
    path_in_project,
    waiting,
)
from .report import attach
from .resources import Made, Resources
from .taken import (
    Attribute,
    Ledger,
    Left,
    Value,
    attributes,
    is_within_reach,
)
from .watch import Watch, sentence

CHECK = "not-safe-to-cancel"

# The most suspensions that are tried of one test, and of one place by all tests together.
MOST_OF_A_TEST = 20
MOST_OF_A_PLACE = 3

# The most calls of one line of a test that are looked at; an async generator is called for each item.
MOST_OF_A_CALL = 3

# Seconds that a test has to end in, once its call was cancelled.
LIMIT = 1.0

# How often it is looked, in that time, whether a thread has removed a file.
LOOKS = 50

# Where a frame stands that waits; Python 3.13 has it behind the yield.
WAITING = frozenset([dis.opmap["YIELD_VALUE"], dis.opmap["RESUME"]])

# The project's lines that wait, outermost first.
Place = tuple[str, ...]


@dataclass
class Call:
    """A call of the project that the test awaits.

    Attributes:
        number: How many calls of the test came before.
        name: What is called.
        line: Where the test calls it.
        frame: The outermost frame of the project.
        is_entering: Whether it enters a context, which nobody leaves if that fails.
        is_leaving: Whether it leaves a context, which nobody does again if that fails.
        is_watched: Whether it may be cancelled.
        arguments: What it is given.
        names: What its module holds.
        before: The attributes of what it can reach, at its beginning.
        tasks: Those that it has made.
        resources: What it has made else.
    """

    number: int
    name: str
    line: str
    frame: FrameType
    is_entering: bool
    is_leaving: bool
    is_watched: bool
    arguments: list[object]
    names: dict[str, Any]
    before: dict[Attribute, Value]
    tasks: WeakSet[Task[Any]] = field(default_factory=WeakSet)
    resources: list[Made] = field(default_factory=list)


@dataclass
class State:
    """What a call has taken and changed, at a moment."""

    left: list[Left]
    attributes: dict[Attribute, Value]


@dataclass
class Normal:
    """What a call leaves that is not cancelled: what and where, class and attribute.

    Attributes:
        kept: What it has taken or made, and not given back or ended.
        returned: Of that, what it has returned.
        changed: The attributes that are not as before.
        handed_over: Of these, the collections out of which it returns something.
        given_back: What it gives back that was taken before, and how often.
    """

    kept: set[tuple[str, str]]
    returned: set[tuple[str, str]]
    changed: set[tuple[str, str]]
    handed_over: set[tuple[str, str]]
    given_back: Counter[tuple[str, str]]


@dataclass
class Run:
    """One run of a test: which of its calls is cancelled where, and what is seen.

    Attributes:
        wanted: The number of the call, and where it waits; None to look on only.
        normal: What each call leaves that is not cancelled.
        places: Where calls wait, each with its number.
        cancelled: What was cancelled where; empty before that.
        has_ended: Whether it has come to its end since.
        found: What is wrong.
    """

    wanted: tuple[int, Place] | None = None
    normal: dict[int, Normal] = field(default_factory=dict)
    places: dict[tuple[int, Place], None] = field(default_factory=dict)
    cancelled: str = ""
    has_ended: bool = False
    found: list[str] = field(default_factory=list)


class CancellationRuns:
    """Runs each async test that passed again, once for each suspension that is tried.

    Args:
        watch: What is told of all that is found.
        resources: What knows of clients, threads and processes.
        judge: Yields what is found and not allowed for a test.
        monkeypatch: What leaves everything as it was.

    Attributes:
        is_again: Whether such a run is under way.
    """

    def __init__(
        self,
        watch: Watch,
        resources: Resources,
        judge: Callable[[pytest.Item], Iterator[tuple[str, str]]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.is_again = False
        self._watch = watch
        self._resources = resources
        resources.note_made = self.note_resource
        self._judge = judge
        self._run: Run | None = None
        self._call: Call | None = None
        self._calls = 0
        self._begun = Counter[tuple[CodeType, str]]()
        self._own: Task[Any] | None = None
        self._loop: GuardLoop | None = None
        self._is_in_test = False
        self._has_passed = False
        self._tried = Counter[Place]()
        self._ledger = Ledger(self._holder, self._line_of_call, monkeypatch)
        self._ledger.start()

    # What pytest does.

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Run a test as usual, then again for each place where it waits for the project."""
        if self.is_again:
            return (yield)
        self._run = looked_on = Run()
        self._has_passed = False
        result = yield
        if self._has_passed:
            for number, place in self._choose(looked_on):
                self._run = Run((number, place), looked_on.normal)
                self._run_again(item, nextitem)
                self._report(item, self._run)
        self._run = None
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        """Know when the test itself runs, and no fixture."""
        self._is_in_test = True
        try:
            return (yield)
        finally:
            self._is_in_test = False
            run = self._run
            if run and run.cancelled and not run.has_ended:
                run.has_ended = True
                run.found.append("it has not ended since")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of a test that passed."""
        if report.when == "call":
            self._has_passed = report.passed

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how much was tried."""
        if self._tried:
            number, places = self._tried.total(), len(self._tried)
            terminalreporter.write_line(f"guard: cancelled {number} calls, at {places} places")

    def _choose(self, run: Run) -> list[tuple[int, Place]]:
        first = {place: number for number, place in reversed(run.places)}
        chosen = [
            (number, place)
            for number, place in run.places
            if first[place] == number and self._tried[place] < MOST_OF_A_PLACE
        ]
        return chosen[:MOST_OF_A_TEST]

    def _run_again(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        self.is_again = True
        item._initrequest()  # type: ignore[attr-defined]
        # asyncio's own would only cancel the call once more.
        handler = signal.signal(signal.SIGINT, _interrupt)
        try:
            item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        finally:
            signal.signal(signal.SIGINT, handler)
            self.is_again = False

    def keep(self, findings: list[tuple[str, str]]) -> None:
        """Take over what the guard has found in a run that is broken off.

        A test that was broken off leaves what it would have ended. But a result that comes for a
        future that was cancelled comes of the cancellation.
        """
        if self._run and self._run.cancelled:
            self._run.found += [
                what
                for check, what in findings
                if check == "lost-error" and "InvalidStateError" in what
            ]

    def _report(self, item: pytest.Item, run: Run) -> None:
        for problem in run.found:
            self._watch.found(CHECK, f"{run.cancelled}, and {problem}")
        found = list(self._judge(item))
        if found:
            text = "\n".join(sentence(*each) for each in found)
            report = pytest.TestReport(
                item.nodeid, item.location, {}, "failed", text, "call", sections=[]
            )
            attach(report, item, found)
            item.ihook.pytest_runtest_logreport(report=report)

    # What the loop does.

    def wrap(self, loop: GuardLoop, test: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """Return what runs as the task of a test, and sees where that waits."""
        is_watched = self._is_in_test and self._run and not loop.is_running() and not loop.random
        if not is_watched or not isinstance(test, CoroutineType):
            return test
        return self._driven(loop, test)

    def note_resource(self, made: Made) -> None:
        """Take note of a client, a connection, a server, a thread or a process that is made."""
        if self._call and self._holder():
            self._call.resources.append(made)

    def note_task(self, task: Task[Any], parent: Task[Any] | None) -> None:
        """Take note of a task that is made."""
        if self._call and parent and (parent is self._own or parent in self._call.tasks):
            self._call.tasks.add(task)

    async def _driven(self, loop: GuardLoop, test: Coroutine[Any, Any, Any]) -> object:
        self._loop, self._own = loop, current_task(loop)
        self._call, self._calls = None, 0
        self._begun.clear()
        self._ledger.forget()
        try:
            return await self._drive(test)
        finally:
            self._call = self._own = self._loop = None

    @coroutine
    def _drive(self, test: Any) -> Generator[Any, Any, Any]:  # noqa: ANN401 - a coroutine
        step: Callable[[], Any] = partial(test.send, None)
        while True:
            # What runs between two steps of the test is no call of its.
            sys.setprofile(self._profile)
            try:
                waits_for = step()
            except StopIteration as end:
                return end.value
            finally:
                sys.setprofile(None)
            if self._is_to_be_cancelled(test):
                yield from self._cancel(*_waiting(test), waits_for)
                yield from self._leave(test)
                return None
            step = yield from _passed_on(test, waits_for)

    def _line_of_call(self) -> str:
        frame = self._call and self._call.frame
        return f"{path_in_project(frame.f_code.co_filename)}:{frame.f_lineno}" if frame else ""

    def _is_to_be_cancelled(self, test: object) -> bool:
        """Return whether a test that waits now does so where its call is to be cancelled."""
        # Nothing of this is kept while the test goes on, which may look for what is gone.
        run, call = self._run, self._call
        if run is None or call is None:
            return False
        _, place = _waiting(test)
        if not place:
            self._end(call)
            return False
        if call.is_watched:
            run.places.setdefault((call.number, place))
        return (call.number, place) == run.wanted

    def _cancel(
        self,
        target: Any,  # noqa: ANN401 - a coroutine, or a step of an async generator
        place: Place,
        waits_for: object,
    ) -> Generator[Any, Any, None]:
        """Cancel what the test awaits, go on until it has ended, and compare."""
        run, call = self._run, self._call
        assert run
        assert call
        assert self._own
        run.cancelled = f"{call.name}, called at {call.line}, was cancelled at {place[-1]}"
        self._tried[place] += 1
        then = self._state(call)
        is_swallowed = sys.version_info < (3, 12) and _waits_by_wait_for(target)
        self._own.cancel()
        while True:
            step = yield from _passed_on(target, waits_for)
            try:
                waits_for = step()
            except (StopIteration, StopAsyncIteration):
                if not is_swallowed:
                    run.found.append("it went on as if it had not been")
                break
            except CancelledError:  # noqa: ASYNC103 - as it should
                break  # noqa: ASYNC104
            except Exception as error:  # noqa: BLE001 - told
                if not is_swallowed:
                    run.found.append(f"it raised {error!r} instead")
                break
        if run.has_ended:
            return  # by what ends all of a loop
        run.has_ended = True
        for _ in range(GRACE):
            yield
        normal = run.normal.get(call.number)
        run.found += _compare(call, normal, then, self._state(call))
        if normal and call.is_leaving:
            missing = normal.given_back - self._ledger.given_back
            run.found += [f"the {what} is not given back at {line}" for what, line in missing]
        self._call = None

    def _leave(self, test: Any) -> Generator[Any, Any, None]:  # noqa: ANN401 - a coroutine
        """Let the test end, however it does."""
        assert self._own
        assert self._loop
        while self._own.cancelling():
            self._own.uncancel()
        timer = self._loop.call_later(LIMIT, self._own.cancel)
        step = partial(test.throw, CancelledError())
        try:
            while True:
                step = yield from _passed_on(test, step())
                if timer.when() <= self._loop.time():
                    return
        except (KeyboardInterrupt, SystemExit, pytest.exit.Exception):
            raise
        except BaseException:  # noqa: ASYNC103, BLE001 - its call was taken from it
            return  # noqa: ASYNC104
        finally:
            timer.cancel()

    # What is called, and what it leaves.

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        if not frame.f_code.co_flags & ASYNC_CODE:
            return
        call = self._call
        try:
            if call is None:
                if event == "call":
                    self._begin(frame)
            elif event == "return" and frame is call.frame and not _waits(frame, argument):
                self._end(call, argument)
        except Exception:  # noqa: BLE001 - it would be raised in the code that is looked at
            self._call = None
            self._watch.failed()

    def _begin(self, frame: FrameType) -> None:
        """Take note of a call of the project, if the test itself makes it."""
        if not is_source(path_in_project(frame.f_code.co_filename)):
            return
        line = current_line(frame.f_back)
        if not line.startswith("tests/"):
            return
        run, number = self._run, self._calls
        assert run
        self._calls += 1
        self._begun[frame.f_code, line] += 1
        is_wanted = run.wanted is None or run.wanted[0] == number
        is_watched = is_wanted and self._begun[frame.f_code, line] <= MOST_OF_A_CALL
        names = {frame.f_code.co_name, frame.f_back.f_code.co_name if frame.f_back else ""}
        arguments = list(frame.f_locals.values()) if is_watched else []
        module = frame.f_globals if is_watched else {}
        self._ledger.clear()
        self._call = Call(
            number=number,
            name=frame.f_code.co_qualname,
            line=line,
            frame=frame,
            is_entering="__aenter__" in names,
            is_leaving="__aexit__" in names,
            is_watched=is_watched,
            arguments=arguments,
            names=module,
            before=attributes(arguments, module),
        )

    def _end(self, call: Call, result: object = None) -> None:
        """Take note of what a call leaves that was not cancelled."""
        run = self._run
        assert run
        if run.cancelled:
            return  # what is left is looked at a little later
        if run.wanted is None and call.is_watched:
            run.normal[call.number] = self._normal(call, result)
        self._call = None

    def _normal(self, call: Call, result: object) -> Normal:
        state = self._state(call)
        ends = [
            left for left in state.left if isinstance(left.thing, Task) and left.thing.cancelling()
        ]
        kept = [left for left in state.left if left not in ends]
        return Normal(
            kept={(left.what, left.line) for left in kept},
            returned={
                (left.what, left.line)
                for left in kept
                if left.item is not None and left.item is result
            },
            changed={
                key[:2]
                for key, value in state.attributes.items()
                if key in call.before and _has_changed(value, call.before[key])
            },
            handed_over={
                key[:2]
                for key, before in call.before.items()
                if id(result) in before.entries - state.attributes.get(key, before).entries
            },
            given_back=Counter(self._ledger.given_back),
        )

    def _state(self, call: Call) -> State:
        others = all_tasks(self._loop).difference(call.tasks, [self._own])
        in_use = {id(value) for task in others for value in _works_with(task.get_coro())}
        return State(list(self._left(call)), attributes(call.arguments, call.names, in_use))

    def _left(self, call: Call) -> Iterator[Left]:
        yield from self._ledger.held()
        for file in self._ledger.files():
            if not self._soon(partial(_is_gone, file.thing)):
                yield file
        for task in call.tasks:
            line = getattr(task, MADE_AT, "")
            made_by = getattr(task, MADE_BY, None)
            maker = made_by and made_by()
            # What made it may end it, if that goes on itself.
            is_of_others = maker and maker is not self._own and not maker.done()
            if not task.done() and is_source(line) and not is_of_others:
                yield Left("the task, made", line, task)
        for made in call.resources:
            thing = made.find()
            is_open = self._runs_on if isinstance(thing, Popen) else made.is_open
            if thing is not None and is_open(thing) and is_source(made.line):
                yield Left(f"the {type(thing).__name__.strip('_')}, made", made.line, thing)

    def _runs_on(self, process: Popen[Any]) -> bool:
        """Return whether a process goes on that nobody has told to end.

        It is only looked at: its end is for asyncio to hear of.
        """
        if process.returncode is not None or process.pid in self._resources.told:
            return False
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT if hasattr(os, "waitid") else 0
        try:
            return not options or os.waitid(os.P_PID, process.pid, options) is None
        except ChildProcessError:
            return False  # asyncio has heard of its end

    def _soon(self, is_over: Callable[[], bool]) -> bool:
        """Return whether something is over, in a moment if the call has ended.

        A thread goes on without who waits for it.
        """
        for _ in range(LOOKS if self._run and self._run.has_ended else 1):
            if is_over():
                return True
            select([], [], [], LIMIT / LOOKS)
        return False

    def _holder(self) -> Task[Any] | None:
        """Return the task at work, if it belongs to the call."""
        if self._call is None or _get_running_loop() is not self._loop:
            return None
        task = current_task()
        return task if task is self._own or task in self._call.tasks else None


def _is_gone(path: str) -> bool:
    return not os.path.lexists(path)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _compare(call: Call, normal: Normal | None, then: State, now: State) -> Iterator[str]:
    """Yield what a call has taken or changed before it was cancelled, and has not put back."""
    taken = {(id(left.thing), left.line) for left in then.left}
    for left in now.left:
        is_usual = normal is None or (left.what, left.line) in normal.kept
        if left.item is not None:
            # What a call is there to use up is gone; what it would have returned is lost.
            is_excused = is_usual and (
                normal is None or (left.what, left.line) not in normal.returned
            )
        elif left.is_held or call.is_entering:
            is_excused = False
        else:
            # A file that the call is there to make, a task that is there to go on; and who has
            # something can end it, as the object whose method it is.
            is_excused = (is_usual and isinstance(left.thing, Task | str)) or is_within_reach(
                left.thing, [*call.arguments, call.names]
            )
        is_of_before = left.is_held or (id(left.thing), left.line) in taken
        if is_of_before and not is_excused:
            yield f"{left.what} at {left.line}, is left"
    for key, value in now.attributes.items():
        if normal is None or key not in call.before or key not in then.attributes:
            continue
        before, here = call.before[key], then.attributes[key]
        name = ".".join(filter(None, key[:2]))
        if key[:2] in normal.handed_over:
            if before.entries - here.entries - value.entries:
                yield f"{name} has lost what was taken out"
        elif key[:2] in normal.changed:
            continue
        elif (value.entries & here.entries) - before.entries:
            yield f"{name} keeps what was added"
        elif here.value is not before.value and value.value is here.value:
            yield f"{name} stays changed"


def _has_changed(one: Value, other: Value) -> bool:
    return one.value is not other.value or bool(one.entries - other.entries)


def _waits(frame: FrameType, argument: object) -> bool:
    """Return whether a frame is left because it waits, and not because it ends or yields."""
    opcode = frame.f_code.co_code[frame.f_lasti]
    return opcode in WAITING and type(argument).__name__ != "async_generator_wrapped_value"


def _works_with(thing: object) -> Iterator[object]:
    """Yield what the project's functions have in hand that something awaits."""
    for _, frame in waiting(thing):
        if frame and is_source(path_in_project(frame.f_code.co_filename)):
            # Who has nothing in hand works with nothing.
            yield from (value for value in frame.f_locals.values() if value is not None)


def _waiting(test: object) -> tuple[Any, Place]:
    """Return what the test awaits that leads into the project, and the project's lines in it."""
    target = None
    lines: list[str] = []
    for thing, frame in waiting(awaited_by(test)):
        if target is None:
            target = thing
        path = path_in_project(frame.f_code.co_filename) if frame else ""
        if frame and is_source(path):
            lines.append(f"{path}:{frame.f_lineno}")
        elif path and not lines:
            target = None
    return target, tuple(lines)


def _waits_by_wait_for(thing: object) -> bool:
    """Return whether `asyncio.wait_for` waits, which loses cancellations before Python 3.12."""
    return any(frame and frame.f_code is wait_for.__code__ for _, frame in waiting(thing))


def _passed_on(
    target: Any,  # noqa: ANN401 - a coroutine, or a step of an async generator
    waits_for: object,
) -> Generator[Any, Any, partial[Any]]:
    """Wait, and return the next step of a coroutine, to which goes what came of it."""
    try:
        return partial(target.send, (yield waits_for))
    except BaseException as error:  # noqa: ASYNC103, BLE001 - raised in the step
        return partial(target.throw, error)  # noqa: ASYNC104


class Again:
    """Runs a test again without a word to pytest of how it went."""

    def __init__(self, runs: CancellationRuns) -> None:
        self._runs = runs

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        """Run it, if a call of it is to be cancelled."""
        if not self._runs.is_again:
            return None
        runtestprotocol(item, log=False, nextitem=nextitem)
        return True
