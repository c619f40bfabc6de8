"""Asks for an update of the template: what `make update-request` runs, every week, in CI.

The update goes to a branch of its own, with a request that shows what it changes: on GitHub by `gh`,
on GitLab by options of the push. One that conflicts is a draft with a label, and has the marks in it.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from .repository import Repository
from .update import read_answers

BRANCH = "template-update"
LABEL = "template-conflict"
NAME = "Template update"


def main() -> None:
    """Update, and ask for what that has changed."""
    remote = remote_of(os.environ)
    who = {"NAME": NAME, "EMAIL": "template-update@localhost"}
    variables = {f"GIT_{role}_{key}": who[key] for role in ("AUTHOR", "COMMITTER") for key in who}
    project = Repository(Path.cwd(), variables)
    said = update(project)
    if not project.git("status", "--porcelain").strip():
        return
    last = project.git("ls-remote", remote, f"refs/heads/{BRANCH}").partition("\t")[0]
    if last:
        project.git("fetch", "--quiet", remote, BRANCH)
        if project.git("log", "--max-count=1", "--format=%an", last).strip() != NAME:
            print(f"Somebody works on {BRANCH}, which is left alone: merge or delete it.")
            return
    has_conflicts = bool(project.git("ls-files", "--unmerged"))
    title = f"Update the template to {read_answers()['_commit']}"
    project.git("add", "--all")
    project.git("commit", "--quiet", "--no-verify", f"--message={title}\n\n{said}")
    push = ["push", "--quiet", "--force", remote, f"HEAD:refs/heads/{BRANCH}"]
    if "GITLAB_CI" in os.environ:
        push += ["-o", "merge_request.create", "-o", f"merge_request.title={title}"]
        if has_conflicts:
            push += ["-o", "merge_request.draft", "-o", f"merge_request.label={LABEL}"]
        project.git(*push)
    else:
        project.git(*push)
        ask_github(title, said, has_conflicts=has_conflicts)


def remote_of(variables: Mapping[str, str]) -> str:
    """Return where to push to; leave with a sentence outside of CI, or without a token."""
    if not {"GITHUB_ACTIONS", "GITLAB_CI"} & variables.keys():
        sys.exit("This is for GitHub Actions and GitLab CI: 'make update' takes an update here.")
    token = variables.get("UPDATE_TOKEN")
    if not token:
        sys.exit(
            "UPDATE_TOKEN is empty: give CI a secret of this name, a token that may push branches,"
            " open requests and, on GitHub, change workflows."
        )
    if "GITLAB_CI" in variables:
        return (
            f"https://oauth2:{token}@{variables['CI_SERVER_HOST']}/{variables['CI_PROJECT_PATH']}"
        )
    return f"https://x-access-token:{token}@github.com/{variables['GITHUB_REPOSITORY']}"


def update(project: Repository) -> str:
    """Update, and return what was said; leave with that if nothing was done because of it."""
    command = ["make", "--no-print-directory", "update", "FLAGS=--defaults"]
    done = subprocess.run(  # noqa: S603 - these words alone
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(done.stdout, flush=True)
    is_refused = done.returncode and not project.git("status", "--porcelain").strip()
    if is_refused:
        sys.exit("No update was taken, as is said above.")
    return done.stdout


def ask_github(title: str, body: str, *, has_conflicts: bool) -> None:
    """Open a pull request, or renew the one that is open."""
    variables = {**os.environ, "GH_TOKEN": os.environ["UPDATE_TOKEN"]}

    def gh(*words: str) -> int:
        command = ["gh", *words]
        return subprocess.run(command, env=variables, check=False).returncode  # noqa: S603 - gh

    what = ["--title", title, "--body", f"```\n{body}\n```"]
    new, old = [], []
    if has_conflicts:
        gh("label", "create", LABEL, "--force")
        new, old = ["--draft", "--label", LABEL], ["--add-label", LABEL]
    if gh("pr", "create", "--head", BRANCH, *what, *new) and gh("pr", "edit", BRANCH, *what, *old):
        sys.exit(f"The branch {BRANCH} is pushed, but gh opened no pull request, as is said above.")


if __name__ == "__main__":
    main()
