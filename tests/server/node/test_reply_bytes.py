"""No reply holds more of tasks than BYTES says, or 16 MiB: large tasks neither hold the server for long nor fill it."""

import pytest
from harness.queues import HOUR
from harness.talk import SYNTAX, Error, Talk
from harness.waiting import Floor

MEGABYTE = 1_000_000
FIT = (16 << 20) // MEGABYTE  # so many payloads of a megabyte fit into a reply
TASKS = 2 * FIT + 5


def fill(c: Talk, count: int = TASKS, *options: object) -> None:
    """Push so many tasks of a megabyte."""
    for _ in range(count):
        c.push("q", b"x" * MEGABYTE, *options)


def calls(c: Talk, *words: object) -> list[int]:
    """How many tasks each call of a list shows, until its cursor is 0; each task once."""
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


def test_a_list_stops_at_16_mib_and_its_cursor_goes_on(c):
    """WITHPAYLOAD only: without it all of them fit."""
    assert calls(c, "ready", "COUNT", 1000, "WITHPAYLOAD") == [FIT, FIT, 5]
    assert calls(c, "ready", "COUNT", 1000) == [TASKS]


def test_a_list_stops_at_bytes(c):
    """Fewer or more than by default, and at least one; a bad number is refused."""
    assert calls(c, "ready", "COUNT", 1000, "WITHPAYLOAD", "BYTES", 5 * MEGABYTE) == [4] * 9 + [1]
    assert calls(c, "ready", "COUNT", 1000, "WITHPAYLOAD", "BYTES", 1) == [1] * TASKS
    assert calls(c, "ready", "COUNT", 1000, "BYTES", 100 * MEGABYTE, "WITHPAYLOAD") == [TASKS]
    for bad in (0, -1, "x", 2**53):
        error = Error(f"ERR BYTES must be an integer between 1 and {2**53 - 1}")
        assert c("TASK.LIST", "q", "ready", "BYTES", bad) == error
    assert c("TASK.LIST", "q", "ready", "BYTES", 1, "BYTES", 1) == SYNTAX


def test_what_tasks_carry_beside_payloads_counts_in_a_list(server):
    """Headers and progress of a list without payloads."""
    c = Talk(server)
    header = "v" * 4000
    for _ in range(4):
        c("TASK.MPUSH", "q", "HEADERS", 1, "n", header, "TASKS", 10, *["p"] * 10)
    shown = calls(c, "ready", "COUNT", 1000, "BYTES", 50_000)
    assert max(shown) <= 50_000 // 4000 and sum(shown) == 40


def test_results_count_in_a_list_of_the_done(server):
    """WITHPAYLOAD shows them."""
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
    ],
)
def test_a_claim_stops_at_16_mib(c, claim):
    """However many it asks for; the rest stays ready. BYTES allows more."""
    tasks = c(*claim, "COUNT", 1000)
    assert len(tasks[1] if claim[0] == "TASK.MCLAIM" else tasks) == FIT
    assert c("TASK.LEN", "q", "ready") == TASKS - FIT
    assert len(c("TASK.CLAIM", "q", "COUNT", 1000, "BYTES", 100 * MEGABYTE)) == TASKS - FIT


def test_a_claim_in_a_script_stops_too(c):
    """What redis.call gives a script is bounded alike."""
    script = "return #redis.call('TASK.CLAIM', KEYS[1], 'COUNT', 1000)"
    assert c("EVAL", script, 1, "q") == FIT


def test_a_task_larger_than_that_is_claimed_and_listed_alone(server):
    """At least one is given."""
    c = Talk(server)
    for size in (17 << 20, 1, 1):
        c.push("q", b"x" * size)
    assert calls(c, "ready", "WITHPAYLOAD") == [1, 2]
    assert [len(payload) for _, payload, _ in c("TASK.CLAIM", "q", "COUNT", 1000)] == [17 << 20]
    assert len(c("TASK.CLAIM", "q", "COUNT", 1000)) == 2


def test_a_worker_that_waited_gets_16_mib_at_most(server):
    """As one that didn't wait."""
    floor = Floor(server)
    c = floor.boss
    c("TASK.PAUSE", "q")
    fill(c)
    worker = floor.waiting("q", "COUNT", 1000)
    c("TASK.RESUME", "q")
    assert len(worker.payloads()) == FIT
    assert c("TASK.LEN", "q", "leased") == FIT


def test_one_round_of_hand_offs_copies_16_mib_about(server):
    """Each hand-off is copied: many workers of one queue are served over several rounds of the server, all of them."""
    floor = Floor(server)
    c = floor.boss
    c("TASK.PAUSE", "q")
    fill(c)
    workers = [floor.waiting("q") for _ in range(TASKS)]
    c.send(["TASK.RESUME", "q"], ["TASK.LEN", "q", "leased"])
    assert c.read() == "OK"
    assert c.read() == FIT + 1, "what was given when RESUME was over"
    assert [worker.payloads() for worker in workers] == [[b"x" * MEGABYTE]] * TASKS
