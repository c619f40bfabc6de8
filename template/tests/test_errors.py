"""Tests of the errors: they pass between processes, and by Redis."""

import pickle
from types import SimpleNamespace

import pytest

from tests.subject import cancellation

PREFIX = cancellation.__name__.removesuffix("cancellation")

# What others are made of than of a message. More than one of them would
# say what another one means.
ARGUMENTS = {
    "BadRecordError": SimpleNamespace(position=7, error=ValueError()),
    "EventNotFoundError": 5,
    "RecordNotFoundError": 5,
    "UserNotFoundError": 5,
}


def error_classes() -> list[type[Exception]]:
    """Return every class of errors of the package, by name.

    It imports nothing: a module that no test imports shall be missing
    in the coverage.
    """
    found: set[type[Exception]] = set()
    waiting: list[type[Exception]] = [Exception]
    while waiting:
        derived = set(waiting.pop().__subclasses__()) - found
        found |= derived
        waiting += derived
    own = [each for each in found if each.__module__.startswith(PREFIX)]
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
