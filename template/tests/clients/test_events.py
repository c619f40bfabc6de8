"""Tests of the event client, and of what it prints."""

import asyncio
import json
from collections.abc import AsyncIterator
from unittest.mock import create_autospec

import aiohttp
import pytest
from aiointercept import aiointercept

from tests.subject import clients, event_server

pytestmark = pytest.mark.integration

NO_RETRY = clients.RetryPolicy(max_retries=0)


@pytest.fixture
async def event_api() -> AsyncIterator[event_server.EventAPI]:
    """Return an API of events that is served while the test runs."""
    api = event_server.EventAPI()
    async with api.serve():
        yield api


@pytest.fixture
async def event_session(
    event_api: event_server.EventAPI,
) -> AsyncIterator[aiohttp.ClientSession]:
    """Return a session whose base URL is the API of events."""
    async with aiohttp.ClientSession(
        f"{event_api.base_url}/",
        timeout=aiohttp.ClientTimeout(total=1),
    ) as session:
        yield session


async def test_an_event_is_fetched_by_id(
    event_session: aiohttp.ClientSession,
) -> None:
    event = await clients.fetch_event(event_session, 2)

    about = "Two days of open source"
    assert event == clients.Event(2, "Sprint", about, "Porto")


async def test_the_session_stays_open(
    event_session: aiohttp.ClientSession,
) -> None:
    await clients.fetch_event(event_session, 1)

    assert not event_session.closed


async def test_a_missing_event_is_told_apart_from_other_errors(
    event_session: aiohttp.ClientSession,
) -> None:
    with pytest.raises(clients.EventNotFoundError, match="no event 9"):
        await clients.fetch_event(event_session, 9)


async def test_other_statuses_are_raised(
    event_api: event_server.EventAPI,
    event_session: aiohttp.ClientSession,
) -> None:
    event_api.plan(403)

    with pytest.raises(aiohttp.ClientResponseError, match="403"):
        await clients.fetch_event(event_session, 1)


@pytest.mark.looptime
async def test_a_transient_failure_is_retried(
    event_api: event_server.EventAPI,
    event_session: aiohttp.ClientSession,
) -> None:
    event_api.plan(503)

    assert (await clients.fetch_event(event_session, 1)).id == 1


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "{",
        "[]",
        '{"id": 1}',
        '{"id": 2, "title": "", "description": "", "location": ""}',
        '{"id": 1, "title": 5, "description": "", "location": ""}',
    ],
)
async def test_an_answer_that_is_not_the_event_is_refused(
    event_api: event_server.EventAPI,
    event_session: aiohttp.ClientSession,
    answer: str,
) -> None:
    event_api.plan(200, answer)

    with pytest.raises(ValueError, match="answer"):
        await clients.fetch_event(event_session, 1)


@pytest.mark.looptime
async def test_a_slow_answer_is_a_timeout(
    event_api: event_server.EventAPI,
    event_session: aiohttp.ClientSession,
) -> None:
    event_api.delay = 60

    with pytest.raises(TimeoutError):
        await clients.fetch_event(event_session, 1, retry=NO_RETRY)


@pytest.mark.looptime
async def test_time_is_limited_where_the_session_has_no_limit(
    event_api: event_server.EventAPI,
) -> None:
    event_api.delay = 3600

    async with aiohttp.ClientSession(
        f"{event_api.base_url}/",
        # ast-grep-ignore: no-time-limit
        timeout=aiohttp.ClientTimeout(total=None),
    ) as session:
        with pytest.raises(TimeoutError):
            await clients.fetch_event(session, 1)


@pytest.mark.looptime
async def test_a_cancelled_fetch_leaves_the_session_usable(
    event_api: event_server.EventAPI,
    event_session: aiohttp.ClientSession,
) -> None:
    event_api.delay = 0.5
    fetch = clients.fetch_event(event_session, 1)
    call = asyncio.create_task(fetch)
    await asyncio.sleep(0.2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert (await clients.fetch_event(event_session, 2)).id == 2


async def test_a_session_without_a_base_url_is_refused() -> None:
    timeout = aiohttp.ClientTimeout(total=1)

    async with aiohttp.ClientSession(timeout=timeout) as session:
        with pytest.raises(ValueError, match="events/1"):
            await clients.fetch_event(session, 1)


@pytest.mark.looptime
async def test_events_are_printed_in_the_order_asked(
    event_api: event_server.EventAPI,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await clients.events.main(event_api.base_url, [3, 9, 1])

    assert capsys.readouterr().out.splitlines() == [
        "Workshop (Online): From threads to tasks",
        "not fetched: there is no event 9",
        "Async meetup (Vienna): Talks on event loops",
    ]


async def test_an_error_without_words_is_printed_by_its_name(
    event_api: event_server.EventAPI,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fetch = create_autospec(clients.fetch_event)
    fetch.side_effect = TimeoutError
    monkeypatch.setattr(clients.events, "fetch_event", fetch)

    await clients.events.main(event_api.base_url, [1])

    assert capsys.readouterr().out == "not fetched: TimeoutError\n"


async def test_nothing_is_printed_of_no_events(
    event_api: event_server.EventAPI,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await clients.events.main(event_api.base_url, [])

    assert capsys.readouterr().out == ""


@pytest.mark.looptime
async def test_events_are_fetched_at_the_same_time_up_to_the_limit(
    event_api: event_server.EventAPI,
) -> None:
    event_api.delay = 1
    ids = [1, 2, 3] * 4

    await clients.events.main(event_api.base_url, ids, limit=4)

    assert event_api.busiest == 4


async def test_events_of_a_public_host_are_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    event = {
        "id": 1,
        "title": "Meetup",
        "description": "Talks",
        "location": "Vienna",
    }

    async with aiointercept(mock_external_urls=True) as web:
        web.get("https://events.example.com/v1/events/1", payload=event)
        await clients.events.main("https://events.example.com/v1", [1])

    assert capsys.readouterr().out == "Meetup (Vienna): Talks\n"


@pytest.mark.parametrize(
    "url",
    ["", "example.com", "ftp://example.com", "http://", "http://a/?b"],
)
async def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url must be an http"):
        await clients.events.main(url, [1])


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
async def test_a_timeout_must_be_positive(seconds: float) -> None:
    url = "http://127.0.0.1:9"

    with pytest.raises(ValueError, match="timeout must be above 0"):
        await clients.events.main(url, [1], timeout=seconds)


async def test_an_id_that_is_no_number_is_refused(
    event_api: event_server.EventAPI,
    event_session: aiohttp.ClientSession,
) -> None:
    texts = dict.fromkeys(["title", "description", "location"], "a")
    event_api.plan(200, json.dumps({"id": True, **texts}))

    with pytest.raises(ValueError, match="answered no event"):
        await clients.fetch_event(event_session, 1)
