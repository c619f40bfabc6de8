"""Lets an existing repository take the template on: what `make adopt` runs.

What the repository has stays as it is. What it lacks is added, pyproject.toml gets the tables that it
lacks, and of what both have, the template's part is offered as a diff. All is worked out before anything is
written, and what is written is staged: `git reset --hard` takes it away again.

It runs in an environment of Copier and tomlkit.
"""

import os
import re
import subprocess
import sys
import textwrap
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from configparser import ConfigParser, Error
from pathlib import Path, PurePath
from shutil import which
from tempfile import TemporaryDirectory
from typing import Any

import tomlkit
import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from pathspec import GitIgnoreSpec

import new
from new import ANSWERS, TEMPLATE, output, run, say

OFFERS = ".adopt"

# The template's own, which its gates need: nothing of the project can be there.
TAKEN = ["GNUmakefile", "tooling.mk", "tooling", "rules", "sgconfig.yml", "tests/guard"]

# Where the settings of a tool may be but in pyproject.toml: files, and sections of others.
PLACES: dict[str, list[tuple[str, str]]] = {
    "pytest": [
        *((name, "") for name in ["pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml"]),
        ("tox.ini", "pytest"),
        ("setup.cfg", "tool:pytest"),
    ],
    "black": [],
    "isort": [
        (".isort.cfg", ""),
        ("setup.cfg", "isort"),
        ("setup.cfg", "tool:isort"),
        ("tox.ini", "isort"),
    ],
    "ruff": [("ruff.toml", ""), (".ruff.toml", "")],
    "mypy": [("mypy.ini", ""), (".mypy.ini", ""), ("setup.cfg", "mypy")],
    "coverage": [(".coveragerc", ""), ("setup.cfg", "coverage:run"), ("tox.ini", "coverage:run")],
}

# The names of groups and extras that tests need.
TESTS = ["test", "tests", "testing"]

TOOLS = [tool for tool in PLACES if tool != "pytest"]

STAGES = ["format-check", "lint", "typecheck", "test"]

# Folders of packages that are not what the project is about.
ASIDE = {"benchmarks", "doc", "docs", "example", "examples", "scripts", "test", "tests", "tools"}

# Settings of pytest that hold what both sides say.
JOINED = {"addopts", "filterwarnings", "markers", "pythonpath"}


def main() -> None:
    """Adopt the repository that DEST names; leave with a sentence on failure."""
    if not os.environ.get("DEST"):
        sys.exit("Say which repository takes the template on, as in make adopt DEST=../old-repo.")
    folder = Path(os.environ["DEST"]).expanduser().resolve()
    refuse_unfit(folder)
    flags = new.read_flags()
    project = Project(folder)
    guesses = project.guesses()
    with TemporaryDirectory(prefix="template-adopt.") as name:
        rendered = render(guesses, flags, Path(name))
        answers = yaml.safe_load((rendered / ANSWERS).read_text("utf-8"))
        if not (folder / answers["sources"]).is_dir():
            sys.exit(
                f"There is no folder {answers['sources']} in {folder}: say where the package is, as in"
                ' FLAGS="-d sources=hub -d package_name=hub". A package that is one file becomes a folder first.'
            )
        plan = Plan(project, rendered, answers)
    plan.write()
    say(f'{folder} takes the template on. What was guessed, and FLAGS="-d name=value" changes:')
    for name in guesses:
        say(f"  {name}: {answers.get(name, guesses[name])}")
    plan.say()
    if os.environ.get("ADVISORY"):
        set_advisory(folder, plan.makefile)
        say("\nNext, there:\n  git diff --cached\n  git commit")
    else:
        say(
            "\nNext, there:\n  make setup\n  make check\n  git diff --cached\n  git commit\nWhat fails"
            f" today need not stop anybody: name its stages behind ADVISORY in {plan.makefile}."
        )
    say("'git reset --hard' undoes all of this, until you commit.")


def refuse_unfit(folder: Path) -> None:
    """Leave with a sentence unless a folder is a repository that can take the template on."""
    if which("git") is None:
        sys.exit("git is needed, and is not on the PATH: install git first.")
    if not folder.is_dir():
        sys.exit(f"There is no folder {folder}.")
    if folder == TEMPLATE:
        sys.exit(f"{folder} is the template itself: name another repository.")
    pipe = subprocess.PIPE
    asked = run(["git", "rev-parse", "--show-toplevel"], folder, stdout=pipe, stderr=pipe)
    root = asked.stdout.strip()
    if not root and "not a git repository" in asked.stderr:
        sys.exit(f"{folder} is not the root of a git repository: name one, or run git init there.")
    if not root:
        sys.exit(f"git cannot read {folder}: {asked.stderr.strip()}")
    if root != str(folder):
        sys.exit(f"{folder} is a part of the repository {root}: only a whole one can be adopted.")
    if (folder / ANSWERS).exists():
        sys.exit(f"{folder} has {ANSWERS} already: what it lacks comes by its own make update.")
    if not output(["git", "rev-parse", "--verify", "--quiet", "HEAD"], folder):
        sys.exit(f"{folder} has no commit: commit everything first, so that this can be undone.")
    if output(["git", "status", "--porcelain"], folder):
        sys.exit(f"{folder} has changes: commit or stash them first, so that this can be undone.")
    taken = [name for name in TAKEN if os.path.lexists(folder / name)]
    if taken:
        sys.exit(
            f"{folder} has {' and '.join(taken)}, where the template has its own: rename that first."
        )


def render(guesses: Mapping[str, Any], flags: list[str], folder: Path) -> Path:
    """Render the template by guesses, and flags that overrule them, and return where that is."""
    commit = new.last_commit()
    data = folder / "guesses.yml"
    data.write_text(yaml.safe_dump(dict(guesses)), "utf-8")
    rendered = folder / "rendered"
    new.copy(rendered, commit, ["--defaults", "--data-file", str(data), *flags])
    return rendered


class Project:
    """A repository as it is."""

    def __init__(self, folder: Path) -> None:
        """Read its settings; leave with a sentence if they cannot be read, or not be added to."""
        self.folder = folder
        file = folder / "pyproject.toml"
        if file.is_symlink():
            sys.exit(f"{file} is a link: put the file there that it leads to.")
        try:
            self.text = file.read_bytes().decode() if file.exists() else ""
            self.settings = tomllib.loads(self.text)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            sys.exit(f"{file} cannot be read: {error}.")
        self.metadata: dict[str, Any] = self.settings.get("project", {})
        self.tools: dict[str, Any] = self.settings.get("tool", {})
        self.setup = self.ini("setup.cfg")
        if "poetry" in self.tools and not self.metadata:
            sys.exit(
                f"{folder} has its metadata in [tool.poetry], which uv cannot read: move that to"
                " [project] first, as Poetry 2 has it."
            )

    def files(self, pattern: str) -> list[str]:
        """Return the files of a pattern that git has."""
        return output(["git", "ls-files", pattern], self.folder).splitlines()

    def read(self, name: str) -> str:
        """Return the text of a file, nothing if it is not there."""
        file = self.folder / name
        return file.read_bytes().decode(errors="replace") if file.is_file() else ""

    def ini(self, name: str) -> ConfigParser:
        """Return the sections of an INI file, none if it cannot be read."""
        parser = ConfigParser(interpolation=None, strict=False)
        try:
            parser.read_string(self.read(name))
        except Error:
            return ConfigParser()
        return parser

    def has_metadata(self) -> bool:
        """Return whether setuptools builds it from files of its own."""
        files = ["setup.py", "setup.cfg"]
        return not self.metadata and any(map(self.read, files)) and bool(self.name())

    def discovery(self) -> str:
        """Return how setuptools finds its packages: automatic, by find, or nothing if it need not."""
        if not self.name() or "setuptools" not in (
            self.settings.get("build-system", {}).get("build-backend", "setuptools")
        ):
            return ""
        table = self.tools.get("setuptools", {})
        said = self.read("setup.py") + self.read("setup.cfg") + str(table)
        if "include" in table.get("packages", {}):
            return ""
        if re.search(r"\bfind_(namespace_)?packages\b|\bfind(_namespace)?:|'find'", said):
            return "find"
        return "" if re.search(r"\b(packages|py_modules|py-modules)\b", said) else "automatic"

    def name(self) -> str:
        """Return the name of its distribution, nothing if it has none."""
        return self.said("name", "metadata", "name")

    def said(self, key: str, section: str, option: str) -> str:
        """Return what is said by a key of [project], or by an option of setup.cfg or setup.py."""
        in_code = re.search(rf"\b{option}\s*=\s*([\"'])(.+?)\1", self.read("setup.py"))
        return (
            self.metadata.get(key)
            or self.setup.get(section, option, fallback="")
            or (in_code[2] if in_code else "")
        )

    def place_of(self, tool: str) -> str:
        """Return the file with the settings of a tool, nothing if there are none."""
        for file, section in PLACES[tool]:
            if self.read(file) and (not section or self.ini(file).has_section(section)):
                return file
        return "pyproject.toml" if tool in self.tools else ""

    def owned(self) -> list[str]:
        """Return the files and tables of the template's names that stay the project's own."""
        owned = {name for name in shared() if (self.folder / name).exists()}
        if (self.folder / "makefile").exists():
            owned.add("Makefile")
        tools = (TEMPLATE / "template/pyproject.toml.jinja").read_text("utf-8")
        pinned = {requirement.name.lower() for requirement, _ in disputed(self.installed(), tools)}
        # The guard needs the template's pytest, too.
        if self.place_of("pytest") or "pytest" in pinned:
            # Tests may find each other by their own folder, which the second file would end.
            owned |= {"pytest.ini", "tests/__init__.py"}
        # The versions in it may be newer than what the template takes.
        owned |= {"uv.lock"} if (self.folder / "uv.lock").exists() else set()
        owned |= {f"tool.{tool}" for tool in TOOLS if self.place_of(tool)}
        # Files that git has with other line ends would all be changed by it.
        if re.search(r"(?m)^i/(crlf|mixed)", output(["git", "ls-files", "--eol"], self.folder)):
            owned.add(".gitattributes")
        return sorted(owned)

    def guesses(self) -> dict[str, Any]:
        """Return answers to the template's questions, as far as the repository tells."""
        name = self.name() or self.folder.name
        sources, package = self.package(name)
        setup = self.setup["metadata"] if self.setup.has_section("metadata") else {}
        authors = self.metadata.get("authors", [])
        author = authors[0] if authors else {}
        first = output(["git", "log", "--reverse", "--format=%an\t%ae"], self.folder)
        by, _, mail = first.partition("\n")[0].partition("\t")
        about = self.metadata.get("description") or setup.get("description", "")
        lengths = [
            self.tools.get("black", {}).get("line-length"),
            self.tools.get("ruff", {}).get("line-length"),
            *(
                self.ini(file).get("flake8", "max-line-length", fallback=None)
                for file in [".flake8", "setup.cfg", "tox.ini"]
            ),
            88 if {"black", "ruff"} & self.tools.keys() else None,
        ]
        report = self.tools.get("coverage", {}).get("report", {})
        pushes = (self.folder / ".github/workflows").is_dir()
        guesses = {
            "project_name": name,
            "package_name": package,
            "sources": sources,
            "description": about.strip().partition("\n")[0][:200].strip(),
            # setuptools' form may have the address behind the name.
            "author_name": author.get("name")
            or setup.get("author", "").partition("<")[0].strip()
            or by,
            "author_email": author.get("email") or setup.get("author_email") or mail,
            "python_version": self.lowest_python(),
            "line_length": str(next(filter(None, lengths), "")),
            # Nobody has asked for more up to now.
            "coverage_threshold": str(report.get("fail_under", 0)),
            "ci": ["github"] * pushes + ["gitlab"] * bool(self.read(".gitlab-ci.yml")),
            "examples": [],
            "own_files": self.owned(),
        }
        known = {name: guess for name, guess in guesses.items() if guess not in ("", None)}
        return {"adopted": True, **known}

    def package(self, name: str) -> tuple[str, str]:
        """Return the folder with the sources, and the name of the package in it or that it is."""
        folders = [PurePath(path).parts[:-1] for path in self.files("*/__init__.py")]
        wanted = re.sub(r"[^a-z0-9]+", "_", name.lower())
        inside = [path[1] for path in folders if path[0] == "src" and len(path) == 2]
        flat = [path[0] for path in folders if len(path) == 1 and path[0] not in ASIDE]
        found = sorted(inside or flat, key=lambda each: (each.lower() != wanted, each))
        package = found[0] if found else wanted
        return ("src" if inside or not flat else package), package

    def lowest_python(self) -> str:
        """Return the lowest Python that both the project and the template support."""
        wanted = self.said("requires-python", "options", "python_requires")
        offered = re.findall(r'"(3\.\d+)"', (TEMPLATE / "versions.jinja").read_text("utf-8"))
        try:
            supported = SpecifierSet(wanted)
        except InvalidSpecifier:
            return ""
        for version in offered:
            # The newest of its releases, as a lowest one may be somewhere in between.
            if supported.contains(f"{version}.99"):
                return str(version)
        return sys.exit(f"The project runs on Python {wanted}, the template from {offered[0]} on.")

    def tests_elsewhere(self) -> list[str]:
        """Return the folders with tests, if none of these are in tests/."""
        named = re.compile(r"(.*/)?(unit)?tests?/|(.*/)?(?=test_[^/]*$)")
        found = {
            match[0].rstrip("/") for path in self.files("*.py") if (match := named.match(path))
        }
        return [] if "tests" in found else sorted(found - {""})

    def runs_below(self, version: str) -> bool:
        """Return whether the project says that it runs on older Pythons than one."""
        major, minor = version.split(".")
        try:
            wanted = SpecifierSet(self.metadata.get("requires-python", ""))
        except InvalidSpecifier:
            return False
        return "requires-python" in self.metadata and wanted.contains(
            f"{major}.{int(minor) - 1}.99"
        )

    def extras(self) -> dict[str, list[str]]:
        """Return what the extras depend on."""
        named: dict[str, list[str]] = dict(self.metadata.get("optional-dependencies", {}))
        if self.setup.has_section("options.extras_require"):
            section = self.setup["options.extras_require"]
            named |= {name: lines.splitlines() for name, lines in section.items()}
        return named

    def groups(self) -> dict[str, list[Any]]:
        """Return what is in the groups of dependencies."""
        return dict(self.settings.get("dependency-groups", {}))

    def needed(self) -> list[str | dict[str, str]]:
        """Return what the tests need, as the group dev has it: the project, its groups and extras for them."""
        extras = ",".join(name for name in TESTS if name in self.extras())
        itself = [f"{self.name()}[{extras}]"] if extras else [self.name()] * self.has_metadata()
        included = [{"include-group": name} for name in TESTS if name in self.groups()]
        return [*itself, *(each for each in included if each not in self.groups().get("dev", []))]

    def installed(self) -> list[str]:
        """Return what it depends on, by itself and for its tests."""
        groups, extras = self.groups(), self.extras()
        lines = [
            *self.metadata.get("dependencies", []),
            *self.setup.get("options", "install_requires", fallback="").splitlines(),
            *(line for name in TESTS for line in extras.get(name, [])),
        ]
        waiting, seen = ["dev", *TESTS], set()
        while waiting:
            name = waiting.pop()
            for item in [] if name in seen else groups.get(name, []):
                if isinstance(item, str):
                    lines.append(item)
                else:
                    waiting.append(item.get("include-group", ""))
            seen.add(name)
        return lines

    def pytest_settings(self) -> dict[str, str]:
        """Return how the project sets pytest, as an INI file says it."""
        table = self.tools.get("pytest", {})
        found: Mapping[str, Any] = table.get("ini_options", table)
        place = self.place_of("pytest")
        if not place.endswith(".toml"):
            sections = self.ini(place)
            found = next(
                (sections[name] for name in ["pytest", "tool:pytest"] if name in sections), found
            )
        return {name: as_ini(value) for name, value in found.items()}


def shared() -> set[str]:
    """Return the template's files that a project may have of its own, which updates then leave alone."""
    questions = yaml.safe_load((TEMPLATE / "copier.yml").read_text("utf-8"))
    starter = GitIgnoreSpec.from_lines(questions["_skip_if_exists"])
    listed = output(["git", "ls-files"], TEMPLATE / "template").splitlines()
    names = {name.removesuffix(".jinja") for name in listed} - {"pyproject.toml"}
    return names.difference(starter.match_files(names))


def as_ini(value: object) -> str:
    """Return a setting of TOML as an INI file has it."""
    if isinstance(value, list):
        return "".join(f"\n{line}" for line in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


class Plan:
    """What is added, what pyproject.toml becomes, and what is offered."""

    def __init__(self, project: Project, rendered: Path, answers: Mapping[str, Any]) -> None:
        """Work it out, writing nothing."""
        self._project = project
        self._rendered = rendered
        self._answers = answers
        self._own: list[str] = answers["own_files"]
        self.makefile = "GNUmakefile" if "Makefile" in self._own else "Makefile"
        self._kept: list[str] = []
        self._new_tables: list[str] = []
        self._elsewhere = project.tests_elsewhere()
        self._files = {**self._added(), "pyproject.toml": self._pyproject()}
        self._offers = {f"{OFFERS}/.gitignore": "*\n", **self._diffs()}
        self._both = self._targets_of_both()

    def _text(self, name: str) -> str:
        text = (self._rendered / name).read_text("utf-8")
        if name == ".pre-commit-config.yaml" and "pytest.ini" in self._own:
            # An option of the guard, which their settings do not load yet.
            text = text.replace(" --processes=auto", "")
        if name == ".github/workflows/ci.yml" and self._project.files(".github/workflows/*"):
            # Under a name that theirs do not have: runs of one name cancel each other.
            text = text.replace("\nname: CI\n", "\nname: Gates\n")
        if name == "pytest.ini":
            tests = self._project.folder / "tests"
            paths = ["."]
            if self._answers["sources"] == "src" and not self._project.name():
                # Nothing installs it.
                paths.append("src")
            if tests.is_dir() and not (tests / "__init__.py").exists():
                # They may import each other from there, as pytest by itself lets them.
                paths.append("tests")
            text = text.replace("\npythonpath = .\n", f"\npythonpath = {' '.join(paths)}\n")
            if self._elsewhere:
                found = " ".join(self._elsewhere)
                text = text.replace("\ntestpaths = tests\n", f"\ntestpaths = {found}\n")
        typed = " ".join(["--exclude=^tests/guard/", *self._typed()])
        if name == ".pre-commit-config.yaml" and self._needs_types():
            text = text.replace("/mypy\n", f"/mypy {typed}\n")
        if name == self.makefile and self._needs_types():
            # At the end, where updates change nothing.
            text += f"\n# What mypy looks at, which its settings do not say.\nTYPED := {typed}\n"
        return text

    def _needs_types(self) -> bool:
        """Return whether settings of mypy that are not in pyproject.toml do not say what it looks at."""
        project = self._project
        place = project.place_of("mypy")
        return place not in {"", "pyproject.toml"} and not project.ini(place).get(
            "mypy", "files", fallback=""
        )

    def _typed(self) -> list[str]:
        sources = self._answers["sources"]
        tests = self._elsewhere or ["tests"]
        return [sources, *(name for name in tests if not name.startswith(f"{sources}/"))]

    def _added(self) -> dict[str, str]:
        added = {}
        for file in sorted(self._rendered.rglob("*")):
            name = file.relative_to(self._rendered).as_posix()
            is_there = os.path.lexists(self._project.folder / name)
            if file.is_file() and name not in self._own and not is_there:
                added[name] = self._text(name)
        return added

    # pyproject.toml.

    def _pyproject(self) -> str:
        """Return what is there, with what is rendered behind it, or in the tables that are there."""
        project = self._project
        theirs = tomlkit.parse(project.text)
        given = tomlkit.parse(self._without_disputed_pins(self._text("pyproject.toml")))
        if "dependency-groups" in theirs:
            self._add_groups(theirs["dependency-groups"], given.pop("dependency-groups"))
        else:
            for item in reversed(project.needed()):
                given["dependency-groups"]["dev"].insert(0, item)
        self._set_uv(given["tool"]["uv"])
        needed = {"uv": given["tool"].pop("uv")} if "uv" in project.tools else {}
        needed |= {tool: self._needed(tool) for tool in TOOLS if tool in project.tools}
        package = self._answers["sources"]
        if package != "src" and project.discovery() == "automatic":
            # setuptools cannot tell the package from the template's folders beside it.
            found = inline(find=inline(include=[package, f"{package}.*"]))
            needed["setuptools"] = spaced(packages=found)
        for tool, settings in needed.items():
            if tool in project.tools:
                self._add_missing(theirs["tool"][tool], tool, settings)
            else:
                given["tool"][tool] = settings
        places = [(tool, project.place_of(tool)) for tool in TOOLS]
        self._kept += [f"settings of {tool}, in {place}" for tool, place in places if place]
        self._new_tables += [
            *(["dependency-groups"] if "dependency-groups" in given else []),
            *(f"tool.{tool}" for tool in given["tool"]),
        ]
        parts = [tomlkit.dumps(theirs).rstrip("\n"), tomlkit.dumps(given).strip("\n")]
        text = "\n\n".join(part for part in parts if part) + "\n"
        # All lines end as theirs do.
        return text.replace("\r", "").replace("\n", "\r\n") if "\r\n" in project.text else text

    def _set_uv(self, table: Any) -> None:  # noqa: ANN401 - a table of tomlkit
        """Let uv find the project, and know what cannot be installed."""
        project, lowest = self._project, self._answers["python_version"]
        if project.has_metadata():
            # setuptools knows the project by other files, so that uv can only install it by its path.
            table["sources"] = spaced(**{project.name(): inline(path=".", editable=True)})
        if "uv.lock" not in self._own and project.runs_below(lowest):
            # The tools, and what they need, may be there for no older one.
            table["environments"] = [f"python_version >= '{lowest}'"]
        if conflicts := self._conflicts():
            table["conflicts"] = conflicts

    def _without_disputed_pins(self, rendered: str) -> str:
        """Return settings without the tools of which the project has a version of its own."""
        for requirement, pin in disputed(self._project.installed(), rendered):
            self._kept.append(f"{requirement}, not {pin}, in its dependencies")
            name = canonicalize_name(requirement.name)
            rendered = re.sub(rf'(?m)^    "{name}==.*\n', "", rendered)
        return rendered

    def _conflicts(self) -> list[Any]:
        """Return what cannot be installed with the tools and need not be, as uv has to know."""
        project, text = self._project, self._text("pyproject.toml")
        extras = {} if project.has_metadata() else project.extras()
        needless = [
            *(("extra", name, lines) for name, lines in extras.items() if name not in TESTS),
            *(("group", *group) for group in project.groups().items()),
        ]
        found = [
            (kind, name)
            for kind, name, lines in needless
            if disputed([line for line in lines if line not in project.installed()], text)
        ]
        self._kept += [
            f"{kind} {name}, never with the tools, in pyproject.toml" for kind, name in found
        ]
        return [[{kind: name}, {"group": "tooling"}] for kind, name in found]

    def _add_groups(self, groups: Any, given: Any) -> None:  # noqa: ANN401 - tables of tomlkit
        added = [name for name in given if name != "dev"]
        for name in added:
            if name in groups:
                sys.exit(
                    f"[dependency-groups] has a group {name}, as the template has: rename it first."
                )
            groups[name] = given[name]
            self._new_tables.append(f"dependency-groups.{name}")
        for item in [*({"include-group": name} for name in added), *self._project.needed()]:
            groups.setdefault("dev", tomlkit.array()).append(item)

    def _needed(self, tool: str) -> Mapping[str, Any]:
        """Return the settings without which a gate cannot run, or would change the template's files."""
        own = ["tests/guard", "tooling"]
        needed: dict[str, dict[str, Any]] = {
            "black": {"force-exclude": "/(tests/guard|tooling)/"},
            "isort": {"extend_skip": own},
            "ruff": {"extend-exclude": own},
            "mypy": {"files": self._typed(), "exclude": ["^tests/guard/"]},
        }
        return needed.get(tool, {})

    def _add_missing(self, table: Any, tool: str, given: Mapping[str, Any]) -> None:  # noqa: ANN401
        for name, value in given.items():
            if name in table:
                self._kept.append(f"{name} of {tool}, in pyproject.toml")
            else:
                table[name] = value
                self._new_tables.append(f"tool.{tool}.{name}")

    # What is offered.

    def _diffs(self) -> dict[str, str]:
        diffs = {}
        for name in self._own:
            # GNUmakefile stands for the one, and the guard does without the other.
            is_needless = name in {"Makefile", "tests/__init__.py"}
            if is_needless or not (self._rendered / name).exists():
                continue
            path, before, after = name, self._project.read(name), self._text(name)
            if name == ".github/workflows/ci.yml":
                # Beside theirs.
                path, before = ".github/workflows/gates.yml", ""
            elif name in {".gitignore", ".gitattributes"}:
                after = with_missing_lines(before, after)
            elif name == ".pre-commit-config.yaml":
                after = with_hooks(before, after)
            elif name == "pytest.ini":
                after = with_settings(after, self._project.pytest_settings())
            if after != before:
                diffs[f"{OFFERS}/{path.replace('/', '-').strip('.')}.diff"] = diff(
                    path, before, after
                )
        return diffs

    # The end.

    def write(self) -> None:
        """Write it all, or nothing."""
        folder = self._project.folder
        pyproject = folder / "pyproject.toml"
        before = pyproject.read_bytes() if pyproject.exists() else None
        written: list[Path] = []
        try:
            for name, text in {**self._offers, **self._files}.items():
                file = folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                written.append(file)
                file.write_text(text, "utf-8", newline="")
        except BaseException as error:
            for file in written:
                file.unlink(missing_ok=True)
                new.remove_empty([each for each in file.parents if each.is_relative_to(folder)])
            if before is not None:
                pyproject.write_bytes(before)
            if isinstance(error, OSError):
                sys.exit(f"Nothing was changed: {error}.")
            raise
        run(["git", "add", "--force", "--", *self._files], folder)

    def say(self) -> None:
        """Say what was added, what stays and what can be chosen."""
        added = [name for name in self._files if name != "pyproject.toml"]
        tops = Counter(name.partition("/")[0] for name in added)
        folders = {name.partition("/")[0] for name in added if "/" in name}
        say_list(
            "Added:",
            [f"{top}/, {tops[top]} files" if top in folders else top for top in tops],
        )
        say_list("Added to pyproject.toml, below or beside what is there:", self._new_tables)
        say_list("Yours, as it was; the template would have its own:", self._stays())
        say_list(
            "To choose from, each by git apply:",
            [name for name in self._offers if name.endswith(".diff")],
        )
        if self.makefile == "GNUmakefile":
            say_list(
                "make reads GNUmakefile first, then yours. Run yours by make -f Makefile:",
                self._both,
            )
        if self._elsewhere:
            say(
                f"\nYour tests are in {' and '.join(self._elsewhere)}: the guard names lines of tests in"
                " tests/ alone, and coverage and ruff's exceptions for tests look there. Move them if you can."
            )
        if self._project.discovery() == "find" and self._answers["sources"] != "src":
            say(
                "\nsetuptools looks for your packages, and would pack the template's with them: where your"
                " settings say find, exclude tooling* and tests*."
            )
        if listed := self._project.files("*requirements*.txt"):
            say(f"\nNot read: {', '.join(listed)}. What tests need: uv add --group dev <name>.")
        if "pytest.ini" in self._own:
            say(
                f"The guard is off until pytest loads it: {OFFERS}/pytest.ini.diff adds it to your settings."
            )

    def _stays(self) -> list[str]:
        files = [name for name in self._own if (self._project.folder / name).exists()]
        place = self._project.place_of("pytest")
        is_elsewhere = "pytest.ini" in self._own and place and place not in files
        return [*files, *self._kept, *([f"settings of pytest, in {place}"] if is_elsewhere else [])]

    def _targets_of_both(self) -> list[str]:
        theirs, given = (
            set(re.findall(r"(?m)^([a-z][\w-]*):(?!=)", text))
            for text in [
                self._project.read("makefile") or self._project.read("Makefile"),
                self._text("tooling.mk") + self._text("Makefile"),
            ]
        )
        return sorted(theirs & given)


def inline(**items: object) -> Any:  # noqa: ANN401 - of tomlkit
    """Return a table in one line."""
    table = tomlkit.inline_table()
    table.update(items)
    return table


def spaced(**items: object) -> Any:  # noqa: ANN401 - of tomlkit
    """Return a table with an empty line behind it."""
    table = tomlkit.table()
    table.update(items)
    table.add(tomlkit.nl())
    return table


def disputed(lines: Iterable[object], settings: str) -> list[tuple[Requirement, str]]:
    """Return the requirements that the pins of the tools do not meet, each with the pin."""
    pins = dict(re.findall(r'(?m)^    "([\w-]+)==([\w.]+)",', settings))
    found = []
    for line in lines:
        try:
            requirement = Requirement(str(line))
        except InvalidRequirement:
            continue
        pin = pins.get(canonicalize_name(requirement.name), "")
        if pin and not requirement.specifier.contains(pin):
            found.append((requirement, pin))
    return found


def with_missing_lines(theirs: str, given: str) -> str:
    """Return lines with those that they lack behind them."""
    known = theirs.splitlines()
    missing = [line for line in given.splitlines() if line not in known]
    return "\n".join([*known, *missing]).strip("\n") + "\n"


def with_hooks(theirs: str, given: str) -> str:
    """Return a file of git hooks with the given ones behind its own."""
    # The given file says of all its hooks at once that they run at commits.
    at_commits = "        stages: [pre-commit]\n"
    hooks = "".join(
        hook if "stages:" in hook else re.sub(r"\A(.*\n(?: {8}.*\n)*)", rf"\1{at_commits}", hook)
        for hook in re.split(r"(?m)^(?= {6}- id: )", given.partition("hooks:\n")[2])
    )
    hooks = f"  - repo: local\n    hooks:\n{hooks}"
    block = textwrap.dedent(hooks)
    first = re.search(r"(?m)^( *)- ", theirs)
    block = textwrap.indent(block, first[1] if first else "  ")
    # Other keys may follow the list.
    theirs = f"{theirs.rstrip()}\n"
    listed = re.search(r"(?m)^repos:.*\n(?:(?:(?:#.*)?\n)*[ \t-].*\n)*", theirs)
    end = listed.end() if listed else len(theirs)
    return f"{theirs[:end]}\n{block}{theirs[end:]}"


def with_settings(given: str, theirs: Mapping[str, str]) -> str:
    """Return a pytest.ini in which their settings take the place of the given ones, or join them."""
    for name, value in theirs.items():
        own = value.strip().replace("\n", "\n    ")
        found = re.search(rf"(?m)^{name} =.*\n(?:[ \t]+.*\n)*", given)
        head = found[0].rstrip() if found and name in JOINED else f"{name} ="
        lines = f"{head}\n    {own}\n"
        given = given.replace(found[0], lines) if found else f"{given}\n{lines}"
    return given


def diff(path: str, before: str, after: str) -> str:
    """Return what git apply takes to change a file, or to make it."""
    with TemporaryDirectory() as name:
        for side, text in [("a", before), ("b", after)]:
            file = Path(name, side, path)
            file.parent.mkdir(parents=True)
            if text:
                file.write_text(text, "utf-8", newline="")
        old = f"a/{path}" if before else os.devnull
        command = ["git", "diff", "--no-index", "--no-prefix", "--no-color", old, f"b/{path}"]
        return run(command, Path(name), stdout=subprocess.PIPE).stdout


def say_list(sentence: str, lines: Iterable[str]) -> None:
    """Print a sentence and lines below it, nothing where there are none."""
    text = "".join(f"\n  {line}" for line in lines)
    if text:
        say(f"\n{sentence}{text}")


def set_advisory(folder: Path, makefile: str) -> None:
    """Let the stages that fail today be advisory, then finish the set-up."""
    say("\nRunning make check, to see what fails today ...")
    if run(["make", "--silent", ".venv/.ready"], folder).returncode:
        sys.exit("The repository took the template on, but has no environment yet: see above.")
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    every = f"ADVISORY={' '.join(STAGES)}"
    checked = run(["make", "check", every], folder, stdout=pipe, stderr=nothing).stdout
    say(checked.rstrip())
    found = re.findall(r"(?m)^(\S+) +advisory ", checked)
    failed = " ".join(stage for stage in STAGES if stage in found)
    if failed:
        file = folder / makefile
        text = file.read_text("utf-8").replace("\nADVISORY :=\n", f"\nADVISORY := {failed}\n")
        file.write_text(text, "utf-8")
        say(f"\nAdvisory from now on, by ADVISORY in {makefile}: {failed}.")
    run(["make", "setup"], folder)
    for name in [makefile, "uv.lock"]:
        # A project may want no lock file in git.
        run(["git", "add", "--", name], folder, stderr=nothing)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped. If something was written already, 'git reset --hard' takes it away.")
