"""Reads the lines of a file, off the loop and a few at a time."""

import asyncio
from collections.abc import AsyncGenerator
from io import BufferedReader
from pathlib import Path

from ..cancellation import finish
from ..threads import in_thread

# Bytes per call in a thread.
CHUNK_SIZE = 64 * 1024


async def read_lines(path: Path) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a file, without the line feed.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The path is a folder, a pipe or the like.
    """
    loop = asyncio.get_running_loop()
    opening = loop.run_in_executor(None, _open, path)
    try:
        file = await finish(opening)
        while lines := await in_thread(file.readlines, CHUNK_SIZE):
            for line in lines:
                yield line.removesuffix(b"\n")
    finally:
        await _close(opening)


async def _close(opening: asyncio.Future[BufferedReader]) -> None:
    if not opening.cancelled() and not opening.exception():
        await in_thread(opening.result().close)


def _open(path: Path) -> BufferedReader:
    # A pipe would block the thread for as long as nobody writes.
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no regular file")
    return path.open("rb")
