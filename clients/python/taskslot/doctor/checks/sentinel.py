"""Sentinel: that a failover can happen, and is not voted for by one alone."""

from __future__ import annotations

from collections.abc import Iterator

from ...overview.attention import Severity
from ..facts import Facts
from ..finding import Finding

ENOUGH = 3


def check(facts: Facts) -> Iterator[Finding]:
    """What a Sentinel says of the service."""
    sentinel = facts.sentinel
    if sentinel is None:
        return
    if sentinel.quorum_error:
        yield Finding(
            Severity.ACT,
            "sentinel-quorum",
            "",
            f"Sentinel can't fail over: {sentinel.quorum_error}",
            "nobody replaces a primary that fails",
            f"SENTINEL CKQUORUM {sentinel.service}; start the missing Sentinels",
        )
    if down := sorted(sentinel.flags & {"s_down", "o_down"}):
        yield Finding(
            Severity.ACT,
            "sentinel-down",
            "",
            f"Sentinel counts the primary as down ({', '.join(down)})",
            "a failover goes on, or can't happen",
            "look at the log of the primary and of the Sentinels",
        )
    if sentinel.sentinels < ENOUGH:
        yield Finding(
            Severity.LOOK,
            "few-sentinels",
            "",
            f"there are {sentinel.sentinels} Sentinels",
            "with fewer than three, the loss of one machine can mean that nobody is replaced",
            "run three Sentinels on three machines",
        )
    elif sentinel.quorum * 2 <= sentinel.sentinels:
        yield Finding(
            Severity.LOOK,
            "sentinel-quorum-low",
            "",
            f"the quorum is {sentinel.quorum} of {sentinel.sentinels} Sentinels",
            "a few that see a bad network start failovers",
            f"SENTINEL SET {sentinel.service} quorum {sentinel.sentinels // 2 + 1}",
        )
    for address in sentinel.away:
        yield Finding(
            Severity.LOOK,
            "sentinel-away",
            address,
            "this Sentinel does not answer",
            "one less that can vote",
            "start it again",
        )
