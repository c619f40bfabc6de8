"""Correct but unusual code: no gate stops it, in ten shuffled schedules, on any Python."""

import pytest

from tests.conftest import Pipeline
from tests.helpers import ROOT, read_toml
from tests.pairs import Matrix

CODE = read_toml(ROOT / "tests/idioms.toml")["code"].lstrip()

pytestmark = pytest.mark.slow


def test_the_guard_finds_nothing_in_ten_schedules(on_each_python: Pipeline) -> None:
    on_each_python.write("tests/test_idioms.py", CODE)

    done = on_each_python.run(["make", "test", "SEEDS=10", "ARGS=--no-cov tests/test_idioms.py"])

    assert done.returncode == 0, done.stdout


@pytest.mark.xdist_group("matrix")
def test_linters_and_types_find_nothing(matrix: Matrix) -> None:
    matrix.project.write("tests/test_idioms.py", CODE)

    done = matrix.project.run("make lint typecheck")
    matrix.project.restore()

    assert done.returncode == 0, done.stdout
