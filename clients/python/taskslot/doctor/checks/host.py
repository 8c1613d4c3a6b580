"""The machine, if the server is on this one: settings of the kernel that servers ask for."""

from __future__ import annotations

from collections.abc import Iterator

from ...overview.attention import Severity
from ..facts import Facts
from ..finding import Finding

# Below this share of the machine, a fork finds memory without overcommit as well.
FORK_FITS = 0.5


def check(facts: Facts) -> Iterator[Finding]:
    """The kernel's settings."""
    if facts.host is None or not facts.nodes:
        return
    node = facts.nodes[0]
    machine = node.info_number("total_system_memory") or 0
    if facts.host.overcommit == 0:
        large = node.info.used_memory > machine * FORK_FITS > 0
        yield Finding(
            Severity.LOOK if large else Severity.KNOW,
            "overcommit",
            node.address,
            "vm.overcommit_memory is 0",
            "a snapshot or rewrite fails when the data is more than half of the memory",
            "sysctl vm.overcommit_memory=1, and the same in /etc/sysctl.conf",
        )
    if facts.host.huge_pages == "always" and node.setting("disable-thp") == "no":
        yield Finding(
            Severity.LOOK,
            "huge-pages",
            node.address,
            "transparent huge pages are always on, and disable-thp is no",
            "each snapshot copies far more memory, and the server stands still meanwhile",
            "`disable-thp yes` in redis.conf, and restart the server",
        )
