"""A small linear model: its configuration, training and prediction."""

import asyncio
import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from .samples import Sample, check_features, check_number

# The share by which an error that stays the same may seem to grow.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """How a model learns.

    Attributes:
        learning_rate: How far each step goes.
        epochs: How many steps there are.

    Raises:
        TypeError: One is no number.
        ValueError: One is not above 0.
    """

    learning_rate: float = 0.1
    epochs: int = 200

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate)
        if self.learning_rate <= 0:
            raise ValueError(
                f"learning_rate must be above 0, not {self.learning_rate}",
            )
        check_number("epochs", self.epochs)
        if self.epochs < 1 or self.epochs % 1:
            raise ValueError(
                f"epochs must be a number of steps, not {self.epochs}",
            )


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What a model is called, and how it learns.

    Attributes:
        name: Its name, such as "prices".
        version: Its version, such as "1.0.0".
        framework: What it is computed with.
        hyperparameters: How it learns.

    Raises:
        ValueError: The name, version or framework is blank, or has
            blanks around it.
        TypeError: One of them is no text, or the hyperparameters are
            something else.
    """

    name: str
    version: str
    framework: str = "python"
    hyperparameters: Hyperparameters = field(
        default_factory=Hyperparameters,
    )

    def __post_init__(self) -> None:
        for key in ("name", "version", "framework"):
            value = getattr(self, key)
            if not isinstance(value, str):
                raise TypeError(f"{key} must be text, not {value!r}")
            if not value.strip():
                raise ValueError(f"{key} must not be blank")
            if value != value.strip():
                raise ValueError(
                    f"{key} must have no blanks around it: {value!r}",
                )
        given: object = self.hyperparameters
        if not isinstance(given, Hyperparameters):
            raise TypeError(
                f"hyperparameters must be Hyperparameters: {given!r}",
            )


class MLModel:
    """Learns to tell targets from features, as a weighted sum of them.

        model = MLModel(ModelConfig("prices", "1.0"))
        error = await model.train(samples)
        prediction = model.predict([1.5, 2])

    Raises:
        ValueError: The configuration names another framework.
    """

    def __init__(self, config: ModelConfig) -> None:
        if config.framework != "python":
            raise ValueError(
                f"the framework must be python, not {config.framework}",
            )
        self.config = config
        self._fit: _Fit | None = None

    async def train(self, samples: Iterable[Sample]) -> float:
        """Learn from samples, and return their mean squared error.

        It computes in a thread, which stops when this is cancelled.
        What was learnt before is kept until the training has ended
        well.

        Raises:
            ValueError: There are no samples, or they differ in how many
                features they have.
            ArithmeticError: The errors grow: the learning rate is too
                high or the numbers are too large.
        """
        data = list(samples)
        if not data:
            raise ValueError("there must be at least one sample")
        sizes = sorted({len(sample.features) for sample in data})
        if len(sizes) > 1:
            raise ValueError(
                f"all samples must have as many features, not {sizes}",
            )
        stop = threading.Event()
        settings = self.config.hyperparameters
        try:
            fit = await asyncio.to_thread(
                _descend,
                data,
                settings,
                stop,
            )
        finally:
            stop.set()
        self._fit = fit
        return fit.error

    def predict(self, features: Sequence[float]) -> float:
        """Return the target that belongs to these features.

        Raises:
            RuntimeError: The model is not trained.
            TypeError: A feature is no number.
            ValueError: It was trained on more or fewer features, or one
                is not finite.
        """
        if self._fit is None:
            raise RuntimeError(
                f"the model {self.config.name} is not trained: call train()",
            )
        check_features(features)
        expected = len(self._fit.weights)
        if len(features) != expected:
            raise ValueError(
                f"the model takes {expected} features, not {len(features)}",
            )
        return self._fit.predict(features)


@dataclass(frozen=True, slots=True)
class _Fit:
    """What was learnt: a weight for each feature, once scaled."""

    means: list[float]
    scales: list[float]
    weights: list[float]
    offset: float
    error: float

    def predict(self, features: Sequence[float]) -> float:
        row = _scaled(features, self.means, self.scales)
        return self.offset + _dot(self.weights, row)


def _descend(
    samples: Sequence[Sample],
    settings: Hyperparameters,
    stop: threading.Event,
) -> _Fit:
    """Minimise the mean squared error by batch gradient descent.

    Goodfellow, Bengio, Courville: Deep Learning (2016), sections 4.3
    and 5.1.4. The features are brought to mean 0 and variance 1 before,
    so that one learning rate fits them all.
    """
    columns = list(zip(*(s.features for s in samples), strict=True))
    means = [fmean(column) for column in columns]
    spreads = zip(columns, means, strict=True)
    scales = [_spread(column, mean) for column, mean in spreads]
    rows = [_scaled(s.features, means, scales) for s in samples]
    columns = list(zip(*rows, strict=True))
    offset = fmean(sample.target for sample in samples)
    starts = [offset - sample.target for sample in samples]
    misses = starts
    weights = [0.0] * len(columns)
    first_error = _dot(misses, misses) / len(rows)
    step = 2 * settings.learning_rate / len(rows)
    for _ in range(int(settings.epochs)):
        if stop.is_set():
            break
        slopes = [_dot(misses, column) for column in columns]
        moves = zip(weights, slopes, strict=True)
        weights = [weight - step * slope for weight, slope in moves]
        pairs = zip(rows, starts, strict=True)
        misses = [_dot(weights, row) + start for row, start in pairs]
    error = _dot(misses, misses) / len(rows)
    if not error <= first_error * (1 + ROUNDING):
        raise ArithmeticError(
            "the errors grow: lower the learning rate, or scale the numbers",
        )
    return _Fit(means, scales, weights, offset, error)


def _spread(column: Sequence[float], mean: float) -> float:
    """Return the standard deviation, or 1 where all are the same."""
    deviations = (value - mean for value in column)
    return math.hypot(*deviations) / math.sqrt(len(column)) or 1.0


def _scaled(
    features: Sequence[float],
    means: Sequence[float],
    scales: Sequence[float],
) -> list[float]:
    return [
        (feature - mean) / scale
        for feature, mean, scale in zip(
            features,
            means,
            scales,
            strict=True,
        )
    ]


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))
