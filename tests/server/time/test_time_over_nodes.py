"""Nodes with different clocks: spans keep their length over restarts, failovers and moves."""

import time

import pytest
from harness.files import commands_in, wait_aof
from harness.queues import HOUR
from harness.server import passes, wait_synced
from harness.spans import check_moved_spans, check_spans, spans
from harness.talk import Talk

STEPS = pytest.mark.parametrize(
    "step", [2 * HOUR, pytest.param(-2 * HOUR, marks=pytest.mark.slow)], ids=["ahead", "back"]
)
KEPT = {
    "aof": {"appendonly": "yes", "appendfsync": "always"},
    "commands": {"appendonly": "yes", "appendfsync": "always", "aof_use_rdb_preamble": "no"},
    "rdb": {},
}


@STEPS
@pytest.mark.parametrize("kept", KEPT)
def test_a_restart_after_the_clock_was_set_keeps_spans(start, step, kept):
    """The tasks come after the clock was set and before the restart."""
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
def test_a_rewritten_aof_without_effects_keeps_spans(start, step):
    """Nothing is appended after the rewrite, so the clocks come from the stored queue itself."""
    server = start(clock=True, **KEPT["commands"])
    talk = Talk(server)
    server.clock.step(step)
    found = spans(talk)
    server.wait_until(lambda: b"TASK._CLOCK" in server._aof().read_bytes(), "TASK._CLOCK was propagated")
    talk("BGREWRITEAOF")
    wait_aof(server)
    assert b"TASK._CLOCK" not in server._aof().read_bytes(), "it is not in the rewritten file"
    server.restart(kill=True)
    check_spans(server, Talk(server), found)


@STEPS
def test_a_clock_that_is_set_while_the_server_is_down_does_not_change_spans(start, step):
    """The time since boot shows how long the server was down. Instants follow the wall clock."""
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
def test_after_a_reboot_the_wall_clock_shows_how_long_the_server_was_down(start, is_same):
    """The machine was off for half an hour. On another machine no time is taken to have passed."""
    server = start(clock=True, **KEPT["aof"])
    server.clock.step(2 * HOUR)
    found = spans(Talk(server))
    server.kill9()
    server.clock.step(HOUR // 2)
    server.clock.starts_anew(is_same)
    check_spans(server, Talk(server.start()), found, passed=HOUR // 2 if is_same else 0)


@STEPS
def test_a_promoted_replica_with_another_clock_keeps_spans(start, step):
    """Its clock is two hours off."""
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


def test_an_idle_primary_sends_its_clock_to_a_new_replica(start):
    """No effect follows the full copy. The replica is promoted, and spans have the same length."""
    primary, replica = start(port=True, clock=True), start(clock=True, **KEPT["commands"])
    primary.clock.step(-2 * HOUR)
    primary.restart()
    talk = Talk(primary)
    found = spans(talk)
    replica.replicate(primary)
    wait_aof(replica)

    def has_clock() -> bool:
        return any(words[0] == b"TASK._CLOCK" for words in replica.propagated())

    replica.wait_until(has_clock, "the replica has the clock")
    primary.kill9()
    far = Talk(replica)
    assert far("REPLICAOF", "NO", "ONE") == "OK"
    check_spans(replica, far, found)
    # The same holds after a restart from its own AOF.
    replica.restart(kill=True)
    check_spans(replica, Talk(replica), found)


@STEPS
@pytest.mark.parametrize("way", ["migrate", "restore"])
def test_a_queue_that_moves_keeps_its_spans(start, step, way):
    """It moves to a server whose clock is two hours off. The spans are the same on its replica and in its AOF."""
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
def test_a_restored_queue_keeps_its_spans_if_nothing_else_reached_the_aof(start, step):
    """The server is killed right after the RESTORE. Once it runs again, a replica copies all data, and is promoted."""
    here, replica = start(clock=True), start(clock=True)
    there = start(clock=True, port=True, **KEPT["commands"])
    there.clock.step(step)
    there.restart()
    talk, far = Talk(here), Talk(there)
    found = spans(talk)
    assert far("RESTORE", "q", 0, talk("DUMP", "q")) == "OK"
    there.kill9()
    aof = there._aof()
    data = aof.read_bytes()
    behind = [at for at, words in commands_in(data) if words[0].startswith(b"TASK.")]
    aof.write_bytes(data[: min([len(data), *behind])])
    there.start()
    replica.replicate(there)
    wait_synced(there, replica)
    there.kill9()
    assert Talk(replica)("REPLICAOF", "NO", "ONE") == "OK"
    check_moved_spans(Talk(replica), found)


@STEPS
def test_a_restored_queue_keeps_its_own_clock(start, step):
    """Its delays end after their hour, not two hours early or late. New delays end in time."""
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


def test_tasks_are_due_at_once_after_the_machine_slept(start):
    """A delay of an hour ends with a sleep of an hour. A lease that ran out in it can still be extended."""
    server = start(clock=True)
    talk = Talk(server)
    talk.push("q", "x", "DELAY", HOUR)
    talk.push("q", "y", "LEASE", HOUR // 2)
    handle = talk.claim("q")
    server.clock.passes(HOUR)
    server.wait_until(lambda: talk("TASK.LEN", "q", "ready") == 1, "the delay is over")
    assert talk("TASK.EXTEND", "q", handle) > 0


def test_leases_end_in_a_crash_loop_that_is_shorter_than_the_grace(start):
    """The server is killed and started again, each time before the longest grace is over."""
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
        server.wait_until(
            lambda end=end: has_ended() or time.monotonic() > end, "the lease has ended, or a kill is due"
        )
        if has_ended():
            return
    raise AssertionError("the lease has survived three restarts")
