"""Only a primary that can write runs timers: paused writes, failovers, promotions and demotions while tasks are due."""

import time

import pytest
from harness.server import wait_synced, wait_until
from harness.talk import Talk, event_names
from harness.waiting import Floor


def due_soon(talk: Talk, count: int = 300, within: int = 600) -> None:
    """Push delayed tasks that become due, and lease tasks whose leases end, one after the other."""
    for at in range(count):
        talk.push("q", f"delayed {at}", "DELAY", 1 + at * within // count)
        talk.push("p", f"leased {at}", "LEASE", 1 + at * within // count)
    assert len(talk("TASK.CLAIM", "p", "COUNT", count)) == count


def all_moved(talk: Talk) -> bool:
    """Whether no task of `due_soon` is delayed or leased any more."""
    return talk("TASK.LEN", "q", "delayed") == 0 and talk("TASK.LEN", "p", "leased") == 0


def queues_are_equal(one: Talk, other: Talk) -> bool:
    """Whether both servers have the same queues."""
    return all(one.digest(key) == other.digest(key) for key in ("q", "p"))


@pytest.mark.parametrize("mode", ["WRITE", "ALL"])
def test_due_tasks_wait_while_writes_are_paused(start, mode):
    """During CLIENT PAUSE nothing is propagated. Afterwards every due task and lease is handled."""
    server, replica = start(appendonly="yes", port=True, module_args=("failover-grace", 100)), start()
    replica.replicate(server)
    talk, far = Talk(server), Talk(replica)
    talk.push("q", "first")
    wait_synced(server, replica)
    due_soon(talk, 100, 1000)
    assert talk("CLIENT", "PAUSE", 2500, mode) == "OK"
    end = time.monotonic() + 1.5

    def is_over() -> bool:
        seen.append(event_names(server))
        return time.monotonic() > end

    seen: list[list[str]] = []
    event_names(server)
    wait_until(is_over, "all of it is due")
    assert not any(seen)
    before = far.digest("q"), far.digest("p")
    server.wait_until(lambda: all_moved(talk), "all tasks are ready")
    wait_synced(server, replica)
    assert (far.digest("q"), far.digest("p")) != before
    assert queues_are_equal(talk, far)


def test_a_tied_lease_of_a_worker_that_dies_in_a_pause_ends_after_it(server):
    """A hand-off that failed during the pause is undone after it, too."""
    floor = Floor(server)
    worker, tied = floor.worker(), floor.waiting("p", "TIED")
    floor.boss.push("q", "x")
    worker.claim("q", "TIED")
    waiting = floor.waiting("q")
    batch = [["TASK.PUSH", "p", "y"], ["CLIENT", "KILL", "ID", tied.id], ["CLIENT", "PAUSE", 60_000, "WRITE"]]
    floor.boss.send(*batch)
    assert all(floor.boss.read() for _ in batch)
    worker.leave()
    floor.eventually(lambda: floor.info("clients", "connected_clients") == 2, "the server has noticed")
    assert floor.boss("TASK.LEN", "q", "leased") == 1
    assert floor.boss("CLIENT", "UNPAUSE") == "OK"
    assert waiting.payloads() == [b"x"]
    floor.eventually(lambda: floor.boss("TASK.LEN", "p", "ready") == 1, "the hand-off is undone")
    assert floor.counts("p")["claimed"] == 0


def test_tasks_that_became_due_in_a_pause_are_served_right_after_it(server):
    """Their worker gets them before a task that becomes due later."""
    floor = Floor(server)
    overdue, later = floor.waiting("q"), floor.waiting("p")
    floor.boss.push("q", "overdue", "DELAY", 1)
    assert floor.boss("CLIENT", "PAUSE", 60_000, "WRITE") == "OK"
    end = time.monotonic() + 0.2
    floor.eventually(lambda: time.monotonic() > end, "the server has found the task and cannot make it ready")
    assert floor.boss("CLIENT", "UNPAUSE") == "OK"
    floor.boss.push("p", "later", "DELAY", 500)
    assert later.payloads() == [b"later"]
    assert overdue.has_tasks()


def test_a_wait_can_end_while_writes_are_paused(server):
    """It ends by time-out or CLIENT UNBLOCK. Workers that go on waiting are served after the pause."""
    floor = Floor(server)
    freed, workers, short = floor.waiting(), floor.line(2), floor.waiting(block=1000)
    floor.boss.push("p", "x", "DELAY", 1)
    assert floor.boss("CLIENT", "PAUSE", 60_000, "WRITE") == "OK"
    assert short.read() == []
    assert floor.boss("CLIENT", "UNBLOCK", freed.id) == 1
    assert freed.read() == []
    assert floor.boss("CLIENT", "UNPAUSE") == "OK"
    floor.boss("TASK.MPUSH", "q", "TASKS", 2, "a", "b")
    assert floor.all_got(workers) == [[b"a"], [b"b"]]


def test_a_failover_while_tasks_become_due_loses_nothing(start):
    """Both servers stay up, the new primary handles the rest, and both are equal."""
    first, second = start(port=True), start(port=True, module_args=("failover-grace", 200))
    second.replicate(first)
    one, two = Talk(first), Talk(second)
    due_soon(one, 400, 1200)
    workers = Floor(first).line(3, "other")
    first.wait_until(lambda: b"state=online" in one("INFO", "replication"), "the replica is online")
    assert one("FAILOVER") == "OK"
    first.wait_until(lambda: b"role:slave" in one("INFO", "replication"), "the first is a replica", 20)
    second.wait_until(lambda: b"role:master" in two("INFO", "replication"), "the second is the primary", 20)
    assert all(str(worker.read()).startswith("UNBLOCKED") for worker in workers)
    second.wait_until(lambda: all_moved(two), "the new primary has done the rest", 20)
    wait_synced(second, first)
    assert queues_are_equal(one, two)
    assert two("TASK.LEN", "q", "ready") == 400
    info = two.map("TASK.INFO", "p")
    assert (info[b"pushed"], info[b"stalled"], info[b"ready"]) == (400, 400, 400)


def test_a_promoted_replica_handles_due_tasks(start):
    """After REPLICAOF NO ONE it ends each lease and delay once."""
    primary, replica = start(port=True), start(module_args=("failover-grace", 0))
    replica.replicate(primary)
    talk, far = Talk(primary), Talk(replica)
    due_soon(talk, 200, 400)
    wait_synced(primary, replica)
    primary.kill9()
    worker_line = Floor(replica)
    assert far("REPLICAOF", "NO", "ONE") == "OK"
    replica.wait_until(lambda: all_moved(far), "all tasks are ready")
    assert far("TASK.LEN", "q", "ready") == 200
    assert far.map("TASK.INFO", "p")[b"stalled"] == 200
    assert len(worker_line.worker()("TASK.CLAIM", "q", "BLOCK", 0, "COUNT", 1000)) == 200


def test_a_demoted_primary_does_not_run_its_timers(start):
    """As a replica it has the other primary's queues and does not change them. Promoted again, it runs timers."""
    other, node = start(port=True), start(port=True)
    theirs, ours = Talk(other), Talk(node)
    due_soon(ours, 200, 300)
    theirs.push("q", "theirs", "DELAY", 3_600_000)
    theirs.push("p", "theirs", "DELAY", 3_600_000)
    node.replicate(other)
    assert queues_are_equal(theirs, ours)
    now = int(ours("TIME")[0])
    node.wait_until(lambda: int(ours("TIME")[0]) > now + 1, "all tasks that it had would be due")
    assert queues_are_equal(theirs, ours)
    assert ours("REPLICAOF", "NO", "ONE") == "OK"
    ours.push("q", "x", "DELAY", 20)
    node.wait_until(lambda: ours("TASK.LEN", "q", "ready") == 1, "it acts on time again")


def test_a_replica_that_reconnects_while_tasks_become_due_stays_equal(start):
    """This holds for full and partial copies, and for a chained replica."""
    primary, replica, chained = start(port=True), start(port=True), start()
    talk, far, farther = Talk(primary), Talk(replica), Talk(chained)
    due_soon(talk, 300, 900)
    replica.replicate(primary)
    chained.replicate(replica)
    for _ in range(3):
        assert talk("CLIENT", "KILL", "TYPE", "replica") >= 1
        talk.push("q", "more", "DELAY", 100)
        wait_synced(primary, replica)
    primary.wait_until(lambda: all_moved(talk), "all tasks are ready")
    wait_synced(primary, replica)
    wait_synced(replica, chained)
    assert queues_are_equal(talk, far) and queues_are_equal(talk, farther)
