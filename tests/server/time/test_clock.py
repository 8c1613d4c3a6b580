"""A wall clock that is set: spans keep their length, instants follow the clock, ids and lease numbers only grow."""

import pytest
from harness.talk import Talk, id_parts, parts
from harness.waiting import Floor
from harness.wall_clock import ms, step

HOUR = 3_600_000


@pytest.fixture
def server(start):
    """A server whose wall clock can be set."""
    return start(clock=True)


@pytest.fixture(params=[HOUR, -HOUR], ids=["ahead", "back"])
def hour(request):
    """An hour ahead or back."""
    return request.param


def test_a_lease_keeps_its_length_when_the_clock_is_set(server, c, hour):
    """A short lease ends in time, and a long one goes on."""
    c.push("q", "short", "LEASE", 150)
    c.push("q", "long", "LEASE", 30_000)
    [short, *_], [long, *_] = c("TASK.CLAIM", "q", "COUNT", 2)
    step(server, c, hour)
    assert c("TASK.EXTEND", "q", long) > 0
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"stalled"] == 1, "the short lease is over")
    assert c("TASK.ACK", "q", short) == 1, "late, and accepted"
    assert c("TASK.ACK", "q", long) == 1
    assert c.map("TASK.INFO", "q")[b"late"] == 1


def test_a_lease_that_starts_after_the_clock_was_set_ends(server, c, hour):
    """The server's timers freeze when the clock is set back. New leases and delays still end."""
    c.push("q", "before", "DELAY", 30_000)
    step(server, c, hour)
    for payload in ("x", "y"):
        c.push("q", payload, "LEASE", 60)
        c("TASK.CLAIM", "q")
    c.push("q", "z", "DELAY", 60)
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"stalled"] == 2, "both leases are over")
    server.wait_until(lambda: c("TASK.LEN", "q", "ready") == 3, "the delay is over")
    assert c("TASK.LEN", "q", "delayed") == 1


def test_a_blocked_worker_gets_a_task_that_becomes_due_after_the_clock_was_set(server, hour):
    """The delay was running when the clock was set. Pushes after it are served as well."""
    floor = Floor(server)
    workers = floor.line(2)
    floor.boss.push("q", "x", "DELAY", 150)
    step(server, floor.boss, hour)
    assert workers[0].payloads() == [b"x"]
    floor.boss.push("q", "y")
    assert workers[1].payloads() == [b"y"]
    floor.nobody_waits()


def test_an_instant_is_reached_when_the_clock_is_set_past_it(server, c):
    """A task with AT becomes ready. A task with DELAY does not."""
    c.push("q", "x", "AT", ms(c) + HOUR // 2)
    c.push("q", "y", "DELAY", HOUR // 2)
    step(server, c, HOUR)
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"ready"] == 1, "the instant has come")
    assert c("TASK.LEN", "q", "delayed") == 1
    assert c("TASK.CLAIM", "q")[0][1] == b"x"


def test_a_blocked_worker_gets_a_task_when_the_clock_is_set_past_its_instant(server):
    """No command on the queue follows."""
    floor = Floor(server)
    worker = floor.waiting()
    floor.boss.push("q", "x", "AT", ms(floor.boss) + HOUR // 2)
    server.clock.step(HOUR)
    assert worker.payloads() == [b"x"]


def test_an_instant_is_later_when_the_clock_is_set_back(server, c):
    """The task becomes ready when the clock is set right again."""
    c.push("q", "x", "AT", ms(c) + HOUR // 2)
    step(server, c, -HOUR)
    server.clock.passes(HOUR // 2 + 1000)
    step(server, c, 0)
    assert c("TASK.CLAIM", "q") == []
    assert c("TASK.LEN", "q", "delayed") == 1
    step(server, c, HOUR)
    server.wait_until(lambda: c("TASK.CLAIM", "q"), "its time has come")


def test_an_instant_after_the_clock_was_set_back_is_reached(server, c):
    """The module's clock is then ahead of the wall clock and slower, but the wall clock decides."""
    c.push("q", "first", "DELAY", HOUR)
    step(server, c, -HOUR)
    due = ms(c) + 1500
    c.push("q", "x", "AT", due)
    assert c("TASK.CLAIM", "q") == []
    server.wait_until(lambda: ms(c) > due + 2, "its time has come")
    assert [task[1] for task in c("TASK.CLAIM", "q")] == [b"x"]


def test_ids_and_lease_numbers_grow_when_the_clock_is_set_back(server, c):
    """They are above all that were given before."""
    ids, leases = [], []
    for by in (0, -HOUR, HOUR, HOUR, -2 * HOUR):
        step(server, c, by)
        for _ in range(3):
            c.push("q", "x")
            handle = c.claim("q")
            task, lease, _ = parts(handle)
            ids.append(task)
            leases.append(lease)
    assert ids == sorted(ids)
    assert len(set(leases)) == len(leases) and leases == sorted(leases)
    assert leases[-1] < 2**53


def test_a_pause_keeps_its_length_when_the_clock_is_set(server, hour):
    """PAUSE FOR is a span: it ends neither early nor late."""
    floor = Floor(server)
    short, long = floor.waiting("q"), floor.waiting("p")
    floor.boss("TASK.PAUSE", "q", "OUT", "FOR", 200)
    floor.boss("TASK.PAUSE", "p", "OUT", "FOR", 30_000)
    floor.boss.push("q", "x")
    floor.boss.push("p", "y")
    step(server, floor.boss, hour)
    assert short.payloads() == [b"x"]
    assert floor.all_wait([long])


def test_a_restart_after_the_clock_was_set_keeps_the_queue(start):
    """Ids and lease numbers still grow, and leases still end."""
    server = start(clock=True, appendonly="yes", appendfsync="always", module_args=("failover-grace", 0))
    c = Talk(server)
    c.push("q", "x")
    task, lease, _ = parts(c.claim("q", "LEASE", 20))
    for by in (-HOUR, 2 * HOUR):
        server.clock.step(by)
        server.restart(kill=True)
        c = Talk(server)
        c.push("q", "y", "PRIORITY", 1)
        handle = c.claim("q", "LEASE", 86_400_000)
        again, number, _ = parts(handle)
        assert again > task and number > lease
        task, lease = again, number
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"stalled"] == 1, "the first lease is over")


def test_the_clock_of_a_busy_server_does_not_drift(server, c):
    """However often the clock is read, the ms of an id is that of the wall clock."""
    for _ in range(150):
        c.many([["TASK.LEN", "q"]] * 2000, 2000)
    # In one batch: this process may stand still between two commands.
    task, (seconds, micros) = c.many([["TASK.PUSH", "q", "x"], ["TIME"]])
    now = int(seconds) * 1000 + int(micros) // 1000
    assert abs(now - id_parts(task)[0]) < 40, "the module's clock is the server's"
