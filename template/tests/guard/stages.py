"""Runs the gates of make's targets side by side, and shows what a person needs of what they say.

    python -m tests.guard.stages check format-check=isort,black lint=ruff test=pytest

Each gate is a target of make, such as `gate-ruff`. Stages after the word `then` begin when those before
it have ended. All that a gate prints is kept in `.logs` until the next run. What an advisory stage finds
is counted and fails nothing, until it is run alone.
"""

import os
import re
import shutil
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen
from time import monotonic, sleep

from .findings import annotation, block, has_colour
from .tools import COLOUR, read

LOGS = Path(".logs")

# Seconds between two looks at what runs.
TICK = 0.02

# Seconds that a gate has to stop by itself once it is interrupted.
GRACE = 0.5

# Findings of one gate that are shown, and lines of one that says something else.
FINDINGS = 10
LINES = 40

# What make adds to the words of a gate that failed; the reason, if the gate did not end by itself.
OF_MAKE = re.compile(
    r"(?m)^make\S*: \*\*\* (?:\[.*\] (?:Error (?P<code>\d+)|(?P<reason>.*))|(?P<said>.*))$"
)

OF_JOBS = re.compile(r"(?<!\S)(-j\d*|--jobserver-\S+)")

# Exit codes of a shell that could not run a command.
NOT_STARTED = {"126": "it cannot be run", "127": "it is not there"}

GREEN, RED, YELLOW = "\x1b[32m", "\x1b[31m", "\x1b[33m"
GREY, PLAIN = "\x1b[2m", "\x1b[0m"
COLOURS = {"passed": GREEN, "advisory": YELLOW, "FAILED": RED}
ERASE = "\r\x1b[K"


@dataclass(eq=False)
class Gate:
    """A gate under way, or at its end: a process in a group of its own."""

    name: str
    process: Popen[bytes]

    @property
    def log(self) -> Path:
        """The file that has all that it prints."""
        return LOGS / f"{self.name}.log"

    @property
    def has_ended(self) -> bool:
        """Whether it has."""
        return self.process.poll() is not None


@dataclass(eq=False)
class Stage:
    """Gates that are shown as one. Times are seconds on the monotonic clock."""

    name: str
    names: list[str]
    is_advisory: bool = False
    gates: list[Gate] = field(default_factory=list)
    start: float = 0.0
    end: float = 0.0

    @property
    def failed(self) -> list[Gate]:
        """Those of its gates that have ended badly."""
        return [gate for gate in self.gates if gate.process.poll()]

    @property
    def verdict(self) -> str:
        """How it has ended, in a word."""
        if not self.failed:
            return "passed"
        return "advisory" if self.is_advisory else "FAILED"


class Screen:
    """What a person sees: on a terminal with colour, and a line of what runs and for how long."""

    def __init__(self) -> None:
        self._is_live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.has_colour = has_colour(sys.stdout)

    def line(self, text: str = "", colour: str = "") -> None:
        """Print a line in the place of what runs."""
        if colour and self.has_colour:
            text = f"{colour}{text}{PLAIN}"
        print(f"{ERASE if self._is_live else ''}{text}", flush=True)

    def running(self, stages: Sequence[Stage]) -> None:
        """Say what runs, on a terminal."""
        if self._is_live:
            now = monotonic()
            text = "  ".join(f"{stage.name} {now - stage.start:.0f} s" for stage in stages)
            width = shutil.get_terminal_size().columns - 1
            print(f"{ERASE}{text[:width]}", end="", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages and return the exit code: 0, 1 if one failed, 130 if they were interrupted."""
    parser = ArgumentParser(prog="stages", description=__doc__)
    parser.add_argument("--verbose", action="store_true", help="show all that the gates print")
    parser.add_argument("--advisory", default="", help="stages that fail nothing")
    parser.add_argument("target", help="what they are run for")
    parser.add_argument("stages", nargs="+", help="stage=gate,gate, or `then`")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    LOGS.mkdir(exist_ok=True)
    (LOGS / ".gitignore").write_text("*\n", encoding="utf-8")
    # It is for finding this module alone.
    os.environ["PYTHONPATH"] = os.environ.get("PYTHONPATH", "").partition(os.pathsep)[2]
    # Jobs of the make that started this are none of those that it starts.
    os.environ["MAKEFLAGS"] = OF_JOBS.sub("", os.environ.get("MAKEFLAGS", ""))

    screen = Screen()
    if screen.has_colour:
        os.environ["PY_COLORS"] = "1"
    start = monotonic()
    ran: list[Stage] = []
    try:
        for stages in phases(asked.stages):
            for stage in stages:
                stage.is_advisory = (
                    stage.name in asked.advisory.split() and stage.name != asked.target
                )
            ran += stages
            run(stages, screen)
    except KeyboardInterrupt:
        # Another one would leave what this one is about to stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stop([gate for stage in ran for gate in stage.gates])
        screen.line(f"{asked.target} was interrupted; nothing of it runs any more.", RED)
        return 130
    return tell(asked.target, ran, monotonic() - start, screen, verbose=asked.verbose)


def phases(words: Sequence[str]) -> Iterator[list[Stage]]:
    """Yield the stages that run side by side, one phase after the other."""
    stages: list[Stage] = []
    for word in words:
        if word == "then":
            yield stages
            stages = []
        else:
            name, _, gates = word.partition("=")
            stages.append(Stage(name, gates.split(",")))
    yield stages


def run(stages: Sequence[Stage], screen: Screen) -> None:
    """Run stages until each has ended, and say so of each."""
    # What takes longest begins first.
    for stage in reversed(stages):
        stage.start = monotonic()
        for name in stage.names:
            stage.gates.append(start_gate(name))
    left = list(stages)
    while left:
        for stage in [stage for stage in left if all(gate.has_ended for gate in stage.gates)]:
            stage.end = monotonic()
            left.remove(stage)
            screen.line(result(stage), COLOURS[stage.verdict])
        screen.running(left)
        sleep(TICK)


def start_gate(name: str) -> Gate:
    """Start a gate and return it."""
    command = [os.environ.get("MAKE_COMMAND", "make"), "--no-print-directory", f"gate-{name}"]
    with (LOGS / f"{name}.log").open("wb") as log:
        process = Popen(  # noqa: S603 - a target of the project's own Makefile
            command, stdin=DEVNULL, stdout=log, stderr=STDOUT, process_group=0
        )
    return Gate(name, process)


def stop(gates: Sequence[Gate]) -> None:
    """End gates with all that they have started: politely first."""
    for signum in [signal.SIGINT, signal.SIGKILL]:
        for gate in gates:
            try:
                os.killpg(gate.process.pid, signum)
            except ProcessLookupError:
                continue
        end = monotonic() + GRACE
        while monotonic() < end and any(is_running(gate) for gate in gates):
            sleep(TICK)


def is_running(gate: Gate) -> bool:
    """Return whether a gate, or anything that it has started, has not ended."""
    gate.process.poll()
    try:
        os.killpg(gate.process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def result(stage: Stage) -> str:
    """Return the line of a stage at its end: its name, its time, what its tests say, what is advised."""
    said = [summary(gate) for gate in stage.gates if gate.name == "pytest"]
    if stage.verdict == "advisory":
        said = [(gate.name == "pytest" and summary(gate)) or count(gate) for gate in stage.failed]
    took = f"{stage.end - stage.start:5.1f} s"
    return f"{stage.name:13} {stage.verdict} {took}  {', '.join(said)}".rstrip()


def count(gate: Gate) -> str:
    """Return how many findings a gate has, or that it failed, where it does not say one by one."""
    text = gate.log.read_text(encoding="utf-8", errors="replace")
    findings, lines = read(gate.name, text)
    found = len(findings)
    if gate.name == "file-checks":
        # Each hook has a form of its own for what stands behind the line.
        found = sum(re.match(r"[^:]+:\d+:", line) is not None for line in lines)
    return f"{gate.name} {found or 'failed'}"


def summary(gate: Gate) -> str:
    """Return how many tests passed, and how much of the code they covered, as pytest says it."""
    text = COLOUR.sub("", gate.log.read_text(encoding="utf-8", errors="replace"))
    ran = r"((?:\d+ [a-z]+,? ?)+|no tests ran)"
    counts = re.findall(rf"(?m)^(?:=+ )?{ran} in [\d.:s() ]+(?: =+)?$", text)
    covered = re.findall(r"Total coverage: ([\d.]+%)", text)
    return ", ".join([*counts[-1:], *(f"coverage {share}" for share in covered[-1:])])


def tell(
    target: str, stages: Sequence[Stage], seconds: float, screen: Screen, *, verbose: bool
) -> int:
    """Show what failed, shortest first, then the result in one line; return the exit code."""
    shown = {
        stage.name: list(lines_of(stage, screen, verbose=verbose))
        for stage in stages
        if stage.verdict == "FAILED" or verbose
    }
    shortest_first = sorted(shown, key=lambda name: "\n".join(shown[name]).count("\n"))
    for name in shown if verbose else shortest_first:
        screen.line(f"\n== {name}")
        for line in shown[name]:
            screen.line(line)
    advisory = [stage for stage in stages if stage.verdict == "advisory"]
    if advisory:
        names = " ".join(stage.name for stage in advisory)
        screen.line(
            f"Advisory, so that it fails nothing: {names}. 'make {advisory[0].name}' shows it."
        )
    failed = [stage for stage in stages if stage.verdict == "FAILED"]
    if not failed:
        screen.line(f"{target} passed in {seconds:.1f} s", GREEN)
        return 0
    logs = " ".join(str(gate.log) for stage in failed for gate in stage.failed)
    screen.line(f"\nAll of it, until the next run: {logs}", GREY)
    screen.line(f"{target} FAILED in: {' '.join(stage.name for stage in failed)}", RED)
    return 1


def lines_of(stage: Stage, screen: Screen, *, verbose: bool) -> Iterator[str]:
    """Yield what a person needs of what a stage's gates say, or all of it."""
    for gate in stage.gates if verbose else stage.failed:
        text = gate.log.read_text(encoding="utf-8", errors="replace")
        if verbose:
            yield text
        else:
            yield from lines_of_gate(gate, text, screen)


def lines_of_gate(gate: Gate, text: str, screen: Screen) -> Iterator[str]:
    reasons = [why_it_ended(found) for found in OF_MAKE.finditer(text)]
    findings, lines = read(gate.name, OF_MAKE.sub("", text))
    for finding in findings[:FINDINGS]:
        yield block(finding, colour=screen.has_colour)
        if "GITHUB_ACTIONS" in os.environ:
            yield annotation(finding)
    if len(findings) > FINDINGS:
        yield f"... and {len(findings) - FINDINGS} findings more: {gate.log}"
    if len(lines) > LINES and gate.name != "pytest":
        yield f"... {len(lines) - LINES} lines before: {gate.log}"
        lines = lines[-LINES:]
    yield from lines
    yield from [f"{gate.name}: {reason}" for reason in reasons if reason]
    if not findings and not lines and not any(reasons):
        yield f"{gate.name} failed and says nothing."


def why_it_ended(found: re.Match[str]) -> str:
    """Return why a gate ended, if not by itself."""
    if found["code"]:
        return NOT_STARTED.get(found["code"], "")
    return found["reason"] or found["said"] or ""


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        # Whoever reads has enough, as `head` has. Python would complain as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
