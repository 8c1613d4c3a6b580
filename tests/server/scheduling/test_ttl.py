"""TTL: a task that is not claimed in time is removed by the timer, and no worker gets it."""

import time

import pytest
from harness.edges import bound
from harness.server import wait_synced
from harness.talk import Error, Talk, effects
from harness.waiting import Floor

DAY = 86_400_000
SPAN_MAX = 100 * 365 * DAY


def expired(c: Talk) -> int:
    """How many tasks of `q` have expired."""
    return c.map("TASK.INFO", "q")[b"expired"]


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_task_that_is_not_claimed_expires(server, protocol, c):
    """The timer removes it. No command is needed."""
    c.push("q", "stays")
    begun = time.monotonic()
    task = c.push("q", "p", "TTL", 1000)
    shown = c.map("TASK.GET", "q", task)
    assert shown[b"ttl-ms"] == 1000 and shown[b"expires"] == shown[b"enqueued"] + 1000
    assert c("TASK.LEN", "q") == 2
    # LEN is a read and does not expire tasks.
    server.wait_until(lambda: c("TASK.LEN", "q") == 1, "the task has expired")
    assert time.monotonic() - begun > 0.9
    assert c("TASK.GET", "q", task) is None and expired(c) == 1
    assert c("TASK.CLAIM", "q")[0][1] == b"stays"


def test_tasks_expire_on_time_on_an_idle_server(start):
    """The effects in the AOF have the time. The server ticks once a second, so its ticks would be too late."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no", hz=1)
    c = Talk(server)
    ttls = [100 + 150 * n for n in range(10)]
    tasks = c.many([["TASK.PUSH", "q", "p", "TTL", ttl] for ttl in ttls])
    due = [int(task.split(b"-")[0]) + ttl for task, ttl in zip(tasks, ttls, strict=True)]
    effects(server)
    instants = []

    def all_expired() -> bool:
        # On a slow machine one effect can have several tasks.
        for effect in effects(server):
            instants.extend(fields[0] for name, fields in effect.events if name == "expire")
        return len(instants) >= 10

    server.wait_until(all_expired, "all have expired")
    late = sorted(at - expected for at, expected in zip(instants, due, strict=True))
    assert late[0] >= 0 and late[5] <= 200, late


def test_a_waiting_worker_does_not_get_an_expired_task(server):
    """Tasks that expired while claims were paused are skipped. It gets the task behind them."""
    c, worker = Talk(server), Talk(server)
    c("TASK.PAUSE", "q", "OUT")
    worker.send(["TASK.CLAIM", "q", "BLOCK", 0, "COUNT", 5])
    waiting = lambda: b"taskslot_blocked_workers:1\r\n" in c("INFO", "taskslot")  # noqa: E731
    server.wait_until(waiting, "the worker waits")
    for _ in range(20):
        c("MULTI")
        c("TASK.PUSH", "q", "over", "TTL", 1)
        c("DEBUG", "SLEEP", 0.003)
        c("TASK.RESUME", "q", "ALL")
        c("TASK.PAUSE", "q", "OUT")
        c("EXEC")
    assert waiting(), "the worker still waits"
    c("TASK.RESUME", "q", "OUT")
    c.push("q", "in time", "TTL", DAY)
    assert [task[1] for task in worker.read()] == [b"in time"]
    assert expired(c) == 20


def test_a_claim_does_not_get_expired_tasks_before_the_timer_ran(server, c):
    """Four thousand tasks expire while the server sleeps. The claim gets the task behind them."""
    sweeps, of_each = bound("engine/rules/claim.rs", "SWEEPS"), bound("engine/bounds.rs", "STEP_TASKS")
    over = min(4000, sweeps * of_each)
    for _ in range(4):
        c("TASK.MPUSH", "q", "TTL", 200, "TASKS", over // 4, *["over"] * (over // 4))
    c.push("q", "behind")
    c("DEBUG", "SLEEP", 0.25)
    other = Talk(server)
    assert [task[1] for task in other("TASK.CLAIM", "q", "COUNT", 9)] == [b"behind"]
    server.wait_until(lambda: expired(c) == over // 4 * 4, "all have expired")
    assert c("TASK.LEN", "q") == 1


def test_a_hundred_thousand_tasks_that_expire_at_once_do_not_block_the_server(start):
    """They are removed in slices, and other commands are served in between."""
    server = start(clock=True)
    c = Talk(server)

    def served_between() -> int:
        for _ in range(100):
            c("TASK.MPUSH", "q", "TTL", DAY, "TASKS", 1000, *["p"] * 1000)
        before = expired(c)
        server.clock.passes(DAY)
        left = {c("TASK.LEN", "q")}
        while 0 not in left:
            left.add(c("TASK.LEN", "q"))
        assert expired(c) == before + 100_000
        return len(left)

    # This process may stand still meanwhile.
    assert any(served_between() > 10 for _ in range(5))


def test_a_task_that_was_claimed_once_does_not_expire(server, c):
    """It stays after a requeue or a failure."""
    task = c.push("q", "p", "TTL", 1000)
    assert c("TASK.REQUEUE", "q", c.claim()) == 1
    soon = c.push("q", "p", "TTL", 1000)
    server.wait_until(lambda: c("TASK.GET", "q", soon) is None, "the other has expired")
    shown = c.map("TASK.GET", "q", task)
    assert shown[b"state"] == b"ready" and shown[b"ttl-ms"] == 1000 and b"expires" not in shown
    assert c("TASK.FAIL", "q", c.claim(), "DELAY", 1) == 1
    assert expired(c) == 1


def test_ttl_counts_from_when_the_task_is_ready(server, c):
    """A delayed task does not expire. RETRY starts the TTL."""
    task = c.push("q", "p", "DELAY", 500, "TTL", 1000)
    shown = c.map("TASK.GET", "q", task)
    assert b"expires" not in shown
    server.wait_until(lambda: c("TASK.LEN", "q", "ready") == 1, "it is due")
    assert c.map("TASK.GET", "q", task)[b"expires"] == shown[b"due"] + 1000
    server.wait_until(lambda: c("TASK.GET", "q", task) is None, "it has expired")
    later = c.push("q", "p", "DELAY", DAY, "TTL", 1000)
    assert c("TASK.RETRY", "q", later) == 1
    shown = c.map("TASK.GET", "q", later)
    assert shown[b"expires"] == shown[b"ready-since"] + 1000
    server.wait_until(lambda: c("TASK.GET", "q", later) is None, "it has expired")


def test_ttl_of_mpush_applies_to_each_task(server, c):
    """They expire together."""
    c("TASK.MPUSH", "q", "TTL", 50, "TASKS", 300, *["p"] * 300)
    server.wait_until(lambda: expired(c) == 300, "all have expired")
    assert c("TASK.LEN", "q") == 0


@pytest.mark.parametrize("command", [["TASK.PUSH", "q", "p"], ["TASK.MPUSH", "q", "TASKS", 1, "p"]])
def test_ttl_takes_1_ms_to_100_years(command, c):
    """Both bounds are accepted, and nothing beyond them."""
    for ms in (0, -1, SPAN_MAX + 1, "x", "", "1.5"):
        error = Error(f"ERR TTL must be an integer between 1 and {SPAN_MAX}")
        assert c(*command, "TTL", ms) == error
    assert c("EXISTS", "q") == 0
    for ms in (1, SPAN_MAX):
        assert not isinstance(c(*command, "TTL", ms), Error)


@pytest.mark.parametrize("how", ["rdb", "aof"])
def test_tasks_expire_after_a_restart(start, how):
    """Tasks whose TTL ended during the restart are removed, the others in time."""
    server = start(appendonly="yes" if how == "aof" else "no")
    c = Talk(server)
    c("TASK.MPUSH", "q", "TTL", 1, "TASKS", 10, *["p"] * 10)
    task = c.push("q", "p", "TTL", 1500)
    stays = c.push("q", "stays", "TTL", DAY)
    if how == "rdb":
        c("SAVE")
    server.restart()
    c = Talk(server)
    server.wait_until(lambda: c("TASK.GET", "q", task) is None, "it has expired")
    assert expired(c) == 11
    assert c.map("TASK.GET", "q", stays)[b"ttl-ms"] == DAY
    assert c.claim().startswith(stays)


def test_a_replica_expires_tasks_only_when_promoted(start):
    """Before that it applies the effects of its primary. Both are equal."""
    primary, replica = start(port=True), start()
    c, r = Talk(primary), Talk(replica)
    c.push("q", "p", "TTL", 400)
    replica.replicate(primary)
    late = c.push("q", "p", "TTL", 3000)
    primary.wait_until(lambda: expired(c) == 1, "the first has expired")
    wait_synced(primary, replica)
    assert r.digest() == c.digest() and expired(r) == 1
    primary.kill9()
    assert r("TASK.GET", "q", late) is not None
    assert r("REPLICAOF", "NO", "ONE") == "OK"
    replica.wait_until(lambda: r("TASK.GET", "q", late) is None, "the other has expired on the new primary")
    assert expired(r) == 2


def test_a_token_is_free_when_its_task_expires(server, c):
    """The next push with the token creates a new task."""
    task = c("TASK.PUSH", "q", "p", "UNIQUE", "t", "TTL", 1000)[0]
    assert c("TASK.PUSH", "q", "p", "UNIQUE", "t") == [task, 0]
    server.wait_until(lambda: c("TASK.PUSH", "q", "p", "UNIQUE", "t")[1] == 1, "the token is free")
    assert expired(c) == 1


def test_a_worker_of_another_group_is_served_after_thousands_of_tasks_expired(server):
    """They are removed in many steps. Then all waiting workers are considered."""
    floor = Floor(server)
    c = floor.boss
    for _ in range(20):
        c("TASK.MPUSH", "q", "GROUP", "a", "TTL", 300, "TASKS", 1000, *["x"] * 1000)
    worker = floor.waiting("q", "GROUP", "b")
    c.send(["DEBUG", "SLEEP", "0.5"])
    c.send(["TASK.PUSH", "q", "for b", "GROUP", "b"])
    assert c.read() == "OK" and c.read()
    assert worker.payloads() == [b"for b"]
    floor.eventually(lambda: expired(c) == 20_000, "all have expired")
