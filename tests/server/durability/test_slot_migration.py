"""Atomic slot migration (Valkey 9): queues move to another node while they are used, with their leases."""

import pytest
from harness.queues import HOUR, STATES, contents, goes_on, info, rich_queue, tasks
from harness.server import digest
from harness.spans import check_moved_spans, spans
from harness.talk import Error, Talk, stored_parts
from harness.two_nodes import SETTINGS, pair
from harness.waiting import Floor


@pytest.fixture
def nodes(start, installed):
    """Two nodes of a cluster. The first has all slots."""
    if not installed.is_valkey or installed.version < (9, 0):
        pytest.skip("only Valkey 9 migrates slots by itself")
    return pair(start)


def migrate(one, target: bytes, key: str) -> None:
    """Start to move the slot of the key to the node with this id."""
    slot = one.boss("CLUSTER", "KEYSLOT", key)
    reply = one.boss("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target)
    assert reply == "OK", reply


def wait_moved(one, two, key: str) -> None:
    """Wait until the other node serves the key and the first does not."""

    def moved() -> bool:
        here, there = one.boss("TASK.LEN", key), two.boss("TASK.LEN", key)
        return isinstance(here, Error) and here.startswith("MOVED ") and isinstance(there, int)

    one.eventually(moved, f"the slot of {key} has moved: {one.boss('CLUSTER', 'GETSLOTMIGRATIONS')}", 20)


def test_a_queue_moves_with_its_slot(nodes):
    """Digest and contents are equal on the new node. Handles, tokens and the order of claims stay valid."""
    one, two = nodes
    r, t = one.server.client(), two.server.client()
    rich = rich_queue(r)
    before = digest(r, "queue"), contents(r, "queue")
    migrate(one, two.boss("CLUSTER", "MYID"), "queue")
    wait_moved(one, two, "queue")
    assert (digest(t, "queue"), contents(t, "queue")) == before
    goes_on(t, rich)
    one.eventually(lambda: one.boss("DBSIZE") == 0, "the old node has deleted it")


def test_a_queue_in_use_loses_nothing_while_it_moves(nodes):
    """Every push, claim and ack that was confirmed during the migration is on the new node."""
    one, two = nodes
    r = one.server.client()
    r.execute_command("TASK.CONFIG", "queue", "SET", "lease", 3_600_000)
    for n in range(20):
        r.execute_command("TASK.MPUSH", "queue", "TASKS", 1000, *(f"{n} {at}" for at in range(1000)))
    there = {task["id"] for task in tasks(r, "queue", "ready")}
    held, acked, worker = [], set(), one.worker()
    target = two.boss("CLUSTER", "MYID")
    # While the new node stands still, the migration has begun and can't end.
    two.server.freeze()
    migrate(one, target, "queue")
    for n in range(100_000):
        if n == 50:
            two.server.thaw()
        reply = worker("TASK.PUSH", "queue", f"new {n}")
        if isinstance(reply, Error):
            break
        there.add(reply)
        reply = worker("TASK.CLAIM", "queue")
        if isinstance(reply, Error):
            break
        held += [handle for handle, *_ in reply]
        if n % 2:
            reply = worker("TASK.ACK", "queue", held[0])
            if isinstance(reply, Error):
                break
            assert reply == 1
            acked.add(held.pop(0).split(b"@")[0])
    assert reply.startswith(("MOVED ", "TRYAGAIN", "CLUSTERDOWN")), reply
    wait_moved(one, two, "queue")
    t = two.server.client()
    assert info(t, "queue")["broken"] == b""
    assert {task["id"] for state in STATES for task in tasks(t, "queue", state)} == there - acked
    assert [t.execute_command("TASK.ACK", "queue", handle) for handle in held] == [1] * len(held)
    assert len(acked) > 0 and len(there) > 20_000


def test_leases_and_delays_that_end_during_the_move_are_handled_once(nodes):
    """The node that has the slot handles them."""
    one, two = nodes
    c = one.boss
    # Enough tasks that the move takes a while.
    for n in range(20):
        c("TASK.MPUSH", "{q}much", "TASKS", 1000, *(f"{n} {at}" * 20 for at in range(1000)))
    c("TASK.MPUSH", "{q}leases", "LEASE", 100, "TASKS", 300, *range(300))
    c("TASK.MPUSH", "{q}delays", "DELAY", 100, "TASKS", 300, *range(300))
    assert len(c("TASK.CLAIM", "{q}leases", "COUNT", 300)) == 300
    migrate(one, two.boss("CLUSTER", "MYID"), "{q}much")
    wait_moved(one, two, "{q}much")
    for key in ("{q}leases", "{q}delays"):
        two.eventually(lambda key=key: two.boss("TASK.LEN", key, "ready") == 300, f"{key} are ready", 15)
    assert two.counts("{q}leases")["stalled"] == 300 and two.counts("{q}leases")["broken"] == b""
    assert two.boss("TASK.LEN", "{q}much", "ready") == 20_000


def test_a_cancelled_move_leaves_the_queue_on_the_old_node(nodes):
    """After CANCELSLOTMIGRATIONS the new node has nothing, and leases end on the old one."""
    one, two = nodes
    r = one.server.client()
    rich = rich_queue(r)
    one.boss("TASK.MPUSH", "{queue}short", "LEASE", 200, "TASKS", 3, *"abc")
    one.boss("TASK.CLAIM", "{queue}short", "COUNT", 3)
    before = digest(r, "queue")
    migrate(one, two.boss("CLUSTER", "MYID"), "queue")
    if one.boss("CLUSTER", "CANCELSLOTMIGRATIONS") != "OK" or isinstance(
        one.boss("TASK.LEN", "queue"), Error
    ):
        pytest.skip("it was too quick to be cancelled")
    two.eventually(lambda: two.boss("DBSIZE") == 0, "the new node has nothing", 15)
    assert digest(r, "queue") == before
    one.eventually(
        lambda: one.boss("TASK.LEN", "{queue}short", "ready") == 3, "the short leases have ended", 15
    )
    goes_on(r, rich)


@pytest.mark.parametrize(
    "step", [2 * HOUR, pytest.param(-2 * HOUR, marks=pytest.mark.slow)], ids=["ahead", "back"]
)
def test_a_queue_keeps_its_time_spans_on_a_node_with_another_clock(start, installed, step):
    """The new node's clock is two hours off."""
    if not installed.is_valkey or installed.version < (9, 0):
        pytest.skip("only Valkey 9 migrates slots by itself")
    one, two = pair(start, clock=True)
    two.server.clock.step(step)
    two.server.restart()
    two = Floor(two.server)
    one.eventually(lambda: two.boss("CLUSTER", "INFO").count(b"cluster_state:ok") == 1, "it is back", 20)
    found = spans(one.boss)
    migrate(one, two.boss("CLUSTER", "MYID"), "q")
    wait_moved(one, two, "q")
    check_moved_spans(two.boss, found)
    assert two.boss("TASK.LEN", "q", "delayed") == 2


@pytest.mark.slow
def test_the_new_node_keeps_its_own_clock_over_a_restart(start, installed):
    """The old node's clock was two hours ahead. Leases and delays of the moved queue and of another one keep their
    hour, also if nothing was written to the moved queue since."""
    if not installed.is_valkey or installed.version < (9, 0):
        pytest.skip("only Valkey 9 migrates slots by itself")
    one, two = pair(start, clock=True, appendonly="yes", appendfsync="always")
    migrate(one, two.boss("CLUSTER", "MYID"), "own")
    wait_moved(one, two, "own")
    one.server.clock.step(2 * HOUR)
    one.server.restart()
    one = Floor(one.server)
    one.eventually(lambda: one.boss("CLUSTER", "INFO").count(b"cluster_state:ok") == 1, "it is back", 20)
    two.boss("TASK.PUSH", "own", "leased", "LEASE", HOUR)
    assert len(two.boss("TASK.CLAIM", "own")) == 1
    two.boss("TASK.PUSH", "own", "delayed", "DELAY", HOUR)
    two.eventually(
        lambda: any(words[0] == b"TASK._CLOCK" for words in two.server.propagated()), "it has sent its clock"
    )
    for delay in ((), ("DELAY", HOUR)):
        one.boss("TASK.PUSH", "q", "x", "LEASE", HOUR, *delay)
    assert len(one.boss("TASK.CLAIM", "q")) == 1
    migrate(one, two.boss("CLUSTER", "MYID"), "q")
    wait_moved(one, two, "q")
    before = digest(two.server.client(), "q")
    two.server.restart(kill=True)
    two = Floor(two.server)
    two.eventually(lambda: two.boss("CLUSTER", "INFO").count(b"cluster_state:ok") == 1, "it is back", 20)
    assert digest(two.server.client(), "q") == before
    for key in ("own", "q"):
        two.boss("TASK.PUSH", key, "new")
        assert (two.boss("TASK.LEN", key, "leased"), two.boss("TASK.LEN", key, "delayed")) == (1, 1), key


def test_the_clocks_of_the_old_node_in_its_changes_do_not_become_those_of_the_new_one(start):
    """The AOF has a queue that moved here, and then a change by the old node, with which a term of that node begins."""
    files = {"appendonly": "yes", "appendfsync": "always", "aof_use_rdb_preamble": "no"}
    one = start(clock=True, **files)
    two = start(module_args=("allow-effects", "yes"), **files)
    one.clock.step(2 * HOUR)
    one.restart()
    Talk(one).push("q", "x")
    one.restart()
    here, there = Talk(one), Talk(two)
    parts = stored_parts(one)
    one.propagated()
    here.push("q", "y")
    changes = [words for words in one.propagated() if words[0] == b"TASK._APPLY"]
    there.push("own", "x", "LEASE", HOUR)
    there.claim("own")
    there.push("own", "d", "DELAY", HOUR)
    for part in parts:
        assert there("TASK._LOAD", "q", *part) == "OK"
    two.kill9()
    with two._aof().open("ab") as file:
        for words in changes:
            sizes = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
            file.write(b"*%d\r\n%b" % (len(words), b"".join(sizes)))
    two.restart()
    there = Talk(two)
    there.push("own", "new")
    assert there("TASK.LEN", "q") == 2 and there.map("TASK.INFO", "q")[b"broken"] == b""
    assert (there("TASK.LEN", "own", "leased"), there("TASK.LEN", "own", "delayed")) == (1, 1)


def test_a_replica_of_the_new_node_takes_its_clock_of_the_queue(start, nodes):
    """Valkey passes the queue on to it as it came. Its clock is 2 s behind, as if it got that late."""
    one, two = nodes
    replica = Floor(start(**SETTINGS))
    assert two.boss("CLUSTER", "MEET", "127.0.0.1", replica.server.port) == "OK"
    primary = two.boss("CLUSTER", "MYID")
    replica.eventually(lambda: replica.boss("CLUSTER", "REPLICATE", primary) == "OK", "it knows the node", 20)
    replica.eventually(
        lambda: b"master_link_status:up" in replica.boss("INFO", "replication"), "it has a copy"
    )
    one.boss.push("q", "x")
    migrate(one, primary, "q")
    wait_moved(one, two, "q")
    assert replica.boss("READONLY") == "OK"
    replica.eventually(lambda: two.boss.digest() == replica.boss.digest(), "the copies are equal")


def test_a_tied_lease_ends_by_its_deadline_on_the_new_node(nodes):
    """The new node does not see the end of the connection that claimed."""
    one, two = nodes
    worker = one.worker()
    for payload in ("short", "long"):
        one.boss.push("q", payload)
    worker.claim("q", "TIED", "LEASE", 1000)
    long = worker.claim("q", "TIED", "LEASE", 3_600_000)
    migrate(one, two.boss("CLUSTER", "MYID"), "q")
    wait_moved(one, two, "q")
    worker.leave()
    two.eventually(lambda: two.counts("q")["stalled"] == 1, "the short lease has ended", 10)
    assert two.boss("TASK.LEN", "q", "leased") == 1
    assert two.boss("TASK.ACK", "q", long) == 1
