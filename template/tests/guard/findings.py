"""How a finding looks, whatever found it: what, where, why, what to do, and how to see it again."""

import os
from dataclasses import dataclass
from typing import TextIO

BOLD, RED, CYAN, PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[36m", "\x1b[0m"


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
    """

    what: str
    where: str = ""
    why: str = ""
    remedy: str = ""
    page: str = ""
    again: str = ""


def has_colour(stream: TextIO) -> bool:
    """Return whether to write in colours: on a terminal, unless NO_COLOR is set (no-color.org)."""
    is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    return is_terminal and not os.environ.get("NO_COLOR")


def block(finding: Finding, *, colour: bool) -> str:
    """Return the lines of a finding, each part once."""
    bold, red, cyan, plain = (BOLD, RED, CYAN, PLAIN) if colour else ("", "", "", "")
    source = source_of(finding.where)
    parts = [
        f"{red}{finding.what}{plain}",
        f"  where  {bold}{finding.where}{plain}{f'    {cyan}{source}{plain}' if source else ''}",
        f"  why    {finding.why}",
        f"  do     {finding.remedy}",
        f"  page   {finding.page}",
        f"  again  {finding.again}",
    ]
    known = [True, finding.where, finding.why, finding.remedy, finding.page, finding.again]
    return "\n".join(part for part, is_known in zip(parts, known, strict=True) if is_known)


def source_of(where: str) -> str:
    """Return the line of code at `path:number`, "" if there is none."""
    path, _, number = where.rpartition(":")
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes time to import
            return file.read().splitlines()[int(number) - 1].strip()
    except (OSError, ValueError, IndexError):
        return ""


def annotation(finding: Finding) -> str:
    """Return the command by which GitHub shows a finding at its line."""
    path, _, number = finding.where.rpartition(":")
    if not number.isdecimal():
        path, number = finding.where, "1"
    text = ". ".join(
        part.rstrip(".") for part in [finding.what, finding.why, finding.remedy] if part
    )
    place = f"file={_escaped(path)},line={number}" if path else ""
    return f"::error {place}::{_escaped(text, in_message=True)}"


def _escaped(text: str, *, in_message: bool = False) -> str:
    """Escape as the commands of workflows need it: GitHub's toolkit, command.ts."""
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text if in_message else text.replace(":", "%3A").replace(",", "%2C")
