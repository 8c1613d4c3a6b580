"""Claims: tokens, slices, places, and replies that do not come."""

from __future__ import annotations

import json
import time

from ..case import case
from ..failure import Failure
from ..faults import Fault
from ..model import call
from ..sent import Sent
from ..stage import Stage

WATCHED_S = 3.0
MANY = 40


@case("idle")
async def idle(stage: Stage) -> None:
    """A worker without tasks waits in slices, and takes an empty reply as normal."""
    await stage.until(lambda: len(stage.claims()) >= 2, "a second claim after an empty reply")
    begun_at, before = time.monotonic(), len(stage.claims())
    while time.monotonic() < begun_at + WATCHED_S / 2:
        await stage.change(0.05)
    came = len(stage.claims()) - before
    stage.check(came < MANY, f"claims that wait with BLOCK; {came} came in {WATCHED_S / 2} s")
    (task,) = stage.push(call("echo", "a"))
    await stage.answer(task, "TASK.ACK")


@case("batches", places=4)
async def batches(stage: Stage) -> None:
    """Claims ask for free places only (COUNT), and each task is answered once."""
    stage.push(*(call("sleep", 1200) for _ in range(2)), *(call("sleep", 20 * (n % 5)) for n in range(24)))
    await stage.until(lambda: all(task.state == "done" for task in stage.model.tasks), "an ACK for each task")
    await stage.quiet(0.5, lambda: repeated(stage), "a task was answered twice")
    most = max(sent.number("COUNT", 1) for sent in stage.claims())
    stage.check(most <= 4, f"COUNT of at most 4, not {most}")


def repeated(stage: Stage) -> bool:
    """Whether a task was answered more than once."""
    return any(len(stage.answers(task)) > 1 for task in stage.model.tasks)


@case("two-at-a-time", places=2, lease_ms=900)
async def two_at_a_time(stage: Stage) -> None:
    """Two places run two tasks at the same time, while claims and heartbeats go on beside them."""
    long, short = stage.push(call("sleep", 2500), call("sleep", 600))
    await stage.until(lambda: long.delivered_at and short.delivered_at, "claims for both tasks")
    await stage.answer(short, "TASK.ACK", says=", before the task that takes longer")
    stage.check(not stage.answers(long), "the short task to end first, beside the long one")
    claims = len(stage.claims())
    await stage.until(
        lambda: len(stage.claims()) > claims or stage.claims()[-1].is_waiting, "a claim beside a task"
    )
    (third,) = stage.push(call("echo", "c"))
    await stage.answer(third, "TASK.ACK", says=", beside the long task")
    stage.check(not stage.answers(long), "the third task to end beside the long one")
    await stage.answer(long, "TASK.ACK")


@case("without-next", has_next=False)
async def without_next(stage: Stage) -> None:
    """A server without TASK.NEXT gets ACK and CLAIM; a worker may always use these."""
    tasks = stage.push(*(call("echo", n) for n in range(5)))
    for task in tasks:
        await stage.answer(task, "TASK.ACK")


async def claims_again(stage: Stage, fault: Fault) -> None:
    """Whether a claim that meets a fault is sent again with its token."""
    stage.fault(fault)
    first, again = await stage.until(
        lambda: fault.met and after(stage, fault.met[0]), "a claim, and another after the one without a reply"
    )
    stage.check(
        again.request == first.request, f"the token {first.request} again, because that claim had no reply"
    )


def after(stage: Stage, first: Sent) -> tuple[Sent, Sent] | None:
    """A claim and the next one; None if there is no other."""
    claims = stage.claims()
    following = claims[claims.index(first) + 1 :]
    return (first, following[0]) if following else None


async def runs_once(stage: Stage, name: str) -> None:
    """Whether the task `count(name)` was run once, and its result is right."""
    task = stage.model.tasks[0]
    sent = await stage.answer(task, "TASK.ACK", says=", whose claim was sent again")
    runs = json.loads(sent.options.get("RESULT", b"null"))
    stage.check(runs == 1, f"the function to run once, not {runs} times")
    (after,) = stage.push(call("count", name))
    sent = await stage.answer(after, "TASK.ACK")
    runs = json.loads(sent.options.get("RESULT", b"null"))
    stage.check(runs == 2, f"the function to have run twice for two tasks, not {runs} times")


@case("lost-claim")
async def lost_claim(stage: Stage) -> None:
    """A claim whose reply is lost is sent again with the same token, and gets the same tasks."""
    stage.push(call("count", "lost"))
    await claims_again(stage, Fault("claim", "executed, connection cut"))
    await runs_once(stage, "lost")


@case("cut-claim")
async def cut_claim(stage: Stage) -> None:
    """A claim that may not have arrived is sent again with the same token."""
    await claims_again(stage, Fault("claim", "not executed, connection cut", times=2))
    stage.push(call("count", "cut"))
    await runs_once(stage, "cut")


@case("late-claim")
async def late_claim(stage: Stage) -> None:
    """A reply that does not come in time is not waited for, and not taken for another command's."""
    held = stage.fault(Fault("claim", "reply held"))
    (task,) = stage.push(call("count", "late"))
    first, again = await stage.until(
        lambda: held.met and after(stage, held.met[0]),
        "a claim, and it again on another connection, when its reply is late (BLOCK and 2 s more)",
    )
    stage.check(
        again.request == first.request, f"the token {first.request} again, because that claim had no reply"
    )
    await runs_once(stage, "late")
    if stage.answers(task)[0].options.get("RESULT") != b"1":
        raise Failure("expected the late reply to be ignored")


@case("refused-claim")
async def refused_claim(stage: Stage) -> None:
    """An error that does not pass (WRONGTYPE) ends the worker, with a status that is not 0."""
    wrong = "WRONGTYPE Operation against a key holding the wrong kind of value"
    stage.fault(Fault("claim", "refused", times=1000, error=wrong))
    await stage.until(lambda: stage.claims(), "a claim")
    assert stage.worker is not None
    stage.stopped_at = float("inf")  # its end is expected
    status = await stage.ended()
    stage.check(status != 0, "an exit status that is not 0")
    stage.check(len(stage.claims()) < MANY, f"an end after few refusals, not after {len(stage.claims())}")
