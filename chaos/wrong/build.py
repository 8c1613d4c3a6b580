"""Makes a build with a mistake: a copy of the tree, changed, in target/wrong.

All builds share one copy and one target folder, so that only what a mistake touches is compiled again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from harness.server import ROOT

from chaos.wrong.mistakes import Change, Mistake

PLACE = ROOT / "target/wrong"
TREE, CARGO = PLACE / "tree", PLACE / "cargo"
# What cargo needs to build the module.
PARTS = ("Cargo.toml", "Cargo.lock", ".cargo", "src", "bench/engine", "tests/engine", "tests/node")
BUILD_TIMEOUT_S = 900


class UnbuildableError(Exception):
    """A mistake doesn't fit the source any more, or doesn't compile."""


def build(mistake: Mistake | None) -> Path:
    """The module with a mistake, or as it is; built if the source has changed since."""
    name = mistake.name if mistake else "sound"
    module = PLACE / name / "libtaskslot.so"
    stamp, version = module.with_name("built-from"), version_of(mistake)
    if module.exists() and stamp.exists() and stamp.read_text() == version:
        return module
    copy_tree()
    before = [change(one) for one in (mistake.changes if mistake else ())]
    try:
        compiled = cargo()
    finally:
        # The last first, because two changes can be of one file.
        for path, whole in reversed(before):
            path.write_text(whole)
    if compiled.returncode != 0:
        raise UnbuildableError(f"{name} does not compile:\n{compiled.stderr[-3000:]}")
    module.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(CARGO / "quick/libtaskslot.so", module)
    stamp.write_text(version)
    return module


def version_of(mistake: Mistake | None) -> str:
    """Names the source of a build."""
    files = [ROOT / "Cargo.lock", *sorted((ROOT / "src").rglob("*.rs"))]
    digest = hashlib.sha256(b"".join(bytes(file) + file.read_bytes() for file in files))
    digest.update(repr(mistake.changes if mistake else ()).encode())
    return digest.hexdigest()


def copy_tree() -> None:
    """Bring the copy up to date. Files that are the same keep their times, so that cargo compiles only what changed."""
    wanted: set[Path] = set()
    for part in PARTS:
        source = ROOT / part
        for path in [source] if source.is_file() else sorted(source.rglob("*")):
            if path.is_dir() or "__pycache__" in path.parts:
                continue
            relative = path.relative_to(ROOT)
            wanted.add(relative)
            put(path.read_bytes(), TREE / relative)
    for path in (TREE / "src").rglob("*.rs"):
        if path.relative_to(TREE) not in wanted:
            path.unlink()


def put(content: bytes, path: Path) -> None:
    """Write a file, unless it is so already."""
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def change(one: Change) -> tuple[Path, str]:
    """Change a file of the copy. Returns the file and what was in it."""
    path = TREE / "src" / one.file
    whole = path.read_text()
    if whole.count(one.text) != 1:
        raise UnbuildableError(f"in src/{one.file} this is there {whole.count(one.text)} times: {one.text!r}")
    path.write_text(whole.replace(one.text, one.instead))
    return path, whole


def cargo() -> subprocess.CompletedProcess[str]:
    """Build the copy with the quick profile."""
    environment = {**os.environ, "CARGO_TARGET_DIR": str(CARGO), "RUSTFLAGS": "--cap-lints=warn"}
    # .cargo/config.toml of the tree names libclang relative to it.
    venv = TREE / ".venv"
    if not venv.exists() and (ROOT / ".venv").exists():
        venv.symlink_to((ROOT / ".venv").resolve())
    command = ["cargo", "build", "--quiet", "--profile", "quick", "--locked", "--offline", "-p", "taskslot"]
    return subprocess.run(
        command, cwd=TREE, env=environment, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S
    )
