"""Finds the module's file, for `redis-server --loadmodule "$(taskslot path)"`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

FILE = "libtaskslot.dylib" if sys.platform == "darwin" else "libtaskslot.so"


def path() -> Path:
    """The module of the installed package taskslot-module, or the one that `make build` made in this repository.

    Raises FileNotFoundError if there is neither.
    """
    spec = find_spec("taskslot_module")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (installed := Path(folder) / FILE).is_file():
            return installed
    root = Path(__file__).resolve().parents[3]
    built = root / "target/release" / FILE
    if built.is_file() and (root / "src/module").is_dir():
        return built
    raise FileNotFoundError(
        "the module is not installed: pip install 'taskslot[module]', or run `make build` in the repository"
    )
