"""Tests of the pools of threads and processes, with real ones."""

import asyncio
import contextlib
import contextvars
import hashlib
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import pytest_asyncio

from tests.queues import jobs
from tests.subject import queues

pytestmark = pytest.mark.integration


@pytest.fixture
async def threads() -> AsyncIterator[queues.ThreadPool]:
    """Return a pool of two threads."""
    async with queues.ThreadPool(2) as threads:
        yield threads


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def processes() -> AsyncIterator[queues.ProcessPool]:
    """Return a pool of one process, which takes a while to start."""
    async with queues.ProcessPool(1) as processes:
        yield processes


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """Return a named pipe, at which each end waits for the other."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    return pipe


async def test_the_digest_of_a_file_is_computed(
    tmp_path: Path,
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")

    digest = await queues.file_digest(file)

    assert digest == hashlib.sha256(b"content").hexdigest()


async def test_the_digest_of_a_missing_file_is_an_error(
    tmp_path: Path,
) -> None:
    with pytest.raises(FileNotFoundError):
        await queues.file_digest(tmp_path / "missing")


async def test_an_unknown_kind_of_digest_is_refused(
    tmp_path: Path,
) -> None:
    file = tmp_path / "file"
    file.touch()

    with pytest.raises(ValueError, match="unsupported hash"):
        await queues.file_digest(file, "md1")


async def test_a_call_runs_in_another_thread(
    threads: queues.ThreadPool,
) -> None:
    thread = await threads.run(threading.get_ident)

    assert thread != threading.get_ident()


async def test_a_thread_has_the_context_variables_of_its_caller(
    threads: queues.ThreadPool,
) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")

    assert await threads.run(variable.get) == "set"


async def test_calls_in_threads_overlap(
    threads: queues.ThreadPool,
) -> None:
    both = threading.Barrier(2)

    order = await asyncio.gather(
        threads.run(both.wait, 20),
        threads.run(both.wait, 20),
    )

    assert sorted(order) == [0, 1]


async def test_the_event_loop_goes_on_meanwhile(
    threads: queues.ThreadPool,
) -> None:
    gate = threading.Event()

    call = asyncio.create_task(threads.run(gate.wait, 20))
    await asyncio.sleep(0)
    gate.set()

    assert await call


async def test_no_more_calls_run_at_once_than_threads(
    threads: queues.ThreadPool,
) -> None:
    gate = threading.Event()
    started = threading.Semaphore(0)

    def work() -> bool:
        started.release()
        return gate.wait(20)

    calls = [asyncio.create_task(threads.run(work)) for _ in range(5)]
    await asyncio.to_thread(started.acquire)
    await asyncio.to_thread(started.acquire)
    third = started.acquire(blocking=False)
    gate.set()
    await asyncio.gather(*calls)

    assert not third


async def test_an_error_in_a_thread_is_raised(
    threads: queues.ThreadPool,
) -> None:
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 1, 0)


@pytest.mark.looptime
async def test_a_call_cancelled_before_its_turn_never_runs() -> None:
    gate = threading.Event()
    log: list[str] = []

    async with queues.ThreadPool(1) as threads:
        first = asyncio.create_task(threads.run(gate.wait, 20))
        await asyncio.sleep(1)
        second = asyncio.create_task(threads.run(log.append, "ran"))
        await asyncio.sleep(1)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.set()
        await first

    assert log == []


async def test_leaving_waits_for_threads_under_way() -> None:
    gate = threading.Event()
    started = threading.Event()
    log: list[str] = []

    def work() -> None:
        started.set()
        gate.wait(20)
        log.append("done")

    async with queues.ThreadPool(1) as threads:
        call = asyncio.create_task(threads.run(work))
        await asyncio.to_thread(started.wait, 20)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        asyncio.get_running_loop().call_soon(gate.set)

    assert log == ["done"]


@pytest.mark.looptime
async def test_a_call_that_closing_drops_says_so() -> None:
    gate = threading.Event()
    started = threading.Event()

    def work() -> bool:
        started.set()
        return gate.wait(20)

    async with queues.ThreadPool(1) as threads:
        first = asyncio.create_task(threads.run(work))
        await asyncio.to_thread(started.wait, 20)
        second = asyncio.create_task(threads.run(work))
        await asyncio.sleep(1)
        second.add_done_callback(lambda _: gate.set())

    assert await first
    with pytest.raises(queues.WorkCancelledError):
        await second


async def test_results_come_as_they_are_ready(
    threads: queues.ThreadPool,
) -> None:
    gates = {"slow": threading.Event(), "fast": threading.Event()}
    gates["fast"].set()
    order = []

    def work(name: str) -> bool:
        return gates[name].wait(20)

    calls = threads.as_completed(work, ["slow", "fast"])
    async for name, result in calls:
        order.append((name, result))
        gates["slow"].set()

    assert order == [("fast", True), ("slow", True)]


async def test_no_items_complete_as_nothing(
    threads: queues.ThreadPool,
) -> None:
    calls = threads.as_completed(abs, range(0))

    assert [item async for item, _ in calls] == []


async def test_items_are_taken_as_calls_end(
    threads: queues.ThreadPool,
) -> None:
    numbers = iter(range(1000))

    calls = threads.as_completed(str, numbers)
    async with contextlib.aclosing(calls):
        await anext(calls)

    assert next(numbers) == 4


async def test_many_items_are_all_completed(
    threads: queues.ThreadPool,
) -> None:
    calls = threads.as_completed(math.factorial, range(20))

    results = {item: result async for item, result in calls}

    assert len(results) == 20
    assert results[10] == 3628800


async def test_the_first_failure_is_raised(
    threads: queues.ThreadPool,
) -> None:
    calls = threads.as_completed(int, ["one", "two", "three"])

    with pytest.raises(ValueError, match="invalid literal"):
        await anext(calls)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_call_runs_in_another_process(
    processes: queues.ProcessPool,
) -> None:
    assert await processes.run(os.getpid) != os.getpid()


@pytest.mark.asyncio(loop_scope="module")
async def test_processes_leave_ctrl_c_to_the_one_that_started_them(
    processes: queues.ProcessPool,
) -> None:
    handler = await processes.run(signal.getsignal, signal.SIGINT)

    assert handler is signal.SIG_IGN


@pytest.mark.asyncio(loop_scope="module")
async def test_processes_are_used_again(
    processes: queues.ProcessPool,
) -> None:
    first = await processes.run(os.getpid)

    assert await processes.run(os.getpid) == first


@pytest.mark.asyncio(loop_scope="module")
async def test_processes_are_spawned_and_not_forked(
    processes: queues.ProcessPool,
) -> None:
    await processes.run(os.getpid)

    children = multiprocessing.active_children()
    assert [type(each).__name__ for each in children] == [
        "SpawnProcess",
    ]


@pytest.mark.asyncio(loop_scope="module")
async def test_results_of_processes_come_back(
    processes: queues.ProcessPool,
) -> None:
    calls = processes.as_completed(math.factorial, [3, 4])

    assert {item: result async for item, result in calls} == {
        3: 6,
        4: 24,
    }


@pytest.mark.asyncio(loop_scope="module")
async def test_an_error_in_a_process_is_raised(
    processes: queues.ProcessPool,
) -> None:
    with pytest.raises(ZeroDivisionError):
        await processes.run(divmod, 1, 0)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_function_that_cannot_be_sent_is_an_error(
    processes: queues.ProcessPool,
) -> None:
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        await processes.run(threading.Lock().acquire)


async def test_leaving_stops_a_process_under_way(
    pipe: Path,
) -> None:
    before = multiprocessing.active_children()

    async with queues.ProcessPool(1) as processes:
        call = asyncio.create_task(processes.run(pipe.read_bytes))
        writer = await asyncio.to_thread(pipe.open, "wb")
    writer.close()

    with pytest.raises(BrokenProcessPool):
        await call
    assert multiprocessing.active_children() == before


async def test_leaving_stops_a_process_whose_call_was_cancelled(
    pipe: Path,
) -> None:
    before = multiprocessing.active_children()

    async with queues.ProcessPool(1) as processes:
        call = asyncio.create_task(processes.run(pipe.read_bytes))
        writer = await asyncio.to_thread(pipe.open, "wb")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    writer.close()

    assert multiprocessing.active_children() == before


async def test_a_process_that_dies_is_an_error() -> None:
    async with queues.ProcessPool(1) as processes:
        with pytest.raises(BrokenProcessPool):
            await processes.run(os._exit, 3)


@pytest.mark.slow
async def test_a_pool_goes_on_after_a_process_that_died() -> None:
    async with queues.ProcessPool(1) as processes:
        for function in (jobs.raise_unpicklable, os.abort):
            with pytest.raises(BrokenProcessPool):
                await processes.run(function)
        result = await processes.run(abs, -3)

    assert result == 3


async def test_the_end_of_an_iterator_is_an_error(
    threads: queues.ThreadPool,
) -> None:
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await threads.run(next, iter([]))


@pytest.mark.asyncio(loop_scope="module")
async def test_the_end_of_an_iterator_in_a_process_is_an_error(
    processes: queues.ProcessPool,
) -> None:
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await processes.run(next, iter([]))


async def test_a_pool_that_is_cancelled_twice_ends_its_threads_first(
    pipe: Path,
) -> None:
    pool = queues.ThreadPool(1)
    await pool.__aenter__()
    call = asyncio.create_task(pool.run(pipe.read_bytes))
    await asyncio.to_thread(lambda: None)
    closing = asyncio.create_task(pool.close())
    for _ in range(2):
        await asyncio.to_thread(lambda: None)
        closing.cancel()

    await asyncio.to_thread(pipe.write_bytes, b"end")
    with pytest.raises(asyncio.CancelledError):
        await closing

    assert await call == b"end"


@pytest.mark.parametrize(
    "pool",
    [queues.ThreadPool(), queues.ProcessPool()],
)
async def test_use_before_opening_and_after_closing_is_refused(
    pool: queues.ThreadPool | queues.ProcessPool,
) -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await pool.run(os.getpid)
    async with pool:
        pass
    await pool.close()
    with pytest.raises(RuntimeError, match="not open"):
        await pool.run(os.getpid)


@pytest.mark.parametrize(
    "pool",
    [queues.ThreadPool, queues.ProcessPool],
)
def test_a_size_below_one_is_refused(
    pool: type[queues.ThreadPool] | type[queues.ProcessPool],
) -> None:
    with pytest.raises(ValueError, match="size must be at least 1"):
        pool(0)


def test_more_processes_than_windows_allows_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 61, not 62"):
        queues.ProcessPool(62)


def test_pools_are_as_large_as_the_machine_allows() -> None:
    assert queues.ProcessPool().size >= 1
    assert queues.ThreadPool().size > queues.ProcessPool().size
