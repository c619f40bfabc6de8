"""What the tests of the clients share: a real server, a client."""

from collections.abc import AsyncIterator

import pytest

from tests.subject import api_server, clients


@pytest.fixture
async def api() -> AsyncIterator[api_server.UserAPI]:
    """Return an API that is served on loopback while the test runs."""
    api = api_server.UserAPI()
    async with api.serve():
        yield api


@pytest.fixture
async def client(
    api: api_server.UserAPI,
) -> AsyncIterator[clients.UserAPIClient]:
    """Return a client that is connected to the API."""
    async with clients.UserAPIClient(api.base_url) as client:
        yield client
