"""The example systems inside of each other, in a project of all of them, on the lowest and the highest Python."""

import re
import shutil
from collections.abc import Callable

import pytest

from tests.conftest import Pipeline, in_the_group_of
from tests.helpers import ROOT
from tests.test_pipelines import CASES

PYTEST = ".venv/bin/pytest --no-cov --seeds=0 tests/test_compositions.py"

LOWEST_AND_HIGHEST = [
    pytest.param(name, marks=in_the_group_of(CASES[name][0])) for name in ["all-3.11", "all-3.15"]
]


@pytest.mark.slow
@pytest.mark.parametrize("name", LOWEST_AND_HIGHEST)
def test_systems_hold_inside_of_each_other(
    name: str, make_pipeline: Callable[..., Pipeline]
) -> None:
    python, answers = CASES[name]
    project = make_pipeline(name, python, **answers)
    shutil.copy(ROOT / "tests/compositions.py", project.folder / "tests/test_compositions.py")

    done = project.run(PYTEST)
    project.restore()

    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) > 800
