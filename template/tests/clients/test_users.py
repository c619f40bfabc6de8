"""Tests of the user API client against a real server on loopback."""

import asyncio
import json
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from tests.subject import api_server, clients

pytestmark = pytest.mark.integration


async def test_a_user_is_fetched_by_id(
    client: clients.UserAPIClient,
) -> None:
    user = await client.fetch_user(7)

    assert user == clients.User(7, "Alan 7", "user7@example.com")


async def test_a_missing_user_is_told_apart_from_other_errors(
    client: clients.UserAPIClient,
) -> None:
    with pytest.raises(clients.UserNotFoundError, match="no user 999"):
        await client.fetch_user(999)


async def test_other_statuses_are_raised(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
) -> None:
    api.plan(403)

    with pytest.raises(aiohttp.ClientResponseError, match="403"):
        await client.fetch_user(1)


@pytest.mark.looptime
async def test_a_slow_answer_is_a_timeout(
    api: api_server.UserAPI,
) -> None:
    api.delay = 60
    no_retry = clients.RetryPolicy(max_retries=0)

    async with clients.UserAPIClient(
        api.base_url,
        1,
        retry=no_retry,
    ) as client:
        with pytest.raises(TimeoutError):
            await client.fetch_user(1)


@pytest.mark.looptime
async def test_an_answer_may_be_as_slow_as_the_timeout_says(
    api: api_server.UserAPI,
) -> None:
    api.delay = 20

    async with clients.UserAPIClient(api.base_url, 21) as client:
        assert (await client.fetch_user(1)).id == 1


async def test_a_refused_connection_is_raised() -> None:
    url = "http://127.0.0.1:9"
    no_retry = clients.RetryPolicy(max_retries=0)

    async with clients.UserAPIClient(url, retry=no_retry) as client:
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.fetch_user(1)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        '"user"',
        '{"id": 1}',
        '{"id": 2, "name": "Ada", "email": "ada@example.com"}',
    ],
)
async def test_an_answer_that_is_no_user_is_refused(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
    body: str,
) -> None:
    api.plan(200, body=body)

    with pytest.raises(ValueError, match="answer"):
        await client.fetch_user(1)


@pytest.mark.parametrize("user_id", [1.9, "1", "../admin"])
async def test_an_id_that_is_no_whole_number_is_refused(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
    user_id: int,
) -> None:
    with pytest.raises(TypeError, match="integer"):
        await client.fetch_user(user_id)

    assert api.calls == []


async def test_one_connection_serves_call_after_call(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
) -> None:
    await client.fetch_multiple_users(range(1, 11), limit=1)

    assert len(api.peers) == 1


async def test_many_users_come_in_the_order_asked(
    client: clients.UserAPIClient,
) -> None:
    users = await client.fetch_multiple_users([30, 10, 20, 10])

    assert [user.id for user in users] == [30, 10, 20, 10]


@pytest.mark.looptime
async def test_no_more_requests_run_at_once_than_allowed(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
) -> None:
    api.delay = 0.1

    await client.fetch_multiple_users(range(1, 51), limit=5)

    assert api.busiest == 5


@pytest.mark.looptime
async def test_no_more_outcomes_are_fetched_at_once_than_allowed(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
) -> None:
    api.delay = 0.1

    await client.fetch_user_outcomes(range(1, 51), limit=5)

    assert api.busiest == 5


async def test_one_missing_user_fails_the_whole_fetch(
    client: clients.UserAPIClient,
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await client.fetch_multiple_users([1, 999, 2])

    assert caught.group_contains(clients.UserNotFoundError)


async def test_outcomes_keep_what_worked(
    client: clients.UserAPIClient,
) -> None:
    first, second = await client.fetch_user_outcomes([1, 999])

    assert isinstance(first, clients.User)
    assert isinstance(second, clients.UserNotFoundError)


async def test_users_are_found_by_part_of_their_name(
    client: clients.UserAPIClient,
) -> None:
    users = await client.search_users("grace")

    assert {user.name.split()[0] for user in users} == {"Grace"}
    assert len(users) == 16


async def test_a_search_for_nobody_finds_nobody(
    client: clients.UserAPIClient,
) -> None:
    assert await client.search_users("nobody & co/?#") == []


async def test_a_search_reaches_the_api_as_typed(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
) -> None:
    await client.search_users("A&b=c+d #é")

    assert parse_qs(urlsplit(api.calls[0]).query) == {
        "name": ["A&b=c+d #é"],
    }


async def test_a_blank_search_is_refused_before_any_request(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
) -> None:
    with pytest.raises(ValueError, match="blank"):
        await client.search_users("  ")

    assert api.calls == []


async def test_an_answer_that_is_no_list_is_refused(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
) -> None:
    api.plan(200, body="{}")

    with pytest.raises(ValueError, match="no list of users"):
        await client.search_users("ada")


async def test_use_before_connecting_is_refused() -> None:
    client = clients.UserAPIClient("http://127.0.0.1:9")

    with pytest.raises(RuntimeError, match="not connected"):
        await client.fetch_user(1)


async def test_use_after_closing_is_refused(
    client: clients.UserAPIClient,
) -> None:
    await client.close()
    await client.close()

    with pytest.raises(RuntimeError, match="not connected"):
        await client.search_users("ada")


async def test_the_client_is_closed_when_the_body_raises(
    api: api_server.UserAPI,
) -> None:
    client = clients.UserAPIClient(api.base_url)

    with pytest.raises(LookupError, match="body"):
        async with client:
            raise LookupError("body")

    with pytest.raises(RuntimeError, match="not connected"):
        await client.fetch_user(1)


@pytest.mark.looptime
async def test_the_client_is_closed_when_the_body_is_cancelled(
    api: api_server.UserAPI,
) -> None:
    client = clients.UserAPIClient(api.base_url)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), client:
            await asyncio.sleep(3600)

    with pytest.raises(RuntimeError, match="not connected"):
        await client.fetch_user(1)


async def test_a_slash_behind_the_base_url_changes_nothing(
    api: api_server.UserAPI,
) -> None:
    async with clients.UserAPIClient(f"{api.base_url}/") as client:
        await client.fetch_user(1)

    assert api.calls == ["GET /users/1"]


async def test_connecting_twice_keeps_the_session(
    client: clients.UserAPIClient,
) -> None:
    await client.connect()

    assert (await client.fetch_user(1)).id == 1


@pytest.mark.looptime
async def test_a_cancelled_call_leaves_the_client_usable(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
) -> None:
    api.delay = 5
    call = asyncio.create_task(client.fetch_user(1))
    await asyncio.sleep(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert (await client.fetch_user(2)).id == 2


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "http://",
        "http://example.com/?page=1",
        "http://example.com/#users",
        "http://example.com:0",
    ],
)
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url must be an http"):
        clients.UserAPIClient(url)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_must_be_positive(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout must be above 0"):
        clients.UserAPIClient("http://127.0.0.1:9", timeout)


@pytest.mark.parametrize("number", [True, 1.5, "1"])
async def test_a_user_without_a_number_is_refused(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
    number: object,
) -> None:
    user = {"id": number, "name": "a", "email": "b"}
    api.plan(200, json.dumps(user))

    with pytest.raises(ValueError, match="answered no user"):
        await client.fetch_user(1)


async def test_an_answer_that_is_nested_too_deeply_is_refused(
    api: api_server.UserAPI,
    client: clients.UserAPIClient,
) -> None:
    api.plan(200, "[" * 100_000)

    with pytest.raises(ValueError, match="did not answer JSON"):
        await client.fetch_user(1)


async def test_closing_during_a_look_up_cancels_no_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached = asyncio.Event()

    async def look_up_for_ever(*_: object, **__: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", look_up_for_ever)
    at_once = clients.RetryPolicy(first_wait=0, jitter=0)
    client = clients.UserAPIClient("http://example.com", retry=at_once)
    await client.connect()
    call = asyncio.create_task(client.fetch_user(1))
    await reached.wait()

    await client.close()

    with pytest.raises(RuntimeError, match="closed"):
        await call
