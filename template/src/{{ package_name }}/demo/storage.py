"""Shows files that are never half written, and a store of records."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from rich import get_console
from rich.table import Table

from ..storage import (
    AsyncFileHandler,
    Record,
    RecordNotFoundError,
    RecordStore,
)
from .folders import temporary_folder


async def show() -> None:
    """Write, interrupt, read a file; add, undo and find records."""
    async with temporary_folder() as folder:
        await _show_files(folder / "names.txt")
        await _show_records(folder / "records.db")


async def _show_files(path: Path) -> None:
    files = AsyncFileHandler(encoding="utf-8")
    count = await files.write_lines(path, ["Ada", "Grace", "Émilie"])
    print(f"wrote {count} lines")

    async def break_off() -> AsyncGenerator[str, None]:
        yield "Alan"
        raise ConnectionError("the source is gone")

    try:
        await files.write_lines(path, break_off())
    except ConnectionError as error:
        lines = [line async for line in files.read_lines(path)]
        print(f"{error}: the file is as it was: {lines}")

    many = (f"line {number}" for number in range(20_000))
    count = await files.write_lines(path, many)
    longest = ""
    async for line in files.read_lines(path):
        longest = max(longest, line, key=len)
    print(f"streamed {count} lines, the longest is {longest!r}")


async def _show_records(path: Path) -> None:
    async with (
        RecordStore(path, timeout=60) as store,
        RecordStore(path, timeout=60) as other,
    ):
        async with asyncio.TaskGroup() as writers:
            for number in range(6):
                data = {"number": number, "open": number % 3 == 0}
                writers.create_task(store.add("order", data))
                writers.create_task(other.add("note", data))
        stored = await store.list()
        print(
            f"two stores wrote 12 records, {len(stored)} are there",
        )

        try:
            async with store.transaction() as records:
                await records.add("order", {"number": -1})
                await records.get(1000)
        except RecordNotFoundError as error:
            stored = await store.list()
            print(f"{error}: undone, {len(stored)} records")

        found = store.query("order", {"open": True})
        _print_table([record async for record in found])


def _print_table(records: list[Record]) -> None:
    table = Table("id", "kind", "data", title="open orders")
    for record in records:
        table.add_row(str(record.id), record.kind, str(record.data))
    get_console().print(table)
