"""A worker of the Python library on a real cluster, of which a primary dies."""

import threading
from collections import Counter

import redis
import taskslot.worker.claimer
from harness.server import wait_until
from taskslot import ShardedQueue, Worker

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


def replicated(cluster):
    """Whether every replica has everything that its primary has sent."""
    for primary in cluster.primaries():
        sent = int(primary.facts("INFO", "replication")["master_repl_offset"])
        for replica in cluster.replicas_of(primary):
            if int(replica.facts("INFO", "replication")["slave_repl_offset"]) < sent:
                return False
    return True
