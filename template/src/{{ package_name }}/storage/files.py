"""Reads and writes files of lines: streaming, atomic, off the loop."""

import asyncio
import os
import secrets
import stat
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Iterable,
)
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import aiofiles
from aiofiles.threadpool.text import AsyncTextIOWrapper

from ..cancellation import finish
from ..threads import in_thread

# Characters per call in a thread: one call a line would take most of
# the time to change threads.
CHUNK_SIZE = 64 * 1024


class AsyncFileHandler:
    r"""Reads and writes the lines of text files.

        files = AsyncFileHandler()
        await files.write_lines("names.txt", ["Ada", "Grace"])
        names = [line async for line in files.read_lines("names.txt")]

    Lines have no line ending in Python. In the file each ends in "\n"
    when written, on every system; when read, "\n", "\r\n" and "\r" end
    a line. So lines come back as they were written.

    Args:
        encoding: The encoding of the files, whatever the system's is.

    Raises:
        ValueError: There is no such encoding of text.
    """

    def __init__(self, encoding: str = "utf-8") -> None:
        try:
            "a".encode(encoding)
        except (LookupError, UnicodeError) as error:
            raise ValueError(
                f"encoding must be one of text: {error}",
            ) from error
        self.encoding = encoding

    async def read_lines(
        self,
        path: str | Path,
    ) -> AsyncGenerator[str, None]:
        """Yield the lines of a file, without their endings.

        Little more than 64 KiB and one line are in memory at a time.
        The file is closed at the end, or when the generator is: who
        leaves it early must close it, by `contextlib.aclosing`.

        Raises:
            FileNotFoundError: There is no such file.
            UnicodeDecodeError: The file has another encoding.
            ValueError: The path is a folder, a pipe or the like.
        """
        await in_thread(_check_regular, Path(path))
        async with self._open(Path(path), "r") as file:
            while lines := await finish(file.readlines(CHUNK_SIZE)):
                for line in lines:
                    yield line.removesuffix("\n")

    async def write_lines(
        self,
        path: str | Path,
        lines: Iterable[str] | AsyncIterable[str],
    ) -> int:
        """Replace the lines of a file and return how many were written.

        The file is written aside and then takes the old one's place,
        with its permissions. So readers, and whoever comes after a
        failure, a cancellation or a crash, find all old lines or all
        new ones. A crash may leave a file `.….tmp` beside it. A
        symbolic link stays one; the owner of the file becomes who
        writes it.

        An async generator of lines is closed in any case.

        Raises:
            FileNotFoundError: There is no such folder.
            PermissionError: The file or folder may not be written.
            TypeError: `lines` is one string, or a line is none.
            UnicodeEncodeError: The encoding has no such character.
            ValueError: A line has a line break in it, or the path is a
                folder, a pipe or the like.
        """
        if isinstance(lines, str):
            raise TypeError("lines must be several strings, not one")
        async with (
            _closing(lines),
            _replacement(Path(path)) as temporary,
            self._open(temporary, "w") as file,
        ):
            writer = _Writer(file)
            if isinstance(lines, AsyncIterable):
                async for line in lines:
                    await writer.add(line)
            else:
                for line in lines:
                    await writer.add(line)
            await writer.flush()
        return writer.count

    @asynccontextmanager
    async def _open(
        self,
        path: Path,
        mode: Literal["r", "w"],
    ) -> AsyncIterator[AsyncTextIOWrapper]:
        """Open a file; close it even if cancelled while it opens."""
        opening = asyncio.ensure_future(
            aiofiles.open(
                path,
                mode,
                encoding=self.encoding,
                newline=None if mode == "r" else "\n",
            ),
        )
        try:
            yield await finish(opening)
        finally:
            await _close(opening)


async def _close(opening: asyncio.Future[AsyncTextIOWrapper]) -> None:
    if not opening.cancelled() and not opening.exception():
        await finish(opening.result().close())


class _Writer:
    """Writes lines, many per call in a thread, and counts them."""

    def __init__(self, file: AsyncTextIOWrapper) -> None:
        self.count = 0
        self._file = file
        self._chunk: list[str] = []
        self._size = 0

    async def add(self, line: str) -> None:
        self.count += 1
        if not isinstance(line, str):
            raise TypeError(f"line {self.count} is no string: {line!r}")
        if "\n" in line or "\r" in line:
            raise ValueError(
                f"line {self.count} has a line break in it: {line!r}",
            )
        self._chunk += [line, "\n"]
        self._size += len(line) + 1
        if self._size >= CHUNK_SIZE:
            await self._write()

    async def flush(self) -> None:
        """Write what is left, and wait until the disk has it."""
        await self._write()
        await finish(self._file.flush())
        await in_thread(os.fsync, self._file.fileno())

    async def _write(self) -> None:
        await finish(self._file.write("".join(self._chunk)))
        self._chunk.clear()
        self._size = 0


@asynccontextmanager
async def _closing(lines: object) -> AsyncIterator[None]:
    """Close an async generator at the end; others cannot be closed."""
    try:
        yield
    finally:
        if isinstance(lines, AsyncGenerator):
            await lines.aclose()


@asynccontextmanager
async def _replacement(path: Path) -> AsyncIterator[Path]:
    """Give an empty file, which replaces `path` if all goes well."""
    target = await in_thread(_find_target, path)
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        await in_thread(_create_like, target, temporary)
        yield temporary
        await in_thread(os.replace, temporary, target)
    finally:
        await in_thread(partial(temporary.unlink, missing_ok=True))


def _find_target(path: Path) -> Path:
    """Return what a write to `path` replaces: where links lead to."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(f"{path} is a link that leads to itself")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent}")
    _check_regular(target)
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"{path} may not be written")
    return target


def _check_regular(path: Path) -> None:
    """Refuse what blocks a thread without end or cannot be replaced."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no regular file")


def _create_like(target: Path, temporary: Path) -> None:
    """Create an empty file, which only readers of `target` may read."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    if target.exists():
        mode = stat.S_IMODE(target.stat().st_mode)
        os.close(os.open(temporary, flags, mode))
        temporary.chmod(mode)
    else:
        os.close(os.open(temporary, flags, 0o666))
