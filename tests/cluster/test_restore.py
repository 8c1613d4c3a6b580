"""A cluster is restored from snapshots of its primaries, as docs/backup.md says."""

from __future__ import annotations

import shutil

import pytest
from harness.cluster import Cluster, Node
from harness.files import wait_aof
from harness.server import Server
from harness.talk import Talk

HOUR = 3_600_000
KEYS = [f"queue:{n}" for n in range(12)]
FILES = {"appendonly": "yes", "appendfsync": "always"}


def snapshot(node: Node) -> bytes:
    """A snapshot of a node."""
    node.say("SAVE")
    return (node.dir / "dump.rdb").read_bytes()


def empty(server: Server) -> None:
    """Stop a server and take away what it has stored, but not what it knows of its cluster."""
    server.kill9()
    for file in ("dump.rdb", "appendonly.aof"):
        (server.dir / file).unlink(missing_ok=True)
    shutil.rmtree(server.dir / "appendonlydir", ignore_errors=True)


def restore(cluster: Cluster, snapshots: list[bytes]) -> None:
    """The primaries start from the snapshots, without an AOF. When they serve, the replicas start empty."""
    primaries = cluster.primaries()
    replicas = [node for node in cluster.nodes if node not in primaries]
    for node in cluster.nodes:
        empty(node)
    for node, data in zip(primaries, snapshots, strict=True):
        (node.dir / "dump.rdb").write_bytes(data)
        node.restart(appendonly="no")
    cluster.wait_ok()
    for node in replicas:
        node.restart()
    cluster.wait_ok()
    for node in primaries:
        node.configure(appendonly="yes")
        wait_aof(node)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["new nodes", "its own nodes"])
def test_a_cluster_is_restored_from_a_snapshot_of_each_primary(start_cluster, where):
    """New nodes need the same slots. Each queue is as it was, and stays so after a kill of all nodes."""
    cluster = start_cluster(**FILES)
    client = cluster.client()
    handles = {}
    for key in KEYS:
        for payload in ("leased", "ready"):
            client.execute_command("TASK.PUSH", key, payload, "LEASE", HOUR)
        [[handles[key], *_]] = client.execute_command("TASK.CLAIM", key)
    snapshots = [snapshot(node) for node in cluster.primaries()]
    for key in KEYS:
        client.execute_command("TASK.PUSH", key, "later")
    if where == "new nodes":
        for node in cluster.nodes:
            node.kill9()
        cluster = start_cluster(**FILES)
    restore(cluster, snapshots)
    for node in cluster.nodes:
        node.kill9()
    for node in cluster.nodes:
        node.begin()
    for node in cluster.nodes:
        node.ready()
    cluster.wait_ok()
    client = cluster.client()
    for key in KEYS:
        assert [client.execute_command("TASK.LEN", key, state) for state in ("ready", "leased")] == [1, 1]
        assert client.execute_command("TASK.ACK", key, handles[key]) == 1


def test_the_snapshot_of_a_node_can_be_looked_at_on_a_server_alone(start, start_cluster):
    """A node of a cluster does not start as a replica of nobody. Another server does: it shows the queue, as it was."""
    cluster = start_cluster(replicas=0)
    node = cluster.node_of("q")
    Talk(node).push("q", "x", "DELAY", HOUR)
    data = snapshot(node)
    node.kill9()
    node.begin(replicaof="127.0.0.1 1")
    node.ends_by_itself()
    assert "replicaof directive not allowed in cluster mode" in node.log()
    server = start()
    empty(server)
    (server.dir / "dump.rdb").write_bytes(data)
    server.restart(replicaof="127.0.0.1 1")
    assert Talk(server)("TASK.LEN", "q", "delayed") == 1
    assert str(Talk(server)("TASK.CLAIM", "q")).startswith("READONLY")
