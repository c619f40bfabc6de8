"""Streams training data from a source into a store, in batches."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from ..cancellation import Works, together
from .lines import read_lines
from .samples import Sample, parse_sample
from .store import Store

Batch = Sequence[bytes]
Outcomes = Sequence[Sample | Exception]
Preprocessing = tuple[Batch, asyncio.Future[Outcomes]]


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that is no sample.

    Attributes:
        position: How many records come before it in the source.
        record: The record itself.
        error: What is wrong with it.
    """

    position: int
    record: bytes
    error: Exception


class BadRecordError(ValueError):
    """A record was bad, and nobody wanted to skip it."""

    def __init__(self, bad: BadRecord) -> None:
        super().__init__(bad)
        self.bad = bad

    def __str__(self) -> str:
        return f"record {self.bad.position} is bad: {self.bad.error}"


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """What a pipeline did: how many records it saved and skipped."""

    saved: int
    skipped: int


def fetch_training_data(
    path: str | Path,
) -> AsyncGenerator[bytes, None]:
    """Yield the records of a file of JSON lines, unread as yet.

    So a bad record is for `preprocess_batch` to find, and the next ones
    can be had.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The path is a folder, a pipe or the like.
    """
    return read_lines(Path(path))


async def preprocess_batch(batch: Batch) -> list[Sample | Exception]:
    """Return for each record its sample, or what is wrong with it.

    It works in a thread, and so does not hold up the loop.
    """
    return await asyncio.to_thread(_outcomes, batch)


def _outcomes(batch: Batch) -> list[Sample | Exception]:
    return [_outcome(record) for record in batch]


def _outcome(record: bytes) -> Sample | Exception:
    try:
        return parse_sample(record)
    except ValueError as error:
        return error


async def save_to_storage(
    samples: Sequence[Sample],
    store: Store,
) -> int:
    """Save samples, if there are any, and return how many.

    Raises:
        Exception: What the store raised.
    """
    if samples:
        await store.save(samples)
    return len(samples)


async def data_pipeline(
    source: AsyncIterable[bytes],
    store: Store,
    *,
    batch_size: int = 25,
    limit: int = 4,
    preprocess: Callable[
        [Batch],
        Awaitable[Outcomes],
    ] = preprocess_batch,
    report_bad: Callable[[BadRecord], None] | None = None,
    show_progress: Callable[[int], None] | None = None,
) -> PipelineResult:
    """Preprocess the records of a source in batches, and save them.

    Batches are preprocessed at the same time and saved one by one, in
    the order of the source. At most `limit` of them are in memory: the
    source is asked for more only when one has been saved. An async
    generator is closed in any case.

    When it fails, all batches up to a certain one are saved, and none
    after it.

    Args:
        source: Where records come from, such as `fetch_training_data`.
        store: Where samples go, such as `DataStore`.
        batch_size: How many records are preprocessed and saved
            together.
        limit: The most batches between source and store.
        preprocess: Returns a sample or an exception for each record.
        report_bad: Is told of each bad record, which is then skipped.
            Without it, the first one fails the run.
        show_progress: Is told after each batch how many records are
            done.

    Raises:
        ExceptionGroup: It holds what the source, the preprocessing or
            the store raised, or the BadRecordError.
        TypeError: The source is no async iterable.
        ValueError: The batch size or the limit is below 1.
    """
    _check_count("batch_size", batch_size)
    _check_count("limit", limit)
    if not isinstance(source, AsyncIterable):
        raise TypeError(
            f"source must be an async iterable, not {source!r}",
        )
    free = asyncio.Semaphore(limit)
    in_flight = asyncio.Queue[Preprocessing | None]()

    async def read(works: Works) -> None:
        async with aclosing(works.read(source)) as records:
            await free.acquire()
            while batch := await _next_batch(records, batch_size):
                outcomes = asyncio.Future[Outcomes]()
                _ = works.start(work(batch, outcomes))
                in_flight.put_nowait((batch, outcomes))
                await free.acquire()
        in_flight.put_nowait(None)

    async def work(
        batch: Batch,
        outcomes: asyncio.Future[Outcomes],
    ) -> None:
        outcomes.set_result(await preprocess(batch))

    async def save_in_order(works: Works) -> PipelineResult:
        saved = skipped = 0
        while preprocessing := await in_flight.get():
            batch, outcomes = preprocessing
            # Does not end for a batch that fails, but with all works.
            await asyncio.wait([outcomes])
            position = saved + skipped
            samples = _sort_out(
                batch,
                outcomes.result(),
                position,
                report_bad,
            )
            saved += await save_to_storage(samples, store)
            await works.go_on()
            skipped += len(batch) - len(samples)
            if show_progress is not None:
                show_progress(saved + skipped)
            free.release()
        return PipelineResult(saved, skipped)

    async with together() as works:
        _ = works.start(read(works))
        saving = works.start(save_in_order(works))
    return saving.result()


async def _next_batch(
    records: AsyncIterator[bytes],
    size: int,
) -> list[bytes]:
    batch = []
    async for record in records:
        batch.append(record)
        if len(batch) == size:
            break
    return batch


def _sort_out(
    batch: Batch,
    outcomes: Outcomes,
    position: int,
    report_bad: Callable[[BadRecord], None] | None,
) -> list[Sample]:
    """Return the samples, and report or raise what is none."""
    samples = []
    results = zip(batch, outcomes, strict=True)
    for index, (record, outcome) in enumerate(results, position):
        if isinstance(outcome, Sample):
            samples.append(outcome)
            continue
        bad = BadRecord(index, record, outcome)
        if report_bad is None:
            raise BadRecordError(bad) from outcome
        report_bad(bad)
    return samples


def _check_count(name: str, count: int) -> None:
    if count < 1:
        raise ValueError(f"{name} must be at least 1, not {count}")
