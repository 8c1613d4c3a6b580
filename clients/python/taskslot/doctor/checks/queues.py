"""Queues: broken ones, those that are too large to be moved, late work, and shards on few servers."""

from __future__ import annotations

from collections.abc import Iterator

from ...figures import span
from ...overview.attention import LATE_MS, Severity
from ...overview.rows import logical_queues
from ...overview.seen import Seen
from ...printable import printable
from ..facts import Facts, Node
from ..finding import Finding

# The names that a finding shows.
SHOWN = 5
# Late work of this length is noticed by everybody.
VERY_LATE_MS = 10_000
# One server may have this many times the shards of another.
UNEVEN = 2


def check(facts: Facts) -> Iterator[Finding]:
    """What the servers say of their queues."""
    for node in facts.nodes:
        yield from of_node(node, facts.seen)
    if facts.seen is not None and facts.cluster is not None:
        yield from of_shards(facts.seen, [node.address for node in facts.primaries if node.info.slots])


def of_node(node: Node, seen: Seen | None) -> Iterator[Finding]:
    """Broken queues, late work, and warnings of the module that no other check knows."""
    if node.info.broken_queues > 0:
        names = broken_on(node, seen)
        yield Finding(
            Severity.ACT,
            "broken",
            node.address,
            f"broken queues: {node.info.broken_queues}" + (f" ({', '.join(names)})" if names else ""),
            "they can be read but not changed",
            "docs/operations.md#broken-queues; TASK.INFO key has the reason",
        )
    if node.info.due_lag_ms > LATE_MS:
        yield Finding(
            Severity.ACT if node.info.due_lag_ms > VERY_LATE_MS else Severity.LOOK,
            "due-lag",
            node.address,
            f"due work was {span(node.info.due_lag_ms)} late in the last minute",
            "something blocks the server",
            "LATENCY LATEST and SLOWLOG GET show what (docs/operations.md#tasks-start-late)",
        )
    for name, text in node.info.warnings.items():
        if name not in ("eviction", "durability"):  # others checks have these
            yield Finding(
                Severity.LOOK,
                f"warning-{name.replace('_', '-')}",
                node.address,
                printable(text),
                "the module says so",
                "docs/operations.md#memory",
            )


def broken_on(node: Node, seen: Seen | None) -> list[str]:
    """Some of the broken queues of a primary, by name."""
    if seen is None:
        return []
    found = sorted(
        key for key, info in seen.infos.items() if info.broken and seen.places.get(key) == node.address
    )
    return [printable(key)[:80] for key in found[:SHOWN]] + ["…"] * (len(found) > SHOWN)


def of_shards(seen: Seen, primaries: list[str]) -> Iterator[Finding]:
    """Logical queues most of whose shards are on few primaries."""
    for queue, shards in sorted(logical_queues(seen.infos).items()):
        if len(shards) < 2 * len(primaries) or len(primaries) < 2:
            continue  # too few for an even spread
        numbers = {place: 0 for place in primaries}
        for key in shards:
            if (place := seen.places.get(key)) in numbers:
                numbers[str(place)] += 1
        least, most = min(numbers.values()), max(numbers.values())
        if most > UNEVEN * max(least, 1):
            yield Finding(
                Severity.LOOK,
                "shards",
                "",
                f"one server has {most} shards of {printable(queue)[:80]}, another {least}",
                "the first does most of the work",
                "move slots (redis-cli --cluster rebalance; docs/cluster.md#shards)",
            )
