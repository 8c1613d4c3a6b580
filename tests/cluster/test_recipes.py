"""The recipes for other clients work: each is run on a real cluster, and its account is compared with the servers.

They test clients, so one server is enough: the first of those selected.
"""

import binascii
import subprocess

import pytest
from harness import recipes
from harness.cluster import Cluster
from harness.fixtures import chosen
from harness.queues import info, tasks
from harness.server import Server

# A first build can take long, also because npm and cargo download packages.
pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

QUEUE = "orders"
# Not a power of two, so that the test fails if only 14 bits of the hash are used.
SHARDS = 7


@pytest.fixture
def nodes(pytestconfig, keep):
    """Three primaries without replicas, which keep finished tasks of the queue."""
    cluster = keep(Cluster(chosen(pytestconfig)[0], primaries=3, replicas=0, clock="shared"))
    client = cluster.client()
    for shard in shards(client):
        client.execute_command("TASK.CONFIG", shard, "SET", "retain", 3_600_000)
    return cluster


def shards(client) -> list[str]:
    """The shards of the queue, as the server names them."""
    return [name.decode() for name in client.execute_command("TASK.SHARDS", QUEUE, SHARDS)]


def address(cluster: Cluster) -> str:
    """The address with which a client starts."""
    return f"127.0.0.1:{cluster.nodes[0].port}"


def moved(cluster: Cluster) -> int:
    """The number of commands that went to a node without their key."""
    errors = [node.say("INFO", "errorstats").get("errorstat_MOVED", {"count": 0}) for node in cluster.nodes]
    return sum(one["count"] for one in errors)


def holds(cluster: Cluster, account: dict) -> None:
    """Compare the account of a recipe with the servers' figures."""
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
    """Tasks with a group or a token are on the shard of their hash. The others are even, because of the two choices."""
    done = [tasks(client, name, "done") for name in names]
    for at, there in enumerate(done):
        for task in there:
            hashed = task.get("group", task.get("unique"))
            assert hashed is None or crc16(hashed) % SHARDS == at, (task, at)
    grouped = sum("group" in task for there in done for task in there)
    unique = sum("unique" in task for there in done for task in there)
    sizes = [len(there) for there in done]
    assert grouped >= 12 and unique >= 3 and sum(sizes) - grouped - unique >= 32
    # With two choices, the difference is rarely above 4, and they also even out the tasks with hashes. With one
    # choice, it is usually 10 or more.
    assert max(sizes) - min(sizes) <= 9, sizes


def crc16(name: bytes) -> int:
    """The hash of Redis Cluster, from Python's standard library."""
    return binascii.crc_hqx(name, 0)


def meets_errors(account: dict) -> None:
    """Check the errors that the recipe provoked, and that a claim that was sent again got the same task."""
    assert account["crc16"] == f"{crc16(b'123456789'):x}" == "31c3"
    assert account["waited"] == "the last"
    assert account["resent"] == "the same"
    errors = [account[name] for name in ("full", "paused", "stale", "staleOfMany")]
    assert errors == ["QFULL", "PAUSED", "STALE", -2]


def test_the_recipe_for_ioredis_holds(nodes, tmp_path):
    """With commands that name their key, none is sent to a wrong node."""
    holds(nodes, recipes.account([*recipes.node("ioredis.mjs", tmp_path), address(nodes), QUEUE]))
    assert moved(nodes) == 0


def test_the_recipe_for_ioredis_with_auto_pipelining_holds(nodes, tmp_path):
    """A script works for pipelined commands; `call` fails as the recipe says (ioredis issue 1890)."""
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
    """The address of a server that is not a cluster node."""
    server = Server(chosen(pytestconfig)[0], port=True)
    try:
        yield f"127.0.0.1:{server.port}"
        server.check()
    finally:
        server.discard()


@pytest.mark.parametrize("program", ["ioredis.mjs", "ioredis-pipelining.mjs", "node-redis.mjs"])
def test_a_program_for_clusters_says_so_on_a_single_server(single, program, tmp_path):
    """It ends with that message. Its client would look for slots without a limit, or only report that it found none."""
    done = subprocess.run(
        [*recipes.node(program, tmp_path), single], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == f"{single} is a single server, but this program needs a cluster: see ../README.md\n"


def test_redis_cli_needs_no_cluster(single):
    """A sharded queue also works on a single server."""
    account = recipes.account([*recipes.shell("redis-cli.sh"), single, QUEUE])
    assert account["done"] == sum(account["pushed"].values()) > 0
