"""One connection to an SQLite file, shared by many tasks in turn."""

import asyncio
import sqlite3
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Sequence,
)
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path

import aiosqlite

from ..cancellation import finish
from ..threads import in_thread

Value = str | int | float | bytes | None
Rows = list[tuple[Value, ...]]
Execute = Callable[[str, Sequence[Value]], Awaitable[Rows]]

# Seconds between two tries to get a lock that another connection holds.
PAUSE = 0.01

BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}

# The transactions that the running code is inside of.
_around: ContextVar[frozenset[object]] = ContextVar(
    "_around",
    default=frozenset(),
)


class Database:
    """Runs statements and transactions, one at a time.

    Tasks wait for their turn as long as it takes. Other connections,
    of this or another process, are waited for up to `timeout`.

    Args:
        path: The file, which is created if there is none.
        schema: Statements that make what is not there yet.
        timeout: Seconds to wait for the locks of other connections.

    Raises:
        ValueError: The timeout is below 0, or no number.
    """

    def __init__(
        self,
        path: str | Path,
        schema: Sequence[str],
        timeout: float,
    ) -> None:
        if not timeout >= 0:
            raise ValueError(
                f"timeout must be 0 seconds or more, not {timeout}",
            )
        self.path = path
        self.schema = schema
        self.timeout = timeout
        self._connection: aiosqlite.Connection | None = None
        self._opening = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._transaction: object = None

    async def connect(self) -> None:
        """Open the file; connecting twice is fine.

        Raises:
            TimeoutError: Another connection has it locked for too long.
            OSError: It cannot be opened, or is no database.
        """
        async with self._opening:
            self._connection = self._connection or await self._open()

    async def close(self) -> None:
        """Close the file and end the connection's thread.

        It waits for the statement under way, not for a transaction:
        that is rolled back. Closing twice is fine.
        """
        async with self._opening:
            connection, self._connection = self._connection, None
            if connection is not None:
                await finish(connection.close())

    async def execute(
        self,
        sql: str,
        parameters: Sequence[Value] = (),
    ) -> Rows:
        """Return the rows of one statement, a transaction of its own.

        Raises:
            TimeoutError: Another connection has it locked for too long.
            RuntimeError: The database is not connected, or this is
                inside of a transaction.
        """
        async with self._take_turn() as connection:
            return await self._run(connection, sql, parameters)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Execute]:
        """Give what executes statements as one: all of them or none.

        The statements are undone if the context ends by an error or a
        cancellation; one that comes while they are committed is late.

        Raises:
            TimeoutError: Another connection has it locked for too long.
            RuntimeError: The database is not connected, this is inside
                of a transaction already, or a statement comes after its
                end.
        """
        async with self._take_turn() as connection:
            marker = object()
            before = _around.get()
            self._transaction = marker
            _around.set(before | {marker})

            async def execute(
                sql: str,
                parameters: Sequence[Value],
            ) -> Rows:
                if self._transaction is not marker:
                    raise RuntimeError("the transaction is over")
                return await self._run(connection, sql, parameters)

            try:
                # Waiting for the right to write now, not at the first
                # write: that could fail after a read, to be repeated.
                await self._run(connection, "BEGIN IMMEDIATE")
                yield execute
                # What another task asks for from here on would be done
                # after the end, by itself.
                self._transaction = None
                await self._run(connection, "COMMIT")
            finally:
                self._transaction = None
                _around.set(before)
                await self._undo(connection)

    async def _undo(self, connection: aiosqlite.Connection) -> None:
        """Roll back what is not committed, if it is still open."""
        if self._connection is connection:
            await finish(connection.rollback())

    @asynccontextmanager
    async def _take_turn(self) -> AsyncIterator[aiosqlite.Connection]:
        if self._transaction in _around.get():
            raise RuntimeError(
                "inside a transaction, use what it gave, not the store",
            )
        async with self._turn:
            if self._connection is None:
                raise RuntimeError(
                    "the store is not connected: use `async with`, or call connect()",
                )
            yield self._connection

    async def _open(self) -> aiosqlite.Connection:
        connection = aiosqlite.connect(
            self.path,
            timeout=0,
            isolation_level=None,
        )
        try:
            await in_thread(self._check_path)
            _ = await finish(connection)
            for sql in ("PRAGMA journal_mode=WAL", *self.schema):
                await self._wait_for_locks(connection, sql)
        except sqlite3.Error as error:
            await finish(connection.close())
            raise OSError(
                f"{self.path} cannot be opened: {error}",
            ) from error
        except BaseException:
            await finish(connection.close())
            raise
        return connection

    def _check_path(self) -> None:
        """Raise what opening raises: aiosqlite loses a thread then."""
        sqlite3.connect(self.path).close()

    async def _run(
        self,
        connection: aiosqlite.Connection,
        sql: str,
        parameters: Sequence[Value] = (),
    ) -> Rows:
        try:
            return await self._wait_for_locks(
                connection,
                sql,
                parameters,
            )
        except (ValueError, sqlite3.ProgrammingError) as error:
            if self._connection is connection:
                raise
            raise RuntimeError("the store was closed") from error

    async def _wait_for_locks(
        self,
        connection: aiosqlite.Connection,
        sql: str,
        parameters: Sequence[Value] = (),
    ) -> Rows:
        """Try until no other connection has a lock in the way.

        SQLite's own wait would block the connection's thread, and could
        not be cancelled.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeout
        while True:
            try:
                fetched = connection.execute_fetchall(sql, parameters)
                return [tuple(row) for row in await finish(fetched)]
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in BUSY:
                    raise
                if loop.time() >= deadline:
                    raise TimeoutError(
                        f"{self.path} is still locked by another connection, after {self.timeout} seconds",
                    ) from error
            await asyncio.sleep(PAUSE)
