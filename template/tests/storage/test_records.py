"""Tests of the records: what is stored, found, and refused."""

import asyncio
import contextlib
import datetime
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.subject import storage

pytestmark = pytest.mark.integration

HOSTILE = "x' OR 1=1; DROP TABLE records; -- \" % _ \x00 é"


def change_elsewhere(database: Path, change: str) -> None:
    """Change the file over a connection of its own."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute(change)
        connection.commit()


async def add_numbers(
    store: storage.Records,
    count: int,
    kind: str = "number",
) -> None:
    for number in range(count):
        await store.add(kind, {"number": number})


async def numbers(
    store: storage.Records,
    where: Mapping[str, str | float | None] | None = None,
    kind: str = "number",
    page_size: int = 100,
) -> list[object]:
    records = store.query(kind, where, page_size=page_size)
    return [record.data["number"] async for record in records]


async def test_a_record_is_added_and_got(
    store: storage.RecordStore,
) -> None:
    data = {
        "text": "é",
        "list": [1, 2.5, None, True],
        "more": {"a": {}},
    }

    added = await store.add("order", data)

    assert (added.id, added.kind, added.data) == (1, "order", data)
    assert await store.get(1) == added


async def test_a_record_says_when_it_was_added(
    store: storage.RecordStore,
) -> None:
    before = datetime.datetime.now(datetime.UTC)

    added = await store.add("order", {})

    assert before <= added.created_at
    assert added.created_at <= datetime.datetime.now(datetime.UTC)


async def test_records_outlive_the_store(
    store: storage.RecordStore,
    database: Path,
) -> None:
    added = await store.add("order", {"a": 1})
    await store.close()

    async with storage.RecordStore(str(database)) as reopened:
        assert await reopened.get(added.id) == added


@pytest.mark.parametrize("record_id", [0, -1, 2, 2**63 - 1, 2**63])
async def test_a_missing_record_is_an_error(
    store: storage.RecordStore,
    record_id: int,
) -> None:
    await store.add("order", {})

    with pytest.raises(storage.RecordNotFoundError) as caught:
        await store.get(record_id)

    assert str(caught.value) == f"there is no record {record_id}"
    assert caught.value.record_id == record_id


async def test_data_is_replaced(store: storage.RecordStore) -> None:
    added = await store.add("order", {"a": 1})

    updated = await store.update(added.id, {"b": 2})

    assert updated.data == {"b": 2}
    assert await store.get(added.id) == updated
    assert updated.created_at == added.created_at


async def test_a_missing_record_cannot_be_updated(
    store: storage.RecordStore,
) -> None:
    with pytest.raises(LookupError, match="no record 1"):
        await store.update(1, {})


async def test_an_empty_store_lists_nothing(
    store: storage.RecordStore,
) -> None:
    assert await store.list() == []
    assert await numbers(store) == []


async def test_records_of_all_kinds_are_listed_by_pages(
    store: storage.RecordStore,
) -> None:
    await add_numbers(store, 3, "a")
    await add_numbers(store, 2, "b")

    first = await store.list(limit=3)
    second = await store.list(after=first[-1].id, limit=3)

    assert [record.id for record in first] == [1, 2, 3]
    assert [record.id for record in second] == [4, 5]


@pytest.mark.parametrize("page_size", [1, 2, 5, 100])
async def test_a_query_yields_every_record_of_a_kind_in_order(
    store: storage.RecordStore,
    page_size: int,
) -> None:
    await add_numbers(store, 5)
    await add_numbers(store, 3, "other")

    found = await numbers(store, page_size=page_size)

    assert found == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        ({"number": 1}, [1]),
        ({"number": 1.0}, [1]),
        ({"number": "1"}, []),
        ({"text": "b"}, [1, 2]),
        ({"text": "b", "number": 2}, [2]),
        ({"text": None}, [0]),
        ({"missing": None}, []),
        ({"open": True}, [0]),
        ({"open": 1}, [1]),
        ({"text": "[1]"}, []),
    ],
)
async def test_a_query_finds_what_has_all_fields(
    store: storage.RecordStore,
    where: Mapping[str, str | float | None],
    expected: list[int],
) -> None:
    first = {"number": 0, "text": None, "open": True}
    await store.add("number", first)
    await store.add("number", {"number": 1, "text": "b", "open": 1})
    await store.add("number", {"number": 2, "text": "b"})
    await store.add("number", {"number": 3, "text": [1]})

    assert await numbers(store, where) == expected


async def test_hostile_text_is_stored_and_found_as_it_is(
    store: storage.RecordStore,
) -> None:
    await store.add(HOSTILE, {"number": 1, HOSTILE: HOSTILE})
    await store.add("other", {"number": 2})

    found = await numbers(store, {HOSTILE: HOSTILE}, HOSTILE)

    assert found == [1]
    assert len(await store.list()) == 2


async def test_a_query_holds_nothing_up_while_it_is_read(
    store: storage.RecordStore,
    other_store: storage.RecordStore,
) -> None:
    await add_numbers(store, 4)

    records = store.query("number", page_size=2)
    async with contextlib.aclosing(records):
        await anext(records)
        await store.add("other", {})
        await other_store.add("other", {})

    assert len(await store.list()) == 6


async def test_a_query_reads_no_more_than_is_asked_for(
    store: storage.RecordStore,
) -> None:
    await add_numbers(store, 4)
    records = store.query("number", page_size=2)
    first = await anext(records)
    second = await anext(records)
    await store.update(3, {"changed": True})

    third = await anext(records)
    await records.aclose()

    assert (first.id, second.id) == (1, 2)
    assert third.data == {"changed": True}


@pytest.mark.parametrize("kind", ["", " \t"])
async def test_a_blank_kind_is_refused(
    store: storage.RecordStore,
    kind: str,
) -> None:
    with pytest.raises(ValueError, match="kind must not be blank"):
        await store.add(kind, {})


async def test_a_kind_that_is_no_text_is_refused(
    store: storage.RecordStore,
) -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        await store.add("\ud800", {})


@pytest.mark.parametrize(
    "data",
    [
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": object()},
        {"a": (1, 2)},
        {"a": b"bytes"},
        {1: "a"},
    ],
    ids=["nan", "inf", "object", "tuple", "bytes", "key"],
)
async def test_data_that_json_would_change_is_refused(
    store: storage.RecordStore,
    data: dict[str, object],
) -> None:
    with pytest.raises(ValueError, match="JSON"):
        await store.add("order", data)

    assert await store.list() == []


@pytest.mark.parametrize("number", [0, -1])
async def test_pages_of_nothing_are_refused(
    store: storage.RecordStore,
    number: int,
) -> None:
    with pytest.raises(ValueError, match="limit must be at least 1"):
        await store.list(limit=number)
    with pytest.raises(
        ValueError,
        match="page_size must be at least 1",
    ):
        store.query("order", page_size=number)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_that_is_none_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout must be 0 seconds"):
        storage.RecordStore("records.db", timeout)


async def test_a_row_that_is_no_record_is_an_error(
    store: storage.RecordStore,
    database: Path,
) -> None:
    await store.add("order", {})
    change = "UPDATE records SET kind = x'00'"
    await asyncio.to_thread(change_elsewhere, database, change)

    with pytest.raises(ValueError, match="the file has no record here"):
        await store.get(1)


async def test_another_error_of_the_database_is_raised_at_once(
    store: storage.RecordStore,
    database: Path,
) -> None:
    change = "DROP TABLE records"
    await asyncio.to_thread(change_elsewhere, database, change)

    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await store.add("order", {})


async def test_concurrent_writers_lose_nothing(
    store: storage.RecordStore,
    other_store: storage.RecordStore,
) -> None:
    added: list[storage.Record] = []

    async def add(store: storage.RecordStore, number: int) -> None:
        added.append(await store.add("number", {"number": number}))

    async with asyncio.TaskGroup() as writers:
        for number in range(25):
            writers.create_task(add(store, number))
            writers.create_task(add(other_store, number + 25))

    assert {record.id for record in added} == set(range(1, 51))
    assert {*await numbers(other_store)} == set(range(50))


async def test_concurrent_changes_of_one_record_lose_nothing(
    store: storage.RecordStore,
    other_store: storage.RecordStore,
) -> None:
    await store.add("counter", {"count": 0})

    async def increment(store: storage.RecordStore) -> None:
        async with store.transaction() as records:
            data: dict[str, Any] = (await records.get(1)).data
            await records.update(1, {"count": data["count"] + 1})

    async with asyncio.TaskGroup() as writers:
        for _ in range(10):
            writers.create_task(increment(store))
            writers.create_task(increment(other_store))

    assert (await store.get(1)).data == {"count": 20}


@pytest.mark.parametrize(
    ("wanted", "others"),
    [
        ("a", ["a\0b", "a\0c", {"s": "a"}, ["a"]]),
        (2**63, [2**63 + 1, 2.0**63 + 2**11, str(2**63)]),
        (1, [True, "1", 1.5]),
        (0, [False, None, ""]),
        (None, [0, False, ""]),
    ],
)
async def test_a_query_finds_no_other_value(
    store: storage.RecordStore,
    wanted: str | int | None,
    others: list[object],
) -> None:
    for value in [*others, wanted]:
        await store.add("kind", {"value": value})

    found = store.query("kind", {"value": wanted}, page_size=2)

    assert [record.data["value"] async for record in found] == [wanted]


async def test_numbers_beyond_64_bits_are_beyond_all_records(
    store: storage.RecordStore,
) -> None:
    await add_numbers(store, 2)
    most = 2**70

    assert await store.list(after=most) == []
    assert len(await store.list(after=-most, limit=most)) == 2
    assert await numbers(store, page_size=most) == [0, 1]
