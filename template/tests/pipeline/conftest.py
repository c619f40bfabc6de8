"""What the tests of the pipeline share: sources, stores, a gate."""

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.subject import pipeline


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
def store(tmp_path: Path) -> pipeline.DataStore:
    """Return a store in a file of its own."""
    return pipeline.DataStore(tmp_path / "samples.jsonl")
