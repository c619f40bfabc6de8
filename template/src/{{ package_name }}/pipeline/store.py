"""Stores samples in a file, a batch at a time."""

import asyncio
import mmap
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

from ..threads import in_thread
from .lines import read_lines
from .samples import Sample, parse_sample


class Store(Protocol):
    """Where a pipeline saves to."""

    async def save(self, samples: Sequence[Sample], /) -> None:
        """Save all of these samples, or raise."""


class DataStore:
    """Keeps samples in a file of JSON lines.

    One store at a time may write to a file.

    Args:
        path: The file, which is created by the first save.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._saving = asyncio.Lock()

    async def save(self, samples: Sequence[Sample]) -> None:
        """Append samples: all of them, or none if it fails.

        A line that a killed program has left unfinished is dropped.
        Cancelled while it writes, it ends writing first.

        Raises:
            OSError: The file cannot be written.
        """
        batch = list(samples)
        async with self._saving:
            await in_thread(_append, self.path, batch)

    async def read(self) -> AsyncGenerator[Sample, None]:
        """Yield all samples, in the order in which they were saved.

        Whoever leaves it early closes it, by `contextlib.aclosing`.

        Raises:
            FileNotFoundError: Nothing was saved yet.
            ValueError: The file holds something else.
        """
        async with aclosing(read_lines(self.path)) as lines:
            async for line in lines:
                yield parse_sample(line)


def _size_of_lines(path: Path) -> int:
    """Return the bytes up to the end of the last whole line.

    A program that was killed while it wrote leaves a part of one.
    """
    if not path.exists() or not path.stat().st_size:
        return 0
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        return data.rfind(b"\n") + 1


def _append(path: Path, samples: Sequence[Sample]) -> None:
    lines = "".join(f"{sample.to_json()}\n" for sample in samples)
    size = _size_of_lines(path)
    try:
        with path.open("ab") as file:
            file.truncate(size)
            file.write(lines.encode())
    except OSError:
        # A disk that is full has taken a part of the batch.
        if path.exists():
            os.truncate(path, size)
        raise
