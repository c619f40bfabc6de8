"""Tasks past one process and one machine: taskiq over Redis streams."""

from .broker import make_broker, running
from .client import TaskClient, WorkerResult
from .settings import TaskSettings
from .tasks import TASKS
from .worker import run_worker, serve

__all__ = [
    "TASKS",
    "TaskClient",
    "TaskSettings",
    "WorkerResult",
    "make_broker",
    "run_worker",
    "running",
    "serve",
]
