"""Slots that move while their queues are in use: nothing is lost or done twice, and waiting clients are redirected."""

import threading

import pytest
from harness.cluster import Cluster, Node
from harness.schedule_runs import fired, made
from harness.server import wait_until
from harness.talk import Error, Talk
from harness.traffic import Traffic, again
from harness.waiting import Worker

KEY_BY_KEY, AS_A_WHOLE = "key by key", "as a whole"


@pytest.fixture(params=[KEY_BY_KEY, AS_A_WHOLE])
def way(request, installed) -> str:
    """How slots move: with SETSLOT and MIGRATE, and on Valkey 9 also with CLUSTER MIGRATESLOTS."""
    if request.param == AS_A_WHOLE and not (installed.is_valkey and installed.version >= (9, 0)):
        pytest.skip("only Valkey 9 migrates slots by itself")
    return request.param


def move(cluster: Cluster, way: str, keys: list[str], source: Node, target: Node) -> None:
    """Move the slots of these keys."""
    slots = [cluster.slot(key) for key in keys]
    moves = cluster.move_slots if way == KEY_BY_KEY else cluster.migrate_slots
    moves(slots, source, target)


def queues_of(cluster: Cluster, node: Node, count: int) -> list[str]:
    """Names of queues on a node, each in another slot."""
    owners = cluster.owners()
    names = [name for name in (f"queue:{n}" for n in range(10 * count)) if owners[cluster.slot(name)] is node]
    return list({cluster.slot(name): name for name in names}.values())[:count]


def test_slots_that_move_under_load_lose_nothing_and_double_nothing(cluster, way):
    """Pushes, waiting claims and acks continue while their slots move to a second node, and then to a third."""
    first, second, third = cluster.primaries()
    keys = queues_of(cluster, first, 24)
    with Traffic(cluster, keys) as traffic:
        before = len(traffic.pushed), len(traffic.ran)
        move(cluster, way, keys, first, second)
        move(cluster, way, keys[:12], second, third)
        assert len(traffic.pushed) > before[0] and len(traffic.ran) > before[1], "there was traffic meanwhile"
        traffic.passes(100)
    cluster.wait_ok()
    assert {cluster.node_of(key) for key in keys[:12]} == {third}
    assert {cluster.node_of(key) for key in keys[12:]} == {second}
    assert first.say("DBSIZE") == 0
    traffic.account()


def test_a_wait_for_a_result_ends_on_the_other_node(cluster, way):
    """The old node replies TRYAGAIN or MOVED, so a cluster client asks the node where the task ends."""
    first, second, _ = cluster.primaries()
    keys = queues_of(cluster, first, 5)
    client, answers = cluster.client(), {}
    tasks = {key: client.execute_command("TASK.PUSH", key, "x") for key in keys}

    def wait_for(key: str) -> None:
        answers[key] = cluster.client().execute_command("TASK.RESULT", key, tasks[key], "BLOCK", 10_000)

    threads = [threading.Thread(target=wait_for, args=(key,), daemon=True) for key in keys]
    bare = [Worker(first) for _ in keys]
    for thread in threads:
        thread.start()
    for key, worker in zip(keys, bare, strict=True):
        worker.send(["TASK.RESULT", key, tasks[key], "BLOCK", 0])
    wait_until(lambda: result_waiters(first) == 2 * len(keys), "all wait")
    move(cluster, way, keys, first, second)
    for worker in bare:
        reply = worker.read()
        assert isinstance(reply, Error) and reply.split()[0] in ("TRYAGAIN", "MOVED"), reply
    wait_until(
        lambda: (result_waiters(first), result_waiters(second)) == (0, len(keys)), "the clients follow"
    )
    for key in keys:
        ((handle, *_),) = client.execute_command("TASK.CLAIM", key)
        assert client.execute_command("TASK.ACK", key, handle, "RESULT", f"of {key}") == 1
    for thread in threads:
        thread.join(10)
    assert answers == {key: [b"done", f"of {key}".encode()] for key in keys}


def result_waiters(node: Node) -> int:
    """The number of clients that wait for results on a node."""
    return int(node.facts("INFO", "taskslot")["taskslot_result_waiters"])


def test_schedules_and_tokens_move_along(start_cluster, way):
    """A schedule with runs every 0.1 s makes no run twice, and a token is held at each moment of the move."""
    cluster = start_cluster(appendonly="yes", aof_use_rdb_preamble="no")
    first, second, _ = cluster.primaries()
    keys = queues_of(cluster, first, 5)
    client = cluster.client()
    tasks = {key: client.execute_command("TASK.PUSH", key, "x", "UNIQUE", "one")[0] for key in keys}
    for key in keys:
        client.execute_command("TASK.CRON", key, "SET", "beat", "EVERY", 100, "PAYLOAD", "tick")
    first.wait_until(lambda: all(made(Talk(first), key) >= 2 for key in keys), "some runs")
    over, found = threading.Event(), []

    def push_again() -> None:
        pushes = cluster.client()
        while not over.is_set():
            for key in keys:
                reply = again(pushes, "TASK.PUSH", key, "y", "UNIQUE", "one")
                found.append(reply == [tasks[key], 0])

    thread = threading.Thread(target=push_again, daemon=True)
    thread.start()
    move(cluster, way, keys, first, second)
    talk = Talk(second)
    before = {key: made(talk, key) for key in keys}
    second.wait_until(lambda: all(made(talk, key) >= before[key] + 2 for key in keys), "runs on the new node")
    over.set()
    thread.join(10)
    assert len(found) > len(keys) and all(found)
    for key in keys:
        talk("TASK.PAUSE", key, "IN")
        runs = fired(first, key) | fired(second, key)
        assert len(runs) == made(talk, key) == talk("TASK.LEN", key) - 1
        assert len({instant for instant, _ in runs}) == len(runs), "no run twice"
