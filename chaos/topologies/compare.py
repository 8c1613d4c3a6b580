"""Digests of queues: on several nodes, and before and after a node has loaded its files again."""

from __future__ import annotations

import time
from collections.abc import Iterable

from harness.server import Server, digest

from chaos.history import Digest, Exit

# What SCAN calls a queue. It may be asked of a replica in a cluster, too, unlike TYPE.
TYPE = "taskqueue"
# Bytes that are no text become text by which they are found again.
ANY = "surrogateescape"


def queues(server: Server) -> list[str]:
    """The keys of all queues in the first database. A flipped bit of a file can leave one that is no text."""
    with server.client() as client:
        return sorted(key.decode(errors=ANY) for key in client.scan_iter(count=1000, _type=TYPE))


def digests(comparison: str, servers: Iterable[tuple[int, Server]]) -> list[Digest]:
    """The digest of each queue on each of these nodes. A queue that one of them lacks has an empty value's digest."""
    servers = list(servers)
    names = sorted({name for _, server in servers for name in queues(server)})
    found = []
    for node, server in servers:
        with server.client(encoding_errors=ANY) as client:
            for name in names:
                value = digest(client, name).decode()
                found.append(Digest(comparison, str(node), name, value, time.monotonic()))
    return found


def exited(node: int, server: Server) -> list[Exit]:
    """The end of this server, if it ended or crashed by itself."""
    try:
        server.check()
    except AssertionError as error:
        return [Exit(str(node), time.monotonic(), server.status() or 0, str(error))]
    return []
