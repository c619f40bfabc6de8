"""Storage: files of lines, and records in an embedded database."""

from .files import AsyncFileHandler
from .records import Record, RecordNotFoundError, Records, RecordStore

__all__ = [
    "AsyncFileHandler",
    "Record",
    "RecordNotFoundError",
    "RecordStore",
    "Records",
]
