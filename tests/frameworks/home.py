"""The environment of a suite: made below target/frameworks when first needed, and again when its packages change.

What a suite needs could clash with what the other tests need, so it is not in .venv.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.server import ROOT

from frameworks.sources import BELOW

# Packages that these name have the versions that they name.
PINS = [ROOT / "requirements" / name for name in ("run.txt", "test.txt", "integrations.txt")]


def python_with(name: str, packages: Sequence[str]) -> Path:
    """The Python of an environment with these packages (requirements as pip takes them)."""
    folder = BELOW / f"{name}-env"
    text = "\n".join([sys.version, *packages, *(pins.read_text() for pins in PINS)])
    mark, stamp = hashlib.sha256(text.encode()).hexdigest(), folder / "installed"
    python = folder / "bin/python"
    if stamp.exists() and stamp.read_text() == mark:
        return python
    print(f"installing what the tests of {name} need", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    limits = [word for pins in PINS for word in ("--constraint", pins)]
    subprocess.run([*pip, *limits, *packages], check=True)
    stamp.write_text(mark)
    return python
