"""All the ways in which users make a client of a cluster or of Sentinel. The library's twins must work with each."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
import taskslot._async.wire
import taskslot._sync.wire
import valkey
import valkey.asyncio
import valkey.asyncio.sentinel
import valkey.sentinel
from harness.sentinel import NAME
from harness.server import wait_synced, wait_until
from taskslot import App, AsyncQueue, AsyncShardedQueue, Queue, ShardedQueue

LIBRARIES = {
    "redis-py": redis, "valkey-py": valkey, "redis-py asyncio": redis.asyncio, "valkey-py asyncio": valkey.asyncio,
}  # fmt: skip
PASSWORD = "s/e#c?r@t:"
QUOTED = "s%2Fe%23c%3Fr%40t%3A"


# Nearly the same clients.
EACH = [pytest.param(name, marks=[pytest.mark.slow] * name.startswith("valkey")) for name in LIBRARIES]


@pytest.fixture(params=EACH)
def library(request):
    """Which client, sync or asyncio."""
    return request.param


class Way:
    """The parts from which a client is made."""

    def __init__(self, library, port):
        self.module = LIBRARIES[library]
        self.name = library.partition("-")[0]
        self.kind = getattr(self.module, f"{self.name.capitalize()}Cluster")
        self.at = {"host": "127.0.0.1", "port": port, "password": PASSWORD}
        self.url = f"{self.name}://:{QUOTED}@127.0.0.1:{port}"


def subclass(way):
    """A class derived by a user, with a constructor of its own."""

    class Mine(way.kind):
        def __init__(self, settings):
            self.settings = settings
            super().__init__(**settings)

        def execute_command(self, *words, **options):
            assert self.settings
            return super().execute_command(*words, **options)

    return Mine(way.at)


def nodes(way):
    """The first nodes of a client."""
    node = getattr(way.module, "cluster", None)
    return way.kind(startup_nodes=[node.ClusterNode("127.0.0.1", way.at["port"])], password=PASSWORD)


def credentials(way):
    """A credential provider instead of a password."""
    root = redis if way.name == "redis" else valkey
    provider = root.credentials.UsernamePasswordCredentialProvider(password=PASSWORD)
    return way.kind(host="127.0.0.1", port=way.at["port"], credential_provider=provider)


WAYS = {
    "host and port": lambda way: way.kind(**way.at),
    "nodes": nodes,
    "URL": lambda way: way.kind.from_url(way.url),
    "URL with a database": lambda way: way.kind.from_url(way.url + "/0"),
    "URL and options": lambda way: way.kind.from_url(way.url, decode_responses=True, protocol=3),
    "decoded": lambda way: way.kind(decode_responses=True, **way.at),
    "RESP3": lambda way: way.kind(protocol=3, **way.at),
    "remapped": lambda way: way.kind(address_remap=lambda address: ("localhost", address[1]), **way.at),
    "subclass": subclass,
    "credential provider": credentials,
}


async def use(make, is_async):
    """Use waiting claims, waits for results, and shards."""

    async def value_of(value):
        return await value if is_async else value

    client = make()
    queue = (AsyncQueue if is_async else Queue)(client, "mail")
    sharded = (AsyncShardedQueue if is_async else ShardedQueue)(client, "orders", shards=5)
    first = await value_of(queue.push("a", retain_ms=60_000))
    (task,) = await value_of(queue.claim(block_ms=5000))
    assert await value_of(queue.claim(block_ms=1)) == []
    assert await value_of(queue.ack(task, result="done"))
    assert (await value_of(queue.result(first, block_ms=5000))).value == b"done"
    await value_of(sharded.push("b"))
    assert [one.payload for one in await value_of(sharded.claim(block_ms=5000))] == [b"b"]
    await value_of(queue.close())
    await value_of(sharded.close())
    await value_of(client.aclose() if is_async else client.close())


@pytest.mark.slow
def test_each_way_to_make_a_client_of_a_cluster_is_a_way_to_wait(start_cluster, library):
    """With every option that the client has."""
    cluster = start_cluster(3, 0)
    way = Way(library, cluster.nodes[1].port)
    for node in cluster.nodes:
        node.say("CONFIG", "SET", "requirepass", PASSWORD)
    for how, make in WAYS.items():
        try:
            asyncio.run(use(lambda make=make: make(way), library.endswith("asyncio")))
        except Exception as error:
            raise AssertionError(f"{library}, {how}") from error


async def use_app(make, **options):
    """Use the asyncio client that an app makes from a sync one."""
    client = make()
    app = App(client, **options)
    async with app:
        task = await app.aqueue("app").push("a", retain_ms=60_000)
        (claimed,) = app.queue("app").claim(block_ms=5000)
        app.queue("app").ack(claimed, result="done")
        assert (await app.aqueue("app").result(task, block_ms=5000)).value == b"done"
    app.close()
    client.close()


@pytest.mark.parametrize("library", [one for one in EACH if "asyncio" not in str(one)])
def test_an_app_makes_an_asyncio_client_of_a_cluster(start_cluster, library):
    """Like each sync one."""
    cluster = start_cluster(3, 0)
    way = Way(library, cluster.nodes[1].port)
    for node in cluster.nodes:
        node.say("CONFIG", "SET", "requirepass", PASSWORD)
    for how, make in WAYS.items():
        try:
            asyncio.run(use_app(lambda make=make: make(way), shards=3))
        except Exception as error:
            raise AssertionError(f"{library}, {how}") from error


@pytest.mark.parametrize("library", [one for one in EACH if "asyncio" not in str(one)])
def test_an_app_makes_an_asyncio_client_of_sentinel(start_sentinel, library):
    """The primary is that which the Sentinels name."""
    watched = start_sentinel()
    module = LIBRARIES[library]
    at = [("127.0.0.1", one.port) for one in watched.watchers]
    asyncio.run(use_app(lambda: module.sentinel.Sentinel(at, socket_timeout=2).master_for(NAME)))


def test_a_client_of_sentinel_is_a_way_to_wait(start_sentinel, library):
    """Also one of a derived class."""
    watched = start_sentinel()
    module, name = LIBRARIES[library], library.partition("-")[0]
    kind = getattr(module, name.capitalize())
    is_async = library.endswith("asyncio")

    class Mine(kind):
        """With a name of its own."""

    def make(used):
        manager = module.sentinel.Sentinel([("127.0.0.1", one.port) for one in watched.watchers])
        return manager.master_for(NAME, **{f"{name}_class": used, "decode_responses": True})

    for used in (kind, Mine):
        asyncio.run(use(lambda used=used: make(used), is_async))


def test_an_end_between_two_slices_is_heard_on_a_cluster(start_cluster, library, monkeypatch):
    """On any node, and although the task is not kept."""
    for module in (taskslot._async.wire, taskslot._sync.wire):
        monkeypatch.setattr(module, "SLICE_MS", 20)
    cluster = start_cluster(3, 0)
    working = ShardedQueue(cluster.client(), "orders", shards=8)
    ids = working.push_many([b"%d" % number for number in range(40)]) + [working.push(b"last")]
    way = Way(library, cluster.nodes[1].port)
    at = {"host": "127.0.0.1", "port": cluster.nodes[1].port}

    def waiters():
        clients = [client for node in cluster.nodes for client in node.client().client_list()]
        return sum(one["cmd"].lower() == "task.result" for one in clients) >= len(ids)

    def work():
        wait_until(waiters, "all wait", 30)
        while tasks := working.claim(1):
            working.ack(tasks[0], result=tasks[0].payload)

    async def wait_for_all():
        queue = AsyncShardedQueue(way.kind(**at), "orders", shards=8)
        working = asyncio.get_running_loop().run_in_executor(None, work)
        found = await asyncio.gather(*(queue.result(task, block_ms=40_000) for task in ids))
        await working
        await queue.close()
        return found

    if library.endswith("asyncio"):
        found = asyncio.run(wait_for_all())
    else:
        queue = ShardedQueue(way.kind(**at), "orders", shards=8)
        with ThreadPoolExecutor(len(ids) + 1) as threads:
            results = [threads.submit(queue.result, task, block_ms=40_000) for task in ids]
            threads.submit(work).result(60)
            found = [one.result(60) for one in results]
    assert sorted(one.value for one in found) == sorted([*(b"%d" % number for number in range(40)), b"last"])


@pytest.mark.parametrize("library", EACH)
@pytest.mark.slow
def test_a_wait_goes_on_where_the_slot_has_gone(start_cluster, library, monkeypatch):
    """To another node after a move, or to the replica of a node that died."""
    for module in (taskslot._async.wire, taskslot._sync.wire):
        monkeypatch.setattr(module, "SLICE_MS", 100)
    cluster = start_cluster(3, 1)
    way = Way(library, cluster.nodes[1].port)
    at = {"host": "127.0.0.1", "port": cluster.nodes[1].port}
    working = Queue(cluster.client(), "mail", patience_ms=30_000)
    working.configure(retain=60_000)
    task = working.push("a")

    def wait():
        if not library.endswith("asyncio"):
            return Queue(way.kind(**at), "mail", patience_ms=30_000).result(task, block_ms=0)

        async def wait_for_it():
            queue = AsyncQueue(way.kind(**at), "mail", patience_ms=30_000)
            return await queue.result(task, block_ms=0)

        return asyncio.run(wait_for_it())

    def waits_at(node):
        return any(one["cmd"].lower() == "task.result" for one in node.client().client_list())

    with ThreadPoolExecutor(1) as threads:
        result = threads.submit(wait)
        old = cluster.node_of("mail")
        wait_until(lambda: waits_at(old), "it waits", 20)
        new = next(node for node in cluster.primaries() if node is not old)
        cluster.move_slots([cluster.slot("mail")], old, new)
        wait_until(lambda: waits_at(new), "it waits where the slot is", 20)
        heir = cluster.replica_of(new)
        # The task has just arrived with its slot. Until the replica has it, it would be lost with its node.
        wait_synced(new, heir)
        cluster.kill(new)
        cluster.wait_promoted(heir)
        wait_until(lambda: waits_at(heir), "it waits at the new primary", 40)
        (claimed,) = working.claim()
        working.ack(claimed, result="done")
        assert result.result(40).value == b"done"
