"""Short waits end on time, not at the server's next cron tick.

The servers here tick once a second. If only a tick ended a short wait, a longer wait beside it would be over
first or at the same time, so the tests need no clock.
"""

import pytest
from harness.queues import HOUR
from harness.talk import Error
from harness.waiting import Floor, Worker, claim
from harness.wall_clock import step

# Longer than everything else here together.
LONG_MS = 12_000


@pytest.fixture
def floor(start):
    """A server whose event loop runs once a second, or when something happens."""
    return Floor(start(hz=1))


def has_nothing(worker: Worker, *command: object) -> bool:
    """Whether the command returns an empty reply."""
    reply = worker(*command)
    assert not isinstance(reply, Error), reply
    return reply in ([], None)


WAITS = {
    "claim": lambda _: claim("q"),
    "claim of a group": lambda _: [*claim("q"), "GROUP", "g"],
    "claim of several": lambda _: claim(["q", "p"]),
    "result": lambda floor: ["TASK.RESULT", "other", floor.boss.push("other")],
}


@pytest.mark.parametrize("wait", WAITS)
def test_short_waits_in_a_row_end_before_a_long_one(floor, wait):
    """Twenty waits of 20 ms follow each other. If ticks ended them, they would take twenty seconds."""
    command = WAITS[wait](floor)
    patient, asker = floor.waiting(block=LONG_MS), floor.worker()
    for _ in range(20):
        assert has_nothing(asker, *command, "BLOCK", 20)
        assert not patient.has_answer(), "a long wait was over before short ones"
    floor.boss.push("q", "x")
    assert patient.payloads() == [b"x"]
    floor.nobody_waits()


def test_short_waits_at_once_end_before_a_long_one(floor):
    """Thirty workers wait at the same time, twenty times over. None of them waits for the next tick."""
    patient, workers = floor.waiting(block=LONG_MS), [floor.worker() for _ in range(30)]
    for _ in range(20):
        for worker in workers:
            worker.asks("q", block=20)
        assert all(worker.payloads() == [] for worker in workers)
        assert not patient.has_answer(), "a long wait was over before short ones"


def ends_one_by_one(floor: Floor, spans_ms: list[int]) -> list[int]:
    """Let a worker wait for each span. Returns the spans in the order they ended, without those that ended together."""
    waiting, alone = {ms: floor.worker().asks("q", block=ms) for ms in spans_ms}, []
    while waiting:
        floor.eventually(lambda: any(worker.has_answer() for worker in waiting.values()), "one is over")
        over = [ms for ms, worker in waiting.items() if worker.has_answer()]
        assert all(waiting.pop(ms).payloads() == [] for ms in over)
        alone += over if len(over) == 1 else []
    return alone


def test_each_wait_ends_at_its_own_time_in_any_order(floor):
    """A wait that starts after a longer one ends before it. (A slow test can see two ends at once.)"""
    floor.eventually(lambda: ends_one_by_one(floor, [90, 30, 60]) == [30, 60, 90], "each ends by itself", 20)


@pytest.mark.parametrize("end", ["served", "unblocked", "killed"])
def test_the_timer_of_an_earlier_wait_does_not_end_a_later_one(floor, end):
    """A worker that was served, unblocked or killed and claims again waits for its new time."""
    patient = floor.waiting("q", block=600)
    match end:
        case "served":
            floor.boss.push("q", "first")
            assert patient.payloads() == [b"first"]
        case "unblocked":
            floor.boss("CLIENT", "UNBLOCK", patient.id)
            assert patient.payloads() == []
        case "killed":
            floor.boss("CLIENT", "KILL", "ID", patient.id)
            patient = floor.worker()
    floor.seen_to_wait(lambda: patient.asks("q", block=LONG_MS))
    other = floor.worker()
    assert all(has_nothing(other, *claim("q"), "BLOCK", 100) for _ in range(8))
    assert floor.all_wait([patient])
    floor.boss.push("q", "x")
    assert patient.payloads() == [b"x"]
    floor.nobody_waits()


def test_short_waits_end_while_writes_are_paused(floor):
    """They started before the pause and end during it."""
    patient, short = floor.waiting(block=LONG_MS), floor.waiting(block=1000)
    assert floor.boss("CLIENT", "PAUSE", LONG_MS, "WRITE") == "OK"
    assert short.payloads() == []
    assert floor.all_wait([patient])
    floor.boss("CLIENT", "UNPAUSE")
    floor.boss.push("q", "x")
    assert patient.payloads() == [b"x"]
    floor.nobody_waits()


def test_waits_that_begin_after_the_clock_was_set_end_on_time(start):
    """The server's earlier timers can be frozen or have fired too early."""
    floor = Floor(start(hz=1, clock=True))
    asker = floor.worker()
    for by in (-HOUR, HOUR):
        others = [floor.worker().asks("p", block=ms) for ms in range(400, 900, 10)]
        step(floor.server, floor.boss, by)
        patient = floor.waiting(block=LONG_MS)
        assert all(has_nothing(asker, *claim("q"), "BLOCK", 20) for _ in range(20))
        assert floor.all_wait([patient])
        floor.boss("CLIENT", "UNBLOCK", patient.id)
        for other in others:
            other.leave()
    floor.nobody_waits()
