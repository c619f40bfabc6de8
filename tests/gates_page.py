"""The page docs/gates.md, made from the minimal pairs, and how many they are: `make gates-page` writes both."""

import re
from collections import Counter
from collections.abc import Iterable

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
    gaps = read_toml(FOLDER / "not_stopped.toml")["gap"]
    rows = [[gap["class"], gap["defect"], gap["why"], gap["instead"]] for gap in gaps]
    parts += [NOT_STOPPED, table("class defect why instead", rows)]
    missed = read_toml(ROOT / "tests/spellings.toml")["missed"]
    rows = [[f"`{entry['rule']}`", entry["name"], entry["why"]] for entry in missed]
    return "\n".join([*parts, PASSED, table("rule spelling why", rows)])


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
