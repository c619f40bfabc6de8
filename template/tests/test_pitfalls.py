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


def start_gate(gate: str, folder: Path) -> subprocess.Popen[str]:
    for settings in ["pyproject.toml", "pytest.ini"]:
        shutil.copy(PROJECT / settings, folder)
    pitfalls = [one for one in PITFALLS if one["gate"] == gate]
    for number, pitfall in enumerate(pitfalls):
        for kind in ["defect", "remedy"]:
            file = folder / f"test_{kind}_{number}.py"
            file.write_text(pitfall[kind])
    files = sorted(file.name for file in folder.glob("*.py"))
    return subprocess.Popen(  # noqa: S603 - the gates, on own files
        [sys.executable, "-m", *GATES[gate], *files],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.fixture(scope="module")
def said(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[int, str]]:
    """Return the exit code and output of each gate.

    They run at the same time, as each takes about a second to start.
    """
    running = {}
    for gate in GATES:
        folder = tmp_path_factory.mktemp(gate)
        running[gate] = start_gate(gate, folder)
    said = {}
    for gate, process in running.items():
        output, _ = process.communicate()
        said[gate] = (process.returncode, output)
    return said


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize("gate", GATES)
def test_a_gate_stops_its_pitfalls_and_passes_their_remedies(
    gate: str,
    said: dict[str, tuple[int, str]],
) -> None:
    returncode, output = said[gate]

    assert returncode == 1
    for pitfall in [one for one in PITFALLS if one["gate"] == gate]:
        assert pitfall["message"] in output
    assert "test_defect_0.py" in output
    assert "test_remedy_" not in output
