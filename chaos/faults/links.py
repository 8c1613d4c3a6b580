"""Links between nodes that are cut, slow or broken off, and heal. Clients reach every node all the time."""

from __future__ import annotations

from harness.server import wait_synced

from chaos.faults.takeover import several, takeover
from chaos.history import COMPARED
from chaos.injector import injector
from chaos.stage import Stage


@injector("link cut")
def link_cut(stage: Stage) -> None:
    """A primary and its replicas don't hear of each other for a moment. Nobody is told, and the rest follows."""
    topology = several(stage)
    primary, *replicas = stage.random.choice(topology.shards())
    with takeover(stage, "link cut", primary):
        topology.network.cut([primary], replicas)
        stage.wait(stage.random.uniform(0.3, 2.0))
        topology.network.heal()
        if stage.random.random() < 0.5:
            topology.network.reset([primary], replicas)
        topology.make_well()


@injector("links broken off")
def links_reset(stage: Stage) -> None:
    """All connections between nodes are broken off; replicas go on where they were (partial resync)."""
    topology = several(stage)
    nodes = topology.nodes()
    with takeover(stage, "links broken off", nodes[0]):
        for _ in range(stage.random.randint(1, 3)):
            topology.network.reset(nodes, nodes)
            stage.wait(stage.random.uniform(0.0, 0.3))
        topology.make_well()


@injector("links slow")
def links_slow(stage: Stage) -> None:
    """What nodes send each other takes up to 0.2 s."""
    topology = several(stage)
    nodes = topology.nodes()
    with takeover(stage, "links slow", nodes[0]) as fault:
        delay_s = fault.details["delay_s"] = stage.random.uniform(0.02, 0.2)
        topology.network.slow(nodes, nodes, delay_s)
        stage.wait(stage.random.uniform(0.5, 2.0))
        topology.network.heal()


@injector("full resync")
def new_copies(stage: Stage) -> None:
    """Replicas can't go on where they were, and get a whole copy (full resync)."""
    topology = several(stage)
    primary, *replicas = stage.random.choice(topology.shards())
    with takeover(stage, "full resync", primary):
        with primary.client() as client:
            client.execute_command("DEBUG", "CHANGE-REPL-ID")
        topology.network.reset([primary], replicas)
        topology.make_well()
        wait_synced(primary, replicas[0], 60)


@injector(COMPARED)
def compared(stage: Stage) -> None:
    """No fault: writes pause for a moment, and the digests of primary and replicas are taken at equal offsets."""
    topology = several(stage)
    with stage.fault(COMPARED, topology.nodes().index(topology.primaries()[0])) as fault:
        for digest in topology.compare(f"at {fault.began:.3f}"):
            stage.note(digest)
