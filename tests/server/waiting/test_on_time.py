"""Short waits end when they were asked to, not at the server's next beat.

The servers here beat once a second. So a wait that only a beat ends is found without a clock: another that is to last
longer is over first, or with it.
"""

import pytest
from harness.queues import HOUR
from harness.talk import Error
from harness.waiting import Floor, Worker, claim
from harness.wall_clock import step

# Longer than everything else here together.
LONG_MS = 8000


@pytest.fixture
def floor(start):
    """A server that turns only when something happens, and once a second."""
    return Floor(start(hz=1))


def has_nothing(worker: Worker, *command: object) -> bool:
    """Whether this ends with an answer that says that there is nothing."""
    answer = worker(*command)
    assert not isinstance(answer, Error), answer
    return answer in ([], None)


WAITS = {
    "claim": lambda _: claim("q"),
    "claim of a group": lambda _: [*claim("q"), "GROUP", "g"],
    "claim of several": lambda _: claim(["q", "p"]),
    "result": lambda floor: ["TASK.RESULT", "other", floor.boss.push("other")],
}


@pytest.mark.parametrize("wait", WAITS)
def test_short_waits_one_after_another_are_over_before_a_long_one(floor, wait):
    """Twenty of 20 ms, each asked for when the one before is over: by beats they would last twenty seconds."""
    command = WAITS[wait](floor)
    patient, asker = floor.waiting(block=LONG_MS), floor.worker()
    for _ in range(20):
        assert has_nothing(asker, *command, "BLOCK", 20)
        assert not patient.has_answer(), "a long wait was over before short ones"
    floor.boss.push("q", "x")
    assert patient.payloads() == [b"x"]
    floor.nobody_waits()


def test_short_waits_that_began_together_are_all_over_before_a_long_one(floor):
    """Workers in step, twenty times over: those who share a millisecond all end with it, none at the next beat."""
    patient, workers = floor.waiting(block=LONG_MS), [floor.worker() for _ in range(30)]
    for _ in range(20):
        for worker in workers:
            worker.asks("q", block=20)
        assert all(worker.payloads() == [] for worker in workers)
        assert not patient.has_answer(), "a long wait was over before short ones"


def ends_one_by_one(floor: Floor, spans_ms: list[int]) -> list[int]:
    """Lets a worker wait for each of these spans: the spans in the order of their ends, of those that ended alone."""
    waiting, alone = {ms: floor.worker().asks("q", block=ms) for ms in spans_ms}, []
    while waiting:
        floor.eventually(lambda: any(worker.has_answer() for worker in waiting.values()), "one is over")
        over = [ms for ms, worker in waiting.items() if worker.has_answer()]
        assert all(waiting.pop(ms).payloads() == [] for ms in over)
        alone += over if len(over) == 1 else []
    return alone


def test_waits_end_each_at_its_own_time_whatever_their_order(floor):
    """A wait that is asked for after a longer one ends before it. (A test that is held up sees two ends at once.)"""
    floor.eventually(lambda: ends_one_by_one(floor, [90, 30, 60]) == [30, 60, 90], "each ends by itself", 20)


@pytest.mark.parametrize("end", ["served", "unblocked", "killed"])
def test_the_end_of_a_wait_that_ended_before_ends_no_other(floor, end):
    """Whoever was served, unblocked or killed and asks again waits as long as was asked for the second time."""
    patient = floor.waiting("q", block=200)
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
    assert all(has_nothing(other, *claim("q"), "BLOCK", 100) for _ in range(3))
    assert floor.all_wait([patient])
    floor.boss.push("q", "x")
    assert patient.payloads() == [b"x"]
    floor.nobody_waits()


def test_short_waits_end_while_writes_are_paused(floor):
    """A pause of writes lasts longer than a wait that began before it, and lets it end; nothing is written."""
    patient, short = floor.waiting(block=LONG_MS), floor.waiting(block=300)
    assert floor.boss("CLIENT", "PAUSE", LONG_MS, "WRITE") == "OK"
    assert short.payloads() == []
    assert floor.all_wait([patient])
    floor.boss("CLIENT", "UNPAUSE")
    floor.boss.push("q", "x")
    assert patient.payloads() == [b"x"]
    floor.nobody_waits()


def test_waits_that_begin_after_the_clock_was_set_end_on_time(start):
    """The server's timers of before may be frozen, or have fired too early: later waits end by their own."""
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
