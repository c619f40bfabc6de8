"""Tests of the retries: what is repeated, how often, and when."""

import asyncio
import datetime
import email.utils
import logging
import ssl
from unittest.mock import create_autospec

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from tests.subject import api_server, clients

pytestmark = [pytest.mark.integration, pytest.mark.looptime]


def virtual_time() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_transient_status_is_retried(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
    status: int,
) -> None:
    api.plan(status)

    assert (await client.fetch_user(1)).id == 1
    assert len(api.calls) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
async def test_a_permanent_status_is_not_retried(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
    status: int,
) -> None:
    api.plan(status)

    with pytest.raises((aiohttp.ClientResponseError, LookupError)):
        await client.fetch_user(1)
    assert len(api.calls) == 1


async def test_a_broken_connection_is_retried(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
) -> None:
    # aiohttp repeats a request on its own, but only once.
    api.plan_broken_connection()
    api.plan_broken_connection()

    assert (await client.fetch_user(1)).id == 1


async def test_a_timeout_is_retried(api: api_server.UserAPI) -> None:
    api.delay = 60
    retry = clients.RetryPolicy(max_retries=2)

    async with clients.UserAPIClient(
        api.base_url,
        1,
        retry=retry,
    ) as client:
        with pytest.raises(TimeoutError):
            await client.fetch_user(1)

    assert len(api.calls) == 3


async def test_the_last_error_is_raised_when_retries_are_used_up(
    api: api_server.UserAPI,
) -> None:
    for status in [500, 502, 503]:
        api.plan(status)

    with pytest.raises(aiohttp.ClientResponseError, match="503"):
        await clients.fetch_with_retry(f"{api.base_url}/users/1", 2)


async def test_waits_grow_up_to_the_longest(
    api: api_server.UserAPI,
) -> None:
    for _ in range(5):
        api.plan(503)
    retry = clients.RetryPolicy(
        5,
        first_wait=1,
        longest_wait=4,
        jitter=0,
    )

    async with clients.UserAPIClient(
        api.base_url,
        retry=retry,
    ) as client:
        start = virtual_time()
        await client.fetch_user(1)

    assert virtual_time() - start == pytest.approx(
        1 + 2 + 4 + 4 + 4,
        abs=0.5,
    )


async def test_jitter_spreads_the_waits(
    api: api_server.UserAPI,
) -> None:
    retry = clients.RetryPolicy(
        1,
        first_wait=0,
        longest_wait=9,
        jitter=9,
    )
    waits = set()

    async with clients.UserAPIClient(
        api.base_url,
        retry=retry,
    ) as client:
        for _ in range(5):
            api.plan(503)
            start = virtual_time()
            await client.fetch_user(1)
            waits.add(round(virtual_time() - start, 3))

    assert len(waits) > 1


async def test_the_server_says_how_many_seconds_to_wait(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
) -> None:
    api.plan(503, retry_after="30")
    start = virtual_time()

    await client.fetch_user(1)

    assert virtual_time() - start == pytest.approx(30.5, abs=0.6)


async def test_the_server_says_until_when_to_wait(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    date = now + datetime.timedelta(seconds=40)
    api.plan(
        429,
        retry_after=email.utils.format_datetime(date, usegmt=True),
    )
    start = virtual_time()

    await client.fetch_user(1)

    assert virtual_time() - start == pytest.approx(40, abs=5)


@pytest.mark.parametrize(
    "value",
    [
        "soon",
        "-1",
        "9" * 30,
        "9" * 5000,
        "Fri, 20 Nov 99999999999 08:00:00 GMT",
        "Fri, 20 Nov 2020 08:00:00 GMT",
        "Fri, 20 Nov 2020 08:00:00 -0000",
    ],
)
async def test_an_odd_or_past_date_means_the_usual_wait(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
    value: str,
) -> None:
    api.plan(503, retry_after=value)
    start = virtual_time()

    await client.fetch_user(1)

    assert 0 < virtual_time() - start < 5


def test_retries_print_nothing_by_themselves() -> None:
    assert logging.getLogger("stamina").handlers


async def test_a_wait_beyond_the_total_time_is_given_up_at_once(
    api: api_server.UserAPI,
) -> None:
    api.plan(503, retry_after="3600")
    retry = clients.RetryPolicy(total_timeout=10)

    async with clients.UserAPIClient(
        api.base_url,
        retry=retry,
    ) as client:
        start = virtual_time()
        with pytest.raises(aiohttp.ClientResponseError, match="503"):
            await client.fetch_user(1)

    assert virtual_time() - start < 1


async def test_the_total_time_is_bounded_and_the_last_error_raised(
    api: api_server.UserAPI,
) -> None:
    for status in [500, 502]:
        api.plan(status)
    retry = clients.RetryPolicy(
        total_timeout=10,
        first_wait=6,
        longest_wait=6,
        jitter=0,
    )

    async with clients.UserAPIClient(
        api.base_url,
        retry=retry,
    ) as client:
        start = virtual_time()
        with pytest.raises(aiohttp.ClientResponseError, match="502"):
            await client.fetch_user(1)

    assert virtual_time() - start == pytest.approx(10, abs=0.5)


async def test_the_total_time_bounds_the_first_try_too(
    api: api_server.UserAPI,
) -> None:
    api.delay = 60
    retry = clients.RetryPolicy(total_timeout=2)

    async with clients.UserAPIClient(
        api.base_url,
        retry=retry,
    ) as client:
        with pytest.raises(TimeoutError):
            await client.fetch_user(1)

    assert len(api.calls) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH", "post"])
async def test_what_is_not_idempotent_is_not_retried(
    api: api_server.UserAPI,
    method: str,
) -> None:
    api.plan(503)

    with pytest.raises(aiohttp.ClientResponseError, match="503"):
        await clients.fetch_with_retry(
            f"{api.base_url}/users",
            method=method,
        )
    assert len(api.calls) == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE", "head", "get"])
async def test_what_is_idempotent_is_retried(
    api: api_server.UserAPI,
    method: str,
) -> None:
    api.plan(503)
    api.plan(204)

    answer = await clients.fetch_with_retry(
        f"{api.base_url}/users/1",
        method=method,
    )

    assert answer is None
    assert len(api.calls) == 2


async def test_an_answer_to_head_has_no_body(
    api: api_server.UserAPI,
) -> None:
    url = f"{api.base_url}/users/1"

    assert await clients.fetch_with_retry(url, method="HEAD") is None


async def test_a_permanent_status_with_a_wait_is_not_retried(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
) -> None:
    api.plan(404, retry_after="1")

    with pytest.raises(clients.UserNotFoundError):
        await client.fetch_user(1)
    assert len(api.calls) == 1


async def test_a_body_that_breaks_off_is_retried() -> None:
    answers = iter([aiohttp.ClientPayloadError("cut"), None])

    async def fetch() -> str:
        error = next(answers)
        if error:
            raise error
        return "whole"

    assert await clients.RetryPolicy().call(fetch) == "whole"


async def test_any_try_may_be_as_slow_as_the_timeout_says(
    api: api_server.UserAPI,
) -> None:
    api.delay = 4
    url = f"{api.base_url}/users/1"

    assert await clients.fetch_with_retry(url, 0, timeout=5)
    with pytest.raises(TimeoutError):
        await clients.fetch_with_retry(url, 0, timeout=3)


async def test_a_post_is_retried_when_asked(
    api: api_server.UserAPI,
) -> None:
    api.plan(503)

    answer = await clients.fetch_with_retry(
        f"{api.base_url}/users",
        method="POST",
        retry_unsafe=True,
    )

    assert answer == {"id": 101}


async def test_cancelling_a_later_try_is_no_other_error(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
) -> None:
    api.plan(503)
    api.delay = 10
    call = asyncio.create_task(client.fetch_user(1))
    await asyncio.sleep(15)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert len(api.calls) == 2


async def test_cancelling_ends_the_wait_for_the_next_try(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
) -> None:
    api.plan(503, retry_after="30")
    call = asyncio.create_task(client.fetch_user(1))
    await asyncio.sleep(1)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert len(api.calls) == 1


async def test_a_bad_certificate_is_not_retried() -> None:
    key = create_autospec(
        ConnectionKey,
        instance=True,
        host="h",
        port=1,
        ssl=True,
    )
    error = ssl.SSLCertVerificationError("expired")
    bad = aiohttp.ClientConnectorCertificateError(key, error)
    calls = []

    async def fetch() -> None:
        calls.append("call")
        raise bad

    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await clients.RetryPolicy().call(fetch)
    assert calls == ["call"]


@pytest.mark.parametrize(
    "numbers",
    [
        {"max_retries": -1},
        {"total_timeout": 0},
        {"total_timeout": float("nan")},
        {"first_wait": -1},
        {"longest_wait": -1},
        {"jitter": -0.1},
    ],
)
async def test_numbers_out_of_range_are_refused(
    numbers: dict[str, int],
) -> None:
    with pytest.raises(ValueError, match="must"):
        clients.RetryPolicy(**numbers)


async def test_a_timeout_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="timeout must be above 0"):
        await clients.fetch_with_retry("http://127.0.0.1:9", timeout=0)


async def test_the_log_of_a_retry_holds_no_cookie(
    api: api_server.UserAPI,
    caplog: pytest.LogCaptureFixture,
) -> None:
    api.plan(503)
    api.plan(404)
    url = f"{api.base_url}/"
    limit = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(
        url,
        cookies={"session": "hunter2"},
        cookie_jar=aiohttp.CookieJar(unsafe=True),
        timeout=limit,
    ) as session:
        with pytest.raises(clients.EventNotFoundError):
            await clients.fetch_event(session, 1)

    [line] = [str(vars(record)) for record in caplog.records]
    assert f"GET {url}events/1 answered 503" in line
    assert "hunter2" not in line


async def test_the_log_of_a_retry_holds_no_query(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    api.plan(503)

    await client.search_users("hunter2")

    [line] = [str(vars(record)) for record in caplog.records]
    assert f"GET {api.base_url}/users answered 503" in line
    assert "hunter2" not in line
