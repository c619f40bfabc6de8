"""Groups of errors on their way to a client, in a form of JSON."""

from typing import Any

from taskiq import TaskiqResult


class PackedGroup(Exception):
    """An ExceptionGroup: its message, and its errors in JSON.

    taskiq makes of a group that it sends a plain Exception, with the
    repr of the group.
    """


def pack(error: BaseException | None) -> BaseException | None:
    """Return a group packed, other errors as they are."""
    if not isinstance(error, ExceptionGroup):
        return error
    errors = [_to_json(pack(each)) for each in error.exceptions]
    return PackedGroup(error.message, errors)


def unpack(error: BaseException | None) -> BaseException | None:
    """Return the group that was packed, other errors as they are."""
    if not isinstance(error, PackedGroup):
        return error
    message, errors = error.args
    group = [unpack(_from_json(each)) for each in errors]
    return BaseExceptionGroup(message, [each for each in group if each])


def _to_json(error: object) -> Any:  # noqa: ANN401 - of JSON
    return _result(error).model_dump(mode="json")["error"]


def _from_json(error: object) -> BaseException | None:
    return TaskiqResult[None].model_validate(_result(error)).error


def _result(error: Any) -> TaskiqResult[None]:  # noqa: ANN401 - or JSON
    return TaskiqResult(
        is_err=True,
        return_value=None,
        execution_time=0,
        error=error,
    )
