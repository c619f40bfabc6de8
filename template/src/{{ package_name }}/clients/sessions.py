"""Sessions that can be closed without cancelling who uses them."""

import asyncio
import socket

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver


def open_session(
    timeout: float,
    *middlewares: aiohttp.ClientMiddlewareType,
) -> aiohttp.ClientSession:
    """Return a new session.

    Args:
        timeout: Seconds that each request may take.
        *middlewares: What requests go through.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=_Resolver()),
        timeout=aiohttp.ClientTimeout(total=timeout),
        middlewares=middlewares,
    )


class _Resolver(ThreadedResolver):
    """Lets a look-up fail that aiohttp cancels as it is closed.

    It would cancel whoever waits for the look-up.
    """

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> list[ResolveResult]:
        """Return the addresses of the host.

        Raises:
            OSError: It has none, or the session was closed.
        """
        try:
            return await super().resolve(host, port, family)
        except asyncio.CancelledError as error:
            raise OSError(  # noqa: ASYNC104 - not of who waits
                f"the session was closed as it looked up {host}",
            ) from error
