"""What the guard's schedules find: the share of seeds in which each race of races.toml shows, as a page in Markdown.

`python -m benchmarks.schedules` prints docs/schedules.md; with `--compare`, what is found less often than that page says.
"""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tomllib import loads
from typing import Any
from unittest.mock import patch

import pytest

from template.tests.guard import loop, mocks
from template.tests.guard.watch import Watch

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/schedules.md"
SEEDS = 200

# Schedulers, by how likely a task draws anew at a step, and the bounds of the turns that a mock takes.
SHUFFLE = {"CHANGE": 1.0, "PACES": [(0, 2)]}
PRIORITIES = {"CHANGE": loop.CHANGE, "PACES": [(0, 2)]}
GUARD = {"CHANGE": loop.CHANGE, "PACES": mocks.PACES}

# Points of a hundred by which a figure may fall: other steps, of another Python for one, draw other numbers.
MARGIN = 5

HEAD = f"""# What the schedules find

Each line is a race between tasks, from `benchmarks/races.toml`: how many tasks it takes, how many constraints on the order of their
steps make it show (its depth), and in how many of {SEEDS} seeds it does. None shows in asyncio's own order. The schedules are

- *shuffled*: the steps that are ready in a turn in any order, and each pause of a mock 0 to 2 turns;
- *by priority*: each task draws a priority, and a new one in a tenth of its steps, after Burckhardt, Kothari, Musuvathi and
  Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs" (ASPLOS 2010);
- *the guard's*: by priority, and in the same way each task draws a pace for its mocks.

What the guard draws the shuffle could draw, too, so it breaks no code that stood all shuffles; what is rare there is likely here.
This page is written by `make docs`; `make bench` says what has become rarer since.

![in how many seeds each race shows, by each kind of schedule: the table as bars](schedules.svg)

| race | tasks | depth | shuffled | by priority | the guard's |
|---|---|---|---|---|---|
"""


class QuickLoop(loop.GuardLoop):
    """The guard's loop with a clock of its own: no wait takes time, so that one for ever ends at once."""

    _now = 0.0

    def time(self) -> float:
        """Return the time of the last timer."""
        return self._now

    def _run_once(self) -> None:
        if self._scheduled and not self._ready:
            self._now = max(self._now, self._scheduled[0].when())
        super()._run_once()


def main() -> int:
    """Print the page, or what is worse than it; return 1 if something is, else 0."""
    if "--compare" in sys.argv:
        return compare()
    rows = [
        (race, [share(race["defect"], each) for each in (SHUFFLE, PRIORITIES, GUARD)])
        for race in races()
    ]
    print(HEAD, end="")
    for race, shares in rows:
        figures = " | ".join(f"{each:.1%}" for each in shares)
        print(f"| {race['name']} | {race['tasks']} | {race['depth']} | {figures} |")
    for name, seeds in [("one seed", 1), ("five seeds", 5)]:
        figures = " | ".join(
            f"**{sum(1 - (1 - each) ** seeds for each in column) / len(rows):.0%}**"
            for column in zip(*(shares for _, shares in rows), strict=True)
        )
        print(f"| **found by {name}, on average** | | | {figures} |")
    return 0


def compare() -> int:
    """Print the races that show less often than the page says, and return 1 if there are any, else 0."""
    page = PAGE.read_text(encoding="utf-8")
    worse = 0
    for race in races():
        line = next(line for line in page.splitlines() if line.startswith(f"| {race['name']} |"))
        before = float(re.findall(r"([\d.]+)%", line)[-1])
        now = 100 * share(race["defect"], GUARD)
        if not now or now < before - MARGIN:
            worse += 1
            print(f"schedules: {race['name']}: {now:.1f} % of seeds, {before:.1f} % before  WORSE")
    print(f"schedules: {worse} races show less often than docs/schedules.md says")
    return int(worse > 0)


def races() -> list[dict[str, Any]]:
    """Return the races, each with its two programs whole."""
    data = loads((ROOT / "benchmarks/races.toml").read_text(encoding="utf-8"))
    return [
        race | {side: data["start"] + race[side] for side in ("defect", "twin")}
        for race in data["race"]
    ]


def share(program: str, scheduler: dict[str, Any], seeds: int = SEEDS) -> float:
    """Return the share of seeds in which a program fails."""
    with (
        patch.multiple(loop, CHANGE=scheduler["CHANGE"]),
        patch.multiple(mocks, PACES=scheduler["PACES"]),
    ):
        return len(list(failing(program, range(1, seeds + 1)))) / seeds


def failing(program: str, seeds: range) -> Iterator[int]:
    """Yield the seeds in which a program fails or waits for ever; 0 is asyncio's own order."""
    code = compile(program, "race", "exec")
    with suspending_mocks():
        yield from (seed for seed in seeds if fails(code, seed))


def fails(code: Any, seed: int) -> bool:  # noqa: ANN401 - what compile returns
    """Return whether a program fails in the schedule of a seed."""
    names: dict[str, Callable[[], Awaitable[None]]] = {}
    exec(code, names)  # noqa: S102 - what races.toml says
    made = QuickLoop(Watch(), step_seconds=60, seed=f"{seed}" if seed else "")
    made.begin("race")

    async def run() -> None:
        async with asyncio.timeout(60):
            await names["main"]()

    with asyncio.Runner(loop_factory=lambda: made) as runner:
        try:
            runner.run(run())
        except (AssertionError, TimeoutError):
            return True
    return False


@contextmanager
def suspending_mocks() -> Iterator[None]:
    """Let mocks suspend, as the guard does."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        mocks.SuspendingMocks(monkeypatch).start()
        yield


if __name__ == "__main__":
    sys.exit(main())
