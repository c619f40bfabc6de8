"""Lets an interrupt end the run at whatever moment it comes, as an interrupt and as nobody's fault.

It comes anywhere: in the end of an object, where Python can raise nothing, in a plugin, or
half-way through making a loop. What is left half-made then is no finding.
"""

import asyncio
import sys
import warnings
from collections.abc import Generator
from typing import Any

import pytest


class Interrupts:
    """Knows when the run was interrupted, and what else is raised because of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def pytest_configure(self, config: pytest.Config) -> None:
        """Let a plugin be interrupted: pluggy warns of that, and an error would take the interrupt's place."""
        config.addinivalue_line("filterwarnings", "ignore::pluggy.PluggyTeardownRaisedWarning")

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Begin to look at what Python cannot raise, and at what asyncio forgets."""
        hook: Any = sys.unraisablehook

        def stop_if_interrupted(unraisable: Any) -> None:  # noqa: ANN401 - has no name at run time
            if issubclass(unraisable.exc_type, KeyboardInterrupt):
                session.shouldstop = "KeyboardInterrupt"
            else:
                hook(unraisable)

        self._monkeypatch.setattr(sys, "unraisablehook", stop_if_interrupted)
        handle: Any = getattr(asyncio.Runner, "_on_sigint", None)

        def handle_if_running(
            runner: asyncio.Runner, *args: object, main_task: asyncio.Task[object]
        ) -> None:
            # It cancels the task. Before the loop runs, it then forgets why, and the test would fail of that.
            if not main_task.get_loop().is_running():
                raise KeyboardInterrupt
            handle(runner, *args, main_task=main_task)

        if handle:
            self._monkeypatch.setattr(asyncio.Runner, "_on_sigint", handle_if_running)

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Leave out what cannot be shown, and let no warning of pytest end in a trace from here on."""
        # Where a generator goes on, Python 3.11 knows no line.
        excinfo.traceback = excinfo.traceback.filter(
            lambda entry: entry._rawentry.tb_lineno is not None
        )
        warnings.simplefilter("ignore", pytest.PytestWarning)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int
    ) -> Generator[None, object, object]:
        """Say in a line what could not be cleaned up."""
        try:
            return (yield)
        except Exception as error:
            if exitstatus != pytest.ExitCode.INTERRUPTED:
                raise
            terminal = session.config.get_terminal_writer()
            terminal.line(f"\nafter the interrupt, not all was cleaned up: {error!r}")
            return None
