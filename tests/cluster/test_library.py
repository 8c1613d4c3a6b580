"""The Python library on real clusters and under Sentinel: failovers, slots that move, nodes that hang.

Producers and workers run on threads. At the end, each payload is accounted for.
"""

import asyncio
import threading
import time
from collections import Counter

import pytest
import redis
import valkey
from harness.cluster import Cluster
from harness.server import wait_until
from taskslot import AsyncShardedQueue, Queue, Refused, ShardedQueue, TaskslotError

SHARDS = 8
# Failovers take 5 to 15 s, and longer on a busy machine.
pytestmark = pytest.mark.timeout(150)

# The clients are nearly the same, and both are fully tested without a cluster.
LIBRARIES = ["redis-py", pytest.param("valkey-py", marks=pytest.mark.slow)]


def client_of(cluster: Cluster, library: str):
    """A client as users make it, which knows one node."""
    kind = redis.RedisCluster if library == "redis-py" else valkey.ValkeyCluster
    return kind(host="127.0.0.1", port=cluster.nodes[1].port)


class Traffic:
    """Producers and workers of a sharded queue, each with its own client, and what they did with each payload."""

    def __init__(self, connect, producers=2, workers=3, lease=1000):
        self._connect = connect
        self.pushed: set[bytes] = set()
        self.done: Counter[bytes] = Counter()
        self.refused: Counter[str] = Counter()
        self.broken: list[BaseException] = []
        self._stop = threading.Event()
        self._drained = threading.Event()
        setting = self.queue()
        setting.configure(lease=lease, **{"backoff-base": 10})
        jobs = [(self._produce, n) for n in range(producers)] + [(self._work, n) for n in range(workers)]
        self._producers = producers
        self._threads = [threading.Thread(target=self._run, args=job, daemon=True) for job in jobs]
        for thread in self._threads:
            thread.start()
        self.makes_progress(100)

    def queue(self) -> ShardedQueue:
        """A queue object with its own client."""
        return ShardedQueue(self._connect(), "orders", shards=SHARDS, patience_ms=30_000)

    def _run(self, job, number):
        try:
            job(self.queue(), number)
        except BaseException as error:
            self.broken.append(error)

    def _produce(self, queue, number):
        at = 0
        while not self._stop.is_set():
            payload = b"%d-%d" % (number, at)
            queue.push(payload, group="few" if at % 10 == 0 else None)
            self.pushed.add(payload)
            at += 1

    def _work(self, queue, _):
        while not self._drained.is_set():
            for task in queue.claim(5, block_ms=100):
                self.done[task.payload] += 1
                try:
                    queue.ack(task)
                except TaskslotError as error:
                    self.refused[type(error).__name__] += 1

    def makes_progress(self, tasks=300):
        """Wait until this many more tasks are done."""
        before = sum(self.done.values())
        wait_until(
            lambda: self.broken or sum(self.done.values()) >= before + tasks, f"{tasks} more are done", 60
        )
        assert not self.broken, self.broken

    def finish(self):
        """Stop pushing and wait until no task is left. Returns the payloads that were lost or done again."""
        self._stop.set()
        for producer in self._threads[: self._producers]:
            producer.join(40)
        looking = self.queue()
        wait_until(lambda: self.broken or looking.len() == 0, "the queue is empty", 60)
        self._drained.set()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive(), "every producer and worker has ended"
        assert not self.broken, self.broken
        return self.pushed - set(self.done), {task for task, times in self.done.items() if times > 1}


@pytest.mark.parametrize("library", LIBRARIES)
def test_workers_and_producers_outlive_a_primary(cluster, library):
    """A primary is killed and its replica takes over; then a planned failover back. Nothing is lost."""
    traffic = Traffic(lambda: client_of(cluster, library))
    victim = cluster.primaries()[0]
    heir = cluster.replica_of(victim)
    cluster.kill(victim)
    cluster.wait_promoted(heir)
    traffic.makes_progress()
    cluster.restart(victim)
    cluster.failover(victim)
    traffic.makes_progress()
    lost, again = traffic.finish()
    # Replication is asynchronous: on a busy machine, the last pushes and acks before the kill can be lost.
    assert len(lost) <= 20 and len(again) <= 100, (lost, again)


@pytest.mark.parametrize("library", LIBRARIES)
def test_workers_and_producers_follow_slots_that_move(cluster, library):
    """Half of the shards move to other nodes under load, key by key. Each task is done once."""
    traffic = Traffic(lambda: client_of(cluster, library), lease=4000)
    primaries = cluster.primaries()
    for key in traffic.queue().keys[: SHARDS // 2]:
        source = cluster.node_of(key)
        target = primaries[(primaries.index(source) + 1) % len(primaries)]
        cluster.move_slots([cluster.slot(key)], source, target)
        traffic.makes_progress(50)
    lost, again = traffic.finish()
    assert lost == set()
    # A lease moves with its queue. Only a task whose claim lost its reply can run again.
    assert len(again) <= 5, again


@pytest.mark.slow
def test_workers_follow_slots_that_migrate_as_a_whole(cluster):
    """Valkey 9's atomic slot migration, under load."""
    if not cluster.migrates_by_itself:
        pytest.skip("only Valkey from 9.0 on has CLUSTER MIGRATESLOTS")
    traffic = Traffic(lambda: client_of(cluster, "valkey-py"), lease=4000)
    one, two, _ = cluster.primaries()
    cluster.migrate_slots(one.itself().slots, one, two)
    traffic.makes_progress()
    lost, again = traffic.finish()
    assert lost == set() and len(again) <= 5, (lost, again)


def test_workers_of_other_nodes_go_on_while_a_primary_stands_still(start_cluster):
    """The node neither replies nor refuses. A worker with its home there finds tasks on the other nodes."""
    cluster = start_cluster(cluster_node_timeout=60_000)
    still = cluster.primaries()[0]
    client = client_of(cluster, "redis-py")
    queue = ShardedQueue(client, "orders", shards=SHARDS)
    homes = [n for n, key in enumerate(queue.keys) if cluster.node_of(key) is still]
    queue._claims.home = homes[0]
    assert queue.claim(block_ms=50) == []
    elsewhere = next(key for key in queue.keys if cluster.node_of(key) is not still)
    cluster.freeze(still)
    threading.Timer(0.2, lambda: Queue(client, elsewhere).push("a")).start()
    (task,) = queue.claim(block_ms=20_000)
    assert task.key == elsewhere
    cluster.thaw(still)
    assert queue.ack(task)


def test_a_node_that_stands_still_is_asked_for_one_of_its_shards_only(start_cluster, monkeypatch):
    """Even if many of its shards are known to have tasks, because each try takes a time-out while the others wait."""
    cluster = start_cluster(replicas=0, cluster_node_timeout=60_000)
    still = cluster.primaries()[0]
    queue = ShardedQueue(client_of(cluster, "redis-py"), "orders", shards=16)
    here = {key for key in queue.keys if cluster.node_of(key) is still}
    for one in queue.queues:
        if one.name in here:
            one.push_many(["a", "b"])
    assert len(queue.claim()) == 1 and len(here) >= 5
    asked, look = [], queue.wire.look

    def noted(command):
        asked.append(command.key)
        return look(command)

    monkeypatch.setattr(queue.wire, "look", noted)
    elsewhere = next(one for one in queue.queues if one.name not in here)
    elsewhere.push("c")
    cluster.freeze(still)
    (task,) = queue.claim(block_ms=20_000)
    assert task.key == elsewhere.name
    assert len(here.intersection(asked)) == 1, asked


@pytest.mark.parametrize("library", LIBRARIES)
def test_calls_outlive_a_cluster_that_is_gone_for_a_while(start_cluster, library):
    """All nodes are away, so the client can't even learn the slots. Pushes and claims keep trying."""
    cluster = start_cluster(replicas=0)
    client = client_of(cluster, library)
    queue = Queue(client, "mail", patience_ms=30_000)
    sharded = ShardedQueue(client, "orders", shards=SHARDS, patience_ms=30_000)
    # Its clients for waits and looks have to be made while all nodes are away.
    queue.push("before"), sharded.push("before")
    for node in cluster.nodes:
        cluster.kill(node)
    got, broken = [], []

    def call(what):
        try:
            got.append(what())
        except BaseException as error:
            broken.append(error)

    calls = [
        lambda: queue.push("after"),
        lambda: sharded.push("after"),
        lambda: queue.claim(block_ms=60_000)[0].payload,
        lambda: sharded.claim(block_ms=60_000)[0].payload,
    ]
    threads = [threading.Thread(target=call, args=[one], daemon=True) for one in calls]
    for thread in threads:
        thread.start()
    for node in cluster.nodes:
        node.start()
    for thread in threads:
        thread.join(45)
    assert not broken and got.count(b"after") == 2, (broken, got)


def test_a_client_that_does_not_route_is_told_so_at_once(start_cluster):
    """Otherwise a plain client on a cluster node would get MOVED until its patience ends."""
    cluster = start_cluster(primaries=2, replicas=0)
    one, two = cluster.primaries()
    key = next(name for name in "abcdefgh" if cluster.node_of(name) is two)
    with redis.Redis(port=one.port) as client, pytest.raises(Refused, match="RedisCluster"):
        Queue(client, key, patience_ms=60_000).push("a")


def test_a_push_leaves_a_shard_alone_whose_node_is_away(cluster):
    """Tasks without a group go to the other nodes."""
    queue = ShardedQueue(client_of(cluster, "redis-py"), "orders", shards=SHARDS)
    queue.push_many(map(str, range(10)))
    victim = cluster.primaries()[2]
    lost = {n for n, key in enumerate(queue.keys) if cluster.node_of(key) is victim}
    cluster.kill(victim)
    queue._loads.seen_at = float("-inf")
    shards = {int(queue.push("a").partition("/")[0]) for _ in range(40)}
    assert shards and not shards & lost


@pytest.mark.slow
def test_asyncio_workers_outlive_a_primary(cluster):
    """In an event loop, with clients of both libraries side by side."""
    victim = cluster.primaries()[1]
    heir = cluster.replica_of(victim)
    pushed: set[bytes] = set()
    done: Counter[bytes] = Counter()
    stop = threading.Event()

    async def produce(queue, name):
        at = 0
        while not stop.is_set():
            await queue.push(f"{name}-{at}")
            pushed.add(f"{name}-{at}".encode())
            at += 1

    async def work(queue):
        tasks = []
        while not stop.is_set() or await queue.len():
            _, tasks = await queue.next(tasks, 5, block_ms=100)
            done.update(task.payload for task in tasks)

    async def run():
        port = cluster.nodes[0].port
        clients = [
            kind(host="127.0.0.1", port=port)
            for kind in (redis.asyncio.RedisCluster, valkey.asyncio.ValkeyCluster)
        ]
        queues = [AsyncShardedQueue(one, "orders", shards=SHARDS, patience_ms=30_000) for one in clients]
        await queues[0].configure(lease=1000)
        jobs = [produce(queue, n) for n, queue in enumerate(queues)] + [work(queue) for queue in queues]
        await asyncio.gather(*jobs)
        for queue, client in zip(queues, clients, strict=True):
            await queue.close()
            await client.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    wait_until(lambda: sum(done.values()) > 100, "tasks are done", 20)
    cluster.kill(victim)
    cluster.wait_promoted(heir)
    before = sum(done.values())
    wait_until(lambda: sum(done.values()) > before + 300, "tasks are done again", 30)
    stop.set()
    thread.join(30)
    assert not thread.is_alive() and len(pushed - set(done)) <= 20, pushed - set(done)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_queue_follows_its_primary_under_sentinel(start_sentinel, library):
    """A waiting claim and a push find the promoted replica, which has the earlier tasks."""
    sentinel = start_sentinel()
    module = redis if library == "redis-py" else valkey
    watchers = module.sentinel.Sentinel([("127.0.0.1", watcher.port) for watcher in sentinel.watchers])
    client = watchers.master_for("main")
    queue = Queue(client, "mail", patience_ms=30_000)
    queue.push("before")
    queue.claim(noack=True)
    got = []
    waiting = threading.Thread(target=lambda: got.extend(queue.claim(block_ms=60_000)), daemon=True)
    waiting.start()
    wait_until(lambda: queue.info().blocked_workers == 1, "the worker waits")
    heir = sentinel.replica()
    sentinel.primary().kill9()
    started = time.monotonic()
    queue.push("after")
    waiting.join(30)
    assert [task.payload for task in got] == [b"after"] and time.monotonic() - started < 30
    assert queue.ack(got[0])
    with heir.client() as c:
        assert c.execute_command("TASK.LEN", "mail") == 0
