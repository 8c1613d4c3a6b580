"""A cluster of three primaries, each with a replica."""

from __future__ import annotations

from typing import Any

from harness.cluster import Cluster, Node
from harness.server import Server

from chaos.load import addresses
from chaos.topologies.several import Several
from chaos.topology import Addresses


class Slots(Several):
    """Six nodes. Three begin as primaries, with a third of the slots each."""

    cluster: Cluster

    def begin(self) -> None:
        """Start the cluster."""
        # The clocks are true: the load says when tasks are due.
        options: dict[str, Any] = {"clock": "shared", "hurries": False, "env": self.network.environment}
        self.cluster = Cluster(self.installed, **options, **self.settings)

    def addresses(self) -> Addresses:
        """All nodes: each of them knows the others."""
        return addresses.cluster([node.port for node in self.cluster.nodes])

    def nodes(self) -> list[Server]:
        """All six, those first that began as primaries."""
        return list(self.cluster.nodes)

    def shards(self) -> list[list[Server]]:
        """Each primary with its replicas, as the nodes say that run."""
        return [[primary, *self.cluster.replicas_of(primary)] for primary in self.cluster.primaries()]

    def make_well(self) -> None:
        """Wait until the nodes agree, serve all slots, and have their copies."""
        for node in self.cluster.nodes:
            node.frozen = False
        self.cluster.wait_ok(60)

    def discard(self) -> None:
        """End all servers, and remove their data."""
        if hasattr(self, "cluster"):
            self.cluster.discard()

    def pair(self, primary: Node) -> tuple[Node, Node]:
        """A primary with its first replica."""
        return primary, self.cluster.replica_of(primary)
