"""Projects of differing answers: their own quality, check, hooks and demo really run and pass."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from typing import Any

import pytest

from tests.conftest import RAN_ON, Pipeline, in_the_group_of
from tests.helpers import EXAMPLES, NEITHER, ONE_SCHEDULE, read_yaml

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "all-3.11": ("3.11", {"examples": EXAMPLES}),
    "all-3.12": (
        "3.12",
        {
            "examples": EXAMPLES,
            "python_version": "3.12",
            "line_length": 160,
            "ci": ["gitlab"],
            "package_name": "a",
            "docs": "sphinx",
        },
    ),
    "all-3.13": (
        "3.13",
        {
            "examples": EXAMPLES,
            "python_version": "3.13",
            "line_length": 72,
            "coverage_threshold": 100,
            "package_name": "p_" * 25,
            "project_name": 'O\'Brien & Söhne \\ "$(x)" #1',
            "description": "- \"x\" \\ <b> # 'y'",
            "author_name": 'Jürgen "JJ" O\'Neil \\',
            "license": "Proprietary",
        },
    ),
    "all-3.14": (
        "3.14",
        {
            "examples": EXAMPLES,
            "python_version": "3.14",
            "coverage_threshold": 100,
            "license": "GPL-3.0-or-later",
        },
    ),
    "all-3.15": (
        "3.15",
        {"examples": EXAMPLES, "python_version": "3.15", "coverage_threshold": 100},
    ),
    "none-3.11": ("3.11", {"examples": [], "coverage_threshold": 100, "ci": []}),
    "none-3.12": ("3.12", {"examples": [], "coverage_threshold": 100}),
    "none-3.13": ("3.13", {"examples": [], "description": "", "line_length": 72}),
    "none-3.14": ("3.14", {"examples": [], "coverage_threshold": 100}),
    "none-3.15": (
        "3.15",
        {"examples": [], "coverage_threshold": 100, "python_version": "3.15", "docs": "sphinx"},
    ),
    # Each example by itself, on one Python after the other.
    **{
        f"{name}-{python}": (python, {"examples": [name], "coverage_threshold": 100})
        for name, python in zip(
            EXAMPLES, cycle(["3.14", "3.12", "3.11", "3.15", "3.13"]), strict=False
        )
    },
}

# Those that go through every command; the others show that their subset of examples is whole.
THOROUGH = ["none-3.15", "pipeline-3.11"]

# `make quality` of all examples on 3.11 tries everything. Elsewhere, what doubles the time of many tests is
# left out: the shuffled schedule, and on Pythons between those that are measured, coverage.
QUALITY = dict.fromkeys(CASES, ONE_SCHEDULE) | {
    "all-3.11": {},
    "none-3.15": {},
    "all-3.12": NEITHER,
    "all-3.13": NEITHER,
}

# Coverage measures branches by sys.monitoring where that tells of them, from Python 3.14 on, and elsewhere by a
# trace function, which is still there.
CORES = {"none-3.14": "ctrace", "all-3.15": "ctrace"}

pytestmark = pytest.mark.slow


def each(names: Iterable[str]) -> pytest.MarkDecorator:
    """Return the mark of a test that takes the projects of these cases."""
    groups = [pytest.param(name, marks=in_the_group_of(CASES[name][0])) for name in names]
    return pytest.mark.parametrize("project", groups, indirect=True)


@pytest.fixture
def project(
    request: pytest.FixtureRequest, make_pipeline: Callable[..., Pipeline]
) -> Iterator[Pipeline]:
    """Return the project of a case, with its environment."""
    python, answers = CASES[request.param]
    pipeline = make_pipeline(request.param, python, **answers)
    yield pipeline
    pipeline.restore()


@each(CASES)
def test_quality_passes_and_changes_no_file(
    project: Pipeline,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    case = request.node.callspec.params["project"]
    record_property(RAN_ON, project.run(".venv/bin/python --version").stdout.split()[-1])

    done = project.run("make quality", **QUALITY.get(case, {}))

    assert done.returncode == 0, done.stdout
    assert re.search(r"\nquality passed in [\d.]+ s\n$", done.stdout)
    assert passed_stages(done.stdout) == ["format", "lint", "test", "typecheck"]
    assert " skipped" not in done.stdout
    assert project.run("git status --porcelain").stdout == ""


@each(THOROUGH)
def test_check_passes_and_changes_no_file_that_git_sees(project: Pipeline) -> None:
    before = snapshot(project)

    done = project.run("make check", **ONE_SCHEDULE)

    assert done.returncode == 0, done.stdout
    assert passed_stages(done.stdout) == ["format-check", "lint", "test", "typecheck"]
    assert snapshot(project) == before


@each(THOROUGH)
def test_hooks_pass(project: Pipeline) -> None:
    done = project.run("make hooks", **NEITHER)

    assert done.returncode == 0, done.stdout
    assert "Failed" not in done.stdout
    assert "pytest" in done.stdout


@each(CORES)
def test_the_tests_pass_under_the_other_core_of_coverage(
    project: Pipeline, request: pytest.FixtureRequest
) -> None:
    core = CORES[request.node.callspec.params["project"]]

    done = project.run("make test", COVERAGE_CORE=core, **ONE_SCHEDULE)

    assert done.returncode == 0, done.stdout
    assert "Total coverage: 100.00%" in done.stdout


@each(["all-3.14"])
def test_every_call_of_the_examples_is_safe_to_cancel(project: Pipeline) -> None:
    done = project.run("make test CANCEL=1")

    cancelled = re.search(r"guard: cancelled (\d+) calls, at (\d+) places", done.stdout)
    assert done.returncode == 0, done.stdout
    assert cancelled
    assert int(cancelled[1]) > int(cancelled[2]) > 100


@each([name for name in CASES if name.startswith(("all", "none"))])
def test_the_demo_works(project: Pipeline) -> None:
    # Where a warning comes up that Python means to turn into an error later, it is one now.
    done = project.run("make demo", PYTHONWARNINGS="error")

    shown = ["fan_out", "logs", *project_examples(project)]
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith(f"\nall worked: {', '.join(sorted(shown))}\n")


# All examples, and the newest Python.
DOCUMENTED = ["all-3.12", "none-3.15"]


@each(DOCUMENTED)
def test_docs_and_docstrings_are_a_site(project: Pipeline) -> None:
    package = read_yaml(project.folder / ".copier-answers.yml")["package_name"]

    done = project.run("make docs")

    assert done.returncode == 0, done.stdout
    assert done.stdout == "The site is at .docs/index.html.\n"
    page = (project.folder / f".docs/_api/{package}.html").read_text("utf-8")
    assert "Runs one async function over many items, a few at a time." in page
    assert project.run("git status --porcelain").stdout == ""


@each(["none-3.15"])
def test_a_dead_link_stops_docs(project: Pipeline) -> None:
    project.write("docs/notes.md", "# Notes\n\n[The tests](testing.md#riddles)\n")

    done = project.run("make docs")

    assert done.returncode != 0
    assert "docs/notes.md:3: WARNING:" in done.stdout


def project_examples(project: Pipeline) -> list[str]:
    answers = read_yaml(project.folder / ".copier-answers.yml")
    return list(answers["examples"])


@each(CASES)
def test_it_runs_on_the_python_that_was_asked_for(project: Pipeline) -> None:
    version = project.run(".venv/bin/python --version").stdout

    assert version.startswith(f"Python {project.python}.")


def passed_stages(output: str) -> list[str]:
    return sorted(re.findall(r"(?m)^(\S+) +passed +[\d.]+ s", output))


def snapshot(project: Pipeline) -> dict[str, tuple[int, int]]:
    """Return size and time of change of every file that git does not ignore."""
    names = project.run("git ls-files -z --cached --others --exclude-standard").stdout
    stats = {name: (project.folder / name).lstat() for name in names.rstrip("\0").split("\0")}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}
