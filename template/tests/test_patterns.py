"""The patterns of async tests, as docs/testing.md names them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from unittest.mock import call, create_autospec

import pytest
import pytest_asyncio

from tests.subject import fan_out

pytestmark = pytest.mark.unit


class Service:
    """What the patterns are shown on: looks up one name at a time."""

    def __init__(self, lock: asyncio.Lock | None = None) -> None:
        self.lock = lock or asyncio.Lock()
        self.is_open = True

    async def look_up(self, name: str) -> str:
        """Return the name in capitals."""
        async with self.lock:
            await asyncio.sleep(0)
            return name.upper()

    async def close(self) -> None:
        """End the service."""
        self.is_open = False


async def greet(service: Service, names: list[str]) -> list[str]:
    """Return a greeting for each name, looked up three at a time."""

    async def greet_one(name: str) -> str:
        return f"Hello {await service.look_up(name)}"

    return await fan_out.fan_out(greet_one, names, limit=3)


# An async test needs no marker: asyncio_mode = auto sees to all.


async def test_without_a_marker() -> None:
    assert await greet(Service(), ["Ada"]) == ["Hello ADA"]


# The marker is for what differs, such as a loop that is kept for the
# module. On each test by hand it is forgotten one day.


@pytest.mark.asyncio
async def test_with_the_marker() -> None:
    assert await greet(Service(), ["Ada"]) == ["Hello ADA"]


# A loop made by hand works without a plugin. But every test has to be
# written inside out, fixtures cannot be async, and what is still
# running when the loop is closed is not even noticed.


@pytest.fixture
def loop_by_hand() -> Iterator[asyncio.AbstractEventLoop]:
    """Return a loop that is closed after the test."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_in_a_loop_by_hand(
    loop_by_hand: asyncio.AbstractEventLoop,
) -> None:
    greetings = loop_by_hand.run_until_complete(
        greet(Service(), ["Ada"]),
    )

    assert greetings == ["Hello ADA"]


# Fixtures: the part behind `yield` runs in any case; one can build on
# another, an async one on one that is not and the other way round.


@pytest.fixture
def names() -> list[str]:
    """Return whom to greet."""
    return ["Ada", "Grace"]


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Return a service that is closed after the test."""
    service = Service()
    yield service
    await service.close()
    assert not service.is_open


@pytest.fixture
async def greetings(service: Service, names: list[str]) -> list[str]:
    """Return the greetings of all."""
    return await greet(service, names)


@pytest.fixture
def letter(greetings: list[str]) -> str:
    """Return the greetings as one text."""
    return ", ".join(greetings)


async def test_a_fixture_on_fixtures(letter: str) -> None:
    assert letter == "Hello ADA, Hello GRACE"


# What is costly to make is shared by a module or a session. It lives in
# a loop, so the tests that use it must run in that same loop.


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_queue() -> AsyncIterator[asyncio.Queue[str]]:
    """Return a queue that the tests of this module share."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    yield queue
    assert queue.empty()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_lock() -> AsyncIterator[asyncio.Lock]:
    """Return a lock that all tests share."""
    lock = asyncio.Lock()
    yield lock
    assert not lock.locked()


@pytest.mark.asyncio(loop_scope="module")
async def test_with_what_the_module_shares(
    module_queue: asyncio.Queue[str],
) -> None:
    await module_queue.put("Ada")

    assert await module_queue.get() == "Ada"


@pytest.mark.asyncio(loop_scope="session")
async def test_with_what_the_session_shares(
    session_lock: asyncio.Lock,
) -> None:
    async with session_lock:
        assert session_lock.locked()


# One behaviour, many cases; an id says what a case is about.


@pytest.mark.parametrize(
    ("whom", "expected"),
    [
        pytest.param([], [], id="nobody"),
        pytest.param(["ada"], ["Hello ADA"], id="one"),
        pytest.param(["a", "a"], ["Hello A"] * 2, id="twice"),
    ],
)
async def test_cases(whom: list[str], expected: list[str]) -> None:
    assert await greet(Service(), whom) == expected


# A mock with the real signature: a misspelt method and wrong arguments
# fail, and async methods are async by themselves.


async def test_with_a_mock_of_the_real_signature() -> None:
    service = create_autospec(Service, instance=True)
    service.look_up.return_value = "you"

    assert await greet(service, ["Ada"]) == ["Hello you"]
    service.look_up.assert_awaited_once_with("Ada")


async def test_with_a_mock_of_a_context_manager() -> None:
    lock = create_autospec(asyncio.Lock, instance=True)

    await Service(lock).look_up("Ada")

    lock.__aenter__.assert_awaited_once_with()
    lock.__aexit__.assert_awaited_once_with(None, None, None)


async def test_with_a_mock_that_fails() -> None:
    service = create_autospec(Service, instance=True)
    service.look_up.side_effect = LookupError("nobody")

    with pytest.raises(ExceptionGroup) as caught:
        await greet(service, ["Ada"])

    assert caught.group_contains(LookupError, match="nobody")


async def test_with_a_mock_that_fails_before_it_works() -> None:
    service = create_autospec(Service, instance=True)
    service.look_up.side_effect = [TimeoutError, "you"]

    with pytest.raises(ExceptionGroup):
        await greet(service, ["Ada"])

    assert await greet(service, ["Ada"]) == ["Hello you"]
    assert service.look_up.await_args_list == [call("Ada")] * 2


# Virtual time: an hour passes at once, and to the second.


@pytest.mark.looptime
async def test_an_hour_in_virtual_time() -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600):
            await asyncio.Event().wait()

    assert loop.time() - start == pytest.approx(3600)
