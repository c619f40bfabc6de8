"""What the systems cost: each against the plainest code that does the same, as a ratio within one run.

Run by the Python of a project of all examples, see benchmarks/project.py. The ways that are compared
take turns, so that a busy machine slows all of them, and their medians are compared.
"""

import asyncio
import json
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import aiohttp
from my_async_project.clients import (
    AsyncModelClient,
    UserAPIClient,
    fetch_all_models,
    fetch_all_models_sequentially,
)
from my_async_project.demo.model_server import ModelAPI
from my_async_project.fan_out import fan_out
from my_async_project.queues import AsyncTaskQueue, QueueProcessor
from my_async_project.workers import TaskClient, make_broker

ROUNDS = 7
REQUESTS = 5_000
REQUESTS_AT_ONCE = 50
TIME_LIMIT = aiohttp.ClientTimeout(total=300)
TASKS = 20_000
TASKS_AT_ONCE = 10
MODELS = 10
MODEL_SECONDS = 0.25
WORKER_TASKS = 500
WORKER_TASKS_AT_ONCE = 50

Way = Callable[[], Awaitable[object]]


def main() -> int:
    """Print every ratio with its limit, and return 1 if one is broken, else 0."""
    results = [
        *compare_requests(),
        *compare_task_queue(),
        *compare_memory(),
        *compare_producers_and_consumers(),
        *compare_metadata(),
        *compare_workers(),
    ]
    return int(not all(results))


def report(name: str, ratio: float, *, least: float = 0, most: float = float("inf")) -> bool:
    """Print a ratio, and return whether it is within its limits."""
    good = least <= ratio <= most
    limits = f" (at least {least})" if least else f" (at most {most})" if most < 100 else ""
    print(f"{name}: {ratio:.2f}{limits}{'' if good else ' BROKEN'}", flush=True)
    return good


def medians(ways: dict[str, Way], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median seconds of each way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(seconds_of(way))
    return {name: statistics.median(values) for name, values in seconds.items()}


def seconds_of(way: Way) -> float:
    """Return how long a way takes in a loop of its own."""

    async def timed() -> float:
        start = time.perf_counter()
        await way()
        return time.perf_counter() - start

    return asyncio.run(timed())


# Fan-out of requests.


class UserServer(asyncio.Protocol):
    """Answers a request for /users/<id> at once, so that what is measured is the client."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer a request, which comes in one piece."""
        number = int(data.split(b" ", 2)[1].rpartition(b"/")[2])
        user = {"id": number, "name": "Ada", "email": "ada@example.com"}
        body = json.dumps(user).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self.transport.write(head % len(body) + body)


def serve_users(pipe: "Connection[str, None]") -> None:
    """Serve on a free port of loopback, and send its address, until the process is ended."""

    async def forever() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(UserServer, "127.0.0.1", 0)
        pipe.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await server.serve_forever()

    asyncio.run(forever())


async def request_by_client(url: str) -> None:
    """Fetch all users by the project's client."""
    async with UserAPIClient(url) as client:
        await client.fetch_multiple_users(range(REQUESTS), limit=REQUESTS_AT_ONCE)


async def request_by_aiohttp(url: str) -> None:
    """Fetch all users over one session."""
    limit = asyncio.Semaphore(REQUESTS_AT_ONCE)
    async with aiohttp.ClientSession(timeout=TIME_LIMIT) as session:

        async def fetch(number: int) -> object:
            async with limit, session.get(f"{url}/users/{number}") as response:
                response.raise_for_status()
                return await response.json()

        await asyncio.gather(*(fetch(number) for number in range(REQUESTS)))


async def request_by_session_each(url: str) -> None:
    """Fetch all users, each over a session of its own: the usual mistake."""
    limit = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def fetch(number: int) -> object:
        async with (
            limit,
            aiohttp.ClientSession(timeout=TIME_LIMIT) as session,
            session.get(f"{url}/users/{number}") as response,
        ):
            response.raise_for_status()
            return await response.json()

    await asyncio.gather(*(fetch(number) for number in range(REQUESTS)))


def compare_requests() -> Iterator[bool]:
    """Compare the client's throughput with that of bare aiohttp."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve_users, args=(theirs,), daemon=True)
    server.start()
    try:
        url = ours.recv()
        took = medians(
            {
                "client": partial(request_by_client, url),
                "aiohttp": partial(request_by_aiohttp, url),
                "session each": partial(request_by_session_each, url),
            }
        )
    finally:
        server.terminate()
    print(f"{REQUESTS} requests: {REQUESTS / took['client']:.0f} a second")
    yield report("throughput over bare aiohttp", took["aiohttp"] / took["client"], least=0.9)
    yield report("over a session a call", took["session each"] / took["client"], least=1.5)


# The task queue.


async def work() -> None:
    """Be a task that waits once, as any task of an async program does."""
    await asyncio.sleep(0)


async def run_in_group(count: int) -> None:
    """Run tasks in a TaskGroup behind a semaphore."""
    limit = asyncio.Semaphore(TASKS_AT_ONCE)

    async def run() -> None:
        async with limit:
            await work()

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(run())


async def run_in_queue(count: int) -> None:
    """Run tasks in the project's queue."""
    queue = AsyncTaskQueue(TASKS_AT_ONCE)
    await queue.process_all(("task", work) for _ in range(count))


async def stream_from_queue(count: int) -> None:
    """Run tasks in the project's queue, and keep no result."""
    queue = AsyncTaskQueue(TASKS_AT_ONCE)
    async for _ in queue.stream(("task", work) for _ in range(count)):
        pass


def compare_task_queue() -> Iterator[bool]:
    """Compare the queue's time a task with that of a bare TaskGroup."""
    took = medians(
        {
            "group": partial(run_in_group, TASKS),
            "all": partial(run_in_queue, TASKS),
            "stream": partial(stream_from_queue, TASKS),
        }
    )
    print(f"{TASKS} tasks: {took['all'] / TASKS * 1e6:.1f} microseconds each")
    yield report("process_all over a TaskGroup", took["all"] / took["group"], most=1.2)
    yield report("stream over a TaskGroup", took["stream"] / took["group"], most=1.2)


def compare_memory() -> Iterator[bool]:
    """Compare the memory of many tasks with that of few, each in a process of its own."""
    peaks = {}
    for count in (10_000, 100_000, 1_000_000):
        command = [sys.executable, str(Path(__file__).with_name("memory.py")), str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks[count] = int(done.stdout)
        print(f"{count} tasks streamed: {peaks[count] / 1024:.0f} MiB at most")
    yield report("memory of 10^6 over 10^4 tasks", peaks[1_000_000] / peaks[10_000], most=1.5)


# Producers and consumers.


async def consume(_: int) -> None:
    """Process an item."""
    await asyncio.sleep(0)


async def process_by_processor() -> None:
    """Process items by the project's processor."""
    processor = QueueProcessor(consume, consumers=4, queue_size=100)
    await processor.process_all(range(TASKS))


async def process_by_queue() -> None:
    """Process items by a bare queue and four consumers."""
    queue: asyncio.Queue[int | None] = asyncio.Queue(100)

    async def consumer() -> None:
        while (item := await queue.get()) is not None:
            await consume(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(consumer())
        for item in [*range(TASKS), None, None, None, None]:
            await queue.put(item)


def compare_producers_and_consumers() -> Iterator[bool]:
    """Compare items a second with those of a bare queue."""
    took = medians({"processor": process_by_processor, "queue": process_by_queue})
    yield report("items a second over a bare queue", took["queue"] / took["processor"])


# Metadata of many models.


def compare_metadata() -> Iterator[bool]:
    """Compare one by one with all at once; the ideal is as many times as fast as there are models."""

    async def measure() -> list[float]:
        api = ModelAPI()
        names = [f"model-{number}" for number in range(MODELS)]
        async with api.serve(), AsyncModelClient(api.base_url) as client:
            await fetch_all_models(client, names, limit=MODELS)
            api.delay = MODEL_SECONDS
            ratios = []
            for _ in range(3):
                start = time.perf_counter()
                await fetch_all_models_sequentially(client, names)
                middle = time.perf_counter()
                await fetch_all_models(client, names, limit=MODELS)
                end = time.perf_counter()
                ratios.append((middle - start) / (end - middle))
            return ratios

    speed_up = statistics.median(asyncio.run(measure())) / MODELS
    yield report("speed-up of metadata over the ideal", speed_up, least=0.9)


# Workers.


async def run_many(client: TaskClient) -> None:
    """Run tasks, many at a time."""

    async def run(number: int) -> object:
        return await client.run("summarise", {"numbers": [number, 2.0]}, 60)

    await fan_out(run, range(WORKER_TASKS), limit=WORKER_TASKS_AT_ONCE)


def tasks_a_second(redis_url: str) -> float:
    """Return how many tasks are run in a second, in memory without a Redis."""

    async def measure() -> float:
        async with TaskClient(make_broker(redis_url=redis_url), poll_interval=0.005) as client:
            await client.run("summarise", {"numbers": [1.0, 2.0]}, 60)
            start = time.perf_counter()
            await run_many(client)
            return WORKER_TASKS / (time.perf_counter() - start)

    return asyncio.run(measure())


@contextmanager
def running(*command: str, **variables: str) -> Iterator[None]:
    """Run a program while the context lasts."""
    with subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.terminate()


def compare_workers() -> Iterator[bool]:
    """Compare tasks a second in memory, with one and with two workers over Redis."""
    in_memory = tasks_a_second("")
    print(f"workers in memory: {in_memory:.0f} tasks a second")
    if shutil.which("redis-server") is None:
        print("workers over Redis: not measured, for there is no redis-server")
        return
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    url = f"redis://127.0.0.1:{port}"
    worker = [sys.executable, "-m", "my_async_project.workers"]
    with tempfile.TemporaryDirectory() as folder:
        redis = [
            "redis-server",
            "--bind",
            "127.0.0.1",
            "--port",
            port,
            "--dir",
            folder,
            "--save",
            "",
        ]
        with running(*redis):
            wait_for_port(int(port))
            with running(*worker, REDIS_URL=url):
                one = tasks_a_second(url)
                with running(*worker, REDIS_URL=url):
                    # The second one has to import the same as this process just did.
                    time.sleep(3)
                    two = tasks_a_second(url)
    print(f"over Redis: {one:.0f} a second by one worker, {two:.0f} by two")
    yield report("one worker over Redis over memory", one / in_memory)
    yield report("two workers over one", two / one)


def wait_for_port(port: int) -> None:
    """Return when something listens there; raise ConnectionError after ten seconds."""
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            return
    raise ConnectionError(f"nothing listens on port {port}")


if __name__ == "__main__":
    sys.exit(main())
