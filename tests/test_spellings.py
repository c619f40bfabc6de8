"""Each house rule stops its defect in every spelling, and passes correct code in the same spelling."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import ROOT, read_toml, run
from tests.test_house_rules import AST_GREP, RULES, hook

DATA = read_toml(ROOT / "tests/spellings.toml")

# How a name of a module is imported, and what it is called then: `<asyncio.gather>` in the data stands for each.
IMPORTS = {
    "import": ("import {module}", "{module}.{name}"),
    "import as": ("import {module} as short", "short.{name}"),
    "from": ("from {module} import other, {name}", "{name}"),
    "from as": ("from {module} import {name} as renamed_{name}", "renamed_{name}"),
    "from in a try": (
        "try:\n    from {module} import {name}\nexcept ImportError:\n    pass",
        "{name}",
    ),
}
PLACE = re.compile(r"<([\w.]+)\.(\w+)>")


@dataclass(frozen=True)
class Case:
    """A file of code, and the house rule that stops it or passes it."""

    number: int
    rule: str
    name: str
    code: str

    def __str__(self) -> str:
        """Return the id of the test."""
        return f"{self.rule}-{self.name.replace(' ', '_')}"

    @property
    def file(self) -> str:
        """Return the name of its file: one of a test, as some rules look at tests alone."""
        return f"test_{self.number:04}.py"


def spelled(code: str) -> Iterator[tuple[str, str]]:
    """Yield each way to import what the code uses, and the code with it."""
    places = dict.fromkeys(PLACE.findall(code))
    for name, (statement, called) in IMPORTS.items() if places else [("", ("", ""))]:
        lines = [statement.format(module=module, name=what) for module, what in places]
        text = code
        for module, what in places:
            text = text.replace(f"<{module}.{what}>", called.format(module=module, name=what))
        yield name, "\n".join([*dict.fromkeys(lines), text])


def cases() -> Iterator[tuple[str, Case]]:
    """Yield the cases: defects, twins, and what passes on purpose."""
    number = 0
    for kind, entries in [("defect", "spelling"), ("twin", "spelling"), ("code", "missed")]:
        for entry in DATA[entries]:
            for form, code in spelled(entry[kind]):
                number += 1
                yield kind, Case(number, entry["rule"], f"{entry['name']} {form}".strip(), code)


CASES = list(cases())
DEFECTS, TWINS, MISSED = ([c for k, c in CASES if k == kind] for kind in ["defect", "twin", "code"])


@pytest.fixture(scope="session")
def hits(full_project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Return the rules that stop each file, of one run over all of them."""
    folder = tmp_path_factory.mktemp("spellings")
    for _, case in CASES:
        (folder / case.file).write_text(case.code, encoding="utf-8")
    command = hook(full_project, "ast-grep")["entry"].split()[1:]
    command = [word for word in command if "report-style" not in word]
    done = run([AST_GREP, *command, "--json=stream", str(folder)], full_project)
    found: dict[str, set[str]] = {case.file: set() for _, case in CASES}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            hit = json.loads(line)
            found[Path(hit["file"]).name].add(hit["ruleId"])
    return found


@pytest.mark.parametrize("case", DEFECTS, ids=str)
def test_a_defect_is_stopped_in_every_spelling(case: Case, hits: dict[str, set[str]]) -> None:
    assert case.rule in hits[case.file], case.code


@pytest.mark.parametrize("case", TWINS, ids=str)
def test_correct_code_passes_in_every_spelling(case: Case, hits: dict[str, set[str]]) -> None:
    assert hits[case.file] == set(), case.code


@pytest.mark.parametrize("case", MISSED, ids=str)
def test_what_is_said_to_pass_passes(case: Case, hits: dict[str, set[str]]) -> None:
    assert hits[case.file] == set(), case.code


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_every_rule_is_tried_in_several_spellings(file: Path) -> None:
    assert len([case for case in DEFECTS if case.rule == file.stem]) >= 3
