"""A real API of events on loopback."""

from aiohttp import web

from .api_server import LoopbackAPI

EVENTS = [
    ("Async meetup", "Talks on event loops", "Vienna"),
    ("Sprint", "Two days of open source", "Porto"),
    ("Workshop", "From threads to tasks", "Online"),
]


class EventAPI(LoopbackAPI):
    """An API of three events that can fail as planned."""

    def __init__(self) -> None:
        super().__init__([web.get("/events/{id}", self._get)])
        self._events = {
            str(id_): {
                "id": id_,
                "title": title,
                "description": description,
                "location": location,
            }
            for id_, (title, description, location) in enumerate(
                EVENTS,
                1,
            )
        }

    async def _get(self, request: web.Request) -> web.Response:
        event = self._events.get(request.match_info["id"])
        if event is None:
            raise web.HTTPNotFound
        return web.json_response(event)
