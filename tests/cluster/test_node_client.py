"""The library for Node on a real cluster, of which a primary dies."""

import json
import os
import subprocess

import pytest
from harness import node_client, recipes
from harness.queues import pairs
from harness.server import wait_until
from taskslot.shards import names

# The first build downloads packages.
pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]


def pushed(cluster, keys) -> int:
    """How many tasks were pushed to these queues. A new primary may not have one yet: nothing had been replicated."""
    client = cluster.client()
    found = [client.execute_command("TASK.INFO", key) for key in keys]
    return sum(pairs(reply)["pushed"] for reply in found if reply)


@pytest.mark.parametrize("kind", ["ioredis", "node-redis"])
def test_a_worker_and_a_producer_outlive_a_primary(cluster, kind):
    """No push fails, and each task that was pushed runs, with the client's own settings."""
    program, node = node_client.built() / "build/outlives.js", recipes.need("node")
    victim = cluster.primaries()[0]
    heir = cluster.replica_of(victim)
    first = next(node for node in cluster.nodes if node is not victim)
    with subprocess.Popen(
        [node, program, kind],
        env={**os.environ, "TASKSLOT_CLUSTER": f"127.0.0.1:{first.port}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "begun\n"
        cluster.kill(victim)
        cluster.wait_promoted(heir)
        on_heir = [key for key in names(f"orders-{kind}", 8) if cluster.node_of(key) is heir]
        before = pushed(cluster, on_heir)
        wait_until(lambda: pushed(cluster, on_heir) > before + 20, "it pushes to the new primary", 30)
        process.stdin.close()
        found = json.loads(process.stdout.readline())
        assert process.wait(20) == 0
    assert found["ran"] == found["pushed"] > 100
