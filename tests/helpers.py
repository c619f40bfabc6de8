"""What several test files need: rendering in-process, running commands, the hostile answers."""

import os
import pty
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import copier
import yaml

ROOT = Path(__file__).parent.parent
# What projects can be made for: the one list that the template has of it.
PYTHONS: list[str] = re.findall(r'"(3\.\d+)"', (ROOT / "versions.jinja").read_text("utf-8"))
# What people are asked: tests/test_adopt.py has what `make adopt` answers by itself.
QUESTIONS: dict[str, Any] = {
    name: question
    for name, question in yaml.safe_load((ROOT / "copier.yml").read_text("utf-8")).items()
    if not name.startswith("_") and "when" not in question
}


def choices_of(question: Mapping[str, Any], pythons: list[str] = PYTHONS) -> list[str]:
    """Return what a question can be answered by. Where that is computed, it is one of the Pythons."""
    choices = question["choices"]
    if isinstance(choices, str):
        return pythons
    return list(choices.values() if isinstance(choices, dict) else choices)


# Of each question with choices, what can be chosen: one of them, or several.
ONE_OF = {
    name: choices_of(question)
    for name, question in QUESTIONS.items()
    if "choices" in question and "multiselect" not in question
}
SEVERAL_OF = {
    name: choices_of(question) for name, question in QUESTIONS.items() if "multiselect" in question
}
EXAMPLES = SEVERAL_OF["examples"]
EXTRAS = SEVERAL_OF["extras"]
NUMBERS = ["line_length", "coverage_threshold"]
FREE_TEXTS = [name for name in QUESTIONS if name not in {*ONE_OF, *SEVERAL_OF, *NUMBERS}]
# Newest first.
RELEASES: list[str] = re.findall(
    r"(?m)^## (\d+\.\d+\.\d+) ", (ROOT / "CHANGELOG.md").read_text("utf-8")
)

# Answers that broke a third of the renders of eleven other templates, and more of the kind.
HOSTILE_TEXTS = [
    'Say "hi"',
    "O'Brien",
    "C:\\new\\x",
    "ends in a backslash\\",
    '"""triple"""',
    'x" dependencies = ["evil"] y = "',
    "{{ 7 * 7 }} {% raw %}",
    "{# gone #}",
    "$(touch pwned)",
    "`touch pwned`",
    "$HOME ${HOME} $$ $@",
    "foo: bar # baz",
    "- x",
    "+ x",
    "@x",
    "> x",
    "1. x",
    "# x #",
    "*x* _x_ ~~x~~ [x](y) ![x](y) <b>x</b> &amp; | x |",
    "%(asctime)s %s %%",
    "true",
    "null",
    "1e3",
    "2026-11-21",
    "=cmd|' /C calc'!A0",
    "endef",
    "define PROJECT",
    "emoji \N{ROCKET} \N{FAMILY}\N{ZERO WIDTH JOINER}\N{GIRL}",
    "Jürgen Ångström 日本語 עברית",
    "e\N{COMBINING ACUTE ACCENT}",
    "no-break\N{NO-BREAK SPACE}space",
    "a  b",
    "x" * 80,
    "x" * 300,
    "../evil",
    "/etc/passwd",
    "con",
    "class",
    "match",
    "json",
    "test",
    "aiohttp",
    "line\nbreak",
    "tab\there",
    "bell\a",
    "delete\x7f",
    "next line\x85",
    "line\N{LINE SEPARATOR}separator",
    "byte order\N{ZERO WIDTH NO-BREAK SPACE}mark",
    "reversed\N{RIGHT-TO-LEFT OVERRIDE}text",
    "isolated\N{LEFT-TO-RIGHT ISOLATE}text",
    "surrogate\ud800",
    "nonchar\uffff",
    "",
    " ",
    " padded ",
]


def render(
    template: Path, folder: Path, *, vcs_ref: str = "HEAD", **answers: Any  # noqa: ANN401
) -> Path:
    """Render a commit of the template into a folder, with defaults for what is not answered."""
    copier.run_copy(
        str(template), folder, answers, vcs_ref=vcs_ref, defaults=True, quiet=True, overwrite=True
    )
    return folder


# Variables of a command that runs tests where the shuffled schedule, or coverage too, is not what is looked at: they
# double the time of many tests.
ONE_SCHEDULE = {"PYTEST_ADDOPTS": "--seeds=0"}
NEITHER = {"PYTEST_ADDOPTS": "--seeds=0 --no-cov"}


def run(
    command: str | list[str], folder: Path, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command as a user would from a new shell, with uv and the given variables.

    Returns the finished process, with standard error behind standard output.
    """
    return subprocess.run(
        command.split() if isinstance(command, str) else command,
        cwd=folder,
        env={**environment(), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def on_a_terminal(command: str, folder: Path, **variables: str) -> str:
    """Run a command on a terminal, with uv and the given variables, and return what it prints there."""
    master, slave = pty.openpty()
    path = f"{uv_folder()}:{os.environ['PATH']}"
    with subprocess.Popen(
        command.split(),
        cwd=folder,
        env={**clean_environment(), "PATH": path, "TERM": "xterm", **variables},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ):
        os.close(slave)
        output = b""
        with suppress(OSError):  # as a terminal ends on Linux
            while data := os.read(master, 1 << 16):
                output += data
        os.close(master)
    return output.decode()


def environment() -> dict[str, str]:
    """Return the environment of a new shell of a user who has uv."""
    return {**clean_environment(), "PATH": f"{uv_folder()}:{os.environ['PATH']}"}


def clean_environment() -> dict[str, str]:
    """Return the environment without what this test run, its make and its git put there."""
    prefixes = (
        "ARGS",
        "COV",
        "DEST",
        "FLAGS",
        "GIT_",
        "MAKE",
        "MFLAGS",
        "PYTEST",
        "PYTHON",
        "UV_",
        "VIRTUAL_ENV",
    )
    # What `make test T=…` was given, which make passes on.
    given = {"CANCEL", "LAST", "PROCESSES", "SEEDS", "T", "V"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(prefixes) and name not in given
    }
    own = str(ROOT / ".venv")
    path = [part for part in kept["PATH"].split(":") if not part.startswith(own)]
    identity = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in {"NAME": "Test", "EMAIL": "test@example.com"}.items()
    }
    return {**kept, **identity, "PATH": ":".join(path)}


def uv_folder() -> Path:
    """Return the folder of the uv that ran these tests, on the PATH or brought by the Makefile."""
    found = shutil.which("uv") or next(ROOT.glob(".uv/*/uv"))
    return Path(found).parent


def path_without_uv() -> str:
    """Return a PATH on which there is no uv."""
    parts = clean_environment()["PATH"].split(":")
    return ":".join(part for part in parts if not Path(part, "uv").exists())


def commit_all(folder: Path) -> None:
    """Make a folder a git repository, and everything in it its first commit."""
    for command in ["git init -q -b main", "git add --all", "git commit -q --no-verify -m start"]:
        done = run(command, folder)
        assert done.returncode == 0, done.stdout


def read_toml(file: Path) -> dict[str, Any]:
    """Return what a TOML file says."""
    return tomllib.loads(file.read_text(encoding="utf-8"))


def read_yaml(file: Path) -> Any:  # noqa: ANN401 - whatever is in the file
    """Return what a YAML file says."""
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a project by their path, without git's own."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def commit_of(release: str) -> str:
    """Return the commit that is a release: the first that has its heading in CHANGELOG.md."""
    search = ["git", "log", "--reverse", "--format=%H", f"-S## {release} (", "CHANGELOG.md"]
    return run(search, ROOT).stdout.split()[0]


def available_python(version: str) -> bool:
    """Return whether a Python of this version is on the PATH and runs: pyenv leaves some that do not."""
    return (
        shutil.which(f"python{version}") is not None
        and run(f"python{version} --version", ROOT).returncode == 0
    )


def pythons_of(versions: Iterable[str]) -> list[str]:
    """Return the Pythons of full versions, such as 3.11 of 3.11.7, oldest first and each once."""
    return sorted({version.rpartition(".")[0] for version in versions}, key=numbers)


def numbers(version: str) -> list[int]:
    """Return the parts of a version, to be compared."""
    return [int(part) for part in version.split(".")]


def stub(folder: Path, programs: Mapping[str, str]) -> Path:
    """Return a folder of shell programs by name, to be put first on a PATH."""
    folder.mkdir(exist_ok=True)
    for name, script in programs.items():
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return folder
