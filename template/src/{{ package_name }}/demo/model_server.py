"""A real API on loopback that serves models and logs of training."""

import asyncio
import json
from statistics import fmean

from aiohttp import web

from .api_server import LoopbackAPI

# In place of a piece of a log: the connection breaks there.
BREAK = b""


def log_line(state: str, message: str) -> bytes:
    """Return a line of a training job's log as the API sends it."""
    line = json.dumps({"state": state, "message": message})
    return line.encode() + b"\n"


class ModelAPI(LoopbackAPI):
    """An API of models that can be slow and can fail as planned.

    It knows every model but those whose names start with `no-`, and
    predicts the mean of the features.

    Attributes:
        deployed: The model and the environment of every deployment.
        log: The pieces of the log of any training job, in bytes.
        pause: Seconds before each piece, and before the log ends.
    """

    def __init__(self) -> None:
        routes = [
            web.get("/models/{name}", self._describe),
            web.get("/models/{name}/health", self._check),
            web.post("/models/{name}/predict", self._predict),
            web.post("/deployments", self._deploy),
            web.get("/jobs/{id}/logs", self._stream_log),
        ]
        super().__init__(routes)
        self.deployed: list[tuple[str, str]] = []
        self.log: list[bytes] = []
        self.pause = 0.0

    async def _describe(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name.startswith("no-"):
            raise web.HTTPNotFound
        return web.json_response(
            {"name": name, "version": "1.2.0", "framework": "numpy"},
        )

    async def _check(self, request: web.Request) -> web.Response:
        if request.match_info["name"].startswith("no-"):
            raise web.HTTPServiceUnavailable
        return web.json_response({"status": "ok"})

    async def _predict(self, request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response(
            {"prediction": fmean(body["features"])},
        )

    async def _deploy(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["model"].startswith("no-"):
            raise web.HTTPConflict
        self.deployed.append((body["model"], body["environment"]))
        return web.json_response(
            {**body, "status": "deployed"},
            status=201,
        )

    async def _stream_log(
        self,
        request: web.Request,
    ) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "application/x-ndjson"
        await response.prepare(request)
        for piece in self.log:
            await asyncio.sleep(self.pause)
            if piece == BREAK and request.transport is not None:
                request.transport.abort()
            await response.write(piece)
        await asyncio.sleep(self.pause)
        return response
