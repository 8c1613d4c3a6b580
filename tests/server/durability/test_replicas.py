"""A replica has the same queues as its primary, however it got them, and continues with them when promoted."""

import pytest
from harness.files import wait_aof
from harness.queues import HOUR, contents, goes_on, id_of, info, pairs, refusal, rich_queue, task
from harness.server import digest, wait_synced
from harness.talk import Talk

SYNCS = {"disk": ("no", "disabled"), "diskless": ("yes", "disabled"), "diskless-to-memory": ("yes", "swapdb")}
TERM = 2**36  # how many lease numbers a new primary skips


def lease_number(handle: bytes) -> int:
    """The lease number in a handle."""
    return int(handle.split(b"@")[1].split(b"-")[0])


@pytest.mark.parametrize("way", SYNCS)
def test_a_full_copy_is_equal_and_can_take_over(start, way):
    """The copies are equal after a full copy, over disk or not. The promoted replica can be worked on."""
    sync, load = SYNCS[way]
    primary, replica = (
        start(port=True, repl_diskless_sync=sync),
        start(repl_diskless_load=load, module_args=("failover-grace", 0)),
    )
    p, c = primary.client(), replica.client()
    rich = rich_queue(p)
    p.execute_command("TASK.PUSH", "short", "a", "LEASE", 2000)
    p.execute_command("TASK.CLAIM", "short")
    rich_queue(c, "old")  # the copy replaces it
    c.execute_command("TASK.PUSH", "queue", "old")
    replica.replicate(primary)
    assert ("to parser" in replica.log()) == (way == "diskless-to-memory"), "it was loaded as intended"
    assert sorted(c.keys()) == [b"queue", b"short"]
    assert (digest(c, "queue"), contents(c, "queue")) == (digest(p, "queue"), contents(p, "queue"))
    primary.kill9()
    c.execute_command("REPLICAOF", "NO", "ONE")
    goes_on(c, rich)
    # No command was sent for this queue since it was loaded.
    ended = "the short lease has ended"
    replica.wait_until(lambda: c.execute_command("TASK.LEN", "short", "ready") == 1, ended)


def test_changes_after_the_copy_arrive_as_effects(start):
    """A rich queue made while the replica is linked is equal there, and on a chained replica."""
    primary, replica, leaf = start(port=True), start(port=True), start()
    replica.replicate(primary)
    leaf.replicate(replica)
    p, c, d = primary.client(), replica.client(), leaf.client()
    rich = rich_queue(p)
    wait_synced(primary, replica)
    wait_synced(replica, leaf)
    assert digest(p, "queue") == digest(c, "queue") == digest(d, "queue")
    assert contents(p, "queue") == contents(c, "queue") == contents(d, "queue")
    # The chained replica follows the promoted one.
    c.execute_command("REPLICAOF", "NO", "ONE")
    goes_on(c, rich)
    wait_synced(replica, leaf)
    assert digest(c, "queue") == digest(d, "queue")


@pytest.mark.parametrize("cut_at", ["primary", "replica"])
def test_a_partial_copy_after_a_cut_link_gives_an_equal_queue(start, cut_at):
    """The replica gets the missing effects without a full copy."""
    primary, replica = start(port=True, repl_backlog_size="10mb"), start()
    p, c = primary.client(), replica.client()
    replica.replicate(primary)
    rich_queue(p)
    full = p.info("stats")["sync_full"]
    for n in range(5):
        if cut_at == "primary":
            p.execute_command("CLIENT", "KILL", "TYPE", "replica")
        else:
            c.execute_command("CLIENT", "KILL", "TYPE", "master")
        p.execute_command("TASK.RESUME", "queue", "ALL")
        p.execute_command("TASK.PUSH", "queue", f"missed {n}")
        assert len(p.execute_command("TASK.CLAIM", "queue", "COUNT", 3)) == 3
        primary.wait_until(lambda n=n: p.info("stats")["sync_partial_ok"] > n, "the link is mended", 15)
    wait_synced(primary, replica)
    assert p.info("stats")["sync_full"] == full
    assert digest(c, "queue") == digest(p, "queue")


def test_a_replica_that_was_restarted_is_equal(start):
    """It loads its own files after a stop or a kill, and catches up."""
    primary, replica = start(port=True), start(appendonly="yes")
    p = primary.client()
    replica.replicate(primary)
    rich_queue(p)
    wait_synced(primary, replica)
    for kill in (False, True):
        wait_aof(replica)
        replica.restart(kill=kill)
        p.execute_command("TASK.RESUME", "queue", "ALL")
        p.execute_command("TASK.PUSH", "queue", "while it was away")
        p.execute_command("TASK.CLAIM", "queue", "COUNT", 2)
        replica.replicate(primary)
        assert digest(replica.client(), "queue") == digest(p, "queue")
        wait_synced(primary, replica)
    # Its own AOF has the same queue.
    before = digest(p, "queue")
    wait_aof(replica)
    replica.restart(replicaof="127.0.0.1 1")
    assert digest(replica.client(), "queue") == before


def test_timers_run_on_the_primary_only(start):
    """While the primary is frozen, its replica ends no lease and no delay, and refuses writes."""
    primary, replica = start(port=True), start()
    p, c = primary.client(), replica.client()
    replica.replicate(primary)
    p.execute_command("TASK.PUSH", "queue", "a", "LEASE", 1500)
    p.execute_command("TASK.CLAIM", "queue")
    p.execute_command("TASK.PUSH", "queue", "b", "DELAY", 1500)
    wait_synced(primary, replica)
    primary.freeze()
    before = digest(c, "queue")
    due = max(int(pairs(one)["deadline"]) for one in c.execute_command("TASK.LIST", "queue", "leased")[1])
    replica.wait_until(lambda: c.time()[0] * 1000 + c.time()[1] // 1000 > due + 300, "all is due")
    assert digest(c, "queue") == before
    assert (
        c.execute_command("TASK.LEN", "queue", "leased")
        == c.execute_command("TASK.LEN", "queue", "delayed")
        == 1
    )
    assert refusal(c, "TASK.CLAIM", "queue") == refusal(c, "TASK.PUSH", "queue", "x") == "READONLY"
    primary.thaw()
    primary.wait_until(lambda: p.execute_command("TASK.LEN", "queue", "ready") == 2, "the primary goes on")
    wait_synced(primary, replica)
    assert digest(c, "queue") == digest(p, "queue") != before


def test_a_promoted_replica_keeps_leases_and_gives_larger_numbers(start):
    """Handles stay valid, leases still end, and new lease numbers are above all of the old primary's."""
    primary, replica = start(port=True), start(module_args=("failover-grace", 0))
    p, c = primary.client(), replica.client()
    p.execute_command("TASK.MPUSH", "queue", "LEASE", HOUR, "TASKS", 4, *"abcd")
    replica.replicate(primary)
    ((held, *_), (to_end, *_)) = p.execute_command("TASK.CLAIM", "queue", "COUNT", 2)
    ((short, *_),) = p.execute_command("TASK.CLAIM", "queue", "LEASE", 2000)
    wait_synced(primary, replica)
    # The old primary gives a lease that is not replicated.
    c.execute_command("REPLICAOF", "NO", "ONE")
    ((unseen, *_),) = p.execute_command("TASK.CLAIM", "queue")
    ((new, *_),) = c.execute_command("TASK.CLAIM", "queue")
    assert new.split(b"@")[0] == unseen.split(b"@")[0]
    assert lease_number(new) > lease_number(unseen) and lease_number(new) - lease_number(short) >= TERM
    assert refusal(c, "TASK.ACK", "queue", unseen) == "STALE"
    assert c.execute_command("TASK.EXTEND", "queue", held, "LEASE", 2 * HOUR) > 0
    assert c.execute_command("TASK.ACK", "queue", "HANDLES", 3, held, to_end, new) == [1, 1, 1]
    replica.wait_until(lambda: task(c, "queue", short)["state"] == b"ready", "the short lease has ended")
    assert id_of(c.execute_command("TASK.PUSH", "queue", "e")) > id_of(short.split(b"@")[0])
    # Numbers go on from there and skip a term only at the next promotion.
    ((next_, *_),) = c.execute_command("TASK.CLAIM", "queue")
    assert 0 < lease_number(next_) - lease_number(new) < TERM
    # The old primary accepts the command, which changes nothing on a primary.
    primary.client().execute_command("REPLICAOF", "NO", "ONE")


def test_a_restarted_primary_gives_larger_numbers(start):
    """A restarted server skips numbers too, because its clock can have been set back."""
    server = start(appendonly="yes", clock=True)
    r = server.client()
    r.execute_command("TASK.MPUSH", "queue", "LEASE", HOUR, "TASKS", 2, "a", "b")
    ((first, *_),) = r.execute_command("TASK.CLAIM", "queue")
    server.clock.step(-HOUR)
    r = server.restart().client()
    ((second, *_),) = r.execute_command("TASK.CLAIM", "queue")
    assert 2**24 <= lease_number(second) - lease_number(first) < 2**32, "much less than a promotion skips"
    assert r.execute_command("TASK.ACK", "queue", "HANDLES", 2, first, second) == [1, 1]
    assert id_of(r.execute_command("TASK.PUSH", "queue", "c")) > id_of(second.split(b"@")[0])


def test_a_primary_that_was_a_replica_meanwhile_gives_larger_numbers(r, server):
    """Another primary can have given leases in between."""
    r.execute_command("TASK.MPUSH", "queue", "TASKS", 3, *"abc")
    ((first, *_),) = r.execute_command("TASK.CLAIM", "queue")
    ((second, *_),) = r.execute_command("TASK.CLAIM", "queue")
    r.execute_command("REPLICAOF", "127.0.0.1", 1)
    r.execute_command("REPLICAOF", "NO", "ONE")
    ((third, *_),) = r.execute_command("TASK.CLAIM", "queue")
    assert 0 < lease_number(second) - lease_number(first) < TERM <= lease_number(third) - lease_number(second)
    assert r.execute_command("TASK.ACK", "queue", "HANDLES", 3, first, second, third) == [1, 1, 1]


def test_a_coordinated_failover_loses_nothing(start):
    """FAILOVER swaps the roles while leases end and a worker waits. Both servers are equal, handles stay valid."""
    primary, replica = (start(port=True, module_args=("failover-grace", 0)) for _ in range(2))
    p, c = primary.client(), replica.client()
    replica.replicate(primary)
    rich = rich_queue(p)
    p.execute_command("TASK.MPUSH", "short", "LEASE", 20, "TASKS", 500, *range(500))
    waiting = primary.client(socket_timeout=15)
    waiting.connection.send_command("TASK.CLAIM", "none", "BLOCK", 0)
    p.execute_command("TASK.CLAIM", "short", "COUNT", 500)
    primary.wait_until(
        lambda: p.info("replication")["slave0"]["state"] == "online", "the replica is online", 15
    )
    p.execute_command("FAILOVER", "TO", "127.0.0.1", replica.port)
    replica.wait_until(lambda: c.role()[0] == b"master", "the replica is the primary", 15)
    primary.wait_until(lambda: p.role()[0] == b"slave", "the primary is the replica", 15)
    with pytest.raises(Exception, match="UNBLOCKED|MASTERDOWN|instance state changed"):
        waiting.connection.read_response()
    replica.wait_until(lambda: info(c, "short")["stalled"] == 500, "its timer ends the leases", 15)
    wait_synced(replica, primary)
    assert digest(c, "short") == digest(p, "short") and digest(c, "queue") == digest(p, "queue")
    goes_on(c, rich)


def test_a_command_with_block_never_blocks_the_replication_link(start, installed):
    """Primaries do not send one. A replica that gets one returns at once and ties no lease."""
    if installed.version < (7, 0):
        pytest.skip("DEBUG REPLICATE came with 7.0")
    primary, replica = start(port=True), start(port=True)
    replica.replicate(primary)
    c, at_replica = Talk(primary), Talk(replica)
    task = c.push("q", "x")
    for command in (
        ["TASK.CLAIM", "missing", "BLOCK", 0],
        ["TASK.MCLAIM", "missing", "KEYS", 1, "missing too", "BLOCK", 0],
        ["TASK.NEXT", "missing", "1-1@1-00000000", "BLOCK", 0],
        ["TASK.RESULT", "q", task, "BLOCK", 0],
        ["TASK.CLAIM", "q", "TIED"],
    ):
        assert c("DEBUG", "REPLICATE", *command) == "OK"
    wait_synced(primary, replica)
    assert at_replica("TASK.LEN", "q", "ready") == 1
    assert b"\r\nblocked_clients:0\r\n" in at_replica("INFO", "clients")


def test_a_primary_that_is_back_before_it_is_replaced_takes_confirmed_pushes_away(start):
    """WAIT said that the replica has the task. The primary has no file, comes back empty, and the replica copies that.

    It is so for each type of data. docs/guarantees.md warns of it.
    """
    primary, replica = start(port=True), start()
    replica.replicate(primary)
    c, far = Talk(primary), Talk(replica)
    c.push("q", "x")
    assert c("WAIT", 1, 10_000) == 1 and far("TASK.LEN", "q") == 1
    primary.restart(kill=True)
    replica.wait_until(lambda: far("TASK.LEN", "q") == 0, "the replica has lost the task")
    assert far("ROLE")[0] == b"slave"
