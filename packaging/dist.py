"""Builds the release files into target/dist: the tarball, the Python packages and their checksums.

    make dist                       builds the module first
    packaging/dist.py --into FOLDER writes to another folder; the module must be built

The Python packages are the library, and the module that its extra `module` asks for, each as a wheel and as sources.
The tarball contains the module, redis.conf, the documents and the licences. The same commit gives the same tarball: its
files have the time of the commit, and no owner.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import platform
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULE = ROOT / "target/release/libtaskslot.so"
PACKAGES = [ROOT / "clients/python", ROOT / "packaging/module"]
# Files and folders of the repository that are packed. Their paths in the tarball are the same.
CONTENTS = [
    *["README.md", "CHANGELOG.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"],
    *["LICENSE-APACHE", "LICENSE-MIT", "redis.conf", "docs", "deploy"],
    *["clients/python/README.md", "clients/recipes/README.md", "packaging/module/README.md"],
]


def git(*arguments: str) -> str:
    """Runs git and returns its output."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def version() -> str:
    """The version in Cargo.toml. Exits if the commit has a version tag that differs."""
    found = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    tags = [tag for tag in git("tag", "--points-at", "HEAD", "v*").split() if tag != f"v{found}"]
    if tags:
        sys.exit(f"this commit has the tag {tags[0]}, but Cargo.toml says {found}")
    return found


def tarball(into: Path, name: str) -> Path:
    """Packs the module and the files of CONTENTS that are in git. Returns the path of the tarball."""
    committed_at = int(git("log", "-1", "--format=%ct"))
    files = {path: ROOT / path for path in git("ls-files", "-z", *CONTENTS).split("\0") if path}
    if links := [path for path, file in files.items() if file.is_symlink()]:
        sys.exit(
            f"{links[0]} is a symbolic link: it could bring a file from outside the tree into the tarball"
        )
    files[MODULE.name] = MODULE
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, file in sorted(files.items()):
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size, entry.mtime = file.stat().st_size, committed_at
            # The server refuses a module that isn't executable.
            entry.mode = 0o755 if file == MODULE else 0o644
            with file.open("rb") as content:
                tar.addfile(entry, content)
    archive = into / f"{name}.tar.gz"
    archive.write_bytes(gzip.compress(packed.getvalue(), mtime=0))
    return archive


def python_packages(into: Path) -> None:
    """Builds a wheel and a source package of the library, and of the module."""
    hatchling = Path(sys.executable).with_name("hatchling")
    for package in PACKAGES:
        subprocess.run([hatchling, "build", "-d", into], cwd=package, check=True)


def built_in(folder: Path) -> list[Path]:
    """The release files in a folder."""
    return sorted([*folder.glob("taskslot[-_]*.tar.gz"), *folder.glob("taskslot[-_]*.whl")])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--into", type=Path, default=ROOT / "target/dist", help="folder for the files (default: target/dist)"
    )
    into = parser.parse_args().into.resolve()
    if not MODULE.exists():
        sys.exit(f"{MODULE} isn't built: run make build")
    into.mkdir(parents=True, exist_ok=True)
    for old in built_in(into):
        old.unlink()
    tarball(into, f"taskslot-{version()}-linux-{platform.machine()}")
    python_packages(into)
    built = built_in(into)
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in built]
    (into / "SHA256SUMS").write_text("".join(sums))
    for file in built:
        print(f"{file.stat().st_size:>10,}  {file}")


if __name__ == "__main__":
    main()
