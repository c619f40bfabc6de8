"""Follows the log of a training job while the job writes it."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from operator import index

import aiohttp
from aiohttp.http_exceptions import LineTooLong

from .checks import check_seconds


class TrainingState(StrEnum):
    """How far a training job is."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended, well or not."""
        return self not in {TrainingState.QUEUED, TrainingState.RUNNING}


STATES = frozenset(TrainingState)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log: the job's state then, and what it said."""

    state: TrainingState
    message: str

    def __str__(self) -> str:
        return f"{self.state}: {self.message}"


async def stream_training_logs(
    session: aiohttp.ClientSession,
    job_id: int,
    *,
    silence: float = 60,
    longest_line: int = 65_536,
) -> AsyncGenerator[LogLine]:
    """Yield the lines of a job's log as they come, until the log ends.

    The answer is NDJSON: an object with `state` and `message` a line,
    in UTF-8. Empty lines say that the job is alive, no more. However
    long the job takes, only a silence is too long.

    The connection is held until the generator is closed. Where the loop
    may be left early, let `contextlib.aclosing` do that.

    Args:
        session: What the request goes through; its base_url says where
            the API is.
        job_id: Whose log it is.
        silence: Seconds without a byte before it is given up.
        longest_line: Bytes that a line may have, its end included.

    Raises:
        aiohttp.ClientResponseError: The API answered 4xx or 5xx.
        aiohttp.ClientConnectionError: There is no connection to it.
        aiohttp.ClientPayloadError: The connection broke.
        TimeoutError: The API was silent for too long.
        ValueError: A line is too long or no line of a log, a number is
            out of range, or the session has no base_url.
        TypeError: The id is no whole number.
    """
    check_seconds("silence", silence)
    if longest_line < 1:
        raise ValueError(
            f"longest_line must be at least 1 byte, not {longest_line}",
        )
    request = session.get(
        f"jobs/{index(job_id)}/logs",
        timeout=aiohttp.ClientTimeout(
            total=None,
            connect=silence,
            sock_read=silence,
        ),
    )
    async with request as response:
        response.raise_for_status()
        while line := await _read_line(response.content, longest_line):
            if line.strip():
                yield _parse_line(line)


async def monitor_training(
    session: aiohttp.ClientSession,
    job_id: int,
    *,
    report: Callable[[LogLine], object] = print,
    silence: float = 60,
) -> TrainingState:
    """Report every line of a job's log; return how the job ended.

    Args:
        session: As for `stream_training_logs`.
        job_id: Whose log it is.
        report: What is called with each line; it must not block.
        silence: Seconds without a byte before it is given up.

    Raises:
        EOFError: The log ended before the job did.
        Exception: What `stream_training_logs` or `report` raised.
    """
    log = stream_training_logs(session, job_id, silence=silence)
    async with aclosing(log):
        async for line in log:
            report(line)
            if line.state.is_final:
                return line.state
    raise EOFError(f"the log of job {job_id} ended before the job")


async def _read_line(
    content: aiohttp.StreamReader,
    longest: int,
) -> bytes:
    try:
        return await content.readline(max_line_length=longest)
    except LineTooLong:
        raise ValueError(
            f"a line of the log has more than {longest} bytes",
        ) from None


def _parse_line(line: bytes) -> LogLine:
    problem = f"no line of a log: {line!r}"
    try:
        entry = json.loads(line)
    except (RecursionError, ValueError) as error:
        raise ValueError(problem) from error
    match entry:
        case {"state": str(state), "message": str(message)}:
            if state in STATES:
                return LogLine(TrainingState(state), message)
            raise ValueError(problem)
        case _:
            raise ValueError(problem)
