"""A data pipeline, and a model that is trained on what it saves."""

from .model import Hyperparameters, MLModel, ModelConfig
from .samples import Sample, parse_sample
from .store import DataStore, Store
from .training import (
    BadRecord,
    BadRecordError,
    PipelineResult,
    data_pipeline,
    fetch_training_data,
    preprocess_batch,
    save_to_storage,
)

__all__ = [
    "BadRecord",
    "BadRecordError",
    "DataStore",
    "Hyperparameters",
    "MLModel",
    "ModelConfig",
    "PipelineResult",
    "Sample",
    "Store",
    "data_pipeline",
    "fetch_training_data",
    "parse_sample",
    "preprocess_batch",
    "save_to_storage",
]
