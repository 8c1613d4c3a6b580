"""Builds the library for Node, clients/node, in target/recipes: the tree stays as it is.

    python -m harness.node_client check      checks its format and its types (make lint)
    python -m harness.node_client fmt        formats it (make fmt)
    python -m harness.node_client build      prints where it is built

Without node and npm, `check` and `fmt` say so and do nothing.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from harness import recipes
from harness.server import ROOT

CLIENT = ROOT / "clients/node"
# What is made from the sources, or installed, and may lie beside them.
MADE = ("node_modules", "dist", "build")


def built() -> Path:
    """A copy of the library with its packages, built, with its tests; once for each version of the sources."""
    sources = sorted(file for file in CLIENT.rglob("*") if file.is_file() and not is_made(file))
    version = hashlib.sha256(b"".join(bytes(file) + file.read_bytes() for file in sources)).hexdigest()[:12]
    place = recipes.BUILT / f"taskslot-{version}"
    modules = recipes.node_modules(CLIENT)
    with recipes.alone("taskslot"):
        if not (place / "ready").exists():
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(CLIENT, place, ignore=shutil.ignore_patterns(*MADE))
            (place / "node_modules").symlink_to(modules)
            for step in ("build", "build:tests"):
                npm("run", step, folder=place)
            (place / "ready").touch()
    return place


def is_made(file: Path) -> bool:
    """Whether a file is no source."""
    return file.relative_to(CLIENT).parts[0] in MADE


def npm(*words: str, folder: Path) -> str:
    """Run npm in a folder. Its output is in the error if it fails."""
    command = [recipes.need("npm"), *words]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=recipes.BUILD_TIMEOUT_S
    )
    assert done.returncode == 0, f"npm {' '.join(words)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def main(task: str) -> int:
    """Run one of the tasks above."""
    if not (shutil.which("node") and shutil.which("npm")):
        print("clients/node: skipped. node and npm are not installed")
        return 0
    if task == "build":
        print(built())
        return 0
    # Prettier's files are few, so that it runs in the tree itself; types are checked in the copy.
    prettier = recipes.node_modules(CLIENT) / ".bin/prettier"
    how = "--write" if task == "fmt" else "--check"
    formatted = subprocess.run([prettier, how, "--log-level=warn", "."], cwd=CLIENT).returncode
    if task == "check":
        built()
    return formatted


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except recipes.pytest.skip.Exception as skipped:
        print(f"clients/node: skipped. {skipped}")
