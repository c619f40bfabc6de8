"""A client for an API of users, over one pooled session."""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from operator import index
from types import TracebackType
from typing import Self

import aiohttp

from ..fan_out import fan_out, fan_out_outcomes
from .checks import check_base_url, check_seconds
from .retries import RetryPolicy, fetch_json
from .sessions import open_session


@dataclass(frozen=True, slots=True)
class User:
    """One user as the API describes them."""

    id: int
    name: str
    email: str


class UserNotFoundError(LookupError):
    """The API knows no user of this id."""

    def __init__(self, user_id: int) -> None:
        super().__init__(user_id)
        self.user_id = user_id

    def __str__(self) -> str:
        return f"there is no user {self.user_id}"


class UserAPIClient:
    """Fetches and finds users. All calls share one session.

        async with UserAPIClient(base_url) as client:
            user = await client.fetch_user(1)
            users = await client.fetch_multiple_users([1, 2, 3])

    Or call `connect` and `close`. Transient failures are repeated as
    `retry` says.

    Args:
        base_url: Where the API is, such as https://api.example.com/v1.
        timeout: Seconds that one try may take.
        retry: How transient failures are repeated.

    Raises:
        ValueError: The URL is no http URL, or the timeout not above 0.
    """

    def __init__(
        self,
        base_url: str,
        timeout: float = 10,
        *,
        retry: RetryPolicy | None = None,
    ) -> None:
        check_seconds("timeout", timeout)
        self.base_url = check_base_url(base_url).rstrip("/")
        self.timeout = timeout
        self.retry = retry or RetryPolicy()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Open the session; connecting twice is fine."""
        if self._session is None:
            self._session = open_session(self.timeout)

    async def close(self) -> None:
        """Close session and connections; closing twice is fine."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def fetch_user(self, user_id: int) -> User:
        """Return the user of this id.

        Raises:
            UserNotFoundError: There is no such user.
            aiohttp.ClientResponseError: The API answered another error.
            aiohttp.ClientConnectionError: There is no connection to it.
            aiohttp.ClientPayloadError: The answer has broken off.
            TimeoutError: The last try took too long.
            ValueError: The answer does not describe this user.
            TypeError: The id is no whole number.
            RuntimeError: The client is not connected.
        """
        try:
            answer = await self._get(f"/users/{index(user_id)}")
        except aiohttp.ClientResponseError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                raise UserNotFoundError(user_id) from error
            raise
        user = _parse_user(answer)
        if user.id != user_id:
            raise ValueError(
                f"the API answered user {user.id} instead of {user_id}",
            )
        return user

    async def fetch_multiple_users(
        self,
        user_ids: Iterable[int],
        *,
        limit: int = 10,
    ) -> list[User]:
        """Return the users of these ids, in the order asked.

        At most `limit` are fetched at once. The first failure cancels
        the rest.

        Raises:
            ExceptionGroup: What `fetch_user` raised.
            ValueError: The limit is below 1.
        """
        return await fan_out(self.fetch_user, user_ids, limit=limit)

    async def fetch_user_outcomes(
        self,
        user_ids: Iterable[int],
        *,
        limit: int = 10,
    ) -> list[User | Exception]:
        """Return a user or what `fetch_user` raised, for each id.

        They come in the order asked, at most `limit` fetched at once.

        Raises:
            ValueError: The limit is below 1.
        """
        return await fan_out_outcomes(
            self.fetch_user,
            user_ids,
            limit=limit,
        )

    async def search_users(self, name: str) -> list[User]:
        """Return the users whose names contain `name`, as the API does.

        Raises:
            ValueError: The name is blank, or the answer no user list.
            RuntimeError: The client is not connected.
            Exception: As `fetch_user`, but for a user not found.
        """
        if not name.strip():
            raise ValueError("name must not be blank")
        answer = await self._get("/users", {"name": name})
        match answer:
            case list():
                return [_parse_user(item) for item in answer]
            case _:
                raise ValueError(
                    f"the API answered no list of users: {answer!r}",
                )

    async def _get(
        self,
        path: str,
        params: dict[str, str] | None = None,
    ) -> object:
        if self._session is None:
            raise RuntimeError(
                "the client is not connected: call connect() first",
            )
        return await fetch_json(
            self._session,
            self.base_url + path,
            params=params,
            retry=self.retry,
        )


def _parse_user(answer: object) -> User:
    match answer:
        case {
            "id": int(id_),
            "name": str(name),
            "email": str(email),
        } if not isinstance(id_, bool):
            return User(id=id_, name=name, email=email)
        case _:
            raise ValueError(f"the API answered no user: {answer!r}")
