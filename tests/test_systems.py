"""Every subset of the examples: complete, and free of what was left out."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Pipeline, Render
from tests.helpers import EXAMPLES, ROOT, render, run

SUBSETS = [
    list(subset)
    for size in range(len(EXAMPLES) + 1)
    for subset in itertools.combinations(EXAMPLES, size)
]

# Run in a project: imports every module, then prints what was imported from packages that the project
# does not declare.
IMPORT_ALL = """
import ast, importlib, importlib.metadata, pathlib, re, sys, tomllib
settings = tomllib.loads(pathlib.Path("pyproject.toml").read_text())
wanted = settings["project"]["dependencies"] + settings["dependency-groups"]["tooling"]
declared = {re.match(r"[\\w-]+", text)[0] for text in wanted}
files = [file for folder in ("src", "tests") for file in pathlib.Path(folder).rglob("*.py")]
names = [".".join(file.with_suffix("").parts) for file in files if "__" not in file.name]
for name in names:
    importlib.import_module(name.removeprefix("src."))
imported = set()
for file in files:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            imported.add(node.module.partition(".")[0])
sources = importlib.metadata.packages_distributions()
others = imported - sys.stdlib_module_names - {"tests", "order_hub"}
print(len(names), sorted(name for name in others if not declared & set(sources[name])))
"""

pytestmark = pytest.mark.xdist_group("full")
each_example = pytest.mark.parametrize("name", EXAMPLES)


def test_every_package_of_the_sources_is_an_example() -> None:
    sources = ROOT / "template/src/{{ package_name }}"
    packages = {file.parent.name for file in sources.glob("*/__init__.py")}

    assert packages == {*EXAMPLES, "demo"}


@each_example
def test_an_example_has_its_tests_and_its_part_of_the_demo(name: str, full_project: Path) -> None:
    demo = full_project / f"src/my_async_project/demo/{name}.py"

    assert "async def show()" in demo.read_text("utf-8")
    assert list((full_project / "tests" / name).glob("test_*.py"))


@each_example
def test_the_readme_of_a_project_has_a_row_for_an_example(name: str, full_project: Path) -> None:
    readme = (full_project / "README.md").read_text("utf-8")

    assert f"\n| `src/my_async_project/{name}/` |" in readme


@each_example
def test_the_readme_of_the_template_names_an_example(name: str) -> None:
    assert f"`{name}`" in (ROOT / "README.md").read_text("utf-8")


def test_a_skeleton_holds_no_example(render_project: Render) -> None:
    skeleton = render_project(examples=[])

    assert {path.stem for path in skeleton.rglob("*")} & set(EXAMPLES) == set()


@pytest.fixture(scope="module", params=SUBSETS, ids="-".join)
def subset(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a project of each subset of the examples, without an environment of its own."""
    folder = tmp_path_factory.mktemp("subset") / "project"
    return render(template, folder, examples=request.param, package_name="order_hub")


@pytest.fixture(scope="module")
def tools(make_pipeline: Callable[..., Pipeline]) -> Path:
    """Return the programs of an environment that has what all examples need."""
    return make_pipeline("full", "3.11", examples=EXAMPLES).folder / ".venv" / "bin"


@pytest.mark.slow
def test_all_modules_can_be_imported_from_what_is_declared(subset: Path, tools: Path) -> None:
    done = run([f"{tools}/python", "-c", IMPORT_ALL], subset, PYTHONPATH=f"{subset}/src:{subset}")

    count, _, undeclared = done.stdout.strip().partition(" ")
    assert int(count) > 10, done.stdout
    assert undeclared == "[]"


@pytest.mark.slow
def test_the_linter_finds_nothing(subset: Path, tools: Path) -> None:
    done = run([f"{tools}/ruff", "check", "--no-cache", "."], subset)

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_type_checker_finds_nothing(subset: Path, tools: Path) -> None:
    cache = tools.parent / "mypy-of-subsets"

    done = run([f"{tools}/mypy", f"--cache-dir={cache}"], subset)

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_nothing_is_left_of_what_was_not_chosen(subset: Path) -> None:
    chosen = run("grep -A9 ^examples .copier-answers.yml", subset).stdout
    left = {
        part
        for folder in ["src/order_hub", "src/order_hub/demo", "tests"]
        for part in [path.stem for path in (subset / folder).iterdir()]
        if part in EXAMPLES
    }

    assert left == {name for name in EXAMPLES if f"- {name}\n" in chosen}
