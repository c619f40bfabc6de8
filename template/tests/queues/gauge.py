"""Measures how many calls are under way at once."""

import asyncio


class Gauge:
    """Counts the calls that are under way, and remembers the most."""

    def __init__(self) -> None:
        self.active = 0
        self.most = 0

    async def wait(self, seconds: float) -> float:
        """Return the seconds, after so many."""
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.active -= 1
        return seconds
