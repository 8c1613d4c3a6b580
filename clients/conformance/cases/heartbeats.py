"""Heartbeats: leases are extended in time, and a function is asked to stop if its task is lost or cancelled."""

from __future__ import annotations

from ..case import case
from ..faults import Fault
from ..model import ModelTask, call
from ..stage import Stage
from .answers import goes_on

LEASE_MS, LONG_MS = 900, 3000
# A third of the lease is 300 ms: ten in the time of the task. A busy machine may have fewer.
FEWEST = 5


@case("heartbeats", lease_ms=LEASE_MS)
async def heartbeats(stage: Stage) -> None:
    """A lease of 900 ms is extended at each third of it, through a task of 3 s."""
    (task,) = stage.push(call("sleep", LONG_MS))
    await stage.answer(task, "TASK.ACK")
    stage.model.look_at_leases()
    stage.check(not task.has_lapsed, "EXTEND before the lease of 900 ms ends")
    number = len(stage.answers(task, "TASK.EXTEND"))
    stage.check(number >= FEWEST, f"EXTEND at a third of the lease, about 10 in 3 s, not {number}")


@case("lost-heartbeat", lease_ms=1500)
async def lost_heartbeat(stage: Stage) -> None:
    """A heartbeat without a reply is sent again soon, before the lease ends."""
    stage.fault(Fault("extend", "not executed, connection cut"))
    (task,) = stage.push(call("sleep", LONG_MS))
    await stage.answer(task, "TASK.ACK")
    stage.check(stage.answers(task, "TASK.EXTEND"), "EXTEND")
    stage.check(not task.has_lapsed, "EXTEND again after one without a reply, before the lease ends")


@case("many-leases", places=5, lease_ms=1500)
async def many_leases(stage: Stage) -> None:
    """The leases of several tasks are all extended, and one that is lost leaves the others alone."""
    tasks = stage.push(*(call("sleep", 2500) for _ in range(5)))
    await stage.until(lambda: all(task.delivered_at for task in tasks), "claims for all five tasks")
    tasks[2].fate = "taken"
    for task in (tasks[0], tasks[1], tasks[3], tasks[4]):
        await stage.answer(task, "TASK.ACK")
        stage.check(not task.has_lapsed, "EXTEND for all leases, in time")


async def told(stage: Stage, task: ModelTask, fate: str, what: str) -> None:
    """End a running task's lease in this way, and wait until the worker's next heartbeat has got the answer."""
    await stage.until(lambda: task.delivered_at, "a claim")
    task.fate = fate
    await stage.until(lambda: task.is_told, "EXTEND, at a third of the lease")
    count = len(stage.answers(task, "TASK.EXTEND"))
    beaten = f"EXTEND was sent on after {what}"
    # One can have been under way, on another connection or in the same command as others.
    await stage.quiet(1.5, lambda: len(stage.answers(task, "TASK.EXTEND")) > count + 1, beaten)


@case("stale-heartbeat", lease_ms=LEASE_MS)
async def stale_heartbeat(stage: Stage) -> None:
    """STALE to EXTEND: no more heartbeats, the function is asked to stop, and its place is free."""
    (task,) = stage.push(call("sleep", 60_000))
    await told(stage, task, "taken", "STALE")
    await goes_on(stage)


@case("removed-task", lease_ms=LEASE_MS)
async def removed_task(stage: Stage) -> None:
    """0 to EXTEND: the task was finished or removed. It is as with STALE."""
    (task,) = stage.push(call("sleep", 60_000))
    await told(stage, task, "removed", "0")
    await goes_on(stage)


@case("late-ack", lease_ms=LEASE_MS)
async def late_ack(stage: Stage) -> None:
    """STALE to EXTEND can mean that only the deadline has passed: a result is sent all the same."""
    (task,) = stage.push(call("stubborn", 2000))
    await stage.until(lambda: task.delivered_at, "a claim")
    task.has_lapsed = True
    await stage.until(lambda: task.is_told, "EXTEND, at a third of the lease")
    await stage.answer(task, "TASK.ACK", says=", because the server accepts a late ACK")
    await goes_on(stage)


@case("cancel", lease_ms=LEASE_MS)
async def cancel(stage: Stage) -> None:
    """-3 or CANCELLED to EXTEND: the function is asked to stop; then REQUEUE, FAIL or ACK ends the task."""
    (task,) = stage.push(call("sleep", 60_000))
    await told(stage, task, "cancelled", "-3 (CANCELLED)")
    await stage.until(
        lambda: stage.answers(task),
        "REQUEUE, FAIL or ACK after the cancel, and no wait for the end of the task",
    )
    await goes_on(stage)
