"""A client for an API of users that asks for a login first."""

import asyncio
import math
import re
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
from aiohttp.hdrs import AUTHORIZATION
from yarl import URL

from ..cancellation import end
from .retries import RetryPolicy, fetch_json
from .sessions import open_session
from .users import UserAPIClient

# What a login answers to a wrong name or password: RFC 6749, 5.2, and
# common use.
REFUSALS = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
    },
)


# So long no other login follows one that was refused, but by
# `authenticate`.
REFUSAL_SECONDS = 30


class AuthenticationError(Exception):
    """The API gave no token."""


@dataclass(frozen=True, slots=True)
class _Credentials:
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    renew_at: float  # seconds, as the event loop counts them


class AuthenticatedAPIClient(UserAPIClient):
    """A `UserAPIClient` that logs in, and renews its token in time.

    ::

        async with AuthenticatedAPIClient(base_url) as client:
            await client.authenticate(username, password)
            user = await client.fetch_user(1)

    Log in by `authenticate`, which also connects; all calls then carry
    the token. A call that finds the token expired, or is answered 401,
    renews it and is sent once more. However many calls wait for a new
    token, there is one login. No login is ever repeated by itself, and
    for half a minute none follows one that was refused.

    The token goes to the API's own host alone, and neither it nor the
    password is shown by `repr`, by errors or by logs.

    Args:
        base_url: Where the API is, such as https://api.example.com/v1.
        timeout: Seconds that one try, or one login, may take.
        retry: How transient failures of calls are repeated.
        renew_before: Seconds before its end that a token is renewed,
            but not before half of its time.

    Raises:
        ValueError: The URL is no http URL or holds a password, or a
            number is out of range.
    """

    def __init__(
        self,
        base_url: str,
        timeout: float = 10,
        *,
        retry: RetryPolicy | None = None,
        renew_before: float = 30,
    ) -> None:
        super().__init__(base_url, timeout, retry=retry)
        if not renew_before >= 0:
            raise ValueError(
                f"renew_before must not be below 0: {renew_before}",
            )
        self.renew_before = renew_before
        self._login_url = URL(f"{self.base_url}/login")
        self._credentials: _Credentials | None = None
        self._token: _Token | None = None
        self._renewal: asyncio.Task[_Token | Exception] | None = None
        self._refusal: Exception | None = None
        self._refused_until = 0.0

    async def connect(self) -> None:
        """Open the session; connecting twice is fine."""
        self._open()

    async def close(self) -> None:
        """Log out here and close the session; twice is fine.

        Calls that wait for a new token end with a RuntimeError.
        """
        renewal, self._renewal = self._renewal, None
        self._credentials = self._token = self._refusal = None
        try:
            if renewal is not None:
                await end([renewal])
        finally:
            await super().close()

    async def authenticate(self, username: str, password: str) -> None:
        """Log in, and keep name and password for renewals.

        A login that fails leaves an earlier one as it was.

        Raises:
            AuthenticationError: The API gave no token; the cause says
                why.
            ValueError: The name is blank, or the password empty.
        """
        if not username.strip() or not password:
            raise ValueError("username and password must not be empty")
        credentials = _Credentials(username, password)
        self._token = await self._log_in(self._open(), credentials)
        self._credentials = credentials
        self._refusal = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = open_session(
                self.timeout,
                self._authorize,
            )
        return self._session

    async def _get(
        self,
        path: str,
        params: dict[str, str] | None = None,
    ) -> object:
        await self._ensure_token()
        try:
            return await super()._get(path, params)
        except aiohttp.ClientResponseError as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise
        await self._ensure_token()
        return await super()._get(path, params)

    async def _authorize(
        self,
        request: aiohttp.ClientRequest,
        handler: aiohttp.ClientHandlerType,
    ) -> aiohttp.ClientResponse:
        """Add the token to a request, and forget it if it is refused.

        A redirect comes here again, maybe with another host.
        """
        at_home = request.url.origin() == self._login_url.origin()
        if not at_home and request.method == "POST":
            raise AuthenticationError("the login leads to another host")
        if request.url == self._login_url or not at_home:
            return await handler(request)
        # Another call may have found that the former is refused.
        token = await self._ensure_token()
        request.headers[AUTHORIZATION] = f"Bearer {token.value}"
        try:
            response = await handler(request)
        finally:
            # The repr of an error shows these, and logs show the repr.
            request.headers[AUTHORIZATION] = "Bearer (hidden)"
        refused = response.status == HTTPStatus.UNAUTHORIZED
        if refused and self._token is token:
            self._token = None
        return response

    async def _ensure_token(self) -> _Token:
        """Return a token that is good, after one login for all calls.

        The login is a task of its own, so that a call that is cancelled
        does not take it away from the others.
        """
        credentials, session = self._credentials, self._session
        if credentials is None or session is None:
            raise RuntimeError(
                "not logged in: call authenticate() first",
            )
        now = asyncio.get_running_loop().time()
        if self._token is not None and now < self._token.renew_at:
            return self._token
        if self._refusal is not None and now < self._refused_until:
            raise AuthenticationError(
                f"no new token: {self._refusal}",
            ) from self._refusal
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(
                self._renew(session, credentials),
            )
        renewal = self._renewal
        await asyncio.wait([renewal])
        outcome = None if renewal.cancelled() else renewal.result()
        if outcome is None:
            raise RuntimeError("the client was closed during a login")
        if isinstance(outcome, Exception):
            raise AuthenticationError(
                f"no new token: {outcome}",
            ) from outcome
        return outcome

    async def _renew(
        self,
        session: aiohttp.ClientSession,
        credentials: _Credentials,
    ) -> _Token | Exception:
        """Return a new token, or why there is none, for all that wait.

        A login that is refused is not tried again at once: a few of
        those lock an account.
        """
        try:
            token = await self._log_in(session, credentials)
        except Exception as error:  # noqa: BLE001 - told
            if self._credentials is credentials and _is_refusal(error):
                now = asyncio.get_running_loop().time()
                self._refused_until = now + REFUSAL_SECONDS
                self._refusal = error
            return error
        if self._credentials is credentials:
            self._token = token
        return token

    async def _log_in(
        self,
        session: aiohttp.ClientSession,
        credentials: _Credentials,
    ) -> _Token:
        start = asyncio.get_running_loop().time()
        body = {
            "username": credentials.username,
            "password": credentials.password,
        }
        try:
            answer = await fetch_json(
                session,
                str(self._login_url),
                method="POST",
                body=body,
                retry=self.retry,
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise AuthenticationError(
                f"the login failed: {reason}",
            ) from error
        value, lifetime = _parse_login(answer)
        wait = max(lifetime - self.renew_before, lifetime / 2)
        return _Token(value, renew_at=start + wait)


def _parse_login(answer: object) -> tuple[str, float]:
    """Return the token and its seconds: RFC 6749, section 5.1.

    The answer is in no error: it may hold a token all the same.
    """
    problem = "the login answered no usable token"
    match answer:
        case {"access_token": str(token), **rest} if _is_token(token):
            seconds = rest.get("expires_in", math.inf)
            if isinstance(seconds, int | float) and seconds > 0:
                return token, seconds
            raise AuthenticationError(problem)
        case _:
            raise AuthenticationError(problem)


def _is_refusal(error: Exception) -> bool:
    """Return whether a login failed for its name or its password."""
    cause = error.__cause__
    if not isinstance(cause, aiohttp.ClientResponseError):
        return False
    return cause.status in REFUSALS


def _is_token(value: str) -> bool:
    """Return whether it is a Bearer token: RFC 6750, section 2.1."""
    return re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", value) is not None
