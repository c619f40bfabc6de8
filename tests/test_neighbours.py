"""Beside a dependency that ships a module of a name that is the project's own, every gate still works."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Pipeline
from tests.helpers import ONE_SCHEDULE
from tests.wheels import make_wheel

# Whoever imports it instead of the project's own sees nothing that is there, and fails.
STRAY = 'raise ImportError("this module is a dependency\'s")\n'

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("guard")]


@pytest.fixture
def project(make_pipeline: Callable[..., Pipeline]) -> Iterator[Pipeline]:
    """Return the pipeline of a skeleton, restored after each test."""
    pipeline = make_pipeline("guard", "3.11", examples=[])
    yield pipeline
    pipeline.restore()


def install(project: Pipeline, wheel: Path) -> None:
    """Install a wheel in the environment of a project."""
    done = project.run(f"uv pip install --quiet --python .venv {wheel}")
    assert done.returncode == 0, done.stdout


def uninstall(project: Pipeline, name: str) -> None:
    """Remove a distribution from the environment of a project."""
    assert project.run(f"uv pip uninstall --quiet --python .venv {name}").returncode == 0


# Of each distribution, its files in site-packages.
NEIGHBOURS = {
    "tests": {"tests/__init__.py": STRAY, "tests/subject.py": STRAY},
    "tests with types": {
        "tests/__init__.py": "fan_out: int = 1\n",
        "tests/subject.py": "fan_out: int = 1\n",
        "tests/guard/__init__.py": STRAY,
        "tests/py.typed": "",
    },
    "conftest": {"conftest.py": STRAY},
    "rules": {"rules/__init__.py": STRAY},
    "src": {
        "src/__init__.py": STRAY,
        "src/my_async_project/__init__.py": STRAY,
        "src/py.typed": "",
    },
    "benchmarks": {"benchmarks/__init__.py": STRAY},
}


@pytest.mark.parametrize("files", NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_a_stray_module_of_a_dependency_stops_no_gate(
    files: dict[str, str], project: Pipeline, tmp_path: Path
) -> None:
    install(project, make_wheel(tmp_path, "neighbour", files))

    done = project.run("make typecheck test", **ONE_SCHEDULE)
    uninstall(project, "neighbour")

    assert done.returncode == 0, done.stdout
