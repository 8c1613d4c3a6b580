"""Several nodes, each with a clock of its own, over restarts, failovers and moves: spans keep their length."""

import time

import pytest
from harness.files import wait_aof
from harness.queues import HOUR
from harness.server import passes, wait_synced
from harness.spans import check_moved_spans, check_spans, spans
from harness.talk import Talk

STEPS = pytest.mark.parametrize("step", [2 * HOUR, -2 * HOUR], ids=["ahead", "back"])
KEPT = {
    "aof": {"appendonly": "yes", "appendfsync": "always"},
    "commands": {"appendonly": "yes", "appendfsync": "always", "aof_use_rdb_preamble": "no"},
    "rdb": {},
}


@STEPS
@pytest.mark.parametrize("kept", KEPT)
def test_a_restart_after_a_step_of_the_clock_keeps_spans(start, step, kept):
    """The clock is set, then tasks come in, then the server starts again."""
    server = start(clock=True, **KEPT[kept])
    talk = Talk(server)
    talk.push("early", "x")
    server.clock.step(step)
    found = spans(talk)
    if kept == "rdb":
        server.stop(save=True)
        server.start()
    else:
        server.restart(kill=True)
    check_spans(server, Talk(server), found)


@STEPS
def test_a_rewritten_file_of_commands_keeps_spans(start, step):
    """Nothing is appended after the rewrite: what the clocks showed is told by the queue's own parts."""
    server = start(clock=True, **KEPT["commands"])
    talk = Talk(server)
    server.clock.step(step)
    found = spans(talk)
    server.wait_until(lambda: b"TASK._CLOCK" in server._aof().read_bytes(), "word of the clock was given")
    talk("BGREWRITEAOF")
    wait_aof(server)
    assert b"TASK._CLOCK" not in server._aof().read_bytes(), "nor again"
    server.restart(kill=True)
    check_spans(server, Talk(server), found)


@STEPS
def test_a_clock_that_is_set_while_the_server_is_down_changes_no_span(start, step):
    """The time since the machine's start tells how long the server was down; an instant follows the wall clock."""
    server = start(clock=True, **KEPT["aof"])
    talk = Talk(server)
    found = spans(talk)
    seconds, _ = talk("TIME")
    talk.push("wall", "x", "AT", (int(seconds) * 1000) + HOUR)
    server.kill9()
    server.clock.passes(HOUR // 2)
    server.clock.step(step)
    talk = Talk(server.start())
    check_spans(server, talk, found, passed=HOUR // 2)
    assert talk("TASK.CLAIM", "wall") == [] if step < 0 else talk("TASK.CLAIM", "wall")


@pytest.mark.parametrize("is_same", [True, False], ids=["same machine", "another"])
def test_a_machine_that_was_started_anew_goes_by_its_wall_clock(start, is_same):
    """It was off for half an hour, and its clock had been set before; on another machine time has stood still."""
    server = start(clock=True, **KEPT["aof"])
    server.clock.step(2 * HOUR)
    found = spans(Talk(server))
    server.kill9()
    server.clock.step(HOUR // 2)
    server.clock.starts_anew(is_same)
    check_spans(server, Talk(server.start()), found, passed=HOUR // 2 if is_same else 0)


@STEPS
def test_a_replica_with_another_clock_keeps_spans_when_it_is_promoted(start, step):
    """Its machine's clock is two hours off, and its primary's is right."""
    primary, replica = start(port=True, clock=True), start(clock=True)
    replica.clock.step(step)
    replica.restart()
    talk = Talk(primary)
    before = spans(talk, "before")
    replica.replicate(primary)
    found = spans(talk)
    wait_synced(primary, replica)
    primary.kill9()
    far = Talk(replica)
    assert far("REPLICAOF", "NO", "ONE") == "OK"
    check_spans(replica, far, found)
    check_spans(replica, far, before, key="before")


def test_an_idle_primary_tells_a_new_replica_what_its_clock_shows(start):
    """No effect comes after the copy of the data: the replica is promoted, and the spans are what they were."""
    primary, replica = start(port=True, clock=True), start(clock=True, **KEPT["commands"])
    primary.clock.step(-2 * HOUR)
    primary.restart()
    talk = Talk(primary)
    found = spans(talk)
    replica.replicate(primary)
    wait_aof(replica)

    def is_told() -> bool:
        return any(words[0] == b"TASK._CLOCK" for words in replica.propagated())

    replica.wait_until(is_told, "the replica has heard of the clock")
    primary.kill9()
    far = Talk(replica)
    assert far("REPLICAOF", "NO", "ONE") == "OK"
    check_spans(replica, far, found)
    # And when it starts again from its own file.
    replica.restart(kill=True)
    check_spans(replica, Talk(replica), found)


@STEPS
@pytest.mark.parametrize("way", ["migrate", "restore"])
def test_a_queue_that_moves_keeps_its_spans(start, step, way):
    """To a machine whose clock is two hours off, to its replica and to its file."""
    here, replica = start(clock=True), start(clock=True)
    there = start(clock=True, port=True, **KEPT["commands"])
    there.clock.step(step)
    there.restart()
    replica.replicate(there)
    talk, far = Talk(here), Talk(there)
    found = spans(talk)
    if way == "migrate":
        assert talk("MIGRATE", "127.0.0.1", there.port, "q", 0, 5000) == "OK"
    else:
        assert far("RESTORE", "q", 0, talk("DUMP", "q")) == "OK"
    check_moved_spans(far, found)
    wait_synced(there, replica)
    assert far.digest("q") == Talk(replica).digest("q")
    there.restart(kill=True)
    check_moved_spans(Talk(there), found)


@STEPS
def test_a_queue_that_came_from_another_machine_goes_on_by_its_own_clock(start, step):
    """Its delays come after their hour, not before and not two hours late, by the node's timer; new ones too."""
    here, there = start(clock=True), start(clock=True, **KEPT["commands"])
    there.clock.step(step)
    there.restart()
    talk, far = Talk(here), Talk(there)
    spans(talk)
    assert far("RESTORE", "q", 0, talk("DUMP", "q")) == "OK"
    far.push("q", "soon", "DELAY", 50, "PRIORITY", 9)
    there.wait_until(lambda: far("TASK.LEN", "q", "ready") == 2, "a new delay is over, and no old one")
    assert far("TASK.CLAIM", "q")[0][1] == b"soon"
    there.clock.passes(HOUR - 300_000)
    there.restart(kill=True)
    far = Talk(there)
    far.push("q", "x")
    assert far("TASK.LEN", "q", "delayed") == 2
    there.clock.passes(600_000)
    there.wait_until(lambda: far("TASK.LEN", "q", "delayed") == 0, "the delays are over")
    there.wait_until(lambda: far.map("TASK.INFO", "q")[b"stalled"] >= 1, "the lease is over", timeout=15)


def test_a_machine_that_slept_delivers_what_is_due_at_once(start):
    """A delay of an hour is over after a sleep of an hour; a lease that ran out meanwhile can still be extended."""
    server = start(clock=True)
    talk = Talk(server)
    talk.push("q", "x", "DELAY", HOUR)
    talk.push("q", "y", "LEASE", HOUR // 2)
    handle = talk.claim("q")
    server.clock.passes(HOUR)
    server.wait_until(lambda: talk("TASK.LEN", "q", "ready") == 1, "the delay is over")
    assert talk("TASK.EXTEND", "q", handle) > 0


def test_leases_end_in_a_crash_loop_that_is_shorter_than_the_grace(start):
    """Killed and started again and again, each time before the longest grace is over."""
    server = start(**KEPT["aof"])
    talk = Talk(server)
    talk.push("q", "x")
    talk("TASK.CLAIM", "q", "LEASE", 200)

    def has_ended() -> bool:
        return talk.map("TASK.INFO", "q")[b"stalled"] == 1

    for _ in range(3):
        server.kill9()
        passes(300)
        server.start()
        talk, end = Talk(server), time.monotonic() + 1.5
        server.wait_until(lambda end=end: has_ended() or time.monotonic() > end, "a life that is too short")
        if has_ended():
            return
    raise AssertionError("the lease has outlived three starts")
