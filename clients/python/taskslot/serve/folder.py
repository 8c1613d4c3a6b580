"""The folder of a server's data: who uses it, and whether this server can read what is in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ..programs import SERVERS, Version
from .errors import NotStarted

# Says which server wrote the data. Its presence says that the folder is ours.
MARK = "server-version"
LOCK = "lock"
SNAPSHOT = "dump.rdb"
APPEND_ONLY = ("appendonlydir", "appendonly.aof")
# A volume of its own has lost+found at its root.
OURS = {MARK, LOCK, SNAPSHOT, *APPEND_ONLY, "lost+found"}
# The last Redis whose files Valkey reads. After it, the two went different ways.
LAST_COMMON = (7, 2)


class Folder:
    """The data folder of one server, from `take` on its own as long as this process lives, also after an `exec`."""

    def __init__(self, path: Path) -> None:
        # Not resolved before it exists: the user should find the path that was given.
        self.path = Path(os.path.abspath(path))

    def take(self) -> None:
        """Make the folder if it is missing, and lock it. Raises NotStarted, and OSError."""
        # A server whose configuration has such a path reads no file, says nothing, and starts with its own defaults.
        if any(letter in "*?[" for letter in str(self.path)):
            raise NotStarted(
                f"{self.path}: a server takes * ? [ in the name of a folder for a pattern; use another"
            )
        if not self.path.exists():
            self.path.mkdir(mode=0o700, parents=True)
        elif not self.path.is_dir():
            raise NotStarted(f"{self.path} is not a folder")
        self._refuse_others()
        self._refuse_other_content()
        self._lock()
        if (pid := next(servers_in(self.path), None)) is not None:
            raise NotStarted(f"process {pid} is a server that works in {self.path}: stop it first")

    def _refuse_others(self) -> None:
        """Who can write there can give the server another configuration, and so a module of their own.

        A group may: that of a user alone often can, and Kubernetes gives volumes to root and a group.
        """
        found = self.path.stat()
        if found.st_uid not in (os.geteuid(), 0):
            raise NotStarted(f"{self.path} belongs to another user: give --data a folder of your own")
        if found.st_mode & 0o002:
            raise NotStarted(f"all users can write in {self.path}: chmod o-w {self.path}")

    def _refuse_other_content(self) -> None:
        names = {entry.name for entry in self.path.iterdir()}
        if MARK in names or not names - OURS:
            return
        other = sorted(names - OURS)[0]
        raise NotStarted(
            f"{self.path} has other files, such as {other!r}: give --data a folder of its own, a new or an empty one"
        )

    def _lock(self) -> None:
        """Lock a file of the folder. The lock stays with this process when it becomes the server."""
        held = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(held, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(held)
            raise NotStarted(
                f"{self.path} is in use by the server of process {owner}: "
                f"stop it with `kill {owner}`, or give --data another folder"
            ) from None
        os.ftruncate(held, 0)
        os.write(held, b"%d\n" % os.getpid())
        os.set_inheritable(held, True)

    def refuse_unreadable(self, version: Version, reads_snapshots: bool) -> None:
        """Raise NotStarted if this server can't read the data, or would start without it.

        `reads_snapshots` says that the append-only file is off, so that the server reads dump.rdb.
        """
        written_by = self._written_by()
        if written_by is not None and not reads(version, written_by):
            raise NotStarted(
                f"the data in {self.path} is of {written_by}, and {version} can't read it: "
                "start the server that wrote it (--server), or give --data another folder"
            )
        if version.number < (7, 0) and (self.path / "appendonlydir").exists():
            raise NotStarted(
                f"{self.path} has an append-only file of a newer server: {version} would start without it"
            )
        is_there = any((self.path / name).exists() for name in APPEND_ONLY)
        if (self.path / SNAPSHOT).exists() and not is_there and not reads_snapshots:
            raise NotStarted(
                f"{self.path} has a {SNAPSHOT} and no append-only file: the server would start empty and replace it. "
                "To read it, start once with `-- --appendonly no`, then send CONFIG SET appendonly yes"
            )

    def _written_by(self) -> Version | None:
        try:
            return Version.read((self.path / MARK).read_text().strip())
        except FileNotFoundError:
            return None

    def mark(self, version: Version) -> None:
        """Say which server writes the data from now on."""
        write_private(self.path / MARK, f"{version}\n".encode())


def write_private(file: Path, content: bytes) -> None:
    """Write a file that only this user can read, and put it in its place at once. No link is followed."""
    aside = file.with_name(f"{file.name}.new")
    aside.unlink(missing_ok=True)
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
        written.write(content)
    aside.replace(file)


def reads(server: Version, writer: Version) -> bool:
    """Whether a server reads the files of another one: an older one of its kind; Valkey also those of Redis 7.2."""
    if server.flavour == writer.flavour:
        return server.number[:2] >= writer.number[:2]
    return server.flavour == "Valkey" and writer.number[:2] <= LAST_COMMON


def servers_in(folder: Path) -> Iterator[int]:
    """The processes of servers whose current folder this is, as far as this user may see."""
    inside = os.path.realpath(folder)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if os.readlink(entry / "cwd") == inside and (entry / "comm").read_text().strip() in SERVERS:
                yield int(entry.name)
        except OSError:
            continue  # it has ended, or belongs to another user
