"""Hides the differences between clients: redis-py or valkey-py, sync or asyncio, standalone, Sentinel or cluster.

Nothing here sends a command. It classifies the errors of the client's library, and makes *twins*: clients of the same
kind, for the same servers, with connections and time-outs of their own. A claim that waits in the server must not share
a time-out, a pool or a resend policy with the commands of the application.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .addresses import address_of
from .errors import OutOfMemory, Refused, TaskslotError, of_reply
from .keys import key_word
from .line import Line, sends_plainly

# Ask redis-py and valkey-py not to decode a reply, whatever the client does otherwise: payloads are bytes. This option
# of `execute_command` never reaches the server.
AS_BYTES: dict[str, Any] = {"NEVER_DECODE": True}

# Parts of the error texts of a cluster client that could reach no node, or whose nodes are in the middle of a failover.
UNSETTLED = ("cannot be connected", "could not agree", "slots are not covered")

# Options that the libraries add to the connections of one pool or cluster client: its registries, its handlers of
# maintenance notices, and the address and time-outs that such a notice has changed for a while. A twin needs its own.
OF_THE_POOL = (
    "connection_pool", "event_dispatcher", "himport_registry", "maint_notifications_pool_handler",
    "oss_cluster_maint_notifications_handler", "maint_notifications_config", "maintenance_state",
    "maintenance_notification_hash", "orig_host_address", "orig_socket_timeout", "orig_socket_connect_timeout",
)  # fmt: skip

# The limit of a twin's connections to one server. The client's pool refuses more waiting calls than this.
MOST_CONNECTIONS = 10_000
# The time-out for opening a twin's connection.
CONNECT_S = 1.0


@dataclass(frozen=True)
class Client:
    """A user's client, and what can be found out about it without sending a command."""

    client: Any
    # The nodes that were known at first. valkey-py forgets nodes that don't reply, in the end all of them.
    starts: list[tuple[str, int]] = field(default_factory=list, init=False, compare=False)

    def __post_init__(self) -> None:
        if self.library is None or not hasattr(self.client, "execute_command"):
            raise TypeError(f"expected a client of redis-py or valkey-py, not {type(self.client).__name__}")
        if self.is_cluster:
            self.starts.extend(self._known_nodes())

    @cached_property
    def library(self) -> str | None:
        """`redis` or `valkey`, also for a derived class; None for anything else."""
        roots = (base.__module__.partition(".")[0] for base in type(self.client).__mro__)
        return next((root for root in roots if root in ("redis", "valkey")), None)

    @cached_property
    def is_async(self) -> bool:
        """Whether the client is an asyncio one."""
        return any(".asyncio" in base.__module__ for base in type(self.client).__mro__)

    def must_be(self, is_async: bool) -> None:
        """Raise TypeError for a client that doesn't fit the queue. A sync one would push before the `await` fails."""
        if any("Pipeline" in base.__name__ for base in type(self.client).__mro__):
            raise TypeError("a pipeline sends its commands later: give the queue the client itself")
        if self.is_async and not is_async:
            raise TypeError("an asyncio client needs AsyncQueue or AsyncShardedQueue")
        if is_async and not self.is_async:
            raise TypeError(
                "AsyncQueue and AsyncShardedQueue need an asyncio client: redis.asyncio, valkey.asyncio"
            )

    @cached_property
    def is_cluster(self) -> bool:
        """Whether the client routes commands to the nodes of a cluster."""
        return hasattr(self.client, "nodes_manager")

    @cached_property
    def errors(self) -> Any:
        """The library's module of exceptions."""
        return importlib.import_module(f"{self.library}.exceptions")

    def is_away(self, error: BaseException) -> bool:
        """Whether an error means that a server is away or a slot is moving, so that the command can be sent again.

        A failover, a restart and a slot migration cause such errors for some seconds. A wrong password does not.
        """
        errors = self.errors
        if isinstance(error, (errors.AuthenticationError, getattr(errors, "AuthorizationError", ()))):
            return False
        if isinstance(error, errors.MovedError) and not self.is_cluster:
            return False  # a plain client can't follow the slot, however often it asks
        lost = (errors.ConnectionError, errors.TimeoutError, errors.ReadOnlyError, errors.MasterDownError)
        moving = (errors.ClusterDownError, errors.TryAgainError, errors.AskError, errors.SlotNotCoveredError)
        if isinstance(error, (*lost, *moving, errors.ClusterError, OSError)):
            return True
        if isinstance(error, self._cluster_error) and any(text in str(error) for text in UNSETTLED):
            return error.__cause__ is None or self.is_away(error.__cause__)
        # A cluster client can fail on its own tables and connections while another thread or task replaces them (in
        # asyncio: `'NoneType' object has no attribute 'name'` in valkey-py 6.2, `'writelines'` in redis-py 8.1).
        if self.is_cluster and isinstance(error, (AttributeError, LookupError, RuntimeError)):
            return True
        return isinstance(error, errors.ResponseError) and str(error).startswith("UNBLOCKED")

    @property
    def _cluster_error(self) -> Any:
        """The class of a cluster client's own errors, which doesn't derive from the library's base class."""
        return getattr(self.errors, "RedisClusterException", None) or self.errors.ValkeyClusterException

    def is_of_node(self, error: BaseException) -> bool:
        """Whether an `is_away` error means that a whole node doesn't reply, so that none of its slots can be used."""
        return isinstance(error, (self.errors.ConnectionError, self.errors.TimeoutError, OSError))

    def is_of_slot(self, error: BaseException) -> bool:
        """Whether an `is_away` error means that a slot is moving, while its node works."""
        return isinstance(error, (self.errors.TryAgainError, self.errors.AskError))

    def is_undone(self, error: BaseException) -> bool:
        """Whether an `is_away` error means that the command was certainly not executed: refused, or never sent."""
        errors = self.errors
        if isinstance(error, errors.ResponseError):
            return not str(error).startswith("UNBLOCKED")
        if isinstance(error, AttributeError):
            return "write" in str(
                error
            )  # redis-py's asyncio client had closed the connection before it wrote
        refused = (errors.BusyLoadingError, errors.SlotNotCoveredError, errors.ClusterDownError)
        is_of_connection = isinstance(error, (errors.ConnectionError, errors.TimeoutError))
        return isinstance(error, refused) or (is_of_connection and " connecting to " in str(error))

    def meaning(self, error: BaseException) -> TaskslotError | None:
        """The library's own error for an error reply; None if the error is not a reply of a server."""
        if not isinstance(error, self.errors.ResponseError):
            return None
        # redis-py removes the codes that it knows from the text.
        if isinstance(error, getattr(self.errors, "OutOfMemoryError", ())):
            return OutOfMemory(str(error))
        if isinstance(error, self.errors.MovedError) and not self.is_cluster:
            return Refused("this server is a node of a cluster: use a cluster client, such as RedisCluster")
        if self.lacks_module(error):
            return Refused('the server has no taskslot module: start it with --loadmodule "$(taskslot path)"')
        return of_reply(str(error))

    def lacks_module(self, error: BaseException) -> bool:
        """Whether an error means that the server doesn't know the TASK commands."""
        is_reply = isinstance(error, self.errors.ResponseError)
        return is_reply and str(error).startswith("unknown command") and "TASK." in str(error).upper()

    def refuses_command(self, error: BaseException) -> bool:
        """Whether an error means that the server doesn't know a command, or that this user lacks the right to it."""
        return isinstance(error, self.errors.NoPermissionError) or self.lacks_module(error)

    def node_of(self, key: str) -> str:
        """The name of the node that serves a key, as far as the client knows; "" outside of a cluster."""
        if not self.is_cluster:
            return ""
        node = self.client.get_node_from_key(key_word(key))
        return node.name if node is not None else ""

    def bulk_for(self, node: str) -> Any:
        """A pipeline for commands whose keys are on that node.

        A sync cluster client has a plain client for each node. Their pipelines take a quarter of the time of its own.
        """
        if not self.is_cluster or self.is_async or not node:
            return self.client.pipeline(transaction=False)
        return self.client_of(self.client.get_node(node_name=node)).pipeline(transaction=False)

    def client_of(self, node: Any) -> Any:
        """The plain client that a sync cluster client holds for a node."""
        return getattr(self.client, f"get_{self.library}_connection")(node)

    # ---- the servers of a sync client

    @property
    def place(self) -> str:
        """Host and port of the server, or the path of its socket; of Sentinel's primary once a connection is open."""
        pool = self.client.connection_pool
        known = pool.connection_kwargs
        host, port = getattr(pool, "master_address", None) or (known.get("host"), known.get("port"))
        if self.service and not host:
            return f"{self.service} by Sentinel"
        return str(known.get("path") or address_of(host or "localhost", port or 6379))

    @property
    def service(self) -> str:
        """The name of the service whose primary Sentinel names; empty without Sentinel."""
        return "" if self.is_cluster else vars(self.client.connection_pool).get("service_name", "")

    @property
    def sentinels(self) -> Sequence[Any]:
        """Clients of the Sentinels that are asked for the primary."""
        return self.client.connection_pool.sentinel_manager.sentinels if self.service else ()

    def primaries(self) -> list[tuple[Any, list[int]]]:
        """A cluster's primaries with the slots that each serves. One command; raises the client's error."""
        self.remember()
        self.client.nodes_manager.initialize()
        slots: dict[str, list[int]] = {}
        served = self.client.nodes_manager.slots_cache
        for slot in sorted(served):
            if nodes := served[slot]:
                slots.setdefault(nodes[0].name, []).append(slot)
        return [(node, slots.get(node.name, [])) for node in self.client.get_primaries()]

    # ---- the ways of its commands

    @cached_property
    def line(self) -> Line | None:
        """What sends commands past the client's `execute_command`; None if they have to go through it."""
        fits = not self.is_async and not self.is_cluster and sends_plainly(self.client, str(self.library))
        return Line(self.client, self.errors) if fits else None

    @cached_property
    def has_own_ways(self) -> bool:
        """Whether a derived class overrides `execute_command`, so that commands must not bypass it."""
        return type(self.client).execute_command is not self._own_class(self.client).execute_command

    def lender_for(self, key: str) -> Any:
        """What lends connections to the key's server: its pool, or the node of an asyncio cluster client."""
        if not self.is_cluster:
            return self.client.connection_pool
        if (node := self.client.get_node_from_key(key_word(key))) is None:
            raise self.errors.SlotNotCoveredError("no node serves the slot of the key")
        return node if self.is_async else self.client_of(node).connection_pool

    # ---- twins

    def twin(self, socket_timeout_s: float) -> Any:
        """A client for the same servers that waits this long for a reply and never resends.

        A new sync cluster client asks for the slots at once, so this raises the client's errors.
        """
        own: dict[str, Any] = {
            "decode_responses": False,
            "socket_timeout": socket_timeout_s,
            "socket_connect_timeout": CONNECT_S,
            # Each waiting call holds one. The libraries' own limits, as low as a hundred, are for short commands.
            "max_connections": MOST_CONNECTIONS,
        }
        made = self._cluster_twin(own) if self.is_cluster else self._pool_twin(own)
        return as_derived(made, self.client)

    def neighbour(self, host: str, port: int, socket_timeout_s: float) -> Any:
        """A client for another server, such as a replica, with the user, the password and the TLS options of this one.

        It never resends. This client is a sync one of a single server or of Sentinel.
        """
        pool, connection = self.client.connection_pool, self._module("connection")
        own = {"host": host, "port": port, "socket_timeout": socket_timeout_s, "decode_responses": False}
        own["socket_connect_timeout"] = CONNECT_S
        kwargs = {**shared(pool.connection_kwargs), **own, **self._as_of(pool), "retry": self._no_retry()}
        kwargs.pop("path", None)
        is_tls = issubclass(pool.connection_class, connection.SSLConnection)
        kwargs["connection_class"] = connection.SSLConnection if is_tls else connection.Connection
        return self._own_class(self.client).from_pool(connection.ConnectionPool(**kwargs))

    def _as_of(self, pool: Any) -> dict[str, Any]:
        """The option that turns off what the pool has turned off: the server's notices of its maintenance."""
        if not hasattr(pool, "maint_notifications_enabled") or pool.maint_notifications_enabled():
            return {}
        notices = importlib.import_module(f"{self.library}.maint_notifications")
        return {"maint_notifications_config": notices.MaintNotificationsConfig(enabled=False)}

    def _pool_twin(self, own: dict[str, Any]) -> Any:
        """A client with a pool like that of the user's client, however that one was made."""
        pool = self.client.connection_pool
        kwargs = {**shared(pool.connection_kwargs), **own, "connection_class": pool.connection_class}
        kwargs["retry"] = self._no_retry()
        if (host := pool.connection_kwargs.get("orig_host_address")) is not None:
            kwargs["host"] = host
        if not issubclass(pool.connection_class, self._module("connection").Connection):
            del kwargs["socket_connect_timeout"]  # unix sockets don't have one
        kwargs |= self._as_of(pool)
        # Options of a BlockingConnectionPool and of a SentinelConnectionPool.
        options = (
            "timeout",
            "queue_class",
            "service_name",
            "sentinel_manager",
            "is_master",
            "check_connection",
        )
        kwargs |= {name: getattr(pool, name) for name in options if hasattr(pool, name)}
        made = as_derived(self._own_class(pool)(**kwargs), pool)
        return self._own_class(self.client).from_pool(made)

    def _cluster_twin(self, own: dict[str, Any]) -> Any:
        manager, kind = self.client.nodes_manager, self._own_class(self.client)
        options = getattr(self.client, "connection_kwargs", None) or manager.connection_kwargs
        kwargs = {
            **shared(options),
            **own,
            "address_remap": manager.address_remap,
            "require_full_coverage": False,
        }
        # A client that is limited to the nodes that it began with stays so.
        kwargs["dynamic_startup_nodes"] = getattr(manager, "_dynamic_startup_nodes", True)
        for name in ("db", "retry", "response_callbacks"):
            kwargs.pop(name, None)
        # This option holds the client's own function. The user's function, which it calls, is passed below.
        kwargs.pop(f"{self.library}_connect_func", None)
        if (connected := getattr(self.client, "user_on_connect_func", None)) is not None:
            kwargs[f"{self.library}_connect_func"] = connected
        if (notices := getattr(self.client, "maint_notifications_config", None)) is not None:
            kwargs["maint_notifications_config"] = notices
        nodes = [self._node_class()(*address) for address in self._known_nodes() or self.starts]
        if self.is_async:
            # Its stored options include some that its constructor doesn't accept.
            kwargs["ssl"] = "SSL" in options["connection_class"].__name__
            takes = inspect.signature(kind.__init__).parameters
            kwargs = {name: value for name, value in kwargs.items() if name in takes}
        elif manager.from_url:
            # Only a client made from a URL accepts a connection class, and a bare URL doesn't override it.
            first = nodes.pop(0)
            kwargs["url"] = f"{self.library}://{address_of(first.host, first.port)}"
        if hasattr(manager, "connection_pool_class"):
            kwargs["connection_pool_class"] = manager.connection_pool_class
        return kind(startup_nodes=nodes, **kwargs, **self._no_cluster_retry())

    def _known_nodes(self) -> list[tuple[str, int]]:
        nodes = self.client.nodes_manager.startup_nodes or self.client.nodes_manager.nodes_cache
        return [(node.host, node.port) for node in (nodes.values() if isinstance(nodes, Mapping) else nodes)]

    def _node_class(self) -> Any:
        return importlib.import_module(self._own_class(self.client).__module__).ClusterNode

    def remember(self) -> None:
        """If a sync cluster client has forgotten all its nodes, give it those that it began with."""
        if self.is_cluster and not self.is_async and not self.client.nodes_manager.startup_nodes:
            nodes = [self._node_class()(*address) for address in self.starts]
            self.client.nodes_manager.populate_startup_nodes(nodes)

    def change_default_node(self) -> None:
        """Let a sync cluster client ask another node where the keys of a command are.

        For TASK.MCLAIM it asks the server (COMMAND GETKEYS), always the same node, even if that one is away.
        """
        if self.is_cluster and not self.is_async:
            self.client.replace_default_node()

    def _own_class(self, of: Any) -> Any:
        """The library's own class of a client or pool, which may be of a derived class."""
        return next(one for one in type(of).__mro__ if one.__module__.partition(".")[0] == self.library)

    def _module(self, name: str) -> Any:
        """A module of the library; its asyncio version for an asyncio client."""
        return importlib.import_module(f"{self.library}{'.asyncio' if self.is_async else ''}.{name}")

    def _no_cluster_retry(self) -> dict[str, Any]:
        """The options that make a cluster client raise errors at once. They depend on its version."""
        version = importlib.import_module(str(self.library)).__version__
        if self.library == "redis" and int(version.partition(".")[0]) >= 6:
            return {"retry": self._no_retry()}
        return {"cluster_error_retry_attempts": 0 if not self.is_async else 1}

    def _no_retry(self) -> Any:
        backoff = importlib.import_module(f"{self.library}.backoff")
        return self._module("retry").Retry(backoff.NoBackoff(), 0)


def is_of_client(error: BaseException, *names: str) -> bool:
    """Whether an error is one of redis-py or valkey-py; with names, of one of these classes. It needs no client."""
    classes = [one for one in type(error).__mro__ if one.__module__.partition(".")[0] in ("redis", "valkey")]
    return any(one.__name__ in names for one in classes) if names else bool(classes)


def is_lost(error: BaseException) -> bool:
    """Whether an error means that no server answered. A wrong password does not. It needs no client."""
    if is_of_client(error, "AuthenticationError", "AuthorizationError"):
        return False
    return isinstance(error, OSError) or is_of_client(error, "ConnectionError", "TimeoutError")


def is_denied(error: BaseException) -> bool:
    """Whether an error says that the user lacks a right. redis-py removes the code NOPERM, but not always."""
    text = str(error)
    return is_of_client(error, "NoPermissionError") or "NOPERM" in text or "no permissions" in text.lower()


def shared(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The connection options that a twin shares: all except those that the library added."""
    return {name: value for name, value in kwargs.items() if name not in OF_THE_POOL}


def as_derived(made: Any, like: Any) -> Any:
    """Turn `made`, an object of the library's own class, into one of the class of `like`, with its extra attributes.

    The derived class's constructor is not called, because its parameters are unknown.
    """
    if type(made) is not type(like):
        made.__class__ = type(like)
        vars(made).update({name: value for name, value in vars(like).items() if name not in vars(made)})
    return made
