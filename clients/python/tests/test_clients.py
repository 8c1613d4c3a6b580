"""The twins of a user's client and the meaning of its errors, without a server."""

import inspect

import pytest
import redis
import redis.maint_notifications
import valkey
from taskslot.clients import OF_THE_POOL, Client, is_denied, is_of_client
from taskslot.web.live.sampler import words

CLASSES = [redis.Redis, valkey.Valkey, redis.asyncio.Redis, valkey.asyncio.Valkey]
OWN = {
    "db": 3, "username": "worker", "password": "secret", "client_name": "mail", "socket_keepalive": True,
    "health_check_interval": 7,
}  # fmt: skip


@pytest.mark.parametrize("kind", CLASSES)
def test_a_twin_uses_the_same_server_and_user(kind):
    """It has the client's address, database, user and password, but its own time-out, decoding and pool."""
    client = kind(host="127.0.0.9", port=6399, decode_responses=True, socket_timeout=1, **OWN)
    twin = Client(client).twin(4.5)
    assert type(twin) is kind and twin.connection_pool is not client.connection_pool
    made = twin.connection_pool.connection_kwargs
    assert (made["host"], made["port"]) == ("127.0.0.9", 6399)
    assert {name: made.get(name) for name in OWN} == OWN
    assert (made["socket_timeout"], made["decode_responses"]) == (4.5, False)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_twin_speaks_tls_as_the_client_does(kind):
    """It uses the client's certificates and checks."""
    tls = {
        "ssl_ca_certs": "/ca.pem",
        "ssl_certfile": "/me.pem",
        "ssl_keyfile": "/me.key",
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": False,
        "ssl_ca_data": "pem",
    }
    pool = Client(kind(port=6399, ssl=True, **tls)).twin(1.0).connection_pool
    assert "SSL" in pool.connection_class.__name__
    assert {name: pool.connection_kwargs.get(name) for name in tls} == tls
    scheme = "rediss" if kind.__module__.startswith("redis") else "valkeys"
    pool = Client(kind.from_url(f"{scheme}://h?ssl_cert_reqs=none")).twin(1.0).connection_pool
    assert "SSL" in pool.connection_class.__name__ and pool.connection_kwargs["ssl_cert_reqs"] == "none"
    plain = Client(kind(port=6399)).twin(1.0).connection_pool
    assert "SSL" not in plain.connection_class.__name__


@pytest.mark.parametrize("kind", CLASSES)
def test_a_twin_has_every_other_option_of_the_client(kind):
    """The test compares all options of a connection, so it fails if a library adds one that twins don't have."""
    more = {
        "socket_keepalive_options": {4: 7}, "encoding": "latin-1", "encoding_errors": "replace", "socket_read_size": 77,
    }  # fmt: skip
    takes = inspect.signature(kind.__init__).parameters
    client = kind(port=6399, **OWN, **{name: value for name, value in more.items() if name in takes})
    made = Client(client).twin(1.0).connection_pool.connection_kwargs
    own = {"retry", "socket_timeout", "socket_connect_timeout", "decode_responses", *OF_THE_POOL}
    options = client.connection_pool.connection_kwargs
    assert {name: made.get(name) for name in options if name not in own} == shared(options, own)


def shared(options, own):
    """The options that a twin shares with its client."""
    return {name: value for name, value in options.items() if name not in own}


def test_a_temporary_change_of_the_library_affects_only_its_pool():
    """During maintenance, a notice moves a pool of redis-py to another host. Each pool has its own handlers for it."""
    client = redis.Redis(host="here", protocol=3)
    moved = {"host": "there", "orig_host_address": "here", "maintenance_state": 1}
    client.connection_pool.connection_kwargs.update(moved)
    made = Client(client).twin(1.0).connection_pool.connection_kwargs
    assert made["host"] == "here" and "maintenance_state" not in made
    handler = "maint_notifications_pool_handler"
    assert made[handler] is not client.connection_pool.connection_kwargs[handler]


@pytest.mark.parametrize("asyncio", [False, True])
def test_a_twin_gets_no_maintenance_notices_if_the_client_gets_none(asyncio):
    """redis-py asks for such notices with RESP3 unless they are turned off."""
    kind = redis.asyncio.Redis if asyncio else redis.Redis
    off = redis.maint_notifications.MaintNotificationsConfig(enabled=False)
    for options, wanted in (({}, True), ({"maint_notifications_config": off}, False)):
        pool = Client(kind(host="here", protocol=3, **options)).twin(1.0).connection_pool
        assert bool(pool.maint_notifications_enabled()) == wanted


@pytest.mark.parametrize("kind", CLASSES)
def test_a_twin_of_a_unix_socket_uses_that_socket(kind):
    """It has no host."""
    pool = Client(kind(unix_socket_path="/run/redis.sock", password="p")).twin(1.0).connection_pool
    assert (pool.connection_kwargs["path"], pool.connection_kwargs["password"]) == ("/run/redis.sock", "p")


def test_a_client_of_another_library_is_refused():
    """It is refused by its type, before anything is sent."""
    for other in (None, object(), "redis://127.0.0.1"):
        with pytest.raises(TypeError, match="redis-py or valkey-py"):
            Client(other)


def test_a_derived_class_belongs_to_the_library_of_its_base():
    """This holds even if it is defined in a module of another name."""

    class Mine(redis.Redis):
        pass

    assert (Client(Mine()).library, type(Client(Mine()).twin(1.0))) == ("redis", Mine)


@pytest.mark.parametrize("module", [redis, valkey])
def test_outages_are_distinguished_from_permanent_errors(module):
    """Commands are sent again after an outage. A wrong password or a bad argument will not change."""
    client = Client(module.Redis() if module is redis else module.Valkey())
    errors = module.exceptions
    cluster_error = errors.RedisClusterException if module is redis else errors.ValkeyClusterException
    gone = cluster_error("Cluster cannot be connected. Please provide at least one reachable node")
    gone.__cause__ = errors.ConnectionError("refused")
    away = [
        errors.ConnectionError("refused"), errors.TimeoutError("late"), errors.ReadOnlyError("a replica"),
        errors.ClusterDownError("CLUSTERDOWN"), errors.TryAgainError("TRYAGAIN"), ConnectionResetError(),
        errors.ResponseError("UNBLOCKED the node was demoted"), gone,
    ]  # fmt: skip
    locked_out = cluster_error("Cluster cannot be connected")
    locked_out.__cause__ = errors.AuthenticationError("WRONGPASS")
    for_good = [
        errors.AuthenticationError("WRONGPASS"), errors.ResponseError("ERR syntax error"), ValueError("no"),
        cluster_error("TASK.MCLAIM - all keys must map to the same key slot"), locked_out,
    ]  # fmt: skip
    assert [client.is_away(error) for error in away] == [True] * len(away)
    assert [client.is_away(error) for error in for_good] == [False] * len(for_good)
    of_node = [client.is_of_node(error) for error in away]
    assert of_node == [True, True, False, False, False, True, False, False]


@pytest.mark.parametrize("made", ["of a URL", "of options"])
@pytest.mark.parametrize(
    "kind",
    [redis.RedisCluster, valkey.ValkeyCluster, redis.asyncio.RedisCluster, valkey.asyncio.ValkeyCluster],
)
def test_a_twin_of_a_cluster_speaks_tls_as_the_client_does(kind, made, monkeypatch):
    """It uses the client's connection class, checks and nodes."""
    library = kind.__module__.partition(".")[0]
    for module in (redis.cluster, valkey.cluster):
        monkeypatch.setattr(module.NodesManager, "initialize", lambda manager: None)
        monkeypatch.setattr(module, "CommandsParser", lambda client: None)
    options = {"username": "me", "password": "s/e@t", "socket_keepalive": True}
    if made == "of a URL":
        client = kind.from_url(f"{library}s://h:7000?ssl_cert_reqs=none", **options)
    else:
        client = kind(host="h", port=7000, ssl=True, ssl_cert_reqs="none", **options)
    twin = Client(client).twin(4.5)
    manager = twin.nodes_manager
    kwargs = getattr(twin, "connection_kwargs", None) or manager.connection_kwargs
    assert kwargs.get("ssl") or "SSL" in kwargs["connection_class"].__name__
    assert {name: kwargs[name] for name in options} == options and kwargs["ssl_cert_reqs"] == "none"
    assert (kwargs["socket_timeout"], kwargs["decode_responses"]) == (4.5, False)
    nodes = manager.startup_nodes
    assert [(node.host, node.port) for node in nodes.values()] == [("h", 7000)]
    connects = kwargs.get(f"{library}_connect_func")
    assert connects is None or connects.__self__ is twin


def test_errors_are_told_apart_without_a_client():
    """A derived class counts as its base, and an error of another library with the same name does not."""
    loading, own = redis.exceptions.BusyLoadingError("loading"), type("TimeoutError", (Exception,), {})("x")
    assert is_of_client(loading) and is_of_client(loading, "ConnectionError")
    assert not is_of_client(loading, "TimeoutError") and not is_of_client(own, "TimeoutError")
    assert words(loading).startswith("The server doesn't answer")
    assert words(own).startswith("The queues can't be read")
    assert words(redis.exceptions.AuthenticationError("wrong")).startswith("The queues can't be read")
    denied = redis.exceptions.ResponseError("NOPERM this user has no permissions to run the 'info' command")
    assert is_denied(denied) and is_denied(redis.exceptions.NoPermissionError("")) and not is_denied(loading)
