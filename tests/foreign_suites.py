"""Runs the test suites of other people's packages under the guard, and what fails there without it, too.

`python -m tests.foreign_suites NAME...` shows what is new under the guard; without a name, of all.
"""

import configparser
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from tests.helpers import PYTHONS, ROOT, read_toml, render, run

TABLE = ROOT / "tests/foreign_suites.toml"
PYTHON = PYTHONS[0]

# What of a project's tools takes part: no other plugin may change what a suite does.
PLUGINS = ["pytest", "pytest-asyncio", "pytest-timeout"]

# What uv says where no index answers.
UNREACHABLE = "error sending request"

# Seconds: for one test, for a suite that hangs as a whole, and for its source distribution.
TEST_LIMIT = 60
SUITE_LIMIT = 300
DOWNLOAD_LIMIT = 60

# A line that the guard writes: a check, a colon, a sentence.
FINDING = r"(?m)^((?:[a-z]+-[a-z]+|environment): .+)$"

# In the name of a test, the schedule that it ran in.
SCHEDULE = r"(?<=\[)(?:fifo|seed\d+)(?:-|(?=\]))|-(?:fifo|seed\d+)(?=[\]-])"

# What pytest returns where all tests passed, and where some failed.
FINISHED = {0, 1}


class UnreachableError(Exception):
    """No package index answers."""


@dataclass(frozen=True, order=True)
class Failure:
    """What failed a test: a finding of the guard, or else what pytest says."""

    test: str  # its id, without the schedule
    finding: str


@dataclass(frozen=True)
class Verdict:
    """What a person says of some new failures of a suite."""

    tests: str  # ids of tests, where * stands for anything
    finding: str  # a part of it
    verdict: str
    why: str

    def covers(self, failure: Failure) -> bool:
        """Return whether a failure is one that it is about."""
        pattern = re.escape(self.tests).replace(r"\*", ".*")
        return bool(re.fullmatch(pattern, failure.test)) and self.finding in failure.finding


@dataclass(frozen=True)
class Suite:
    """The tests of a package, as the table has them."""

    name: str
    version: str
    passes: int  # tests that pass without the guard
    extras: list[str] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    tests: str = "tests"  # a folder or a file
    config: str = "pyproject.toml"  # what has its settings of pytest
    settings: dict[str, str] = field(default_factory=dict)  # of pytest, before those
    options: list[str] = field(default_factory=list)  # of pytest
    left_out: list[dict[str, Any]] = field(default_factory=list)
    verdict: list[Verdict] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the id of the suite's tests."""
        return self.name

    @property
    def requirement(self) -> str:
        """Return how a list of dependencies names the package."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        return f"{self.name}{extras}=={self.version}"

    @property
    def config_name(self) -> str:
        """Return what the file with its settings is called in a project."""
        return f"suite{Path(self.config).suffix}"

    def judge(self, failure: Failure) -> list[Verdict]:
        """Return the verdicts on a failure."""
        return [verdict for verdict in self.verdict if verdict.covers(failure)]

    def unused_verdicts(self, failures: list[Failure]) -> list[Verdict]:
        """Return the verdicts that are on none of these failures."""
        return [verdict for verdict in self.verdict if not any(map(verdict.covers, failures))]

    def is_as_judged(self, failures: list[Failure]) -> bool:
        """Return whether a verdict is on each failure, and a failure under each verdict."""
        return all(map(self.judge, failures)) and not self.unused_verdicts(failures)


@dataclass(frozen=True)
class Outcome:
    """How a suite ran with the guard and, where that failed something, without it.

    What depends on how busy the machine is shows in some runs alone: `new` is in all,
    `seen` in any.
    """

    passed: int  # either way
    failed: list[Failure]  # without it, too
    new: list[Failure]
    seen: list[Failure]


def load_suites() -> list[Suite]:
    """Return all suites of the table."""
    return [
        Suite(**{**data, "verdict": [Verdict(**each) for each in data.get("verdict", [])]})
        for data in read_toml(TABLE)["suite"]
    ]


def run_suite(suite: Suite, project: Path) -> Outcome:
    """Run a suite in a rendered project, whose code and tests it replaces.

    Raises:
        UnreachableError: No package index answers.
    """
    make_project(suite, project)
    guarded = run_tests(suite, project, guard=True)
    # The files as a whole: single tests may rely on those before them.
    files = sorted({f"{case.get('file', 'tests')}" for case in guarded if failures_of([case])})
    plain = run_tests(suite, project, files, guard=False) if files else []
    failed = failures_of(plain)
    known = {failure.test for failure in failed}
    new = seen = failures_of(guarded, known)
    if not suite.is_as_judged(new):
        again = failures_of(run_tests(suite, project, guard=True), known)
        new, seen = [each for each in new if each in again], [*new, *again]
    return Outcome(
        passed=len({name_of(case) for case in [*guarded, *plain] if has_passed(case)}),
        failed=failed,
        new=new,
        seen=seen,
    )


def make_project(suite: Suite, project: Path) -> None:
    """Put a package and its tests into a rendered project, and make the environment for them.

    Raises:
        UnreachableError: No package index answers.
    """
    tools = read_toml(project / "pyproject.toml")["dependency-groups"]["tooling"]
    pins = [pin for pin in tools if pin.partition("==")[0] in PLUGINS]
    uv(project, "venv", "--quiet", f"--python={PYTHON}")
    install(project, suite.requirement, *suite.needs, *pins)
    # As released: with what its build writes, and the metadata that some of them read.
    shutil.rmtree(project / "src")
    install(project, "--no-deps", "--target=src", f"{suite.name}=={suite.version}")
    declare(suite, project / "pyproject.toml")
    sdist = unpack(suite, project / "sdist")
    shutil.copy(sdist / suite.config, project / suite.config_name)
    replace_tests(project / "tests", sdist / suite.tests)


def declare(suite: Suite, file: Path) -> None:
    """Name a package as what the project depends on: the guard tells its own needs from tools."""
    text = file.read_text(encoding="utf-8")
    start = "dependencies = [\n"
    assert start in text
    file.write_text(text.replace(start, f'{start}    "{suite.requirement}",\n', 1), "utf-8")


def replace_tests(folder: Path, source: Path) -> None:
    """Put other tests in the place of a project's, and keep the guard that is among them."""
    guard = (folder / "guard").rename(folder.parent / "guard")
    shutil.rmtree(folder)
    if source.is_dir():
        shutil.copytree(source, folder)
    else:
        folder.mkdir()
        shutil.copy(source, folder)
    (folder / "__init__.py").touch()
    guard.rename(folder / "guard")


def unpack(suite: Suite, folder: Path) -> Path:
    """Return the folder of a source distribution, which comes from the index and is unpacked.

    Raises:
        UnreachableError: No package index answers.
    """
    folder.mkdir()
    (folder / "names.txt").write_text(f"{suite.name}=={suite.version}\n")
    # A lock file is the one place where uv says where a source distribution is.
    lock = ["pip", "compile", "--quiet", "--no-deps", "--output-file=pylock.toml"]
    uv(folder, *lock, f"--python-version={PYTHON}", "names.txt")
    [package] = read_toml(folder / "pylock.toml")["packages"]
    archive = download(package["sdist"]["url"])
    assert hashlib.sha256(archive).hexdigest() == package["sdist"]["hashes"]["sha256"]
    # Python's own safe way of unpacking came with 3.11.4, and Debian's 3.11 is older.
    subprocess.run(["tar", "-xz", "-C", folder], input=archive, check=True)
    [inside] = [each for each in folder.iterdir() if each.is_dir()]
    return inside


def download(url: str) -> bytes:
    """Return what is at a URL that uv gave.

    Raises:
        UnreachableError: Nobody answers there.
    """
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_LIMIT) as answer:  # noqa: S310 - as above
            return bytes(answer.read())
    except OSError as error:
        raise UnreachableError(f"{url}: {error}") from error


def run_tests(
    suite: Suite, project: Path, files: Sequence[str] = ("tests",), *, guard: bool
) -> list[ET.Element]:
    """Run the tests of a package, or those of some files; return what pytest reports of each."""
    report = project / "report.xml"
    report.unlink(missing_ok=True)
    settings = {"addopts": "", "junit_family": "xunit1", **suite.settings}
    words = ["-p", "no:cacheprovider", f"--timeout={TEST_LIMIT}", f"--junitxml={report}"]
    if guard:
        settings |= guard_settings(project)
        words += ["-p", "tests.guard.plugin"]
    words += [f"--override-ini={name}={value}" for name, value in settings.items()]
    for name in [name for each in suite.left_out for name in each["tests"]]:
        words.append(f"--ignore={name}" if name.endswith(".py") else f"--deselect={name}")
    pytest = [".venv/bin/python", "-m", "pytest", "-c", suite.config_name, "--rootdir=.", *files]
    done = run(
        ["timeout", f"{SUITE_LIMIT}", *pytest, *words, *suite.options],
        project,
        PYTHONPATH=f"{project / 'src'}:{project}",
    )
    assert done.returncode in FINISHED, done.stdout
    assert report.exists(), done.stdout
    return list(ET.parse(report).getroot().iter("testcase"))  # noqa: S314 - what pytest wrote


def guard_settings(project: Path) -> dict[str, str]:
    """Return what a project's pytest.ini says to the guard."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(project / "pytest.ini", encoding="utf-8")
    return {name: text for name, text in parser["pytest"].items() if name.startswith("guard_")}


def has_passed(case: ET.Element) -> bool:
    """Return whether a test was neither skipped nor failed."""
    return all(case.find(name) is None for name in ["error", "failure", "skipped"])


def failures_of(cases: list[ET.Element], known: Collection[str] = ()) -> list[Failure]:
    """Return what failed, each once, but for tests that are known to."""
    failures = {failure for case in cases for failure in _failures_of_one(case)}
    return sorted(failure for failure in failures if failure.test not in known)


def name_of(case: ET.Element) -> str:
    """Return what a test is called in all schedules."""
    name = re.sub(SCHEDULE, "", f"{case.get('name')}").replace("[]", "")
    return f"{case.get('classname')}.{name}".removeprefix("tests.")


def _failures_of_one(case: ET.Element) -> Iterator[Failure]:
    test = name_of(case)
    for result in [*case.findall("failure"), *case.findall("error")]:
        message = f"{result.get('message')}".partition("\n")[0]
        for finding in re.findall(FINDING, f"{result.text}") or [message]:
            yield Failure(test, finding)


def install(project: Path, *words: str) -> None:
    """Install packages by uv, into the environment of a project if nothing else is said.

    Raises:
        UnreachableError: No package index answers.
    """
    uv(project, "pip", "install", "--quiet", "--python=.venv", *words)


def uv(folder: Path, *words: str) -> None:
    """Run uv, which knows nothing that is newer than the template's own tools.

    Raises:
        UnreachableError: No package index answers.
    """
    newest = read_toml(ROOT / "pyproject.toml")["tool"]["uv"]["exclude-newer"]
    done = run(["uv", *words], folder, UV_EXCLUDE_NEWER=newest)
    if UNREACHABLE in done.stdout:
        raise UnreachableError(done.stdout)
    assert done.returncode == 0, done.stdout


def row_of(suite: Suite, outcome: Outcome) -> str:
    """Return a row of the table: how many tests, new failures, verdicts of each kind."""
    verdicts = [suite.judge(failure) for failure in outcome.new]
    kinds = Counter(found[0].verdict if found else "not judged" for found in verdicts)
    said = [kinds[kind] for kind in ["right", "arguable", "false alarm", "not judged"]]
    words = [f"{suite.name} {suite.version}", outcome.passed, len(outcome.new), *said]
    return f"| {' | '.join(map(str, words))} |"


def main(names: list[str]) -> None:
    """Run suites and print a row for each, and what is new in them."""
    print("| package | pass | new | right | arguable | false alarm | not judged |")
    print("|" + "---|" * 7)
    with tempfile.TemporaryDirectory() as folder:
        skeleton = render(ROOT, Path(folder) / "skeleton", examples=[])
        for suite in [each for each in load_suites() if not names or each.name in names]:
            project = Path(shutil.copytree(skeleton, Path(folder) / suite.name))
            outcome = run_suite(suite, project)
            print(row_of(suite, outcome), flush=True)
            for failure in [*outcome.failed, *outcome.new]:
                verdicts = [each.verdict for each in suite.judge(failure)]
                print(f"  {verdicts or 'NOT JUDGED'} {failure.test}: {failure.finding}")
            shutil.rmtree(project)


if __name__ == "__main__":
    main(sys.argv[1:])
