"""Tests of the demo: every part works, and a failure is reported."""

import asyncio
import gc
import runpy
import sys
import warnings

import pytest

from tests.subject import fan_out, profile, runner

PARTS = runner.find_parts()


async def work() -> None:
    await asyncio.sleep(0)


async def fail() -> None:
    raise LookupError("no luck")


@pytest.mark.looptime
@pytest.mark.integration
@pytest.mark.parametrize("name", PARTS)
async def test_each_part_works(
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failed = await runner.run({name: PARTS[name]})

    assert failed == []
    assert len(capsys.readouterr().out.splitlines()) > 2


def test_it_ends_well_when_every_part_works(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(runner, "find_parts", lambda: {"work": work})

    assert runner.main([]) == 0
    assert capsys.readouterr().out.endswith("all worked: work\n")


def test_it_runs_as_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    package = runner.__name__.removesuffix(".runner")
    monkeypatch.setattr(runner, "find_parts", lambda: {"fail": fail})
    monkeypatch.setattr(sys, "argv", ["demo"])

    with pytest.raises(SystemExit, match="1"):
        runpy.run_module(package, run_name="__main__")


def test_it_names_the_parts_that_failed_and_runs_the_others(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    parts = {"fail": fail, "work": work}
    monkeypatch.setattr(runner, "find_parts", lambda: parts)

    assert runner.main([]) == 1
    output = capsys.readouterr()
    assert output.out.endswith("== work\n\nFAILED: fail\n")
    assert "LookupError: no luck" in output.err


def test_it_stops_with_a_word_when_interrupted(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(
        runner,
        "find_parts",
        lambda: {"part": interrupt},
    )

    assert runner.main([]) == 130
    assert capsys.readouterr().out.endswith("stopped\n")


def test_it_stops_with_a_word_when_interrupted_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "find_parts", interrupt)

    assert runner.main([]) == 130
    assert capsys.readouterr().out == "stopped\n"


def test_the_profile_shows_functions_and_awaits(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def part() -> None:
        await fan_out.fan_out(wait, [0, 0, 0])

    monkeypatch.setattr(runner, "find_parts", lambda: {"part": part})

    assert runner.main(["--profile"]) == 0
    output = capsys.readouterr().out
    assert "cumulative" in output
    awaits = output.partition("Slowest awaits")[2]
    assert "fan_out.py" in awaits.partition("Slowest steps")[0]


def test_profiling_cancels_as_usual() -> None:
    async def cancel_other() -> bool:
        other = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0)
        other.cancel()
        await asyncio.wait([other])
        return other.cancelled()

    assert profile.profiled(cancel_other())


def test_profiling_says_nothing_of_tasks_that_never_began() -> None:
    async def cancel_at_once() -> None:
        task = asyncio.create_task(work())
        task.cancel()
        await asyncio.wait([task])

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        profile.profiled(cancel_at_once())
        gc.collect()

    assert caught == []
