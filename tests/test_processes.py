"""Tests that several processes share: what is reported, what stops them, what is left."""

import re
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Pipeline
from tests.test_guard import assert_interrupted

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("guard")]

# Each test notes its process.
TESTS = """
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def resource() -> Iterator[None]:
    yield
    Path(f"torn-down-{os.getpid()}").touch()


@pytest.mark.parametrize("number", range(100))
async def test_it(number: int) -> None:
    print("printed", number)
    with Path(f"ran-{os.getpid()}").open("a") as file:
        file.write(f"{number}\\n")
    SPECIAL
"""
FAILS = "assert number != 63"
EXITS = "os._exit(7) if number == 63 else None"
WARNS = "warnings.warn(f'mind {number}', UserWarning) if number == 63 else None"
HANGS = """if number == 63:
        Path("started").touch()
        __import__("time").sleep(1000)"""


@pytest.fixture
def project(make_pipeline: Callable[..., Pipeline]) -> Iterator[Pipeline]:
    """Return the pipeline of a skeleton, restored after each test."""
    pipeline = make_pipeline("guard", "3.11", examples=[])
    yield pipeline
    pipeline.restore()


def run_tests(project: Pipeline, *options: str, special: str = "") -> str:
    """Return what pytest prints of the tests, shared by two processes."""
    test = TESTS.replace("SPECIAL", special)
    project.write("tests/test_shared.py", test)
    command = [".venv/bin/pytest", "--no-cov", "-q", "-p", "no:randomly"]
    return project.run([*command, "--processes=2", *options, "tests/test_shared.py"]).stdout


def shares(project: Pipeline) -> list[list[str]]:
    """Return which tests each process ran, in falling order of the first."""
    files = project.folder.glob("ran-*")
    return sorted((file.read_text().split() for file in files), key=lambda ran: -int(ran[0]))


def test_two_processes_share_the_tests(project: Pipeline) -> None:
    output = run_tests(project)

    assert "200 passed" in output
    assert [len(share) for share in shares(project)] == [100, 100]


def test_each_test_has_all_its_schedules_in_one_process(project: Pipeline) -> None:
    run_tests(project)

    assert [len(set(share)) for share in shares(project)] == [50, 50]


def test_one_test_in_many_schedules_runs_in_one_process(project: Pipeline) -> None:
    project.write("tests/test_shared.py", TESTS.replace("SPECIAL", "").replace("(100)", "(1)"))

    command = ".venv/bin/pytest --no-cov --processes=2 --seeds=100 tests/test_shared.py"
    done = project.run(command)

    assert done.returncode == 0, done.stdout


# The first test waits until the other process has ended all of its own.
MANY = """
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def resource() -> Iterator[None]:
    yield
    Path("torn-down").touch()


@pytest.mark.parametrize("number", range(1000))
def test_it(number: int) -> None:
    while number == 0 and not Path("torn-down").exists():
        pass
"""


def test_any_number_of_results_may_have_to_wait(project: Pipeline) -> None:
    project.write("tests/test_shared.py", MANY)

    command = ".venv/bin/pytest --no-cov -q -p no:randomly --processes=2 --seeds=0"
    done = project.run([*command.split(), "tests/test_shared.py"])

    assert "INTERNALERROR" not in done.stdout
    assert "1000 passed" in done.stdout


def test_the_same_order_gives_the_same_shares(project: Pipeline) -> None:
    run_tests(project)
    before = shares(project)
    project.restore()

    run_tests(project)

    assert shares(project) == before


def test_a_session_ends_in_each_process(project: Pipeline) -> None:
    run_tests(project)

    assert len(list(project.folder.glob("torn-down-*"))) == 2


def test_a_failure_in_any_process_is_told_with_what_it_printed(project: Pipeline) -> None:
    output = run_tests(project, special=FAILS)

    assert "FAILED: tests/test_shared.py::test_it[63], in every schedule\n" in output
    assert "printed 63" in output
    assert "2 failed, 198 passed" in output


def test_a_time_limit_holds_in_any_process(project: Pipeline) -> None:
    waits = "await __import__('asyncio').Event().wait() if number == 63 else None"

    output = run_tests(project, "--timeout=1", special=waits)

    assert "Timeout (>1.0s) from pytest-timeout\n  where  tests/test_shared.py:" in output
    assert "2 failed, 198 passed" in output


FULL = """
import resource
from collections.abc import Iterator

import pytest


@pytest.fixture
def full_disk() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("number", range(20))
def test_it(number: int, full_disk: None) -> None:
    assert number >= 0
"""


def test_a_limit_of_files_stops_no_report(project: Pipeline) -> None:
    project.write("tests/test_full.py", FULL)

    done = project.run(".venv/bin/pytest --no-cov --processes=2 tests/test_full.py")

    assert "20 passed" in done.stdout


def test_no_loop_is_made_for_a_plain_test_that_asks_for_one(project: Pipeline) -> None:
    body = "import pytest\n\n\n@pytest.mark.parametrize('number', range(4))\ndef test_it(number: int) -> None:\n"
    project.write("tests/test_plain.py", f"{body}    assert number >= 0\n")

    done = project.run(".venv/bin/pytest --no-cov --processes=2 tests/test_plain.py")

    assert "4 passed" in done.stdout


def test_the_first_failure_can_stop_all(project: Pipeline) -> None:
    output = run_tests(project, "-x", special="assert number < 0")

    assert "stopping after 1 failures" in output
    assert sum(map(len, shares(project))) < 100


def test_a_process_that_ends_by_itself_fails_the_run(project: Pipeline) -> None:
    output = run_tests(project, special=EXITS)

    assert "a process that ran tests has ended by 7" in output


def test_warnings_of_all_processes_are_told(project: Pipeline) -> None:
    output = run_tests(project, "-W", "default::UserWarning", special=WARNS)

    assert "UserWarning: mind 63" in output


def test_a_report_has_the_tests_of_all_processes(project: Pipeline) -> None:
    run_tests(project, "--junitxml=report.xml")

    assert (project.folder / "report.xml").read_text().count("<testcase ") == 200


def test_an_interrupt_ends_all_processes_and_their_sessions(project: Pipeline) -> None:
    project.write("tests/test_shared.py", TESTS.replace("SPECIAL", HANGS))

    assert_interrupted(project, "-q", "-p", "no:randomly", "--processes=2", "tests/test_shared.py")

    assert len(list(project.folder.glob("torn-down-*"))) == 2


def test_few_tests_run_in_one_process(project: Pipeline) -> None:
    project.write("tests/test_shared.py", TESTS.replace("SPECIAL", "").replace("(100)", "(40)"))

    project.run(".venv/bin/pytest --no-cov --processes=auto tests/test_shared.py")

    assert len(shares(project)) == 1


@pytest.mark.parametrize("asked", ["0", "-1", "many"])
def test_a_number_that_is_none_is_refused(asked: str, project: Pipeline) -> None:
    done = project.run(f".venv/bin/pytest --processes={asked}")

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert re.search(r"a number from 1 on, or auto, not", done.stdout)


def test_all_of_the_code_is_measured_in_all_processes(project: Pipeline) -> None:
    done = project.run(".venv/bin/pytest --processes=3 --cov-fail-under=100")

    assert done.returncode == 0, done.stdout
