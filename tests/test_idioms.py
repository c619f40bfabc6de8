"""Correct but unusual code: no gate stops it, in ten shuffled schedules, on any Python."""

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Pipeline
from tests.helpers import ROOT, read_toml

CODE = read_toml(ROOT / "tests/idioms.toml")["code"].lstrip()

pytestmark = pytest.mark.slow


@pytest.fixture(
    params=[
        pytest.param(python, marks=pytest.mark.xdist_group(f"idioms-{python}"))
        for python in ["3.11", "3.12", "3.13"]
    ]
)
def project(
    request: pytest.FixtureRequest, make_pipeline: Callable[..., Pipeline]
) -> Iterator[Pipeline]:
    """Return a project with the idioms as a test, on each Python in turn."""
    pipeline = make_pipeline(f"idioms-{request.param}", request.param, examples=["clients"])
    pipeline.write("tests/test_idioms.py", CODE)
    yield pipeline
    pipeline.restore()


def test_the_guard_finds_nothing_in_ten_schedules(project: Pipeline) -> None:
    done = project.run(["make", "test", "SEEDS=10", "ARGS=--no-cov tests/test_idioms.py"])

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "project", [pytest.param("3.11", marks=pytest.mark.xdist_group("idioms-3.11"))], indirect=True
)
def test_linters_and_types_find_nothing(project: Pipeline) -> None:
    done = project.run("make lint typecheck")

    assert done.returncode == 0, done.stdout
