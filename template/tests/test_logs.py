"""Tests of the log: ids of requests, one line a record, quiet."""

import asyncio
import io
import json
import logging
import re
import sys
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.subject import fan_out, logs

logger = logs.PACKAGE_LOGGER.getChild("test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Return where the log is printed, as JSON, while the test runs."""
    stream = io.StringIO()
    with logs.configured(level="INFO", style="json", stream=stream):
        yield stream


@pytest.fixture
def restored() -> Iterator[None]:
    """Undo what the test configures."""
    with logs.configured(stream=io.StringIO()):
        yield


def records(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the records that were printed."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def current_id(_: object = None) -> str:
    await asyncio.sleep(0)
    return logs.correlation_id.get()


async def current_id_and_log(request_id: str) -> list[str]:
    with logs.correlation(request_id):
        logger.info("started")
        ids = await fan_out.fan_out(current_id, range(3))
        logger.info("ended")
        return ids


def test_outside_of_a_request_there_is_no_id() -> None:
    assert logs.correlation_id.get() == ""


def test_a_new_id_is_random() -> None:
    with logs.correlation() as first:
        pass
    with logs.correlation() as second:
        pass

    assert uuid.UUID(first).version == 4
    assert first != second


def test_an_id_that_came_with_the_request_is_kept() -> None:
    with logs.correlation("order-1") as request_id:
        assert request_id == logs.correlation_id.get() == "order-1"


def test_the_former_id_comes_back() -> None:
    with logs.correlation("outer"):
        with logs.correlation("inner"):
            pass
        after = logs.correlation_id.get()

    assert (after, logs.correlation_id.get()) == ("outer", "")


def test_the_former_id_comes_back_after_an_error() -> None:
    with pytest.raises(LookupError), logs.correlation("order-1"):
        raise LookupError("no luck")

    assert logs.correlation_id.get() == ""


@pytest.mark.looptime
async def test_the_former_id_comes_back_after_cancellation() -> None:
    after = []

    async def wait() -> None:
        try:
            with logs.correlation("order-1"):
                await asyncio.sleep(3600)
        finally:
            after.append(logs.correlation_id.get())

    task = asyncio.create_task(wait())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])

    assert after == [""]


async def test_child_tasks_inherit_the_id() -> None:
    assert await current_id_and_log("order-1") == ["order-1"] * 3


async def test_threads_inherit_the_id() -> None:
    with logs.correlation("order-1"):
        in_thread = await asyncio.to_thread(logs.correlation_id.get)

    assert in_thread == "order-1"


async def test_a_task_keeps_the_id_that_it_started_with() -> None:
    with logs.correlation("order-1"):
        task = asyncio.create_task(current_id())

    assert await task == "order-1"


async def test_concurrent_requests_keep_their_ids_apart(
    stream: io.StringIO,
) -> None:
    ids = await fan_out.fan_out(current_id_and_log, ["one", "two"])

    assert ids == [["one"] * 3, ["two"] * 3]
    printed = records(stream)
    logged = [(r["message"], r["correlation_id"]) for r in printed]
    assert sorted(logged) == [
        ("ended", "one"),
        ("ended", "two"),
        ("started", "one"),
        ("started", "two"),
    ]


def test_a_record_is_one_line_of_json(stream: io.StringIO) -> None:
    logger.info("two\nlines, %d pieces\u2028", 2)

    (record,) = records(stream)
    assert record.pop("time").endswith("+00:00")
    assert record == {
        "level": "INFO",
        "logger": logger.name,
        "message": "two\nlines, 2 pieces\u2028",
    }


def test_extra_fields_are_printed(stream: io.StringIO) -> None:
    extra = {"left": 2, "place": {"row": 1, (2, 3): 4}, "kind": object}
    logger.warning("low", extra=extra)

    (record,) = records(stream)
    assert record["left"] == 2
    assert record["place"] == {"row": 1, "(2, 3)": 4}
    assert record["kind"] == "<class 'object'>"


@pytest.mark.parametrize("name", ["message_id", "level", "time"])
def test_extra_fields_do_not_replace_the_usual_ones(
    stream: io.StringIO,
    name: str,
) -> None:
    logger.warning("low", extra={name: "mine"})

    (record,) = records(stream)
    assert record["message"] == "low"
    assert record["level"] == "WARNING"


@pytest.mark.parametrize(
    "name",
    ["password", "api_key", "Authorization", "access_token"],
)
def test_fields_named_like_secrets_are_masked(
    stream: io.StringIO,
    name: str,
) -> None:
    logger.warning("signed in", extra={name: "hunter2"})

    assert records(stream)[0][name] == "***"
    assert "hunter2" not in stream.getvalue()


def test_an_exception_is_printed_without_local_values(
    stream: io.StringIO,
) -> None:
    def fail(password: str) -> None:
        raise LookupError(f"no user for {len(password)} characters")

    with pytest.raises(LookupError) as caught:
        fail("hunter2")
    logger.error("failed", exc_info=caught.value)

    (record,) = records(stream)
    assert "LookupError: no user for 7 char" in record["exception"]
    assert "test_logs.py" in record["exception"]


def test_a_stack_is_printed_when_asked(stream: io.StringIO) -> None:
    logger.warning("here", stack_info=True)

    assert "test_logs.py" in records(stream)[0]["stack"]


@pytest.mark.usefixtures("restored")
def test_key_value_lines_quote_what_is_no_plain_word() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)

    with logs.correlation("order-1"):
        extra = {"left": 2, "odd name": 'a="b"\n', "none": ""}
        logger.warning("stock is low", extra=extra)

    words = stream.getvalue().split(maxsplit=3)
    assert words[0].startswith("time=20")
    assert words[1:3] == ["level=WARNING", f"logger={logger.name}"]
    message, _, extra_fields = words[3].partition(" correlation_id=")
    assert message == 'message="stock is low"'
    odd = '"odd name"="a=\\"b\\"\\n" none=""'
    assert extra_fields == f"order-1 left=2 {odd}\n"


@pytest.mark.usefixtures("restored")
def test_warning_is_the_default_level(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure()

    logger.info("detail")
    logger.warning("trouble")

    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1


def test_the_level_is_this_packages_alone(stream: io.StringIO) -> None:
    other = logging.getLogger("some.library")

    other.info("detail")
    other.warning("trouble")

    assert [record["logger"] for record in records(stream)] == [
        "some.library",
    ]


@pytest.mark.usefixtures("restored")
def test_configuring_twice_prints_once() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.configure(stream=first)
    logs.configure(stream=second)

    logger.warning("once")

    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


@pytest.mark.usefixtures("restored")
def test_loggers_that_were_there_before_go_on() -> None:
    stream = io.StringIO()
    older = logging.getLogger("older.library")

    logs.configure(stream=stream)
    older.warning("still here")

    assert "older.library" in stream.getvalue()


@pytest.mark.integration
async def test_nothing_is_printed_by_a_fresh_program() -> None:
    program = f"""
import logging, {logs.__name__}
logging.getLogger("{logger.name}").error("trouble")
"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        stderr=asyncio.subprocess.PIPE,
    )

    _, errors = await process.communicate()
    assert errors == b""


def test_nothing_is_printed_once_it_was_configured(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])

    logger.error("trouble")

    assert capsys.readouterr() == ("", "")


def test_a_context_of_configuration_ends_as_it_began() -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, logs.PACKAGE_LOGGER.level)

    with logs.configured(level="DEBUG", stream=sys.stdout):
        inside = logs.PACKAGE_LOGGER.level

    after = (root.handlers[:], root.level, logs.PACKAGE_LOGGER.level)
    assert inside == logging.DEBUG
    assert after == before


def test_warnings_can_go_into_the_log(stream: io.StringIO) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        logging.captureWarnings(capture=True)
        warnings.showwarning("old", DeprecationWarning, "file.py", 1)
        logging.captureWarnings(capture=False)

    assert "DeprecationWarning: old" in records(stream)[0]["message"]


@pytest.mark.parametrize("level", ["LOUD", "warning", ""])
def test_an_unknown_level_is_refused(level: str) -> None:
    with pytest.raises(ValueError, match="level must be one of"):
        logs.configure(level=level)


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ValueError, match="style must be one of"):
        logs.configure(style="xml")  # type: ignore[arg-type]


class Unprintable:
    """Has no text."""

    def __repr__(self) -> str:
        raise LookupError("no text")


LOOP: list[object] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (LOOP, "[[[[[[[[[[...]]]]]]]]]]"),
        (Unprintable(), "(Unprintable raises LookupError)"),
        ([Unprintable()], "(Unprintable raises LookupError)"),
        (float("nan"), "nan"),
        ({"x": float("inf")}, "inf"),
        (10**5000, "(int raises ValueError)"),
        ({7}, "[7]"),
    ],
    ids=["loop", "text", "nested", "nan", "inf", "long", "set"],
)
@pytest.mark.parametrize("style", ["json", "key-value"])
@pytest.mark.usefixtures("restored")
def test_a_record_comes_whatever_its_fields_are(
    value: object,
    printed: str,
    style: logs.Style,
) -> None:
    stream = io.StringIO()
    logs.configure(stream=stream, style=style)

    logger.warning("low", extra={"field": value})

    assert printed in re.sub("[\"'\\\\]", "", stream.getvalue())
    assert "NaN" not in stream.getvalue()


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"Authorization": "hunter2"}},
        {"users": [{"name": "ada", "password": "hunter2"}]},
        {"accessToken": "hunter2"},
        {"x-api-key": "hunter2"},
        {"cookies": {"session": "hunter2"}},
    ],
)
def test_secrets_are_masked_at_any_depth(
    stream: io.StringIO,
    fields: dict[str, object],
) -> None:
    logger.warning("signed in", extra={"request": fields, **fields})

    assert "***" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("name", ["token_count", "secretary", "author"])
def test_what_only_sounds_like_a_secret_is_printed(
    stream: io.StringIO,
    name: str,
) -> None:
    logger.warning("counted", extra={name: 512})

    assert records(stream)[0][name] == 512


@pytest.mark.usefixtures("restored")
def test_configuring_leaves_other_loggers_as_they_were(
    tmp_path: Path,
) -> None:
    child = logs.PACKAGE_LOGGER.getChild("child")
    file = logging.FileHandler(tmp_path / "log")
    for each in (child, logging.getLogger()):
        each.addHandler(file)
    child.setLevel(logging.DEBUG)
    try:
        logs.configure()
        child.debug("kept")
    finally:
        for each in (child, logging.getLogger()):
            each.removeHandler(file)
        child.setLevel(logging.NOTSET)
        file.close()

    assert (tmp_path / "log").read_text() == "kept\nkept\n"
