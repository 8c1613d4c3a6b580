"""TASK.ACK, TASK.REQUEUE, TASK.EXTEND and TASK.FAIL: what they share, and what the first three do."""

import pytest
from harness.talk import SYNTAX, Error, Talk

DAY = 86_400_000
SPAN_MAX = 100 * 365 * DAY
STALE = Error("STALE the lease has ended and the handle is no longer valid")
CANCELLED = Error("CANCELLED cancellation of this task was requested")
COMMANDS = ["TASK.ACK", "TASK.REQUEUE", "TASK.EXTEND", "TASK.FAIL"]


def state(c: Talk, handle: bytes) -> bytes:
    """The state of a handle's task."""
    return c.map("TASK.GET", "q", handle)[b"state"]


def wait_ready(server, c: Talk, count: int = 1) -> None:
    """Wait until that many tasks are ready."""
    server.wait_until(lambda: c("TASK.LEN", "q", "ready") == count, f"{count} tasks are ready")


@pytest.mark.parametrize("protocol", [2, 3])
def test_an_ack_finishes_a_task_once(protocol, c):
    """The first ACK returns 1. The same ACK sent again returns 0 and changes nothing."""
    task = c.push()
    handle = c.claim()
    assert c("TASK.ACK", "q", handle) == 1
    assert c("TASK.ACK", "q", handle) == 0
    assert c("TASK.GET", "q", task) is None
    info = c.map("TASK.INFO", "q")
    assert (info[b"acked"], info[b"late"], info[b"leased"]) == (1, 0, 0)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("protocol", [2, 3])
def test_a_handle_of_a_finished_task_or_a_missing_queue_returns_0(command, protocol, c):
    """This also holds for each handle of a list. A missing queue is not created."""
    c.push()
    handle = c.claim()
    assert c("TASK.ACK", "q", handle) == 1
    for key in ("q", "missing"):
        assert c(command, key, handle) == 0
        assert c(command, key, "HANDLES", 2, handle, handle) == [0, 0]
    assert c("EXISTS", "missing") == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_a_handle_of_another_lease_is_stale(c, command):
    """A handle with a wrong nonce or lease number, or of a lease that has ended, changes nothing."""
    c.push()
    old = c.claim()
    assert c("TASK.REQUEUE", "q", old) == 1
    digest = c.digest()
    assert c(command, "q", old) == STALE
    assert c(command, "q", "HANDLES", 2, old, old) == [-2, -2]
    assert c.digest() == digest
    handle = c.claim()
    digest = c.digest()
    task, lease = handle.split(b"@")
    number, nonce = lease.split(b"-")
    other_nonce = b"%08x" % (int(nonce, 16) ^ 1)
    forged = [b"%b@%b-%b" % (task, number, other_nonce), b"%b@%d-%b" % (task, int(number) + 1, nonce)]
    for stale in (old, *forged):
        assert c(command, "q", stale) == STALE
    assert c(command, "q", "HANDLES", 1, old) == [-2]
    assert c.digest() == digest
    assert c("TASK.ACK", "q", handle) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_ready_task_that_was_never_leased_has_no_valid_handle(c, command):
    """A handle with lease 0 and nonce 0 is stale, even if the engine stores "no lease yet" like this."""
    task = c.push()
    assert c(command, "q", b"%b@0-00000000" % task) == STALE
    assert state(c, task) == b"ready"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_handle_gets_its_own_reply_in_order(c, command):
    """Valid, finished, stale and repeated handles each get one integer."""
    c("TASK.MPUSH", "q", "TASKS", 4, *"abcd")
    a, finished, stale, d = (task[0] for task in c("TASK.CLAIM", "q", "COUNT", 4))
    assert c("TASK.ACK", "q", finished) == 1 and c("TASK.REQUEUE", "q", stale) == 1
    first, *others = c(command, "q", "handles", 5, a, finished, stale, a, d)
    again = others[2]
    assert first >= 1 and others[3] >= 1 and others[:2] == [0, -2]
    match command:
        case "TASK.ACK":
            assert again == 0
        case "TASK.EXTEND":
            assert again >= first
        case _:
            assert again == -2


@pytest.mark.parametrize("command", COMMANDS)
def test_the_number_of_handles_is_1_to_1000(c, command):
    """HANDLES must be followed by exactly that many handles."""
    c("TASK.MPUSH", "q", "TASKS", 1000, *range(1000))
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 1000)]
    digest = c.digest()
    for count in (0, -1, 1001, "x", ""):
        error = Error("ERR HANDLES must be followed by the number of handles, 1 to 1000")
        assert c(command, "q", "HANDLES", count, *handles, handles[0]) == error
    assert c(command, "q", "HANDLES", 2, handles[0]) == SYNTAX
    assert c(command, "q", "HANDLES", 1, handles[0], handles[1]) == SYNTAX
    assert c(command, "q", handles[0], handles[1]) == SYNTAX
    assert c(command, "q", "HANDLES", 2, handles[0], "x") == Error("ERR invalid handle")
    assert c.digest() == digest
    assert min(c(command, "q", "HANDLES", 1000, *handles)) >= 1


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_refused(c, command):
    """Options of other commands are unknown as well."""
    c.push()
    handle = c.claim()
    digest = c.digest()
    known = ["RESULT r", "RETAIN 5"] if command == "TASK.ACK" else ["PROGRESS p"]
    for option in ("RESULT r", "RETAIN 5", "PROGRESS p", "TTL 5", "WORKER w", "", "HANDLES", "HANDLES 1"):
        if option in known:
            continue
        assert c(command, "q", handle, *option.split(" ")) == SYNTAX
        assert c(command, "q", "HANDLES", 1, handle, *option.split(" ")) == SYNTAX
    assert c.digest() == digest


def test_a_late_ack_is_accepted_until_the_task_is_claimed_again(server, c):
    """It counts as late. EXTEND, FAIL and REQUEUE are refused as stale after the deadline."""
    c.push()
    c.push()
    late, later = (task[0] for task in c("TASK.CLAIM", "q", "COUNT", 2, "LEASE", 1))
    wait_ready(server, c, 2)
    for command in ("TASK.EXTEND", "TASK.FAIL", "TASK.REQUEUE"):
        assert c(command, "q", late) == STALE
    assert c("TASK.ACK", "q", late) == 1
    handle = c.claim()
    assert c("TASK.ACK", "q", later) == STALE
    assert c("TASK.ACK", "q", handle) == 1
    info = c.map("TASK.INFO", "q")
    assert (info[b"acked"], info[b"late"], info[b"stalled"]) == (2, 1, 2)


def test_requeue_returns_a_task_to_where_it_was_or_to_the_back(c):
    """A requeue counts as a delivery but not as a failure."""
    for payload in "abc":
        c.push("q", payload)
    assert c("TASK.REQUEUE", "q", c.claim()) == 1
    [[handle, payload, deliveries]] = c("TASK.CLAIM", "q")
    assert (payload, deliveries) == (b"a", 2)
    assert c("TASK.REQUEUE", "q", handle, "back") == 1
    assert [task[1] for task in c("TASK.CLAIM", "q", "COUNT", 3)] == [b"b", b"c", b"a"]
    info = c.map("TASK.INFO", "q")
    assert (info[b"requeued"], info[b"failed"], info[b"stalled"]) == (2, 0, 0)


@pytest.mark.parametrize("options", [["DELAY", DAY], ["BACK", "DELAY", DAY], ["delay", DAY, "back"]])
def test_requeue_with_a_delay_makes_the_task_delayed(c, options):
    """DELAY and BACK can be given in any order. DELAY 0 is no delay."""
    c.push()
    handle = c.claim()
    assert c("TASK.REQUEUE", "q", handle, *options) == 1
    assert state(c, handle) == b"delayed"
    c.push()
    assert c("TASK.REQUEUE", "q", c.claim(), "DELAY", 0) == 1
    assert c("TASK.LEN", "q", "ready") == 1


def test_extend_renews_the_lease_for_its_own_length_or_a_given_one(c):
    """It returns the new deadline, which TASK.GET shows. A lease never gets shorter."""
    c.push("q", "p", "LEASE", 50_000)
    handle = c.claim()
    before = c.map("TASK.GET", "q", handle)[b"deadline"]
    first = c("TASK.EXTEND", "q", handle)
    assert before <= first <= before + 10_000
    longer = c("TASK.EXTEND", "q", handle, "lease", DAY)
    assert longer >= first + DAY - 50_000
    assert c("TASK.EXTEND", "q", handle) == longer
    assert c("TASK.EXTEND", "q", handle, "LEASE", 1) == longer
    assert c("TASK.EXTEND", "q", "HANDLES", 1, handle) == [longer]
    assert c.map("TASK.GET", "q", handle)[b"deadline"] == longer


def test_extend_goes_no_further_than_run_max(c):
    """run-max counts from the claim, so a hung worker that still sends heartbeats loses its task."""
    c("TASK.CONFIG", "q", "SET", "run-max", 60_000)
    c.push()
    handle = c.claim()
    claimed = c.map("TASK.GET", "q", handle)[b"claimed"]
    assert c("TASK.EXTEND", "q", handle, "LEASE", DAY) == claimed + 60_000


@pytest.mark.parametrize(
    "command, option, low, high",
    [
        ("TASK.REQUEUE", "DELAY", 0, SPAN_MAX),
        ("TASK.FAIL", "DELAY", 0, SPAN_MAX),
        ("TASK.EXTEND", "LEASE", 1, DAY),
    ],
)
def test_a_number_is_accepted_within_its_bounds(c, command, option, low, high):
    """Both bounds are accepted. A number beyond them is an error that changes nothing."""
    c("TASK.MPUSH", "q", "TASKS", 2, "a", "b")
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 2)]
    digest = c.digest()
    for number in (low - 1, high + 1, "", "x", "1.0"):
        error = Error(f"ERR {option} must be an integer between {low} and {high}")
        assert c(command, "q", handles[0], option, number) == error
    assert c.digest() == digest
    for handle, number in zip(handles, (low, high), strict=True):
        assert c(command, "q", handle, option, number) >= 1


def test_extend_tells_a_worker_that_cancellation_was_requested(c):
    """EXTEND replies CANCELLED, or -3 in an array. An ACK still finishes the task."""
    task = c.push()
    handle = c.claim()
    assert c("TASK.CANCEL", "q", task) == 2
    digest = c.digest()
    assert c("TASK.EXTEND", "q", handle) == CANCELLED
    assert c("TASK.EXTEND", "q", "HANDLES", 1, handle) == [-3]
    assert c.digest() == digest
    assert c("TASK.ACK", "q", handle) == 1
    assert c.map("TASK.INFO", "q")[b"acked"] == 1


@pytest.mark.parametrize("command", [["TASK.FAIL"], ["TASK.REQUEUE"], ["TASK.REQUEUE", "BACK", "DELAY", 5]])
def test_a_requested_cancellation_happens_when_the_worker_gives_the_task_back(c, command):
    """FAIL or REQUEUE returns 0, and the task counts as cancelled, not as failed or requeued."""
    task = c.push()
    handle = c.claim()
    assert c("TASK.CANCEL", "q", task) == 2
    assert c(command[0], "q", handle, *command[1:]) == 0
    assert c("TASK.GET", "q", task) is None
    info = c.map("TASK.INFO", "q")
    assert (info[b"cancelled"], info[b"failed"], info[b"requeued"]) == (1, 0, 0)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_malformed_handle_is_an_error(c, command):
    """Task ids, parts of handles, and handles with a blank, a sign, capitals or too many digits are refused."""
    handles = ["", "1-1", "1-1@", "1-1@1", "1-1@1-", "@", "1-1@1-0000000G", "1-1@1-ABCDEF00"]
    handles += ["x-1@1-0000000f", " 1-1@1-0000000f", "+1-1@1-0000000f", f"{2**64}-0@1-0000000f"]
    c.push()
    for text in handles:
        assert c(command, "q", text) == Error("ERR invalid handle")
