"""UNIQUE: a token that at most one task of a queue holds, and what a push with a held token does."""

import pytest
from harness.server import wait_synced
from harness.talk import SYNTAX, Error, Talk, effects

DAY = 86_400_000
SPAN_MAX = 100 * 365 * DAY


def unique(c: Talk, token: object = "t", *options: object, key: str = "q", payload: object = "p") -> list:
    """The reply to a push with a token: `[id, 1]` for a new task, `[id, 0]` for the task that holds it."""
    reply = c("TASK.PUSH", key, payload, "UNIQUE", token, *options)
    assert isinstance(reply, list) and len(reply) == 2 and reply[1] in (0, 1), reply
    return reply


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_push_with_a_held_token_returns_the_task_that_holds_it(protocol, c):
    """It changes nothing, ignores its other options and counts as found. Tokens are bytes."""
    [task, new] = unique(c, "t", payload="first")
    assert new == 1
    digest = c.digest()
    for options in ([], ["DELAY", DAY], ["PRIORITY", 9], ["FOR", 5, "KEEP"], ["UNTIL", "start"]):
        assert unique(c, "t", *options, payload="second") == [task, 0]
    assert c.digest() == digest
    assert unique(c, "T")[1] == 1 and unique(c, b"\0\xff\r\n")[1] == 1
    info = c.map("TASK.INFO", "q")
    assert (info[b"pushed"], info[b"found"], info[b"tokens"], info[b"refused"]) == (3, 5, 3, 0)
    shown = c.map("TASK.GET", "q", task)
    assert (shown[b"payload"], shown[b"unique"], shown[b"unique-held"]) == (b"first", b"t", 1)
    assert b"unique-until" not in shown and b"unique" not in c.map("TASK.GET", "q", c.push())


def test_a_token_is_held_until_the_task_is_done(c):
    """A delayed, ready or leased task holds its token, also after a failure. An ACK frees it."""
    task = unique(c, "t", "DELAY", DAY)[0]
    assert unique(c) == [task, 0]
    c("TASK.RETRY", "q", task)
    assert unique(c) == [task, 0]
    handle = c.claim()
    assert unique(c) == [task, 0]
    assert c("TASK.REQUEUE", "q", handle) == 1 and unique(c) == [task, 0]
    assert c("TASK.FAIL", "q", c.claim(), "DELAY", DAY) == DAY and unique(c) == [task, 0]
    c("TASK.RETRY", "q", task)
    assert c("TASK.ACK", "q", c.claim()) == 1
    assert unique(c)[1] == 1


def test_a_token_is_free_once_its_task_is_dead_cancelled_purged_or_claimed_with_noack(c):
    """A dead task is not retried while another task holds its token."""
    dead = unique(c)[0]
    assert c("TASK.FAIL", "q", c.claim(), "DEAD") == -1
    task, new = unique(c)
    assert new == 1
    assert c("TASK.RETRY", "q", dead) == 0 and c("TASK.RETRY", "q", "COUNT", 9) == 0
    assert c("TASK.CANCEL", "q", task) == 1
    assert c("TASK.RETRY", "q", dead) == 1 and unique(c) == [dead, 0]
    assert c("TASK.PURGE", "q", "ready") == 1
    task, new = unique(c)
    assert new == 1
    assert c("TASK.CLAIM", "q", "NOACK") == [[task, b"p", 1]]
    assert unique(c)[1] == 1


def test_until_start_frees_the_token_at_the_first_claim(c):
    """A push that arrives while the task runs creates a new task, because the running one can miss its update."""
    first = unique(c, "t", "until", "START")[0]
    assert unique(c, "t", "UNTIL", "start") == [first, 0]
    handle = c.claim()
    second, new = unique(c, "t", "UNTIL", "start")
    assert new == 1
    assert c("TASK.REQUEUE", "q", handle) == 1
    assert unique(c, "t", "UNTIL", "start") == [second, 0]
    assert c.map("TASK.GET", "q", first)[b"unique-held"] == 0


def test_for_frees_the_token_after_a_time_and_keeps_the_task(server, c):
    """The server's timer frees it. No command is needed."""
    first = unique(c, "t", "FOR", 1000)[0]
    assert unique(c, "t", "FOR", 1000) == [first, 0]
    shown = c.map("TASK.GET", "q", first)
    assert shown[b"unique-until"] == shown[b"enqueued"] + 1000
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"tokens"] == 0, "the token is free")
    assert c.map("TASK.GET", "q", first)[b"unique-held"] == 0
    assert unique(c, "t", "FOR", DAY)[1] == 1
    assert c("TASK.LEN", "q") == 2
    for _ in range(2):
        assert c("TASK.ACK", "q", c.claim()) == 1
    assert unique(c)[1] == 1, "free at the end, before its time"


def test_for_keep_holds_the_token_after_the_task_has_ended(server, c):
    """A push returns the id of the task that ended, until the time is over."""
    first = unique(c, "t", "FOR", 1000, "KEEP")[0]
    assert c("TASK.CLAIM", "q", "NOACK") == [[first, b"p", 1]]
    assert unique(c, "t", "FOR", DAY) == [first, 0]
    assert unique(c, "t", "REPLACE") == [first, 0]
    assert c("TASK.LEN", "q") == 0
    server.wait_until(lambda: unique(c)[1] == 1, "the token is free")


@pytest.mark.parametrize("protocol", [2, 3])
def test_replace_changes_payload_and_headers_of_a_waiting_task(protocol, c):
    """The task is ready or delayed, and keeps its id, its time and its position. A leased task is not changed."""
    task = unique(c, "t", "HEADERS", 1, "h", "old", payload="old")[0]
    c.push("q", "behind")
    large = b"x" * 200_000
    for payload, headers in ((b"new", ["HEADERS", 1, "h", "new"]), (large, []), (b"", [])):
        assert unique(c, "t", "REPLACE", *headers, payload=payload) == [task, 0]
        shown = c.map("TASK.GET", "q", task)
        assert shown[b"payload"] == payload
        assert (b"headers" in shown) == bool(headers)
    assert unique(c, "t", "REPLACE", "HEADERS", 1, "h", "v", payload="last") == [task, 0]
    [[handle, payload, _, meta]] = c("TASK.CLAIM", "q", "WITHMETA")
    assert payload == b"last" and c.as_map(c.as_map(meta)[b"headers"]) == {b"h": b"v"}
    digest = c.digest()
    assert unique(c, "t", "REPLACE", payload="too late") == [task, 0]
    assert c.digest() == digest
    c("TASK.REQUEUE", "q", handle)
    assert unique(c, "t", "REPLACE", payload="in time") == [task, 0]
    assert c("TASK.CLAIM", "q", "NOACK")[0][1] == b"in time"
    later = unique(c, "t", "DELAY", DAY)[0]
    assert unique(c, "t", "REPLACE", payload="other") == [later, 0]
    shown = c.map("TASK.GET", "q", later)
    assert (shown[b"payload"], shown[b"state"]) == (b"other", b"delayed")
    assert c.map("TASK.INFO", "q")[b"found"] == 7


def test_a_held_token_is_found_in_a_full_queue_but_not_in_a_paused_one(c):
    """PAUSED is checked before the token. QFULL applies to a new task and to a payload that does not fit."""
    task = unique(c)[0]
    c("TASK.CONFIG", "q", "SET", "max-len", 1, "tokens-max", 1, "max-bytes", 40)
    assert unique(c) == [task, 0]
    assert c("TASK.PUSH", "q", "p", "UNIQUE", "u") == Error("QFULL the queue has reached tokens-max")
    digest = c.digest()
    full = Error("QFULL the queue has reached max-bytes")
    assert c("TASK.PUSH", "q", "x" * 40, "UNIQUE", "t", "REPLACE") == full
    assert c.digest() == digest
    assert unique(c, "t", "REPLACE", payload="short") == [task, 0]
    c("TASK.CONFIG", "q", "SET", "tokens-max", 2)
    assert c("TASK.PUSH", "q", "p", "UNIQUE", "u") == Error("QFULL the queue has reached max-len")
    c("TASK.PAUSE", "q", "IN")
    paused = Error("PAUSED the queue accepts no pushes")
    assert c("TASK.PUSH", "q", "p", "UNIQUE", "t") == paused
    assert c.map("TASK.INFO", "q")[b"refused"] == 4


@pytest.mark.parametrize(
    "options",
    [
        *["UNIQUE", "UNTIL start", "FOR 5", "KEEP", "REPLACE", "UNIQUE t KEEP", "UNIQUE t UNTIL"],
        *["UNIQUE t UNTIL end", "UNIQUE t UNTIL start FOR 5", "UNIQUE t FOR 5 UNTIL start", "UNIQUE t FOR"],
        *[
            "UNIQUE t UNTIL start KEEP",
            "UNIQUE t UNIQUE u",
            "UNIQUE t FOR 5 FOR 6",
            "UNIQUE t REPLACE REPLACE",
        ],
    ],
)
def test_invalid_combinations_of_options_are_refused(options, c):
    """Nothing is pushed. MPUSH accepts no UNIQUE at all."""
    expected = SYNTAX
    if options == "UNIQUE t FOR":
        assert isinstance(c("TASK.PUSH", "q", "p", *options.split()), Error)
    else:
        assert c("TASK.PUSH", "q", "p", *options.split()) == expected
    assert c("TASK.MPUSH", "q", *options.split(), "TASKS", 1, "p") == expected
    assert c("TASK.MPUSH", "q", "UNIQUE", "t", "TASKS", 1, "p") == expected
    assert c("EXISTS", "q") == 0


def test_tokens_and_times_have_bounds(c):
    """A token has 1 to 256 bytes. FOR is 1 ms to 100 years."""
    for token in ("", "x" * 257):
        assert c("TASK.PUSH", "q", "p", "UNIQUE", token) == Error("ERR UNIQUE must be 1 to 256 bytes long")
    for ms in (0, -1, SPAN_MAX + 1, "x", ""):
        error = Error(f"ERR FOR must be an integer between 1 and {SPAN_MAX}")
        assert c("TASK.PUSH", "q", "p", "UNIQUE", "t", "FOR", ms) == error
    assert c("EXISTS", "q") == 0
    assert unique(c, "x" * 256, "FOR", SPAN_MAX, "KEEP")[1] == 1


def test_options_of_a_token_come_in_any_order_and_any_case(c):
    """They can stand between other options."""
    reply = c("TASK.PUSH", "q", "p", "keep", "PRIORITY", 3, "Replace", "for", DAY, "TTL", DAY, "unique", "t")
    shown = c.map("TASK.GET", "q", reply[0])
    assert reply[1] == 1 and (shown[b"unique"], shown[b"priority"], shown[b"ttl-ms"]) == (b"t", 3, DAY)


def test_a_request_sent_again_gets_the_same_reply(c):
    """It returns new or found as the first time, even after the token is free."""
    first = unique(c, "t", "REQUEST", "r1")
    found = unique(c, "t", "REQUEST", "r2")
    assert found == [first[0], 0]
    assert c("TASK.CLAIM", "q", "NOACK")[0][0] == first[0]
    assert unique(c, "t", "REQUEST", "r1") == first == [first[0], 1]
    assert unique(c, "t", "REQUEST", "r2") == found
    assert c("TASK.LEN", "q") == 0
    assert c.map("TASK.INFO", "q")[b"duplicate"] == 2
    assert unique(c, "t", "REQUEST", "r3")[1] == 1


def test_a_token_belongs_to_its_queue_and_moves_with_it(c):
    """RENAME, COPY and RESTORE keep tokens. Another queue does not know them."""
    task = unique(c)[0]
    kept = unique(c, "k", "FOR", DAY, "KEEP")[0]
    c("TASK.CANCEL", "q", kept)
    assert unique(c, key="other")[1] == 1
    assert c("COPY", "q", "copy") == 1
    assert c("RESTORE", "restored", 0, c("DUMP", "q")) == "OK"
    assert c("RENAME", "q", "renamed") == "OK"
    for key in ("copy", "restored", "renamed"):
        assert unique(c, key=key) == [task, 0] and unique(c, "k", key=key) == [kept, 0]
    assert c("TASK.CANCEL", "copy", task) == 1
    assert unique(c, key="copy")[1] == 1 and unique(c, key="renamed") == [task, 0]


def test_fifty_pushes_at_once_with_one_token_create_one_task(server):
    """All of them return the same id."""
    connections = [Talk(server) for _ in range(50)]
    for c in connections:
        c.send(["TASK.PUSH", "q", "p", "UNIQUE", "t"])
    replies = [c.read() for c in connections]
    assert sorted(reply[1] for reply in replies) == [0] * 49 + [1]
    assert len({reply[0] for reply in replies}) == 1
    assert connections[0]("TASK.LEN", "q") == 1


def fill(c: Talk, count: int) -> None:
    """Push that many tasks with tokens of every kind, and let some of them be leased, dead, done or replaced."""
    kinds = [[], ["UNTIL", "start"], ["FOR", DAY], ["FOR", DAY, "KEEP"], ["DELAY", DAY]]
    commands = [["TASK.PUSH", "q", "p", "UNIQUE", n, *kinds[n % len(kinds)]] for n in range(count)]
    tasks = c.many(commands)
    assert all(new == 1 for _, new in tasks)
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 50)]
    assert c("TASK.ACK", "q", "HANDLES", 10, *handles[:10]) == [1] * 10
    assert c("TASK.FAIL", "q", "HANDLES", 10, *handles[10:20], "DEAD") == [-1] * 10
    replace = [["TASK.PUSH", "q", f"new {n}", "UNIQUE", n, "REPLACE"] for n in range(count - 100, count)]
    assert all(new == 0 for _, new in c.many(replace))


def holders(c: Talk, count: int) -> list[bytes | None]:
    """The task that holds each token, or None for a free one. A copy of the queue is asked."""
    assert c("COPY", "q", "asked", "REPLACE") == 1
    replies = c.many([["TASK.PUSH", "asked", "p", "UNIQUE", n] for n in range(count)])
    c("DEL", "asked")
    found = [None if new else task for task, new in replies]
    assert len(set(found)) > count / 2
    return found


@pytest.mark.parametrize("how", ["reload", "rdb", "aof", "aof rewritten", "aof with preamble"])
def test_ten_thousand_tokens_survive_a_restart(start, how):
    """The digest and the holder of every token are the same after it."""
    count = 10_000
    preamble = "yes" if "preamble" in how else "no"
    server = start(appendonly="yes" if "aof" in how else "no", aof_use_rdb_preamble=preamble)
    c = Talk(server)
    # A lease would end as the server restarts otherwise.
    c("TASK.CONFIG", "q", "SET", "lease", DAY)
    fill(c, count)
    digest, replies = c.digest(), holders(c, count)
    if how == "reload":
        assert c("DEBUG", "RELOAD") == "OK"
    elif how == "rdb":
        c("SAVE")
        server.restart()
    else:
        if how != "aof":
            c("BGREWRITEAOF")
            done = lambda: b"aof_rewrite_in_progress:0" in c("INFO", "persistence")  # noqa: E731
            server.wait_until(done, "the AOF is rewritten", 20)
        server.restart()
    c = Talk(server)
    assert c.digest() == digest
    assert holders(c, count) == replies


def test_a_promoted_replica_has_the_same_tokens_and_frees_them_in_time(start):
    """It has them from the full copy and from effects."""
    primary, replica = start(port=True), start()
    c, count = Talk(primary), 1000
    c("TASK.CONFIG", "q", "SET", "lease", DAY)
    fill(c, count)
    replica.replicate(primary)
    r = Talk(replica)
    assert r.digest() == c.digest()
    for n in range(50):
        unique(c, f"more {n}", "FOR", 3000)
        unique(c, f"kept {n}", "FOR", DAY, "KEEP")
        unique(c, f"kept {n}", "REPLACE", payload="new")
    tokens = c.map("TASK.INFO", "q")[b"tokens"]
    primary.wait_until(lambda: c.map("TASK.INFO", "q")[b"tokens"] <= tokens - 50, "the short ones are free")
    replies = holders(c, count)
    wait_synced(primary, replica)
    assert r.digest() == c.digest()
    unique(c, "soon", "FOR", 500)
    wait_synced(primary, replica)
    primary.stop()
    assert r("REPLICAOF", "NO", "ONE") == "OK"
    assert holders(r, count) == replies
    replica.wait_until(lambda: unique(r, "soon")[1] == 1, "what was held for a time is free")
    assert unique(r, "kept 0")[1] == 0


def test_only_changes_are_propagated(start):
    """A push that finds a task propagates nothing. A replacement propagates the payload, a freed token the token."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no")
    c = Talk(server)
    unique(c, "t", "FOR", 1000)
    effects(server)
    unique(c, "t")
    assert effects(server) == []
    unique(c, "t", "REPLACE", payload="new")
    [effect] = effects(server)
    assert effect.names == ["replace"] and effect.payloads == [b"new"]
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"tokens"] == 0, "the token is free")
    [effect] = effects(server)
    assert effect.names == ["free"] and effect.events[0][1][1] == [b"t"]


def test_a_hand_off_that_is_undone_restores_the_token(server):
    """The worker is killed in the same transaction as the push, so the task has not started."""
    c, worker = Talk(server), Talk(server)
    worker_id = worker("CLIENT", "ID")
    worker.send(["TASK.CLAIM", "q", "BLOCK", 0])
    waiting = lambda: b"taskslot_blocked_workers:1\r\n" in c("INFO", "taskslot")  # noqa: E731
    server.wait_until(waiting, "the worker waits")
    c("MULTI")
    c("TASK.PUSH", "q", "p", "UNIQUE", "t", "UNTIL", "start")
    c("CLIENT", "KILL", "ID", worker_id)
    [[task, _], _] = c("EXEC")
    server.wait_until(lambda: c("TASK.LEN", "q", "ready") == 1, "the hand-off is undone")
    assert unique(c, "t") == [task, 0]
    assert c("TASK.CLAIM", "q")[0][2] == 1
