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

        store = DataStore("samples.jsonl")
        await store.save(samples)
        again = [sample async for sample in store.read()]

    One store at a time may write to a file.

    Args:
        path: The file, which is created by the first save.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._saving = asyncio.Lock()

    async def save(self, samples: Sequence[Sample]) -> None:
        """Append samples: all of them, or none if it fails.

        Cancelled while it writes, it ends writing first.

        Raises:
            OSError: The file cannot be written.
            ValueError: The file ends in the middle of a line, as a
                program that is killed leaves it.
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


def _append(path: Path, samples: Sequence[Sample]) -> None:
    lines = "".join(f"{sample.to_json()}\n" for sample in samples)
    size = path.stat().st_size if path.exists() else 0
    end = _line_end(path, size) if samples else b""
    try:
        with path.open("ab") as file:
            file.write(end + lines.encode())
    except OSError:
        # A disk that is full has taken a part of the batch.
        if path.exists():
            os.truncate(path, size)
        raise


def _line_end(path: Path, size: int) -> bytes:
    """Return what ends the last line, nothing if it is whole.

    Raises:
        ValueError: The line is a part of one.
    """
    if not size:
        return b""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        line = data[data.rfind(b"\n") + 1 :]
    if not line:
        return b""
    try:
        parse_sample(line)
    except ValueError as error:
        raise ValueError(
            f"{path} ends in a part of a line: mend or remove {line!r}",
        ) from error
    return b"\n"
