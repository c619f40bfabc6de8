"""Shares the tests of a long run out among processes, which begin when all is collected.

They are forked, so that nothing is imported and collected twice: that is
most of the time of a short run. For few tests, and where forking is not
safe, as on macOS, one process runs all. Which process runs a test depends
on the order of the tests alone: the same seed gives the same run.
"""

import asyncio
import os
import pickle
import signal
import sys
import threading
import traceback
from argparse import ArgumentTypeError
from collections.abc import Generator, Sequence
from contextlib import suppress
from struct import Struct
from time import monotonic
from typing import Any, NoReturn
from warnings import WarningMessage

import pytest
from _pytest.config import create_terminal_writer

from .report import without_schedule

# With fewer tests for each, one process more would take longer.
TESTS = 50

# The name of what a process says if it breaks.
BROKEN = "broken"

# Bytes that are read at once.
SIZE = 1 << 16

# Before each message of a process: its size in bytes.
HEAD = Struct("!I")

# Seconds that a process has to end by itself, and to clean up once it is told to.
PATIENCE = 0.5
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
        self._is_reporting = False

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Start the other processes, run one share of the tests here, and wait for the others."""
        own, *others = _shares(session.items, _number_of_processes(session))
        try:
            for share in filter(None, others):
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
        """Show what the other processes have done meanwhile; their tests end here, too, and ask for no more."""
        if self._is_reporting:
            return
        self._is_reporting = True
        for helper in self._helpers:
            helper.report()
        self._is_reporting = False

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
        self._data = b""
        self._pipe, writing = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.close(self._pipe)
            _run(session, share, Channel(writing))
        os.close(writing)
        os.set_blocking(self._pipe, False)

    def report(self) -> None:
        """Report what it has done since the last time."""
        with suppress(BlockingIOError):
            while data := os.read(self._pipe, SIZE):
                self._data += data
        while len(self._data) >= HEAD.size and not self._session.shouldfail:
            end = HEAD.size + HEAD.unpack_from(self._data)[0]
            if len(self._data) < end:
                break
            message, self._data = self._data[HEAD.size : end], self._data[end:]
            name, values = pickle.loads(message)  # noqa: S301 - of a fork of this process
            self._show(name, values)

    def wait(self) -> None:
        """Report until it has ended; if that was before its tests have, the run fails."""
        while self._pid and not self._session.shouldstop:
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
        # Whoever interrupted this one has mostly interrupted it, too, and twice would be once too often.
        for signum, seconds in [(0, PATIENCE), (signal.SIGINT, GRACE), (signal.SIGKILL, GRACE)]:
            end = monotonic() + seconds
            with suppress(ProcessLookupError, ChildProcessError):
                if self._pid:
                    os.kill(self._pid, signum)
                while self._pid and monotonic() < end:
                    if os.waitpid(self._pid, os.WNOHANG)[0]:
                        self._pid = 0
                    PAUSE.wait(0.01)
        os.close(self._pipe)

    def _show(self, name: str, values: dict[str, Any]) -> None:
        hook = self._config.hook
        if name == BROKEN:
            terminal: Any = self._config.pluginmanager.get_plugin("terminalreporter")
            terminal.write_line(f"\n{values['text']}")
            return
        if name == "pytest_warning_recorded":
            hook.pytest_warning_recorded.call_historic(kwargs=values)
            return
        report = hook.pytest_report_from_serializable(config=self._config, data=values)
        if report.when == "setup":
            hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
        hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)


class Channel:
    """Sends messages to the process before the fork, which may be busy with a test."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._pending = b""
        os.set_blocking(pipe, False)

    def send(self, name: str, values: dict[str, Any]) -> None:
        """Send what the pipe takes now; the rest is sent with the next."""
        data = pickle.dumps((name, values))
        self._pending += HEAD.pack(len(data)) + data
        with suppress(BlockingIOError):
            while self._pending:
                self._pending = self._pending[os.write(self._pipe, self._pending) :]

    def close(self) -> None:
        """Send all that is left."""
        os.set_blocking(self._pipe, True)
        while self._pending:
            self._pending = self._pending[os.write(self._pipe, self._pending) :]


class Reporter:
    """Sends what a process has to say to the one that shows it."""

    def __init__(self, config: pytest.Config, channel: Channel) -> None:
        self._config = config
        self._channel = channel

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write a report."""
        hook = self._config.hook
        values = hook.pytest_report_to_serializable(config=self._config, report=report)
        self._channel.send("pytest_runtest_logreport", values)

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
        self._channel.send("pytest_warning_recorded", values)


def _run(session: pytest.Session, share: Sequence[pytest.Item], channel: Channel) -> NoReturn:
    """Run a share of the tests in this process, then end it."""
    status = 1
    try:
        _run_tests(session, share, channel)
        status = 0
    finally:
        # Without what the process before the fork has to do at its end.
        os._exit(status)


def _run_tests(session: pytest.Session, share: Sequence[pytest.Item], channel: Channel) -> None:
    try:
        _prepare(session, channel)
        for item, following in zip(share, [*share[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail or session.shouldstop:
                break
    except Exception:
        channel.send(BROKEN, {"text": traceback.format_exc()})
        raise
    finally:
        # What cleans up is not to be interrupted again.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for step in [
            lambda: session._setupstate.teardown_exact(None),
            lambda: _save_coverage(session.config),
            channel.close,
        ]:
            with suppress(Exception):
                step()


def _save_coverage(config: pytest.Config) -> None:
    plugin: Any = config.pluginmanager.get_plugin("_cov")
    if plugin and plugin.cov_controller:
        plugin.cov_controller.cov.stop()
        plugin.cov_controller.cov.save()


def _prepare(session: pytest.Session, channel: Channel) -> None:
    """Make a forked process write what it captures, and tell, to places of its own."""
    plugins = session.config.pluginmanager
    capture: Any = plugins.get_plugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    # Others ask for what writes to the terminal, which the process before the fork alone does.
    terminal: Any = plugins.get_plugin("terminalreporter")
    silent = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - until its end
    terminal._tw = create_terminal_writer(session.config, silent)
    plugins.unregister(name="guard-processes")
    plugins.register(Reporter(session.config, channel))
    guard: Any = plugins.get_plugin("guard")
    guard.start_sampling()
    # asyncio forgets in a fork that a loop was set, and would make one for whoever asks.
    asyncio.set_event_loop(None)


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
