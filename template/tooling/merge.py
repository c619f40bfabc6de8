"""Merges what the user and the template changed in one text file.

git merges, as it merges branches. Before that, versions and dates are settled: every release and
every bot raises them, so the newer one wins. After that, what git takes for a conflict only because
two changes touch each other is put together.
"""

import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from packaging.version import InvalidVersion, Version

LABELS = ["yours", "the template before", "the template now"]

VERSION = re.compile(
    r"(?<=@)(?:[0-9a-f]{40}|v?\d[\w.]*)(?: +# *v?\d[\w.]*)?"  # a commit, with its version behind it
    r"|(?<![\w.])\d{4}-\d\d-\d\d(?:T[\w:.+-]+)?"
    r"|(?<![\w.])v?\d+(?:\.\d+)+\w*(?:\.\w+)*"
)
# Versions that are told apart by nothing but their place in a list, such as those of CI.
LIST = re.compile(r"""_["']?, *["']?_""")
# What stands before a number that is a setting, as in `seconds = 0.5`.
SETTING = re.compile(r"(?<![=<>!~])[=:]\s+$")
# A list within one line: what is before, in and behind it.
ITEMS = re.compile(r"(?s)([^\[]*\[)([^\[\]]+)(\].*)")
WORD = re.compile(r"[\w.]+|\s+|.")


@dataclass(frozen=True)
class Merged:
    """What a merge gives."""

    text: str
    has_conflicts: bool
    # The versions and dates that both sides changed, in words.
    settled: list[str]


class Conflict(NamedTuple):
    """Lines that git cannot merge."""

    old: list[str]
    own: list[str]
    new: list[str]


# Where lines are changed: from the first to the one behind the last, which are the same for an insertion.
Place = tuple[int, int]


def merge(old: str, own: str, new: str, *, adjoining: bool = True) -> Merged:
    """Merge what the user made of the old text with what the template made of it.

    Without `adjoining`, changes that touch each other are conflicts, as they are for git.
    """
    if "\r\n" in own and own.count("\n") == own.count("\r\n") and "\r\n" not in old + new:
        # Line ends that the user changed are no change of every line.
        done = merge(old, own.replace("\r\n", "\n"), new, adjoining=adjoining)
        return replace(done, text=done.text.replace("\n", "\r\n"))
    texts, settled = settle_versions(old, own, new)
    merged = ""
    has_conflicts = False
    for part in merged_by_git(*texts):
        if isinstance(part, Conflict):
            lines = put_together(part) if adjoining else None
            has_conflicts = has_conflicts or lines is None
            merged += "".join(marked(part) if lines is None else lines)
        else:
            merged += part
    return Merged(merged, has_conflicts, settled)


# Versions and dates.


def settle_versions(*texts: str) -> tuple[list[str], list[str]]:
    """Return the old, own and new text, all with the versions that win, and what both had changed."""
    old, own, new = (text.splitlines(keepends=True) for text in texts)
    shared = lines_in(own, old)
    before, yours, now = (versions_of(lines) for lines in (old, own, new))
    winners: dict[str, str] = {}
    settled = []
    for key, found in before.items():
        # A line that one side deleted is the other's alone, whatever its version.
        candidates = [found, yours.get(key, found), now.get(key, found)]
        if any(len(versions) > 1 for versions in candidates):
            continue
        [first], [mine], [theirs] = candidates
        if key not in now:
            winners[key] = first
        elif mine in {first, theirs}:
            winners[key] = theirs
        elif theirs == first:
            winners[key] = mine
        else:
            winners[key] = newer(mine, theirs)
            settled.append(sentence(key, mine, theirs, winners[key]))
    for number in shared:
        own[number] = with_versions(own[number], winners)
    old, new = ([with_versions(line, winners) for line in lines] for lines in (old, new))
    return ["".join(lines) for lines in (old, own, new)], sorted(settled)


def lines_in(lines: list[str], others: list[str]) -> set[int]:
    """Return the numbers of lines that the others have, too, whatever their versions.

    One that was moved is the same, where there is no other one like it.
    """
    theirs, ours = ([next(keyed(line), (line,))[0] for line in text] for text in (others, lines))
    blocks = SequenceMatcher(None, theirs, ours, autojunk=False).get_matching_blocks()
    kept = {number for block in blocks for number in range(block.b, block.b + block.size)}
    counts = Counter(ours), Counter(theirs)
    moved = {n for n, line in enumerate(ours) if all(count[line] == 1 for count in counts)}
    return kept | moved


def versions_of(lines: list[str]) -> dict[str, set[str]]:
    """Return the versions and dates of lines, by what stands before them."""
    found = defaultdict(set)
    for line in lines:
        for key, match in keyed(line):
            found[key].add(match[0])
    return dict(found)


def keyed(line: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield each version of a line, with what stands before it, but for spaces and extras."""
    if line.lstrip().startswith("#") or LIST.search(VERSION.sub("_", line)):
        return
    for match in VERSION.finditer(line):
        before = line[: match.start()]
        if not is_number(before, match[0]):
            yield re.sub(r"\[.*?\]|\s", "", VERSION.sub("_", before)), match


def is_number(before: str, value: str) -> bool:
    """Return whether a value is no version but a number, of which the larger is not the newer."""
    if "version" in before.lower():
        return False
    return bool(SETTING.search(before) and re.fullmatch(r"\d+\.\d+", value))


def with_versions(line: str, winners: Mapping[str, str]) -> str:
    """Return a line with the versions that win."""
    for key, match in reversed(list(keyed(line))):
        if key in winners:
            line = line[: match.start()] + winners[key] + line[match.end() :]
    return line


def newer(yours: str, now: str) -> str:
    """Return the newer of two versions or dates, yours where nothing tells."""
    dates = [re.match(r"\d{4}-", value) for value in (yours, now)]
    try:
        # Dates are written so that they sort.
        return max(yours, now, key=str if all(dates) else lambda value: Version(shown(value)))
    except InvalidVersion:
        return yours


def shown(value: str) -> str:
    """Return the part of a pin that people read: of a commit, the version behind it."""
    return value.rpartition("# ")[2]


def sentence(key: str, yours: str, now: str, winner: str) -> str:
    """Return what was settled, in words."""
    words = [word for word in re.findall(r"[\w./-]*\w", key) if word != "_"]
    name = words[-1] if words else "the version"
    if winner == yours:
        return f"{name} {shown(yours)} is yours; the template has {shown(now)}"
    return f"{name} {shown(now)} is the template's; you had {shown(yours)}"


# Lines.


def merged_by_git(*texts: str) -> Iterator[str | Conflict]:
    """Yield the merged text in parts: what is merged, and between that, what is not."""
    with TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("old", "own", "new")]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text, encoding="utf-8", newline="")
        old, own, new = files
        labels = [word for label in LABELS for word in ("-L", label)]
        command = ["git", "merge-file", "--stdout", "--diff3", *labels, *map(str, (own, old, new))]
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - git
    if not 0 <= done.returncode <= 127:
        # Not even text: there are fewer conflicts than that. Or git was killed.
        yield Conflict(*(text.splitlines(keepends=True) for text in texts))
        return
    yours, before, now = LABELS
    conflict = re.compile(
        rf"(?ms)^<<<<<<< {yours}\r?\n(?P<own>.*?)^[|]+ {before}\r?\n(?P<old>.*?)"
        rf"^=======\r?\n(?P<new>.*?)^>>>>>>> {now}\r?\n"
    )
    merged, end = done.stdout.decode(), 0
    for found in conflict.finditer(merged):
        yield merged[end : found.start()]
        yield Conflict(*(found[name].splitlines(keepends=True) for name in Conflict._fields))
        end = found.end()
    yield merged[end:]


def marked(conflict: Conflict) -> list[str]:
    """Return the lines of a conflict as git marks them."""
    yours, before, now = LABELS
    return [
        f"<<<<<<< {yours}\n",
        *conflict.own,
        f"||||||| {before}\n",
        *conflict.old,
        "=======\n",
        *conflict.new,
        f">>>>>>> {now}\n",
    ]


def put_together(conflict: Conflict) -> list[str] | None:
    """Return the lines with the changes of both sides, None if these cannot both be."""
    old, own, new = conflict
    for strip in (without_comment_lines, without_comments):
        if own == strip(old):
            return strip(new)
    new = without_given_up(conflict)
    # A comment behind a line is the template's, as long as nobody else changed the line.
    lines = dict(zip(without_comments(new), without_comment_lines(new), strict=True))
    renewed = {line: lines.get(without_comment(line), line) for line in old}
    merged = both(
        [renewed[line] for line in old],
        [renewed.get(line, line) for line in own],
        new,
        are_lines=True,
    )
    if merged is None and without_comments(old) == without_comments(new):
        return own
    if merged is None or is_misplaced(merged, own, new):
        return None
    return merged


def without_given_up(conflict: Conflict) -> list[str]:
    """Return the new lines without what they add below something that the user deleted."""
    old, own, new = conflict
    before = paths(old)
    deleted = {before[start] for (start, _), lines in edits(old, own).items() if not lines}
    gone = deleted.difference(paths(own), [()])
    return [
        line
        for line, path in zip(new, paths(new), strict=True)
        if path in before or not any(path[:end] in gone for end in range(1, len(path)))
    ]


def is_misplaced(merged: list[str], own: list[str], new: list[str]) -> bool:
    """Return whether something came to stand below what neither side has it below."""
    places = {*paths(own), *paths(new)}
    known = {name for place in places for name in place}
    return any(known.issuperset(place) for place in {*paths(merged)} - places)


def paths(lines: list[str]) -> list[tuple[str, ...]]:
    """Return what each line sets, behind what it stands below: sections, and what is indented less."""
    found = []
    above: list[tuple[int, str]] = []
    for line in lines:
        name = "" if line.lstrip().startswith("#") else name_of(without_comment(line))
        if name:
            above = [parent for parent in above if parent[0] < depth(line)]
            above.append((depth(line), name))
        found.append(tuple(parent for _, parent in above) if name else ())
    return found


def depth(*lines: str) -> int:
    """Return how far the first line that sets something is indented; heads of sections are above all."""
    line = next((line for line in without_comments([*lines]) if line.strip()), "")
    return -1 if line.startswith("[") else len(line) - len(line.lstrip())


def without_comments(lines: list[str]) -> list[str]:
    """Return lines of TOML, YAML, INI or make without any comment."""
    return [without_comment(line) for line in without_comment_lines(lines)]


def without_comment(line: str) -> str:
    """Return a line without the comment behind it."""
    return re.sub(r"(?<=\S)\s+#.*", "", line)


def without_comment_lines(lines: list[str]) -> list[str]:
    """Return the lines that are more than a comment."""
    return [line for line in lines if not line.lstrip().startswith("#")]


def both(old: list[str], own: list[str], new: list[str], *, are_lines: bool) -> list[str] | None:
    """Return lines, or the words of one, with the changes of both sides; None if these cannot both be."""
    yours, theirs = edits(old, own), edits(old, new)
    changes = yours | theirs
    for place in yours.keys() & theirs.keys():
        joined = at_one_place(old, place, yours[place], theirs[place], are_lines=are_lines)
        if joined is None:
            return None
        changes[place] = joined
    if any(start < stop for (_, stop), (start, _) in pairwise(sorted(changes))):
        return None
    result = list(old)
    for (start, stop), lines in sorted(changes.items(), reverse=True):
        result[start:stop] = lines
    return result


def at_one_place(
    old: list[str], place: Place, own: list[str], new: list[str], *, are_lines: bool
) -> list[str] | None:
    """Return what becomes of lines or words that both sides changed, None if it cannot be both."""
    start, stop = place
    if own == new:
        return own
    if not are_lines:
        return None
    if start == stop:
        # What is deeper goes on with what stands before, so it is first.
        first, then = sorted([new, own], key=lambda lines: depth(*lines), reverse=True)
        return None if names(own) & names(new) else first + then
    if len(own) == len(new) == 1:
        return joined_line([old[start], *own, *new])
    return None


def joined_line(texts: list[str]) -> list[str] | None:
    """Return a line with the changes of both sides, None if these cannot both be."""
    if len({re.split("[:=]", text)[0] for text in texts}) > 1:
        # Another line stands in the place of the old one.
        return None
    lists = [match.groups() for text in texts if (match := ITEMS.fullmatch(text))]
    if len(lists) == len(texts):
        return joined_items(lists)
    line = both(*map(WORD.findall, texts), are_lines=False)
    return None if line is None else ["".join(line)]


def joined_items(lists: list[tuple[str, ...]]) -> list[str] | None:
    """Return a line with the items that both sides made of its list, None if nothing else is the same."""
    if len({(before, behind) for before, _, behind in lists}) > 1:
        return None
    old, own, new = (re.split(", *", items) for _, items, _ in lists)
    items = [item for item in new if item in own or item not in old]
    items += [item for item in own if item not in {*old, *new}]
    before, _, behind = lists[0]
    return [f"{before}{', '.join(items)}{behind}"] if items else None


def names(lines: list[str]) -> set[str]:
    """Return what lines set, without what is indented below it: items, or names before a value."""
    said = [line.rstrip() for line in lines if line.strip()]
    least = min((len(line) - len(line.lstrip()) for line in said), default=0)
    return {name_of(line) for line in said if not line[least].isspace()}


def name_of(line: str) -> str:
    """Return what a line sets: an item, or the name before a value or a version; nothing if it is empty."""
    text = line.strip()
    if text.startswith('"'):
        return re.split('(?!^)["<>=!~;[]', text)[0].strip()
    return text if text.startswith("-") else re.split("[:=]", text)[0].strip()


def edits(old: list[str], changed: list[str]) -> dict[Place, list[str]]:
    """Return what became of which part, each line for itself where it was replaced or deleted."""
    found = {}
    matcher = SequenceMatcher(None, old, changed, autojunk=False)
    for kind, start, stop, begin, end in matcher.get_opcodes():
        if kind == "equal":
            continue
        lines = changed[begin:end]
        if len(lines) in {0, stop - start}:
            for number in range(start, stop):
                found[number, number + 1] = lines[number - start : number - start + 1]
        else:
            found[start, stop] = lines
    return found
