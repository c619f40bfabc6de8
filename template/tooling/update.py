"""Takes a newer version of the template: what `make update` and `make check-update` run.

Copier renders the version that the project has, and the one that it shall get, apart from the project.
What differs between these two is merged into the project's last commit, and only then is anything
written: first git's index, then the files. So whatever stops an update, `git reset --hard` undoes it.

It runs in Copier's own environment, because a project may have none yet.
"""

import argparse
import os
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from .merge import merge
from .repository import Entry, Repository, Tree, parts
from .template import ANSWERS, Template

# How many files of one folder, and names after a sentence, are listed one by one.
FEW = 8


def main() -> None:
    """Do what the command line asks for."""
    options = read_options()
    # Where a hook started make, these are about another command's work.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"]:
        os.environ.pop(name, None)
    answers = read_answers()
    project = Repository(Path.cwd())
    if not options.check:
        refuse_changes(project)
    with TemporaryDirectory(prefix="template-update.") as name:
        folder = Path(name)
        template = Template.fetch(str(answers["_src_path"]), folder / "template")
        current = str(answers["_commit"])
        newest: str = options.vcs_ref or template.newer_than(current) or current
        if newest == current and options.vcs_ref and not options.data:
            print(f"The project has the template's version {current} already.")
        elif newest == current and (options.check or not options.data):
            print(f"The project is current: {current} is the template's newest version.")
        elif options.check:
            say_what_is_newer(template, current, newest)
        else:
            update(project, template, answers, newest, options, folder)


def read_options() -> argparse.Namespace:
    """Return what the command line and FLAGS ask for."""
    parser = argparse.ArgumentParser(prog="make update", usage='make update FLAGS="..."')
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--pretend", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--format", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-l", "--defaults", action="store_true", help="ask no new question")
    parser.add_argument("-d", "--data", action="append", default=[], help="name=value: an answer")
    parser.add_argument("-r", "--vcs-ref", help="another version than the newest")
    try:
        flags = shlex.split(os.environ.get("FLAGS", ""))
    except ValueError as error:
        sys.exit(f"FLAGS cannot be split into words ({error}): close every quote.")
    options = parser.parse_args([*sys.argv[1:], *flags])
    for answer in options.data:
        if "=" not in answer:
            sys.exit(f'{answer} is no answer: type it as in FLAGS="-d examples=[clients,queues]".')
    options.data = dict(answer.split("=", 1) for answer in options.data)
    return options


def read_answers() -> dict[str, Any]:
    """Return what was answered, and which template and version the project has."""
    try:
        answers = yaml.safe_load(Path(ANSWERS).read_text("utf-8"))
    except FileNotFoundError:
        sys.exit(f"There is no {ANSWERS} here, which says which template a project comes from.")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        sys.exit(f"{error}\n{ANSWERS} cannot be read: restore it from git.")
    if not isinstance(answers, dict) or not {"_commit", "_src_path"} <= answers.keys():
        sys.exit(f"{ANSWERS} does not say which template this comes from: restore it from git.")
    return answers


def refuse_changes(project: Repository) -> None:
    """Leave with a sentence unless everything is committed."""
    if not project.succeeds("rev-parse", "--verify", "--quiet", "HEAD"):
        sys.exit("An update needs a git repository with a commit: commit everything first.")
    status = ["status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", "."]
    changed = [line[3:] for line in parts(project.git(*status))]
    unresolved = parts(project.git("diff", "--name-only", "-z", "--diff-filter=U", "--", "."))
    unresolved += [name for name in changed if name.endswith(".rej")]
    if not changed:
        unfinished(project).unlink(missing_ok=True)
    elif unfinished(project).exists() and not project.succeeds(
        "diff", "--cached", "--quiet", "--", ANSWERS
    ):
        # It writes the answers into the index at once with all else: after an undo they are not there.
        sys.exit(
            f"An update was interrupted here: undo what it did by '{undo(project)}', then run"
            " 'make update' again."
        )
    elif unresolved:
        sys.exit(named("Resolve the conflicts in these files, then commit:", unresolved))
    else:
        sys.exit(named("Commit or stash these first, so that an update can be undone:", changed))


def undo(project: Repository) -> str:
    """Return the command that undoes an update; other folders of the repository may have changes."""
    if project.git("rev-parse", "--show-prefix").strip():
        return "git restore --source=HEAD --staged --worktree ."
    return "git reset --hard"


def unfinished(project: Repository) -> Path:
    """Return the file that is there while an update writes."""
    return project.path("unfinished-update")


def say_what_is_newer(template: Template, current: str, newest: str) -> None:
    """Print the versions and what changed between them."""
    print(f"The project has the template's version {current}; {newest} is there.\n")
    say_changes(template, current, newest)
    print("'make update PRETEND=1' shows what it would change here, 'make update' takes it.")


def say_changes(template: Template, current: str, newest: str) -> None:
    """Print what the changelog says of what is between two versions, if it says something."""
    changes = template.changes(current, newest)
    print(f"{changes}\n\n" if changes else "", end="")


def update(
    project: Repository,
    template: Template,
    answers: Mapping[str, Any],
    newest: str,
    options: argparse.Namespace,
    folder: Path,
) -> None:
    """Bring the project to a version and to changed answers, or show what that would change."""
    if options.pretend:
        project = project.with_objects_in(folder / "objects")
    current = str(answers["_commit"])
    ask = sys.stdin.isatty() and not options.defaults
    template.refuse_unknown(newest, options.data)
    changed = {**answers, **options.data}
    old = project.tree_of(template.render(current, answers, folder / "old", ask=False))
    new = project.tree_of(template.render(newest, changed, folder / "new", ask=ask))
    kept = new
    if options.data:
        kept = project.tree_of(template.render(newest, answers, folder / "kept", ask=False))
    given = folder / "new" / ANSWERS
    is_starter = template.patterns(newest, "_skip_if_exists", given)
    chosen = set(filter(is_starter, new.keys() - kept.keys()))
    plan = Plan(
        project,
        old,
        project.last_commit(),
        new,
        is_starter=is_starter,
        is_barred=template.patterns(newest, "_exclude", given),
        chosen=chosen,
        brings_example=any(not path.startswith("docs/") for path in chosen),
        dropped=kept.keys() - new.keys(),
    )
    plan.make()
    if not plan.changes:
        print("Nothing to do: the project is as these answers make it.")
        return
    if newest != current:
        print(f"From the template's version {current} to {newest}.\n")
        say_changes(template, current, newest)
    plan.say()
    if options.pretend:
        print("\nNothing was changed: 'make update' without PRETEND does it.")
        return
    subject = (
        f"Update the template to {newest}" if newest != current else "Change what was answered"
    )
    try:
        plan.write()
        finish(plan, subject, formats=options.format)
    except KeyboardInterrupt:
        sys.exit(f"\nStopped. '{undo(project)}' undoes what was written.")


@dataclass
class Plan:
    """What becomes of each file, made from three trees.

    Starter files are the user's, but for those of an example that is chosen or dropped now.
    """

    project: Repository
    old: Tree
    own: Tree
    new: Tree
    is_starter: Callable[[str], bool]
    is_barred: Callable[[str], bool]
    # Starter files that come by an answer that is new, and whether code is among them.
    chosen: set[str]
    brings_example: bool
    dropped: set[str]
    # What a path becomes; None for a file that goes.
    changes: dict[str, Entry | None] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def make(self) -> None:
        """Decide for every path."""
        for path in sorted({*self.old, *self.own, *self.new}):
            if self.own.get(path) != self.new.get(path):
                decide = self.decide_starter if self.is_starter(path) else self.decide_tooling
                decide(path)

    def decide_starter(self, path: str) -> None:
        """Bring what an example needs, remove what was not changed of one, and leave all else alone."""
        if path not in self.own:
            comes = path in self.chosen or (self.brings_example and path not in self.old)
            if comes or not self.is_barred(path):
                self.changes[path] = self.new[path]
        elif path in self.dropped:
            self.remove(path)

    def decide_tooling(self, path: str) -> None:
        """Take the template's, keep the user's or merge the two."""
        old, own, new = self.old.get(path), self.own.get(path), self.new.get(path)
        if path == ANSWERS or (new is not None and own == old):
            self.changes[path] = new
        elif own is None or new == old:
            return
        elif new is None:
            self.remove(path)
        else:
            self.merge(path, old, own, new)

    def remove(self, path: str) -> None:
        """Remove a file if nobody changed it."""
        if self.own[path] == self.old.get(path):
            self.changes[path] = None
        else:
            self.left.append(path)

    def merge(self, path: str, old: Entry | None, own: Entry, new: Entry) -> None:
        """Merge what the user and the template changed."""
        if {entry.mode for entry in (old, own, new) if entry} & {"120000", "160000"}:
            # A link or a submodule has no lines.
            self.conflicts.append(path)
            return
        try:
            texts = [self.project.content(entry) if entry else "" for entry in (old, own, new)]
        except UnicodeDecodeError:
            self.conflicts.append(path)
            return
        # Settings are independent lines; at code in which two changes touch, somebody shall look.
        adjoining = old is not None and not path.endswith(".py")
        merged = merge(*texts, adjoining=adjoining)
        self.settled += [f"{path}: {sentence}" for sentence in merged.settled]
        entry = Entry(own.mode, self.project.store(merged.text))
        if entry != own:
            self.changes[path] = entry
        if merged.has_conflicts:
            self.conflicts.append(path)

    def say(self) -> None:
        """Print what changes, what was settled and what is left."""
        signs = {path: self.sign(path) for path in self.changes}
        sizes = Counter((PurePath(path).parent, sign) for path, sign in signs.items())
        lines = []
        for path, sign in signs.items():
            folder = PurePath(path).parent
            many = sizes[folder, sign] > FEW
            line = f"  {sign:<8} {f'{folder}/: {sizes[folder, sign]} files' if many else path}"
            if line not in lines:
                lines.append(line)
        print("\n".join(lines))
        if self.settled:
            print(named("\nRaised by both sides; the newer one wins:", self.settled))
        if self.left:
            print(named("\nNot the template's any more, but left, as you changed them:", self.left))

    def sign(self, path: str) -> str:
        """Return in a word what happens to a file."""
        if path in self.conflicts:
            return "conflict"
        if self.changes[path] is None:
            return "removed"
        return "changed" if path in self.own else "new"

    def write(self) -> None:
        """Write the index, then the files."""
        hidden = [path for path in self.changes if path not in self.own and Path(path).exists()]
        if hidden:
            sys.exit(
                named("\nNothing was changed: these are in the way, and git ignores them:", hidden)
            )
        listing = parts(self.project.git("ls-files", "-v", "-z"))
        flagged = {line[2:] for line in listing if line[0] != "H"}
        overlooked = [path for path in self.changes if path in flagged and Path(path).exists()]
        if overlooked:
            hint = "'git update-index --no-skip-worktree --no-assume-unchanged' ends that"
            sentence = f"\nNothing was changed: git does not look at changes of these; {hint}:"
            sys.exit(named(sentence, overlooked))
        unfinished(self.project).touch()
        self.project.stage((entry, 0, path) for path, entry in self.changes.items())
        self.project.check_out(path for path, entry in self.changes.items() if entry)
        for path, entry in self.changes.items():
            if entry is None:
                Path(path).unlink(missing_ok=True)
                remove_empty(Path(path).parents)
        # Git shall commit nothing that conflicts.
        self.project.stage((None, 0, path) for path in self.conflicts)
        self.project.stage(
            (tree[path], stage, path)
            for path in self.conflicts
            for stage, tree in enumerate([self.old, self.own, self.new], start=1)
            if path in tree
        )
        unfinished(self.project).unlink()


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders in which nothing is left; the innermost are given first."""
    for folder in folders:
        if folder != Path() and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def finish(plan: Plan, subject: str, *, formats: bool) -> None:
    """Run the formatters over what was updated, and say what to run next."""
    undone = f"'{undo(plan.project)}' undoes the update."
    if plan.conflicts:
        sentence = "\nResolve the conflicts in these files, then commit:"
        sys.exit(f"{named(sentence, plan.conflicts)}\n{undone}")
    formatted = not formats or run_formatters()
    plan.project.git("add", "--all", ".")
    print(
        f"\nNext:\n  make {'' if formatted else 'format '}quality\n  git diff --cached\n"
        f'  git commit -m "{subject}"\n{undone}',
        flush=True,
    )
    if not formatted:
        sys.exit("The update is there, but the formatters did not run, as is said above.")


def run_formatters() -> bool:
    """Run the formatters and return whether they ended well."""
    print("\nFormatting ...", flush=True)
    command = ["make", "--no-print-directory", "format"]
    return subprocess.run(command, check=False).returncode == 0  # noqa: S603 - these words alone


def named(sentence: str, names: list[str]) -> str:
    """Return a sentence with names below it, one a line; of many, some."""
    more = [f"and {len(names) - FEW} more"] if len(names) > FEW else []
    return "\n  ".join([sentence, *names[:FEW], *more])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped. Nothing was changed.")
    finally:
        # Before the sentence of a failure, in a pipe, too.
        sys.stdout.flush()
