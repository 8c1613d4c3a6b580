"""All checks in order."""

from __future__ import annotations

from collections.abc import Iterator

from ..overview.notes import AWAY
from .checks import (
    access,
    clocks,
    cluster,
    concerns,
    connections,
    durability,
    host,
    memory,
    queues,
    replicas,
    sentinel,
    versions,
)
from .facts import Facts
from .finding import Finding

CHECKS = (
    concerns, versions, queues, durability, memory, replicas, cluster, sentinel, connections, access, clocks, host,
)  # fmt: skip


def examine(facts: Facts) -> list[Finding]:
    """What is wrong, the worst first. Among findings of a severity, those of a check stay together."""
    found = [*unanswered(facts), *(finding for one in CHECKS for finding in one.check(facts))]
    return sorted(found, key=lambda finding: -finding.severity)


def unanswered(facts: Facts) -> Iterator[Finding]:
    """Servers that did not reply."""
    for address in facts.away:
        yield concerns.found(address, AWAY)


def status(findings: list[Finding]) -> int:
    """The exit status: 0 if nothing needs a person, 1 for what is worth a look, 2 for what needs somebody now."""
    return max((int(finding.severity) for finding in findings), default=0)
