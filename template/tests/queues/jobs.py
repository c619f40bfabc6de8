"""What processes run in the tests; to be quick, it imports nothing."""


class Unpicklable(Exception):  # pragma: no cover - in a process
    """Can be sent by a process, and not be received."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(first + second)


def raise_unpicklable() -> None:  # pragma: no cover - in a process
    """Raise what the caller cannot receive."""
    raise Unpicklable(1, 2)
