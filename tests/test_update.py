"""Updates: a project finds its template again, takes its tooling and keeps its own files."""

from pathlib import Path

import copier
import pytest

from tests.helpers import commit_all, read_yaml, render, run

NEW_LINE = "# A newer version of the template.\n"


@pytest.fixture
def newer(template: Path, tmp_path: Path) -> Path:
    """Return a copy of the template that has a release and, on top of it, changes everywhere."""
    folder = tmp_path / "template"
    assert run(["git", "clone", "-q", str(template), str(folder)], tmp_path).returncode == 0
    assert run("git tag 0.1.0", folder).returncode == 0
    return folder


def release(template: Path, version: str) -> None:
    """Change one file of the project's and one of the template's, and tag that."""
    for name in ["tooling.mk", "CHANGELOG.md", "src/{{ package_name }}/fan_out.py"]:
        file = template / "template" / name
        file.write_text(file.read_text() + NEW_LINE)
    assert run(["git", "commit", "-q", "--all", "-m", "Change"], template).returncode == 0
    assert run(["git", "tag", version], template).returncode == 0


@pytest.fixture
def updated(newer: Path, tmp_path: Path) -> Path:
    """Return a project with edits of its user, updated from 0.1.0 to 0.2.0."""
    project = render(newer, tmp_path / "project")
    (project / "CHANGELOG.md").write_text("mine\n")
    (project / "LICENSE").unlink()
    with (project / "Makefile").open("a") as makefile:
        makefile.write("\nmine: ## my own target\n\t@echo mine\n")
    commit_all(project)
    release(newer, "0.2.0")
    copier.run_update(project, defaults=True, overwrite=True, skip_answered=True, quiet=True)
    return project


def test_the_tooling_is_updated(updated: Path) -> None:
    assert (updated / "tooling.mk").read_text().endswith(NEW_LINE)
    assert read_yaml(updated / ".copier-answers.yml")["_commit"] == "0.2.0"


def test_the_users_files_are_left_alone(updated: Path) -> None:
    assert (updated / "CHANGELOG.md").read_text() == "mine\n"
    assert not (updated / "LICENSE").exists()
    assert NEW_LINE not in (updated / "src/my_async_project/fan_out.py").read_text()
    assert run("make mine", updated).stdout == "mine\n"


def test_nothing_conflicts(updated: Path) -> None:
    assert run("git ls-files --unmerged", updated).stdout == ""
    assert not list(updated.rglob("*.rej"))


@pytest.mark.slow
def test_make_says_that_there_is_an_update_and_takes_it(newer: Path, tmp_path: Path) -> None:
    project = render(newer, tmp_path / "project", examples=[])
    commit_all(project)
    current = run("make check-update", project)
    release(newer, "0.2.0")
    outdated = run("make check-update", project)

    done = run("make update", project)

    assert "up-to-date" in current.stdout
    assert "0.2.0" in outdated.stdout
    assert done.returncode == 0, done.stdout
    assert (project / "tooling.mk").read_text().endswith(NEW_LINE)


@pytest.mark.slow
def test_the_oldest_copier_that_is_allowed_renders_the_same(template: Path, tmp_path: Path) -> None:
    """From the shell as users do, without --trust."""
    oldest = read_yaml(template / "copier.yml")["_min_copier_version"]
    render(template, tmp_path / "newest")
    command = f"uv tool run --quiet --from copier=={oldest} copier copy --quiet --defaults"

    done = run([*command.split(), "--vcs-ref=HEAD", str(template), "oldest"], tmp_path)

    assert done.returncode == 0, done.stdout
    assert run("diff -r newest oldest", tmp_path).stdout == ""
