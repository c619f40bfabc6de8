"""Extras: what the question `extras` brings works in a project."""

import json
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.conftest import Pipeline, Render
from tests.helpers import (
    EXTRAS,
    NEITHER,
    PYTHONS,
    clean_environment,
    read_toml,
    read_yaml,
    render,
    run,
    stub,
)

pytestmark = pytest.mark.slow

WHEEL = "my_async_project-0.1.0-py3-none-any.whl"
SOURCES = "my_async_project-0.1.0.tar.gz"


@pytest.fixture(scope="module")
def skeleton(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project without examples and with all extras. Tests change nothing but its dist/."""
    return render(
        template, tmp_path_factory.mktemp("extras") / "project", examples=[], extras=EXTRAS
    )


@pytest.fixture
def pipeline(make_pipeline: Callable[..., Pipeline]) -> Iterator[Pipeline]:
    """Return the same with its environment, restored after each test."""
    pipeline = make_pipeline("extras", PYTHONS[0], examples=[], extras=EXTRAS)
    yield pipeline
    pipeline.restore()


@pytest.fixture
def built(skeleton: Path) -> Path:
    """Return the project with what it builds in dist/."""
    done = run("make dist", skeleton)
    assert done.returncode == 0, done.stdout
    return skeleton


# Publishing.


@pytest.mark.parametrize("target", ["dist", "publish"])
def test_a_target_of_publishing_has_a_line_of_help(target: str, skeleton: Path) -> None:
    assert f"\nmake {target} " in run("make", skeleton).stdout


def test_a_wheel_and_the_sources_are_built(built: Path) -> None:
    assert sorted(file.name for file in (built / "dist").glob("my*")) == [WHEEL, SOURCES]


def test_what_was_built_before_is_not_published(built: Path) -> None:
    (built / "dist" / "older-0.0.1.tar.gz").touch()

    run("make dist", built)

    assert not (built / "dist" / "older-0.0.1.tar.gz").exists()


@pytest.mark.parametrize("tag", ["v0.1.0", "0.1.0"])
def test_the_tag_of_the_version_is_built(tag: str, skeleton: Path) -> None:
    assert run(["make", "dist", f"TAG={tag}"], skeleton).returncode == 0


@pytest.mark.parametrize("tag", ["v0.1.1", "v0.1", "v0.1.*", "v", "v$(shell touch pwned)"])
def test_another_tag_than_that_of_the_version_fails_and_says_so(tag: str, skeleton: Path) -> None:
    done = run(["make", "dist", f"TAG={tag}"], skeleton)

    assert done.returncode != 0
    assert f"The tag {tag} is not the version of dist/{WHEEL}: set that in" in done.stdout
    assert not (skeleton / "pwned").exists()


def publish(project: Path, uv: str) -> tuple[int, list[str]]:
    """Run `make publish` with a shell command as uv; return how it ended and what was printed."""
    bin_folder = stub(project.parent / "bin", {"uv": uv})
    done = run("make publish", project, PATH=f"{bin_folder}:{clean_environment()['PATH']}")
    return done.returncode, done.stdout.splitlines()


def test_what_is_published_is_attested_before(built: Path) -> None:
    code, (attested, published) = publish(built, 'echo "$@"')

    assert code == 0
    assert attested.endswith(f" pypi-attestations sign dist/{WHEEL} dist/{SOURCES}")
    assert published == "publish --trusted-publishing=always"


def test_nothing_is_published_without_attestations(built: Path) -> None:
    code, said = publish(built, 'echo "$1"; test "$1" != tool')

    assert code != 0
    assert said[0] == "tool"
    assert "publish" not in said


class Index(BaseHTTPRequestHandler):
    """A package index that keeps what is uploaded."""

    uploads: list[bytes]

    def do_POST(self) -> None:
        """Take an upload."""
        self.uploads.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_uv_uploads_the_attestations_beside_the_files(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Index, "uploads", [], raising=False)
    for name in [WHEEL, SOURCES]:
        (built / "dist" / f"{name}.publish.attestation").write_text('{"version": 1}')

    with HTTPServer(("127.0.0.1", 0), Index) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/"
        done = run(["uv", "publish", "--token=secret", f"--publish-url={address}"], built)
        server.shutdown()
        thread.join()

    assert done.returncode == 0, done.stdout
    uploads = [b'"attestations"\r\n\r\n[{"version":1}]\r\n' in body for body in Index.uploads]
    assert uploads == [True, True]


def test_only_the_job_that_publishes_may_ask_for_a_token(skeleton: Path) -> None:
    jobs = read_yaml(skeleton / ".github/workflows/publish.yml")["jobs"]

    assert jobs["build"]["permissions"] == {"contents": "read"}
    assert jobs["publish"]["permissions"] == {"contents": "read", "id-token": "write"}
    assert jobs["publish"]["needs"] == "build"


def test_gitlab_publishes_what_passed_the_gates(render_project: Render) -> None:
    jobs = read_yaml(
        render_project(ci=["gitlab"], updates=["ci"], extras=["publishing"]) / ".gitlab-ci.yml"
    )
    tags = {"if": "$CI_COMMIT_TAG =~ /^v/"}

    assert tags in jobs["workflow"]["rules"]
    assert jobs["check"]["rules"] == [{"if": '$CI_PIPELINE_SOURCE != "schedule"'}]
    assert [jobs[name]["stage"] for name in ["dist", "publish"]] == ["build", "deploy"]
    assert jobs["dist"]["rules"] == jobs["publish"]["rules"] == [tags]
    assert "id_tokens" not in jobs["dist"]


@pytest.mark.parametrize(("extras", "is_private"), [([], True), (["publishing"], False)])
def test_a_proprietary_project_is_kept_from_indexes_unless_it_publishes(
    extras: list[str], is_private: bool, render_project: Render
) -> None:
    project = render_project(license="Proprietary", extras=extras)

    classifiers = read_toml(project / "pyproject.toml")["project"]["classifiers"]
    assert ("Private :: Do Not Upload" in classifiers) == is_private


# Editor.


def settings(project: Path) -> dict[str, object]:
    """Return the settings of VS Code."""
    found: dict[str, object] = json.loads((project / ".vscode/settings.json").read_text())
    return found


@pytest.mark.parametrize("tool", ["black-formatter", "isort", "mypy-type-checker", "ruff"])
def test_the_editor_runs_a_tool_of_the_environment(tool: str, skeleton: Path) -> None:
    recommended = json.loads((skeleton / ".vscode/extensions.json").read_text())["recommendations"]

    assert settings(skeleton)[f"{tool}.importStrategy"] == "fromEnvironment"
    assert [name for name in recommended if name.endswith(f".{tool}")]


def test_the_editor_watches_nothing_that_make_makes(skeleton: Path) -> None:
    makefile = (skeleton / "tooling.mk").read_text()
    made = re.findall(r"^\trm -rf (.*)", makefile, re.MULTILINE)[0].split()
    watched = settings(skeleton)["files.watcherExclude"]

    assert isinstance(watched, dict)
    folders = [name for name in made if not name.startswith(".coverage")]
    assert watched.keys() == {f"**/{name}/**" for name in [*folders, "__pycache__"]}


@pytest.mark.parametrize("name", ["settings.json", "extensions.json"])
def test_git_sees_the_settings_of_all(name: str, skeleton: Path) -> None:
    run("git init", skeleton)

    assert run(f"git check-ignore .vscode/{name}", skeleton).returncode == 1


def test_git_sees_nobodys_own_settings(skeleton: Path) -> None:
    run("git init", skeleton)

    assert run("git check-ignore .vscode/launch.json", skeleton).returncode == 0


@pytest.mark.xdist_group("extras")
def test_the_editor_finds_the_programs_that_it_is_told_of(pipeline: Pipeline) -> None:
    told = settings(pipeline.folder)
    python = str(told["python.defaultInterpreterPath"]).removeprefix("${workspaceFolder}/")

    assert pipeline.run(f"{python} --version").returncode == 0
    assert pipeline.run(f"{told['astGrep.serverPath']} lsp --help").returncode == 0


@pytest.mark.xdist_group("extras")
def test_a_test_of_the_editor_runs_without_coverage(pipeline: Pipeline) -> None:
    arguments = settings(pipeline.folder)["python.testing.pytestArgs"]
    pipeline.write("tests/test_untested.py", "def test_it() -> None:\n    assert True\n")

    assert isinstance(arguments, list)
    done = pipeline.run([".venv/bin/python", "-m", "pytest", *arguments])

    assert done.returncode == 0, done.stdout
    assert "coverage" not in done.stdout.lower()


# Dev container.


def test_the_dev_container_is_python_with_what_make_setup_makes(skeleton: Path) -> None:
    container = json.loads((skeleton / ".devcontainer/devcontainer.json").read_text())

    assert container == {
        "image": f"python:{PYTHONS[0]}",
        "onCreateCommand": [
            *["git", "config", "--system", "--add", "safe.directory"],
            "${containerWorkspaceFolder}",
        ],
        "postCreateCommand": "make setup",
    }


# Dependabot.


def test_nothing_hides_newer_versions_from_dependabot(skeleton: Path) -> None:
    assert "exclude-newer" not in read_toml(skeleton / "pyproject.toml")["tool"]["uv"]


def test_dependabot_looks_at_dependencies_and_actions(skeleton: Path) -> None:
    updates = read_yaml(skeleton / ".github/dependabot.yml")["updates"]

    assert [each["package-ecosystem"] for each in updates] == ["uv", "github-actions"]
    assert all(each["cooldown"] == {"default-days": 7} for each in updates)


# Coding assistants.


def commands(project: Path) -> list[str]:
    """Return the commands of AGENTS.md."""
    text = (project / "AGENTS.md").read_text()
    shown = re.findall(r"(?m)^    (.+?)(?:  +#.*)?$", text)
    named = re.findall(r"`([.]venv/bin/[^`]+|make [a-z][^`]*)`", text)
    return [*shown, *named]


@pytest.mark.xdist_group("extras")
def test_every_command_that_assistants_are_told_works(pipeline: Pipeline) -> None:
    told = [
        line for line in commands(pipeline.folder) if line != 'make update FLAGS="-d name=value"'
    ]

    ended = {line: pipeline.run(line, **NEITHER).returncode for line in told}

    assert len(ended) > 9
    assert {line for line in ended if ended[line]} == set()


def test_every_file_that_assistants_are_told_of_is_there(skeleton: Path) -> None:
    text = (skeleton / "AGENTS.md").read_text()
    named = re.findall(
        r"\]\(([^)]+)\)|`((?:tests|rules|tooling)/|[\w.-]+[.](?:ini|toml|mk|yml))`", text
    )

    names = [one or other for one, other in named]
    assert len(names) > 5
    assert [name for name in names if not (skeleton / name).exists()] == []


def test_every_finding_that_assistants_are_told_of_is_one(skeleton: Path) -> None:
    text = (skeleton / "AGENTS.md").read_text()
    checks = re.findall(r"`((?:leaked|lost|blocking|slow)-\w+)`", text)
    guard = (skeleton / "tests/guard/README.md").read_text()

    assert len(checks) == 4
    assert [check for check in checks if f"`{check}`" not in guard] == []
    assert "\n## Cancellation runs\n" in guard
    assert (skeleton / "rules/read-await-write.yml").exists()
