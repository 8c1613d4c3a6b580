"""What waits for a node that is away takes no place of what doesn't: counts of work while one of three is.

No replica takes over here, so that the node stays away for as long as the test counts.
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
    """Three primaries without replicas; those that live serve their slots while one is away."""
    return start_cluster(replicas=0, cluster_node_timeout=60_000, cluster_require_full_coverage="no")


CLIENTS = {
    "redis-py": redis.RedisCluster,
    "valkey-py": valkey.ValkeyCluster,
    # Which sends again by itself no more than the library's own connections do.
    "redis-py without retries": lambda **of: redis.RedisCluster(**of, retry=Retry(NoBackoff(), 0)),
}


def shards_of(cluster, queue, node):
    """The shards that a node has."""
    return {number for number, key in enumerate(queue.keys) if cluster.node_of(key) is node}


@contextmanager
def running(worker):
    """A worker on a thread, stopped at once in the end."""
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    yield
    worker.stop(at_once=True)
    thread.join(30)


class Gate:
    """Lets producers through, or holds them all between two pushes: one under way to a node that dies waits for it."""

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
        """Nobody is on the way meanwhile."""
        with self._changed:
            self._open = False
            assert self._changed.wait_for(lambda: self._waiting == self._size, 30)
            yield
            self._open = True
            self._changed.notify_all()


@pytest.mark.parametrize("library", CLIENTS)
def test_others_take_the_load_of_a_node_that_is_killed(alone, library):
    """Every producer goes on, to the nodes that live, and a worker does what they push."""
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
            # What was seen last is older than its death.
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
def test_answers_that_wait_for_a_node_take_no_places(alone, way):
    """All places of a worker hold tasks of a node that falls silent: what is pushed elsewhere is done all the same."""
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
    """A group has its one shard: the task comes when the node is back, and no other has it meanwhile."""
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
