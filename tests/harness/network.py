"""The network between servers on this machine: each pair has a link in each direction that can be cut, slow or reset.

    network = Network()
    primary, replica = (Server(installed, port=True, env=network.environment) for _ in range(2))
    replica.replicate(primary)
    network.cut([primary], [replica])

Servers keep telling each other their true ports. The LD_PRELOAD library redirect.c leads their connections to links, so
it works for replicas, for sentinels, and for the bus of a cluster. Clients connect past it: they are on both sides.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.proxy import Link, LoopThread
from harness.server import Server, build_shim

PORTS = 65536
# A node's port for other nodes is its port + this number.
BUS = 10_000


class Network:
    """All links between the servers that were started with its `environment`."""

    def __init__(self) -> None:
        self._thread = LoopThread()
        self._ports: dict[Server, int] = {}
        self._tables: dict[Server, mmap.mmap] = {}
        self._links: dict[tuple[Server, Server], list[Link]] = {}

    def environment(self, server: Server) -> dict[str, str]:
        """What a server's process needs in its environment, as the argument `env` of `Server`."""
        if self._ports.get(server) != server.port:
            self._join(server)
        library = build_shim(Path(__file__).with_name("redirect.c"))
        return {"LD_PRELOAD": str(library), "REDIRECT_FILE": str(self._file(server))}

    def cut(self, these: Iterable[Server], those: Iterable[Server]) -> None:
        """Let nothing through between the servers of two groups, in either direction, until `heal`."""
        self._each(these, those, Link.cut)

    def heal(self) -> None:
        """Make all links whole again, and as fast as they can be."""

        def as_new(link: Link) -> None:
            link.delay_s = 0.0
            link.heal()

        self._each(self._ports, self._ports, as_new)

    def reset(self, these: Iterable[Server], those: Iterable[Server]) -> None:
        """Break off all connections between the servers of two groups."""
        self._each(these, those, Link.reset)

    def slow(self, these: Iterable[Server], those: Iterable[Server], delay_s: float) -> None:
        """Let everything between two groups take this time, in each direction."""
        self._each(these, those, lambda link: setattr(link, "delay_s", delay_s))

    def close(self) -> None:
        """Close all links. The servers should have ended."""
        for links in self._links.values():
            for link in links:
                self._thread.run(link.close())
        self._thread.end()

    @staticmethod
    def _file(server: Server) -> Path:
        return server.dir / "redirect"

    def _join(self, server: Server) -> None:
        """Make links between a server and all others. A server whose port changed gets new ones."""
        for pair in [pair for pair in self._links if server in pair]:
            for link in self._links.pop(pair):
                self._thread.run(link.close())
        self._file(server).write_bytes(bytes(2 * PORTS))
        with open(self._file(server), "r+b") as file:
            self._tables[server] = mmap.mmap(file.fileno(), 2 * PORTS)
        self._ports[server] = server.port
        for other in self._ports:
            if other is not server:
                self._thread.run(self._lead(server, other))
                self._thread.run(self._lead(other, server))

    async def _lead(self, source: Server, target: Server) -> None:
        """Make the links from one server to another, and lead its connections there."""
        links = self._links[source, target] = []
        for port in (self._ports[target], self._ports[target] + BUS):
            link = Link(port)
            await link.open()
            links.append(link)
            self._tables[source][2 * port : 2 * port + 2] = struct.pack("=H", link.port)

    def _each(self, these: Iterable[Server], those: Iterable[Server], do: Callable[[Link], object]) -> None:
        these, those = set(these), set(those)

        async def each() -> None:
            for (source, target), links in self._links.items():
                if (source in these and target in those) or (source in those and target in these):
                    for link in links:
                        do(link)

        self._thread.run(each())
