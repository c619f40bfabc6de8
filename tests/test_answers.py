"""What is typed arrives unchanged in every file that shows it, or is refused: nothing in between."""

import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.conftest import Render
from tests.helpers import (
    EXTRAS,
    FREE_TEXTS,
    HOSTILE_TEXTS,
    files_of,
    read_toml,
    read_yaml,
    render,
    run,
)

# A word that no file contains by itself, in a form that every free text accepts.
MARKER = "zebrafish"
MARKED = {
    "project_name": MARKER,
    "package_name": "order_hub",
    "description": MARKER,
    "author_name": MARKER,
    "author_email": f"{MARKER}@example.com",
    "repository_url": f"https://example.com/{MARKER}",
}


def shown(project: Path) -> dict[str, dict[str, Any]]:
    """Return the free texts that each file of a project shows, as a reader of its type reads them."""
    metadata = read_toml(project / "pyproject.toml")
    answers = read_yaml(project / ".copier-answers.yml")
    author = metadata["project"]["authors"][0]
    readme = markdown_texts((project / "README.md").read_text(encoding="utf-8"))
    licence = (project / "LICENSE").read_text(encoding="utf-8")
    return {
        "pyproject.toml": {
            "package_name": metadata["tool"]["uv"]["build-backend"]["module-name"],
            "description": metadata["project"]["description"],
            "author_name": author["name"],
            "author_email": author["email"],
            "repository_url": metadata["project"].get("urls", {}).get("Repository", ""),
        },
        ".copier-answers.yml": {name: answers[name] for name in FREE_TEXTS},
        "README.md": {
            "project_name": readme[0],
            "description": readme[1] if readme[1] != "Start" else "",
            "author_name": readme[-1]
            .removeprefix("MIT, © ")
            .removesuffix(". The text is in LICENSE."),
            "repository_url": readme[-3] if "Where it lives" in readme else "",
        },
        "LICENSE": {"author_name": licence.splitlines()[2].removeprefix("Copyright (c) ")},
        "Makefile": {"project_name": run("make help", project).stdout.splitlines()[0]},
        "src": {"package_name": next(path.name for path in (project / "src").iterdir())},
    }


def markdown_texts(text: str) -> list[str]:
    """Return what a reader sees of each heading and paragraph, as CommonMark and GitHub render it."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return [
        "".join(child.content for child in token.children or [] if child.type == "text")
        for token in parser.parse(text)
        if token.type == "inline" and token.level == 1
    ]


def assert_kept_or_refused(template: Path, folder: Path, question: str, text: str) -> bool:
    """Return whether the text was accepted; fail unless it arrived everywhere or nothing was made."""
    refusal = ""
    try:
        answers: dict[str, Any] = {question: text, "examples": []}
        render(template, folder, **answers)
    except ValueError as error:
        refusal = str(error)
    if refusal:
        assert re.fullmatch(rf"Validation error for question '{question}': .*[.]", refusal)
        assert not folder.exists()
        return False
    for file, texts in shown(folder).items():
        assert texts.get(question, text) == text, file
    return True


@pytest.mark.parametrize("text", HOSTILE_TEXTS[:20])
def test_hostile_answers_arrive_side_by_side(text: str, render_small: Render) -> None:
    answers = dict.fromkeys(["project_name", "description"], f"x {text}") | {"author_name": text}

    project = render_small(**answers, examples=[])

    for texts in shown(project).values():
        assert texts == texts | {name: answers[name] for name in texts if name in answers}


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE_TEXTS)
@pytest.mark.parametrize("question", FREE_TEXTS)
def test_a_hostile_answer_is_kept_or_refused(
    question: str, text: str, small_template: Path, tmp_path: Path
) -> None:
    assert_kept_or_refused(small_template, tmp_path / "project", question, text)


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE_TEXTS)
@pytest.mark.parametrize(
    ("question", "frame"),
    [("author_email", "x{}@example.com"), ("repository_url", "https://example.com/{}")],
)
def test_a_hostile_part_of_an_address_is_kept_or_refused(
    question: str, frame: str, text: str, small_template: Path, tmp_path: Path
) -> None:
    assert_kept_or_refused(small_template, tmp_path / "project", question, frame.format(text))


# Any text at all, and text of what the file types treat as special.
WILD_TEXTS = st.text(max_size=90) | st.text(
    alphabet="aé\"'\\`$#{}[]()<>*_~|&!:;,.@%=+-/? \N{ROCKET}\N{NO-BREAK SPACE}0", max_size=90
)


@pytest.mark.slow
@pytest.mark.parametrize("question", FREE_TEXTS)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=WILD_TEXTS)
def test_any_text_is_kept_or_refused(question: str, text: str, small_template: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_kept_or_refused(small_template, Path(folder, "project"), question, text)


@pytest.mark.slow
def test_most_of_what_people_type_is_accepted(small_template: Path, tmp_path: Path) -> None:
    """The tests above would pass if everything were refused."""
    kept = [
        assert_kept_or_refused(small_template, tmp_path / str(number), "description", text)
        for number, text in enumerate(HOSTILE_TEXTS)
    ]

    assert sum(kept) >= 40


def test_an_author_with_every_licence_leaves_its_text_whole(render_project: Render) -> None:
    project = render_project(license="BSD-3-Clause", author_name="{{ x }} & Söhne")

    assert "Copyright (c) {{ x }} & Söhne\n" in (project / "LICENSE").read_text(encoding="utf-8")


def test_free_text_reaches_no_code_and_no_ci_file(render_project: Render) -> None:
    project = render_project(
        **MARKED, ci=["github", "gitlab"], updates=["ci", "renovate"], extras=EXTRAS
    )

    texts = files_of(project)
    assert {name for name in texts if MARKER.encode() in texts[name]} == {
        ".copier-answers.yml",
        "LICENSE",
        "Makefile",
        "README.md",
        "pyproject.toml",
    }


def test_nothing_that_is_typed_is_run(template: Path, tmp_path: Path) -> None:
    attack = "$(shell touch pwned) `touch pwned` $(touch pwned) ${{ github.token }}"
    project = render(template, tmp_path / "project", project_name=attack, description=attack)

    assert run("make help", project).stdout.startswith(attack)
    assert not list(tmp_path.rglob("pwned"))


def test_a_leftover_of_jinja_in_an_answer_stays_text(render_project: Render) -> None:
    project = render_project(description="{% raw %}{{ _copier_conf }}{# #}")

    assert shown(project)["pyproject.toml"]["description"] == "{% raw %}{{ _copier_conf }}{# #}"
