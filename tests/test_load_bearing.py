"""Every enforced line of configuration is there for a defect that only it stops."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Pipeline
from tests.helpers import read_toml
from tests.pairs import FOLDER, GATES, PAIRS, STATIC, Matrix, Pair, run_gate, run_pytest, write

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("matrix")]

# Which gate a section of pyproject.toml configures.
SECTIONS = {
    "black": "black",
    "isort": "isort",
    "ruff": "ruff",
    "mypy": "mypy",
    "coverage": "pytest",
}

# After so many seconds a test that should end within one waits for ever.
HANGS = 20

# What switches a setting off that must not be empty.
OFF = {"guard_seeds": "0", "guard_step_seconds": "999"}

SETTINGS = read_toml(FOLDER / "settings.toml")


@dataclass(frozen=True)
class Line:
    """A line of configuration, or one item of a list in it.

    Attributes:
        gate: The gate that it configures.
        name: Its setting, or the item; what `rule` or `line` of a pair says.
        file: Where it is.
        text: What is removed.
        without: What is put in its place.
    """

    gate: str
    key: str
    name: str
    file: str
    text: str
    without: str = ""

    @property
    def is_enforced(self) -> bool:
        """Return whether the line is there to stop a defect."""
        return not {self.key, self.name} & SETTINGS.get(self.gate, {}).keys()

    def is_proven_by(self, pair: Pair) -> bool:
        """Return whether a pair is there to prove it."""
        if self.key == "select":
            code = rf"{self.name}([CERW]?\d+)?"
            return pair.gate == "ruff" and re.fullmatch(code, pair.rule) is not None
        if self.gate == "hook":
            return self.name in {pair.gate, pair.rule}
        return pair.gate == self.gate and self.name in {pair.line, pair.rule}


def lines_of_toml(folder: Path) -> Iterator[Line]:
    """Yield the lines of the tools' sections of pyproject.toml, and the items of their lists."""
    gate = key = ""
    for text in (folder / "pyproject.toml").read_text().splitlines(keepends=True):
        if section := re.match(r"\[(?:tool\.)?(\w+)\.?(.*)\]", text):
            gate, key = SECTIONS.get(section[1], ""), section[2]
        elif item := re.match(r'    "([^"]+)",', text):
            yield Line(gate, key, item[1], "pyproject.toml", text)
        elif setting := re.match(r'"?([^"\s]+)\S* = (.*)', text):
            key = "per-file-ignores" if "per-file" in key else setting[1]
            several = re.findall(r'("(\w+)",? ?)', setting[2]) if key == "source" else []
            for quoted, name in several:
                without = text.replace(quoted, "")
                yield Line(gate, key, f"{key}: {name}", "pyproject.toml", text, without)
            if not several and not setting[2].endswith("["):
                yield Line(gate, key, key, "pyproject.toml", text)


def lines_of_ini(folder: Path) -> Iterator[Line]:
    """Yield the lines of pytest.ini, each word of its `addopts`, and a plugin that needs no setting."""
    key = ""
    for text in (folder / "pytest.ini").read_text().splitlines(keepends=True):
        if item := re.match(r"    (?!#)(.+)", text):
            yield Line("pytest", key, f"{key}: {item[1]}", "pytest.ini", text)
        elif setting := re.match(r"(\w+) = ?(.*)", text):
            key = setting[1]
            words = setting[2].split() if key == "addopts" else []
            for word in words:
                name = word.split("=")[0] if word.startswith("--cov") else key
                yield Line("pytest", name, name, "pytest.ini", f" {word}")
            if setting[2] and not words:
                without = f"{key} = {OFF[key]}\n" if key in OFF else ""
                yield Line("pytest", key, key, "pytest.ini", text, without)
    yield Line("pytest", "plugins", "pytest-randomly", "", "")


def lines_of_rules(folder: Path) -> Iterator[Line]:
    """Yield the house rules, and what the commands of make tell the linters to check."""
    for file in sorted((folder / "rules").glob("*.yml")):
        name = file.relative_to(folder).as_posix()
        yield Line("ast-grep", "rules", file.stem, name, file.read_text(), "---\n")
    makefile = (folder / "tooling.mk").read_text()
    for gate, codes in re.findall(r"(ast-grep|flake8-async).* --(?:error|enable)=(\S+)", makefile):
        for code in codes.split(","):
            yield Line(gate, "arguments", code, "", code)


def lines_of_hooks(folder: Path) -> Iterator[Line]:
    """Yield the git hooks."""
    text = (folder / ".pre-commit-config.yaml").read_text()
    for hook in re.findall(r"(?m)^      - id: .+\n(?:        .+\n)+", text):
        yield Line("hook", "hooks", hook.split()[2], ".pre-commit-config.yaml", hook)


def all_lines(folder: Path) -> list[Line]:
    """Return every line of a project's configuration of the gates."""
    found = [
        line
        for lines in [lines_of_toml, lines_of_ini, lines_of_rules, lines_of_hooks]
        for line in lines(folder)
    ]
    return [line for line in found if line.gate]


def lets_through(line: Line, pair: Pair, project: Pipeline) -> bool:
    """Return whether the defect of a pair passes the gate of a line without that line, and not with it."""
    write(project, pair.files("defect"))
    if line.gate == "hook" and passes_hooks(line, pair, project, line.name):
        return False
    if line.gate in STATIC and line.gate != "hook" and passes(line, pair, project, ""):
        return False
    if line.file:
        file = project.folder / line.file
        file.write_text(file.read_text().replace(line.text, line.without, 1))
    if line.gate == "hook":
        return passes_hooks(line, pair, project)
    if line.gate == "pytest":
        chosen = [] if pair.run == "coverage" else ["--no-cov", *pair.tests]
        chosen += [] if line.file else ["-p", "no:randomly"]
        settings = {name: value for name, value in pair.settings.items() if name != line.key}
        seconds = HANGS if line.key == "timeout" else 0
        return not run_pytest(project, settings, *chosen, seconds=seconds)
    command = STATIC[line.gate]
    if line.gate == "mypy":
        # What it knows of packages holds for these settings alone, and would take the place of what all others use.
        command += " --cache-dir=.mypy_cache/without-a-line"
    if not line.file:
        command = re.sub(rf"{line.name},|,{line.name}|--error={line.name}", "", command)
    return passes(line, pair, project, command)


def passes(line: Line, pair: Pair, project: Pipeline, command: str) -> bool:
    """Return whether the gate of a line, or a command in its place, lets the defect of a pair pass."""
    files = pair.files("defect")
    return not [hit for hit in run_gate(project, line.gate, command, [*files]) if hit.file in files]


def passes_hooks(line: Line, pair: Pair, project: Pipeline, name: str = "") -> bool:
    """Return whether a hook, or all of the same stage, let the defect of a pair pass."""
    stage = "pre-push" if "pre-push" in line.text else "pre-commit"
    command = f".venv/bin/pre-commit run {name} --hook-stage {stage} --files"
    assert project.run("git add --all").returncode == 0
    return project.run([*command.split(), *pair.files("defect")]).returncode == 0


def proof(line: Line, matrix: Matrix) -> Pair | None:
    """Return a pair whose defect is stopped by nothing but a line."""
    for pair in filter(line.is_proven_by, PAIRS):
        if {hit.gate for hit in matrix.hits(pair, "defect")} == {pair.gate}:
            project = matrix.project
            found = lets_through(line, pair, project)
            project.restore()
            if found:
                return pair
    return None


# Cancellation runs have no line of configuration; tests/test_mutations.py breaks what they do.
@pytest.mark.parametrize("gate", [gate for gate in GATES if gate != "cancel"])
def test_without_a_line_a_defect_goes_through(gate: str, matrix: Matrix) -> None:
    lines = [line for line in all_lines(matrix.project.folder) if line.gate == gate]
    enforced = [line for line in lines if line.is_enforced]
    proofs = {line.name: proof(line, matrix) for line in enforced}

    proven = [name for name, pair in proofs.items() if pair]
    print(f"{gate}: {len(proven)} of {len(enforced)} enforced lines proven")
    assert [name for name, pair in proofs.items() if not pair] == []


def test_every_setting_that_stops_nothing_is_there(matrix: Matrix) -> None:
    lines = all_lines(matrix.project.folder)
    there = {(line.gate, name) for line in lines for name in [line.key, line.name]}

    assert {(gate, name) for gate, names in SETTINGS.items() for name in names} <= there
