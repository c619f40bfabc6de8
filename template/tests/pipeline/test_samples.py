"""Tests of samples: what is one, and what is refused."""

from typing import Any

import pytest

from tests.subject import pipeline

pytestmark = pytest.mark.unit

HUGE = '{"features": [%s], "target": 1}'
NUMBERS = [0, -1, 2.5, 1e-300, 1.7e308, 2**70]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_sample_survives_json(number: float) -> None:
    sample = pipeline.Sample((number, 1.0), number)

    assert pipeline.parse_sample(sample.to_json()) == sample
    assert pipeline.parse_sample(sample.to_json().encode()) == sample


def test_other_fields_of_a_record_do_no_harm() -> None:
    record = '{"id": 7, "features": [1, 2], "target": 3}'

    assert pipeline.parse_sample(record) == pipeline.Sample((1, 2), 3)


@pytest.mark.parametrize(
    "record",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"features": [1]}',
        '{"target": 1}',
        '{"features": 1, "target": 1}',
        '{"features": [], "target": 1}',
        '{"features": ["1"], "target": 1}',
        '{"features": [true], "target": 1}',
        '{"features": [1], "target": null}',
        '{"features": [NaN], "target": 1}',
        '{"features": [1], "target": Infinity}',
        '{"features": [1e999], "target": 1}',
        b"\xff\xfe\xfd",
        pytest.param(HUGE % ("9" * 400), id="infinite"),
        pytest.param(HUGE % ("9" * 9000), id="endless"),
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_a_record_that_is_no_sample_is_refused(
    record: str | bytes,
) -> None:
    with pytest.raises(ValueError, match="the record is no sample"):
        pipeline.parse_sample(record)


@pytest.mark.parametrize("features", [("1",), (True,), (None,), (1j,)])
def test_features_are_numbers(features: tuple[Any]) -> None:
    with pytest.raises(TypeError, match="feature 0 must be a number"):
        pipeline.Sample(features, 1.0)
