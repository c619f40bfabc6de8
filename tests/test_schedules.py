"""What the guard's schedules find of benchmarks/races.toml, and that they find nothing in the corrected programs."""

from typing import Any

import pytest

from benchmarks.schedules import GUARD, failing, races, share

each_race = pytest.mark.parametrize("race", races(), ids=lambda race: race["name"])


@each_race
def test_a_race_does_not_show_in_the_order_of_asyncio(race: dict[str, Any]) -> None:
    assert list(failing(race["defect"], range(1))) == []


@each_race
def test_a_race_shows_in_one_of_a_hundred_seeds(race: dict[str, Any]) -> None:
    assert any(failing(race["defect"], range(1, 101)))


@each_race
def test_a_corrected_program_passes_in_all_of_fifty_seeds(race: dict[str, Any]) -> None:
    assert list(failing(race["twin"], range(51))) == []


@pytest.mark.parametrize(
    "name", ["one call is taken to end before five", "one comes too early in six turns on end"]
)
def test_a_task_keeps_its_priority_and_pace_for_a_while(name: str) -> None:
    programs = {race["name"]: race["defect"] for race in races()}

    assert share(programs[name], GUARD, seeds=100) > 0.1
