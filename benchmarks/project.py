"""Renders a project of all examples and measures its systems and its guard in its own environment."""

import subprocess
import sys
import tempfile
from pathlib import Path

import copier

from tests.helpers import EXAMPLES

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Print what the measurements in it print, and return 1 if one of them failed, else 0."""
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder, "template")
        project = Path(folder, "project")
        # A clone, so that what is not committed is left out here as in every other use.
        subprocess.run(["git", "clone", "--quiet", ROOT, template], check=True)
        every = {"examples": EXAMPLES}
        copier.run_copy(str(template), project, every, vcs_ref="HEAD", defaults=True, quiet=True)
        subprocess.run(["make", "--silent", "setup"], cwd=project, check=True)
        python = [".venv/bin/python"]
        measured = [
            subprocess.run([*python, ROOT / "benchmarks" / name], cwd=project, check=False)
            for name in ["systems.py", "guard.py"]
        ]
        return int(any(done.returncode for done in measured))


if __name__ == "__main__":
    sys.exit(main())
