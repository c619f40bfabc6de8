"""Retries of HTTP calls: what is worth another try, when, how often."""

import asyncio
import datetime
import email.utils
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import aiohttp
import stamina

Result = TypeVar("Result")

# A repeated call of these changes nothing more: RFC 9110, section 9.2.2.
IDEMPOTENT_METHODS = frozenset(
    {"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"},
)

TRANSIENT_ERRORS = (
    TimeoutError,
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How failed calls are repeated: exponential backoff with jitter.

    Attributes:
        max_retries: How many tries may follow the first.
        total_timeout: Seconds for all tries and the waits between them.
        first_wait: Seconds before the first retry; doubled every time.
        longest_wait: Seconds that no wait exceeds, but a Retry-After may.
        jitter: Up to so many random seconds are added to every wait.

    Raises:
        ValueError: A number is negative, or the total time is not above 0.
    """

    max_retries: int = 3
    total_timeout: float = 60
    first_wait: float = 0.1
    longest_wait: float = 5
    jitter: float = 1

    def __post_init__(self) -> None:
        if self.max_retries < 0:
            raise ValueError(
                f"max_retries must be 0 or more, not {self.max_retries}",
            )
        if self.total_timeout <= 0:
            raise ValueError(
                f"total_timeout must be above 0, not {self.total_timeout}",
            )
        if min(self.first_wait, self.longest_wait, self.jitter) < 0:
            raise ValueError(
                "waits and jitter must be 0 or more seconds",
            )

    async def call(
        self,
        operation: Callable[[], Awaitable[Result]],
    ) -> Result:
        """Return what `operation` returns, repeating transient failures.

        Raises:
            Exception: What the last try raised, once the retries or the
                total time are used up, or at once if it is not transient.
            TimeoutError: The total time ended within the first try.
        """
        failures: list[Exception] = []

        async def attempt() -> Result:
            try:
                return await operation()
            except Exception as error:
                failures.append(error)
                raise

        retrying = stamina.AsyncRetryingCaller(
            attempts=self.max_retries + 1,
            timeout=None,
            wait_initial=self.first_wait,
            wait_max=self.longest_wait,
            wait_jitter=self.jitter,
        )
        deadline = asyncio.timeout(self.total_timeout)
        try:
            async with deadline:
                return await retrying.on(_next_wait)(attempt)
        except TimeoutError:
            if deadline.expired() and failures:
                raise failures[-1] from None
            raise


def _next_wait(error: Exception) -> bool | datetime.timedelta:
    return _retry_after(error) or _is_transient(error)


def _is_transient(error: Exception) -> bool:
    """Return whether another try may succeed where this one failed.

    True for timeouts, broken connections, 429 and 5xx; false for the rest:
    other statuses, bad certificates, and mistakes of the caller.
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

    Reads the header Retry-After of transient errors, which is a number of
    seconds or a date: RFC 9110, section 10.2.3.
    """
    if not isinstance(error, aiohttp.ClientResponseError):
        return None
    if error.headers is None or not _is_transient(error):
        return None
    value = error.headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        return datetime.timedelta(seconds=int(value))
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    wait = date.astimezone(datetime.UTC) - datetime.datetime.now(
        datetime.UTC,
    )
    return max(wait, datetime.timedelta())


async def fetch_json(
    session: aiohttp.ClientSession,
    url: str,
    *,
    method: str = "GET",
    params: Mapping[str, str] | None = None,
    retry: RetryPolicy,
) -> object:
    """Return the JSON that `url` answers, repeating transient failures.

    Raises:
        aiohttp.ClientResponseError: The server answered 4xx or 5xx.
        aiohttp.ClientConnectionError: There is no connection to it.
        TimeoutError: The last try took longer than the session allows.
        ValueError: The answer is not JSON.
    """

    async def fetch() -> object:
        request = session.request(method, url, params=params)
        async with request as response:
            response.raise_for_status()
            body = await response.read()
        try:
            return json.loads(body)
        except ValueError as error:
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
    """Return the JSON that `url` answers, repeating transient failures.

    It opens a session for this call alone; for many calls to one server,
    keep a client such as `UserAPIClient`. A POST or PATCH is not repeated
    unless `retry_unsafe` says that doing it twice is harmless.

    Args:
        url: Where to fetch from.
        max_retries: How many tries may follow the first.
        method: The HTTP method.
        timeout: Seconds that one try may take.
        retry_unsafe: Repeat methods that are not idempotent, too.

    Raises:
        aiohttp.ClientResponseError: The server answered 4xx or 5xx.
        aiohttp.ClientConnectionError: There is no connection to it.
        TimeoutError: The last try took too long.
        ValueError: The answer is not JSON, or a number is out of range.
    """
    if timeout <= 0:
        raise ValueError(
            f"timeout must be above 0 seconds, not {timeout}",
        )
    retry = RetryPolicy(max_retries=max_retries)
    if not retry_unsafe and method.upper() not in IDEMPOTENT_METHODS:
        retry = RetryPolicy(max_retries=0)
    limit = aiohttp.ClientTimeout(total=timeout)
    async with aiohttp.ClientSession(timeout=limit) as session:
        return await fetch_json(
            session,
            url,
            method=method,
            retry=retry,
        )
