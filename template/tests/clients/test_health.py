"""Tests of the health monitor: outcomes, rounds, and how it stops."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import aiohttp
import pytest

from tests.subject import clients, model_server

pytestmark = [pytest.mark.integration, pytest.mark.looptime]

HEALTHY, UNHEALTHY, ERROR = clients.HealthStatus
GOOD, BAD = "/models/churn/health", "/models/no-such-model/health"
REFUSED = "http://127.0.0.1:9/health"


def virtual_time() -> float:
    return asyncio.get_running_loop().time()


async def test_an_endpoint_that_answers_well_is_healthy(
    session: aiohttp.ClientSession,
) -> None:
    health = await check(session, GOOD)

    assert health.status is HEALTHY
    assert health.detail == "200 OK"
    assert health.url == GOOD


@pytest.mark.parametrize("status", [302, 404, 500, 503])
async def test_any_other_status_is_unhealthy(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
    status: int,
) -> None:
    model_api.plan(status, location=GOOD)

    health = await check(session, GOOD)

    assert health.status is UNHEALTHY
    assert health.detail.startswith(f"{status} ")


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        (REFUSED, "ClientConnectorError: "),
        ("ftp://127.0.0.1/health", "NonHttpUrlClientError: "),
        ("http://[/health", "InvalidUrlClientError: "),
    ],
)
async def test_a_url_that_cannot_be_asked_is_an_error(
    session: aiohttp.ClientSession,
    url: str,
    detail: str,
) -> None:
    health = await check(session, url)

    assert health.status is ERROR
    assert health.detail.startswith(detail)


async def test_a_broken_connection_is_an_error(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.plan_broken_connection()
    model_api.plan_broken_connection()

    health = await check(session, GOOD)

    assert health.status is ERROR


async def test_an_endpoint_that_is_too_slow_is_an_error(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.delay = 60

    health = await check(session, GOOD, seconds=3)

    assert health.status is ERROR
    assert health.detail == "no answer within 3 s"
    assert health.response_time == pytest.approx(3, abs=0.1)


async def test_the_response_time_is_in_seconds(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.delay = 2

    health = await check(session, GOOD)

    assert health.response_time == pytest.approx(2, abs=0.1)


async def test_a_cancelled_check_is_cancelled_and_no_outcome(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.delay = 60
    call = asyncio.create_task(check(session, GOOD))
    await asyncio.sleep(1)

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_round_has_an_outcome_for_each_endpoint_in_order(
    session: aiohttp.ClientSession,
) -> None:
    urls = [BAD, REFUSED, GOOD]

    async with aclosing(clients.monitor_models(session, urls)) as log:
        healths = await anext(log)

    assert [health.url for health in healths] == urls
    assert [health.status for health in healths] == [
        UNHEALTHY,
        ERROR,
        HEALTHY,
    ]


async def test_a_slow_endpoint_delays_a_round_by_its_timeout_at_most(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.delay = 60
    log = clients.monitor_models(session, [GOOD] * 9, timeout=2)

    async with aclosing(log):
        start = virtual_time()
        healths = await anext(log)

    assert len(healths) == 9
    assert virtual_time() - start == pytest.approx(2, abs=0.1)


async def test_no_more_endpoints_are_checked_at_once_than_allowed(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.delay = 1
    log = clients.monitor_models(session, [GOOD] * 20, limit=4)

    async with aclosing(log):
        await anext(log)

    assert model_api.busiest == 4


async def test_rounds_start_at_every_interval_without_drift(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.delay = 3
    log = clients.monitor_models(session, [GOOD], interval=10)

    async with aclosing(log):
        start = virtual_time()
        ends = [await next_round(log) - start for _ in range(4)]

    assert ends == pytest.approx([3, 13, 23, 33], abs=0.2)


async def test_a_round_that_takes_too_long_leaves_out_the_next(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.delay = 4
    log = clients.monitor_models(session, [GOOD], interval=3)

    async with aclosing(log):
        start = virtual_time()
        ends = [await next_round(log) - start for _ in range(3)]

    assert ends == pytest.approx([4, 10, 16], abs=0.2)


async def test_a_slow_caller_gets_no_burst_of_rounds(
    session: aiohttp.ClientSession,
) -> None:
    log = clients.monitor_models(session, [GOOD], interval=10)

    async with aclosing(log):
        start = virtual_time()
        await anext(log)
        await asyncio.sleep(35)
        ends = [await next_round(log) - start for _ in range(2)]

    assert ends == pytest.approx([40, 50], abs=0.2)


async def test_closing_early_ends_the_requests(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    log = clients.monitor_models(session, [GOOD] * 3, interval=1)

    async with aclosing(log):
        await anext(log)
    calls = len(model_api.calls)
    await asyncio.sleep(60)

    assert calls == 3
    assert len(model_api.calls) == 3


async def test_cancelling_ends_the_requests_under_way(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.delay = 60
    log = clients.monitor_models(session, [GOOD] * 3, timeout=30)
    call = asyncio.create_task(next_round(log))
    await asyncio.sleep(1)
    busy = model_api.busy

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.sleep(1)

    assert (busy, model_api.busy) == (3, 0)


@pytest.mark.parametrize(
    ("urls", "numbers", "message"),
    [
        ([], {}, "urls must not be empty"),
        ([GOOD], {"interval": 0}, "interval must be above 0"),
        ([GOOD], {"timeout": -1}, "timeout must be above 0"),
        ([GOOD], {"limit": 0}, "limit must be at least 1"),
    ],
)
async def test_what_cannot_be_monitored_is_refused(
    session: aiohttp.ClientSession,
    urls: list[str],
    numbers: dict[str, int],
    message: str,
) -> None:
    log = clients.monitor_models(session, urls, **numbers)

    async with aclosing(log):
        with pytest.raises(ValueError, match=message):
            await anext(log)


async def test_one_string_is_not_taken_for_many_urls(
    session: aiohttp.ClientSession,
) -> None:
    async with aclosing(clients.monitor_models(session, GOOD)) as log:
        with pytest.raises(TypeError, match="must be several"):
            await anext(log)


async def test_a_timeout_of_zero_is_refused(
    session: aiohttp.ClientSession,
) -> None:
    with pytest.raises(ValueError, match="timeout must be above 0"):
        await check(session, GOOD, seconds=0)


async def check(
    session: aiohttp.ClientSession,
    url: str,
    seconds: float = 5,
) -> clients.ModelHealth:
    """Return an outcome, found in a task of its own.

    Coverage on Python 3.11 loses sight of a function once a coroutine
    that it awaits has caught an exception.
    """
    outcome = clients.check_model_health(session, url, timeout=seconds)
    return await asyncio.create_task(outcome)


async def next_round(
    log: AsyncGenerator[list[clients.ModelHealth]],
) -> float:
    """Wait for a round, and return when it ended."""
    await anext(log)
    return virtual_time()
