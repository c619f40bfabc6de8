"""Refuses numbers with which nothing could be done."""


def at_least_one(**numbers: int) -> None:
    """Refuse numbers below 1, by the names that the caller knows.

    Raises:
        ValueError: One of them is below 1.
    """
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, not {number}")
