"""TASK.ACK ... PUSH: the next step is pushed if this one counted, in one effect."""

import pytest
from harness.queues import HOUR
from harness.server import Server, wait_synced
from harness.talk import Error, Talk, effects
from harness.waiting import Floor

OOM = Error("OOM command not allowed when used memory > 'maxmemory'.")
NOBODYS = "1-1@1-00000000"


def step(c: Talk, handle: object, *words: object) -> object:
    """Ack a task of q with the next step."""
    return c("TASK.ACK", "q", handle, *words)


def stale(c: Talk) -> bytes:
    """A stale handle of a task that another worker has."""
    handle = c.claim("q")
    assert c("TASK.REQUEUE", "q", handle) == 1
    c.claim("q")
    return handle


# ---- the reply


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_reply_has_the_id_of_the_next_task(server, protocol):
    """The task is finished, and the next one has its own options."""
    c = Talk(server, protocol)
    c.push("q", "a")
    reply = step(c, c.claim("q"), "PUSH", "b", "PRIORITY", 3, "HEADERS", 1, "k", "v")
    answer, task = reply
    assert answer == 1
    shown = c.map("TASK.GET", "q", task)
    assert (shown[b"payload"], shown[b"priority"], shown[b"state"]) == (b"b", 3, b"ready")
    info = c.map("TASK.INFO", "q")
    assert (info[b"acked"], info[b"pushed"], info[b"ready"], info[b"leased"]) == (1, 2, 1, 0)


def test_nothing_left_to_finish_pushes_nothing(c):
    """A second ACK, a handle of nobody, a queue that doesn't exist: [0, nil]."""
    c.push("q", "a")
    handle = c.claim("q")
    assert step(c, handle) == 1
    for words in ([], ["UNIQUE", "t"]):
        assert step(c, handle, "PUSH", "b", *words) == [0, None]
        assert step(c, NOBODYS, "PUSH", "b", *words) == [0, None]
    assert c("TASK.ACK", "nothing", NOBODYS, "PUSH", "b") == [0, None]
    assert c("TASK.LEN", "q") == 0 and c("EXISTS", "nothing") == 0


def test_a_stale_handle_pushes_nothing(c):
    """The error is STALE, and nothing has changed."""
    c.push("q", "a")
    handle, digest = stale(c), c.digest()
    assert str(step(c, handle, "PUSH", "b")).startswith("STALE ")
    assert c.digest() == digest


def test_the_options_before_push_are_those_of_the_ack(c):
    """RESULT and RETAIN come first. RETAIN and LEASE after PUSH are those of the next task."""
    first = c.push("q", "a")
    reply = step(c, c.claim("q"), "RETAIN", HOUR, "RESULT", "r", "push", "b", "RETAIN", 5, "LEASE", 700)
    assert c("TASK.RESULT", "q", first)[:2] == [b"done", b"r"]
    [_, _, _, meta] = c("TASK.CLAIM", "q", "WITHMETA")[0]
    meta = c.as_map(meta)
    assert reply[0] == 1 and meta[b"retain"] == 5
    assert 0 < meta[b"deadline"] - c.map("TASK.GET", "q", reply[1])[b"enqueued"] < 60_000


def test_handles_and_push_cannot_be_combined(c):
    """It would not be clear which of them the next task follows."""
    c.push("q", "a")
    handle = c.claim("q")
    reply = c("TASK.ACK", "q", "HANDLES", 1, handle, "PUSH", "b")
    assert reply == Error("ERR options HANDLES and PUSH cannot be combined")
    assert str(c("TASK.NEXT", "q", handle, "PUSH", "b")).startswith("ERR unknown option 'PUSH'")
    assert c("TASK.LEN", "q", "leased") == 1


# ---- both or neither


def refused(c: Talk, handle: bytes, beginning: str, *words: object) -> None:
    """The push is refused, so the ack doesn't count either."""
    digest, count = c.digest(), c.map("TASK.INFO", "q")[b"refused"]
    reply = step(c, handle, *words)
    assert isinstance(reply, Error) and reply.startswith(beginning), reply
    assert c.digest() == digest
    assert c.map("TASK.INFO", "q")[b"refused"] == count + 1


def test_a_refused_push_leaves_the_task_leased(c):
    """Pauses and all limits refuse it, as they refuse a push."""
    c.push("q", "a")
    c("TASK.PUSH", "q", "b", "GROUP", "g", "UNIQUE", "t")
    handle = c.claim("q")
    c("TASK.PAUSE", "q", "IN")
    refused(c, handle, "PAUSED ", "PUSH", "c")
    c("TASK.RESUME", "q", "IN")
    limits = {
        "max-len": [1, "c"],
        "max-bytes": [100, "c" * 100],
        "groups-max": [1, "c", "GROUP", "h"],
        "tokens-max": [1, "c", "UNIQUE", "u"],
    }
    for setting, (limit, *push) in limits.items():
        c("TASK.CONFIG", "q", "SET", setting, limit)
        refused(c, handle, f"QFULL the queue has reached {setting}", "PUSH", *push)
        c("TASK.CONFIG", "q", "SET", setting, 1_000_000)
    assert step(c, handle, "PUSH", "c")[0] == 1


def test_a_payload_that_is_too_long_is_refused(start):
    """As for a push."""
    c = Talk(start(module_args=("max-payload", "10")))
    c.push("q", "a")
    handle = c.claim("q")
    assert step(c, handle, "PUSH", "x" * 11) == Error("ERR a payload must be at most 10 bytes long")
    assert step(c, handle, "PUSH", "x" * 10)[0] == 1


def test_out_of_memory_refuses_what_grows(c):
    """A smaller next step is accepted, so a pipeline whose tasks get smaller goes on."""
    for payload in ("a" * 1000, "b" * 1000):
        c.push("q", payload)
    first, second = c.claim("q"), c.claim("q")
    c("CONFIG", "SET", "maxmemory", 1)
    digest = c.digest()
    assert step(c, first, "PUSH", "c" * 1000) == OOM
    assert step(c, first, "RETAIN", 5, "PUSH", "c") == OOM
    assert c.digest() == digest
    assert step(c, first, "PUSH", "c")[0] == 1
    assert step(c, second) == 1


# ---- what the finished task leaves


def test_a_full_queue_lets_a_pipeline_go_on(c):
    """At max-len and max-bytes, each step takes the place of the one before it."""
    c("TASK.CONFIG", "q", "SET", "max-len", 2)
    c.push("q", "0" * 100)
    c.push("q", "1" * 100)
    info = c.map("TASK.INFO", "q")
    c("TASK.CONFIG", "q", "SET", "max-bytes", info[b"bytes"])
    assert str(c("TASK.PUSH", "q", "x")).startswith("QFULL")
    for number in range(20):
        reply = step(c, c.claim("q"), "PUSH", f"{number:0100}")
        assert reply[0] == 1
    assert c("TASK.LEN", "q") == 2


def test_a_step_takes_over_the_token(c):
    """With UNIQUE the reply says whether the task is new."""
    c("TASK.PUSH", "q", "a", "UNIQUE", "t")
    answer, task, is_new = step(c, c.claim("q"), "PUSH", "b", "UNIQUE", "t")
    assert (answer, is_new) == (1, 1)
    assert c("TASK.PUSH", "q", "c", "UNIQUE", "t") == [task, 0]


def test_a_step_finds_another_task_with_the_token(c):
    """The ack counts, and nothing is pushed. With REPLACE the found task gets the payload."""
    other = c("TASK.PUSH", "q", "later", "UNIQUE", "t", "DELAY", HOUR)[0]
    c.push("q", "a")
    c.push("q", "b")
    assert step(c, c.claim("q"), "PUSH", "x", "UNIQUE", "t") == [1, other, 0]
    assert c.map("TASK.GET", "q", other)[b"payload"] == b"later"
    assert step(c, c.claim("q"), "PUSH", "new", "UNIQUE", "t", "REPLACE") == [1, other, 0]
    assert c.map("TASK.GET", "q", other)[b"payload"] == b"new"
    info = c.map("TASK.INFO", "q")
    assert (info[b"acked"], info[b"pushed"], info[b"found"]) == (2, 3, 2)


def test_a_token_that_is_kept_is_found(c):
    """The task that is finished holds it longer than it lives."""
    task, _ = c("TASK.PUSH", "q", "a", "UNIQUE", "t", "FOR", HOUR, "KEEP")
    assert step(c, c.claim("q"), "PUSH", "b", "UNIQUE", "t", "REPLACE") == [1, task, 0]
    assert c("TASK.LEN", "q") == 0


# ---- sent again


def test_with_request_the_same_reply_comes_again(c):
    """The second copy finds nothing to finish, and pushes nothing."""
    c.push("q", "a")
    words = [c.claim("q"), "PUSH", "b", "REQUEST", "r"]
    first = step(c, *words)
    assert first[0] == 1 and step(c, *words) == first == step(c, *words)
    info = c.map("TASK.INFO", "q")
    assert (info[b"acked"], info[b"pushed"], info[b"duplicate"]) == (1, 2, 2)
    assert step(c, *words[:3]) == [0, None]


def test_a_request_that_pushed_before_pushes_nothing_but_the_ack_counts(c):
    """The token stands for the push."""
    task = c.push("q", "b", "REQUEST", "r")
    handle = c.claim("q")
    assert step(c, handle, "PUSH", "b", "REQUEST", "r") == [1, task]
    assert c("TASK.LEN", "q") == 0


# ---- how it takes effect


def test_it_is_one_effect_on_primary_replica_and_aof(start):
    """The ack and the push are in one effect, with the payload beside it."""
    server, replica = start(port=True, appendonly="yes"), start()
    replica.replicate(server)
    c = Talk(server)
    c.push("q", "a")
    handle = c.claim("q")
    effects(server)
    step(c, handle, "RESULT", "r", "RETAIN", HOUR, "PUSH", "b", "REQUEST", "r")
    [effect] = effects(server)
    assert [event[0] for event in effect.events] == ["ack", "push", "req"]
    assert effect.payloads == [b"b"]
    wait_synced(server, replica)
    assert Talk(replica).digest() == c.digest()
    server.restart()
    assert Talk(server).digest() == Talk(replica).digest()


def test_a_waiting_worker_gets_the_next_step_at_once(floor: Floor):
    """It is served in the same step."""
    floor.boss.push("q", "a")
    handle = floor.boss.claim("q")
    worker = floor.waiting()
    step(floor.boss, handle, "PUSH", "b")
    assert worker.payloads() == [b"b"]


def test_a_late_ack_pushes_the_next_step(server: Server, c):
    """The lease has ended, but nobody else has claimed the task."""
    c.push("q", "a")
    handle = c.claim("q", "LEASE", 1)
    server.wait_until(lambda: c("TASK.LEN", "q", "leased") == 0, "the lease ends")
    assert step(c, handle, "PUSH", "b")[0] == 1
    assert c.map("TASK.INFO", "q")[b"late"] == 1
