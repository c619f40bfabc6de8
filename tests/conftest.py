"""Fixtures: the template as a commit, and projects that are rendered from it."""

import gc
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType
from typing import Any
from unittest.mock import patch

import pytest
from copier import _template, _vcs
from copier._main import Worker
from copier._types import AnyByStrDict
from jinja2 import Environment
from jinja2.lexer import get_lexer

from tests.helpers import (
    EXAMPLES,
    PYTHONS,
    ROOT,
    available_python,
    commit_all,
    numbers,
    pythons_of,
    render,
    run,
)
from tests.pairs import PAIRS, Matrix

Render = Callable[..., Path]


# Thousands of tests are imported and collected first, in which there is hardly any garbage.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Look for garbage from here on, but not in all that was collected: that took a fifth of the time."""
    gc.enable()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of an xdist group together: they share what takes long to make.

    xdist 3.8 means to do that, but changes what pytest 9.2 no longer reads (pytest-xdist issue 1386).
    """
    for item in items:
        for mark in item.iter_markers("xdist_group"):
            item._id = type(item._id).parse(f"{item.nodeid}@{mark.args[0]}")


@pytest.fixture(scope="session", autouse=True)
def shared_cache_of_mypy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let projects share what mypy knows of packages, which it checks by their content.

    So do those that the tests make whose own tests run here.
    """
    cache = os.environ.get("MYPY_CACHE_DIR") or str(tmp_path_factory.mktemp("mypy"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYPY_CACHE_DIR", cache)
        yield


@pytest.fixture(scope="session", autouse=True)
def nothing_is_read_twice() -> Iterator[None]:
    """Spare copies most of their time.

    For each copy, Copier clones the template, reads the questions and compiles each part of each path anew,
    and asks git for a setting per file.
    """
    # What Jinja makes of a text depends on the text, its name and the settings of the environment.
    codes: dict[tuple[object, ...], CodeType] = {}
    compile_ = Environment.compile

    def compile_once(
        environment: Environment, source: str, name: str | None = None, file: str | None = None
    ) -> CodeType:
        settings = (type(environment), get_lexer(environment), *environment.extensions)
        key = (source, name, settings)
        if key not in codes:
            codes[key] = compile_(environment, source, name, file)
        return codes[key]

    # All that a text might ask for is gathered for each, and most parts of paths ask for nothing.
    render_string = Worker._render_string

    def render_what_asks(
        worker: Worker, string: str, extra_context: AnyByStrDict | None = None
    ) -> str:
        return render_string(worker, string, extra_context) if "{" in string else string

    render_name_of_answers = vars(Worker)["answers_relpath"].fget

    def name_of_answers(worker: Worker) -> Path:
        name = f"{worker.answers_file or worker.template.answers_relpath}"
        return Path(render_name_of_answers(worker) if "{" in name else name)

    configs: dict[str, AnyByStrDict] = {}
    load = _template.load_template_config

    def load_once(file: Path, quiet: bool = False) -> AnyByStrDict:
        text = file.read_text("utf-8")
        if text not in configs:
            configs[text] = load(file, quiet)
        return deepcopy(configs[text])

    # By what is cloned, and not by where: each update has a clone of its own.
    kept = TemporaryDirectory()
    clones: dict[tuple[str, str], str] = {}
    clone = _vcs.clone

    def clone_once(url: str, ref: str, location: str) -> str:
        state = run("git show-ref --head", Path(url)) if Path(url, ".git").is_dir() else None
        if state is None or run("git status --porcelain", Path(url)).stdout:
            return clone(url, ref, location)
        key = (ref, state.stdout)
        if key not in clones:
            clones[key] = clone(url, ref, f"{kept.name}/{len(clones)}")
        return clones[key]

    with (
        kept,
        patch.object(_template, "clone", clone_once),
        patch.object(Environment, "compile", compile_once),
        patch.object(_template, "load_template_config", load_once),
        patch.object(Worker, "_render_string", render_what_asks),
        patch.object(Worker, "answers_relpath", property(name_of_answers)),
        patch.object(Worker, "_sync_git_index_executable_bit", autospec=True),
    ):
        yield


# What a test records that passed the gates of a project: the Python that it ran on, such as "3.11.7".
RAN_ON = "a project passed its gates on"

# Where a run of all tests writes that down: the value of this variable.
RECORD = "PYTHONS_RUN"


class RecordOfPythons:
    """Writes down on which Pythons projects passed their gates, and fails if one that is offered is missing."""

    def __init__(self, file: Path) -> None:
        """Take the file to write."""
        self._file = file
        self._passed: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of a project that passed its gates."""
        if report.when == "call" and report.passed:
            self._passed.update(
                str(value) for name, value in report.user_properties if name == RAN_ON
            )

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the record."""
        lines = [
            f'"{version}" = {number}\n'
            for version, number in sorted(self._passed.items(), key=lambda item: numbers(item[0]))
        ]
        first = "# On how many projects `make quality` passed, by Python: written by the last .ci/run.\n"
        self._file.write_text(first + "".join(lines), encoding="utf-8")
        if pythons_of(self._passed) != PYTHONS:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which Pythons are offered and were not run."""
        for version in sorted(set(PYTHONS) - set(pythons_of(self._passed))):
            terminalreporter.write_line(f"FAILED: no project passed its gates on Python {version}")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the record where one is asked for: in the process that hears of all tests."""
    if RECORD in os.environ and not hasattr(config, "workerinput"):
        config.pluginmanager.register(RecordOfPythons(Path(os.environ[RECORD])))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository whose HEAD is the template as it is now, changes not committed included."""
    folder = tmp_path_factory.mktemp("template") / "copier-async"
    listing = run("git ls-files -z --cached --others --exclude-standard", ROOT).stdout
    for name in listing.rstrip("\0").split("\0"):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    commit_all(folder)
    return folder


@pytest.fixture(scope="session")
def small_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the template without what is copied as it is, quick enough to render often.

    `test_free_text_reaches_no_code_and_no_ci_file` shows that nothing of interest is missing.
    """
    folder = tmp_path_factory.mktemp("small") / "copier-async"
    shutil.copytree(template, folder, ignore=shutil.ignore_patterns(".git", "tests", "docs"))
    for file in (folder / "template").rglob("*"):
        is_needed = file.suffix == ".jinja" or file.name in {"tooling.mk", "__init__.py"}
        if file.is_file() and not is_needed:
            file.unlink()
    commit_all(folder)
    return folder


@pytest.fixture
def render_project(template: Path, tmp_path: Path) -> Render:
    """Return a function that renders a project of some answers and returns its folder."""
    return partial(render, template, tmp_path / "project")


@pytest.fixture
def render_small(small_template: Path, tmp_path: Path) -> Render:
    """Return a function that does the same with the small template."""
    return partial(render, small_template, tmp_path / "project")


@pytest.fixture(scope="session")
def full_project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with every example. Tests read it and change nothing."""
    return render(template, tmp_path_factory.mktemp("full") / "project", examples=EXAMPLES)


@dataclass(frozen=True)
class Pipeline:
    """A project with its environment and a first commit, for tests that run its commands."""

    folder: Path
    python: str

    def run(self, command: str | list[str], **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in the project on its Python."""
        return run(command, self.folder, UV_PYTHON=self.python, **variables)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project and return its path."""
        file = self.folder / name
        file.write_text(text, encoding="utf-8")
        return file

    def restore(self) -> None:
        """Undo what a test did, but keep the environment."""
        for command in ["git reset -q --hard start", "git clean -q -fd"]:
            done = self.run(command)
            assert done.returncode == 0, done.stdout


@pytest.fixture(scope="session")
def make_pipeline(
    template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Pipeline]:
    """Return a function that gives the pipeline of a name, made once, skipping for want of its Python."""
    made: dict[str, Pipeline] = {}

    def make(name: str, python: str, **answers: Any) -> Pipeline:  # noqa: ANN401 - any answer
        if not available_python(python):
            pytest.skip(f"there is no Python {python} here")
        if name not in made:
            folder = render(template, tmp_path_factory.mktemp(name) / "project", **answers)
            made[name] = Pipeline(folder, python)
            commit_all(folder)
            done = made[name].run("make setup")
            assert done.returncode == 0, done.stdout
            commit_all(folder)
            assert made[name].run("git tag start").returncode == 0
        return made[name]

    return make


@pytest.fixture(scope="session")
def make_matrix(
    make_pipeline: Callable[..., Pipeline], request: pytest.FixtureRequest
) -> Callable[[str], Matrix]:
    """Return a function that gives what the gates say about the minimal pairs on a Python.

    Where a few pairs are chosen, as by `make test T=`, the gates run on these alone.
    """
    asking = [i for i in request.session.items if "make_matrix" in getattr(i, "fixturenames", [])]
    callspecs = [getattr(item, "callspec", None) for item in asking]
    chosen = {callspec.params.get("pair") if callspec else None for callspec in callspecs}
    pairs = PAIRS if None in chosen else [pair for pair in PAIRS if pair in chosen]
    return cache(partial(Matrix, make_pipeline, pairs))


@pytest.fixture(scope="session")
def matrix(make_matrix: Callable[[str], Matrix]) -> Matrix:
    """Return what the gates say about the minimal pairs on the oldest Python."""
    return make_matrix(PYTHONS[0])


@pytest.fixture
def pipeline(make_pipeline: Callable[..., Pipeline]) -> Iterator[Pipeline]:
    """Return the pipeline of a skeleton, restored after each test."""
    pipeline = make_pipeline("commands", "3.11", examples=[])
    yield pipeline
    pipeline.restore()


def in_the_group_of(python: str) -> pytest.MarkDecorator:
    """Return the mark of tests that share a process, and so what mypy knows of packages on a Python."""
    return pytest.mark.xdist_group(f"on {python}")


# The gates of the oldest have many tests of their own.
EACH_PYTHON = [
    pytest.param(
        python, marks=in_the_group_of(python) if number else pytest.mark.xdist_group("matrix")
    )
    for number, python in enumerate(PYTHONS)
]


@pytest.fixture(params=EACH_PYTHON)
def on_each_python(
    request: pytest.FixtureRequest, make_matrix: Callable[[str], Matrix]
) -> Iterator[Pipeline]:
    """Return a project without examples on each Python in turn, restored after each test."""
    pipeline = make_matrix(request.param).project
    yield pipeline
    pipeline.restore()


@pytest.fixture(params=EACH_PYTHON[1:])
def matrix_on_newer_pythons(
    request: pytest.FixtureRequest, make_matrix: Callable[[str], Matrix]
) -> Matrix:
    """Return what the gates say about the minimal pairs on each Python but the oldest."""
    return make_matrix(request.param)


# Brings up the loopback interface of a new network namespace, as `ip link set lo up` does where there
# is an `ip`: sets the flag IFF_UP by the ioctl SIOCSIFFLAGS, see netdevice(7). Then runs the command.
RUN_WITH_LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as interface:
    fcntl.ioctl(interface, 0x8914, struct.pack("16sH14s", b"lo", 1, b""))
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="session")
def without_network() -> list[str]:
    """Return the words before a command that leave it nothing but loopback."""
    words = ["unshare", "-rn", "python3", "-c", RUN_WITH_LOOPBACK]
    if run([*words, "true"], Path.cwd()).returncode:
        pytest.skip("this machine lets nobody cut off the network (unshare -rn)")
    return words
