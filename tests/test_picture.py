"""The README's picture shows what a project prints today."""

import pytest

from tests.conftest import Pipeline
from tests.helpers import ROOT, on_a_terminal
from tests.picture import COMMAND, VARIABLES, picture, plant_the_bug, words_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("commands")]


def test_the_picture_is_up_to_date(pipeline: Pipeline) -> None:
    pipeline.run(COMMAND)
    plant_the_bug(pipeline.folder)

    output = on_a_terminal(COMMAND, pipeline.folder, UV_PYTHON=pipeline.python, **VARIABLES)

    assert words_of(picture(output)) == words_of((ROOT / "docs/quality.svg").read_text("utf-8"))


def test_the_picture_fetches_nothing() -> None:
    drawing = (ROOT / "docs/quality.svg").read_text("utf-8")

    assert "http" not in drawing.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "@font-face" not in drawing
