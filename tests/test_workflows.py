"""What GitHub reads of the template itself: it fits its schema, is secure, and runs every Python that is offered."""

import re

import pytest

from tests.helpers import PYTHONS, ROOT, read_yaml, run

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").iterdir())
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("[0-9]*.yml"))
TESTS = read_yaml(GITHUB / "workflows/tests.yml")["jobs"]

FILES = {
    **{f"workflows/{file.name}": "github-workflows" for file in WORKFLOWS},
    **{f"ISSUE_TEMPLATE/{file.name}": "github-issue-forms" for file in FORMS},
    "ISSUE_TEMPLATE/config.yml": "github-issue-config",
}


@pytest.mark.parametrize(("file", "schema"), FILES.items(), ids=FILES)
def test_a_file_for_github_fits_its_schema(file: str, schema: str) -> None:
    check = str(ROOT / ".venv/bin/check-jsonschema")

    done = run([check, "--builtin-schema", f"vendor.{schema}", str(GITHUB / file)], ROOT)

    assert done.returncode == 0, done.stdout


def test_the_workflows_are_secure() -> None:
    zizmor = str(ROOT / ".venv/bin/zizmor")

    done = run(
        [zizmor, "--offline", "--pedantic", "--strict-collection", ".github/workflows"], ROOT
    )

    assert done.returncode == 0, done.stdout


def test_the_workflows_take_the_actions_that_projects_take() -> None:
    given = (ROOT / "template/.github/workflows/ci.yml.jinja").read_text("utf-8")
    taken = "".join(file.read_text("utf-8") for file in WORKFLOWS)

    actions = set(re.findall(r"uses: (.+)", taken))
    assert actions
    assert actions <= set(re.findall(r"uses: (.+)", given))


def test_the_quick_tests_run_on_every_python_that_is_offered() -> None:
    assert TESTS["quick"]["strategy"]["matrix"]["python"] == PYTHONS


def test_all_tests_run_where_every_python_that_is_offered_is() -> None:
    steps = TESTS["whole"]["steps"]

    assert sorted(steps[1]["with"]["python-version"].split()) == sorted(PYTHONS)
    assert steps[-1]["run"] == ".ci/run"
