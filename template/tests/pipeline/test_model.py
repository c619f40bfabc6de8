"""Tests of the model: what it learns, and what it refuses."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.subject import pipeline

pytestmark = pytest.mark.unit


def make_model(
    epochs: int = 200,
    learning_rate: float = 0.1,
) -> pipeline.MLModel:
    settings = pipeline.Hyperparameters(learning_rate, epochs)
    config = pipeline.ModelConfig(
        "prices",
        "1.0.0",
        hyperparameters=settings,
    )
    return pipeline.MLModel(config)


def make_samples(count: int) -> list[pipeline.Sample]:
    """Return samples of features that differ much in size."""
    return [make_sample(n, 1000 * (n * n % 7)) for n in range(count)]


def make_sample(a: float, b: float) -> pipeline.Sample:
    return pipeline.Sample((a, b), 3 * a - 2 * b + 5)


async def test_it_learns_a_weighted_sum() -> None:
    model = make_model(epochs=500)

    error = await model.train(make_samples(100))

    assert error == pytest.approx(0, abs=1e-9)
    assert model.predict([20, 50]) == pytest.approx(60 - 100 + 5)


async def test_one_sample_predicts_itself() -> None:
    model = make_model()

    await model.train([pipeline.Sample((1, 2), 7)])

    assert model.predict([1, 2]) == 7


async def test_a_feature_that_never_changes_does_no_harm() -> None:
    model = make_model()
    samples = [pipeline.Sample((5, n), 2 * n) for n in range(10)]

    await model.train(samples)

    assert model.predict([5, 20]) == pytest.approx(40)


async def test_targets_that_are_all_the_same_are_learnt() -> None:
    model = make_model()
    samples = [pipeline.Sample((n,), 0.1) for n in range(10)]

    assert await model.train(samples) == pytest.approx(0)
    assert model.predict([99]) == pytest.approx(0.1)


async def test_training_again_starts_anew() -> None:
    model = make_model()
    await model.train(make_samples(10))

    await model.train([pipeline.Sample((1,), 7)])

    assert model.predict([1]) == 7


def test_a_prediction_without_training_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="prices is not trained"):
        make_model().predict([1, 2])


@pytest.mark.parametrize("features", [[1], [1, 2, 3]])
async def test_another_number_of_features_is_refused(
    features: list[float],
) -> None:
    model = make_model(epochs=1)
    await model.train(make_samples(10))

    message = f"takes 2 features, not {len(features)}"
    with pytest.raises(ValueError, match=message):
        model.predict(features)


@pytest.mark.parametrize(
    ("features", "error"),
    [
        ([], ValueError),
        ([1, float("nan")], ValueError),
        ([1, float("-inf")], ValueError),
        ([1, "2"], TypeError),
        ([1, True], TypeError),
        ("12", TypeError),
    ],
)
async def test_features_that_are_no_numbers_are_refused(
    features: list[Any] | str,
    error: type[Exception],
) -> None:
    model = make_model(epochs=1)
    await model.train(make_samples(10))

    with pytest.raises(error, match="feature"):
        model.predict(features)  # type: ignore[arg-type]


async def test_training_on_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        await make_model().train([])


async def test_samples_that_differ_in_size_are_refused() -> None:
    samples = [pipeline.Sample((1,), 1), pipeline.Sample((1, 2), 1)]

    with pytest.raises(
        ValueError,
        match=r"as many features, not \[1, 2",
    ):
        await make_model().train(samples)


@pytest.mark.parametrize("epochs", [5, 1000])
async def test_training_that_makes_it_worse_is_an_error(
    epochs: int,
) -> None:
    model = make_model(learning_rate=2, epochs=epochs)

    with pytest.raises(
        ArithmeticError,
        match="lower the learning rate",
    ):
        await model.train(make_samples(10))


async def test_numbers_too_large_to_compute_with_are_an_error() -> None:
    samples = [pipeline.Sample((n,), n * 1e307) for n in range(10)]

    with pytest.raises(ArithmeticError):
        await make_model().train(samples)


async def test_a_failed_training_keeps_what_was_learnt() -> None:
    model = make_model()
    await model.train([pipeline.Sample((1,), 7)])

    with pytest.raises(ArithmeticError):
        await model.train(
            [pipeline.Sample((n,), n * 1e307) for n in range(10)],
        )

    assert model.predict([1]) == 7


async def test_training_leaves_the_loop_free_and_stops() -> None:
    loop = asyncio.get_running_loop()
    executor = ThreadPoolExecutor(1)
    loop.set_default_executor(executor)
    model = make_model(epochs=10**12)

    began = asyncio.Event()

    def samples() -> Iterator[pipeline.Sample]:
        began.set()
        yield from make_samples(10)

    training = asyncio.create_task(model.train(samples()))
    await began.wait()
    assert not training.done()
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await training

    executor.shutdown(wait=True)
    with pytest.raises(RuntimeError, match="not trained"):
        model.predict([1, 2])


def test_a_configuration_is_kept_as_it_is() -> None:
    config = pipeline.ModelConfig("prices", "2024-05")

    assert pipeline.MLModel(config).config == config
    assert config.framework == "python"
    assert hash(config)


@pytest.mark.parametrize("field", ["name", "version", "framework"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "must not be blank"),
        (" \t", "must not be blank"),
        (" a", "must have no blanks around it"),
        ("a\n", "must have no blanks around it"),
    ],
)
def test_an_empty_name_is_refused(
    field: str,
    value: str,
    message: str,
) -> None:
    fields: dict[str, Any] = {"name": "prices", "version": "1"}
    fields[field] = value

    with pytest.raises(ValueError, match=f"{field} {message}"):
        pipeline.ModelConfig(**fields)


@pytest.mark.parametrize(
    "values",
    [
        {"name": None},
        {"version": 1},
        {"hyperparameters": {"epochs": 3}},
    ],
)
def test_a_value_of_the_wrong_type_is_refused(
    values: dict[str, Any],
) -> None:
    whole: dict[str, Any] = {"name": "prices", "version": "1"}

    with pytest.raises(TypeError, match=next(iter(values))):
        pipeline.ModelConfig(**(whole | values))


def test_a_framework_that_is_not_there_is_refused() -> None:
    config = pipeline.ModelConfig("prices", "1", "torch")

    with pytest.raises(ValueError, match="must be python, not torch"):
        pipeline.MLModel(config)


@pytest.mark.parametrize(
    ("numbers", "error"),
    [
        ({"learning_rate": 0}, ValueError),
        ({"learning_rate": -0.1}, ValueError),
        ({"learning_rate": float("nan")}, ValueError),
        ({"learning_rate": "0.1"}, TypeError),
        ({"epochs": 0}, ValueError),
        ({"epochs": 1.5}, ValueError),
        ({"epochs": True}, TypeError),
    ],
)
def test_hyperparameters_out_of_range_are_refused(
    numbers: dict[str, Any],
    error: type[Exception],
) -> None:
    with pytest.raises(error, match="must be"):
        pipeline.Hyperparameters(**numbers)
