"""Spares looptime a search that it makes anew as each fixture is set up: through all names of pytest-asyncio.

That is one part in thirty of the time of a run, and what it finds depends on the fixture alone.
"""

import sys
from typing import Any

import pytest


def spare_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let looptime ask once for each fixture whether it may make a loop; all is as ever where it asks elsewise."""
    module = sys.modules.get("looptime._internal.plugin")
    ask: Any = getattr(module, "_should_patch", None)
    if ask is None:
        return
    known: dict[tuple[str, str], bool] = {}

    def ask_once(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> bool:
        fixture = (fixturedef.func.__module__, fixturedef.argname)
        if fixture not in known:
            known[fixture] = ask(fixturedef, request)
        return known[fixture]

    monkeypatch.setattr(module, "_should_patch", ask_once)
