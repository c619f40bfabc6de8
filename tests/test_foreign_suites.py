"""Under the guard, other people's tests fail by what a person has judged, and by nothing else."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.conftest import RECORD
from tests.foreign_suites import (
    PYTHON,
    Outcome,
    Suite,
    UnreachableError,
    load_suites,
    run_suite,
)
from tests.helpers import available_python, render

SUITES = load_suites()

# What a person can say of a new failure. What is a false alarm is to be mended, and not to be kept.
VERDICTS = {"right", "arguable"}


def give_up(reason: str) -> NoReturn:
    """Skip the test; fail it in the run that must leave out nothing."""
    if RECORD in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def skeleton(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project without examples. Tests copy it."""
    if not available_python(PYTHON):
        give_up(f"there is no Python {PYTHON} here")
    return render(template, tmp_path_factory.mktemp("foreign") / "skeleton", examples=[])


@pytest.fixture(scope="module", params=SUITES, ids=str)
def suite(request: pytest.FixtureRequest) -> Suite:
    """Return each suite in turn."""
    found: Suite = request.param
    return found


@pytest.fixture(scope="module")
def outcome(suite: Suite, skeleton: Path) -> Iterator[Outcome]:
    """Return how a suite ran."""
    project = Path(shutil.copytree(skeleton, skeleton.parent / suite.name))
    try:
        yield run_suite(suite, project)
    except UnreachableError as error:
        give_up(f"no package index can be reached from here: {error}")
    finally:
        shutil.rmtree(project)


def test_no_verdict_is_that_of_a_false_alarm() -> None:
    verdicts = {verdict.verdict for suite in SUITES for verdict in suite.verdict}

    assert verdicts == VERDICTS


def test_whatever_is_left_out_has_a_reason() -> None:
    assert all(each["why"] and each["tests"] for suite in SUITES for each in suite.left_out)


@pytest.mark.slow
@pytest.mark.xdist_group("foreign")
def test_a_suite_ran_and_passes_without_the_guard(suite: Suite, outcome: Outcome) -> None:
    """All but a few that depend on how busy the machine is. What passes under the guard need not run again."""
    assert outcome.passed >= suite.passes * 0.98, outcome.failed


@pytest.mark.slow
@pytest.mark.xdist_group("foreign")
def test_every_new_failure_is_judged(suite: Suite, outcome: Outcome) -> None:
    assert [failure for failure in outcome.new if not suite.judge(failure)] == []


@pytest.mark.slow
@pytest.mark.xdist_group("foreign")
def test_every_verdict_is_on_a_failure(suite: Suite, outcome: Outcome) -> None:
    assert suite.unused_verdicts(outcome.seen) == []
