"""Keeps what coverage finds in a file until the file changes: to parse all of them takes long.

What is kept is in the cache of pytest, and is what coverage itself has made of the same text.
"""

import pickle
import sys
from collections.abc import Generator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest


class ParsedOnce:
    """Has coverage parse those files alone that have changed since it last did."""

    def __init__(self) -> None:
        self._monkeypatch = pytest.MonkeyPatch()
        self._file: Path | None = None
        # What is known of each file, by what it depends on: of all runs before, and of this one.
        self._known: dict[str, dict[str, Any]] = {}
        self._used: dict[str, dict[str, Any]] = {}

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Begin when the tests have ended, and before pytest-cov reports."""
        result = yield
        cache: Any = getattr(session.config, "cache", None)
        module: Any = sys.modules.get("coverage.python")
        if cache and module:
            # Where nothing can be written, all are parsed, as ever.
            with suppress(OSError):
                folder = cache.mkdir("guard-parsed")
                self._begin(folder / f"{sys.implementation.cache_tag}.pickle", module.PythonParser)
        return result

    def pytest_unconfigure(self) -> None:
        """End, and keep what was used."""
        self._monkeypatch.undo()
        if self._file and self._used.keys() != self._known.keys():
            new = self._file.with_suffix(".new")
            with suppress(OSError):
                new.write_bytes(pickle.dumps((_versions(), self._used)))
                new.replace(self._file)

    def _begin(self, file: Path, parser: Any) -> None:  # noqa: ANN401 - of coverage
        self._file = file
        # Whatever else is there, such as half a file, is as good as nothing.
        with suppress(Exception):
            versions, known = pickle.loads(file.read_bytes())  # noqa: S301 - of a run before
            self._known = known if versions == _versions() else {}
        parse = parser.parse_source

        def parse_once(self_: Any) -> None:  # noqa: ANN401
            asked = f"{self_.filename}\0{self_.exclude}\0{self_.text}"
            key = sha256(asked.encode(errors="surrogatepass")).hexdigest()
            state = self._known.get(key)
            if state is None:
                parse(self_)
                # Now, as they need the tree, which is large, and goes with that.
                self_.arcs()
                state = {name: value for name, value in vars(self_).items() if name != "text"}
            self._used[key] = state
            vars(self_).update(state)

        self._monkeypatch.setattr(parser, "parse_source", parse_once)


def _versions() -> tuple[str, str]:
    return sys.modules["coverage"].__version__, sys.version
