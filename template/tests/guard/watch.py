"""Collects what the guard finds, for the test that it belongs to."""

import traceback
from dataclasses import dataclass, field

# Every check, with the sentence that says what to do.
REMEDIES = {
    "leaked-task": ("Await it, start it in a TaskGroup, or cancel and await it."),
    "leaked-generator": ("Close it: async with contextlib.aclosing(...) as items."),
    "leaked-client": "Close it: use it by `with` or `async with`, or call its close.",
    "leaked-server": "Close it: async with the server, or close().",
    "leaked-transport": "Close what was opened, in a finally at least.",
    "leaked-thread": "Join it, or shut its executor down.",
    "leaked-process": "Wait for its end, or end it and then wait.",
    "leaked-timer": "Keep what call_later returns, and cancel it at the end.",
    "lost-error": "Await the task, or handle the error where it is.",
    "blocking-call": ("Use its async form, or await asyncio.to_thread(...)."),
    "slow-step": ("Move the work into a thread or process, or await in between."),
    "wrong-thread": "Go through loop.call_soon_threadsafe(...).",
    "uncollected-test": "Give it a name and a place where pytest collects it, or remove it.",
    "environment": "Use monkeypatch, which undoes it.",
    "not-safe-to-cancel": (
        "Give back in a finally what was taken (async with, try/finally, AsyncExitStack), "
        "and shield what must not stop half-way."
    ),
    "loop-state": "Make it where its loop runs, as in a fixture.",
}

# And what happens where nobody does.
REASONS = {
    "leaked-task": "It is cut off wherever it is when its loop ends, and nobody sees its error.",
    "leaked-generator": "What it opened stays open until the garbage collector finds it.",
    "leaked-client": "Its connections stay open, and the server runs out of them.",
    "leaked-server": "Its port stays taken, and it goes on to answer.",
    "leaked-transport": "The connection stays open until the garbage collector finds it.",
    "leaked-thread": "It goes on beside the next tests, and may keep the program from ending.",
    "leaked-process": "It goes on beside the next tests, and may outlive the program.",
    "leaked-timer": "It calls back when what it needs is gone.",
    "lost-error": "The work has failed, and the program goes on as if it had not.",
    "blocking-call": "No other task of the loop runs meanwhile.",
    "slow-step": "No other task of the loop runs meanwhile.",
    "wrong-thread": "asyncio's objects are not for other threads: the loop may miss it, or break.",
    "uncollected-test": "It passes for ever, whatever the code does.",
    "environment": "The next tests run in another environment, so that their order matters.",
    "not-safe-to-cancel": "A timeout, or a client that hangs up, leaves it so for everybody else.",
    "loop-state": "In the next loop it fails or waits for ever, as it is bound to the one before.",
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
    return f"{check}: {what}. {REMEDIES[check]}" if check in REMEDIES else what
