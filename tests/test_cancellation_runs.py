"""Cancellation runs in a project: what is run again, what is said, and how a run can be stopped."""

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Pipeline
from tests.test_guard import assert_interrupted

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("guard")]

POOL = """
import asyncio


class Pool:
    def __init__(self) -> None:
        self.free = asyncio.Semaphore(1)

    async def acquire(self) -> str:
        await self.free.acquire()
        await asyncio.sleep(0)
        return "connection"
"""

TEST = """
from pathlib import Path

import pytest

from my_async_project.probe import Pool

RUNS = Path("runs.txt")


def note(name: str) -> None:
    RUNS.write_text(f"{RUNS.read_text() if RUNS.exists() else ''}{name} ")


def test_plain() -> None:
    note("plain")
    assert Pool()


async def test_pool() -> None:
    note("pool")
    assert await Pool().acquire()
"""

ALLOWED = TEST.replace(
    "async def", '@pytest.mark.guard_allow("not-safe-to-cancel", reason="shown")\nasync def'
)

# Once it is cancelled, it waits for what never comes.
HANGS = """
import asyncio
from pathlib import Path


def start() -> None:
    Path("started").touch()


class Pool:
    async def acquire(self) -> str:
        try:
            await asyncio.sleep(0.01)
        except BaseException:
            start()
            await asyncio.Event().wait()
            raise
        return "connection"
"""

FINDING = (
    "not-safe-to-cancel: Pool.acquire, called at tests/test_probe.py:22, was cancelled at "
    "src/my_async_project/probe.py:11, and the semaphore, acquired at src/my_async_project/probe.py:10, "
    "is left\n  where  src/my_async_project/probe.py:11    await asyncio.sleep(0)\n"
    "         src/my_async_project/probe.py:10    await self.free.acquire()\n"
    "         tests/test_probe.py:22    assert await Pool().acquire()\n"
)


@pytest.fixture
def project(make_pipeline: Callable[..., Pipeline]) -> Iterator[Pipeline]:
    """Return the pipeline of a skeleton, restored after each test."""
    pipeline = make_pipeline("guard", "3.11", examples=[])
    yield pipeline
    pipeline.restore()


def run_tests(project: Pipeline, *options: str, code: str = POOL, test: str = TEST) -> str:
    """Return what pytest prints of a probe and its test."""
    project.write("src/my_async_project/probe.py", code)
    project.write("tests/test_probe.py", test)
    command = ["timeout", "60", ".venv/bin/pytest", "--no-cov", "-p", "no:randomly"]
    return project.run([*command, *options, "tests/test_probe.py"]).stdout


def test_a_call_that_keeps_something_fails_its_test(project: Pipeline) -> None:
    output = run_tests(project, "--cancel")

    assert FINDING in output
    assert "1 failed, 2 passed" in output
    assert "guard: cancelled 1 calls, at 1 places" in output


def test_no_call_is_cancelled_unless_asked(project: Pipeline) -> None:
    assert "3 passed" in run_tests(project)


def test_only_tests_that_wait_for_the_project_run_again(project: Pipeline) -> None:
    run_tests(project, "--cancel")

    assert (project.folder / "runs.txt").read_text().split() == ["plain", "pool", "pool"]


def test_the_finding_is_the_same_in_several_processes(project: Pipeline) -> None:
    assert project.run("uv pip install -q --python .venv pytest-xdist").returncode == 0

    assert FINDING in run_tests(project, "--cancel", "-n2")


def test_a_marker_allows_what_a_call_keeps(project: Pipeline) -> None:
    assert "2 passed" in run_tests(project, "--cancel", test=ALLOWED)


def test_a_marker_for_cancellations_is_not_vain_in_other_runs(project: Pipeline) -> None:
    assert "3 passed" in run_tests(project, test=ALLOWED)


def test_a_call_that_does_not_end_is_ended_and_named(project: Pipeline) -> None:
    output = run_tests(project, "--cancel", "-o", "timeout=2", code=HANGS)

    assert "was cancelled at src/my_async_project/probe.py:13, and it has not ended since" in output
    assert "1 failed, 2 passed" in output


def test_an_interrupt_of_a_cancelled_call_leaves_nothing(project: Pipeline) -> None:
    project.write("src/my_async_project/probe.py", HANGS)
    project.write("tests/test_probe.py", TEST)
    assert_interrupted(project, "--cancel", "tests/test_probe.py")
