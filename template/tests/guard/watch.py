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


@dataclass
class Watch:
    """What was found since the last look.

    Attributes:
        checks: The names of the checks that are on.
        findings: The check and a sentence, each once.
    """

    checks: frozenset[str] = frozenset()
    findings: list[tuple[str, str]] = field(default_factory=list)

    def found(self, check: str, what: str) -> None:
        """Keep a finding, if its check is on."""
        finding = (check, f"{check}: {what}. {REMEDIES[check]}")
        if check in self.checks and finding not in self.findings:
            self.findings.append(finding)

    def failed(self) -> None:
        """Keep that the guard itself failed; that never hides what a test says."""
        self.findings.append(("guard", f"The guard failed: {traceback.format_exc()}"))

    def take(self) -> list[tuple[str, str]]:
        """Return the findings, and forget them."""
        findings, self.findings = self.findings, []
        return findings
