"""Sentinels on this machine that monitor a primary and its replica, and carry out failovers.

`Sentinel(installed)` starts two servers and three sentinels, and returns when they agree, after 2 to 3 s. A failover
takes 3 s. Nothing here depends on pytest.
"""

from __future__ import annotations

import redis
import redis.sentinel

from harness.server import Installed, Server, wait_until

NAME = "main"
QUORUM = 2


class Watcher(Server):
    """A sentinel: the server program in its sentinel mode, without the module and with other settings."""

    ARGUMENTS = ("--sentinel",)
    DEFAULTS: dict[str, object] = {}
    SINCE_7_0: dict[str, str] = {}

    def __init__(self, installed: Installed, watched: Server, failover_timeout_ms: int, **settings: object):
        lines = [
            "announce-ip 127.0.0.1",
            f"monitor {NAME} 127.0.0.1 {watched.port} {QUORUM}",
            f"down-after-milliseconds {NAME} 1500",
            f"failover-timeout {NAME} {failover_timeout_ms}",
        ]
        super().__init__(installed, module=None, port=True, sentinel=lines, **settings)
        self._asks = self.client(decode_responses=True, single_connection_client=False, socket_timeout=5)
        if installed.version >= (7, 0):
            # Otherwise it announces itself every 2 s. With shorter ASK and PING periods, all sentinels vote for
            # themselves.
            self._asks.execute_command("SENTINEL", "DEBUG", "PUBLISH-PERIOD", 200)

    def primary_port(self) -> int:
        """The primary's port, as this sentinel knows it."""
        return int(self._asks.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1])

    def is_ready(self) -> bool:
        """Whether it knows the replica and the other sentinels, so that it can carry out a failover."""
        known = self._asks.execute_command("SENTINEL", "MASTER", NAME)
        fields = known if isinstance(known, dict) else dict(zip(known[::2], known[1::2], strict=True))
        return (int(fields["num-slaves"]), int(fields["num-other-sentinels"])) == (1, 2)


class Sentinel:
    """A primary, a replica and three sentinels, from the start to `discard`. The arguments are those of `Server`."""

    def __init__(self, installed: Installed, failover_timeout_ms: int = 3000, **options: object):
        self.nodes: list[Server] = []
        self.watchers: list[Watcher] = []
        try:
            for _ in range(2):
                self.nodes.append(Server(installed, port=True, **options))
            first, second = self.nodes
            second.replicate(first)
            for _ in range(3):
                watcher = Watcher(installed, first, failover_timeout_ms, env=options.get("env"))
                self.watchers.append(watcher)
            wait_until(lambda: all(w.is_ready() for w in self.watchers), "the sentinels know all", 20)
        except BaseException:
            self.discard()
            raise

    def primary(self) -> Server:
        """The primary, by the majority of the sentinels."""
        ports = sorted(watcher.primary_port() for watcher in self.watchers if watcher.alive())
        return next(node for node in self.nodes if node.port == ports[len(ports) // 2])

    def replica(self) -> Server:
        """The other one."""
        primary = self.primary()
        return next(node for node in self.nodes if node is not primary)

    def wait_promoted(self, replica: Server, timeout: float = 45.0) -> None:
        """Wait until a server and all sentinels agree that it is the primary. A split vote takes 6 s more."""

        def promoted() -> bool:
            watchers = [watcher for watcher in self.watchers if watcher.alive()]
            return role(replica)[0] == b"master" and all(w.primary_port() == replica.port for w in watchers)

        wait_until(promoted, f"the replica on port {replica.port} is the primary", timeout)

    def restart(self, node: Server, timeout: float = 60.0) -> None:
        """Start a server that has ended as the replica of the other one. Returns when it has its copy.

        The sentinels would make it a replica too, but only after it has run for 8 to 10 s.
        """
        primary = next(other for other in self.nodes if other is not node)
        node.restart(replicaof=f"127.0.0.1 {primary.port}")

        wait_until(
            lambda: b"connected" in role(node), f"the server on port {node.port} is a replica", timeout
        )

    def client(self, **options: object) -> redis.Redis:
        """A client that asks the sentinels for the primary: bytes, RESP2, its own connection pool."""
        addresses = [("127.0.0.1", watcher.port) for watcher in self.watchers if watcher.alive()]
        options = {"protocol": 2, "socket_timeout": 15, **options}
        return redis.sentinel.Sentinel(addresses, socket_timeout=5).master_for(NAME, **options)

    def check(self) -> None:
        """Fail unless each process runs or was ended by the test, and no log contains a crash."""
        for server in (*self.nodes, *self.watchers):
            server.check()

    def discard(self) -> None:
        """Stop all processes and remove their directories."""
        for server in (*self.watchers, *self.nodes):
            server.discard()


def role(server: Server) -> list:
    """The reply of ROLE; `[None]` while there is none."""
    try:
        with server.client() as c:
            return c.execute_command("ROLE")
    except redis.ConnectionError:
        return [None]  # when sentinels reconfigure a server, they close all its connections
