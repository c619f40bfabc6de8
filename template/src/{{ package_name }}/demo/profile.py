"""Says where the time goes: in which functions, and at which awaits."""

import asyncio
import cProfile
import pstats
import time
import types
from collections import defaultdict
from collections.abc import Coroutine, Generator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

# Seconds of every wait, by the place of the await.
Waits = defaultdict[str, list[float]]

PACKAGE_FOLDER = Path(__file__).parent.parent


def profiled(main: Coroutine[Any, Any, Result]) -> Result:
    """Run `main` and return its result, then print where time went.

    First come the functions by cumulative time, as cProfile measures
    them; then the awaits in this package's own code by the seconds that
    tasks were suspended there, with the number of times.
    """
    waits: Waits = defaultdict(list)

    def timed_task(
        loop: asyncio.AbstractEventLoop,
        coroutine: Any,  # noqa: ANN401 - whatever create_task accepts
        **options: Any,  # noqa: ANN401 - whatever create_task was given
    ) -> asyncio.Task[Any]:
        return asyncio.Task(
            _timed(coroutine, waits),
            loop=loop,
            **options,
        )

    profiler = cProfile.Profile()
    with asyncio.Runner() as runner:
        runner.get_loop().set_task_factory(timed_task)
        with profiler:
            result = runner.run(main)
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(25)
    print("Slowest awaits:     seconds   times")
    by_time = sorted(waits, key=lambda place: -sum(waits[place]))
    for place in by_time[:10]:
        total, times = sum(waits[place]), len(waits[place])
        print(f"{total:26.3f} {times:7}  {place}")
    return result


async def _timed(
    coroutine: Coroutine[Any, Any, Result],
    waits: Waits,
) -> Result:
    return await _drive(coroutine, waits)


@types.coroutine
def _drive(
    coroutine: Coroutine[Any, Any, Result],
    waits: Waits,
) -> Generator[Any, Any, Result]:
    """Step a coroutine as the event loop does, timing its suspensions."""
    step = partial(coroutine.send, None)
    while True:
        try:
            suspended_on = step()
        except StopIteration as end:
            result: Result = end.value
            return result
        place = _own_place(coroutine)
        start = time.perf_counter()
        try:
            step = partial(coroutine.send, (yield suspended_on))
        except BaseException as error:  # noqa: BLE001 - for the inner
            step = partial(coroutine.throw, error)
        if place:
            waits[place].append(time.perf_counter() - start)


def _own_place(coroutine: object) -> str:
    """Return the innermost await in this package, empty if there is none."""
    place = ""
    while isinstance(coroutine, types.CoroutineType):
        file = Path(coroutine.cr_code.co_filename)
        if file.is_relative_to(PACKAGE_FOLDER):
            name = coroutine.cr_code.co_qualname
            line = getattr(coroutine.cr_frame, "f_lineno", 0)
            file = file.relative_to(PACKAGE_FOLDER)
            place = f"{file}:{line} in {name}"
        coroutine = coroutine.cr_await
    return place
