"""HTTP clients: one pooled session each, retries, and a clear end."""

from .retries import RetryPolicy, fetch_with_retry
from .users import User, UserAPIClient, UserNotFoundError

__all__ = [
    "RetryPolicy",
    "User",
    "UserAPIClient",
    "UserNotFoundError",
    "fetch_with_retry",
]
