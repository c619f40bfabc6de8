"""A store of records in an embedded database."""

import json
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Mapping,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from .database import Database, Execute, Rows

SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS records (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        data TEXT NOT NULL,
        created_at TEXT NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS records_by_kind ON records (kind, id)",
)

ADD = """
    INSERT INTO records (kind, data, created_at) VALUES (?, ?, ?)
    RETURNING id, kind, data, created_at
"""

GET = """
    SELECT id, kind, data, created_at FROM records WHERE id = ?
"""

UPDATE = """
    UPDATE records SET data = ? WHERE id = ?
    RETURNING id, kind, data, created_at
"""

LIST = """
    SELECT id, kind, data, created_at FROM records
    WHERE id > ? ORDER BY id LIMIT ?
"""

# Every field that is wanted is there, with a value that SQLite takes
# for the one that is wanted: it ends strings at a null character, and
# rounds integers beyond 64 bits. `_has` is exact. The fields come as
# one parameter, so that no SQL is made of what users give.
QUERY = """
    SELECT id, kind, data, created_at FROM records
    WHERE kind = ? AND id > ? AND NOT EXISTS (
        SELECT 1 FROM json_each(?) AS wanted WHERE NOT EXISTS (
            SELECT 1 FROM json_each(records.data) AS field
            WHERE field.key = wanted.key
            AND field.value IS wanted.value
            AND replace(field.type, 'real', 'integer')
            IS replace(wanted.type, 'real', 'integer')
        )
    )
    ORDER BY id LIMIT ?
"""

# So many records of a query are in memory at a time.
PAGE_SIZE = 100

LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it is stored.

    Attributes:
        id: Its number; a later record's is larger.
        kind: What it is about, such as "order".
        data: What it holds: anything that JSON has.
        created_at: When it was added, in UTC.
    """

    id: int
    kind: str
    data: dict[str, object]
    created_at: datetime


class RecordNotFoundError(LookupError):
    """The store has no record of this id."""

    def __init__(self, record_id: int) -> None:
        super().__init__(record_id)
        self.record_id = record_id

    def __str__(self) -> str:
        return f"there is no record {self.record_id}"


class Records:
    """What can be done with records, in a transaction or out of it.

    Out of one, each call is a transaction by itself. Cancelled after it
    has begun, it ends first, so that a record may have been written.

    Every call raises these, too:
        TimeoutError: Another connection has the file locked for too
            long.
        RuntimeError: The store is not connected, or the transaction is
            over.
    """

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    async def add(
        self,
        kind: str,
        data: Mapping[str, object],
    ) -> Record:
        """Add a record and return it.

        Raises:
            ValueError: The kind is blank, or JSON cannot hold the data.
        """
        if not kind.strip():
            raise ValueError("kind must not be blank")
        now = datetime.now(UTC).isoformat()
        rows = await self._execute(
            ADD,
            (kind, _to_json(data), now),
        )
        return _parse(rows)[0]

    async def get(self, record_id: int) -> Record:
        """Return the record of this id.

        Raises:
            RecordNotFoundError: There is no such record.
        """
        return await self._one(record_id, GET)

    async def update(
        self,
        record_id: int,
        data: Mapping[str, object],
    ) -> Record:
        """Replace the data of a record and return it.

        Data that depends on what was there is lost to nobody only if it
        is read in the same transaction.

        Raises:
            RecordNotFoundError: There is no such record.
            ValueError: JSON cannot hold the data.
        """
        return await self._one(record_id, UPDATE, _to_json(data))

    def query(
        self,
        kind: str,
        where: Mapping[str, str | float | None] | None = None,
        *,
        page_size: int = PAGE_SIZE,
    ) -> AsyncGenerator[Record, None]:
        """Yield the records of a kind, oldest first.

        It reads a page at a time and holds no lock in between: records
        that are added meanwhile come, too.

        Args:
            kind: Their kind.
            where: Fields that their data must have, with these values.
            page_size: How many records are in memory at a time.

        Raises:
            ValueError: The page size is below 1, or JSON cannot hold
                the values.
        """
        page_size = _check_count("page_size", page_size)
        fields = dict(where or {})
        wanted = _to_json(fields)

        async def pages() -> AsyncGenerator[Record, None]:
            after = 0
            size = page_size
            while size == page_size:
                rows = await self._execute(
                    QUERY,
                    (kind, after, wanted, size),
                )
                for record in _parse(rows):
                    if _has(record.data, fields):
                        yield record
                    after = record.id
                size = len(rows)

        return pages()

    async def list(
        self,
        *,
        after: int = 0,
        limit: int = PAGE_SIZE,
    ) -> list[Record]:
        """Return the next records of all kinds, oldest first.

        Args:
            after: Only those of a larger id than this.
            limit: The most that are returned.

        Raises:
            ValueError: The limit is below 1.
        """
        limit = _check_count("limit", limit)
        after = max(-1, min(after, LARGEST_ID))
        rows = await self._execute(LIST, (after, limit))
        return _parse(rows)

    async def _one(
        self,
        record_id: int,
        sql: str,
        *before: str,
    ) -> Record:
        if not 0 < record_id <= LARGEST_ID:
            raise RecordNotFoundError(record_id)
        rows = await self._execute(sql, (*before, record_id))
        if not rows:
            raise RecordNotFoundError(record_id)
        return _parse(rows)[0]


class RecordStore(Records):
    """Keeps records in an SQLite file, for many tasks and processes.

        async with RecordStore("orders.db") as store:
            record = await store.add("order", {"total": 12})
            orders = [each async for each in store.query("order")]

    Or call `connect` and `close`.

    Args:
        path: The file, which is created if there is none.
        timeout: Seconds to wait while another connection is writing.

    Raises:
        ValueError: The timeout is below 0, or no number.
    """

    def __init__(self, path: str | Path, timeout: float = 5) -> None:
        self._database = Database(path, SCHEMA, timeout)
        super().__init__(self._database.execute)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Open the file; connecting twice is fine.

        Raises:
            TimeoutError: Another connection has it locked for too long.
            OSError: It cannot be opened, or is no database.
        """
        await self._database.connect()

    async def close(self) -> None:
        """Close the file; closing twice is fine.

        A transaction under way is rolled back, and its task gets a
        RuntimeError.
        """
        await self._database.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Records]:
        """Give the records, and keep what is done to them whole or not.

        Everything is undone if the context ends by an error, or by a
        cancellation; one that comes while it is committed is late.
        Others wait for its end, so keep it short. Inside of it, use
        what it gives, not the store.

        Raises:
            TimeoutError: Another connection has it locked for too long.
            RuntimeError: The store is not connected, or this is inside
                of a transaction already.
        """
        async with self._database.transaction() as execute:
            yield Records(execute)


def _check_count(name: str, count: int) -> int:
    """Return the count, or the largest that SQLite takes."""
    if count < 1:
        raise ValueError(f"{name} must be at least 1, not {count}")
    return min(count, LARGEST_ID)


def _has(
    data: Mapping[str, object],
    fields: Mapping[str, object],
) -> bool:
    """Return whether data has all fields; 1 is 1.0, and not True."""
    missing = object()
    for name, wanted in fields.items():
        value = data.get(name, missing)
        is_bool = isinstance(value, bool)
        if value != wanted or is_bool != isinstance(wanted, bool):
            return False
    return True


def _to_json(data: Mapping[str, object]) -> str:
    """Return the data as JSON, if it comes back as it was."""
    try:
        text = json.dumps(dict(data), allow_nan=False)
    except (TypeError, RecursionError) as error:
        raise ValueError(
            f"JSON cannot hold the data: {error}",
        ) from error
    if json.loads(text) != data:
        raise ValueError(f"JSON would change the data: {data!r}")
    return text


def _parse(rows: Rows) -> list[Record]:
    records = []
    for row in rows:
        match row:
            case (int(id_), str(kind), str(data), str(created_at)):
                record = Record(
                    id_,
                    kind,
                    json.loads(data),
                    datetime.fromisoformat(created_at),
                )
                records.append(record)
            case _:
                raise ValueError(
                    f"the file has no record here: {row!r}",
                )
    return records
