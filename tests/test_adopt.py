"""`make adopt`: an existing repository takes the template on, and loses nothing."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.helpers import available_python, commit_all, files_of, read_toml, read_yaml, run
from tests.old_repositories import FLAT, SETTLED, SRC
from tests.test_update import EDITS, NEXT, NOW, git, made, release, update

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("adopt")]

REPOSITORIES = {"flat": FLAT, "src": SRC, "settled": SETTLED}

BLOCKING = '''"""Blocks."""

import time


async def wait() -> None:
    """Wait."""
    time.sleep(0.01)
'''

TEST_OF_BLOCKING = '''"""Waits."""

from order_hub.late import wait


async def test_wait() -> None:
    assert await wait() is None
'''


@dataclass(frozen=True)
class Adopted:
    """A repository that took the template on. Tests only read it."""

    folder: Path
    before: dict[str, bytes]
    output: str

    def after(self) -> dict[str, bytes]:
        """Return the files that git has or sees."""
        names = run("git ls-files --cached --others --exclude-standard", self.folder).stdout
        return {name: (self.folder / name).read_bytes() for name in names.splitlines()}

    def read(self, name: str) -> str:
        """Return a file."""
        return (self.folder / name).read_text("utf-8")

    def copy(self, folder: Path) -> Path:
        """Return a copy that may be changed, everything committed."""
        shutil.copytree(self.folder, folder, symlinks=True)
        commit_all(folder)
        return folder


Adopt = Callable[..., Adopted]


@pytest.fixture(scope="session")
def clone(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clone of the template with a version, from which updates come, too."""
    folder = tmp_path_factory.mktemp("clone") / "template"
    git(f"clone -q {template} {folder}", template)
    git("remote remove origin", folder)
    git(f"tag {NOW}", folder)
    return folder


def build(files: dict[str, str], folder: Path) -> Path:
    """Make a repository of files by path."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    commit_all(folder)
    return folder


def make_adopt(clone: Path, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run `make adopt` in a clone of the template."""
    return run(["make", "--silent", "adopt", f"DEST={folder}", *words], clone)


@pytest.fixture(scope="session")
def adopt(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Adopt:
    """Return a function that gives the repository of a name as `make adopt` left it."""

    @cache
    def adopted(name: str, *words: str) -> Adopted:
        folder = build(REPOSITORIES[name], tmp_path_factory.mktemp(name) / "old")
        before = files_of(folder)
        done = make_adopt(clone, folder, *words)
        assert done.returncode == 0, done.stdout
        return Adopted(folder, before, done.stdout)

    return adopted


@pytest.mark.parametrize("name", REPOSITORIES)
def test_what_was_there_stays_byte_for_byte(name: str, adopt: Adopt) -> None:
    adopted = adopt(name)

    after = adopted.after()
    changed = [path for path, content in adopted.before.items() if after.get(path) != content]
    assert set(changed) <= {"pyproject.toml"}


@pytest.mark.parametrize("python", ["3.12", "3.13"])
def test_check_passes_on_more_than_one_python(python: str, adopt: Adopt, tmp_path: Path) -> None:
    """The metadata of this repository are in its setup.cfg, which uv does not read."""
    if not available_python(python):
        pytest.skip(f"there is no Python {python} here")
    project = adopt("flat", "ADVISORY=1").copy(tmp_path / "project")

    done = run("make check", project, UV_PYTHON=python)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["src", "settled"])
def test_pyproject_is_added_to(name: str, adopt: Adopt) -> None:
    adopted = adopt(name)

    lines = adopted.before["pyproject.toml"].decode().splitlines()
    now = adopted.read("pyproject.toml").splitlines()
    assert [line for line in lines if line not in now and not line.startswith("dev = ")] == []


def test_their_settings_of_a_tool_stay_and_leave_out_what_is_the_templates(adopt: Adopt) -> None:
    settings = read_toml(adopt("src").folder / "pyproject.toml")["tool"]

    assert settings["black"] == {
        "line-length": 120,
        "force-exclude": "/(tests/guard|tooling)/",
    }
    assert settings["ruff"] == {
        "extend-exclude": ["tests/guard", "tooling"],
        "lint": {"select": ["E501"]},
    }


def test_their_groups_stay_and_get_the_tools(adopt: Adopt) -> None:
    groups = read_toml(adopt("src").folder / "pyproject.toml")["dependency-groups"]

    assert groups["docs"] == ["attrs"]
    assert groups["dev"][:2] == ["iniconfig", "pre-commit<4.7"]
    assert groups["dev"][2:] == [{"include-group": "tooling"}, "order-hub[test]"]
    assert "ruff==" in " ".join(groups["tooling"])


def test_what_cannot_be_installed_with_the_tools_is_kept_apart(adopt: Adopt) -> None:
    adopted = adopt("src")

    settings = read_toml(adopted.folder / "pyproject.toml")["tool"]["uv"]
    assert settings["environments"] == ["python_version >= '3.11'"]
    assert settings["conflicts"] == [[{"extra": "lint"}, {"group": "tooling"}]]
    assert "\n  extra lint, never with the tools, in pyproject.toml\n" in adopted.output


def test_their_version_of_a_tool_wins(adopt: Adopt) -> None:
    adopted = adopt("src")

    tools = read_toml(adopted.folder / "pyproject.toml")["dependency-groups"]["tooling"]
    assert "pre-commit==" not in " ".join(tools)
    assert re.search(r"\n  pre-commit<4\.7, not [\d.]+, in its dependencies\n", adopted.output)


def test_every_group_of_an_answer_is_added_to_groups_that_are_there(
    clone: Path, tmp_path: Path
) -> None:
    own = SRC["pyproject.toml"].replace("docs = ", "pages = ")
    folder = build({**SRC, "pyproject.toml": own}, tmp_path / "old")

    done = make_adopt(clone, folder, "FLAGS=-d docs=sphinx")

    groups = read_toml(folder / "pyproject.toml")["dependency-groups"]
    assert done.returncode == 0, done.stdout
    assert [pin.partition("==")[0] for pin in groups["docs"]] == ["furo", "myst-parser", "sphinx"]
    assert {"include-group": "docs"} in groups["dev"]


def test_a_group_that_both_have_is_refused(clone: Path, tmp_path: Path) -> None:
    folder = build(SRC, tmp_path / "old")
    before = files_of(folder)

    done = make_adopt(clone, folder, "FLAGS=-d docs=sphinx")

    assert "[dependency-groups] has a group docs, as the template has: rename it" in done.stdout
    assert files_of(folder) == before


def test_settings_elsewhere_are_not_hidden_by_a_table(adopt: Adopt) -> None:
    adopted = adopt("flat")

    assert "mypy" not in read_toml(adopted.folder / "pyproject.toml")["tool"]
    assert "\n  settings of mypy, in setup.cfg\n" in adopted.output


def test_the_gates_are_added_and_no_starter_code(adopt: Adopt) -> None:
    adopted = adopt("flat")

    added = {path for path in adopted.after() if path not in adopted.before}
    others = {path for path in added if not path.startswith(("rules/", "tests/guard/"))}
    assert others == {
        ".copier-answers.yml",
        ".editorconfig",
        ".gitattributes",
        ".pre-commit-config.yaml",
        "Makefile",
        "pyproject.toml",
        "pytest.ini",
        "sgconfig.yml",
        "tests/__init__.py",
        "tooling.mk",
        "tooling/__init__.py",
        "tooling/merge.py",
        "tooling/repository.py",
        "tooling/request.py",
        "tooling/template.py",
        "tooling/update.py",
    }


@pytest.mark.parametrize(
    ("name", "guesses"),
    [
        (
            "flat",
            {
                "project_name": "order-hub",
                "package_name": "order_hub",
                "sources": "order_hub",
                "description": "Keeps orders in step",
                "author_name": "Ada Lovelace",
                "author_email": "ada@example.com",
                "python_version": "3.11",
                "line_length": 120,
                "coverage_threshold": 0,
                "ci": [],
                "examples": [],
                "own_files": [".gitignore", "tool.mypy"],
            },
        ),
        (
            "src",
            {
                "sources": "src",
                "line_length": 120,
                "own_files": [".gitignore", "AGENTS.md", "Makefile", "tool.black", "tool.ruff"],
            },
        ),
        ("settled", {"author_name": "Test", "python_version": "3.12", "ci": ["github"]}),
    ],
)
def test_answers_are_guessed_recorded_and_said(
    name: str, guesses: dict[str, object], adopt: Adopt
) -> None:
    adopted = adopt(name)

    recorded = read_yaml(adopted.folder / ".copier-answers.yml")
    assert guesses.items() <= recorded.items()
    assert [
        line for line in guesses if f"\n  {line}: {guesses[line]}\n" not in adopted.output
    ] == []


def test_flags_overrule_guesses(adopt: Adopt) -> None:
    adopted = adopt("src", "FLAGS=-d project_name='Order Hub' -d line_length=90")

    answers = read_yaml(adopted.folder / ".copier-answers.yml")
    assert (answers["project_name"], answers["line_length"]) == ("Order Hub", 90)
    assert "\n  line_length: 90\n" in adopted.output


def test_extras_come_beside_what_is_there(adopt: Adopt) -> None:
    adopted = adopt("src", "FLAGS=-d extras=[assistants,editor]")

    assert adopted.read("AGENTS.md") == "Ask Ada.\n"
    assert "\n+# For coding assistants\n" in adopted.read(".adopt/AGENTS.md.diff")
    assert ".vscode/settings.json" in adopted.after()


def test_updates_come_from_where_the_template_is(adopt: Adopt, clone: Path) -> None:
    answers = read_yaml(adopt("flat").folder / ".copier-answers.yml")

    assert (answers["_commit"], answers["_src_path"]) == (NOW, str(clone))


def test_their_targets_of_other_names_run_as_before(adopt: Adopt) -> None:
    adopted = adopt("src")

    assert run("make docs", adopted.folder).stdout == "building our docs\n"
    assert run("make -f Makefile test", adopted.folder).stdout == "running our tests\n"
    assert "Run yours by make -f Makefile:\n  test\n" in adopted.output


@pytest.mark.parametrize("name", REPOSITORIES)
def test_every_offer_can_be_applied(name: str, adopt: Adopt, tmp_path: Path) -> None:
    project = adopt(name).copy(tmp_path / "project")
    diffs = sorted(str(file) for file in project.glob(".adopt/*.diff"))

    assert run(["git", "apply", "--allow-empty", *diffs, "/dev/null"], project).stdout == ""


def test_an_offer_keeps_what_is_theirs(adopt: Adopt, tmp_path: Path) -> None:
    project = adopt("settled").copy(tmp_path / "project")
    names = ["pytest.ini", "pre-commit-config.yaml", "github-workflows-gates.yml"]

    for name in names:
        git(f"apply .adopt/{name}.diff", project)

    settings = (project / "pytest.ini").read_text("utf-8")
    repositories = read_yaml(project / ".pre-commit-config.yaml")["repos"]
    assert re.search(r"\naddopts = -p tests\.guard\.plugin .*\n    -ra\n", settings)
    assert "\n    nightly: runs at night\n" in settings
    assert "\npythonpath = . tests\n" in settings
    assert [each["hooks"][0]["id"] for each in repositories] == ["ours", "black"]
    assert repositories[1]["hooks"][0]["stages"] == ["pre-commit"]
    assert repositories[1]["hooks"][-1]["stages"] == ["pre-commit", "manual"]
    assert (project / ".github/workflows/gates.yml").exists()


def test_git_sees_nothing_of_the_offers(adopt: Adopt) -> None:
    assert not [name for name in adopt("settled").after() if name.startswith(".adopt/")]


def test_a_reset_takes_it_all_away(clone: Path, tmp_path: Path) -> None:
    folder = build(SRC, tmp_path / "old")
    before = files_of(folder)
    assert make_adopt(clone, folder).returncode == 0

    git("reset -q --hard", folder)

    left = {name: text for name, text in files_of(folder).items() if not name.startswith(".adopt/")}
    assert left == before


@pytest.mark.parametrize(
    ("files", "commands", "sentence"),
    [
        (SRC, "touch new.txt", "has changes: commit or stash them first"),
        (SRC, "rm README.md", "has changes: commit or stash them first"),
        (SRC, "rm -rf .git", "is not the root of a git repository: name one, or run git init"),
        (SRC, "git update-ref -d HEAD", "has no commit: commit everything first"),
        (SRC | {".copier-answers.yml": "{}\n"}, "true", "has .copier-answers.yml already"),
        (SRC | {"tooling/x.py": ""}, "true", "has tooling, where the template has its own: rename"),
        (SRC | {"pyproject.toml": "["}, "true", "pyproject.toml cannot be read: "),
        (
            SRC,
            "printf '# \\351' > pyproject.toml && git commit -qam x",
            "pyproject.toml cannot be read: 'utf-8' codec can't decode byte",
        ),
        (
            SRC,
            "mv pyproject.toml real && ln -s real pyproject.toml && git add -A && git commit -qm x",
            "pyproject.toml is a link: put the file there that it leads to.",
        ),
        (
            SRC | {"pyproject.toml": "[tool.poetry]\nname = 'x'\n"},
            "true",
            "has its metadata in [tool.poetry], which uv cannot read: move that to [project]",
        ),
        (
            SRC | {"pyproject.toml": "[project]\nname = 'x'\nrequires-python = '<3.9'\n"},
            "true",
            "The project runs on Python <3.9, the template from 3.11 on.",
        ),
        ({"main.py": ""}, "true", "There is no folder src in "),
        ({"main.py": ""}, "true", "A package that is one file becomes a folder first."),
    ],
)
def test_what_cannot_be_adopted_is_refused_with_a_sentence_and_left_alone(
    files: dict[str, str], commands: str, sentence: str, clone: Path, tmp_path: Path
) -> None:
    folder = build(files, tmp_path / "old")
    assert run(["sh", "-c", commands], folder).returncode == 0
    before = files_of(folder)

    done = make_adopt(clone, folder)

    assert done.returncode != 0
    assert sentence in done.stdout
    assert "Traceback" not in done.stdout
    assert files_of(folder) == before


def test_a_part_of_a_repository_is_refused_and_the_whole_is_named(
    clone: Path, tmp_path: Path
) -> None:
    folder = build({f"pkg/{name}": text for name, text in SRC.items()}, tmp_path / "old")

    said = make_adopt(clone, folder / "pkg").stdout

    assert f"pkg is a part of the repository {folder}: only a whole one can be adopted." in said


def test_what_git_refuses_is_said_as_git_says_it(clone: Path, tmp_path: Path) -> None:
    folder = build(SRC, tmp_path / "old")

    done = run(["make", "adopt", f"DEST={folder}"], clone, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")

    assert f"git cannot read {folder}: fatal: detected dubious ownership" in done.stdout


def test_the_template_cannot_adopt_itself(clone: Path) -> None:
    assert "is the template itself: name another" in make_adopt(clone, clone).stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["DEST="],
            "Say which repository takes the template on, as in make adopt DEST=../old-repo.",
        ),
        (["FLAGS=-d 'x"], "FLAGS cannot be split into words (No closing quotation)"),
        (
            ["FLAGS=-d line_length=7"],
            "Nothing was made. Validation error for question 'line_length'",
        ),
        (
            ["FLAGS=-d sources=a/b"],
            "type e.g. order_hub: one folder of the project, without a slash.",
        ),
    ],
)
def test_bad_words_are_refused_with_a_sentence(
    words: list[str], sentence: str, clone: Path, tmp_path: Path
) -> None:
    folder = build(SRC, tmp_path / "old")
    before = files_of(folder)

    done = make_adopt(clone, folder, *words)

    assert done.returncode != 0
    assert sentence in done.stdout
    assert files_of(folder) == before


def test_all_lines_of_pyproject_end_as_theirs_do(clone: Path, tmp_path: Path) -> None:
    files = SRC | {"pyproject.toml": SRC["pyproject.toml"].replace("\n", "\r\n")}
    folder = build(files, tmp_path / "old")

    assert make_adopt(clone, folder).returncode == 0

    lines = (folder / "pyproject.toml").read_bytes().splitlines(keepends=True)
    assert [line for line in lines if not line.endswith(b"\r\n")] == []


def test_a_write_that_fails_leaves_nothing(clone: Path, tmp_path: Path) -> None:
    folder = build(SRC | {".github": "a file\n"}, tmp_path / "old")
    before = files_of(folder)

    done = make_adopt(clone, folder, "FLAGS=-d ci=[github]")

    assert "Nothing was changed: " in done.stdout
    assert files_of(folder) == before


@pytest.mark.parametrize(
    ("name", "advisory"),
    [
        ("flat", "format-check lint"),
        ("src", "format-check typecheck"),
        ("settled", "format-check typecheck"),
    ],
)
def test_what_fails_on_the_first_day_stops_nobody(
    name: str, advisory: str, adopt: Adopt, tmp_path: Path
) -> None:
    project = adopt(name, "ADVISORY=1").copy(tmp_path / "project")
    before = run("git status --porcelain", project).stdout

    done = run("make check", project)

    assert done.returncode == 0, done.stdout
    assert f"\nAdvisory, so that it fails nothing: {advisory}. " in done.stdout
    assert re.search(r"(?m)^test +passed .* s  1 passed", done.stdout)
    assert run("git status --porcelain", project).stdout == before == ""


def test_the_first_day_is_told_in_numbers(adopt: Adopt) -> None:
    adopted = adopt("flat", "ADVISORY=1")

    assert re.search(r"\nlint +advisory +[\d.]+ s  ruff \d+.*, file-checks 1\n", adopted.output)
    assert "\nNext, there:\n  git diff --cached\n" in adopted.output
    assert "\n== lint" not in adopted.output
    assert "\nAdvisory from now on, by ADVISORY in Makefile: format-check lint.\n" in adopted.output


def test_tests_elsewhere_are_run_and_it_is_said_what_looks_in_tests(
    clone: Path, tmp_path: Path
) -> None:
    tests = {"order_hub/tests/test_stock.py": FLAT["tests/test_stock.py"]}
    files = {name: text for name, text in (FLAT | tests).items() if not name.startswith("tests/")}
    folder = build(files, tmp_path / "old")

    said = make_adopt(clone, folder).stdout

    assert "\ntestpaths = order_hub/tests\n" in (folder / "pytest.ini").read_text("utf-8")
    assert "\nYour tests are in order_hub/tests: the guard names lines" in said


def test_a_flat_package_that_setuptools_found_by_itself_is_named(
    clone: Path, tmp_path: Path
) -> None:
    files = {name.removeprefix("src/"): text for name, text in SETTLED.items()}
    folder = build(files, tmp_path / "old")

    make_adopt(clone, folder)

    settings = read_toml(folder / "pyproject.toml")["tool"]["setuptools"]
    assert settings["packages"]["find"] == {"include": ["order_hub", "order_hub.*"]}
    assert run("make setup", folder).returncode == 0


def test_who_lets_setuptools_find_packages_is_told_to_leave_out_the_templates(
    clone: Path, tmp_path: Path
) -> None:
    settings = FLAT["setup.cfg"].replace("packages = order_hub", "packages = find:")
    folder = build(FLAT | {"setup.cfg": settings}, tmp_path / "old")

    said = make_adopt(clone, folder).stdout

    assert "where your settings say find, exclude tooling* and tests*.\n" in said
    assert "setuptools" not in read_toml(folder / "pyproject.toml")["tool"]


def test_who_runs_an_older_pytest_keeps_it_and_the_settings_are_offered(
    clone: Path, tmp_path: Path
) -> None:
    settings = SRC["pyproject.toml"].replace('test = ["attrs"]', 'test = ["pytest<9"]')
    folder = build(SRC | {"pyproject.toml": settings}, tmp_path / "old")

    make_adopt(clone, folder)

    assert not (folder / "pytest.ini").exists()
    assert (folder / ".adopt/pytest.ini.diff").exists()


def test_what_is_not_read_is_named(clone: Path, tmp_path: Path) -> None:
    folder = build(SRC | {"requirements-dev.txt": "attrs\n"}, tmp_path / "old")

    assert "\nNot read: requirements-dev.txt. " in make_adopt(clone, folder).stdout


def test_workflows_that_are_added_bear_no_name_of_theirs(clone: Path, tmp_path: Path) -> None:
    folder = build(SRC | {".github/workflows/main.yml": "name: CI\n"}, tmp_path / "old")

    make_adopt(clone, folder)

    assert read_yaml(folder / ".github/workflows/ci.yml")["name"] == "Gates"


def test_sources_that_nothing_installs_are_found_by_tests(clone: Path, tmp_path: Path) -> None:
    settings = "[tool.black]\nline-length = 90\n"
    folder = build(SRC | {"pyproject.toml": settings}, tmp_path / "old")

    make_adopt(clone, folder)

    assert "\npythonpath = . src tests\n" in (folder / "pytest.ini").read_text("utf-8")


def test_a_folder_with_a_space_and_a_worktree_can_be_adopted(clone: Path, tmp_path: Path) -> None:
    folder = build(SRC, tmp_path / "old one")
    git("worktree add -q ../beside", folder)

    assert make_adopt(clone, folder).returncode == 0
    assert make_adopt(clone, tmp_path / "beside").returncode == 0
    assert run("git diff --name-only", tmp_path / "beside").stdout == ""


def test_mypy_is_told_what_to_look_at_where_settings_elsewhere_do_not_say(
    clone: Path, tmp_path: Path
) -> None:
    folder = build(SRC | {"mypy.ini": "[mypy]\nstrict = true\n"}, tmp_path / "old")

    make_adopt(clone, folder)

    told = "--exclude=^tests/guard/ src tests\n"
    assert f"\nTYPED := {told}" in (folder / "GNUmakefile").read_text("utf-8")
    assert f"/mypy {told}" in (folder / ".pre-commit-config.yaml").read_text("utf-8")


def test_their_settings_of_mypy_leave_out_what_is_the_templates(
    clone: Path, tmp_path: Path
) -> None:
    settings = f'{SRC["pyproject.toml"]}\n[tool.mypy]\npython_version = "3.9"\n'
    folder = build(SRC | {"pyproject.toml": settings}, tmp_path / "old")

    make_adopt(clone, folder)

    assert read_toml(folder / "pyproject.toml")["tool"]["mypy"] == {
        "python_version": "3.9",
        "files": ["src", "tests"],
        "exclude": ["^tests/guard/"],
    }


def test_code_of_older_pythons_is_laid_out_for_them(adopt: Adopt) -> None:
    settings = read_toml(adopt("flat").folder / "pyproject.toml")["tool"]

    assert "target-version" not in settings["black"]
    assert settings["ruff"]["extend-exclude"] == ["tests/guard", "tooling"]


def test_their_tests_run_in_their_order_while_the_guard_is_off(adopt: Adopt) -> None:
    assert " -p no:randomly " in run("make --dry-run test", adopt("settled").folder).stdout
    assert " -p no:randomly " not in run("make --dry-run test", adopt("src").folder).stdout


def test_the_guard_watches_the_folder_of_a_flat_package(adopt: Adopt, tmp_path: Path) -> None:
    project = adopt("flat").copy(tmp_path / "project")
    (project / "order_hub/late.py").write_text(BLOCKING, "utf-8")
    (project / "tests/test_late.py").write_text(TEST_OF_BLOCKING, "utf-8")

    done = run("make test", project)

    assert "time.sleep stopped the loop at order_hub/late.py:8" in done.stdout


@pytest.fixture(scope="session")
def newer(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the clone with a newer version, in which is changed what releases change."""
    folder = shutil.copytree(clone, tmp_path_factory.mktemp("newer") / "template")
    for change in EDITS["release"]:
        file = folder / "template" / change["file"]
        file.write_text(made(change, file.read_text("utf-8")), "utf-8")
    release(folder, NEXT)
    return folder


@pytest.mark.parametrize("name", REPOSITORIES)
def test_the_next_update_merges_and_leaves_theirs_alone(
    name: str, adopt: Adopt, newer: Path, tmp_path: Path
) -> None:
    adopted = adopt(name)
    project = adopted.copy(tmp_path / "project")
    answers = project / ".copier-answers.yml"
    recorded = re.sub(r"(?m)^_src_path: .*", f"_src_path: {newer}", answers.read_text("utf-8"))
    answers.write_text(recorded, "utf-8")
    commit_all(project)

    done = update(project)

    after = files_of(project)
    tools = read_toml(project / "pyproject.toml")["dependency-groups"]["tooling"]
    changed = [path for path, content in adopted.before.items() if after.get(path) != content]
    assert done.returncode == 0, done.stdout
    assert set(changed) <= {"pyproject.toml"}
    assert set(after) <= set(files_of(adopted.folder))
    assert {"mypy==99.0.0", "pytest-next==99.0.0", "ruff==99.0.0"} <= set(tools)


def test_an_update_leaves_the_layout_alone_while_that_is_advisory(
    adopt: Adopt, newer: Path, tmp_path: Path
) -> None:
    project = adopt("flat", "ADVISORY=1").copy(tmp_path / "project")
    before = files_of(project)
    answers = project / ".copier-answers.yml"
    recorded = re.sub(r"(?m)^_src_path: .*", f"_src_path: {newer}", answers.read_text("utf-8"))
    answers.write_text(recorded, "utf-8")
    commit_all(project)

    done = run("make update", project)

    after = files_of(project)
    theirs = ["order_hub/__init__.py", "tests/helpers.py", "tests/test_stock.py"]
    assert done.returncode == 0, done.stdout
    assert [name for name in theirs if after[name] != before[name]] == []
