"""Says where the time goes: in which functions, and at which awaits."""

import asyncio
import cProfile
import pstats
import time
import types
from collections import defaultdict
from collections.abc import Callable, Coroutine, Generator
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

# Seconds of all that was timed, by its place in the code.
Times = defaultdict[str, list[float]]

PACKAGE_FOLDER = Path(__file__).parent.parent

# What the measuring itself costs says nothing about the demo.
NOT_THIS_FILE = r"^(?!.*demo.profile\.py:)"


def profiled(main: Coroutine[Any, Any, Result]) -> Result:
    """Run `main` and return its result, then print where time went.

    First come the functions by cumulative time, as cProfile measures
    them. Then the awaits in this package's own code, by the seconds
    that tasks were suspended there. Last the steps, from one await to
    the next, by the longest: so long was every other task held up.
    """
    waits: Times = defaultdict(list)
    steps: Times = defaultdict(list)

    def timed_task(
        loop: asyncio.AbstractEventLoop,
        coroutine: Any,  # noqa: ANN401 - whatever create_task accepts
        **options: Any,  # noqa: ANN401 - whatever create_task was given
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(
            _timed(coroutine, waits, steps),
            loop=loop,
            **options,
        )
        # A task that is cancelled before its first step never steps it.
        task.add_done_callback(lambda _: coroutine.close())
        return task

    profiler = cProfile.Profile()
    with asyncio.Runner() as runner:
        runner.get_loop().set_task_factory(timed_task)
        with profiler:
            result = runner.run(main)
    stats = pstats.Stats(profiler).sort_stats("cumulative")
    stats.print_stats(NOT_THIS_FILE, 25)
    _print_top("Slowest awaits: seconds in all", waits, sum)
    _print_top("Slowest steps: seconds of the longest", steps, max)
    return result


def _print_top(
    title: str,
    times: Times,
    measure: Callable[[list[float]], float],
) -> None:
    print(f"{title}, number of times, place")
    by_time = sorted(times, key=lambda place: -measure(times[place]))
    for place in by_time[:10]:
        seconds, count = measure(times[place]), len(times[place])
        print(f"{seconds:12.3f} {count:7}  {place}")
    print()


async def _timed(
    coroutine: Coroutine[Any, Any, Result],
    waits: Times,
    steps: Times,
) -> Result:
    return await _drive(coroutine, waits, steps)


@types.coroutine
def _drive(
    coroutine: Coroutine[Any, Any, Result],
    waits: Times,
    steps: Times,
) -> Generator[Any, Any, Result]:
    """Step a coroutine as the loop does, timing steps and waits."""
    step = partial(coroutine.send, None)
    place = getattr(coroutine, "__qualname__", "")
    while True:
        start = time.perf_counter()
        try:
            suspended_on = step()
        except StopIteration as end:
            result: Result = end.value
            return result
        finally:
            suspended = time.perf_counter()
            steps[f"from {place}"].append(suspended - start)
        own_place = _own_place(coroutine)
        place = own_place or place
        try:
            step = partial(coroutine.send, (yield suspended_on))
        except BaseException as error:  # noqa: ASYNC103, BLE001
            # For the inner coroutine.
            step = partial(coroutine.throw, error)
        if own_place:
            waits[own_place].append(time.perf_counter() - suspended)


def _own_place(coroutine: object) -> str:
    """Return the innermost await in this package, empty if none is."""
    place = ""
    while isinstance(coroutine, types.CoroutineType):
        own = _own_function(coroutine.cr_code)
        if own:
            line = getattr(coroutine.cr_frame, "f_lineno", 0)
            place = f"{own[0]}:{line} in {own[1]}"
        coroutine = coroutine.cr_await
    return place


@cache
def _own_function(code: types.CodeType) -> tuple[Path, str] | None:
    """Return file and name of a function of this package."""
    file = Path(code.co_filename)
    if not file.is_relative_to(PACKAGE_FOLDER):
        return None
    return file.relative_to(PACKAGE_FOLDER), code.co_qualname
