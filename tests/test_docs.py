"""README.md, docs/ and the site of them: links lead somewhere, charts are up to date, and commands run."""

import ast
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from benchmarks.charts import CHARTS
from template.tests.guard.watch import CHECKS
from tests.conftest import Pipeline, Render
from tests.helpers import (
    EXAMPLES,
    EXTRAS,
    ROOT,
    clean_environment,
    read_toml,
    read_yaml,
    render,
    run,
    stub,
    uv_folder,
)
from tests.pairs import GATES

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = [ROOT / name for name in ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]]
TABLE = {row["line"]: row for row in read_toml(ROOT / "tests/commands.toml")["command"]}


def tokens(file: Path) -> list[Token]:
    """Return what Markdown makes of a file, with what stands within lines."""
    blocks = MarkdownIt().enable("table").parse(file.read_text("utf-8"))
    return [token for block in blocks for token in [block, *(block.children or [])]]


# Links.


def links(file: Path) -> list[str]:
    """Return where the links and pictures of a file lead."""
    attributes = [token.attrs for token in tokens(file)]
    return [str(each[name]) for each in attributes for name in ("href", "src") if name in each]


def anchors(file: Path) -> set[str]:
    """Return the anchors that GitHub and the site give to the headings of a file."""
    all_tokens = tokens(file)
    heads = [
        all_tokens[at + 1].content.replace("`", "")
        for at, token in enumerate(all_tokens)
        if token.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def dead_links(file: Path) -> list[str]:
    """Return the links of a file that lead nowhere, or to an address that is none."""
    dead = []
    for link in links(file):
        path, _, anchor = unquote(link).partition("#")
        target = file.parent / path if path else file
        if "://" in link:
            is_good = bool(re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]+(/\S*)?", link))
        else:
            is_good = target.exists() and (not anchor or anchor in anchors(target))
        dead += [] if is_good else [link]
    return dead


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.name)
def test_every_link_and_picture_is_there(page: Path) -> None:
    assert dead_links(page) == []


def test_every_link_of_a_project_leads_somewhere(documented: Path) -> None:
    pages = sorted(documented.rglob("*.md"))

    assert len(pages) > 6
    assert {page.name: dead_links(page) for page in pages if dead_links(page)} == {}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_that_of_its_table(name: str) -> None:
    page = (ROOT / "docs" / name).with_suffix(".md").read_text("utf-8")

    assert CHARTS[name](page) == (ROOT / "docs" / name).read_text("utf-8")
    assert f"]({name})" in page


# Commands.


@pytest.fixture(scope="module")
def documented(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with all that can be chosen. Tests only read it."""
    folder = tmp_path_factory.mktemp("documented") / "project"
    return render(template, folder, examples=EXAMPLES, extras=EXTRAS, docs="sphinx")


def commands(file: Path) -> Iterator[str]:
    """Yield the commands that a file shows in blocks, and those of make that it names in a line."""
    for token in tokens(file):
        text = token.content.replace("\\\n", "")
        if token.type in {"code_block", "fence"}:
            for line in text.splitlines():
                command = " ".join(re.sub(r"^\$ |;.*|(^|\s+)#.*", "", line.strip()).split())
                if re.match(r"(make|git|uvx?|copier|cd|rm|multi-gitter|\.ci/\w+) ", command):
                    yield command
        elif token.type == "code_inline" and re.match(r"make [a-z-]", text):
            yield " ".join(text.split())


def target(command: str) -> str:
    """Return the target of a command of make."""
    words = [word for word in shlex.split(command)[1:] if "=" not in word and word[0] != "-"]
    return words[-1]


def targets(*makefiles: Path) -> set[str]:
    """Return the targets that makefiles have."""
    texts = [file.read_text("utf-8") for file in makefiles]
    return set(re.findall(r"(?m)^([a-z][a-z-]*):", "\n".join(texts)))


def test_every_command_of_the_pages_is_in_the_table() -> None:
    shown = set(chain.from_iterable(map(commands, PAGES)))

    assert sorted(shown) == sorted(TABLE)


@pytest.mark.parametrize("line", [line for line in TABLE if line.startswith("make ")])
def test_a_target_is_where_it_is_said_to_be(line: str, documented: Path) -> None:
    makefiles = {
        "clone": [ROOT / "Makefile", ROOT / "template/tooling.mk"],
        "project": [documented / "Makefile", documented / "tooling.mk"],
    }

    assert all(target(line) in targets(*makefiles[where]) for where in TABLE[line]["where"])


def test_every_target_that_a_project_names_is_there(documented: Path) -> None:
    named = set(chain.from_iterable(map(commands, documented.rglob("*.md"))))
    of_make = {target(line) for line in named if line.startswith("make ")}

    assert len(of_make) > 5
    assert of_make - targets(documented / "Makefile", documented / "tooling.mk") == set()


@pytest.mark.parametrize("line", [line for line in TABLE if "by" in TABLE[line]])
def test_a_command_is_run_by_the_test_that_is_named(line: str) -> None:
    file, _, name = TABLE[line]["by"].partition("::")
    text = (ROOT / file).read_text("utf-8")
    functions = [
        ast.get_source_segment(text, node) or ""
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]

    expected = TABLE[line].get("text", line)
    assert any(expected in each or "make {target}" in each for each in functions)


FLAGS = {
    flags
    for line in [*TABLE, *(ROOT / "template/README.md.jinja").read_text("utf-8").split("`")]
    for flags in re.findall(r'FLAGS="([^"]+)"', line)
    if "name=value" not in flags
}


@pytest.mark.parametrize("flags", sorted(FLAGS))
def test_flags_are_accepted(flags: str, render_small: Render) -> None:
    words = shlex.split(flags)
    given = [words[at + 1] for at, word in enumerate(words) if word == "-d"]
    answers: dict[str, Any] = {
        name: yaml.safe_load(answer) for name, _, answer in (each.partition("=") for each in given)
    }

    render_small(**answers)

    assert answers
    assert answers.keys() <= read_yaml(ROOT / "copier.yml").keys()


def run_here(where: str, *, dry: bool) -> list[str]:
    """Return the commands that no other test runs, in their order."""
    return [
        f"{line} -n" if dry else line
        for line, row in TABLE.items()
        if "by" not in row and where in row["where"] and row.get("dry", False) == dry
    ]


@pytest.mark.slow
@pytest.mark.xdist_group("commands")
def test_the_commands_for_a_project_run_there(pipeline: Pipeline, tmp_path: Path) -> None:
    """One test is enough to show that a target takes its options; others stand for programs that are not here."""
    others = stub(
        tmp_path / "bin",
        {
            "multi-gitter": 'test "$1" != run || sh -c "$2 -n"',
            "editor": 'echo "Change something" > "$1"',
        },
    )
    (pipeline.folder / ".adopt").mkdir()
    pipeline.write("notes.txt", "A change.\n")
    pipeline.run("git add notes.txt")
    variables = {
        "PATH": f"{others}:{uv_folder()}:{clean_environment()['PATH']}",
        "GIT_EDITOR": "editor",
        "PYTEST_ADDOPTS": "--no-cov -k no_items",
    }
    lines = [*run_here("project", dry=True), *run_here("project", dry=False)]

    done = {line: pipeline.run(["sh", "-c", line], **variables) for line in lines}

    assert {line: each.stdout for line, each in done.items() if each.returncode} == {}


@pytest.mark.slow
def test_the_commands_for_a_clone_run_there(template: Path, tmp_path: Path) -> None:
    """The project's own make does nothing, to save its setup and quality."""
    clone = tmp_path / "copier-async"
    assert run(["git", "clone", "-q", str(template), str(clone)], tmp_path).returncode == 0
    real = f"{uv_folder()}:{clean_environment()['PATH']}"
    idle = f"{stub(tmp_path / 'bin', {'make': 'exit 0'})}:{real}"
    make = shutil.which("make") or "make"
    lines = [*run_here("clone", dry=True), *run_here("clone", dry=False)]

    done = {
        line: run(["sh", "-c", re.sub("^make", make, line)], clone, PATH=idle) for line in lines
    }

    assert {line: each.stdout for line, each in done.items() if each.returncode} == {}


@pytest.mark.slow
@pytest.mark.xdist_group("commands")
def test_the_bug_of_the_first_page_is_stopped_and_its_remedy_passes(pipeline: Pipeline) -> None:
    page = (ROOT / "docs/start.md").read_text("utf-8")
    bug = re.findall(r"(?s)```python\n(.+?)```", page)[0]
    remedy = re.findall(r"`(await .+?)`", page)[0]
    mended = bug.replace("file.read_text()", f"({remedy})").replace(
        "\n\nfrom", "\n\nimport asyncio\nfrom"
    )

    pipeline.write("src/my_async_project/prices.py", bug)
    stopped = pipeline.run("make lint")
    pipeline.write("src/my_async_project/prices.py", mended)
    passed = pipeline.run("make lint")

    assert "ASYNC" in stopped.stdout
    assert "src/my_async_project/prices.py:8" in stopped.stdout
    assert passed.returncode == 0, passed.stdout


# The site.


class Names(HTMLParser):
    """What a page fetches, where it leads, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        """Read a page."""
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a tag."""
        given = {name: value for name, value in attrs if value is not None}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        addresses = [given[name] for name in ("href", "src") if name in given]
        (self.links if tag == "a" else self.fetched).extend(addresses)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Names]:
    """Return the pages of the site, built without a warning."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning"]
    done = run([*build, str(ROOT / "docs"), str(folder)], ROOT)
    assert done.stdout == ""
    assert done.returncode == 0
    return {page: Names(page.read_text("utf-8")) for page in folder.rglob("*.html")}


in_one_process = pytest.mark.xdist_group("site")


@pytest.mark.slow
@in_one_process
def test_the_site_has_every_page(site: dict[Path, Names]) -> None:
    assert {page.stem for page in PAGES if page.stem != "README"} <= {page.stem for page in site}


@pytest.mark.slow
@in_one_process
def test_the_site_fetches_nothing_from_elsewhere(site: dict[Path, Names]) -> None:
    fetched = {address for names in site.values() for address in names.fetched}
    sheets = [file for page in site for file in (page.parent / "_static").rglob("*.css")]

    assert sheets
    assert {address for address in fetched if re.match("https?:|//", address)} == set()
    assert [
        f for f in sheets if re.search(r"(url\(|@import )[\"']?(https?:|//)", f.read_text())
    ] == []


@pytest.mark.slow
@in_one_process
def test_every_link_within_the_site_leads_somewhere(site: dict[Path, Names]) -> None:
    dead = []
    for page, names in site.items():
        for link in names.links:
            path, _, anchor = unquote(link).partition("#")
            to = (page.parent / path).resolve() if path else page
            if not re.match("https?:|mailto:", link) and not (
                to.exists() and (not anchor or to not in site or anchor in site[to].anchors)
            ):
                dead.append((page.name, link))

    assert dead == []


@pytest.mark.slow
@in_one_process
@pytest.mark.parametrize("name", [*GATES, *CHECKS])
def test_a_finding_can_lead_to_its_gate_or_check(name: str, site: dict[Path, Names]) -> None:
    assert name in next(names for page, names in site.items() if page.stem == "gates").anchors
