"""A cluster: that all slots are served, and that each primary can be replaced."""

from __future__ import annotations

from collections.abc import Iterator

from ...overview.attention import Severity
from ...shards import SLOTS
from ..facts import Cluster, Facts
from ..finding import Finding, typed

UNEVEN = 1.5


def check(facts: Facts) -> Iterator[Finding]:
    """The state of the cluster as one of its nodes sees it."""
    if facts.cluster is None:
        return
    yield from of_state(facts.cluster)
    primaries = [node for node in facts.primaries if node.info.slots]
    for node in primaries:
        if node.info_number("connected_slaves") == 0:
            yield Finding(
                Severity.LOOK,
                "no-replica",
                node.address,
                "this primary has no replica",
                "if it fails, its slots are away until it is back",
                f"redis-cli --cluster add-node HOST:PORT {typed(node.address)} --cluster-slave",
            )
    counts = [node.info.slots_count for node in primaries]
    if len(counts) > 1 and max(counts) > UNEVEN * min(counts):
        yield Finding(
            Severity.LOOK,
            "slots",
            "",
            f"one primary serves {max(counts)} slots, another {min(counts)}",
            "the first gets most of the queues",
            "redis-cli --cluster rebalance HOST:PORT",
        )


def of_state(cluster: Cluster) -> Iterator[Finding]:
    """Slots that nobody serves, and nodes that failed."""
    served, state = cluster.count("cluster_slots_ok"), cluster.info.get("cluster_state", "ok")
    if state != "ok" or served < SLOTS:
        yield Finding(
            Severity.ACT,
            "cluster-state",
            "",
            f"the cluster's state is {state}: {served} of {SLOTS} slots are served",
            "queues in the other slots can't be used",
            "redis-cli --cluster check HOST:PORT says which node or slot is missing",
        )
    for address in cluster.failed:
        yield Finding(
            Severity.ACT,
            "node-failed",
            address,
            "the cluster counts this node as failed",
            "it does not serve, or can't take over",
            "start it again, or CLUSTER FORGET it on all other nodes",
        )
