"""AFTER: tasks that are held until other tasks of the queue have ended."""

import itertools

import pytest
from harness.edges import TINY, bound
from harness.server import wait_synced
from harness.talk import Error, Talk, effects, id_parts, payloads
from harness.waiting import Floor

DAY = 86_400_000
NEVER = Error("ERR AFTER names a task that was never pushed")


def after(c: Talk, parents: list[bytes], *options: object, payload: object = "then", key: str = "q") -> bytes:
    """Push a task that waits for others, and return its id."""
    return c.push(key, payload, "AFTER", len(parents), *parents, *options)


def state(c: Talk, task: bytes, key: str = "q") -> bytes | None:
    """The state of a task; None if it is removed."""
    shown = c("TASK.GET", key, task)
    return None if shown is None else c.as_map(shown)[b"state"]


def finish(c: Talk, payload: bytes, key: str = "q", *options: object) -> None:
    """Claim the only task that can be claimed, which has this payload, and ack it."""
    [[handle, got, _]] = c("TASK.CLAIM", key, "COUNT", 9)
    assert got == payload and c("TASK.ACK", key, handle, *options) == 1


# ---- chains, fan-out and fan-in


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_chain_runs_one_task_after_the_other(protocol, c):
    """Each is ready when the one before is done, and its worker learns which that was."""
    a = c.push("q", "a", "RETAIN", DAY)
    b = after(c, [a], payload="b")
    d = after(c, [b], payload="c")
    shown = c.map("TASK.GET", "q", d)
    assert (shown[b"state"], shown[b"after"], shown[b"waits-for"], shown[b"on-dead"]) == (
        b"held",
        [b],
        [b],
        b"wait",
    )
    assert shown[b"held-since"] == shown[b"enqueued"]
    finish(c, b"a", "q", "RESULT", "of a")
    assert (state(c, b), state(c, d)) == (b"ready", b"held")
    shown = c.map("TASK.GET", "q", b)
    assert (shown[b"after"], shown[b"waits-for"]) == ([a], [])
    [[handle, payload, _, meta]] = c("TASK.CLAIM", "q", "WITHMETA")
    meta = c.as_map(meta)
    assert payload == b"b" and meta[b"after"] == [a] and b"waits-for" not in meta
    assert c("TASK.RESULT", "q", meta[b"after"][0]) == [b"done", b"of a"]
    assert c("TASK.ACK", "q", handle) == 1
    finish(c, b"c")
    assert c("TASK.LEN", "q") == 0


def test_a_fan_in_waits_for_all(c):
    """The order and the repetition of ids do not matter, nor does the order in which the tasks end."""
    start = c.push("q", "start")
    parts = c("TASK.MPUSH", "q", "AFTER", 1, start, "TASKS", 3, "x", "y", "z")
    join = c.push("q", "join", "AFTER", 5, parts[2], parts[0], parts[1], parts[0], start)
    assert c.map("TASK.GET", "q", join)[b"after"] == [start, *parts]
    finish(c, b"start")
    assert c.map("TASK.GET", "q", join)[b"waits-for"] == parts
    handles = [c.claim() for _ in parts]
    for at in (1, 2):
        assert c("TASK.ACK", "q", handles[at]) == 1 and state(c, join) == b"held"
    assert c("TASK.ACK", "q", handles[0]) == 1
    finish(c, b"join")


def test_a_task_that_is_done_or_not_known_any_more_is_not_waited_for(c):
    """The new task is ready at once, or waits for the others alone."""
    kept, gone, open_ = (
        c.push("q", "kept", "RETAIN", DAY),
        c.push("q", "gone"),
        c.push("q", "open", "DELAY", DAY),
    )
    assert c("TASK.ACK", "q", "HANDLES", 2, c.claim(), c.claim()) == [1, 1]
    assert state(c, kept) == b"done" and state(c, gone) is None
    assert state(c, after(c, [kept, gone])) == b"ready"
    assert c.map("TASK.GET", "q", after(c, [kept, open_, gone]))[b"waits-for"] == [open_]
    delayed = c.map("TASK.GET", "q", after(c, [gone], "DELAY", DAY))
    assert (delayed[b"state"], delayed[b"after"]) == (b"delayed", [gone])


def test_the_delay_begins_when_the_wait_ends(server, c):
    """AT is an instant, as of any task."""
    parent = c.push("q", "parent")
    later, soon = after(c, [parent], "DELAY", DAY), after(c, [parent], "DELAY", 20)
    at, past = after(c, [parent], "AT", 9 * 10**12), after(c, [parent], "AT", 10**12)
    finish(c, b"parent")
    shown = c.map("TASK.GET", "q", later)
    assert shown[b"state"] == b"delayed" and shown[b"due"] > shown[b"enqueued"] + DAY - 1
    assert (state(c, at), state(c, past)) == (b"delayed", b"ready")
    server.wait_until(lambda: state(c, soon) == b"ready", "the delay is over")


# ---- parents that end otherwise


def die(c, parent):
    """It is given up."""
    assert c("TASK.FAIL", "q", c.claim(), "DEAD") == -1


def cancel(c, parent):
    """It is cancelled."""
    assert c("TASK.CANCEL", "q", parent) == 1


def purge(c, parent):
    """It is purged."""
    assert c("TASK.PURGE", "q", "ready") == 1


@pytest.mark.parametrize("end", [die, cancel, purge], ids=lambda end: end.__name__)
def test_ondead_says_what_becomes_of_a_task_if_another_ends_otherwise(end, c):
    """WAIT keeps it held, RUN lets it run, DROP cancels it."""
    parent = c.push("q", "parent")
    waits, waits_too, runs, drops = (
        after(c, [parent], *words)
        for words in ([], ["ONDEAD", "wait"], ["ONDEAD", "RUN"], ["ONDEAD", "drop"])
    )
    end(c, parent)
    assert [state(c, task) for task in (waits, waits_too, runs, drops)] == [b"held", b"held", b"ready", None]
    assert c.map("TASK.GET", "q", waits)[b"waits-for"] == [parent]
    assert c.map("TASK.INFO", "q")[b"cancelled"] == (2 if end is cancel else 1)
    finish(c, b"then")
    if end is die:
        assert c("TASK.RETRY", "q", parent) == 1
        finish(c, b"parent")
        assert payloads(c("TASK.CLAIM", "q", "COUNT", 9)) == [b"then", b"then"]
    else:
        assert c("TASK.RETRY", "q", "IDS", 2, waits, waits_too) == 2, "the only way out"


@pytest.mark.parametrize("on_dead", ["RUN", "DROP"])
def test_a_task_that_expires_ends_a_wait_without_a_command(on_dead, floor):
    """A timer finds it. So does one that dies of a stall."""
    c = floor.boss
    c("TASK.CONFIG", "q", "SET", "stalls", 1)
    parents = [c.push("q", "stalls", "LEASE", 30), c.push("q", "expires", "TTL", 60)]
    tasks = [after(c, [parent], "ONDEAD", on_dead) for parent in parents]
    c.claim()
    c("TASK.PAUSE", "q", "OUT")
    want = b"ready" if on_dead == "RUN" else None
    floor.eventually(lambda: [state(c, task) for task in tasks] == [want, want], "both waits are over")


def test_a_drop_passes_on_to_those_that_wait_for_it(c):
    """Each decides by its own ONDEAD."""
    parent = c.push("q", "parent")
    one = after(c, [parent], "ONDEAD", "drop")
    two = after(c, [one], "ONDEAD", "drop")
    three = after(c, [two], "ONDEAD", "run", payload="three")
    assert c("TASK.CANCEL", "q", parent) == 1
    assert [state(c, task) for task in (one, two, three)] == [None, None, b"ready"]


@pytest.mark.parametrize(("on_dead", "then"), [("WAIT", b"held"), ("RUN", b"ready"), ("DROP", None)])
def test_a_task_can_be_pushed_after_a_dead_one(on_dead, then, c):
    """ONDEAD is followed at once. WAIT waits for the RETRY."""
    parent = c.push("q", "parent")
    die(c, parent)
    task = after(c, [parent], "ONDEAD", on_dead)
    assert state(c, task) == then
    if on_dead == "WAIT":
        c("TASK.RETRY", "q", parent)
        finish(c, b"parent")
        assert state(c, task) == b"ready"


def test_a_result_that_is_waited_for_comes_when_a_held_task_ends(floor):
    """A held task is not over. One that is dropped is cancelled."""
    c = floor.boss
    parent = c.push("q", "parent")
    run, drop = after(c, [parent], "ONDEAD", "run"), after(c, [parent], "ONDEAD", "drop")
    askers = [floor.worker() for _ in range(2)]
    for asker, task in zip(askers, (run, drop), strict=True):
        floor.seen_to_wait(lambda asker=asker, task=task: asker.send(["TASK.RESULT", "q", task, "BLOCK", 0]))
    assert c("TASK.CANCEL", "q", parent) == 1
    assert askers[1].read() == [b"cancelled", None]
    finish(c, b"then", "q", "RESULT", "r")
    assert askers[0].read() == [b"done", b"r"]


# ---- steering held tasks


def test_held_tasks_are_listed_counted_cancelled_retried_and_purged(c):
    """By id, page by page. RETRY ends the wait of a task, whatever it waits for."""
    parent = c.push("q", "parent", "DELAY", DAY)
    held = c("TASK.MPUSH", "q", "AFTER", 1, parent, "GROUP", "g", "TASKS", 5, *"abcde")
    assert (c("TASK.LEN", "q", "held"), c("TASK.LEN", "q"), c.map("TASK.INFO", "q")[b"held"]) == (5, 6, 5)
    cursor, page = c("TASK.LIST", "q", "HELD", "COUNT", 3)
    rest = c("TASK.LIST", "q", "held", "CURSOR", cursor, "WITHPAYLOAD")
    assert rest[0] == b"0" and [c.as_map(one)[b"id"] for one in page + rest[1]] == held
    assert c.as_map(rest[1][1])[b"payload"] == b"e"
    assert len(c("TASK.LIST", "q", "held", "GROUP", "g")[1]) == 5
    assert c("TASK.CANCEL", "q", held[0]) == 1
    assert c("TASK.RETRY", "q", held[1]) == 1 and c.map("TASK.GET", "q", held[1])[b"waits-for"] == []
    assert c("TASK.RETRY", "q", "COUNT", 9) == 0, "that is for dead tasks"
    assert c("TASK.PURGE", "q", "held", "COUNT", 2) == 2 and c("TASK.PURGE", "q", "held") == 1
    assert (c("TASK.LEN", "q", "held"), c("TASK.LEN", "q")) == (0, 2)
    finish(c, b"b")


def test_purging_all_runs_no_task_whose_wait_it_ends(c):
    """Held tasks are removed first."""
    parent = c.push("q", "parent")
    after(c, [parent], "ONDEAD", "run")
    assert c("TASK.PURGE", "q", "ALL", "COUNT", 1) == 1
    assert (c("TASK.LEN", "q", "held"), c("TASK.LEN", "q", "ready")) == (0, 1)


def test_a_held_task_holds_its_token_and_can_be_replaced(c):
    """UNIQUE and REQUEST find it. REPLACE changes it while it waits."""
    parent = c.push("q", "parent")
    task, new = c("TASK.PUSH", "q", "one", "UNIQUE", "t", "AFTER", 1, parent, "REQUEST", "r")
    assert new == 1
    assert c("TASK.PUSH", "q", "two", "UNIQUE", "t", "AFTER", 1, parent, "REPLACE") == [task, 0]
    assert c("TASK.PUSH", "q", "one", "UNIQUE", "t", "AFTER", 1, parent, "REQUEST", "r") == [task, 1]
    shown = c.map("TASK.GET", "q", task)
    assert (shown[b"unique-held"], shown[b"payload"], c("TASK.LEN", "q")) == (1, b"two", 2)
    finish(c, b"parent")
    finish(c, b"two")


def test_the_time_to_live_of_a_held_task_begins_when_it_is_ready(server, c):
    """It does not expire while it is held."""
    parent = c.push("q", "parent")
    task = after(c, [parent], "TTL", 20)
    assert b"expires" not in c.map("TASK.GET", "q", task)
    other = c.push("p", "other", "DELAY", 60)
    server.wait_until(lambda: state(c, other, "p") == b"ready", "three times its time to live has passed")
    assert state(c, task) == b"held"
    finish(c, b"parent")
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"expired"] == 1, "it expires")


def test_a_task_can_wait_and_count_in_a_batch(c):
    """A held task of a batch is open. One that is dropped counts as cancelled."""
    c("TASK.BATCH", "q", "OPEN", "b", "PAYLOAD", "callback")
    parent = c.push("q", "parent", "BATCH", "b")
    after(c, [parent], "BATCH", "b", "ONDEAD", "drop")
    c("TASK.BATCH", "q", "CLOSE", "b")
    die(c, parent)
    shown = c.map("TASK.BATCH", "q", "INFO", "b")
    assert (shown[b"dead"], shown[b"cancelled"], shown[b"state"]) == (1, 1, b"complete")


# ---- what is refused


def test_only_tasks_that_were_pushed_can_be_waited_for(c):
    """An id that the queue has not given yet is refused, so that there are no cycles. Others may never have existed."""
    task = c.push("q", "p")
    ms, seq = id_parts(task)
    digest = c.digest()
    for id_ in (f"{ms}-{seq + 1}", f"{ms + 10**9}-0", f"{2**64 - 1}-{2**64 - 1}"):
        assert c("TASK.PUSH", "q", "p", "AFTER", 2, task, id_) == NEVER
        assert c("TASK.PUSH", "new", "p", "AFTER", 1, id_) == NEVER
    assert c.digest() == digest and c("EXISTS", "new") == 0
    assert state(c, after(c, [b"1-1"])) == b"ready"
    assert c.map("TASK.INFO", "q")[b"refused"] == 0, "these are mistakes of the caller"


def test_a_task_of_a_batch_does_not_wait_for_held_tasks_outside_it(c):
    """They could wait for the batch: its own callback does. Inside the batch, and for other tasks, it can wait."""
    callback, _ = c("TASK.BATCH", "q", "OPEN", "b", "PAYLOAD", "callback")
    parent = c.push("q", "parent")
    held = after(c, [parent])
    for other in (callback, held, after(c, [callback])):
        digest = c.digest()
        assert c("TASK.PUSH", "q", "p", "BATCH", "b", "AFTER", 2, parent, other) == Error(
            "ERR AFTER names a held task outside the batch"
        )
        assert c.digest() == digest
    first = after(c, [parent], "BATCH", "b")
    assert state(c, after(c, [first, parent], "BATCH", "b")) == b"held"


def test_at_most_a_thousand_tasks_are_waited_for_and_ten_thousand_waits_are_added_by_a_call(server, c):
    """A stage of many tasks that wait for many others needs a task in between."""
    many = c("TASK.MPUSH", "q", "TASKS", 1000, *["p"] * 1000)
    assert c("TASK.PUSH", "q", "p", "AFTER", 1001, *many, many[0]) == Error(
        "ERR AFTER must be followed by the number of ids, 1 to 1000"
    )
    assert c("TASK.PUSH", "q", "p", "AFTER", 0) == Error(
        "ERR AFTER must be followed by the number of ids, 1 to 1000"
    )
    join = after(c, many)
    assert len(c.map("TASK.GET", "q", join)[b"waits-for"]) == 1000
    assert c("TASK.MPUSH", "q", "AFTER", 11, *many[:11], "TASKS", 1000, *["p"] * 1000) == Error(
        "ERR TASKS times AFTER must be at most 10000"
    )
    assert len(c("TASK.MPUSH", "q", "AFTER", 10, *many[:10], "TASKS", 1000, *["p"] * 1000)) == 1000
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 1000)]
    assert c("TASK.ACK", "q", "HANDLES", 1000, *handles) == [1] * 1000
    server.wait_until(lambda: c("TASK.LEN", "q", "ready") == 1001, "all are ready")


# ---- many waits


TOO_MANY_WAITS = Error("ERR IDS names held tasks that wait for more than 10000 others together")


def wide(c: Talk, *options: object) -> tuple[list[bytes], list[bytes]]:
    """Push a thousand delayed tasks, and 12 tasks each of which waits for all of them. Returns the ids."""
    many = c("TASK.MPUSH", "q", "DELAY", DAY, "TASKS", 1000, *["p"] * 1000)
    words = ["AFTER", 1000, *many, *options, "TASKS"]
    held = c("TASK.MPUSH", "q", *words, 10, *["x"] * 10) + c("TASK.MPUSH", "q", *words, 2, "x", "x")
    return many, held


@pytest.mark.parametrize("name", ["TASK.CANCEL", "TASK.RETRY", "TASK.PURGE"])
def test_ids_whose_waits_are_too_many_for_one_call_are_refused(name, c):
    """Nothing changes. Each id counts once, and ids that wait for nothing do not count."""
    many, held = wide(c)
    assert c(name, "q", "IDS", 11, *held[:11]) == TOO_MANY_WAITS
    assert (c("TASK.LEN", "q", "held"), c("TASK.LEN", "q", "delayed")) == (12, 1000)
    reply = c(name, "q", "IDS", 22, *held[:10], *held[:10], *many[:2])
    assert (sum(reply) if name == "TASK.CANCEL" else reply) == 12
    assert c("TASK.LEN", "q", "held") == 2


@pytest.mark.parametrize("options", [[], ["OLDER", 0]])
def test_a_purge_of_held_tasks_stops_after_ten_thousand_waits(options, c):
    """ALL goes on with the other states only when no task is held any more."""
    wide(c)
    assert c("TASK.PURGE", "q", "held", *options) == 10
    assert c("TASK.PURGE", "q", "held", *options) == 2
    wide(c)
    assert c("TASK.PURGE", "q", "ALL", *options) == 10
    assert (c("TASK.LEN", "q", "held"), c("TASK.LEN", "q", "delayed")) == (2, 2000)
    # A search by age looks at so many tasks of each state.
    looked_at = bound("engine/rules/purge.rs", "LOOKED_AT") if options else 1000
    purged = min(1000, 2 + looked_at)
    assert c("TASK.PURGE", "q", "ALL", *options) == purged
    assert (c("TASK.LEN", "q", "held"), c("TASK.LEN", "q", "delayed")) == (0, 2002 - purged)


def test_a_command_drops_few_tasks_that_wait_for_many_and_the_timer_the_others(server, c):
    """The timer does not run within a transaction."""
    many, _ = wide(c, "ONDEAD", "drop")
    c("MULTI")
    c("TASK.CANCEL", "q", many[0])
    c("TASK.LEN", "q", "held")
    cancelled, held = c("EXEC")
    assert cancelled == 1 and 10 <= held < 12
    server.wait_until(lambda: c("TASK.LEN", "q", "held") == 0, "all are dropped")


@pytest.mark.parametrize("options", [[], ["WITHMETA"]])
def test_a_claim_stops_before_its_tasks_have_waited_for_more_than_ten_thousand(options, c):
    """So that WITHMETA shows a bounded number of ids. One task alone always fits."""
    many, held = wide(c)
    assert (
        c("TASK.RETRY", "q", "IDS", 10, *held[:10]) == 10 and c("TASK.RETRY", "q", "IDS", 2, *held[10:]) == 2
    )
    first, second = (c("TASK.CLAIM", "q", "COUNT", 1000, *options) for _ in range(2))
    assert [task[0].split(b"@")[0] for task in first] == held[:10]
    assert [task[0].split(b"@")[0] for task in second] == held[10:]
    for task in [*first, *second]:
        assert not options or c.as_map(task[3])[b"after"] == many


# ---- waiting workers, effects


def test_waiting_workers_get_the_tasks_in_the_step_that_lets_them_go(start):
    """Also those that wait for a group. One effect has the ack, the end of the waits and the leases."""
    server = start(appendonly="yes")
    floor, c = Floor(server), Talk(server)
    parent = c.push("q", "parent")
    after(c, [parent])
    after(c, [parent], "GROUP", "g", payload="grouped")
    assert [effect.names for effect in effects(server)] == [["push"], ["after"], ["after"]]
    handle = c.claim()
    of_group, plain = floor.waiting("q", "GROUP", "g"), floor.waiting("q")
    effects(server)
    assert c("TASK.ACK", "q", handle) == 1
    assert (of_group.payloads(), plain.payloads()) == ([b"grouped"], [b"then"])
    [effect] = effects(server)
    assert effect.names == ["ack", "told", "claim", "claim"]
    [_, (_, [told, _, tasks]), *_] = effect.events
    assert told == id_parts(parent) and [release for _, release in tasks] == ["r", "r"]


def test_next_gets_the_task_that_its_own_ack_lets_go(c):
    """A worker walks along a chain with one round trip for each task."""
    last = c.push("q", 0)
    for n in range(1, 5):
        last = after(c, [last], payload=n)
    handle = c.claim()
    for n in range(1, 5):
        answer, [[handle, payload, _]] = c("TASK.NEXT", "q", handle)
        assert (answer, payload) == (1, b"%d" % n)
    assert c("TASK.NEXT", "q", handle) == [1, []]


def test_a_transaction_lets_tasks_go(floor):
    """A worker that waits gets them after it."""
    c = floor.boss
    parent = c.push("q", "parent")
    after(c, [parent])
    handle = c.claim()
    worker = floor.waiting()
    c("MULTI")
    c("TASK.ACK", "q", handle)
    c("TASK.LEN", "q", "ready")
    assert c("EXEC") == [1, 1] and worker.payloads() == [b"then"]


def test_subscribers_learn_what_becomes_of_held_tasks(floor):
    """A held task is pushed, and later ready or cancelled."""
    c, subscriber = floor.boss, floor.worker()
    c("CONFIG", "SET", "notify-keyspace-events", "Kd")
    parent = c.push("q", "parent")
    handle = c.claim()
    subscriber("SUBSCRIBE", "__keyspace@0__:q")
    after(c, [parent])
    assert subscriber.read()[2] == b"task.pushed"
    c("TASK.ACK", "q", handle)
    assert [subscriber.read()[2] for _ in range(2)] == [b"task.ready", b"task.acked"]


# ---- copies and restarts


@pytest.mark.parametrize("way", ["RDB", "AOF", "kill -9"])
def test_held_tasks_go_on_waiting_after_a_restart(start, way):
    """With what they still wait for, and what becomes of them."""
    server = start(**({"save": "900 1"} if way == "RDB" else {"appendonly": "yes", "appendfsync": "always"}))
    c = Talk(server)
    first, second = c.push("q", "first", "LEASE", DAY), c.push("q", "second", "LEASE", DAY)
    both, run = after(c, [first, second]), after(c, [second], "ONDEAD", "run", payload="run")
    one, two = c.claim(), c.claim()
    assert c("TASK.ACK", "q", one) == 1
    before = [c("TASK.GET", "q", task) for task in (both, run)], c.digest()
    if way == "RDB":
        server.stop(save=True)
        server.restart()
    else:
        server.restart(kill=way == "kill -9")
    c = Talk(server)
    assert ([c("TASK.GET", "q", task) for task in (both, run)], c.digest()) == before
    assert c("TASK.FAIL", "q", two, "DEAD") == -1
    assert (state(c, both), state(c, run)) == (b"held", b"ready")
    finish(c, b"run")
    c("TASK.RETRY", "q", second)
    finish(c, b"second")
    finish(c, b"then")


def test_a_promoted_replica_lets_held_tasks_go(start):
    """It knows what they wait for."""
    primary, replica = start(port=True), start()
    replica.replicate(primary)
    p, r = Talk(primary), Talk(replica)
    parent = p.push("q", "parent")
    task = after(p, [parent])
    wait_synced(primary, replica)
    assert p.digest() == r.digest() and r("TASK.GET", "q", task) == p("TASK.GET", "q", task)
    primary.kill9()
    assert r("REPLICAOF", "NO", "ONE") == "OK"
    finish(r, b"parent")
    finish(r, b"then")


# ---- many


def fan_out(c: Talk, count: int = 100) -> tuple[bytes, bytes]:
    """Push thousands of tasks after one that is leased. Returns its id and its handle."""
    parent = c.push("q", "parent", "LEASE", DAY)
    handle = c.claim()
    for _ in range(count):
        c("TASK.MPUSH", "q", "AFTER", 1, parent, "ONDEAD", "run", "TASKS", 1000, *["p"] * 1000)
    return parent, handle


def test_a_hundred_thousand_tasks_are_let_go_in_bounded_steps(start):
    """The ack lets a thousand go. The others follow in steps of the timer, between which clients are answered."""
    server = start(appendonly="yes")
    c = Talk(server)
    _, handle = fan_out(c)
    effects(server)
    acked, held, pong = c.many([["TASK.ACK", "q", handle], ["TASK.LEN", "q", "held"], ["PING"]])
    assert (acked, pong) == (1, "PONG") and held > 90_000
    server.wait_until(lambda: c("TASK.LEN", "q", "held") == 0, "all are ready")
    assert c("TASK.LEN", "q", "ready") == 100_000
    steps = effects(server)
    told = [[len(fields[2]) for name, fields in step.events if name == "told"] for step in steps]
    assert sum(map(sum, told)) == 100_000 and max(itertools.chain(*told)) <= 128
    assert sum(told[0]) <= 1128 and len(steps) > 10


def test_what_is_left_to_be_told_is_told_after_a_restart(start):
    """The server is killed right after the ack."""
    server = start(appendonly="yes", appendfsync="always", module_args=("failover-grace", 0))
    c = Talk(server)
    _, handle = fan_out(c, 20)
    acked, held, _ = c.many(
        [["TASK.ACK", "q", handle], ["TASK.LEN", "q", "held"], ["CLIENT", "PAUSE", 10**6, "WRITE"]]
    )
    assert acked == 1 and held > 10_000
    c = Talk(server.restart(kill=True))
    server.wait_until(lambda: c("TASK.LEN", "q", "held") == 0, "all are ready")
    assert c("TASK.LEN", "q") == c("TASK.LEN", "q", "ready") == 20_000


def test_a_chain_of_a_hundred_thousand_ends_in_bounded_steps(server):
    """One cancel drops all of them, one after the other."""
    c = Talk(server)
    last = c.push("q", "first")
    commands = [
        "local last = ARGV[1] for n = 1, 1000 do last = redis.call('TASK.PUSH', KEYS[1], n, 'AFTER', 1, last, "
    ]
    script = commands[0] + "'ONDEAD', 'drop') end return last"
    first = last
    length = 10_000 if TINY else 100_000
    for _ in range(length // 1000):
        last = c("EVAL", script, 1, "q", last)
    assert c("TASK.LEN", "q", "held") == length
    cancelled, held, pong = c.many([["TASK.CANCEL", "q", first], ["TASK.LEN", "q", "held"], ["PING"]])
    assert (cancelled, pong) == (1, "PONG") and held > length * 9 // 10
    server.wait_until(lambda: c("TASK.LEN", "q") == 0, "all are cancelled")
    assert c.map("TASK.INFO", "q")[b"cancelled"] == length + 1


# ---- when a held task becomes ready


def test_a_held_task_shows_the_delay_or_the_instant_that_counts_once_it_waits_no_more(c):
    """Both disappear with the wait. One without them shows neither."""
    parent = c.push("q")
    task = after(c, [parent], "DELAY", DAY)
    [shown] = [dict(zip(task[::2], task[1::2], strict=True)) for task in c("TASK.LIST", "q", "held")[1]]
    assert shown[b"delay-ms"] == DAY and b"at" not in shown
    assert c.map("TASK.GET", "q", task)[b"delay-ms"] == DAY
    at = 4_102_444_800_000
    shown = c.map("TASK.GET", "q", after(c, [parent], "AT", at))
    assert shown[b"at"] == at and b"delay-ms" not in shown
    assert not {b"at", b"delay-ms"} & set(c.map("TASK.GET", "q", after(c, [parent])))
    c("TASK.ACK", "q", c.claim())
    shown = c.map("TASK.GET", "q", task)
    assert shown[b"state"] == b"delayed" and b"delay-ms" not in shown


def test_a_held_task_that_is_postponed_gets_another_delay(c):
    """The delay counts from the end of its wait. Without one the task is ready then. UNTIL does not bound it."""
    parent = c.push("q")
    task = c("TASK.PUSH", "q", "p", "AFTER", 1, parent, "UNIQUE", "t")[0]
    again = ["TASK.PUSH", "q", "p", "UNIQUE", "t", "REPLACE", "POSTPONE"]
    assert c(*again, "UNTIL", 1, "DELAY", DAY) == [task, 0]
    assert c.map("TASK.GET", "q", task)[b"delay-ms"] == DAY
    assert c(*again) == [task, 0]
    assert b"delay-ms" not in c.map("TASK.GET", "q", task)
    assert c(*again, "DELAY", DAY) == [task, 0]
    c("TASK.ACK", "q", c.claim())
    assert c.map("TASK.GET", "q", task)[b"state"] == b"delayed"


def test_tasks_that_are_dropped_and_wait_for_a_thousand_others_each_are_dropped_one_by_one(server, c):
    """A step drops one of them, because it ends a thousand waits. The others follow soon."""
    parents = c("TASK.MPUSH", "q", "TASKS", 1000, *["p"] * 1000)
    for _ in range(10):
        c("TASK.MPUSH", "q", "AFTER", 1000, *parents, "ONDEAD", "DROP", "TASKS", 10, *["p"] * 10)
    reply = c.many([["MULTI"], ["TASK.CANCEL", "q", parents[0]], ["TASK.LEN", "q", "held"], ["EXEC"]])
    assert reply[-1] == [1, 99]
    server.wait_until(lambda: c("TASK.LEN", "q", "held") == 0, "all are dropped")
