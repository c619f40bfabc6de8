"""Makes wheels of a few files, so that tests can install packages that no index has."""

import zipfile
from collections.abc import Mapping
from pathlib import Path


def make_wheel(
    folder: Path, name: str, files: Mapping[str, str], tag: str = "py3-none-any"
) -> Path:
    """Write a wheel of a distribution without dependencies and return its path.

    As the binary distribution format has it, but without hashes: nobody checks them here.

    Args:
        folder: Where it goes.
        name: Of the distribution, with underscores.
        files: The text of each file by its path in site-packages.
        tag: What it runs on.
    """
    info = f"{name}-1.0.dist-info"
    texts = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    texts[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*texts, f"{info}/RECORD"])
    wheel = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in texts.items():
            archive.writestr(path, text)
    return wheel
