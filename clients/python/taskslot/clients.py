"""What a user's client is: redis-py's or valkey-py's, sync or asyncio, standalone, Sentinel or Cluster.

Nothing here sends a command. It names the errors of the client's library, and makes *twins*: clients of the same
kind, to the same servers, with connections and time-outs of their own. A claim that waits in the server must not
share a time-out, a pool or a resend policy with the commands of the application.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .errors import OutOfMemory, Refused, TaskslotError, of_reply

# A reply that is not to be decoded, whatever the client does elsewhere: payloads are bytes. An option of a command in
# redis-py and valkey-py, which never reaches the server.
AS_BYTES: dict[str, Any] = {"NEVER_DECODE": True}

# What a cluster client says where it learned nothing of its nodes, which are away, or in the midst of a failover.
UNSETTLED = ("cannot be connected", "could not agree", "slots are not covered")

# Options of a connection that its twin shares, as the constructors of all the clients name them. What the libraries
# keep beside them in their pools (handlers, registries) is their own.
SHARED = (
    "db", "username", "password", "credential_provider", "client_name", "protocol", "encoding",
    "socket_keepalive", "health_check_interval",
    "ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path", "ssl_ca_data",
    "ssl_check_hostname", "ssl_password", "ssl_min_version", "ssl_ciphers",
)  # fmt: skip

# Connections of a twin to one server. More calls that wait at a time than this are refused by the client's pool.
MOST_CONNECTIONS = 10_000


@dataclass(frozen=True)
class Client:
    """A user's client, looked at from outside."""

    client: Any
    # Where a cluster was found: valkey-py forgets the nodes that don't answer, at last all of them.
    starts: list[tuple[str, int]] = field(default_factory=list, init=False, compare=False)

    def __post_init__(self) -> None:
        if self.library is None or not hasattr(self.client, "execute_command"):
            raise TypeError(f"a client of redis-py or valkey-py is needed, not {type(self.client).__name__}")
        if self.is_cluster:
            self.starts.extend(self._known_nodes())

    @cached_property
    def library(self) -> str | None:
        """`redis` or `valkey`, also for a class that somebody derived."""
        roots = (base.__module__.partition(".")[0] for base in type(self.client).__mro__)
        return next((root for root in roots if root in ("redis", "valkey")), None)

    @cached_property
    def is_async(self) -> bool:
        """Whether its commands are awaited."""
        return any(".asyncio" in base.__module__ for base in type(self.client).__mro__)

    def must_be(self, is_async: bool) -> None:
        """Refuse a client that can't serve such a queue: one would send a push before the `await` fails."""
        if any("Pipeline" in base.__name__ for base in type(self.client).__mro__):
            raise TypeError("a pipeline sends later: give the queue the client that it is of")
        if self.is_async and not is_async:
            raise TypeError("an asyncio client is for AsyncQueue and AsyncShardedQueue")
        if is_async and not self.is_async:
            raise TypeError(
                "AsyncQueue and AsyncShardedQueue need an asyncio client: redis.asyncio, valkey.asyncio"
            )

    @cached_property
    def is_cluster(self) -> bool:
        """Whether it routes commands over the nodes of a cluster."""
        return hasattr(self.client, "nodes_manager")

    @cached_property
    def errors(self) -> Any:
        """The library's module of exceptions."""
        return importlib.import_module(f"{self.library}.exceptions")

    def is_away(self, error: BaseException) -> bool:
        """Whether an error says that a server is away, or a slot on its way, so that the same words may be sent again.

        A failover, a restart and a slot that moves look like this, for seconds. A wrong password does not.
        """
        errors = self.errors
        if isinstance(error, (errors.AuthenticationError, getattr(errors, "AuthorizationError", ()))):
            return False
        if isinstance(error, errors.MovedError) and not self.is_cluster:
            return False  # it can't go after the slot, however often it asks
        lost = (errors.ConnectionError, errors.TimeoutError, errors.ReadOnlyError, errors.MasterDownError)
        moving = (errors.ClusterDownError, errors.TryAgainError, errors.AskError, errors.SlotNotCoveredError)
        if isinstance(error, (*lost, *moving, errors.ClusterError, OSError)):
            return True
        if isinstance(error, self._cluster_error) and any(text in str(error) for text in UNSETTLED):
            return error.__cause__ is None or self.is_away(error.__cause__)
        # A cluster client stumbles over its own tables and connections while another thread or task makes them anew
        # (asyncio: `'NoneType' object has no attribute 'name'` in valkey-py 6.2, `'writelines'` in redis-py 8.1).
        if self.is_cluster and isinstance(error, (AttributeError, LookupError, RuntimeError)):
            return True
        return isinstance(error, errors.ResponseError) and str(error).startswith("UNBLOCKED")

    @property
    def _cluster_error(self) -> Any:
        """What a cluster client raises besides what servers say; no error of its library's base class."""
        return getattr(self.errors, "RedisClusterException", None) or self.errors.ValkeyClusterException

    def is_of_node(self, error: BaseException) -> bool:
        """Whether an error that `is_away` says that a node doesn't answer, so that none of its slots can be had."""
        return isinstance(error, (self.errors.ConnectionError, self.errors.TimeoutError, OSError))

    def is_of_slot(self, error: BaseException) -> bool:
        """Whether an error that `is_away` is about a slot on its way, while its node works."""
        return isinstance(error, (self.errors.TryAgainError, self.errors.AskError))

    def is_undone(self, error: BaseException) -> bool:
        """Whether an error that `is_away` says that the command was surely not done: it was refused, or never sent."""
        errors = self.errors
        if isinstance(error, errors.ResponseError):
            return not str(error).startswith("UNBLOCKED")
        if isinstance(error, AttributeError):
            return "write" in str(error)  # redis-py's asyncio client has closed the connection before
        refused = (errors.BusyLoadingError, errors.SlotNotCoveredError, errors.ClusterDownError)
        is_of_connection = isinstance(error, (errors.ConnectionError, errors.TimeoutError))
        return isinstance(error, refused) or (is_of_connection and " connecting to " in str(error))

    def meaning(self, error: BaseException) -> TaskslotError | None:
        """What an error reply says, in this library's words; None for what is no reply of a server."""
        if not isinstance(error, self.errors.ResponseError):
            return None
        # redis-py takes the code words that it knows off the text.
        if isinstance(error, getattr(self.errors, "OutOfMemoryError", ())):
            return OutOfMemory(str(error))
        if isinstance(error, self.errors.MovedError) and not self.is_cluster:
            return Refused(
                "this server is a node of a cluster: the queue needs a client that routes, RedisCluster"
            )
        if self.lacks_module(error):
            return Refused('the server has no taskslot module: start it with --loadmodule "$(taskslot path)"')
        return of_reply(str(error))

    def lacks_module(self, error: BaseException) -> bool:
        """Whether a server says that it knows none of our commands."""
        is_reply = isinstance(error, self.errors.ResponseError)
        return is_reply and str(error).startswith("unknown command") and "TASK." in str(error).upper()

    def node_of(self, key: str) -> str:
        """The name of the node that serves a key, as far as the client knows; one name for all where there is one."""
        if not self.is_cluster:
            return ""
        node = self.client.get_node_from_key(key)
        return node.name if node is not None else ""

    def bulk_for(self, node: str) -> Any:
        """A pipeline for commands whose keys that node serves.

        A sync cluster client has a plain client for each node, whose pipelines take a quarter of the time of its own.
        """
        if not self.is_cluster or self.is_async or not node:
            return self.client.pipeline(transaction=False)
        return self.client_of(self.client.get_node(node_name=node)).pipeline(transaction=False)

    def client_of(self, node: Any) -> Any:
        """The plain client that a sync cluster client has for a node."""
        return getattr(self.client, f"get_{self.library}_connection")(node)

    # ---- twins

    def twin(self, socket_timeout_s: float) -> Any:
        """A client to the same servers, that waits so long for a reply and resends nothing by itself.

        A sync client of a cluster asks it for its slots as it is made, and raises what that meets.
        """
        own: dict[str, Any] = {
            "decode_responses": False,
            "socket_timeout": socket_timeout_s,
            "socket_connect_timeout": 1.0,
            # Each call that waits holds one. The libraries' own bounds, a hundred in some, are for short commands.
            "max_connections": MOST_CONNECTIONS,
        }
        if self.is_cluster:
            return self._cluster_twin(own)
        pool = self.client.connection_pool
        shared = self._shared(pool.connection_kwargs, pool.connection_class)
        own["retry"] = self._no_retry()
        if hasattr(pool, "sentinel_manager"):
            made = pool.sentinel_manager.master_for if pool.is_master else pool.sentinel_manager.slave_for
            own[f"{self.library}_class"] = type(self.client)
            return made(pool.service_name, **shared, **own)
        kwargs = pool.connection_kwargs
        if "path" in kwargs:
            return type(self.client)(unix_socket_path=kwargs["path"], **shared, **own)
        return type(self.client)(host=kwargs["host"], port=kwargs["port"], **shared, **own)

    def _cluster_twin(self, own: dict[str, Any]) -> Any:
        manager = self.client.nodes_manager
        kwargs = getattr(self.client, "connection_kwargs", None) or manager.connection_kwargs
        shared = self._shared(kwargs, kwargs.get("connection_class"))
        shared.pop("db", None)
        own["startup_nodes"] = [
            self._node_class()(*address) for address in self._known_nodes() or self.starts
        ]
        own["address_remap"] = manager.address_remap
        own["require_full_coverage"] = False
        return type(self.client)(**shared, **own, **self._no_cluster_retry())

    def _known_nodes(self) -> list[tuple[str, int]]:
        nodes = self.client.nodes_manager.startup_nodes or self.client.nodes_manager.nodes_cache
        return [(node.host, node.port) for node in (nodes.values() if isinstance(nodes, Mapping) else nodes)]

    def _node_class(self) -> Any:
        return importlib.import_module(self._class_of_cluster().__module__).ClusterNode

    def remember(self) -> None:
        """Give a sync cluster client that has forgotten all nodes those back that it began with."""
        if self.is_cluster and not self.is_async and not self.client.nodes_manager.startup_nodes:
            nodes = [self._node_class()(*address) for address in self.starts]
            self.client.nodes_manager.populate_startup_nodes(nodes)

    def _class_of_cluster(self) -> type:
        """The library's own class of a cluster client."""
        return next(base for base in type(self.client).__mro__ if base.__module__.endswith(".cluster"))

    def _no_cluster_retry(self) -> dict[str, Any]:
        """How a cluster client is told to report an error at once, by what its version understands."""
        version = importlib.import_module(str(self.library)).__version__
        if self.library == "redis" and int(version.partition(".")[0]) >= 6:
            return {"retry": self._no_retry()}
        return {"cluster_error_retry_attempts": 0 if not self.is_async else 1}

    def _no_retry(self) -> Any:
        root = f"{self.library}.asyncio" if self.is_async else str(self.library)
        backoff = importlib.import_module(f"{self.library}.backoff")
        return importlib.import_module(f"{root}.retry").Retry(backoff.NoBackoff(), 0)

    def _shared(self, kwargs: Mapping[str, Any], connection_class: type | None) -> dict[str, Any]:
        shared = {name: kwargs[name] for name in SHARED if kwargs.get(name) is not None}
        if connection_class is not None and "SSL" in connection_class.__name__:
            shared["ssl"] = True
        return shared
