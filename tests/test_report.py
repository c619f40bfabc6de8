"""What a failing run prints in a project: whole texts, each finding once, and no code that nobody can mend."""

import re
import runpy
from collections.abc import Callable, Iterator
from io import StringIO

import pytest

from tests.conftest import Pipeline
from tests.helpers import ROOT

slow = pytest.mark.slow
on_guard = pytest.mark.xdist_group("guard")

PYTEST = ["timeout", "60", ".venv/bin/pytest", "-q", "-p", "no:randomly"]

FORGOTTEN = """
import asyncio


async def fetch() -> int:
    return 1


async def test_it() -> None:
    fetch()
    await asyncio.sleep(0)
    assert fetch
"""

FORGOTTEN_TEXT = """
coroutine 'fetch' was never awaited
  where  tests/test_it.py:10    fetch()
  why    Nothing of it has run, and nobody sees that.
  do     Await it, or start it in a TaskGroup.
  test   tests/test_it.py::test_it, in every schedule
  page   tests/guard/README.md
  again  make test T=tests/test_it.py::test_it

2 failed in _s
"""

CLIENT = """
import asyncio


class Client:
    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=("127.0.0.1", 9)
        )
"""

LEAKED_CLIENT = """
from my_async_project.probe import Client

KEPT: list[Client] = []


async def test_it() -> None:
    KEPT.append(Client())
    await KEPT[-1].connect()
    assert KEPT


async def test_it_again() -> None:
    KEPT.append(Client())
    await KEPT[-1].connect()
    assert KEPT
"""

LEAKED_CLIENT_TEXT = """
leaked-transport: SelectorDatagramTransport, made at src/my_async_project/probe.py:8, was not closed
  where  src/my_async_project/probe.py:8    self.transport, _ = await loop.create_datagram_endpoint(
  why    The connection stays open until the garbage collector finds it.
  do     Close what was opened, in a finally at least.
  test   tests/test_it.py::test_it, in every schedule
         tests/test_it.py::test_it_again, in every schedule
  page   tests/guard/README.md
  again  make test T=tests/test_it.py::test_it

4 passed, 4 errors in _s
"""

ORDER = """
import asyncio


async def test_it() -> None:
    order: list[int] = []

    async def note(number: int) -> None:
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(2):
            group.create_task(note(number))
    assert order[0] == 0
"""

ORDER_TEXT = """
FAILED: tests/test_it.py::test_it, only in seed1
tests/test_it.py:14: in test_it
    assert order[0] == 0
E   assert 1 == 0
  why    It passed in another schedule before. So it depends on the order of tasks, of which asyncio
         promises none, or on what that run has left, such as the calls that a mock of its module counted.
  page   tests/guard/README.md
  again  .venv/bin/pytest --no-cov -p no:randomly --seeds=1 "tests/test_it.py::test_it[seed1]"

1 failed, 1 passed in _s
"""

ASSERTION = """
import asyncio
import logging


async def double(number: int) -> int:
    await asyncio.sleep(0)
    print("doubled")
    logging.getLogger("probe").warning("slow")
    return number + 1


async def test_it() -> None:
    assert await double(2) == 4
"""

ASSERTION_TEXT = """
FAILED: tests/test_it.py::test_it, in every schedule
tests/test_it.py:14: in test_it
    assert await double(2) == 4
E   assert 3 == 4
----------------------------- Captured stdout call -----------------------------
doubled
------------------------------ Captured log call -------------------------------
WARNING  probe:test_it.py:9 slow
  again  make test T=tests/test_it.py::test_it

2 failed in _s
"""

GROUP = """
import asyncio


async def fail() -> None:
    raise LookupError("gone")


async def test_it() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
"""

GROUP_TEXT = """
FAILED: tests/test_it.py::test_it, in every schedule
  + Exception Group Traceback (most recent call last):
  |   File "tests/test_it.py", line 10, in test_it
  |     async with asyncio.TaskGroup() as group:
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "tests/test_it.py", line 6, in fail
    |     raise LookupError("gone")
    | LookupError: gone
    +------------------------------------
  again  make test T=tests/test_it.py::test_it

2 failed in _s
"""

WAITS = """
import asyncio


async def never() -> None:
    await asyncio.Event().wait()


async def test_it() -> None:
    task = asyncio.create_task(never())
    await asyncio.wait([task])
"""

WAITS_TEXT = """
Timeout (>1.0s) from pytest-timeout
  where  tests/test_it.py:11    await asyncio.wait([task])
         tests/test_it.py:6    await asyncio.Event().wait()
  why    What it waits for there does not come, or takes longer than `timeout` in pytest.ini.
  do     Let something end the wait, or limit it: async with asyncio.timeout(...).
  test   tests/test_it.py::test_it, in every schedule
  page   tests/guard/README.md
  again  make test T=tests/test_it.py::test_it

2 failed in _s
"""

OPEN_FILE = """
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["one", "two"])
def test_it(tmp_path: Path, name: str) -> None:
    file = (tmp_path / name).open("w")
    assert file.writable()
"""

OPEN_SOCKET = """
import socket


def test_it() -> None:
    sender, receiver = socket.socketpair()
    assert sender.fileno() != receiver.fileno()
"""

THREAD = """
import threading


def work() -> None:
    raise LookupError("nothing to do")


def test_it() -> None:
    thread = threading.Thread(target=work, name="worker")
    thread.start()
    thread.join()
    assert thread
"""

THREAD_TEXT = """
Exception in thread worker: LookupError: nothing to do
  where  tests/test_it.py:6    raise LookupError("nothing to do")
  why    The thread has ended by it, and nobody who waits for the thread is told.
  do     Use asyncio.to_thread or an executor, whose result raises it.
  test   tests/test_it.py::test_it
  page   tests/guard/README.md
  again  make test T=tests/test_it.py::test_it

1 failed in _s
"""

BROKEN_FIXTURE = """
import json

import pytest


@pytest.fixture
def settings() -> object:
    return json.loads("no JSON")


def test_one(settings: object) -> None:
    assert settings


def test_two(settings: object) -> None:
    assert settings
"""

BROKEN_FIXTURE_TEXT = """
FAILED during setup: tests/test_it.py::test_one
tests/test_it.py:9: in settings
    return json.loads("no JSON")
           ^^^^^^^^^^^^^^^^^^^^^
E   json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)
  test   tests/test_it.py::test_one
         tests/test_it.py::test_two
  again  make test T=tests/test_it.py::test_one

2 errors in _s
"""

BROKEN_CLEANUP = """
from collections.abc import AsyncIterator

import pytest_asyncio
from pytest import mark


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def settings() -> AsyncIterator[int]:
    yield 1
    raise ValueError("no settings")


@mark.asyncio(loop_scope="module")
async def test_it(settings: int) -> None:
    assert settings == 2
"""

BROKEN_CLEANUP_TOLD = """
FAILED during setup: tests/test_it.py::test_it, only in seed1
tests/test_it.py:11: in settings
    raise ValueError("no settings")
E   ValueError: no settings
  page   tests/guard/README.md
  again  .venv/bin/pytest --no-cov -p no:randomly --seeds=1 "tests/test_it.py::test_it[seed1]"
"""

BROKEN_CLEANUP_TEXT = f"""
FAILED: tests/test_it.py::test_it, only in fifo
tests/test_it.py:16: in test_it
    assert settings == 2
E   assert 1 == 2
  again  make test T=tests/test_it.py::test_it
{BROKEN_CLEANUP_TOLD}
1 failed, 1 error in _s
"""

# The test passes in both schedules, so the order of tasks has nothing to do with it.
BROKEN_CLEANUP_ALONE = BROKEN_CLEANUP.replace("== 2", "== 1")

BROKEN_CLEANUP_ALONE_TEXT = f"""{BROKEN_CLEANUP_TOLD}
1 passed, 1 error in _s
"""

NO_MODULE = """
import nowhere

assert nowhere
"""

CASES = {
    "a forgotten await": (FORGOTTEN, FORGOTTEN_TEXT),
    "a client that two tests leave open": (LEAKED_CLIENT, LEAKED_CLIENT_TEXT),
    "a race that a shuffled schedule finds": (ORDER, ORDER_TEXT),
    "an assertion": (ASSERTION, ASSERTION_TEXT),
    "an error in a task group": (GROUP, GROUP_TEXT),
    "a test that waits for ever": (WAITS, WAITS_TEXT),
    "an error in a thread": (THREAD, THREAD_TEXT),
    "a fixture that fails": (BROKEN_FIXTURE, BROKEN_FIXTURE_TEXT),
    "a wide fixture that fails in its cleanup": (BROKEN_CLEANUP, BROKEN_CLEANUP_TEXT),
    "a wide fixture that alone fails": (BROKEN_CLEANUP_ALONE, BROKEN_CLEANUP_ALONE_TEXT),
}


@pytest.fixture
def project(make_pipeline: Callable[..., Pipeline]) -> Iterator[Pipeline]:
    """Return the pipeline of a skeleton, restored after each test."""
    pipeline = make_pipeline("guard", "3.11", examples=[])
    yield pipeline
    pipeline.restore()


def text_of(project: Pipeline, body: str, *options: str, **variables: str) -> str:
    """Return what pytest prints of one test file behind the dots; times and folders of this run left out."""
    project.write("src/my_async_project/probe.py", CLIENT)
    project.write("tests/test_it.py", body)
    command = [*PYTEST, "--no-cov", "-o", "timeout=1", *options, "tests/test_it.py"]
    output = project.run(command, **variables).stdout.replace(f"{project.folder}/", "")
    return re.sub(r"(?m) in [\d.]+s\b", " in _s", output.partition("%]")[2])


@slow
@on_guard
@pytest.mark.parametrize("case", CASES)
def test_a_failure_is_told_once_by_the_lines_of_the_project(case: str, project: Pipeline) -> None:
    body, text = CASES[case]

    assert text_of(project, body) == text


@slow
@on_guard
def test_processes_of_xdist_tell_the_same(project: Pipeline) -> None:
    assert project.run("uv pip install -q --python .venv pytest-xdist").returncode == 0

    assert text_of(project, FORGOTTEN, "-n2") == FORGOTTEN_TEXT


@slow
def test_a_socket_that_is_left_open_is_told_by_the_line_that_made_it(
    on_each_python: Pipeline,
) -> None:
    text = text_of(on_each_python, OPEN_SOCKET)

    assert text.startswith("\nResourceWarning: unclosed <socket.socket fd=")
    assert "\n  where  tests/test_it.py:6    sender, receiver = socket.socketpair()\n" in text


@slow
@on_guard
def test_a_file_that_is_left_open_is_told_by_the_line_that_opened_it(project: Pipeline) -> None:
    text = text_of(project, OPEN_FILE)

    assert text.count("ResourceWarning: unclosed file") == 2
    assert text.count('  where  tests/test_it.py:9    file = (tmp_path / name).open("w")\n') == 2
    assert "  again  make test T='tests/test_it.py::test_it[one]'\n" in text


@slow
@on_guard
def test_a_file_that_cannot_be_imported_is_told(project: Pipeline) -> None:
    project.write("tests/test_it.py", NO_MODULE)

    output = project.run([*PYTEST, "--no-cov", "tests/test_it.py"]).stdout

    assert "\nFAILED during collect: tests/test_it.py\n" in output
    assert "\ntests/test_it.py:2: in <module>\n    import nowhere\n" in output
    assert output.count("No module named 'nowhere'") == 1


@slow
@on_guard
@pytest.mark.parametrize("option", ["-vv", "--tb=auto", "--tb=long", "--full-trace"])
def test_all_that_pytest_says_can_be_had(option: str, project: Pipeline) -> None:
    text = text_of(project, FORGOTTEN, option)

    assert "= FAILURES =" in text
    assert "_ test_it[fifo] _" in text
    assert "_ test_it[seed1] _" in text
    assert "unraisableexception.py" in text


@slow
@on_guard
def test_a_summary_that_is_asked_for_names_each_schedule(project: Pipeline) -> None:
    text = text_of(project, FORGOTTEN, "-rf")

    assert "FAILED tests/test_it.py::test_it[fifo]" in text
    assert "FAILED tests/test_it.py::test_it[seed1]" in text


@slow
@on_guard
def test_on_github_a_finding_is_an_annotation_as_well(project: Pipeline) -> None:
    annotations = re.findall(r"(?m)^::.*", text_of(project, FORGOTTEN, GITHUB_ACTIONS="true"))

    assert annotations == [
        "::error file=tests/test_it.py,line=10,title=coroutine 'fetch' was never awaited::"
        "Nothing of it has run, and nobody sees that.%0AAwait it, or start it in a TaskGroup.%0A"
        "tests/test_it.py::test_it, in every schedule%0Amake test T=tests/test_it.py::test_it"
    ]


@slow
@on_guard
def test_on_github_a_failure_is_an_annotation_as_well(project: Pipeline) -> None:
    annotations = re.findall(r"(?m)^::.*", text_of(project, ASSERTION, GITHUB_ACTIONS="true"))

    assert annotations == [
        "::error file=tests/test_it.py,line=14,title=assert 3 == 4::"
        "tests/test_it.py::test_it, in every schedule%0Amake test T=tests/test_it.py::test_it"
    ]


@slow
@on_guard
def test_a_failed_run_says_how_to_have_the_same_order_of_tests(project: Pipeline) -> None:
    project.write("tests/test_it.py", FORGOTTEN)
    command = ".venv/bin/pytest --no-cov --randomly-seed=7 tests/test_it.py"

    lines = project.run(command).stdout.splitlines()

    same = "In the same order of tests: .venv/bin/pytest --no-cov --randomly-seed=7 --seeds=1"
    assert lines[-2] == same


@slow
@on_guard
def test_a_forgotten_await_takes_few_lines_of_a_whole_run(project: Pipeline) -> None:
    project.write("tests/test_it.py", FORGOTTEN)

    output = project.run(".venv/bin/pytest").stdout

    assert len(output.partition("[100%]")[2].splitlines()) <= 14
    assert "2 failed, " in output.splitlines()[-1]


@slow
@on_guard
def test_a_run_that_passes_prints_no_table_of_coverage(project: Pipeline) -> None:
    output = project.run(PYTEST).stdout

    assert re.fullmatch(
        r"\n=+ tests coverage =+\n"
        r"Required test coverage of 90% reached\. Total coverage: [\d.]+%\n\d+ passed in .*\n",
        output.partition("100%]")[2],
    )


@slow
@on_guard
def test_too_little_coverage_is_told_by_the_files_that_miss_most(project: Pipeline) -> None:
    for number in range(1, 11):
        lines = "".join(f"NUMBER_{line} = {line}\n" for line in range(1000 + number))
        project.write(f"src/my_async_project/never_{number}.py", lines)

    done = project.run(PYTEST)

    table = done.stdout.partition("tests coverage =")[2].splitlines()[1:]
    assert done.returncode == 1
    assert table[0].startswith("Name ")
    assert [line.split()[0] for line in table[1:9]] == [
        f"src/my_async_project/never_{number}.py" for number in range(10, 2, -1)
    ]
    assert table[1].split()[-2:] == ["0%", "1-1010"]
    assert re.fullmatch(r"\.\.\. and \d+ files more: make coverage", table[9])
    assert table[10].startswith("FAIL Required test coverage of 90% not reached. Total coverage: ")


@slow
@on_guard
def test_the_table_of_coverage_can_be_had(project: Pipeline) -> None:
    options = ["tests/test_errors.py", "--cov-fail-under=1", "--cov-report=term"]

    output = project.run([*PYTEST, *options]).stdout

    assert re.search(r"(?m)^TOTAL +\d+", output)


FINDINGS = runpy.run_path(str(ROOT / "template/tests/guard/findings.py"))


class Terminal(StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Return that it is."""
        return True


def test_an_annotation_is_escaped() -> None:
    finding = FINDINGS["Finding"]("50%: a, b", where="src/a,b.py:3", why="One: 5%.\r\nTwo, three.")

    assert FINDINGS["annotation"](finding) == (
        "::error file=src/a%2Cb.py,line=3,title=50%25%3A a%2C b::One: 5%25.%0D%0ATwo, three."
    )


def test_an_annotation_without_a_place_is_one_of_the_run() -> None:
    assert FINDINGS["annotation"](FINDINGS["Finding"]("lost")) == "::error title=lost::lost"


@pytest.mark.parametrize(
    ("stream", "variables", "expected"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (StringIO(), {}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    stream: StringIO,
    variables: dict[str, str],
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert FINDINGS["has_colour"](stream) is expected


def test_a_block_in_colour_says_the_same() -> None:
    finding = FINDINGS["Finding"](
        "lost", where="pytest.ini:1", remedy="Find it.", again="make test"
    )

    coloured: str = FINDINGS["block"](finding, colour=True)

    assert coloured.startswith("\x1b[31mlost\x1b[0m\n")
    assert re.sub(r"\x1b\[\d*m", "", coloured) == FINDINGS["block"](finding, colour=False)


@pytest.mark.slow
@on_guard
def test_a_run_without_a_test_says_that_nothing_is_covered(project: Pipeline) -> None:
    done = project.run(".venv/bin/pytest -o testpaths=docs")

    assert "Total coverage: 0.00%" in done.stdout
    assert "Traceback" not in done.stdout
