"""Updates: a project finds its template again, takes its tooling and keeps its own files."""

import re
from itertools import cycle
from pathlib import Path
from typing import Any

import copier
import pytest

from tests.helpers import (
    EXAMPLES,
    PYTHONS,
    ROOT,
    available_python,
    commit_all,
    files_of,
    read_toml,
    read_yaml,
    render,
    run,
)

NEW_LINE = "# A newer version of the template.\n"


# What users get by an update: the working tree, and changes on top of it.
NEXT = "99.0.0"
RELEASES = re.findall(r"(?m)^## (\d+\.\d+\.\d+) ", (ROOT / "CHANGELOG.md").read_text("utf-8"))
# The newest release answers quickly for all.
EACH_RELEASE = [
    pytest.param(
        version,
        marks=[pytest.mark.xdist_group(version), *[pytest.mark.slow] * (version != RELEASES[0])],
    )
    for version in RELEASES
]
STARTERS = re.compile(
    r"src/|tests/(?!guard/|__init__[.]py)|docs/|README.md|CHANGELOG.md|LICENSE|compose.yaml"
)


@pytest.fixture(scope="session")
def history(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the template with every release as a tag, the newest one being what is tested here.

    A release is the commit that first brings its heading into CHANGELOG.md.
    """
    folder = tmp_path_factory.mktemp("history") / "template"
    git(f"clone -q {ROOT} {folder}", ROOT)
    git(f"fetch -q {template} HEAD", folder)
    git("read-tree -u --reset FETCH_HEAD", folder)
    git("commit -q --allow-empty -m Now", folder)
    for version in RELEASES:
        search = ["git", "log", "--reverse", "--format=%H", f"-S## {version} (", "CHANGELOG.md"]
        git(f"tag {version} {run(search, folder).stdout.split()[0]}", folder)
    release(folder, NEXT)
    return folder


def git(arguments: str, folder: Path) -> None:
    """Run git; fail if it does."""
    done = run(f"git {arguments}", folder)
    assert done.returncode == 0, done.stdout


def release(template: Path, version: str) -> None:
    """Change files of both owners, a pin, a dependency and a setting, and tag that."""
    for name in ["tooling.mk", "CHANGELOG.md", "src/{{ package_name }}/fan_out.py"]:
        append(template / "template" / name, NEW_LINE)
    edit(template / "template/pyproject.toml.jinja", '"black==26.10.1"', '"black==26.10.0"')
    edit(template / "template/pyproject.toml.jinja", '"stamina>=26.1.0"', '"stamina>=25.1.0"')
    edit(template / "template/pytest.ini.jinja", "timeout = 30", "timeout = 31")
    git("commit -q --all -m Change", template)
    git(f"tag {version}", template)


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
    append(project / "Makefile", "\nmine: ## my own target\n\t@echo mine\n")
    append(project / "pytest.ini", "    mine: a marker of my own\n")
    append(project / "pyproject.toml", "\n[tool.mine]\nsetting = true\n")
    append(project / ".gitignore", "/mine/\n")
    for command in ["uv add --no-sync anyio zipp", "uv add --no-sync --dev attrs"]:
        done = run(command, project)
        assert done.returncode == 0, done.stdout


def update(project: Path, version: str) -> None:
    """Update a project as `make update` does."""
    copier.run_update(
        project,
        defaults=True,
        overwrite=True,
        skip_answered=True,
        quiet=True,
        vcs_ref=version,
    )


@pytest.fixture(scope="module", params=EACH_RELEASE)
def updated(
    request: pytest.FixtureRequest, history: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a project of each release, with edits of its user, after an update. Tests only read it."""
    project = tmp_path_factory.mktemp("updated") / "project"
    render(history, project, vcs_ref=request.param)
    add_what_users_add(project)
    commit_all(project)
    update(project, NEXT)
    return project


def test_the_tooling_is_updated(updated: Path) -> None:
    tools = read_toml(updated / "pyproject.toml")["dependency-groups"]["tooling"]

    assert (updated / "tooling.mk").read_text().endswith(NEW_LINE)
    assert "timeout = 31\n" in (updated / "pytest.ini").read_text()
    assert "black==26.10.0" in tools
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


def test_what_users_added_stays(updated: Path) -> None:
    settings = read_toml(updated / "pyproject.toml")
    dependencies = " ".join(settings["project"]["dependencies"])

    assert run("make mine", updated).stdout == "mine\n"
    assert re.search("stamina>=25.* anyio>=.* zipp>=", dependencies)
    assert "attrs>=" in settings["dependency-groups"]["dev"][-1]
    assert settings["tool"]["mine"] == {"setting": True}
    assert (updated / "pytest.ini").read_text().endswith("    mine: a marker of my own\n")
    assert (updated / ".gitignore").read_text().endswith("/mine/\n")


def test_nothing_conflicts(updated: Path) -> None:
    assert not [name for name, text in files_of(updated).items() if b"<<<<<<<" in text]
    assert run("git ls-files --unmerged", updated).stdout == ""
    assert not list(updated.rglob("*.rej"))


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

    update(project, NEXT)

    fresh = files_of(render(history, tmp_path / "fresh", vcs_ref=NEXT, **answers))
    tooling = {name: text for name, text in fresh.items() if not STARTERS.match(name)}
    assert files_of(project) == starters | tooling


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "python"), [*zip(RELEASES, cycle(reversed(PYTHONS)), strict=False)]
)
def test_a_project_passes_its_gates_after_an_update(
    version: str, python: str, history: Path, tmp_path: Path
) -> None:
    """Each release on another Python, the newest on the newest."""
    if not available_python(python):
        pytest.skip(f"there is no Python {python} here")
    project = render(history, tmp_path / "project", vcs_ref=version)
    commit_all(project)
    update(project, NEXT)

    done = run("make quality", project, UV_PYTHON=python, PYTEST_ADDOPTS="--seeds=0 --no-cov")

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_make_says_that_there_is_an_update_and_takes_it(history: Path, tmp_path: Path) -> None:
    project = render(history, tmp_path / "project", vcs_ref=RELEASES[0], examples=[])
    commit_all(project)
    outdated = run("make check-update", project)

    done = run("make update", project)
    commit_all(project)
    current = run("make check-update", project)

    assert NEXT in outdated.stdout
    assert done.returncode == 0, done.stdout
    assert "up-to-date" in current.stdout
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
