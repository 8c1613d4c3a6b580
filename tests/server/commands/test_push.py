"""TASK.PUSH and TASK.MPUSH: ids, payloads, options and bounds."""

import re

import pytest
from harness.talk import SYNTAX, Error, Talk

DAY = 86_400_000
SPAN_MAX = 100 * 365 * DAY
INSTANT_MAX = 2**48 - 1
AT_MIN = 10**11
ID = re.compile(rb"[1-9][0-9]{12}-[0-9]+")


def ids(reply) -> list[list[int]]:
    """Task ids as lists of numbers."""
    return [[int(part) for part in task.split(b"-")] for task in reply]


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_push_returns_an_id_larger_than_the_one_before(server, protocol, c):
    """An id is `<ms>-<seq>`, made from the server's clock."""
    seconds, micros = map(int, c("TIME"))
    tasks = c.many([["TASK.PUSH", "q", "p"]] * 500)
    assert all(ID.fullmatch(task) for task in tasks)
    numbers = ids(tasks)
    assert numbers == sorted(numbers) and len({tuple(n) for n in numbers}) == 500
    # The module's clock can be slightly behind the server's.
    assert abs(numbers[0][0] - (seconds * 1000 + micros // 1000)) < 10_000
    assert c("TYPE", "q") == "taskqueue"


@pytest.mark.parametrize("protocol", [2, 3])
def test_mpush_returns_consecutive_ids_in_order(protocol, c):
    """All tasks of one call share the millisecond and keep the order of the payloads."""
    tasks = c("TASK.MPUSH", "q", "TASKS", 3, "a", "b", "a")
    (ms, seq), *rest = ids(tasks)
    assert rest == [[ms, seq + 1], [ms, seq + 2]]
    assert [c.map("TASK.GET", "q", task)[b"payload"] for task in tasks] == [b"a", b"b", b"a"]


def test_a_payload_can_be_any_bytes(c):
    """Empty, binary and large payloads are returned unchanged."""
    for payload in (b"", b"\0", b"\r\n$3\r\n", bytes(range(256)), b"x" * 9000, b"y" * 3_000_000, b"DELAY"):
        task = c.push("q", payload)
        assert c.map("TASK.GET", "q", task)[b"payload"] == payload
        assert c("TASK.CLAIM", "q", "NOACK") == [[task, payload, 1]]


def test_options_come_in_any_order_and_any_case(c):
    """TASK.GET shows every option of a push, in each rotation of their order."""
    options = [
        ["priority", -3],
        ["Attempts", 7],
        ["LEASE", 1234],
        ["HEADERS", 2, "a", 1, "b", ""],
        ["Request", 1],
    ]
    for turn in range(len(options)):
        c("DEL", "q")
        words = [word for option in options[turn:] + options[:turn] for word in option]
        task = c.map("TASK.GET", "q", c.push("q", "p", *words))
        assert (task[b"priority"], task[b"attempts"], task[b"lease-ms"]) == (-3, 7, 1234)
        assert c.as_map(task[b"headers"]) == {b"a": b"1", b"b": b""}
        assert task[b"state"] == b"ready"


def test_a_delay_makes_the_task_ready_later(server, c):
    """DELAY counts from now. DELAY 0 is no delay."""
    task = c.push("q", "p", "DELAY", DAY)
    shown = c.map("TASK.GET", "q", task)
    assert shown[b"state"] == b"delayed" and shown[b"due"] == shown[b"enqueued"] + DAY
    assert c.map("TASK.GET", "q", c.push("q", "p", "DELAY", 0))[b"state"] == b"ready"
    soon = c.push("q", "p", "DELAY", 1)
    server.wait_until(lambda: c.map("TASK.GET", "q", soon)[b"state"] == b"ready", "the delay is over")


def test_at_is_an_instant_and_a_past_one_makes_the_task_ready(c):
    """TASK.GET shows the instant as due."""
    at = 4_102_444_800_000  # 2100-01-01
    task = c.map("TASK.GET", "q", c.push("q", "p", "AT", at))
    assert task[b"state"] == b"delayed" and abs(task[b"due"] - at) <= 1
    for past in (AT_MIN, 1_000_000_000_000):
        assert c.map("TASK.GET", "q", c.push("q", "p", "AT", past))[b"state"] == b"ready"


@pytest.mark.parametrize("command", [["TASK.PUSH", "q", "p"], ["TASK.MPUSH", "q", "TASKS", 1, "p"]])
@pytest.mark.parametrize(
    "option, low, high",
    [
        ("DELAY", 0, SPAN_MAX),
        ("AT", AT_MIN, INSTANT_MAX),
        ("PRIORITY", -128, 127),
        ("ATTEMPTS", -1, 65_535),
        ("LEASE", 1, DAY),
        ("TTL", 1, SPAN_MAX),
    ],
)
def test_a_number_is_accepted_within_its_bounds(server, command, option, low, high, c):
    """Both bounds are accepted, numbers beyond them are not. The error names the option and its bounds."""
    for number in (low, high):
        assert not isinstance(c(*command, option, number), Error)
    # A task with a TTL of 1 ms expires soon.
    server.wait_until(lambda: option != "TTL" or c("TASK.LEN", "q") == 1, "the short TTL has ended")
    digest = c.digest()
    assert c.map("TASK.INFO", "q")[b"pushed"] == 2
    for number in (low - 1, high + 1, 2**64, "x", "", "+1", "1.0", f"{high} "):
        named = {"AT": "AT in unix milliseconds"}.get(option, option)
        error = Error(f"ERR {named} must be an integer between {low} and {high}")
        assert c(*command, option, number) == error
    assert c(*command, option) == SYNTAX
    assert c.digest() == digest


def test_an_at_in_seconds_is_refused(c):
    """Read as milliseconds, it would be in January 1970 and the task would run at once."""
    for seconds in (0, 1, 1_795_334_211, 4_102_444_800, AT_MIN - 1):
        for push in (
            ["TASK.PUSH", "q", "p", "AT", seconds],
            ["TASK.MPUSH", "q", "AT", seconds, "TASKS", 1, "p"],
        ):
            assert "AT in unix milliseconds must be" in str(c(*push))
    assert c("EXISTS", "q") == 0


def test_attempts_0_is_refused(c):
    """ATTEMPTS is -1 for no limit, or at least 1."""
    assert c("TASK.PUSH", "q", "p", "ATTEMPTS", 0) == Error(
        "ERR ATTEMPTS must be at least 1, or -1 for no limit"
    )
    assert c("EXISTS", "q") == 0


def test_delay_and_at_cannot_be_combined(c):
    """This also holds for DELAY 0 and for an AT in the past."""
    for both in (["DELAY", 5, "AT", AT_MIN], ["AT", AT_MIN, "DELAY", 0], ["DELAY", 0, "AT", AT_MIN]):
        assert c("TASK.PUSH", "q", "p", *both) == SYNTAX


@pytest.mark.parametrize(
    "option",
    ["BACK", "PROGRESS 5", "TASKS 1 a", "TASKS x", "BLOCK 0", "x"],
)
def test_an_unknown_option_is_refused(option, c):
    """Options of other commands are unknown as well."""
    assert c("TASK.PUSH", "q", "p", *option.split()) == SYNTAX
    if not option.startswith("TASKS"):
        assert c("TASK.MPUSH", "q", *option.split(), "TASKS", 1, "a") == SYNTAX
    assert c("EXISTS", "q") == 0


def test_headers_have_bounds(c):
    """There are 1 to 64 pairs and 4 KiB in all. A name has 1 to 256 bytes; a value can be empty."""
    pairs = [word for n in range(64) for word in (f"name{n}", f"value{n}")]
    headers = c.as_map(c.map("TASK.GET", "q", c.push("q", "p", "HEADERS", 64, *pairs))[b"headers"])
    assert headers == {b"name%d" % n: b"value%d" % n for n in range(64)}
    assert c("TASK.PUSH", "q", "p", "HEADERS", 1, "n" * 256, "v" * 3840)
    digest = c.digest()
    count = Error("ERR HEADERS must be followed by the number of headers, 1 to 64")
    assert c("TASK.PUSH", "q", "p", "HEADERS", 0) == count
    assert c("TASK.PUSH", "q", "p", "HEADERS", 65, *pairs, "n", "v") == count
    long = Error("ERR HEADERS must be at most 4096 bytes long")
    assert c("TASK.PUSH", "q", "p", "HEADERS", 1, "n" * 256, "v" * 3841) == long
    name = Error("ERR the name of a header must be 1 to 256 bytes long")
    assert c("TASK.PUSH", "q", "p", "HEADERS", 1, "", "v") == name
    assert c("TASK.PUSH", "q", "p", "HEADERS", 1, "n" * 257, "v") == name
    assert c("TASK.PUSH", "q", "p", "HEADERS", 2, "n", "v") == SYNTAX
    assert c("TASK.PUSH", "q", "p", "HEADERS", 1, "n") == SYNTAX
    assert c.digest() == digest


def test_mpush_takes_1_to_1000_tasks(c):
    """TASKS is required and must be followed by exactly that many payloads."""
    assert len(c("TASK.MPUSH", "q", "TASKS", 1000, *range(1000))) == 1000
    assert len(c("TASK.MPUSH", "q", "TASKS", 1, "p")) == 1
    count = Error("ERR TASKS must be followed by the number of payloads, 1 to 1000")
    assert c("TASK.MPUSH", "q", "TASKS", 1001, *range(1001)) == count
    assert c("TASK.MPUSH", "q", "TASKS", 0, "p") == count
    assert c("TASK.MPUSH", "q", "TASKS", -1, "p") == count
    assert c("TASK.MPUSH", "q", "TASKS", 2, "p") == SYNTAX
    assert c("TASK.MPUSH", "q", "TASKS", 1, "p", "p") == SYNTAX
    assert c("TASK.MPUSH", "q", "PRIORITY", 1, "LEASE", 2) == SYNTAX
    assert c("TASK.LEN", "q") == 1001


def test_the_options_of_mpush_apply_to_each_task(c):
    """Options can stand before TASKS or after the payloads."""
    options = ["PRIORITY", 5, "ATTEMPTS", 3, "HEADERS", 1, "h", "v", "DELAY", DAY]
    tasks = c("TASK.MPUSH", "q", *options, "TASKS", 2, "a", "b")
    tasks += c("TASK.MPUSH", "q", "TASKS", 2, "a", "b", *options)
    for task in tasks:
        shown = c.map("TASK.GET", "q", task)
        assert (shown[b"state"], shown[b"priority"], shown[b"attempts"]) == (b"delayed", 5, 3)
        assert c.as_map(shown[b"headers"]) == {b"h": b"v"}


def test_a_full_queue_refuses_a_push_as_a_whole(c):
    """max-len counts ready, delayed and leased tasks. An MPUSH that does not fit pushes nothing."""
    full = Error("QFULL the queue has reached max-len")
    assert c("TASK.CONFIG", "q", "SET", "max-len", 3) == "OK"
    c.push("q", "p", "DELAY", DAY)
    c.push()
    handle = c.claim()
    digest = c.digest()
    assert c("TASK.MPUSH", "q", "TASKS", 2, "a", "b") == full
    assert c.digest() == digest
    c.push()
    assert c("TASK.PUSH", "q", "p") == full
    assert c.map("TASK.INFO", "q")[b"refused"] == 2
    assert c("TASK.FAIL", "q", handle, "DEAD") == -1
    c.push("q", "a dead task takes no room")
    c("TASK.CONFIG", "q", "SET", "max-len", 0)
    assert c("TASK.PUSH", "q", "p") == full


def test_max_bytes_bounds_the_bytes_in_a_queue(c):
    """A push that does not fit is refused. An acked task frees its bytes."""
    c("TASK.CONFIG", "q", "SET", "max-bytes", 1000)
    c.push("q", "x" * 900)
    digest = c.digest()
    full = Error("QFULL the queue has reached max-bytes")
    assert c("TASK.PUSH", "q", "x" * 200) == full
    assert c("TASK.PUSH", "q", "", "HEADERS", 1, "h", "v" * 200) == full
    assert c.digest() == digest
    assert c("TASK.ACK", "q", c.claim()) == 1
    c.push("q", "x" * 200)


def test_a_payload_larger_than_max_payload_is_refused(start):
    """The module's setting applies to each payload alone."""
    c = Talk(start(module_args=("max-payload", 100)))
    long = Error("ERR a payload must be at most 100 bytes long")
    c.push("q", "x" * 100)
    assert c("TASK.PUSH", "q", "x" * 101) == long
    assert c("TASK.MPUSH", "q", "TASKS", 2, "a", "x" * 101) == long
    assert len(c("TASK.MPUSH", "q", "TASKS", 2, "x" * 100, "x" * 100)) == 2
    assert c("TASK.LEN", "q") == 3
