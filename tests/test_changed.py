"""Gates that look at each file by itself are given those that have changed since they passed."""

import os
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT, commit_all, run

CHANGED = [sys.executable, "-P", str(ROOT / "template/tests/guard/changed.py")]
# Prints what it is given, a line each, behind a `-` so that there always is a line.
SHOWS = ["sh", "-c", 'printf "%s\\n" "$@"', "-"]
PYTHON = ["--named", r"[.]py$"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a repository with two modules and a file of settings."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.ready").touch()
    (tmp_path / ".gitignore").write_text(".venv\nignored.py\n")
    (tmp_path / "pyproject.toml").touch()
    for name in ["a.py", "b.py", "ignored.py"]:
        (tmp_path / name).write_text("x = 1\n")
    commit_all(tmp_path)
    return tmp_path


def given(project: Path, *options: str, command: list[str] = SHOWS) -> list[str]:
    """Return the files that a gate is given."""
    return run([*CHANGED, *(options or PYTHON), "gate", *command], project).stdout.split()


def test_all_are_given_first_and_none_when_nothing_has_changed(project: Path) -> None:
    assert given(project) == ["a.py", "b.py"]
    assert given(project) == []


def test_a_file_that_has_changed_is_given_again(project: Path) -> None:
    given(project)
    (project / "b.py").write_text("x = 2\n")

    assert given(project) == ["b.py"]
    assert given(project) == []


def test_a_change_of_the_same_size_and_time_is_noticed(project: Path) -> None:
    given(project)
    time = (project / "b.py").stat().st_mtime_ns
    (project / "b.py").write_text("x = 2\n")
    os.utime(project / "b.py", ns=(time, time))

    assert given(project) == ["b.py"]


def test_an_old_file_that_takes_the_place_of_another_is_given(project: Path) -> None:
    (project / "ignored.py").rename(project / "old")
    given(project)
    (project / "old").rename(project / "a.py")

    assert given(project) == ["a.py"]


def test_files_are_given_until_the_gate_passes(project: Path) -> None:
    fails = ["sh", "-c", 'printf "%s\\n" "$@"; exit 3', "-"]

    assert run([*CHANGED, *PYTHON, "gate", *fails], project).returncode == 3
    assert given(project, command=fails) == ["a.py", "b.py"]


@pytest.mark.parametrize("name", ["pyproject.toml", ".venv/.ready", "rules.yml", ".editorconfig"])
def test_all_are_given_again_when_what_a_gate_goes_by_has_changed(name: str, project: Path) -> None:
    given(project)
    (project / name).write_text("# Changed.\n")

    assert given(project) == ["a.py", "b.py"]


def test_all_are_given_again_to_another_command(project: Path) -> None:
    given(project)

    assert given(project, command=[*SHOWS, "--strict"]) == ["--strict", "a.py", "b.py"]


def test_a_file_that_git_does_not_have_yet_is_given(project: Path) -> None:
    (project / "new.py").write_text("x = 1\n")

    assert given(project) == ["a.py", "b.py", "new.py"]


def test_a_file_that_is_added_later_is_given_then_to_a_gate_of_what_git_has(project: Path) -> None:
    tracked = ["--tracked", *PYTHON]
    (project / "new.py").write_text("x = 1\n")
    before = given(project, *tracked)
    commit_all(project)

    assert before == ["a.py", "b.py"]
    assert given(project, *tracked) == ["new.py"]


def test_a_file_that_is_gone_is_not_given(project: Path) -> None:
    (project / "b.py").unlink()

    assert given(project) == ["a.py"]


def test_only_files_that_hold_what_the_gate_looks_for_are_given(project: Path) -> None:
    (project / "b.py").write_text("try:\n    pass\nexcept BaseException:\n    raise\n")

    assert given(project, *PYTHON, "--holding", "^except") == ["b.py"]


def test_files_that_a_hook_names_are_given_whatever_passed_before(project: Path) -> None:
    given(project)
    named = [*SHOWS, "--", "b.py", "ignored.py"]

    assert given(project, *PYTHON, command=named) == ["b.py", "ignored.py"]


def test_only_files_of_a_hook_that_hold_what_the_gate_looks_for_are_given(project: Path) -> None:
    (project / "b.py").write_text("try:\n    pass\nexcept BaseException:\n    raise\n")
    named = [*SHOWS, "--", "a.py", "b.py"]

    assert given(project, "--holding", "^except", command=named) == ["b.py"]


def test_what_a_hook_says_of_its_files_is_the_gates_answer(project: Path) -> None:
    named = [*CHANGED, "gate", "false", "--", "a.py"]

    assert run(named, project).returncode == 1


def test_without_git_all_that_is_not_hidden_is_given(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    for name in [".venv/a.py", "b.py"]:
        (tmp_path / name).write_text("x = 1\n")

    assert given(tmp_path) == ["b.py"]


def test_a_broken_record_is_none(project: Path) -> None:
    given(project)
    (project / ".venv/.passed/gate.json").write_text("{")

    assert given(project) == ["a.py", "b.py"]
