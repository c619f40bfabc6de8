"""Runs a gate that looks at each file by itself, on those that have changed since it passed on them.

It looks at all of them again where the environment, a file of settings or its command has changed. What
a file is known by is its size, its times of change and its number on the disk, as git does it: a file that
was moved to its place is another one. A git hook names the files itself, behind a `--` at the end.
"""

import json
import os
import re
import subprocess
import sys
from argparse import REMAINDER, ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path

PASSED = Path(".venv/.passed")
ENVIRONMENT = ".venv/.ready"
SETTINGS = re.compile(r"[.](toml|cfg|ini|ya?ml|mk|editorconfig)$")
LISTING = "git ls-files -z --cached"
UNTRACKED = " --others --exclude-standard"

# A command line has room for so many.
AT_ONCE = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the gate and return its exit code, 0 where nothing has changed."""
    parser = ArgumentParser(prog="changed", description=__doc__)
    parser.add_argument("--named", default="", metavar="PATTERN", help="files with such a path")
    parser.add_argument("--holding", default="", metavar="PATTERN", help="files with such a line")
    parser.add_argument("--tracked", action="store_true", help="files that git has")
    parser.add_argument("gate", help="what it is called")
    parser.add_argument("command", nargs=REMAINDER, help="what is given the files")
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index("--") if "--" in words else len(words)
    asked = parser.parse_args(words[:end])
    if end < len(words):
        return run(asked.command, [path for path in words[end + 1 :] if holds(path, asked.holding)])
    there = {path: state(path) for path in files(tracked=asked.tracked)}
    settings = {path: one for path, one in there.items() if SETTINGS.search(path)}
    known = [asked.command, state(ENVIRONMENT), settings]
    now = {path: one for path, one in there.items() if re.search(asked.named, path)}
    record = PASSED / f"{asked.gate}.json"
    before = read(record, known)
    changed = [path for path, one in now.items() if one and before.get(path) != one]
    chosen = sorted(path for path in changed if holds(path, asked.holding))
    code = run(asked.command, chosen)
    if code == 0:
        PASSED.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps([known, now]), encoding="utf-8")
    return code


def run(command: list[str], paths: list[str]) -> int:
    """Return the exit code of a command that is given paths, 0 where there are none."""
    parts = [paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE)]
    codes = [
        subprocess.run([*command, *part], check=False).returncode  # noqa: S603 - the gate
        for part in parts
    ]
    return max(codes, default=0)


def files(*, tracked: bool) -> Iterator[str]:
    """Yield the files that git has or sees, or all that are not hidden where there is no git."""
    listing = LISTING if tracked else LISTING + UNTRACKED
    listed = subprocess.run(listing.split(), capture_output=True, check=False)  # noqa: S603 - git
    if listed.returncode == 0:
        yield from filter(None, os.fsdecode(listed.stdout).split("\0"))
        return
    for folder, folders, names in os.walk("."):
        folders[:] = [each for each in folders if each[0] != "."]
        yield from (str(Path(folder, name)) for name in names)


def state(path: str) -> list[int]:
    """Return what tells one state of a file from another, nothing where there is no file."""
    try:
        found = Path(path).stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def read(record: Path, known: object) -> dict[str, object]:
    """Return the states of files in which a gate passed, none where it would judge otherwise today."""
    try:
        then, states = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(states) if then == known else {}


def holds(path: str, pattern: str) -> bool:
    """Return whether a file has a line with a pattern, or whether none is asked for."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace") if pattern else ""
    except OSError:
        return True
    return re.search(pattern, text, re.MULTILINE) is not None


if __name__ == "__main__":
    sys.exit(main())
