"""Prepares the programs of clients/recipes. Their dependencies are installed in target/recipes, never in the tree.

If a client can't be installed, because npm or its registry is missing, for example, the test is skipped with that
reason. In CI it fails.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.server import CLI, ROOT

RECIPES = ROOT / "clients/recipes"
BUILT = ROOT / "target/recipes"
# The time-out of the first build, which can take minutes on a busy machine.
BUILD_TIMEOUT_S = 500
RUN_TIMEOUT_S = 50
# Texts of npm and cargo if they can't reach their registry. Any other failure is our own.
UNREACHED = re.compile(r"network|download|resolve host|connect|ENOTFOUND|EAI_AGAIN|ETIMEDOUT", re.IGNORECASE)


def account(command: list[object], **options: object) -> dict:
    """Run a recipe and return the account that is its last line."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=RUN_TIMEOUT_S, **options
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


def node(name: str, folder: Path) -> list[object]:
    """The command that runs a Node recipe, copied into a folder with its modules."""
    for source in (RECIPES / "node").glob("*.mjs"):
        shutil.copy(source, folder)
    (folder / "node_modules").symlink_to(node_modules())
    return [need("node"), folder / name]


def node_modules(project: Path = RECIPES / "node") -> Path:
    """Install the packages of a project's package-lock.json, once for each version of that file."""
    files = [project / name for name in ("package.json", "package-lock.json")]
    version = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    place = BUILT / f"{project.name}-{version}"
    with alone("npm"):
        if not (place / "ready").exists():
            place.mkdir(parents=True, exist_ok=True)
            for file in files:
                shutil.copy(file, place)
            get([need("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], place)
            (place / "ready").touch()
    return place / "node_modules"


def rust(name: str) -> list[object]:
    """Build the Rust recipe, and return the command that runs it."""
    project, cargo = RECIPES / name, need("cargo")
    with alone("cargo"):
        get([cargo, "fetch", "--locked"], project)
        build = [cargo, "build", "--quiet", "--locked", "--offline", "--target-dir", BUILT / "cargo"]
        subprocess.run(build, cwd=project, check=True, timeout=BUILD_TIMEOUT_S)
    return [BUILT / "cargo/debug/taskslot-recipe"]


def shell(name: str) -> list[object]:
    """The command that runs the shell recipe. It takes its redis-cli from the environment."""
    assert CLI, "redis-cli comes with requirements/run.txt"
    return ["env", f"REDIS_CLI={CLI}", need("bash"), RECIPES / name]


def need(program: str) -> str:
    """The path of a program; without it, the test is skipped."""
    return shutil.which(program) or lacking(f"{program} is not installed")


def get(command: list[object], folder: Path) -> None:
    """Run a command that downloads from a registry."""
    done = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S
    )
    if done.returncode != 0:
        errors = done.stderr.strip()[-800:]
        assert UNREACHED.search(errors), errors
        lacking(f"the registry is not reached: {errors}")


def lacking(what: str):
    """Skip the test, or fail it in CI, where everything should be available."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@contextmanager
def alone(what: str) -> Iterator[None]:
    """Let one test at a time install or build, since tests run side by side."""
    BUILT.mkdir(parents=True, exist_ok=True)
    with open(BUILT / f"{what}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
