"""The gates are the same everywhere: in hooks, make, CI, the matrix and the page about them."""

import re
from pathlib import Path

import pytest

from template.tests.guard.watch import CHECKS
from tests.gates_page import counted, gates_page
from tests.helpers import ROOT, read_yaml, run
from tests.pairs import PAIRS, STATIC, handlers
from tests.test_house_rules import RULES

# The checks that a new project has on, and the one that only cancellation runs have.
SETTINGS = (ROOT / "template/pytest.ini.jinja").read_text("utf-8")
ON = re.findall(
    r"(?m)^    ([a-z-]+)$", SETTINGS.partition("\nguard_checks =")[2].partition("\n{%")[0]
)
CANCEL = "not-safe-to-cancel"

GIVEN_IN_MAKE = re.compile(r"(?m)^\S*\.venv/bin/(\S+)([^&\n]*)")


def commands_of_check(project: Path) -> dict[str, str]:
    """Return what `make check` would run, by the name of the tool."""
    stages = re.findall(r"(?m)^[A-Z_]+ := [a-z-]+=(.+)$", (project / "tooling.mk").read_text())
    gates = [f"gate-{gate}" for stage in [*stages, "pytest"] for gate in stage.split(",")]
    plan = run(f"make -n {' '.join(gates)} IN_REPOSITORY=yes PROCESSES=", project).stdout
    plan = re.sub(r"(?m)^.*/changed[.]py .*? (?=\S*[.]venv/bin)", "", plan)
    return {name: rest.strip() for name, rest in GIVEN_IN_MAKE.findall(plan)}


def test_every_hook_is_part_of_make_check(full_project: Path) -> None:
    config = read_yaml(full_project / ".pre-commit-config.yaml")
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    make = commands_of_check(full_project)

    tools = {hook["id"] for hook in hooks if "manual" not in hook.get("stages", [])}
    assert tools == make.keys() - {"pre-commit"}
    assert make["pre-commit"] == "run --hook-stage manual --files"


def test_the_matrix_runs_the_commands_of_make_check(full_project: Path) -> None:
    make = commands_of_check(full_project)
    said = re.compile(
        r" --(output-format|report-style)=\w+| --(quiet|diff|no-error-summary|filter-files|all-files|files)"
        r"|(?<=\S) \.$"
    )

    for gate, command in STATIC.items():
        name, _, arguments = command.partition(" ")
        assert said.sub("", f" {arguments}").strip() == said.sub("", f" {make[name]}").strip(), gate


HANDLERS = [
    "except:",
    "except BaseException:",
    "except (OSError, asyncio.CancelledError) as error:",
    "except OSError, asyncio.CancelledError:",
    "except* asyncio.CancelledError:",
    "except (  # all of these",
    "except anyio.get_cancelled_exc_class():",
    *[pair.defect for pair in PAIRS if pair.gate == "flake8-async"],
]


@pytest.mark.parametrize("text", HANDLERS)
def test_make_lint_leaves_no_handler_out_that_may_catch_a_cancellation(
    text: str, full_project: Path
) -> None:
    assert re.search(handlers(full_project), text, re.MULTILINE)


@pytest.mark.parametrize("text", ["except OSError:", "except (OSError, ValueError) as error:"])
def test_make_lint_leaves_other_handlers_out(text: str, full_project: Path) -> None:
    """flake8-async takes a tenth of a second for a file."""
    assert not re.search(handlers(full_project), text, re.MULTILINE)


def test_each_class_has_several_pairs() -> None:
    letters = [pair.key[0] for pair in PAIRS]

    assert set(letters) == set("abcdefghijkl")
    assert min(map(letters.count, letters)) >= 5
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)


@pytest.mark.parametrize("rule", [file.stem for file in RULES])
def test_every_house_rule_has_a_pair(rule: str) -> None:
    assert [pair for pair in PAIRS if pair.rule == rule]


@pytest.mark.parametrize("check", ON)
def test_every_check_of_the_guard_has_a_pair(check: str) -> None:
    assert [pair for pair in PAIRS if pair.rule == f"guard_checks: {check}"]


def test_every_check_of_the_guard_is_on() -> None:
    assert set(ON) == CHECKS.keys() - {CANCEL}


def test_every_check_of_the_guard_is_explained() -> None:
    readme = (ROOT / "template/tests/guard/README.md").read_text("utf-8")
    table = readme.partition("| check |")[2].partition("\n\n")[0]
    explained = re.findall(r"`([a-z-]+)`", re.sub(r"(?m)\|[^|]*\|$", "", table))

    assert sorted(explained) == sorted(ON)


def test_the_page_of_the_gates_is_up_to_date() -> None:
    assert (ROOT / "docs/gates.md").read_text(encoding="utf-8") == gates_page()


def test_the_readme_says_how_many_defects_are_stopped() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")

    assert f"{len(PAIRS)} defects that are stopped" in readme
    assert counted(readme) == readme
