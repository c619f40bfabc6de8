"""Shows the five classic pitfalls of async code, and what the gates say of each.

Run by `make pitfalls`. Each is data in `pitfalls.toml`: a defect, the gate
that stops it, and a remedy that passes.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

from .places import GUARD, PROJECT

GATES = {
    "mypy": ["mypy"],
    "pytest": ["pytest", "-q", "--no-header", "--no-cov"],
    "ruff": ["ruff", "check", "--output-format=concise"],
}


def main() -> int:
    """Print each pitfall; return 1 if its gate lets it pass or stops the remedy, else 0."""
    pitfalls: list[dict[str, str]] = tomllib.loads((GUARD / "pitfalls.toml").read_text("utf-8"))[
        "pitfall"
    ]
    with TemporaryDirectory() as folder:
        # They run at the same time, as each takes a while to start.
        running = {gate: start(gate, pitfalls, Path(folder, gate)) for gate in GATES}
        said = {gate: process.communicate()[0] for gate, process in running.items()}
    failed = [one["name"] for one in pitfalls if not show(one, said[one["gate"]])]
    print(f"Not stopped as they should be: {', '.join(failed)}" if failed else "All are stopped.")
    return int(bool(failed))


def start(gate: str, pitfalls: list[dict[str, str]], folder: Path) -> subprocess.Popen[str]:
    """Start a gate over its defects and their remedies, in a folder of their own."""
    folder.mkdir()
    for settings in ["pyproject.toml", "pytest.ini"]:
        shutil.copy(PROJECT / settings, folder)
    for one in pitfalls:
        if one["gate"] == gate:
            for kind in ["defect", "remedy"]:
                (folder / f"{file_of(one)}_{kind}.py").write_text(one[kind], encoding="utf-8")
    files = sorted(file.name for file in folder.glob("*.py"))
    return subprocess.Popen(  # noqa: S603 - the gates, on own files
        [sys.executable, "-m", *GATES[gate], *files],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def show(pitfall: dict[str, str], said: str) -> bool:
    """Print a pitfall, and return whether its gate stops it and passes the remedy."""
    name = file_of(pitfall)
    message = [line for line in said.splitlines() if pitfall["message"] in line]
    print(f"== {pitfall['name']}: stopped by {pitfall['gate']}\n{pitfall['defect']}")
    print("\n".join(f"# {line.strip()}" for line in message[:1]))
    print(f"\n-- the remedy\n{pitfall['remedy']}")
    return bool(message) and f"{name}_defect" in said and f"{name}_remedy" not in said


def file_of(pitfall: dict[str, str]) -> str:
    """Return the name of a pitfall's files, without what it is and the suffix."""
    return "test_" + re.sub(r"\W+", "_", pitfall["name"])


if __name__ == "__main__":
    sys.exit(main())
