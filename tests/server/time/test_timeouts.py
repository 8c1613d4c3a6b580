"""What the server does by itself when time passes: with no client there, only where it may, and all of it."""

import pytest
from harness.server import Server, digest, wait_synced
from harness.talk import Talk, event_names
from harness.waiting import Floor, Worker

BY_ITSELF = ("due", "stall", "drop", "resume")


def own_events(server: Server) -> list[str]:
    """What the server has done by itself since this was last asked, by its AOF."""
    return [name for name in event_names(server) if name in BY_ITSELF]


def left_alone(server: Server, worker: Worker, *names: str) -> Worker:
    """Close the one connection there is; wait until the server has done this, and nothing else; connect again."""
    worker.leave()
    seen: list[str] = []

    def has_told() -> bool:
        seen.extend(own_events(server))
        return len(seen) >= len(names)

    server.wait_until(has_told, f"the server has told of {names}")
    assert seen == list(names)
    return Worker(server)


def ms(client: Talk) -> int:
    """The server's wall clock in ms."""
    seconds, micros = client("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


@pytest.fixture
def server(start):
    """A server that keeps an AOF, where one sees what it did."""
    return start(appendonly="yes")


@pytest.fixture
def talk(server):
    """A connection to it."""
    return Worker(server)


@pytest.mark.parametrize("word", ["DELAY", "AT"])
def test_a_delayed_task_becomes_ready_with_nobody_there(server, talk, word):
    """DELAY and AT: the server itself makes the task ready, and says so to replicas and AOF."""
    talk.push("q", "x", word, 50 if word == "DELAY" else ms(talk) + 50)
    assert own_events(server) == []
    talk = left_alone(server, talk, "due")
    assert talk("TASK.LEN", "q", "ready") == 1


def test_a_lease_that_runs_out_ends_with_nobody_there(server, talk):
    """First stall: ready at once; second: delayed by backoff; at the limit: dead. All by the server alone."""
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


def test_nothing_is_touched_before_its_time(server, talk):
    """Later deadlines and delays stay as they are while earlier ones are acted on."""
    for payload, lease in [("soon", 20), ("late", 3_600_000)]:
        talk.push("q", payload, "LEASE", lease)
        talk("TASK.CLAIM", "q")
    talk.push("q", "tomorrow", "DELAY", 86_400_000)
    talk.push("q", "today", "DELAY", 40)
    talk = left_alone(server, talk, "stall", "due")
    assert [talk("TASK.LEN", "q", state) for state in ("ready", "leased", "delayed")] == [2, 1, 1]


def test_an_extended_lease_ends_at_its_new_deadline(server, talk):
    """EXTEND moves the end: the server comes at the old deadline in vain and again at the new one."""
    talk.push("q", "x", "LEASE", 30)
    handle = talk.claim("q")
    deadline = talk("TASK.EXTEND", "q", handle, "LEASE", 200)
    talk = left_alone(server, talk, "stall")
    assert ms(talk) >= deadline


def test_what_became_ready_first_is_claimed_first(server, talk):
    """Delays that run out give the order of claims, not the order of pushes."""
    for payload, delay in [("c", 60), ("a", 20), ("b", 40)]:
        talk.push("q", payload, "DELAY", delay)
    server.wait_until(lambda: talk("TASK.LEN", "q", "delayed") == 0, "all are ready")
    assert [task[1] for task in talk("TASK.CLAIM", "q", "COUNT", 3)] == [b"a", b"b", b"c"]


def test_many_queues_due_at_once_are_all_served(server, talk):
    """Two thousand queues with a lease or a delay that ends in the same moment: all are moved, none twice."""
    for at in range(1000):
        talk.send(
            ["TASK.PUSH", f"delayed:{at}", "x", "DELAY", 50],
            ["TASK.PUSH", f"leased:{at}", "x", "LEASE", 50],
            ["TASK.CLAIM", f"leased:{at}"],
        )
    [talk.read() for _ in range(3000)]
    seen: list[str] = []

    def all_told() -> bool:
        seen.extend(own_events(server))
        return len(seen) >= 2000

    server.wait_until(all_told, "two thousand tasks have moved")
    assert sorted(seen) == ["due"] * 1000 + ["stall"] * 1000
    assert all(
        talk("TASK.LEN", f"{kind}:{at}", "ready") == 1
        for kind in ("delayed", "leased")
        for at in range(0, 1000, 50)
    )


def test_a_hundred_thousand_tasks_due_at_once_all_become_ready(server, talk):
    """They are moved in slices, and other commands are served between them."""
    at = ms(talk) + 1500
    push = ["TASK.MPUSH", "q", "AT", at, "TASKS", 1000, *range(1000)]
    talk.send(*[push] * 100)
    assert all(len(talk.read()) == 1000 for _ in range(100))
    answers = 0

    def is_ready() -> bool:
        nonlocal answers
        answers += talk("PING") == "PONG"
        return talk("TASK.LEN", "q", "delayed") == 0

    server.wait_until(is_ready, "all are ready", timeout=20)
    assert talk("TASK.LEN", "q", "ready") == 100_000
    assert answers > 10


def test_a_dead_task_grows_too_old_with_nobody_there(server, talk):
    """dead-ttl: the server removes it by itself."""
    talk("TASK.CONFIG", "q", "SET", "dead-ttl", 40)
    talk.push("q", "x")
    talk("TASK.FAIL", "q", talk.claim("q"), "DEAD")
    talk = left_alone(server, talk, "drop")
    assert talk("TASK.LEN", "q", "dead") == 0


def test_a_write_moves_what_is_due_before_its_own_work(start):
    """A claim sent in the moment of the deadline finds the task, whatever the timer does."""
    floor = Floor(start(hz=1))
    for at in range(50):
        key = f"q{at}"
        due = ms(floor.boss) + 3
        floor.boss.push(key, "x", "AT", due)
        floor.server.wait_until(lambda due=due: ms(floor.boss) >= due + 1, "it is due")
        assert len(floor.boss("TASK.CLAIM", key)) == 1


def test_timers_of_queues_that_are_gone_do_no_harm(server, talk):
    """Deleted, flushed, expired, overwritten: their times come, and nothing happens, nothing is made anew."""
    for at, gone in enumerate((["DEL"], ["UNLINK"], ["PEXPIRE", 1], ["SET", "text"])):
        talk.push(f"q{at}", "x", "DELAY", 60)
        talk(gone[0], f"q{at}", *gone[1:])
    talk("SELECT", 1)
    talk.push("q", "x", "DELAY", 60)
    talk("FLUSHDB")
    talk("SELECT", 0)
    talk.push("last", "x", "DELAY", 100)
    talk = left_alone(server, talk, "due")
    assert sorted(talk("KEYS", "*")) == [b"last", b"q3"]
    assert talk("GET", "q3") == b"text"


def test_a_replica_moves_nothing_by_itself(start):
    """Leases and delays end on the primary only; the replica follows, and its offset is the primary's."""
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
    # Cut off, it sees tasks of its own become due, and leaves them alone.
    talk.push("q", "after", "DELAY", 200)
    wait_synced(primary, replica)
    primary.freeze()
    offset = replica.client().info("replication")["slave_repl_offset"]
    before = far.digest()
    due = ms(far) + 300
    replica.wait_until(lambda: ms(far) > due, "the delay has passed on the replica")
    assert far.digest() == before
    assert replica.client().info("replication")["slave_repl_offset"] == offset
    primary.thaw()
    primary.wait_until(lambda: talk("TASK.LEN", "q", "delayed") == 0, "the primary has done it")
    wait_synced(primary, replica)
    assert digest(replica.client(), "q") == digest(primary.client(), "q")
