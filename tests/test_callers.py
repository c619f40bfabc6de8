"""The guard tells the project's calls from what tools do inside its frames, on every Python."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import Pipeline
from tests.helpers import ROOT, read_toml
from tests.pairs import Hit, run_pytest, write
from tests.wheels import make_wheel

CASES: dict[str, list[dict[str, str]]] = read_toml(ROOT / "tests/callers.toml")
TOOLBOX = (ROOT / "tests/toolbox.py").read_text("utf-8")

PRELUDE = '"""Made for a test."""\n\n\ndef helper() -> int:\n    return 1\n\n\n'
TEST = """
from my_async_project import {module}


async def test_it() -> None:
    assert await {module}.run() is None
"""

Find = Callable[[Pipeline, str, str], list[str]]

pytestmark = pytest.mark.slow


def module_of(name: str) -> str:
    """Return the module that the code of a case goes into."""
    return "case_" + "".join(letter if letter.isalnum() else "_" for letter in name)


def file_of(name: str) -> str:
    """Return the file of the test of a case."""
    return f"tests/test_{module_of(name)}.py"


def install_toolbox(project: Pipeline, folder: Path) -> None:
    """Install what the cases take for a tool, from a wheel that is made in a folder."""
    wheel = make_wheel(folder, "toolbox", {"toolbox/__init__.py": TOOLBOX})
    done = project.run(f"uv pip install --quiet --python .venv {wheel}")
    assert done.returncode == 0, done.stdout


def run_cases(project: Pipeline, cases: list[dict[str, str]]) -> list[Hit]:
    """Return what pytest says of cases, whose files stay in the project."""
    files = {
        "elsewhere/debugger_of_an_editor.py": TOOLBOX,
        "tests/rewritten.py": "ANSWER = 42\nassert ANSWER\n",
    }
    for case in cases:
        module = module_of(case["name"])
        files[f"src/my_async_project/{module}.py"] = PRELUDE + case["code"]
        files[file_of(case["name"])] = TEST.format(module=module)
    write(project, files)
    tests = [file_of(case["name"]) for case in cases]
    return run_pytest(project, {"guard_seeds": "0"}, "--no-cov", *tests)


@pytest.fixture(scope="session")
def find(tmp_path_factory: pytest.TempPathFactory) -> Find:
    """Return a function that returns what pytest says of a case. All cases of a kind run at once."""

    @cache
    def run_all(project: Pipeline, kind: str) -> list[Hit]:
        install_toolbox(project, tmp_path_factory.mktemp("wheels"))
        hits = run_cases(project, CASES[kind])
        project.restore()
        return hits

    return lambda project, kind, name: [
        hit.text for hit in run_all(project, kind) if hit.file == file_of(name)
    ]


@pytest.mark.parametrize("name", [case["name"] for case in CASES["tool"]])
def test_what_a_tool_does_is_no_finding(name: str, on_each_python: Pipeline, find: Find) -> None:
    assert find(on_each_python, "tool", name) == []


@pytest.mark.parametrize("name", [case["name"] for case in CASES["call"]])
def test_what_the_project_calls_is_a_finding(
    name: str, on_each_python: Pipeline, find: Find
) -> None:
    [text] = find(on_each_python, "call", name)

    assert "blocking-call: " in text
    assert f"stopped the loop at src/my_async_project/{module_of(name)}.py:" in text
