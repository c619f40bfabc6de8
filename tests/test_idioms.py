"""Correct but unusual code: no gate stops it, in ten shuffled schedules, on any Python, and each of it could fail."""

import os
import re
from pathlib import Path
from zlib import crc32

import pytest

from tests.conftest import Pipeline
from tests.helpers import ROOT, read_toml
from tests.pairs import Matrix, run_pytest

IDIOMS = read_toml(ROOT / "tests/idioms.toml")
CODE = IDIOMS["code"].lstrip()
MUTATIONS = IDIOMS["mutation"]
FILE = "tests/test_idioms.py"

on_the_oldest = pytest.mark.xdist_group("matrix")


@pytest.mark.slow
def test_the_guard_finds_nothing_in_ten_schedules(on_each_python: Pipeline) -> None:
    on_each_python.write(FILE, CODE)

    done = on_each_python.run(["make", "test", "SEEDS=10", f"ARGS=--no-cov {FILE}"])

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@on_the_oldest
def test_linters_and_types_find_nothing(matrix: Matrix) -> None:
    matrix.project.write(FILE, CODE)

    done = matrix.project.run("make lint typecheck")
    matrix.project.restore()

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@on_the_oldest
@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation["name"] for mutation in MUTATIONS])
def test_an_idiom_fails_where_the_guard_is_wrong(mutation: dict[str, str], matrix: Matrix) -> None:
    project = matrix.project
    project.write(FILE, CODE)
    edit(project.folder / "tests/guard" / mutation["file"], mutation["old"], mutation["new"])

    # Alone: what a module makes shows in the first test, and each order has its own draws.
    chosen = ["-k", " or ".join(mutation["fails"])]
    hits = run_pytest(project, {"guard_seeds": "30"}, "--no-cov", FILE, *chosen)
    project.restore()

    failed = set(re.findall(rf"{FILE}::(\w+)", "".join(hit.text for hit in hits)))
    assert set(mutation["fails"]) <= failed


def test_every_idiom_fails_by_a_mutation() -> None:
    idioms = re.findall(r"def (test_\w+)", CODE)

    assert sorted(idioms) == sorted({name for mutation in MUTATIONS for name in mutation["fails"]})


def edit(file: Path, old: str, new: str) -> None:
    """Replace what is there exactly once."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    changed = text.replace(old, new)
    file.write_text(changed, encoding="utf-8")
    # Python knows bytecode by size and second: within one, that of the sound file would run.
    second = crc32(changed.encode()) // 4
    os.utime(file, (second, second))
