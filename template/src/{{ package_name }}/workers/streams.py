"""Tasks over Redis streams, delivered at least once."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from taskiq import (
    AckableMessage,
    BrokerMessage,
    TaskiqMessage,
    TaskiqResult,
)
from taskiq_redis import RedisStreamBroker

from ..cancellation import isolated
from .settings import TaskSettings

logger = logging.getLogger(__name__)

# Seconds that Redis may take to answer, and to send the next message.
ANSWER_TIMEOUT = 5
READ_BLOCK = 1

# A message's id and fields, and how often it has been delivered.
Delivery = tuple[bytes, dict[bytes, bytes], int]

# Messages with a delay, by the milliseconds of Redis's clock at which
# they are due.
WAITING = "tasks-waiting"

# Moves the first of them to the stream if it is due: in one step, so
# that it gets there once, and is in one of the two at any time. Returns
# the milliseconds to wait for the next, at most as many as given.
RELEASE = """
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
if not first[1] then return tonumber(ARGV[1]) end
if tonumber(first[2]) > now then
    return math.ceil(math.min(first[2] - now, tonumber(ARGV[1])))
end
redis.call('ZREM', KEYS[1], first[1])
redis.call('XADD', KEYS[2], '*', 'data', first[1])
return 1
"""


def delay_of(message: BrokerMessage) -> float:
    """Return the seconds that taskiq asks a broker to wait."""
    return float(message.labels.get("delay", 0))


class StreamBroker(RedisStreamBroker):
    """taskiq's broker of Redis streams, with its listening made safe.

    As taskiq-redis 1.2 listens, it claims what dead workers left only
    when new messages come; takes up to 100 messages that wait while
    their time runs; ends when Redis goes away; never deletes what is
    done; and delivers a task that kills its workers for ever.
    """

    def __init__(self, url: str, settings: TaskSettings) -> None:
        super().__init__(
            url,
            queue_name="tasks",
            consumer_group_name="workers",
            consumer_name=f"{socket.gethostname()}:{os.getpid()}",
            socket_timeout=ANSWER_TIMEOUT,
            socket_connect_timeout=ANSWER_TIMEOUT,
        )
        self.settings = settings
        self.redis = Redis(connection_pool=self.connection_pool)

    async def kick(self, message: BrokerMessage) -> None:
        """Send a task: to the stream, or to wait for its time."""
        delay = delay_of(message)
        if not delay:
            await super().kick(message)
            return
        seconds, microseconds = await self.redis.time()
        now = seconds * 1000 + microseconds / 1000
        due = {message.message: now + delay * 1000}
        await self.redis.zadd(WAITING, due)

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Yield messages, one at a time, for as long as it is asked."""
        while True:
            try:
                # A Redis that came back may have lost the group.
                # Its client may swallow a cancellation.
                await isolated(self._declare_consumer_group)
                while True:
                    for delivery in await isolated(self._next):
                        accept = partial(self._accept, *delivery)
                        message = await isolated(accept)
                        if message is not None:
                            yield message
            except RedisError as error:
                logger.warning("Redis does not serve: %s", error)
                await asyncio.sleep(self.settings.reconnect_wait)

    async def _declare_consumer_group(self) -> None:
        """Make the stream and its group, if they are not there yet."""
        try:
            await self.redis.xgroup_create(
                self.queue_name,
                self.consumer_group_name,
                # What came before the first worker counts, too.
                id="0",
                mkstream=True,
            )
        except ResponseError as error:
            # taskiq would ignore all others, too.
            if "BUSYGROUP" not in str(error):
                raise

    async def _next(self) -> list[Delivery]:
        return await self._claim() or await self._read()

    async def _claim(self) -> list[Delivery]:
        """Return a message of a worker that is silent for too long."""
        idle = round(self.settings.claim_after * 1000)
        pending: Any = await self.redis.xpending_range(
            self.queue_name,
            self.consumer_group_name,
            min="-",
            max="+",
            count=1,
            idle=idle,
        )
        if not pending:
            return []
        # Redis gives it to one worker only, however many ask.
        claimed: Any = await self.redis.xclaim(
            self.queue_name,
            self.consumer_group_name,
            self.consumer_name,
            min_idle_time=idle,
            message_ids=[pending[0]["message_id"]],
        )
        times = pending[0]["times_delivered"] + 1
        return [(id_, fields, times) for id_, fields in claimed]

    async def _read(self) -> list[Delivery]:
        """Return the next new message, none if none comes in time."""
        milliseconds = READ_BLOCK * 1000
        wait: Any = await self.redis.eval(
            RELEASE,
            2,
            WAITING,
            self.queue_name,
            milliseconds,
        )
        streams: Any = await self.redis.xreadgroup(
            self.consumer_group_name,
            self.consumer_name,
            {self.queue_name: ">"},
            count=1,
            block=wait,
        )
        deliveries: list[Delivery] = []
        for _, messages in streams or []:
            deliveries += [(id_, fields, 1) for id_, fields in messages]
        return deliveries

    async def _accept(
        self,
        message_id: bytes,
        fields: dict[bytes, bytes],
        times_delivered: int,
    ) -> AckableMessage | None:
        """Return the message; None if it is given up, and say so."""
        data = fields.get(b"data", b"")
        acknowledge = partial(self._acknowledge, message_id)
        task = self._parse(data)
        if task is not None:
            refusal = self._refusal(task, times_delivered)
            if refusal is not None:
                await self._save(task, refusal)
                await acknowledge()
                return None
        return AckableMessage(data=data, ack=acknowledge)

    def _parse(self, data: bytes) -> TaskiqMessage | None:
        try:
            return self.formatter.loads(data)
        except ValueError:
            # The receiver logs and drops what is no message.
            return None

    def _refusal(
        self,
        task: TaskiqMessage,
        times_delivered: int,
    ) -> Exception | None:
        if self.find_task(task.task_name) is None:
            return LookupError(
                f"the worker has no task {task.task_name!r}",
            )
        if times_delivered > self.settings.max_deliveries:
            times = times_delivered - 1
            return RuntimeError(
                f"given up: {times} workers took it and none finished",
            )
        return None

    async def _save(
        self,
        task: TaskiqMessage,
        error: Exception,
    ) -> None:
        logger.error("task %s failed: %s", task.task_id, error)
        result = TaskiqResult[Any](
            is_err=True,
            return_value=None,
            execution_time=0,
            error=error,
        )
        await self.result_backend.set_result(task.task_id, result)

    async def _acknowledge(self, message_id: bytes) -> None:
        async with self.redis.pipeline(transaction=True) as pipe:
            await pipe.xack(
                self.queue_name,
                self.consumer_group_name,
                message_id,
            )
            await pipe.xdel(self.queue_name, message_id)
            await pipe.execute()
