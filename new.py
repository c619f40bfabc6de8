"""Makes a project from this clone of the template: what `make new` runs.

The project is rendered, locked and committed in a folder beside its destination and moved there in one
step, so that a destination is whole or absent. What is left to do then, its `make quality`, is taken up
again by the next run if this one is killed.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from difflib import get_close_matches
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).resolve().parent
ANSWERS = ".copier-answers.yml"


def main() -> None:
    """Make the project that the variables DEST and FLAGS describe; leave with a sentence on failure."""
    if shutil.which("git") is None:
        sys.exit("git is needed, and is not on the PATH: install git and run make new again.")
    named = os.environ.get("DEST")
    destination = Path(named).expanduser().resolve() if named else None
    if destination is None or not unfinished(destination).exists():
        destination = render(destination)
    else:
        go_on_with(destination)
    say("Setting up, then running make quality ...")
    for target in ["setup", "quality"]:
        if run(["make", target], destination).returncode:
            sys.exit(f"The project is in {destination}, but its make {target} failed: see above.")
    unfinished(destination).unlink()
    say(f"\nThe project is ready in {destination}. Go there and try: make demo")


def go_on_with(destination: Path) -> None:
    """Say that a project of an earlier run is finished, whatever was answered now."""
    say(
        f"Going on with {destination}, which an earlier run left unfinished. Its answers stay as they were:"
        " delete that folder to begin anew."
    )


def unfinished(destination: Path) -> Path:
    """Return the file that says that a project is there, but its quality was not yet run."""
    return destination / ".git" / "unfinished-make-new"


def refuse_occupied(destination: Path) -> None:
    """Leave with a sentence unless the destination is free or an empty folder."""
    if destination.is_dir() and not any(destination.iterdir()):
        return
    if destination.exists() or destination.is_symlink():
        sys.exit(
            f"{destination} is not empty: say where to put the project, as in make new DEST=../order-hub."
        )


def render(destination: Path | None) -> Path:
    """Render, lock and commit a project beside its destination, move it there and return where that is.

    Without a destination the project goes beside this clone, into a folder that bears its name.
    """
    if destination is not None:
        refuse_occupied(destination)
    flags = read_flags()
    commit = last_commit()
    fetch_copier()
    parent, name = (
        (destination.parent, destination.name) if destination else (TEMPLATE.parent, "project")
    )
    staging = parent / f".{name}.unfinished"
    shutil.rmtree(staging, ignore_errors=True)
    missing = [folder for folder in [parent, *parent.parents] if not folder.exists()]
    try:
        staging.mkdir(parents=True)
        say("Rendering ...")
        copy(staging, commit, flags)
        project = read_project(staging)
        destination = destination or parent / project["name"]
        if unfinished(destination).exists():
            go_on_with(destination)
        else:
            refuse_occupied(destination)
            lock_and_commit(staging, project)
            bring_uv(staging)
            if destination.is_dir():
                destination.rmdir()
            staging.rename(destination)
    except OSError as error:
        sys.exit(f"The project cannot be written: {error}.")
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        remove_empty(missing)
    return destination


def read_flags() -> list[str]:
    """Return the words of FLAGS; leave with a sentence if a quote in it is open."""
    try:
        return shlex.split(os.environ.get("FLAGS", ""))
    except ValueError as error:
        sys.exit(f"FLAGS cannot be split into words ({error}): close every quote.")


def last_commit() -> str:
    """Return the commit of the template that is rendered; leave with a sentence if there is none."""
    commit = output(["git", "rev-parse", "HEAD"], TEMPLATE)
    if not commit:
        sys.exit(
            f"{TEMPLATE} is no git repository: clone the template with git instead of unpacking it."
        )
    if output(["git", "status", "--porcelain"], TEMPLATE):
        say("Uncommitted changes of the template are left out.")
    return commit


def remove_empty(folders: list[Path]) -> None:
    """Remove the folders that are there and empty; the innermost are given first."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def bring_uv(project: Path) -> None:
    """Give the project the uv that this clone installed for itself, if it did."""
    own = TEMPLATE / ".uv"
    if Path(shutil.which("uv") or "").resolve().is_relative_to(own):
        shutil.copytree(own, project / ".uv")


def with_copier(*command: str) -> list[str]:
    """Return what runs a command where Copier is, in the version that the template is tested with."""
    with (TEMPLATE / "pyproject.toml").open("rb") as file:
        requirement = tomllib.load(file)["dependency-groups"]["copier"][0]
    return ["uv", "tool", "run", "--quiet", "--from", requirement, *command]


def fetch_copier() -> None:
    """Install Copier if it is not there yet; leave with a sentence if the index is out of reach."""
    # Not by Copier itself, which takes as long to start as what it is needed for here.
    nothing = with_copier("python", "-c", "")
    fetched = run(nothing, TEMPLATE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if fetched.returncode:
        sys.exit(
            f"{fetched.stderr}\nCopier cannot be installed: is the package index within reach?"
        )


def refuse_unknown(flags: list[str]) -> None:
    """Leave with a sentence if flags answer a question that there is not, which Copier passes over."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-d", "--data", action="append", default=[])
    questions = re.findall(r"(?m)^([a-z]\w*):", (TEMPLATE / "copier.yml").read_text("utf-8"))
    for answer in parser.parse_known_args(flags)[0].data:
        name = answer.partition("=")[0]
        if name not in questions:
            close = get_close_matches(name, questions, n=1, cutoff=0)
            sys.exit(f"Nothing was made. There is no question {name}; did you mean {close[0]}?")


def copy(staging: Path, commit: str, flags: list[str]) -> None:
    """Run Copier, asking questions when a terminal is attached; leave with its reason if it refuses.

    The answers record where updates come from.
    """
    refuse_unknown(flags)
    if not sys.stdin.isatty() and not {"--defaults", "-l", "--force", "-f"} & set(flags):
        flags = ["--defaults", *flags]
    command = with_copier(
        "copier", "copy", "--quiet", "--vcs-ref", commit, *flags, str(TEMPLATE), str(staging)
    )
    copied = run(command, TEMPLATE, stderr=subprocess.PIPE)
    if copied.returncode:
        # A refusal arrives as a traceback, whose last line is the sentence for the user.
        reason = copied.stderr.strip().rpartition("\n")[2]
        reason = re.sub(r"^(\w+\.)*\w+Error: ", "", reason)
        if "YAML list" in reason:
            reason += '; several choices are typed as in -d "examples=[clients, queues]"'
        sys.exit(f"Nothing was made. {reason}")
    if not (staging / ANSWERS).exists():
        sys.exit("Nothing was made: Copier wrote no file; leave --pretend out of FLAGS.")
    record_origin(staging / ANSWERS)


def record_origin(answers: Path) -> None:
    """Let updates come from where this clone came from, if that has what was rendered."""
    origin = output(["git", "remote", "get-url", "origin"], TEMPLATE)
    if origin and output(
        ["git", "for-each-ref", "--contains", "HEAD", "refs/remotes/origin"], TEMPLATE
    ):
        text = answers.read_text(encoding="utf-8")
        if (TEMPLATE / origin).exists():
            origin = str((TEMPLATE / origin).resolve())
        # A user name or token in front of the host is the cloner's own.
        origin = re.sub(r"\A(https?://)[^/@]*@", r"\1", origin)
        quoted = origin.replace("'", "''")
        text = re.sub(r"(?m)^_src_path:.*(\n .*)*$", lambda _: f"_src_path: '{quoted}'", text)
        answers.write_text(text, encoding="utf-8")


def read_project(folder: Path) -> dict[str, Any]:
    """Return the [project] table of a rendered project."""
    with (folder / "pyproject.toml").open("rb") as file:
        project: dict[str, Any] = tomllib.load(file)["project"]
    return project


def lock_and_commit(staging: Path, project: dict[str, Any]) -> None:
    """Make the project a repository whose first commit holds everything, the lock file too."""
    if run(["uv", "lock", "--quiet"], staging).returncode:
        sys.exit("Nothing was made: the dependencies cannot be locked, as uv says above.")
    first = ["git", "init", "--quiet", "--initial-branch=main"]
    done = run(first, staging).returncode == 0
    identity = []
    if not output(["git", "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT"], staging):
        author = project["authors"][0]
        identity = ["-c", f"user.name={author['name']}", "-c", f"user.email={author['email']}"]
    commit = ["commit", "--quiet", "--no-verify", "--message=Start the project"]
    for command in [["git", "add", "--all"], ["git", *identity, *commit]]:
        done = done and run(command, staging).returncode == 0
    if not done:
        sys.exit("Nothing was made: the first commit failed, as git says above.")
    unfinished(staging).touch()


def run(
    command: list[str], folder: Path, stdout: int | None = None, stderr: int | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command in a folder, apart from the make and the git that this program may run under."""
    own = ("MAKE", "MFLAGS", "GIT_DIR", "GIT_INDEX", "GIT_WORK_TREE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return subprocess.run(
        command, cwd=folder, env=kept, stdout=stdout, stderr=stderr, text=True, check=False
    )


def output(command: list[str], folder: Path) -> str:
    """Return what a command prints, nothing if it fails."""
    done = run(command, folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.strip() if done.returncode == 0 else ""


def say(sentence: str) -> None:
    """Print at once, so that the order is right where other programs print too."""
    print(sentence, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped. Run make new again to go on.")
