"""Finds the parts of the demo and runs them in turn."""

import argparse
import asyncio
import importlib
import logging
import pkgutil
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path

from .profile import profiled

FOLDER = Path(__file__).parent

Part = Callable[[], Coroutine[None, None, None]]


def find_parts() -> dict[str, Part]:
    """Return the demo's parts: the `show` of each module here."""
    parts: dict[str, Part] = {}
    for module in pkgutil.iter_modules([str(FOLDER)]):
        if module.name == "__main__":
            continue
        imported = importlib.import_module(
            f".{module.name}",
            __package__,
        )
        show = getattr(imported, "show", None)
        if show is not None:
            parts[module.name] = show
    return parts


async def run(parts: dict[str, Part]) -> list[str]:
    """Run all parts and return the names of those that failed."""
    failed = []
    for name, show in parts.items():
        print(f"== {name}")
        try:
            await show()
        except Exception:  # noqa: BLE001 - the rest shall run
            traceback.print_exc()
            failed.append(name)
        print()
    return failed


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and return its exit code: 0 if every part worked."""
    parser = argparse.ArgumentParser(prog="demo")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="say where the time goes",
    )
    options = parser.parse_args(arguments)
    # Parts fail on purpose, and print it: the log would repeat it.
    logging.basicConfig(level=logging.CRITICAL)
    start = profiled if options.profile else asyncio.run
    try:
        parts = find_parts()
        failed = start(run(parts))
    except KeyboardInterrupt:
        print("stopped")
        return 130
    if failed:
        print(f"FAILED: {', '.join(failed)}")
        return 1
    print(f"all worked: {', '.join(parts)}")
    return 0
