"""The module's file, that a server loads: `redis-server --loadmodule "$(taskslot path)"`."""

from __future__ import annotations

import sys
from pathlib import Path

FILE = "libtaskslot.dylib" if sys.platform == "darwin" else "libtaskslot.so"


def path() -> Path:
    """The module that the installed wheel carries, else what `make build` built in the repository that this is in.

    Raises FileNotFoundError where there is neither.
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
