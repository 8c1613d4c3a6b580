"""REQUEST: a push or a claim sent again with its token gets the same reply and does nothing more."""

import pytest
from harness.edges import bound
from harness.talk import Error, Talk, effects

DAY = 86_400_000
FIVE_MINUTES = 300_000


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_push_sent_again_returns_the_same_id_and_pushes_nothing(protocol, c):
    """Other options of the second push are ignored. It counts as a duplicate."""
    task = c.push("q", "p", "REQUEST", "t")
    digest = c.digest()
    assert c("TASK.PUSH", "q", "other", "PRIORITY", 5, "request", "t", "DELAY", DAY) == task
    assert c("TASK.PUSH", "q", "p", "REQUEST", "t") == task
    assert c.digest() == digest
    assert c("TASK.LEN", "q") == 1
    assert c.map("TASK.INFO", "q")[b"duplicate"] == 2
    assert c.push("q", "p", "REQUEST", "T") != task, "tokens are bytes"


def test_an_mpush_sent_again_returns_the_same_ids(c):
    """A PUSH with its token returns the first id."""
    tasks = c("TASK.MPUSH", "q", "REQUEST", "t", "TASKS", 3, *"abc")
    assert c("TASK.MPUSH", "q", "REQUEST", "t", "TASKS", 3, *"abc") == tasks
    assert c("TASK.MPUSH", "q", "TASKS", 1, "x", "REQUEST", "t") == tasks
    assert c("TASK.PUSH", "q", "x", "REQUEST", "t") == tasks[0]
    assert c("TASK.LEN", "q") == 3


def test_a_push_sent_again_returns_the_id_of_a_finished_task(c):
    """This also holds while the queue is full or paused."""
    task = c.push("q", "p", "REQUEST", "t")
    assert c("TASK.CLAIM", "q", "NOACK") == [[task, b"p", 1]]
    c("TASK.CONFIG", "q", "SET", "max-len", 0)
    assert c("TASK.PUSH", "q", "p", "REQUEST", "t") == task
    c("TASK.PAUSE", "q", "ALL")
    assert c("TASK.PUSH", "q", "p", "REQUEST", "t") == task


def test_a_push_that_was_refused_is_not_remembered(c):
    """The same token is accepted once there is room."""
    c("TASK.CONFIG", "q", "SET", "max-len", 0)
    assert isinstance(c("TASK.PUSH", "q", "p", "REQUEST", "t"), Error)
    c("TASK.CONFIG", "q", "RESET")
    task = c.push("q", "p", "REQUEST", "t")
    assert c.push("q", "p", "REQUEST", "t") == task and c("TASK.LEN", "q") == 1


def test_a_push_and_a_claim_can_use_the_same_token(c):
    """Tokens of pushes and of claims are separate."""
    task = c.push("q", "p", "REQUEST", "t")
    claimed = c("TASK.CLAIM", "q", "REQUEST", "t")
    assert claimed[0][1] == b"p"
    assert c("TASK.PUSH", "q", "p", "REQUEST", "t") == task
    assert c("TASK.CLAIM", "q", "REQUEST", "t") == claimed
    assert c("TASK.LEN", "q") == 1


def test_a_token_belongs_to_one_queue(c):
    """Another queue does not know it, and neither does a new queue of the same name."""
    c.push("q", "p", "REQUEST", "t")
    c.push("r", "p", "REQUEST", "t")
    assert c("TASK.LEN", "r") == 1
    c("DEL", "q")
    c.push("q", "p", "REQUEST", "t")
    assert c("TASK.LEN", "q") == 1


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_claim_sent_again_gets_the_same_tasks(protocol, c):
    """Handles and lease numbers are the same, no delivery is counted, and other options are ignored."""
    c("TASK.MPUSH", "q", "TASKS", 5, *"abcde")
    tasks = c("TASK.CLAIM", "q", "COUNT", 2, "REQUEST", "t", "WITHMETA")
    digest = c.digest()
    assert c("TASK.CLAIM", "q", "COUNT", 2, "WITHMETA", "REQUEST", "t") == tasks
    bare = [task[:3] for task in tasks]
    assert c("TASK.CLAIM", "q", "COUNT", 5, "REQUEST", "t", "LEASE", 1, "WORKER", "w", "BLOCK", 0) == bare
    assert c.digest() == digest
    assert c.map("TASK.INFO", "q")[b"duplicate"] == 2
    assert len(c("TASK.CLAIM", "q", "COUNT", 5, "REQUEST", "u")) == 3


def test_a_claim_sent_again_gets_those_of_its_tasks_that_are_still_leased(c):
    """If none is left, it is a claim like any other."""
    c("TASK.MPUSH", "q", "TASKS", 4, *"abcd")
    a, b = c("TASK.CLAIM", "q", "COUNT", 2, "REQUEST", "t")
    assert c("TASK.ACK", "q", a[0]) == 1
    assert c("TASK.CLAIM", "q", "COUNT", 2, "REQUEST", "t") == [b]
    assert c("TASK.REQUEUE", "q", b[0]) == 1
    again = c("TASK.CLAIM", "q", "COUNT", 2, "REQUEST", "t")
    assert [task[1] for task in again] == [b"b", b"c"] and again[0] != b
    assert c("TASK.CLAIM", "q", "COUNT", 2, "REQUEST", "t") == again


def test_a_claim_sent_again_does_not_return_a_lease_that_ran_out(server, c):
    """The copy claims the task again under a new lease."""
    c.push()
    [[handle, _, _]] = c("TASK.CLAIM", "q", "REQUEST", "t", "LEASE", 1)
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"stalled"] == 1, "the lease is over")
    [[other, payload, deliveries]] = c("TASK.CLAIM", "q", "REQUEST", "t")
    assert other != handle and (payload, deliveries) == (b"p", 2)


def test_a_claim_that_found_nothing_is_not_remembered(c):
    """Its copy gets the tasks that have come since."""
    c.push("q", "p", "DELAY", DAY)
    assert c("TASK.CLAIM", "q", "REQUEST", "t") == []
    c.push("q", "x")
    assert [task[1] for task in c("TASK.CLAIM", "q", "REQUEST", "t")] == [b"x"]


def test_a_waiting_claim_sent_again_is_replaced_by_its_copy(server):
    """The first claim returns an empty array. Only the copy gets the next task."""
    c, first, copy = Talk(server), Talk(server), Talk(server)
    first.send(["TASK.CLAIM", "q", "BLOCK", 0, "REQUEST", "t"])
    waiting = lambda: b"taskslot_blocked_workers:1\r\n" in c("INFO", "taskslot")  # noqa: E731
    server.wait_until(waiting, "the first waits")
    copy.send(["TASK.CLAIM", "q", "BLOCK", 0, "REQUEST", "t"])
    assert first.read() == []
    server.wait_until(waiting, "the copy waits")
    c("TASK.MPUSH", "q", "TASKS", 2, "a", "b")
    tasks = copy.read()
    assert [task[1] for task in tasks] == [b"a"]
    assert c("TASK.CLAIM", "q", "REQUEST", "t") == tasks, "remembered though it was handed over"
    assert c("TASK.LEN", "q", "leased") == 1


@pytest.mark.parametrize("how", ["reload", "rdb", "aof", "aof with preamble", "dump"])
def test_tokens_survive_a_restart_or_a_dump(start, how):
    """This holds for pushes and for claims."""
    aof = {"appendonly": "yes", "aof_use_rdb_preamble": "no" if how == "aof" else "yes"}
    server = start(**(aof if how.startswith("aof") else {}))
    c = Talk(server)
    tasks = c("TASK.MPUSH", "q", "REQUEST", "p", "TASKS", 3, *"abc")
    claimed = c("TASK.CLAIM", "q", "REQUEST", "c", "COUNT", 2, "LEASE", DAY)
    match how:
        case "reload":
            assert c("DEBUG", "RELOAD") == "OK"
        case "rdb":
            server.stop(save=True)
            server.start()
        case "dump":
            dump = c("DUMP", "q")
            assert c("DEL", "q") == 1 and c("RESTORE", "q", 0, dump) == "OK"
        case _:
            server.restart(kill=True)
    c = Talk(server)
    assert c("TASK.MPUSH", "q", "REQUEST", "p", "TASKS", 3, *"abc") == tasks
    assert c("TASK.CLAIM", "q", "REQUEST", "c", "COUNT", 2) == claimed
    assert (c("TASK.LEN", "q"), c("TASK.LEN", "q", "leased")) == (3, 2)


def test_a_token_is_kept_for_five_minutes_or_as_long_as_the_lease(start):
    """The effect that is propagated has the end of that time."""
    server = start(appendonly="yes")
    c = Talk(server)
    c.push("q", "p", "REQUEST", "t")
    c.claim("q", "REQUEST", "short", "LEASE", 1000)
    c.push()
    c.claim("q", "REQUEST", "long", "LEASE", DAY)
    requests = [fields for effect in effects(server) for name, fields in effect.events if name == "req"]
    spans = [(token, until - at) for token, at, until, _ in requests]
    assert spans == [(b"t", FIVE_MINUTES), (b"short", FIVE_MINUTES), (b"long", DAY)]


def test_a_token_has_1_to_256_bytes(c):
    """The bytes can have any value."""
    error = Error("ERR REQUEST must be 1 to 256 bytes long")
    for command in (["TASK.PUSH", "q", "p"], ["TASK.MPUSH", "q", "TASKS", 1, "p"], ["TASK.CLAIM", "q"]):
        assert c(*command, "REQUEST", "") == error
        assert c(*command, "REQUEST", "t" * 257) == error
    for token in (b"\0", b"t" * 256, b"\r\n", b"\xff", b"REQUEST"):
        assert c.push("q", "p", "REQUEST", token) == c.push("q", "p", "REQUEST", token)


def test_a_queue_remembers_10_000_tokens(c):
    """It forgets the oldest first."""
    remembered = bound("engine/store/requests.rs", "REQUESTS_MAX")
    first, second = c.push("q", "p", "REQUEST", "first"), c.push("q", "p", "REQUEST", "second")
    c.many([["TASK.PUSH", "q", "p", "REQUEST", n] for n in range(remembered - 1)], at_once=5000)
    assert c.push("q", "p", "REQUEST", "second") == second
    assert c.push("q", "p", "REQUEST", "first") != first
    assert c("TASK.LEN", "q") == remembered + 2
