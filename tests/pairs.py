"""The minimal pairs of tests/matrix: their data, their files, and what each gate says about them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from tests.helpers import commit_all, read_toml, run

if TYPE_CHECKING:
    from tests.conftest import Pipeline

FOLDER = Path(__file__).parent / "matrix"

# Code that has no test of its own is at least imported.
IMPORT = '''"""The code can be imported."""

from my_async_project import {module}


def test_it() -> None:
    assert {module}.__name__
'''

# What the data cannot hold as it is: too much of it, or what the template's own hooks would find.
WORDS = {"{huge}": "x" * 600_000, "{private}": "PRIVATE"}

# What `make check` runs, with one line for a finding where a tool has an option for that.
STATIC = {
    "black": "black --check --diff --quiet .",
    "isort": "isort --check-only --diff .",
    "ruff": "ruff check --output-format=concise .",
    "ast-grep": "ast-grep scan --error=unused-suppression --report-style=short .",
    "flake8-async": "flake8-async --enable=ASYNC103,ASYNC104",
    "mypy": "mypy --no-error-summary",
    "hook": "pre-commit run --all-files --hook-stage manual",
}
GATES = [*STATIC, "pytest", "cancel"]

# The tests that pass, once more: each call is cancelled at each of its suspensions.
CANCEL = ["--cancel", "--no-cov"]
PYTEST = "pytest -p no:cacheprovider --junitxml=report.xml -o junit_family=xunit1"

# What timeout(1) returns when it had to end the command.
TIMED_OUT = 124

# A number of schedules in which every race of the matrix shows, as their settings say.
SEEDS = {"guard_seeds": "5"}


@dataclass(frozen=True, eq=False)
class Pair:
    """A defect, its corrected twin, and the gate that tells them apart."""

    key: str
    title: str  # of the class of defects
    name: str
    gate: str
    rule: str
    message: str
    remedy: str
    defect: str
    twin: str
    line: str = ""  # of the configuration, if it is not named like the rule
    at: str = ""  # of the line that the message must name
    file: str = "src"
    twin_file: str = ""  # where the name of the file is the defect
    test: str = ""
    named_in: str = (
        "code"  # where `at` is: in the "code" or its "test"; or "message", if no file is named
    )
    also: list[str] = field(default_factory=list)  # gates that stop the defect too
    run: str = "together"  # with other pairs; "alone"; or "coverage": alone, with all other tests
    settings: dict[str, str] = field(default_factory=dict)  # of pytest.ini, by which it shows

    def __str__(self) -> str:
        """Return the id of the pair's tests."""
        return f"{self.key}-{self.name.replace(' ', '_')}"

    def path(self, side: str) -> str:
        """Return where in a project the code of a side goes."""
        file = self.twin_file if side == "twin" and self.twin_file else self.file
        places = {
            "src": f"src/my_async_project/{self.key}.py",
            "tests": f"tests/test_{self.key}.py",
        }
        return places.get(file, file)

    def files(self, side: str) -> dict[str, str]:
        """Return the text of each file of a side by its path."""
        files = {self.path(side): self.defect if side == "defect" else self.twin}
        if self.file == "src":
            files[f"tests/test_{self.key}.py"] = self.test or IMPORT
        for word, value in {"{module}": self.key, **WORDS}.items():
            files = {path: text.replace(word, value) for path, text in files.items()}
        return files

    @property
    def tests(self) -> list[str]:
        """Return the files of its tests."""
        return [file for file in self.files("defect") if file.startswith("tests/")]

    def is_named_in(self, text: str) -> bool:
        """Return whether a message names the file and the line of the defect.

        Formatters show the line, coverage lists its number, tools and tracebacks name its place.
        """
        if self.named_in == "message":
            return self.message in text
        files = self.files("defect")
        path = self.path("defect") if self.named_in == "code" else list(files)[-1]
        lines = files[path].splitlines()
        path = re.escape(path)
        number = next(n for n, line in enumerate(lines, 1) if self.at in line)
        if self.gate in {"pytest", "cancel"} and not self.at:
            return any(file in text for file in files)
        place = rf"{path}(:|.*\bline | +\d.*\b){number}\b" if self.at else path
        if self.gate in {"black", "isort"}:
            place = rf"(?s){path}.*\n-{re.escape(lines[number - 1])}\n"
        return re.search(place, text) is not None


@dataclass(frozen=True)
class Hit:
    """What a gate says about a file."""

    gate: str
    file: str
    text: str


def load_pairs() -> list[Pair]:
    """Return all pairs in their order. A key is the letter of the class and a number."""
    return [
        Pair(key=f"{file.name[0]}{number:02}", title=data["title"], **pair)
        for file in sorted(FOLDER.glob("?_*.toml"))
        for data in [read_toml(file)]
        for number, pair in enumerate(data["pair"], 1)
    ]


PAIRS = load_pairs()
PAIRS_OF_PYTEST = [pair for pair in PAIRS if {"pytest", "cancel"} & {pair.gate, *pair.also}]


class Matrix:
    """A project of the pairs' own, and what the gates say about the pairs."""

    def __init__(
        self, make_pipeline: "Callable[..., Pipeline]", pairs: Sequence[Pair], python: str
    ) -> None:
        """Take the function that makes the project, which is made when it is needed."""
        self._make_pipeline = make_pipeline
        self._pairs = pairs
        self._python = python
        self._together = cache(self._all_hits)
        self._tested = cache(self._all_hits_of_pytest)
        self._alone = cache(self._hits_alone)
        self._covered = cache(self._hits_of_coverage)

    @cached_property
    def project(self) -> "Pipeline":
        """Return a project without examples and pairs that depends on the HTTP clients."""
        name = f"matrix-{self._python}"
        project = self._make_pipeline(name, self._python, examples=[], coverage_threshold="100")
        for command in ["uv add -q aiohttp httpx2", "make setup"]:
            assert project.run(command).returncode == 0
        commit_all(project.folder)
        assert project.run("git tag --force start").returncode == 0
        return project

    def hits(self, pair: Pair, side: str) -> list[Hit]:
        """Return what the gates say about a side of a pair."""
        hits = [hit for hit in self._together(side) if hit.file in {*pair.files(side), pair.rule}]
        if pair.run == "coverage" and side == "twin":
            return hits + self._covered(side)
        return hits if pair.run == "together" else hits + self._alone(side, pair)

    def hits_of_pytest(self, pair: Pair, side: str) -> list[Hit]:
        """Return what pytest says about a side of a pair of its own.

        Those of coverage share a run here: each is told by its line, as `hits` shows of it alone.
        """
        if pair.run == "coverage":
            return self._covered(side)
        if pair.run != "together":
            return self._alone(side, pair)
        return [hit for hit in self._tested(side) if hit.file in pair.files(side)]

    def _all_hits(self, side: str) -> list[Hit]:
        """Return what the gates say about a side of all pairs, each gate in one run."""
        for pair in self._pairs:
            write(self.project, pair.files(side))
        hits = [hit for gate in STATIC for hit in run_gate(self.project, gate)]
        # What is sound passes in every schedule that shows a race.
        hits += self._hits_of_runs(side, self._pairs, SEEDS if side == "twin" else {})
        self.project.restore()
        return hits

    def _all_hits_of_pytest(self, side: str) -> list[Hit]:
        """Return what pytest says about a side of all its pairs."""
        pairs = [pair for pair in self._pairs if pair in PAIRS_OF_PYTEST and pair.run == "together"]
        for pair in pairs:
            write(self.project, pair.files(side))
        hits = self._hits_of_runs(side, pairs, {})
        self.project.restore()
        return hits

    def _hits_of_runs(
        self, side: str, pairs: Sequence[Pair], settings: Mapping[str, str]
    ) -> list[Hit]:
        """Return what pytest says about a side of pairs that are there: a run for each of their settings."""
        runs: dict[tuple[tuple[str, str], ...], list[str]] = {}
        for pair in pairs:
            if pair.run == "together":
                tests = [file for file in pair.files(side) if file.startswith("tests/")]
                own = {**pair.settings, **settings}
                runs.setdefault(tuple(own.items()), []).extend(tests)
        hits = [
            hit
            for own, tests in runs.items()
            for hit in run_pytest(self.project, dict(own), "--no-cov", *tests)
        ]
        if tests := cancelled(side, pairs):
            hits += run_pytest(self.project, {}, *CANCEL, *tests, gate="cancel")
        return hits

    def _hits_alone(self, side: str, pair: Pair) -> list[Hit]:
        """Return what pytest says about a side of a pair in a process of its own."""
        write(self.project, pair.files(side))
        chosen = [] if pair.run == "coverage" else ["--no-cov", *pair.tests]
        found = run_pytest(self.project, pair.settings, *chosen)
        self.project.restore()
        return [Hit("pytest", pair.path(side), hit.text) for hit in found]

    def _hits_of_coverage(self, side: str) -> list[Hit]:
        """Return what pytest says about a side of the pairs that all tests together show, in one run."""
        for pair in self._pairs:
            if pair.run == "coverage":
                write(self.project, pair.files(side))
        hits = run_pytest(self.project, {})
        self.project.restore()
        return hits


def write(project: "Pipeline", files: Mapping[str, str]) -> None:
    """Write files into a project, none of which is there yet."""
    for path, text in files.items():
        assert not (project.folder / path).exists(), path
        (project.folder / path).parent.mkdir(parents=True, exist_ok=True)
        project.write(path, text)


def run_gate(
    project: "Pipeline", gate: str, command: str = "", files: Sequence[str] = ()
) -> list[Hit]:
    """Return what a gate says about a project, or about some of its files."""
    assert project.run("git add --all").returncode == 0
    words = f".venv/bin/{command or STATIC[gate]}".split()
    if gate == "flake8-async":
        choice = [".venv/bin/python", "-P", "tests/guard/changed.py", "--holding"]
        words = [*choice, handlers(project.folder), gate, *words, "--"]
        files = files or run("git ls-files *.py", project.folder).stdout.split()
    elif files:
        words = [word for word in words if word != "."]
    output = project.run([*words, *files]).stdout
    parse = {"black": _diffs, "isort": _diffs, "hook": _blocks}.get(gate, _lines)
    return [Hit(gate, file, text) for file, text in parse(output, project.folder)]


def handlers(folder: Path) -> str:
    """Return the expression by which `make lint` chooses files of a project for flake8-async."""
    found = re.search(r"(?m)^HANDLERS := (.+)$", (folder / "tooling.mk").read_text())
    assert found
    return found[1].replace("$$", "$")


def cancelled(side: str, pairs: Iterable[Pair]) -> list[str]:
    """Return the tests whose calls are cancelled: of all twins, and of the defects that show by it."""
    chosen = [pair for pair in pairs if pair.run == "together"]
    if side == "defect":
        chosen = [pair for pair in chosen if pair.gate == "cancel"]
    return [file for pair in chosen for file in pair.files(side) if file.startswith("tests/")]


def run_pytest(
    project: "Pipeline",
    settings: Mapping[str, str],
    *arguments: str,
    seconds: int = 0,
    gate: str = "pytest",
) -> list[Hit]:
    """Return what pytest says about a project: for each test that fails, or else in one hit.

    A run that has not ended by itself after so many seconds has nothing to say; 0 waits for ever.
    """
    ini = project.folder / "pytest.ini"
    original = ini.read_text()
    for name, value in settings.items():
        ini.write_text(re.sub(rf"(?m)^{name} = .*", f"{name} = {value}", ini.read_text()))
    report = project.folder / "report.xml"
    report.unlink(missing_ok=True)
    seed = [] if "no:randomly" in arguments else ["--randomly-seed=1"]
    command = ["timeout", f"{seconds}", *f".venv/bin/{PYTEST}".split(), *seed, *arguments]
    done = project.run([*command, "--continue-on-collection-errors"])
    ini.write_text(original)
    if done.returncode == TIMED_OUT:
        return []
    assert report.exists(), done.stdout
    results = ET.parse(report).getroot()  # noqa: S314 - what pytest wrote
    hits = [Hit(gate, file, text) for file, text in _cases(results)]
    return hits or [Hit(gate, "", done.stdout)] * (done.returncode != 0)


def _lines(output: str, _: Path) -> Iterator[tuple[str, str]]:
    """Yield each line that starts with a place, together with the notes that follow it."""
    for found in re.finditer(
        r"(?m)^([^\s:]+):\d+:(?!\d*:? ?(?:note|help)).*(?:\n\S+: note: .*)*", output
    ):
        yield found[1], found[0]


def _diffs(output: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each difference with its file."""
    for text in re.split(r"(?m)^--- ", output)[1:]:
        file = re.split(r":before|\t", text)[0].removeprefix(f"{folder}/")
        yield file, f"{file} {text}"


def _blocks(output: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what a hook printed for each file that it names."""
    block = r"(?ms)^\S[^\n]*\.{3}Failed\n.*?(?=^\S[^\n]*\.{3}(?:Passed|Failed|Skipped)\n|\Z)"
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    for text in re.findall(block, output):
        words = set(re.findall(r"[\w./-]+", text))
        for file in files & words or words & {"house-rules-tests"}:
            yield file, text


def _cases(report: ET.Element) -> Iterator[tuple[str, str]]:
    """Yield the report of each test that fails, and of each file that cannot be collected."""
    for case in report.iter("testcase"):
        for result in [*case.findall("failure"), *case.findall("error")]:
            name = f"{case.get('name')}".replace(".", "/") + ".py"
            file = case.get("file") or name
            yield file, f"{file}::{case.get('name')}\n{result.get('message')}\n{result.text}"
