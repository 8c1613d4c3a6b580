"""The recipes for other clients do what they show: each is run on a real cluster, which is then asked what happened.

They are tests of clients, so one server is enough: the first of those asked for.
"""

import binascii
import subprocess

import pytest
from harness import recipes
from harness.cluster import Cluster
from harness.fixtures import chosen
from harness.queues import info, tasks
from harness.server import Server

# A first build, or many tests beside, may take their time; npm and cargo ask their registries.
pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

QUEUE = "orders"
# Not a power of two, so that it shows if only 14 bits of the hash are used.
SHARDS = 7


@pytest.fixture
def nodes(pytestconfig, keep):
    """Three primaries without replicas; finished tasks of the queue are kept there."""
    cluster = keep(Cluster(chosen(pytestconfig)[0], primaries=3, replicas=0, clock="shared"))
    client = cluster.client()
    for shard in shards(client):
        client.execute_command("TASK.CONFIG", shard, "SET", "retain", 3_600_000)
    return cluster


def shards(client) -> list[str]:
    """The shards of the queue, as the server names them."""
    return [name.decode() for name in client.execute_command("TASK.SHARDS", QUEUE, SHARDS)]


def address(cluster: Cluster) -> str:
    """Where a client starts."""
    return f"127.0.0.1:{cluster.nodes[0].port}"


def moved(cluster: Cluster) -> int:
    """How many commands went to a node that doesn't have their key."""
    errors = [node.say("INFO", "errorstats").get("errorstat_MOVED", {"count": 0}) for node in cluster.nodes]
    return sum(one["count"] for one in errors)


def holds(cluster: Cluster, account: dict) -> None:
    """Compare the account of a recipe with what the servers say."""
    client = cluster.client()
    names = shards(client)
    assert {cluster.node_of(name) for name in names} == set(cluster.nodes)

    counts = [info(client, name) for name in names]
    pushed = [one["pushed"] for one in counts]
    assert account["pushed"] == dict(zip(names, pushed, strict=True))
    assert account["done"] == account["extended"] == sum(pushed) == sum(one["acked"] for one in counts)
    assert [client.execute_command("TASK.LEN", name) for name in names] == [0] * SHARDS
    assert account["found"] == sum(one["found"] for one in counts) > 0
    assert [one["late"] + one["stalled"] + one["requeued"] for one in counts] == [0] * SHARDS

    spread(client, names)
    meets_errors(account)


def spread(client, names: list[str]) -> None:
    """Tasks of groups and with tokens lie on the shard of their hash; the others are even, as two choices make it."""
    done = [tasks(client, name, "done") for name in names]
    for at, there in enumerate(done):
        for task in there:
            hashed = task.get("group", task.get("unique"))
            assert hashed is None or crc16(hashed) % SHARDS == at, (task, at)
    grouped = sum("group" in task for there in done for task in there)
    unique = sum("unique" in task for there in done for task in there)
    sizes = [len(there) for there in done]
    assert grouped >= 12 and unique >= 3 and sum(sizes) - grouped - unique >= 32
    # By two choices it is rarely more than 4, and what the hashes put on a shard is made up for; by one it is mostly 10
    # and more.
    assert max(sizes) - min(sizes) <= 9, sizes


def crc16(name: bytes) -> int:
    """The hash of Redis Cluster, by Python's own library."""
    return binascii.crc_hqx(name, 0)


def meets_errors(account: dict) -> None:
    """What the recipe was told where it did wrong on purpose; that a claim sent again got the same task."""
    assert account["crc16"] == f"{crc16(b'123456789'):x}" == "31c3"
    assert account["waited"] == "the last"
    assert account["resent"] == "the same"
    said = [account[name] for name in ("full", "paused", "stale", "staleOfMany")]
    assert said == ["QFULL", "PAUSED", "STALE", -2]


def test_the_recipe_for_ioredis_holds(nodes, tmp_path):
    """Commands that tell their key, with the plain client: none is sent to a wrong node."""
    holds(nodes, recipes.account([*recipes.node("ioredis.mjs", tmp_path), address(nodes), QUEUE]))
    assert moved(nodes) == 0


def test_the_recipe_for_ioredis_with_auto_pipelining_holds(nodes, tmp_path):
    """A script for what is pipelined; `call` fails as the recipe says (ioredis issue 1890)."""
    account = recipes.account([*recipes.node("ioredis-pipelining.mjs", tmp_path), address(nodes), QUEUE])
    holds(nodes, account)
    assert account["callsMoved"] > 0, "call() is routed right: a new ioredis? Then the recipe can be simpler"


def test_the_recipe_for_node_redis_holds(nodes, tmp_path):
    """sendCommand with the key that routes."""
    holds(nodes, recipes.account([*recipes.node("node-redis.mjs", tmp_path), address(nodes), QUEUE]))
    assert moved(nodes) == 0


def test_the_recipe_for_redis_rs_holds(nodes):
    """cmd() with the key first, from threads."""
    holds(nodes, recipes.account([*recipes.rust("redis-rs"), address(nodes), QUEUE]))
    assert moved(nodes) == 0


def test_the_recipe_for_redis_cli_holds(nodes):
    """redis-cli -c, in a script of the shell."""
    holds(nodes, recipes.account([*recipes.shell("redis-cli.sh"), address(nodes), QUEUE]))


# ---- without a cluster


@pytest.fixture
def single(pytestconfig):
    """The address of a server that is no node of a cluster."""
    server = Server(chosen(pytestconfig)[0], port=True)
    try:
        yield f"127.0.0.1:{server.port}"
        server.check()
    finally:
        server.discard()


@pytest.mark.parametrize("program", ["ioredis.mjs", "ioredis-pipelining.mjs", "node-redis.mjs"])
def test_a_program_for_clusters_says_so_on_a_single_server(single, program, tmp_path):
    """And ends: its client would look for slots for ever, or say only that it found none."""
    done = subprocess.run(
        [*recipes.node(program, tmp_path), single], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 1 and done.stdout == ""
    assert (
        done.stderr
        == f"{single} is a single server, and this program is for a cluster only: see ../README.md\n"
    )


def test_redis_cli_needs_no_cluster(single):
    """A queue over shards works on one server, too."""
    told = recipes.account([*recipes.shell("redis-cli.sh"), single, QUEUE])
    assert told["done"] == sum(told["pushed"].values()) > 0
