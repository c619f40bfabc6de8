"""Tests of the cache: one load a key, whoever fails or is cancelled."""

import asyncio
import gc
import weakref

import pytest

from tests.subject import queues

pytestmark = pytest.mark.looptime


class Source:
    """Loads slowly, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.loaded: list[str] = []
        self.error: BaseException | None = None

    async def load(self, key: str) -> str:
        """Return the key in upper case."""
        self.asked.append(key)
        await asyncio.sleep(10)
        if self.error:
            raise self.error
        self.loaded.append(key)
        return key.upper()


@pytest.fixture
def source() -> Source:
    """Return a source that was asked for nothing yet."""
    return Source()


async def test_a_value_is_loaded_once(source: Source) -> None:
    cache = queues.AsyncCache(source.load)

    values = [await cache.get("a"), await cache.get("a")]

    assert values == ["A", "A"]
    assert source.asked == ["a"]


async def test_concurrent_misses_load_once(source: Source) -> None:
    cache = queues.AsyncCache(source.load)

    values = await asyncio.gather(*[cache.get("a") for _ in range(50)])

    assert set(values) == {"A"}
    assert source.asked == ["a"]


async def test_different_keys_load_at_the_same_time(
    source: Source,
) -> None:
    cache = queues.AsyncCache(source.load)
    start = asyncio.get_running_loop().time()

    await asyncio.gather(cache.get("a"), cache.get("b"))

    took = asyncio.get_running_loop().time() - start
    assert took == pytest.approx(10)


async def test_none_is_a_value_like_any_other() -> None:
    calls = []

    async def load(key: str) -> None:
        calls.append(key)

    cache = queues.AsyncCache(load)
    await cache.get("a")
    await cache.get("a")

    assert calls == ["a"]


async def test_all_who_wait_get_a_failure_and_it_is_not_kept(
    source: Source,
) -> None:
    cache = queues.AsyncCache(source.load)
    source.error = OSError("down")

    errors = await asyncio.gather(
        cache.get("a"),
        cache.get("a"),
        return_exceptions=True,
    )
    source.error = None

    assert [str(error) for error in errors] == ["down", "down"]
    assert await cache.get("a") == "A"
    assert source.asked == ["a", "a"]


async def test_one_who_tries_again_at_once_loads_again(
    source: Source,
) -> None:
    cache = queues.AsyncCache(source.load)
    source.error = OSError("down")
    other = asyncio.create_task(cache.get("a"))

    with pytest.raises(OSError, match="down"):
        await cache.get("a")
    source.error = None

    assert await cache.get("a") == "A"
    with pytest.raises(OSError, match="down"):
        await other


async def test_the_first_caller_may_be_cancelled_alone(
    source: Source,
) -> None:
    cache = queues.AsyncCache(source.load)
    first = asyncio.create_task(cache.get("a"))
    second = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(1)

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first

    assert await second == "A"
    assert source.asked == ["a"]


async def test_the_load_is_cancelled_with_the_last_caller(
    source: Source,
) -> None:
    cache = queues.AsyncCache(source.load)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await asyncio.gather(cache.get("a"), cache.get("a"))
    await asyncio.sleep(100)

    assert source.loaded == []
    assert await cache.get("a") == "A"


async def test_a_load_that_was_given_up_is_not_joined() -> None:
    asked = []

    async def load(key: str) -> str:
        asked.append(key)
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(5)
        return key

    cache = queues.AsyncCache(load)
    first = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(1)
    first.cancel()
    await asyncio.sleep(1)

    assert await cache.get("a") == "a"
    assert first.cancelled()
    assert asked == ["a", "a"]


async def test_a_load_that_cancels_itself_is_a_failure(
    source: Source,
) -> None:
    cache = queues.AsyncCache(source.load)
    source.error = asyncio.CancelledError()

    with pytest.raises(queues.WorkCancelledError):
        await cache.get("a")


async def test_the_value_that_was_not_used_for_longest_goes(
    source: Source,
) -> None:
    cache = queues.AsyncCache(source.load, max_size=2)

    await cache.get("a")
    await cache.get("b")
    await cache.get("a")
    await cache.get("c")
    await cache.get("a")

    assert len(cache) == 2
    assert source.asked == ["a", "b", "c"]


async def test_a_forgotten_value_is_loaded_again(
    source: Source,
) -> None:
    cache = queues.AsyncCache(source.load)
    await cache.get("a")

    cache.forget("a")
    cache.forget("unknown")
    await cache.get("a")

    assert source.asked == ["a", "a"]


async def test_a_value_forgotten_while_it_loads_is_not_kept(
    source: Source,
) -> None:
    cache = queues.AsyncCache(source.load)
    call = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(1)

    cache.forget("a")

    assert await call == "A"
    assert len(cache) == 0


async def test_nothing_stays_of_keys_that_failed() -> None:
    class Key:
        pass

    async def fail(_: Key) -> None:
        raise OSError("gone")

    cache = queues.AsyncCache(fail)
    key = Key()
    watch = weakref.ref(key)
    with pytest.raises(OSError, match="gone"):
        await cache.get(key)
    del key
    gc.collect()

    assert watch() is None


async def test_a_size_below_one_is_refused(source: Source) -> None:
    with pytest.raises(ValueError, match="max_size must be at least 1"):
        queues.AsyncCache(source.load, max_size=0)


async def test_a_load_that_needs_itself_says_so() -> None:
    async def load(key: str) -> str:
        return await cache.get(key[::-1])

    cache = queues.AsyncCache(load)
    with pytest.raises(RuntimeError, match="load of 'ab' needs 'ab'"):
        await cache.get("ab")


async def test_a_load_may_need_another_key() -> None:
    async def load(number: int) -> int:
        return await cache.get(number - 1) if number else 7

    cache = queues.AsyncCache(load)

    assert await cache.get(5) == 7


async def leave_as_the_load_fails(source: Source) -> None:
    call = asyncio.create_task(queues.AsyncCache(source.load).get("a"))
    await asyncio.sleep(1)
    [load] = asyncio.all_tasks() - {call, asyncio.current_task()}
    load.add_done_callback(lambda _: call.cancel())
    await asyncio.gather(call, return_exceptions=True)


async def test_a_load_that_fails_as_the_last_caller_leaves_is_quiet(
    source: Source,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source.error = LookupError("no luck")

    await leave_as_the_load_fails(source)
    gc.collect()

    assert caplog.records == []
