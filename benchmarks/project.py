"""Renders a project of all examples and measures its systems in its own environment."""

import subprocess
import sys
import tempfile
from pathlib import Path

import copier

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Print what benchmarks/systems.py measures, and return its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder, "template")
        project = Path(folder, "project")
        # A clone, so that what is not committed is left out here as in every other use.
        subprocess.run(["git", "clone", "--quiet", ROOT, template], check=True)
        copier.run_copy(str(template), project, vcs_ref="HEAD", defaults=True, quiet=True)
        subprocess.run(["make", "--silent", "setup"], cwd=project, check=True)
        command = [".venv/bin/python", str(ROOT / "benchmarks" / "systems.py")]
        return subprocess.run(command, cwd=project, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
