"""Clocks: that those of all servers and of this machine agree."""

from __future__ import annotations

from collections.abc import Iterator

from ...overview.attention import CLOCK_OFF_MS, Severity
from ..facts import Facts
from ..finding import Finding

NTP = "synchronise all machines by NTP (chronyc tracking, timedatectl)"


def check(facts: Facts) -> Iterator[Finding]:
    """A server's clock against this machine's, and the module's own against its server's."""
    for node in facts.nodes:
        ahead = node.info.ahead_ms
        # The time that the reply took is the error of the measurement.
        if ahead is not None and abs(ahead) - max(node.info.took_ms, 0) > CLOCK_OFF_MS:
            way = "ahead of" if ahead > 0 else "behind"
            yield Finding(
                Severity.LOOK,
                "clock",
                node.address,
                f"its clock is {abs(ahead) / 1000:.1f} s {way} this machine's",
                "due times (AT) and cron schedules follow the server's clock",
                NTP,
            )
        skew = node.info.clock_skew_ms
        if abs(skew) > CLOCK_OFF_MS and node.info.is_primary:
            yield Finding(
                Severity.LOOK,
                "clock-skew",
                node.address,
                f"the module's clock is {abs(skew) / 1000:.1f} s {'ahead of' if skew > 0 else 'behind'} the server's",
                "the server's clock was changed; the module follows by 1 %, so that no lease ends early",
                NTP,
            )
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
