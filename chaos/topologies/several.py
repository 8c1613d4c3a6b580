"""What topologies of several nodes share: links that can be cut, a watch over roles, and how they are made whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from harness.network import Network
from harness.server import Installed, NotInTime, Server, wait_synced

from chaos.history import Digest, Exit
from chaos.topologies.compare import digests, exited
from chaos.topologies.watch import Watch
from chaos.topology import Addresses

# A killed node has everything in its file that it has acknowledged, so only a takeover loses something.
SETTINGS: dict[str, Any] = {"appendonly": "yes", "appendfsync": "no"}
# How long writes pause at most while nodes are compared, in ms.
PAUSE_MS = 20_000


class Several(ABC):
    """Nodes with a replica each, or more. `settings` are added to those of each server."""

    network: Network
    watch: Watch

    def __init__(self, installed: Installed, **settings: object):
        self.installed = installed
        self.settings: dict[str, Any] = {**SETTINGS, **settings}

    # ---- what each kind does in its own way

    @abstractmethod
    def begin(self) -> None:
        """Start all servers, and wait until they serve."""

    @abstractmethod
    def addresses(self) -> Addresses:
        """Where clients find the servers."""

    @abstractmethod
    def nodes(self) -> list[Server]:
        """All servers with queues, in a fixed order."""

    @abstractmethod
    def shards(self) -> list[list[Server]]:
        """The nodes that have the same queues: each primary, and its replicas behind it. After `settle` that is all."""

    @abstractmethod
    def make_well(self) -> None:
        """Wait until all nodes, which run, have found their roles and their links, or give them these."""

    @abstractmethod
    def discard(self) -> None:
        """End all servers, and remove their data."""

    # ---- a topology, see chaos/topology.py

    def start(self) -> None:
        """Start all servers, and wait until they serve."""
        self.network = Network()
        self.begin()
        self.watch = Watch(self.nodes())

    def primaries(self) -> list[Server]:
        """The nodes that clients may write to now."""
        return [shard[0] for shard in self.shards()]

    def settle(self) -> None:
        """End all faults: every node runs and serves, every link is up, replicas have what their primary has."""
        self.network.heal()
        for node in self.nodes():
            node.thaw() if node.alive() else node.restart()
        self.make_well()
        for shard in self.shards():
            for replica in shard[1:]:
                wait_synced(shard[0], replica, 60)

    def compared(self) -> list[Digest]:
        """The digests of all queues on all nodes that have them."""
        try:
            return self.compare("end")
        except (NotInTime, redis.ConnectionError):
            # On a machine that is too busy, nodes replace each other meanwhile. One that crashed is told all the same.
            self.settle()
            return self.compare("end")

    def exits(self) -> list[Exit]:
        """Servers that ended or crashed though no fault ended them."""
        return [exit for at, node in enumerate(self.nodes()) for exit in exited(at, node)]

    def stop(self) -> None:
        """End all servers, and remove their data."""
        if hasattr(self, "watch"):
            self.watch.stop()
        self.discard()
        self.network.close()

    # ---- for faults

    def compare(self, when: str) -> list[Digest]:
        """The digests of all queues on the nodes of each shard, while writes pause and replicas have everything."""
        found = []
        for shard in self.shards():
            with paused(shard[0]):
                for replica in shard[1:]:
                    wait_synced(shard[0], replica)
                numbered = [(self.nodes().index(node), node) for node in shard]
                found += digests(f"{when}, node {numbered[0][0]}", numbered)
        return found

    def replicas(self) -> list[Server]:
        """All nodes that are not primaries now."""
        primaries = self.primaries()
        return [node for node in self.nodes() if node not in primaries]


@contextmanager
def paused(primary: Server) -> Iterator[None]:
    """Writes wait, the server's own changes too, so that primary and replicas can be compared."""
    with primary.client() as client:
        client.execute_command("CLIENT", "PAUSE", PAUSE_MS, "WRITE")
        try:
            yield
        finally:
            client.execute_command("CLIENT", "UNPAUSE")


def others(all_: Sequence[Server], these: Sequence[Server]) -> list[Server]:
    """The nodes that are not among these."""
    return [node for node in all_ if node not in these]
