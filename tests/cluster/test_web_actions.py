"""Changes by the web page on a cluster: on all shards, and while a node is taken over by its replica."""

import pytest
from harness.server import wait_until
from redis.cluster import RedisCluster
from taskslot import ShardedQueue
from taskslot.web.bulk.job import SLICE
from taskslot.web.bulk.jobs import Jobs
from taskslot.web.queue.queue_keys import QueueKeys
from taskslot.web.queue.task_filter import TaskFilter


@pytest.mark.slow
def test_a_bulk_job_on_a_sharded_queue_lives_through_a_failover(cluster, monkeypatch):
    """A primary is killed in mid-job. Each task that the replica has is retried once, on whichever node it is."""
    monkeypatch.setattr("taskslot.web.bulk.jobs.AGAIN_S", 0.1)
    monkeypatch.setattr("taskslot.web.bulk.jobs.LEAST_REST_S", 0.05)
    with (
        RedisCluster(host="127.0.0.1", port=cluster.primaries()[0].port) as client,
        ShardedQueue(client, "orders", shards=8) as queue,
    ):
        for number in range(2400):
            queue.push(f"{number}", group=f"g{number % 97}")
        while tasks := queue.claim(1000):
            queue.fail_many(tasks, "ValueError: no", dead=True)
        target = QueueKeys("orders", 8)
        victim = cluster.node_of(queue.keys[-1])
        client.execute_command("WAIT", 1, 5000, target_nodes=RedisCluster.PRIMARIES)
        jobs = Jobs(client)
        try:
            job = jobs.make(target, "retry", TaskFilter("dead", error="ValueError: no"), "ann")
            wait_until(lambda: job.stage == "counted", "it has counted")
            assert job.total == 2400
            jobs.start(job, "ann")
            wait_until(lambda: job.tally.done, "the first shard is done")
            cluster.kill(victim)
            wait_until(lambda: job.away_since is not None or job.has_ended, "it has noticed", 40)
            wait_until(lambda: job.has_ended, "its replica has taken over", 60)
            assert (job.stage, job.error) == ("done", "")
            assert job.tally.done + job.tally.unsure == 2400
            # What the primary did in its last moment may not have reached its replica: at most one slice.
            assert queue.len("ready") + queue.len("dead") == 2400
            assert queue.len("dead") <= SLICE
        finally:
            jobs.close()
