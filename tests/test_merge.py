"""Merges of one text: versions are settled, changes that touch are put together, and the rest is a conflict."""

from pathlib import Path

import pytest
from tooling.merge import Merged, merge

from tests.helpers import stub


@pytest.mark.parametrize(
    ("own", "new", "winner", "sentence"),
    [
        ("x==1.10", "x==1.9", "x==1.10", "x 1.10 is yours; the template has 1.9"),
        ("x==1.9", "x==1.10", "x==1.10", "x 1.10 is the template's; you had 1.9"),
        ("x==2.0rc1", "x==2.0", "x==2.0", "x 2.0 is the template's; you had 2.0rc1"),
        (
            'day = "2026-12-01"',
            'day = "2026-11-30T00:00:00Z"',
            'day = "2026-12-01"',
            "day 2026-12-01 is yours; the template has 2026-11-30T00:00:00Z",
        ),
        (
            f"a/b@{'0' * 40} # v7.1.0",
            f"a/b@{'f' * 40} # v7.0.9",
            f"a/b@{'0' * 40} # v7.1.0",
            "a/b v7.1.0 is yours; the template has v7.0.9",
        ),
    ],
)
def test_the_newer_version_wins(own: str, new: str, winner: str, sentence: str) -> None:
    old = {"x": "x==1.0", "d": 'day = "2026-01-01"', "a": f"a/b@{'1' * 40} # v1.0.0"}[own[0]]

    merged = merge(f"{old}\n", f"{own}\n", f"{new}\n")

    assert merged.text == f"{winner}\n"
    assert merged.settled == [sentence]
    assert not merged.has_conflicts


def test_a_version_that_was_moved_is_settled_too() -> None:
    old, new = (f"a = 1\nx=={version}\nb = 2\nc = 3\nd = 4\n" for version in ["1.0", "1.1"])

    merged = merge(old, "b = 2\nc = 3\nd = 4\na = 1\nx==1.0\n", new)

    assert merged.text == "b = 2\nc = 3\nd = 4\na = 1\nx==1.1\n"
    assert not merged.has_conflicts


@pytest.mark.parametrize(
    ("own", "named"),
    [('- "3.12"\n', "the version 3.13"), ("uv>=1.0,<3.12\n", "uv 3.13")],
)
def test_a_version_without_a_name_before_it_is_named(own: str, named: str) -> None:
    merged = merge(own.replace("3.12", "3.11"), own, own.replace("3.12", "3.13"))

    assert merged.settled == [f"{named} is the template's; you had 3.12"]


def test_a_list_of_versions_is_no_version_that_is_settled() -> None:
    """Of which one was removed is told by its place, which changes where another is removed."""
    old, own, new = (
        f"python: {versions}\n"
        for versions in (
            '["3.11", "3.12", "3.13", "3.14"]',
            '["3.11", "3.12", "3.14"]',
            '["3.12", "3.13", "3.14", "3.15"]',
        )
    )

    merged = merge(old, own, new)

    assert merged == Merged('python: ["3.12", "3.14", "3.15"]\n', has_conflicts=False, settled=[])


def test_an_item_that_both_sides_added_to_a_line_is_there_once() -> None:
    texts = ('x = ["a", "b"]\n', 'x = ["b", "c", "d"]\n', 'x = ["a", "b", "c"]\n')

    merged = merge(*texts)

    assert merged == Merged('x = ["b", "c", "d"]\n', has_conflicts=False, settled=[])


@pytest.mark.parametrize(
    ("old", "own", "new"),
    [
        ("seconds = 0.5\n", "seconds = 0.1\n", "seconds = 0.4\n"),
        ("seconds = 0.5\n", "seconds = 0.1\n", ""),
    ],
)
def test_a_number_is_no_version(old: str, own: str, new: str) -> None:
    assert merge(old, own, new).has_conflicts


def test_a_users_line_that_looks_like_the_templates_keeps_its_version() -> None:
    texts = ("v:\n  - 3.11.0\n", "v:\n  - 3.10.0\n  - 3.11.0\n", "v:\n  - 3.12.0\n")

    merged = merge(*texts)

    assert merged.text == "v:\n  - 3.10.0\n  - 3.12.0\n"


@pytest.mark.parametrize(
    ("own", "new", "merged"),
    [("x==1.1\n", "", ""), ("", "x==1.1\n", ""), ("x>=1.0\n", "x==1.1\n", "x>=1.0\n")],
)
def test_what_one_side_gave_up_is_not_brought_back_by_a_version(
    own: str, new: str, merged: str
) -> None:
    assert merge("x==1.0\n", own, new) == Merged(merged, has_conflicts=False, settled=[])


@pytest.mark.parametrize(
    ("old", "own", "new"),
    [
        ("timeout = 30\n", "timeout = 60\n", "timeout = 31\n"),
        ("seconds = 0.5\n", "seconds = 0.2\n", "seconds = 0.8\n"),
        ("- id: a\n", "- id: a\n  y: 2\n", "- id: b\n"),
        ("a = 1\n", "a = 1\nb = 2\n", "a = 1\nb = 3\n"),
        ("a = 1\n", "", "a = 2\n"),
        ("a = 1\nb = 2\nc = 3\n", "x = 9\n", "a = 1\nb = 4\nc = 3\n"),
        ("a = 1\r\n", "a = 2\r\n", "a = 3\r\n"),
        ("a = 1\n", "a = \0\n", "a = 3\n"),
    ],
)
def test_what_cannot_both_be_is_a_conflict(old: str, own: str, new: str) -> None:
    merged = merge(old, own, new)

    assert merged.has_conflicts
    assert "<<<<<<< yours\n" in merged.text


# What is indented below a line, or below a heading, is a part of that: all, the same with a line more, and
# what is left without the first block.
BLOCKS = [
    (
        "- id: a\n  x: 1\n  y: 2\n- id: b\n",
        "- id: a\n  x: 1\n  z: 3\n  y: 2\n- id: b\n",
        "- id: b\n",
    ),
    (
        "one:\n\tfirst\n\ntwo:\n\tlast\n",
        "one:\n\tfirst\n\tmore\n\ntwo:\n\tlast\n",
        "two:\n\tlast\n",
    ),
    (
        "[one]\na = 1\nb = 2\n[two]\nc = 3\n",
        "[one]\na = 1\nz = 3\nb = 2\n[two]\nc = 3\n",
        "[two]\nc = 3\n",
    ),
]


@pytest.mark.parametrize(("old", "more", "rest"), BLOCKS)
def test_what_the_template_adds_to_a_block_goes_with_the_block(
    old: str, more: str, rest: str
) -> None:
    assert merge(old, rest, more) == Merged(rest, has_conflicts=False, settled=[])


@pytest.mark.parametrize(("old", "more", "rest"), BLOCKS)
def test_what_somebody_added_to_a_block_that_goes_is_a_conflict(
    old: str, more: str, rest: str
) -> None:
    assert merge(old, more, rest).has_conflicts


def test_lines_are_not_lost_when_git_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(stub(tmp_path / "bin", {"git": "kill -9 $$"})))

    merged = merge("a = 1\n", "a = 2\n", "a = 3\n")

    assert merged.has_conflicts
    assert "a = 2\n" in merged.text


@pytest.mark.parametrize(
    ("old", "own", "new"),
    [
        ("[a]\nx = 1\n[b]\ny = 1\n", "[a]\nx = 1\n[b]\ny = 1\nz = 1\n", "[a]\nx = 1\n"),
        ("a:\n  b: 1\nc: 1\n", "a:\n  b: 1\n  d: 1\nc: 1\n", "c: 1\n"),
        ("seeds =\n", "seeds = 5\n", "seeds = 6\n"),
        ("x = []\n", 'x = ["a"]\n', 'x = ["b"]\n'),
        ('x = ["a", "b"]\n', 'x = ["a"]\n', 'x = ["b"]\n'),
        ("a = 1\nb = 1\n", "c = 1\nd = 1\n", "a = 1\nb = 2\n"),
        ("x = [\n]\n", 'x = [\n    "a==1.0",\n]\n', 'x = [\n    "a==1.1", # why\n]\n'),
    ],
)
def test_what_would_mean_something_else_together_is_a_conflict(
    old: str, own: str, new: str
) -> None:
    assert merge(old, own, new).has_conflicts


def test_what_goes_on_with_a_section_comes_before_the_next() -> None:
    for own, new in [("y = 1\n", "[b]\nz = 1\n"), ("\n[b]\nz = 1\n", "y = 1\n")]:
        merged = merge("[a]\nx = 1\n", f"[a]\nx = 1\n{own}", f"[a]\nx = 1\n{new}")

        assert not merged.has_conflicts
        assert merged.text.index("y = 1\n") < merged.text.index("[b]\nz = 1\n")


def test_what_the_template_adds_to_what_the_user_deleted_stays_away() -> None:
    old = "- id: a\n  name: a\n- id: b\n  name: b\n"
    own = "- id: a\n  name: a\n"
    new = f"{old}  serial: true\n- id: c\n  name: c\n"

    merged = merge(old, own, new)

    assert merged == Merged(f"{own}- id: c\n  name: c\n", has_conflicts=False, settled=[])


def test_line_ends_that_the_user_changed_are_kept() -> None:
    merged = merge("x==1.0\na = 1\nb = 1\n", "x==1.0\r\na = 2\r\nb = 1\r\n", "x==1.1\na = 1\n")

    assert merged == Merged("x==1.1\r\na = 2\r\n", has_conflicts=False, settled=[])


def test_a_comment_that_both_changed_is_the_users() -> None:
    texts = ("# One.\na = 1\n", "# Mine.\na = 2\n", "# Two.\na = 1\n")

    assert merge(*texts) == Merged(texts[1], has_conflicts=False, settled=[])


def test_changes_of_code_that_touch_are_a_conflict() -> None:
    texts = ("a()\nb()\n", "A()\nb()\n", "a()\nB()\n")

    assert merge(*texts).text == "A()\nB()\n"
    assert merge(*texts, adjoining=False).has_conflicts
