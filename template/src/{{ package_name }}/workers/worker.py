"""A worker: takes tasks from Redis and runs them until stopped."""

import asyncio
import logging
import signal
import sys
from typing import cast

from redis.exceptions import RedisError
from taskiq import AckableMessage, AsyncBroker
from taskiq.exceptions import SendTaskError
from taskiq.receiver import Receiver

from .. import logs
from ..cancellation import end
from .broker import make_broker, running
from .streams import StreamBroker

logger = logging.getLogger(__name__)


class CarefulReceiver(Receiver):
    """taskiq's receiver; it acknowledges only what has been saved."""

    def __init__(self, broker: StreamBroker, grace: float) -> None:
        super().__init__(
            broker=broker,
            max_async_tasks=broker.settings.max_concurrent,
            run_startup=False,
            wait_tasks_timeout=grace,
        )
        self._active: set[asyncio.Task[None]] = set()

    async def callback(
        self,
        message: bytes | AckableMessage,
        raise_err: bool = False,
    ) -> None:
        """Run a task; what cannot be saved is left for another try."""
        del raise_err
        # A callback always runs in a task of its own.
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._active.add(task)
        task.add_done_callback(self._active.discard)
        try:
            # taskiq would acknowledge what it failed to save.
            await super().callback(message, raise_err=True)
        except (RedisError, SendTaskError) as error:
            logger.warning("a task will be run again: %s", error)

    async def abandon(self) -> None:
        """Cancel the tasks that are left, for other workers to take."""
        await end(list(self._active))


async def run_worker(
    broker: AsyncBroker,
    stop: asyncio.Event,
    *,
    grace: float = 30,
) -> None:
    """Run tasks until `stop` is set, and finish those under way.

    It goes on when Redis goes away in the middle, and looks for it.

    Args:
        broker: What `make_broker` returned, over a Redis.
        stop: Set it to end the worker.
        grace: Seconds that tasks may take to finish after the stop;
            what is left then, another worker takes.

    Raises:
        ConnectionError: Redis does not answer at the start.
        ValueError: The broker is in memory, or the grace is negative.
    """
    if not isinstance(broker, StreamBroker):
        raise ValueError(  # noqa: TRY004 - a missing setting
            "a worker needs REDIS_URL, such as redis://127.0.0.1:6379",
        )
    if not grace >= 0:
        raise ValueError(
            f"grace must be 0 or more seconds, not {grace}",
        )
    broker.is_worker_process = True
    async with running(broker):
        receiver = CarefulReceiver(broker, grace)
        logger.info("the worker waits for tasks")
        try:
            await receiver.listen(stop)
        finally:
            await receiver.abandon()
    logger.info("the worker has stopped")


async def serve(broker: AsyncBroker, *, grace: float = 30) -> None:
    """Run a worker until SIGTERM or Ctrl-C; see `run_worker`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = [signal.SIGINT, signal.SIGTERM]
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        await run_worker(broker, stop, grace=grace)
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def main() -> int:
    """Run a worker of all tasks and return its exit code."""
    logs.configure(level="INFO")
    try:
        asyncio.run(serve(make_broker()))
    except (ConnectionError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
