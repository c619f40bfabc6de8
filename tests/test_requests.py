"""Requests for updates: what a schedule of CI pushes and asks for."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT, clean_environment, commit_all, run, stub

# What `make update` does, as a shell command.
UPDATES = 'echo "From 1 to 2."; echo 2 > tooling.mk; git add tooling.mk'
CONFLICTS = (
    "b=$(git hash-object -w tooling.mk); git rm -q --cached tooling.mk; "
    r'printf "100644 $b 1\ttooling.mk\n100644 $b 2\ttooling.mk\n" | git update-index --index-info; '
    'echo "<<<<<<< yours" >> tooling.mk; echo "Resolve the conflicts in these files:"; exit 1'
)
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_REPOSITORY": "acme/hub",
    "UPDATE_TOKEN": "secret",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_SERVER_HOST": "gitlab.example.com",
    "CI_PROJECT_PATH": "acme/hub",
    "UPDATE_TOKEN": "secret",
}
ADDRESSES = {
    "GITHUB_ACTIONS": "https://x-access-token:secret@github.com/acme/hub",
    "GITLAB_CI": "https://oauth2:secret@gitlab.example.com/acme/hub",
}


class Project:
    """A project in CI, with a remote beside it. What gh and git's push are told is kept in `told`."""

    def __init__(self, folder: Path) -> None:
        """Make it in a folder."""
        self.folder = folder / "project"
        self.remote = folder / "remote"
        self.told = folder / "told"
        self.told.touch()
        self.bin = folder / "bin"
        self.folder.mkdir()
        (self.folder / ".copier-answers.yml").write_text("_commit: 2.0.0\n_src_path: x\n")
        (self.folder / "tooling.mk").write_text("1\n")
        commit_all(self.folder)
        run(f"git clone -q --bare {self.folder} {self.remote}", folder)
        run(["git", "config", "receive.advertisePushOptions", "true"], self.remote)
        settings = [
            f'[url "{self.remote}"]\n\tinsteadOf = {address}' for address in ADDRESSES.values()
        ]
        (folder / "gitconfig").write_text("\n".join(settings))
        self.config = f"{folder / 'gitconfig'}"

    def request(
        self, update: str, variables: dict[str, str], gh: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """Run what `make update-request` runs; `update` and `gh` stand for these programs."""
        real = shutil.which("git")
        programs = {
            "make": update,
            "gh": f'echo gh "$@" >> {self.told}; {gh}',
            "git": f'case "$1" in push) echo "$@" >> {self.told};; esac; exec {real} "$@"',
        }
        path = f"{stub(self.bin, programs)}:{clean_environment()['PATH']}"
        command = [sys.executable, "-B", "-m", "tooling.request"]
        return run(
            command,
            self.folder,
            PYTHONPATH=f"{ROOT / 'template'}",
            PATH=path,
            GIT_CONFIG_GLOBAL=self.config,
            **variables,
        )

    def branch(self) -> str:
        """Return the last commit of the branch in the remote: who, what, and its file."""
        shown = run(["git", "log", "-1", "--format=%an: %s", "template-update"], self.remote)
        return shown.stdout + run("git show template-update:tooling.mk", self.remote).stdout


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project in CI."""
    return Project(tmp_path)


def test_nothing_is_asked_for_where_nothing_is_newer(project: Project) -> None:
    done = project.request("echo The project is current.", GITHUB)

    assert done.returncode == 0
    assert done.stdout == "The project is current.\n\n"
    assert project.told.read_text() == ""


def test_github_is_asked_for_an_update(project: Project) -> None:
    done = project.request(UPDATES, GITHUB)

    told = project.told.read_text()
    assert done.returncode == 0, done.stdout
    assert project.branch() == "Template update: Update the template to 2.0.0\n2\n"
    assert (
        "gh pr create --head template-update --title Update the template to 2.0.0 --body ```\n"
        in told
    )
    assert "From 1 to 2." in told
    assert "--draft" not in told


def test_a_request_that_is_open_is_renewed(project: Project) -> None:
    project.request(UPDATES, GITHUB)
    run("git reset -q --hard HEAD~1", project.folder)

    done = project.request(UPDATES.replace("echo 2 ", "echo 3 "), GITHUB, 'test "$2" != create')

    assert done.returncode == 0, done.stdout
    assert project.branch().endswith("\n3\n")
    assert "gh pr edit template-update --title" in project.told.read_text()


def test_an_update_that_conflicts_is_a_draft_with_a_label(project: Project) -> None:
    done = project.request(CONFLICTS, GITHUB)

    told = project.told.read_text()
    assert done.returncode == 0, done.stdout
    assert "<<<<<<< yours" in project.branch()
    assert "gh label create template-conflict --force\n" in told
    assert told.endswith("--draft --label template-conflict\n")


def test_gitlab_is_asked_by_the_push(project: Project) -> None:
    done = project.request(UPDATES, GITLAB)

    told = project.told.read_text()
    assert done.returncode == 0, done.stdout
    assert project.branch().endswith("\n2\n")
    assert "-o merge_request.create -o merge_request.title=Update the template to 2.0.0\n" in told
    assert "gh" not in told.split()


def test_gitlab_is_told_of_conflicts(project: Project) -> None:
    project.request(CONFLICTS, GITLAB)

    options = "-o merge_request.draft -o merge_request.label=template-conflict\n"
    assert project.told.read_text().endswith(options)


def test_what_somebody_did_on_the_branch_is_left_alone(project: Project) -> None:
    run("git push -q ../remote HEAD:refs/heads/template-update", project.folder)

    done = project.request(UPDATES, GITHUB)

    assert done.returncode == 0
    assert "Somebody works on template-update, which is left alone" in done.stdout
    assert project.branch().endswith("\n1\n")


def test_an_update_that_is_refused_fails(project: Project) -> None:
    done = project.request("echo Commit these first; exit 2", GITHUB)

    assert done.returncode != 0
    assert done.stdout == "Commit these first\n\nNo update was taken, as is said above.\n"


def test_a_request_that_cannot_be_opened_fails(project: Project) -> None:
    done = project.request(UPDATES, GITHUB, "exit 1")

    assert done.returncode != 0
    assert done.stdout.endswith("but gh opened no pull request, as is said above.\n")


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "This is for GitHub Actions and GitLab CI: 'make update' takes an update here."),
        (GITHUB | {"UPDATE_TOKEN": ""}, "UPDATE_TOKEN is empty: give CI a secret of this name"),
    ],
)
def test_without_ci_or_token_it_says_what_is_missing(
    variables: dict[str, str], sentence: str, project: Project
) -> None:
    done = project.request(UPDATES, variables)

    assert done.returncode != 0
    assert done.stdout.startswith(sentence)
    assert (project.folder / "tooling.mk").read_text() == "1\n"
