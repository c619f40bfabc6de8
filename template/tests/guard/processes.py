"""Shares the tests of a long run out among processes, which begin when all is collected.

They are forked, so that nothing is imported and collected twice: that is
most of the time of a short run. For few tests, and where forking is not
safe, as on macOS, one process runs all. Which process runs a test depends
on the order of the tests alone: the same seed gives the same run.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from typing import Any, NoReturn

import pytest

from .report import without_schedule

# With fewer tests for each, one process more would take longer.
TESTS = 50

# Bytes that are read at once.
SIZE = 1 << 16


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
        self._config = session.config
        self._position = 0
        self._rest = b""
        self._reports = TemporaryFile(buffering=0)  # noqa: SIM115 - closed by end
        self._pid = os.fork()
        if not self._pid:
            _run(session, share, self._reports.fileno())

    def report(self) -> None:
        """Report what it has done since the last time."""
        # Not from where the file is at: that is where the other process writes.
        while data := os.pread(self._reports.fileno(), SIZE, self._position):
            self._position += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._report(json.loads(line))

    def wait(self) -> None:
        """Report until it has ended.

        Raises:
            pytest.Session.Failed: It has ended before its tests have.
        """
        while self._pid:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self.report()
            if pid:
                self._pid = 0
                if status:
                    raise pytest.Session.Failed(
                        f"a process of tests ended by {os.waitstatus_to_exitcode(status)}"
                    )
            else:
                threading.Event().wait(0.01)

    def end(self) -> None:
        """End the process, if it has not ended."""
        if self._pid:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
            self._pid = 0
        self._reports.close()

    def _report(self, data: dict[str, Any]) -> None:
        hook = self._config.hook
        report = hook.pytest_report_from_serializable(config=self._config, data=data)
        if report.when == "setup":
            hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
        hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)


class Reporter:
    """Writes the reports of a process for the one that shows them."""

    def __init__(self, config: pytest.Config, file: int) -> None:
        self._config = config
        self._file = file

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write a report as a line."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        with os.fdopen(self._file, "wb", closefd=False) as file:
            file.write(json.dumps(data).encode() + b"\n")


def _run(session: pytest.Session, share: Sequence[pytest.Item], file: int) -> NoReturn:
    """Run a share of the tests in this process, then end it."""
    status = 1
    try:
        plugins = session.config.pluginmanager
        # The files that it writes what it captures to are those of the process before the fork.
        capture: Any = plugins.get_plugin("capturemanager")
        capture.stop_global_capturing()
        capture.start_global_capturing()
        plugins.unregister(name="terminalreporter")
        plugins.unregister(name="guard-processes")
        plugins.register(Reporter(session.config, file))
        plugins.get_plugin("guard").start_sampling()  # type: ignore[union-attr]
        for item, following in zip(share, [*share[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail or session.shouldstop:
                break
        coverage: Any = plugins.get_plugin("_cov")
        if coverage and coverage.cov_controller:
            coverage.cov_controller.cov.stop()
            coverage.cov_controller.cov.save()
        status = 0
    finally:
        # Without what the process before the fork has to do at its end.
        os._exit(status)


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
    asked = option.processes
    is_safe = hasattr(os, "fork") and sys.platform != "darwin" and threading.active_count() == 1
    shares_already = getattr(option, "numprocesses", None) or hasattr(session.config, "workerinput")
    if not is_safe or shares_already or option.usepdb or option.collectonly or session.testsfailed:
        return 1
    processors = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    worthwhile = min(processors or 1, len(session.items) // TESTS)
    return max(1, worthwhile if asked == "auto" else int(asked))
