"""What several clients refuse before they send any request."""

import math
from urllib.parse import urlsplit


def check_seconds(name: str, seconds: float) -> None:
    """Raise a ValueError unless the seconds are finite and above 0."""
    if not 0 < seconds < math.inf:
        raise ValueError(
            f"{name} must be above 0 seconds, not {seconds}",
        )


def check_base_url(url: str) -> str:
    """Return the URL with one slash at its end.

    Raises:
        ValueError: It is no http URL, or holds a query or a password.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("base_url must hold no user and no password")
    web = parts.scheme in {"http", "https"} and bool(parts.hostname)
    if not web or parts.port == 0 or parts.query or parts.fragment:
        raise ValueError(
            f"base_url must be an http URL, no query: {url!r}",
        )
    return f"{url.rstrip('/')}/"
