"""Tests of what is refused before any task runs."""

import asyncio
import math

import pytest

from tests.subject import workers
from tests.workers import jobs

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("max_concurrent", 0),
        ("max_deliveries", 0),
        ("keep_results", 0),
        ("max_retries", -1),
        ("first_wait", -0.1),
        ("longest_wait", -1),
        ("jitter", math.nan),
        ("reconnect_wait", -1),
        ("task_timeout", 0),
        ("task_timeout", math.nan),
    ],
)
def test_numbers_out_of_range_are_refused(
    name: str,
    number: float,
) -> None:
    numbers: dict[str, float] = {name: number}

    with pytest.raises(ValueError, match=f"{name} must be"):
        workers.TaskSettings(**numbers)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [60, math.inf])
def test_a_task_is_claimed_after_its_last_moment_and_before_for_ever(
    seconds: float,
) -> None:
    with pytest.raises(ValueError, match="finite and above task_time"):
        workers.TaskSettings(task_timeout=60, claim_after=seconds)


def test_a_blank_name_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be blank"):
        workers.make_broker({" ": jobs.add}, redis_url="")


def test_a_function_that_is_not_async_is_refused() -> None:
    with pytest.raises(TypeError, match="len must be an async func"):
        workers.make_broker(
            {"len": len},  # type: ignore[dict-item]
            redis_url="",
        )


def test_a_function_stays_as_it_was() -> None:
    before = vars(jobs).copy()

    workers.make_broker(jobs.JOBS, redis_url="")

    assert jobs.add.__qualname__ == jobs.add.__name__ == "add"
    assert vars(jobs) == before


@pytest.mark.parametrize("url", ["127.0.0.1:6379", "http://a:secret@b"])
def test_what_is_no_url_of_a_redis_is_refused_unseen(url: str) -> None:
    with pytest.raises(
        ValueError,
        match="REDIS_URL must start",
    ) as error:
        workers.make_broker(redis_url=url)

    assert url not in str(error.value)


async def test_a_worker_refuses_a_broker_in_memory() -> None:
    broker = workers.make_broker(redis_url="")

    with pytest.raises(ValueError, match="a worker needs REDIS_URL"):
        await workers.run_worker(broker, asyncio.Event())


@pytest.mark.parametrize("grace", [-1, math.nan])
async def test_a_grace_out_of_range_is_refused(grace: float) -> None:
    broker = workers.make_broker(redis_url="redis://127.0.0.1:1")

    with pytest.raises(ValueError, match="grace must be 0 or more"):
        await workers.run_worker(broker, asyncio.Event(), grace=grace)
