"""Shows the HTTP clients against real servers on loopback."""

import time
from contextlib import aclosing

import aiohttp
import rich
from rich.table import Table

from ..clients import (
    AsyncModelClient,
    AuthenticatedAPIClient,
    AuthenticationError,
    UserAPIClient,
    deploy_multiple_models,
    events,
    fetch_all_models,
    fetch_all_models_sequentially,
    monitor_models,
    monitor_training,
)
from .api_server import UserAPI
from .auth_server import AuthAPI
from .event_server import EventAPI
from .model_server import ModelAPI, log_line


async def show() -> None:
    """Use every client and print what happens."""
    await _show_users()
    await _show_login()
    await _show_events()
    await _show_models()
    await _show_health()
    await _show_training()


async def _show_users() -> None:
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


async def _show_login() -> None:
    api = AuthAPI()
    async with (
        api.serve(),
        AuthenticatedAPIClient(api.base_url) as client,
    ):
        try:
            await client.authenticate("ada", "a guess")
        except AuthenticationError as error:
            print(f"a wrong password: {error}")
        await client.authenticate("ada", api.password)
        api.revoke()
        users = await client.fetch_multiple_users(range(1, 21))
        logins = len(api.tokens)
        print(f"{len(users)} users with a token that was revoked")
        print(f"took {logins} logins, the first one included")


async def _show_events() -> None:
    api = EventAPI()
    async with api.serve():
        await events.main(api.base_url, [1, 2, 3, 4])


async def _show_models() -> None:
    api = ModelAPI()
    async with api.serve(), AsyncModelClient(api.base_url) as client:
        prediction = await client.predict("churn", [0.2, 0.4])
        print(f"predicted from two features: {prediction:.2f}")
        try:
            await client.predict("churn", [])
        except ValueError as error:
            print(f"refused before any request: {error}")

        api.delay = 0.02
        names = [f"model-{number}" for number in range(10)]
        start = time.perf_counter()
        await fetch_all_models_sequentially(client, names)
        middle = time.perf_counter()
        await fetch_all_models(client, names)
        end = time.perf_counter()
        print(f"10 models one by one took {middle - start:.2f} s")
        print(f"and at the same time {end - middle:.2f} s")

        outcomes = await deploy_multiple_models(
            client,
            ["churn", "no-such-model", "fraud"],
            "staging",
        )
        for name, outcome in outcomes.items():
            print(f"deploy {name}: {str(outcome).splitlines()[0]}")


async def _show_health() -> None:
    api = ModelAPI()
    timeout = aiohttp.ClientTimeout(total=10)
    async with (
        api.serve(),
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        urls = [
            f"{api.base_url}/models/churn/health",
            f"{api.base_url}/models/no-such-model/health",
            "http://127.0.0.1:9/health",
        ]
        monitor = monitor_models(session, urls, interval=0.1)
        table = Table("endpoint", "status", "ms", "detail")
        async with aclosing(monitor):
            await anext(monitor)
            for health in await anext(monitor):
                table.add_row(
                    health.url.partition("//")[2],
                    health.status,
                    f"{health.response_time * 1000:.0f}",
                    health.detail.partition(":")[0],
                )
        rich.get_console().print(table)


async def _show_training() -> None:
    api = ModelAPI()
    api.pause = 0.05
    api.log = [
        log_line("queued", "waiting for a machine"),
        log_line("running", "epoch 1 of 2, loss 0.52"),
        log_line("running", "epoch 2 of 2, loss 0.31"),
        log_line("completed", "saved"),
    ]
    timeout = aiohttp.ClientTimeout(total=10)
    async with (
        api.serve(),
        aiohttp.ClientSession(
            f"{api.base_url}/",
            timeout=timeout,
        ) as session,
    ):
        state = await monitor_training(session, 7)
    print(f"job 7 has {state}")
