"""A real HTTP server on loopback, for the demo and the tests."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypedDict

from aiohttp import web
from aiohttp.test_utils import TestServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

FIRST_NAMES = ["Ada", "Alan", "Barbara", "Edsger", "Frances", "Grace"]


class _User(TypedDict):
    id: int
    name: str
    email: str


def _make_user(number: int) -> _User:
    return {
        "id": number,
        "name": f"{FIRST_NAMES[number % len(FIRST_NAMES)]} {number}",
        "email": f"user{number}@example.com",
    }


class LoopbackAPI:
    """A server on loopback that can be slow and can fail as planned.

    Attributes:
        base_url: Where it is served, such as http://127.0.0.1:40001.
        delay: Seconds that every answer takes.
        calls: The method and path of every request so far.
        authorizations: What each of them carried to prove who asks.
        busy: How many requests are under way.
        busiest: The most requests that were under way at the same time.
        peers: The address of every connection so far.
    """

    def __init__(self, routes: Iterable[web.RouteDef]) -> None:
        self.base_url = ""
        self.delay = 0.0
        self.calls: list[str] = []
        self.authorizations: list[str] = []
        self.busy = 0
        self.busiest = 0
        self.peers: set[object] = set()
        self._planned: deque[web.Response | None] = deque()
        self._routes = routes

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Serve on a free port of 127.0.0.1 while the context lasts."""
        app = web.Application(middlewares=[self._observe])
        app.router.add_routes(self._routes)
        async with TestServer(app) as server:
            self.base_url = str(server.make_url("")).rstrip("/")
            yield

    def plan(
        self,
        status: int,
        body: str = "",
        retry_after: str = "",
        location: str = "",
    ) -> None:
        """Let the next request without a plan be answered like this."""
        response = web.Response(status=status, text=body)
        if retry_after:
            response.headers["Retry-After"] = retry_after
        if location:
            response.headers["Location"] = location
        self._planned.append(response)

    def plan_broken_connection(self) -> None:
        """Let the next request without a plan get no answer at all."""
        self._planned.append(None)

    @web.middleware
    async def _observe(
        self,
        request: web.Request,
        handler: Handler,
    ) -> web.StreamResponse:
        self.calls.append(f"{request.method} {request.path_qs}")
        authorization = request.headers.get("Authorization", "")
        self.authorizations.append(authorization)
        self.peers.add(request.get_extra_info("peername"))
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await asyncio.sleep(self.delay)
            if not self._planned:
                return await self._answer(request, handler)
            response = self._planned.popleft()
            if response is None and request.transport is not None:
                request.transport.abort()
            return response or web.Response()
        finally:
            self.busy -= 1

    async def _answer(
        self,
        request: web.Request,
        handler: Handler,
    ) -> web.StreamResponse:
        return await handler(request)


class UserAPI(LoopbackAPI):
    """An API of users that can be slow and can fail as planned."""

    def __init__(self, user_count: int = 100) -> None:
        routes = [
            web.get("/users", self._search),
            web.post("/users", self._create),
            web.get("/users/{id}", self._get),
        ]
        super().__init__(routes)
        self._users = [_make_user(id_ + 1) for id_ in range(user_count)]

    async def _get(self, request: web.Request) -> web.Response:
        for user in self._users:
            if str(user["id"]) == request.match_info["id"]:
                return web.json_response(user)
        raise web.HTTPNotFound

    async def _search(self, request: web.Request) -> web.Response:
        wanted = request.query.get("name", "").lower()

        def matches(user: _User) -> bool:
            return wanted in user["name"].lower()

        return web.json_response(list(filter(matches, self._users)))

    async def _create(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"id": len(self._users) + 1},
            status=201,
        )
