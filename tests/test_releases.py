"""Releases: the commit that brings a heading gets its tag, once."""

import shutil
from pathlib import Path

import pytest

from tests.helpers import ROOT, commit_all, run

CHANGELOG = "# Changelog\n\n## Unreleased\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with two releases, a commit after each, and a remote beside it."""
    folder = tmp_path / "template"
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    (folder / "CHANGELOG.md").write_text(CHANGELOG)
    commit_all(folder)
    for headings in [
        "\n## 0.9.0 (2026-01-01)\n",
        "\n- A line.\n\n## 0.9.0 (2026-01-01)\n",
        "\n## 0.10.0 (2026-01-02)\n\n- A line.\n\n## 0.9.0 (2026-01-01)\n",
        "\n- More.\n\n## 0.10.0 (2026-01-02)\n\n- A line.\n\n## 0.9.0 (2026-01-01)\n",
    ]:
        (folder / "CHANGELOG.md").write_text(CHANGELOG + headings)
        run(["git", "commit", "--quiet", "--all", "--message", headings.split()[1]], folder)
    run("git init --quiet --bare ../remote", folder)
    return folder


def test_each_release_is_tagged_where_its_heading_came(repository: Path) -> None:
    done = run(".ci/tag", repository, REMOTE="../remote")

    assert done.stdout == "Tagged 0.10.0.\nTagged 0.9.0.\n"
    tagged = run(["git", "log", "--all", "--format=%s%d"], repository.parent / "remote").stdout
    assert tagged.splitlines()[0] == "0.10.0 (tag: 0.10.0)"
    assert "0.9.0 (tag: 0.9.0)" in tagged


def test_what_has_a_tag_keeps_it(repository: Path) -> None:
    run("git tag 0.9.0 HEAD", repository)
    before = run("git rev-parse 0.9.0", repository).stdout

    done = run(".ci/tag", repository, REMOTE="../remote")

    assert done.stdout == "Tagged 0.10.0.\n"
    assert run("git rev-parse 0.9.0", repository).stdout == before


def test_a_push_that_fails_fails(repository: Path) -> None:
    assert run(".ci/tag", repository, REMOTE="../nowhere").returncode != 0
