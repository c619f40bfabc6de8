"""The commands of a project when something is wrong: what fails, what is said, what is left."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Pipeline, Render
from tests.helpers import (
    NEITHER,
    ONE_SCHEDULE,
    PYTHONS,
    available_python,
    commit_all,
    path_without_uv,
    run,
)
from tests.wheels import make_wheel

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("commands")]

PACKAGE = "src/my_async_project"
TYPE_ERROR = '"""A defect."""\n\nNUMBER: int = "text"\n'
LINT_ERROR = '"""A defect."""\n\nimport os\n'
UNFORMATTED = '"""A defect of layout."""\n\nNUMBERS = [1,2]\n'
FORMATTED = '"""A defect of layout."""\n\nNUMBERS = [1, 2]\n'
FAILING_TEST = '"""A failing test."""\n\n\ndef test_it() -> None:\n    assert sum([1]) == 2\n'


def sections(output: str) -> dict[str, str]:
    """Return what each stage printed."""
    parts = re.split(r"(?m)^== (\S+)\n", output)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_quality_repairs_the_layout(pipeline: Pipeline) -> None:
    file = pipeline.write(f"{PACKAGE}/extra.py", UNFORMATTED)

    done = pipeline.run("make quality", **NEITHER)

    assert done.returncode == 0, done.stdout
    assert file.read_text() == FORMATTED


def test_check_repairs_nothing_and_names_the_file(pipeline: Pipeline) -> None:
    file = pipeline.write(f"{PACKAGE}/extra.py", UNFORMATTED)

    done = pipeline.run("make check", **NEITHER)

    assert done.returncode != 0
    assert "\ncheck FAILED in: format-check\n" in done.stdout
    assert "extra.py" in sections(done.stdout)["format-check"]
    assert file.read_text() == UNFORMATTED


@pytest.mark.parametrize("target", ["quality", "check"])
def test_every_stage_that_fails_is_named_in_one_line(target: str, pipeline: Pipeline) -> None:
    pipeline.write(f"{PACKAGE}/untyped.py", TYPE_ERROR)
    pipeline.write(f"{PACKAGE}/unused.py", LINT_ERROR)
    pipeline.write("tests/test_failing.py", FAILING_TEST)

    done = pipeline.run(f"make {target}", **NEITHER)

    assert done.returncode != 0
    assert f"\n{target} FAILED in: lint typecheck test\n" in done.stdout


def test_the_stages_do_not_mix_their_output(pipeline: Pipeline) -> None:
    pipeline.write(f"{PACKAGE}/untyped.py", TYPE_ERROR)
    pipeline.write(f"{PACKAGE}/unused.py", LINT_ERROR)

    stages = sections(pipeline.run("make quality V=1", **NEITHER).stdout)

    assert list(stages) == ["format", "lint", "typecheck", "test"]
    assert {name for name, text in stages.items() if "F401" in text} == {"lint"}
    assert {name for name, text in stages.items() if "[assignment]" in text} == {"typecheck"}
    assert {name for name, text in stages.items() if " passed in " in text} == {"test"}


def test_a_stage_runs_even_if_formatting_failed(pipeline: Pipeline) -> None:
    pipeline.write(f"{PACKAGE}/broken.py", "def broken(:\n")

    done = pipeline.run("make quality", **NEITHER)

    assert "\nquality FAILED in: format lint typecheck\n" in done.stdout


ASYNC_DEFECTS = {
    "an await that is missing": (
        "typecheck",
        "async def report() -> None:\n    asyncio.sleep(1)\n",
        "Are you missing an await?",
    ),
    "a call that blocks": (
        "lint",
        "async def report() -> None:\n    time.sleep(1)\n    await asyncio.sleep(1)\n",
        "ASYNC251",
    ),
    "a task that nobody keeps": (
        "lint",
        "async def report() -> None:\n    _ = asyncio.create_task(asyncio.sleep(0))\n",
        "RUF006",
    ),
    "a coroutine that is never awaited": (
        "test",
        "async def test_it() -> None:\n    _: object = asyncio.sleep(0)\n    assert time\n",
        "coroutine 'sleep' was never awaited",
    ),
    "a socket that is never closed": (
        "test",
        "async def test_it() -> None:\n    assert await asyncio.start_server(print, '127.0.0.1', 0)\n",
        "leaked-server: Server, made at tests/test_defect.py:",
    ),
    "a marker that does not exist": (
        "test",
        "@pytest.mark.integrationn\nasync def test_it() -> None:\n    assert time\n",
        "'integrationn' not found in `markers`",
    ),
    "an expected failure that passes": (
        "test",
        "@pytest.mark.xfail\nasync def test_it() -> None:\n    assert time\n",
        "XPASS(strict)",
    ),
    "tests that pass in one order only": (
        "test",
        "SEEN: list[int] = []\n\n\n@pytest.mark.parametrize('number', range(9))\n"
        "async def test_it(number: int) -> None:\n    SEEN.append(number)\n"
        "    assert SEEN == list(range(number + 1))\n",
        "assert SEEN == ",
    ),
}


@pytest.mark.parametrize("defect", ASYNC_DEFECTS)
def test_an_async_defect_fails_its_gate(defect: str, pipeline: Pipeline) -> None:
    gate, body, message = ASYNC_DEFECTS[defect]
    imports = "import asyncio\nimport time\n\nimport pytest\n\n_ = (asyncio, time, pytest)\n"
    pipeline.write("tests/test_defect.py", f'"""A defect."""\n\n{imports}\n\n{body}')

    output = pipeline.run(f"make {gate}", **NEITHER)

    assert output.returncode != 0
    assert message in output.stdout


def test_a_test_that_waits_for_ever_is_stopped(pipeline: Pipeline) -> None:
    body = "async def test_it() -> None:\n    await asyncio.Event().wait()\n"
    pipeline.write("tests/test_hanging.py", f"import asyncio\n\n\n{body}")
    settings = pipeline.folder / "pytest.ini"
    settings.write_text(settings.read_text().replace("timeout = 30", "timeout = 1"))

    output = pipeline.run("make test", **NEITHER).stdout

    assert (
        "\nTimeout (>1.0s) from pytest-timeout\n  where  tests/test_hanging.py:5    await asyncio.Event().wait()\n"
        in output
    )


def test_too_little_coverage_fails(pipeline: Pipeline) -> None:
    lines = "\n".join(f"NUMBER_{number} = {number}" for number in range(2000))
    pipeline.write(f"{PACKAGE}/never_imported.py", f'"""A defect."""\n\n{lines}\n')

    done = pipeline.run("make check", **ONE_SCHEDULE)

    assert "\ncheck FAILED in: test\n" in done.stdout
    assert "Required test coverage of 90% not reached" in done.stdout


# Files that a hook refuses, by the name of the hook.
REFUSED_FILES = {
    "no conflict markers": ("conflict.txt", "<<<<<<< HEAD\nmine\n=======\ntheirs\n>>>>>>> other\n"),
    "no rejected hunks of an update": ("notes.txt.rej", "a hunk\n"),
    "no file above 500 KiB": ("big.txt", "x" * 600_000 + "\n"),
    "no private keys": ("key.pem", "-----BEGIN RSA PRIVATE " + "KEY-----\n"),
    "no names that differ in case alone": ("readme.MD", "x\n"),
    "TOML parses": ("x.toml", "a = \n"),
    "YAML parses": ("x.yaml", "a: [\n"),
    "no spaces at line ends": ("spaces.txt", "a  \n"),
    "text files end in a newline": ("end.txt", "a"),
}


@pytest.fixture(scope="module")
def refusals(make_pipeline: Callable[..., Pipeline]) -> dict[str, str]:
    """Return what `make check` and `make hooks` say of all of these files."""
    pipeline = make_pipeline("commands", "3.11", examples=[])
    pipeline.write("readme.md", "x\n")
    for name, text in REFUSED_FILES.values():
        pipeline.write(name, text)
    pipeline.run("git add --all")
    said = {
        "check": sections(pipeline.run("make check", **NEITHER).stdout)["lint"],
        "hooks": pipeline.run("make hooks", **NEITHER).stdout,
    }
    pipeline.restore()
    return said


@pytest.mark.parametrize("command", ["check", "hooks"])
@pytest.mark.parametrize("hook", REFUSED_FILES)
def test_check_and_hooks_refuse_the_same_files(
    hook: str, command: str, refusals: dict[str, str]
) -> None:
    said = refusals[command].partition(f"{hook}{'.' * (73 - len(hook))}Failed")[2]

    assert REFUSED_FILES[hook][0] in re.split(r"(?m)\.{3}(?:Passed|Failed|Skipped)$", said)[0]


def test_a_commit_with_a_type_error_is_refused_offline(
    pipeline: Pipeline, without_network: list[str]
) -> None:
    pipeline.write(f"{PACKAGE}/untyped.py", TYPE_ERROR)
    pipeline.run("git add --all")

    done = pipeline.run([*without_network, "git", "commit", "-m", "defect"])

    assert done.returncode != 0
    assert "untyped.py:3: error: Incompatible types in assignment" in done.stdout


def test_a_good_commit_is_accepted_offline(pipeline: Pipeline, without_network: list[str]) -> None:
    pipeline.write(f"{PACKAGE}/extra.py", FORMATTED)
    pipeline.run("git add --all")

    done = pipeline.run([*without_network, "git", "commit", "-m", "good"])

    assert done.returncode == 0, done.stdout


def test_a_push_with_a_failing_test_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.write("tests/test_failing.py", FAILING_TEST)
    pipeline.run("git add --all")
    assert pipeline.run("git commit -m defect").returncode == 0
    assert run("git init -q --bare remote", tmp_path).returncode == 0

    done = pipeline.run(["git", "push", str(tmp_path / "remote"), "main"], **NEITHER)

    assert done.returncode != 0
    assert "1 failed" in done.stdout


@pytest.mark.parametrize("target", ["quality", "check", "hooks"])
def test_the_gates_need_no_network(
    target: str, pipeline: Pipeline, without_network: list[str]
) -> None:
    done = pipeline.run([*without_network, "make", target])

    assert done.returncode == 0, done.stdout


def test_check_refuses_a_stale_lock(pipeline: Pipeline) -> None:
    metadata = pipeline.folder / "pyproject.toml"
    metadata.write_text(metadata.read_text().replace("black==26.10.1", "black==26.10.0"))

    done = pipeline.run("make check")
    quality = pipeline.run("make quality", **NEITHER)

    assert done.returncode != 0
    assert "an up-to-date uv.lock ('make setup' brings it up to date)" in done.stdout
    assert quality.returncode == 0, quality.stdout


def test_an_environment_of_another_python_is_made_anew(pipeline: Pipeline) -> None:
    with_patch = pipeline.run(".venv/bin/python --version").stdout.split()[1]

    done = run("make typecheck", pipeline.folder, UV_PYTHON=with_patch)

    assert "Setting up the environment" in done.stdout
    assert "Setting up the environment" not in pipeline_typecheck_again(pipeline, with_patch)


def pipeline_typecheck_again(pipeline: Pipeline, python: str) -> str:
    return run("make typecheck", pipeline.folder, UV_PYTHON=python).stdout


def project_that_needs_a_wheel(render_project: Render, tag: str) -> Path:
    """Return a project with a dependency that has a wheel for something else than this machine."""
    project = render_project(examples=[], python_version=PYTHONS[0])
    make_wheel(project, "dependency", {"dependency.py": ""}, tag)
    settings = project / "pyproject.toml"
    text = settings.read_text("utf-8").replace(
        "dependencies = [\n", 'dependencies = [\n    "dependency",\n', 1
    )
    settings.write_text(text.replace("[tool.uv]\n", '[tool.uv]\nfind-links = ["."]\n'), "utf-8")
    return project


def test_a_dependency_without_a_wheel_for_a_new_python_is_told_and_which_python_to_take(
    render_project: Render,
) -> None:
    project = project_that_needs_a_wheel(render_project, "cp311-cp311-any")

    done = run("make check", project, UV_PYTHON=newest_python())

    assert done.returncode != 0
    assert "wheel" in done.stdout.partition("The environment could not be set up")[0]
    assert f"by\nUV_PYTHON={python_before(newest_python())} in the environment" in done.stdout


def test_no_python_below_the_lowest_is_named(render_project: Render) -> None:
    project = project_that_needs_a_wheel(render_project, "cp312-cp312-any")

    done = run("make check", project, UV_PYTHON=PYTHONS[0])

    assert done.returncode != 0
    assert "could not be set up" in done.stdout
    assert "may have one for" not in done.stdout


def test_the_python_of_a_file_is_taken(render_project: Render) -> None:
    project = render_project(examples=[])
    (project / ".python-version").write_text("3.9\n")

    done = run("make typecheck", project)

    assert done.returncode != 0
    assert "3.9" in done.stdout


def newest_python() -> str:
    """Return the newest Python that is here."""
    return [version for version in PYTHONS if available_python(version)][-1]


def python_before(version: str) -> str:
    """Return the version before."""
    return PYTHONS[PYTHONS.index(version) - 1]


def test_profile_shows_functions_and_awaits(pipeline: Pipeline) -> None:
    done = pipeline.run("make profile")

    assert done.returncode == 0, done.stdout
    assert "Ordered by: cumulative time" in done.stdout
    assert re.search(r"Slowest awaits:.*\n +\d+\.\d+ +\d+  \S+\.py:\d+ in ", done.stdout)


def test_coverage_writes_a_report(pipeline: Pipeline) -> None:
    done = pipeline.run("make coverage", **ONE_SCHEDULE)

    assert done.returncode == 0, done.stdout
    assert (pipeline.folder / "htmlcov" / "index.html").exists()


def test_clean_removes_what_the_targets_made(render_project: Render) -> None:
    project = render_project(examples=[])
    before = {path.relative_to(project) for path in project.rglob("*")}
    assert run("make coverage", project, **ONE_SCHEDULE).returncode == 0
    (project / "uv.lock").unlink()

    assert run("make clean", project).returncode == 0

    assert {path.relative_to(project) for path in project.rglob("*")} == before


def test_a_folder_without_git_has_its_gates_and_says_what_is_missing(
    render_project: Render,
) -> None:
    project = render_project(examples=[])

    setup = run("make setup", project)
    quality = run("make quality V=1", project, **NEITHER)
    hooks = run("make hooks", project)

    assert "No git hooks: this folder is not the root of a git repository" in setup.stdout
    assert quality.returncode == 0, quality.stdout
    assert "No file checks" in sections(quality.stdout)["lint"]
    assert hooks.returncode != 0
    assert "Hooks need a git repository" in hooks.stdout


def test_a_moved_folder_still_works(render_project: Render) -> None:
    project = render_project(examples=[])
    assert run("make lint", project).returncode == 0
    moved = project.rename(project.parent / "moved, it's here")

    done = run("make lint", moved)

    assert done.returncode == 0, done.stdout


def test_a_moved_folder_keeps_its_hooks(render_project: Render) -> None:
    project = render_project(examples=[])
    commit_all(project)
    assert run("make setup", project).returncode == 0
    moved = project.rename(project.parent / "moved")
    (moved / "extra.py").write_text(LINT_ERROR)
    run("git add --all", moved)

    assert run("make typecheck", moved).returncode == 0
    done = run("git commit -m defect", moved)

    assert done.returncode != 0
    assert "F401" in done.stdout


def test_check_works_where_temporary_files_have_a_space(pipeline: Pipeline) -> None:
    with tempfile.TemporaryDirectory(prefix="it's ") as folder:
        done = pipeline.run("make check", TMPDIR=folder, **ONE_SCHEDULE)

        assert done.returncode == 0, done.stdout
        assert list(Path(folder).glob("tmp.*")) == []  # pytest keeps its own for a while


def test_a_machine_without_uv_and_index_gets_a_sentence(
    render_project: Render, without_network: list[str]
) -> None:
    project = render_project(examples=[])
    commit_all(project)

    path = path_without_uv()
    done = run([*without_network, "make", "setup"], project, PATH=path, PIP_RETRIES="0")

    assert done.returncode != 0
    assert "uv 0.13.8 could not be installed" in done.stdout
    assert run("git status --porcelain --ignored", project).stdout == ""


def test_hooks_that_cannot_be_installed_do_not_stop_setup(render_project: Render) -> None:
    project = render_project(examples=[])
    commit_all(project)
    assert run("git config core.hooksPath elsewhere", project).returncode == 0

    done = run("make setup", project)

    assert done.returncode == 0, done.stdout
    assert "The git hooks are not installed." in done.stdout
