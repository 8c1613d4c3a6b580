"""The servers of a client: one, the primary that Sentinel names, or a cluster's primaries, and their replicas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..addresses import host_and_port
from ..clients import Client
from .node_info import NodeInfo, ranges


@dataclass(frozen=True)
class Server:
    """A server and a client for it. The `name` stays the same when Sentinel names another primary."""

    name: str
    client: Any
    slots: tuple[tuple[int, int], ...] = ()
    is_primary: bool = True

    @property
    def address(self) -> str:
        """Host and port, or the path of a socket. Which one Sentinel names is only known once a connection is open."""
        return self.name or Client(self.client).place


class Servers:
    """Finds the servers anew for each look, because primaries change, and keeps the clients for replicas."""

    def __init__(self, client: Any, patience_s: float) -> None:
        self.kind = Client(client)
        self._patience_s = patience_s
        self._twin: Client | None = None
        self._neighbours: dict[str, Any] = {}

    def primaries(self) -> list[Server]:
        """The primaries. For a cluster that is one command; if no node replies, the client's error is raised."""
        if self._twin is None:
            self._twin = Client(self.kind.twin(self._patience_s))
        twin = self._twin
        if not twin.is_cluster:
            return [Server("", twin.client)]
        return [
            Server(node.name, twin.client_of(node), tuple(ranges(slots))) for node, slots in twin.primaries()
        ]

    def replicas(self, primaries: Iterable[NodeInfo]) -> list[Server]:
        """The replicas: those of a cluster, or those that the primary names in its INFO."""
        twin = self._twin
        if twin is None:
            return []
        if twin.is_cluster:
            nodes = twin.client.get_replicas()
            return [Server(node.name, twin.client_of(node), is_primary=False) for node in nodes]
        named = [one.address for primary in primaries for one in primary.replicas if one.address]
        for gone in self._neighbours.keys() - set(named):
            self._neighbours.pop(gone).close()
        for place in named:
            if place not in self._neighbours:
                self._neighbours[place] = twin.neighbour(*host_and_port(place), self._patience_s)
        return [Server(place, self._neighbours[place], is_primary=False) for place in named]

    def close(self) -> None:
        """Close all connections that this opened. The user's client stays open."""
        for client in self._neighbours.values():
            client.close()
        self._neighbours.clear()
        if self._twin is not None:
            self._twin.client.close()
            self._twin = None
