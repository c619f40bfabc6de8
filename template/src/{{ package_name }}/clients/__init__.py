"""HTTP clients: one pooled session each, retries, and a clear end."""

from . import events
from .auth import AuthenticatedAPIClient, AuthenticationError
from .events import Event, EventNotFoundError, fetch_event
from .health import (
    HealthStatus,
    ModelHealth,
    check_model_health,
    monitor_models,
)
from .models import (
    AsyncModelClient,
    Deployment,
    ModelMetadata,
    deploy_model,
    deploy_multiple_models,
    fetch_all_models,
    fetch_all_models_sequentially,
    fetch_model_metadata,
)
from .retries import RetryPolicy, fetch_with_retry
from .training_logs import (
    LogLine,
    TrainingState,
    monitor_training,
    stream_training_logs,
)
from .users import User, UserAPIClient, UserNotFoundError

__all__ = [
    "AsyncModelClient",
    "AuthenticatedAPIClient",
    "AuthenticationError",
    "Deployment",
    "Event",
    "EventNotFoundError",
    "HealthStatus",
    "LogLine",
    "ModelHealth",
    "ModelMetadata",
    "RetryPolicy",
    "TrainingState",
    "User",
    "UserAPIClient",
    "UserNotFoundError",
    "check_model_health",
    "deploy_model",
    "deploy_multiple_models",
    "events",
    "fetch_all_models",
    "fetch_all_models_sequentially",
    "fetch_event",
    "fetch_model_metadata",
    "fetch_with_retry",
    "monitor_models",
    "monitor_training",
    "stream_training_logs",
]
