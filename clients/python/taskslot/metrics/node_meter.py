"""Turns readings into the metrics of nodes. Node-wide totals start again with the node, and have its label. Pure."""

from __future__ import annotations

from ..overview import NodeInfo
from ..overview.node_info import UNREACHED
from .family import Family, Gauge, Measured, gauge, known, seconds
from .labels import label
from .queue_families import TOTALS
from .reading import Reading

UP = Family("node.up", "gauge", "1 if the node answered.", ("node",))
INFO = Family(
    "node.info",
    "gauge",
    "Role and versions of a node.",
    ("node", "role", "server", "server_version", "module_version"),
)
WARNING = Family("node.warning", "gauge", "1 for each warning of INFO that applies.", ("node", "warning"))
TOTAL_FAMILIES = {
    name: Family(f"node.{name}", "counter", f"On this node since its start, in all queues. {help}", ("node",))
    for name, help in TOTALS.items()
}
SLOW_TICKS = Family("node.slow_ticks", "counter", "Runs of timed work that took 5 ms or longer.", ("node",))
GAUGES: tuple[Gauge[NodeInfo], ...] = (
    gauge(
        "node.due_lag",
        "The longest delay of timed work (due tasks, ended leases, schedules) in the last minute.",
        lambda node: seconds(node.due_lag_ms),
        "seconds",
    ),
    gauge("node.warnings", "How many of the warnings of INFO apply.", lambda node: len(node.warnings)),
    gauge("node.broken_queues", "Queues that are BROKEN.", lambda node: known(node.broken_queues)),
    gauge("node.queues", "Queues in memory; each shard is one.", lambda node: known(node.queues)),
    gauge("node.queues_memory", "Memory of all queues.", lambda node: known(node.queues_memory), "bytes"),
    gauge("node.used_memory", "Memory that the server uses.", lambda node: known(node.used_memory), "bytes"),
    gauge("node.maxmemory", "The limit of memory; 0 for none.", lambda node: known(node.maxmemory), "bytes"),
    gauge("node.blocked_workers", "Blocked workers.", lambda node: known(node.blocked_workers)),
    gauge("node.result_waiters", "Clients blocked in TASK.RESULT.", lambda node: known(node.result_waiters)),
    gauge(
        "node.clock_skew",
        "How far the module's clock is ahead of the wall clock.",
        lambda node: node.clock_skew_ms / 1000 if node.module else None,
        "seconds",
    ),
    gauge("node.slots", "Slots of the cluster that the node serves.", lambda node: node.slots_count or None),
    gauge(
        "node.replicas",
        "Replicas that a primary knows.",
        lambda node: len(node.replicas) if primary(node) else None,
    ),
    gauge(
        "node.replicas_online",
        "Replicas that have their copy.",
        lambda node: sum(one.state == "online" for one in node.replicas) if primary(node) else None,
    ),
    gauge(
        "node.primary_link_up",
        "1 if a replica is connected to its primary.",
        lambda node: node.link == "up" if node.role == "replica" else None,
    ),
    gauge("node.uptime", "How long the server has run.", lambda node: known(node.uptime_s), "seconds"),
)


def primary(node: NodeInfo) -> bool:
    """Whether a node is known to be a primary."""
    return node.role == "primary"


def measure_nodes(reading: Reading) -> list[Measured]:
    """The families of nodes."""
    up, info, warning = Measured(UP), Measured(INFO), Measured(WARNING)
    for address in reading.away:
        up.add(0, label(address))
    gauges = [Measured(one.family) for one in GAUGES]
    totals = {name: Measured(family) for name, family in TOTAL_FAMILIES.items()}
    slow = Measured(SLOW_TICKS)
    for node in reading.nodes:
        if node.address in reading.away or node.trouble == UNREACHED:
            continue  # of the latter nothing is known here; its primary counts it
        name = label(node.address)
        up.add(1, name)
        info.add(
            1, name, *(label(text) for text in (node.role, node.server, node.server_version, node.module))
        )
        for text in node.warnings:
            warning.add(1, name, label(text))
        for measured, one in zip(gauges, GAUGES, strict=True):
            for labels, value in one.values(node):
                measured.add(value, name, *labels)
        for total, value in node.totals.items():
            if total in totals:
                totals[total].add(value, name)
        slow.add(known(node.slow_ticks), name)
    return [up, info, warning, *gauges, *totals.values(), slow]
