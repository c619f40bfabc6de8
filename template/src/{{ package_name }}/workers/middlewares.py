"""What happens around a task: retries, request ids, results."""

import asyncio
import json
import random
from typing import Any

from taskiq import (
    SmartRetryMiddleware,
    TaskiqMessage,
    TaskiqMiddleware,
    TaskiqResult,
)
from taskiq.exceptions import NoResultError
from taskiq.serializers import JSONSerializer

from .. import logs
from .errors import pack
from .settings import TaskSettings

# What results are kept as. Not taskiq's usual pickle, with which
# whoever can write to Redis can run code here.
SERIALIZER = JSONSerializer()


class Retries(SmartRetryMiddleware):
    """Repeats tasks that failed, with exponential backoff and jitter.

    The broker waits, outside of the worker's slots. A message is
    acknowledged only after the next try was sent: a worker that dies in
    between loses nothing.
    """

    def __init__(self, settings: TaskSettings) -> None:
        super().__init__(
            default_retry_count=settings.max_retries + 1,
            default_retry_label=True,
            types_of_exceptions=settings.retry_on,
        )
        self._settings = settings

    def make_delay(self, message: TaskiqMessage, retries: int) -> float:
        """Return the seconds to wait before this retry, 1 the first."""
        del message
        settings = self._settings
        # The exponent is kept small: a float overflows at 2.0**1024.
        wait = settings.first_wait * 2.0 ** min(retries - 1, 64)
        # Not for cryptography.
        jitter = random.uniform(0, settings.jitter)  # noqa: S311
        return min(wait, settings.longest_wait) + jitter

    async def on_error(
        self,
        message: TaskiqMessage,
        result: TaskiqResult[Any],
        exception: BaseException,
    ) -> None:
        """Repeat the task, unless its worker is being stopped.

        Raises:
            asyncio.CancelledError: That of the worker, for a task that
                cancels itself raises another. It is no outcome: nothing
                is saved or acknowledged, and another worker takes the
                task.
        """
        if isinstance(exception, asyncio.CancelledError):
            raise exception
        await super().on_error(message, result, exception)


class TimeLimit(TaskiqMiddleware):
    """Gives each try the time that the worker's own settings allow.

    Not those of the client, by which a task could run for longer than
    the worker keeps it from others.
    """

    def __init__(self, settings: TaskSettings) -> None:
        super().__init__()
        self._seconds = settings.task_timeout

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """Return the message with the time limit in seconds."""
        message.labels["timeout"] = self._seconds
        return message


class Correlation(TaskiqMiddleware):
    """Carries the id of the request to the worker and into its log."""

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """Return the message with the id of the sender's request."""
        message.labels["correlation_id"] = logs.correlation_id.get()
        return message

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """Return the message; its id holds while the task runs."""
        request_id = message.labels.get("correlation_id", "")
        logs.correlation_id.set(request_id)
        return message


class JSONResults(TaskiqMiddleware):
    """Makes results the same in memory and by way of Redis."""

    def post_execute(
        self,
        message: TaskiqMessage,
        result: TaskiqResult[Any],
    ) -> None:
        """Make of a result what Redis would, or a TypeError."""
        if isinstance(result.error, NoResultError):
            return
        result.error = pack(result.error)
        try:
            json.dumps(result.return_value, allow_nan=False)
            stored = SERIALIZER.dumpb(result.model_dump(mode="json"))
        except (RecursionError, TypeError, ValueError) as error:
            result.is_err = True
            result.return_value = None
            place = f"the result of {message.task_name}"
            result.error = TypeError(f"{place} is not JSON: {error}")
            return
        loaded = SERIALIZER.loadb(stored)
        same = TaskiqResult[Any].model_validate(loaded)
        result.return_value = same.return_value
        result.error = same.error
