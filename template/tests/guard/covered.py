"""Coverage where it says something: in the first schedule, and of the project's own code at work."""

from collections.abc import Generator
from typing import Any

import pytest

from .report import is_shuffled

# What chooses tests on the command line. In pytest.ini it is for every run.
CHOOSING = ("-k", "-m", "--lf", "--last-failed", "--sw", "--stepwise", "--deselect", "--ignore")


class CoverageOnce:
    """Measures coverage where it says something.

    Not in shuffled schedules, which run the same lines again, and take
    twice as long if they are measured. Not against the threshold where
    somebody runs but some tests.
    """

    def pytest_configure(self, config: pytest.Config) -> None:
        """Hold a run of some tests to no threshold."""
        plugin: Any = config.pluginmanager.get_plugin("_cov")
        if plugin and is_narrow(config):
            plugin.options.cov_fail_under = 0

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Pause while a test runs in a shuffled schedule."""
        plugin: Any = item.config.pluginmanager.get_plugin("_cov")
        controller = plugin and plugin.cov_controller
        if not controller or not is_shuffled(item):
            return (yield)
        controller.pause()
        try:
            return (yield)
        finally:
            controller.resume()


def is_narrow(config: pytest.Config) -> bool:
    """Return whether the command line chooses some tests of all."""
    some = config.args_source is pytest.Config.ArgsSource.ARGS
    is_part = some and set(config.args) != set(config.getini("testpaths"))
    return is_part or any(str(one).startswith(CHOOSING) for one in config.invocation_params.args)
