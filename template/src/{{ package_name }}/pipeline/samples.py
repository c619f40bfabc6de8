"""Samples: what a model learns from, and their form in JSON."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """Features, and the target that belongs to them.

    Raises:
        TypeError: One of them is no number.
        ValueError: There is no feature, or a number is not finite.
    """

    features: tuple[float, ...]
    target: float

    def __post_init__(self) -> None:
        check_features(self.features)
        check_number("the target", self.target)

    def to_json(self) -> str:
        """Return the sample as `parse_sample` reads it, on one line."""
        return json.dumps(
            {"features": self.features, "target": self.target},
        )


def parse_sample(record: str | bytes) -> Sample:
    """Return the sample that is written in a record of JSON.

    Raises:
        ValueError: It is not JSON, or describes no sample.
    """
    try:
        return _build(json.loads(record))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"the record is no sample: {error}") from error


def _build(document: object) -> Sample:
    match document:
        case {"features": list(features), "target": target}:
            return Sample(tuple(features), target)
        case _:
            raise ValueError("it needs features and a target")


def check_features(features: Iterable[object]) -> None:
    """Refuse features that no model can use.

    Raises:
        TypeError: One of them is no number.
        ValueError: There is none, or one is not finite.
    """
    count = 0
    for feature in features:
        check_number(f"feature {count}", feature)
        count += 1
    if not count:
        raise ValueError("there must be at least one feature")


def check_number(name: str, value: object) -> None:
    """Refuse what is no finite number.

    Raises:
        TypeError: It is no number; True and False are none.
        ValueError: It is infinite, not a number (NaN), or too large.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not abs(value) <= sys.float_info.max:
        raise ValueError(f"{name} must be a finite number")
