"""What a person waits for, many times a day: each as a ratio of two times within one run.

Writes docs/benchmarks.md and its chart, with the machine, and says which figures are worse than those that were there by more
than the noise. Another template's own checks are measured beside, if PEERS names a folder that has it.
"""

import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import copier

from benchmarks import charts

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/benchmarks.md"
ROUNDS = 3
PYTHONS = ["3.11", "3.14"]
PEER = "simple-modern-uv"

# The same tests in one process, without coverage, schedules and guard.
BARE = (
    ".venv/bin/pytest -q -p no:tests.guard.plugin -p no:randomly --no-cov -o strict_config=false "
    "-W ignore::pytest.PytestConfigWarning"
)

# The tools of the hooks, run by hand on one file.
BY_HAND = (
    "set -e; black {0}; isort {0}; ruff check {0}; ast-grep scan --error=unused-suppression {0}; "
    "flake8-async --enable=ASYNC103,ASYNC104 {0}; mypy; check-merge-conflict --assume-in-merge {0}; "
    "check-added-large-files --enforce-all {0}; detect-private-key {0}; check-case-conflict {0}"
)

MODULE = '"""A module."""\n\nimport asyncio\n\n\nasync def nap(seconds: float) -> float:\n' + (
    '    """Sleep, and return how long."""\n    await asyncio.sleep(seconds)\n    return seconds\n'
)


@dataclass(frozen=True)
class Figure:
    """A ratio, the most that it may be, and how much it differed between rounds, as a share."""

    name: str
    value: float
    limit: float
    noise: float

    @property
    def line(self) -> str:
        """The row of the table."""
        verdict = "" if self.value <= self.limit else " **too much**"
        return f"| {self.name} | {self.value:.2f} | {self.limit:.2f}{verdict} | {self.noise:.0%} |"


def main() -> int:
    """Measure, print and write the figures; return 1 if one is worse than before, else 0."""
    before = {name: float(value) for name, value in written()}
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as temporary:
        template = Path(temporary, "template")
        sh(f"git clone --quiet {ROOT} {template}", Path(temporary))
        for figure in measure(template, Path(temporary)):
            figures.append(figure)
            print(figure.line, flush=True)
    worse = [
        figure.name
        for figure in figures
        if figure.value > before.get(figure.name, figure.value) * (1 + max(figure.noise, 0.1))
    ]
    PAGE.write_text(page(figures), encoding="utf-8")
    charts.main()
    print(f"Worse than before, by more than the noise: {'; '.join(worse) or 'none'}")
    return int(bool(worse))


def measure(template: Path, folder: Path) -> Iterator[Figure]:
    """Yield the figures of projects that are made in a folder."""
    for python in PYTHONS:
        clients = Project(template, folder / f"clients-{python}", python, examples=["clients"])
        skeleton = Project(template, folder / f"skeleton-{python}", python, examples=[])
        limit = 1.6 if python == "3.11" else 1.3
        yield compare(
            f"`make test` over the same tests run bare, `clients`, {python}",
            limit,
            partial(clients.seconds, "make test"),
            partial(clients.seconds, BARE),
        )
        yield compare(
            f"`make check` over its slowest stage, warm, `clients`, {python}",
            1.15,
            partial(clients.seconds, "make check"),
            partial(clients.seconds, "make test"),
        )
        yield compare(
            f"`make check` again over the first time on a checkout, `clients`, {python}",
            0.6,
            partial(clients.seconds, "make check"),
            partial(first_check, clients),
        )
        yield compare(
            f"a commit of one file over the same tools by hand, skeleton, {python}",
            1.5,
            skeleton.seconds_of_commit,
            partial(skeleton.seconds, f"bash -c '{BY_HAND.format(skeleton.file)}'"),
        )
        yield from against_peer(skeleton, folder, python)
    for number in [100, 1000]:
        large = Project(template, folder / f"large-{number}", PYTHONS[0], examples=[])
        large.grow(number)
        yield compare(
            f"`make check` of {number} modules, one file changed over nothing changed",
            1.3,
            large.seconds_of_check_after_a_change,
            partial(large.seconds, "make check"),
        )


class Project:
    """A project that is measured."""

    file = "src/my_async_project/module_0.py"

    def __init__(self, template: Path, folder: Path, python: str, examples: list[str]) -> None:
        """Make it, with its environment and a first commit."""
        self.folder = folder
        self.python = python
        # No test calls what it grows by.
        answers = {"examples": examples, "coverage_threshold": "0"}
        copier.run_copy(str(template), folder, answers, vcs_ref="HEAD", defaults=True, quiet=True)
        sh("git init --quiet", folder)
        self.seconds("make setup")
        self.grow(1)
        self.seconds("make check")

    def seconds(self, command: str) -> float:
        """Return how long a command takes. Raise CalledProcessError if it fails."""
        start = time.perf_counter()
        sh(command, self.folder, UV_PYTHON=self.python)
        return time.perf_counter() - start

    def grow(self, number: int) -> None:
        """Have so many modules more, and a test that imports them; commit."""
        package = self.folder / "src/my_async_project"
        for each in range(number):
            (package / f"module_{each}.py").write_text(MODULE)
        test = '"""Modules."""\n\nimport importlib\n\n\ndef test_they_can_be_imported() -> None:\n'
        test += f'    for number in range({number}):\n        name = f"my_async_project.module_'
        test += '{number}"\n        assert importlib.import_module(name).nap\n'
        (self.folder / "tests/test_modules.py").write_text(test)
        sh("git add --all", self.folder)
        sh("git commit --quiet --no-verify --message=modules", self.folder)

    def change(self) -> None:
        """Change a file, other than before."""
        file = self.folder / self.file
        file.write_text(f'{MODULE}\n\nNUMBER = "{time.time_ns()}"\n')

    def seconds_of_commit(self) -> float:
        """Return how long a commit of one file takes."""
        self.change()
        sh("git add --all", self.folder)
        return self.seconds("git commit --quiet --message=change")

    def seconds_of_check_after_a_change(self) -> float:
        """Return how long the gates take after a change of one file."""
        self.change()
        return self.seconds("make check")


def first_check(project: Project) -> float:
    """Return how long `make check` takes in a new clone with its environment."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        sh(f"git clone --quiet {project.folder} {clone}", Path(folder))
        sh("make setup", clone, UV_PYTHON=project.python)
        start = time.perf_counter()
        sh("make check", clone, UV_PYTHON=project.python)
        return time.perf_counter() - start


def against_peer(skeleton: Project, folder: Path, python: str) -> Iterator[Figure]:
    """Yield the figure beside the other template's own checks, if it is here."""
    peer = Path(os.environ.get("PEERS", ""), PEER)
    if "PEERS" not in os.environ or not peer.exists():
        print(f"Not measured beside {PEER}: PEERS names no folder that has it.")
        return
    project = folder / f"peer-{python}"
    copier.run_copy(str(peer), project, defaults=True, quiet=True, unsafe=True)
    sh("git init --quiet && git add --all && git commit --quiet -m first", project)
    sh("make install", project, UV_PYTHON=python)

    def checks() -> float:
        start = time.perf_counter()
        sh("make lint && make test", project, UV_PYTHON=python)
        return time.perf_counter() - start

    checks()
    yield compare(
        f"`make check` of a skeleton over {PEER}'s own checks, {python}",
        1.0,
        partial(skeleton.seconds, "make check"),
        checks,
    )


def compare(
    name: str, limit: float, one: Callable[[], float], other: Callable[[], float]
) -> Figure:
    """Return the ratio of the medians of two ways, which take turns."""
    pairs = [(one(), other()) for _ in range(ROUNDS)]
    ratios = [first / second for first, second in pairs]
    value = statistics.median(a for a, _ in pairs) / statistics.median(b for _, b in pairs)
    return Figure(name, value, limit, max(ratios) / min(ratios) - 1)


def written() -> Iterator[tuple[str, str]]:
    """Yield name and value of each figure on the page."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    yield from re.findall(r"(?m)^\| (.+?) \| ([\d.]+) \|", text)


def page(figures: list[Figure]) -> str:
    """Return the page with the figures."""
    model = re.search(r"(?m)^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text())
    machine = f"{os.cpu_count()} processors ({model[1] if model else platform.machine()})"
    return "\n".join(
        [
            "# What a person waits for",
            "",
            "Written by `make bench`: each figure is a ratio of two times, which took turns in one run.",
            f"The noise is how much it differed between {ROUNDS} rounds. {platform.system()}, {machine}, "
            f"{datetime.now(UTC):%Y-%m-%d}.",
            "",
            "![the ratios of the table, each as a bar beside its limit](benchmarks.svg)",
            "",
            "| what | ratio | limit | noise |",
            "|---|---|---|---|",
            *[figure.line for figure in figures],
            "",
        ]
    )


def sh(command: str, folder: Path, **variables: str) -> None:
    """Run a command in a folder; raise CalledProcessError, with what it said, if it fails."""
    # Bytecode is kept, as it is for people. Else each start compiles what it imports, which hides the rest.
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**kept, "PATH": f"{folder}/.venv/bin:{kept['PATH']}", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout)
        done.check_returncode()


if __name__ == "__main__":
    sys.exit(main())
