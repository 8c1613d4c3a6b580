"""The environments of the frameworks: made below target/bench when first needed, and again when their pins change.

Their packages may clash with each other's and with those of the tests, so they are not in .venv. What can't be
installed, because there is no network or no node, is a reason to skip its frameworks, not an error.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.server import ROOT

BELOW = ROOT / "target/bench"
JOBS = ROOT / "bench/frameworks"
# An install that takes longer than this hangs.
INSTALL_S = 300


class Missing(Exception):
    """An environment can't be made; the text says why."""


@dataclass(frozen=True)
class Home:
    """An environment: a folder below target/bench, and the file that names its packages."""

    name: str
    pins: Path

    @property
    def folder(self) -> Path:
        """Where it is."""
        return BELOW / self.name

    @property
    def is_python(self) -> bool:
        """Whether it is one of Python, not of node."""
        return self.pins.suffix == ".txt"

    def program(self, name: str) -> str:
        """The path of a program of this environment."""
        return str(self.folder / "bin" / name) if self.is_python else shutil.which(name) or name

    def environment(self) -> dict[str, str]:
        """The variables with which its programs find their packages, and the library of this tree."""
        if self.is_python:
            return {"PYTHONPATH": f"{JOBS}:{ROOT / 'clients/python'}"}
        return {"NODE_PATH": str(self.folder / "node_modules")}

    def versions(self, packages: tuple[str, ...]) -> dict[str, str]:
        """The versions of these packages, and of the language."""
        if not self.is_python:
            files = {name: self.folder / "node_modules" / name / "package.json" for name in packages}
            found = {name: json.loads(file.read_text())["version"] for name, file in files.items()}
            return {**found, "node": said(["node", "--version"], BELOW).strip().lstrip("v")}
        code = (
            "import importlib.metadata as m, json, platform, sys; "
            "print(json.dumps({n: m.version(n) for n in sys.argv[1:]} | {'python': platform.python_version()}))"
        )
        return json.loads(said([self.program("python"), "-c", code, *packages], BELOW))

    def make(self, progress: Callable[[str], None]) -> None:
        """Install what is missing or has changed. Raises Missing if that fails."""
        if not self.is_python and not (shutil.which("node") and shutil.which("npm")):
            raise Missing("node and npm are not installed")
        mark = hashlib.sha256(sys.version.encode() + self.pins.read_bytes()).hexdigest()
        stamp = self.folder / "installed"
        if stamp.exists() and stamp.read_text() == mark:
            return
        progress(f"installing what {self.pins.relative_to(ROOT)} names into {self.folder.relative_to(ROOT)}")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._make_python() if self.is_python else self._make_node()
        stamp.write_text(mark)

    def _make_python(self) -> None:
        said([sys.executable, "-m", "venv", str(self.folder)], BELOW)
        pip = [self.program("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        said([*pip, "-r", str(self.pins)], BELOW)

    def _make_node(self) -> None:
        for file in (self.pins, self.pins.with_name("package-lock.json")):
            shutil.copy(file, self.folder)
        # Without install scripts: packages need not run programs here to be measured.
        said(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], self.folder)


def said(command: list[str], folder: Path) -> str:
    """Run a program and return its output. Raises Missing with its last words if it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=INSTALL_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{Path(command[0]).name}: {error}") from None
    if done.returncode:
        words = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise Missing(f"{Path(command[0]).name}: {words[-1].strip()[:200] if words else done.returncode}")
    return done.stdout


PYTHON = Home("frameworks", ROOT / "requirements/frameworks.txt")
ARQ = Home("frameworks-arq", ROOT / "requirements/frameworks-arq.txt")
NODE = Home("frameworks-node", JOBS / "package.json")
