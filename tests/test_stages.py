"""What `make quality` and `make check` show: a line for each stage, each finding once, and where the rest is."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Pipeline
from tests.helpers import NEITHER, ONE_SCHEDULE, clean_environment, on_a_terminal
from tests.test_commands import FAILING_TEST, LINT_ERROR, PACKAGE, TYPE_ERROR

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("commands")]

SUCCESS = r"""(format-check  passed TIME
|lint          passed TIME
|typecheck     passed TIME
|test          passed TIME  \d+ passed, coverage 100\.00%
){4}check passed in TIME
"""

TWO_STAGES = r"""(format-check  passed TIME
|lint          FAILED TIME
|typecheck     FAILED TIME
|test          passed TIME  \d+ passed, coverage [\d.]+%
){4}
== typecheck
Incompatible types in assignment \(expression has type "str", variable has type "int"\)  \[assignment\]
  where  src/my_async_project/untyped\.py:3    NUMBER: int = "text"

== lint
F401 `os` imported but unused
  where  src/my_async_project/unused\.py:3    import os
  do     \.venv/bin/ruff check --fix
  page   \.venv/bin/ruff rule F401

All of it, until the next run: \.logs/ruff\.log \.logs/mypy\.log
check FAILED in: lint typecheck
"""

ADVISORY = r"""(format-check  passed TIME
|lint          advisory TIME  ruff 1
|typecheck     advisory TIME  mypy 1
|test          passed TIME  \d+ passed, coverage [\d.]+%
){4}Advisory, so that it fails nothing: lint typecheck\. 'make lint' shows it\.
check passed in TIME
"""

HANGS = '''"""A test that hangs, and has something that runs."""

import subprocess
import time
from pathlib import Path


def test_it() -> None:
    with subprocess.Popen(["sleep", "1000"]):
        Path("started").touch()
        time.sleep(1000)
'''


def pattern(text: str) -> str:
    return text.replace("TIME", r" *[\d.]+ s")


def test_success_is_a_line_for_each_stage(pipeline: Pipeline) -> None:
    assert re.fullmatch(pattern(SUCCESS), pipeline.run("make check", **ONE_SCHEDULE).stdout)


def test_only_what_failed_is_shown_and_each_finding_once(pipeline: Pipeline) -> None:
    pipeline.write(f"{PACKAGE}/untyped.py", TYPE_ERROR)
    pipeline.write(f"{PACKAGE}/unused.py", LINT_ERROR)

    done = pipeline.run("make --silent check", **ONE_SCHEDULE)

    assert re.match(pattern(TWO_STAGES), done.stdout), done.stdout


def make_advisory(pipeline: Pipeline, stages: str) -> None:
    """Name stages as a project does: in its Makefile, above the gates."""
    makefile = pipeline.folder / "Makefile"
    makefile.write_text(f"ADVISORY := {stages}\n{makefile.read_text()}")


def test_an_advisory_stage_fails_nothing_and_counts_its_findings(pipeline: Pipeline) -> None:
    make_advisory(pipeline, "lint typecheck")
    pipeline.write(f"{PACKAGE}/untyped.py", TYPE_ERROR)
    pipeline.write(f"{PACKAGE}/unused.py", LINT_ERROR)

    done = pipeline.run("make check", **ONE_SCHEDULE)

    assert done.returncode == 0
    assert re.fullmatch(pattern(ADVISORY), done.stdout), done.stdout


def test_an_advisory_stage_says_how_many_tests_fail(pipeline: Pipeline) -> None:
    make_advisory(pipeline, "test")
    pipeline.write("tests/test_failing.py", FAILING_TEST)

    done = pipeline.run("make check", **ONE_SCHEDULE)

    line = r"\ntest +advisory +[\d.]+ s  1 failed, \d+ passed, coverage [\d.]+%\n"
    assert done.returncode == 0, done.stdout
    assert re.search(line, done.stdout), done.stdout


def test_a_stage_that_is_not_named_still_fails(pipeline: Pipeline) -> None:
    make_advisory(pipeline, "lint")
    pipeline.write(f"{PACKAGE}/untyped.py", TYPE_ERROR)

    done = pipeline.run("make check", **NEITHER)

    assert done.returncode != 0
    assert "\ncheck FAILED in: typecheck\n" in done.stdout


def test_an_advisory_stage_alone_shows_what_it_finds(pipeline: Pipeline) -> None:
    make_advisory(pipeline, "lint")
    pipeline.write(f"{PACKAGE}/unused.py", LINT_ERROR)

    done = pipeline.run("make lint")

    assert done.returncode != 0
    assert "\nF401 `os` imported but unused\n" in done.stdout


def test_hooks_wait_until_no_stage_is_advisory(pipeline: Pipeline) -> None:
    make_advisory(pipeline, "lint")

    done = pipeline.run("make setup")

    assert done.stdout == "No git hooks yet: they would stop what ADVISORY lets pass: lint.\n"


def test_a_stage_alone_says_the_same(pipeline: Pipeline) -> None:
    pipeline.write(f"{PACKAGE}/unused.py", LINT_ERROR)

    assert "\nF401 `os` imported but unused\n" in pipeline.run("make lint").stdout


def test_the_log_of_what_failed_has_all_of_it(pipeline: Pipeline) -> None:
    pipeline.write(f"{PACKAGE}/untyped.py", TYPE_ERROR)

    done = pipeline.run("make typecheck")

    named = re.findall(r"(?m)^All of it, until the next run: (.+)$", done.stdout)
    assert named == [".logs/mypy.log"]
    assert "Found 1 error in 1 file" in (pipeline.folder / named[0]).read_text()


def test_many_findings_are_counted(pipeline: Pipeline) -> None:
    lines = "".join(f"A{number}: int = ''\n" for number in range(14))
    pipeline.write(f"{PACKAGE}/untyped.py", f'"""Defects."""\n\n{lines}')

    done = pipeline.run("make typecheck")

    assert done.stdout.count("  where  ") == 10
    assert "... and 4 findings more: .logs/mypy.log\n" in done.stdout


def test_findings_are_annotations_on_github(pipeline: Pipeline) -> None:
    pipeline.write(f"{PACKAGE}/unused.py", LINT_ERROR)

    done = pipeline.run("make lint", GITHUB_ACTIONS="true")

    assert (
        f"\n::error file={PACKAGE}/unused.py,line=3,title=F401 `os` imported but unused::"
        in done.stdout
    )


def run_instead_of_mypy(pipeline: Pipeline, command: str) -> None:
    targets = pipeline.folder / "tooling.mk"
    text = targets.read_text()
    assert "\t@$(BIN)/mypy $(TYPED)\n" in text
    targets.write_text(text.replace("\t@$(BIN)/mypy $(TYPED)\n", f"\t{command}\n"))


def test_a_gate_that_is_killed_is_named_with_the_reason(pipeline: Pipeline) -> None:
    run_instead_of_mypy(pipeline, "@kill -9 $$$$")

    done = pipeline.run("make typecheck")

    assert "\nmypy: Killed\n" in done.stdout
    assert "\ntypecheck FAILED in: typecheck\n" in done.stdout


def test_a_gate_that_cannot_start_is_named_with_the_reason(pipeline: Pipeline) -> None:
    run_instead_of_mypy(pipeline, "@.venv/bin/no-such-program")

    done = pipeline.run("make typecheck")

    assert "no-such-program" in done.stdout
    assert "\nmypy: it is not there\n" in done.stdout


def test_a_gate_of_the_project_can_fail_without_a_word(pipeline: Pipeline) -> None:
    run_instead_of_mypy(pipeline, "@false")

    assert "\nmypy failed and says nothing.\n" in pipeline.run("make typecheck").stdout


def test_jobs_of_the_make_that_calls_do_not_matter(pipeline: Pipeline) -> None:
    done = pipeline.run("make -j2 typecheck V=1")

    assert done.returncode == 0, done.stdout
    assert "jobserver" not in done.stdout


def test_an_interrupt_stops_every_stage_and_leaves_nothing(pipeline: Pipeline) -> None:
    pipeline.write("tests/test_hanging.py", HANGS)
    process = subprocess.Popen(
        ["make", "check"],
        cwd=pipeline.folder,
        env={**clean_environment(), "PATH": os.environ["PATH"], "UV_PYTHON": pipeline.python},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (pipeline.folder / "started").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)

    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=20)

    assert "check was interrupted; nothing of it runs any more.\n" in output
    assert running_in(pipeline.folder) == []


def running_in(folder: Path) -> list[str]:
    """Return the commands of all processes that work in a folder."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve(strict=True) == folder.resolve():
                # One that is about to end has none.
                commands += (process / "cmdline").read_text().replace("\0", " ").splitlines()
        except OSError:
            continue
    return commands


def test_a_terminal_shows_what_runs_in_colour(pipeline: Pipeline) -> None:
    output = on_a_terminal("make typecheck", pipeline.folder, UV_PYTHON=pipeline.python)

    assert "\r\x1b[Ktypecheck 0 s" in output
    assert "\x1b[32mtypecheck     passed" in output


def test_a_terminal_shows_failures_of_tests_in_colour(pipeline: Pipeline) -> None:
    pipeline.write("tests/test_failing.py", FAILING_TEST)

    output = on_a_terminal("make check", pipeline.folder, UV_PYTHON=pipeline.python, **NEITHER)

    assert "\x1b[31m\x1b[1mFAILED: tests/test_failing.py::test_it\x1b[0m" in output
    assert re.search(r"\x1b\[31mtest +FAILED +[\d.]+ s  1 failed, \d+ passed", output)
    assert "[100%]" not in output


def test_a_terminal_is_plain_where_nobody_wants_colour(pipeline: Pipeline) -> None:
    output = on_a_terminal(
        "make typecheck", pipeline.folder, UV_PYTHON=pipeline.python, NO_COLOR="1"
    )

    assert "\x1b[3" not in output
    assert "typecheck     passed" in output


def test_some_tests_are_chosen_by_path_and_name_without_the_threshold(pipeline: Pipeline) -> None:
    by_path = pipeline.run("make test T=tests/test_logs.py")
    by_name = pipeline.run("make test T=virtual_time")
    one = pipeline.run("make test T=tests/test_patterns.py::test_an_hour_in_virtual_time")

    assert [by_path.returncode, by_name.returncode, one.returncode] == [0, 0, 0]
    assert "Required test coverage" not in by_path.stdout + by_name.stdout + one.stdout


def test_a_file_started_by_an_editor_passes(pipeline: Pipeline) -> None:
    assert pipeline.run(".venv/bin/pytest tests/test_logs.py").returncode == 0


def test_the_tests_that_failed_last_run_again(pipeline: Pipeline) -> None:
    pipeline.write("tests/test_failing.py", FAILING_TEST)
    pipeline.run("make test", **NEITHER)

    done = pipeline.run("make test LAST=1")

    assert re.search(r"\b1 failed(, \d+ deselected)? in ", done.stdout), done.stdout


@pytest.mark.parametrize("folder", ["tests", "tests/", "."])
def test_a_run_of_all_tests_by_their_folder_holds_the_threshold(
    folder: str, pipeline: Pipeline
) -> None:
    done = pipeline.run(f".venv/bin/pytest {folder}", **ONE_SCHEDULE)

    assert "Required test coverage of 90% reached." in done.stdout
