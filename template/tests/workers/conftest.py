"""What the tests of the workers share: brokers, and a real Redis."""

import asyncio
import socket
import sqlite3
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from taskiq import AsyncBroker

from tests.subject import workers
from tests.workers import jobs


@pytest.fixture(autouse=True)
def fresh_jobs() -> Iterator[None]:
    """Let no test see what the jobs of another did."""
    yield
    jobs.STARTED.clear()
    jobs.FAILURES.clear()


@pytest.fixture
async def client() -> AsyncIterator[workers.TaskClient]:
    """Return a client of tasks in memory."""
    broker = workers.make_broker(
        jobs.JOBS,
        redis_url="",
        settings=jobs.SETTINGS,
    )
    async with workers.TaskClient(broker) as client:
        yield client


def make_ledger(folder: Path) -> str:
    """Return the file of a new database that takes each key once."""
    ledger = str(folder / "ledger.db")
    with closing(sqlite3.connect(ledger)) as database:
        database.execute("CREATE TABLE payments (key TEXT UNIQUE)")
    return ledger


def payments(ledger: str) -> list[str]:
    """Return the keys of the payments that were booked."""
    with closing(sqlite3.connect(ledger)) as database:
        rows = database.execute("SELECT key FROM payments").fetchall()
    return [key for (key,) in rows]


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """A real redis-server on loopback; it can be stopped and started.

    Attributes:
        url: Where it is.
    """

    _process: Process

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}"
        self._folder = folder

    async def start(self, *options: str) -> None:
        """Start it and return once it takes connections."""
        self._process = await asyncio.create_subprocess_exec(
            "redis-server",
            *("--bind", "127.0.0.1", "--port", str(self._port)),
            *("--save", "", "--appendonly", "yes"),
            # So often a second it looks for the signal to stop.
            *("--hz", "500"),
            *("--dir", str(self._folder), *options),
            stdout=PIPE,
        )
        assert self._process.stdout is not None
        await self._process.stdout.readuntil(b"Ready to accept")

    async def stop(self) -> None:
        """Stop it and return once it has ended."""
        self._process.terminate()
        await self._process.communicate()

    async def pass_time(self) -> None:
        """Make an hour pass for the messages that workers hold."""
        async with Redis.from_url(self.url) as redis:
            pending: Any = await redis.xpending_range(
                *("tasks", "workers", "-", "+", 100),
            )
            for entry in pending:
                await redis.xclaim(
                    *("tasks", "workers", entry["consumer"], 0),
                    message_ids=[entry["message_id"]],
                    idle=3_600_000,
                    justid=True,
                )

    def broker(
        self,
        settings: workers.TaskSettings = jobs.SETTINGS,
    ) -> AsyncBroker:
        """Return a broker of the tests' tasks over this Redis."""
        return workers.make_broker(
            jobs.JOBS,
            redis_url=self.url,
            settings=settings,
        )

    def client(self) -> workers.TaskClient:
        """Return a client of this Redis, not yet connected."""
        return workers.TaskClient(self.broker(), poll_interval=0.01)

    @asynccontextmanager
    async def worker(
        self,
        grace: float = 0,
        settings: workers.TaskSettings = jobs.SETTINGS,
    ) -> AsyncIterator[None]:
        """Run a worker in this process while the context lasts."""
        stop = asyncio.Event()
        broker = self.broker(settings)
        run = workers.run_worker(broker, stop, grace=grace)
        task = asyncio.create_task(run)
        try:
            yield
        finally:
            stop.set()
            await task


@pytest.fixture
async def redis_server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """Return a Redis that runs while the test does."""
    server = RedisServer(tmp_path)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@dataclass(frozen=True)
class Call:
    """One call of the job `ask`, from the process of this id."""

    caller: int
    line: asyncio.StreamWriter

    def answer(self, text: str) -> None:
        """Let the job return this."""
        self.line.write(f"{text}\n".encode())


class Phone:
    """Takes the calls of the job `ask`; the test answers them.

    Attributes:
        port: Where it listens on 127.0.0.1.
    """

    def __init__(self) -> None:
        self.port = 0
        self._lines: list[asyncio.StreamWriter] = []
        self._calls: asyncio.Queue[Call] = asyncio.Queue()

    async def call(self) -> Call:
        """Return the next call as soon as it comes."""
        return await self._calls.get()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Take calls while the context lasts."""
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for line in self._lines:
                line.close()
            await server.wait_closed()

    async def _take(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._lines.append(writer)
        caller = int(await reader.readline())
        self._calls.put_nowait(Call(caller, writer))


@pytest.fixture
async def phone() -> AsyncIterator[Phone]:
    """Return a phone that can be called while the test runs."""
    phone = Phone()
    async with phone.open():
        yield phone
