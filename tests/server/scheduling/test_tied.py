"""Tied leases end with the connection that claimed, or at their deadline."""

import os
import signal
import subprocess
import sys

import pytest
from harness.talk import Error, Talk, packed
from harness.waiting import Floor

# A worker in a process of its own: it claims, prints the size of the reply, and never acks.
PROCESS = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"TASK.CLAIM q COUNT 3 TIED BLOCK 0\\r\\n")
print(len(s.recv(65536)), flush=True)
sys.stdin.read()
"""


def test_the_tasks_of_a_killed_worker_go_to_waiting_workers(floor):
    """After kill -9, its three tasks go to three other workers at once. Each has one stall."""
    floor.boss("TASK.MPUSH", "q", "TASKS", 3, "a", "b", "c")
    command = [sys.executable, "-c", PROCESS, floor.server.socket]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert int(process.stdout.readline()) > 100
        workers = floor.line(3)
        assert floor.boss("TASK.LEN", "q", "leased") == 3
        os.kill(process.pid, signal.SIGKILL)
        got = [worker.read() for worker in workers]
    finally:
        process.kill()
        process.communicate()
    assert [(task[1], task[2]) for [task] in got] == [(b"a", 2), (b"b", 2), (b"c", 2)]
    assert floor.counts()["stalled"] == 3


def test_all_leases_of_one_connection_end_with_it(floor):
    """A thousand tasks in two queues, claimed in several calls, are ready again."""
    worker = floor.worker()
    for key in ("q", "p"):
        for start in (0, 250):
            floor.boss("TASK.MPUSH", key, "TASKS", 250, *range(start, start + 250))
            assert len(worker("TASK.CLAIM", key, "COUNT", 250, "TIED")) == 250
    worker.leave()
    for key in ("q", "p"):
        floor.eventually(lambda key=key: floor.counts(key)["stalled"] == 500, "all have stalled")
        assert (floor.counts(key)["ready"], floor.counts(key)["leased"]) == (500, 0)


def test_a_lease_that_is_not_tied_outlives_its_connection(floor):
    """Tied leases of other connections go on as well."""
    worker, other = floor.worker(), floor.worker()
    for payload in ("free", "tied", "other's"):
        floor.boss.push("q", payload)
    free, tied, others = worker.claim("q"), worker.claim("q", "TIED"), other.claim("q", "TIED")
    worker.leave()
    floor.eventually(lambda: floor.counts()["stalled"] == 1, "one lease has ended")
    assert floor.boss("TASK.EXTEND", "q", "HANDLES", 3, free, tied, others)[1] == -2
    assert floor.counts()["leased"] == 2
    assert other("TASK.ACK", "q", others) == 1


def test_a_tied_lease_that_has_ended_does_not_stall_with_its_connection(floor):
    """The lease had ended by ACK, REQUEUE or FAIL."""
    worker = floor.worker()
    handles = []
    for payload in ("acked", "requeued", "failed", "taken over"):
        floor.boss.push("q", payload)
        handles.append(worker.claim("q", "TIED"))
    floor.boss("TASK.ACK", "q", handles[0])
    floor.boss("TASK.FAIL", "q", handles[2], "DEAD")
    floor.boss("TASK.REQUEUE", "q", "HANDLES", 2, handles[1], handles[3])
    kept = [floor.boss.claim("q"), floor.boss.claim("q")]
    worker.leave()
    floor.eventually(lambda: floor.info("clients", "connected_clients") == 1, "the server has noticed")
    assert all(reply > 0 for reply in floor.boss("TASK.EXTEND", "q", "HANDLES", 2, *kept))
    assert floor.counts()["stalled"] == 0


def test_an_earlier_tied_lease_does_not_affect_a_later_lease(floor):
    """The task stalled and was claimed by another worker before the first connection closed."""
    worker, other = floor.worker(), floor.worker()
    floor.boss.push("q", "x")
    worker.claim("q", "TIED", "LEASE", 5)
    floor.eventually(lambda: floor.counts()["ready"] == 1, "its lease is over")
    second = other.claim("q")
    worker.leave()
    floor.eventually(lambda: floor.info("clients", "connected_clients") == 2, "the server has noticed")
    assert floor.boss("TASK.EXTEND", "q", second) > 0
    assert floor.counts()["stalled"] == 1


MOVES = {
    "RENAME": [["RENAME", "q", "new"]],
    "MOVE": [["MOVE", "q", 1], ["SELECT", 1], ["RENAME", "q", "new"]],
    "SWAPDB": [["SWAPDB", 0, 1], ["SELECT", 1], ["RENAME", "q", "new"]],
    "RENAME twice": [["RENAME", "q", "p"], ["RENAME", "p", "new"]],
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_tied_lease_ends_after_its_queue_was_renamed_moved_or_swapped(floor, move, when):
    """The connection closes before or after that, in one batch."""
    worker = floor.worker()
    floor.boss.push("q", "x")
    worker.claim("q", "TIED")
    end = [["CLIENT", "KILL", "ID", worker.id]]
    batch = end + MOVES[move] if when == "before" else MOVES[move] + end
    floor.boss.send(*batch)
    [floor.boss.read() for _ in batch]
    floor.eventually(lambda: floor.counts("new")["stalled"] == 1, "the lease has ended")
    assert floor.boss("TASK.LEN", "new", "ready") == 1


def test_queues_without_leases_of_a_connection_are_forgotten(floor):
    """A worker lives for a long time, and its queues do not. Here their names would take 40 MB."""
    worker = floor.worker()
    floor.boss.push("q", "x")
    worker.claim("q", "TIED")

    def used() -> int:
        return floor.info("memory", "used_memory")

    before = used()
    for n in range(200):
        key = f"{n:0>200000}"
        floor.boss.push(key, "x")
        worker("TASK.ACK", key, worker.claim(key, "TIED"))
        floor.boss("DEL", key)
    floor.eventually(lambda: used() - before < 4_000_000, "the names are freed")
    worker.leave()
    floor.eventually(lambda: floor.counts()["stalled"] == 1, "the lease that it held has ended")


def test_a_waiting_worker_gets_a_tied_lease(floor):
    """TIED applies to a claim that waited."""
    worker = floor.waiting("q", "TIED")
    floor.boss.push("q", "x")
    assert worker.payloads() == [b"x"]
    workers = floor.line(1)
    worker.leave()
    [[_, payload, deliveries]] = workers[0].read()
    assert (payload, deliveries) == (b"x", 2)
    assert floor.counts()["stalled"] == 1


def test_a_worker_that_dies_while_it_waits_does_not_get_its_own_task_again(floor):
    """Its tied task goes to the next worker."""
    floor.boss.push("q", "x")
    worker, behind = floor.worker(), None
    worker.claim("q", "TIED")
    floor.seen_to_wait(lambda: worker.asks("q", "TIED"))
    behind = floor.waiting()
    worker.leave()
    assert behind.payloads() == [b"x"]
    assert floor.counts()["leased"] == 1
    floor.nobody_waits()


def test_closed_connections_count_as_stalls(floor):
    """The task is delayed by the backoff from the second one on, and dead after `stalls` of them."""
    floor.boss("TASK.CONFIG", "q", "SET", "stalls", 3, "backoff-base", 1, "backoff-jitter", 0)
    task = floor.boss.push("q", "poison")
    for deliveries in (1, 2, 3):
        worker = floor.worker().asks("q", "TIED")
        assert worker.read()[0][2] == deliveries
        worker.leave()
    floor.eventually(lambda: floor.boss("TASK.LEN", "q", "dead") == 1, "it is dead")
    assert floor.boss.map("TASK.GET", "q", task)[b"stalls"] == 3


def test_a_tied_claim_sent_again_is_tied_to_the_new_connection(floor):
    """With REQUEST, the end of the first connection no longer ends the lease."""
    first, second = floor.worker(), floor.worker()
    floor.boss.push("q", "x")
    handle = first.claim("q", "TIED", "REQUEST", "t")
    assert second.claim("q", "TIED", "REQUEST", "t") == handle
    first.leave()
    floor.eventually(lambda: floor.info("clients", "connected_clients") == 2, "the server has noticed")
    assert second("TASK.EXTEND", "q", handle) > 0
    second.leave()
    floor.eventually(lambda: floor.counts()["stalled"] == 1, "the second connection's end counts")


NO_CONNECTION = (
    "TIED requires a client's own connection: scripts, functions and calls of other modules have none"
)
CLAIMS = {
    "CLAIM": ["TASK.CLAIM", "q", "TIED"],
    "MCLAIM": ["TASK.MCLAIM", "p", "KEYS", 1, "q", "TIED"],
    "with a token": ["TASK.CLAIM", "q", "TIED", "REQUEST", "t", "BLOCK", 1],
    "NEXT": ["TASK.NEXT", "q", "1-1@1-00000000", "TIED"],
}


@pytest.mark.parametrize("kind", ["script", "function"])
@pytest.mark.parametrize("claim", CLAIMS)
def test_tied_is_refused_in_a_script_or_function(floor, kind, claim):
    """They have no connection that could close. Nothing is claimed."""
    if kind == "script":
        call = ["EVAL", "return redis.call(unpack(ARGV))", 2, "p", "q"]
    else:
        if floor.server.installed.version < (7, 0):
            pytest.skip("functions came with 7.0")
        code = "redis.register_function('claim', function(keys, args) return redis.call(unpack(args)) end)"
        assert floor.boss("FUNCTION", "LOAD", f"#!lua name=taskslot\n{code}") == b"taskslot"
        call = ["FCALL", "claim", 2, "p", "q"]
    floor.boss.push("q", "x")
    refused = floor.boss(*call, *CLAIMS[claim])
    assert isinstance(refused, Error) and NO_CONNECTION in refused, refused
    assert (floor.counts()["ready"], floor.counts()["claimed"]) == (1, 0)
    assert len(floor.boss(*call, "TASK.CLAIM", "q")) == 1, "without TIED it claims"


def test_a_tied_lease_of_a_transaction_ends_with_its_connection(floor):
    """The ends of other connections do not matter."""
    worker, other = floor.worker(), floor.worker()
    floor.boss.push("q", "x")
    assert worker("MULTI") == "OK" and worker("TASK.CLAIM", "q", "TIED") == "QUEUED"
    [[[handle, *_]]] = worker("EXEC")
    floor.boss.push("q", "other's")
    other.claim("q", "TIED")
    other.leave()
    floor.eventually(lambda: floor.counts()["stalled"] == 1, "the other's lease has ended")
    assert worker("TASK.EXTEND", "q", handle) > 0
    worker.leave()
    floor.eventually(lambda: floor.counts()["stalled"] == 2, "the lease has ended")


def test_a_script_that_sends_a_claim_again_does_not_change_the_tie(floor):
    """The lease still ends with the connection that claimed first."""
    worker, other = floor.worker(), floor.worker()
    floor.boss.push("q", "x")
    handle = worker.claim("q", "TIED", "REQUEST", "t")
    recall = "return redis.call('TASK.CLAIM', KEYS[1], 'REQUEST', 't')[1][1]"
    assert floor.boss("EVAL", recall, 1, "q") == handle
    floor.boss.push("q", "other's")
    other.claim("q", "TIED")
    other.leave()
    floor.eventually(lambda: floor.counts()["stalled"] == 1, "the other's lease has ended")
    assert worker("TASK.EXTEND", "q", handle) > 0
    worker.leave()
    floor.eventually(lambda: floor.counts()["stalled"] == 2, "the lease has ended with its connection")


def test_a_tied_claim_in_an_aof_is_not_run(start):
    """A claim written into an AOF has no connection. The server starts, and nothing is claimed."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no")
    boss = Talk(server)
    boss.push("q", "x")
    server.stop()
    with open(server._aof(), "ab") as aof:
        aof.write(packed(["TASK.CLAIM", "q", "TIED", "LEASE", 86_400_000]))
    server.start()
    assert Talk(server).map("TASK.INFO", "q")[b"claimed"] == 0


@pytest.mark.parametrize("how", ["MIGRATE", "RESTORE", "RESTORE REPLACE", "promotion", "restart"])
def test_a_tied_lease_of_a_moved_queue_ends_at_its_deadline(start, how):
    """Where the queue is now, the connection is not known."""
    settings = {"port": True, "appendonly": "yes", "module_args": ("failover-grace", 0)}
    one, two = Floor(start(**settings)), Floor(start(**settings))
    worker = one.worker()
    for payload in ("short", "long"):
        one.boss.push("q", payload)
    worker.claim("q", "TIED", "LEASE", 1000)
    long = worker.claim("q", "TIED", "LEASE", 3_600_000)
    match how:
        case "MIGRATE":
            assert one.boss("MIGRATE", "127.0.0.1", two.server.port, "q", 0, 5000) == "OK"
        case "RESTORE":
            assert two.boss("RESTORE", "q", 0, one.boss("DUMP", "q")) == "OK"
        case "RESTORE REPLACE":
            two = one
            assert one.boss("RESTORE", "q", 0, one.boss("DUMP", "q"), "REPLACE") == "OK"
        case "promotion":
            two.server.replicate(one.server)
            one.server.kill9()
            assert two.boss("REPLICAOF", "NO", "ONE") == "OK"
        case "restart":
            one.server.restart(kill=True)
            two = Floor(one.server)
    worker.leave()
    two.eventually(lambda: two.counts()["stalled"] == 1, "the short lease has ended", 10)
    assert two.boss("TASK.LEN", "q", "leased") == 1
    assert two.boss("TASK.ACK", "q", long) == 1
