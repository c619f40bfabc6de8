"""Blocking and computing work, awaited but off the event loop."""

import asyncio
import hashlib
import multiprocessing
import os
import signal
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import (
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from concurrent.futures.process import BrokenProcessPool
from contextvars import copy_context
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple, Unpack

from ..cancellation import end, result_of
from ..threads import call, in_thread
from .checks import at_least_one

Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

# ProcessPoolExecutor takes no more on Windows; nobody has more cores
# there.
MOST_PROCESSES = 61


async def file_digest(
    path: str | Path,
    algorithm: str = "sha256",
) -> str:
    """Return the digest of a file in hexadecimal digits.

    The file is read in a thread of the event loop's own pool, a piece
    at a time. A cancelled call returns at once; its thread reads to the
    end.

    Raises:
        OSError: The file cannot be read.
        ValueError: There is no such algorithm.
    """

    def read() -> str:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()

    return await asyncio.to_thread(read)


class _Pool:
    """What pools of threads and of processes have in common."""

    def __init__(self, size: int) -> None:
        at_least_one(size=size)
        self.size = size
        self._executor: Executor | None = None
        self._calls: set[Future[Any]] = set()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the pool; closing twice is fine."""
        executor, self._executor = self._executor, None
        if executor is not None:
            shutdown = partial(executor.shutdown, cancel_futures=True)
            await in_thread(shutdown)

    async def run(
        self,
        function: Callable[[Unpack[Arguments]], Result],
        *arguments: *Arguments,
    ) -> Result:
        """Return what the function returns, called in the pool.

        A call that is cancelled while it waits for its turn never runs.
        One that is under way, or has been handed to a process as the
        next, cannot be stopped: it runs, and its result is dropped.

        Raises:
            RuntimeError: The pool is not open.
            WorkCancelledError: The pool was closed before its turn
                came.
            Exception: What the function raised.
        """
        if self._executor is None:
            raise RuntimeError("the pool is not open: use `async with`")
        future = self._executor.submit(call, function, *arguments)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return await result_of(asyncio.wrap_future(future))

    async def as_completed(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
    ) -> AsyncGenerator[tuple[Item, Result], None]:
        """Yield each item with what the function returns for it.

        They come as they are ready, whatever their order. Items are
        taken as calls end, two for each thread or process, so that a
        long iterator is fine. The first failure, or leaving early,
        cancels the calls that are waiting.

        Raises:
            RuntimeError: The pool is not open.
            Exception: What the function or the iterator raised.
        """

        async def run(item: Item) -> tuple[Item, Result]:
            return item, await self.run(function, item)

        waiting = iter(items)
        calls: set[asyncio.Task[tuple[Item, Result]]] = set()
        try:
            while True:
                for item in islice(waiting, 2 * self.size - len(calls)):
                    calls.add(asyncio.create_task(run(item)))
                if not calls:
                    return
                done, _ = await asyncio.wait(
                    calls,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                first = done.pop()
                calls.remove(first)
                yield first.result()
        finally:
            await end(calls)


class ThreadPool(_Pool):
    """Threads for blocking calls: files, databases, old libraries.

        async with ThreadPool(8) as pool:
            rows = await pool.run(old_library.read, path)

    Leaving the context drops the calls that wait, and waits for those
    that are under way: a thread cannot be stopped from outside.

    Args:
        size: How many threads; by default as many as asyncio itself
            takes: four more than processors, at most 32.

    Raises:
        ValueError: The size is below 1.
    """

    def __init__(self, size: int | None = None) -> None:
        if size is None:
            size = min(32, _processors() + 4)
        super().__init__(size)

    async def __aenter__(self) -> Self:
        self._executor = ThreadPoolExecutor(self.size)
        return self

    async def run(
        self,
        function: Callable[[Unpack[Arguments]], Result],
        *arguments: *Arguments,
    ) -> Result:
        """As in every pool, with the caller's context variables."""
        context = copy_context()
        return await super().run(
            partial(context.run, function, *arguments),
        )


class ProcessPool(_Pool):
    """Processes for computing in Python, which keeps a thread's GIL.

        async with ProcessPool(4) as pool:
            primes = await pool.run(count_primes, 10_000_000)

    Functions, arguments and results are pickled: the functions must be
    importable, so no lambdas and no nested ones. Processes are spawned,
    never forked: a fork copies locks that other threads hold, for ever
    locked. They are started with the first calls and then used again.

    Leaving the context ends the processes, also those that are
    computing.

    Args:
        size: How many processes; by default as many as processors.

    Raises:
        ValueError: The size is below 1, or above 61.
    """

    def __init__(self, size: int | None = None) -> None:
        if size is None:
            size = min(MOST_PROCESSES, _processors())
        if size > MOST_PROCESSES:
            raise ValueError(
                f"size must be at most {MOST_PROCESSES}, not {size}",
            )
        super().__init__(size)
        self._processes: ProcessPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        self._executor = self._processes = self._start()
        return self

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self.size,
            mp_context=multiprocessing.get_context("spawn"),
            # Ctrl-C reaches all processes of a terminal at once. This
            # one ends the others.
            initializer=signal.signal,
            initargs=(signal.SIGINT, signal.SIG_IGN),
        )

    async def run(
        self,
        function: Callable[[Unpack[Arguments]], Result],
        *arguments: *Arguments,
    ) -> Result:
        """As in every pool.

        Raises:
            BrokenProcessPool: A process died, or an error came that
                cannot be unpickled. It ends all calls under way; later
                ones get new processes.
        """
        executor = self._processes
        try:
            return await super().run(function, *arguments)
        except BrokenProcessPool:
            if executor is not None and self._processes is executor:
                self._executor = self._processes = self._start()
                await in_thread(executor.shutdown)
            raise

    async def close(self) -> None:
        """End all processes, computing or not; twice is fine."""
        executor, self._processes = self._processes, None
        if executor is not None and self._calls:
            # As terminate_workers() does, which came with Python 3.14.
            for process in list(executor._processes.values()):
                process.terminate()
        await super().close()


def _processors() -> int:
    return os.cpu_count() or 1
