"""TASK.GET, TASK.LIST, TASK.LEN and TASK.INFO CONFIG: reading a queue does not change it."""

import pytest
from harness.edges import bound
from harness.talk import SYNTAX, Error, Talk, parts

DAY = 86_400_000
STATES = ["ready", "delayed", "leased", "dead", "done"]
NO_ID = Error("ERR invalid task id or handle")

DEFAULTS = {
    b"lease": 30_000,
    b"attempts": 25,
    b"stalls": 5,
    b"backoff": b"exponential",
    b"backoff-base": 1000,
    b"backoff-max": 3_600_000,
    b"backoff-jitter": 10,
    b"max-len": -1,
    b"max-bytes": -1,
    b"dead-max": 100_000,
    b"dead-ttl": -1,
    b"run-max": -1,
    b"retain": 0,
    b"retain-max": 10_000,
    b"concurrency": -1,
    b"rate": -1,
    b"rate-per": 1000,
    b"group-concurrency": -1,
    b"group-rate": -1,
    b"group-rate-per": 1000,
    b"groups-max": 1_000_000,
    b"tokens-max": 1_000_000,
    b"errors-kept": 1,
}


@pytest.fixture(params=[2, 3])
def protocol(request):
    """RESP2, then RESP3."""
    return request.param


def listed(c: Talk, *words: object) -> list[dict]:
    """All tasks of a list, fetched page by page until its cursor is 0."""
    cursor, shown = b"0", []
    while True:
        cursor, tasks = c("TASK.LIST", "q", *words, "CURSOR", cursor)
        shown += [c.as_map(task) for task in tasks]
        if cursor == b"0":
            return shown


def test_get_shows_the_fields_of_a_ready_task(c):
    """The fields have a fixed order. A field whose option was not given is left out."""
    task = c.push("q", "pay")
    shown = c.map("TASK.GET", "q", task)
    ms = int(task.split(b"-")[0])
    assert list(shown.items()) == [
        (b"id", task),
        (b"state", b"ready"),
        (b"payload", b"pay"),
        (b"priority", 0),
        (b"enqueued", ms),
        (b"deliveries", 0),
        (b"failures", 0),
        (b"stalls", 0),
        (b"ready-since", ms),
    ]
    task = c.push("q", "p", "LEASE", 5, "ATTEMPTS", 3, "HEADERS", 1, "h", "v")
    more = c.map("TASK.GET", "q", task)
    assert set(more) - set(shown) == {b"lease-ms", b"attempts", b"headers"}
    assert (more[b"lease-ms"], more[b"attempts"], c.as_map(more[b"headers"])) == (5, 3, {b"h": b"v"})


def test_get_shows_the_lease_of_a_leased_task_but_never_its_nonce(c):
    """TASK.GET takes an id or a handle, even a stale one."""
    task = c.push("q", "p")
    handle = c.claim("q", "WORKER", "me", "LEASE", 5000)
    _, number, nonce = parts(handle)
    shown = c.map("TASK.GET", "q", task)
    claimed = shown[b"claimed"]
    assert (shown[b"state"], shown[b"worker"], shown[b"deliveries"]) == (b"leased", b"me", 1)
    assert (shown[b"lease"], shown[b"lease-ms"], shown[b"deadline"]) == (number, 5000, claimed + 5000)
    assert (shown[b"tied"], shown[b"cancel-asked"]) == (0, 0)
    assert not {b"ready-since", b"due", b"dead-since"} & set(shown)
    assert c.map("TASK.GET", "q", handle) == shown
    stale = handle[:-8] + b"%08x" % (nonce ^ 1)
    assert c.map("TASK.GET", "q", stale) == shown
    assert not {nonce, b"%08x" % nonce, handle} & set(shown.values())
    assert c("TASK.CANCEL", "q", task) == 2
    assert c.map("TASK.GET", "q", task)[b"cancel-asked"] == 1
    c.push("q", "p")
    assert c.map("TASK.GET", "q", c.claim("q", "TIED"))[b"tied"] == 1


def test_get_shows_when_a_task_is_due_and_since_when_it_is_dead(c):
    """A delayed task has due, a dead task has dead-since."""
    delayed = c.map("TASK.GET", "q", c.push("q", "p", "DELAY", DAY))
    assert delayed[b"due"] == delayed[b"enqueued"] + DAY
    c.push("q", "p")
    handle = c.claim()
    assert c("TASK.FAIL", "q", handle, "DEAD", "ERROR", "broken") == -1
    dead = c.map("TASK.GET", "q", handle)
    assert (dead[b"state"], dead[b"failures"], dead[b"error"]) == (b"dead", 1, b"broken")
    assert dead[b"dead-since"] >= dead[b"enqueued"]
    assert not {b"ready-since", b"due", b"deadline", b"lease", b"worker"} & set(dead)


def test_get_returns_nil_for_a_task_that_does_not_exist(c):
    """The task can be finished or unknown, or the queue missing. A malformed id is an error."""
    task = c.push()
    assert c("TASK.ACK", "q", c.claim()) == 1
    assert c("TASK.GET", "q", task) is None
    assert c("TASK.GET", "q", f"{2**64 - 1}-{2**64 - 1}") is None
    assert c("TASK.GET", "missing", "1-1") is None
    for text in ("", "x", "1", "-", "1-", "-1", "1-1-1", "01-1", f"{2**64}-0", "1-1@1-x"):
        assert c("TASK.GET", "q", text) == NO_ID
    assert c("EXISTS", "missing") == 0


def test_list_shows_the_tasks_of_a_state_in_their_order(c):
    """Ready tasks come in claim order, delayed by due time, leased by id, dead by age. COUNT changes nothing."""
    pushes = {priority: c.push("q", "p", "PRIORITY", priority) for priority in (1, -5, 3, 2, 127, -128)}
    ready = [pushes[priority] for priority in sorted(pushes, reverse=True)]
    delays = {ms: c.push("q", "p", "DELAY", ms) for ms in (9 * DAY, 3 * DAY, 5 * DAY)}
    for count in (1, 2, 3, 1000):
        assert [task[b"id"] for task in listed(c, "ready", "COUNT", count)] == ready
        assert [task[b"id"] for task in listed(c, "DELAYED", "COUNT", count)] == [
            delays[ms] for ms in sorted(delays)
        ]
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 6)]
    by_id = sorted(handles, key=lambda handle: parts(handle)[0])
    for count in (1, 4, 1000):
        leased = listed(c, "Leased", "COUNT", count)
        assert [task[b"lease"] for task in leased] == [parts(handle)[1] for handle in by_id]
    dead = [handles[3], handles[0], handles[5]]
    for handle in dead:
        assert c("TASK.FAIL", "q", handle, "DEAD") == -1
    # Tasks that died in the same millisecond are in the order of their ids.
    died = [(task[b"dead-since"], parts(task[b"id"] + b"@0-0")[0]) for task in listed(c, "dead", "COUNT", 1)]
    assert died == sorted(died) and len(died) == 3
    assert {task[b"id"] for task in listed(c, "dead")} == {handle.split(b"@")[0] for handle in dead}


def test_list_shows_the_fields_of_get_except_payload_result_and_errors(c):
    """WITHPAYLOAD adds them."""
    c.push("q", "pay", "HEADERS", 1, "h", "v")
    c.push("q", "pay", "DELAY", DAY)
    for _ in range(3):
        c.push("q", "pay", "PRIORITY", 9)
    c.claim("q", "WORKER", "w")
    assert c("TASK.FAIL", "q", c.claim(), "DEAD", "ERROR", "e") == -1
    assert c("TASK.ACK", "q", c.claim(), "RETAIN", DAY, "RESULT", "r") == 1
    for state in STATES:
        [bare] = listed(c, state)
        [full] = listed(c, state, "withpayload")
        assert full == c.map("TASK.GET", "q", full[b"id"])
        assert full.pop(b"payload") == b"pay"
        assert full.pop(b"result", None) == (b"r" if state == "done" else None)
        assert (b"errors" in full) == (state == "dead") and full.pop(b"errors", True)
        assert full == bare


def test_list_shows_ten_tasks_unless_count_is_given(c):
    """COUNT is 1 to 1000."""
    c("TASK.MPUSH", "q", "TASKS", 1000, *range(1000))
    cursor, tasks = c("TASK.LIST", "q", "ready")
    assert len(tasks) == 10 and cursor != b"0"
    cursor, tasks = c("TASK.LIST", "q", "ready", "COUNT", 1000)
    assert len(tasks) == min(1000, bound("engine/view/list.rs", "LIST_LOOKED_AT"))
    cursor, last = c("TASK.LIST", "q", "ready", "CURSOR", cursor)
    assert len(tasks) < 1000 or (cursor, last) == (b"0", [])
    for count in (0, 1001, -1, "x"):
        error = Error("ERR COUNT must be an integer between 1 and 1000")
        assert c("TASK.LIST", "q", "ready", "COUNT", count) == error


def test_list_finds_the_leases_of_a_worker(c):
    """WORKER matches the whole name and needs the state leased."""
    c("TASK.MPUSH", "q", "TASKS", 6, *range(6))
    mine = [c.claim("q", "WORKER", name) for name in ("me", "you", "me", "mee", "me")][::2]
    c.claim("q")
    assert {task[b"lease"] for task in listed(c, "leased", "WORKER", "me", "COUNT", 1)} == {
        parts(handle)[1] for handle in mine
    }
    assert listed(c, "leased", "WORKER", "nobody") == []
    for state in ("ready", "delayed", "dead", "done"):
        error = Error("ERR WORKER can be used with the state LEASED only")
        assert c("TASK.LIST", "q", state, "WORKER", "me") == error
    assert c("TASK.LIST", "q", "leased", "WORKER", "") == Error("ERR WORKER must be 1 to 256 bytes long")


def test_a_list_shows_each_lasting_task_once_while_others_leave(c):
    """A task that stays during the whole listing is shown exactly once."""
    c("TASK.MPUSH", "q", "TASKS", 50, *range(50))
    stays = [task[b"id"] for task in listed(c, "ready", "COUNT", 1000)][20:]
    cursor, shown = b"0", []
    while True:
        cursor, tasks = c("TASK.LIST", "q", "ready", "CURSOR", cursor, "COUNT", 7)
        shown += [c.as_map(task)[b"id"] for task in tasks]
        if cursor == b"0":
            break
        if c("TASK.LEN", "q", "ready") > 31:
            c("TASK.CLAIM", "q", "NOACK", "COUNT", 4)
    assert [task for task in shown if task in stays] == stays


def test_a_well_formed_cursor_is_never_an_error(c):
    """A cursor that no list returned shows tasks or ends the list. A malformed one is an error."""
    c.push()
    c.push("q", "p", "DELAY", DAY)
    for cursor in (
        "0",
        "0-0",
        "1-1",
        "128-0",
        f"{2**64 - 1}-{2**64 - 1}",
        f"0-{2**64 - 1}",
        f"{2**64 - 1}-0",
    ):
        for state in STATES:
            _, tasks = c("TASK.LIST", "q", state, "CURSOR", cursor)
            assert len(tasks) <= 1
    for cursor in ("", "x", "1", "-1", "+0", "00", f"{2**64}-0", "1-1-1"):
        assert c("TASK.LIST", "q", "ready", "CURSOR", cursor) == Error("ERR invalid cursor")


@pytest.mark.parametrize(
    "words", ["", "gone", "all", "x", "ready GROUP", "ready x", "ready COUNT", "ready IDS"]
)
def test_a_list_refuses_unknown_states_and_options(c, words):
    """An option without its value is refused too."""
    c.push()
    assert c("TASK.LIST", "q", *words.split(" ")) == SYNTAX


def test_a_missing_queue_reads_as_empty(c):
    """LEN is 0, LIST is empty, INFO is nil, and reading does not create the queue."""
    assert c("TASK.LEN", "q") == 0
    assert c("TASK.INFO", "q") is None and c("TASK.INFO", "q", "CONFIG") is None
    for state in STATES:
        assert c("TASK.LEN", "q", state) == 0
        assert c("TASK.LIST", "q", state) == [b"0", []]
    assert c("EXISTS", "q") == 0


def test_len_counts_one_state_or_all_except_dead_and_done(c):
    """States can be in any case. Any other word is a syntax error."""
    c("TASK.MPUSH", "q", "TASKS", 7, *range(7))
    c("TASK.MPUSH", "q", "DELAY", DAY, "TASKS", 3, *"abc")
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 3)]
    assert c("TASK.FAIL", "q", handles[0], "DEAD") == -1
    assert [c("TASK.LEN", "q", state) for state in STATES] == [4, 3, 2, 1, 0]
    assert c("TASK.ACK", "q", handles[1], "RETAIN", DAY) == 1
    assert [c("TASK.LEN", "q", state) for state in STATES] == [4, 3, 1, 1, 1]
    assert c("TASK.LEN", "q", "ReAdY") == 4
    assert c("TASK.LEN", "q") == 8
    for words in (["gone"], ["all"], [""], ["ready", "dead"], ["ready", ""]):
        assert c("TASK.LEN", "q", *words) == SYNTAX


def test_info_config_shows_every_setting(c):
    """Numbers are integers. The backoff is a word."""
    c.push()
    assert c.map("TASK.INFO", "q", "config") == DEFAULTS
    c("TASK.CONFIG", "q", "SET", "backoff", "linear", "max-len", 5)
    assert c.map("TASK.INFO", "q", "CONFIG") == {**DEFAULTS, b"backoff": b"linear", b"max-len": 5}
    for words in (["x"], ["CONFIG", "CONFIG"], ["CONFIG", "WORKERS"], [""]):
        assert c("TASK.INFO", "q", *words) == SYNTAX


def test_reading_changes_nothing(start):
    """The digest stays the same, and nothing is propagated."""
    server = start(appendonly="yes")
    c = Talk(server)
    task = c.push()
    c.push("q", "p", "DELAY", DAY)
    digest = c.digest()
    server.propagated()
    for words in (["GET", "q", task], ["LIST", "q", "ready"], ["LEN", "q"], ["INFO", "q"], ["HELP"]):
        assert not isinstance(c(f"TASK.{words[0]}", *words[1:]), Error)
    assert c.digest() == digest
    assert server.propagated() == []


def test_list_rev_returns_the_newest_first(c):
    """Each state in the opposite order, also page by page."""
    c("TASK.MPUSH", "q", "TASKS", 12, *range(12))
    c("TASK.MPUSH", "q", "DELAY", DAY, "TASKS", 3, *range(3))
    for number, task in enumerate(c("TASK.CLAIM", "q", "COUNT", 8)):
        if number < 3:
            assert c("TASK.FAIL", "q", task[0], "DEAD") == -1
        elif number < 6:
            assert c("TASK.ACK", "q", task[0], "RETAIN", DAY) == 1
    for state in STATES:
        forward = [task[b"id"] for task in listed(c, state)]
        assert forward and [task[b"id"] for task in listed(c, state, "REV")] == forward[::-1]
        assert [task[b"id"] for task in listed(c, state, "rev", "COUNT", 1)] == forward[::-1]
    assert c("TASK.LIST", "missing", "ready", "REV") == [b"0", []]


def test_list_match_and_header_select_tasks(c):
    """MATCH is a glob over payloads, HEADER one over the value of a header, in either order of the list."""
    c.push("q", "mail to ada")
    c.push("q", "mail to bob", "HEADERS", 2, "kind", "mail", "to", "bob")
    c.push("q", "sms to bob", "HEADERS", 1, "kind", "sms")

    def found(*words: object) -> list[bytes]:
        return [task[b"payload"] for task in listed(c, "ready", "WITHPAYLOAD", *words)]

    assert found("MATCH", "mail*") == [b"mail to ada", b"mail to bob"]
    assert found("match", "* [a-c]o?", "REV") == [b"sms to bob", b"mail to bob"]
    assert found("HEADER", "kind", "*") == [b"mail to bob", b"sms to bob"]
    assert found("HEADER", "kind", "[^m]*") == [b"sms to bob"]
    assert found("HEADER", "none", "*") == found("MATCH", "") == found("MATCH", "mail") == []
    assert found("MATCH", "*bob", "COUNT", 1) == [b"mail to bob", b"sms to bob"]
    error = Error("ERR the pattern of MATCH must be at most 256 bytes long")
    assert c("TASK.LIST", "q", "ready", "MATCH", "x" * 257) == error


def test_a_pattern_of_many_stars_over_large_payloads_takes_several_calls(c):
    """A call compares about 256 KiB, 64 of each payload, then returns a cursor, also if nothing matched."""
    for _ in range(9):
        c.push("q", "a" * 700_000)
    pattern = "*a" * 30 + "*b"
    cursor, calls = b"0", 0
    while calls == 0 or cursor != b"0":
        cursor, tasks = c("TASK.LIST", "q", "ready", "MATCH", pattern, "CURSOR", cursor)
        calls += 1
        assert tasks == []
    assert calls > 2
