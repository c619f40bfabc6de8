"""The guard finds nothing where popular frameworks are used as their documentation has it."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Pipeline
from tests.helpers import PYTHONS, ROOT, read_toml
from tests.pairs import CANCEL, Hit, run_pytest, write

FRAMEWORKS: dict[str, Any] = read_toml(ROOT / "tests/frameworks.toml")
CASES: dict[str, str] = {case["name"]: case["code"] for case in FRAMEWORKS["case"]}

# What uv says where no index answers.
UNREACHABLE = "error sending request"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("frameworks")]


def file_of(name: str) -> str:
    """Return the file of the tests of a case."""
    words = "".join(letter if letter.isalnum() else "_" for letter in name.lower())
    return f"tests/test_with_{words}.py"


def is_about(hit: Hit, name: str) -> bool:
    """Return whether a hit is in a case, or names it: what outlives its test fails a later one."""
    return file_of(name) in hit.file + hit.text


@pytest.fixture(scope="session")
def project(make_pipeline: Callable[..., Pipeline]) -> Pipeline:
    """Return a project without examples in whose environment the frameworks are."""
    project = make_pipeline("frameworks", PYTHONS[0], examples=[])
    install = ["uv", "pip", "install", "--quiet", "--python", ".venv", *FRAMEWORKS["packages"]]
    done = project.run(install)
    if UNREACHABLE in done.stdout:
        pytest.skip("no package index can be reached from here")
    assert done.returncode == 0, done.stdout
    return project


@pytest.fixture(scope="session")
def hits(project: Pipeline) -> list[Hit]:
    """Return what pytest says of all cases, which run at once."""
    write(project, {file_of(name): code for name, code in CASES.items()})
    files = list(map(file_of, CASES))
    hits = run_pytest(project, {"guard_seeds": "2"}, "--no-cov", *files)
    hits += run_pytest(project, {}, *CANCEL, *files)
    project.restore()
    return hits


@pytest.mark.parametrize("name", CASES)
def test_a_framework_sets_off_no_alarm(name: str, hits: list[Hit]) -> None:
    assert [hit.text for hit in hits if is_about(hit, name)] == []


def test_nothing_else_fails_beside_the_frameworks(hits: list[Hit]) -> None:
    assert [hit for hit in hits if not any(is_about(hit, name) for name in CASES)] == []
