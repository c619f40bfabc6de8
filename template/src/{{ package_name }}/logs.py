"""Logging, set up in one place, with an id to follow a request by."""

import datetime
import json
import logging
import logging.config
import re
import sys
import uuid
from collections.abc import Iterator
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

# Fields of these names are written as ***, whatever they hold.
SECRET_NAMES = re.compile(
    "password|passwd|secret|token|authorization|cookie|api_?key",
    re.IGNORECASE,
)

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
NO_HANDLER = {"class": "logging.NullHandler"}


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
    WARNING on. Exceptions and the fields given as `extra` are included;
    nothing else is collected, and fields named like secrets are masked.

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
    handler = {
        "class": "logging.StreamHandler",
        "stream": stream or sys.stderr,
        "formatter": "line",
        "filters": ["correlation"],
    }
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"correlation": {"()": CorrelationFilter}},
            "formatters": {"line": {"()": FORMATTERS[style]}},
            "handlers": {"lines": handler, "none": NO_HANDLER},
            "root": {"level": "WARNING", "handlers": ["lines"]},
            "loggers": {
                PACKAGE_LOGGER.name: {
                    "level": level,
                    "handlers": ["none"],
                },
            },
        },
    )


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
    handlers, root_level = root.handlers[:], root.level
    package_level = PACKAGE_LOGGER.level
    try:
        configure(level=level, style=style, stream=stream)
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(root_level)
        PACKAGE_LOGGER.setLevel(package_level)


class CorrelationFilter(logging.Filter):
    """Adds the correlation id to every record, and drops none."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True, with the id set on the record."""
        record.correlation_id = correlation_id.get()
        return True


class JSONFormatter(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's fields as a JSON object."""
        return json.dumps(
            self._fields(record),
            default=str,
            skipkeys=True,
        )

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
                secret = SECRET_NAMES.search(name)
                fields.setdefault(name, "***" if secret else value)
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


def _quoted(text: str) -> str:
    """Return a plain word as it is, other text quoted as in JSON."""
    return text if PLAIN.fullmatch(text) else json.dumps(text)


FORMATTERS: dict[str, type[logging.Formatter]] = {
    "key-value": KeyValueFormatter,
    "json": JSONFormatter,
}
