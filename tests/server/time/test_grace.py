"""Grace: leases that ran out while the server could not serve are spared until their workers had time to reach it."""

import pytest
from harness.server import Server, passes, wait_synced
from harness.talk import Talk
from harness.waiting import Floor

LEASE = 1000


def leases(talk: Talk, count: int = 2, ms: int = LEASE) -> list[bytes]:
    """Push and claim that many tasks, and return their handles."""
    for at in range(count):
        talk.push("q", f"task {at}", "LEASE", ms)
    return [talk.claim("q") for _ in range(count)]


def stalled(talk: Talk, key: str = "q") -> int:
    """How many leases have stalled."""
    return talk.map("TASK.INFO", key)[b"stalled"]


def frozen_for(server: Server, ms: int) -> None:
    """Stop the whole process for that time."""
    server.freeze()
    passes(ms)
    server.thaw()


def test_a_lease_that_ran_out_in_a_standstill_can_still_be_extended(server):
    """After the grace, a lease that was neither extended nor acked stalls."""
    talk = Talk(server)
    kept, finished, lost = leases(talk, 3)
    frozen_for(server, 1800)
    assert talk("PING") == "PONG"
    assert talk("TASK.EXTEND", "q", kept, "LEASE", 30_000) > 0
    assert talk("TASK.ACK", "q", finished) == 1
    info = talk.map("TASK.INFO", "q")
    assert (info[b"leased"], info[b"late"], info[b"stalled"]) == (2, 0, 0)
    server.wait_until(lambda: stalled(talk) == 1, "the third lease is over")
    assert talk("TASK.EXTEND", "q", "HANDLES", 2, kept, lost)[1] == -2


def test_a_standstill_below_half_a_second_gives_no_grace(server):
    """The lease stalls as soon as the server goes on."""
    talk = Talk(server)
    [handle] = leases(talk, 1, 50)
    frozen_for(server, 100)
    server.wait_until(lambda: stalled(talk) == 1, "the lease is over")
    assert talk("TASK.EXTEND", "q", "HANDLES", 1, handle) == [-2]


def test_a_grace_spares_only_leases_that_ran_out_in_the_standstill(server):
    """A short lease that starts during the grace ends in it."""
    talk = Talk(server)
    [spared] = leases(talk, 1)
    frozen_for(server, 2000)
    [short] = leases(talk, 1, 20)
    talk.push("q", "delayed", "DELAY", 20)
    server.wait_until(lambda: stalled(talk) == 1, "the new lease is over")
    server.wait_until(lambda: talk("TASK.LEN", "q", "delayed") == 0, "the delay is over")
    assert talk("TASK.EXTEND", "q", "HANDLES", 2, spared, short, "LEASE", 30_000)[1] == -2
    assert talk("TASK.LEN", "q", "leased") == 1
    assert talk("TASK.ACK", "q", spared) == 1


def test_a_blocked_worker_gets_a_spared_task_after_the_grace(server):
    """The lease was not extended, so its task goes to the worker that waits."""
    floor = Floor(server)
    leases(floor.boss, 1)
    worker = floor.waiting()
    frozen_for(server, 1500)
    assert floor.all_wait([worker])
    assert worker.payloads() == [b"task 0"]
    assert stalled(floor.boss) == 1


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "shut down"])
def test_a_lease_that_ran_out_while_the_server_was_down_can_still_be_extended(start, kill):
    """The queue is loaded from the AOF. After the grace, a lease that was not extended stalls."""
    server = start(appendonly="yes", appendfsync="always", module_args=("failover-grace", 1500))
    kept, lost = leases(Talk(server))
    if kill:
        server.kill9()
    else:
        server.stop()
    passes(LEASE + 50)
    talk = Talk(server.start())
    assert talk("TASK.EXTEND", "q", kept, "LEASE", 30_000) > 0
    assert stalled(talk) == 0
    server.wait_until(lambda: stalled(talk) == 1, "the other lease is over")
    assert talk("TASK.EXTEND", "q", "HANDLES", 1, lost) == [-2]


def test_failover_grace_0_gives_no_grace(start):
    """Leases that ran out while the server was down stall at its start."""
    server = start(appendonly="yes", appendfsync="always", module_args=("failover-grace", 0))
    leases(Talk(server))
    server.kill9()
    passes(LEASE + 50)
    talk = Talk(server.start())
    server.wait_until(lambda: stalled(talk) == 2, "both leases are over")


def test_a_lease_that_ran_out_before_the_promotion_can_still_be_extended(start):
    """The replica was promoted after the primary died. After the grace, a lease that was not extended stalls."""
    primary, replica = start(port=True), start(module_args=("failover-grace", 1500))
    replica.replicate(primary)
    # Redis 7.0 starts to send when its replica has reported that it is there, once a second.
    Talk(primary).push("first", "x")
    wait_synced(primary, replica)
    kept, lost = leases(Talk(primary))
    wait_synced(primary, replica)
    primary.kill9()
    passes(LEASE + 50)
    talk = Talk(replica)
    assert talk("REPLICAOF", "NO", "ONE") == "OK"
    assert talk("TASK.EXTEND", "q", kept, "LEASE", 30_000) > 0
    assert stalled(talk) == 0
    replica.wait_until(lambda: stalled(talk) == 1, "the other lease is over")
    assert talk("TASK.EXTEND", "q", "HANDLES", 1, lost) == [-2]


@pytest.mark.parametrize("mode", ["WRITE", "ALL"])
def test_a_lease_that_ran_out_while_writes_were_paused_can_still_be_extended(server, mode):
    """CLIENT PAUSE holds the EXTEND back for longer than half a second."""
    talk, boss = Talk(server), Talk(server)
    kept, lost = leases(talk)
    assert boss("CLIENT", "PAUSE", 1800, mode) == "OK"
    passes(1600)
    assert talk("TASK.EXTEND", "q", kept, "LEASE", 30_000) > 0
    assert stalled(talk) == 0
    server.wait_until(lambda: stalled(talk) == 1, "the other lease is over")
    assert talk("TASK.EXTEND", "q", "HANDLES", 1, lost) == [-2]
