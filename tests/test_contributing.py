"""CONTRIBUTING.md: each recipe is whole, as following it shows, and the map is that of the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Pipeline
from tests.helpers import ROOT, read_toml, run
from tests.test_consistency import tracked_files

TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
RECIPES: dict[str, str] = dict(re.findall(r"(?ms)^### (.+?)\n(.+?)(?=^###? )", TEXT))

# How each recipe is followed, but for that of a release.
FOLLOWED = read_toml(ROOT / "tests/recipes.toml")

# What makes a project on each Python.
ON_ONE_PYTHON = " ".join(
    f"--deselect=tests/test_matrix.py::{name}"
    for name in [
        "test_the_defect_is_stopped_on_every_python",
        "test_the_twin_passes_on_every_python",
    ]
)

in_a_clone = pytest.mark.xdist_group("contributing")


@pytest.fixture(scope="module")
def fresh_clone(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Return a clone of the template, set up as CONTRIBUTING.md says."""
    folder = tmp_path_factory.mktemp("clone") / "copier-async"
    assert run(["git", "clone", "-q", str(template), str(folder)], folder.parent).returncode == 0
    clone = Pipeline(folder, "3.11")
    done = clone.run("make setup")
    assert done.returncode == 0, done.stdout
    assert clone.run("git tag start").returncode == 0
    return clone


@pytest.fixture
def clone(fresh_clone: Pipeline) -> Iterator[Pipeline]:
    """Return the clone, restored after each test."""
    yield fresh_clone
    fresh_clone.restore()


def places(recipe: str) -> list[str]:
    """Return the place that each step of a recipe begins with."""
    return re.findall(r"(?m)^\d+\. `([^`]+)`", RECIPES.get(recipe, ""))


def follow(recipe: str, clone: Pipeline, left_out: int = 0) -> None:
    """Do the steps of a recipe, but for one of them."""
    for step in FOLLOWED[recipe]["step"]:
        if step["number"] != left_out:
            file = clone.folder / step["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            text = file.read_text("utf-8") if file.exists() else ""
            before, after, rest = (
                text.partition(step["after"]) if "after" in step else (text, "", "")
            )
            assert after == step.get("after", "")
            file.write_text(before + after + step["text"] + rest, encoding="utf-8")


def failed(recipe: str, clone: Pipeline, **variables: str) -> str:
    """Return what the first command of a recipe that fails has printed, "" if none does."""
    pair = FOLLOWED[recipe].get("pair", "")
    for command in re.findall(r"(?m)^ {6,}(make .+)$", RECIPES[recipe]):
        done = clone.run(["sh", "-c", command.replace("<name_of_the_pair>", pair)], **variables)
        if done.returncode:
            return done.stdout
    return ""


def test_every_recipe_is_followed() -> None:
    assert {*FOLLOWED, "A release"} == set(RECIPES)


@pytest.mark.parametrize("recipe", FOLLOWED)
def test_what_is_followed_is_what_is_written(recipe: str) -> None:
    steps = [(step["number"], step["file"]) for step in FOLLOWED[recipe]["step"]]

    assert {number for number, _ in steps} == set(range(1, len(places(recipe)) + 1))
    assert [file for number, file in steps if not file.startswith(places(recipe)[number - 1])] == []


@pytest.mark.slow
@in_a_clone
@pytest.mark.parametrize("recipe", FOLLOWED)
def test_a_recipe_leads_to_what_its_commands_pass(recipe: str, clone: Pipeline) -> None:
    follow(recipe, clone)

    # So few tests are quicker than the start of more processes, and one Python is as good as another.
    assert failed(recipe, clone, PYTEST_ADDOPTS=f"-n0 {ON_ONE_PYTHON}") == ""


@pytest.mark.slow
@in_a_clone
@pytest.mark.parametrize(
    ("recipe", "left_out"),
    [(recipe, number) for recipe in FOLLOWED for number in range(1, len(places(recipe)) + 1)],
)
def test_a_recipe_fails_without_one_of_its_places(
    recipe: str, left_out: int, clone: Pipeline
) -> None:
    follow(recipe, clone, left_out)

    # The tests that ask for each place are called so, and are quick.
    assert failed(
        recipe, clone, PYTEST_ADDOPTS="-n0 -x -k 'every or rule or example or mutation or pair'"
    )


# The hook before a push runs all quick tests.
WITHOUT_HOOKS = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "core.hooksPath",
    "GIT_CONFIG_VALUE_0": "none",
}


@pytest.mark.slow
@in_a_clone
def test_a_release_is_what_its_page_says(clone: Pipeline) -> None:
    page = (ROOT / "docs/releasing.md").read_text("utf-8")
    heading, version = re.findall(r"`(## (\S+) \(\S+\))`", page)[0]
    top, changelog = "## Unreleased\n", (clone.folder / "CHANGELOG.md").read_text("utf-8")
    clone.write("CHANGELOG.md", changelog.replace(top, f"{top}\n{heading}\n"))
    clone.run(["git", "commit", "--quiet", "--all", "--no-verify", f"--message=Release {version}"])

    tested = clone.run(
        "make test T=tests/test_consistency.py::test_changes_are_listed_newest_first"
    )
    clone.run("git init --quiet --bare ../remote")
    tagged = clone.run(".ci/tag", REMOTE="../remote", **WITHOUT_HOOKS)

    assert tested.returncode == 0, tested.stdout
    assert f"Tagged {version}.\n" in tagged.stdout
    assert tagged.returncode == 0, tagged.stdout


# The map: what a place is for is for people; which files it holds, and what they import, is tested.

ROWS = re.findall(r"(?m)^\| (`.+?) \| .+? \| ?(.*?) ?\|$", TEXT.partition("## The map")[2])
IMPORTS = {
    place: re.findall(r"`([^`]+)`", imports)
    for named, imports in ROWS
    for place in re.findall(r"`([^`]+)`", named)
}
SOURCES = [name for name in tracked_files() if name.endswith(".py")]

# Where the packages are that files import by name: those of a project see its own tests as `tests`.
PACKAGES = {
    "adopt": "adopt.py",
    "benchmarks": "benchmarks/",
    "new": "new.py",
    "template": "template/",
    "tests": "tests/",
    "tooling": "template/tooling/",
}


def place_of(name: str) -> str:
    """Return the place of the map that a file is in, "" if it is in none."""
    return max((place for place in IMPORTS if name.startswith(place)), key=len, default="")


def imports(name: str) -> Iterator[str]:
    """Yield the path of each module of the repository that a file imports."""
    for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"{Path(name).parents[node.level - 1].as_posix()}/"
        elif isinstance(node, ast.ImportFrom | ast.Import):
            module = getattr(node, "module", None)
            modules = [module] if module else [alias.name for alias in node.names]
            yield from filter(None, [path_of(module, name) for module in modules])


def path_of(module: str, name: str) -> str:
    """Return where a module is that a file imports by its name, "" if it is not of the repository."""
    package, *rest = module.split(".")
    if package not in PACKAGES:
        return ""
    in_project = package == "tests" and name.startswith("template/")
    start = "template/tests/" if in_project else PACKAGES[package]
    path = (start + "/".join(rest)).removesuffix("/")
    return f"{path}.py" if (ROOT / f"{path}.py").exists() else f"{path}/".replace(".py/", ".py")


@pytest.mark.parametrize("place", IMPORTS)
def test_every_place_of_the_map_is_there(place: str) -> None:
    assert (ROOT / place).is_dir() if place.endswith("/") else (ROOT / place).is_file()


def test_every_file_is_on_the_map() -> None:
    assert [name for name in tracked_files() if not place_of(name)] == []


@pytest.mark.parametrize("name", SOURCES)
def test_a_file_imports_what_the_map_lets_it_import(name: str) -> None:
    own = place_of(name)

    assert [path for path in imports(name) if not path.startswith((own, *IMPORTS[own]))] == []


LAYERS = [
    line.split()
    for line in re.findall(r"(?m)^    ([a-z ]+)$", TEXT.partition("lines above theirs")[2])
]
GUARD = ROOT / "template/tests/guard"


def test_every_module_of_the_guard_has_its_line() -> None:
    modules = {file.stem for file in GUARD.glob("*.py")} - {"__init__"}

    assert sorted(module for layer in LAYERS for module in layer) == sorted(modules)


@pytest.mark.parametrize(
    ("module", "above"),
    [
        (module, {name for layer in LAYERS[:number] for name in layer})
        for number, layer in enumerate(LAYERS)
        for module in layer
    ],
)
def test_a_module_of_the_guard_imports_from_lines_above(module: str, above: set[str]) -> None:
    tree = ast.parse((GUARD / f"{module}.py").read_text("utf-8"))
    imported = {
        node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level
    }

    assert imported - above == set()
