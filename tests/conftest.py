"""Fixtures: the template as a commit, and projects that are rendered from it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT, commit_all, render, run

Render = Callable[..., Path]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository whose HEAD is the template as it is now, changes not committed included."""
    folder = tmp_path_factory.mktemp("template") / "copier-async"
    listing = run("git ls-files -z --cached --others --exclude-standard", ROOT).stdout
    for name in listing.rstrip("\0").split("\0"):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    commit_all(folder)
    return folder


@pytest.fixture
def render_project(template: Path, tmp_path: Path) -> Render:
    """Return a function that renders a project of some answers and returns its folder."""

    def render_into(name: str = "project", **answers: Any) -> Path:  # noqa: ANN401 - any answer
        return render(template, tmp_path / name, **answers)

    return render_into


@pytest.fixture(scope="session")
def default_project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project of all defaults. Tests read it and change nothing."""
    return render(template, tmp_path_factory.mktemp("default") / "project")
