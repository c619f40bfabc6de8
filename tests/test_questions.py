"""Every question: what it accepts, what it refuses, and that a refusal leaves nothing behind."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment
from jinja2.meta import find_undeclared_variables

from tests.conftest import Render
from tests.helpers import ONE_OF, QUESTIONS, ROOT, SEVERAL_OF, read_yaml

QUICK = 3

ACCEPTED: dict[str, list[Any]] = {
    "project_name": ["X", "Order Hub", "O'Brien & Söhne", "日本語", "x" * 80, "2 Fast", "a  b"],
    "package_name": ["a", "order_hub", "a__b", "foo_", "x1", "a" * 50, "classes", "projects"],
    "description": ["", "x", "x" * 200, 'Say "hi" \\ {{ x }}'],
    "author_name": ["Ada", "Acme Inc.", 'Jürgen "JJ" O\'Neil', "x" * 300],
    "author_email": [
        "a@b.co",
        "o'brien+x@mail.example.com",
        "a.b-c@x-y.example",
        "a{b}@example.com",
        "a" * 242 + "@example.com",
    ],
    "repository_url": ["", "https://example.com", "https://example.com:8443/a/b.git?x=1&y=%20#z"],
    "line_length": ["72", "100", "160", 88],
    "coverage_threshold": ["0", "90", "100", 55],
    **ONE_OF,
    **{name: [[], *([one] for one in several), several] for name, several in SEVERAL_OF.items()},
}

REFUSED: dict[str, list[Any]] = {
    "project_name": ["", " ", " x", "x ", "x\n", "a\tb", "42", "--", "x" * 81, "a\u202eb", "a\ufeff"],
    "package_name": [
        "", "1a", "_a", "a-b", "a.b", "A", "aB", "é", "a b", "a\n", "a" * 51, "class", "match", "type",
        "json", "asyncio", "tomllib", "test", "tests", "pytest", "aiohttp", "yarl", "attr", "con", "lpt1",
    ],
    "description": ["x" * 201, "a\nb", "a\rb", "a\x00b", "a\u2028b", " x", "x "],
    "author_name": ["", " ", "Doe, Jane", "a\nb", "x ", "a\x1bb"],
    "author_email": [
        "", "x", "x@", "@x.org", "a b@x.org", "a@b", "a@b..org", "a@-b.org", ".a@b.org", "a@b.org\n",
        '"a"@b.org', "a@b.org,c@d.org", "<a@b.org>", "a@b_c.org", "a@[127.0.0.1]",
        "a" * 243 + "@example.com",
    ],
    "repository_url": [
        "x", "http://example.com", "ftp://example.com", "https://", "https:///x", "https://a b.com",
        'https://example.com/"', "https://example.com/'", "https://example.com/\\", "https://exa mple.com",
        "https://user:token@example.com/x", "https://example.com\n", "https://example.com/é", "https://-a.com",
        "https://example.com:99999999", "javascript:alert(1)",
    ],
    "license": ["", "mit", "WTFPL"],
    "python_version": ["", "3.10", "3.16", "3", 3.11001],
    "line_length": ["", "71", "161", "0", "-100", "100.5", "1e2", "abc", " 100", "100\n", 100.9, True],
    "coverage_threshold": ["", "-1", "101", "ninety", "90%", "9.5", 90.5, True, "1000"],
    "examples": [["client"], ["clients", "x"]],
    "ci": [["circleci"], ["GitHub"]],
    "updates": [["dependabot"], ["CI"]],
    "extras": [["renovate"], ["Editor"]],
    "docs": ["", "mkdocs", "Sphinx", True],
}  # fmt: skip


def cases(answers: dict[str, list[Any]]) -> list[Any]:
    """Return each question with each of its answers, of which the first few are not slow."""
    return [
        pytest.param(name, answer, marks=[pytest.mark.slow] * (number >= QUICK))
        for name in answers
        for number, answer in enumerate(answers[name])
    ]


def in_any_order(answer: object) -> object:
    """Return numbers as they were typed, and several choices without their order."""
    return sorted(answer) if isinstance(answer, list) else str(answer)


# Renders in which every answer is given at least once.
SIDE_BY_SIDE = [
    {name: answers[number % len(answers)] for name, answers in ACCEPTED.items()}
    for number in range(max(map(len, ACCEPTED.values())))
]


@pytest.mark.parametrize("answers", SIDE_BY_SIDE)
def test_answers_are_accepted_and_recorded(answers: dict[str, Any], render_small: Render) -> None:
    project = render_small(**answers)

    recorded = read_yaml(project / ".copier-answers.yml")
    assert {name: in_any_order(recorded[name]) for name in answers} == {
        name: in_any_order(answer) for name, answer in answers.items()
    }


CHOICES = {name: answers for name, answers in REFUSED.items() if "choices" in QUESTIONS[name]}
TEXTS = {name: answers for name, answers in REFUSED.items() if name not in CHOICES}


@pytest.mark.parametrize(("question", "answer"), cases(CHOICES))
def test_what_is_no_choice_is_refused_by_name_and_leaves_nothing(
    question: str, answer: object, render_small: Render, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"for.* '{question}': .+"):
        render_small(**{question: answer})

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("question", "answer"), cases(TEXTS))
def test_a_refusal_says_what_to_type_instead_and_leaves_nothing(
    question: str, answer: object, render_small: Render, tmp_path: Path
) -> None:
    """First, and within the 80 columns that a terminal shows while it asks."""
    with pytest.raises(ValueError, match="type") as refusal:
        render_small(**{question: answer})

    start = f"Validation error for question '{question}': type [^:]+: "
    assert re.match(start, str(refusal.value)[:81])
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_fits_into_a_terminal(name: str) -> None:
    assert len(QUESTIONS[name]["help"]) < 80


def test_every_question_is_tested() -> None:
    assert set(ACCEPTED) == set(REFUSED) == set(QUESTIONS)


def test_every_answer_is_used() -> None:
    settings = read_yaml(ROOT / "copier.yml")
    own = [text for name, texts in settings.items() if name[0] == "_" for text in texts]
    files = (ROOT / "template").rglob("*.jinja")
    names = [path.name for path in (ROOT / "template").rglob("*")]
    texts = [*own, *names, *(file.read_text("utf-8") for file in files)]

    parse = Environment().parse  # noqa: S701 - nothing here is HTML
    used = {name for text in texts for name in find_undeclared_variables(parse(text))}
    assert set(QUESTIONS) - used == set()


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_has_a_default_and_an_example(name: str) -> None:
    question = QUESTIONS[name]

    assert "default" in question
    assert "e.g." in question["help"] or "choices" in question or name == "description"


def test_the_template_asks_for_no_trust() -> None:
    settings = read_yaml(ROOT / "copier.yml")

    assert not {"_tasks", "_migrations", "_jinja_extensions", "_external_data"} & set(settings)


def test_no_file_of_the_template_needs_more_than_choices() -> None:
    """A name that Jinja would have to compute per choice is a file nobody can lint."""
    names = itertools.chain.from_iterable(
        path.relative_to(ROOT).parts for path in (ROOT / "template").rglob("*")
    )

    assert {name for name in names if "{" in name} == {
        "{{ package_name }}",
        "{{ _copier_conf.answers_file }}.jinja",
    }
