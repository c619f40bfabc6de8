"""Each check and each excuse of the guard is broken on purpose in turn, and tests notice every time."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests import test_guard
from tests.conftest import Pipeline
from tests.helpers import PYTHONS, ROOT, read_toml
from tests.pairs import CANCEL, PAIRS, Matrix, Pair, run_pytest, write
from tests.test_callers import CASES, file_of, install_toolbox, run_cases
from tests.test_idioms import edit

MUTATIONS: list[dict[str, Any]] = read_toml(ROOT / "tests/mutations.toml")["mutation"]
CHECKS = {pair.rule for pair in PAIRS if pair.rule.startswith("guard_checks")}

on_a_project = pytest.mark.xdist_group("mutations")


def pairs_of(mutation: dict[str, Any], key: str) -> list[Pair]:
    """Return the pairs that a mutation names."""
    names = mutation.get(key, [])
    found = [pair for pair in PAIRS if pair.name in names]
    assert len(found) == len(names), names
    return found


@pytest.fixture(scope="module")
def sound(make_matrix: Any, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:  # noqa: ANN401
    """Return a project whose guard is as it should be."""
    found: Matrix = make_matrix(PYTHONS[0])
    install_toolbox(found.project, tmp_path_factory.mktemp("wheels"))
    return found.project


@pytest.fixture
def project(sound: Pipeline) -> Iterator[Pipeline]:
    """Return the project, restored after each test."""
    yield sound
    sound.restore()


@pytest.mark.slow
@on_a_project
@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation["name"] for mutation in MUTATIONS])
def test_a_mutation_is_noticed(mutation: dict[str, Any], project: Pipeline) -> None:
    file = project.folder / "tests/guard" / mutation["file"]
    edit(file, mutation["old"], mutation["new"])
    # A guard that cannot even be imported would be noticed by all.
    compile(file.read_text("utf-8"), file, "exec")

    unnoticed = [
        *not_noticed_by_pairs(mutation, project),
        *not_noticed_by_cases(mutation, project),
        *not_noticed_by_tests(mutation, project),
    ]

    assert unnoticed == []


def not_noticed_by_pairs(mutation: dict[str, Any], project: Pipeline) -> Iterator[str]:
    """Yield the pairs that are as without the mutation, and that should not be."""
    sides = dict.fromkeys(pairs_of(mutation, "passes"), "defect")
    sides |= dict.fromkeys(pairs_of(mutation, "fails"), "twin")
    if not sides:
        return
    for pair, side in sides.items():
        write(project, pair.files(side))
    tests = [test for pair in sides for test in pair.tests]
    options = CANCEL if any(pair.gate == "cancel" for pair in sides) else ["--no-cov"]
    settings = {name: value for pair in sides for name, value in pair.settings.items()}
    hits = run_pytest(project, settings, *options, *tests)
    for pair, side in sides.items():
        is_stopped = any(hit.file in pair.tests for hit in hits)
        if is_stopped == (side == "defect"):
            yield pair.name


def not_noticed_by_cases(mutation: dict[str, Any], project: Pipeline) -> Iterator[str]:
    """Yield the cases of the callers that are as without the mutation, and that should not be."""
    names = mutation.get("cases", [])
    cases = [case for kind in CASES.values() for case in kind if case["name"] in names]
    assert len(cases) == len(names), names
    hits = run_cases(project, cases) if cases else []
    for case in cases:
        is_found = any(hit.file == file_of(case["name"]) for hit in hits)
        if is_found == (case in CASES["call"]):
            yield case["name"]


def not_noticed_by_tests(mutation: dict[str, Any], project: Pipeline) -> Iterator[str]:
    """Yield the tests of the guard that pass in spite of the mutation, and that should not."""
    for name in mutation.get("tests", []):
        if not any(fails(function, project) for function in runs_of(name)):
            yield name


def runs_of(name: str) -> list[Callable[..., None]]:
    """Return a test with each of its parameters, or with the one that its name has in brackets."""
    name, _, argument = name.removesuffix("]").partition("[")
    function = getattr(test_guard, name)
    runs = [function]
    for mark in getattr(function, "pytestmark", []):
        names, rows = mark.args
        values = [row if isinstance(row, tuple) else (row,) for row in rows]
        keys = [names] if isinstance(names, str) else names
        chosen = [row for row in values if argument in {"", row[0]}]
        runs = [partial(function, **dict(zip(keys, row, strict=True))) for row in chosen]
    return runs


def fails(function: Callable[..., None], project: Pipeline) -> bool:
    """Return whether a test fails; what it did to the project stays."""
    try:
        function(project=project)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation["name"] for mutation in MUTATIONS])
def test_a_mutation_finds_what_it_breaks(mutation: dict[str, Any]) -> None:
    file = ROOT / "template/tests/guard" / mutation["file"]

    assert file.read_text("utf-8").count(mutation["old"]) == 1


def test_every_check_is_broken_by_a_mutation() -> None:
    broken = {pair.rule for mutation in MUTATIONS for pair in pairs_of(mutation, "passes")}

    assert CHECKS - broken == set()
