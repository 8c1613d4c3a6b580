"""Clients in Node: whether this machine can run them, and the command that does.

Node and npm come with the machine, packages from their registry, once. A machine without them runs without, and the
report says so.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
from pathlib import Path

import pytest
from harness import node_client, recipes

PROGRAMS = Path(__file__).with_name("node")


@functools.cache
def lacks() -> str | None:
    """Why no client in Node can run here; None if it can."""
    try:
        place()
    except pytest.skip.Exception as skipped:
        return str(skipped)
    return None


@functools.cache
def place() -> Path:
    """A folder with the programs, the built library and its packages."""
    library = node_client.built()
    recipes.need("node")
    sources = sorted(PROGRAMS.glob("*.mjs"))
    version = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12]
    folder = recipes.BUILT / f"chaos-{library.name.rpartition('-')[2]}-{version}"
    with recipes.alone("chaos"):
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            for source in sources:
                shutil.copy(source, folder)
            modules = folder / "node_modules"
            modules.mkdir()
            for package in (library / "node_modules").iterdir():
                (modules / package.name).symlink_to(package)
            (modules / "taskslot").symlink_to(library)
            (folder / "ready").touch()
    return folder


def command(spec: Path) -> list[str]:
    """The command that runs the process of a spec."""
    return [recipes.need("node"), str(place() / "process.mjs"), str(spec)]
