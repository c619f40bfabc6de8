"""Tests of transactions: whole or not at all, and one at a time."""

import asyncio
import contextlib
import contextvars
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import aiosqlite
import pytest

from tests.storage.conftest import Gate
from tests.subject import storage

pytestmark = pytest.mark.integration


async def begin(store: storage.RecordStore) -> None:
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(store.transaction())


@pytest.fixture
def intruder(
    database: Path,
    store: storage.RecordStore,  # noqa: ARG001 - makes the file
) -> Iterator[sqlite3.Connection]:
    """Return a connection of someone else, who is writing."""
    connection = sqlite3.connect(database, isolation_level=None)
    with contextlib.closing(connection):
        connection.execute("BEGIN IMMEDIATE")
        yield connection


async def test_what_a_transaction_does_is_kept(
    store: storage.RecordStore,
    other_store: storage.RecordStore,
) -> None:
    async with store.transaction() as records:
        first = await records.add("order", {"a": 1})
        await records.add("order", {"a": 2})
        await records.update(first.id, {"a": 3})

    listed = await other_store.list()
    assert [record.data for record in listed] == [{"a": 3}, {"a": 2}]


async def test_an_error_undoes_the_transaction(
    store: storage.RecordStore,
) -> None:
    async def fail() -> None:
        async with store.transaction() as records:
            await records.add("order", {})
            raise LookupError("no luck")

    with pytest.raises(LookupError, match="no luck"):
        await fail()

    assert await store.list() == []


async def test_cancelling_undoes_the_transaction(
    store: storage.RecordStore,
) -> None:
    added = asyncio.Event()

    async def hang() -> None:
        async with store.transaction() as records:
            await records.add("order", {})
            added.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await added.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await store.list() == []
    assert (await store.add("order", {})).id == 1


async def test_cancelling_a_statement_undoes_it_before_others_go_on(
    store: storage.RecordStore,
) -> None:
    began = asyncio.Event()

    async def add() -> None:
        async with store.transaction() as records:
            began.set()
            await records.add("order", {})

    task = asyncio.create_task(add())
    await began.wait()
    other = asyncio.create_task(store.list())
    await asyncio.sleep(0)
    task.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await other == []


async def test_cancelling_twice_waits_until_it_is_undone(
    store: storage.RecordStore,
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
) -> None:
    added = asyncio.Event()

    async def hang() -> None:
        async with store.transaction() as records:
            await records.add("order", {})
            added.set()
            await asyncio.Event().wait()

    rollback = aiosqlite.Connection.rollback

    async def roll_back_slowly(
        connection: aiosqlite.Connection,
    ) -> None:
        await asyncio.to_thread(gate.hold)
        await rollback(connection)

    monkeypatch.setattr(
        aiosqlite.Connection,
        "rollback",
        roll_back_slowly,
    )
    task = asyncio.create_task(hang())
    await added.wait()
    task.cancel()
    await asyncio.to_thread(gate.reached.wait)
    task.cancel()
    other = asyncio.create_task(store.list())
    await asyncio.sleep(0)
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await other == []


async def test_others_do_not_see_what_may_be_undone(
    store: storage.RecordStore,
) -> None:
    async with store.transaction() as records:
        await records.add("order", {})
        other = asyncio.create_task(
            store.list(),
            context=contextvars.Context(),
        )
        await asyncio.sleep(0)
        assert not other.done()
        await records.add("order", {})

    assert len(await other) == 2


async def test_readers_do_not_wait_for_another_writer(
    store: storage.RecordStore,
    intruder: sqlite3.Connection,
) -> None:
    intruder.execute("DELETE FROM records")

    assert await store.list() == []


@pytest.mark.looptime
@pytest.mark.usefixtures("intruder")
async def test_a_locked_file_is_a_timeout_in_the_end(
    database: Path,
) -> None:
    loop = asyncio.get_running_loop()

    async with storage.RecordStore(database, timeout=2) as store:
        start = loop.time()
        with pytest.raises(
            TimeoutError,
            match="still locked by another",
        ):
            await store.add("order", {})

    assert loop.time() - start == pytest.approx(2, abs=0.1)


@pytest.mark.looptime
async def test_a_lock_that_ends_in_time_is_waited_for(
    store: storage.RecordStore,
    intruder: sqlite3.Connection,
) -> None:
    asyncio.get_running_loop().call_later(1, intruder.rollback)

    assert (await store.add("order", {})).id == 1


@pytest.mark.looptime
@pytest.mark.usefixtures("intruder")
async def test_a_transaction_waits_for_a_lock_before_its_body(
    database: Path,
) -> None:
    async with storage.RecordStore(database, timeout=1) as store:
        with pytest.raises(TimeoutError):
            await begin(store)


@pytest.mark.looptime
async def test_cancelling_the_wait_for_a_lock_leaves_the_store_usable(
    store: storage.RecordStore,
    intruder: sqlite3.Connection,
) -> None:
    adding = asyncio.create_task(store.add("order", {"lost": True}))
    await asyncio.sleep(1)

    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    intruder.rollback()

    await store.add("order", {})
    assert [record.data for record in await store.list()] == [{}]


async def use_the_store(store: storage.RecordStore) -> None:
    await store.list()


async def use_the_store_in_a_child(store: storage.RecordStore) -> None:
    await asyncio.create_task(use_the_store(store))


@pytest.mark.parametrize(
    "use",
    [use_the_store, begin, use_the_store_in_a_child],
)
async def test_the_store_inside_its_transaction_is_refused(
    store: storage.RecordStore,
    use: Callable[[storage.RecordStore], Awaitable[None]],
) -> None:
    async with store.transaction() as records:
        with pytest.raises(RuntimeError, match="use what it gave"):
            await use(store)
        await records.add("order", {})

    assert len(await store.list()) == 1


async def test_another_store_inside_a_transaction_is_fine(
    store: storage.RecordStore,
    other_store: storage.RecordStore,
) -> None:
    async with store.transaction() as records:
        await records.add("order", {})
        assert await other_store.list() == []


async def test_a_transaction_is_not_used_after_its_end(
    store: storage.RecordStore,
) -> None:
    async with store.transaction() as records:
        await records.add("order", {})

    with pytest.raises(RuntimeError, match="the transaction is over"):
        await records.add("order", {})


async def test_a_statement_that_comes_too_late_is_refused(
    store: storage.RecordStore,
) -> None:
    async with store.transaction() as records:
        late = asyncio.create_task(records.add("order", {}))

    with pytest.raises(RuntimeError, match="the transaction is over"):
        await late
    assert await store.list() == []


async def test_a_task_that_outlives_a_transaction_may_use_the_store(
    store: storage.RecordStore,
) -> None:
    over = asyncio.Event()

    async def use_later() -> list[storage.Record]:
        await over.wait()
        return await store.list()

    async with store.transaction():
        task = asyncio.create_task(use_later())
    over.set()

    assert await task == []


async def test_a_long_task_gathers_nothing_from_its_transactions(
    store: storage.RecordStore,
) -> None:
    async with store.transaction():
        pass
    before = dict(contextvars.copy_context())

    async with store.transaction():
        pass

    assert dict(contextvars.copy_context()) == before
