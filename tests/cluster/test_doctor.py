"""`taskslot doctor` on a cluster and under Sentinel: all nodes are looked at, and what is away is said."""

import re

import pytest
import redis
from harness.sentinel import NAME
from harness.server import ROOT, wait_until
from taskslot import ShardedQueue
from taskslot.connection import connect, read_address
from taskslot.doctor.examine import examine
from taskslot.doctor.gather import gather
from taskslot.overview.attention import Severity

# The nodes of tests write no files and allow everything, and their clocks are ahead, so that they start sooner.
OF_THE_HARNESS = {
    "no-append-only-file",
    "durability",
    "no-maxmemory",
    "enable-module-command",
    "enable-debug-command",
}
OF_THE_HARNESS |= {
    "repl-backlog-size",
    "client-output-buffer-limit-replica",
    "min-replicas-to-write",
    "clock",
}


def found(client: redis.Redis) -> dict[str, set[str]]:
    """The findings that need a person, with the nodes that they are about."""
    names: dict[str, set[str]] = {}
    for finding in examine(gather(client)):
        if finding.severity > Severity.KNOW and finding.name not in OF_THE_HARNESS:
            names.setdefault(finding.name, set()).add(finding.node)
    return names


@pytest.mark.slow
def test_a_cluster_is_looked_at_node_by_node(start_cluster):
    """Replicas too. A primary without one is named, and what is missing once a node is gone."""
    cluster = start_cluster(3, 1)
    with cluster.client() as client:
        with ShardedQueue(client, "mail", shards=16) as queue:
            queue.push_many([f"task {n}" for n in range(64)])
        # From Redis 7.0 on, CLUSTER SLOTS leaves out a replica until it has followed for a while.
        wait_until(lambda: len(gather(client).nodes) == 6, "the replicas are known")
        assert gather(client).cluster.info["cluster_state"] == "ok"
        assert found(client) == {}
        (rules,) = re.findall(r"ACL SETUSER doctor on >(.*)$", (ROOT / "docs/server.md").read_text(), re.M)
        password, *rights = rules.split()
        for node in cluster.nodes:
            node.say("ACL", "SETUSER", "doctor", "on", f">{password}", *rights)
        with cluster.client(username="doctor", password=password) as looker:
            assert gather(looker).unchecked == []
        lost = cluster.nodes[3]
        cluster.kill(lost)
        primary = next(node for node in cluster.primaries() if not cluster.replicas_of(node))
        primary.wait_until(
            lambda: primary.client().info("replication")["connected_slaves"] == 0, "it is gone"
        )
        names = found(client)
        assert names["no-replica"] == {f"127.0.0.1:{primary.port}"}
        assert f"127.0.0.1:{lost.port}" in names["away"] | names.get("node-failed", set())


@pytest.mark.slow
def test_a_service_of_sentinel_is_looked_at(start_sentinel):
    """The replica is found by its primary. A Sentinel that is away is one less that can vote."""
    sentinel = start_sentinel()
    places = ",".join(f"127.0.0.1:{watcher.port}" for watcher in sentinel.watchers)
    client = connect(read_address("redis://", places, NAME))
    try:
        facts = gather(client)
        assert [node.info.role for node in facts.nodes] == ["primary", "replica"]
        assert (facts.sentinel.sentinels, facts.sentinel.quorum) == (3, 2)
        assert found(client) == {}
        away = sentinel.watchers[2]
        away.kill9()
        assert found(client) == {"sentinel-away": {f"127.0.0.1:{away.port}"}}
    finally:
        client.close()
