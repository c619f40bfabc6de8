"""Tests of what clients and workers say where there is no Redis."""

import asyncio
import runpy
from collections.abc import Coroutine

import pytest

from tests.subject import logs, workers
from tests.workers import conftest

pytestmark = pytest.mark.integration


@pytest.fixture
def url() -> str:
    """Return the URL of a Redis that is not there."""
    return f"redis://:hunter2@127.0.0.1:{conftest.free_port()}"


async def test_a_client_says_at_the_start_that_redis_is_down(
    url: str,
) -> None:
    client = workers.TaskClient(workers.make_broker(redis_url=url))

    with pytest.raises(
        ConnectionError,
        match="docker compose",
    ) as error:
        await client.connect()

    assert "hunter2" not in str(error.value)


async def test_a_worker_says_at_the_start_that_redis_is_down(
    url: str,
) -> None:
    broker = workers.make_broker(redis_url=url)

    with pytest.raises(ConnectionError, match="Redis does not serve"):
        await workers.run_worker(broker, asyncio.Event())


def test_the_program_ends_with_a_sentence_when_redis_is_down(
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("REDIS_URL", url)

    with logs.configured(), pytest.raises(SystemExit, match="1"):
        runpy.run_module(workers.__name__, run_name="__main__")

    assert "Redis does not serve" in capsys.readouterr().err


def test_the_program_asks_for_the_url_of_a_redis(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)

    with logs.configured(), pytest.raises(SystemExit, match="1"):
        runpy.run_module(workers.__name__, run_name="__main__")

    error = capsys.readouterr().err
    assert error.startswith("a worker needs REDIS_URL, such as redis:")


def test_the_program_ends_well_when_it_is_stopped(
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served: list[Coroutine[None, None, None]] = []
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.setattr(asyncio, "run", served.append)

    with logs.configured(), pytest.raises(SystemExit, match="0"):
        runpy.run_module(workers.__name__, run_name="__main__")

    served.pop().close()
