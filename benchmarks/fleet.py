"""Updates many projects of different answers and edits, side by side: seconds of each, and whether anything is lost.

The projects are of the last release, and the update brings them to what is committed here.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import copier

from benchmarks.daily import ROOT, sh
from tests.helpers import EXAMPLES, commit_all

SIZES = [1, 10, 50]

# What somebody has added to each, in a file of the template's, of both and of their own.
EDITS = {
    "pytest.ini": "    mine: a marker\n",
    "Makefile": "\nmine:\n\t@echo mine\n",
    "README.md": "mine\n",
}


def main() -> int:
    """Print the figures; return 1 if an update failed or lost an edit, else 0."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        template = folder / "template"
        sh(f"git clone --quiet {ROOT} {template}", folder)
        sh("git tag now", template)
        release = subprocess.run(
            # From a commit that is a release there is nothing to update to.
            ["git", "log", "-1", "--format=%H", "-S\n## ", "HEAD~1", "--", "CHANGELOG.md"],
            cwd=template,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for size in SIZES:
            projects = [make(template, release, folder / f"{size}-{n}", n) for n in range(size)]
            start = time.perf_counter()
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                codes = list(pool.map(update, projects))
            seconds = time.perf_counter() - start
            lost = sum(
                text not in (project / file).read_text("utf-8")
                for project in projects
                for file, text in EDITS.items()
            )
            failed = sum(code != 0 for code in codes)
            print(
                f"{size:3} projects: {seconds / size:.2f} s each, {failed} failed, {lost} edits lost"
            )
            if failed or lost:
                return 1
    return 0


def make(template: Path, release: str, folder: Path, number: int) -> Path:
    """Make a project with its own answers and edits."""
    answers = {
        "project_name": f"Project {number}",
        "examples": EXAMPLES[: number % (len(EXAMPLES) + 1)],
        "line_length": str(80 + number % 5 * 10),
    }
    copier.run_copy(str(template), folder, answers, vcs_ref=release, defaults=True, quiet=True)
    for file, text in EDITS.items():
        path = folder / file
        path.write_text(path.read_text("utf-8") + text, "utf-8")
    commit_all(folder)
    return folder


def update(project: Path) -> int:
    """Update a project and return the exit code."""
    command = [sys.executable, "-B", "-m", "tooling.update", "--defaults", "--vcs-ref", "now"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "template")}
    return subprocess.run(
        command,
        cwd=project,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
