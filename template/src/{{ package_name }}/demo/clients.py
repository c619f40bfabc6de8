"""Shows the HTTP clients against a real server on loopback."""

import time

from ..clients import UserAPIClient
from .api_server import UserAPI


async def show() -> None:
    """Fetch, search, retry and miss users, and print what happens."""
    api = UserAPI(user_count=200)
    async with api.serve(), UserAPIClient(api.base_url) as client:
        print(f"one user: {await client.fetch_user(1)}")

        api.delay = 0.02
        start = time.perf_counter()
        users = await client.fetch_multiple_users(
            range(1, 101),
            limit=20,
        )
        took = time.perf_counter() - start
        print(f"{len(users)} users of 20 ms each took {took:.2f} s")
        print(f"with at most {api.busiest} requests at a time")

        found = await client.search_users("grace")
        print(f"{len(found)} users are called Grace")

        api.plan(503)
        api.plan(429, retry_after="0")
        calls = len(api.calls)
        print(f"retried: {await client.fetch_user(2)}")
        print(f"after {len(api.calls) - calls} tries: 503, 429, 200")

        outcomes = await client.fetch_user_outcomes([3, 1000])
        print(f"two ids, one of them missing: {outcomes}")
