"""Measures coverage where it says something, and holds to the threshold a run of all tests alone.

While a test only runs again, in a shuffled schedule, its lines are known: a trace function, as coverage has
on Python before 3.14, takes more time than the tests themselves.
"""

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

# The fixture of pytest-asyncio's, and its parameter, by which tests are given their loops.
FACTORY = "_asyncio_loop_factory"

# What chooses tests on the command line. In pytest.ini it is for every run.
CHOOSING = ("-k", "-m", "--lf", "--last-failed", "--sw", "--stepwise", "--deselect", "--ignore")


class MeasuredOnce:
    """Measures the lines of each test once.

    Args:
        is_again: Says whether a test has passed before, in another schedule.
    """

    def __init__(self, is_again: Callable[[pytest.Item], bool]) -> None:
        self._is_again = is_again
        self._is_begun = False

    def pytest_configure(self, config: pytest.Config) -> None:
        """Hold a run of some tests to no threshold."""
        plugin: Any = config.pluginmanager.getplugin("_cov")
        if plugin and is_narrow(config):
            plugin.options.cov_fail_under = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Pause before a test that runs again, and go on before another one.

        What a test of a wider loop has begun is ended by the next one that asks for a loop.
        """
        begins = _begins_more_than_itself(item)
        _measure(item.config, on=begins or self._is_begun or not self._is_again(item))
        asks = FACTORY in getattr(item, "fixturenames", [])
        self._is_begun = begins or (self._is_begun and not asks)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Go on where more may end than the test, such as a fixture of its module."""
        if nextitem is None or nextitem.parent is not item.parent:
            _measure(item.config, on=True)


def _begins_more_than_itself(item: pytest.Item) -> bool:
    """Return whether it sets up a parameter of many tests: that ends what the one before it has begun."""
    callspec = getattr(item, "callspec", None)
    scopes = callspec._arg2scope.values() if callspec else []
    return any(scope.value != "function" for scope in scopes)


def _measure(config: pytest.Config, *, on: bool) -> None:
    plugin = config.pluginmanager.getplugin("_cov")
    controller: Any = getattr(plugin, "cov_controller", None)
    if controller is None or controller.started == on:
        return
    # Its `pause` and `resume` need a current folder, which a test may have removed.
    if on:
        controller.cov.start()
        controller.started = True
    elif _can_go_on():
        controller.cov.stop()
        controller.started = False


def _can_go_on() -> bool:
    """Return whether coverage measures all as before when it starts again.

    In other threads it does not, nor, by `sys.monitoring`, in generators that have begun; but that costs
    little where lines are known.
    """
    return sys.gettrace() is not None and threading.active_count() == 1


def is_narrow(config: pytest.Config) -> bool:
    """Return whether the command line chooses some tests of all."""
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        given = [(config.invocation_params.dir / one).resolve() for one in config.args]
        every = [config.rootpath / path for path in config.getini("testpaths") or ["."]]
        if not all(any(path.is_relative_to(one) for one in given) for path in every):
            return True
    return any(str(one).startswith(CHOOSING) for one in config.invocation_params.args)
