"""Failovers in a cluster, and a cluster in two halves."""

from __future__ import annotations

from harness.cluster import Node

from chaos.faults.takeover import number, takeover, until_replaced
from chaos.injector import Injector, injector
from chaos.stage import Stage
from chaos.topologies.cluster import Slots
from chaos.topologies.several import others


def slots_of(stage: Stage) -> Slots:
    """The topology, which is a cluster."""
    topology = stage.topology
    assert isinstance(topology, Slots)
    return topology


def any_pair(stage: Stage) -> tuple[Node, Node]:
    """One of the primaries, and its replica."""
    cluster = slots_of(stage).cluster
    primary = stage.random.choice(cluster.primaries())
    return primary, cluster.replica_of(primary)


@injector("primary killed until replaced")
def killed_until_replaced(stage: Stage) -> None:
    """A primary is killed. It starts again when its replica has taken its place, and becomes its replica."""
    until_replaced(stage, "primary killed until replaced", *any_pair(stage), True, 0.0)


@injector("primary stopped until replaced")
def stopped_until_replaced(stage: Stage) -> None:
    """A primary stands still until its replica has taken its place, and wakes up."""
    until_replaced(stage, "primary stopped until replaced", *any_pair(stage), False, 1.0)


@injector("CLUSTER FAILOVER", is_command=True)
def failover(stage: Stage) -> None:
    """CLUSTER FAILOVER. The primary stops writes and waits until the replica has everything: nothing may be lost."""
    topology = slots_of(stage)
    primary, replica = any_pair(stage)
    with stage.fault("CLUSTER FAILOVER", number(stage, primary)):
        topology.cluster.failover(replica)


def forced_failover(how: str) -> Injector:
    """CLUSTER FAILOVER FORCE or TAKEOVER of a healthy primary: the replica asks neither it, nor perhaps the others."""
    kind = f"CLUSTER FAILOVER {how}"

    @injector(kind, is_command=True)
    def forced(stage: Stage) -> None:
        topology = slots_of(stage)
        primary, replica = any_pair(stage)
        with takeover(stage, kind, primary):
            replica.say("CLUSTER", "FAILOVER", how)
            topology.watch.promoted(replica)
            topology.make_well()

    return forced


@injector("cluster in two halves")
def two_halves(stage: Stage) -> None:
    """A primary and a replica of another one are cut off. The others replace it; clients are on both sides."""
    topology = slots_of(stage)
    primary, replica = any_pair(stage)
    away = [primary, stage.random.choice([node for node in topology.replicas() if node is not replica])]
    with takeover(stage, "cluster in two halves", primary):
        topology.network.cut(away, others(topology.nodes(), away))
        topology.watch.promoted(replica)
        stage.wait(stage.random.uniform(0.0, 1.0))
        topology.network.heal()
        topology.make_well()
