"""A real API on loopback that answers only who has logged in."""

import asyncio
import secrets

from aiohttp import web

from .api_server import Handler, UserAPI


class AuthAPI(UserAPI):
    """An API of users behind a login for a token.

    Attributes:
        password: Whoever knows it may log in, as anybody.
        lifetime: Seconds that a new token is good for.
        tokens: Every token so far.
    """

    def __init__(self, password: str = "") -> None:
        super().__init__()
        self.password = password or secrets.token_urlsafe()
        self.lifetime = 300.0
        self.tokens: list[str] = []
        self._ends: dict[str, float] = {}
        self._routes = [
            *self._routes,
            web.post("/login", self._log_in),
        ]

    def revoke(self) -> None:
        """Refuse all tokens from now on, before their time is over."""
        self._ends.clear()

    async def _answer(
        self,
        request: web.Request,
        handler: Handler,
    ) -> web.StreamResponse:
        header = request.headers.get("Authorization", "")
        end = self._ends.get(header.removeprefix("Bearer "), 0)
        known = asyncio.get_running_loop().time() < end
        if known or request.path == "/login":
            return await handler(request)
        raise web.HTTPUnauthorized

    async def _log_in(self, request: web.Request) -> web.Response:
        login = await request.json()
        if login["password"] != self.password:
            raise web.HTTPUnauthorized
        token = secrets.token_urlsafe()
        now = asyncio.get_running_loop().time()
        self.tokens.append(token)
        self._ends[token] = now + self.lifetime
        return web.json_response(
            {"access_token": token, "expires_in": self.lifetime},
        )
