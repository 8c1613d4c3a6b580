"""Timers: without a client, the server ends leases, delays and dead-ttl, each once and not too early."""

import pytest
from harness.server import Server, digest, wait_synced
from harness.talk import Talk, event_names
from harness.waiting import Floor, Worker

BY_TIMER = ("due", "stall", "drop", "resume")
MINUTE = 60_000


def timer_events(server: Server) -> list[str]:
    """The events of the timer since the last call, read from the AOF."""
    return [name for name in event_names(server) if name in BY_TIMER]


def left_alone(server: Server, worker: Worker, *names: str, passes: int = 0) -> Worker:
    """Close the only connection, wait until the timer has made exactly these events, and connect again.

    Before the wait, let this time pass at once.
    """
    worker.leave()
    server.clock.passes(passes)
    seen: list[str] = []

    def has_events() -> bool:
        seen.extend(timer_events(server))
        return len(seen) >= len(names)

    server.wait_until(has_events, f"the timer has made {names}")
    assert seen == list(names)
    return Worker(server)


def ms(client: Talk) -> int:
    """The server's wall clock in ms."""
    seconds, micros = client("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


@pytest.fixture
def server(start):
    """A server with an AOF, which shows its effects, and with a clock that tests turn on."""
    return start(appendonly="yes", clock=True)


@pytest.fixture
def talk(server):
    """A connection to that server."""
    return Worker(server)


@pytest.mark.parametrize("word", ["DELAY", "AT"])
def test_a_delayed_task_becomes_ready_without_a_client(server, talk, word):
    """This holds for DELAY and AT. The change is propagated."""
    talk.push("q", "x", word, MINUTE if word == "DELAY" else ms(talk) + MINUTE)
    assert timer_events(server) == []
    talk = left_alone(server, talk, "due", passes=MINUTE)
    assert talk("TASK.LEN", "q", "ready") == 1


def test_a_lease_ends_without_a_client(server, talk):
    """The task is ready at the first stall, delayed by the backoff at the second, and dead at the third."""
    talk("TASK.CONFIG", "q", "SET", "stalls", 3, "backoff-base", 30, "backoff-jitter", 0, "lease", 20)
    task = talk.push("q", "x")
    for events, deliveries, state in [
        (["stall"], 1, b"ready"),
        (["stall", "due"], 2, b"ready"),
        (["stall"], 3, b"dead"),
    ]:
        assert talk("TASK.CLAIM", "q")[0][2] == deliveries
        talk = left_alone(server, talk, *events)
        assert talk.map("TASK.GET", "q", task)[b"state"] == state
    assert talk.map("TASK.INFO", "q")[b"died"] == 1


def test_later_leases_and_delays_are_not_ended_early(server, talk):
    """They stay as they are while earlier ones end."""
    for payload, lease in [("soon", 20), ("late", 3_600_000)]:
        talk.push("q", payload, "LEASE", lease)
    assert len(talk("TASK.CLAIM", "q", "COUNT", 2)) == 2
    talk.push("q", "tomorrow", "DELAY", 86_400_000)
    talk.push("q", "today", "DELAY", 40)
    talk = left_alone(server, talk, "stall", "due")
    assert [talk("TASK.LEN", "q", state) for state in ("ready", "leased", "delayed")] == [2, 1, 1]


def test_an_extended_lease_ends_at_its_new_deadline(server, talk):
    """It does not end at the old one."""
    talk.push("q", "x", "LEASE", 1000)
    handle = talk.claim("q")
    deadline = talk("TASK.EXTEND", "q", handle, "LEASE", 1500)
    talk = left_alone(server, talk, "stall")
    assert ms(talk) >= deadline


def test_delayed_tasks_are_claimed_in_the_order_they_became_ready(server, talk):
    """The order of the pushes does not matter."""
    for payload, delay in [("c", 3 * MINUTE), ("a", MINUTE), ("b", 2 * MINUTE)]:
        talk.push("q", payload, "DELAY", delay)
    for left in (2, 1, 0):
        server.clock.passes(MINUTE)
        server.wait_until(lambda left=left: talk("TASK.LEN", "q", "delayed") == left, "one more is ready")
    assert [task[1] for task in talk("TASK.CLAIM", "q", "COUNT", 3)] == [b"a", b"b", b"c"]


def test_two_thousand_queues_due_at_once_are_all_handled(server, talk):
    """Each lease and each delay ends once."""
    for at in range(1000):
        talk.send(
            ["TASK.PUSH", f"delayed:{at}", "x", "DELAY", 50],
            ["TASK.PUSH", f"leased:{at}", "x", "LEASE", 50],
            ["TASK.CLAIM", f"leased:{at}"],
        )
    [talk.read() for _ in range(3000)]
    seen: list[str] = []

    def all_done() -> bool:
        seen.extend(timer_events(server))
        return len(seen) >= 2000

    server.wait_until(all_done, "two thousand tasks have moved")
    assert sorted(seen) == ["due"] * 1000 + ["stall"] * 1000
    assert all(
        talk("TASK.LEN", f"{kind}:{at}", "ready") == 1
        for kind in ("delayed", "leased")
        for at in range(0, 1000, 50)
    )


def test_a_hundred_thousand_tasks_due_at_once_all_become_ready(server, talk):
    """They become ready in slices, and other commands are served in between."""

    def served_between() -> int:
        push = ["TASK.MPUSH", "q", "AT", ms(talk) + MINUTE, "TASKS", 1000, *range(1000)]
        talk.send(*[push] * 100)
        assert all(len(talk.read()) == 1000 for _ in range(100))
        server.clock.passes(MINUTE)
        left = {talk("TASK.LEN", "q", "delayed")}
        while 0 not in left:
            left.add(talk("TASK.LEN", "q", "delayed"))
        assert talk("TASK.LEN", "q", "ready") == 100_000
        talk("DEL", "q")
        return len(left)

    # This process may stand still meanwhile.
    assert any(served_between() > 10 for _ in range(5))


def test_dead_ttl_removes_a_dead_task_without_a_client(server, talk):
    """The timer drops it."""
    talk("TASK.CONFIG", "q", "SET", "dead-ttl", 40)
    talk.push("q", "x")
    talk("TASK.FAIL", "q", talk.claim("q"), "DEAD")
    talk = left_alone(server, talk, "drop")
    assert talk("TASK.LEN", "q", "dead") == 0


def test_a_claim_makes_due_tasks_ready_first(start):
    """A claim at the time of the task finds it, even if the timer has not run yet."""
    floor = Floor(start(hz=1))
    for at in range(50):
        key = f"q{at}"
        due = ms(floor.boss) + 3
        floor.boss.push(key, "x", "AT", due)
        floor.server.wait_until(lambda due=due: ms(floor.boss) >= due + 1, "it is due")
        assert len(floor.boss("TASK.CLAIM", key)) == 1


def test_timers_of_removed_queues_do_nothing(server, talk):
    """The queues were deleted, flushed, expired or overwritten. None is created again."""
    for at, removal in enumerate((["DEL"], ["UNLINK"], ["PEXPIRE", 1], ["SET", "text"])):
        talk.push(f"q{at}", "x", "DELAY", MINUTE)
        talk(removal[0], f"q{at}", *removal[1:])
    talk("SELECT", 1)
    talk.push("q", "x", "DELAY", MINUTE)
    talk("FLUSHDB")
    talk("SELECT", 0)
    talk.push("last", "x", "DELAY", 2 * MINUTE)
    talk = left_alone(server, talk, "due", passes=2 * MINUTE)
    assert sorted(talk("KEYS", "*")) == [b"last", b"q3"]
    assert talk("GET", "q3") == b"text"


def test_a_replica_runs_no_timers(start):
    """Leases and delays end on the primary only. The replica's data and offset follow it."""
    primary, replica = start(port=True), start()
    talk, far = Talk(primary), Talk(replica)
    replica.replicate(primary)
    for at in range(200):
        talk.push("leased", at, "LEASE", 20 + at % 50)
        talk.push("q", at, "DELAY", 20 + at % 50)
    talk("TASK.CLAIM", "leased", "COUNT", 200)
    primary.wait_until(lambda: talk.map("TASK.INFO", "leased")[b"stalled"] == 200, "all leases are over")
    primary.wait_until(lambda: talk("TASK.LEN", "q", "delayed") == 0, "all delays are over")
    wait_synced(primary, replica)
    assert far.digest("q") == talk.digest("q") and far.digest("leased") == talk.digest("leased")
    # Without its primary, the replica leaves due tasks as they are.
    talk.push("q", "after", "DELAY", 1500)
    wait_synced(primary, replica)
    primary.freeze()
    offset = replica.client().info("replication")["slave_repl_offset"]
    before = far.digest()
    due = ms(far) + 1600
    replica.wait_until(lambda: ms(far) > due, "the delay has passed on the replica")
    assert far.digest() == before
    assert replica.client().info("replication")["slave_repl_offset"] == offset
    primary.thaw()
    primary.wait_until(lambda: talk("TASK.LEN", "q", "delayed") == 0, "the primary has done it")
    wait_synced(primary, replica)
    assert digest(replica.client(), "q") == digest(primary.client(), "q")
