"""The connections of an app: a sync client and its queues, and an asyncio client for each event loop."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from .._async.queue import AsyncQueue
from .._async.sharded import AsyncShardedQueue
from .._sync.queue import Queue
from .._sync.sharded import ShardedQueue
from ..clients import Client, shared

Shards = int | Mapping[str, int] | None


class Connections:
    """The queues of an app by name, which share a client. Nothing is connected before it is used.

    An asyncio client belongs to one event loop, so each loop has its own, made like the sync client: the same servers,
    user, password, TLS and time-outs.
    """

    def __init__(self, client: Any, prefix: str, shards: Shards, patience_ms: int) -> None:
        self._is_own = isinstance(client, str)
        self.client = of_url(client) if isinstance(client, str) else client
        Client(self.client).must_be(is_async=False)
        self._prefix = prefix
        self._shards = shards
        self._patience_ms = patience_ms
        self._lock = threading.Lock()
        self._queues: dict[str, Queue | ShardedQueue] = {}
        self._of_loops: dict[asyncio.AbstractEventLoop, OfLoop] = {}

    def queue(self, name: str) -> Queue | ShardedQueue:
        """The sync queue of this name."""
        if (queue := self._queues.get(name)) is None:
            with self._lock:
                if (queue := self._queues.get(name)) is None:
                    key, shards, patience = self._prefix + name, self._shards_of(name), self._patience_ms
                    queue = (
                        ShardedQueue(self.client, key, shards=shards, patience_ms=patience)
                        if shards
                        else Queue(self.client, key, patience_ms=patience)
                    )
                    self._queues[name] = queue
        return queue

    def aqueue(self, name: str) -> AsyncQueue | AsyncShardedQueue:
        """The asyncio queue of this name. Raises RuntimeError if no event loop runs here."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if (of := self._of_loops.get(loop)) is None:
                self._forget_closed_loops()
                of = self._of_loops[loop] = OfLoop(async_client(self.client))
            if (queue := of.queues.get(name)) is None:
                key, shards, patience = self._prefix + name, self._shards_of(name), self._patience_ms
                queue = (
                    AsyncShardedQueue(of.client, key, shards=shards, patience_ms=patience)
                    if shards
                    else AsyncQueue(of.client, key, patience_ms=patience)
                )
                of.queues[name] = queue
            return queue

    def known(self) -> list[str]:
        """The names of the queues that were opened, and of those that have a number of shards of their own."""
        named = list(self._shards) if isinstance(self._shards, Mapping) else []
        with self._lock:
            opened = [*self._queues, *(name for of in self._of_loops.values() for name in of.queues)]
        return [*opened, *named]

    @contextmanager
    def instead(self, client: Any) -> Iterator[None]:
        """Use another client or URL for a while, for tests. What was opened meanwhile is closed at the end."""
        other = Connections(client, self._prefix, self._shards, self._patience_ms)
        before = dict(vars(self))
        vars(self).update(vars(other))
        try:
            yield
        finally:
            vars(other).update(vars(self))
            vars(self).update(before)
            other.close()

    def _forget_closed_loops(self) -> None:
        """A program that ends its loops without `aclose`, as with `asyncio.run` in a loop, must not gather clients."""
        for loop in [one for one in self._of_loops if one.is_closed()]:
            del self._of_loops[loop]

    def close(self) -> None:
        """Close the sync queues, and the client if it was made from a URL."""
        with self._lock:
            queues, self._queues = list(self._queues.values()), {}
        for queue in queues:
            queue.close()
        if self._is_own:
            self.client.close()

    async def aclose(self) -> None:
        """Close the asyncio queues of the running event loop and their client."""
        with self._lock:
            of = self._of_loops.pop(asyncio.get_running_loop(), None)
        if of is not None:
            for queue in of.queues.values():
                await queue.close()
            await of.client.aclose()

    def _shards_of(self, name: str) -> int | None:
        return self._shards.get(name) if isinstance(self._shards, Mapping) else self._shards


class OfLoop:
    """The client and the queues of one event loop."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.queues: dict[str, AsyncQueue | AsyncShardedQueue] = {}


def of_url(url: str) -> Any:
    """A sync client for a URL: redis://, rediss:// or unix://; valkey:// and valkeys:// with valkey-py.

    Raises ValueError for another scheme, without showing the URL, which can have a password in it.
    """
    scheme = url.partition("://")[0]
    library: Literal["redis", "valkey"] = "valkey" if scheme.startswith("valkey") else "redis"
    if scheme not in ("redis", "rediss", "valkey", "valkeys", "unix"):
        raise ValueError(
            "a URL of a server begins with redis://, rediss://, valkey://, valkeys:// or unix://"
        )
    return importlib.import_module(library).from_url(url)


# ---- an asyncio client like a sync one


def async_client(client: Any) -> Any:
    """An asyncio client for the servers of a sync client, with its settings."""
    kind = Client(client)
    if kind.is_cluster:
        return async_cluster(kind)
    pool = client.connection_pool
    if hasattr(pool, "sentinel_manager"):
        return of_sentinel(kind)
    of = importlib.import_module(f"{kind.library}.asyncio")
    connection = importlib.import_module(f"{kind.library}.asyncio.connection")
    options = settings(kind, pool.connection_kwargs)
    classes = [
        base for base in pool.connection_class.__mro__ if base.__module__ == f"{kind.library}.connection"
    ]
    made = next(getattr(connection, base.__name__) for base in classes if hasattr(connection, base.__name__))
    limit = {"max_connections": pool.max_connections} if hasattr(pool, "max_connections") else {}
    new_pool = of.ConnectionPool(connection_class=made, **limit, **taken(made, options))
    name = "Redis" if kind.library == "redis" else "Valkey"
    new = getattr(of, name)(connection_pool=new_pool)
    new.auto_close_connection_pool = True
    return new


def async_cluster(kind: Client) -> Any:
    """An asyncio cluster client that begins with the nodes that a sync one knows."""
    cluster = importlib.import_module(f"{kind.library}.asyncio.cluster")
    made = cluster.RedisCluster if kind.library == "redis" else cluster.ValkeyCluster
    manager = kind.client.nodes_manager
    options = settings(kind, manager.connection_kwargs)
    pool = getattr(manager, "connection_pool_class", None)
    own = options.get("connection_class") or getattr(pool, "connection_class", None)
    options["ssl"] = (
        bool(options.get("ssl")) or "SSL" in getattr(own, "__name__", "") or "ssl_cert_reqs" in options
    )
    options |= {"address_remap": manager.address_remap, "require_full_coverage": False}
    nodes = [cluster.ClusterNode(*address) for address in kind.starts]
    for name in ("host", "port", "url", "db", "path", "connection_class"):
        options.pop(name, None)
    return made(startup_nodes=nodes, **taken(made, options))


def of_sentinel(kind: Client) -> Any:
    """An asyncio client for the primary that the Sentinels of a sync one name."""
    pool = kind.client.connection_pool
    manager = pool.sentinel_manager
    sentinel = importlib.import_module(f"{kind.library}.asyncio.sentinel")
    asked = [one.connection_pool.connection_kwargs for one in manager.sentinels]
    options = settings(kind, pool.connection_kwargs)
    for name in ("host", "port", "connection_pool"):
        options.pop(name, None)
    options["ssl"] = "SSL" in pool.connection_class.__name__
    made = sentinel.Sentinel(
        [(one["host"], one["port"]) for one in asked],
        sentinel_kwargs={name: of for name, of in manager.sentinel_kwargs.items() if name != "retry"},
    )
    return made.master_for(pool.service_name, **options)


def settings(kind: Client, options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a sync client's connections that an asyncio one can have too."""
    found = {name: of for name, of in shared(options).items() if name not in SYNC_ONLY}
    retry = options.get("retry")
    # They have no public names in all versions. Without them, the asyncio library's own retries apply.
    backoff, retries = getattr(retry, "_backoff", None), getattr(retry, "_retries", None)
    if backoff is not None and retries is not None:
        made = importlib.import_module(f"{kind.library}.asyncio.retry").Retry
        found["retry"] = made(backoff, retries)
    return found


# Classes and functions that block, or that the asyncio library has in a form of its own.
SYNC_ONLY = (
    "retry", "redis_connect_func", "valkey_connect_func", "parser_class", "command_packer", "response_callbacks",
    "cache", "cache_config",
)  # fmt: skip


def taken(kind: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that the constructor of a class, or of one of its bases, has."""
    names = {name for base in kind.__mro__ for name in inspect.signature(base.__init__).parameters}
    return {name: of for name, of in options.items() if name in names}
