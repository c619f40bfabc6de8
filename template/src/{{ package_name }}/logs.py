"""Logging, set up in one place, with an id to follow a request by."""

import datetime
import json
import logging
import re
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, TextIO

Style = Literal["key-value", "json"]

# The request that the running task works for, empty outside of any.
# A task inherits it from the task that started it.
correlation_id: ContextVar[str] = ContextVar(
    "correlation_id",
    default="",
)

# What is named so is written as ***: a token or an accessToken, not a
# token_count.
WORDS = "authorization|api.?key|cookie|passwd|password|secret|token"
SECRET_NAMES = re.compile(f"(.*[^a-z])?({WORDS})s?")

# So deep are fields looked into; what is deeper is not printed.
DEPTH = 10

# What every record has; the rest came with `extra`.
USUAL_FIELDS = {
    "asctime",
    "correlation_id",
    "message",
    "taskName",
    *vars(logging.makeLogRecord({})),
}

PLAIN = re.compile(r"[A-Za-z0-9_.:/+-]+")

# Quiet by default: nothing is printed unless `configure` is called.
PACKAGE_LOGGER = logging.getLogger(__package__)
PACKAGE_LOGGER.addHandler(logging.NullHandler())


@contextmanager
def correlation(request_id: str = "") -> Iterator[str]:
    """Give the records of this context an id, and return it.

    Tasks that are started inside inherit it, wherever they end. The
    former id comes back at the end.

    Args:
        request_id: The id that came with a request; without it, a
            random one is made (UUID version 4, RFC 9562).
    """
    token = correlation_id.set(request_id or uuid.uuid4().hex)
    try:
        yield correlation_id.get()
    finally:
        correlation_id.reset(token)


def configure(
    *,
    level: str = "WARNING",
    style: Style = "key-value",
    stream: TextIO | None = None,
) -> None:
    """Print the log, one line a record; a second call takes over.

    The level is that of this package. Other libraries are printed from
    WARNING on. Loggers and handlers of others stay as they are.
    Exceptions and the fields given as `extra` are included; nothing
    else is collected. What is named like a secret is masked, at any
    depth.

    Args:
        level: The lowest level that is printed, such as "INFO".
        style: Lines of JSON, or of key=value pairs.
        stream: Where to print, standard error if not given.

    Raises:
        ValueError: There is no such level or style.
    """
    levels = logging.getLevelNamesMapping()
    if level not in levels:
        raise ValueError(
            f"level must be one of {', '.join(levels)}, not {level!r}",
        )
    styles = ", ".join(FORMATTERS)
    if style not in FORMATTERS:
        raise ValueError(
            f"style must be one of {styles}, not {style!r}",
        )
    handler = Lines(stream or sys.stderr)
    handler.setFormatter(FORMATTERS[style]())
    root = logging.getLogger()
    for former in root.handlers[:]:
        if isinstance(former, Lines):
            root.removeHandler(former)
    root.addHandler(handler)
    PACKAGE_LOGGER.setLevel(level)


@contextmanager
def configured(
    *,
    level: str = "WARNING",
    style: Style = "key-value",
    stream: TextIO | None = None,
) -> Iterator[None]:
    """Print the log as `configure` does while the context lasts.

    Raises:
        ValueError: There is no such level or style.
    """
    root = logging.getLogger()
    handlers, package_level = root.handlers[:], PACKAGE_LOGGER.level
    try:
        configure(level=level, style=style, stream=stream)
        yield
    finally:
        root.handlers[:] = handlers
        PACKAGE_LOGGER.setLevel(package_level)


class Lines(logging.StreamHandler[TextIO]):
    """Prints the log of this package, and the warnings of others."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to print, with the id set on the record."""
        record.correlation_id = correlation_id.get()
        name, _, _ = record.name.partition(".")
        ours = name == PACKAGE_LOGGER.name
        return ours or record.levelno >= logging.WARNING


class JSONFormatter(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's fields as a JSON object."""
        return json.dumps(self._fields(record))

    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        """Return what is known of a record, in the order to print."""
        time = datetime.datetime.fromtimestamp(
            record.created,
            datetime.UTC,
        )
        fields: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        request_id = getattr(record, "correlation_id", "")
        if request_id:
            fields["correlation_id"] = request_id
        for name, value in vars(record).items():
            if name not in USUAL_FIELDS:
                fields.setdefault(name, _plain(name, value))
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = record.stack_info
        return fields


class KeyValueFormatter(JSONFormatter):
    """Writes a record as one line of key=value pairs."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the fields; what is not a plain word is quoted."""
        pairs = []
        for name, value in self._fields(record).items():
            pairs.append(f"{_quoted(name)}={_quoted(str(value))}")
        return " ".join(pairs)


def _plain(name: str, value: object, depth: int = DEPTH) -> object:
    """Return what JSON holds of a value, without secrets.

    Whatever the value's class does, the record comes.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    if SECRET_NAMES.fullmatch(words):
        return "***"
    try:
        return _looked_into(value, depth)
    except Exception as error:  # noqa: BLE001 - told
        return f"({type(value).__name__} raises {type(error).__name__})"


def _looked_into(value: object, depth: int) -> object:
    match value:
        case None | bool() | str():
            return value
        case int() | float() if abs(value) <= sys.float_info.max:
            return value
        case Mapping() if depth:
            fields: dict[str, object] = {}
            for key, each in value.items():
                fields[str(key)] = _plain(str(key), each, depth - 1)
            return fields
        case list() | tuple() | set() | frozenset() if depth:
            return [_plain("", each, depth - 1) for each in value]
        case Mapping() | list() | tuple() | set() | frozenset():
            return "..."
        case _:
            return str(value)


def _quoted(text: str) -> str:
    """Return a plain word as it is, other text quoted as in JSON."""
    return text if PLAIN.fullmatch(text) else json.dumps(text)


FORMATTERS: dict[str, type[logging.Formatter]] = {
    "key-value": KeyValueFormatter,
    "json": JSONFormatter,
}
