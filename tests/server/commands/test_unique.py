"""UNIQUE: a token that no two tasks of a queue hold at a time; what a push with a held one answers and does."""

import pytest
from harness.server import wait_synced
from harness.talk import SYNTAX, Error, Talk, effects

DAY = 86_400_000
SPAN_MAX = 100 * 365 * DAY


def unique(c: Talk, token: object = "t", *options: object, key: str = "q", payload: object = "p") -> list:
    """A push with a token: `[id, 1 new | 0 found]`."""
    answer = c("TASK.PUSH", key, payload, "UNIQUE", token, *options)
    assert isinstance(answer, list) and len(answer) == 2 and answer[1] in (0, 1), answer
    return answer


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_second_push_with_a_held_token_finds_the_first(protocol, c):
    """It changes nothing, whatever else it says, and is counted as found; tokens are bytes."""
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
    """Delayed, ready or leased, also after a failure; then it is free."""
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


def test_a_token_is_free_of_a_task_that_is_dead_cancelled_purged_or_taken(c):
    """A dead one whose token another holds isn't retried."""
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
    """A push that comes while the task runs is let in: it may have news that the worker hasn't read."""
    first = unique(c, "t", "until", "START")[0]
    assert unique(c, "t", "UNTIL", "start") == [first, 0]
    handle = c.claim()
    second, new = unique(c, "t", "UNTIL", "start")
    assert new == 1
    assert c("TASK.REQUEUE", "q", handle) == 1
    assert unique(c, "t", "UNTIL", "start") == [second, 0]
    assert c.map("TASK.GET", "q", first)[b"unique-held"] == 0


def test_for_frees_the_token_after_a_time_and_the_task_lives_on(server, c):
    """Also where nobody asks: the server's own timer forgets it."""
    first = unique(c, "t", "FOR", 300)[0]
    assert unique(c, "t", "FOR", 300) == [first, 0]
    shown = c.map("TASK.GET", "q", first)
    assert shown[b"unique-until"] == shown[b"enqueued"] + 300
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"tokens"] == 0, "the token is free")
    assert c.map("TASK.GET", "q", first)[b"unique-held"] == 0
    assert unique(c, "t", "FOR", DAY)[1] == 1
    assert c("TASK.LEN", "q") == 2
    for _ in range(2):
        assert c("TASK.ACK", "q", c.claim()) == 1
    assert unique(c)[1] == 1, "free at the end, before its time"


def test_for_keep_holds_the_token_after_the_task_is_gone(server, c):
    """It answers the id of the task that was; then it is free."""
    first = unique(c, "t", "FOR", 300, "KEEP")[0]
    assert c("TASK.CLAIM", "q", "NOACK") == [[first, b"p", 1]]
    assert unique(c, "t", "FOR", DAY) == [first, 0]
    assert unique(c, "t", "REPLACE") == [first, 0]
    assert c("TASK.LEN", "q") == 0
    server.wait_until(lambda: unique(c)[1] == 1, "the token is free")


@pytest.mark.parametrize("protocol", [2, 3])
def test_replace_puts_payload_and_headers_into_a_task_that_waits(protocol, c):
    """Ready or delayed; its place, time and id stay."""
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


def test_a_full_queue_finds_and_a_closed_one_does_not(c):
    """A held token is answered also where nothing more fits; PAUSED comes before it, QFULL before a new one."""
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
def test_words_that_do_not_go_together_are_a_syntax_error(options, c):
    """Nothing is pushed, by PUSH or, whatever it says of tokens, by MPUSH."""
    expected = SYNTAX
    if options == "UNIQUE t FOR":
        assert isinstance(c("TASK.PUSH", "q", "p", *options.split()), Error)
    else:
        assert c("TASK.PUSH", "q", "p", *options.split()) == expected
    assert c("TASK.MPUSH", "q", *options.split(), "TASKS", 1, "p") == expected
    assert c("TASK.MPUSH", "q", "UNIQUE", "t", "TASKS", 1, "p") == expected
    assert c("EXISTS", "q") == 0


def test_tokens_and_times_have_bounds(c):
    """1 to 256 bytes; 1 ms to 100 years."""
    for token in ("", "x" * 257):
        assert c("TASK.PUSH", "q", "p", "UNIQUE", token) == Error("ERR UNIQUE must be 1 to 256 bytes long")
    for ms in (0, -1, SPAN_MAX + 1, "x", ""):
        error = Error(f"ERR FOR must be an integer between 1 and {SPAN_MAX}")
        assert c("TASK.PUSH", "q", "p", "UNIQUE", "t", "FOR", ms) == error
    assert c("EXISTS", "q") == 0
    assert unique(c, "x" * 256, "FOR", SPAN_MAX, "KEEP")[1] == 1


def test_words_may_stand_anywhere_among_the_options(c):
    """As all options may."""
    answer = c("TASK.PUSH", "q", "p", "keep", "PRIORITY", 3, "Replace", "for", DAY, "TTL", DAY, "unique", "t")
    shown = c.map("TASK.GET", "q", answer[0])
    assert answer[1] == 1 and (shown[b"unique"], shown[b"priority"], shown[b"ttl-ms"]) == (b"t", 3, DAY)


def test_a_request_sent_again_gets_the_same_answer(c):
    """New or found, also after the token is free."""
    first = unique(c, "t", "REQUEST", "r1")
    found = unique(c, "t", "REQUEST", "r2")
    assert found == [first[0], 0]
    assert c("TASK.CLAIM", "q", "NOACK")[0][0] == first[0]
    assert unique(c, "t", "REQUEST", "r1") == first == [first[0], 1]
    assert unique(c, "t", "REQUEST", "r2") == found
    assert c("TASK.LEN", "q") == 0
    assert c.map("TASK.INFO", "q")[b"duplicate"] == 2
    assert unique(c, "t", "REQUEST", "r3")[1] == 1


def test_a_token_belongs_to_one_queue_and_goes_with_it(c):
    """RENAME, COPY and RESTORE take tokens along; another queue knows nothing of them."""
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


def test_fifty_connections_with_one_token_get_one_tholders(server):
    """All at once: one of them is new, and all name it."""
    connections = [Talk(server) for _ in range(50)]
    for c in connections:
        c.send(["TASK.PUSH", "q", "p", "UNIQUE", "t"])
    answers = [c.read() for c in connections]
    assert sorted(answer[1] for answer in answers) == [0] * 49 + [1]
    assert len({answer[0] for answer in answers}) == 1
    assert connections[0]("TASK.LEN", "q") == 1


def fill(c: Talk, count: int) -> None:
    """So many tokens of every kind, of tasks in every state, and some of tasks that are gone."""
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
    """Who holds each token, None where a push would be new: asked of a copy of the queue."""
    assert c("COPY", "q", "asked", "REPLACE") == 1
    answers = c.many([["TASK.PUSH", "asked", "p", "UNIQUE", n] for n in range(count)])
    c("DEL", "asked")
    found = [None if new else task for task, new in answers]
    assert len(set(found)) > count / 2
    return found


@pytest.mark.parametrize("how", ["reload", "rdb", "aof", "aof rewritten", "aof with preamble"])
def test_ten_thousand_tokens_survive_a_restart(start, how):
    """Of every kind; the queue is equal, and so is every answer."""
    count = 10_000
    preamble = "yes" if "preamble" in how else "no"
    server = start(appendonly="yes" if "aof" in how else "no", aof_use_rdb_preamble=preamble)
    c = Talk(server)
    # A lease would end as the server restarts otherwise.
    c("TASK.CONFIG", "q", "SET", "lease", DAY)
    fill(c, count)
    digest, answers = c.digest(), holders(c, count)
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
    assert holders(c, count) == answers


def test_a_replica_has_the_same_tokens_and_goes_on_with_them(start):
    """From its first copy and from effects; promoted, it answers as its primary did, and lets go what is over."""
    primary, replica = start(port=True), start()
    c, count = Talk(primary), 1000
    c("TASK.CONFIG", "q", "SET", "lease", DAY)
    fill(c, count)
    replica.replicate(primary)
    r = Talk(replica)
    assert r.digest() == c.digest()
    for n in range(50):
        unique(c, f"more {n}", "FOR", 1000)
        unique(c, f"kept {n}", "FOR", DAY, "KEEP")
        unique(c, f"kept {n}", "REPLACE", payload="new")
    tokens = c.map("TASK.INFO", "q")[b"tokens"]
    primary.wait_until(lambda: c.map("TASK.INFO", "q")[b"tokens"] <= tokens - 50, "the short ones are free")
    answers = holders(c, count)
    wait_synced(primary, replica)
    assert r.digest() == c.digest()
    unique(c, "soon", "FOR", 500)
    wait_synced(primary, replica)
    primary.stop()
    assert r("REPLICAOF", "NO", "ONE") == "OK"
    assert holders(r, count) == answers
    replica.wait_until(lambda: unique(r, "soon")[1] == 1, "what was held for a time is free")
    assert unique(r, "kept 0")[1] == 0


def test_what_goes_to_replicas_is_what_happened(start):
    """A found push sends nothing, a replacement its payload beside the event, an end of a hold the tokens."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no")
    c = Talk(server)
    unique(c, "t", "FOR", 200)
    effects(server)
    unique(c, "t")
    assert effects(server) == []
    unique(c, "t", "REPLACE", payload="new")
    [effect] = effects(server)
    assert effect.names == ["replace"] and effect.payloads == [b"new"]
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"tokens"] == 0, "the token is free")
    [effect] = effects(server)
    assert effect.names == ["free"] and effect.events[0][1][1] == [b"t"]


def test_a_hand_off_that_is_undone_gives_the_token_back(server):
    """The worker that waited is killed in the round in which it is served: nobody has begun."""
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
