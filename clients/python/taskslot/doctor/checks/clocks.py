"""Clocks: that those of all servers agree."""

from __future__ import annotations

from collections.abc import Iterator

from ...overview.attention import CLOCK_OFF_MS, Severity
from ..facts import Facts
from ..finding import Finding

NTP = "synchronise all machines by NTP (chronyc tracking, timedatectl)"


def check(facts: Facts) -> Iterator[Finding]:
    """The servers' clocks against each other; each against this machine's is a concern of the server."""
    clocks = {node.address: node.info.ahead_ms for node in facts.nodes if node.info.ahead_ms is not None}
    error = sum(max(node.info.took_ms, 0) for node in facts.nodes)
    if clocks and max(clocks.values()) - min(clocks.values()) - error > CLOCK_OFF_MS:
        first, last = min(clocks, key=clocks.__getitem__), max(clocks, key=clocks.__getitem__)
        yield Finding(
            Severity.LOOK,
            "clocks",
            "",
            f"the clocks of {first} and {last} differ by {(clocks[last] - clocks[first]) / 1000:.1f} s",
            "after a failover, due times and schedules jump by this",
            NTP,
        )
