"""Tests of the login: one token for all calls, renewed, kept secret."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiointercept import aiointercept

from tests.subject import api_server, auth_server, clients

pytestmark = pytest.mark.integration

PASSWORD = "correct horse battery staple"
LOGIN, GET = "POST /login", "GET /users/1"


@pytest.fixture
async def auth_api() -> AsyncIterator[auth_server.AuthAPI]:
    """Return an API behind a login, served while the test runs."""
    api = auth_server.AuthAPI(PASSWORD)
    async with api.serve():
        yield api


@pytest.fixture
async def stranger(
    auth_api: auth_server.AuthAPI,
) -> AsyncIterator[clients.AuthenticatedAPIClient]:
    """Return a client that is connected, but not logged in."""
    async with clients.AuthenticatedAPIClient(
        auth_api.base_url,
    ) as client:
        yield client


@pytest.fixture
async def member(
    stranger: clients.AuthenticatedAPIClient,
) -> clients.AuthenticatedAPIClient:
    """Return a client that is logged in."""
    await stranger.authenticate("ada", PASSWORD)
    return stranger


async def test_the_token_is_sent_with_every_call(
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
) -> None:
    await member.fetch_user(1)
    await member.search_users("ada")

    bearer = f"Bearer {auth_api.tokens[0]}"
    assert auth_api.authorizations == ["", bearer, bearer]


async def test_a_call_before_the_login_says_what_to_do(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
) -> None:
    with pytest.raises(RuntimeError, match=r"call authenticate\(\)"):
        await stranger.fetch_user(1)

    assert auth_api.calls == []


async def test_a_call_after_closing_says_what_to_do(
    member: clients.AuthenticatedAPIClient,
) -> None:
    await member.close()
    await member.close()

    with pytest.raises(RuntimeError, match=r"call authenticate\(\)"):
        await member.fetch_user(1)


async def test_closing_forgets_the_login(
    member: clients.AuthenticatedAPIClient,
) -> None:
    await member.close()
    await member.connect()

    with pytest.raises(RuntimeError, match=r"call authenticate\(\)"):
        await member.fetch_user(1)


async def test_logging_in_connects(
    auth_api: auth_server.AuthAPI,
) -> None:
    client = clients.AuthenticatedAPIClient(auth_api.base_url)

    await client.authenticate("ada", PASSWORD)
    user = await client.fetch_user(1)
    await client.close()

    assert user.id == 1


async def test_a_wrong_password_is_an_error(
    stranger: clients.AuthenticatedAPIClient,
) -> None:
    with pytest.raises(clients.AuthenticationError, match="401"):
        await stranger.authenticate("ada", "a guess")


async def test_a_refused_connection_is_an_error() -> None:
    url = "http://127.0.0.1:9"

    async with clients.AuthenticatedAPIClient(url) as client:
        with pytest.raises(clients.AuthenticationError) as caught:
            await client.authenticate("ada", PASSWORD)

    cause = caught.value.__cause__
    assert isinstance(cause, aiohttp.ClientConnectorError)


async def test_a_failed_login_leaves_the_earlier_one(
    member: clients.AuthenticatedAPIClient,
) -> None:
    with pytest.raises(clients.AuthenticationError):
        await member.authenticate("ada", "a guess")

    assert (await member.fetch_user(1)).id == 1


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("lifetime", "wait", "logins"),
    [(100, 69, 1), (100, 71, 2), (10, 4, 1), (10, 6, 2)],
    ids=["good", "old", "short and good", "short and old"],
)
async def test_a_token_is_renewed_before_it_expires(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
    lifetime: float,
    wait: float,
    logins: int,
) -> None:
    auth_api.lifetime = lifetime
    await stranger.authenticate("ada", PASSWORD)
    await asyncio.sleep(wait)

    await stranger.fetch_user(1)

    assert auth_api.calls == [LOGIN] * logins + [GET]


async def test_a_refused_token_is_renewed_and_the_call_sent_again(
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
) -> None:
    auth_api.revoke()

    assert (await member.fetch_user(1)).id == 1
    assert auth_api.calls == [LOGIN, GET, LOGIN, GET]


@pytest.mark.looptime
@pytest.mark.parametrize("delay", [0, 1, 5])
async def test_one_renewal_serves_all_calls_that_are_refused(
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
    delay: float,
) -> None:
    auth_api.delay = delay
    auth_api.revoke()

    users = await member.fetch_multiple_users(range(1, 41), limit=20)

    assert len(users) == 40
    assert auth_api.calls.count(LOGIN) == 2


@pytest.mark.looptime
async def test_a_late_refusal_of_the_old_token_keeps_the_new_one(
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
) -> None:
    auth_api.revoke()
    auth_api.delay = 5
    late = asyncio.create_task(member.fetch_user(2))
    await asyncio.sleep(1)

    auth_api.delay = 0
    await member.fetch_user(1)
    await late

    assert auth_api.calls.count(LOGIN) == 2


@pytest.mark.looptime
async def test_one_renewal_serves_all_calls_that_find_it_expired(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
) -> None:
    await let_a_token_expire(auth_api, stranger)
    auth_api.delay = 1

    await stranger.fetch_multiple_users(range(1, 21), limit=20)

    assert auth_api.calls.count(LOGIN) == 2
    assert len(auth_api.calls) == 22


async def test_a_fresh_token_that_is_refused_is_an_error(
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
) -> None:
    auth_api.plan(401)
    auth_api.plan(200, '{"access_token": "a"}')

    with pytest.raises(aiohttp.ClientResponseError, match="401"):
        await member.fetch_user(1)

    assert auth_api.calls == [LOGIN, GET, LOGIN, GET]


@pytest.mark.looptime
async def test_a_failed_renewal_is_told_to_all_who_wait(
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
) -> None:
    auth_api.password = "changed"
    auth_api.delay = 1
    auth_api.revoke()

    outcomes = await member.fetch_user_outcomes(range(5))

    errors = {type(outcome) for outcome in outcomes}
    assert errors == {clients.AuthenticationError}
    assert len({id(outcome) for outcome in outcomes}) == 5
    assert auth_api.calls.count(LOGIN) == 2


async def be_refused(
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
) -> None:
    """Let a renewal fail for its password."""
    auth_api.password = "changed"
    auth_api.revoke()
    with pytest.raises(clients.AuthenticationError, match="401"):
        await member.fetch_user(1)


@pytest.mark.looptime
async def test_half_a_minute_after_a_refused_renewal_a_call_may_work(
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
) -> None:
    await be_refused(auth_api, member)

    auth_api.password = PASSWORD
    await asyncio.sleep(31)

    assert (await member.fetch_user(1)).id == 1


async def test_a_login_ends_what_a_refused_renewal_began(
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
) -> None:
    await be_refused(auth_api, member)

    await member.authenticate("ada", "changed")

    assert (await member.fetch_user(1)).id == 1


async def test_a_changed_password_costs_one_login_for_many_calls(
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
) -> None:
    auth_api.password = "changed"
    auth_api.revoke()

    outcomes = await member.fetch_user_outcomes(range(50), limit=5)

    errors = {str(outcome) for outcome in outcomes}
    assert len(errors) == 1
    assert auth_api.calls.count(LOGIN) == 2


async def test_a_renewal_that_broke_off_is_tried_again(
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
) -> None:
    auth_api.revoke()
    auth_api.plan(401)
    auth_api.plan(503)
    with pytest.raises(clients.AuthenticationError, match="503"):
        await member.fetch_user(1)

    assert (await member.fetch_user(1)).id == 1


@pytest.mark.looptime
async def test_another_try_waits_for_a_renewal_under_way(
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
) -> None:
    auth_api.plan(503, retry_after="7")
    retried = asyncio.create_task(member.fetch_user(2))
    await asyncio.sleep(0.1)
    auth_api.revoke()
    auth_api.delay = 5

    # It is refused after 5 seconds, and has a new token after 10.
    await member.fetch_user(1)
    await retried

    calls = zip(auth_api.calls, auth_api.authorizations, strict=True)
    assert [call for call, sent in calls if not sent] == [LOGIN, LOGIN]


@pytest.mark.looptime
async def test_a_cancelled_call_takes_the_renewal_from_no_other(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
) -> None:
    await let_a_token_expire(auth_api, stranger)
    auth_api.delay = 2
    first = asyncio.create_task(stranger.fetch_user(1))
    second = asyncio.create_task(stranger.fetch_user(2))
    await asyncio.sleep(1)

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first

    assert (await second).id == 2
    assert auth_api.calls.count(LOGIN) == 2


@pytest.mark.looptime
async def test_a_renewal_that_nobody_waits_for_fails_silently(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await let_a_token_expire(auth_api, stranger)
    auth_api.password = "changed"
    auth_api.delay = 2
    call = asyncio.create_task(stranger.fetch_user(1))
    await asyncio.sleep(1)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.sleep(5)

    assert caplog.records == []


@pytest.mark.looptime
async def test_closing_ends_a_renewal_and_tells_who_waits(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
) -> None:
    await let_a_token_expire(auth_api, stranger)
    auth_api.delay = 2
    call = asyncio.create_task(stranger.fetch_user(1))
    await asyncio.sleep(1)

    await stranger.close()

    with pytest.raises(RuntimeError, match="closed during a login"):
        await call
    await asyncio.sleep(0.5)
    assert auth_api.busy == 0


@pytest.mark.looptime
async def test_a_close_that_is_cancelled_closes_all_the_same(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
) -> None:
    await let_a_token_expire(auth_api, stranger)
    auth_api.delay = 2
    session = vars(stranger)["_session"]
    call = asyncio.create_task(stranger.fetch_user(1))
    await asyncio.sleep(1)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await stranger.close()
    await asyncio.wait([call])

    assert isinstance(call.exception(), RuntimeError)
    assert session.closed


@pytest.mark.looptime
async def test_a_close_that_is_cancelled_twice_ends_the_renewal(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await let_a_token_expire(auth_api, stranger)

    async def log_in(*_: object) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(9)

    monkeypatch.setattr(stranger, "_log_in", log_in)
    call = asyncio.create_task(stranger.fetch_user(1))
    await asyncio.sleep(1)
    renewal = vars(stranger)["_renewal"]

    closing = asyncio.create_task(stranger.close())
    for _ in range(2):
        await asyncio.sleep(1)
        closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing

    assert renewal.done()
    with pytest.raises(RuntimeError, match="closed during a login"):
        await call


@pytest.mark.looptime
async def test_a_renewal_does_not_undo_a_later_login(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
) -> None:
    await let_a_token_expire(auth_api, stranger)
    auth_api.delay = 5
    call = asyncio.create_task(stranger.fetch_user(1))
    await asyncio.sleep(1)

    auth_api.delay = 0
    await stranger.authenticate("alan", PASSWORD)
    await call
    await stranger.fetch_user(2)

    _, later, _ = auth_api.tokens
    assert auth_api.authorizations[-1] == f"Bearer {later}"


async def test_a_login_is_not_repeated(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
) -> None:
    auth_api.plan(503)

    with pytest.raises(clients.AuthenticationError, match="503"):
        await stranger.authenticate("ada", PASSWORD)

    assert auth_api.calls == [LOGIN]


@pytest.mark.looptime
@pytest.mark.parametrize("delay", [0, 60])
async def test_retries_of_a_call_do_not_repeat_its_renewal(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
    delay: float,
) -> None:
    await let_a_token_expire(auth_api, stranger)
    auth_api.delay = delay
    auth_api.plan(503)

    with pytest.raises(clients.AuthenticationError, match="no new"):
        await stranger.fetch_user(1)

    assert auth_api.calls == [LOGIN, LOGIN]


@pytest.mark.looptime
async def test_a_slow_login_is_an_error(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
) -> None:
    auth_api.delay = 60

    with pytest.raises(clients.AuthenticationError, match="Timeout"):
        await stranger.authenticate("ada", PASSWORD)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "{",
        "[]",
        "null",
        '{"access_token": 5, "expires_in": 60}',
        '{"access_token": "", "expires_in": 60}',
        '{"access_token": "a\\r\\nHost: b", "expires_in": 60}',
        '{"access_token": "a", "expires_in": 0}',
        '{"access_token": "a", "expires_in": "soon"}',
        '{"access_token": "a", "expires_in": NaN}',
    ],
)
async def test_an_answer_without_a_token_is_an_error(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
    answer: str,
) -> None:
    auth_api.plan(200, answer)

    with pytest.raises(clients.AuthenticationError):
        await stranger.authenticate("ada", PASSWORD)


@pytest.mark.looptime
async def test_a_token_without_an_end_is_good_until_it_is_refused(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
) -> None:
    auth_api.plan(200, '{"access_token": "a"}')
    await stranger.authenticate("ada", PASSWORD)
    await asyncio.sleep(100_000)
    auth_api.plan(200, '{"id": 1, "name": "Ada", "email": "a@b.co"}')

    await stranger.fetch_user(1)

    assert auth_api.authorizations == ["", "Bearer a"]


@pytest.mark.looptime
async def test_neither_errors_nor_logs_show_the_token(
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="stamina")
    auth_api.plan(503)
    auth_api.plan(403)

    with pytest.raises(aiohttp.ClientResponseError) as caught:
        await member.fetch_user(1)

    seen = everything_about(caught.value, caplog.records)
    assert "stamina.retry_scheduled" in seen
    assert "Bearer (hidden)" in seen
    assert auth_api.tokens[0] not in seen


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (401, ""),
        (503, ""),
        (200, "s3cret"),
        (200, '{"access_token": "s3cret", "expires_in": -1}'),
    ],
)
async def test_neither_errors_nor_logs_show_what_a_login_holds(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
    caplog: pytest.LogCaptureFixture,
    status: int,
    answer: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    auth_api.plan(status, answer)

    with pytest.raises(clients.AuthenticationError) as caught:
        await stranger.authenticate("ada", PASSWORD)

    seen = everything_about(caught.value, caplog.records)
    assert PASSWORD not in seen
    assert "s3cret" not in seen


async def test_no_attribute_of_the_client_shows_a_secret(
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
) -> None:
    seen = f"{member!r} {vars(member)!r}"

    assert "renew_at" in seen
    assert PASSWORD not in seen
    assert auth_api.tokens[0] not in seen


async def test_a_redirect_to_another_host_loses_the_token(
    api: api_server.UserAPI,
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
) -> None:
    auth_api.plan(302, location=f"{api.base_url}/users/1")

    assert (await member.fetch_user(1)).id == 1
    assert api.authorizations == [""]


async def test_the_token_stays_with_the_host_of_the_api() -> None:
    home, abroad = "https://api.example.com", "https://cdn.example.com"
    user = {"id": 1, "name": "Ada", "email": "ada@example.com"}

    async with (
        aiointercept(mock_external_urls=True) as web,
        clients.AuthenticatedAPIClient(home) as client,
    ):
        web.post(f"{home}/login", payload={"access_token": "a"})
        there = {"Location": f"{abroad}/users/1"}
        web.get(f"{home}/users/1", status=302, headers=there)
        web.get(f"{abroad}/users/1", payload=user)
        await client.authenticate("ada", PASSWORD)
        await client.fetch_user(1)

    sent = [request.headers for _, request in web.ordered_requests]
    assert [headers.get("Authorization") for headers in sent] == [
        None,
        "Bearer a",
        None,
    ]


async def test_a_redirect_within_the_api_keeps_the_token(
    auth_api: auth_server.AuthAPI,
    member: clients.AuthenticatedAPIClient,
) -> None:
    auth_api.plan(302, location="/users/1")

    await member.fetch_user(1)

    assert auth_api.calls == [LOGIN, GET, GET]


async def test_the_password_is_not_sent_on_to_another_host(
    api: api_server.UserAPI,
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
) -> None:
    auth_api.plan(307, location=f"{api.base_url}/users")

    with pytest.raises(clients.AuthenticationError, match="another"):
        await stranger.authenticate("ada", PASSWORD)

    assert api.calls == []


@pytest.mark.parametrize(
    ("username", "password"),
    [("", "a"), (" ", "a"), ("ada", "")],
)
async def test_empty_credentials_are_refused_before_any_request(
    auth_api: auth_server.AuthAPI,
    stranger: clients.AuthenticatedAPIClient,
    username: str,
    password: str,
) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        await stranger.authenticate(username, password)

    assert auth_api.calls == []


def test_a_base_url_that_holds_a_password_is_refused_unshown() -> None:
    with pytest.raises(ValueError, match="no password") as caught:
        clients.AuthenticatedAPIClient("http://ada:s3cret@127.0.0.1:9")

    assert "s3cret" not in str(caught.value)


def test_a_negative_time_to_renew_is_refused() -> None:
    url = "http://127.0.0.1:9"

    with pytest.raises(ValueError, match="renew_before must not be"):
        clients.AuthenticatedAPIClient(url, renew_before=-1)


async def let_a_token_expire(
    api: auth_server.AuthAPI,
    client: clients.AuthenticatedAPIClient,
) -> None:
    """Log in and wait; in the test, whose time is not the fixtures'."""
    await client.authenticate("ada", PASSWORD)
    await asyncio.sleep(api.lifetime)


def everything_about(
    error: BaseException,
    records: list[logging.LogRecord],
) -> str:
    """Return what errors, their causes and logs may show anywhere."""
    causes = [error, error.__cause__, error.__context__]
    trace = traceback.format_exception(error)
    logs = [vars(record) for record in records]
    return f"{causes!r} {causes!s} {''.join(trace)} {logs!r}"
