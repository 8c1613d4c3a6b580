"""TASK.FAIL: when a task comes back, when it is dead, and how its error text is kept."""

import pytest
from harness.talk import SYNTAX, Error, Talk

STALE = Error("STALE the lease has ended and the handle is no longer valid")
DAY = 86_400_000


def state(c: Talk, handle: bytes) -> bytes:
    """The state of a handle's task."""
    return c.map("TASK.GET", "q", handle)[b"state"]


def test_fail_returns_the_delay_until_the_next_attempt(c):
    """Without jitter the backoff doubles from backoff-base up to backoff-max. DELAY overrides it."""
    c("TASK.CONFIG", "q", "SET", "backoff-jitter", 0, "backoff-base", 10_000, "backoff-max", 25_000)
    expected = [10_000, 20_000, 25_000, 25_000]
    task = c.push()
    for failures, backoff in enumerate(expected, 1):
        assert c("TASK.FAIL", "q", c.claim()) == backoff
        shown = c.map("TASK.GET", "q", task)
        assert (shown[b"state"], shown[b"failures"]) == (b"delayed", failures)
        assert c("TASK.RETRY", "q", task) == 1
    assert c("TASK.FAIL", "q", c.claim(), "DELAY", 77_000) == 77_000
    assert c("TASK.RETRY", "q", task) == 1
    assert c("TASK.FAIL", "q", c.claim(), "DELAY", 0) == 1


@pytest.mark.parametrize("how, delays", [("linear", [500, 1000, 1500]), ("fixed", [500, 500, 500])])
def test_the_backoff_can_be_linear_or_fixed(c, how, delays):
    """Linear backoff is base times the number of failures. Fixed backoff is base."""
    c("TASK.CONFIG", "q", "SET", "backoff", how, "backoff-jitter", 0, "backoff-base", 500)
    task = c.push()
    for delay in delays:
        assert c("TASK.FAIL", "q", c.claim()) == delay
        assert c("TASK.RETRY", "q", task) == 1


def test_jitter_changes_a_backoff_by_at_most_its_percentage(c):
    """Of 200 delays all are within 20 %, and they differ."""
    c("TASK.CONFIG", "q", "SET", "backoff-jitter", 20, "backoff-base", 10_000)
    c("TASK.MPUSH", "q", "TASKS", 200, *range(200))
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 200)]
    delays = c("TASK.FAIL", "q", "HANDLES", 200, *handles)
    assert 8_000 <= min(delays) and max(delays) <= 12_000
    assert len(set(delays)) > 50


def test_a_task_is_dead_after_its_last_attempt(c):
    """FAIL returns -1, even with DELAY. ATTEMPTS of the task come before the queue's."""
    c("TASK.CONFIG", "q", "SET", "attempts", 1)
    c.push()
    handle = c.claim()
    assert c("TASK.FAIL", "q", handle, "ERROR", "oh", "DELAY", 5) == -1
    assert (state(c, handle), c.map("TASK.GET", "q", handle)[b"error"]) == (b"dead", b"oh")
    task = c.push("q", "p", "ATTEMPTS", 2)
    assert c("TASK.FAIL", "q", c.claim()) > 0
    assert c("TASK.RETRY", "q", task) == 1
    assert c("TASK.FAIL", "q", c.claim()) == -1
    c.push("q", "p", "ATTEMPTS", -1)
    assert c("TASK.FAIL", "q", c.claim()) > 0


def test_fail_dead_makes_the_task_dead_at_once(c):
    """DEAD and DELAY cannot be combined. ERROR can stand before or after DEAD."""
    c("TASK.MPUSH", "q", "TASKS", 3, *"abc")
    a, b, third = (task[0] for task in c("TASK.CLAIM", "q", "COUNT", 3))
    assert c("TASK.FAIL", "q", a, "dead", "error", "e") == -1
    assert c("TASK.FAIL", "q", b, "ERROR", "e", "DEAD") == -1
    assert c("TASK.FAIL", "q", third, "DEAD", "DELAY", 5) == SYNTAX
    assert c("TASK.FAIL", "q", third, "DELAY", 5, "DEAD") == SYNTAX
    assert c("TASK.FAIL", "q", "HANDLES", 1, third, "DEAD") == [-1]
    assert c("TASK.LEN", "q", "dead") == 3
    assert c("TASK.FAIL", "q", a) == STALE


def test_the_text_of_a_failure_is_kept_and_cut_at_4_kib(c):
    """The text can be any bytes. The next failure replaces it, or removes it if it has no text."""
    task = c.push()
    for text, kept in ((b"\0\r\n\xff", b"\0\r\n\xff"), (b"x" * 5000, b"x" * 4096), (b"", None)):
        assert c("TASK.FAIL", "q", c.claim(), "ERROR", text) > 0
        assert c.map("TASK.GET", "q", task).get(b"error") == kept
        assert c("TASK.RETRY", "q", task) == 1


def test_the_last_errors_are_kept_with_attempt_time_and_worker(c):
    """There are as many as errors-kept says, the oldest first. A failure without a text is among them."""
    task = c.push()
    c("TASK.CONFIG", "q", "SET", "errors-kept", 3)
    for worker, error in (("w1", "one"), ("w1", "two"), ("w2", ""), ("", "four")):
        handle = c.claim("q", "WORKER", worker) if worker else c.claim()
        assert c("TASK.FAIL", "q", handle, *(["ERROR", error] if error else []), "DELAY", DAY) == DAY
        assert c("TASK.RETRY", "q", task) == 1
    shown = c.map("TASK.GET", "q", task)
    errors = [c.as_map(error) for error in shown[b"errors"]]
    instants = [error.pop(b"at") for error in errors]
    assert instants == sorted(instants) and shown[b"enqueued"] <= instants[0] <= shown[b"ready-since"]
    assert errors == [
        {b"attempt": 2, b"worker": b"w1", b"error": b"two"},
        {b"attempt": 3, b"worker": b"w2"},
        {b"attempt": 4, b"error": b"four"},
    ]
    assert shown[b"error"] == b"four"
    [listed] = c("TASK.LIST", "q", "READY", "WITHPAYLOAD")[1]
    assert len(c.as_map(listed)[b"errors"]) == 3
    [listed] = c("TASK.LIST", "q", "READY")[1]
    assert c.as_map(listed)[b"error"] == b"four" and b"errors" not in c.as_map(listed)
    c("TASK.CONFIG", "q", "SET", "errors-kept", 1)
    assert len(c.map("TASK.GET", "q", task)[b"errors"]) == 1


def test_a_task_that_dies_of_a_stall_has_an_error_that_says_so(server):
    """It stands behind the errors of the failures before."""
    c = Talk(server)
    task = c.push()
    c("TASK.CONFIG", "q", "SET", "errors-kept", 10, "stalls", 1)
    c("TASK.FAIL", "q", c.claim("q", "WORKER", "w1"), "ERROR", "no disk", "DELAY", 1)
    c("TASK.RETRY", "q", task)
    c.claim("q", "WORKER", "w2", "LEASE", 1)
    server.wait_until(lambda: state(c, task) == b"dead", "the lease ends")
    first, second = (c.as_map(error) for error in c.map("TASK.GET", "q", task)[b"errors"])
    assert (first[b"worker"], first[b"error"]) == (b"w1", b"no disk")
    assert (second[b"attempt"], second[b"worker"]) == (2, b"w2")
    assert second[b"error"] == b"1 stall, after 1 ms at worker w2"


def test_a_dead_task_shows_its_last_attempt_until_it_is_retried(c):
    """The worker, when it claimed the task, and for how long it had it."""
    task = c.push()
    handle = c.claim("q", "WORKER", "w1")
    claimed = c.map("TASK.GET", "q", task)[b"claimed"]
    assert c("TASK.FAIL", "q", handle, "DEAD") == -1
    shown = c.map("TASK.GET", "q", task)
    assert (shown[b"worker"], shown[b"claimed"]) == (b"w1", claimed)
    assert claimed + shown[b"run-ms"] == shown[b"dead-since"]
    [listed] = c("TASK.LIST", "q", "DEAD")[1]
    assert c.as_map(listed)[b"run-ms"] == shown[b"run-ms"]
    assert c("TASK.RETRY", "q", task) == 1
    assert not {b"worker", b"claimed", b"run-ms"} & set(c.map("TASK.GET", "q", task))


def test_a_failure_says_how_far_the_task_has_got(c):
    """PROGRESS is kept through the retry and when the task is dead. An empty one removes it."""
    task = c.push()
    assert c("TASK.FAIL", "q", c.claim(), "PROGRESS", "step=1", "DELAY", DAY) == DAY
    assert c.map("TASK.GET", "q", task)[b"progress"] == b"step=1"
    c("TASK.RETRY", "q", task)
    assert c("TASK.FAIL", "q", "HANDLES", 1, c.claim(), "DEAD", "PROGRESS", "x" * 4096) == [-1]
    assert len(c.map("TASK.GET", "q", task)[b"progress"]) == 4096
    c("TASK.RETRY", "q", task)
    digest, handle = c.digest(), c.claim()
    assert c("TASK.FAIL", "q", handle, "PROGRESS", "x" * 4097) == Error(
        "ERR PROGRESS must be at most 4096 bytes long"
    )
    assert c("TASK.FAIL", "q", handle, "PROGRESS", "") > 0
    assert b"progress" not in c.map("TASK.GET", "q", task) and c.digest() != digest
