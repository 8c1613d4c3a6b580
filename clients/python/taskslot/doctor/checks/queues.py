"""Queues: shards on few servers."""

from __future__ import annotations

from collections.abc import Iterator

from ...overview.attention import Severity
from ...overview.rows import logical_queues
from ...overview.seen import Seen
from ...printable import printable
from ..facts import Facts
from ..finding import Finding

# One server may have this many times the shards of another.
UNEVEN = 2


def check(facts: Facts) -> Iterator[Finding]:
    """The shards of logical queues."""
    if facts.seen is not None and facts.cluster is not None:
        yield from of_shards(facts.seen, [node.address for node in facts.primaries if node.info.slots])


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
