"""Collects what the guard finds, for the test that it belongs to."""

import traceback
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Check:
    """What a check says beside what it found: what happens where nobody acts, and what to do."""

    why: str
    remedy: str


# Every check: the one place for its name. pytest.ini lists those that are on.
CHECKS = {
    "leaked-task": Check(
        why="It is cut off wherever it is when its loop ends, and nobody sees its error.",
        remedy="Await it, start it in a TaskGroup, or cancel and await it.",
    ),
    "leaked-generator": Check(
        why="What it opened stays open until the garbage collector finds it.",
        remedy="Close it: async with contextlib.aclosing(...) as items.",
    ),
    "leaked-client": Check(
        why="Its connections stay open, and the server runs out of them.",
        remedy="Close it: use it by `with` or `async with`, or call its close.",
    ),
    "leaked-server": Check(
        why="Its port stays taken, and it goes on to answer.",
        remedy="Close it: async with the server, or close().",
    ),
    "leaked-transport": Check(
        why="The connection stays open until the garbage collector finds it.",
        remedy="Close what was opened, in a finally at least.",
    ),
    "leaked-thread": Check(
        why="It goes on beside the next tests, and may keep the program from ending.",
        remedy="Join it, or shut its executor down.",
    ),
    "leaked-process": Check(
        why="It goes on beside the next tests, and may outlive the program.",
        remedy="Wait for its end, or end it and then wait.",
    ),
    "leaked-timer": Check(
        why="It calls back when what it needs is gone.",
        remedy="Keep what call_later returns, and cancel it at the end.",
    ),
    "lost-error": Check(
        why="The work has failed, and the program goes on as if it had not.",
        remedy="Await the task, or handle the error where it is.",
    ),
    "blocking-call": Check(
        why="No other task of the loop runs meanwhile.",
        remedy="Use its async form, or await asyncio.to_thread(...).",
    ),
    "slow-step": Check(
        why="No other task of the loop runs meanwhile.",
        remedy="Move the work into a thread or process, or await in between.",
    ),
    "wrong-thread": Check(
        why="asyncio's objects are not for other threads: the loop may miss it, or break.",
        remedy="Go through loop.call_soon_threadsafe(...).",
    ),
    "uncollected-test": Check(
        why="It passes for ever, whatever the code does.",
        remedy="Give it a name and a place where pytest collects it, or remove it.",
    ),
    "environment": Check(
        why="The next tests run in another environment, so that their order matters.",
        remedy="Use monkeypatch, which undoes it.",
    ),
    "not-safe-to-cancel": Check(
        why="A timeout, or a client that hangs up, leaves it so for everybody else.",
        remedy="Give back in a finally what was taken (async with, try/finally, AsyncExitStack), "
        "and shield what must not stop half-way.",
    ),
    "loop-state": Check(
        why="In the next loop it fails or waits for ever, as it is bound to the one before.",
        remedy="Make it where its loop runs, as in a fixture.",
    ),
}


@dataclass
class Watch:
    """What was found since the last look.

    Attributes:
        checks: The names of the checks that are on.
        findings: The check and what is wrong, each once.
    """

    checks: frozenset[str] = frozenset()
    findings: list[tuple[str, str]] = field(default_factory=list)

    def found(self, check: str, what: str) -> None:
        """Keep a finding, if its check is on."""
        finding = (check, what)
        if check in self.checks and finding not in self.findings:
            self.findings.append(finding)

    def failed(self) -> None:
        """Keep that the guard itself failed; that never hides what a test says."""
        self.findings.append(("guard", f"The guard failed: {traceback.format_exc()}"))

    def take(self) -> list[tuple[str, str]]:
        """Return the findings, and forget them."""
        findings, self.findings = self.findings, []
        return findings


def sentence(check: str, what: str) -> str:
    """Return a finding with what to do, as it is where nothing else is said."""
    return f"{check}: {what}. {CHECKS[check].remedy}" if check in CHECKS else what
