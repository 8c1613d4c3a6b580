"""All the ways in which users make a client. The library's twins must connect to the same server."""

import asyncio
import os
import random
from urllib.parse import quote

import pytest
import redis
import redis.asyncio
import redis.backoff
import redis.retry
import valkey
import valkey.asyncio
from harness.blocking import Blocking
from harness.command_line import run
from harness.proxy import Proxy
from harness.worker_thread import WorkerThread
from taskslot import App, AsyncQueue, AsyncShardedQueue, Queue, ShardedQueue, Worker
from taskslot.app.connections import async_client
from taskslot.clients import Client

PASSWORD = "s/e#c?r@t:"
LIBRARIES = {
    "redis-py": redis,
    "valkey-py": valkey,
    "redis-py asyncio": redis.asyncio,
    "valkey-py asyncio": valkey.asyncio,
}


class Way:
    """The parts from which a client is made: a library, its classes, and the server's address.

    `lone` is an address with the default port, which can be omitted.
    """

    def __init__(self, library, server, lone):
        self.module = LIBRARIES[library]
        self.root = redis if library.startswith("redis") else valkey
        self.is_async = library.endswith("asyncio")
        self.scheme = self.root.__name__
        self.kind = getattr(self.module, self.scheme.capitalize())
        self.at = {"host": "127.0.0.1", "port": server.port, "password": PASSWORD}
        self.lone = {"host": lone, "password": PASSWORD}
        self.socket = server.socket
        self.connection = self.module.connection

    def url(self, rest, scheme=None):
        """A URL with the password in it."""
        return f"{scheme or self.scheme}://:{quote(PASSWORD, safe='')}@{rest}"

    def pool(self, name="ConnectionPool", **options):
        """A pool of connections to this server."""
        return getattr(self.module, name)(**options)


def subclass(way):
    """A class derived by a user, with a constructor of its own. It counts its commands."""

    class Mine(way.kind):
        def __init__(self, settings):
            self.settings, self.sent = settings, []
            super().__init__(**settings)

        def execute_command(self, *words, **options):
            self.sent.append(words[0])
            return super().execute_command(*words, **options)

    return Mine(way.at)


def subclass_of_pool(way):
    """A pool class derived by a user."""

    class Pool(way.module.ConnectionPool):
        def __init__(self, settings):
            self.settings = settings
            super().__init__(**settings)

        def get_encoder(self):
            assert self.settings
            return super().get_encoder()

    return way.kind(connection_pool=Pool(way.at))


def class_of_connections(way):
    """A connection class derived by a user."""

    class Connection(way.connection.Connection):
        def __init__(self, mine, **options):
            assert mine == 7
            super().__init__(**options)

    return way.kind(connection_pool=way.pool(connection_class=Connection, mine=7, **way.at))


def credentials(way):
    """A credential provider instead of a password."""
    provider = way.root.credentials.UsernamePasswordCredentialProvider(password=PASSWORD)
    return way.kind(port=way.at["port"], credential_provider=provider)


def waiting_pool(way):
    """A pool whose callers wait for a connection."""
    return way.pool("BlockingConnectionPool", max_connections=3, timeout=9, **way.lone)


WAYS = {
    "host and port": lambda way: way.kind(**way.at),
    "host": lambda way: way.kind(**way.lone),
    "decoded": lambda way: way.kind(decode_responses=True, encoding="latin-1", **way.at),
    "RESP3": lambda way: way.kind(protocol=3, **way.at),
    "one connection": lambda way: way.kind(single_connection_client=True, **way.at),
    "URL": lambda way: way.kind.from_url(way.url(f"127.0.0.1:{way.at['port']}")),
    "URL with a database": lambda way: way.kind.from_url(way.url(f"127.0.0.1:{way.at['port']}/3")),
    "URL without a port": lambda way: way.kind.from_url(way.url(way.lone["host"])),
    "URL of host and database": lambda way: way.kind.from_url(way.url(way.lone["host"] + "/3")),
    "URL with options": lambda way: way.kind.from_url(way.url(way.lone["host"] + "?socket_timeout=7")),
    "URL and options": lambda way: way.kind.from_url(way.url(way.lone["host"]), protocol=3),
    "module's from_url": lambda way: way.module.from_url(way.url(way.lone["host"])),
    "unix socket": lambda way: way.kind(unix_socket_path=way.socket, password=PASSWORD),
    "URL of a unix socket": lambda way: way.kind.from_url(way.url(way.socket, "unix")),
    "pool": lambda way: way.kind(connection_pool=way.pool(**way.at)),
    "pool without a port": lambda way: way.kind(connection_pool=way.pool(**way.lone)),
    "pool without a host": lambda way: way.kind(
        connection_pool=way.pool(port=way.at["port"], password=PASSWORD)
    ),
    "pool of a URL": lambda way: way.kind(
        connection_pool=way.module.ConnectionPool.from_url(way.url(way.lone["host"]))
    ),
    "pool that waits": lambda way: way.kind(connection_pool=waiting_pool(way)),
    "pool of unix sockets": lambda way: way.kind(
        connection_pool=way.pool(
            connection_class=way.connection.UnixDomainSocketConnection, path=way.socket, password=PASSWORD
        )
    ),
    "client that owns a pool": lambda way: way.kind.from_pool(way.pool(**way.lone)),
    "class of connections": class_of_connections,
    "subclass": subclass,
    "subclass of a pool": subclass_of_pool,
    "credential provider": credentials,
}  # fmt: skip


@pytest.fixture
def guarded(start):
    """A server whose password has to be escaped in a URL."""
    return start(port=True, requirepass=PASSWORD)


@pytest.fixture
def lone(guarded):
    """An address at which that server has the default port, which can be omitted."""
    host = f"127.{random.randrange(1, 250)}.{os.getpid() % 250}.{random.randrange(1, 250)}"
    with Proxy(guarded.port, host=host, port=6379):
        yield host


@pytest.mark.parametrize("how", WAYS)
def test_waits_work_with_every_way_to_make_a_client(how, library, guarded, lone, loop):
    """Use a waiting claim, a wait for a result, shards and, with sync clients, a worker."""
    way = Way(library, guarded, lone)
    if not way.is_async:
        client = WAYS[how](way)
        queue, sharded = Queue(client, "mail"), ShardedQueue(client, "orders", shards=3)
    else:
        client = Blocking(asyncio.run_coroutine_threadsafe(made(WAYS[how], way), loop).result(), loop)
        queue = Blocking(AsyncQueue(client.inner, "mail"), loop)
        sharded = Blocking(AsyncShardedQueue(client.inner, "orders", shards=3), loop)
    first = queue.push("a", retain_ms=60_000)
    (task,) = queue.claim(block_ms=20_000)
    assert queue.claim(block_ms=1) == []
    assert queue.ack(task, result="done") and queue.result(first, block_ms=20_000).value == b"done"
    sharded.push("b")
    assert [one.payload for one in sharded.claim(block_ms=20_000)] == [b"b"]
    if not way.is_async:
        worker = Worker(queue)
        double = worker.task("double")(lambda number: 2 * number)
        with WorkerThread(worker):
            assert queue.result(queue.push(double.call(21)), block_ms=20_000).value == b"42"
    for one in (queue, sharded):
        one.close()
    client.aclose() if way.is_async else client.close()


@pytest.mark.parametrize("library", ["redis-py", pytest.param("valkey-py", marks=pytest.mark.slow)])
def test_an_app_makes_an_asyncio_client_like_each_sync_one(library, guarded, lone):
    """With its address, password, database and kind of connection. The classes are those of the library."""
    way = Way(library, guarded, lone)

    async def use(app, how):
        async with app:
            task = await app.aqueue("mail").push(how, retain_ms=60_000)
            queue = app.queue("mail")
            (claimed,) = queue.claim()
            queue.ack(claimed, result=claimed.payload)
            ended = await app.aqueue("mail").result(task, block_ms=20_000)
            assert ended.value == how.encode()
            await app.aqueue("more").push("a")
            assert await app.aqueue("more").claim(block_ms=1000)

    for how, make in WAYS.items():
        with App(make(way)) as app:
            try:
                asyncio.run(use(app, how))
            except Exception as error:
                raise AssertionError(how) from error
    url = way.url(f"127.0.0.1:{guarded.port}")
    with App(url) as app:
        asyncio.run(use(app, "URL"))
        assert app.queue("mail").get("1-0") is None
    for wrong in ("http://127.0.0.1", PASSWORD):
        with pytest.raises(ValueError, match="begins with redis://") as refused:
            App(wrong)
        assert PASSWORD not in str(refused.value)
    with pytest.raises(TypeError, match="asyncio client needs"):
        App(way.root.asyncio.from_url(url))


def test_an_asyncio_client_is_made_though_the_retries_of_a_client_cannot_be_read():
    """Other versions of the client may name them differently. Then the asyncio library has its own."""
    client = redis.Redis(retry=redis.retry.Retry(redis.backoff.NoBackoff(), 7))
    options = client.connection_pool.connection_kwargs
    assert async_client(client).connection_pool.connection_kwargs["retry"].get_retries() == 7
    options["retry"] = object()
    assert "retry" not in async_client(client).connection_pool.connection_kwargs


async def made(how, way):
    """An asyncio client, made in its event loop."""
    return how(way)


def test_twins_keep_the_class_of_the_client(library, guarded, lone, loop):
    """A derived client, pool or connection can add a prefix to keys, for example. Twins must do the same."""
    way = Way(library, guarded, lone)
    client = subclass(way)
    twin = Client(client).twin(1.0)
    assert type(twin) is type(client) and twin.sent is client.sent
    assert twin.connection_pool is not client.connection_pool
    twin = Client(subclass_of_pool(way)).twin(1.0)
    assert type(twin.connection_pool).__name__ == "Pool" and twin.connection_pool.settings == way.at


def test_waits_use_the_commands_of_a_subclass(library, guarded, lone, loop):
    """Here the subclass adds a prefix to keys."""
    way = Way(library, guarded, lone)

    class Prefixed(way.kind):
        def execute_command(self, name, key, *words, **options):
            return super().execute_command(name, f"app:{key}", *words, **options)

    if way.is_async:
        queue = Blocking(AsyncQueue(Prefixed(**way.at), "mail"), loop)
    else:
        queue = Queue(Prefixed(**way.at), "mail")
    task = queue.push("a", retain_ms=60_000)
    (claimed,) = queue.claim(block_ms=20_000)
    queue.ack(claimed, result="done")
    assert queue.result(task, block_ms=20_000).value == b"done"
    with redis.Redis(**way.at) as client:
        assert client.keys() == [b"app:mail"]
    queue.close()


@pytest.mark.parametrize(
    "url", ["{scheme}://{secret}@{lone}", "{scheme}://{secret}@{lone}/3", "unix://{secret}@{socket}"]
)
@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_the_command_line_accepts_each_url(url, scheme, guarded, lone):
    """The port and the database are optional."""
    url = url.format(scheme=scheme, secret=":" + quote(PASSWORD, safe=""), lone=lone, socket=guarded.socket)
    words = ["--url", url]
    (task,) = run("push", "mail", "hello", *words).lines
    (claimed,) = run("claim", "mail", "--block-ms", "5000", *words).lines
    assert claimed.startswith(task) and run("claim", "mail", "--block-ms", "1", *words).lines == []
    assert "mail" in "\n".join(run("top", "--once", *words).lines)
    run("push", "orders", "a", "--shards", "3", *words)
    assert "a" in run("claim", "orders", "--shards", "3", "--block-ms", "5000", *words).lines[0]
