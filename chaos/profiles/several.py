"""Profiles of several nodes: a chain of replicas, Sentinel, a cluster, and an older build of the module."""

from __future__ import annotations

from functools import partial
from typing import Any

from harness.server import Installed

from chaos.faults import cluster, links, nodes, replicas, sentinel, slots, upgrade
from chaos.older import EFFECTS_5, RELEASE, SAME_FORMATS, Older, lacks
from chaos.profiles.profile import Profile
from chaos.topologies.cluster import Slots
from chaos.topologies.replicas import Replicas
from chaos.topologies.sentinel import Watched

LAG = "until the old primary is demoted: what its replica did not have"
AT_LEAST_ONE: dict[str, Any] = {"min_replicas_to_write": 1, "min_replicas_max_lag": 1}
# Under Sentinel the replica itself is away for some seconds in a failover.
UNDER_SENTINEL: dict[str, Any] = {"min_replicas_to_write": 1, "min_replicas_max_lag": 10}
# Where each primary has one replica of its own, which takes over: what WAIT confirmed must not be lost.
CONFIRMED: dict[str, object] = {"confirmed": 0.25}
# What the last release has, too.
OLD_LOAD = {"kinds": ("plain", "groups", "noack", "tied"), "node": False, "library": False}

ON_LINKS = {links.link_cut: 2.0, links.links_reset: 2.0, links.links_slow: 1.0, links.compared: 1.0}
ON_NODES = {nodes.replica_killed: 1.0, nodes.primary_killed: 1.0, nodes.node_stopped: 1.0}
ON_CLOCKS = {nodes.clock_stepped: 2.0, nodes.clock_drifts: 1.0}


def older(build: Older, installed: Installed) -> Replicas:
    """A chain that starts with an older build of the module, which is built first if it isn't there."""
    return Replicas(installed, module=build.path())


PROFILES = (
    Profile(
        "replicas",
        "FAILOVER, links cut and broken off, replicas killed, copies broken off, buffers full",
        Replicas,
        {
            **ON_LINKS,
            **ON_NODES,
            links.new_copies: 1.0,
            replicas.failover: 2.0,
            replicas.output_limit: 0.5,
            replicas.copy_broken_off: 0.5,
        },
    ),
    Profile(
        "promoted",
        "replica promoted behind a cut link, or at once; clients on both sides",
        Replicas,
        {replicas.promoted_behind_a_cut: 3.0, replicas.promoted_healthy: 1.0, links.compared: 0.5},
        window=LAG,
        load=CONFIRMED,
    ),
    Profile(
        "promoted-min",
        "the same with `min-replicas-to-write 1`, `min-replicas-max-lag 1`",
        partial(Replicas, **AT_LEAST_ONE),
        {replicas.promoted_behind_a_cut: 3.0, replicas.promoted_healthy: 1.0, links.compared: 0.5},
        window=LAG,
        load=CONFIRMED,
    ),
    Profile(
        "replicas-clocks",
        "clocks of single nodes set and drifting, FAILOVER, promotions",
        Replicas,
        {**ON_CLOCKS, replicas.failover: 1.0, replicas.promoted_healthy: 1.0, nodes.primary_killed: 1.0},
        window=LAG,
    ),
    Profile(
        "replicas-power",
        "`everysec`: power cut of the primary, which is back before another takes its place",
        partial(Replicas, disk=True, appendfsync="everysec"),
        {replicas.power_cut: 3.0, nodes.replica_killed: 1.0},
        window="since the last sync: what WAIT confirmed, too",
        load=CONFIRMED,
    ),
    Profile(
        "sentinel-killed",
        "primary killed, and started again as one once its replica was promoted",
        Watched,
        {sentinel.killed_and_back: 1.0},
        window=LAG,
        load=CONFIRMED,
    ),
    Profile(
        "sentinel-stopped",
        "primary stopped (`SIGSTOP`) until its replica was promoted, then resumed; producers keep their connection",
        Watched,
        {sentinel.stopped_until_replaced: 1.0},
        window=LAG,
        load={"keeping": 2, **CONFIRMED},
    ),
    Profile(
        "sentinel-min",
        "the same, and `SENTINEL FAILOVER`, with `min-replicas-to-write 1`, `min-replicas-max-lag 10`",
        partial(Watched, **UNDER_SENTINEL),
        {sentinel.stopped_until_replaced: 1.0, sentinel.failed_over: 1.0},
        window=LAG,
        load={"keeping": 2, **CONFIRMED},
    ),
    Profile(
        "sentinel-cut",
        "primary cut off from its replica and the sentinels until that was promoted; clients on both sides",
        Watched,
        {sentinel.cut_off_until_replaced: 1.0},
        window=LAG,
        load=CONFIRMED,
    ),
    Profile(
        "sentinel-cut-min",
        "the same with `min-replicas-to-write 1`, `min-replicas-max-lag 10`",
        partial(Watched, **UNDER_SENTINEL),
        {sentinel.cut_off_until_replaced: 1.0},
        window=LAG,
        load=CONFIRMED,
    ),
    Profile(
        "sentinel-failover",
        "`SENTINEL FAILOVER` of a healthy primary, and `COORDINATED` where the server has it",
        Watched,
        {sentinel.failed_over: 1.0, sentinel.failed_over_in_order: 1.0},
        window=LAG,
        load=CONFIRMED,
    ),
    Profile(
        "cluster",
        "`CLUSTER FAILOVER`, slots moved by key (Valkey 9: also atomically), replicas killed, links broken off",
        Slots,
        {
            **ON_LINKS,
            **ON_NODES,
            links.new_copies: 0.5,
            cluster.failover: 2.0,
            slots.moved_by_key: 2.0,
            slots.moved_at_once: 2.0,
        },
    ),
    Profile(
        "cluster-replaced",
        "primaries killed or stopped until replaced, `CLUSTER FAILOVER FORCE` and `TAKEOVER`, two halves",
        Slots,
        {
            cluster.killed_until_replaced: 2.0,
            cluster.stopped_until_replaced: 1.0,
            cluster.forced_failover("FORCE"): 0.5,
            cluster.forced_failover("TAKEOVER"): 0.5,
            cluster.two_halves: 2.0,
            slots.moved_by_key: 0.5,
            links.compared: 0.5,
        },
        window=LAG,
    ),
    Profile(
        "cluster-clocks",
        "clocks of single nodes set and drifting, `CLUSTER FAILOVER`, slots moved",
        Slots,
        {**ON_CLOCKS, cluster.failover: 1.0, slots.moved_by_key: 1.0, slots.moved_at_once: 1.0},
    ),
    Profile(
        "upgrade",
        "module upgraded and downgraded, replicas first; an older build with the same formats",
        partial(older, SAME_FORMATS),
        {upgrade.upgraded_and_back: 1.0, links.links_reset: 1.0, links.compared: 1.0},
        gap_s=(0.2, 1.0),
        lacks=partial(lacks, SAME_FORMATS),
    ),
    Profile(
        "upgrade-effects",
        "module upgraded from a build with older effects",
        partial(older, EFFECTS_5),
        {upgrade.upgraded_for_good: 1.0},
        lacks=partial(lacks, EFFECTS_5),
    ),
    Profile(
        "upgrade-formats",
        "module upgraded from 0.2.0, which has older formats",
        partial(older, RELEASE),
        {upgrade.upgraded_for_good: 1.0},
        load=OLD_LOAD,
        lacks=partial(lacks, RELEASE),
    ),
)
