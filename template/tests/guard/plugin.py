"""The pytest plugin: settings, schedules, the test at fault."""

import asyncio
import atexit
import gc
import json
import signal
import sys
from asyncio import _get_running_loop
from collections.abc import (
    Callable,
    Generator,
    Hashable,
    Iterator,
    Mapping,
)
from functools import cached_property, partial
from time import thread_time
from types import FrameType
from typing import Any
from weakref import WeakSet

import pytest

from .blocking import BlockingCalls
from .callers import dependencies
from .cancel import CHECK, Again, CancellationRuns
from .causes import FOUND, FoundError
from .collected import UncollectedTest, uncollected_tests
from .interrupts import Interrupts
from .loop import GuardLoop
from .measured import FACTORY, MeasuredOnce
from .mocks import SuspendingMocks
from .origins import Origins
from .parsed import ParsedOnce
from .places import set_sources
from .processes import Processes, number
from .report import PLAIN, RAN_BEFORE, Report
from .resources import Resources
from .spared import spare_searches
from .state import State
from .threads import WrongThreads
from .watch import CHECKS, Watch, sentence

# Seconds of CPU between two looks at what a long step is doing.
SAMPLING = 0.02

MARKER = "guard_allow"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the settings, which pytest.ini explains."""
    parser.addini("guard_checks", "checks that are on", type="linelist")
    parser.addini("guard_allow", "findings to allow", type="linelist")
    parser.addini("guard_step_seconds", "CPU time of one step of a loop")
    parser.addini("guard_seeds", "how many shuffled schedules")
    parser.addini("guard_sources", "folders of the sources", type="args", default=["src"])
    group = parser.getgroup("guard")
    group.addoption(
        "--seeds", type=int, help="how many shuffled schedules every async test runs in"
    )
    group.addoption(
        "--cancel",
        action="store_true",
        help="run tests again, and cancel what they await of the project at each of its suspensions",
    )
    group.addoption(
        "--processes",
        type=number,
        default=1,
        help="how many processes share the tests, or auto: as many as there are processors",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Switch the guard on before a project's own files are imported.

    They may copy what is watched, such as `from time import sleep`, and
    their fixtures must be set up later than the guard's.
    """
    _register(early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Switch the guard on where that hook is not called: by xdist."""
    if not config.pluginmanager.hasplugin("guard"):
        _register(config)


def _register(config: pytest.Config) -> None:
    set_sources(config.getini("guard_sources"))
    guard = Guard()
    config.pluginmanager.register(guard, "guard")
    config.pluginmanager.register(guard.report, "guard-report")
    config.pluginmanager.register(Processes(), "guard-processes")


def _check_name(name: str, place: str) -> None:
    if name not in CHECKS:
        raise pytest.UsageError(
            f"{place}: the guard has no check {name!r}; it has {', '.join(CHECKS)}"
        )


def _number(config: pytest.Config, name: str) -> float:
    value = config.getini(name)
    try:
        number = float(value)
    except ValueError:
        number = -1
    if not 0 <= number < 1000:
        raise pytest.UsageError(f"pytest.ini: {name} must be a number, not {value!r}")
    return number


class Guard:
    """Watches every test from its first fixture to its last.

    Attributes:
        report: What prints what it has found.
    """

    _config: pytest.Config
    _step_seconds: float
    _seeds: int

    def __init__(self) -> None:
        # What undoes all that the guard replaces.
        self._monkeypatch = pytest.MonkeyPatch()
        self.report = Report(self.how_to_replay, self._monkeypatch)
        self._watch = Watch()
        self._resources = Resources(self._watch, self._monkeypatch)
        self._origins = Origins()
        self._blocking = BlockingCalls(self._watch, self._origins, self._monkeypatch)
        self._state = State(self._watch, self._monkeypatch)
        self._threads = WrongThreads(self._watch, self._monkeypatch)
        self._mocks = SuspendingMocks(self._monkeypatch)
        self._foreign_loops: set[str] = set()
        self._uses: dict[tuple[str, str], bool] = {}
        self._deselected = False
        self._cancellation: CancellationRuns | None = None
        self._passed: set[Hashable] = set()
        self._loops = WeakSet[GuardLoop]()
        self._watched_item: pytest.Item | None = None
        self._looked_at = thread_time()
        self._old_handler: Any = None
        # What is imported and collected stays until the end: it is looked through when all of it is there,
        # and not again as the process ends, where what is left is no test's.
        self._thresholds = gc.get_threshold()
        gc.set_threshold(0)
        atexit.register(gc.freeze)
        self._resources.start()
        self._blocking.start()
        self._state.start()
        self._threads.start()
        self._mocks.start()

    @property
    def _base_seed(self) -> int:
        return int(self._config.getoption("randomly_seed", 0))

    @cached_property
    def _factories(self) -> dict[str, Callable[[], GuardLoop]]:
        """What makes the loops of each schedule.

        Made once: pytest makes fixtures anew where the parameter that
        they depend on is another object.
        """
        return {
            name: partial(GuardLoop, self._watch, self._step_seconds, seed)
            for name, seed in self._schedules().items()
        }

    # What happens to the whole run.

    def pytest_configure(self, config: pytest.Config) -> None:
        """Read the settings.

        Raises:
            pytest.UsageError: A setting names a check that is none, or
                is no number.
        """
        self._config = config
        checks = config.getini("guard_checks")
        for line in [*checks, *config.getini("guard_allow")]:
            _check_name(line.partition(":")[0], "pytest.ini")
        self._watch.checks = frozenset(checks)
        self._step_seconds = _number(config, "guard_step_seconds")
        seeds: int | None = config.getoption("seeds")
        if seeds is None:
            # It is the plain schedule that is run again.
            seeds = 0 if config.getoption("cancel") else int(_number(config, "guard_seeds"))
        self._seeds = seeds
        if config.getoption("cancel"):
            self._watch.checks |= {CHECK}
            self._cancellation = CancellationRuns(
                self._watch, self._resources, self._not_allowed, self._monkeypatch
            )
            config.pluginmanager.register(self._cancellation)
            config.pluginmanager.register(Again(self._cancellation))
        config.pluginmanager.register(MeasuredOnce(self._has_passed))
        config.pluginmanager.register(ParsedOnce())
        config.pluginmanager.register(Interrupts(self._monkeypatch))
        config.addinivalue_line(
            "markers", f"{MARKER}(check, reason): let a test do what this check of the guard stops"
        )

    def pytest_report_header(self) -> str:
        """Return what is tried and how to try it again."""
        names = ", ".join(self._schedules())
        return f"guard: schedules {names}; the same ones again: {self.how_to_replay()}"

    def pytest_sessionstart(self) -> None:
        """Begin to watch."""
        # Whoever looks for a loop outside an async test, as plugins do, makes one that nobody closes.
        asyncio.set_event_loop(None)
        dependencies()
        self._origins.start(self._monkeypatch)
        spare_searches(self._monkeypatch)
        # A coroutine that is never awaited then says where it was made.
        sys.set_coroutine_origin_tracking_depth(1)
        if hasattr(signal, "setitimer"):
            self._old_handler = signal.signal(signal.SIGVTALRM, self._sample)
            self.start_sampling()

    def start_sampling(self) -> None:
        """Look at long steps from now on, in this process."""
        if self._old_handler is not None:
            signal.setitimer(signal.ITIMER_VIRTUAL, SAMPLING, SAMPLING)

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Let a test that pytest passes over fail beside those that it has collected."""
        report = yield
        # Files of doctests are of a type that is derived from it.
        if "uncollected-test" in self._watch.checks and type(collector) is pytest.Module:
            for name, line in uncollected_tests(collector) if report.passed else []:
                options = {"name": name, "watch": self._watch, "line": line}
                report.result.append(UncollectedTest.from_parent(collector, **options))
        return report

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Check the markers.

        Raises:
            pytest.UsageError: A marker names no check or no reason.
        """
        for item in session.items:
            list(_marked_checks(item))
        gc.collect()
        self._restore_thresholds()

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self) -> None:
        """Leave everything as it was."""
        self._restore_thresholds()
        sys.set_coroutine_origin_tracking_depth(0)
        if self._old_handler is not None:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, self._old_handler)
        self._monkeypatch.undo()

    def _restore_thresholds(self) -> None:
        # Unless a project has set its own meanwhile.
        if gc.get_threshold()[0] == 0:
            gc.set_threshold(*self._thresholds)

    def pytest_deselected(self) -> None:
        """Take note that not all tests run."""
        self._deselected = True

    def _sample(self, _: int, frame: FrameType | None) -> None:
        since, self._looked_at = self._looked_at, thread_time()
        loop = _get_running_loop()
        if isinstance(loop, GuardLoop):
            loop.sample(frame, since, self._looked_at)

    # The loops.

    @pytest.hookimpl(trylast=True)
    def pytest_asyncio_loop_factories(
        self,
    ) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
        """Return what makes a loop, for each schedule to run tests in."""
        return self._factories

    def _schedules(self) -> dict[str, str]:
        seeds = {
            f"seed{number}": f"{self._base_seed} {number}" for number in range(1, self._seeds + 1)
        }
        return {PLAIN: ""} | seeds

    def _is_shuffled(self, item: pytest.Item) -> bool:
        callspec = getattr(item, "callspec", None)
        factory = callspec and callspec.params.get(FACTORY)
        shuffled = [made for name, made in self._factories.items() if name != PLAIN]
        return any(factory is each for each in shuffled)

    def _has_passed(self, item: pytest.Item) -> bool:
        return _test_of(item) in self._passed

    def how_to_replay(self) -> str:
        """Return the command that gives the same schedules again, but for the tests to run."""
        # Without coverage, which fails whenever not all tests run.
        command = ".venv/bin/pytest --no-cov"
        seeds = f"--seeds={self._seeds}"
        if self._config.pluginmanager.hasplugin("randomly"):
            return f"{command} --randomly-seed={self._base_seed} {seeds}"
        return f"{command} -p no:randomly {seeds}"

    # One test.

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Know what outlives a test, and when a loop begins and ends."""
        if fixturedef.scope == "function":
            self._begin(request.node)
            result = yield
        else:
            with self._resources.lasting(), self._state.accepting():
                result = yield
        if fixturedef.argname == FACTORY and result is None:
            # Of a plain test with async fixtures: pytest-asyncio offers loops to async tests alone.
            result = self._factories[PLAIN]
            key = fixturedef.cached_result[1] if fixturedef.cached_result else None
            fixturedef.cached_result = (result, key, None)
        if isinstance(result, asyncio.Runner):
            loop = result.get_loop()
            if isinstance(loop, GuardLoop):
                self._loops.add(loop)
                loop.begin(request.node.nodeid)
                loop.cancellation = self._cancellation
                # Fixtures that need the loop have ended by then.
                fixturedef.addfinalizer(partial(self._end_loop, loop))
            else:
                self._foreign_loops.add(type(loop).__qualname__)
        return result

    def _end_loop(self, loop: GuardLoop) -> None:
        self._safely(loop.check)
        self._loops.discard(loop)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Watch a test without fixtures of its own, too."""
        if hasattr(item, "funcargs"):
            self._begin(item)

    def _begin(self, item: pytest.Item) -> None:
        """Look around when all that the test sets up from now on has ended.

        Not by a fixture: the set-up of each is a call of all plugins, in every test.
        """
        if self._watched_item is item:
            return
        self._watched_item = item
        item.addfinalizer(partial(self._end, item))
        self._resources.watch_imported()
        self._mocks.watch_imported()
        self._blocking.lines.clear()
        self._state.remember()
        # So that the collection below need not look at what was there before.
        gc.freeze()

    def _end(self, item: pytest.Item) -> None:
        self._watched_item = None
        # Nothing but the test holds its values now, so they can go.
        (getattr(item, "funcargs", None) or {}).clear()
        for loop in list(self._loops):
            self._safely(loop.check_reported)
        self._safely(self._resources.check)
        gc.collect()
        gc.unfreeze()
        self._safely(self._state.check)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Fail the test for what it left behind."""
        try:
            result = yield
        except BaseException as error:
            # Else the next test would be blamed for what was found.
            found = list(self._not_allowed(item))
            setattr(error, FOUND, found)
            for finding in [sentence(*each) for each in found]:
                error.add_note(finding)
            raise
        if nextitem is None:
            self._safely(self._resources.check_lasting)
        if self._cancellation and self._cancellation.is_again:
            self._cancellation.keep(self._watch.take())
            return result
        found = list(self._not_allowed(item))
        text = "\n".join(sentence(*each) for each in found)
        if text and item.stash.get(FAILED, False):
            # It may well be what a failure leaves behind.
            item.add_report_section("teardown", "guard", text)
        elif text:
            raise FoundError(found)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Say with every failure how to see it again."""
        report = yield
        if call.when != "teardown":
            failed = item.stash.get(FAILED, False) or report.failed
            item.stash[FAILED] = failed
        if call.when == "call":
            item.stash[RAN] = not report.skipped
            if report.passed:
                self._passed.add(_test_of(item))
        if not self.report.is_short and report.failed and self._is_shuffled(item):
            text = f'Again: {self.how_to_replay()} "{item.nodeid}"'
            if call.when == "call" and self._has_passed(item):
                text += f"\n{RAN_BEFORE}"
            report.sections.append(("schedule", text))
        return report

    def _safely(self, check: Callable[[], None]) -> None:
        """Check; an error of the guard's own never hides a test's."""
        try:
            check()
        except Exception:  # noqa: BLE001 - shown with the test
            self._watch.failed()

    # What is allowed.

    def _not_allowed(self, item: pytest.Item) -> Iterator[tuple[str, str]]:
        marked = dict(_marked_checks(item))
        lines = self._config.getini("guard_allow")
        uses: dict[str, bool] = dict.fromkeys([*marked, *lines], False)
        for check, what in self._watch.take():
            said = sentence(check, what)
            allowing = [
                line
                for line in lines
                if line.partition(":")[0] == check and line.partition(":")[2].strip() in said
            ]
            uses |= dict.fromkeys(allowing, True)
            if check in marked:
                uses[check] = True
            elif not allowing:
                yield check, what
        if self._deselected or not item.stash.get(RAN, False):
            # Whether they are needed does not show.
            return
        test = item.nodeid.partition("[")[0]
        for name, is_used in uses.items():
            if name.partition(":")[0] == CHECK and not self._cancellation:
                continue
            place = "pytest.ini" if name in lines else test
            item.user_properties.append((MARKER, json.dumps([place, name, is_used])))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of which exceptions were used, by any process."""
        if report.when != "teardown":
            return
        for name, value in report.user_properties:
            if name == MARKER:
                place, exception, is_used = json.loads(str(value))
                key = (place, exception)
                self._uses[key] = self._uses.get(key, False) or is_used

    def _unused(self) -> list[str]:
        return [
            f"{place}: {MARKER} of {name!r} allows nothing: remove it."
            for (place, name), is_used in sorted(self._uses.items())
            if not is_used and self._is_whole(place)
        ]

    def _is_whole(self, place: str) -> bool:
        """Return whether all ran that an exception is for."""
        config = self._config
        if place != "pytest.ini":
            return not any("[" in argument for argument in config.args)
        chosen = config.args_source is pytest.Config.ArgsSource.ARGS
        return not (chosen or config.getoption("ignore") or config.getoption("ignore_glob"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run for exceptions that allow nothing."""
        if session.exitstatus == 0 and self._unused():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what is allowed in vain, and what was not watched."""
        notes = self._unused()
        if self._foreign_loops:
            names = ", ".join(sorted(self._foreign_loops))
            notes.append(
                f"Some tests ran in loops that are not the guard's "
                f"({names}): their schedules, tasks and slow steps "
                "were not watched."
            )
        if notes:
            terminalreporter.section("guard")
            for note in notes:
                terminalreporter.write_line(note)


FAILED = pytest.StashKey[bool]()
RAN = pytest.StashKey[bool]()


def _test_of(item: pytest.Item) -> Hashable:
    """Return what is the same in all schedules of a test."""
    callspec = getattr(item, "callspec", None)
    params = callspec.params.items() if callspec else []
    # Not every value can be hashed; all schedules of a test have the same objects.
    values = frozenset((name, id(value)) for name, value in params if name != FACTORY)
    return item.parent, getattr(item, "originalname", item.name), values


def _marked_checks(item: pytest.Item) -> Iterator[tuple[str, str]]:
    for marker in item.iter_markers(MARKER):
        reason = marker.kwargs.get("reason", "")
        if len(marker.args) != 1 or not reason:
            raise pytest.UsageError(
                f"{item.nodeid}: {MARKER} needs a check and a reason, such "
                f'as {MARKER}("leaked-thread", reason="...")'
            )
        _check_name(marker.args[0], item.nodeid)
        yield marker.args[0], reason
