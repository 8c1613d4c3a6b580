"""Older builds of the module, for profiles that upgrade and go back.

They are commits of this repository's history. `path` builds one with the quick profile into `target/older/<commit>`,
once; from then on it returns the file at once. It needs git and the history: a copy of the tree without them has no
older builds, and the profiles say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "target/older"
MODULE = "libtaskslot.so"


@dataclass(frozen=True)
class Older:
    """A build of the past: its commit, and why it is this one."""

    name: str
    commit: str
    why: str

    @property
    def file(self) -> Path:
        """Where the built module is, or will be."""
        return FOLDER / self.commit / MODULE

    def is_built(self) -> bool:
        """Whether `path` would return at once."""
        return self.file.exists()

    def path(self) -> Path:
        """The module; built first if it is not there. The first build takes minutes. Raises `CannotBuild`."""
        if not self.is_built():
            build(self)
        return self.file


SAME_FORMATS = Older(
    "same formats",
    "3c19918b5026fa9f7ff9df9a9901ef07c92ade82",
    "The last build that changed a stored form: the head of a queue says how far its lease numbers are ahead, and a "
    "queue that came from another node has the chunk `n`. Builds before it refuse both. So it can take over from this "
    "tree and back, and must come to the same queues from the same effects.",
)
EFFECTS_5 = Older(
    "effects 5",
    "0a6ca3db8bc3d4cd3ac9b8696bb7c541c5bc89df",
    "One of the first builds with stored format 4 and effects 5. It reads the snapshots of this tree, and not its "
    "effects. So it is a good primary until the upgrade, with all that queues can do, and a replica that says it can't "
    "follow afterwards.",
)
RELEASE = Older(
    "0.2.0",
    "e6e7a12d28be444d9c740121385300f7c00d4498",
    "The last release. It reads neither the effects nor the files of this tree, so the way back is closed, and it must "
    "say so instead of going on with a part.",
)
BUILDS = (SAME_FORMATS, EFFECTS_5, RELEASE)


class CannotBuild(Exception):
    """An older build can't be made here. The text says why."""


def build(older: Older) -> None:
    """Build a commit in a copy of its tree. Its dependencies are built once for all older builds."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="source-", dir=FOLDER) as copy:
        unpack(older, Path(copy))
        command = ["cargo", "build", "--profile", "quick", "--locked", "-p", "taskslot"]
        target = FOLDER / "build"
        run(command, Path(copy), {"CARGO_TARGET_DIR": str(target)})
        older.file.parent.mkdir(exist_ok=True)
        # Aside first: two runs may ask at the same time.
        aside = older.file.with_suffix(f".{os.getpid()}")
        shutil.copy2(target / "quick" / MODULE, aside)
        aside.replace(older.file)


def unpack(older: Older, copy: Path) -> None:
    """Write the tree of a commit into a folder, with this tree's settings of cargo (where libclang is)."""
    if shutil.which("git") is None:
        raise CannotBuild("git is not installed")
    archive = copy / "source.tar"
    run(["git", "archive", "--output", str(archive), older.commit], ROOT)
    run(["tar", "-xf", archive.name], copy)
    settings = ROOT / ".cargo/config.toml"
    if settings.exists():
        (copy / ".cargo").mkdir(exist_ok=True)
        # Its paths are relative to the tree.
        (copy / ".cargo/config.toml").write_text(settings.read_text())
        (copy / ".venv").symlink_to(ROOT / ".venv")


def run(command: list[str], folder: Path, variables: dict[str, str] | None = None) -> None:
    """Run a program, and raise `CannotBuild` with the first error that it told if it fails."""
    environment = {**os.environ, **(variables or {})}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise CannotBuild(f"{command[0]} is not installed") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        said = next((line for line in lines if line.startswith(("error", "fatal"))), lines[-1])
        raise CannotBuild(f"{command[0]} {command[1]} failed: {said}")


def lacks(older: Older) -> str | None:
    """Why this build can't be had here; None if it is there now."""
    try:
        older.path()
    except CannotBuild as error:
        return f"the older build {older.name} ({older.commit[:7]}) can't be made here: {error}"
    return None


if __name__ == "__main__":
    lacking = [why for one in BUILDS if (why := lacks(one))]
    for built in BUILDS:
        if built.is_built():
            print(built.name, built.path())
    sys.exit("\n".join(lacking) or None)
