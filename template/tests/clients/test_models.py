"""Tests of the model client: against a server, and against a mock."""

import asyncio
from collections.abc import AsyncIterator
from unittest.mock import create_autospec

import httpx2
import pytest

from tests.subject import clients, model_server

pytestmark = pytest.mark.integration

URL = "http://models.example.com/v1"
NAMES = [f"model-{number}" for number in range(10)]


@pytest.fixture
async def model_client(
    model_api: model_server.ModelAPI,
) -> AsyncIterator[clients.AsyncModelClient]:
    """Return a client that is connected to the API of models."""
    url = model_api.base_url
    async with clients.AsyncModelClient(url, timeout=2) as client:
        yield client


def mocked(handler: object) -> clients.AsyncModelClient:
    """Return a client whose requests go to `handler` alone."""
    assert callable(handler)
    transport = httpx2.MockTransport(handler)
    return clients.AsyncModelClient(URL, transport=transport)


async def test_features_go_in_and_a_prediction_comes_out(
    model_client: clients.AsyncModelClient,
) -> None:
    assert await model_client.predict("churn", [1, 2.5, 4]) == 2.5


async def test_a_request_is_what_the_api_expects() -> None:
    requests = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json={"prediction": 1})

    async with mocked(answer) as client:
        prediction = await client.predict("churn", (1, 2.5))

    assert repr(prediction) == "1.0"
    assert [str(request.url) for request in requests] == [
        "http://models.example.com/v1/models/churn/predict",
    ]
    assert requests[0].content == b'{"features":[1,2.5]}'


@pytest.mark.parametrize(
    "features",
    [
        [],
        [float("nan")],
        [1, float("inf")],
        [10**400],
        ["1"],
        [None],
        [True],
    ],
    ids=["none", "nan", "inf", "huge", "text", "null", "bool"],
)
async def test_bad_features_are_refused_before_any_request(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
    features: list[float],
) -> None:
    with pytest.raises(ValueError, match="feature"):
        await model_client.predict("churn", features)

    assert model_api.calls == []


@pytest.mark.parametrize("name", ["", " ", "..", "a/b", "a?b", "é"])
async def test_bad_names_are_refused_before_any_request(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
    name: str,
) -> None:
    with pytest.raises(ValueError, match="model_name must be of"):
        await model_client.predict(name, [1])
    with pytest.raises(ValueError, match="model_name must be of"):
        await clients.fetch_all_models(model_client, ["churn", name])
    with pytest.raises(ValueError, match="model_name must be of"):
        await clients.deploy_model(model_client, name, "staging")
    with pytest.raises(ValueError, match="environment must be of"):
        await clients.deploy_model(model_client, "churn", name)

    assert model_api.calls == []


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"prediction": "1"}',
        '{"prediction": true}',
        '{"prediction": NaN}',
    ],
)
async def test_an_answer_that_is_no_prediction_is_refused(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
    answer: str,
) -> None:
    model_api.plan(200, answer)

    with pytest.raises(ValueError, match="answer"):
        await model_client.predict("churn", [1])


@pytest.mark.parametrize("status", [302, 404, 500, 503])
async def test_a_status_is_an_error_of_httpx2_and_not_retried(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
    status: int,
) -> None:
    model_api.plan(status)

    with pytest.raises(httpx2.HTTPStatusError, match=str(status)):
        await model_client.predict("churn", [1])

    assert len(model_api.calls) == 1


async def test_a_refused_connection_is_an_error_of_httpx2() -> None:
    url = "http://127.0.0.1:9"

    async with clients.AsyncModelClient(url) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.predict("churn", [1])


async def test_a_broken_connection_is_an_error_of_httpx2(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
) -> None:
    model_api.plan_broken_connection()

    with pytest.raises(httpx2.TransportError):
        await model_client.predict("churn", [1])


@pytest.mark.looptime
async def test_a_slow_answer_is_a_timeout_of_httpx2(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
) -> None:
    model_api.delay = 60

    with pytest.raises(httpx2.TimeoutException):
        await model_client.predict("churn", [1])


@pytest.mark.looptime
async def test_an_answer_in_drops_is_a_timeout_of_httpx2() -> None:
    async def drip() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(1)
            yield b" "

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=drip(), request=request)

    async with mocked(answer) as client:
        with pytest.raises(httpx2.TimeoutException, match="10 s"):
            await client.predict("churn", [1])


@pytest.mark.looptime
async def test_a_cancelled_call_leaves_the_client_usable(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
) -> None:
    model_api.delay = 1
    call = asyncio.create_task(model_client.predict("churn", [1]))
    await asyncio.sleep(0.5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert await model_client.predict("churn", [2]) == 2


async def test_all_calls_share_one_pool(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
) -> None:
    await model_client.predict("churn", [1])
    await model_client.connect()
    await model_client.predict("fraud", [1])

    assert len(model_api.peers) == 1


async def test_connecting_twice_at_once_opens_one_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = create_autospec(httpx2.AsyncClient)
    monkeypatch.setattr(httpx2, "AsyncClient", pool)
    client = clients.AsyncModelClient(URL)

    await asyncio.gather(client.connect(), client.connect())
    await client.disconnect()

    assert pool.call_count == 1
    pool.return_value.aclose.assert_awaited_once_with()


async def test_use_before_connecting_is_refused() -> None:
    client = clients.AsyncModelClient("http://127.0.0.1:9")

    with pytest.raises(RuntimeError, match="not connected"):
        await client.predict("churn", [1])


async def test_use_after_disconnecting_is_refused(
    model_client: clients.AsyncModelClient,
) -> None:
    await model_client.disconnect()
    await model_client.disconnect()

    with pytest.raises(RuntimeError, match="not connected"):
        await model_client.predict("churn", [1])


async def test_metadata_is_fetched_by_name(
    model_client: clients.AsyncModelClient,
) -> None:
    model = await clients.fetch_model_metadata(model_client, "churn")

    assert model == clients.ModelMetadata("churn", "1.2.0", "numpy")


@pytest.mark.parametrize(
    "answer",
    [
        "[]",
        '{"name": "churn"}',
        '{"name": "fraud", "version": "1", "framework": "numpy"}',
    ],
)
async def test_metadata_of_another_model_is_refused(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
    answer: str,
) -> None:
    model_api.plan(200, answer)

    with pytest.raises(ValueError, match="the API answered"):
        await clients.fetch_model_metadata(model_client, "churn")


@pytest.mark.looptime
async def test_many_models_take_the_time_of_one() -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(1)
        name = request.url.path.rpartition("/")[2]
        model = {"name": name, "version": "1", "framework": "numpy"}
        return httpx2.Response(200, json=model)

    now = asyncio.get_running_loop().time
    async with mocked(answer) as client:
        start = now()
        together = await clients.fetch_all_models(client, NAMES)
        middle = now()
        in_turn = await clients.fetch_all_models_sequentially(
            client,
            NAMES,
        )
        end = now()

    assert [model.name for model in together] == NAMES
    assert in_turn == together
    assert (middle - start, end - middle) == pytest.approx((1, 10))


@pytest.mark.looptime
async def test_no_more_requests_run_at_once_than_allowed(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
) -> None:
    model_api.delay = 0.1

    await clients.fetch_all_models(model_client, NAMES, limit=4)

    assert model_api.busiest == 4


async def test_a_missing_model_fails_the_fetch_of_all(
    model_client: clients.AsyncModelClient,
) -> None:
    names = ["churn", "no-such-model"]

    with pytest.raises(ExceptionGroup) as caught:
        await clients.fetch_all_models(model_client, names)

    assert caught.group_contains(httpx2.HTTPStatusError)


async def test_no_models_take_no_requests(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
) -> None:
    assert await clients.fetch_all_models(model_client, []) == []
    assert model_api.calls == []


async def test_a_model_is_deployed_to_an_environment(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
) -> None:
    done = await clients.deploy_model(model_client, "churn", "staging")

    assert done == clients.Deployment("churn", "staging", "deployed")
    assert model_api.deployed == [("churn", "staging")]


@pytest.mark.parametrize(
    "answer",
    [
        "null",
        '{"model": "fraud", "environment": "eu", "status": "ok"}',
        '{"model": "churn", "environment": "us", "status": "ok"}',
    ],
)
async def test_an_answer_that_is_not_the_deployment_is_refused(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
    answer: str,
) -> None:
    model_api.plan(200, answer)

    with pytest.raises(ValueError, match="the API answered"):
        await clients.deploy_model(model_client, "churn", "eu")


async def test_a_deployment_is_not_retried(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
) -> None:
    model_api.plan(503)

    with pytest.raises(httpx2.HTTPStatusError):
        await clients.deploy_model(model_client, "churn", "staging")

    assert len(model_api.calls) == 1


async def test_a_failed_deployment_stops_no_other(
    model_client: clients.AsyncModelClient,
) -> None:
    outcomes = await clients.deploy_multiple_models(
        model_client,
        ["churn", "no-such-model", "fraud"],
        "staging",
    )

    assert list(outcomes) == ["churn", "no-such-model", "fraud"]
    assert isinstance(outcomes["churn"], clients.Deployment)
    assert isinstance(outcomes["no-such-model"], httpx2.HTTPStatusError)
    assert isinstance(outcomes["fraud"], clients.Deployment)


@pytest.mark.looptime
async def test_no_more_are_deployed_at_once_than_allowed(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
) -> None:
    model_api.delay = 0.1

    await clients.deploy_multiple_models(
        model_client,
        NAMES,
        "staging",
        limit=3,
    )

    assert model_api.busiest == 3
    assert len(model_api.deployed) == 10


@pytest.mark.looptime
async def test_cancelling_stops_the_deployments_that_wait(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
) -> None:
    model_api.delay = 1
    deploy = clients.deploy_multiple_models(
        model_client,
        NAMES,
        "staging",
        limit=2,
    )
    call = asyncio.create_task(deploy)
    await asyncio.sleep(0.5)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.sleep(10)

    assert len(model_api.calls) == 2


async def test_a_model_named_twice_is_refused_before_any_request(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
) -> None:
    names = ["churn", "fraud", "churn"]

    with pytest.raises(ValueError, match="named once"):
        await clients.deploy_multiple_models(model_client, names, "eu")

    assert model_api.calls == []


async def test_a_bad_environment_is_refused_before_any_request(
    model_api: model_server.ModelAPI,
    model_client: clients.AsyncModelClient,
) -> None:
    with pytest.raises(ValueError, match="environment must be of"):
        await clients.deploy_multiple_models(model_client, NAMES, " ")

    assert model_api.calls == []


async def test_one_string_is_not_taken_for_many_names(
    model_client: clients.AsyncModelClient,
) -> None:
    with pytest.raises(TypeError, match="must be several"):
        await clients.fetch_all_models(model_client, "churn")


async def test_a_limit_below_one_is_refused(
    model_client: clients.AsyncModelClient,
) -> None:
    with pytest.raises(ValueError, match="limit must be at least 1"):
        await clients.fetch_all_models(model_client, NAMES, limit=0)


def test_a_timeout_must_be_positive() -> None:
    with pytest.raises(ValueError, match="timeout must be above 0"):
        clients.AsyncModelClient(URL, timeout=0)


async def test_an_answer_that_is_nested_too_deeply_is_refused() -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text="[" * 100_000)

    async with mocked(answer) as client:
        with pytest.raises(ValueError, match="did not answer JSON"):
            await client.predict("churn", [1])
