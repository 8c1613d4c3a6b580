"""Replicas: that they are there, follow, and are waited for."""

from __future__ import annotations

from collections.abc import Iterator

from ...overview.attention import Severity
from ..facts import Facts, Node
from ..finding import Finding, set_to, typed

MIB = 1024 * 1024
# What a short disconnection may need; redis.conf has 64 MiB.
SMALLEST_BACKLOG = 16 * MIB
# Below this a replica with much data never gets its copy; redis.conf has 512 MiB.
SMALLEST_BUFFER = 512 * MIB
# So far behind, a replica would lose seconds of pushes.
FAR_BEHIND = 16 * MIB
SILENT_S = 10
# For so long a primary that is cut off may accept tasks; redis.conf has 10 s.
LONGEST_LAG_S = 30


def check(facts: Facts) -> Iterator[Finding]:
    """Each server, and what a failover would lose."""
    first = facts.nodes[0] if facts.nodes else None
    if first is not None and not first.info.is_primary and not list(facts.primaries):
        yield Finding(
            Severity.LOOK,
            "only-a-replica",
            first.address,
            f"this is a replica of {first.info.primary}, and its primary was not looked at",
            "workers and producers need the primary",
            f"taskslot doctor --url redis://{typed(first.info.primary)}",
        )
    for node in facts.nodes:
        if node.info.is_primary:
            yield from of_primary(node, facts.sentinel is not None)
        else:
            yield from of_replica(node)
        if node.info.replicas or not node.info.is_primary:
            yield from of_room(node)


def of_primary(node: Node, is_watched: bool) -> Iterator[Finding]:
    """A primary with replicas."""
    good = node.info_number("min_slaves_good_slaves")
    least = node.setting_number("min-replicas-to-write")
    if least and good is not None and good < least:
        yield Finding(
            Severity.ACT,
            "no-good-replicas",
            node.address,
            f"{good} of {least} replicas that it needs reply",
            "all writes get NOREPLICAS, also those of workers",
            "repair the replica; for now: CONFIG SET min-replicas-to-write 0",
        )
    if not node.info.replicas:
        return
    if least == 0:
        yield Finding(
            Severity.LOOK,
            "min-replicas-to-write",
            node.address,
            "min-replicas-to-write is 0",
            "a primary that is cut off goes on to accept tasks, which a failover loses"
            + (" (Sentinel: 3,784 of 4,064 in a test)" if is_watched else ""),
            set_to("min-replicas-to-write", "1") + "; the same with min-replicas-max-lag 10",
        )
    lag = node.setting_number("min-replicas-max-lag")
    if least and lag is not None and not 0 < lag <= LONGEST_LAG_S:
        yield Finding(
            Severity.LOOK,
            "min-replicas-max-lag",
            node.address,
            f"min-replicas-max-lag is {lag} s",
            "it turns min-replicas-to-write off"
            if lag == 0
            else "so long a primary that is cut off accepts tasks, which a failover loses",
            set_to("min-replicas-max-lag", "10"),
        )
    offset = node.info_number("master_repl_offset") or 0
    for at, one in enumerate(node.info.replicas):
        behind = offset - offset_of(node, at, offset)
        if one.state != "online" or one.lag_s > SILENT_S or behind > FAR_BEHIND:
            yield Finding(
                Severity.LOOK,
                "replica-behind",
                node.address,
                f"its replica {one.address} is {one.state}, {behind / MIB:.0f} MiB behind, "
                f"silent for {max(one.lag_s, 0)} s"
                if one.state == "online"
                else f"its replica {one.address} is still copying ({one.state})",
                "a failover to it would lose tasks",
                "look at both logs and at the network",
            )


def offset_of(node: Node, at: int, unknown: int) -> int:
    """How far a replica has come, as its primary knows."""
    one = node.field(f"slave{at}")
    return int(one.get("offset", unknown)) if isinstance(one, dict) else unknown


def of_replica(node: Node) -> Iterator[Finding]:
    """A replica."""
    if node.setting("replica-read-only") == "no":
        yield Finding(
            Severity.ACT,
            "replica-read-only",
            node.address,
            "this replica accepts writes",
            "a write to it makes queues BROKEN there",
            set_to("replica-read-only", "yes"),
        )


def of_room(node: Node) -> Iterator[Finding]:
    """Room for a replica that was away for a while, or copies everything."""
    backlog = node.setting_number("repl-backlog-size")
    if backlog is not None and backlog < SMALLEST_BACKLOG:
        yield Finding(
            Severity.LOOK,
            "repl-backlog-size",
            node.address,
            f"repl-backlog-size is {backlog / MIB:.0f} MiB",
            "a replica that was away for a moment has to copy everything",
            set_to("repl-backlog-size", "64mb"),
        )
    limit = node.buffer_limit("replica")
    if limit is not None and 0 < limit[0] < SMALLEST_BUFFER:
        yield Finding(
            Severity.LOOK,
            "client-output-buffer-limit-replica",
            node.address,
            f"client-output-buffer-limit cuts a replica off at {limit[0] // MIB} MiB",
            "a replica that copies much data is cut off, and begins again, for ever",
            set_to("client-output-buffer-limit", '"replica 512mb 256mb 120"'),
        )
