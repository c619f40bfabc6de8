"""Retries of HTTP calls: what is worth another try, when, how often."""

import asyncio
import datetime
import email.utils
import json
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TypeVar

import aiohttp
import stamina

from .checks import check_seconds

# stamina's log, too, is quiet unless the application configures it.
logging.getLogger("stamina").addHandler(logging.NullHandler())

Result = TypeVar("Result")

# Repeating one of these changes nothing more: RFC 9110, 9.2.2.
IDEMPOTENT_METHODS = frozenset(
    {"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"},
)

NO_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT})

TRANSIENT_ERRORS = (
    TimeoutError,
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How failed calls are repeated: exponential backoff with jitter.

        policy = RetryPolicy(max_retries=5, total_timeout=30)
        answer = await policy.call(fetch)

    Attributes:
        max_retries: How many tries may follow the first.
        total_timeout: Seconds for all tries and the waits between.
        first_wait: Seconds before the first retry; doubled every time.
        longest_wait: Seconds that only a Retry-After may exceed.
        jitter: Up to so many random seconds are added to every wait,
            within the longest.

    Raises:
        ValueError: A number is negative, or the total time 0.
    """

    max_retries: int = 3
    total_timeout: float = 60
    first_wait: float = 0.1
    longest_wait: float = 5
    jitter: float = 1

    def __post_init__(self) -> None:
        if self.max_retries < 0:
            raise ValueError(
                f"max_retries must not be below 0: {self.max_retries}",
            )
        if not self.total_timeout > 0:
            raise ValueError(
                f"total_timeout must be above 0: {self.total_timeout}",
            )
        waits = (self.first_wait, self.longest_wait, self.jitter)
        if not all(wait >= 0 for wait in waits):
            raise ValueError(
                f"waits and jitter must be 0 or more, not {waits}",
            )

    async def call(
        self,
        operation: Callable[[], Awaitable[Result]],
    ) -> Result:
        """Return what `operation` does, repeating transient failures.

        A Retry-After that the total time does not allow is not waited
        for.

        Raises:
            Exception: What the last try raised: at once if it is not
                transient, or when retries or total time are used up.
            TimeoutError: The total time ended within the first try.
        """
        end = asyncio.get_running_loop().time() + self.total_timeout
        deadline = asyncio.timeout_at(end)
        failures: list[Exception] = []

        async def attempt() -> Result:
            try:
                if first_failure:
                    raise first_failure.pop()
                return await operation()
            except Exception as error:
                failures.append(error)
                raise _FailedTry(error) from error

        try:
            async with deadline:
                # Most calls need no retry. To be ready for one costs
                # half a request on loopback, so that comes late.
                try:
                    return await operation()
                except Exception as error:  # noqa: BLE001 - kept
                    first_failure = [error]
                return await self._retrying(end)(attempt)
        except _FailedTry as failed:
            raise failed.error from failed.error.__cause__
        except TimeoutError:
            if deadline.expired() and failures:
                raise failures[-1] from None
            raise

    def _retrying(self, end: float) -> stamina.BoundAsyncRetryingCaller:
        """Return what repeats a call by this policy, until `end`."""
        loop = asyncio.get_running_loop()

        def next_wait(failed: Exception) -> bool | datetime.timedelta:
            # stamina asks here about a cancellation, too.
            if not isinstance(failed, _FailedTry):
                return False
            error = failed.error
            wait = _retry_after(error)
            if wait is None or wait <= datetime.timedelta():
                return _is_transient(error)
            # So that those who were told the same do not all come at
            # once. Not for cryptography.
            jitter = random.uniform(0, self.jitter)  # noqa: S311
            wait += datetime.timedelta(seconds=jitter)
            seconds_left = end - loop.time()
            return wait.total_seconds() < seconds_left and wait

        return stamina.AsyncRetryingCaller(
            attempts=self.max_retries + 1,
            timeout=None,
            wait_initial=self.first_wait,
            wait_max=self.longest_wait,
            wait_jitter=self.jitter,
        ).on(next_wait)


class _FailedTry(Exception):
    """What stamina sees of a failure, and logs when it tries again.

    The repr of aiohttp's own error shows the session's cookies.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error

    def __repr__(self) -> str:
        error = self.error
        if not isinstance(error, aiohttp.ClientResponseError):
            return repr(error)
        request = error.request_info
        url = request.real_url.with_query(None).with_user(None)
        return f"{request.method} {url} answered {error.status}"


def _is_transient(error: Exception) -> bool:
    """Return whether another try may succeed where this one failed.

    True for timeouts, broken connections, 429 and 5xx; false for other
    statuses, bad certificates, and mistakes of the caller.
    """
    if isinstance(error, aiohttp.ClientResponseError):
        if error.status == HTTPStatus.TOO_MANY_REQUESTS:
            return True
        return error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(error, aiohttp.ClientSSLError):
        return False
    return isinstance(error, TRANSIENT_ERRORS)


def _retry_after(error: Exception) -> datetime.timedelta | None:
    """Return how long the server asks to wait, None if it does not say.

    Reads the header Retry-After of transient errors, a number of
    seconds or a date: RFC 9110, section 10.2.3.
    """
    if not isinstance(error, aiohttp.ClientResponseError):
        return None
    if error.headers is None or not _is_transient(error):
        return None
    value = error.headers.get("Retry-After", "")
    try:
        return _read_wait(value)
    except (OverflowError, ValueError):
        return None


def _read_wait(value: str) -> datetime.timedelta:
    if value.isascii() and value.isdigit():
        return datetime.timedelta(seconds=int(value))
    date = email.utils.parsedate_to_datetime(value)
    date = date.replace(tzinfo=date.tzinfo or datetime.UTC)
    return date - datetime.datetime.now(datetime.UTC)


async def fetch_json(
    session: aiohttp.ClientSession,
    url: str,
    *,
    method: str = "GET",
    params: Mapping[str, str] | None = None,
    body: object = None,
    retry: RetryPolicy,
    retry_unsafe: bool = False,
) -> object:
    """Return the JSON that `url` answers, None where there is no body.

    Transient failures are repeated, but those of a POST or PATCH only
    if `retry_unsafe` says that doing it twice is harmless.

    Args:
        session: What the request goes through, and its time limit.
        url: Where to fetch from.
        method: The HTTP method.
        params: The query, not yet escaped.
        body: What is sent as JSON; None sends nothing.
        retry: How transient failures are repeated.
        retry_unsafe: Repeat methods that are not idempotent, too.

    Raises:
        aiohttp.ClientResponseError: The server answered 4xx or 5xx.
        aiohttp.ClientConnectionError: There is no connection to it.
        aiohttp.ClientPayloadError: The answer has broken off.
        TimeoutError: The last try took longer than the session allows.
        ValueError: The answer is not JSON.
    """
    method = method.upper()
    if not retry_unsafe and method not in IDEMPOTENT_METHODS:
        retry = replace(retry, max_retries=0)

    async def fetch() -> object:
        request = session.request(
            method,
            url,
            params=params,
            json=body,
        )
        async with request as response:
            response.raise_for_status()
            answer = await response.read()
        if method == "HEAD" or response.status in NO_BODY:
            return None
        try:
            return json.loads(answer)
        except (RecursionError, ValueError) as error:
            raise ValueError(
                f"{method} {url} did not answer JSON: {error}",
            ) from error

    return await retry.call(fetch)


async def fetch_with_retry(
    url: str,
    max_retries: int = 3,
    *,
    method: str = "GET",
    timeout: float = 10,  # noqa: ASYNC109 - of one try
    retry_unsafe: bool = False,
) -> object:
    """Return the JSON that `url` answers, None where there is no body.

    It opens a session for this call alone; for many calls to one
    server, keep a client such as `UserAPIClient`. A POST or PATCH is
    repeated only if `retry_unsafe` says that twice is harmless.

    Args:
        url: Where to fetch from.
        max_retries: How many tries may follow the first.
        method: The HTTP method.
        timeout: Seconds that one try may take.
        retry_unsafe: Repeat methods that are not idempotent, too.

    Raises:
        aiohttp.ClientResponseError: The server answered 4xx or 5xx.
        aiohttp.ClientConnectionError: There is no connection to it.
        aiohttp.ClientPayloadError: The answer has broken off.
        TimeoutError: The last try took too long.
        ValueError: The answer is not JSON, or a number out of range.
    """
    check_seconds("timeout", timeout)
    retry = RetryPolicy(max_retries=max_retries)
    limit = aiohttp.ClientTimeout(total=timeout)
    async with aiohttp.ClientSession(timeout=limit) as session:
        return await fetch_json(
            session,
            url,
            method=method,
            retry=retry,
            retry_unsafe=retry_unsafe,
        )
