"""Finds the module's file, for `redis-server --loadmodule "$(taskslot path)"`."""

from __future__ import annotations

import sys
from pathlib import Path

FILE = "libtaskslot.dylib" if sys.platform == "darwin" else "libtaskslot.so"


def path() -> Path:
    """The module of the installed wheel, or the one that `make build` made in this repository.

    Raises FileNotFoundError if there is neither.
    """
    package = Path(__file__).resolve().parent
    carried = package / "_module" / FILE
    if carried.is_file():
        return carried
    root = package.parents[2]
    built = root / "target/release" / FILE
    if built.is_file() and (root / "src/module").is_dir():
        return built
    raise FileNotFoundError(
        f"this installation has no module ({carried} does not exist): "
        "install the wheel with pip, or run `make build` in the repository"
    )
