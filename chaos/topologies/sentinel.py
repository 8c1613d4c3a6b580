"""A primary and its replica under three sentinels, which promote and demote them."""

from __future__ import annotations

import time

from harness.sentinel import NAME, Sentinel
from harness.server import Server, wait_synced

from chaos.load.addresses import sentinel
from chaos.topologies.several import Several
from chaos.topology import Addresses


class Watched(Several):
    """Two nodes and three sentinels. A failover takes about 3 s, and a restarted primary is demoted after some 10 s."""

    sentinel: Sentinel

    def begin(self) -> None:
        """Start the nodes and the sentinels."""
        self.sentinel = Sentinel(self.installed, clock=True, env=self.network.environment, **self.settings)

    def addresses(self) -> Addresses:
        """The sentinels."""
        return sentinel([watcher.port for watcher in self.sentinel.watchers], NAME)

    def nodes(self) -> list[Server]:
        """The two nodes."""
        return self.sentinel.nodes

    def shards(self) -> list[list[Server]]:
        """The primary that the sentinels agree on, and the other node."""
        primary = self.sentinel.primary()
        return [[primary, *(node for node in self.nodes() if node is not primary)]]

    def make_well(self) -> None:
        """Wait until the sentinels have given both nodes their roles, and the replica has its copy.

        Before, clients that read from it see what it had as a primary.
        """

        def is_well() -> bool:
            since = time.monotonic()
            names = [watcher.primary_port() for watcher in self.sentinel.watchers]
            if len(set(names)) > 1:
                return False
            primary, replica = self.shards()[0]
            seen = [self.watch.last(node) for node in (primary, replica)]
            return all(s and s.asked > since - 1 for s in seen) and [s.is_primary for s in seen if s] == [
                True,
                False,
            ]

        self.watch.until(is_well, "the sentinels have given both nodes their roles")
        primary, replica = self.shards()[0]
        wait_synced(primary, replica, 60)

    def discard(self) -> None:
        """End all servers, and remove their data."""
        if hasattr(self, "sentinel"):
            self.sentinel.discard()
