"""What pytest prints of a failed run: each finding once, without code that nobody here can mend."""

import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from io import StringIO
from shlex import quote
from typing import Any

import pytest

from .causes import PAGE, Waits, finding_of, findings_in
from .findings import Finding, annotation, block
from .places import line_that_raised, path_in_project

# The name of the schedule that asyncio has: first in, first out.
PLAIN = "fifo"

RAN_BEFORE = (
    "It passed in another schedule before. So it depends on the order of tasks, of which asyncio\n"
    "promises none, or on what that run has left, such as the calls that a mock of its module counted."
)

# Tests that are named with a finding, and files of a report of coverage.
TESTS = 4
FILES = 8

# The attributes of a report that have what it tells of, and where its error was raised.
FINDINGS = "guard_findings"
RAISED_AT = "guard_raised_at"

# The name by which a process of xdist is told to be short.
SHORT = "guard_is_short"

SCHEDULE = re.compile(rf"\b(?:{PLAIN}|seed\d+)\b")
NUMBER = re.compile(r"\d+")
ROW = re.compile(r"\S.*? +\d+ +(\d+) .*%.*")


def without_schedule(nodeid: str) -> str:
    """Return the id of a test, the same for each of its schedules."""
    name = SCHEDULE.sub("", nodeid)
    return name.replace("[]", "").replace("[-", "[").replace("-]", "]").replace("--", "-")


def attach(report: pytest.TestReport, item: pytest.Item, found: Iterable[tuple[str, str]]) -> None:
    """Let a report tell of what the guard has found."""
    _attach(report, [finding_of(*each, _place(item)) for each in found])


@dataclass
class Told:
    """What is printed once, for all that fail by it.

    Attributes:
        report: The first that tells of it.
        finding: What is told; None for a failure that is no finding.
        tests: What fails by it, each with the schedules in which it does.
    """

    report: Any
    finding: Finding | None
    tests: dict[str, list[str]] = field(default_factory=dict)


class Report:
    """Makes failures short, where pytest was not asked for more.

    Args:
        replay: Returns the command that gives the same schedules again.
        monkeypatch: What leaves everything as it was.

    Attributes:
        is_short: Whether it does.
    """

    _config: pytest.Config
    is_short = False

    def __init__(self, replay: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._replay = replay
        self._monkeypatch = monkeypatch
        self._waits = Waits()

    def pytest_configure(self, config: pytest.Config) -> None:
        """Choose what pytest prints of itself."""
        self._config = config
        option = config.option
        of_xdist = getattr(config, "workerinput", {})
        self.is_short = of_xdist.get(SHORT, _is_short(config))
        if self.is_short:
            option.tbstyle = "short"
            option.no_header = True
            self._waits.start(self._monkeypatch)
            self._take_over_coverage()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:  # noqa: ANN401 - of xdist
        """Let the processes of xdist do as this one does."""
        node.workerinput[SHORT] = self.is_short

    # One test.

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Tell of findings as such, and of other failures by the lines of the project."""
        if not call.excinfo or not self.is_short:
            return (yield)
        error = call.excinfo.value
        item._traceback_filter = _filter(item, error)  # type: ignore[assignment,method-assign]
        try:
            report = yield
        finally:
            del item._traceback_filter
        if report.failed:
            setattr(report, RAISED_AT, line_that_raised(error.__traceback__) or _place(item))
            _attach(report, list(findings_in(error, _place(item), self._waits.take())))
        return report

    # The whole run.

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> Generator[None, object, object]:
        """Print what failed, once, and of coverage what is too little; then the rest as usual."""
        if not self.is_short:
            return (yield)
        reports = [*terminalreporter.getreports("error"), *terminalreporter.getreports("failed")]
        all_told = list(_told(reports))
        ran = _schedules(terminalreporter)
        passed = {without_schedule(each.nodeid) for each in terminalreporter.getreports("passed")}
        for told in sorted(all_told, key=lambda told: told.finding is not None):
            self._print(terminalreporter, told, ran, passed)
        self._shorten_coverage(is_red=bool(all_told))
        option = self._config.option
        style, option.tbstyle = option.tbstyle, "no"
        if option.reportchars == "fE":  # as it is where nobody asked for a summary
            # Warnings are told by a letter that pytest adds.
            terminalreporter.reportchars = "w"
        try:
            return (yield)
        finally:
            option.tbstyle = style
            if all_told and self._config.pluginmanager.hasplugin("randomly"):
                terminalreporter.write_line(f"In the same order of tests: {self._replay()}")

    def _print(
        self,
        reporter: Any,  # noqa: ANN401 - the TerminalReporter, with what is private of it
        told: Told,
        ran: dict[str, list[str]],
        passed: set[str],
    ) -> None:
        report = told.report
        test, schedules = next(iter(told.tests.items()))
        is_only_shuffled = bool(schedules) and PLAIN not in schedules
        again = self._again(report.nodeid, is_shuffled=is_only_shuffled)
        tests = [f"{each}{_when(told.tests[each], ran.get(each, []))}" for each in told.tests]
        more = [f"and {len(tests) - TESTS} more"][: len(tests) > TESTS]
        failing = "\n".join([*tests[:TESTS], *more])
        if told.finding:
            finding = replace(told.finding, test=failing, again=again)
            reporter.write_line(block(finding, colour=reporter.hasmarkup))
        else:
            during = "" if report.when == "call" else f" during {report.when}"
            reporter.write_line(f"FAILED{during}: {tests[0]}", red=True, bold=True)
            self._print_failure(reporter, report)
            finding = Finding("", test=failing if tests[1:] else "", again=again)
            if is_only_shuffled:
                # What a fixture of a wider scope does, it does in whichever test is the last.
                is_told = report.when == "call" and test in passed
                finding = replace(finding, page=PAGE, why=RAN_BEFORE if is_told else "")
            reporter.write_line(block(finding, colour=reporter.hasmarkup))
            finding = replace(
                finding, what=_message(report), where=_raised_at(report), test=failing
            )
        if "GITHUB_ACTIONS" in os.environ:
            reporter.write_line(annotation(finding))
        reporter.write_line("")

    def _print_failure(self, reporter: Any, report: Any) -> None:  # noqa: ANN401
        if hasattr(report.longrepr, "toterminal"):
            report.longrepr.toterminal(reporter._tw)
        else:
            reporter.write_line(str(report.longrepr))
        shown = self._config.option.showcapture
        for name, text in report.sections:
            if shown == "all" or shown in name:
                reporter.write_sep("-", name)
                reporter.write_line(text.rstrip("\n"))
        if report.when == "call":
            reporter._handle_teardown_sections(report.id)

    def _again(self, nodeid: str, *, is_shuffled: bool) -> str:
        if is_shuffled:
            return f'{self._replay()} "{nodeid}"'
        test = without_schedule(nodeid)
        # A parameter is named together with its schedule.
        chosen = nodeid if "[" in test else test
        return f"make test T={quote(chosen).replace('$', '$$')}"

    def _take_over_coverage(self) -> None:
        """Have pytest-cov find the total alone: its table takes as long once more."""
        controller = self._coverage()
        if controller:
            controller.cov_report = {}

    def _shorten_coverage(self, *, is_red: bool) -> None:
        """Show what is not covered only where that alone fails the run."""
        controller = self._coverage()
        plugin: Any = self._config.pluginmanager.getplugin("_cov")
        if not controller or plugin.cov_total is None:
            return
        plugin.cov_report = StringIO()
        # Where no line ran at all, pytest-cov has said so.
        has_data = bool(controller.cov.get_data().measured_files())
        if has_data and plugin.cov_total < (plugin.options.cov_fail_under or 0) and not is_red:
            controller.cov.report(ignore_errors=True, file=plugin.cov_report)
            lines = plugin.cov_report.getvalue().splitlines()
            plugin.cov_report = StringIO(_shortened(lines))

    def _coverage(self) -> Any:  # noqa: ANN401 - of pytest-cov
        """Return what measures coverage, None if nothing does or another report is asked for."""
        plugin: Any = self._config.pluginmanager.getplugin("_cov")
        is_default = plugin and plugin.options.cov_report == ["term"]
        return plugin.cov_controller if is_default else None


def _is_short(config: pytest.Config) -> bool:
    option = config.option
    is_styled = option.tbstyle != "auto" or any(
        argument.startswith("--tb") for argument in config.invocation_params.args
    )
    return not (option.verbose > 0 or is_styled or option.fulltrace or option.showlocals)


def _filter(item: Any, main: BaseException) -> Callable[[Any], Any]:  # noqa: ANN401 - private
    """Return what gives the lines of the project of an error, or of one that led to it."""
    of_pytest = item._traceback_filter

    def own_lines(excinfo: pytest.ExceptionInfo[BaseException]) -> object:
        own = excinfo.traceback.filter(lambda entry: bool(path_in_project(str(entry.path))))
        # pytest knows what to leave out where none is the project's.
        return own if own or excinfo.value is not main else of_pytest(excinfo)

    return own_lines


def _place(item: pytest.Item) -> str:
    path, line, _ = item.location
    return f"{path_in_project(str(item.path)) or path}:{(line or 0) + 1}"


def _attach(report: Any, findings: list[Finding]) -> None:  # noqa: ANN401
    if findings:
        # Plain values, which reach the terminal from another process, too.
        setattr(report, FINDINGS, [asdict(finding) for finding in findings])
        report.longrepr = "\n".join(block(finding, colour=False) for finding in findings)


# What is printed once.


def _told(reports: Iterable[Any]) -> Iterator[Told]:
    """Yield what is to be told, in the order of its first report."""
    seen: dict[object, Told] = {}
    failures: dict[tuple[str, bool], list[Told]] = {}
    first: dict[tuple[str, bool], str] = {}
    # The plain schedule comes first, whichever process was faster.
    for report in sorted(reports, key=lambda report: _schedule(report.nodeid) not in {"", PLAIN}):
        findings = [Finding(**each) for each in getattr(report, FINDINGS, [])]
        for each in findings:
            finding = replace(each, also=tuple(each.also))
            key = (NUMBER.sub("", finding.what), finding.where, finding.also)
            _add(seen.setdefault(key, Told(report, finding)), report)
        if findings:
            continue
        # A fixture that fails is none of the test's failures.
        test = without_schedule(report.nodeid), report.when == "call"
        of_test = failures.setdefault(test, [])
        if first.setdefault(test, report.nodeid) == report.nodeid:
            text = (report.when == "call", str(report.longrepr))
            of_test.append(seen.setdefault(text, Told(report, None)))
        # Other schedules only say the same again.
        for told in of_test:
            _add(told, report)
    yield from _without_echoes(seen.values())


def _without_echoes(all_told: Iterable[Told]) -> Iterator[Told]:
    """Yield what is told but for Python's warnings of what the guard has found to be open."""
    leaks = {
        told.finding.where: told
        for told in all_told
        if told.finding and told.finding.what.startswith("leaked-")
    }
    for told in all_told:
        is_warning = told.finding and told.finding.what.startswith("ResourceWarning: unclosed")
        leak = leaks.get(told.finding.where) if told.finding and is_warning else None
        if leak:
            leak.tests |= {test: told.tests[test] for test in told.tests if test not in leak.tests}
        else:
            yield told


def _add(told: Told, report: Any) -> None:  # noqa: ANN401 - of any kind
    schedules = told.tests.setdefault(without_schedule(report.nodeid), [])
    schedule = _schedule(report.nodeid)
    if schedule and schedule not in schedules:
        schedules.append(schedule)


def _schedule(nodeid: str) -> str:
    found = SCHEDULE.search(nodeid.partition("[")[2])
    return found[0] if found else ""


def _schedules(reporter: pytest.TerminalReporter) -> dict[str, list[str]]:
    """Return the schedules that each test ran in."""
    ran: dict[str, list[str]] = {}
    for kind in ["passed", "failed", "error", "xfailed"]:
        for report in reporter.getreports(kind):
            ran.setdefault(without_schedule(report.nodeid), []).append(_schedule(report.nodeid))
    return ran


def _when(schedules: list[str], ran: list[str]) -> str:
    """Return in which schedules a test fails, "" if it has but one."""
    if len(set(ran)) < 2:
        return ""
    return (
        ", in every schedule" if set(ran) <= set(schedules) else f", only in {', '.join(schedules)}"
    )


def _message(report: Any) -> str:  # noqa: ANN401 - of any kind
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message if crash else str(report.longrepr)


def _raised_at(report: Any) -> str:  # noqa: ANN401 - of any kind
    """Return where a failure was raised, as far as that is known; the file for one of a file."""
    return getattr(report, RAISED_AT, "") or report.nodeid.partition("::")[0]


def _shortened(lines: list[str]) -> str:
    """Return of a table of coverage the heading and the files that miss most."""
    rows = sorted(
        ((int(found[1]), line) for line in lines if (found := ROW.fullmatch(line))), reverse=True
    )
    rows = [(missed, line) for missed, line in rows if not line.startswith("TOTAL ")]
    heading = [line for line in lines if line.startswith("Name ")]
    more = [f"... and {len(rows) - FILES} files more: make coverage"][: len(rows) > FILES]
    return "\n".join([*heading, *(line for _, line in rows[:FILES]), *more, ""])
