"""The five classic pitfalls of async code: the gates stop each."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
DATA = (Path(__file__).parent / "pitfalls.toml").read_text("utf-8")
PITFALLS: list[dict[str, str]] = tomllib.loads(DATA)["pitfall"]

GATES = {
    "mypy": ["mypy"],
    "pytest": ["pytest", "-q", "--no-cov"],
    "ruff": ["ruff", "check"],
}


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize("gate", GATES)
def test_a_gate_stops_its_pitfalls_and_passes_their_remedies(
    gate: str,
    tmp_path: Path,
) -> None:
    for settings in ["pyproject.toml", "pytest.ini"]:
        shutil.copy(PROJECT / settings, tmp_path)
    pitfalls = [one for one in PITFALLS if one["gate"] == gate]
    for number, pitfall in enumerate(pitfalls):
        for kind in ["defect", "remedy"]:
            file = tmp_path / f"test_{kind}_{number}.py"
            file.write_text(pitfall[kind])
    files = sorted(file.name for file in tmp_path.glob("*.py"))

    done = subprocess.run(  # noqa: S603 - the gates, on own files
        [sys.executable, "-m", *GATES[gate], *files],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    for pitfall in pitfalls:
        assert pitfall["message"] in done.stdout
    assert "test_defect_0.py" in done.stdout
    assert "test_remedy_" not in done.stdout
