"""The Dramatiq broker on a real cluster, of which a primary dies."""

import dramatiq
import pytest
import redis
from harness.server import wait_synced, wait_until
from harness.worker_thread import Gate
from taskslot.integrations.dramatiq import TaskslotBroker


@pytest.mark.slow
def test_messages_outlive_a_primary(cluster):
    """Those that a worker has, on the killed node too, are finished, and others follow: none is lost."""
    client = redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[1].port)
    broker = TaskslotBroker(client, shards={"orders": 8}, patience_ms=30_000)
    done = set()
    with Gate() as gate:

        @dramatiq.actor(broker=broker, queue_name="orders")
        def waits(number):
            gate.enter()
            done.add(number)

        count = dramatiq.actor(done.add, broker=broker, queue_name="orders", actor_name="count")
        worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=12)
        worker.start()
        for number in range(12):
            waits.send(number)
        for _ in range(12):
            gate.inside()
        victim = cluster.primaries()[0]
        heir = cluster.replica_of(victim)
        wait_synced(victim, heir)
        cluster.kill(victim)
        cluster.wait_promoted(heir)
        gate.open()
        for number in range(100, 200):
            count.send(number)
        wait_until(lambda: done == {*range(12), *range(100, 200)}, "all are done", 40)
        broker.join("orders", timeout=40_000)
        worker.stop()
    broker.close()
    client.close()
