"""A reply has at most BYTES of tasks, by default 16 MiB, so that large tasks do not block or fill the server."""

import pytest
from harness.edges import bound
from harness.queues import HOUR
from harness.talk import SYNTAX, Error, Talk
from harness.waiting import Floor

MEGABYTE = 1_000_000
FIT = (16 << 20) // MEGABYTE  # the number of payloads of 1 MB that fit into a reply
TASKS = 2 * FIT + 5


def fill(c: Talk, count: int = TASKS, *options: object) -> None:
    """Push that many tasks of 1 MB."""
    for _ in range(count):
        c.push("q", b"x" * MEGABYTE, *options)


def calls(c: Talk, *words: object) -> list[int]:
    """The number of tasks in each page of a list. Each task is shown once."""
    cursor, shown, seen = b"0", [], []
    while True:
        cursor, tasks = c("TASK.LIST", "q", *words, "CURSOR", cursor)
        shown.append(len(tasks))
        seen += [c.as_map(task)[b"id"] for task in tasks]
        if cursor == b"0":
            assert len(set(seen)) == len(seen)
            return shown


@pytest.fixture
def c(server):
    """A connection to a server with a queue of large tasks."""
    c = Talk(server)
    fill(c)
    return c


def parts_of(tasks: int) -> list[int]:
    """How many tasks each call of LIST shows if all bytes fit: as many as a call examines."""
    looked_at = bound("engine/view/list.rs", "LIST_LOOKED_AT")
    return [min(looked_at, tasks - shown) for shown in range(0, tasks, looked_at)]


def test_a_list_stops_at_16_mib_and_its_cursor_goes_on(c):
    """Only payloads are that large, so without WITHPAYLOAD all tasks fit."""
    assert calls(c, "ready", "COUNT", 1000, "WITHPAYLOAD") == [FIT, FIT, 5]
    assert calls(c, "ready", "COUNT", 1000) == parts_of(TASKS)


def test_a_list_stops_at_bytes(c):
    """BYTES can be above or below the default. At least one task is shown."""
    assert calls(c, "ready", "COUNT", 1000, "WITHPAYLOAD", "BYTES", 5 * MEGABYTE) == [4] * 9 + [1]
    assert calls(c, "ready", "COUNT", 1000, "WITHPAYLOAD", "BYTES", 1) == [1] * TASKS
    assert calls(c, "ready", "COUNT", 1000, "BYTES", 100 * MEGABYTE, "WITHPAYLOAD") == parts_of(TASKS)
    for bad in (0, -1, "x", 2**53):
        error = Error(f"ERR BYTES must be an integer between 1 and {2**53 - 1}")
        assert c("TASK.LIST", "q", "ready", "BYTES", bad) == error
    assert c("TASK.LIST", "q", "ready", "BYTES", 1, "BYTES", 1) == SYNTAX


def test_headers_count_in_a_list(server):
    """They count in a list without payloads."""
    c = Talk(server)
    header = "v" * 4000
    for _ in range(4):
        c("TASK.MPUSH", "q", "HEADERS", 1, "n", header, "TASKS", 10, *["p"] * 10)
    shown = calls(c, "ready", "COUNT", 1000, "BYTES", 50_000)
    assert max(shown) <= 50_000 // 4000 and sum(shown) == 40


def test_results_count_in_a_list_of_done_tasks(server):
    """WITHPAYLOAD shows results."""
    c = Talk(server)
    c("TASK.MPUSH", "q", "TASKS", TASKS, *["p"] * TASKS)
    for handle, *_ in c("TASK.CLAIM", "q", "COUNT", TASKS):
        assert c("TASK.ACK", "q", handle, "RESULT", b"r" * MEGABYTE, "RETAIN", HOUR) == 1
    assert calls(c, "done", "COUNT", 1000, "WITHPAYLOAD") == [FIT, FIT, 5]


@pytest.mark.parametrize(
    "claim",
    [
        ("TASK.CLAIM", "q"),
        ("TASK.CLAIM", "q", "NOACK"),
        ("TASK.CLAIM", "q", "WITHMETA", "REQUEST", "t"),
        ("TASK.MCLAIM", "other", "KEYS", 1, "q"),
        ("TASK.NEXT", "q", "1-1@1-00000000"),
    ],
)
def test_a_claim_stops_at_16_mib(c, claim):
    """COUNT does not change this; BYTES does. The other tasks stay ready."""
    tasks = c(*claim, "COUNT", 1000)
    assert len(tasks if claim[0] == "TASK.CLAIM" else tasks[1]) == FIT
    assert c("TASK.LEN", "q", "ready") == TASKS - FIT
    assert len(c("TASK.CLAIM", "q", "COUNT", 1000, "BYTES", 100 * MEGABYTE)) == TASKS - FIT


def test_a_claim_in_a_script_stops_at_16_mib(c):
    """The reply of redis.call has the same limit."""
    script = "return #redis.call('TASK.CLAIM', KEYS[1], 'COUNT', 1000)"
    assert c("EVAL", script, 1, "q") == FIT


def test_a_task_above_16_mib_is_claimed_and_listed_alone(server):
    """A reply has at least one task."""
    c = Talk(server)
    for size in (17 << 20, 1, 1):
        c.push("q", b"x" * size)
    assert calls(c, "ready", "WITHPAYLOAD") == [1, 2]
    assert [len(payload) for _, payload, _ in c("TASK.CLAIM", "q", "COUNT", 1000)] == [17 << 20]
    assert len(c("TASK.CLAIM", "q", "COUNT", 1000)) == 2


def test_a_worker_that_waited_gets_at_most_16_mib(server):
    """The limit is that of a claim that does not wait."""
    floor = Floor(server)
    c = floor.boss
    c("TASK.PAUSE", "q")
    fill(c)
    worker = floor.waiting("q", "COUNT", 1000)
    c("TASK.RESUME", "q")
    assert len(worker.payloads()) == FIT
    assert c("TASK.LEN", "q", "leased") == FIT


def test_one_round_of_hand_offs_copies_about_16_mib(server):
    """Each hand-off copies its tasks, so many workers are served over several event loop cycles."""
    floor = Floor(server)
    c = floor.boss
    c("TASK.PAUSE", "q")
    fill(c)
    workers = [floor.waiting("q") for _ in range(TASKS)]
    c.send(["TASK.RESUME", "q"], ["TASK.LEN", "q", "leased"])
    assert c.read() == "OK"
    fit = bound("module/txn/served.rs", "BYTES_MAX") // MEGABYTE
    assert c.read() == fit + 1, "the tasks handed off when RESUME returned"
    assert [worker.payloads() for worker in workers] == [[b"x" * MEGABYTE]] * TASKS
