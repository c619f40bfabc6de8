"""The README's picture docs/quality.svg: `make quality` stops a bug, on a terminal. `make docs` draws it."""

import html
import io
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.helpers import ROOT, commit_all, on_a_terminal, render, run

COMMAND = "make quality"
# The same order of tests, so that the same is printed.
VARIABLES = {"PYTEST_ADDOPTS": "--randomly-seed=7"}
MODULE = "src/my_async_project/prices.py"
TEST = "tests/test_prices.py"

BUG = '''"""Prices, from a file."""

import json
from pathlib import Path


async def price_of(item: str, file: Path) -> float:
    """Return the price of an item."""
    return read_prices(file)[item]


def read_prices(file: Path) -> dict[str, float]:
    """Return the price of each item."""
    return dict(json.loads(file.read_text("utf-8")))
'''

TEST_OF_BUG = '''"""Prices."""

from pathlib import Path

from my_async_project.prices import price_of


async def test_an_item_has_a_price(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text('{"tea": 2.5}', encoding="utf-8")

    assert await price_of("tea", file) == 2.5
'''

COLUMNS = 104
THEME = TerminalTheme(
    (22, 27, 34),
    (230, 237, 243),
    [(72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34)],
    [(110, 118, 129), (255, 161, 152), (86, 211, 100), (227, 179, 65)],
)
# One of the reader's own fonts: nothing is fetched.
FORMAT = """\
<svg viewBox="0 0 {width} {height}" role="img" xmlns="http://www.w3.org/2000/svg">
<title>make quality stops a file that is read while the event loop waits</title>
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px ui-monospace, Menlo, Consolas, monospace; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect width="100%" height="100%" /></clipPath>{lines}</defs>
<rect width="{width}" height="{height}" rx="8" fill="#161b22" />
<g transform="translate(12, 12)"><g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def picture(output: str) -> str:
    """Return a picture of what a command printed on a terminal."""
    # What runs is shown in one line, which the next one erases.
    lines = [line.rpartition("\r\x1b[K")[2] for line in output.replace("\r\n", "\n").split("\n")]
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, legacy_windows=False
    )
    console.print(f"[bold]$ {COMMAND}[/]", highlight=False)
    console.print(Text.from_ansi("\n".join(lines).rstrip()))
    return console.export_svg(theme=THEME, code_format=FORMAT, unique_id="quality")


def words_of(drawing: str) -> list[str]:
    """Return the lines that a picture shows, sorted, as stages end in any order, and without their numbers."""
    rows: dict[str, str] = {}
    for row, text in re.findall(r'<text [^>]*y="([\d.]+)"[^>]*>([^<]*)</text>', drawing):
        rows[row] = rows.get(row, "") + html.unescape(text).replace("\xa0", " ")
    return sorted(re.sub(r"[ \d]*\d[.\d]*", " N", row).strip() for row in rows.values())


def plant_the_bug(project: Path) -> None:
    """Give a project a module that blocks the loop, and its test."""
    (project / MODULE).write_text(BUG, "utf-8")
    (project / TEST).write_text(TEST_OF_BUG, "utf-8")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        project = render(ROOT, Path(folder, "project"), examples=[])
        commit_all(project)
        subprocess.run(["make", "setup"], cwd=project, check=True, stdout=sys.stderr)
        run(COMMAND, project)
        plant_the_bug(project)
        print(picture(on_a_terminal(COMMAND, project, **VARIABLES)), end="")
