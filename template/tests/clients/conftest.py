"""What the tests of the clients share: real servers, a client."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.subject import api_server, clients, model_server


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


@pytest.fixture
async def model_api() -> AsyncIterator[model_server.ModelAPI]:
    """Return an API of models that is served while the test runs."""
    api = model_server.ModelAPI()
    async with api.serve():
        yield api


@pytest.fixture
async def session(
    model_api: model_server.ModelAPI,
) -> AsyncIterator[aiohttp.ClientSession]:
    """Return a session whose base URL is the API of models."""
    async with aiohttp.ClientSession(
        f"{model_api.base_url}/",
        timeout=aiohttp.ClientTimeout(total=10),
    ) as session:
        yield session
