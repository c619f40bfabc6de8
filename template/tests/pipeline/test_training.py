"""Tests of the pipeline: order, limits, failures, cancellation."""

import asyncio
import contextlib
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Sequence,
)
from pathlib import Path
from typing import Any, Self

import pytest

from tests.subject import pipeline

Outcomes = list[pipeline.Sample | Exception]


class Source:
    """Yields records of numbers, and remembers how many were taken."""

    def __init__(self, *bad: int) -> None:
        self.bad = bad
        self.taken = 0
        self.closed = 0

    async def records(self, count: int) -> AsyncGenerator[bytes, None]:
        """Yield so many records, one at a time."""
        try:
            for number in range(count):
                self.taken += 1
                yield b"bad" if number in self.bad else record(number)
                await asyncio.sleep(0)
        finally:
            self.closed += 1

    async def that_hangs(self) -> AsyncGenerator[bytes, None]:
        """Yield one batch, and then wait for ever."""
        async for number in self.records(25):
            yield number
        await self.cleanly_hang()

    async def cleanly_hang(self) -> None:
        """Wait for ever, and take a second to end."""
        self.closed = 0
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            self.closed += 1

    async def that_fails(self) -> AsyncGenerator[bytes, None]:
        """Yield some records, and then raise."""
        async for number in self.records(30):
            yield number
        raise LookupError("the source is gone")


class Store:
    """Keeps batches of samples, each as long as it is told to take."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds
        self.batches: list[list[float]] = []
        self.saving = asyncio.Event()

    @property
    def numbers(self) -> list[float]:
        """All that was saved, in order."""
        return [number for batch in self.batches for number in batch]

    async def save(self, samples: Sequence[pipeline.Sample]) -> None:
        """Keep the samples."""
        self.saving.set()
        await asyncio.sleep(self.seconds)
        self.batches.append([sample.target for sample in samples])


class Preprocessing:
    """Parses records in virtual time, and counts what is under way."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        self.seconds = seconds
        self.calls = 0
        self.active = 0
        self.most = 0

    async def __call__(self, batch: Sequence[bytes]) -> Outcomes:
        """Return the samples after some seconds."""
        seconds = self.seconds(self.calls)
        self.calls += 1
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.active -= 1
        return [pipeline.parse_sample(record) for record in batch]


def record(number: int) -> bytes:
    return pipeline.Sample((number,), number).to_json().encode()


def virtual_time() -> float:
    return asyncio.get_running_loop().time()


def other_tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_a_file_goes_through_into_a_store(
    tmp_path: Path,
    store: pipeline.DataStore,
) -> None:
    lines = b"\n".join(map(record, range(60)))
    await asyncio.to_thread((tmp_path / "in").write_bytes, lines)

    result = await pipeline.data_pipeline(
        pipeline.fetch_training_data(str(tmp_path / "in")),
        store,
    )

    assert result == pipeline.PipelineResult(saved=60, skipped=0)
    targets = [sample.target async for sample in store.read()]
    assert targets == list(range(60))


async def test_a_missing_file_fails_the_run(
    tmp_path: Path,
    store: pipeline.DataStore,
) -> None:
    source = pipeline.fetch_training_data(tmp_path / "none")

    with pytest.raises(ExceptionGroup) as caught:
        await pipeline.data_pipeline(source, store)

    assert caught.group_contains(FileNotFoundError)


async def test_batches_are_of_25_records() -> None:
    store = Store()

    await pipeline.data_pipeline(Source().records(60), store)

    assert [len(batch) for batch in store.batches] == [25, 25, 10]


@pytest.mark.parametrize("count", [0, 1, 24, 25, 26])
async def test_every_count_of_records_is_saved(count: int) -> None:
    store = Store()

    result = await pipeline.data_pipeline(
        Source().records(count),
        store,
    )

    assert result == pipeline.PipelineResult(saved=count, skipped=0)
    assert store.numbers == list(range(count))


async def test_no_records_save_nothing() -> None:
    store = Store()

    await pipeline.data_pipeline(Source().records(0), store)

    assert store.batches == []


@pytest.mark.looptime
async def test_slow_batches_do_not_change_the_order() -> None:
    store = Store()

    await pipeline.data_pipeline(
        Source().records(40),
        store,
        batch_size=5,
        preprocess=Preprocessing(lambda call: 8 - call),
    )

    assert store.numbers == list(range(40))


@pytest.mark.looptime
async def test_as_many_batches_run_at_once_as_the_limit_says() -> None:
    preprocess = Preprocessing(lambda _: 1)
    start = virtual_time()

    await pipeline.data_pipeline(
        Source().records(60),
        Store(),
        batch_size=5,
        limit=3,
        preprocess=preprocess,
    )

    assert preprocess.most == 3
    assert virtual_time() - start == pytest.approx(4, abs=0.1)


@pytest.mark.looptime
async def test_a_slow_store_holds_back_the_source() -> None:
    source, store = Source(), Store(seconds=3600)
    run = asyncio.create_task(
        pipeline.data_pipeline(
            source.records(1000),
            store,
            batch_size=5,
            limit=3,
            preprocess=Preprocessing(lambda _: 0),
        ),
    )

    await asyncio.sleep(60)
    assert source.taken == 15
    await asyncio.sleep(3600)
    assert source.taken == 20

    run.cancel()
    await asyncio.wait([run])
    assert run.cancelled()


@pytest.mark.looptime
async def test_a_long_source_is_never_far_ahead_of_the_store() -> None:
    source, store = Source(), Store()
    ahead = []

    await pipeline.data_pipeline(
        source.records(2000),
        store,
        batch_size=10,
        limit=2,
        preprocess=Preprocessing(lambda call: call % 3),
        show_progress=lambda done: ahead.append(source.taken - done),
    )

    assert len(store.numbers) == 2000
    assert max(ahead) <= 20


async def test_a_bad_record_is_reported_and_skipped() -> None:
    store = Store()
    bad: list[pipeline.BadRecord] = []

    result = await pipeline.data_pipeline(
        Source(1, 7).records(10),
        store,
        batch_size=4,
        report_bad=bad.append,
    )

    assert result == pipeline.PipelineResult(saved=8, skipped=2)
    found = [(each.position, each.record) for each in bad]
    assert found == [(1, b"bad"), (7, b"bad")]
    assert "no sample" in str(bad[0].error)
    assert store.numbers == [0, 2, 3, 4, 5, 6, 8, 9]


async def test_a_batch_of_bad_records_alone_is_not_saved() -> None:
    store = Store()
    bad: list[pipeline.BadRecord] = []

    await pipeline.data_pipeline(
        Source(2, 3).records(6),
        store,
        batch_size=2,
        report_bad=bad.append,
    )

    assert store.batches == [[0, 1], [4, 5]]


async def test_a_bad_record_that_nobody_reports_fails() -> None:
    source, store = Source(7), Store()

    with pytest.raises(ExceptionGroup) as caught:
        await pipeline.data_pipeline(
            source.records(100),
            store,
            batch_size=2,
        )

    [error] = caught.value.exceptions
    assert isinstance(error, pipeline.BadRecordError)
    assert str(error).startswith(
        "record 7 is bad: the record is no sample",
    )
    assert error.bad.position == 7
    assert error.__cause__ is error.bad.error
    assert store.numbers == [0, 1, 2, 3, 4, 5]
    assert source.closed
    assert other_tasks() == set()


async def test_a_source_that_fails_fails_the_run() -> None:
    source, store = Source(), Store()

    with pytest.raises(ExceptionGroup) as caught:
        await pipeline.data_pipeline(source.that_fails(), store)

    assert caught.value.exceptions[0].args == ("the source is gone",)
    assert len(caught.value.exceptions) == 1
    assert other_tasks() == set()


class BrokenStore(Store):
    """Saves two batches, and then no more."""

    async def save(self, samples: Sequence[pipeline.Sample]) -> None:
        """Save two batches."""
        if len(self.batches) == 2:
            raise OSError("disk full")
        await super().save(samples)


async def test_a_store_that_fails_stops_the_run_at_that_batch() -> None:
    source, store = Source(), BrokenStore()

    with pytest.raises(ExceptionGroup) as caught:
        await pipeline.data_pipeline(source.records(10_000), store)

    assert [str(e) for e in caught.value.exceptions] == ["disk full"]
    assert store.numbers == list(range(50))
    assert source.taken <= 150
    assert source.closed
    assert other_tasks() == set()


@pytest.mark.looptime
async def test_preprocessing_that_fails_cancels_the_rest() -> None:
    source, store = Source(), Store()
    waiting = Preprocessing(lambda _: 3600)

    async def preprocess(batch: Sequence[bytes]) -> Outcomes:
        if batch[0] == record(4):
            raise LookupError("no service")
        return await waiting(batch)

    with pytest.raises(ExceptionGroup) as caught:
        await pipeline.data_pipeline(
            source.records(1000),
            store,
            batch_size=2,
            preprocess=preprocess,
        )

    assert [str(e) for e in caught.value.exceptions] == ["no service"]
    assert (waiting.calls > 0, waiting.active) == (True, 0)
    assert store.batches == []
    assert source.closed


async def test_outcomes_that_match_no_records_fail_the_run() -> None:
    async def lose_one(batch: Sequence[bytes]) -> Outcomes:
        return (await pipeline.preprocess_batch(batch))[1:]

    with pytest.raises(ExceptionGroup) as caught:
        await pipeline.data_pipeline(
            Source().records(10),
            Store(),
            preprocess=lose_one,
        )

    assert caught.group_contains(ValueError, match="shorter")


@pytest.mark.parametrize("records", [4, 40])
async def test_preprocessing_that_is_cancelled_fails_the_run(
    records: int,
) -> None:
    async def preprocess(_: Sequence[bytes]) -> Outcomes:
        raise asyncio.CancelledError

    with pytest.raises(ExceptionGroup) as caught:
        await pipeline.data_pipeline(
            Source().records(records),
            Store(),
            batch_size=2,
            preprocess=preprocess,
        )

    assert caught.group_contains(RuntimeError, match="was cancelled")


@pytest.mark.looptime
async def test_a_source_that_resists_cancellation_is_left() -> None:
    class Resisting:
        def __aiter__(self) -> Self:
            return self

        async def __anext__(self) -> bytes:
            # ast-grep-ignore: suppressed-cancellation
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1)
            return record(1)

    async def fail(_: Sequence[bytes]) -> Outcomes:
        raise LookupError("no service")

    with pytest.raises(ExceptionGroup) as caught:
        await pipeline.data_pipeline(
            Resisting(),
            Store(),
            batch_size=1,
            preprocess=fail,
        )

    assert caught.group_contains(LookupError, match="no service")


async def test_the_generator_of_an_iterable_is_closed() -> None:
    class Records:
        def __init__(self) -> None:
            self.closed = 0
            self.opened: list[AsyncGenerator[bytes, None]] = []

        def __aiter__(self) -> AsyncGenerator[bytes, None]:
            self.opened.append(self.records())
            return self.opened[0]

        async def records(self) -> AsyncGenerator[bytes, None]:
            try:
                yield b"bad"
                yield b"bad"
            finally:
                self.closed += 1

    source = Records()
    with pytest.raises(ExceptionGroup):
        await pipeline.data_pipeline(source, Store(), batch_size=1)

    assert source.closed


@pytest.mark.looptime
async def test_cancelling_a_run_that_waits_for_its_source() -> None:
    source, store = Source(), Store()
    run = asyncio.create_task(
        pipeline.data_pipeline(source.that_hangs(), store),
    )
    await asyncio.sleep(10)

    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    assert store.numbers == list(range(25))
    assert source.closed
    assert other_tasks() == set()


@pytest.mark.looptime
async def test_cancelling_again_while_the_source_is_closed() -> None:
    run = asyncio.create_task(
        pipeline.data_pipeline(Source().that_hangs(), Store()),
    )
    await asyncio.sleep(10)

    run.cancel()
    await asyncio.sleep(0.5)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    assert other_tasks() == set()


@pytest.mark.looptime
async def test_cancelling_a_run_that_preprocesses() -> None:
    source, preprocess = Source(), Preprocessing(lambda _: 3600)
    run = asyncio.create_task(
        pipeline.data_pipeline(
            source.records(1000),
            Store(),
            preprocess=preprocess,
        ),
    )
    await asyncio.sleep(10)

    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    assert (preprocess.most, preprocess.active) == (4, 0)
    assert source.closed
    assert other_tasks() == set()


@pytest.mark.looptime
async def test_a_timeout_stops_the_run() -> None:
    source, store = Source(), Store(seconds=3600)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(
            pipeline.data_pipeline(
                source.records(1000),
                store,
                preprocess=Preprocessing(lambda _: 0),
            ),
            timeout=5400,
        )

    assert store.numbers == list(range(25))
    assert source.closed


async def test_cancelling_before_the_start_takes_nothing() -> None:
    source, store = Source(), Store()
    run = asyncio.create_task(
        pipeline.data_pipeline(source.records(100), store),
    )

    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    assert (source.taken, store.batches) == (0, [])


async def test_progress_is_shown_after_every_batch() -> None:
    shown: list[int] = []
    bad: list[pipeline.BadRecord] = []

    await pipeline.data_pipeline(
        Source(3).records(60),
        Store(),
        report_bad=bad.append,
        show_progress=shown.append,
    )

    assert shown == [25, 50, 60]


async def test_a_source_that_cannot_be_closed_will_do() -> None:
    class Two:
        def __init__(self) -> None:
            self.left = [record(2), record(1)]

        def __aiter__(self) -> Self:
            return self

        async def __anext__(self) -> bytes:
            if self.left:
                return self.left.pop()
            raise StopAsyncIteration

    store = Store()

    await pipeline.data_pipeline(Two(), store)

    assert store.numbers == [1, 2]


@pytest.mark.parametrize("name", ["batch_size", "limit"])
@pytest.mark.parametrize("number", [0, -1])
async def test_batches_and_limits_of_nothing_are_refused(
    name: str,
    number: int,
) -> None:
    source = Source()
    options: dict[str, Any] = {name: number}

    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        await pipeline.data_pipeline(
            source.records(1),
            Store(),
            **options,
        )

    assert source.taken == 0


async def test_a_source_that_is_none_is_refused() -> None:
    source: AsyncIterable[bytes] = [b"record"]  # type: ignore[assignment]

    with pytest.raises(TypeError, match="must be an async iterable"):
        await pipeline.data_pipeline(source, Store())


async def test_preprocessing_works_off_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = []
    monkeypatch.setattr(
        f"{pipeline.__name__}.training.parse_sample",
        lambda _: threads.append(threading.current_thread()),
    )

    await pipeline.preprocess_batch([b"record"])

    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


async def test_preprocessing_keeps_the_order_of_good_and_bad() -> None:
    good, bad = await pipeline.preprocess_batch([record(1), b"bad"])

    assert good == pipeline.Sample((1,), 1)
    assert isinstance(bad, ValueError)


async def test_saving_says_how_many_were_saved(
    store: pipeline.DataStore,
) -> None:
    samples = [pipeline.Sample((1,), 1), pipeline.Sample((2,), 2)]

    assert await pipeline.save_to_storage(samples, store) == 2
    assert await pipeline.save_to_storage([], store) == 0

    assert [sample async for sample in store.read()] == samples


async def fail() -> None:
    raise LookupError("no luck")


async def handle_a_failed_group() -> None:
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())


async def test_a_source_may_handle_a_failed_group() -> None:
    async def source() -> AsyncGenerator[bytes, None]:
        for number in range(30):
            await handle_a_failed_group()
            yield record(number)

    store = Store()
    await pipeline.data_pipeline(source(), store)

    assert store.numbers == list(range(30))


async def test_preprocessing_may_handle_a_failed_group() -> None:
    async def preprocess(batch: Sequence[bytes]) -> Outcomes:
        await handle_a_failed_group()
        return await pipeline.preprocess_batch(batch)

    store = Store()
    await pipeline.data_pipeline(
        Source().records(30),
        store,
        preprocess=preprocess,
    )

    assert store.numbers == list(range(30))


async def test_a_store_may_handle_a_failed_group() -> None:
    class Handling(Store):
        async def save(
            self,
            samples: Sequence[pipeline.Sample],
        ) -> None:
            await handle_a_failed_group()
            await super().save(samples)

    store = Handling()
    await pipeline.data_pipeline(Source().records(60), store)

    assert store.numbers == list(range(60))


async def test_a_source_that_is_cancelled_fails_the_run() -> None:
    async def source() -> AsyncGenerator[bytes, None]:
        yield record(1)
        raise asyncio.CancelledError

    with pytest.raises(ExceptionGroup) as caught:
        await pipeline.data_pipeline(source(), Store())

    assert caught.group_contains(RuntimeError, match="was cancelled")


async def test_a_failure_leaves_the_caller_uncancelled() -> None:
    with pytest.raises(ExceptionGroup):
        await pipeline.data_pipeline(Source().that_fails(), Store())

    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
