"""Fetches events, and prints several that are fetched at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from operator import index

import aiohttp

from ..fan_out import fan_out_outcomes
from .checks import check_base_url, check_seconds
from .retries import RetryPolicy, fetch_json

RETRY = RetryPolicy(total_timeout=30)


@dataclass(frozen=True, slots=True)
class Event:
    """One event as the API describes it."""

    id: int
    title: str
    description: str
    location: str


class EventNotFoundError(LookupError):
    """The API knows no event of this id."""

    def __init__(self, event_id: int) -> None:
        super().__init__(event_id)
        self.event_id = event_id

    def __str__(self) -> str:
        return f"there is no event {self.event_id}"


async def fetch_event(
    session: aiohttp.ClientSession,
    event_id: int,
    *,
    retry: RetryPolicy = RETRY,
) -> Event:
    """Return the event of this id.

    Args:
        session: What the request goes through; its base_url says where
            the API is, and its timeout limits each try.
        event_id: Which event.
        retry: How transient failures are repeated, and the time for it
            all: 30 seconds unless told.

    Raises:
        EventNotFoundError: There is no such event.
        aiohttp.ClientResponseError: The API answered another error.
        aiohttp.ClientConnectionError: There is no connection to it.
        aiohttp.ClientPayloadError: The answer has broken off.
        TimeoutError: The last try took too long.
        ValueError: The answer does not describe this event, or the
            session has no base_url.
        TypeError: The id is no whole number.
    """
    url = f"events/{index(event_id)}"
    try:
        answer = await fetch_json(session, url, retry=retry)
    except aiohttp.ClientResponseError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            raise EventNotFoundError(event_id) from error
        raise
    event = _parse_event(answer)
    if event.id != event_id:
        raise ValueError(
            f"the API answered event {event.id} instead of {event_id}",
        )
    return event


async def main(
    base_url: str,
    event_ids: Iterable[int],
    *,
    timeout: float = 10,  # noqa: ASYNC109 - of one try
    limit: int = 10,
) -> None:
    """Print title, description and location of each event, in order.

    At most `limit` are fetched at once. An event that cannot be fetched
    is printed as the error; the others are printed all the same.

    Args:
        base_url: Where the API is, such as https://api.example.com/v1.
        event_ids: Which events.
        timeout: Seconds that one try may take.
        limit: How many are fetched at once.

    Raises:
        ValueError: The URL is no http URL, the timeout not above 0, or
            the limit below 1.
    """
    base_url = check_base_url(base_url)
    check_seconds("timeout", timeout)
    async with aiohttp.ClientSession(
        base_url,
        timeout=aiohttp.ClientTimeout(total=timeout),
    ) as session:
        outcomes = await fan_out_outcomes(
            partial(fetch_event, session),
            event_ids,
            limit=limit,
        )
    for outcome in outcomes:
        print(_in_words(outcome))


def _in_words(outcome: Event | Exception) -> str:
    if isinstance(outcome, Event):
        where = outcome.location
        return f"{outcome.title} ({where}): {outcome.description}"
    return f"not fetched: {str(outcome) or type(outcome).__name__}"


def _parse_event(answer: object) -> Event:
    match answer:
        case {
            "id": int(id_),
            "title": str(title),
            "description": str(description),
            "location": str(location),
        } if not isinstance(id_, bool):
            return Event(id_, title, description, location)
        case _:
            raise ValueError(f"the API answered no event: {answer!r}")
