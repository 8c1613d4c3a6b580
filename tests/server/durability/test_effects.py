"""What each command propagates to replicas and the AOF: one effect with absolute values, or nothing if no change."""

import pytest
from harness.talk import Effect, Talk, effects, id_parts, parts

DAY = 86_400_000
# Priority, attempts, lease, headers, group, and three that these tests leave out.
DEFAULT_OPTIONS = [0, None, None, b"", b"", None, None, None]


class Recorder:
    """A server whose effects are read after each command."""

    def __init__(self, start):
        self.server = start(appendonly="yes")
        self.c = Talk(self.server)

    def effects_of(self, *words: object) -> tuple[object, list[Effect]]:
        """Run a command and return its reply and its effects."""
        effects(self.server)
        reply = self.c(*words)
        return reply, effects(self.server)

    def one(self, *words: object) -> tuple[object, Effect]:
        """Run a command with exactly one effect, on q, and return its reply and the effect."""
        reply, found = self.effects_of(*words)
        [effect] = found
        assert effect.key == b"q"
        return reply, effect

    def event(self, *words: object) -> tuple[object, list]:
        """Run a command with one event and no payloads, and return its reply and the event's fields."""
        reply, effect = self.one(*words)
        [(_, fields)] = effect.events
        assert effect.payloads == []
        return reply, fields

    def until(self, count: int) -> list[Effect]:
        """Wait for that many effects, including those of the timer."""
        seen: list[Effect] = []
        enough = lambda: seen.extend(effects(self.server)) or len(seen) >= count  # noqa: E731
        self.server.wait_until(enough, f"{count} effects are propagated")
        assert len(seen) == count
        return seen

    def claim(self, *options: object) -> bytes:
        """Claim a task and return its handle."""
        return self.c.claim("q", *options)


@pytest.fixture
def recorder(start):
    """A server whose effects are read."""
    return Recorder(start)


def test_a_push_has_id_and_options_and_the_payload_as_an_argument(recorder):
    """The payload is an argument of the propagated command, not a part of the effect."""
    payload = b"a payload that is easily found \0\r\n"
    task, effect = recorder.one("TASK.PUSH", "q", payload)
    assert effect.events == [("push", [id_parts(task), 1, None, DEFAULT_OPTIONS])]
    assert effect.payloads == [payload]
    options = ["PRIORITY", -3, "ATTEMPTS", 4, "LEASE", 5, "HEADERS", 1, "h", "v"]
    task, effect = recorder.one("TASK.PUSH", "q", payload, *options)
    assert effect.events == [
        ("push", [id_parts(task), 1, None, [-3, 4, 5, b"\x01\x01h\x01v", b"", None, None, None]])
    ]
    task, effect = recorder.one("TASK.PUSH", "q", payload, "GROUP", "g")
    assert effect.events == [
        ("push", [id_parts(task), 1, None, [*DEFAULT_OPTIONS[:4], b"g", *DEFAULT_OPTIONS[5:]]])
    ]
    _, effect = recorder.one("TASK.PUSH", "q", payload)
    recorder.server.propagated()
    recorder.c("TASK.PUSH", "q", payload)
    [command] = [words for words in recorder.server.propagated() if words[0] == b"TASK._APPLY"]
    assert b"payload" not in command[2] and command[3] == payload


def test_a_delay_is_propagated_as_an_instant(recorder):
    """DELAY is an instant of the module's clock, AT an instant of the wall clock."""
    task, effect = recorder.one("TASK.PUSH", "q", "p", "DELAY", DAY)
    assert effect.events == [("push", [id_parts(task), 1, {"c": id_parts(task)[0] + DAY}, DEFAULT_OPTIONS])]
    task, effect = recorder.one("TASK.PUSH", "q", "p", "AT", 9 * 10**12)
    assert effect.events == [("push", [id_parts(task), 1, {"w": 9 * 10**12}, DEFAULT_OPTIONS])]


def test_an_mpush_is_one_event_with_all_payloads(recorder):
    """The event has the first id and the number of tasks."""
    tasks, effect = recorder.one("TASK.MPUSH", "q", "TASKS", 3, "a", "", "c")
    assert effect.events == [("push", [id_parts(tasks[0]), 3, None, DEFAULT_OPTIONS])]
    assert effect.payloads == [b"a", b"", b"c"]


def test_a_claim_has_lease_numbers_nonces_and_deadlines(recorder):
    """The numbers and nonces are those of the handles in the reply."""
    recorder.c("TASK.MPUSH", "q", "TASKS", 3, *"abc")
    [[handle, *_]], effect = recorder.one("TASK.CLAIM", "q", "WORKER", "w", "LEASE", 5000, "TIED")
    assert effect.names == ["claim"] and effect.payloads == []
    at, worker, tied, leases = effect.events[0][1]
    task, number, nonce = parts(handle)
    assert (worker, tied) == (b"w", True)
    assert leases == [[task, number, nonce, 5000, at + 5000]]
    tasks, fields = recorder.event("TASK.CLAIM", "q", "COUNT", 2)
    at, worker, tied, leases = fields
    assert (worker, tied) == (b"", False)
    assert leases == [[*parts(handle), 30_000, at + 30_000] for handle, _, _ in tasks]


def test_a_request_token_is_propagated_with_its_reply(recorder):
    """It is in the effect of the push or the claim. A request sent again propagates nothing."""
    task, effect = recorder.one("TASK.PUSH", "q", "p", "REQUEST", "t")
    assert effect.names == ["push", "req"]
    token, at, until, reply = effect.events[1][1]
    assert (token, until, reply) == (b"t", at + 300_000, {"p": [id_parts(task), 1]})
    assert recorder.effects_of("TASK.PUSH", "q", "p", "REQUEST", "t") == (task, [])
    tasks, effect = recorder.one("TASK.CLAIM", "q", "REQUEST", "c")
    assert effect.names == ["claim", "req"]
    assert effect.events[1][1][3] == {"c": [[list(parts(tasks[0][0]))]]}
    assert recorder.effects_of("TASK.CLAIM", "q", "REQUEST", "c") == (tasks, [])


def test_noack_has_the_ids_of_the_tasks_and_the_time(recorder):
    """There is no lease. The time is needed because the claim counts against the rate."""
    tasks = recorder.c("TASK.MPUSH", "q", "TASKS", 2, "a", "b")
    recorder.c("TASK.CLAIM", "q", "COUNT", 0)
    _, effect = recorder.one("TASK.CLAIM", "q", "NOACK", "COUNT", 5)
    assert effect.names == ["take"]
    name, [taken, at] = effect.events[0]
    assert (name, taken) == ("take", [id_parts(task) for task in tasks])
    assert at >= id_parts(tasks[1])[0]


def test_ack_extend_requeue_fail_and_cancel_have_the_new_state_of_the_task(recorder):
    """Each has the task's id and absolute times."""
    recorder.c("TASK.MPUSH", "q", "TASKS", 6, *"abcdef")
    a, b, d, e, f, g = (recorder.claim() for _ in range(6))
    assert recorder.event("TASK.ACK", "q", a) == (1, [parts(a)[0], False])
    deadline, fields = recorder.event("TASK.EXTEND", "q", b, "LEASE", DAY)
    assert fields == [parts(b)[0], deadline]
    _, [task, then, back] = recorder.event("TASK.REQUEUE", "q", b, "BACK")
    assert (task, list(then), back) == (parts(b)[0], ["r"], True)
    _, [task, then, back] = recorder.event("TASK.REQUEUE", "q", d, "DELAY", DAY)
    due = recorder.c.map("TASK.GET", "q", d)[b"due"]
    assert (task, then, back) == (parts(d)[0], {"d": {"c": due}}, False)
    _, [task, then, error, at] = recorder.event("TASK.FAIL", "q", e, "ERROR", b"oh\0", "DELAY", DAY)
    due = recorder.c.map("TASK.GET", "q", e)[b"due"]
    assert (task, then, error, at) == (parts(e)[0], {"d": {"c": due}}, b"oh\0", due - DAY)
    _, [task, then, error, at, progress] = recorder.event("TASK.FAIL", "q", f, "DEAD", "PROGRESS", "p")
    since = recorder.c.map("TASK.GET", "q", f)[b"dead-since"]
    assert (task, then, error, at, progress) == (parts(f)[0], {"x": since}, b"", since, b"p")
    assert recorder.event("TASK.CANCEL", "q", g.split(b"@")[0]) == (2, [parts(g)[0]])
    assert recorder.one("TASK.FAIL", "q", g)[1].events == [("cancel", [parts(g)[0]])]


def test_many_handles_are_one_effect(recorder):
    """It has an event for each handle that changed something, in order."""
    recorder.c("TASK.MPUSH", "q", "TASKS", 4, *"abcd")
    a, b, d, e = (recorder.claim() for _ in range(4))
    recorder.c("TASK.ACK", "q", b)
    reply, effect = recorder.one("TASK.ACK", "q", "HANDLES", 4, e, b, a, a)
    assert reply == [1, 0, 1, 0]
    assert effect.events == [("ack", [parts(e)[0], False]), ("ack", [parts(a)[0], False])]


def test_cancel_retry_purge_config_pause_and_resume_have_their_changes(recorder):
    """Settings, task ids and pauses are propagated with their new values."""
    ready, delayed = recorder.c.push(), recorder.c.push("q", "p", "DELAY", DAY)
    assert recorder.one("TASK.CANCEL", "q", ready)[1].events == [("cancel", [id_parts(ready)])]
    _, [tasks, at] = recorder.event("TASK.RETRY", "q", delayed)
    assert tasks == [id_parts(delayed)] and at == recorder.c.map("TASK.GET", "q", delayed)[b"ready-since"]
    assert recorder.event("TASK.PURGE", "q", "ALL") == (1, [[id_parts(delayed)]])
    settings = ["LEASE", 5, "backoff", "fixed", "max-len", -1]
    assert recorder.event("TASK.CONFIG", "q", "SET", *settings) == (
        "OK",
        [[["lease", 5], ["backoff", 2], ["max-len", -1]]],
    )
    assert recorder.event("TASK.CONFIG", "q", "RESET", "lease") == ("OK", [[["lease", 30_000]]])
    assert recorder.event("TASK.PAUSE", "q", "IN") == ("OK", ["in", None])
    assert recorder.event("TASK.RESUME", "q", "ALL") == ("OK", ["all"])
    _, [direction, until] = recorder.event("TASK.PAUSE", "q", "FOR", DAY)
    assert direction == "out" and until > id_parts(ready)[0] + DAY - 1


def test_a_command_that_changes_nothing_propagates_nothing(recorder):
    """This holds for commands that are refused and for those that find nothing to do."""
    c = recorder.c
    c.push("q", "p", "DELAY", DAY)
    c.push()
    handle = recorder.claim()
    assert c("TASK.REQUEUE", "q", handle, "DELAY", DAY) == 1
    c("TASK.CONFIG", "q", "SET", "max-len", 2)
    for words in (
        ["PUSH", "q", "too many"],
        ["PUSH", "q", "p", "DELAY", -1],
        ["CLAIM", "q"],
        ["CLAIM", "q", "REQUEST", "t", "WITHMETA"],
        ["CLAIM", "missing", "COUNT", 9],
        ["ACK", "q", handle],
        ["EXTEND", "q", "HANDLES", 1, handle],
        ["ACK", "q", "1-1@1-00000000"],
        ["CANCEL", "q", "1-1"],
        ["RETRY", "q", "COUNT", 9],
        ["PURGE", "q", "dead"],
        ["RESUME", "q"],
        ["RESUME", "missing"],
        ["CONFIG", "q", "SET", "lease", 0],
        ["GET", "q", handle],
        ["LIST", "q", "delayed"],
        ["LEN", "q"],
        ["INFO", "q"],
        ["HELP"],
    ):
        reply, found = recorder.effects_of(f"TASK.{words[0]}", *words[1:])
        assert found == [], (words, reply)


def test_stalls_and_due_tasks_are_propagated(recorder):
    """The event has the tasks and the new state of each."""
    server, c = recorder.server, recorder.c
    c("TASK.CONFIG", "q", "SET", "stalls", 2)
    task = c.push()
    for dies in (False, True):
        effects(server)
        recorder.claim("LEASE", 1)
        seen = []
        server.wait_until(
            lambda seen=seen: seen.extend(effects(server)) or len(seen) > 1, "the stall is propagated"
        )
        [(name, [[[stalled, then]]])] = seen[1].events
        assert (name, stalled, list(then)) == ("stall", id_parts(task), ["x" if dies else "r"])
    effects(server)
    delayed = c.push("q", "p", "DELAY", 1)
    _, over = recorder.until(2)
    [(name, [tasks, _])] = over.events
    assert (name, tasks) == ("due", [id_parts(delayed)])


def test_a_push_that_wakes_a_worker_is_one_effect(recorder):
    """It has the push and the claim of the blocked worker, in this order."""
    worker = Talk(recorder.server)
    worker.send(["TASK.CLAIM", "q", "BLOCK", 0, "WORKER", "w"])
    waiting = b"taskslot_blocked_workers:1"
    recorder.server.wait_until(lambda: waiting in recorder.c("INFO", "taskslot"), "the worker waits")
    task, effect = recorder.one("TASK.PUSH", "q", "p")
    assert effect.names == ["push", "claim"] and effect.payloads == [b"p"]
    [[handle, _, _]] = worker.read()
    at, name, _, leases = effect.events[1][1]
    assert name == b"w" and leases == [[*parts(handle), 30_000, at + 30_000]]
    assert parts(handle)[0] == id_parts(task)


def test_a_replica_has_the_same_queue_after_every_kind_of_command(start):
    """The digests are equal, and the replica claims nothing itself."""
    primary, replica = start(port=True), start()
    c = Talk(primary)
    replica.replicate(primary)
    c("TASK.CONFIG", "q", "SET", "backoff-base", 50_000)
    c("TASK.MPUSH", "q", "REQUEST", "t", "TASKS", 30, *range(30))
    c("TASK.MPUSH", "q", "DELAY", DAY, "TASKS", 5, *range(5))
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 20, "WORKER", "w")]
    for n, handle in enumerate(handles):
        ways = [["ACK"], ["FAIL"], ["FAIL", "DEAD"], ["REQUEUE"], ["REQUEUE", "BACK"], ["EXTEND"]]
        name, *more = ways[n % len(ways)]
        c(f"TASK.{name}", "q", handle, *more)
    c("TASK.RETRY", "q", "COUNT", 2)
    c("TASK.PURGE", "q", "delayed", "COUNT", 3)
    c("TASK.CANCEL", "q", handles[5].split(b"@")[0])
    c("TASK.PAUSE", "q", "IN", "FOR", DAY)
    other = Talk(replica)
    primary.wait_until(lambda: other.digest() == c.digest(), "the replica has the same queue")
    assert other.map("TASK.INFO", "q")[b"broken"] == b""
    assert other("TASK.CLAIM", "q").startswith("READONLY")


@pytest.mark.parametrize("length", [0, 1, 1023, 1024, 1025, 20_000])
def test_an_effect_with_words_of_any_length_has_its_checksum(recorder, length):
    """Names and payloads can be small or large, and there can be many of them in one effect."""
    payloads = ["x" * length, "y", "z" * 1000] * 20
    recorder.c("TASK.MPUSH", "q" * length, "TASKS", len(payloads), *payloads)
    [pushed] = effects(recorder.server)
    assert [len(payload) for payload in pushed.payloads] == [len(payload) for payload in payloads]
