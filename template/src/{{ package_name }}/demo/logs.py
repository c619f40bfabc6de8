"""Shows the log: two requests at once, told apart by their ids."""

import asyncio
import io
import json
import logging

from .. import logs
from ..fan_out import fan_out

logger = logging.getLogger(__name__)


async def show() -> None:
    """Serve two requests at once, then print the log of each."""
    lines = io.StringIO()
    with logs.configured(level="INFO", style="json", stream=lines):
        await fan_out(serve, ["order-1", "order-2"])

    text = lines.getvalue()
    records = [json.loads(line) for line in text.splitlines()]
    print(f"the log, as it came: {len(records)} lines of two requests")
    for request_id in ["order-1", "order-2"]:
        print(f"what happened to {request_id}:")
        for record in records:
            if record["correlation_id"] == request_id:
                print(f"  {record['level']:7} {record['message']}")


async def serve(request_id: str) -> None:
    """Do three steps side by side, whose tasks inherit the id."""
    with logs.correlation(request_id):
        await fan_out(step, ["stock", "price", "address"])
        logger.info("served")


async def step(name: str) -> None:
    """Look one thing up, which takes a moment."""
    logger.info("looking up the %s", name)
    await asyncio.sleep(0.02)
    if name == "stock":
        logger.warning("the stock is low", extra={"left": 2})
