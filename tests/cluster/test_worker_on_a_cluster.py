"""A worker of the Python library on a real cluster, of which a primary dies."""

import json
import threading
from collections import Counter

import pytest
import redis
import taskslot.worker.claimer
from harness.server import wait_until
from harness.worker_thread import WorkerThread
from taskslot import Queue, ShardedQueue, Worker, chord, current, shards
from taskslot.worker.sources import sources_of

taskslot.worker.claimer.BLOCK_MS = 50


def test_a_worker_outlives_a_primary(cluster):
    """Tasks of all shards are done, even those that were running on the killed node, and the worker continues."""
    client = redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[1].port)
    queue = ShardedQueue(client, "orders", shards=8, patience_ms=30_000)
    queue.configure(lease=2000, **{"backoff-base": 10})
    done: Counter[int] = Counter()
    begun, go = threading.Semaphore(0), threading.Event()
    worker = Worker(queue, concurrency=16)

    @worker.task("waits")
    def waits(number):
        begun.release()
        assert go.wait(30)
        done[number] += 1

    @worker.task("count")
    async def count(number):
        done[number] += 1

    ended = []
    thread = threading.Thread(target=lambda: ended.append(worker.run()), daemon=True)
    thread.start()
    victim = cluster.primaries()[0]
    heir = cluster.replica_of(victim)
    # Groups spread the tasks over all shards.
    running = [queue.push(waits.call(n), group=f"g{n}") for n in range(12)]
    assert any(cluster.node_of(queue.keys[int(one.partition("/")[0])]) is victim for one in running)
    for _ in running:
        assert begun.acquire(timeout=10)
    wait_until(lambda: replicated(cluster), "the replicas know of it")
    cluster.kill(victim)
    cluster.wait_promoted(heir)
    go.set()
    pushed = [queue.push(count.call(n), group=f"g{n}") for n in range(100, 300)]
    wait_until(lambda: set(done) >= set(range(12)) | set(range(100, 300)), "all are done", 30)
    wait_until(lambda: queue.len() == 0, "all are answered for", 30)
    assert len(pushed) == 200 and not ended
    worker.stop()
    thread.join(20)
    assert ended == [0]


@pytest.mark.slow
def test_a_batch_and_its_flow_outlive_a_primary(cluster):
    """Its node is killed while its tasks run. What waits for them has their results, and the callback their counts."""
    client = redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[1].port)
    queue = ShardedQueue(client, "albums", shards=8, patience_ms=30_000)
    begun, go = threading.Semaphore(0), threading.Event()
    worker = Worker(queue, concurrency=16)

    @worker.task("size")
    def size(number):
        begun.release()
        assert go.wait(30)
        return number

    total = worker.task("total")(lambda: sum(current().results()))
    counts = worker.task("counts")(lambda: current().counts)
    victim = cluster.primaries()[0]
    heir = cluster.replica_of(victim)
    names = {cluster.node_of(shard_of(queue, name)): name for name in (f"album-{n}" for n in range(99))}
    with WorkerThread(worker):
        with queue.batch(names[victim], counts.call()) as batch:
            sizes, last = batch.push_flow(chord([size.call(n) for n in range(12)], total.call()))
        for _ in sizes:
            assert begun.acquire(timeout=10)
        wait_until(lambda: replicated(cluster), "the replicas know of it")
        cluster.kill(victim)
        cluster.wait_promoted(heir)
        go.set()
        assert queue.result(last, block_ms=30_000).value == b"66"
        assert json.loads(queue.result(batch.callback, block_ms=30_000).value) == [13, 13, 0, 0, 0, 0]


@pytest.mark.slow
def test_a_worker_of_several_queues_outlives_the_primary_of_the_first(cluster):
    """Those on other nodes are served meanwhile. Queues of one slot are claimed from together."""
    client = redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[1].port)
    first, beside = Queue(client, "{shop}critical"), Queue(client, "{shop}default")
    victim = cluster.node_of(first.name)
    names = (f"reports-{n}" for n in range(99))
    elsewhere = Queue(client, next(name for name in names if cluster.node_of(name) is not victim))
    spread = ShardedQueue(client, "orders", shards=8, patience_ms=30_000)
    queues = [first, beside, elsewhere, spread]
    assert [source.name for source in sources_of(queues)] == [
        "{shop}critical, {shop}default",
        elsewhere.name,
        "orders",
    ]
    worker = Worker(queues, concurrency=4)
    task = worker.task("f", retain_ms=60_000)(lambda number: number)
    heir = cluster.replica_of(victim)
    with WorkerThread(worker):
        for queue in queues:
            assert queue.result(queue.push(task.call(1)), block_ms=20_000).value == b"1"
        cluster.kill(victim)
        assert elsewhere.result(elsewhere.push(task.call(2)), block_ms=20_000).value == b"2"
        cluster.wait_promoted(heir)
        for queue in queues:
            assert queue.result(queue.push(task.call(3)), block_ms=20_000).value == b"3"


def shard_of(queue, batch):
    """The key of the shard on which a batch lives."""
    return queue.keys[shards.shard_of_batch(batch, len(queue.keys))]


def replicated(cluster):
    """Whether every replica has everything that its primary has sent."""
    for primary in cluster.primaries():
        sent = int(primary.facts("INFO", "replication")["master_repl_offset"])
        for replica in cluster.replicas_of(primary):
            if int(replica.facts("INFO", "replication")["slave_repl_offset"]) < sent:
                return False
    return True
