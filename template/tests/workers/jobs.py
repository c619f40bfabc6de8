"""Tasks of the tests: they fail, wait, and do things once."""

import asyncio
import json
import math
import os
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Any

from tests.subject import logs, workers

# Tries follow each other at once; nothing else is impatient.
SETTINGS = workers.TaskSettings(
    first_wait=0,
    longest_wait=0,
    jitter=0,
    reconnect_wait=0.01,
)

STARTED: list[float] = []
FAILURES: list[BaseException] = []


async def add(first: int, second: int = 1) -> int:
    """Return the sum."""
    return first + second


async def follow() -> str:
    """Return the id of the request that the task works for."""
    return logs.correlation_id.get()


async def sleep(seconds: float) -> float:
    """Return the seconds after having waited so long."""
    STARTED.append(asyncio.get_running_loop().time())
    await asyncio.sleep(seconds)
    return seconds


async def linger() -> None:
    """Take some seconds to end."""
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(9)


async def fail() -> str:
    """Raise the planned failures, one a try, then return a word."""
    STARTED.append(asyncio.get_running_loop().time())
    if FAILURES:
        raise FAILURES.pop(0)
    return "done"


async def fail_in_a_group() -> None:
    """Fail by a task group, with the planned failures."""
    async with asyncio.TaskGroup() as group:
        group.create_task(fail())


async def answer(kind: str) -> Any:  # noqa: ANN401 - of any kind
    """Return a tuple or something that JSON cannot hold."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    answers = {
        "tuple": (1, 2),
        "set": {1},
        "nan": math.nan,
        # json takes it, and what stores results does not.
        "500 deep": json.loads("[" * 500 + "]" * 500),
    }
    return answers.get(kind, deep)


async def ask(port: int) -> str:
    """Tell the test which process runs this; return what it answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{os.getpid()}\n".encode())
        return (await reader.readline()).decode().strip()
    finally:
        writer.close()


async def pay(ledger: str, key: str, port: int) -> str:
    """Book a payment once for each key, however often this runs."""

    def book() -> None:
        with closing(sqlite3.connect(ledger)) as database, database:
            database.execute(
                "INSERT OR IGNORE INTO payments VALUES (?)",
                [key],
            )

    await asyncio.to_thread(book)
    return await ask(port)


JOBS: dict[str, Callable[..., Coroutine[Any, Any, Any]]] = {
    "add": add,
    "answer": answer,
    "ask": ask,
    "fail": fail,
    "fail_in_a_group": fail_in_a_group,
    "follow": follow,
    "linger": linger,
    "pay": pay,
    "sleep": sleep,
}
