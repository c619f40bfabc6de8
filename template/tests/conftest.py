"""What all tests share."""

import asyncio


def pytest_sessionstart() -> None:
    """Say that there is no event loop but those that tests are given.

    Otherwise whoever looks for one outside an async test, as plugins
    do, makes one that nobody closes.
    """
    asyncio.set_event_loop(None)
