"""Compatibility: what a release asked is asked still, and what it accepted is accepted."""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers import (
    QUESTIONS,
    RELEASES,
    ROOT,
    choices_of,
    commit_all,
    commit_of,
    read_yaml,
    render,
    run,
)
from tests.test_questions import REFUSED

# What an answers file is rendered from, so that an answer is recorded and nothing else is made.
ANSWERS = "template/{{ _copier_conf.answers_file }}.jinja"

# Returns the folder of a release's questions, or of those that are tested here.
Questions = Callable[[str], Path]

TYPED = [name for name, question in QUESTIONS.items() if "choices" not in question]


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Questions:
    """Return a function that gives a template with the questions of a release alone."""

    @cache
    def questions(version: str) -> Path:
        folder = tmp_path_factory.mktemp("questions") / "template"
        commit = "HEAD" if version == "now" else commit_of(version)
        for name in run(f"git ls-tree --name-only {commit}", ROOT).stdout.split():
            if name == "copier.yml" or name.endswith(".jinja"):
                keep(commit, name, folder)
        keep(commit, ANSWERS, folder)
        commit_all(folder)
        return folder

    return questions


def keep(commit: str, name: str, folder: Path) -> None:
    """Write a file of a commit into a folder."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(run(["git", "show", f"{commit}:{name}"], ROOT).stdout, encoding="utf-8")


def accepts(
    template: Path, folder: Path, question: str, answer: Any  # noqa: ANN401 - what YAML can say
) -> bool:
    """Return whether a template asks that and takes the answer. Releases with the same rule say the same."""
    if question not in read_yaml(template / "copier.yml"):
        return False
    rule = (rule_of(template, question), repr(answer))
    if rule not in VERDICTS:
        try:
            render(template, folder, **{question: answer})
        except ValueError:
            VERDICTS[rule] = False
        else:
            VERDICTS[rule] = True
    return VERDICTS[rule]


VERDICTS: dict[tuple[str, str], bool] = {}


@cache
def rule_of(template: Path, question: str) -> str:
    """Return all that decides what a question accepts: its definition, and what that imports."""
    rule = question + json.dumps(read_yaml(template / "copier.yml")[question])
    for file in sorted(template.glob("*.jinja")) * 2:
        text = file.read_text("utf-8")
        rule += text * (file.name in rule and text not in rule)
    return rule


@pytest.mark.parametrize("version", RELEASES)
def test_every_question_of_a_release_is_asked_still_and_has_a_default(
    version: str, questions: Questions
) -> None:
    asked = read_yaml(questions(version) / "copier.yml")
    now = read_yaml(questions("now") / "copier.yml")

    assert {name for name in asked if name[0] != "_"} <= now.keys()
    assert all("default" in question for name, question in now.items() if name[0] != "_")


# What people type, and what stands in files of theirs: where a release has it, and how it is told there.
NAMES = {
    "targets": ("template", r"(?m)^([a-z][a-z-]*):.* ## "),
    "variables": ("template", r"(?m)^##-.*? ([A-Z]+)="),
    "checks and settings of the guard": (
        "template/pytest.ini.jinja",
        r"(?m)^(guard_[a-z_]+|    [a-z-]+)\b",
    ),
    "options of the guard": ("template/tests/guard/plugin.py", r'"(--[a-z-]+)"'),
    "house rules": ("template/rules", r"(?m)^id: (\S+)$"),
    "targets of the template": ("Makefile", r"(?m)^(new|adopt|update):"),
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("version", RELEASES)
def test_every_name_of_a_release_is_there_still(version: str, kind: str) -> None:
    then, now = (names(kind, commit) for commit in (commit_of(version), "HEAD"))

    assert then - now == set()
    assert now


def names(kind: str, commit: str) -> set[str]:
    """Return the names of a kind that a commit has."""
    place, pattern = NAMES[kind]
    texts = run(["git", "grep", "-h", "", commit, "--", place], ROOT).stdout
    return set(re.findall(pattern, texts))


@pytest.mark.slow
@pytest.mark.parametrize("version", RELEASES)
def test_every_choice_of_a_release_can_be_chosen_still(
    version: str, questions: Questions, tmp_path: Path
) -> None:
    asked = read_yaml(questions(version) / "copier.yml")
    pythons = re.findall(r'"(3\.\d+)"', (questions(version) / "versions.jinja").read_text())
    answers = [
        (name, [choice] if "multiselect" in question else choice)
        for name, question in asked.items()
        if name[0] != "_" and "choices" in question
        for choice in choices_of(question, pythons)
    ]

    refused = [
        (name, answer)
        for name, answer in answers
        if not accepts(questions("now"), tmp_path / "project", name, answer)
    ]

    assert {"license", "python_version", "examples", "ci"} <= {name for name, _ in answers}
    assert refused == []


@pytest.mark.slow
@pytest.mark.parametrize("version", RELEASES)
def test_what_is_refused_now_no_release_accepted(
    version: str, questions: Questions, tmp_path: Path
) -> None:
    """An answer that a release took is recorded in projects, which could not be updated then."""
    accepted = [
        (question, answer)
        for question, answers in REFUSED.items()
        for answer in answers
        if accepts(questions(version), tmp_path / "project", question, answer)
    ]

    assert accepted == []


@pytest.mark.slow
@settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    version=st.sampled_from(RELEASES),
    question=st.sampled_from(TYPED),
    answer=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
    | st.from_regex(r"\A[a-z][a-z0-9_]{1,30}\Z")
    | st.from_regex(r"\A[a-z.+]{1,10}@[a-z-]{1,10}\.[a-z]{2,5}\Z")
    | st.from_regex(r"\Ahttps://[a-z.-]{1,15}/[a-z~%#?=./]{0,15}\Z")
    | st.from_regex(r"\A[0-9]{2,3}\Z"),
)
def test_any_answer_that_a_release_accepts_is_accepted_now(
    version: str, question: str, answer: Any, questions: Questions, tmp_path: Path  # noqa: ANN401
) -> None:
    accepted = accepts(questions(version), tmp_path / "project", question, answer)

    assert not accepted or accepts(questions("now"), tmp_path / "project", question, answer)
