"""Tests of the store's life: opened, closed, nothing left behind."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import aiosqlite
import pytest

from tests.storage.conftest import Gate
from tests.subject import storage

pytestmark = pytest.mark.integration


def connection_threads() -> list[threading.Thread]:
    threads = threading.enumerate()
    return [t for t in threads if "connection_worker" in t.name]


async def end_of_connection_threads() -> None:
    joins = [thread.join for thread in connection_threads()]
    await asyncio.gather(*map(asyncio.to_thread, joins))


async def test_use_before_connecting_is_refused(database: Path) -> None:
    store = storage.RecordStore(database)

    with pytest.raises(RuntimeError, match="not connected"):
        await store.list()


async def test_use_after_closing_is_refused(
    store: storage.RecordStore,
) -> None:
    await store.close()
    await store.close()

    with pytest.raises(RuntimeError, match="not connected"):
        await store.add("order", {})


async def test_a_closed_store_may_be_connected_again(
    store: storage.RecordStore,
) -> None:
    await store.close()

    await store.connect()

    assert await store.list() == []


async def test_connecting_twice_keeps_the_connection(
    store: storage.RecordStore,
) -> None:
    await store.connect()

    assert len(connection_threads()) == 1


async def test_connecting_twice_at_once_opens_one_connection(
    database: Path,
) -> None:
    store = storage.RecordStore(database)

    await asyncio.gather(store.connect(), store.connect())

    assert len(connection_threads()) == 1
    await store.close()


async def test_closing_ends_the_thread(
    store: storage.RecordStore,
) -> None:
    [thread] = connection_threads()

    await store.close()

    await asyncio.to_thread(thread.join)
    assert not connection_threads()


async def test_a_body_that_raises_closes_the_store(
    database: Path,
) -> None:
    async def fail() -> None:
        async with storage.RecordStore(database) as store:
            await store.add("order", {})
            raise LookupError("no luck")

    with pytest.raises(LookupError, match="no luck"):
        await fail()

    await end_of_connection_threads()


async def test_cancelling_closes_the_store(database: Path) -> None:
    threads = []
    opened = asyncio.Event()

    async def hang() -> None:
        async with storage.RecordStore(database):
            threads.extend(connection_threads())
            opened.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await opened.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert len(threads) == 1
    await asyncio.to_thread(threads[0].join)


async def test_cancelling_while_it_connects_closes_the_connection(
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
) -> None:
    connect = sqlite3.connect
    opened = []
    # The first call only looks at the file.
    pauses: list[Callable[[], object]] = [gate.hold, bool]

    def connect_slowly(path: str, **_: object) -> sqlite3.Connection:
        connection = connect(path, check_same_thread=False)
        opened.append(connection)
        pauses.pop()()
        return connection

    monkeypatch.setattr("sqlite3.connect", connect_slowly)
    task = asyncio.create_task(storage.RecordStore(database).connect())
    await asyncio.to_thread(gate.reached.wait)
    [thread] = connection_threads()

    task.cancel()
    await asyncio.sleep(0)
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    await asyncio.to_thread(thread.join)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[1].execute("SELECT 1")


async def test_cancelling_while_it_closes_ends_that_first(
    store: storage.RecordStore,
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
) -> None:
    [thread] = connection_threads()
    close = aiosqlite.Connection.close

    async def close_slowly(connection: aiosqlite.Connection) -> None:
        await asyncio.to_thread(gate.hold)
        await close(connection)

    monkeypatch.setattr(aiosqlite.Connection, "close", close_slowly)
    task = asyncio.create_task(store.close())
    await asyncio.to_thread(gate.reached.wait)

    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    await asyncio.to_thread(thread.join)


async def test_closing_undoes_a_transaction_under_way(
    store: storage.RecordStore,
    other_store: storage.RecordStore,
) -> None:
    added, closed = asyncio.Event(), asyncio.Event()

    async def add_twice() -> None:
        async with store.transaction() as records:
            await records.add("order", {})
            added.set()
            await closed.wait()
            await records.add("order", {})

    task = asyncio.create_task(add_twice())
    await added.wait()
    await store.close()
    closed.set()
    with pytest.raises(RuntimeError, match="the store was closed"):
        await task

    assert await other_store.list() == []


async def test_a_transaction_does_not_go_on_in_the_next_connection(
    store: storage.RecordStore,
) -> None:
    async def reconnect() -> None:
        async with store.transaction() as records:
            await records.add("order", {})
            await store.close()
            await store.connect()
            await records.add("order", {})

    with pytest.raises(RuntimeError, match="the store was closed"):
        await reconnect()

    assert await store.list() == []


async def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    store = storage.RecordStore(tmp_path / "none" / "records.db")

    with pytest.raises(
        OSError,
        match=r"none/records.db cannot be opened",
    ):
        await store.connect()

    with pytest.raises(RuntimeError, match="not connected"):
        await store.list()


async def test_a_file_that_is_no_database_is_left_as_it_is(
    database: Path,
) -> None:
    lines = ["This is a text, and a text it shall stay."] * 20
    files = storage.AsyncFileHandler()
    await files.write_lines(database, lines)

    with pytest.raises(OSError, match="not a database"):
        await storage.RecordStore(database).connect()

    assert [line async for line in files.read_lines(database)] == lines
    await end_of_connection_threads()
