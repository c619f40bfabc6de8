"""What an update asks of git: the trees of commits and folders, and what is in their files."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Self


class Entry(NamedTuple):
    """A file as git has it."""

    mode: str
    # The hash of what is in it.
    blob: str


# The files of a commit or a folder, by path.
Tree = Mapping[str, Entry]


@dataclass(frozen=True)
class Repository:
    """A folder of a repository; git runs with these environment variables, too."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def with_objects_in(self, folder: Path) -> Self:
        """Return the same repository, which stores into a folder and stays as it is."""
        folder.mkdir()
        own = self.path("objects")
        variables = {
            "GIT_OBJECT_DIRECTORY": f"{folder}",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": f"{own}",
        }
        return replace(self, variables=variables)

    def path(self, name: str) -> Path:
        """Return where git keeps something of this name."""
        return Path(self.folder, self.git("rev-parse", "--git-path", name).strip()).resolve()

    def last_commit(self) -> Tree:
        """Return the files of this folder in the last commit."""
        listing = parts(self.git("ls-tree", "-r", "-z", "HEAD"))
        rows = (line.split("\t", 1) for line in listing)
        return {path: Entry(*words.split()[::2]) for words, path in rows}

    def tree_of(self, folder: Path) -> Tree:
        """Return the files of another folder, and store what is in them."""
        variables = {
            **self.variables,
            "GIT_DIR": str(self.path(".")),
            "GIT_WORK_TREE": str(folder),
            "GIT_INDEX_FILE": f"{folder}.index",
        }
        other = Repository(folder, variables)
        other.git("add", "--all", "--force", ".")
        rows = (line.split("\t", 1) for line in parts(other.git("ls-files", "--stage", "-z")))
        return {path: Entry(*words.split()[:2]) for words, path in rows}

    def content(self, entry: Entry) -> str:
        """Return what is in a text file; a UnicodeDecodeError says that it is none."""
        return self.run("cat-file", "blob", entry.blob).stdout.decode()

    def store(self, text: str) -> str:
        """Keep what is in a file, and return its hash."""
        return self.git("hash-object", "-w", "--stdin", stdin=text).strip()

    def stage(self, entries: Iterable[tuple[Entry | None, int, str]]) -> None:
        """Write files into the index, each with its stage and path; no file takes the path away.

        The index is replaced as one file, so that it has all of them or none.
        """
        prefix = self.git("rev-parse", "--show-prefix").strip()
        # Any hash will do, but it must be as long as those of the repository.
        gone = Entry("0", self.git("rev-parse", "HEAD").strip())
        lines = [
            f"{' '.join(entry or gone)} {number}\t{prefix}{path}\0"
            for entry, number, path in entries
        ]
        self.git("update-index", "-z", "--index-info", stdin="".join(lines))

    def check_out(self, paths: Iterable[str]) -> None:
        """Write files as the index has them."""
        self.git(
            "checkout-index",
            "--force",
            "-z",
            "--stdin",
            stdin="".join(f"{path}\0" for path in paths),
        )

    def git(self, *words: str, stdin: str = "") -> str:
        """Return what git prints; leave with what it says if it fails."""
        done = self.run(*words, stdin=stdin)
        if done.returncode:
            sys.exit(f"{done.stderr.decode()}\ngit {words[0]} failed, and says why above.")
        return done.stdout.decode(errors="surrogateescape")

    def succeeds(self, *words: str) -> bool:
        """Return whether git ends well."""
        return self.run(*words).returncode == 0

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[bytes]:
        """Run git and return it with what it printed."""
        return subprocess.run(  # noqa: S603 - git, with names that it gave
            ["git", *words],  # noqa: S607 - the git of the PATH, as in make
            cwd=self.folder,
            env={**os.environ, **self.variables},
            input=stdin.encode(errors="surrogateescape"),
            capture_output=True,
            check=False,
        )


def parts(listing: str) -> list[str]:
    """Return the parts of what git ends with NUL."""
    return listing.split("\0")[:-1]
