"""Nodes: replicas are equal, no server ends by itself, no queue is broken, no command fails inside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from chaos.history import Digest
from chaos.rules.finding import Finding
from chaos.timeline import Timeline


def unequal(timeline: Timeline) -> Iterator[Finding]:
    """Two nodes that had the same changes differ in a queue."""
    compared: dict[tuple[str, str], list[Digest]] = defaultdict(list)
    for digest in timeline.history.digests:
        compared[digest.comparison, digest.queue].append(digest)
    for (comparison, queue), found in compared.items():
        if len({digest.digest for digest in found}) > 1:
            nodes = ", ".join(f"{digest.node} {digest.digest}" for digest in found)
            yield Finding("unequal", f"{queue} differs at {comparison}: {nodes}")


def ended(timeline: Timeline) -> Iterator[Finding]:
    """A server process ended by itself."""
    for found in timeline.history.exits:
        yield Finding("exit", f"{found.node} ended with status {found.status}: {found.log[-2000:]}")


def broken(timeline: Timeline) -> Iterator[Finding]:
    """A queue was marked as broken, or a command failed in itself, and no fault explains it."""
    told: set[tuple[str, str]] = set()
    for call in timeline.history.calls:
        if call.word == "BROKEN" and timeline.permitted.broken_at(call.queue) > call.ended:
            rule, text = "broken", f"{call.queue} is broken"
        elif "internal error" in call.error:
            rule, text = "internal error", f"{call.call} on {call.queue}: {call.error}"
        else:
            continue
        if (rule, call.queue) not in told:
            told.add((rule, call.queue))
            yield Finding(rule, text, [], [call])
