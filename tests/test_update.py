"""Updates: a project takes its tooling, keeps its own files, and nobody's lines conflict or are lost."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from itertools import cycle
from pathlib import Path
from typing import Any
from unittest.mock import patch

import copier
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tooling.merge import merge
from tooling.update import main

from tests.conftest import in_the_group_of
from tests.helpers import (
    EXAMPLES,
    EXTRAS,
    PYTHONS,
    RELEASES,
    ROOT,
    available_python,
    clean_environment,
    commit_all,
    commit_of,
    environment,
    files_of,
    read_toml,
    read_yaml,
    render,
    run,
    stub,
)

# What comes by extras alone.
WITH_EXTRAS = [
    ".devcontainer/devcontainer.json",
    ".github/dependabot.yml",
    ".github/workflows/publish.yml",
    ".vscode/extensions.json",
    ".vscode/settings.json",
    "AGENTS.md",
]
NEW_LINE = "# A newer version of the template.\n"


# What users get by an update: the working tree; a line more; and what releases change on top of it.
NOW = "98.0.0"
SOON = "98.1.0"
NEXT = "99.0.0"
# The newest release answers quickly for all.
EACH_RELEASE = [
    pytest.param(
        version,
        marks=[pytest.mark.xdist_group(version), *[pytest.mark.slow] * (version != RELEASES[0])],
    )
    for version in RELEASES
]
EDITS = read_toml(ROOT / "tests/edits.toml")
EDITS_OF = {edit["name"]: edit for edit in EDITS["edit"]}
# What an update leaves alone, starter code, is in each release that is not among them that of one beside it, or differs
# from it by a few lines: 0.4.0 has that of 0.3.1. All else is as it is today, whatever the release.
LAST_OF_EACH_MINOR = [
    version
    for number, version in enumerate(RELEASES)
    if version.rpartition(".")[0] not in {each.rpartition(".")[0] for each in RELEASES[:number]}
]
# Tests that start processes take a quarter of the time; those of the newest code run under the guard on each Python.
# One test of 0.4.1 to 0.6.0 stops its worker before that has acknowledged, where the machine is slow.
LEFT_OUT = (
    "--seeds=0 --no-cov -m 'not slow' "
    "--deselect=tests/workers/test_redis.py::test_a_task_that_fails_by_a_group_has_failed"
)
# The texts of a file in a version and in the newest, by version and name.
Renders = Callable[[str, str], tuple[str, str]]
STARTERS = re.compile(
    r"src/|tests/(?!guard/|__init__[.]py)|docs/|README.md|CHANGELOG.md|LICENSE|compose.yaml"
)


@pytest.fixture(scope="session")
def history(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the template with every release as a tag, the newest one being what is tested here."""
    folder = tmp_path_factory.mktemp("history") / "template"
    git(f"clone -q {ROOT} {folder}", ROOT)
    git(f"fetch -q {template} HEAD", folder)
    git("read-tree -u --reset FETCH_HEAD", folder)
    git("commit -q --allow-empty -m Now", folder)
    for version in RELEASES:
        git(f"tag {version} {commit_of(version)}", folder)
    git(f"tag {NOW}", folder)
    for name in ["tooling.mk", "CHANGELOG.md", "src/{{ package_name }}/fan_out.py"]:
        append(folder / "template" / name, NEW_LINE)
    edit(folder / "CHANGELOG.md", "## Unreleased\n", f"## Unreleased\n\n## {SOON}\n\n- A line.\n")
    release(folder, SOON)
    for change in EDITS["release"]:
        file = folder / "template" / change["file"]
        file.write_text(made(change, file.read_text("utf-8")), "utf-8")
    edit(folder / "CHANGELOG.md", f"## {SOON}\n", f"## {NEXT}\n\n- Pins.\n\n## {SOON}\n")
    release(folder, NEXT)
    return folder


def git(arguments: str, folder: Path) -> None:
    """Run git; fail if it does."""
    done = run(f"git {arguments}", folder)
    assert done.returncode == 0, done.stdout


def release(template: Path, version: str) -> None:
    """Commit all changes of the template as a version."""
    git("commit -q --all -m Change", template)
    git(f"tag {version}", template)


def made(change: dict[str, Any], text: str) -> str:
    """Return a text with an edit of edits.toml, which must find its place."""
    becomes: str = change["becomes"]
    if "pattern" not in change:
        return text + becomes
    count = 0 if change.get("all") else 1
    pattern: re.Pattern[str] = re.compile(change["pattern"])
    result, found = pattern.subn(becomes, text, count=count)
    assert found, change
    return result


def edit(file: Path, old: str, new: str) -> None:
    """Replace what is there exactly once."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def append(file: Path, text: str) -> None:
    """Add to the end of a file."""
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


def add_what_users_add(project: Path) -> None:
    """Make the additions and removals that are ordinary in a project."""
    (project / "CHANGELOG.md").write_text("mine\n")
    (project / "README.md").unlink()
    (project / "LICENSE").unlink()
    (project / "src/my_async_project/demo/fan_out.py").unlink()
    (project / "tests/test_fan_out.py").unlink()
    (project / "src/my_async_project/fan_out.py").write_text("# mine\n")
    (project / "tests/test_demo.py").write_text("# mine\n")
    (project / "tests/__init__.py").write_text("# mine\n")
    for command in [
        "uv add --no-sync anyio zipp",
        "uv add --no-sync --dev attrs",
        "uv remove --no-sync --group tooling looptime",
    ]:
        done = run(command, project)
        assert done.returncode == 0, done.stdout


def edit_as_users_do(project: Path, version: str, group: str) -> None:
    """Make the ordinary edits of one group that a release has a place for."""
    for change in EDITS["edit"]:
        if change["group"] == group and change.get("since", "0") <= version:
            file = project / change["file"]
            file.write_text(made(change, file.read_text("utf-8")), "utf-8")


def update(project: Path, *flags: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Update a project as `make update` does, but for the formatters, to the newest version unless told.

    It runs in this process: to import Copier takes a third of an update.
    """
    output = io.StringIO()
    code: object = 0
    with (
        redirect_stdout(output),
        redirect_stderr(output),
        chdir(project),
        patch.dict(os.environ, {**environment(), **variables}, clear=True),
        patch.object(sys, "argv", ["make update", "--defaults", *flags]),
    ):
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code
    # As Python does with a sentence.
    if isinstance(code, str):
        print(code, file=output)
    return subprocess.CompletedProcess(flags, int(bool(code)), output.getvalue())


def update_in_a_process(
    project: Path, *flags: str, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Do the same in a process of its own, which can be stopped."""
    command = [sys.executable, "-B", "-m", "tooling.update", "--defaults", *flags]
    return run(command, project, PYTHONPATH=str(ROOT / "template"), **variables)


def update_by_copier(project: Path) -> None:
    """Update a project by Copier alone, as the releases up to 0.6.0 and hosted bots do."""
    copier.run_update(project, defaults=True, overwrite=True, skip_answered=True, quiet=True)


@pytest.fixture(scope="module", params=EACH_RELEASE)
def updated(
    request: pytest.FixtureRequest, history: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a project of each release, with edits of its user, after an update. Tests only read it."""
    project = tmp_path_factory.mktemp("updated") / "project"
    render(history, project, vcs_ref=request.param)
    add_what_users_add(project)
    edit_as_users_do(project, request.param, "raised")
    commit_all(project)
    done = update(project)
    assert done.returncode == 0, done.stdout
    return project


def test_the_tooling_is_updated(updated: Path) -> None:
    tools = read_toml(updated / "pyproject.toml")["dependency-groups"]["tooling"]

    assert (updated / "tooling.mk").read_text().endswith(NEW_LINE)
    assert {"black==99.1.0", "ruff==99.0.0", "pytest-next==99.0.0"} <= set(tools)
    assert read_yaml(updated / ".copier-answers.yml")["_commit"] == NEXT


def test_what_users_changed_stays(updated: Path) -> None:
    assert (updated / "CHANGELOG.md").read_text() == "mine\n"
    assert (updated / "src/my_async_project/fan_out.py").read_text() == "# mine\n"
    assert (updated / "tests/test_demo.py").read_text() == "# mine\n"
    assert (updated / "tests/__init__.py").read_text() == "# mine\n"


@pytest.mark.parametrize(
    "name",
    ["README.md", "LICENSE", "src/my_async_project/demo/fan_out.py", "tests/test_fan_out.py"],
)
def test_what_users_deleted_stays_away(name: str, updated: Path) -> None:
    assert not (updated / name).exists()


def test_what_users_added_and_removed_by_uv_stays(updated: Path) -> None:
    settings = read_toml(updated / "pyproject.toml")
    groups = settings["dependency-groups"]

    assert re.search("anyio>=.* zipp>=", " ".join(settings["project"]["dependencies"]))
    assert "attrs>=" in groups["dev"][-1]
    assert "looptime" not in " ".join(groups["tooling"])


def test_an_own_target_works_after_an_update(updated: Path) -> None:
    assert run("make mine", updated).stdout == "mine\n"


def test_nothing_conflicts(updated: Path) -> None:
    assert not [name for name, text in files_of(updated).items() if b"\n<<<<<<< " in text]
    assert run("git ls-files --unmerged", updated).stdout == ""
    assert not list(updated.rglob("*.rej"))


def test_a_second_update_changes_nothing_and_says_so(updated: Path, tmp_path: Path) -> None:
    project = shutil.copytree(updated, tmp_path / "project")
    commit_all(project)
    before = files_of(project)

    done = update(project)

    assert done.stdout == f"The project is current: {NEXT} is the template's newest version.\n"
    assert files_of(project) == before


@pytest.fixture(scope="session")
def renders(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Renders:
    """Return a function that gives a file of a version, and of the newest with the same answers."""
    folder = tmp_path_factory.mktemp("renders")

    def read(version: str, name: str) -> tuple[str, str]:
        old, new = folder / version, folder / f"{version}-next"
        if not new.exists():
            render(history, old, vcs_ref=version)
            render(history, new, vcs_ref=NEXT, examples=examples_of(old))
        return (old / name).read_text("utf-8"), (new / name).read_text("utf-8")

    return read


def examples_of(project: Path) -> list[str]:
    """Return which examples a project was made with; which these are by default depends on its version."""
    examples: list[str] = read_yaml(project / ".copier-answers.yml")["examples"]
    return examples


@pytest.mark.parametrize(
    ("version", "name"),
    [
        pytest.param(*version.values, name, marks=version.marks)
        for version in EACH_RELEASE
        for name, change in EDITS_OF.items()
        if change.get("since", "0") <= str(version.values[0])
    ],
)
def test_an_ordinary_edit_is_kept_by_an_update(name: str, version: str, renders: Renders) -> None:
    change = EDITS_OF[name]
    old, new = renders(version, change["file"])

    merged = merge(old, made(change, old), new)

    assert not merged.has_conflicts
    assert kept(change, merged.text, new)


def kept(change: dict[str, Any], text: str, new: str) -> bool:
    """Return whether a text has what an edit says that it leaves, or is the new one with the edit."""
    return change["stays"] in text if "stays" in change else text == made(change, new)


@pytest.mark.parametrize("version", EACH_RELEASE[:-2])
def test_every_check_of_the_guard_can_be_switched_off(version: str, renders: Renders) -> None:
    old, new = renders(version, "pytest.ini")
    lines = re.findall(r"(?m)^    (?:leaked-)?[a-z]+-?[a-z]+$", old.partition("guard_checks")[2])

    merged = {line: merge(old, old.replace(f"{line}\n", ""), new) for line in lines}

    assert {line: result.text for line, result in merged.items()} == {
        line: new.replace(f"{line}\n", "") for line in lines
    }


@pytest.mark.parametrize("version", EACH_RELEASE)
@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({"examples": EXAMPLES}, marks=pytest.mark.slow),
        {"examples": [], "ci": ["gitlab"], "python_version": "3.13"},
        pytest.param(
            {"examples": ["queues", "storage"], "line_length": 72, "project_name": 'O\'Brien "$x"'},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["all", "none", "some"],
)
def test_an_update_of_tooling_ends_where_a_copy_begins(
    answers: dict[str, Any], version: str, history: Path, tmp_path: Path
) -> None:
    project = render(history, tmp_path / "project", vcs_ref=version, **answers)
    commit_all(project)
    starters = {name: text for name, text in files_of(project).items() if STARTERS.match(name)}

    update(project)

    same = answers | {"examples": examples_of(project)}
    fresh = files_of(render(history, tmp_path / "fresh", vcs_ref=NEXT, **same))
    tooling = {name: text for name, text in fresh.items() if not STARTERS.match(name)}
    assert files_of(project) == starters | tooling


@pytest.mark.slow
@pytest.mark.parametrize("version", RELEASES)
def test_copier_alone_does_the_same_where_nothing_was_changed(
    version: str, history: Path, tmp_path: Path
) -> None:
    projects = [render(history, tmp_path / name, vcs_ref=version) for name in ("one", "other")]
    for project in projects:
        commit_all(project)

    update(projects[0])
    update_by_copier(projects[1])

    assert files_of(projects[0]) == files_of(projects[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "python"),
    [
        pytest.param(version, python, marks=in_the_group_of(python))
        for version, python in zip(LAST_OF_EACH_MINOR, cycle(reversed(PYTHONS)), strict=False)
    ],
)
def test_a_project_passes_its_gates_after_an_update(
    version: str, python: str, history: Path, tmp_path: Path
) -> None:
    """Each release on another Python, the newest on the newest."""
    if not available_python(python):
        pytest.skip(f"there is no Python {python} here")
    project = render(history, tmp_path / "project", vcs_ref=version)
    commit_all(project)
    update(project, "--vcs-ref", NOW)

    done = run("make quality", project, UV_PYTHON=python, PYTEST_ADDOPTS=LEFT_OUT)

    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def rendered_skeleton(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project without examples, of the version before the newest."""
    folder = tmp_path_factory.mktemp("skeleton") / "project"
    return render(history, folder, vcs_ref=SOON, examples=[])


@pytest.fixture
def skeleton(rendered_skeleton: Path, tmp_path: Path) -> Path:
    """Return a copy of it that is committed."""
    project = shutil.copytree(rendered_skeleton, tmp_path / "project")
    commit_all(project)
    return project


def test_what_an_update_would_change_is_shown_and_not_done(skeleton: Path) -> None:
    before = everything_in(skeleton)

    done = update(skeleton, "--pretend")

    assert f"From the template's version {SOON} to {NEXT}.\n\n## {NEXT}\n\n- Pins.\n" in done.stdout
    assert f"## {SOON}\n" not in done.stdout
    assert "  changed  pyproject.toml\n" in done.stdout
    assert everything_in(skeleton) == before


def everything_in(folder: Path) -> dict[Path, bytes]:
    """Return the files of a folder, git's own, too, but for its cache of when files were changed."""
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "index"
    }


@pytest.mark.slow
def test_a_version_that_is_asked_for_and_there_is_not_called_the_newest(skeleton: Path) -> None:
    done = update(skeleton, "--vcs-ref", SOON)

    assert done.stdout == f"The project has the template's version {SOON} already.\n"


@pytest.mark.slow
def test_versions_that_both_raised_are_named(skeleton: Path) -> None:
    edit_as_users_do(skeleton, NEXT, "lowered")
    commit_all(skeleton)

    done = update(skeleton)

    assert (
        "\nRaised by both sides; the newer one wins:\n  pyproject.toml: exclude-newer"
        " 2099-01-01T00:00:00Z is the template's; you had 2026-11-22\n"
    ) in done.stdout


def test_a_conflict_is_named_and_cannot_be_committed(skeleton: Path) -> None:
    edit(skeleton / ".github/workflows/ci.yml", "make check SEEDS=5", "make check SEEDS=50")
    commit_all(skeleton)

    done = update(skeleton)
    again = update(skeleton)

    named = "Resolve the conflicts in these files, then commit:\n  .github/workflows/ci.yml\n"
    assert done.returncode != 0
    assert done.stdout.endswith(f"\n{named}'git reset --hard' undoes the update.\n")
    assert run("git commit --no-verify -m x", skeleton).returncode != 0
    assert again.stdout == named


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mine.txt", "Commit or stash these first, so that an update can be undone:"),
        ("pytest.ini.rej", "Resolve the conflicts in these files, then commit:"),
    ],
)
def test_what_is_not_committed_is_named(name: str, sentence: str, skeleton: Path) -> None:
    (skeleton / name).write_text("mine\n")
    before = files_of(skeleton)

    done = update(skeleton)

    assert done.returncode != 0
    assert done.stdout == f"{sentence}\n  {name}\n"
    assert files_of(skeleton) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("_commit: ", "_commit: 7", "The template has no version 7"),
        ("_src_path: ", "_src_path: /nowhere", "The template cannot be fetched from /nowhere"),
        ("_src_path: ", "# ", "does not say which template this comes from"),
        ("_commit: ", "{", "cannot be read: restore it from git."),
        ("_commit: ", "\udcff", "cannot be read: restore it from git."),
    ],
)
def test_answers_without_a_way_to_the_template_are_refused(
    old: str, new: str, sentence: str, skeleton: Path
) -> None:
    file = skeleton / ".copier-answers.yml"
    file.write_text(file.read_text("utf-8").replace(old, new), "utf-8", "surrogateescape")
    commit_all(skeleton)

    done = update(skeleton)

    assert done.returncode != 0
    assert sentence in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("-d line_length=7", "type e.g. 100: a line may have from 72 to 160 characters."),
        ("-d exmaples=[]", "There is no question exmaples; did you mean examples?"),
        ("-d examples=clients", "several choices are typed as in -d examples=[clients,queues]"),
        ("-d examples", "examples is no answer"),
        ("-d 'x", "close every quote"),
    ],
)
def test_an_answer_that_is_refused_changes_nothing(
    flags: str, sentence: str, skeleton: Path
) -> None:
    before = files_of(skeleton)

    done = update(skeleton, FLAGS=flags)

    assert done.returncode != 0
    assert sentence in done.stdout
    assert files_of(skeleton) == before


# What git is asked for when the machine goes off, and what it has done by then.
MOMENTS = {
    "before anything is written": "update-index) kill -9 $PPID",
    "before the files are written": "checkout-index) kill -9 $PPID",
    "in the middle of the files": 'checkout-index) head -z -n 5 | "$GIT" "$@"; kill -9 $PPID',
    "in the middle of a file": 'checkout-index) "$GIT" "$@"; : > pytest.ini; kill -9 $PPID',
    "after the files are written": 'checkout-index) "$GIT" "$@"; kill -9 $PPID',
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_update_that_was_interrupted_is_undone_by_git(
    moment: str, skeleton: Path, tmp_path: Path
) -> None:
    before = files_of(skeleton)
    # Else git would go on beside the test.
    off = f'case "$1" in {MOMENTS[moment]}; exit;; esac; exec "$GIT" "$@"'
    path = f"{stub(tmp_path / 'bin', {'git': off})}:{clean_environment()['PATH']}"

    interrupted = update_in_a_process(skeleton, PATH=path, GIT=f"{shutil.which('git')}")
    git("reset -q --hard", skeleton)
    undone = files_of(skeleton)
    done = update(skeleton)

    assert interrupted.returncode < 0
    assert undone == before
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_an_update_that_was_interrupted_says_how_it_is_undone(
    skeleton: Path, tmp_path: Path
) -> None:
    off = f'case "$1" in {MOMENTS["before the files are written"]}; exit;; esac; exec "$GIT" "$@"'
    path = f"{stub(tmp_path / 'bin', {'git': off})}:{clean_environment()['PATH']}"
    update_in_a_process(skeleton, PATH=path, GIT=f"{shutil.which('git')}")

    refused = update(skeleton)

    assert refused.returncode != 0
    assert (
        "An update was interrupted here: undo what it did by 'git reset --hard'" in refused.stdout
    )


@pytest.mark.slow
def test_work_after_an_undone_update_is_not_taken_for_an_update(skeleton: Path) -> None:
    (skeleton / ".git/unfinished-update").touch()
    append(skeleton / "Makefile", "# mine\n")

    done = update(skeleton)

    assert done.stdout.startswith("Commit or stash these first")


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--skip-worktree", "--assume-unchanged"])
def test_changes_that_git_does_not_look_at_are_not_overwritten(flag: str, skeleton: Path) -> None:
    git(f"update-index {flag} Makefile", skeleton)
    append(skeleton / "Makefile", "# mine\n")
    before = files_of(skeleton)

    done = update(skeleton)

    assert done.returncode != 0
    assert "git does not look at changes of these" in done.stdout
    assert files_of(skeleton) == before


@pytest.mark.slow
def test_a_link_in_the_place_of_a_file_stays_one(skeleton: Path) -> None:
    (skeleton / "pytest.ini").rename(skeleton / "mine.ini")
    (skeleton / "pytest.ini").symlink_to("mine.ini")
    commit_all(skeleton)

    done = update(skeleton)

    assert "Resolve the conflicts in these files, then commit:\n  pytest.ini\n" in done.stdout
    assert (skeleton / "pytest.ini").readlink() == Path("mine.ini")


@pytest.mark.slow
def test_a_repository_with_longer_hashes_is_updated(skeleton: Path) -> None:
    edit(skeleton / ".github/workflows/ci.yml", "make check SEEDS=5", "make check SEEDS=50")
    shutil.rmtree(skeleton / ".git")
    git("init -q --object-format=sha256", skeleton)
    commit_all(skeleton)

    done = update(skeleton)

    assert "Resolve the conflicts in these files" in done.stdout


# Ways in which people have set git up, and where the project then is.
SET_UPS = {
    "a detached HEAD": ("git switch -q --detach", "."),
    "a worktree": ("git worktree add -q ../tree", "../tree"),
    "conflicts in another style": ("git config merge.conflictStyle diff3", "."),
    "commits that cannot be signed": (
        "git config commit.gpgSign true && git config gpg.program false",
        ".",
    ),
    "hooks for all, which fail": (
        "mkdir ../hooks && git config core.hooksPath $PWD/../hooks && cd ../hooks && printf '#!/bin/sh\nexit 1\n'"
        " | tee pre-commit post-checkout post-commit commit-msg >pre-merge-commit && chmod +x *",
        ".",
    ),
    "line ends of Windows": ("git config core.autocrlf true", "."),
    "names of branches and remotes like files": (
        "git branch pytest.ini && git remote add tests . && git tag Makefile",
        ".",
    ),
}


@pytest.fixture(scope="module")
def straight(rendered_skeleton: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files of a skeleton after an update in which nothing is special."""
    project = shutil.copytree(rendered_skeleton, tmp_path_factory.mktemp("straight") / "project")
    commit_all(project)
    assert update(project).returncode == 0
    return files_of(project)


@pytest.mark.slow
@pytest.mark.parametrize("name", SET_UPS)
def test_an_update_is_the_same_however_git_is_set_up(
    name: str, skeleton: Path, straight: dict[str, bytes]
) -> None:
    commands, folder = SET_UPS[name]
    assert run(["sh", "-c", commands], skeleton).returncode == 0

    done = update(skeleton / folder)

    assert done.returncode == 0, done.stdout
    assert files_of(skeleton / folder) == straight


@pytest.mark.slow
def test_who_stops_before_anything_is_written_is_not_told_to_undo(
    skeleton: Path, tmp_path: Path
) -> None:
    """The stub stands for somebody who types Ctrl-C while the template is fetched."""
    real = shutil.which("git")
    stop = f'case "$*" in *clone*) kill -INT $PPID; sleep 5;; esac; exec {real} "$@"'
    path = f"{stub(tmp_path / 'bin', {'git': stop})}:{clean_environment()['PATH']}"

    done = update_in_a_process(skeleton, "--check", PATH=path)

    assert done.stdout.endswith("Stopped. Nothing was changed.\n")


@pytest.mark.slow
def test_what_a_person_ignores_everywhere_is_updated_all_the_same(
    skeleton: Path, tmp_path: Path
) -> None:
    (tmp_path / "ignored").write_text("*.ini\n")
    (tmp_path / "gitconfig").write_text(f"[core]\nexcludesFile = {tmp_path}/ignored\n")

    update(skeleton, GIT_CONFIG_GLOBAL=str(tmp_path / "gitconfig"))

    assert "    lost-time\n" in (skeleton / "pytest.ini").read_text()


@pytest.mark.slow
def test_a_file_that_git_ignores_is_not_overwritten(skeleton: Path) -> None:
    append(skeleton / ".gitignore", "/src/my_async_project/threads.py\n")
    (skeleton / "src/my_async_project/threads.py").write_text("mine\n")
    commit_all(skeleton)

    done = update(skeleton, "-d", "examples=[storage]")

    assert done.returncode != 0
    assert "in the way, and git ignores them:\n  src/my_async_project/threads.py" in done.stdout
    assert run("git status --porcelain", skeleton).stdout == ""


@pytest.mark.slow
def test_an_example_that_is_chosen_later_comes_whole(
    history: Path, skeleton: Path, tmp_path: Path
) -> None:
    (skeleton / "tests/test_demo.py").unlink()
    commit_all(skeleton)

    update(skeleton, "-d", "examples=[storage]")

    fresh = files_of(render(history, tmp_path / "fresh", vcs_ref=NEXT, examples=["storage"]))
    there = files_of(skeleton)
    assert fresh.keys() - there.keys() == {"tests/test_demo.py"}
    assert there["pyproject.toml"] == fresh["pyproject.toml"]


@pytest.mark.parametrize("name", WITH_EXTRAS)
def test_no_extra_comes_to_a_project_that_is_there(name: str, updated: Path) -> None:
    assert not (updated / name).exists()


@pytest.mark.slow
@pytest.mark.parametrize("version", EACH_RELEASE)
def test_extras_that_are_chosen_later_come_whole(
    version: str, history: Path, tmp_path: Path
) -> None:
    answers = {"examples": [], "ci": ["github", "gitlab"]}
    project = render(history, tmp_path / "project", vcs_ref=version, **answers)
    commit_all(project)
    starters = {name: text for name, text in files_of(project).items() if STARTERS.match(name)}

    done = update(project, "-d", f"extras=[{','.join(EXTRAS)}]")

    fresh = render(history, tmp_path / "fresh", vcs_ref=NEXT, extras=EXTRAS, **answers)
    tooling = {name: text for name, text in files_of(fresh).items() if not STARTERS.match(name)}
    assert done.returncode == 0, done.stdout
    assert tooling.keys() >= set(WITH_EXTRAS)
    assert files_of(project) == starters | tooling


@pytest.mark.slow
@pytest.mark.parametrize("version", EACH_RELEASE)
def test_a_site_that_is_chosen_later_comes_whole(
    version: str, history: Path, tmp_path: Path
) -> None:
    project = render(history, tmp_path / "project", vcs_ref=version, examples=[])
    commit_all(project)
    starters = {name: text for name, text in files_of(project).items() if STARTERS.match(name)}

    done = update(project, "-d", "docs=sphinx")

    fresh = files_of(render(history, tmp_path / "fresh", vcs_ref=NEXT, examples=[], docs="sphinx"))
    tooling = {name: text for name, text in fresh.items() if not STARTERS.match(name)}
    first_page = {"docs/index.md": fresh["docs/index.md"]}
    assert done.returncode == 0, done.stdout
    assert files_of(project) == starters | tooling | first_page


@pytest.mark.slow
def test_an_example_that_is_dropped_leaves_what_was_changed(history: Path, tmp_path: Path) -> None:
    project = render(history, tmp_path / "project", vcs_ref=SOON, examples=["storage"])
    append(project / "src/my_async_project/storage/files.py", "# mine\n")
    commit_all(project)

    done = update(project, "-d", "examples=[]")

    mine = "src/my_async_project/storage/files.py"
    fresh = files_of(render(history, tmp_path / "fresh", vcs_ref=NEXT, examples=[]))
    assert files_of(project).keys() - fresh.keys() == {mine}
    assert not (project / "tests/storage").exists()
    assert f"Not the template's any more, but left, as you changed them:\n  {mine}\n" in done.stdout


@pytest.mark.slow
def test_a_project_in_a_folder_of_a_repository_is_updated_alone(
    history: Path, tmp_path: Path
) -> None:
    project = render(history, tmp_path / "all/project", vcs_ref=RELEASES[-1], examples=[])
    (tmp_path / "all/other").write_text("other\n")
    commit_all(tmp_path / "all")
    (tmp_path / "all/other").write_text("changed\n")

    done = update(project)

    status = run("git status --porcelain", tmp_path / "all").stdout
    assert done.returncode == 0, done.stdout
    assert " M other\n" in status
    assert "A  project/tooling/update.py\n" in status
    undo = re.search("'(git .*)' undoes the update", done.stdout)
    assert undo is not None
    git(undo[1].removeprefix("git "), project)
    assert run("git status --porcelain", tmp_path / "all").stdout == " M other\n"


@pytest.mark.slow
def test_make_says_that_there_is_an_update_and_takes_it(history: Path, tmp_path: Path) -> None:
    project = render(history, tmp_path / "project", vcs_ref=NOW, examples=[])
    append(project / "src/my_async_project/fan_out.py", "unformatted  = 1\n")
    commit_all(project)
    outdated = run("make check-update", project)

    shown = run("make update PRETEND=1", project)
    done = run(["make", "update", f"FLAGS=--vcs-ref={SOON}"], project)

    assert f"The project has the template's version {NOW}; {NEXT} is there.\n" in outdated.stdout
    assert f"## {SOON}\n\n- A line.\n" in outdated.stdout
    assert "Nothing was changed" in shown.stdout
    assert done.returncode == 0, done.stdout
    assert "\nNext:\n  make quality\n" in done.stdout
    assert "unformatted = 1\n" in (project / "src/my_async_project/fan_out.py").read_text()
    assert (project / "tooling.mk").read_text().endswith(NEW_LINE)
    assert run("git diff --name-only", project).stdout == ""


@pytest.mark.slow
def test_the_oldest_copier_that_is_allowed_renders_the_same(template: Path, tmp_path: Path) -> None:
    """From the shell as users do, without --trust."""
    oldest = read_yaml(template / "copier.yml")["_min_copier_version"]
    render(template, tmp_path / "newest")
    command = f"uv tool run --quiet --from copier=={oldest} copier copy --quiet --defaults"

    done = run([*command.split(), "--vcs-ref=HEAD", str(template), "oldest"], tmp_path)

    assert done.returncode == 0, done.stdout
    assert run("diff -r newest oldest", tmp_path).stdout == ""


VERSIONS = [*reversed(RELEASES), NOW, SOON, NEXT]
SOME_EXAMPLES = st.sets(st.sampled_from(EXAMPLES), max_size=2).map(sorted)
# What the template never changes of its own, so that it must be there after any update.
LASTING = {
    name: edit.get("stays", edit["becomes"])
    for name, edit in EDITS_OF.items()
    if edit["group"] == "raised" and not {"since", "all"} & edit.keys()
    if not re.search(r"99\.0\.0|\\1|^$|^python:", edit.get("stays", edit["becomes"]))
}


class Life(RuleBasedStateMachine):
    """A project that is edited and updated in any order, to any version and other answers."""

    history: Path
    folder: Path

    @initialize(version=st.sampled_from(RELEASES), examples=SOME_EXAMPLES)
    def begin(self, version: str, examples: list[str]) -> None:
        """Make the project."""
        self.mine: list[tuple[Path, str]] = []
        self.version = version
        self.project = Path(tempfile.mkdtemp(dir=self.folder), "project")
        render(self.history, self.project, vcs_ref=version, examples=examples)
        commit_all(self.project)

    @rule(name=st.sampled_from(sorted(LASTING)))
    def edit(self, name: str) -> None:
        """Make an ordinary edit, if it has a place and was not made."""
        file = self.project / EDITS_OF[name]["file"]
        text = file.read_text("utf-8")
        if re.search(EDITS_OF[name].get("pattern", ""), text) and LASTING[name] not in text:
            file.write_text(made(EDITS_OF[name], text), "utf-8")
            self.commit()
            self.mine.append((file, LASTING[name]))

    @rule(version=st.sampled_from(VERSIONS))
    def take(self, version: str) -> None:
        """Take a later version."""
        self.version = max(self.version, version, key=VERSIONS.index)
        self.change("--vcs-ref", self.version)

    @rule(examples=SOME_EXAMPLES)
    def answer(self, examples: list[str]) -> None:
        """Choose other examples."""
        self.change("--vcs-ref", self.version, "-d", f"examples={json.dumps(examples)}")

    def change(self, *flags: str) -> None:
        """Update, which must not conflict, and again, which must change nothing."""
        done = update(self.project, *flags)
        assert done.returncode == 0, done.stdout
        self.commit()
        before = files_of(self.project)
        again = update(self.project, *flags)
        assert again.returncode == 0, again.stdout
        assert files_of(self.project) == before

    def commit(self) -> None:
        """Commit everything, if there is something."""
        git("add --all", self.project)
        git("commit -q --allow-empty --no-verify -m change", self.project)

    @invariant()
    def nothing_is_lost(self) -> None:
        """Every edit is there."""
        assert [line for file, line in self.mine if line not in file.read_text("utf-8")] == []


@pytest.mark.slow
def test_no_life_of_a_project_loses_an_edit(history: Path, tmp_path: Path) -> None:
    lives = type("Lives", (Life,), {"history": history, "folder": tmp_path})
    # A life takes seconds: the first one that fails is told as it is, and not made shorter.
    once = settings(
        max_examples=3,
        stateful_step_count=5,
        phases=[Phase.generate],
        deadline=None,
        database=None,
    )

    run_state_machine_as_test(lives, settings=once)
