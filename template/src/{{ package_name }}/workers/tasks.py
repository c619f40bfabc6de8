"""The tasks that workers run: put your own here."""

import statistics
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

# Arguments and result are what JSON can hold.
TaskFunction = Callable[..., Coroutine[Any, Any, Any]]


async def summarise(numbers: list[float]) -> dict[str, float]:
    """Return the count, mean and standard deviation of the numbers.

    Raises:
        ValueError: There are fewer than two numbers.
    """
    if len(numbers) < 2:
        raise ValueError("numbers must be at least two")
    return {
        "count": len(numbers),
        "mean": statistics.fmean(numbers),
        "deviation": statistics.stdev(numbers),
    }


# The names by which clients submit them.
TASKS: Mapping[str, TaskFunction] = {"summarise": summarise}
