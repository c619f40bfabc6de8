"""Every minimal pair of tests/matrix: its gate stops the defect, and every gate passes the twin."""

import re
import subprocess
from functools import cache

import pytest

from tests.pairs import PAIRS, PAIRS_OF_PYTEST, Matrix, Pair, write

pytestmark = pytest.mark.slow
on_the_oldest = pytest.mark.xdist_group("matrix")

# Gates whose messages do not name the rule.
UNNAMED = {"black", "isort", "pytest"}

# Those that run the tests.
RUNNING = {"pytest", "cancel"}


@on_the_oldest
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_defect_is_stopped_by_its_gate(pair: Pair, matrix: Matrix) -> None:
    hits = matrix.hits(pair, "defect")
    own = [hit for hit in hits if hit.gate == pair.gate and pair.message in hit.text]

    assert {hit.gate for hit in hits} == {pair.gate, *pair.also}, hits
    assert own, hits
    assert pair.gate in UNNAMED or any(pair.rule in hit.text for hit in own), own
    assert any(pair.is_named_in(hit.text) for hit in own), own


@on_the_oldest
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_twin_passes_every_gate(pair: Pair, matrix: Matrix) -> None:
    assert matrix.hits(pair, "twin") == []


# The other gates only read, and say the same on every Python.
@pytest.mark.parametrize("pair", PAIRS_OF_PYTEST, ids=str)
def test_the_defect_is_stopped_on_every_python(pair: Pair, matrix_on_newer_pythons: Matrix) -> None:
    hits = matrix_on_newer_pythons.hits_of_pytest(pair, "defect")

    told = [hit for hit in hits if pair.message in hit.text and pair.is_named_in(hit.text)]
    assert told if pair.gate in RUNNING else hits, hits


@pytest.mark.parametrize("pair", PAIRS_OF_PYTEST, ids=str)
def test_the_twin_passes_on_every_python(pair: Pair, matrix_on_newer_pythons: Matrix) -> None:
    assert matrix_on_newer_pythons.hits_of_pytest(pair, "twin") == []


@cache
def checked(matrix: Matrix, side: str, *pairs: Pair) -> "subprocess.CompletedProcess[str]":
    """Return how `make check` ends where these pairs are in the project."""
    project = matrix.project
    for pair in pairs:
        write(project, pair.files(side))
    project.run("git add --all")
    done = project.run("make check")
    project.restore()
    return done


# Some pairs go through `make check` whole. The stage that must fail, by the name of the pair.
SAMPLE = {
    "any exception expected": "lint",
    "an update that awaits its addend": "lint",
    "a cancellation that is swallowed": "lint",
    "a conflict marker": "lint",
    "Any that leaks from a function": "typecheck",
    "an exception in a thread": "test",
    "a sleep two calls deep": "test",
    "a file of tests that is never collected": "test",
}
SAMPLED = [pair for pair in PAIRS if pair.name in SAMPLE]


@on_the_oldest
@pytest.mark.parametrize("pair", SAMPLED, ids=str)
def test_make_check_stops_the_defect(pair: Pair, matrix: Matrix) -> None:
    stage = SAMPLE[pair.name]
    beside = [each for each in SAMPLED if (SAMPLE[each.name], each.run) == (stage, pair.run)]

    done = checked(matrix, "defect", *beside)

    assert done.returncode != 0
    assert re.findall(r"(?m)^check FAILED in: (.*)$", done.stdout) == [stage]
    assert pair.message in done.stdout
    assert pair.is_named_in(done.stdout)


# What formatters find needs no line: they mend it.
LAYOUT = {
    "unformatted code": "The layout is not black's\n  where  src/my_async_project/{}.py\n  do     make format\n",
    "unsorted imports": "The imports are not sorted\n  where  src/my_async_project/{}.py\n  do     make format\n",
}
UNFORMATTED = [pair for pair in PAIRS if pair.name in LAYOUT]


@on_the_oldest
@pytest.mark.parametrize("pair", UNFORMATTED, ids=str)
def test_make_check_says_which_file_to_format(pair: Pair, matrix: Matrix) -> None:
    done = checked(matrix, "defect", *UNFORMATTED)

    assert LAYOUT[pair.name].format(pair.key) in done.stdout
    assert "\ncheck FAILED in: format-check\n" in done.stdout


@on_the_oldest
def test_make_check_passes_the_twins(matrix: Matrix) -> None:
    done = checked(matrix, "twin", *SAMPLED, *UNFORMATTED)

    assert len(SAMPLED) == len(SAMPLE)
    assert len(UNFORMATTED) == len(LAYOUT)
    assert done.returncode == 0, done.stdout
