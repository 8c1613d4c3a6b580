"""The disk of one server, as shims/disk.c makes it: what has reached it is known, and it can be slow or full.

A *power cut* is: kill the server, then `lose_unsynced`, which cuts every file to what its last sync covered.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.server import Server, build_shim

SHIM = Path(__file__).with_name("shims") / "disk.c"
RECORD = struct.Struct("=qqqqq")
CONTROL = struct.Struct("=qq")
# What data files end with. All others are of the test.
DATA = (".aof", ".rdb", ".manifest")


@dataclass(frozen=True)
class Event:
    """A write or a sync. `began` is in monotonic seconds; `size` is the size of the file that it left or covered."""

    began: float
    inode: int
    before: int
    size: int
    is_sync: bool


class Disk:
    """What the shim is told and what it has noted, in files of this folder. `environment` is for the server."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._log = folder / "disk.log"
        control = folder / "disk.control"
        control.write_bytes(bytes(CONTROL.size))
        self._log.touch()
        with open(control, "r+b") as file:
            self._control = mmap.mmap(file.fileno(), CONTROL.size)
        self._delay_us = 0

    def environment(self, server: Server) -> dict[str, str]:
        """The environment of a server."""
        return {
            "LD_PRELOAD": str(build_shim(SHIM)),
            "DISK_LOG": str(self._log),
            "DISK_CONTROL": str(self.folder / "disk.control"),
            "DISK_FOLDER": str(server.dir.resolve()),
        }

    # ---- faults

    def slow(self, seconds: float) -> None:
        """From now on each sync takes so much longer."""
        self._delay_us = int(seconds * 1e6)
        self._set(0)

    def fill(self, is_torn: bool = False) -> None:
        """From now on nothing can be written. With `is_torn`, half of the next write can."""
        self._set(2 if is_torn else 1)

    def free(self) -> None:
        """There is space again, and syncs are fast."""
        self._delay_us = 0
        self._set(0)

    def _set(self, is_full: int) -> None:
        self._control[:] = CONTROL.pack(self._delay_us, is_full)

    # ---- what is known

    def events(self) -> list[Event]:
        """All writes and syncs up to now, in the order in which they ended."""
        data = self._log.read_bytes()
        whole = data[: len(data) // RECORD.size * RECORD.size]
        return [
            Event(began / 1e9, inode, before, size, kind == ord("s"))
            for began, inode, before, size, kind in RECORD.iter_unpack(whole)
        ]


def data_files(server: Server) -> list[Path]:
    """The files of a server's data."""
    return [path for path in sorted(server.dir.rglob("*")) if path.suffix in DATA and path.is_file()]


def appended(server: Server) -> Path:
    """The file to which the server appends commands."""
    return server._aof()


def appends(server: Server) -> bool:
    """Whether each write of a running server goes to the end of its append-only file, wherever that is.

    From 7.0 on, that is so until a rewrite begins another file, which is not open for appending. A write that is then
    cut short is removed from the file, but the next one goes to where it ended: there are zeros between, and the server
    can't load the file. That is so without any module.
    """
    path, process = appended(server), Path(f"/proc/{server.pid}")
    for link in (process / "fd").iterdir():
        if link.exists() and link.samefile(path):
            flags = re.search(r"flags:\s*(\d+)", (process / "fdinfo" / link.name).read_text())
            return flags is not None and bool(int(flags[1], 8) & os.O_APPEND)
    return False


def has_open_transaction(server: Server) -> bool:
    """Whether a MULTI without EXEC is in the append-only file of a server, once it has started with a cut file.

    Valkey 9.1 removes such an end. Redis leaves the MULTI in the file and appends to it: until a rewrite, it loses what
    comes then at its next start. That is so without any module.
    """
    data = appended(server).read_bytes()
    # Others may have been added since then.
    return data.count(b"\r\nMULTI\r\n") > data.count(b"\r\nEXEC\r\n")


@dataclass(frozen=True)
class Cut:
    """What a file lost at its end: bytes by the names of files, and the time whose commands may be gone."""

    bytes: dict[str, int]
    undoes: tuple[float, float]


def unwritten(disk: Disk, server: Server, killed: float) -> Cut:
    """What a server that was killed at that time may have lost though no file was cut.

    A server writes before it replies, but under `everysec` it puts off a write while a sync is slow. What had happened
    before the last write began is in the file.
    """
    return Cut({}, (kept_since(disk.events(), sizes(server)), killed))


def lose_unsynced(disk: Disk, server: Server, killed: float) -> Cut:
    """Cut each file of a server that was killed at that time to what has reached the disk, as a power cut does."""
    events, lost = disk.events(), {}
    for path in data_files(server):
        found = path.stat()
        kept = min(found.st_size, synced_size(events, found.st_ino))
        if kept < found.st_size:
            lost[path.name] = found.st_size - kept
            os.truncate(path, kept)
    return Cut(lost, (kept_since(events, sizes(server)), killed))


def tear(disk: Disk, server: Server, killed: float, lost: int) -> Cut:
    """Cut so many bytes off the end of the append-only file of a server that was killed at that time."""
    path = appended(server)
    size = path.stat().st_size
    lost = min(lost, size)
    os.truncate(path, size - lost)
    return Cut({path.name: lost}, (kept_since(disk.events(), sizes(server)), killed))


def sizes(server: Server) -> dict[int, int]:
    """The sizes of the append-only files by inode."""
    found = [path.stat() for path in data_files(server) if path.suffix == ".aof"]
    return {one.st_ino: one.st_size for one in found}


def kept_since(events: list[Event], sizes: dict[int, int]) -> float:
    """The time before which everything is in files of these sizes.

    Whatever happened before a write began is in that write or an earlier one. So it is when the last write began
    before the first one that is missing.
    """
    since = 0.0
    for event in writes(events, sizes):
        if event.size > sizes[event.inode]:
            break
        since = event.began
    return since


def writes(events: list[Event], inodes: Iterable[int]) -> list[Event]:
    """All writes to files that exist, in the order in which they began."""
    found: dict[int, list[Event]] = {inode: [] for inode in inodes}
    for event in events:
        if event.inode in found and not event.is_sync:
            earlier = found[event.inode]
            # A file that had been longer was cut, or is another one with the inode of an earlier one.
            while earlier and earlier[-1].size > event.before:
                earlier.pop()
            earlier.append(event)
    return sorted((event for each in found.values() for event in each), key=lambda event: event.began)


def synced_size(events: list[Event], inode: int) -> int:
    """How much of a file is on the disk."""
    synced = 0
    for event in events:
        if event.inode == inode:
            # A file that had been longer was cut, or is another one with the inode of an earlier one.
            synced = event.size if event.is_sync else min(synced, event.before)
    return synced
