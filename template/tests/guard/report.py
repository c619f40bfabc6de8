"""What pytest prints of a failed run: each finding once, and no code that nobody here can mend."""

import os
import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict
from io import StringIO
from typing import Any

import pytest

from .findings import Finding, annotation, block
from .places import line_that_raised, path_in_project
from .watch import REMEDIES

# The name of the schedule that asyncio has: first in, first out.
PLAIN = "fifo"

# Files that are named where coverage is below the threshold.
FILES = 10

PAGE = "tests/guard/README.md"

LINE = re.compile(r"\b(?:src|tests)/[^\s:]+:\d+")
ORIGIN = re.compile(r'File "(.+)", line (\d+)')
SCHEDULE = re.compile(rf"[\[-](?:{PLAIN}|seed\d+)\b")

# What pytest wraps around an error that reached nobody.
WRAPPERS = (pytest.PytestUnraisableExceptionWarning, pytest.PytestUnhandledThreadExceptionWarning)


class Report:
    """Makes failures short, unless pytest is asked for more by -v, --tb or --full-trace."""

    _is_short = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Choose what pytest prints of itself."""
        option = config.option
        self._is_short = (
            option.verbose <= 0 and option.tbstyle in {"auto", "short"} and not option.fulltrace
        )
        if self._is_short:
            option.tbstyle = "short"
            # A list of what was said above; whoever wants it says so.
            option.reportchars = "" if option.reportchars == "fE" else option.reportchars

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self,
        item: pytest.Item,
        call: pytest.CallInfo[None],
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Tell of findings as such, and of other errors by the lines of the project."""
        if not call.excinfo or not self._is_short:
            return (yield)
        _cut(call.excinfo)
        report = yield
        if report.failed:
            path, line, _ = item.location
            _shorten(report, item, call.excinfo.value, f"{path}:{(line or 0) + 1}")
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(
        self,
        terminalreporter: pytest.TerminalReporter,
    ) -> Generator[None, object, object]:
        """Print each finding once, and of coverage what is too little."""
        if not self._is_short:
            return (yield)
        stats = terminalreporter.stats
        every = {kind: stats.get(kind, []) for kind in ["failed", "error"]}
        told = list(told_once([report for reports in every.values() for report in reports]))
        for kind, reports in every.items():
            stats[kind] = [report for report in reports if report in told]
        for report in told:
            findings = [Finding(**each) for each in getattr(report, "findings", [])]
            if findings:
                colour = terminalreporter.hasmarkup
                report.longrepr = "\n".join(block(each, colour=colour) for each in findings)
            if "GITHUB_ACTIONS" in os.environ:
                for each in findings or _crash(report):
                    terminalreporter.write_line(annotation(each))
        _shorten_coverage(terminalreporter, has_failures=bool(told))
        result = yield
        # The last line counts all of them.
        stats.update({kind: reports for kind, reports in every.items() if reports})
        return result


def told_once(reports: Iterable[Any]) -> Iterator[Any]:
    """Yield the reports of failures without those that say the same again.

    That is what other schedules say of a test that fails in an earlier
    one, and findings that another test has, too.
    """
    schedules: dict[tuple[str, str], str] = {}
    seen: set[str] = set()
    # The plain one comes first in the order of their names.
    for report in sorted(reports, key=_schedule):
        schedule = _schedule(report)
        test = without_schedule(report.nodeid)
        if schedules.setdefault((test, ""), schedule) != schedule:
            continue
        text = str(getattr(report, "findings", ""))
        if not text or text not in seen:
            seen.add(text)
            yield report


def without_schedule(nodeid: str) -> str:
    """Return the id of a test, which is the same in each of its schedules."""
    return SCHEDULE.sub("", nodeid)


def is_shuffled(item: pytest.Item) -> bool:
    """Return whether a test runs in another schedule than the plain one."""
    found = SCHEDULE.search(item.name)
    return found is not None and found[0][1:] != PLAIN


def _schedule(report: Any) -> str:  # noqa: ANN401 - of a test or of what was collected
    found = SCHEDULE.search(report.nodeid)
    return found[0][1:] if found else ""


def _cut(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Leave the frames of the project alone in a traceback, if there are any."""
    own = excinfo.traceback.filter(lambda entry: bool(path_in_project(str(entry.path))))
    excinfo.traceback = own or excinfo.traceback


def _shorten(
    report: Any,  # noqa: ANN401 - a report that is given more to carry
    item: pytest.Item,
    error: BaseException,
    place: str,
) -> None:
    findings = [
        found for note in getattr(error, "__notes__", []) if (found := _of_guard(note, place))
    ]
    others: list[BaseException] = []
    for each in _unwrapped(error):
        found_here = list(_findings_of(each, place))
        findings += found_here
        others += [] if found_here else [each]
    findings = list(dict.fromkeys(findings))
    text = "\n".join(block(each, colour=False) for each in findings)
    if findings and not others:
        # Plain values, which reach the terminal from other processes, too.
        report.findings = [asdict(each) for each in findings]
        report.longrepr = text
    elif others and isinstance(error, (*WRAPPERS, BaseExceptionGroup)) and others != [error]:
        excinfo = pytest.ExceptionInfo.from_exception(others[0])
        _cut(excinfo)
        report.longrepr = item.repr_failure(excinfo)
        report.sections.append(("guard", text or str(error).partition("\n")[0]))


def _unwrapped(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, or those that pytest tells of by it: what nobody saw, and what failed before."""
    if isinstance(error, BaseExceptionGroup) and all(
        isinstance(each, WRAPPERS) for each in error.exceptions
    ):
        for each in error.exceptions:
            yield from _unwrapped(each)
    elif isinstance(error, WRAPPERS) and error.__cause__:
        yield error.__cause__
    else:
        yield error
        return
    if error.__context__ and error.__context__ is not error.__cause__:
        yield from _unwrapped(error.__context__)


def _findings_of(error: BaseException, place: str) -> Iterator[Finding]:
    text = str(error)
    where = line_that_raised(error.__traceback__) or place
    if isinstance(error, RuntimeWarning) and "was never awaited" in text:
        origins = [f"{path_in_project(path)}:{line}" for path, line in ORIGIN.findall(text)]
        known = [origin for origin in origins if not origin.startswith(":")]
        yield Finding(
            text.partition("\n")[0],
            known[-1] if known else where,
            "What it was to do is not done.",
            "Await it, or start it in an asyncio.TaskGroup.",
        )
    elif isinstance(error, ResourceWarning):
        remedy = "Close it: use it by `with` or `async with`, or call its close."
        yield Finding(
            text.partition("\n")[0], where, "It stays open until it is collected.", remedy
        )
    elif isinstance(error, pytest.fail.Exception) and "from pytest-timeout" in text:
        yield Finding(
            text.partition("\n")[0],
            where,
            "It waits there, or works, for longer than pytest.ini allows.",
            "See what it waits for, and limit that: async with asyncio.timeout(seconds).",
        )
    elif isinstance(error, pytest.fail.Exception):
        found = [_of_guard(line, place) for line in text.splitlines()]
        if all(found):
            yield from filter(None, found)


def _of_guard(sentence: str, place: str) -> Finding | None:
    """Return what the guard says as a finding, if it is that."""
    check, _, what = sentence.partition(": ")
    if check not in REMEDIES:
        return None
    lines = LINE.findall(what)
    of_sources = [line for line in lines if line.startswith("src/")]
    return Finding(
        f"{check}: {what.removesuffix(REMEDIES[check]).rstrip('. ')}",
        (of_sources or lines or [place])[0],
        remedy=REMEDIES[check],
        page=PAGE,
    )


def _crash(report: Any) -> Iterator[Finding]:  # noqa: ANN401
    """Yield where and how a test failed by itself."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash:
        path = path_in_project(crash.path) or crash.path
        yield Finding(crash.message.partition("\n")[0], f"{path}:{crash.lineno}")


def _shorten_coverage(terminal: pytest.TerminalReporter, *, has_failures: bool) -> None:
    """Leave of the report that nobody asked for the files that miss most, if they matter."""
    plugin: Any = terminal.config.pluginmanager.get_plugin("_cov")
    if not plugin or plugin.options.cov_report != ["term"] or not plugin.cov_total:
        return
    text, plugin.cov_report = plugin.cov_report.getvalue(), StringIO()
    if plugin.cov_total >= (plugin.options.cov_fail_under or 0) or has_failures:
        return
    rows = [line.split(maxsplit=6) for line in text.splitlines()]
    files = [row for row in rows if row[2:3] and row[2].isdecimal() and row[0] != "TOTAL"]
    files.sort(key=lambda row: -int(row[2]))
    for name, *_, lines in files[:FILES]:
        plugin.cov_report.write(f"{name}: never run: {lines}\n")
    if len(files) > FILES:
        plugin.cov_report.write(f"... and {len(files) - FILES} files more: make coverage\n")
