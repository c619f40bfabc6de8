"""Tells whether the project makes a call, or a tool inside its frame.

Coverage, debuggers and the test runner do their work in the middle of
a project's function, and so do parts of the standard library that look
up what helps them to report. Nobody can await that.
"""

import inspect
import sys
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from itertools import chain
from types import FrameType

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .places import PROJECT, frames, path_in_project

ASYNC_CODE = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

# What of the standard library reads, writes and waits for its caller, by the
# chapters of its reference. All else of it does so for itself: it looks up
# lines of code, names of file types, translations, versions.
FOR_ITS_CALLER = [
    # Files and folders, and what is kept in them.
    ["codecs", "filecmp", "fileinput", "genericpath", "glob", "io", "ntpath", "os"],
    ["pathlib", "posixpath", "shutil", "tempfile"],
    ["configparser", "dbm", "mailbox", "netrc", "shelve", "sqlite3", "wave", "xml"],
    ["bz2", "compression", "gzip", "lzma", "tarfile", "zipfile"],
    # Threads, processes, terminals.
    ["getpass", "queue", "sched", "subprocess", "threading"],
    # The network.
    ["select", "selectors", "socket", "socketserver", "ssl"],
    ["ftplib", "http", "imaplib", "nntplib", "poplib", "smtplib", "telnetlib"],
    ["urllib", "wsgiref", "xmlrpc"],
    # These only pass on what they are given.
    ["contextlib", "copy", "functools", "unittest"],
    # Not what it does with each record.
    ["logging"],
]
CARRIERS = frozenset(chain.from_iterable(FOR_ITS_CALLER))

# What of these works for itself all the same: a thread that starts tells so at once, and handlers
# write what may be needed later.
FOR_ITSELF = frozenset([("logging", "_log"), ("logging", "handle"), ("threading", "start")])

# What a pool itself waits for is its own affair, as at its end, but not these.
POOLS = frozenset(["concurrent", "multiprocessing"])
WAITS = frozenset(
    ["_result_or_cancel", "as_completed", "exception", "result", "result_iterator", "wait"]
)

# Packages that are no dependencies of the project.
OF_PYTHON_AND_GUARD = sys.stdlib_module_names | {__name__.partition(".")[0]}

# The test runner, for which no metadata has to be read, and what reads it.
RUNNER = frozenset(["_pytest", "coverage", "packaging", "pluggy", "pytest"])


def calling_line(frame: FrameType | None, *, through_packages: bool = True) -> str:
    """Return the line of the project that makes a call, "" if none does.

    None does where an async function of a library is on the way, too:
    what libraries do is not for the project to mend.

    Args:
        frame: What made the call in the end.
        through_packages: Whether what the project depends on may be on the way.
    """
    for each in frames(frame):
        # Who calls is found out by reading files, once.
        if each.f_globals is globals():
            return ""
        path = path_in_project(each.f_code.co_filename)
        if path:
            return f"{path}:{each.f_lineno}"
        if each.f_code.co_flags & ASYNC_CODE or not _passes_on(each):
            return ""
        if not through_packages and _package(each) not in OF_PYTHON_AND_GUARD:
            return ""
    return ""


def is_tool_at_work(frame: FrameType | None) -> bool:
    """Return whether a tool works inside the project's innermost frame.

    This guard is one.
    """
    between: set[str] = set()
    for each in frames(frame):
        if each.f_globals is globals():
            return True
        if path_in_project(each.f_code.co_filename):
            return any(map(_is_tool, between - sys.stdlib_module_names))
        between.add(_package(each))
    return False


def _passes_on(frame: FrameType) -> bool:
    """Return whether what it does is done for who called it."""
    package, function = _package(frame), frame.f_code.co_name
    if function == "__del__":  # Python calls it, wherever it happens to be
        return False
    if package in POOLS:
        return function in WAITS
    if package in sys.stdlib_module_names:
        return package in CARRIERS and (package, function) not in FOR_ITSELF
    return not _is_tool(package)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_tool(package: str) -> bool:
    """Return whether it is there for development alone.

    That is all that the project does not depend on. This guard is no
    tool: it wraps what others call. Nor is code of no known module.
    """
    if package in {"", __name__.partition(".")[0]}:
        return False
    return package in RUNNER or package.startswith("pytest_") or package not in dependencies()


@cache
def dependencies() -> frozenset[str]:
    """Return the packages that the project depends on, by import name.

    They are read once, before the tests: these may replace what reads.

    As `pyproject.toml` and the metadata of what is installed have it,
    PEP 621 and PEP 508, the extras of the project included.
    """
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))
    project = settings.get("project", {})
    extras = project.get("optional-dependencies", {}).values()
    lines = [*project.get("dependencies", []), *(line for extra in extras for line in extra)]
    waiting = [Requirement(line) for line in lines]
    seen: set[tuple[str, frozenset[str]]] = set()
    packages: set[str] = set()
    while waiting:
        needed = waiting.pop()
        key = (canonicalize_name(needed.name), frozenset(needed.extras))
        if key in seen:
            continue
        seen.add(key)
        # Of what is installed as a link, the files do not tell.
        packages.add(key[0].replace("-", "_"))
        try:
            found = distribution(needed.name)
        except PackageNotFoundError:
            continue
        packages |= {file.parts[0].removesuffix(".py") for file in found.files or []}
        waiting += [
            each
            for each in map(Requirement, found.requires or [])
            if each.marker is None
            or any(each.marker.evaluate({"extra": extra}) for extra in ["", *needed.extras])
        ]
    return frozenset(packages)
