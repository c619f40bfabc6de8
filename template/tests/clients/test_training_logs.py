"""Tests of the log stream: its lines, its end, and its connection."""

import asyncio
from contextlib import aclosing

import aiohttp
import pytest

from tests.subject import clients, model_server

pytestmark = [pytest.mark.integration, pytest.mark.looptime]

RUNNING = clients.TrainingState.RUNNING
LINE = model_server.log_line("running", "epoch 1")
END = model_server.log_line("completed", "saved")


async def read_all(
    session: aiohttp.ClientSession,
    **numbers: int,
) -> list[clients.LogLine]:
    """Return all lines of a log."""
    log = clients.stream_training_logs(session, 7, **numbers)
    async with aclosing(log):
        return [line async for line in log]


async def test_lines_come_in_order(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.log = [LINE, END]

    lines = await read_all(session)

    assert lines == [
        clients.LogLine(RUNNING, "epoch 1"),
        clients.LogLine(clients.TrainingState.COMPLETED, "saved"),
    ]


async def test_a_line_comes_before_the_next_is_written(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.log = [LINE, LINE]
    model_api.pause = 10
    log = clients.stream_training_logs(session, 7)

    async with aclosing(log):
        start = asyncio.get_running_loop().time()
        await anext(log)
        took = asyncio.get_running_loop().time() - start

    assert took == pytest.approx(10, abs=1)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_lines_survive_being_cut_anywhere(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
    size: int,
) -> None:
    entry = '{"state": "running", "message": "Zug 🚂\u2028 ok"}\r\n'
    text = entry.encode() * 3
    starts = range(0, len(text), size)
    model_api.log = [text[i : i + size] for i in starts]
    model_api.pause = 0.01

    lines = await read_all(session)

    assert lines == [clients.LogLine(RUNNING, "Zug 🚂\u2028 ok")] * 3


async def test_a_last_line_needs_no_line_end(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.log = [LINE, END.strip()]

    assert len(await read_all(session)) == 2


async def test_an_empty_log_has_no_lines(
    session: aiohttp.ClientSession,
) -> None:
    assert await read_all(session) == []


async def test_empty_lines_keep_a_log_alive(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.log = [b"\n", b"\r\n", b"\n", LINE]
    model_api.pause = 4

    assert len(await read_all(session, silence=5)) == 1


async def test_a_long_training_is_no_timeout(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.log = [LINE] * 30
    model_api.pause = 50

    assert len(await read_all(session)) == 30


async def test_a_long_silence_is_a_timeout(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.log = [LINE, LINE]
    model_api.pause = 70

    with pytest.raises(TimeoutError):
        await read_all(session)


async def test_a_server_that_does_not_answer_is_a_timeout(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.delay = 70

    with pytest.raises(TimeoutError):
        await read_all(session)


async def test_a_pool_without_a_free_connection_is_a_timeout(
    model_api: model_server.ModelAPI,
) -> None:
    model_api.log = [LINE] * 100
    model_api.pause = 10

    async with aiohttp.ClientSession(
        f"{model_api.base_url}/",
        connector=aiohttp.TCPConnector(limit=1),
        timeout=aiohttp.ClientTimeout(total=10),
    ) as session:
        first = clients.stream_training_logs(session, 7)
        async with aclosing(first):
            await anext(first)
            with pytest.raises(TimeoutError):
                await read_all(session, silence=30)


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_a_line_that_is_too_long_is_an_error(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
    end: bytes,
) -> None:
    model_api.log = [b"a" * 60, b"a" * 60 + end]
    model_api.pause = 1

    with pytest.raises(ValueError, match="more than 100 bytes"):
        await read_all(session, longest_line=100)


async def test_a_line_may_be_as_long_as_allowed(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.log = [LINE, LINE]

    lines = await read_all(session, longest_line=len(LINE))

    assert len(lines) == 2


@pytest.mark.parametrize(
    "line",
    [
        b"epoch 1",
        b"{",
        b"[]",
        b'{"state": "running"}',
        b'{"state": "asleep", "message": ""}',
        b'{"state": "running", "message": "\xff"}',
    ],
)
async def test_what_is_no_line_of_a_log_is_an_error(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
    line: bytes,
) -> None:
    model_api.log = [line + b"\n"]

    with pytest.raises(ValueError, match="no line of a log"):
        await read_all(session)


@pytest.mark.parametrize("status", [404, 503])
async def test_a_status_is_raised(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
    status: int,
) -> None:
    model_api.plan(status)

    with pytest.raises(aiohttp.ClientResponseError, match=str(status)):
        await read_all(session)


async def test_a_refused_connection_is_raised() -> None:
    timeout = aiohttp.ClientTimeout(total=10)

    async with aiohttp.ClientSession(
        "http://127.0.0.1:9/",
        timeout=timeout,
    ) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await read_all(session)


async def test_a_connection_that_breaks_is_no_end_of_the_log(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.log = [LINE, model_server.BREAK]
    model_api.pause = 1
    log = clients.stream_training_logs(session, 7)

    async with aclosing(log):
        first = await anext(log)
        with pytest.raises(aiohttp.ClientError):
            await anext(log)

    assert first.message == "epoch 1"


async def test_closing_early_releases_the_connection(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.log = [LINE] * 100
    model_api.pause = 1
    log = clients.stream_training_logs(session, 7)

    async with aclosing(log):
        await anext(log)
        during = model_api.busy
    await asyncio.sleep(0.5)

    assert (during, model_api.busy) == (1, 0)


async def test_cancelling_releases_the_connection(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.log = [LINE] * 100
    model_api.pause = 1
    call = asyncio.create_task(read_all(session))
    await asyncio.sleep(5)
    during = model_api.busy

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.sleep(0.5)

    assert (during, model_api.busy) == (1, 0)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"silence": 0}, "silence must be above 0"),
        ({"longest_line": 0}, "longest_line must be at least 1"),
    ],
)
async def test_numbers_out_of_range_are_refused(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
    numbers: dict[str, int],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        await read_all(session, **numbers)

    assert model_api.calls == []


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_monitoring_ends_with_the_job_and_returns_its_state(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
    end: str,
) -> None:
    model_api.log = [
        model_server.log_line("queued", "waiting"),
        LINE,
        model_server.log_line(end, "over"),
        LINE,
    ]
    lines: list[clients.LogLine] = []

    state = await clients.monitor_training(
        session,
        7,
        report=lines.append,
    )

    assert state == end
    assert [line.message for line in lines] == [
        "waiting",
        "epoch 1",
        "over",
    ]


async def test_monitoring_prints_the_lines(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model_api.log = [LINE, END]

    await clients.monitor_training(session, 7)

    printed = capsys.readouterr().out
    assert printed == "running: epoch 1\ncompleted: saved\n"


async def test_monitoring_releases_a_log_that_goes_on_after_the_job(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.log = [END, LINE, LINE]
    model_api.pause = 10

    await clients.monitor_training(session, 7)
    await asyncio.sleep(1)

    assert model_api.busy == 0


async def test_a_log_that_ends_before_the_job_is_an_error(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.log = [LINE]

    with pytest.raises(EOFError, match="log of job 7 ended before"):
        await clients.monitor_training(session, 7)


async def test_a_report_that_fails_releases_the_connection(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.log = [LINE] * 100
    model_api.pause = 1

    def fail(line: clients.LogLine) -> None:
        raise LookupError(line.message)

    with pytest.raises(LookupError) as caught:
        await clients.monitor_training(session, 7, report=fail)
    await asyncio.sleep(0.5)

    assert str(caught.value) == "epoch 1"
    assert model_api.busy == 0


async def test_a_line_that_is_nested_too_deeply_is_refused(
    model_api: model_server.ModelAPI,
    session: aiohttp.ClientSession,
) -> None:
    model_api.log = [b"[" * 60_000 + b"\n"]

    with pytest.raises(ValueError, match="no line of a log"):
        await read_all(session)
