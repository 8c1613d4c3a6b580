"""Calls that wait for a node that is away don't hold up calls to other nodes: counts of work during an outage.

No replica takes over here, so the node stays away for as long as the test counts.
"""

import threading
import time
from collections import Counter
from contextlib import contextmanager

import pytest
import redis
import taskslot.worker.claimer
import valkey
from harness.server import wait_until
from redis.backoff import NoBackoff
from redis.retry import Retry
from taskslot import Queue, ShardedQueue, Worker

taskslot.worker.claimer.BLOCK_MS = 50
SHARDS = 12
pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def alone(start_cluster):
    """Three primaries without replicas. The running ones serve their slots while one is away."""
    return start_cluster(replicas=0, cluster_node_timeout=60_000, cluster_require_full_coverage="no")


CLIENTS = {
    "redis-py": redis.RedisCluster,
    "valkey-py": valkey.ValkeyCluster,
    # A client that doesn't resend by itself, like the library's own connections.
    "redis-py without retries": lambda **of: redis.RedisCluster(**of, retry=Retry(NoBackoff(), 0)),
}


def shards_of(cluster, queue, node):
    """The shards on a node."""
    return {number for number, key in enumerate(queue.keys) if cluster.node_of(key) is node}


@contextmanager
def running(worker):
    """Run a worker on a thread, and stop it at once at the end."""
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    yield
    worker.stop(at_once=True)
    thread.join(30)


class Gate:
    """Lets producers through, or holds all of them between two pushes. A push to a node that dies would wait."""

    def __init__(self, size):
        self._size, self._waiting, self._open = size, 0, True
        self._changed = threading.Condition()

    def pass_through(self):
        """Wait while it is closed."""
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._open)
            self._waiting -= 1

    @contextmanager
    def closed(self):
        """Close the gate. During the block, no push is under way."""
        with self._changed:
            self._open = False
            assert self._changed.wait_for(lambda: self._waiting == self._size, 30)
            yield
            self._open = True
            self._changed.notify_all()


@pytest.mark.parametrize("library", CLIENTS)
def test_others_take_the_load_of_a_node_that_is_killed(alone, library):
    """Every producer continues with the running nodes, and a worker does their tasks."""
    client = CLIENTS[library](host="127.0.0.1", port=alone.nodes[1].port)
    queue = ShardedQueue(client, "orders", shards=SHARDS, patience_ms=120_000)
    victim = alone.primaries()[0]
    dead = shards_of(alone, queue, victim)
    done: Counter[int] = Counter()
    worker = Worker(queue, concurrency=4)
    call = worker.task("count")(lambda producer: done.update([producer])).call
    stop, gate, pushed = threading.Event(), Gate(4), Counter()

    def produce(number):
        while not stop.is_set():
            gate.pass_through()
            shard = int(queue.push(call(number)).partition("/")[0])
            pushed[number, shard in dead] += 1

    with running(worker):
        for number in range(4):
            threading.Thread(target=produce, args=[number], daemon=True).start()
        wait_until(lambda: sum(done.values()) > 200, "tasks are done", 30)
        with gate.closed():
            alone.kill(victim)
            # Wait until the last look is older than the node's death.
            queue._loads.saw(dict.fromkeys(range(SHARDS), 0), time.monotonic())
            before, tasks = Counter(pushed), sum(done.values())
        for number in range(4):
            wait_until(
                lambda number=number: pushed[number, False] >= before[number, False] + 200,
                f"producer {number} goes on while a node is dead",
                60,
            )
        wait_until(lambda: sum(done.values()) >= tasks + 400, "tasks are done meanwhile", 60)
        stop.set()
    assert {key: n for key, n in pushed.items() if key[1]} == {key: n for key, n in before.items() if key[1]}


@pytest.mark.parametrize("way", ["kill", "freeze"])
@pytest.mark.slow
def test_answers_that_wait_for_a_node_take_no_places(alone, way):
    """All places of a worker have tasks of a node that stops replying. Tasks on other nodes are done all the same."""
    client = redis.RedisCluster(host="127.0.0.1", port=alone.nodes[1].port)
    queue = ShardedQueue(client, "orders", shards=SHARDS, patience_ms=120_000)
    victim = alone.primaries()[0]
    dead = sorted(shards_of(alone, queue, victim))
    living = next(key for n, key in enumerate(queue.keys) if n not in dead)
    begun, go, done = threading.Semaphore(0), threading.Event(), Counter()
    worker = Worker(queue, concurrency=4, lease_ms=60_000)

    @worker.task("waits")
    def waits():
        begun.release()
        go.wait(60)

    @worker.task("count")
    def count(number):
        done[number] += 1

    with running(worker):
        Queue(client, queue.keys[dead[0]]).push_many([waits.call()] * 4)
        for _ in range(4):
            assert begun.acquire(timeout=20)
        getattr(alone, way)(victim)
        go.set()
        Queue(client, living).push_many([count.call(n) for n in range(300)])
        wait_until(lambda: len(done) == 300, "the tasks of another node are done", 60)
        assert max(done.values()) == 1
        if way == "freeze":
            alone.thaw(victim)


def test_a_push_to_a_named_shard_waits_for_its_node(alone):
    """A group belongs to one shard: the task arrives when the node is back, and on no other shard before."""
    queue = ShardedQueue(
        redis.RedisCluster(host="127.0.0.1", port=alone.nodes[1].port),
        "orders",
        shards=SHARDS,
        patience_ms=120_000,
    )
    victim = alone.primaries()[0]
    dead = shards_of(alone, queue, victim)
    group = next(name for name in map(str, range(1000)) if shard_of(queue, name) in dead)
    queue.push_many(["x"] * 100)
    alone.kill(victim)
    got = []
    thread = threading.Thread(target=lambda: got.append(queue.push("a", group=group)), daemon=True)
    thread.start()
    for _ in range(100):
        queue.push("y")
    assert not got
    victim.start()
    thread.join(60)
    assert int(got[0].partition("/")[0]) in dead


def shard_of(queue, name):
    """The shard of a group."""
    return taskslot.shards.shard_of_name(name, len(queue.keys))
