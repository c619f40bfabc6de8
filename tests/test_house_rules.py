"""The house rules: each has tests that it passes, none raises a false alarm in foreign code."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT, read_toml, read_yaml, run

AST_GREP = str(ROOT / ".venv/bin/ast-grep")
RULES = sorted((ROOT / "template/rules").glob("*.yml"))
IGNORE = "ast-grep-" + "ignore"  # in two parts, as the hook that looks for it reads this file too
FOREIGN = read_toml(ROOT / "tests/foreign_hits.toml")


def hook(project: Path, name: str) -> dict[str, Any]:
    """Return a git hook of a project."""
    config = read_yaml(project / ".pre-commit-config.yaml")
    hooks = {hook["id"]: hook for hook in config["repos"][0]["hooks"]}
    return dict(hooks[name])


def scan(project: Path, file: Path, *flags: str) -> list[tuple[str, str]]:
    """Return what the rules of a project say of a file or folder: the rule's id, and where."""
    command = hook(project, "ast-grep")["entry"].split()[1:]
    done = run([AST_GREP, *command, *flags, str(file)], project)
    hits = re.findall(r"(?m)^(.+?:\d+):\d+: error\[(.+?)\]", done.stdout)
    assert done.returncode == bool(hits), done.stdout
    return sorted((rule, where.removeprefix(f"{file}/")) for where, rule in hits)


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_a_rule_says_what_is_wrong_and_what_to_do(file: Path) -> None:
    rule = read_yaml(file)

    assert (rule["id"], rule["severity"]) == (file.stem, "error")
    assert rule["message"].endswith(".")
    assert rule["note"].endswith(".")


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.stem)
def test_a_rule_has_code_that_passes_and_code_that_does_not(file: Path) -> None:
    examples = read_yaml(file.parent / "tests" / f"{file.stem}-test.yml")

    assert examples["id"] == file.stem
    assert examples["valid"]
    assert examples["invalid"]


def test_the_rules_of_a_project_pass_their_tests(full_project: Path) -> None:
    command = hook(full_project, "house-rules-tests")["entry"].split()[1:]

    done = run([AST_GREP, *command], full_project)

    assert done.returncode == 0, done.stdout
    assert f"test result: ok. {len(RULES)} passed; 0 failed;" in done.stdout


def test_a_suppression_accepts_a_hit_of_its_rule(full_project: Path, tmp_path: Path) -> None:
    file = tmp_path / "job.py"
    file.write_text(
        "session = aiohttp.ClientSession()  # ast-grep-ignore: session-without-timeout\n"
    )

    assert scan(full_project, file, "--off=global-of-one-loop") == []


def test_a_suppression_of_nothing_fails(full_project: Path, tmp_path: Path) -> None:
    file = tmp_path / "job.py"
    file.write_text(f"number = 1  # {IGNORE}: session-without-timeout\n")

    assert scan(full_project, file) == [("unused-suppression", f"{file}:1")]


@pytest.mark.parametrize("rules", ["", " all of it", ":"])
def test_a_suppression_without_a_rule_is_refused(rules: str, full_project: Path) -> None:
    entry = hook(full_project, "named-suppressions")["entry"]

    assert re.search(entry, f"x = 1  # {IGNORE}{rules}")


def test_a_suppression_with_a_rule_is_not_refused(full_project: Path) -> None:
    entry = hook(full_project, "named-suppressions")["entry"]

    assert not re.search(entry, f"x = 1  # {IGNORE}: await-in-update")


@pytest.mark.slow
def test_every_hit_in_foreign_code_has_a_verdict(
    full_project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("foreign")
    newest = read_toml(ROOT / "pyproject.toml")["tool"]["uv"]["exclude-newer"]
    install = ["uv", "pip", "install", "--quiet", "--no-deps", "--exclude-newer", newest]
    install += ["--python", sys.executable, "--target", str(folder), *FOREIGN["packages"]]
    done = run(install, ROOT)
    assert done.returncode == 0, done.stdout

    hits = scan(full_project, folder, "--off=unexplained-pragma", "--off=types-off")

    assert hits == sorted((hit["rule"], where) for hit in FOREIGN["hit"] for where in hit["where"])


def test_every_verdict_on_foreign_code_is_that_the_rule_is_right() -> None:
    assert all(hit["verdict"].startswith("right") for hit in FOREIGN["hit"])
