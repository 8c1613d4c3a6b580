"""The sources of a framework, as its maintainers publish them, with its tests."""

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from harness.server import ROOT

BELOW = ROOT / "target/frameworks"
PINS = ROOT / "requirements/integrations.txt"


def pinned(package: str) -> str:
    """The version of a package that the library is tested with."""
    found = re.search(rf"^{re.escape(package)}==(\S+)", PINS.read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"{PINS.name} has no version of {package}")
    return found[1]


def unpacked(package: str) -> Path:
    """A new copy of the sources of the pinned version, which are downloaded when first needed."""
    version = pinned(package)
    archive = BELOW / f"{package}-{version}.tar.gz"
    if not archive.exists():
        print(f"downloading the sources of {package} {version}", flush=True)
        BELOW.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--no-binary", package, "--dest", BELOW, f"{package}=={version}"], check=True)
    folder = BELOW / f"{package}-{version}"
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(BELOW, filter="data")
    return folder
