"""The machine, if the server is on this one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...programs import SERVERS
from ..facts import Host, Node

KERNEL = Path("/proc/sys/vm/overcommit_memory")
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def host_of(nodes: Sequence[Node]) -> Host | None:
    """This machine's settings, if the first server's process is on it."""
    if not nodes or not nodes[0].is_on_loopback:
        return None
    comm = content(Path("/proc") / str(nodes[0].field("process_id")) / "comm")
    if comm not in SERVERS:
        return None  # behind a forwarded port
    overcommit = content(KERNEL)
    chosen = [word for word in content(HUGE_PAGES).split() if word.startswith("[")]
    return Host(int(overcommit) if overcommit.isdigit() else None, chosen[0].strip("[]") if chosen else None)


def content(file: Path) -> str:
    """The text of a file of the kernel; empty if it can't be read."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
