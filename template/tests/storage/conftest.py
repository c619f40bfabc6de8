"""What the tests of the storage share: a store, a gate for threads."""

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.subject import storage


class Gate:
    """Holds up the threads that pass, until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def hold(self, *_: object) -> None:
        """Wait until the gate is opened."""
        self.reached.set()
        self.opened.wait()


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    """Return a gate, which the end of the test opens."""
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return the path of the store's file."""
    return tmp_path / "records.db"


@pytest.fixture
async def store(database: Path) -> AsyncIterator[storage.RecordStore]:
    """Return a store that is connected."""
    async with storage.RecordStore(database) as store:
        yield store


@pytest.fixture
async def other_store(
    database: Path,
) -> AsyncIterator[storage.RecordStore]:
    """Return another store on the same file."""
    async with storage.RecordStore(database) as store:
        yield store
