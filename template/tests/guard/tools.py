"""Reads what the tools say: their findings, what a person can do without, and all the rest."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from .findings import Finding

# The environment's own programs, as a person types them.
BIN = ".venv/bin"

NEVER = r"(?!)"

# What colours a line on a terminal: ECMA-48, "SGR".
COLOUR = re.compile(r"\x1b\[[\d;]*m")


@dataclass(frozen=True)
class Words:
    """The words of a tool, as regular expressions of whole lines.

    Attributes:
        finding: A line that tells of a finding. Its groups are `where`, `what`, the `rule` and
            `fix`, which says that the tool can repair it.
        noise: A line that a person can do without.
        note: A line with the `why` or the `remedy` of the finding before it.
        what: What is wrong, where the line does not say it.
        remedy: What to do.
        fix: What to do where the tool can repair it.
        page: What explains it. `{rule}` stands for the rule.
    """

    finding: str
    noise: str
    note: str = NEVER
    what: str = ""
    remedy: str = ""
    fix: str = ""
    page: str = ""


WORDS = {
    "isort": Words(
        r"ERROR: (?P<where>.+) Imports are incorrectly sorted and/or formatted\.",
        r"Skipped \d+ files",
        what="The imports are not sorted",
        remedy="make format",
    ),
    "black": Words(
        r"would reformat (?P<where>.+)",
        r"\d+ files? would .*|All done!.*|Oh no!.*",
        what="The layout is not black's",
        remedy="make format",
    ),
    "ruff": Words(
        r"(?P<where>.+?:\d+):\d+: (?P<rule>[A-Z]+\d+) (?P<fix>\[\*\] )?(?P<what>.*)",
        r"Found \d+ errors?.*|\[\*\] \d+ fixable.*|No fixes available.*|All checks passed!",
        fix=f"{BIN}/ruff check --fix",
        page=f"{BIN}/ruff rule " + "{rule}",
    ),
    "house-rules": Words(
        r"(?P<where>.+?:\d+):\d+: \w+\[(?P<rule>[\w-]+)\]: (?P<what>.*)",
        r"Error: \d+ error\(s\) found in code\.|Help: Scan succeeded .*",
        note=r" = (?P<remedy>.*)",
        page="rules/{rule}.yml",
    ),
    "flake8-async": Words(r"(?P<where>.+?:\d+):\d+: (?P<rule>ASYNC\d+) (?P<what>.*)", NEVER),
    "mypy": Words(
        r"(?P<where>.+?:\d+): error: (?P<what>.*)",
        r"Found \d+ errors? in .*|Success: .*",
        note=r".+?:\d+: note: (?P<why>.*)",
    ),
    "file-checks": Words(
        NEVER, r".*\.\.\.(Passed|\(no files to check\)Skipped)|- (hook id|exit code|duration): .*"
    ),
    "pytest": Words(
        NEVER,
        r"[.sxXFE]+( +\[ *\d+%\])?|=+ tests coverage =+|Required test coverage of .* reached\. .*"
        r"|\d+ (passed|failed|error).* in [\d.]+s.*",
    ),
}

# A gate that is not the template's: all that it says is shown.
NO_WORDS = Words(NEVER, NEVER)


def read(gate: str, text: str) -> tuple[list[Finding], list[str]]:
    """Return the findings in what a gate says, and its lines that are neither those nor noise."""
    words = WORDS.get(gate, NO_WORDS)
    findings: list[Finding] = []
    rest: list[str] = []
    for coloured in text.splitlines():
        line = COLOUR.sub("", coloured)
        if found := re.fullmatch(words.finding, line):
            findings.append(_finding(words, found.groupdict()))
        elif findings and (note := re.fullmatch(words.note, line)):
            findings[-1] = _with_note(findings[-1], **note.groupdict())
        elif line.strip() and not re.fullmatch(words.noise, line):
            rest.append(coloured)
    return list(dict.fromkeys(findings)), rest


def _finding(words: Words, found: dict[str, str | None]) -> Finding:
    rule = found.get("rule") or ""
    what = found.get("what") or words.what
    return Finding(
        f"{rule} {what}".strip(),
        (found["where"] or "").removeprefix("./").removeprefix(f"{Path.cwd()}/"),
        remedy=words.fix if found.get("fix") else words.remedy,
        page=words.page.format(rule=rule),
    )


def _with_note(finding: Finding, why: str = "", remedy: str = "") -> Finding:
    why = f"{finding.why} {why}".strip()
    return replace(finding, why=why, remedy=f"{finding.remedy} {remedy}".strip())
