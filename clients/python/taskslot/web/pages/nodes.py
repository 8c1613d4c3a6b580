"""The nodes: primaries and replicas, what they say of themselves, and how the queues are spread over them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...overview import NodeInfo, Seen, node_concerns, tones
from ...overview.attention import MEMORY_SHORT, clock_off_ms
from ...overview.rows import logical_queues
from ..http.links import links_of
from ..live.sampler import Snapshot
from ..site import Part, site_of

# The most logical queues of which the spread over the nodes is shown.
MOST_SPREAD = 200


@dataclass(frozen=True)
class Spread:
    """How many shards of a logical queue each primary has."""

    queue: str
    shards: int
    by_node: Sequence[int]

    @property
    def is_uneven(self) -> bool:
        """Whether a node has more than its share, by more than one shard."""
        return max(self.by_node, default=0) - min(self.by_node, default=0) > 1


def page(request: Request) -> Response:
    """The page of the nodes."""
    site = site_of(request)
    snapshot = site.sampler.snapshot()
    live = links_of(request)("/live", view="nodes")
    return site.page(request, "nodes.html", live=live, **template_values(snapshot))


def parts(request: Request, snapshot: Snapshot) -> dict[str, Part]:
    """All of it changes."""
    return {"nodes": site_of(request).part(request, "nodes.html", "nodes", **template_values(snapshot))}


def template_values(snapshot: Snapshot) -> dict[str, Any]:
    """The values of the template."""
    seen = snapshot.seen
    primaries = [node for node in seen.nodes if node.is_primary]
    found = Counter(seen.places.values())
    return {
        "snapshot": snapshot,
        "primaries": primaries,
        "replicas_of": {node.address: replicas_of(seen, node) for node in primaries},
        "queues_on": {node.address: found[node.address] for node in primaries},
        "spreads": spreads(seen, [node.address for node in primaries]),
        "concerns_of": node_concerns,
        "clock_off_ms": clock_off_ms,
        "slot_ranges": slot_ranges,
        "tones": tones,
        "tone_of": tones.OF_SEVERITY,
        "memory_short": MEMORY_SHORT,
    }


def replicas_of(seen: Seen, primary: NodeInfo) -> list[tuple[str, str, int, NodeInfo | None]]:
    """The replicas of a primary: address, link, how far behind in s (-1: unknown), and what it says if it was asked."""
    asked = {node.address: node for node in seen.nodes if not node.is_primary}
    known = [(one.address, one.state, one.lag_s, asked.get(one.address)) for one in primary.replicas]
    named = {address for address, *_ in known}
    others = [
        node for node in asked.values() if node.primary == primary.address and node.address not in named
    ]
    return known + [(node.address, f"link {node.link}", -1, node) for node in others]


def spreads(seen: Seen, addresses: Sequence[str]) -> list[Spread]:
    """How the shards of each logical queue are spread over the primaries; the uneven ones first."""
    made = []
    for queue, keys in sorted(logical_queues(seen.infos).items()):
        counts = Counter(seen.places.get(key, "") for key in keys)
        made.append(Spread(queue, len(keys), [counts[address] for address in addresses]))
    return sorted(made, key=lambda spread: not spread.is_uneven)[:MOST_SPREAD]


def slot_ranges(node: NodeInfo) -> str:
    """The slots of a node, as 0–5460; the first few ranges."""
    texts = [f"{first}–{last}" if first != last else str(first) for first, last in node.slots]
    return ", ".join(texts[:4]) + (f" and {len(texts) - 4} more" if len(texts) > 4 else "")


live = {"nodes": parts}
routes = [Route("/nodes", page)]
