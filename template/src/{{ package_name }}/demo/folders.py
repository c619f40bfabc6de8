"""A temporary folder, made and deleted beside the event loop."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def temporary_folder() -> AsyncIterator[Path]:
    """Yield a new folder, which is deleted with all that is in it."""
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory)
    try:
        yield Path(folder.name)
    finally:
        await asyncio.to_thread(folder.cleanup)
