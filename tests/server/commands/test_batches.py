"""Batches: TASK.BATCH, tasks that count in one, and the callback that is ready once all of them have ended."""

import pytest
from harness.edges import bound
from harness.server import Server, wait_synced
from harness.talk import Error, Talk, effects, event_names, payloads
from harness.waiting import Floor

DAY = 86_400_000
UNKNOWN = Error("ERR there is no batch of this name")
CLOSED = Error("ERR the batch takes no more tasks: its callback waits no more")
NEVER = Error("ERR AFTER names a task that was never pushed")
OOM = Error("OOM command not allowed when used memory > 'maxmemory'.")


def opened(c: Talk, name: object = "b", *options: object, key: str = "q") -> bytes:
    """Open a new batch, and return the id of its callback, whose payload is `callback`."""
    callback, is_new = c("TASK.BATCH", key, "OPEN", name, *options, "PAYLOAD", "callback")
    assert is_new == 1
    return callback


def batch(c: Talk, name: object = "b", key: str = "q") -> dict:
    """What is shown of a batch."""
    return c.map("TASK.BATCH", key, "INFO", name)


def counts(c: Talk, name: object = "b", key: str = "q") -> dict[str, int]:
    """How many tasks of a batch are open, and how many ended how, without those that are 0."""
    names = ("open", "done", "dead", "cancelled", "expired", "purged")
    shown = batch(c, name, key)
    return {name: shown[name.encode()] for name in names if shown[name.encode()]}


def state(c: Talk, task: bytes, key: str = "q") -> bytes:
    """The state of a task."""
    return c.map("TASK.GET", key, task)[b"state"]


# ---- the life of a batch


def test_a_batch_whose_callback_was_retried_before_its_close_takes_no_tasks_and_is_complete(c):
    """Its callback waits for nothing any more. The batch does not count as open, whether it is closed or not."""
    callback = opened(c)
    assert c("TASK.RETRY", "q", callback) == 1
    assert c("TASK.PUSH", "q", "p", "BATCH", "b") == CLOSED
    info = c.map("TASK.INFO", "q")
    assert (info[b"batches-open"], info[b"batches-closed"]) == (0, 1)
    assert batch(c)[b"state"] == b"complete"
    assert c("TASK.BATCH", "q", "CLOSE", "b") == 1
    info = c.map("TASK.INFO", "q")
    assert (info[b"batches-open"], info[b"batches-closed"]) == (0, 1)


def test_only_pushes_into_a_queue_that_is_full_or_paused_count_as_refused(c):
    """A batch that is not known, and a wait that is not possible, are mistakes of the caller."""
    opened(c)
    held = c("TASK.PUSH", "q", "p", "AFTER", 1, c.push("q"))
    for words in (["BATCH", "x"], ["AFTER", 1, "9999999999999-1"], ["BATCH", "b", "AFTER", 1, held]):
        assert isinstance(c("TASK.PUSH", "q", "p", *words), Error)
        assert isinstance(c("TASK.MPUSH", "q", *words, "TASKS", 1, "p"), Error)
    assert c("TASK.BATCH", "q", "OPEN", "c", "BATCH", "x", "PAYLOAD", "p") == UNKNOWN
    assert c.map("TASK.INFO", "q")[b"refused"] == 0
    c("TASK.PAUSE", "q", "IN")
    for words in (["TASK.PUSH", "q", "p"], ["TASK.BATCH", "q", "OPEN", "d", "PAYLOAD", "p"]):
        assert c(*words).startswith("PAUSED")
    assert c.map("TASK.INFO", "q")[b"refused"] == 2


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_callback_is_ready_once_all_tasks_of_the_closed_batch_have_ended(protocol, c):
    """Its worker learns how many ended how. With the end of the callback the batch is forgotten."""
    callback = opened(c, "b", "GROUP", "callbacks")
    assert state(c, callback) == b"held" and batch(c)[b"state"] == b"open"
    tasks = [c.push("q", n, "BATCH", "b") for n in range(3)]
    assert c.map("TASK.GET", "q", tasks[0])[b"batch"] == b"b"
    handles = [c.claim() for _ in tasks]
    assert c("TASK.ACK", "q", handles[0]) == 1 and c("TASK.FAIL", "q", handles[1], "DEAD") == -1
    assert c("TASK.BATCH", "q", "CLOSE", "b") == 1
    shown = batch(c)
    assert (shown[b"name"], shown[b"state"], shown[b"callback"]) == (b"b", b"closed", callback)
    assert (shown[b"tasks"], shown[b"opened"] <= shown[b"closed"]) == (3, True)
    assert counts(c) == {"open": 1, "done": 1, "dead": 1}
    assert c("TASK.CLAIM", "q") == []
    assert c("TASK.ACK", "q", handles[2]) == 1
    assert state(c, callback) == b"ready" and batch(c)[b"state"] == b"complete"
    [[handle, payload, deliveries, meta]] = c("TASK.CLAIM", "q", "WITHMETA")
    meta = c.as_map(meta)
    assert (payload, deliveries, meta[b"group"], meta[b"callback-of"]) == (b"callback", 1, b"callbacks", b"b")
    ended = {
        name: meta[b"batch-" + name]
        for name in (b"tasks", b"done", b"dead", b"cancelled", b"expired", b"purged")
    }
    assert ended == {b"tasks": 3, b"done": 2, b"dead": 1, b"cancelled": 0, b"expired": 0, b"purged": 0}
    assert b"batch" not in meta and b"after" not in meta
    assert c("TASK.ACK", "q", handle) == 1
    assert c("TASK.BATCH", "q", "INFO", "b") is None and c("TASK.PUSH", "q", "p", "BATCH", "b") == UNKNOWN


def test_a_task_outside_any_batch_shows_nothing_of_batches(c):
    """WITHMETA, GET and INFO of a queue without batches."""
    c.push()
    [[_, _, _, meta]] = c("TASK.CLAIM", "q", "WITHMETA")
    assert not [name for name in c.as_map(meta) if b"batch" in name or name == b"after"]
    assert c("TASK.INFO", "q", "BATCHES") == [b"known", 0, b"batches", []]


def test_open_and_close_can_be_sent_again(c):
    """They change nothing, whatever the options are."""
    callback = opened(c)
    digest = c.digest()
    assert c("TASK.BATCH", "q", "open", "b", "DELAY", 5, "payload", "other") == [callback, 0]
    assert c.digest() == digest
    c.push("q", "p", "BATCH", "b")
    assert [c("TASK.BATCH", "q", "close", "b") for _ in range(2)] == [1, 0]
    assert c("TASK.BATCH", "q", "OPEN", "b", "PAYLOAD", "other") == [callback, 0]
    assert batch(c)[b"state"] == b"closed"


def test_a_batch_without_tasks_is_complete_when_it_is_closed(c):
    """The same holds if all of its tasks ended before. While it is open, its callback is held."""
    empty, ended = opened(c, "empty"), opened(c, "ended")
    c.push("q", "p", "BATCH", "ended")
    c("TASK.ACK", "q", c.claim())
    assert state(c, ended) == b"held" and batch(c, "ended")[b"state"] == b"open"
    for name, callback in (("empty", empty), ("ended", ended)):
        assert c("TASK.BATCH", "q", "CLOSE", name) == 1 and state(c, callback) == b"ready"


def acked(c, task):
    """A worker finishes it."""
    assert c("TASK.ACK", "q", c.claim()) == 1


def taken(c, task):
    """It is delivered at most once."""
    assert payloads(c("TASK.CLAIM", "q", "NOACK")) == [b"p"]


def finished_by_next(c, task):
    """A worker finishes it, and asks for the next."""
    assert c("TASK.NEXT", "q", c.claim(), "GROUP", "none")[0] == 1


def dead(c, task):
    """A worker gives it up."""
    assert c("TASK.FAIL", "q", c.claim(), "DEAD") == -1


def cancelled(c, task):
    """It is cancelled while it waits."""
    assert c("TASK.CANCEL", "q", task) == 1


def cancelled_at_work(c, task):
    """It is cancelled while it is leased, and its worker gives it back."""
    handle = c.claim()
    assert c("TASK.CANCEL", "q", task) == 2 and c("TASK.REQUEUE", "q", handle) == 0


def purged(c, task):
    """All ready tasks are purged."""
    assert c("TASK.PUSH", "q", "other", "DELAY", DAY) and c("TASK.PURGE", "q", "ready") == 1


ENDS = {
    acked: "done",
    taken: "done",
    finished_by_next: "done",
    dead: "dead",
    cancelled: "cancelled",
    cancelled_at_work: "cancelled",
    purged: "purged",
}


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_a_batch_is_complete_whatever_the_end_of_its_last_task(end, c):
    """The callback is ready in the same step, and the end is counted."""
    callback, task = opened(c), c.push("q", "p", "BATCH", "b")
    assert c("TASK.BATCH", "q", "CLOSE", "b") == 1
    end(c, task)
    assert state(c, callback) == b"ready" and counts(c) == {ENDS[end]: 1}


@pytest.mark.parametrize("end", ["expired", "dead"])
def test_a_batch_is_complete_if_a_timer_ends_its_last_task(end, floor):
    """The task expires, or dies of a stall. No command is needed, and a worker that waits gets the callback."""
    c = floor.boss
    c("TASK.CONFIG", "q", "SET", "stalls", 1)
    opened(c)
    c.push("q", "p", "BATCH", "b", *(["TTL", 30] if end == "expired" else ["LEASE", 30]))
    c("TASK.BATCH", "q", "CLOSE", "b")
    if end == "dead":
        c.claim()
        worker = floor.waiting()
    else:
        c("TASK.PAUSE", "q", "OUT")
        worker = floor.waiting()
        floor.eventually(lambda: counts(c) == {end: 1}, "the task has expired")
        c("TASK.RESUME", "q")
    assert worker.payloads() == [b"callback"] and counts(c) == {end: 1}


def test_a_tied_lease_that_ends_with_its_connection_ends_the_last_task(floor):
    """The task dies of it, and a worker that waits gets the callback."""
    c = floor.boss
    c("TASK.CONFIG", "q", "SET", "stalls", 1)
    opened(c)
    c.push("q", "p", "BATCH", "b")
    c("TASK.BATCH", "q", "CLOSE", "b")
    tied = floor.worker()
    tied.claim("q", "TIED")
    worker = floor.waiting()
    tied.leave()
    assert worker.payloads() == [b"callback"] and counts(c) == {"dead": 1}


def test_a_dead_task_that_is_retried_changes_the_counts_and_never_the_callback(c):
    """The callback is delivered once."""
    opened(c)
    task = c.push("q", "p", "BATCH", "b")
    c("TASK.BATCH", "q", "CLOSE", "b")
    dead(c, task)
    handle = c.claim()
    assert c("TASK.RETRY", "q", task) == 1 and counts(c) == {"open": 1}
    acked(c, task)
    assert counts(c) == {"done": 1} and batch(c)[b"state"] == b"complete"
    assert c("TASK.CLAIM", "q") == [] and c("TASK.ACK", "q", handle) == 1


def test_a_dead_task_that_is_retried_before_the_batch_is_complete_is_waited_for(c):
    """While the batch is open, or another task of it is."""
    callback, task = opened(c), c.push("q", "p", "BATCH", "b")
    dead(c, task)
    c("TASK.RETRY", "q", task)
    c("TASK.BATCH", "q", "CLOSE", "b")
    assert state(c, callback) == b"held"
    acked(c, task)
    assert state(c, callback) == b"ready" and counts(c) == {"done": 1}


# ---- what a batch accepts


def test_a_batch_takes_tasks_until_it_is_complete(c):
    """After CLOSE the tasks of the batch can push into it before they answer."""
    callback = opened(c)
    assert c("TASK.PUSH", "q", "p", "BATCH", "other") == UNKNOWN
    assert len(c("TASK.MPUSH", "q", "BATCH", "b", "TASKS", 2, "x", "y")) == 2
    c("TASK.BATCH", "q", "CLOSE", "b")
    first, second = c.claim(), c.claim()
    c.push("q", "z", "BATCH", "b")
    assert c("TASK.ACK", "q", "HANDLES", 2, first, second) == [1, 1] and state(c, callback) == b"held"
    acked(c, None)
    assert state(c, callback) == b"ready"
    digest = c.digest()
    for command in (
        ["TASK.PUSH", "q", "p", "BATCH", "b"],
        ["TASK.MPUSH", "q", "BATCH", "b", "TASKS", 1, "p"],
    ):
        assert c(*command) == CLOSED
    assert c("TASK.BATCH", "q", "OPEN", "inner", "BATCH", "b", "PAYLOAD", "p") == CLOSED
    assert c.digest() == digest and c.map("TASK.INFO", "q")[b"refused"] == 0


def test_the_last_task_of_a_closed_batch_can_push_the_next_with_its_ack(c):
    """The batch is not complete in between. A push that is refused leaves the task as it was."""
    callback = opened(c)
    c.push("q", "first", "BATCH", "b")
    c("TASK.BATCH", "q", "CLOSE", "b")
    handle = c.claim()
    assert c("TASK.ACK", "q", handle, "PUSH", "p", "BATCH", "other") == UNKNOWN
    assert c("TASK.ACK", "q", handle, "PUSH", "next", "BATCH", "b")[0] == 1
    assert (counts(c), state(c, callback)) == ({"open": 1, "done": 1}, b"held")
    handle = c.claim()
    assert c("TASK.ACK", "q", handle, "PUSH", "p", "AFTER", 1, "9999999999999-1") == NEVER
    second = c.push("q", "second", "BATCH", "b", "DELAY", DAY)
    assert c("TASK.ACK", "q", handle, "PUSH", "last", "AFTER", 1, second, "BATCH", "b")[0] == 1
    assert counts(c) == {"open": 2, "done": 2}
    c("TASK.CANCEL", "q", second)
    assert c("TASK.PURGE", "q", "held", "COUNT", 1) == 1, "the callback was pushed first"


def test_a_callback_can_count_in_another_batch(c):
    """The outer batch is complete when the inner callback has ended."""
    outer, inner = opened(c, "outer"), opened(c, "inner", "BATCH", "outer")
    c.push("q", "p", "BATCH", "inner")
    for name in ("outer", "inner"):
        assert c("TASK.BATCH", "q", "CLOSE", name) == 1
    acked(c, None)
    assert (state(c, inner), state(c, outer)) == (b"ready", b"held")
    shown = c.map("TASK.GET", "q", inner)
    assert (shown[b"batch"], shown[b"callback-of"], shown[b"batch-state"]) == (
        b"outer",
        b"inner",
        b"complete",
    )
    assert (shown[b"batch-tasks"], shown[b"batch-open"], shown[b"batch-done"]) == (1, 0, 1)
    acked(c, None)
    assert state(c, outer) == b"ready" and counts(c, "outer") == {"done": 1}


def test_a_push_that_finds_its_token_or_its_request_does_not_count_twice(c):
    """A task counts in the batch that it was pushed into, and in no other."""
    opened(c, "a")
    opened(c, "b")
    task, new = c("TASK.PUSH", "q", "p", "UNIQUE", "t", "BATCH", "a")
    assert new == 1 and c("TASK.PUSH", "q", "p", "UNIQUE", "t", "BATCH", "b") == [task, 0]
    assert len({c("TASK.PUSH", "q", "p", "REQUEST", "r", "BATCH", "b") for _ in range(2)}) == 1
    assert counts(c, "a") == counts(c, "b") == {"open": 1}


# ---- the callback


def test_the_delay_of_a_callback_begins_when_its_batch_is_complete(server, c):
    """AT is an instant, as of any task."""
    later, at = opened(c, "later", "DELAY", DAY), opened(c, "at", "AT", 9 * 10**12)
    past = opened(c, "past", "AT", 10**12)
    for name in ("later", "at", "past"):
        c("TASK.BATCH", "q", "CLOSE", name)
    shown = c.map("TASK.GET", "q", later)
    assert shown[b"state"] == b"delayed" and shown[b"due"] >= batch(c, "later")[b"closed"] + DAY
    assert c.map("TASK.GET", "q", at)[b"due"] // 1000 == 9 * 10**9
    assert state(c, past) == b"ready"
    soon = opened(c, "soon", "DELAY", 20)
    c("TASK.BATCH", "q", "CLOSE", "soon")
    server.wait_until(lambda: state(c, soon) == b"ready", "the delay is over")


def test_a_callback_has_the_options_of_a_push(c):
    """They apply to it when it is ready: its time to live begins then."""
    callback = opened(
        c, "b", "PRIORITY", 7, "ATTEMPTS", 2, "LEASE", 500, "TTL", DAY, "RETAIN", DAY, "HEADERS", 1, "n", "v"
    )
    shown = c.map("TASK.GET", "q", callback)
    assert (shown[b"priority"], shown[b"attempts"], shown[b"lease-ms"]) == (7, 2, 500)
    assert b"expires" not in shown and c.as_map(shown[b"headers"]) == {b"n": b"v"}
    c("TASK.BATCH", "q", "CLOSE", "b")
    assert c.map("TASK.GET", "q", callback)[b"expires"] >= batch(c)[b"closed"] + DAY
    handle = c.claim()
    assert c("TASK.FAIL", "q", handle, "DELAY", 1) == 1 and batch(c)[b"state"] == b"complete"
    c("TASK.RETRY", "q", callback)
    assert c("TASK.ACK", "q", c.claim(), "RESULT", "r") == 1 and c("TASK.RESULT", "q", callback) == [
        b"done",
        b"r",
    ]
    assert batch(c)[b"state"] == b"complete", "a done callback that is kept keeps its batch"
    assert c("TASK.PURGE", "q", "done") == 1 and c("TASK.BATCH", "q", "INFO", "b") is None


def test_del_removes_a_batch_with_its_callback(c):
    """Its tasks live on and count nowhere. The name is free again."""
    callback, task = opened(c), c.push("q", "p", "BATCH", "b")
    assert c("TASK.BATCH", "q", "DEL", "b") == 1 and c("TASK.BATCH", "q", "DEL", "b") == 0
    assert c("TASK.GET", "q", callback) is None and c("TASK.BATCH", "q", "CLOSE", "b") == UNKNOWN
    assert b"batch" not in c.map("TASK.GET", "q", task)
    again = opened(c)
    acked(c, task)
    assert counts(c) == {} and state(c, again) == b"held"


def test_del_asks_the_worker_of_a_callback_to_stop(c):
    """The batch is removed when its callback ends."""
    opened(c)
    c("TASK.BATCH", "q", "CLOSE", "b")
    handle = c.claim()
    assert [c("TASK.BATCH", "q", "DEL", "b") for _ in range(2)] == [2, 2]
    assert str(c("TASK.EXTEND", "q", handle)).startswith("CANCELLED")
    assert c("TASK.REQUEUE", "q", handle) == 0 and c("TASK.BATCH", "q", "INFO", "b") is None


@pytest.mark.parametrize("how", ["CANCEL", "PURGE", "PURGE ALL", "RETRY"])
def test_a_callback_can_be_cancelled_purged_and_retried_as_any_held_task(how, c):
    """A retried callback is ready, and its batch takes no more tasks."""
    callback, task = opened(c), c.push("q", "p", "BATCH", "b", "DELAY", DAY)
    words = {
        "CANCEL": ["CANCEL", "q", callback],
        "PURGE": ["PURGE", "q", "held"],
        "PURGE ALL": ["PURGE", "q", "ALL"],
    }
    words = words.get(how, ["RETRY", "q", callback])
    assert c(f"TASK.{words[0]}", *words[1:]) == (2 if how == "PURGE ALL" else 1)
    if how == "RETRY":
        assert state(c, callback) == b"ready" and c("TASK.PUSH", "q", "p", "BATCH", "b") == CLOSED
        assert c("TASK.BATCH", "q", "CLOSE", "b") == 1
        c("TASK.CANCEL", "q", task)
        assert payloads(c("TASK.CLAIM", "q", "COUNT", 9)) == [b"callback"], "once"
    else:
        assert c("TASK.BATCH", "q", "INFO", "b") is None
        assert (c("TASK.GET", "q", task) is None) == (how == "PURGE ALL")


# ---- what is shown, and what is bounded


def test_info_lists_the_batches_by_name(c):
    """A thousand at a time, continued after a name. INFO counts the open and the closed ones."""
    c.many([["TASK.BATCH", "q", "OPEN", f"{n:04}", "PAYLOAD", ""] for n in range(1005)])
    c.push("q", "p", "BATCH", "0003")
    c("TASK.BATCH", "q", "CLOSE", "0003")
    info = c.map("TASK.INFO", "q")
    assert (info[b"held"], info[b"batches-open"], info[b"batches-closed"]) == (1005, 1004, 1)
    first = c.map("TASK.INFO", "q", "BATCHES")
    shown = bound("module/commands/info/batches.rs", "SHOWN")
    assert first[b"known"] == 1005 and len(first[b"batches"]) == shown
    assert c.as_map(first[b"batches"][3]) == batch(c, "0003")
    rest = c.map("TASK.INFO", "q", "BATCHES", "AFTER", "0999")[b"batches"]
    names = [b"%04d" % n for n in range(1000, 1005)]
    assert [c.as_map(one)[b"name"] for one in rest] == names[:shown]


def test_held_tasks_count_towards_the_limit_of_the_queue(c):
    """OPEN is a push: a full or a paused queue refuses it, and a callback that is held is never refused later."""
    c("TASK.CONFIG", "q", "SET", "max-len", 2)
    callback = opened(c)
    c.push("q", "p", "BATCH", "b")
    assert (c("TASK.LEN", "q"), c("TASK.LEN", "q", "held")) == (2, 1)
    assert c("TASK.BATCH", "q", "OPEN", "c", "PAYLOAD", "") == Error("QFULL the queue has reached max-len")
    assert c("TASK.BATCH", "q", "OPEN", "b", "PAYLOAD", "") == [callback, 0], "it exists"
    c("TASK.CONFIG", "q", "SET", "max-len", 1)
    c("TASK.PAUSE", "q", "IN")
    assert c("TASK.BATCH", "q", "OPEN", "c", "PAYLOAD", "") == Error("PAUSED the queue accepts no pushes")
    assert c("TASK.BATCH", "q", "CLOSE", "b") == 1
    acked(c, None)
    assert state(c, callback) == b"ready" and c.map("TASK.INFO", "q")[b"refused"] == 2


def test_a_full_server_opens_no_batch_and_completes_those_it_has(c):
    """CLOSE, INFO and DEL work, and so does an OPEN of a batch that exists."""
    callback = opened(c)
    c.push("q", "p", "BATCH", "b")
    c("CONFIG", "SET", "maxmemory", 1)
    for key in ("q", "new"):
        assert c("TASK.BATCH", key, "OPEN", "c", "PAYLOAD", "") == OOM
    assert c("EXISTS", "new") == 0
    assert c("TASK.BATCH", "q", "OPEN", "b", "PAYLOAD", "") == [callback, 0]
    assert c("TASK.BATCH", "q", "CLOSE", "b") == 1
    acked(c, None)
    assert state(c, callback) == b"ready" and c("TASK.BATCH", "q", "DEL", "b") == 1


def test_the_payload_of_a_callback_is_bounded(start):
    """As that of any task, by `max-payload`."""
    c = Talk(start(module_args=("max-payload", 10)))
    assert c("TASK.BATCH", "q", "OPEN", "b", "PAYLOAD", "x" * 11) == Error(
        "ERR a payload must be at most 10 bytes long"
    )
    assert c("EXISTS", "q") == 0


# ---- waiting, effects


def test_a_waiting_worker_gets_the_callback_in_the_step_that_completes_the_batch(start):
    """One effect has the ack, the end of the wait and the lease."""
    server = start(appendonly="yes")
    floor, c = Floor(server), Talk(server)
    opened(c)
    c.push("q", "p", "BATCH", "b")
    c("TASK.BATCH", "q", "CLOSE", "b")
    assert [name for effect in effects(server) for name in effect.names] == ["open", "push", "close"]
    handle = c.claim()
    worker = floor.waiting("q", "WITHMETA")
    event_names(server)
    assert c("TASK.ACK", "q", handle) == 1
    [[_, payload, _, meta]] = worker.read()
    assert (payload, c.as_map(meta)[b"batch-done"]) == (b"callback", 1)
    [effect] = effects(server)
    assert effect.names == ["ack", "told", "claim"]


def test_next_gets_the_callback_that_its_own_ack_completes(c):
    """One round trip for the last task and the callback."""
    opened(c)
    c.push("q", "p", "BATCH", "b")
    c("TASK.BATCH", "q", "CLOSE", "b")
    answer, [[_, payload, _]] = c("TASK.NEXT", "q", c.claim())
    assert (answer, payload) == (1, b"callback")


def test_a_transaction_or_a_script_completes_a_batch(floor):
    """A worker that waits gets the callback once it has ended."""
    c = floor.boss
    workers = floor.line(2)
    c("MULTI")
    c("TASK.BATCH", "q", "OPEN", "b", "PAYLOAD", "callback")
    c("TASK.BATCH", "q", "CLOSE", "b")
    assert c("EXEC")[1] == 1
    script = """
    redis.call('TASK.BATCH', KEYS[1], 'OPEN', 'c', 'PAYLOAD', 'two')
    return redis.call('TASK.BATCH', KEYS[1], 'CLOSE', 'c')
    """
    assert c("EVAL", script, 1, "q") == 1
    assert floor.all_got(workers) == [[b"callback"], [b"two"]]


# ---- copies and restarts in the middle of a batch


def begun(c: Talk, key: str = "q") -> bytes:
    """A closed batch with a dead task, a done one and one that is leased, whose handle is returned."""
    opened(c, key=key)
    c("TASK.MPUSH", key, "LEASE", DAY, "BATCH", "b", "TASKS", 3, "a", "b", "c")
    first, second, third = (c.claim(key) for _ in range(3))
    assert c("TASK.ACK", key, first) == 1 and c("TASK.FAIL", key, second, "DEAD") == -1
    assert c("TASK.BATCH", key, "CLOSE", "b") == 1
    return third


def completes(c: Talk, handle: bytes, key: str = "q") -> None:
    """Ack the last task of a batch that was begun, and get its callback, once and with the right counts."""
    assert counts(c, key=key) == {"open": 1, "done": 1, "dead": 1}
    assert c("TASK.ACK", key, handle) == 1
    [[callback, payload, _, meta]] = c("TASK.CLAIM", key, "COUNT", 9, "WITHMETA")
    meta = c.as_map(meta)
    assert (payload, meta[b"batch-tasks"]) == (b"callback", 3)
    assert (meta[b"batch-done"], meta[b"batch-dead"]) == (2, 1)
    assert c("TASK.ACK", key, callback) == 1 and c("TASK.CLAIM", key) == []


WAYS = {
    "RDB": {"save": "900 1"},
    "AOF": {"appendonly": "yes", "aof_use_rdb_preamble": "no"},
    "AOF after kill -9": {"appendonly": "yes", "appendfsync": "always"},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_goes_on_after_a_restart(start, way):
    """The callback runs once, with the right counts."""
    server: Server = start(**WAYS[way])
    handle = begun(Talk(server))
    digest = Talk(server).digest()
    if way == "RDB":
        server.stop(save=True)
    server.restart(kill="kill" in way) if server.alive() else server.restart()
    c = Talk(server)
    assert c.digest() == digest
    completes(c, handle)


@pytest.mark.parametrize("told", [False, True], ids=["before the end", "after the end"])
def test_a_batch_goes_on_after_a_promotion(start, told):
    """The replica has the same batch. Once promoted, it tells the callback, if the old primary has not."""
    primary, replica = start(port=True), start()
    replica.replicate(primary)
    p, r = Talk(primary), Talk(replica)
    handle = begun(p)
    if told:
        assert p("TASK.ACK", "q", handle) == 1
    wait_synced(primary, replica)
    assert p.digest() == r.digest() and batch(p) == {**batch_of_replica(r), b"name": b"b"}
    primary.kill9()
    assert r("REPLICAOF", "NO", "ONE") == "OK"
    if told:
        assert payloads(r("TASK.CLAIM", "q", "COUNT", 9)) == [b"callback"]
    else:
        completes(r, handle)


def batch_of_replica(r: Talk) -> dict:
    """What a replica shows of the batch. It refuses the command TASK.BATCH, which can write."""
    assert str(r("TASK.BATCH", "q", "INFO", "b")).startswith("READONLY")
    [shown] = r.map("TASK.INFO", "q", "BATCHES")[b"batches"]
    return r.as_map(shown)


def test_a_restored_batch_goes_on_and_a_copied_one_has_no_leases(c):
    """DUMP and RESTORE keep leases. In a copy the leased task is ready again, and its batch waits for it."""
    handle = begun(c)
    assert c("RESTORE", "restored", 0, c("DUMP", "q")) == "OK" and c("COPY", "q", "copied") == 1
    completes(c, handle, "restored")
    assert counts(c, key="copied") == {"open": 1, "done": 1, "dead": 1}
    completes(c, c.claim("copied"), "copied")
    completes(c, handle)


# ---- large batches


@pytest.mark.parametrize("how", ["purged", "acked"])
def test_a_batch_of_a_hundred_thousand_tasks_is_completed_in_bounded_steps(server, how):
    """Other clients are answered meanwhile. The callback is ready after the last task, and once."""
    c, other = Talk(server), Talk(server)
    callback = opened(c)
    for _ in range(100):
        c("TASK.MPUSH", "q", "BATCH", "b", "TASKS", 1000, *["p"] * 1000)
    c("TASK.BATCH", "q", "CLOSE", "b")
    for left in range(99, -1, -1):
        assert state(c, callback) == b"held" and other("PING") == "PONG"
        if how == "purged":
            assert c("TASK.PURGE", "q", "ready") == 1000
        else:
            assert len(c("TASK.CLAIM", "q", "COUNT", 1000, "NOACK")) == 1000
        assert batch(c)[b"open"] == left * 1000
    assert counts(c) == {"purged" if how == "purged" else "done": 100_000}
    assert payloads(c("TASK.CLAIM", "q", "COUNT", 9)) == [b"callback"]
