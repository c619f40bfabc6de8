"""The page docs/gates.md, made from the minimal pairs, and how many they are: `make gates-page` writes both."""

import re
from collections import Counter
from collections.abc import Iterable

from template.tests.guard.watch import CHECKS
from tests.helpers import ROOT, read_toml
from tests.pairs import FOLDER, GATES, PAIRS

INTRODUCTION = """\
# What the gates stop

Each line is a minimal pair of `tests/matrix`: a defect that its gate stops in a project without examples, and a corrected
twin that every gate passes. `tests/test_matrix.py` runs both, and checks that the message is this one and names the file and
the line, or the test; some pairs go through `make check` whole. The project has a `coverage_threshold` of 100 and tries five
shuffled schedules, as CI does; `make test` tries one unless told. Tests that hang are stopped after a second, to save time.
The gate `cancel` is `make test CANCEL=1`. `tests/test_load_bearing.py` removes each enforced line of configuration and shows a defect that then goes through.
[reports.md](reports.md) holds the gates against bugs that public projects reported; pairs made from one have its address above them.
This page is made from the pairs by `make gates-page`.
"""

# Of each gate, what it is; a finding names it.
MEANT = {
    "black": "The layout. `make quality` writes it, `make check` only looks.",
    "isort": "The order of imports, in the same way.",
    "ruff": "What its named rules find in a file.",
    "ast-grep": "The house rules, in `rules/` of a project: each with its message and its remedy.",
    "flake8-async": "Handlers of exceptions that swallow a cancellation.",
    "mypy": "Types, strict, and with its extra checks.",
    "hook": "Checks of the files themselves.",
    "pytest": "A test that fails, a warning, or a check of the guard, which watches every test; those are below.",
    "cancel": "`make test CANCEL=1`: each call is cancelled wherever it waits.",
}

CHECKED = """\
## The checks of the guard

Each fails the test in which it happens, whatever that test asserts. `tests/guard/README.md` of a project says how a finding
reads, and how to except what is meant.
"""

NOT_STOPPED = """\
## Known not to be stopped

No gate stops these, or not always. They are for reviews, and for tests that are written on purpose.
"""

PASSED = """\
## What a house rule passes

Each house rule is held against many ways to write its defect, and against every way to import what it looks for
(`tests/spellings.toml`). These it passes on purpose.
"""


def gates_page() -> str:
    """Return the text of the page."""
    parts = [INTRODUCTION]
    kinds = list(dict.fromkeys((pair.key[0].upper(), pair.title) for pair in PAIRS))
    for letter, title in kinds:
        rows = [
            [pair.name, pair.gate, f"`{pair.rule}`", f"`{pair.message}`", pair.remedy]
            for pair in PAIRS
            if pair.title == title
        ]
        parts += [f"## {letter}. {title}\n", table("defect gate rule message remedy", rows)]
    counts = Counter((pair.title, pair.gate) for pair in PAIRS)
    rows = [
        [title, *(str(counts[title, gate] or "") for gate in GATES), str(count)]
        for title, count in Counter(pair.title for pair in PAIRS).items()
    ]
    totals = [str(count) for count in map(Counter(pair.gate for pair in PAIRS).get, GATES)]
    rows.append(["all", *totals, str(len(PAIRS))])
    parts += ["## Counts\n", table(f"class {' '.join(GATES)} all", rows)]
    parts += ["## The gates\n", *map(about_gate, GATES), CHECKED, *map(about_check, CHECKS)]
    gaps = read_toml(FOLDER / "not_stopped.toml")["gap"]
    rows = [[gap["class"], gap["defect"], gap["why"], gap["instead"]] for gap in gaps]
    parts += [NOT_STOPPED, table("class defect why instead", rows)]
    missed = read_toml(ROOT / "tests/spellings.toml")["missed"]
    rows = [[f"`{entry['rule']}`", entry["name"], entry["why"]] for entry in missed]
    return "\n".join([*parts, PASSED, table("rule spelling why", rows)])


def about_gate(gate: str) -> str:
    """Return what is said of a gate below a heading, to which others can lead."""
    number = sum(pair.gate == gate for pair in PAIRS)
    return f"### {gate}\n\n{MEANT[gate]} Of the lines above, it stops {number}.\n"


def about_check(check: str) -> str:
    """Return the same of a check of the guard: what fails, what happens otherwise, what to do, what it stops."""
    readme = (ROOT / "template/tests/guard/README.md").read_text("utf-8")
    told = re.search(rf"(?m)^\| .*`{check}`.* \| (.+) \|$", readme)
    fails = told[1] if told else "a call that leaves something behind where it is cancelled"
    rules = {f"guard_checks: {check}", check}
    stopped = [pair.name for pair in PAIRS if pair.rule in rules and pair.gate != "ast-grep"]
    return "\n\n".join(
        [
            f"### {check}",
            f"It fails a test for {fails}.",
            f"- Why: {CHECKS[check].why}\n- Do: {CHECKS[check].remedy}\n- Stopped: {'; '.join(stopped)}\n",
        ]
    )


def table(heads: str, rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heads.split(), ["---"] * len(heads.split()), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def counted(readme: str) -> str:
    """Return the text of the README with the number of pairs as it is now."""
    return re.sub(r"\d+(?= defects that are stopped)", str(len(PAIRS)), readme)


if __name__ == "__main__":
    (ROOT / "docs/gates.md").write_text(gates_page(), encoding="utf-8")
    file = ROOT / "README.md"
    file.write_text(counted(file.read_text("utf-8")), encoding="utf-8")
