"""The command line on a cluster, which it detects, and with Sentinels."""

import json

import pytest
from harness.server import wait_synced, wait_until
from taskslot import shards
from taskslot.shards import SLOTS
from typer.testing import CliRunner


def run(*words: object) -> list[str]:
    """Run `taskslot` with these arguments, and return its lines."""
    from taskslot.cli.app import app

    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_a_cluster_is_noticed_and_top_sees_all_primaries(start_cluster):
    """The URL can name any node. Shards are one row, whatever their nodes, also after a primary has died."""
    cluster = start_cluster()
    url = ("--url", f"redis://127.0.0.1:{cluster.nodes[1].port}")
    for name in ("a", "b", "c", "d", "e"):
        run(*url, "push", name, "x")
    run(*url, "--shards", 16, "push", "orders", *["x"] * 900)
    for scheme in ("redis", "valkey"):
        assert "3 primaries" in run("--url", f"{scheme}://127.0.0.1:{cluster.nodes[4].port}", "top")[1]

    def seen() -> dict:
        lines = [json.loads(line) for line in run(*url, "top", "--json")]
        rows = [line for line in lines if line["kind"] == "queue"]
        return {row["queue"]: (row["shards"] > 0, row["ready"]) for row in rows}

    everything = {"orders": (True, 900), **{name: (False, 1) for name in "abcde"}}
    assert seen() == everything
    victim = cluster.node_of(shards.names("orders", 1)[0])
    if victim is cluster.nodes[1]:
        url = ("--url", f"redis://127.0.0.1:{cluster.nodes[2].port}")
    heir = cluster.replica_of(victim)
    wait_synced(victim, heir)
    cluster.kill(victim)
    cluster.wait_promoted(heir)
    assert seen() == everything
    assert run(*url, "--shards", 16, "purge", "orders", "all", "--all", "--yes") == ["purged 900"]


def test_top_lives_through_a_failover(start_cluster):
    """The node is shown as away until its replica has taken over. `top` need not be restarted."""
    from redis.cluster import RedisCluster
    from taskslot.overview import Nodes

    cluster = start_cluster()
    with RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port) as client:
        for key in shards.names("orders", 16):
            client.execute_command("TASK.PUSH", key, "x")
        nodes = Nodes(client, 1000, patience_s=1)
        # A node only names replicas of which it has heard that they have some data.
        seen = wait_until(lambda: len((look := nodes.look()).nodes) == 6 and look, "replicas are named")
        assert len(seen.infos) == 16 and sum(node.slots_count for node in seen.nodes) == SLOTS
        assert [node.role for node in seen.nodes] == ["primary"] * 3 + ["replica"] * 3
        assert {node.primary for node in seen.nodes[3:]} == {node.address for node in seen.nodes[:3]}
        assert set(seen.places.values()) == {node.address for node in seen.nodes[:3]}
        victim = cluster.primaries()[2]
        heir = cluster.replica_of(victim)
        wait_synced(victim, heir)
        cluster.kill(victim)
        during = nodes.look()
        assert 0 < len(during.infos) < 16 and during.away == [f"127.0.0.1:{victim.port}"]
        cluster.wait_promoted(heir)
        wait_until(lambda: len(nodes.look().infos) == 16, "top sees all again", 10)
        assert nodes.look().primaries == 3
        nodes.close()


@pytest.mark.parametrize("scheme", ["redis", pytest.param("valkey", marks=pytest.mark.slow)])
def test_sentinels_are_asked_for_the_primary(start_sentinel, scheme):
    """The options name them and the service."""
    watched = start_sentinel()
    hosts = ",".join(f"127.0.0.1:{one.port}" for one in watched.watchers)
    how = ("--url", f"{scheme}://", "--sentinel", hosts, "--service", "main")
    run(*how, "push", "mail", "hello")
    assert run(*how, "claim", "mail")[0].endswith("  hello")
    assert run(*how, "top")[0].startswith("main by Sentinel  1 queue")


def test_an_overview_by_sentinel_follows_a_failover(start_sentinel):
    """The nodes are named by their addresses. While there is no primary, that is said."""
    from taskslot.overview import Nodes

    watched = start_sentinel()
    with watched.client() as client, Nodes(client, 1000, patience_s=1) as nodes:
        client.execute_command("TASK.PUSH", "mail", "x")
        first, second = watched.primary(), watched.replica()
        wait_synced(first, second)
        places = [f"127.0.0.1:{node.port}" for node in (first, second)]
        seen = nodes.look()
        assert [(node.address, node.role) for node in seen.nodes] == [
            (places[0], "primary"), (places[1], "replica"),
        ]  # fmt: skip
        first.kill9()
        assert nodes.look().away == [places[0]]
        watched.wait_promoted(second)
        seen = wait_until(lambda: (look := nodes.look()).infos and look, "the queues are seen again")
        assert seen.places == {"mail": places[1]} and seen.nodes[0].role == "primary"
