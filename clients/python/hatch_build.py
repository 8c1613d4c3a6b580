"""Build hook: the wheel carries the module, built by cargo; the sdist carries the Rust sources to build it of.

In the repository the Rust workspace is two folders up, in an unpacked sdist it is the folder `rust`.
"""

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# What the sdist takes along of the workspace: all that `cargo build --locked` asks for.
SOURCES = ("Cargo.toml", "Cargo.lock", "src")


class ModuleHook(BuildHookInterface[Any]):
    """Called by hatchling before it packs a wheel or an sdist."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add to what is packed; raises where cargo or the sources are missing, or cargo fails."""
        if version == "editable":
            # The library is used from its folder, and `taskslot path` finds target/release.
            return
        workspace = find_workspace(Path(self.root))
        included = build_data["force_include"]
        if self.target_name == "sdist":
            included.update({str(workspace / name): f"rust/{name}" for name in SOURCES})
            return
        module = build_module(workspace)
        included[str(module)] = f"taskslot/_module/{module.name}"
        build_data["pure_python"] = False
        # One module for every Python: only the machine matters.
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def find_workspace(root: Path) -> Path:
    """The Rust workspace that belongs to this package."""
    for folder in (root / "rust", root.parents[1]):
        if (folder / "Cargo.lock").is_file() and (folder / "src/module").is_dir():
            return folder
    raise FileNotFoundError(f"no Rust sources of taskslot in {root / 'rust'} or {root.parents[1]}")


def build_module(workspace: Path) -> Path:
    """Build the release module by cargo, which does nothing if it is there already: its file, wherever that is."""
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
