"""Looks at the nodes of a topology all the time: who is a primary, and how much each has of which history."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import redis
from harness.server import Server, wait_until

from chaos.topologies.windows import Sample, Span, Takeover, takeovers, undone

# How often each node is asked. Windows are as exact as this.
EACH_S = 0.04
# A stopped server answers when it goes on.
PATIENCE_S = 2.0


class Watch:
    """One thread for each node that asks it. `down` notes when nodes were killed or stopped by a fault."""

    def __init__(self, nodes: Sequence[Server]):
        self._nodes = list(nodes)
        self.seen: dict[int, list[Sample]] = {at: [] for at in range(len(nodes))}
        self.down: dict[int, list[Span]] = {at: [] for at in range(len(nodes))}
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(at,), daemon=True) for at in self.seen]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def number(self, server: Server) -> int:
        """The place of a node."""
        return self._nodes.index(server)

    def last(self, server: Server) -> Sample | None:
        """The last answer of a node."""
        return next(reversed(self.seen[self.number(server)]), None)

    def is_primary(self, server: Server, since: float) -> bool | None:
        """Whether a node has called itself a primary, in its last answer since this instant; None without one."""
        last = self.last(server)
        return last.is_primary if last and last.asked >= since else None

    def until(self, condition: Callable[[], object], what: str, timeout: float = 60.0) -> None:
        """Wait until something was seen."""
        wait_until(condition, what, timeout)

    def promoted(self, server: Server, timeout: float = 60.0) -> None:
        """Wait until a node calls itself a primary, from now on."""
        since = time.monotonic()
        self.until(lambda: self.is_primary(server, since), f"port {server.port} is a primary", timeout)

    def demoted(self, server: Server, timeout: float = 60.0) -> None:
        """Wait until a node calls itself a replica, from now on."""
        since = time.monotonic()
        is_replica = lambda: self.is_primary(server, since) is False  # noqa: E731
        self.until(is_replica, f"port {server.port} is a replica", timeout)

    def was_down(self, server: Server, since: float) -> Span:
        """Note that a node answered nobody from this instant until now."""
        span = since, time.monotonic()
        self.down[self.number(server)].append(span)
        return span

    def takeovers(self, since: float) -> list[Takeover]:
        """The promotions that were seen since this instant."""
        return takeovers({at: list(samples) for at, samples in self.seen.items()}, since)

    def undone(self, takeover: Takeover) -> list[Span]:
        """The spans in which calls may have been undone by a takeover."""
        return undone(takeover, list(self.seen[takeover.old]), self.down[takeover.old])

    def _ask(self, at: int) -> None:
        client: redis.Redis | None = None
        while not self._over.wait(EACH_S):
            try:
                client = client or connected(self._nodes[at])
                self.seen[at].append(sample(client))
            except (redis.RedisError, OSError):
                client = None  # it is down, or stands still


def connected(server: Server) -> redis.Redis:
    """A client of its own. It is not closed with the server, because another thread uses it."""
    return redis.Redis(unix_socket_path=server.socket, protocol=2, socket_timeout=PATIENCE_S)


def sample(client: redis.Redis) -> Sample:
    """Ask a node once."""
    asked = time.monotonic()
    said = client.info("replication")
    taken = int(said["second_repl_offset"]) - 1
    names = str(said["master_replid"]), str(said["master_replid2"])
    is_primary = said["role"] == "master"
    offset = int(said["master_repl_offset"])
    return Sample(asked, time.monotonic(), is_primary, names[0], offset, names[1], taken)
