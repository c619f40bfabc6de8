"""Producers and consumers over a bounded queue, with back-pressure."""

import asyncio
from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
)
from contextlib import aclosing
from enum import Enum
from typing import Generic, TypeVar

from ..cancellation import Works, together
from .checks import at_least_one

Item = TypeVar("Item")
Result = TypeVar("Result")


class End(Enum):
    """The mark behind the last item of a queue."""

    END = "end"


class QueueProcessor(Generic[Item, Result]):
    """Processes what several sources produce with several consumers.

        processor = QueueProcessor(parse, consumers=3, queue_size=10)
        results = await processor.process_all(first_file, second_file)

    Producers wait while the queue is full, so that memory is bounded by
    its size, however long the sources are.

    Attributes:
        results: What the latest run has processed so far, in the order
            of completion; also when the run failed or was cancelled.

    Args:
        process: The async function that is called with each item.
        consumers: How many consumers take from the queue.
        queue_size: How many items may wait in the queue.

    Raises:
        ValueError: A number is below 1.
    """

    def __init__(
        self,
        process: Callable[[Item], Awaitable[Result]],
        *,
        consumers: int = 3,
        queue_size: int = 10,
    ) -> None:
        at_least_one(consumers=consumers, queue_size=queue_size)
        self.results: list[Result] = []
        self._process = process
        self._consumers = consumers
        self._queue_size = queue_size

    async def process_all(
        self,
        *sources: Iterable[Item] | AsyncIterable[Item],
    ) -> list[Result]:
        """Process all items of all sources, each exactly once.

        Each source has a producer of its own, which closes it if it is
        an async generator. Returns the results in the order of
        completion. The first failure cancels the rest; what was done
        before is in `results`.

        Raises:
            ExceptionGroup: The processing of an item failed, or a
                source.
        """
        queue: asyncio.Queue[Item | End] = asyncio.Queue(
            self._queue_size,
        )
        results: list[Result] = []
        self.results = results

        left = len(sources)

        async def produce(
            source: Iterable[Item] | AsyncIterable[Item],
        ) -> None:
            nonlocal left
            if isinstance(source, AsyncIterable):
                async with aclosing(works.read(source)) as items:
                    await self.producer(queue, items)
            else:
                await self.producer(queue, source)
            left -= 1
            if not left:
                await queue.put(End.END)

        async with together() as works:
            for source in sources:
                _ = works.start(produce(source))
            for _ in range(self._consumers if sources else 0):
                _ = works.start(self.consumer(queue, results, works))
        return results

    async def producer(
        self,
        queue: asyncio.Queue[Item | End],
        source: Iterable[Item] | AsyncIterable[Item],
    ) -> None:
        """Put all items of the source into the queue, as it has room.

        An iterable that is not async must not block: it is read in the
        event loop.
        """
        if isinstance(source, AsyncIterable):
            async for item in source:
                await queue.put(item)
        else:
            for item in source:
                await queue.put(item)

    async def consumer(
        self,
        queue: asyncio.Queue[Item | End],
        results: list[Result],
        works: Works,
    ) -> None:
        """Process items until the end mark, and add to results."""
        while (item := await queue.get()) is not End.END:
            results.append(await self._process(item))
            await works.go_on()
        # For the next consumer: one mark ends any number of them.
        queue.put_nowait(End.END)
