"""Renders in which every two choices meet: each is clean, whole and consistent without being run."""

import ast
import configparser
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import covertable
import pytest
import yaml
from _pytest.mark import ParameterSet

from tests.conftest import Render
from tests.helpers import (
    EXAMPLES,
    EXTRAS,
    ONE_OF,
    PYTHONS,
    ROOT,
    SEVERAL_OF,
    files_of,
    read_toml,
    read_yaml,
    render,
    run,
)

FACTORS: dict[str, list[Any]] = {
    **ONE_OF,
    "line_length": ["72", "100", "160"],
    "coverage_threshold": ["0", "90", "100"],
    "project_name": ["X", "My Async Project", 'O\'Brien & Söhne \\ "$(x)" #1 ' + "x" * 50],
    "package_name": ["a", "order_hub", "p_" * 25],
    "description": ["", "Keeps orders in step.", "- \"x\" \\ <b> # 'y': *z* " * 7 + "."],
    "author_name": ["Ada", 'Jürgen "JJ" O\'Neil \\'],
    "repository_url": ["", "https://example.com/acme/order-hub"],
    **{choice: [True, False] for choices in SEVERAL_OF.values() for choice in choices},
}
ROWS = covertable.make(FACTORS, strength=2)
QUICK = 6  # so many of them are not slow
# A row of every answer that the layout of all sources depends on. Of the Pythons, black has most to change for the highest.
ROW_OF_LAYOUT = {
    (row["python_version"], row["line_length"]): number
    for number, row in enumerate(ROWS)
    if row["python_version"] in {PYTHONS[0], PYTHONS[-1]}
}
FORBIDDEN_ON_WINDOWS = re.compile(r'["<>:|?*\\]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)([.]|$)', re.I)


def answers_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return Copier's answers for a row, whose choices of several are yes or no each."""
    answers = {name: answer for name, answer in row.items() if not isinstance(answer, bool)}
    return answers | {
        name: [choice for choice in choices if row[choice]] for name, choices in SEVERAL_OF.items()
    }


@pytest.fixture(scope="session")
def renders() -> dict[int, Path]:
    """Return the projects that were rendered so far, by their row."""
    return {}


def each_row(rows: Iterable[int]) -> Iterator[ParameterSet]:
    """Yield the parameter of each row, marked."""
    for row in rows:
        marks = [pytest.mark.xdist_group(f"row-{row}"), *[pytest.mark.slow] * (row >= QUICK)]
        yield pytest.param(row, marks=marks)


@pytest.fixture(params=each_row(range(len(ROWS))))
def project(
    request: pytest.FixtureRequest,
    template: Path,
    renders: dict[int, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return the project of a row, rendered once."""
    row: int = request.param
    if row not in renders:
        folder = tmp_path_factory.mktemp("row") / "project"
        renders[row] = render(template, folder, **answers_of(ROWS[row]))
    return renders[row]


def test_every_two_choices_meet() -> None:
    wanted = {
        (one, repr(first), other, repr(second))
        for one in FACTORS
        for other in FACTORS
        if one < other
        for first in FACTORS[one]
        for second in FACTORS[other]
    }
    met = {
        (one, repr(row[one]), other, repr(row[other]))
        for row in ROWS
        for one in FACTORS
        for other in FACTORS
        if one < other
    }

    assert met == wanted
    print(f"{len(ROWS)} renders, {len(met)} pairs")


PARSERS: dict[str, Callable[[str], object]] = {
    ".py": ast.parse,
    ".toml": tomllib.loads,
    ".yml": lambda text: list(yaml.safe_load_all(text)),
    ".yaml": lambda text: list(yaml.safe_load_all(text)),
    ".ini": lambda text: configparser.ConfigParser(interpolation=None).read_string(text),
    ".json": json.loads,
}


@cache
def parse(suffix: str, text: str) -> None:
    """Parse the text of a file; most are the same in all projects."""
    PARSERS.get(suffix, str)(text)


def test_every_file_parses(project: Path) -> None:
    for name, content in files_of(project).items():
        parse(Path(name).suffix, content.decode("utf-8"))

    assert run("make -n help", project).returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        "black --check --quiet tests/subject.py",  # the one Python source that shows an answer
        "isort --check-only .",
        "ruff check --no-cache .",
        "validate-pyproject pyproject.toml",
    ],
)
def test_the_tools_have_nothing_to_change(command: str, project: Path) -> None:
    done = run(f"{ROOT / '.venv' / 'bin'}/{command}", project)

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("project", [*each_row(ROW_OF_LAYOUT.values())], indirect=True)
def test_black_has_nothing_to_change(project: Path) -> None:
    done = run([str(ROOT / ".venv/bin/black"), "--check", "--quiet", "."], project)

    assert done.returncode == 0, done.stdout


def test_nothing_of_jinja_is_left(project: Path) -> None:
    for name, content in files_of(project).items():
        assert not re.search(rb"(?<!\$)\{\{|\{%|\{#", content), name


def test_every_text_file_is_tidy(project: Path) -> None:
    """Unix line ends, one newline at the end, no spaces before one, at most one empty line in a row."""
    for name, content in files_of(project).items():
        text = content.decode("utf-8")
        assert "\r" not in text, name
        assert not re.search(r"[ \t]\n", text), name
        assert text == "" or (text.endswith("\n") and not text.endswith("\n\n")), name
        assert (
            name.endswith((".py", "LICENSE", "pitfalls.toml", "unsafe_counter.txt"))
            or "\n\n\n" not in text
        ), name


def test_names_work_on_windows(project: Path) -> None:
    for name in files_of(project):
        assert not [part for part in name.split("/") if FORBIDDEN_ON_WINDOWS.search(part)]
    names = [name.lower() for name in files_of(project)]
    assert len(set(names)) == len(names)


def test_python_versions_agree(project: Path) -> None:
    lowest = read_yaml(project / ".copier-answers.yml")["python_version"]
    supported = PYTHONS[PYTHONS.index(lowest) :]
    metadata = read_toml(project / "pyproject.toml")
    prefix = "Programming Language :: Python :: 3."
    classifiers = [text for text in metadata["project"]["classifiers"] if text.startswith(prefix)]

    assert metadata["project"]["requires-python"] == f">={lowest}"
    assert metadata["tool"]["mypy"]["python_version"] == lowest
    assert [text.rpartition(" ")[2] for text in classifiers] == supported
    for pythons in ci_pythons(project):
        assert pythons == supported


def ci_pythons(project: Path) -> list[list[str]]:
    """Return the Pythons of each CI file of the project."""
    found = []
    github, gitlab = project / ".github/workflows/ci.yml", project / ".gitlab-ci.yml"
    if github.exists():
        found.append(read_yaml(github)["jobs"]["check"]["strategy"]["matrix"]["python"])
    if gitlab.exists():
        found.append(read_yaml(gitlab)["check"]["parallel"]["matrix"][0]["UV_PYTHON"])
    return found


def test_the_answered_ci_files_are_there_and_no_others(project: Path) -> None:
    ci = read_yaml(project / ".copier-answers.yml")["ci"]

    assert (project / ".github").exists() == ("github" in ci)
    assert (project / ".gitlab-ci.yml").exists() == ("gitlab" in ci)


def test_who_was_answered_asks_for_updates_and_nobody_else(project: Path) -> None:
    answers = read_yaml(project / ".copier-answers.yml")
    ci, updates = answers["ci"], answers["updates"]
    gitlab = project / ".gitlab-ci.yml"
    jobs = read_yaml(gitlab) if gitlab.exists() else {}

    workflow = project / ".github/workflows/update.yml"
    assert workflow.exists() == ("ci" in updates and "github" in ci)
    assert ("update" in jobs) == ("ci" in updates and "gitlab" in ci)
    assert (project / "renovate.json").exists() == ("renovate" in updates)


def test_the_answered_extras_are_there_and_no_others(project: Path) -> None:
    answers = read_yaml(project / ".copier-answers.yml")
    ci, extras = answers["ci"], answers["extras"]
    gitlab = project / ".gitlab-ci.yml"
    jobs = read_yaml(gitlab) if gitlab.exists() else {}
    makefile = (project / "Makefile").read_text()

    workflow = project / ".github/workflows/publish.yml"
    assert workflow.exists() == ("publishing" in extras and "github" in ci)
    assert ({"dist", "publish"} <= jobs.keys()) == ("publishing" in extras and "gitlab" in ci)
    assert ("\npublish: " in makefile) == ("publishing" in extras)
    assert (project / ".vscode").exists() == ("editor" in extras)
    assert (project / ".devcontainer").exists() == ("devcontainer" in extras)
    dependabot = project / ".github/dependabot.yml"
    assert dependabot.exists() == ("dependabot" in extras and "github" in ci)
    assert (project / "AGENTS.md").exists() == ("assistants" in extras)


def test_what_builds_a_site_is_there_where_that_was_answered(project: Path) -> None:
    docs = read_yaml(project / ".copier-answers.yml")["docs"]

    there = [
        (project / "tooling/docs/conf.py").exists(),
        (project / "docs/index.md").exists(),
        "\ndocs: " in (project / "Makefile").read_text(),
        "docs" in read_toml(project / "pyproject.toml")["dependency-groups"],
        "/.docs/" in (project / ".gitignore").read_text().splitlines(),
        "`make docs`" in (project / "README.md").read_text("utf-8"),
    ]
    assert there == [docs == "sphinx"] * len(there)


@pytest.mark.parametrize(
    "name",
    [
        ".github/workflows/publish.yml",
        ".github/dependabot.yml",
        ".vscode/",
        ".devcontainer/",
        "AGENTS.md",
    ],
)
def test_the_readme_tells_of_the_extras_that_are_there(name: str, project: Path) -> None:
    readme = (project / "README.md").read_text(encoding="utf-8")

    assert (f"`{name}`" in readme) == (project / name).exists()


def test_the_answered_examples_are_there_and_no_others(project: Path) -> None:
    answers = read_yaml(project / ".copier-answers.yml")
    package = project / "src" / answers["package_name"]
    for name in EXAMPLES:
        expected = name in answers["examples"]
        assert (package / name).exists() == expected
        assert (package / "demo" / f"{name}.py").exists() == expected
        assert (project / "tests" / name).exists() == expected


def test_relative_imports_lead_to_files_that_are_there(project: Path) -> None:
    for file in project.glob("src/*/**/*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                target = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                assert target.with_suffix(".py").exists() or target.is_dir(), (file, node.module)


def test_numbers_arrive_in_the_settings(project: Path) -> None:
    answers = read_yaml(project / ".copier-answers.yml")
    metadata = read_toml(project / "pyproject.toml")

    assert metadata["tool"]["black"]["line-length"] == answers["line_length"]
    assert metadata["tool"]["isort"]["line_length"] == answers["line_length"]
    assert metadata["tool"]["ruff"]["line-length"] == answers["line_length"]
    assert (
        f"max_line_length = {answers['line_length']}\n" in (project / ".editorconfig").read_text()
    )
    assert (
        f"--cov-fail-under={answers['coverage_threshold']}\n"
        in (project / "pytest.ini").read_text()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "schema", "updates", "extras"),
    [
        (".github/workflows/ci.yml", "github-workflows", [], []),
        (".github/workflows/update.yml", "github-workflows", ["ci"], []),
        (".github/workflows/publish.yml", "github-workflows", [], ["publishing"]),
        (".github/dependabot.yml", "dependabot", [], ["dependabot"]),
        (".gitlab-ci.yml", "gitlab-ci", [], []),
        (".gitlab-ci.yml", "gitlab-ci", ["ci"], []),
        (".gitlab-ci.yml", "gitlab-ci", ["ci"], ["publishing"]),
        ("renovate.json", "renovate", ["renovate"], []),
        ("compose.yaml", "compose-spec", [], []),
    ],
)
def test_files_for_services_fit_their_schema(
    file: str, schema: str, updates: list[str], extras: list[str], render_project: Render
) -> None:
    several = ["github", "gitlab"]
    project = render_project(ci=several, examples=["workers"], updates=updates, extras=extras)

    check = str(ROOT / ".venv/bin/check-jsonschema")
    done = run([check, "--builtin-schema", f"vendor.{schema}", file], project)

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
def test_workflows_are_secure(python: str, render_project: Render) -> None:
    project = render_project(python_version=python, updates=["ci"], extras=EXTRAS)

    zizmor = str(ROOT / ".venv/bin/zizmor")
    done = run([zizmor, "--offline", "--pedantic", "--strict-collection", "."], project)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("licence", FACTORS["license"])
def test_a_licence_arrives_in_full(licence: str, render_small: Render) -> None:
    project = render_small(license=licence, author_name="Ada")

    source = (ROOT / "licenses" / f"{licence}.txt").read_text(encoding="utf-8")
    text = (project / "LICENSE").read_text(encoding="utf-8")
    assert text == source.replace("{{ author_name }}", "Ada")


@pytest.mark.slow
def test_sources_are_clean_at_any_line_length(template: Path, tmp_path: Path) -> None:
    """What stays the same at both ends does so in between, too; some lengths on the way show it."""
    project = render(template, tmp_path / "project")
    bin_folder = ROOT / ".venv" / "bin"

    for length in [72, 73, 79, 88, 99, 120, 160]:
        for command in [
            [str(bin_folder / "black"), "--check", "--quiet", "--fast", f"--line-length={length}", "."],
            [str(bin_folder / "isort"), "--check-only", f"--line-length={length}", "."],
        ]:  # fmt: skip
            done = run(command, project)
            assert done.returncode == 0, (length, done.stdout)
