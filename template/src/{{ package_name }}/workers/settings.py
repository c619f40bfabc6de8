"""How tasks are run: limits, retries, and what happens to orphans."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """How tasks are run, retried and handed over. Times are in seconds.

    Attributes:
        max_concurrent: How many tasks a worker runs at once.
        task_timeout: How long one try of a task may take.
        max_retries: How many tries may follow the first.
        retry_on: The errors that are worth another try.
        first_wait: The wait before the first retry; doubled every time.
        longest_wait: What no wait exceeds, but for the jitter.
        jitter: Up to so much is added to every wait, at random.
        claim_after: How long a task stays with a worker that is silent
            before another takes it. Longer than a try, or else a slow
            task would run twice.
        max_deliveries: How many workers may die with a task before it
            is given up.
        keep_results: How long Redis keeps a result.
        reconnect_wait: How long a worker waits before it looks for a
            Redis again that went away.

    Raises:
        ValueError: A number is out of range, or `claim_after` is too
            short for the other times.
    """

    max_concurrent: int = 100
    task_timeout: float = 60
    max_retries: int = 3
    retry_on: tuple[type[Exception], ...] = (
        ConnectionError,
        TimeoutError,
    )
    first_wait: float = 1
    longest_wait: float = 30
    jitter: float = 1
    claim_after: float = 120
    max_deliveries: int = 5
    keep_results: int = 86_400
    reconnect_wait: float = 1

    def __post_init__(self) -> None:
        self._check_at_least(1, "max_concurrent", "max_deliveries")
        self._check_at_least(1, "keep_results")
        self._check_at_least(0, "max_retries", "first_wait", "jitter")
        self._check_at_least(0, "longest_wait", "reconnect_wait")
        if not self.task_timeout > 0:
            raise ValueError(
                "task_timeout must be above 0 seconds",
            )
        if not self.task_timeout < self.claim_after < math.inf:
            raise ValueError(
                "claim_after must be finite and above task_timeout",
            )

    def _check_at_least(self, least: int, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not value >= least:
                raise ValueError(
                    f"{name} must be at least {least}, not {value}",
                )
