"""Makes a client from the connection options: redis-py or valkey-py; standalone, cluster or Sentinel."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from .addresses import address_of
from .clients import Client, is_denied

DEFAULT_URL = "redis://127.0.0.1:6379"
UNREADABLE = (
    "--url can't be read. Its form is redis://user:password@host:port/db; "
    "in a password, write / # ? @ as %2F %23 %3F %40"
)
SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")
# The time-outs for opening a connection and for a reply. They are short, because a person is waiting.
CONNECT_S, ANSWER_S = 3.0, 10.0


@dataclass(frozen=True)
class Address:
    """Where the server is: a URL, or Sentinels and a service name. Then the URL gives user, database and TLS."""

    url: str = DEFAULT_URL
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""

    def __str__(self) -> str:
        """The address without secrets: host and port, or the path of a socket, and nothing else of the URL."""
        if self.sentinels:
            return f"{self.service} by Sentinel"
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return parts.path
        return address_of(parts.hostname or "127.0.0.1", parts.port or 6379)


def read_address(url: str, sentinels: str | None, service: str | None) -> Address:
    """The address that the options give. Raises ValueError, whose text never contains a part of a password."""
    try:
        parts = urlsplit(url)
        scheme, _ = parts.scheme, parts.port
    except ValueError:
        # Python's own text can show a part of a password with a / or a # in it, which it takes for the port.
        raise ValueError(UNREADABLE) from None
    if scheme not in SCHEMES:
        raise ValueError("--url must be redis://…, rediss://…, valkey://…, valkeys://… or unix://…")
    # An @ after a / or a ?, or a # anywhere, must belong to a password. Its first part would be shown as the host.
    behind = parts.path + parts.query
    if "@" in behind or "#" in url or (scheme == "unix" and parts.netloc.rpartition("@")[2]):
        raise ValueError(UNREADABLE)
    if bool(sentinels) != bool(service):
        raise ValueError("--sentinel and --service go together")
    return Address(url, tuple(host_port(one) for one in (sentinels or "").split(",") if one), service or "")


def has_password(address: Address) -> bool:
    """Whether the URL has a password in it."""
    return urlsplit(address.url).password is not None


def with_password(address: Address, secret: bytes) -> Address:
    """The address with a password, which can be any bytes. Raises ValueError if its URL has one already."""
    if has_password(address):
        raise ValueError("there is a password in --password-file and another in the URL: give one")
    parts = urlsplit(address.url)
    user, _, place = parts.netloc.rpartition("@")
    netloc = f"{user}:{quote(secret, safe='')}@{place}"
    return replace(address, url=urlunsplit(parts._replace(netloc=netloc)))


def host_port(text: str) -> tuple[str, int]:
    """Read `host:port`, or a host with Sentinel's default port. An IPv6 address needs brackets."""
    parts = urlsplit(f"//{text}")
    try:
        return parts.hostname or "127.0.0.1", parts.port or 26379
    except ValueError:
        raise ValueError("--sentinel takes host:port[,host:port …]") from None


def library_for(url: str) -> tuple[Any, str]:
    """The client library for a URL, and the URL as it reads it. For valkey://, valkey-py if it is installed."""
    scheme, _, rest = url.partition("://")
    if not scheme.startswith("valkey"):
        return importlib.import_module("redis"), url
    if importlib.util.find_spec("valkey") is not None:
        return importlib.import_module("valkey"), url
    return importlib.import_module("redis"), f"{scheme.replace('valkey', 'redis')}://{rest}"


def connect(address: Address) -> Any:
    """Connect a client to the server; for a cluster, a cluster client. Raises the client library's errors."""
    library, url = library_for(address.url)
    options = {"socket_connect_timeout": CONNECT_S, "socket_timeout": ANSWER_S, "retry": no_retry(library)}
    if address.sentinels:
        return of_sentinel(library, url, address, options)
    client = library.from_url(url, **options)
    try:
        client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    except TypeError:
        raise ValueError("--url has an option that the client library does not know") from None
    if not is_cluster(client):
        return client
    if url.startswith("unix:"):
        # A socket only reaches this node, so only the queues on it can be used.
        return client
    client.close()
    cluster = getattr(library, "RedisCluster", None) or library.ValkeyCluster
    options.pop("retry")
    # During a failover, the queue itself keeps trying.
    return cluster.from_url(url, require_full_coverage=False, **options)


def no_retry(library: Any) -> Any:
    """The option that makes a client raise an error at once. By default, redis-py 8 would try for seconds."""
    backoff = importlib.import_module(f"{library.__name__}.backoff")
    return importlib.import_module(f"{library.__name__}.retry").Retry(backoff.NoBackoff(), 0)


def of_sentinel(library: Any, url: str, address: Address, options: dict[str, Any]) -> Any:
    """A client for the primary that the Sentinels name, also after a failover."""
    connection = importlib.import_module(f"{library.__name__}.connection")
    parsed = connection.parse_url(url)
    own = {name: parsed[name] for name in ("username", "password", "db") if parsed.get(name)}
    if "SSL" in getattr(parsed.get("connection_class"), "__name__", ""):
        own["ssl"] = True
    sentinel = importlib.import_module(f"{library.__name__}.sentinel").Sentinel
    manager = sentinel(
        list(address.sentinels), sentinel_kwargs={"socket_timeout": CONNECT_S, **options}, **options, **own
    )
    client = manager.master_for(address.service)
    client.ping()
    return client


def is_cluster(client: Any) -> bool:
    """Whether the server is a node of a cluster. Without the right to ask, it is treated as a single server."""
    try:
        return bool(int(client.info("cluster").get("cluster_enabled", 0)))
    except Client(client).errors.ResponseError as error:
        if is_denied(error):
            return False
        raise


def redis_cli(address: Address, client: Any) -> list[str]:
    """The first words of a redis-cli command for the same server. The password is left out: it has REDISCLI_AUTH."""
    parts = urlsplit(address.url)
    # In a URL without a password, redis-cli would take the user for the password.
    user = ["--user", unquote(parts.username)] if parts.username else []
    if is_cluster(client) and parts.scheme != "unix":
        return ["redis-cli", "-c", "-u", f"{scheme_of(parts.scheme)}://{address}", *user]
    database = int(client.connection_pool.connection_kwargs.get("db") or 0)
    if parts.scheme == "unix":
        return ["redis-cli", "-s", unquote(parts.path), *(["-n", str(database)] if database else []), *user]
    place = str(address)
    if address.sentinels:
        place = address_of(*client.connection_pool.get_master_address())
    path = f"/{database}" if database else ""
    return ["redis-cli", "-u", f"{scheme_of(parts.scheme)}://{place}{path}", *user]


def scheme_of(scheme: str) -> str:
    """The scheme of a URL as redis-cli knows it."""
    return "rediss" if scheme in ("rediss", "valkeys") else "redis"
