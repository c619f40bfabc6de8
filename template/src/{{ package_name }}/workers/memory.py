"""Tasks in this process: for development, tests, and small needs."""

import asyncio

from taskiq import BrokerMessage, InMemoryBroker

from ..cancellation import end
from .settings import TaskSettings
from .streams import delay_of

# The oldest results are dropped beyond this many.
MOST_RESULTS = 10_000


class MemoryBroker(InMemoryBroker):
    """taskiq's broker in memory, with a limit and a clean end."""

    def __init__(self, settings: TaskSettings) -> None:
        super().__init__(max_stored_results=MOST_RESULTS)
        self._slots = asyncio.Semaphore(settings.max_concurrent)
        self._tasks: set[asyncio.Task[None]] = set()

    async def kick(self, message: BrokerMessage) -> None:
        """Start the task after its delay, when there is a free slot."""
        task = asyncio.create_task(self._run(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def shutdown(self) -> None:
        """Cancel the tasks that are left, and wait until they ended."""
        try:
            await end(list(self._tasks))
        finally:
            await super().shutdown()

    async def _run(self, message: BrokerMessage) -> None:
        await asyncio.sleep(delay_of(message))
        async with self._slots:
            await self.receiver.callback(message.message)
