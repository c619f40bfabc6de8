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
from taskiq.kicker import AsyncKicker

from .. import logs
from .cancellation import times_cancelled
from .settings import TaskSettings


class Retries(SmartRetryMiddleware):
    """Repeats tasks that failed, with exponential backoff and jitter.

    The worker itself waits, because taskiq leaves that to the broker,
    and neither of ours does it. The message is acknowledged only after
    the next try was sent: a worker that dies in between loses nothing.
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

    async def on_send(
        self,
        kicker: AsyncKicker[Any, Any],
        message: TaskiqMessage,
        delay: float,
    ) -> None:
        """Wait, then send the task again."""
        await asyncio.sleep(delay)
        await kicker.kiq(*message.args, **message.kwargs)

    async def on_error(
        self,
        message: TaskiqMessage,
        result: TaskiqResult[Any],
        exception: BaseException,
    ) -> None:
        """Repeat the task, unless its worker is being stopped.

        Raises:
            BaseException: The cancellation of the worker, which is no
                outcome of the task: nothing is saved or acknowledged,
                and another worker takes it.
        """
        if times_cancelled():
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
        """Turn a result into what JSON holds, or into a TypeError."""
        try:
            text = json.dumps(result.return_value, allow_nan=False)
            result.return_value = json.loads(text)
        except (RecursionError, TypeError, ValueError) as error:
            result.is_err = True
            result.return_value = None
            place = f"the result of {message.task_name}"
            result.error = TypeError(f"{place} is not JSON: {error}")
