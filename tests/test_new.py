"""`make new` in a fresh clone: with nothing but python3, git and make, interrupted, and refused."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import (
    NEITHER,
    clean_environment,
    path_without_uv,
    read_yaml,
    run,
    stub,
    uv_folder,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def clone(template: Path, tmp_path: Path) -> Path:
    """Return a fresh clone of the template, in a folder of its own."""
    folder = tmp_path / "it's a clone"
    assert run(["git", "clone", "-q", str(template), str(folder)], tmp_path).returncode == 0
    return folder


# By its path, where another make is first on the PATH.
MAKE_NEW = [shutil.which("make") or "make", "new"]

SKELETON = ["make", "new", "DEST=../hub", "FLAGS=-d examples=[]"]


@pytest.fixture
def only_made(tmp_path: Path) -> dict[str, str]:
    """Return variables with which the project's own make does nothing, to save its setup and quality."""
    path = stub(tmp_path / "bin", {"make": "exit 0"})
    return {"PATH": f"{path}:{uv_folder()}:{os.environ['PATH']}"}


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_command_makes_a_working_project_without_uv(clone: Path, template: Path) -> None:
    done = run("make new FLAGS=-dexamples=[clients]", clone, PATH=path_without_uv())

    project = clone.parent / "my-async-project"
    assert done.returncode == 0, done.stdout
    assert "\nquality passed in " in done.stdout
    assert done.stdout.endswith(f"The project is ready in {project}. Go there and try: make demo\n")
    assert run("git status --porcelain", project).stdout == ""
    assert run("git ls-files uv.lock", project).stdout == "uv.lock\n"
    assert (project / ".git/hooks/pre-commit").exists()
    assert read_yaml(project / ".copier-answers.yml")["_src_path"] == str(template)
    assert run("git status --porcelain", clone).stdout == ""


def test_the_project_goes_on_without_uv_and_network(
    clone: Path, without_network: list[str]
) -> None:
    variables = {"PATH": path_without_uv(), **NEITHER}
    done = run("make new DEST=../hub FLAGS=-dexamples=[]", clone, **variables)
    project = clone.parent / "hub"

    checked = run([*without_network, "make", "check"], project, **variables)

    assert done.returncode == 0, done.stdout
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("origin", "recorded"),
    [
        ("https://me:secret@example.com/t.git", "https://example.com/t.git"),
        ("git@example.com:acme/t.git", "git@example.com:acme/t.git"),
        ("../it's there", "{parent}/it's there"),
    ],
)
def test_updates_come_from_where_the_clone_came_from(
    origin: str, recorded: str, clone: Path, only_made: dict[str, str]
) -> None:
    (clone.parent / "it's there").mkdir()
    assert run(["git", "remote", "set-url", "origin", origin], clone).returncode == 0

    done = run([*MAKE_NEW, "DEST=../hub", "FLAGS=-d examples=[]"], clone, **only_made)

    answers = read_yaml(clone.parent / "hub/.copier-answers.yml")
    assert done.returncode == 0, done.stdout
    assert answers["_src_path"] == recorded.format(parent=clone.parent)


def test_flags_arrive_as_typed_and_name_the_folder(clone: Path, only_made: dict[str, str]) -> None:
    flags = (
        "-d project_name=\"Order's Hub\" -d description='costs $5 $(touch pwned) `touch pwned`' "
    )

    done = run([*MAKE_NEW, f"FLAGS={flags} -d examples=[]"], clone, **only_made)

    project = clone.parent / "order-s-hub"
    answers = read_yaml(project / ".copier-answers.yml")
    assert done.returncode == 0, done.stdout
    assert answers["project_name"] == "Order's Hub"
    assert answers["description"] == "costs $5 $(touch pwned) `touch pwned`"
    assert not list(clone.parent.rglob("pwned"))


def kill_at(moment: str, clone: Path) -> None:
    """Kill a run of `make new` as it says a line."""
    with subprocess.Popen(
        SKELETON,
        cwd=clone,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        assert f"{moment}\n" in iter(process.stdout.readline, "")
        os.killpg(process.pid, signal.SIGKILL)


def test_a_run_that_was_killed_is_taken_up_again(clone: Path) -> None:
    kill_at("Setting up, then running make quality ...", clone)

    done = run(SKELETON, clone, **NEITHER)

    assert done.returncode == 0, done.stdout
    assert "Its answers stay as they were" in done.stdout
    assert "\nquality passed in " in done.stdout
    assert "The project is ready in" in done.stdout
    assert entries(clone.parent) == ["hub", "it's a clone"]


def test_a_run_that_was_killed_before_there_was_a_project_begins_anew(
    clone: Path, only_made: dict[str, str]
) -> None:
    kill_at("Rendering ...", clone)

    done = run([MAKE_NEW[0], *SKELETON[1:]], clone, **only_made)

    assert done.returncode == 0, done.stdout
    assert "Its answers stay as they were" not in done.stdout
    assert "The project is ready in" in done.stdout
    assert entries(clone.parent) == ["bin", "hub", "it's a clone"]


def test_an_occupied_folder_is_refused_and_left_alone(clone: Path) -> None:
    occupied = clone.parent / "hub"
    occupied.mkdir()
    (occupied / "mine.txt").write_text("mine")

    done = run("make new DEST=../hub", clone)

    assert done.returncode != 0
    assert f"{occupied} is not empty: say where to put the project" in done.stdout
    assert entries(occupied) == ["mine.txt"]


def test_a_refused_answer_leaves_nothing(clone: Path) -> None:
    done = run(["make", "new", "DEST=../new/hub", "FLAGS=-d package_name=class"], clone)

    assert done.returncode != 0
    assert (
        "Nothing was made. Validation error for question 'package_name': type e.g. class_project: "
        in done.stdout
    )
    assert "Traceback" not in done.stdout
    assert entries(clone.parent) == ["it's a clone"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("-d exmaples=[]", "There is no question exmaples; did you mean examples?"),
        ("-d examples=clients", 'several choices are typed as in -d "examples=[clients, queues]"'),
        ("-d 'x", "FLAGS cannot be split into words (No closing quotation): close every quote."),
        ("-d license=WTFPL", "Invalid choice for 'license': 'WTFPL' is not in ['MIT', "),
        ("--nonsense", "Unknown switch --nonsense"),
        ("--pretend", "Nothing was made: Copier wrote no file; leave --pretend out of FLAGS."),
    ],
)
def test_bad_flags_are_refused_with_a_sentence(flags: str, sentence: str, clone: Path) -> None:
    done = run(["make", "new", "DEST=../hub", f"FLAGS={flags}"], clone)

    assert done.returncode != 0
    assert sentence in done.stdout
    assert entries(clone.parent) == ["it's a clone"]


def test_without_git_there_is_a_sentence(clone: Path, tmp_path: Path) -> None:
    path = stub(tmp_path / "bin", {"python3": f'exec {sys.executable} "$@"', "uv": "exit 1"})
    for name in ["dirname", "env", "make", "sh"]:
        (path / name).symlink_to(shutil.which(name) or name)

    done = run([str(path / "make"), "new"], clone, PATH=str(path))

    assert "git is needed, and is not on the PATH" in done.stdout
    assert entries(clone.parent) == ["bin", "it's a clone"]


def test_a_python_that_is_too_old_gets_a_sentence(clone: Path, tmp_path: Path) -> None:
    old = 'case "$1" in --version) echo Python 3.9.18;; *) exit 1;; esac'
    path = stub(tmp_path / "bin", {"python3": old, "uv": "exit 0"})

    done = run("make new", clone, PATH=f"{path}:{path_without_uv()}")

    assert "Python 3.11 or newer is needed as python3, not Python 3.9.18" in done.stdout
    assert entries(clone.parent) == ["bin", "it's a clone"]


def test_a_project_for_a_python_that_is_missing_gets_a_sentence(
    clone: Path, tmp_path: Path
) -> None:
    refuse = 'case "$1" in lock) echo "No interpreter found" >&2; exit 2;; *) exec {} "$@";; esac'
    path = stub(tmp_path / "bin", {"uv": refuse.format(uv_folder() / "uv")})

    done = run("make new DEST=../hub", clone, PATH=f"{path}:{path_without_uv()}")

    assert "Nothing was made: the dependencies cannot be locked" in done.stdout
    assert entries(clone.parent) == ["bin", "it's a clone"]


def test_without_the_index_there_is_a_sentence(clone: Path, without_network: list[str]) -> None:
    done = run([*without_network, "make", "new"], clone, PATH=path_without_uv(), PIP_RETRIES="0")

    assert (
        "could not be installed: python3 needs its venv module and the package index" in done.stdout
    )
    assert entries(clone.parent) == ["it's a clone"]
    assert run("git status --porcelain --ignored", clone).stdout == ""


def test_without_the_index_but_with_uv_there_is_a_sentence(
    clone: Path, without_network: list[str], tmp_path: Path
) -> None:
    cache = {
        "UV_CACHE_DIR": str(tmp_path / "empty"),
        "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_HTTP_RETRIES": "0",
    }

    done = run([*without_network, "make", "new", "DEST=../hub"], clone, **cache)

    assert "Copier cannot be installed: is the package index within reach?" in done.stdout
    assert "hub" not in entries(clone.parent)


def test_a_folder_without_git_history_gets_a_sentence(clone: Path) -> None:
    run("rm -rf .git", clone)

    done = run("make new", clone)

    assert "is no git repository: clone the template with git" in done.stdout
    assert entries(clone.parent) == ["it's a clone"]


def test_a_machine_without_git_identity_commits_as_the_author(
    clone: Path, tmp_path: Path, only_made: dict[str, str]
) -> None:
    no_identity = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    unset = [
        word for name in clean_environment() if name.startswith("GIT_") for word in ["-u", name]
    ]
    flags = "FLAGS=-d examples=[] -d author_name=Ada -d author_email=ada@example.com"

    command = ["env", *unset, *MAKE_NEW, "DEST=../hub", flags]
    done = run(command, clone, **no_identity, **only_made)

    author = run(["git", "log", "--format=%an <%ae>"], clone.parent / "hub").stdout
    assert done.returncode == 0, done.stdout
    assert author == "Ada <ada@example.com>\n"
