"""One version, one setting, one name: what stands in several files says the same everywhere."""

import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import Render
from tests.helpers import (
    EXAMPLES,
    PYTHONS,
    ROOT,
    files_of,
    pythons_of,
    read_toml,
    read_yaml,
    render,
    run,
)

TARGETS = [
    "help", "setup", "format", "lint", "typecheck", "test", "coverage", "quality", "check", "hooks",
    "update", "check-update", "update-request", "demo", "profile", "worker", "pitfalls", "clean",
]  # fmt: skip


def pins(requirements: list[str]) -> dict[str, str]:
    return dict(requirement.split("==") for requirement in requirements)


def tracked_files() -> list[str]:
    listing = run("git ls-files --cached --others --exclude-standard", ROOT).stdout
    return [name for name in listing.splitlines() if (ROOT / name).exists()]


def test_the_template_runs_the_tools_that_it_gives(full_project: Path) -> None:
    own = read_toml(ROOT / "pyproject.toml")
    given = read_toml(full_project / "pyproject.toml")

    own_pins = pins(own["dependency-groups"]["tooling"])
    given_pins = pins(given["dependency-groups"]["tooling"])
    assert own_pins.items() <= given_pins.items()
    assert set(given_pins) - set(own_pins) == {
        "aiointercept",
        "looptime",
        "packaging",
        "pytest-asyncio",
        "rich",
        "types-aiofiles",
    }


@pytest.mark.parametrize(
    "setting",
    [("uv", "exclude-newer"), ("uv", "python-downloads"), ("ruff", "lint", "select"),
     ("ruff", "lint", "ignore"), ("ruff", "lint", "external"), ("mypy", "strict"), ("mypy", "enable_error_code"), ("isort", "profile")],
)  # fmt: skip
def test_the_template_holds_itself_to_the_settings_that_it_gives(
    setting: tuple[str, ...], full_project: Path
) -> None:
    own = read_toml(ROOT / "pyproject.toml")["tool"]
    given = read_toml(full_project / "pyproject.toml")["tool"]
    for key in setting:
        own, given = own[key], given[key]

    assert own == given


def test_every_tool_is_pinned_exactly(full_project: Path) -> None:
    groups = read_toml(full_project / "pyproject.toml")["dependency-groups"]

    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", pin) for pin in groups["tooling"])
    assert list(pins(groups["tooling"])) == sorted(pins(groups["tooling"]))


def actions_of_projects() -> set[str]:
    """Return the actions that workflows of projects use."""
    workflows = (ROOT / "template/.github/workflows").iterdir()
    return {action for file in workflows for action in re.findall(r"uses: (.+)@", file.read_text())}


@pytest.mark.parametrize("docs", ["none", "sphinx"])
def test_bots_leave_to_the_template_what_that_pins(docs: str, render_project: Render) -> None:
    """Copier, which Renovate runs, takes a pin that both raised for a conflict."""
    project = render_project(
        examples=EXAMPLES, updates=["renovate"], extras=["dependabot"], docs=docs
    )
    groups = read_toml(project / "pyproject.toml")["dependency-groups"]
    tools = pins(groups["tooling"] + groups.get("docs", []))
    rule = read_yaml(project / "renovate.json")["packageRules"][1]
    packages, actions = (
        {ignored["dependency-name"] for ignored in ecosystem["ignore"]}
        for ecosystem in read_yaml(project / ".github/dependabot.yml")["updates"]
    )

    assert set(rule["matchPackageNames"]) == {*tools, *actions_of_projects(), "uv_build"}
    assert rule["enabled"] is False
    assert packages == {*tools, "uv_build"}
    assert actions == actions_of_projects()


def test_a_site_is_built_by_what_builds_that_of_the_template(render_project: Render) -> None:
    own = read_toml(ROOT / "pyproject.toml")["dependency-groups"]["docs"]
    given = read_toml(render_project(docs="sphinx") / "pyproject.toml")["dependency-groups"]["docs"]

    assert own == given
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", pin) for pin in given)


def test_an_action_has_one_version() -> None:
    workflows = [*ROOT.glob(".github/workflows/*"), *ROOT.glob("template/.github/workflows/*")]
    uses = {use for file in workflows for use in re.findall(r"uses: (.+)", file.read_text())}

    assert len({use.partition("@")[0] for use in uses}) == len(uses)


def test_copier_has_one_version(full_project: Path) -> None:
    version = pins(read_toml(ROOT / "pyproject.toml")["dependency-groups"]["copier"])["copier"]

    assert f"\nCOPIER_VERSION := {version}\n" in (full_project / "Makefile").read_text()


def test_what_attests_has_one_version_and_the_date_of_the_pins(render_project: Render) -> None:
    own = read_toml(ROOT / "pyproject.toml")
    version = own["dependency-groups"]["attest"][0]
    date = own["tool"]["uv"]["exclude-newer"]
    makefile = (render_project(extras=["publishing"]) / "Makefile").read_text()

    assert f" --exclude-newer {date} --from {version} pypi-attestations\n" in makefile


def test_uv_has_one_version(full_project: Path) -> None:
    makefile = (full_project / "tooling.mk").read_text()
    version = re.search(r"^UV_VERSION := (.+)$", makefile, re.MULTILINE)
    requires = read_toml(full_project / "pyproject.toml")["build-system"]["requires"]

    assert version
    assert requires[0].startswith(f"uv_build>={version[1]},")


def test_every_target_is_there_with_a_line_of_help(full_project: Path) -> None:
    lines = run("make", full_project).stdout.splitlines()
    helped = [line.split()[1] for line in lines if line.startswith("make ")]

    assert sorted(helped) == sorted(TARGETS)


def test_hooks_run_the_tools_of_the_environment_and_nothing_from_outside(
    full_project: Path,
) -> None:
    config = read_yaml(full_project / ".pre-commit-config.yaml")
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]

    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    assert {hook["language"] for hook in hooks} == {"unsupported", "pygrep", "fail"}
    for hook in hooks:
        assert hook["language"] != "unsupported" or hook["entry"].startswith(".venv/bin/")


def test_hooks_and_make_give_the_tools_the_same_arguments(full_project: Path) -> None:
    """What make adds or leaves out is where to look: hooks get the files of the commit."""
    makefile = (full_project / "tooling.mk").read_text()
    config = read_yaml(full_project / ".pre-commit-config.yaml")
    entries = {hook["id"]: hook["entry"] for hook in config["repos"][0]["hooks"]}

    in_make = {
        command.split()[0]: command.replace(" --check-only", "").replace(" --check", "")
        for command in re.findall(
            r"(?m)^gate-.*:\n\t@(?:\$\(CHANGED\) .* )?\$\(BIN\)/(.+)$", makefile
        )
    }
    assert in_make == {
        name: entries[name].removeprefix(".venv/bin/").replace(" --force-exclude", "") + where
        for name, where in {
            "isort": "",
            "black": " .",
            "ruff": " .",
            "ast-grep": "",
            "mypy": " $(TYPED)",
        }.items()
    }


def test_make_runs_flake8_async_on_what_its_hook_would_choose(full_project: Path) -> None:
    """make looks for the files, as flake8-async takes no folders: all but those of the guard."""
    config = read_yaml(full_project / ".pre-commit-config.yaml")
    entries = {hook["id"]: hook["entry"] for hook in config["repos"][0]["hooks"]}
    in_make = run("make --dry-run gate-flake8-async", full_project).stdout.splitlines()[-1]
    named = r" --named '^(?!tests/guard/).*\.py$'"

    assert named in in_make
    assert entries["flake8-async"] == (
        in_make.replace(" ./tests", " tests").replace(named, "") + " --"
    )


def test_both_ci_services_run_make_check_and_cancel_calls_once(
    template: Path, tmp_path: Path
) -> None:
    project = render(template, tmp_path / "project", ci=["github", "gitlab"])
    github = read_yaml(project / ".github/workflows/ci.yml")["jobs"]["check"]["steps"]
    gitlab = read_yaml(project / ".gitlab-ci.yml")
    commands = [(step["run"], step.get("if", "")) for step in github if "run" in step]

    assert commands == [
        ("make check SEEDS=5", ""),
        ("make test CANCEL=1", "strategy.job-index == 0"),
    ]
    assert gitlab["check"]["script"] == ["make check SEEDS=5"]
    assert gitlab["cancel"]["script"] == ["make test CANCEL=1"]


def test_no_python_is_offered_that_the_last_run_of_ci_did_not_run() -> None:
    assert pythons_of(read_toml(ROOT / "tests/pythons.toml")) == PYTHONS


def test_every_python_that_is_offered_is_in_ci_and_metadata_and_readme(
    template: Path, tmp_path: Path
) -> None:
    project = render(template, tmp_path / "project", ci=["github", "gitlab"])
    settings = read_toml(project / "pyproject.toml")
    github = read_yaml(project / ".github/workflows/ci.yml")["jobs"]["check"]["strategy"]
    gitlab = read_yaml(project / ".gitlab-ci.yml")["check"]["parallel"]["matrix"]
    classifiers = [line.rpartition(" ")[2] for line in settings["project"]["classifiers"]]

    assert github["matrix"]["python"] == PYTHONS
    assert gitlab == [{"UV_PYTHON": PYTHONS}]
    assert [version for version in classifiers if version.startswith("3.")] == PYTHONS
    assert settings["tool"]["black"]["target-version"] == [
        f"py{version.replace('.', '')}" for version in PYTHONS
    ]
    assert f"{', '.join(PYTHONS[:-1])} and {PYTHONS[-1]}" in (ROOT / "README.md").read_text("utf-8")


def test_python_sources_of_the_template_hold_no_jinja() -> None:
    with_jinja = [name for name in tracked_files() if name.endswith(".py.jinja")]

    assert with_jinja == ["template/tests/subject.py.jinja"]


def test_every_line_of_python_fits_the_shortest_line_that_can_be_chosen() -> None:
    lines = [
        line
        for name in tracked_files()
        if name.startswith("template/") and name.endswith(".py")
        if not name.startswith(("template/tests/guard/", "template/tooling/"))
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
    ]

    comments_of_tools = re.compile("# (noqa|type: ignore)")
    text_alone = re.compile(r"\s+f?\".*\",")
    assert not [
        line
        for line in lines
        if len(line) > 72 and not comments_of_tools.search(line) and not text_alone.fullmatch(line)
    ]


def test_names_of_the_template_work_on_windows() -> None:
    assert not [name for name in tracked_files() if re.search(r'["<>:|?*\\]', name)]


def test_no_lock_file_is_kept_and_no_registry_is_named() -> None:
    hosts = re.compile(
        r"\b(py" + r"pi\.org|python" + r"hosted\.org|npm" + r"js\.org|debian\." + r"org)"
    )

    for name in tracked_files():
        assert not name.endswith(("uv.lock", "package-lock.json", "poetry.lock"))
        assert not hosts.search((ROOT / name).read_text(encoding="utf-8")), name


def test_every_project_is_self_contained(full_project: Path) -> None:
    assert "uv.lock" not in files_of(full_project)
    assert str(ROOT).encode() not in b"".join(
        content for name, content in files_of(full_project).items() if name != ".copier-answers.yml"
    )


def test_changes_are_listed_newest_first() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    versions = [tuple(map(int, heading.split()[0].split("."))) for heading in headings[1:]]

    assert headings[0] == "Unreleased"
    assert versions == sorted(versions, reverse=True)
    assert all(
        re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)", heading) for heading in headings[1:]
    )


def test_the_git_hooks_of_the_template_are_those_of_projects(full_project: Path) -> None:
    def hooks(file: Path) -> dict[str, str]:
        config = yaml.safe_load(file.read_text())
        return {
            hook["id"]: hook["entry"].replace(" template/tests/", " tests/")
            for repo in config["repos"]
            for hook in repo["hooks"]
        }

    assert hooks(ROOT / ".pre-commit-config.yaml") == hooks(
        full_project / ".pre-commit-config.yaml"
    ) | {"pytest": '.venv/bin/pytest -m "not slow"'}


@pytest.mark.parametrize("examples", [[], EXAMPLES], ids=["none", "all"])
def test_every_pattern_leads_to_a_test_that_is_there(
    examples: list[str], render_project: Render
) -> None:
    project = render_project(examples=examples)
    table = (project / "docs/testing.md").read_text(encoding="utf-8")
    places = re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", table)

    assert len(places) > 20
    for file, test in places:
        assert f"{test}(" in (project / file).read_text(encoding="utf-8") or not test, test


def test_every_file_that_the_readme_names_is_there(full_project: Path) -> None:
    readme = (full_project / "README.md").read_text(encoding="utf-8")
    places = re.findall(r"`((?:src|tests|docs)/[\w/.]*|[\w-]+\.\w+)`|\((docs/[\w.]+)\)", readme)

    made_by_make = {"uv.lock"}
    assert len(places) > 10
    assert not made_by_make & set(files_of(full_project))
    assert not [
        name
        for pair in places
        for name in pair
        if name not in made_by_make and not (full_project / name).exists()
    ]


def test_every_report_that_a_pair_is_made_from_is_listed() -> None:
    pairs = "".join(file.read_text() for file in sorted((ROOT / "tests/matrix").glob("?_*.toml")))
    page = (ROOT / "docs/reports.md").read_text()

    reports = re.findall(r"https://github\.com/\S+/\d+", pairs)
    assert reports
    assert [address for address in reports if f"| {address} |" not in page] == []


def test_reports_are_counted() -> None:
    page = (ROOT / "docs/reports.md").read_text()
    verdicts = re.findall(r"(?m)^\| https:.* \| (.+) \|$", page)
    missed = [verdict for verdict in verdicts if verdict.startswith("not stopped: ")]
    stopped = len(verdicts) - len(missed)

    assert f"| all | | {len(verdicts)} |" in page
    assert f"| no gate | why not stands in the row | {len(missed)} |" in page
    assert f"they stop {stopped}." in page
    said = f"{len(verdicts)} bugs that public projects reported: {stopped} are stopped."
    assert said in (ROOT / "README.md").read_text()
