"""Where clients look for the primary: what a topology tells the load, as a table that every process can read.

| kind | fields | how a client finds the primary of a queue |
|---|---|---|
| `single` | `host`, `port` | it is the only server |
| `nodes` | `nodes`: [[host, port], …] | the first that calls itself a primary |
| `pointed` | `path` | a JSON file with `host` and `port`, which the runner replaces when it promotes another node |
| `sentinel` | `sentinels`: [[host, port], …], `name` | it asks the sentinels |
| `cluster` | `nodes`: [[host, port], …] | any node knows, and -MOVED says so |

All are on 127.0.0.1 with TCP ports, so that Node's clients and proxies can use them too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from harness.server import wait_until
from redis.crc import key_slot

Addresses = dict[str, Any]
Place = tuple[str, int]

# How long a question to a node about the topology may take, in seconds.
ASK_S = 1.0
PASSING = (redis.RedisError, OSError, ValueError, KeyError, IndexError, TypeError)


def single(port: int, host: str = "127.0.0.1") -> Addresses:
    """The addresses of one server."""
    return {"kind": "single", "host": host, "port": port}


def nodes(ports: list[int]) -> Addresses:
    """The addresses of a primary and its replicas, whose roles clients ask for."""
    return {"kind": "nodes", "nodes": [["127.0.0.1", port] for port in ports]}


def pointed(path: Path) -> Addresses:
    """The address is in a file, which `point` writes."""
    return {"kind": "pointed", "path": str(path)}


def point(path: Path, port: int, host: str = "127.0.0.1") -> None:
    """Say in the file of `pointed` addresses which server is the primary from now on."""
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps({"host": host, "port": port}))
    aside.replace(path)


def sentinel(ports: list[int], name: str) -> Addresses:
    """The addresses of sentinels, and the name of the primary that they watch."""
    return {"kind": "sentinel", "sentinels": [["127.0.0.1", port] for port in ports], "name": name}


def cluster(ports: list[int]) -> Addresses:
    """The addresses of some nodes of a cluster."""
    return {"kind": "cluster", "nodes": [["127.0.0.1", port] for port in ports]}


def is_cluster(addresses: Addresses) -> bool:
    """Whether queues are spread over slots."""
    return bool(addresses["kind"] == "cluster")


def primary_of(addresses: Addresses, key: str) -> Place | None:
    """The primary of a queue as far as it can be found now; None if nobody says so. It may be wrong a moment later."""
    return next(places(addresses, key), None)


def places(addresses: Addresses, key: str) -> Iterator[Place]:
    """The nodes that can be the primary of a queue, the likeliest first."""
    kind = addresses["kind"]
    if kind == "single":
        yield addresses["host"], int(addresses["port"])
    elif kind == "pointed":
        at = json.loads(Path(addresses["path"]).read_text())
        yield at["host"], int(at["port"])
    elif kind == "nodes":
        for host, port in addresses["nodes"]:
            if ask((host, port), "ROLE", first=b"master"):
                yield host, int(port)
    elif kind == "sentinel":
        for host, port in addresses["sentinels"]:
            found = ask((host, port), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", addresses["name"])
            if found:
                yield found[0].decode(), int(found[1])
    else:
        yield from in_cluster(addresses, key)


def in_cluster(addresses: Addresses, key: str) -> Iterator[Place]:
    """The node that has the slot of a key, as one node of the cluster after the other says."""
    slot = key_slot(key.encode())
    for host, port in addresses["nodes"]:
        for low, high, owner, *_ in ask((host, port), "CLUSTER", "SLOTS") or []:
            if low <= slot <= high:
                yield (owner[0] or host.encode()).decode(), int(owner[1])


def ask(place: Place, *words: object, first: bytes | None = None) -> Any:
    """A node's reply to a question; None without one, or if the first element of the reply is another than `first`."""
    client = redis.Redis(
        host=place[0], port=place[1], socket_timeout=ASK_S, socket_connect_timeout=ASK_S, protocol=2
    )
    client.response_callbacks.clear()
    try:
        reply = client.execute_command(*words)
    except PASSING:
        return None
    finally:
        client.close()
    return reply if first is None or (reply and reply[0] == first) else None


def found(addresses: Addresses, key: str, patience_s: float = 30.0) -> Place:
    """The primary of a queue, once somebody says which it is. Fails after `patience_s`."""

    def look() -> Place | None:
        try:
            return primary_of(addresses, key)
        except PASSING:
            return None

    place = wait_until(look, f"there is a primary for {key}", patience_s)
    assert isinstance(place, tuple)
    return place
