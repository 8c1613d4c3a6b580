"""Finds the module's file, for `redis-server --loadmodule "$(taskslot path)"`, and the settings that go with it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

FILE = "libtaskslot.dylib" if sys.platform == "darwin" else "libtaskslot.so"
SETTINGS = "redis.conf"


def path() -> Path:
    """The module of the installed package taskslot-module, or the one that `make build` made in this repository.

    Raises FileNotFoundError if there is neither.
    """
    if (installed := in_package(FILE)) is not None:
        return installed
    if (built := in_repository(f"target/release/{FILE}")) is not None:
        return built
    raise FileNotFoundError(
        "the module is not installed: pip install 'taskslot[module]', or run `make build` in the repository"
    )


def settings() -> Path:
    """The file of settings for a server with queues: that of taskslot-module, or redis.conf of this repository.

    Raises FileNotFoundError if there is neither.
    """
    if (found := in_package(SETTINGS) or in_repository(SETTINGS)) is not None:
        return found
    raise FileNotFoundError("the settings of a server are not installed: pip install 'taskslot[server]'")


def in_package(name: str) -> Path | None:
    """A file of the installed package taskslot-module."""
    spec = find_spec("taskslot_module")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (installed := Path(folder) / name).is_file():
            return installed
    return None


def in_repository(path: str) -> Path | None:
    """A file of the repository that this library is in."""
    root = Path(__file__).resolve().parents[3]
    here = root / path
    return here if here.is_file() and (root / "src/module").is_dir() else None
