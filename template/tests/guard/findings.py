"""How a finding looks, whatever found it: what, where, why, what to do, and how to see it again."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

BOLD, RED, CYAN, PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[36m", "\x1b[0m"

# The project's folder, from which places are named.
ROOT = Path(__file__).parents[2]

# Where the text of a part begins.
INDENT = " " * 9


@dataclass(frozen=True)
class Finding:
    """One defect, as a person needs to know it. What is unknown is empty.

    Attributes:
        what: What is wrong.
        where: The line, as `path:number`, or the file alone.
        why: What happens by it.
        remedy: What to do.
        page: What explains it.
        again: The command that shows it again.
        also: Other lines that belong to it.
        test: The test that fails by it.
    """

    what: str
    where: str = ""
    why: str = ""
    remedy: str = ""
    page: str = ""
    again: str = ""
    also: tuple[str, ...] = ()
    test: str = ""


def has_colour(stream: TextIO) -> bool:
    """Return whether to write in colours: on a terminal, unless NO_COLOR is set (no-color.org)."""
    is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    return is_terminal and not os.environ.get("NO_COLOR")


def block(finding: Finding, *, colour: bool) -> str:
    """Return the lines of a finding, each part once."""
    bold, red, cyan, plain = (BOLD, RED, CYAN, PLAIN) if colour else ("", "", "", "")
    places = [place for place in [finding.where, *finding.also] if place]
    lines = [f"{bold}{place}{plain}{_beside(place, cyan, plain)}" for place in places]
    parts = {
        "where": "\n".join(lines),
        "why": finding.why,
        "do": finding.remedy,
        "test": finding.test,
        "page": finding.page,
        "again": finding.again,
    }
    known = [f"  {name:6} {_indented(text)}" for name, text in parts.items() if text]
    return "\n".join([f"{red}{finding.what}{plain}", *known] if finding.what else known)


def _beside(place: str, cyan: str, plain: str) -> str:
    source = source_of(place)
    return f"    {cyan}{source}{plain}" if source else ""


def _indented(text: str) -> str:
    return text.replace("\n", f"\n{INDENT}")


def source_of(where: str) -> str:
    """Return the line of code at `path:number`, "" if there is none."""
    path, _, number = where.rpartition(":")
    try:
        text = (ROOT / path).read_text(encoding="utf-8")
        return text.splitlines()[int(number) - 1].strip()
    except (OSError, ValueError, IndexError):
        return ""


def annotation(finding: Finding) -> str:
    """Return the command by which GitHub shows a finding at its line."""
    path, _, number = finding.where.rpartition(":")
    if not number.isdecimal():
        path, number = finding.where, "1"
    title, _, rest = finding.what.partition("\n")
    parts = [rest, finding.why, finding.remedy, finding.test, finding.again]
    message = "\n".join(part for part in parts if part) or title
    place = f"file={_property(path)},line={number}," if path else ""
    return f"::error {place}title={_property(title)}::{_escaped(message)}"


def _escaped(text: str) -> str:
    """Escape as the commands of workflows need it: GitHub's toolkit, command.ts."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
