"""Build hook: puts the module, built by cargo, and redis.conf into the wheel, and the Rust sources into the sdist.

In the repository, the Rust workspace is two folders up. In an unpacked sdist, it is the folder `rust`.
"""

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# The settings for a server with queues, which `taskslot serve` starts with.
SETTINGS = "redis.conf"
# The parts of the workspace that go into the sdist: everything that `cargo build --locked` needs. Cargo looks for all
# members of the workspace, also for the benchmark.
SOURCES = ("Cargo.toml", "Cargo.lock", "src", "bench/engine", SETTINGS)


class ModuleHook(BuildHookInterface[Any]):
    """The hook that hatchling calls before it packs a wheel or an sdist."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the module or its sources. Raises an error if cargo or the sources are missing, or if cargo fails."""
        workspace = find_workspace(Path(self.root))
        included = build_data["force_include"]
        if self.target_name == "sdist":
            included.update({str(workspace / name): f"rust/{name}" for name in SOURCES})
            return
        module = build_module(workspace)
        included[str(module)] = f"taskslot_module/{module.name}"
        included[str(workspace / SETTINGS)] = f"taskslot_module/{SETTINGS}"
        build_data["pure_python"] = False
        # The module works with every version of Python, so only the platform is in the tag.
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def find_workspace(root: Path) -> Path:
    """The Rust workspace that belongs to this package."""
    for folder in (root / "rust", root.parents[1]):
        if (folder / "Cargo.lock").is_file() and (folder / "src/module").is_dir():
            return folder
    raise FileNotFoundError(f"no Rust sources of taskslot in {root / 'rust'} or {root.parents[1]}")


def build_module(workspace: Path) -> Path:
    """Build the release module with cargo and return its path. If it is up to date, cargo does nothing."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise RuntimeError(
            "cargo, which builds taskslot's module, is not on the PATH: install Rust 1.88 or later (https://rustup.rs)"
        )
    command = [cargo, "build", "--release", "--locked", "-p", "taskslot"]
    done = subprocess.run(
        [*command, "--message-format=json-render-diagnostics"],
        cwd=workspace,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"`{' '.join(command[1:])}` in {workspace} failed: see cargo's output above")
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["target"]["name"] == "taskslot":
            return Path(message["filenames"][0])
    raise RuntimeError("cargo built no module")
