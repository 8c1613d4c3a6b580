"""TASK.SET: what can be changed about a task that waits. And tokens in the place of ids."""

import pytest
from harness.server import wait_synced, wait_until
from harness.talk import Error, Talk, effects, payloads

DAY = 86_400_000


def shown(c: Talk, task: bytes, *fields: bytes) -> list:
    """These fields of a task."""
    task = c.map("TASK.GET", "q", task)
    return [task.get(field) for field in fields]


def claimed(c: Talk, count: int = 10, *options: object) -> list[bytes]:
    """The payloads of the next tasks, in order."""
    return payloads(c("TASK.CLAIM", "q", "COUNT", count, *options))


def test_each_part_is_changed_on_its_own_and_all_at_once(c):
    """What is not given stays as it is. The options come in any order and any case."""
    task = c.push("q", "old", "PRIORITY", 1, "HEADERS", 1, "n", "v", "GROUP", "g")
    assert c("TASK.SET", "q", task, "PAYLOAD", "new") == 1
    assert shown(c, task, b"payload", b"priority", b"group") == [b"new", 1, b"g"]
    assert c.as_map(shown(c, task, b"headers")[0]) == {b"n": b"v"}
    assert c("TASK.SET", "q", task, "headers", 2, "a", "1", "b", "2", "Group", "h", "priority", -7) == 1
    assert shown(c, task, b"payload", b"priority", b"group") == [b"new", -7, b"h"]
    assert c.as_map(shown(c, task, b"headers")[0]) == {b"a": b"1", b"b": b"2"}
    assert c("TASK.SET", "q", task, "HEADERS", 0, "GROUP", "") == 1
    assert shown(c, task, b"headers", b"group", b"payload") == [None, None, b"new"]


def test_delay_0_makes_a_delayed_task_ready_and_another_delay_a_ready_one_delayed(c):
    """AT does the same with an instant. An instant that has passed is now."""
    task, other = c.push("q", "a", "DELAY", DAY), c.push("q", "b")
    assert c("TASK.SET", "q", task, "DELAY", 0) == 1
    assert shown(c, task, b"state") == [b"ready"]
    assert c("TASK.SET", "q", other, "DELAY", DAY) == 1
    assert shown(c, other, b"state") == [b"delayed"]
    at = int(c("TIME")[0]) * 1000 + DAY
    assert c("TASK.SET", "q", task, "AT", at) == 1
    assert abs(shown(c, task, b"due")[0] - at) < 1000
    assert c("TASK.SET", "q", "IDS", 2, other, task, "AT", 100_000_000_000) == [1, 1]
    assert claimed(c) == [b"b", b"a"]


def test_a_task_goes_to_the_back_of_its_new_priority_and_group(c):
    """A task that stays where it is keeps its place."""
    a, b, _ = (c.push("q", name) for name in "abc")
    c.push("q", "high", "PRIORITY", 5)
    assert c("TASK.SET", "q", a, "PRIORITY", 5) == 1
    assert c("TASK.SET", "q", b, "PRIORITY", 0, "PAYLOAD", "B") == 1
    assert claimed(c, 2) == [b"high", b"a"]
    assert c("TASK.SET", "q", b, "GROUP", "g") == 1
    assert claimed(c, 1, "GROUP", "g") == [b"B"] and claimed(c) == [b"c"]


def test_only_tasks_that_wait_are_changed(c):
    """0 for a leased, dead, done or unknown task. With IDS an array, in the order of the ids."""
    leased = c("TASK.MPUSH", "q", "RETAIN", DAY, "TASKS", 3, "leased", "dead", "done")
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 3)]
    assert c("TASK.FAIL", "q", handles[1], "DEAD") == -1 and c("TASK.ACK", "q", handles[2]) == 1
    ready, delayed = c.push(), c.push("q", "p", "DELAY", DAY)
    digest = c.digest()
    for task in (*leased, b"1-1"):
        assert c("TASK.SET", "q", task, "DELAY", 0, "PAYLOAD", "x") == 0
    assert c.digest() == digest
    ids = [*leased, ready, b"1-1", delayed, ready]
    assert c("TASK.SET", "q", "IDS", len(ids), *ids, "PRIORITY", 3) == [0, 0, 0, 1, 0, 1, 1]
    assert c("TASK.SET", "missing", ready, "DELAY", 0) == 0
    assert c("TASK.SET", "missing", "IDS", 2, ready, delayed, "DELAY", 0) == [0, 0]
    assert c("EXISTS", "missing") == 0


def test_all_of_the_tasks_are_changed_or_none(c):
    """A change that would exceed a limit of the queue, or max-payload for all tasks together, changes none of them."""
    tasks = c("TASK.MPUSH", "q", "TASKS", 2, "a", "b")
    c("TASK.CONFIG", "q", "SET", "max-bytes", c.map("TASK.INFO", "q")[b"bytes"] + 15)
    digest = c.digest()
    full = Error("QFULL the queue has reached max-bytes")
    assert c("TASK.SET", "q", "IDS", 2, *tasks, "PAYLOAD", "x" * 10, "PRIORITY", 1) == full
    assert c.digest() == digest
    assert c("TASK.SET", "q", tasks[0], "PAYLOAD", "x" * 10) == 1
    assert c("TASK.SET", "q", tasks[0], "PAYLOAD", "y" * 10) == 1
    assert c("TASK.SET", "q", tasks[0], "PAYLOAD", "x" * 20) == full


def test_a_payload_counts_once_for_each_id(start):
    """All together are at most as long as max-payload allows."""
    c = Talk(start(module_args=("max-payload", 100)))
    tasks = c("TASK.MPUSH", "q", "TASKS", 3, *"abc")
    assert c("TASK.SET", "q", tasks[0], "PAYLOAD", "x" * 100) == 1
    assert c("TASK.SET", "q", tasks[0], "PAYLOAD", "x" * 101) == Error(
        "ERR a payload must be at most 100 bytes long"
    )
    assert c("TASK.SET", "q", "IDS", 3, *tasks, "PAYLOAD", "x" * 33) == [1, 1, 1]
    refused = Error("ERR PAYLOAD, once for each id, must be at most 100 bytes long")
    assert c("TASK.SET", "q", "IDS", 3, *tasks, "PAYLOAD", "x" * 34) == refused


def test_blocked_workers_get_what_becomes_claimable(floor):
    """A delayed task that is ready now, one that comes into a worker's group, and one of a group that may go on."""
    boss = floor.boss
    task = boss.push("q", "a", "DELAY", DAY)
    anyone = floor.waiting("q")
    assert boss("TASK.SET", "q", task, "DELAY", 0) == 1
    assert anyone.payloads() == [b"a"]
    other = boss.push("q", "b", "GROUP", "g")
    of_group = floor.waiting("q", "GROUP", "h")
    assert boss("TASK.SET", "q", other, "GROUP", "h") == 1
    assert of_group.payloads() == [b"b"]
    boss("TASK.GROUP", "q", "SET", "o", "ORDERED", "yes")
    boss("TASK.MPUSH", "q", "GROUP", "o", "TASKS", 2, "first", "second")
    [[handle, *_]] = boss("TASK.CLAIM", "q", "GROUP", "o")
    assert boss("TASK.FAIL", "q", handle, "DELAY", DAY) == DAY
    behind = floor.waiting("q", "GROUP", "o")
    assert boss("TASK.SET", "q", handle.split(b"@")[0], "GROUP", "elsewhere") == 1
    assert behind.payloads() == [b"second"]


def test_a_payload_is_replicated_once_for_all_of_its_tasks(start):
    """What changes nothing is not propagated."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no")
    c = Talk(server)
    tasks = c("TASK.MPUSH", "q", "TASKS", 3, *"abc")
    effects(server)
    assert c("TASK.SET", "q", "IDS", 3, *tasks, "PAYLOAD", "new") == [1, 1, 1]
    [effect] = effects(server)
    assert effect.names == ["edit"] and effect.payloads == [b"new"]
    assert c("TASK.SET", "q", "IDS", 3, *tasks, "PRIORITY", 0, "GROUP", "", "DELAY", 0) == [1, 1, 1]
    assert effects(server) == []
    digest = c.digest()
    server.restart()
    c = Talk(server)
    assert c.digest() == digest and claimed(c) == [b"new"] * 3


@pytest.mark.parametrize("how", ["reload", "restore", "copy", "replica", "aof rewritten"])
def test_changes_survive(start, how):
    """The group that a changed task left is gone, and another has its number."""
    server, replica = start(port=True, appendonly="yes"), start()
    c = Talk(server)
    tasks = [c.push("q", name, "GROUP", f"g{name}") for name in "abcd"]
    assert c("TASK.SET", "q", tasks[0], "GROUP", "", "PRIORITY", 2, "PAYLOAD", "A") == 1
    assert c("TASK.SET", "q", tasks[1], "GROUP", "gd", "HEADERS", 1, "n", "v") == 1
    assert c("TASK.SET", "q", tasks[2], "DELAY", DAY, "PRIORITY", -128) == 1
    c.push("q", "e", "GROUP", "new")
    digest, key = c.digest(), "q"
    if how == "reload":
        assert c("DEBUG", "RELOAD") == "OK"
    elif how == "restore":
        assert c("RESTORE", "other", 0, c("DUMP", "q")) == "OK"
        key = "other"
    elif how == "copy":
        assert c("COPY", "q", "other") == 1
        key = "other"
    elif how == "replica":
        replica.replicate(server)
        wait_synced(server, replica)
        c = Talk(replica)
    else:
        c("BGREWRITEAOF")
        rewritten = lambda: b"aof_rewrite_in_progress:0" in c("INFO", "persistence")  # noqa: E731
        server.wait_until(rewritten, "the AOF is rewritten", 20)
        server.restart()
        c = Talk(server)
    assert c.digest(key) == digest
    found = [c.map("TASK.GET", key, task) for task in tasks]
    assert [task.get(b"group") for task in found] == [None, b"gd", b"gc", b"gd"]
    assert [task[b"priority"] for task in found] == [2, 0, -128, 0]
    assert found[2][b"state"] == b"delayed"


def test_a_full_server_refuses_only_what_grows(c):
    """A longer payload and a new group are refused with OOM. All else is accepted."""
    task = c.push("q", "0123456789")
    assert c("TASK.SET", "q", task, "PAYLOAD", "0123456789") == 1
    assert c("CONFIG", "SET", "maxmemory", 1) == "OK"
    oom = Error("OOM command not allowed when used memory > 'maxmemory'.")
    assert c("TASK.SET", "q", task, "PAYLOAD", "longer than before") == oom
    assert c("TASK.SET", "q", task, "GROUP", "new") == oom
    assert c("TASK.SET", "q", task, "HEADERS", 1, "n", "v") == oom
    assert c("TASK.SET", "q", task, "PAYLOAD", "shorter", "PRIORITY", 3, "DELAY", DAY) == 1


# UNIQUE token in the place of an id


def test_a_token_names_the_task_that_holds_it(c):
    """GET, RESULT, SET, RETRY and CANCEL find a delayed, ready or leased task by it."""
    task, _ = c("TASK.PUSH", "q", "p", "UNIQUE", "t", "DELAY", DAY)
    assert c.map("TASK.GET", "q", "UNIQUE", "t")[b"id"] == task
    assert c("TASK.RESULT", "q", "unique", "t") is None
    assert c("TASK.SET", "q", "UNIQUE", "t", "PAYLOAD", "new") == 1
    assert c("TASK.RETRY", "q", "UNIQUE", "t") == 1 and c("TASK.RETRY", "q", "UNIQUE", "t") == 0
    assert shown(c, task, b"payload", b"state") == [b"new", b"ready"]
    handle = c.claim()
    assert c.map("TASK.GET", "q", "UNIQUE", "t")[b"state"] == b"leased"
    assert c("TASK.SET", "q", "UNIQUE", "t", "PAYLOAD", "late") == 0
    assert c("TASK.CANCEL", "q", "UNIQUE", "t") == 2
    assert c("TASK.FAIL", "q", handle) == 0
    task, new = c("TASK.PUSH", "q", "p", "UNIQUE", "t")
    assert new == 1 and c("TASK.CANCEL", "q", "UNIQUE", "t") == 1 and c("TASK.GET", "q", task) is None


@pytest.mark.parametrize("held", ["nobody", "dead", "done", "gone", "until start"])
def test_a_token_that_no_living_task_holds_is_like_an_unknown_id(held, c):
    """That is also so while it is kept for a task that has ended."""
    if held == "until start":
        c("TASK.PUSH", "q", "p", "UNIQUE", "t", "UNTIL", "START")
        c.claim()
    elif held != "nobody":
        retain = DAY if held == "done" else 0
        c("TASK.PUSH", "q", "p", "UNIQUE", "t", "FOR", DAY, "KEEP", "RETAIN", retain)
        handle = c.claim()
        assert (
            c("TASK.FAIL", "q", handle, "DEAD") == -1 if held == "dead" else c("TASK.ACK", "q", handle) == 1
        )
    c.push("q", "another")
    digest = c.digest()
    assert c("TASK.GET", "q", "UNIQUE", "t") is None
    assert c("TASK.RESULT", "q", "UNIQUE", "t") == c("TASK.RESULT", "q", "UNIQUE", "t", "BLOCK", 0) == 0
    assert c("TASK.SET", "q", "UNIQUE", "t", "DELAY", 0) == 0
    assert c("TASK.CANCEL", "q", "UNIQUE", "t") == c("TASK.RETRY", "q", "UNIQUE", "t") == 0
    assert c.digest() == digest


def test_a_client_waits_for_the_task_that_held_the_token_when_it_asked(floor):
    """Another task that takes the token later does not matter."""
    boss = floor.boss
    boss("TASK.PUSH", "q", "first", "UNIQUE", "t", "UNTIL", "START")
    waiter = floor.worker()
    waiter.send(["TASK.RESULT", "q", "UNIQUE", "t", "BLOCK", 0])
    floor.eventually(lambda: floor.info("taskslot", "taskslot_result_waiters") == 1, "the client waits")
    handle = boss.claim()
    assert boss("TASK.PUSH", "q", "second", "UNIQUE", "t")[1] == 1
    assert boss("TASK.CANCEL", "q", "UNIQUE", "t") == 1
    assert boss("TASK.ACK", "q", handle, "RESULT", "42") == 1
    assert waiter.read() == [b"done", b"42"]


def test_a_replica_finds_tasks_by_their_token(start):
    """GET and RESULT work on replicas."""
    primary, replica = start(port=True), start()
    c, r = Talk(primary), Talk(replica)
    task, _ = c("TASK.PUSH", "q", "p", "UNIQUE", "t")
    replica.replicate(primary)
    wait_synced(primary, replica)
    assert r.map("TASK.GET", "q", "UNIQUE", "t")[b"id"] == task
    assert r("TASK.RESULT", "q", "UNIQUE", "t") is None and r("TASK.RESULT", "q", "UNIQUE", "u") == 0


# POSTPONE


def debounce(c: Talk, payload: object, *options: object) -> list:
    """A push that postpones the task which holds the token."""
    return c("TASK.PUSH", "q", payload, "UNIQUE", "t", "REPLACE", "POSTPONE", *options)


def test_each_push_postpones_the_task_and_replaces_its_payload(c):
    """The reply is that of a task that was found. A leased task is not touched."""
    task, new = debounce(c, "a", "DELAY", 1000)
    assert new == 1
    first = shown(c, task, b"due")[0]
    assert debounce(c, "b", "DELAY", DAY) == [task, 0]
    due, payload = shown(c, task, b"due", b"payload")
    assert payload == b"b" and due >= first + DAY - 1000
    assert debounce(c, "c", "DELAY", 0) == [task, 0]
    assert shown(c, task, b"state") == [b"ready"]
    assert debounce(c, "d", "DELAY", DAY) == [task, 0]
    assert shown(c, task, b"state", b"payload") == [b"delayed", b"d"]
    assert c("TASK.SET", "q", "UNIQUE", "t", "DELAY", 0) == 1 and c.claim()
    assert debounce(c, "e", "DELAY", DAY) == [task, 0]
    assert shown(c, task, b"state", b"payload") == [b"leased", b"d"]


def test_a_task_is_due_at_most_so_long_after_its_first_push(c):
    """UNTIL after POSTPONE bounds it, for the first push too. UNTIL START still belongs to the token."""
    task, _ = debounce(c, "a", "UNTIL", 60_000, "DELAY", DAY)
    enqueued, due = shown(c, task, b"enqueued", b"due")
    assert due == enqueued + 60_000
    options = ("UNTIL", 70_000, "AT", int(c("TIME")[0]) * 1000 + DAY, "UNTIL", "start")
    assert debounce(c, "b", *options) == [task, 0]
    assert shown(c, task, b"due") == [enqueued + 70_000]
    c.push("q", "other")
    assert debounce(c, "c", "UNTIL", 1, "DELAY", DAY) == [task, 0]
    wait_until(lambda: shown(c, task, b"state") == [b"ready"], "the end of that millisecond")
    assert claimed(c) == [b"other", b"c"]


def test_until_start_directly_after_postpone_belongs_to_the_token(c):
    """Options come in any order."""
    debounce(c, "a", "UNTIL", "START", "DELAY", 0)
    assert claimed(c) == [b"a"]
    assert debounce(c, "b", "DELAY", 0)[1] == 1


def test_a_task_that_is_postponed_past_its_old_time_runs_once_with_the_last_payload(floor):
    """The worker that waits gets it when the pushes have stopped."""
    boss = floor.boss
    worker = floor.waiting("q")
    tasks = {debounce(boss, n, "DELAY", 300)[0] for n in range(20)}
    assert len(tasks) == 1
    assert worker.payloads() == [b"19"]
    assert boss("TASK.LEN", "q") == 1


def test_a_push_that_is_sent_again_postpones_nothing(c):
    """A REQUEST that was answered gets its reply, and the task keeps its time."""
    task, _ = debounce(c, "a", "DELAY", 5000)
    assert debounce(c, "b", "DELAY", 1000, "REQUEST", "r") == [task, 0]
    digest = c.digest()
    assert debounce(c, "b", "DELAY", DAY, "REQUEST", "r") == [task, 0]
    assert c.digest() == digest
