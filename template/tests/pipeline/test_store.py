"""Tests of the store: whole batches, in order, in a real file."""

import asyncio
import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.conftest import Gate
from tests.subject import pipeline

pytestmark = pytest.mark.integration


def samples(count: int, first: int = 0) -> list[pipeline.Sample]:
    numbers = range(first, first + count)
    return [pipeline.Sample((number,), number) for number in numbers]


async def stored(store: pipeline.DataStore) -> list[pipeline.Sample]:
    return [sample async for sample in store.read()]


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Let no file grow beyond 64 KiB, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_samples_come_back_in_the_order_saved(
    store: pipeline.DataStore,
) -> None:
    await store.save(samples(3))
    await store.save(samples(2, first=3))

    assert await stored(store) == samples(5)


async def test_saving_nothing_is_fine(
    store: pipeline.DataStore,
) -> None:
    await store.save([])

    assert await stored(store) == []


async def test_what_is_there_is_kept_by_another_store(
    store: pipeline.DataStore,
) -> None:
    await store.save(samples(1))

    await pipeline.DataStore(str(store.path)).save(samples(1, first=1))

    assert await stored(store) == samples(2)


def first_target(batch: list[pipeline.Sample]) -> float:
    return batch[0].target


async def test_concurrent_saves_do_not_mix(
    store: pipeline.DataStore,
) -> None:
    batches = [samples(50, first=50 * index) for index in range(8)]

    await asyncio.gather(*map(store.save, batches))

    found = await stored(store)
    saved = [found[i : i + 50] for i in range(0, 400, 50)]
    assert sorted(saved, key=first_target) == batches


async def test_reading_before_anything_is_saved_is_an_error(
    store: pipeline.DataStore,
) -> None:
    with pytest.raises(FileNotFoundError):
        await stored(store)


async def test_a_file_that_holds_something_else_is_an_error(
    store: pipeline.DataStore,
) -> None:
    await asyncio.to_thread(store.path.write_text, "a text\n")

    with pytest.raises(ValueError, match="the record is no sample"):
        await stored(store)


async def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    store = pipeline.DataStore(tmp_path / "none" / "samples.jsonl")

    with pytest.raises(FileNotFoundError):
        await store.save(samples(1))


@pytest.mark.usefixtures("full_disk")
async def test_a_full_disk_takes_no_part_of_a_batch(
    store: pipeline.DataStore,
) -> None:
    await store.save(samples(3))
    batch = await asyncio.to_thread(samples, 4_000)

    with pytest.raises(OSError, match="File too large"):
        await store.save(batch)

    assert await stored(store) == samples(3)


async def test_cancelling_a_save_ends_it_first(
    store: pipeline.DataStore,
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
) -> None:
    opening = Path.open

    def open_slowly(path: Path, mode: str) -> object:
        gate.hold()
        return opening(path, mode)

    monkeypatch.setattr(Path, "open", open_slowly)
    saving = asyncio.create_task(store.save(samples(2)))
    await asyncio.to_thread(gate.reached.wait)

    saving.cancel()
    await asyncio.sleep(0)
    saving.cancel()
    await asyncio.sleep(0)
    assert not saving.done()
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await saving

    assert await stored(store) == samples(2)


async def test_leaving_early_closes_the_file(
    store: pipeline.DataStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await store.save(samples(3))
    files = []
    opening = Path.open

    def open_and_keep(path: Path, mode: str) -> object:
        files.append(opening(path, mode))
        return files[-1]

    monkeypatch.setattr(Path, "open", open_and_keep)
    async with contextlib.aclosing(store.read()) as found:
        await anext(found)
        assert not files[0].closed

    assert files[0].closed


async def test_cancelling_while_the_file_opens_closes_it(
    store: pipeline.DataStore,
    monkeypatch: pytest.MonkeyPatch,
    gate: Gate,
) -> None:
    await store.save(samples(3))
    files = []
    opening = Path.open

    def open_slowly(path: Path, mode: str) -> object:
        files.append(opening(path, mode))
        gate.hold()
        return files[-1]

    monkeypatch.setattr(Path, "open", open_slowly)
    reading = asyncio.create_task(stored(store))
    await asyncio.to_thread(gate.reached.wait)

    reading.cancel()
    await asyncio.sleep(0)
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert files[0].closed


async def test_a_pipe_that_nobody_writes_to_is_refused(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ValueError, match="no regular file"):
        await stored(pipeline.DataStore(tmp_path / "pipe"))


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


async def test_a_line_that_was_cut_off_is_refused_and_kept(
    store: pipeline.DataStore,
) -> None:
    await store.save(samples(1))
    append(store.path, '{"features": [2')
    before = store.path.read_bytes()

    with pytest.raises(ValueError, match=r"ends in a part.*features"):
        await store.save(samples(2, first=1))

    assert store.path.read_bytes() == before


async def test_a_last_line_without_an_end_is_kept_and_ended(
    store: pipeline.DataStore,
) -> None:
    append(store.path, samples(1)[0].to_json())

    await store.save(samples(2, first=1))

    assert await stored(store) == samples(3)


@pytest.mark.parametrize("text", ["", "{", "{}\n"])
async def test_saving_nothing_changes_nothing(
    store: pipeline.DataStore,
    text: str,
) -> None:
    append(store.path, text)

    await store.save([])

    assert store.path.read_text() == text
