"""Tests of the files: real ones, whole or as they were before."""

import asyncio
import contextlib
import io
import os
import threading
import tracemalloc
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import IO, Any, Self
from unittest.mock import create_autospec

import pytest

from tests.storage.conftest import Gate
from tests.subject import storage

pytestmark = pytest.mark.integration


class OpenedFiles:
    """Stands for `open`, and remembers the files and their threads."""

    def __init__(self) -> None:
        self.files: list[IO[Any]] = []
        self.threads: set[threading.Thread] = set()

    def open(
        self,
        path: Path,
        mode: str,
        encoding: str,
        newline: str | None,
        **_: object,
    ) -> IO[Any]:
        """Open a file."""
        file = path.open(mode, encoding=encoding, newline=newline)
        self.files.append(file)
        self.threads.add(threading.current_thread())
        return file


class Lines:
    """A source of lines, which knows how it ended."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.closed = False

    async def without_end(self) -> AsyncGenerator[str, None]:
        """Yield more than fits into a chunk, then wait for ever."""
        try:
            yield "x" * 100_000
            self.waiting.set()
            await asyncio.Event().wait()
        finally:
            self.closed = True

    async def three(self) -> AsyncGenerator[str, None]:
        """Yield three lines."""
        try:
            yield "a"
            yield "b"
            yield "c"
        finally:
            self.closed = True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> OpenedFiles:
    """Return what sees the files that are opened."""
    opened = OpenedFiles()
    monkeypatch.setattr("aiofiles.threadpool.sync_open", opened.open)
    return opened


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """Return a file with one line, alone in its folder."""
    path = tmp_path / "folder" / "lines.txt"
    path.parent.mkdir()
    path.write_text("old\n")
    return path


@pytest.fixture
def traced_memory() -> Iterator[None]:
    """Measure the memory that Python uses during the test."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.fixture
def handler() -> storage.AsyncFileHandler:
    """Return a handler of files in UTF-8."""
    return storage.AsyncFileHandler()


async def read(
    path: Path,
    handler: storage.AsyncFileHandler | None = None,
) -> list[str]:
    handler = handler or storage.AsyncFileHandler()
    return [line async for line in handler.read_lines(path)]


def permissions(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def set_permissions(path: Path, mode: int) -> None:
    path.chmod(mode)


def assert_untouched(old_file: Path) -> None:
    assert list(old_file.parent.iterdir()) == [old_file]
    assert old_file.read_text() == "old\n"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        ["one"],
        ["", "a", "", ""],
        [" padded\t"],
        ["é 😀 \u2028 \x0b \x0c \x1c \x85 \x00"],
    ],
)
async def test_lines_come_back_as_they_were_written(
    tmp_path: Path,
    handler: storage.AsyncFileHandler,
    lines: list[str],
) -> None:
    count = await handler.write_lines(tmp_path / "file", lines)

    assert count == len(lines)
    assert await read(tmp_path / "file") == lines


async def test_every_line_ends_in_a_line_feed(
    tmp_path: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    await handler.write_lines(str(tmp_path / "file"), ["é", "b"])

    assert (tmp_path / "file").read_bytes() == b"\xc3\xa9\nb\n"


async def test_every_usual_line_ending_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a\r\nb\rc\n\nd")

    assert await read(tmp_path / "file") == ["a", "b", "c", "", "d"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig"])
async def test_the_encoding_is_the_one_asked_for(
    tmp_path: Path,
    encoding: str,
) -> None:
    handler = storage.AsyncFileHandler(encoding)
    lines = ["é" * 50_000, "b" * 50_000]

    await handler.write_lines(tmp_path / "file", lines)

    text = (tmp_path / "file").read_text(encoding=encoding)
    assert text.split() == lines
    assert await read(tmp_path / "file", handler) == lines


@pytest.mark.parametrize("encoding", ["", "utf-9", "hex", "undefined"])
def test_an_encoding_that_is_none_is_refused(encoding: str) -> None:
    with pytest.raises(
        ValueError,
        match="encoding must be one of text",
    ):
        storage.AsyncFileHandler(encoding)


async def test_a_file_of_another_encoding_is_an_error(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_bytes(b"\xff\xff")

    with pytest.raises(UnicodeDecodeError):
        await read(tmp_path / "file")


async def test_reading_a_missing_file_is_an_error(
    tmp_path: Path,
) -> None:
    with pytest.raises(FileNotFoundError):
        await read(tmp_path / "file")


async def test_writing_into_a_missing_folder_is_an_error(
    tmp_path: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*/none"):
        await handler.write_lines(tmp_path / "none" / "file", ["a"])


async def test_a_folder_is_refused(
    tmp_path: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    with pytest.raises(ValueError, match="no regular file"):
        await read(tmp_path)
    with pytest.raises(ValueError, match="no regular file"):
        await handler.write_lines(tmp_path, ["a"])


async def test_a_pipe_that_nobody_writes_to_is_refused(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ValueError, match="no regular file"):
        await read(tmp_path / "pipe")


async def test_one_string_is_not_taken_for_lines(
    old_file: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    with pytest.raises(TypeError, match="several strings, not one"):
        await handler.write_lines(old_file, "text")

    assert_untouched(old_file)


@pytest.mark.parametrize("line", ["a\nb", "a\r", "\r\n"])
async def test_a_line_break_in_a_line_is_refused(
    old_file: Path,
    handler: storage.AsyncFileHandler,
    line: str,
) -> None:
    with pytest.raises(ValueError, match="line 2 has a line break"):
        await handler.write_lines(old_file, ["good", line])

    assert_untouched(old_file)


async def test_a_line_that_is_no_string_is_refused(
    old_file: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    lines: list[Any] = ["good", b"bytes"]

    with pytest.raises(TypeError, match="line 2 is no string"):
        await handler.write_lines(old_file, lines)

    assert_untouched(old_file)


async def test_a_character_that_cannot_be_written_leaves_the_old_file(
    old_file: Path,
) -> None:
    handler = storage.AsyncFileHandler("ascii")

    with pytest.raises(UnicodeEncodeError):
        await handler.write_lines(old_file, ["a", "é"])

    assert_untouched(old_file)


async def test_lines_that_fail_leave_the_old_file(
    old_file: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    def lines() -> Iterator[str]:
        yield "x" * 100_000
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        await handler.write_lines(old_file, lines())

    assert_untouched(old_file)


@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
async def test_a_disk_that_fails_leaves_the_old_file(
    old_file: Path,
    handler: storage.AsyncFileHandler,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(step, fail)

    with pytest.raises(OSError, match="disk full"):
        await handler.write_lines(old_file, ["new"])

    assert_untouched(old_file)


async def test_a_new_file_that_cannot_be_opened_is_removed(
    old_file: Path,
    handler: storage.AsyncFileHandler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("too many open files")

    monkeypatch.setattr("aiofiles.threadpool.sync_open", fail)

    with pytest.raises(OSError, match="too many open files"):
        await handler.write_lines(old_file, ["new"])

    assert_untouched(old_file)


async def test_the_new_lines_are_on_the_disk_before_they_replace(
    old_file: Path,
    handler: storage.AsyncFileHandler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    synced = []
    monkeypatch.setattr(
        "os.fsync",
        lambda file: synced.append(os.fstat(file).st_size),
    )

    await handler.write_lines(old_file, ["new"])

    assert synced == [len("new\n")]


async def test_readers_see_the_old_lines_until_all_are_written(
    old_file: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    async def doubled() -> AsyncGenerator[str, None]:
        yield "x" * 100_000
        yield (await read(old_file))[0] * 2

    await handler.write_lines(old_file, doubled())

    assert (await read(old_file))[1:] == ["oldold"]


async def test_permissions_are_kept(
    old_file: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    set_permissions(old_file, 0o666)

    await handler.write_lines(old_file, ["new"])

    assert permissions(old_file) == 0o666


async def test_a_secret_is_at_no_time_readable_for_others(
    old_file: Path,
    handler: storage.AsyncFileHandler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_permissions(old_file, 0o600)
    modes: list[int] = []
    monkeypatch.setattr(
        Path,
        "chmod",
        lambda path, _: modes.append(permissions(path)),
    )

    async def lines() -> AsyncGenerator[str, None]:
        yield "x" * 100_000
        modes.extend(map(permissions, old_file.parent.iterdir()))

    await handler.write_lines(old_file, lines())

    assert modes == [0o600, 0o600, 0o600]


async def test_a_new_file_has_the_usual_permissions(
    old_file: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    await handler.write_lines(old_file.with_name("new"), ["new"])

    new_file = old_file.with_name("new")
    assert permissions(new_file) == permissions(old_file)


async def test_a_read_only_file_is_not_replaced(
    old_file: Path,
    handler: storage.AsyncFileHandler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The user that may do everything runs tests in containers.
    monkeypatch.setattr("os.access", lambda _, mode: mode != os.W_OK)

    with pytest.raises(PermissionError, match="may not be written"):
        await handler.write_lines(old_file, ["new"])

    assert_untouched(old_file)


async def test_a_symbolic_link_stays_one(
    old_file: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    link = old_file.with_name("link")
    link.symlink_to(old_file)

    await handler.write_lines(link, ["new"])

    assert link.is_symlink()
    assert await read(old_file) == ["new"]


async def test_lines_may_come_one_after_another(
    old_file: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    await handler.write_lines(old_file, Lines().three())

    assert await read(old_file) == ["a", "b", "c"]


async def test_a_file_may_be_rewritten_from_its_own_lines(
    old_file: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    await handler.write_lines(old_file, handler.read_lines(old_file))

    assert_untouched(old_file)


async def test_the_source_of_lines_is_closed_when_writing_fails(
    tmp_path: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    source = Lines()
    lines = source.three()
    await anext(lines)

    with pytest.raises(FileNotFoundError):
        await handler.write_lines(tmp_path / "none" / "file", lines)

    assert source.closed


async def test_an_async_iterator_that_cannot_be_closed_will_do(
    old_file: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    class Twice:
        def __init__(self) -> None:
            self.left = ["b", "a"]

        def __aiter__(self) -> Self:
            return self

        async def __anext__(self) -> str:
            if self.left:
                return self.left.pop()
            raise StopAsyncIteration

    await handler.write_lines(old_file, Twice())

    assert await read(old_file) == ["a", "b"]


async def test_cancelling_leaves_the_old_file_and_closes_the_source(
    old_file: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    source = Lines()
    lines = source.without_end()
    writing = asyncio.create_task(handler.write_lines(old_file, lines))
    await source.waiting.wait()

    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing

    assert_untouched(old_file)
    assert source.closed


async def test_a_timeout_leaves_the_old_file(
    old_file: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    source = Lines()

    async def write() -> None:
        async with asyncio.timeout(None) as limit:
            expire = asyncio.create_task(source.waiting.wait())
            expire.add_done_callback(lambda _: limit.reschedule(0))
            await handler.write_lines(old_file, source.without_end())

    with pytest.raises(TimeoutError):
        await write()

    assert_untouched(old_file)


async def test_cancelling_before_the_start_touches_nothing(
    old_file: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    writing = asyncio.create_task(
        handler.write_lines(old_file, ["new"]),
    )

    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing

    assert_untouched(old_file)


async def test_cancelling_twice_waits_for_the_disk_and_cleans_up(
    old_file: Path,
    handler: storage.AsyncFileHandler,
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
) -> None:
    monkeypatch.setattr("os.fsync", gate.hold)
    writing = asyncio.create_task(
        handler.write_lines(old_file, ["new"]),
    )
    await asyncio.to_thread(gate.reached.wait)

    writing.cancel()
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.sleep(0)
    assert not writing.done()
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await writing

    assert_untouched(old_file)


async def test_cancelling_while_a_file_opens_closes_it(
    old_file: Path,
    handler: storage.AsyncFileHandler,
    monkeypatch: pytest.MonkeyPatch,
    opened: OpenedFiles,
    gate: Gate,
) -> None:
    def open_slowly(path: Path, mode: str, **_: object) -> IO[Any]:
        gate.hold()
        return opened.open(path, mode, "utf-8", None)

    monkeypatch.setattr("aiofiles.threadpool.sync_open", open_slowly)
    writing = asyncio.create_task(
        handler.write_lines(old_file, ["new"]),
    )
    await asyncio.to_thread(gate.reached.wait)

    writing.cancel()
    await asyncio.sleep(0)
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await writing

    assert [file.closed for file in opened.files] == [True]
    assert_untouched(old_file)


async def test_cancelling_a_read_ends_it_before_the_file_is_closed(
    old_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
) -> None:
    events = []

    def read_slowly(_: int) -> list[str]:
        gate.hold()
        events.append("read")
        return []

    file = create_autospec(io.TextIOWrapper, instance=True)
    file.readlines.side_effect = read_slowly
    file.close.side_effect = lambda: events.append("closed")
    monkeypatch.setattr(
        "aiofiles.threadpool.sync_open",
        lambda *_, **__: file,
    )
    reading = asyncio.create_task(read(old_file))
    await asyncio.to_thread(gate.reached.wait)

    reading.cancel()
    await asyncio.sleep(0)
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert events == ["read", "closed"]


async def test_leaving_early_closes_the_file(
    old_file: Path,
    handler: storage.AsyncFileHandler,
    opened: OpenedFiles,
) -> None:
    async with contextlib.aclosing(
        handler.read_lines(old_file),
    ) as lines:
        await anext(lines)
        assert not opened.files[0].closed

    assert opened.files[0].closed


async def test_files_are_opened_off_the_loop(
    old_file: Path,
    handler: storage.AsyncFileHandler,
    opened: OpenedFiles,
) -> None:
    await handler.write_lines(old_file, ["new"])
    await read(old_file)

    assert len(opened.files) == 2
    assert threading.current_thread() not in opened.threads


async def test_concurrent_writers_leave_the_lines_of_one(
    old_file: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    async with asyncio.TaskGroup() as writers:
        for letter in "abcdefgh":
            lines = [letter * 1000] * 200
            writers.create_task(handler.write_lines(old_file, lines))

    assert len(await read(old_file)) == 200
    assert len(set(await read(old_file))) == 1
    assert list(old_file.parent.iterdir()) == [old_file]


@pytest.mark.usefixtures("traced_memory")
async def test_large_files_stream(
    tmp_path: Path,
    handler: storage.AsyncFileHandler,
) -> None:
    lines = ("x" * 499 for _ in range(8_000))

    await handler.write_lines(tmp_path / "file", lines)
    read_lines = handler.read_lines(tmp_path / "file")
    lengths = {len(line) async for line in read_lines}

    _, most = tracemalloc.get_traced_memory()
    assert lengths == {499}
    assert most < 8_000 * 500 / 5


async def test_a_link_that_leads_to_itself_is_an_error(
    tmp_path: Path,
) -> None:
    link = tmp_path / "link"
    link.symlink_to(link)

    with pytest.raises(OSError, match="link"):
        await storage.AsyncFileHandler().write_lines(link, ["a"])
