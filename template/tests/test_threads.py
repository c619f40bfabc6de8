"""Tests of calls in threads: they end before a cancellation goes on."""

import asyncio
import threading

import pytest

from tests.subject import threads


async def test_the_result_is_that_of_the_call() -> None:
    assert await threads.in_thread(abs, -3) == 3


async def test_the_end_of_an_iterator_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await threads.in_thread(next, iter([]))


async def test_a_call_ends_before_a_cancellation_goes_on() -> None:
    reached, gate = threading.Event(), threading.Event()
    ended = []

    def wait() -> None:
        reached.set()
        gate.wait()
        ended.append(True)

    call = asyncio.create_task(threads.in_thread(wait))
    await asyncio.to_thread(reached.wait)
    call.cancel()
    await asyncio.to_thread(gate.set)
    with pytest.raises(asyncio.CancelledError):
        await call

    assert ended == [True]
