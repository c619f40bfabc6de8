"""The template of a project: its versions, what changed between them, and what they render to."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

import copier
import jinja2
import pathspec
import yaml
from copier.errors import CopierError
from packaging.version import InvalidVersion, Version

from .repository import Repository

ANSWERS = ".copier-answers.yml"
# What Copier's short forms of an address mean.
SHORT_FORMS = {
    "gh:": "https://github.com/",
    "gl:": "https://gitlab.com/",
    "git+https://": "https://",
    "git+ssh://": "ssh://",
}


@dataclass(frozen=True)
class Template:
    """A clone of the template."""

    clone: Repository

    @classmethod
    def fetch(cls, source: str, folder: Path) -> Self:
        """Clone it into a folder; leave with a sentence if it is out of reach."""
        settings = [f"url.{long}.insteadOf={short}" for short, long in SHORT_FORMS.items()]
        words = [word for setting in settings for word in ("-c", setting)]
        address = os.path.expanduser(source)  # noqa: PTH111 - most are no paths
        done = Repository(Path()).run(*words, "clone", "--quiet", "--", address, str(folder))
        if done.returncode:
            sys.exit(
                f"{done.stderr.decode()}\nThe template cannot be fetched from {source}, where"
                f" _src_path in {ANSWERS} says it is."
            )
        return cls(Repository(folder))

    def newer_than(self, current: str) -> str | None:
        """Return the newest version, None if that is part of the current one."""
        if not self.has(current):
            sys.exit(
                f"The template has no version {current}, which is what the project has, as _commit"
                f" in {ANSWERS} says."
            )
        released = {
            tag: version
            for tag in self.clone.git("tag", "--list").split()
            if (version := as_version(tag)) and not version.is_prerelease
        }
        # Without tags, the newest commit is the newest version, under the name that Copier gives it.
        head = self.clone.git("describe", "--tags", "--always").strip()
        newest = max(released, key=lambda tag: released[tag], default=head)
        is_part = self.clone.succeeds("merge-base", "--is-ancestor", newest, current)
        return None if is_part else newest

    def has(self, version: str) -> bool:
        """Return whether there is a commit of this name."""
        return self.clone.succeeds("rev-parse", "--verify", "--quiet", version + "^{commit}")

    def changes(self, current: str, newest: str) -> str:
        """Return the sections of the changelog that one version has and another has not."""
        known = self.sections(current)
        return "\n\n".join(text for text in self.sections(newest) if text not in known)

    def sections(self, version: str) -> list[str]:
        """Return the sections of a version's changelog in which something stands under the heading."""
        sections = re.split(r"(?m)^(?=## )", self.read(version, "CHANGELOG.md"))[1:]
        return [text.strip() for text in sections if "\n" in text.strip()]

    def read(self, version: str, name: str) -> str:
        """Return a file of a version, nothing if it has none."""
        done = self.clone.run("show", f"{version}:{name}")
        return done.stdout.decode() if done.returncode == 0 else ""

    def refuse_unknown(self, version: str, names: Iterable[str]) -> None:
        """Leave with a sentence if one of the names is no question of a version, which Copier passes over."""
        questions = re.findall(r"(?m)^([a-z]\w*):", self.read(version, "copier.yml"))
        for name in names:
            if name not in questions:
                close = get_close_matches(name, questions, n=1, cutoff=0)
                sys.exit(
                    f"Nothing was changed. There is no question {name}; did you mean {close[0]}?"
                )

    def render(self, version: str, answers: Mapping[str, Any], folder: Path, *, ask: bool) -> Path:
        """Render a version into a folder and return it; leave with Copier's reason if it refuses."""
        given = {name: answer for name, answer in answers.items() if not name.startswith("_")}
        try:
            copier.run_copy(
                str(self.clone.folder),
                folder,
                given,
                vcs_ref=version,
                defaults=not ask,
                quiet=True,
                overwrite=True,
            )
        except (CopierError, TypeError, ValueError, jinja2.TemplateError) as error:
            hint = "; several choices are typed as in -d examples=[clients,queues]"
            sys.exit(f"Nothing was changed. {error}{hint if 'YAML list' in str(error) else ''}")
        keep_origin(folder / ANSWERS)
        return folder

    def patterns(self, version: str, setting: str, answers: Path) -> Callable[[str], bool]:
        """Return a function that tells paths that a setting of copier.yml means in an update."""
        context = {**yaml.safe_load(answers.read_text("utf-8")), "_copier_operation": "update"}
        environment = jinja2.Environment(autoescape=False)  # noqa: S701 - paths are no HTML
        patterns = [
            environment.from_string(pattern).render(context)
            for pattern in yaml.safe_load(self.read(version, "copier.yml"))[setting]
        ]
        lines = [line.strip() for pattern in patterns for line in pattern.splitlines()]
        return pathspec.GitIgnoreSpec.from_lines(lines).match_file


def keep_origin(answers: Path) -> None:
    """Let rendered answers say where the template is as the project's do: they name a clone of it."""
    line = re.compile(r"(?m)^_src_path:.*(?:\n .*)*")
    own = line.search(Path(ANSWERS).read_text("utf-8"))
    if own is not None:
        answers.write_text(line.sub(lambda _: own[0], answers.read_text("utf-8")), "utf-8")


def as_version(tag: str) -> Version | None:
    """Return the version that a tag names, None if it names none."""
    try:
        return Version(tag)
    except InvalidVersion:
        return None
