"""Checks the health of endpoints: one once, or many for ever."""

import asyncio
import math
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from enum import StrEnum

import aiohttp

from ..fan_out import fan_out
from .checks import check_seconds


class HealthStatus(StrEnum):
    """What a check found."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """The outcome of one check.

    Attributes:
        url: What was checked.
        status: Healthy if it answered 2xx, unhealthy if it answered
            anything else, error if it did not answer.
        response_time: Seconds until the answer, or until the error.
        detail: The answered status, or the error, for people.
    """

    url: str
    status: HealthStatus
    response_time: float
    detail: str


async def check_model_health(
    session: aiohttp.ClientSession,
    url: str,
    *,
    timeout: float = 5,  # noqa: ASYNC109 - the outcome is an error
) -> ModelHealth:
    """Return how the endpoint is. No failure of it is raised.

    Args:
        session: What the request goes through.
        url: What is asked, by GET; redirects are not followed.
        timeout: Seconds after which no answer is an error.

    Raises:
        ValueError: The timeout is not above 0.
    """
    check_seconds("timeout", timeout)
    loop = asyncio.get_running_loop()
    start = loop.time()
    try:
        status, detail = await _ask(session, url, timeout)
    except TimeoutError:
        status = HealthStatus.ERROR
        detail = f"no answer within {timeout} s"
    except Exception as error:  # noqa: BLE001 - an outcome
        status = HealthStatus.ERROR
        detail = f"{type(error).__name__}: {error}"
    return ModelHealth(url, status, loop.time() - start, detail)


async def monitor_models(
    session: aiohttp.ClientSession,
    urls: Iterable[str],
    *,
    interval: float = 30,
    timeout: float = 5,  # noqa: ASYNC109 - of one check
    limit: int = 10,
) -> AsyncGenerator[list[ModelHealth]]:
    """Yield the health of all endpoints, in their order, for ever.

    The first round starts at once, the others every `interval` seconds;
    those that would fall into a longer round are left out. Nothing runs
    between two rounds. Where the loop may be left early, let
    `contextlib.aclosing` close the generator.

    Args:
        session: What the requests go through.
        urls: What is checked.
        interval: Seconds from the start of a round to the next.
        timeout: Seconds after which no answer is an error.
        limit: How many endpoints are checked at once.

    Raises:
        ValueError: There are no URLs, or a number is out of range.
        TypeError: The URLs are one string.
    """
    if isinstance(urls, str):
        raise TypeError(f"urls must be several, not only {urls!r}")
    endpoints = list(urls)
    if not endpoints:
        raise ValueError("urls must not be empty")
    check_seconds("interval", interval)
    check_seconds("timeout", timeout)

    async def check(url: str) -> ModelHealth:
        return await check_model_health(session, url, timeout=timeout)

    loop = asyncio.get_running_loop()
    start = loop.time()
    rounds = 0
    while True:
        await asyncio.sleep(start + rounds * interval - loop.time())
        yield await fan_out(check, endpoints, limit=limit)
        due = math.ceil((loop.time() - start) / interval)
        rounds = max(rounds + 1, due)


async def _ask(
    session: aiohttp.ClientSession,
    url: str,
    seconds: float,
) -> tuple[HealthStatus, str]:
    request = session.get(
        url,
        allow_redirects=False,
        timeout=aiohttp.ClientTimeout(total=seconds),
    )
    async with request as response:
        detail = f"{response.status} {response.reason}"
        if response.status in range(200, 300):
            return HealthStatus.HEALTHY, detail
        return HealthStatus.UNHEALTHY, detail
