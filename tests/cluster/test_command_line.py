"""The command line on a cluster, which it detects, and with Sentinels."""

import json

import pytest
from harness.server import wait_synced, wait_until
from taskslot import shards
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
        assert "3 primaries" in run("--url", f"{scheme}://127.0.0.1:{cluster.nodes[4].port}", "top")[0]

    def seen() -> dict:
        rows = [json.loads(line) for line in run(*url, "top", "--json")]
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
    from taskslot.clients import Client

    cluster = start_cluster()
    with RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port) as client:
        for key in shards.names("orders", 16):
            client.execute_command("TASK.PUSH", key, "x")
        nodes = Nodes(Client(client).twin(1.0), 1000)
        assert len(nodes.look().infos) == 16
        victim = cluster.primaries()[2]
        heir = cluster.replica_of(victim)
        wait_synced(victim, heir)
        cluster.kill(victim)
        during = nodes.look()
        assert 0 < len(during.infos) < 16 and during.away
        cluster.wait_promoted(heir)
        wait_until(lambda: len(nodes.look().infos) == 16, "top sees all again", 10)
        assert nodes.look().away == [] and nodes.look().primaries == 3


@pytest.mark.parametrize("scheme", ["redis", pytest.param("valkey", marks=pytest.mark.slow)])
def test_sentinels_are_asked_for_the_primary(start_sentinel, scheme):
    """The options name them and the service."""
    watched = start_sentinel()
    hosts = ",".join(f"127.0.0.1:{one.port}" for one in watched.watchers)
    how = ("--url", f"{scheme}://", "--sentinel", hosts, "--service", "main")
    run(*how, "push", "mail", "hello")
    assert run(*how, "claim", "mail")[0].endswith("  hello")
    assert run(*how, "top")[0].startswith("main by Sentinel  1 queue")
