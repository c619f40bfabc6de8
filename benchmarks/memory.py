"""Prints the kilobytes that a process needs at most to stream so many tasks through the task queue.

Linux only: VmHWM of proc(5) is this program's own peak. The peak that getrusage(2) gives is that of
the process that started this one, if it was larger.
"""

import asyncio
import re
import sys
from pathlib import Path

from my_async_project.queues import AsyncTaskQueue


async def work() -> None:
    """Be a task that waits once."""
    await asyncio.sleep(0)


async def stream(count: int) -> None:
    """Run tasks, and keep no result."""
    async for _ in AsyncTaskQueue(10).stream(("task", work) for _ in range(count)):
        pass


asyncio.run(stream(int(sys.argv[1])))
print(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])
