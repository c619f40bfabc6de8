"""A client for an API that serves and deploys models, over httpx2."""

import asyncio
import re
import ssl
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial
from types import TracebackType
from typing import Self

import httpx2

from ..fan_out import fan_out, fan_out_outcomes
from .checks import check_base_url, check_seconds

# Names go into paths, where others such as `..` would lead elsewhere.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """One model as the API describes it."""

    name: str
    version: str
    framework: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """One model in one environment, and how far its deployment is."""

    model_name: str
    environment: str
    status: str


class AsyncModelClient:
    """Talks to an API of models. All calls share one pool.

        async with AsyncModelClient(base_url) as client:
            prediction = await client.predict("prices", [1.5, 2])

    Or call `connect` and `disconnect`. Nothing is repeated by itself.
    HTTP errors are httpx2's own, and subclasses of `httpx2.HTTPError`.

    Args:
        base_url: Where the API is, such as https://api.example.com/v1.
        timeout: Seconds that one call may take in all.
        transport: What carries the requests instead of the network,
            such as `httpx2.MockTransport`.

    Raises:
        ValueError: The URL is no http URL, or the timeout not above 0.
    """

    def __init__(
        self,
        base_url: str,
        timeout: float = 10,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        check_seconds("timeout", timeout)
        self.base_url = check_base_url(base_url)
        self.timeout = timeout
        self._transport = transport
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.disconnect()

    async def connect(self) -> None:
        """Open the pool; connecting twice is fine."""
        tls = await asyncio.to_thread(_load_certificates)
        if self._client is None:
            self._client = httpx2.AsyncClient(
                base_url=self.base_url,
                timeout=httpx2.Timeout(self.timeout),
                transport=self._transport,
                verify=tls,
                trust_env=False,  # no proxy unasked, as in aiohttp
            )

    async def disconnect(self) -> None:
        """Close pool and connections; disconnecting twice is fine."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def predict(
        self,
        model_name: str,
        features: Iterable[float],
    ) -> float:
        """Return what the model predicts for these features.

        Raises:
            httpx2.HTTPStatusError: The API answered 3xx, 4xx or 5xx.
            httpx2.TransportError: There is no connection to it, or it
                took too long.
            ValueError: There are no features, one is no finite number,
                the name holds other than letters, digits and `._-`, or
                the answer is no prediction.
            RuntimeError: The client is not connected.
        """
        name = _check_name("model_name", model_name)
        answer = await self.request_json(
            "POST",
            f"models/{name}/predict",
            {"features": _check_features(features)},
        )
        match answer:
            case {
                "prediction": int() | float() as value,
            } if _is_finite_number(value):
                return float(value)
            case _:
                raise ValueError(
                    f"the API answered no prediction: {answer!r}",
                )

    async def request_json(
        self,
        method: str,
        path: str,
        body: object = None,
    ) -> object:
        """Return the JSON that `path` below the base URL answers.

        Raises:
            httpx2.HTTPStatusError: The API answered 3xx, 4xx or 5xx.
            httpx2.TransportError: There is no connection to it, or it
                took too long.
            ValueError: The answer is not JSON.
            RuntimeError: The client is not connected.
        """
        if self._client is None:
            raise RuntimeError(
                "the client is not connected: call connect() first",
            )
        try:
            # httpx2 limits each read, but not how many reads there are.
            async with asyncio.timeout(self.timeout):
                response = await self._client.request(
                    method,
                    path,
                    json=body,
                )
        except TimeoutError as error:
            raise httpx2.ReadTimeout(
                f"{path} took longer than {self.timeout} s",
            ) from error
        response.raise_for_status()
        try:
            answer: object = response.json()
        except (RecursionError, ValueError) as error:
            raise ValueError(
                f"{method} {path} did not answer JSON: {error}",
            ) from error
        return answer


async def fetch_model_metadata(
    client: AsyncModelClient,
    model_name: str,
) -> ModelMetadata:
    """Return what the API says of this model.

    Raises:
        httpx2.HTTPStatusError: The API answered 3xx, 4xx or 5xx.
        httpx2.TransportError: There is no connection to it, or it took
            too long.
        ValueError: The name holds other than letters, digits and `._-`,
            or the answer does not describe this model.
        RuntimeError: The client is not connected.
    """
    name = _check_name("model_name", model_name)
    answer = await client.request_json("GET", f"models/{name}")
    model = _parse_metadata(answer)
    if model.name != name:
        raise ValueError(
            f"the API answered {model.name} instead of {name}",
        )
    return model


async def fetch_all_models(
    client: AsyncModelClient,
    model_names: Iterable[str],
    *,
    limit: int = 10,
) -> list[ModelMetadata]:
    """Return what the API says of these models, in the order asked.

    At most `limit` are fetched at once. The first failure cancels the
    rest.

    Raises:
        ExceptionGroup: What `fetch_model_metadata` raised.
        ValueError: The limit is below 1, or a name as there.
    """
    return await fan_out(
        partial(fetch_model_metadata, client),
        _check_names(model_names),
        limit=limit,
    )


async def fetch_all_models_sequentially(
    client: AsyncModelClient,
    model_names: Iterable[str],
) -> list[ModelMetadata]:
    """Return the same as `fetch_all_models`, one after another.

    It is here to measure what concurrency gains: the time of all
    fetches, where `fetch_all_models` takes that of the slowest.

    Raises:
        Exception: What `fetch_model_metadata` raised first.
    """
    names = _check_names(model_names)
    return [await fetch_model_metadata(client, name) for name in names]


async def deploy_model(
    client: AsyncModelClient,
    model_name: str,
    environment: str,
) -> Deployment:
    """Deploy one model to an environment and return the deployment.

    It is sent once. After a timeout, a broken connection or a
    cancellation, only the API knows whether the model is deployed.

    Raises:
        httpx2.HTTPStatusError: The API answered 3xx, 4xx or 5xx.
        httpx2.TransportError: There is no connection to it, or it took
            too long.
        ValueError: A name holds other than letters, digits and `._-`,
            or the answer does not describe this deployment.
        RuntimeError: The client is not connected.
    """
    name = _check_name("model_name", model_name)
    environment = _check_name("environment", environment)
    body = {"model": name, "environment": environment}
    answer = await client.request_json("POST", "deployments", body)
    deployment = _parse_deployment(answer)
    expected = Deployment(name, environment, deployment.status)
    if deployment != expected:
        raise ValueError(
            f"the API answered another deployment: {deployment}",
        )
    return deployment


async def deploy_multiple_models(
    client: AsyncModelClient,
    model_names: Iterable[str],
    environment: str,
    *,
    limit: int = 5,
) -> dict[str, Deployment | Exception]:
    """Deploy models to an environment; return an outcome for each name.

    At most `limit` are deployed at once. One that fails stops no other:
    what `deploy_model` raised takes the place of its deployment.

    Raises:
        ValueError: The limit is below 1, a name is as `deploy_model`
            refuses it, or comes twice: then nothing is deployed.
    """
    names = _check_names(model_names)
    if len(set(names)) < len(names):
        raise ValueError(
            f"each model may be named once, not as in {names}",
        )
    _check_name("environment", environment)

    async def deploy(name: str) -> Deployment:
        return await deploy_model(client, name, environment)

    outcomes = await fan_out_outcomes(deploy, names, limit=limit)
    return dict(zip(names, outcomes, strict=True))


@cache
def _load_certificates() -> ssl.SSLContext:
    """Return whom to trust, read from files once for all clients."""
    return httpx2.create_ssl_context()


def _check_name(kind: str, name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{kind} must be of letters, digits and '._-': {name!r}",
        )
    return name


def _check_names(names: Iterable[str]) -> list[str]:
    if isinstance(names, str):
        raise TypeError(
            f"model_names must be several, not only {names!r}",
        )
    return [_check_name("model_name", name) for name in names]


def _check_features(features: Iterable[float]) -> list[float]:
    checked = list(features)
    if not checked:
        raise ValueError("features must not be empty")
    for feature in checked:
        if not _is_finite_number(feature):
            raise ValueError(
                f"a feature must be a finite number, not {feature!r}",
            )
    return checked


def _is_finite_number(value: object) -> bool:
    """Return whether it is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def _parse_metadata(answer: object) -> ModelMetadata:
    match answer:
        case {
            "name": str(name),
            "version": str(version),
            "framework": str(framework),
        }:
            return ModelMetadata(name, version, framework)
        case _:
            raise ValueError(
                f"the API answered no metadata: {answer!r}",
            )


def _parse_deployment(answer: object) -> Deployment:
    match answer:
        case {
            "model": str(name),
            "environment": str(environment),
            "status": str(status),
        }:
            return Deployment(name, environment, status)
        case _:
            raise ValueError(
                f"the API answered no deployment: {answer!r}",
            )
