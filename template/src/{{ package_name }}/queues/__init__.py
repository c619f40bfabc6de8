"""Concurrency inside one process: queues, shared state, offloading."""

from ..cancellation import WorkCancelledError
from .attempts import TaskResult
from .background import BackgroundProcessor, Failure, Progress
from .cache import AsyncCache
from .counter import SafeCounter
from .offloading import ProcessPool, ThreadPool, file_digest
from .producer_consumer import End, QueueProcessor
from .task_queue import AsyncTaskQueue, NamedTask

__all__ = [
    "AsyncCache",
    "AsyncTaskQueue",
    "BackgroundProcessor",
    "End",
    "Failure",
    "NamedTask",
    "ProcessPool",
    "Progress",
    "QueueProcessor",
    "SafeCounter",
    "TaskResult",
    "ThreadPool",
    "WorkCancelledError",
    "file_digest",
]
