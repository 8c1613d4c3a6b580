"""How much memory a server may take: sizes as they are written in a configuration, and a default for this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}
SIZE = re.compile(r"(\d{1,15})(b|k|kb|m|mb|g|gb)?", re.IGNORECASE)
# The rest is for the copies of pages while a child writes a snapshot, for buffers, and for other programs.
SHARE = 0.6
CGROUPS = Path("/sys/fs/cgroup")


def size(text: str) -> int:
    """The bytes that a size such as `1gb` means, as servers read it. 0 means no limit. Raises ValueError."""
    found = SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"--maxmemory takes a size such as 512mb or 4gb, not {text[:40]!r}")
    return int(found[1]) * UNITS[(found[2] or "").lower()]


def default_limit() -> int:
    """The limit of a server that is given none: a share of the memory of this machine, or of its container."""
    return int(available() * SHARE)


def available() -> int:
    """The bytes of memory of this machine, or of the control group that this process is in, if that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *limits_of_groups(Path("/proc/self/cgroup"), CGROUPS)])


def limits_of_groups(own: Path, root: Path) -> Iterator[int]:
    """The limits of the control groups of a process, those of version 1 and of version 2, and of those above them."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        here = base / path.lstrip("/")
        # Inside a container, its own group can be mounted as the root.
        for folder in (here, *(above for above in here.parents if above.is_relative_to(base))):
            if (limit := number_in(folder / name)) is not None:
                yield limit


def number_in(file: Path) -> int | None:
    """The number in a file; None if there is no such file, or if it says `max`."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
