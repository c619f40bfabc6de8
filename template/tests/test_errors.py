"""Tests of the errors: they pass between processes, and by Redis."""

import importlib
import pickle
import pkgutil
from types import SimpleNamespace

import pytest

from tests.subject import cancellation

PACKAGE = cancellation.__name__.partition(".")[0]

# What others are made of than of a message. More than one of them would
# say what another one means.
ARGUMENTS = {
    "BadRecordError": SimpleNamespace(position=7, error=ValueError()),
    "EventNotFoundError": 5,
    "RecordNotFoundError": 5,
    "UserNotFoundError": 5,
}


def error_classes() -> list[type[Exception]]:
    """Return every class of errors that the package defines."""
    package = importlib.import_module(PACKAGE)
    found: set[type[Exception]] = set()
    prefix = f"{PACKAGE}."
    for module in pkgutil.walk_packages(package.__path__, prefix):
        if module.name.endswith("__main__"):
            continue
        imported = importlib.import_module(module.name)
        for value in vars(imported).values():
            if isinstance(value, type) and issubclass(value, Exception):
                found.add(value)
    own = filter(lambda each: each.__module__.startswith(prefix), found)
    return sorted(own, key=lambda each: each.__name__)


def test_every_error_is_among_those_that_are_tested() -> None:
    assert cancellation.WorkCancelledError in error_classes()


@pytest.mark.parametrize("error_class", error_classes())
def test_an_error_is_the_same_after_it_was_sent(
    error_class: type[Exception],
) -> None:
    argument = ARGUMENTS.get(error_class.__name__, "what is wrong")
    error = error_class(argument)

    # Arguments are what taskiq sends, and pickle.
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - own

    assert type(again) is error_class
    assert str(again) == str(error)
    assert str(error_class(*error.args)) == str(error)
