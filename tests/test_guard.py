"""The async guard in other people's projects: its settings, exceptions, and what else runs beside it."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Pipeline

PYTEST = ["timeout", "60", ".venv/bin/pytest", "--no-cov"]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("guard")]

LEAK = """
import asyncio

import pytest


async def forever() -> None:
    await asyncio.Event().wait()


async def test_leak() -> None:
    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    assert not task.done()
"""

ALLOWED = LEAK.replace(
    "async def test_leak",
    '@pytest.mark.guard_allow("leaked-task", reason="shown")\nasync def test_leak',
)

ORDER = """
import asyncio


async def test_order() -> None:
    order: list[int] = []

    async def note(number: int) -> None:
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(note(number))
    assert order == list(range(20))
"""

GOOD = """
import asyncio


async def test_good() -> None:
    await asyncio.sleep(0)
    assert asyncio.get_running_loop()
"""


# A tool opens a file, which the guard tells from the project's own by reading about dependencies.
REPLACED_FILES = """
from pathlib import Path

import cfgv
import pytest


async def test_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", None)
    monkeypatch.setattr(Path, "read_text", None)
    schema = cfgv.Map("file", "name")
    assert cfgv.load_from_filename(__file__, schema, lambda _: {}) == {}
"""


@pytest.fixture
def project(make_pipeline: Callable[..., Pipeline]) -> Iterator[Pipeline]:
    """Return the pipeline of a skeleton, restored after each test."""
    pipeline = make_pipeline("guard", "3.11", examples=[])
    yield pipeline
    pipeline.restore()


def pytest_of(project: Pipeline, body: str, *options: str) -> str:
    """Return what pytest prints of one test file."""
    project.write("tests/test_it.py", body)
    return project.run([*PYTEST, *options, "tests/test_it.py"]).stdout


def test_a_finding_names_check_line_and_remedy(project: Pipeline) -> None:
    output = pytest_of(project, LEAK)

    assert (
        "\nleaked-task: the task forever, made at tests/test_it.py:12, was left running\n"
        "  where  tests/test_it.py:12    task = asyncio.create_task(forever())\n" in output
    )
    assert "\n  do     Await it, start it in a TaskGroup, or cancel and await it.\n" in output
    assert "\n  test   tests/test_it.py::test_leak, in every schedule\n" in output


def test_a_test_may_replace_what_reads_files(project: Pipeline) -> None:
    assert "2 passed in" in pytest_of(project, REPLACED_FILES)


def test_a_marker_allows_a_finding(project: Pipeline) -> None:
    assert "2 passed in" in pytest_of(project, ALLOWED)


def test_a_setting_allows_a_finding(project: Pipeline) -> None:
    setting = "leaked-task: made at tests/test_it.py:12"

    assert "2 passed in" in pytest_of(project, LEAK, "-o", f"guard_allow={setting}")


def test_a_check_that_is_not_listed_is_off(project: Pipeline) -> None:
    assert "2 passed in" in pytest_of(project, LEAK, "-o", "guard_checks=lost-error")


def test_a_marker_that_allows_nothing_fails_the_run(project: Pipeline) -> None:
    body = GOOD.replace(
        "async def",
        'import pytest\n\n\n@pytest.mark.guard_allow("leaked-task", reason="x")\nasync def',
    )

    output = pytest_of(project, body)

    assert "tests/test_it.py::test_good: guard_allow of 'leaked-task' allows nothing" in output
    assert project.run(PYTEST).returncode == 1


def test_a_setting_that_allows_nothing_fails_a_whole_run(project: Pipeline) -> None:
    done = project.run([*PYTEST, "-o", "guard_allow=slow-step: nowhere"])

    assert "pytest.ini: guard_allow of 'slow-step: nowhere' allows nothing" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize("marker", ['"leak", reason="x"', '"leaked-task"', ""])
def test_a_marker_needs_a_check_and_a_reason(marker: str, project: Pipeline) -> None:
    output = pytest_of(project, ALLOWED.replace('"leaked-task", reason="shown"', marker))

    assert "ERROR: tests/test_it.py::test_leak" in output
    assert "guard" in output


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("guard_checks=leaks", "the guard has no check 'leaks'; it has leaked-task, "),
        ("guard_allow=leaks: x", "the guard has no check 'leaks'; it has leaked-task, "),
        ("guard_step_seconds=soon", "guard_step_seconds must be a number, not 'soon'"),
        ("guard_seeds=-1", "guard_seeds must be a number, not '-1'"),
    ],
)
def test_a_bad_setting_is_told(setting: str, message: str, project: Pipeline) -> None:
    assert message in pytest_of(project, GOOD, "-o", setting)


def test_a_shuffled_schedule_shows_a_dependence_on_order_and_how_to_see_it_again(
    project: Pipeline,
) -> None:
    output = pytest_of(project, ORDER, "--randomly-seed=7")

    again = ["--randomly-seed=7", "--seeds=1", "tests/test_it.py::test_order[seed1]"]
    assert "FAILED: tests/test_it.py::test_order, only in seed1" in output
    assert '\n  again  .venv/bin/pytest --no-cov {} {} "{}"\n'.format(*again) in output
    assert "1 failed" in project.run([*PYTEST, *again]).stdout


def test_a_verbose_run_says_how_to_see_a_schedule_again_and_what_passed(project: Pipeline) -> None:
    output = pytest_of(project, ORDER, "-v", "-p", "no:randomly")

    again = '-p no:randomly --seeds=1 "tests/test_it.py::test_order[seed1]"'
    assert (
        f"\nAgain: .venv/bin/pytest --no-cov {again}\nIt passed in another schedule before."
        in output
    )


def test_a_schedule_is_the_same_for_the_same_seed(project: Pipeline) -> None:
    body = ORDER.replace("assert order == list(range(20))", "raise ValueError(order)")

    first, second = [
        pytest_of(project, body, "-v", "--randomly-seed=7").split("ValueError: [")[2:] for _ in "12"
    ]

    assert first[0].split("]")[0] == second[0].split("]")[0]


def test_more_seeds_can_be_asked_for(project: Pipeline) -> None:
    project.write("tests/test_it.py", GOOD)

    assert (
        "11 passed in"
        in project.run(["make", "test", "SEEDS=10", "ARGS=--no-cov tests/test_it.py"]).stdout
    )


@pytest.mark.parametrize(
    "options",
    [["-p", "no:randomly"], ["-n", "2"], ["--pdb"], ["--trace-config"], ["-k", "test_leak"]],
)
def test_it_works_beside_other_plugins_and_options(options: list[str], project: Pipeline) -> None:
    assert project.run("uv pip install --quiet --python .venv pytest-xdist").returncode == 0

    assert "leaked-task: the task forever" in pytest_of(project, LEAK, *options)


def test_failed_tests_run_again_by_themselves(project: Pipeline) -> None:
    pytest_of(project, ORDER + GOOD)

    output = pytest_of(project, ORDER + GOOD, "--lf")

    assert "1 failed" in output
    assert "passed" not in output


def test_a_loop_of_the_session_is_checked_at_its_end(project: Pipeline) -> None:
    body = LEAK.replace(
        "async def test_leak", '@pytest.mark.asyncio(loop_scope="session")\nasync def test_leak'
    )

    assert "leaked-task: the task forever, made at tests/test_it.py:13" in pytest_of(project, body)


def test_a_client_of_a_session_fixture_may_live_on(project: Pipeline) -> None:
    body = """
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def thread() -> Iterator[threading.Thread]:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    yield thread
    end.set()
    thread.join()


def test_one(thread: threading.Thread) -> None:
    assert thread.is_alive()


def test_two(thread: threading.Thread) -> None:
    assert thread.is_alive()
"""
    assert "2 passed in" in pytest_of(project, body)


def test_loops_of_ones_own_are_used_and_said_to_be_unwatched(project: Pipeline) -> None:
    assert project.run("uv pip install --quiet --python .venv uvloop").returncode == 0
    project.write(
        "tests/conftest.py",
        "import uvloop\n\n\ndef pytest_asyncio_loop_factories() -> object:\n"
        "    return {'uvloop': uvloop.new_event_loop}\n",
    )

    output = pytest_of(project, GOOD)

    assert "1 passed in" in output
    assert "Some tests ran in loops that are not the guard's (Loop)" in output


def test_a_fixture_of_a_module_is_made_once_for_each_schedule(project: Pipeline) -> None:
    body = """
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[int]:
    print("the server is made")
    yield 1


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("_number", range(3))
async def test_it(server: int, _number: int) -> None:
    assert server


async def test_in_a_loop_of_its_own() -> None:
    assert True
"""

    output = pytest_of(project, body, "-s")

    assert "8 passed in" in output
    assert output.count("the server is made") == 2


def test_code_that_conftest_imports_is_watched(project: Pipeline) -> None:
    project.write(
        "src/my_async_project/pause.py",
        "from time import sleep\n\n\nasync def pause() -> None:\n    sleep(0.01)\n",
    )
    project.write("tests/conftest.py", "from my_async_project import pause\n\n_ = pause\n")
    body = "from my_async_project import pause\n\n\nasync def test_it() -> None:\n"

    output = pytest_of(project, f"{body}    assert await pause.pause() is None\n")

    assert "blocking-call: time.sleep stopped the loop at src/my_async_project/pause.py:5" in output


# What waits for nothing, or once. `blocking-call` is for code in src.
HARMLESS = {
    "the end of a pool whose work is done": """
    with ThreadPoolExecutor(1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, int)
""",
    "a thread that has ended": """
    thread = threading.Thread(target=int)
    thread.start()
    await asyncio.to_thread(thread.join)
    thread.join()
""",
    "a wait of no time": """
    threading.Event().wait(0)
""",
    "a time zone": """
    zoneinfo.ZoneInfo("Europe/Berlin")
""",
    "a thread that starts": """
    thread = threading.Thread(target=int)
    thread.start()
    await asyncio.to_thread(thread.join)
""",
    "a socket that does not block": """
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(server.getsockname())
""",
    "a module that takes long to import": """
    importlib.import_module("my_async_project.long")
""",
}


LONG = """
from time import thread_time

END = thread_time() + 1.5
while thread_time() < END:
    pass
"""


@pytest.mark.parametrize("harmless", HARMLESS)
def test_what_does_not_block_is_no_finding(harmless: str, project: Pipeline) -> None:
    modules = ["asyncio", "importlib", "socket", "threading", "zoneinfo"]
    imports = "".join(f"import {module}\n" for module in modules)
    imports += "from concurrent.futures import ThreadPoolExecutor\n"
    project.write("src/my_async_project/long.py", LONG)
    project.write(
        "src/my_async_project/harmless.py",
        f"{imports}\n\nasync def run() -> None:{HARMLESS[harmless]}",
    )
    body = "from my_async_project import harmless\n\n\nasync def test_it() -> None:\n"

    assert "2 passed in" in pytest_of(project, f"{body}    assert await harmless.run() is None\n")


def test_fixtures_of_a_projects_plugins_end_before_the_guard_looks(project: Pipeline) -> None:
    project.write("tests/conftest.py", 'pytest_plugins = ["tests.fixtures"]\n')
    project.write(
        "tests/fixtures.py",
        """
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def thread() -> Iterator[None]:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    yield
    end.set()
    thread.join()
""",
    )

    assert "2 passed in" in pytest_of(project, GOOD)


MARKED = """
import asyncio

import pytest


@pytest.mark.guard_allow("leaked-task", reason="shown")
@pytest.mark.parametrize("leaks", [False, True])
async def test_it(leaks: bool) -> None:
    if leaks:
        task = asyncio.create_task(asyncio.Event().wait())
        await asyncio.sleep(0)
        assert not task.done()
    assert True
"""
SKIPPED = MARKED.replace("@pytest", '@pytest.mark.skip(reason="shown")\n@pytest', 1)


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (SKIPPED, []),
        (MARKED, ["-k", "False"]),
        (MARKED, ["-m", "not slow", "-o", "guard_allow=slow-step: x", "-k", "True"]),
        (MARKED, ["-n", "1", "-k", "False", "-o", "guard_allow=slow-step: x"]),
        (MARKED, ["--ignore=tests/guard", "-o", "guard_allow=slow-step: x"]),
    ],
)
def test_an_exception_of_what_did_not_run_is_no_vain_one(
    body: str, options: list[str], project: Pipeline
) -> None:
    assert project.run("uv pip install --quiet --python .venv pytest-xdist").returncode == 0
    project.write("tests/test_it.py", body)

    done = project.run([*PYTEST, *options])

    assert done.returncode == 0, done.stdout
    assert "allows nothing" not in done.stdout


def test_a_folder_that_is_gone_is_told_and_harms_no_other_test(project: Pipeline) -> None:
    body = """
import os
import tempfile


def test_leaves() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
    assert True


def test_next() -> None:
    assert os.getcwd()
"""

    output = pytest_of(project, body, "-p", "no:randomly")

    assert "environment: the test has left the current folder changed\n" in output
    assert "2 passed, 1 error" in output


def test_an_error_of_the_guard_hides_no_failure(project: Pipeline) -> None:
    file = project.folder / "tests/guard/resources.py"
    file.write_text(
        file.read_text().replace(
            "made, self._made = self._made, []", 'raise RuntimeError("the guard is broken")'
        )
    )

    output = pytest_of(project, "def test_it() -> None:\n    assert 1 == 2\n")

    assert "assert 1 == 2" in output
    assert "FAILED: tests/test_it.py::test_it\n" in output
    assert "The guard failed: Traceback" in output
    assert "the guard is broken" in output


SEARCHES = """
import pytest
from looptime._internal import plugin

searches = []
search = plugin._is_fixture
plugin._is_fixture = lambda name: searches.append("search") or search(name)


@pytest.mark.parametrize("number", range(3))
async def test_it(number: int, tmp_path: object) -> None:
    searches.append("test")


def test_searches() -> None:
    assert searches.count("test") == 3
    assert searches[searches.index("test") :] == ["test"] * 3
"""


def test_looptime_searches_for_a_fixture_once(project: Pipeline) -> None:
    assert "4 passed" in pytest_of(project, SEARCHES, "-p", "no:randomly", "--seeds=0")


def test_what_a_failed_test_leaves_behind_is_shown_with_the_failure(project: Pipeline) -> None:
    output = pytest_of(project, LEAK.replace("assert not task.done()", "assert task.done()"))

    assert "assert task.done()" in output
    assert "2 failed" in output
    assert "error" not in output.splitlines()[-1]


def test_an_interrupt_ends_the_run_and_leaves_nothing(project: Pipeline) -> None:
    project.write(
        "tests/test_it.py",
        GOOD.replace("asyncio.sleep(0)", "asyncio.sleep(20)")
        .replace("import asyncio\n", "import asyncio\nfrom pathlib import Path\n")
        .replace("    await", "    Path('started').touch()  # noqa: ASYNC240\n    await"),
    )
    assert_interrupted(project, "tests/test_it.py")


INTERRUPTS = """
import asyncio
import signal
import socket

import pytest


class Ends:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    yield
    if item.name == "test_plugin":
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def broken():
    yield
    raise RuntimeError("cannot be undone")


def test_plugin() -> None:
    pass


def test_object() -> None:
    Ends()


def test_half_way(broken: None) -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def opened():
    yield
    socket.socket()


def test_opened(opened: None) -> None:
    signal.raise_signal(signal.SIGINT)


async def nothing() -> None:
    pass


def test_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def handle_and_interrupt(number: int, handler: object) -> None:
        monkeypatch.undo()
        signal.signal(number, handler)
        signal.raise_signal(number)

    monkeypatch.setattr(signal, "signal", handle_and_interrupt)
    asyncio.run(nothing())


def without_lines() -> None:
    signal.raise_signal(signal.SIGINT)


without_lines.__code__ = without_lines.__code__.replace(co_linetable=bytes([255] * 99))


def test_no_line() -> None:
    without_lines()


def test_after() -> None:
    assert False
"""


@pytest.mark.parametrize("name", ["plugin", "object", "half_way", "opened", "loop", "no_line"])
def test_an_interrupt_ends_the_run_at_any_moment(name: str, project: Pipeline) -> None:
    project.write("tests/test_it.py", INTERRUPTS)
    options = ["-p", "no:randomly", "-p", "tests.test_it", "-k", f"{name} or after"]

    done = project.run([*PYTEST, *options, "tests/test_it.py"])

    assert done.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in done.stdout
    assert "Traceback" not in done.stdout
    assert "FAILED" not in done.stdout


def test_what_an_interrupt_leaves_half_done_is_told_in_a_line(project: Pipeline) -> None:
    output = pytest_of(project, INTERRUPTS, "-k", "half_way")

    assert (
        "\nafter the interrupt, not all was cleaned up: RuntimeError('cannot be undone')\n"
        in output
    )


def assert_interrupted(project: Pipeline, *arguments: str) -> None:
    """Interrupt a run of pytest whose test says that it has started, and look at how that ends."""
    process = subprocess.Popen(
        [".venv/bin/pytest", "--no-cov", *arguments],
        cwd=project.folder,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_file(project, process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)

    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in output
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def wait_for_file(project: Pipeline, process: "subprocess.Popen[str]") -> None:
    """Wait until the test under way has started."""
    while not (project.folder / "started").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


STOPS = """
import asyncio

import pytest


async def stop_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    asyncio.get_running_loop().stop()


async def test_at_fault() -> None:
    task = asyncio.create_task(stop_all())
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(0.01)
    assert task
"""
CANCELS = """
import asyncio


async def cancel_all() -> None:
    for _ in range(3):
        await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def test_at_fault() -> None:
    task = asyncio.create_task(cancel_all())
    assert task
"""


@pytest.mark.parametrize("body", [STOPS, CANCELS], ids=["stops the loop", "cancels all"])
def test_a_task_that_is_left_and_ends_all_others_harms_no_other_test(
    body: str, project: Pipeline
) -> None:
    innocent = GOOD.replace("import asyncio\n", "").lstrip()

    output = pytest_of(project, f"{body}\n\n{innocent}", "-p", "no:randomly")

    assert "leaked-task: the task " in output
    assert "\n  test   tests/test_it.py::test_at_fault, in every schedule\n" in output
    assert "4 passed, 2 errors" in output


def test_what_an_async_fixture_of_a_plain_test_leaves_is_found(project: Pipeline) -> None:
    body = """
import asyncio
from collections.abc import AsyncIterator

import pytest


@pytest.fixture
async def leaky() -> AsyncIterator[int]:
    task = asyncio.create_task(asyncio.sleep(3600))
    yield 1
    assert task


def test_plain(leaky: int) -> None:
    assert leaky == 1
"""

    output = pytest_of(project, body)

    assert "leaked-task: the task sleep, made at tests/test_it.py:10" in output
    assert "1 passed, 1 error" in output
    assert "not the guard's" not in output


def test_a_future_with_an_error_that_nobody_sees_is_told_by_its_line(project: Pipeline) -> None:
    body = """
import asyncio


async def test_it() -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(LookupError("gone"))
    await asyncio.sleep(0)
    assert future.done()
"""

    output = pytest_of(project, body)

    lost = "lost-error: nobody saw LookupError('gone'), raised in a future made at tests/test_it.py:6\n"
    assert lost in output


def test_a_test_that_passed_in_another_schedule_says_so(project: Pipeline) -> None:
    body = """
from unittest.mock import AsyncMock

SEND = AsyncMock()


async def test_it() -> None:
    await SEND()
    assert SEND.await_count == 1
"""

    output = pytest_of(project, body, "-p", "no:randomly")

    assert "1 failed, 1 passed in" in output
    assert "It passed in another schedule before." in output
    assert "such as the calls that a mock of its module counted" in output


SCHEDULE = """
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def shared() -> Iterator[list[str]]:
    names: list[str] = []
    yield names
    names.clear()


async def test_it(shared: list[str], request: pytest.FixtureRequest) -> None:
    if "seed" in request.node.name:
        shared.append("shuffled")
"""

MEASURED = ["timeout", "60", ".venv/bin/pytest", "-p", "no:randomly", "--cov-report=term"]


def test_a_test_is_measured_once_and_what_it_shares_to_its_end(project: Pipeline) -> None:
    project.write("tests/test_it.py", SCHEDULE)

    output = project.run([*MEASURED, "tests/test_it.py"]).stdout

    assert "2 passed in" in output
    assert re.search(r"tests/test_it.py .* 83% +16\n", output)


def test_a_shuffled_schedule_that_is_the_first_is_measured(project: Pipeline) -> None:
    project.write("tests/test_it.py", SCHEDULE)

    output = project.run([*MEASURED, "tests/test_it.py", "-k", "seed1"]).stdout

    assert "1 passed, 1 deselected in" in output
    assert re.search(r"tests/test_it.py .* 15->exit\n", output)


# A plugin by which coverage can parse no file, and says so of each that it tries.
PARSES_NOTHING = """
from coverage.parser import PythonParser


def refuse(parser: PythonParser) -> None:
    raise LookupError("refused")


PythonParser._raw_parse = refuse
"""

REFUSING = [*MEASURED, "-p", "parses_nothing", "tests/test_errors.py"]


def table_of(output: str) -> list[str]:
    """Return the lines of the table of coverage."""
    return re.findall(r"(?m)^(?:src|tests|TOTAL).*%.*$", output)


def test_a_file_that_has_not_changed_is_not_parsed_again(project: Pipeline) -> None:
    project.write("parses_nothing.py", PARSES_NOTHING)
    first = project.run([*MEASURED, "tests/test_errors.py"]).stdout

    again = project.run(REFUSING).stdout

    assert "Couldn't parse" not in again
    assert table_of(again) == table_of(first) != []


def test_a_file_that_has_changed_is_parsed_alone(project: Pipeline) -> None:
    project.write("parses_nothing.py", PARSES_NOTHING)
    project.run([*MEASURED, "tests/test_errors.py"])
    file = project.folder / "src/my_async_project/fan_out.py"
    file.write_text(file.read_text("utf-8") + "\n\nNUMBER = 1\n", "utf-8")

    again = project.run(REFUSING).stdout

    assert re.findall(r"Couldn't parse '(.+?)': (\w+)", again) == [(str(file), "refused")]


def test_what_is_kept_of_a_file_gives_the_same_figures(project: Pipeline) -> None:
    project.run([*MEASURED, "tests/test_errors.py"])

    kept = project.run([*MEASURED, "tests/test_errors.py"]).stdout
    parsed = project.run([*MEASURED, "-p", "no:cacheprovider", "tests/test_errors.py"]).stdout

    assert table_of(kept) == table_of(parsed) != []


def test_half_of_what_was_kept_is_as_good_as_nothing(project: Pipeline) -> None:
    first = project.run([*MEASURED, "tests/test_errors.py"]).stdout
    kept = list(project.folder.glob(".pytest_cache/d/guard-parsed/*.pickle"))
    assert len(kept) == 1
    kept[0].write_bytes(kept[0].read_bytes()[:1000])

    again = project.run([*MEASURED, "tests/test_errors.py"]).stdout

    assert table_of(again) == table_of(first) != []


def test_where_nothing_can_be_kept_all_is_parsed(project: Pipeline) -> None:
    first = project.run([*MEASURED, "tests/test_errors.py"]).stdout
    shutil.rmtree(project.folder / ".pytest_cache/d/guard-parsed")
    project.write(".pytest_cache/d/guard-parsed", "")

    again = project.run([*MEASURED, "tests/test_errors.py"]).stdout
    (project.folder / ".pytest_cache/d/guard-parsed").unlink()

    assert table_of(again) == table_of(first) != []


def test_garbage_is_collected_in_tests_as_ever(project: Pipeline) -> None:
    body = """
import gc


def test_it() -> None:
    assert gc.isenabled()
    assert gc.get_threshold()[0] > 0
"""

    assert "1 passed" in pytest_of(project, body)


def test_how_a_project_collects_garbage_stays(project: Pipeline) -> None:
    body = """
import gc

gc.set_threshold(12345, 6, 7)


def test_it() -> None:
    assert gc.get_threshold()[0] == 12345
"""

    assert "1 passed" in pytest_of(project, body)


def test_a_task_that_calls_mocks_for_ever_is_found_and_hangs_nothing(project: Pipeline) -> None:
    body = """
import asyncio
from unittest.mock import AsyncMock


async def poll(read: AsyncMock) -> None:
    while True:
        await read()
        await asyncio.sleep(0)


async def test_it() -> None:
    task = asyncio.create_task(poll(AsyncMock()))
    await asyncio.sleep(0)
    assert not task.done()
"""

    output = pytest_of(project, body, "--seeds=3")

    assert "leaked-task: the task poll, made at tests/test_it.py:13" in output
    assert "4 passed, 4 errors" in output


def test_an_error_in_a_task_that_something_keeps_is_told(project: Pipeline) -> None:
    body = """
import asyncio

KEPT = []


async def fail() -> None:
    raise LookupError("gone")


async def test_it() -> None:
    KEPT.append(asyncio.create_task(fail()))
    await asyncio.sleep(0)
    assert KEPT[-1].done()
"""

    output = pytest_of(project, body)

    assert "lost-error: nobody saw LookupError('gone'), raised at tests/test_it.py:8" in output


def test_an_error_that_the_project_reports_is_told_by_that_line(project: Pipeline) -> None:
    body = """
import asyncio


async def test_it() -> None:
    context = {"message": "failed", "exception": LookupError("gone")}
    asyncio.get_running_loop().call_exception_handler(context)
    assert context
"""

    assert "LookupError('gone'), reported at tests/test_it.py:7" in pytest_of(project, body)


def test_a_test_may_take_lost_errors_itself(project: Pipeline) -> None:
    body = """
import asyncio


async def test_it() -> None:
    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(str(context["exception"])))
    loop.call_soon(int, "x")
    await asyncio.sleep(0)
    assert told
"""

    assert "2 passed in" in pytest_of(project, body)


def source(project: Pipeline, code: str) -> str:
    """Write a module of the project, and return a test that awaits its function `run`."""
    project.write("src/my_async_project/it.py", code)
    body = "from my_async_project import it\n\n\nasync def test_it() -> None:\n"
    return f"{body}    assert await it.run() is None\n"


def test_a_statement_of_an_open_database_is_told(project: Pipeline) -> None:
    code = """
import asyncio
import sqlite3


async def run() -> None:
    connection = await asyncio.to_thread(sqlite3.connect, ":memory:", check_same_thread=False)
    connection.execute("SELECT 1")
    connection.close()
"""

    output = pytest_of(project, source(project, code))

    assert "a statement of sqlite3 stopped the loop at src/my_async_project/it.py:8" in output


def test_a_password_hashed_by_bcrypt_is_told(project: Pipeline) -> None:
    assert project.run("uv pip install --quiet --python .venv bcrypt").returncode == 0
    code = """
from bcrypt import checkpw, gensalt, hashpw


async def run() -> None:
    digest = hashpw(b"word", gensalt(4))
    checkpw(b"word", digest)
"""

    output = pytest_of(project, source(project, code))

    assert "bcrypt.hashpw stopped the loop at src/my_async_project/it.py:6" in output
    assert "bcrypt.checkpw stopped the loop at src/my_async_project/it.py:7" in output


def test_a_test_may_block(project: Pipeline) -> None:
    body = """
import time


async def test_it() -> None:
    time.sleep(0.001)
    assert time
"""

    assert "2 passed in" in pytest_of(project, body)


def test_a_line_is_told_once(project: Pipeline) -> None:
    code = """
import tempfile


async def run() -> None:
    tempfile.TemporaryDirectory().cleanup()
"""

    output = pytest_of(project, source(project, code), "--seeds=0")

    assert output.count("\nblocking-call: ") == 1


def test_a_lock_deep_in_a_module_is_told(project: Pipeline) -> None:
    body = """
import asyncio


class Cache:
    def __init__(self) -> None:
        self.locks: dict[str, asyncio.Lock] = {}


CACHE = Cache()


async def test_it() -> None:
    lock = CACHE.locks.setdefault("key", asyncio.Lock())

    async def wait() -> None:
        async with lock:
            await asyncio.sleep(0)

    await asyncio.gather(wait(), wait())
    assert not lock.locked()
"""

    output = pytest_of(project, body, "--seeds=0")

    assert "loop-state: Lock, waited for at tests/test_it.py:17, is kept by a module" in output


def test_a_process_that_is_dropped_is_told_once(project: Pipeline) -> None:
    body = """
import subprocess


def test_it() -> None:
    subprocess.Popen(["sleep", "0.5"])
    assert subprocess
"""

    output = pytest_of(project, body)

    assert "leaked-process: Popen, made at tests/test_it.py:6" in output
    assert "ResourceWarning" not in output


def test_a_task_that_a_library_keeps_is_no_finding(project: Pipeline) -> None:
    assert "2 passed in" in pytest_of(
        project, LEAK.replace("forever", "_shutdown_process_pool_on_exit")
    )


def test_what_a_session_fixture_leaves_fails_the_last_test(project: Pipeline) -> None:
    body = """
import threading

import pytest

END = threading.Event()


@pytest.fixture(scope="session")
def thread() -> threading.Thread:
    thread = threading.Thread(target=END.wait, args=(5,))
    thread.start()
    return thread


def test_one(thread: threading.Thread) -> None:
    assert thread.is_alive()


def test_two(thread: threading.Thread) -> None:
    assert thread.is_alive()
"""

    output = pytest_of(project, body, "-p", "no:randomly")

    assert "\n  test   tests/test_it.py::test_two\n" in output
    assert "leaked-thread: Thread, made at tests/test_it.py:12" in output


def test_a_daemon_that_a_library_starts_is_no_finding(project: Pipeline) -> None:
    library = project.folder / "site-packages"
    library.mkdir(exist_ok=True)
    (library / "daemons.py").write_text(
        "import threading\n\n\ndef start():\n"
        "    threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    body = "import daemons\n\n\ndef test_it() -> None:\n    assert daemons.start() is None\n"

    assert "1 passed in" in pytest_of(project, body, "-o", "pythonpath=. site-packages")


def test_a_pool_that_was_never_used_is_no_finding(project: Pipeline) -> None:
    body = """
from concurrent.futures import ThreadPoolExecutor

KEPT = []


def test_it() -> None:
    KEPT.append(ThreadPoolExecutor())
    assert KEPT
"""

    assert "1 passed in" in pytest_of(project, body)


def test_a_pool_that_only_refers_to_itself_is_no_finding(project: Pipeline) -> None:
    body = """
from concurrent.futures import ThreadPoolExecutor


class Owner:
    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(max_workers=1)
        self.itself = self


def test_it() -> None:
    assert Owner().pool.submit(abs, -3).result() == 3
"""

    assert "1 passed in" in pytest_of(project, body)


def test_a_variable_that_stays_is_told_of_one_test(project: Pipeline) -> None:
    body = """
import os


def test_leaves() -> None:
    os.environ["LEFT"] = "set"
    assert os.environ["LEFT"]


def test_next() -> None:
    assert "LEFT" not in os.environ
"""

    assert "2 passed, 1 error" in pytest_of(project, body, "-p", "no:randomly")


def test_mocks_answer_at_once_in_the_usual_order(project: Pipeline) -> None:
    body = """
import asyncio
from unittest.mock import AsyncMock


async def test_it() -> None:
    task = asyncio.create_task(AsyncMock(return_value=1)())
    await asyncio.sleep(0)
    assert await task == 1
"""

    assert "1 passed in" in pytest_of(project, body, "--seeds=0")


# A module that is neither in src nor in tests is that of a library to the guard.
LIBRARY = """
import asyncio

KEPT = []


def fill(queue):
    queue.put_nowait(1)


def start(callback):
    asyncio.get_running_loop().call_later(60, callback)
"""


def test_what_a_library_does_in_a_thread_is_no_finding(project: Pipeline) -> None:
    project.write("library.py", LIBRARY)
    code = """
import asyncio

import library


async def run() -> None:
    queue = asyncio.Queue()
    await asyncio.to_thread(lambda: library.fill(queue))
    await queue.get()
"""

    assert "2 passed in" in pytest_of(project, source(project, code))


def test_what_a_library_keeps_is_no_finding(project: Pipeline) -> None:
    project.write("library.py", LIBRARY)
    body = """
import asyncio

import library


async def test_it() -> None:
    lock = asyncio.Lock()
    library.KEPT.append(lock)

    async def wait() -> None:
        async with lock:
            await asyncio.sleep(0)

    await asyncio.gather(wait(), wait())
    assert not lock.locked()
"""

    assert "2 passed in" in pytest_of(project, body)


def test_a_timer_of_a_library_is_no_finding(project: Pipeline) -> None:
    project.write("library.py", LIBRARY)
    code = """
import library


async def run() -> None:
    library.start(lambda: None)
"""

    assert "2 passed in" in pytest_of(project, source(project, code))


def test_a_timer_of_a_partial_function_is_told(project: Pipeline) -> None:
    code = """
import asyncio
import functools


def late(number: int) -> int:
    return number


async def run() -> None:
    asyncio.get_running_loop().call_later(60, functools.partial(late, 1))
"""

    output = pytest_of(project, source(project, code))

    assert "leaked-timer: the timer of late, made at src/my_async_project/it.py:11" in output


def test_a_timer_that_drops_an_entry_is_no_finding(project: Pipeline) -> None:
    code = """
import asyncio

CACHE = {"key": 1}


async def run() -> None:
    asyncio.get_running_loop().call_later(60, CACHE.pop, "key", None)
"""

    assert "2 passed in" in pytest_of(project, source(project, code))


def test_a_timer_that_is_cancelled_behind_another_is_no_finding(project: Pipeline) -> None:
    code = """
import asyncio


async def run() -> None:
    asyncio.get_running_loop().call_later(60, lambda: None).cancel()
"""
    first = "    asyncio.get_running_loop().call_later(30, print)\n"
    body = f"import asyncio\n\n{source(project, code)}".replace("    assert", f"{first}    assert")

    assert "2 passed in" in pytest_of(project, body)


def test_a_loop_that_does_not_run_may_be_told(project: Pipeline) -> None:
    body = """
import asyncio

import pytest


@pytest.fixture
async def future() -> asyncio.Future[int]:
    return asyncio.get_running_loop().create_future()


def test_it(future: asyncio.Future[int]) -> None:
    future.set_result(1)
    assert future.result() == 1
"""

    assert "1 passed in" in pytest_of(project, body)


def test_what_pytest_calls_or_a_base_is_no_test(project: Pipeline) -> None:
    body = """
import unittest
from collections.abc import Callable

import pytest

CHECKS: list[Callable[[], None]] = []


def setup_module() -> None:
    assert CHECKS


@pytest.fixture(autouse=True)
def something_is_checked() -> None:
    assert CHECKS


@CHECKS.append
def checked() -> None:
    assert CHECKS


class Sums(unittest.TestCase):
    def test_sum(self) -> None:
        self.assertEqual(sum([1, 2]), 3)


def test_it() -> None:
    assert CHECKS
"""

    assert "2 passed in" in pytest_of(project, body)


def outcomes(project: Pipeline, body: str) -> set[str]:
    """Return what a test prints in sixty schedules."""
    options = ["-s", "--seeds=60", "--randomly-seed=7", "-k", "seed"]
    output = pytest_of(project, body, *options)

    assert "60 passed, 1 deselected in" in output
    return {line.partition("> ")[2] for line in output.splitlines() if "> " in line}


def test_steps_come_before_and_after_a_callback_in_any_order(project: Pipeline) -> None:
    body = """
import asyncio


async def test_it() -> None:
    order: list[str] = []

    async def note(name: str) -> None:
        order.append(name)

    tasks = [asyncio.create_task(note(name)) for name in "ab"]
    asyncio.get_running_loop().call_soon(order.append, "-")
    await asyncio.gather(*tasks)
    print(">", "".join(order))
    assert order
"""

    assert outcomes(project, body) == {"ab-", "ba-", "a-b", "b-a", "-ab", "-ba"}


MOCK = """
import asyncio
from unittest.mock import AsyncMock


async def test_it() -> None:
    order: list[str] = []
    mock = AsyncMock(side_effect=lambda: order.append("c"))

    async def call() -> None:
        order.append("b")
        await mock()
        order.append("a")

    async def work() -> None:
        for _ in range(5):
            order.append(".")
            await asyncio.sleep(0)

    await asyncio.gather(call(), work())
    print(">", "".join(order))
    assert order
"""


def test_a_mock_pauses_before_its_answer_and_after_it(project: Pipeline) -> None:
    found = outcomes(project, MOCK)

    assert [order for order in found if "b.c" in order]
    assert [order for order in found if "c.a" in order]
    assert [order for order in found if "bca" in order]


def test_a_file_of_doctests_is_no_file_of_tests(project: Pipeline) -> None:
    project.write("tests/test_numbers.txt", "class Unwritten is no Python.\n\n>>> 1 + 1\n2\n")

    output = pytest_of(project, "def test_it() -> None:\n    assert sum([1]) == 1\n", "tests")

    assert "error" not in output.splitlines()[-1]
    assert "INTERNALERROR" not in output


def test_a_task_that_is_collected_while_it_waits_is_told(project: Pipeline) -> None:
    body = """
import asyncio
import gc


async def forever() -> None:
    await asyncio.Event().wait()


async def test_it() -> None:
    asyncio.get_running_loop().create_task(forever())
    await asyncio.sleep(0)
    gc.unfreeze()
    assert gc.collect()
"""

    output = pytest_of(project, body)

    assert "leaked-task: the task forever, made at tests/test_it.py:11" in output


def test_a_generator_that_something_keeps_is_told(project: Pipeline) -> None:
    body = """
from collections.abc import AsyncIterator

KEPT: list[AsyncIterator[int]] = []


async def numbers() -> AsyncIterator[int]:
    yield 1
    yield 2


async def test_it() -> None:
    KEPT.append(numbers())
    assert await anext(KEPT[-1]) == 1
"""

    assert "leaked-generator: numbers, used at tests/test_it.py:14" in pytest_of(project, body)


def test_whatever_a_loop_opens_must_be_closed(project: Pipeline) -> None:
    body = """
import asyncio
import os
from pathlib import Path

KEPT: list[object] = []


async def test_it(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    path = str(tmp_path / "socket")
    read, write = os.pipe()
    KEPT.append(await loop.create_unix_server(asyncio.Protocol, path))
    KEPT.append(await loop.create_unix_connection(asyncio.Protocol, path))
    KEPT.append(
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    )
    KEPT.append(await loop.connect_read_pipe(asyncio.Protocol, os.fdopen(read)))
    KEPT.append(await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(write, "w")))
    assert KEPT
"""

    output = pytest_of(project, body, "--seeds=0")

    for line, name in [
        (13, "server: Server"),
        (14, "transport: SelectorSocketTransport"),
        (16, "transport: SelectorDatagramTransport"),
        (18, "transport: UnixReadPipeTransport"),
        (19, "transport: UnixWritePipeTransport"),
    ]:
        assert f"leaked-{name}, made at tests/test_it.py:{line}, was not closed" in output


def test_a_pool_or_a_child_that_something_keeps_is_told(project: Pipeline) -> None:
    body = """
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

KEPT: list[object] = []
SPAWN = multiprocessing.get_context("spawn")


def test_it() -> None:
    threads = ThreadPoolExecutor(1)
    assert threads.submit(abs, -3).result() == 3
    processes = ProcessPoolExecutor(1, mp_context=SPAWN)
    assert processes.submit(abs, -3).result() == 3
    child = SPAWN.Process(target=time.sleep, args=(3,))
    child.start()
    KEPT.extend([threads, processes, child])
"""

    output = pytest_of(project, body)

    assert "leaked-thread: ThreadPoolExecutor, made at tests/test_it.py:11" in output
    assert "leaked-process: ProcessPoolExecutor, made at tests/test_it.py:13" in output
    assert "leaked-process: SpawnProcess, made at tests/test_it.py:16" in output


def test_a_thread_that_is_about_to_end_is_no_finding(project: Pipeline) -> None:
    body = """
import threading
import time


def test_it() -> None:
    threading.Thread(target=time.sleep, args=(0.2,)).start()
    assert threading
"""

    assert "1 passed in" in pytest_of(project, body)


def test_what_is_found_stands_beside_an_error_in_a_fixture(project: Pipeline) -> None:
    body = LEAK.replace(
        "async def test_leak() -> None:",
        """@pytest.fixture
def broken() -> Iterator[None]:
    yield
    raise LookupError("broken")


async def test_leak(broken: None) -> None:""",
    ).replace("import asyncio\n", "import asyncio\nfrom collections.abc import Iterator\n", 1)

    output = pytest_of(project, body)

    assert "LookupError: broken" in output
    assert "leaked-task: the task forever" in output


def test_a_dependency_that_takes_long_to_import_is_no_finding(project: Pipeline) -> None:
    project.write("long_library.py", LONG)
    settings = (project.folder / "pyproject.toml").read_text()
    project.write(
        "pyproject.toml",
        settings.replace("\ndependencies = [", '\ndependencies = [\n    "long-library",', 1),
    )
    code = """
async def run() -> None:
    import long_library  # noqa: F401, PLC0415
"""

    assert "2 passed in" in pytest_of(project, source(project, code))
