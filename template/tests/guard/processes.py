"""Shares the tests of a long run out among processes, which begin when all is collected.

They are forked, so that nothing is imported and collected twice: that is
most of the time of a short run. For few tests, and where forking is not
safe, as on macOS, one process runs all. Which process runs a test depends
on the order of the tests alone: the same seed gives the same run.
"""

import os
import pickle
import signal
import sys
import threading
from argparse import ArgumentTypeError
from collections.abc import Generator, Sequence
from contextlib import suppress
from struct import Struct
from tempfile import TemporaryFile
from time import monotonic
from typing import Any, NoReturn
from warnings import WarningMessage

import pytest

from .report import without_schedule

# With fewer tests for each, one process more would take longer.
TESTS = 50

# Before each message of a process: its size in bytes.
HEAD = Struct("!I")

# Seconds that a process has to clean up.
GRACE = 5

# Is never set: a wait for it is a pause, whatever a test has made of `sleep`.
PAUSE = threading.Event()


def number(text: str) -> int | str:
    """Return how many processes the command line asks for, or "auto".

    Raises:
        ArgumentTypeError: It is neither.
    """
    if text == "auto":
        return text
    if not text.isdecimal() or text == "0":
        raise ArgumentTypeError(f"a number from 1 on, or auto, not {text!r}")
    return int(text)


class Processes:
    """Runs the tests of a session in several processes, and reports as if it were one."""

    def __init__(self) -> None:
        self._helpers: list[Helper] = []

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Start the other processes, run one share of the tests here, and wait for the others."""
        own, *others = _shares(session.items, _number_of_processes(session))
        try:
            for share in others:
                self._helpers.append(Helper(session, share))
            session.items[:] = own
            result = yield
            for helper in self._helpers:
                helper.wait()
                self._stop_if_told(session)
        finally:
            for helper in self._helpers:
                helper.end()
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self) -> None:
        """Show what the other processes have done meanwhile."""
        for helper in self._helpers:
            helper.report()

    def _stop_if_told(self, session: pytest.Session) -> None:
        """Stop as pytest does after a test of its own, such as by -x."""
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)


class Helper:
    """A process that runs a share of the tests."""

    def __init__(self, session: pytest.Session, share: Sequence[pytest.Item]) -> None:
        self._session = session
        self._config = session.config
        self._position = 0
        self._said = TemporaryFile(buffering=0)  # noqa: SIM115 - closed by end
        self._pid = os.fork()
        if not self._pid:
            _run(session, share, self._said.fileno())

    def report(self) -> None:
        """Report what it has done since the last time."""
        file = self._said.fileno()
        # Not from where the file is at: there the other process writes.
        while (head := os.pread(file, HEAD.size, self._position)) and len(head) == HEAD.size:
            (size,) = HEAD.unpack(head)
            data = os.pread(file, size, self._position + HEAD.size)
            if len(data) < size:
                break
            self._position += HEAD.size + size
            name, values = pickle.loads(data)  # noqa: S301 - of a process of this program
            self._show(name, values)

    def wait(self) -> None:
        """Report until it has ended; if that was before its tests have, the run fails."""
        while self._pid:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self.report()
            if not pid:
                PAUSE.wait(0.01)
                continue
            self._pid = 0
            if status and not self._session.shouldstop:
                code = os.waitstatus_to_exitcode(status)
                self._session.shouldfail = f"a process that ran tests has ended by {code}"

    def end(self) -> None:
        """End the process, if it has not ended: it may clean up first."""
        for signum in [signal.SIGINT, signal.SIGKILL]:
            end = monotonic() + GRACE
            with suppress(ProcessLookupError, ChildProcessError):
                while self._pid and monotonic() < end:
                    os.kill(self._pid, signum)
                    PAUSE.wait(0.1)
                    if os.waitpid(self._pid, os.WNOHANG)[0]:
                        self._pid = 0
        self._said.close()

    def _show(self, name: str, values: dict[str, Any]) -> None:
        hook = self._config.hook
        if name == "pytest_warning_recorded":
            hook.pytest_warning_recorded.call_historic(kwargs=values)
            return
        report = hook.pytest_report_from_serializable(config=self._config, data=values)
        if report.when == "setup":
            hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
        hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)


class Reporter:
    """Writes what a process has to say for the one that shows it."""

    def __init__(self, config: pytest.Config, file: int) -> None:
        self._config = config
        self._file = file

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write a report."""
        hook = self._config.hook
        values = hook.pytest_report_to_serializable(config=self._config, report=report)
        self._write("pytest_runtest_logreport", values)

    def pytest_warning_recorded(
        self,
        warning_message: WarningMessage,
        when: str,
        nodeid: str,
        location: tuple[str, int, str] | None,
    ) -> None:
        """Write a warning that is no error."""
        told = warning_message
        # Without what it is about, which may be no data.
        plain = WarningMessage(told.message, told.category, told.filename, told.lineno)
        values = {"warning_message": plain, "when": when, "nodeid": nodeid, "location": location}
        self._write("pytest_warning_recorded", values)

    def _write(self, name: str, values: dict[str, Any]) -> None:
        data = pickle.dumps((name, values))
        os.write(self._file, HEAD.pack(len(data)) + data)


def _run(session: pytest.Session, share: Sequence[pytest.Item], file: int) -> NoReturn:
    """Run a share of the tests in this process, then end it."""
    status = 1
    try:
        _prepare(session, file)
        for item, following in zip(share, [*share[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail or session.shouldstop:
                break
        status = 0
    finally:
        # Without what the process before the fork has to do at its end, but with the fixtures'.
        with suppress(BaseException):
            session._setupstate.teardown_exact(None)
        coverage: Any = session.config.pluginmanager.get_plugin("_cov")
        if coverage and coverage.cov_controller:
            coverage.cov_controller.cov.stop()
            coverage.cov_controller.cov.save()
        os._exit(status)


def _prepare(session: pytest.Session, file: int) -> None:
    """Make a forked process write what it captures, and tell, to places of its own."""
    plugins = session.config.pluginmanager
    capture: Any = plugins.get_plugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    plugins.unregister(name="terminalreporter")
    plugins.unregister(name="guard-processes")
    plugins.register(Reporter(session.config, file))
    guard: Any = plugins.get_plugin("guard")
    guard.start_sampling()


def _shares(items: Sequence[pytest.Item], number: int) -> list[list[pytest.Item]]:
    """Return the tests for each process; each test with all its schedules."""
    shares: list[list[pytest.Item]] = [[] for _ in range(number)]
    numbers: dict[str, int] = {}
    for item in items:
        turn = numbers.setdefault(without_schedule(item.nodeid), len(numbers))
        shares[turn % number].append(item)
    return shares


def _number_of_processes(session: pytest.Session) -> int:
    option = session.config.option
    is_safe = hasattr(os, "fork") and sys.platform != "darwin" and threading.active_count() == 1
    shares_already = getattr(option, "numprocesses", None) or hasattr(session.config, "workerinput")
    if not is_safe or shares_already or option.usepdb or option.collectonly or session.testsfailed:
        return 1
    if option.processes != "auto":
        return max(1, min(int(option.processes), len(session.items)))
    processors = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    return max(1, min(int(processors or 1), len(session.items) // TESTS))
