"""The server is away or accepts nothing for now, and the worker goes on afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from ..case import case
from ..faults import Fault
from ..model import call
from ..stage import Stage
from .answers import goes_on

# Longer than clients usually try a command again by themselves.
AWAY_S = 11.0
# After how many commands new connections break. Clients send one to four before those of the worker.
BREAKS = (0, 0, 0, 0, 0, 0, 1, 2, 3, 4)
PASSING = [
    "LOADING server is loading the dataset in memory",
    "READONLY You can't write against a read only replica.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "CLUSTERDOWN The cluster is down",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    "MISCONF Errors writing to the AOF file: No space left on device",
    "NOREPLICAS Not enough good replicas to write.",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
]


@case("server-away", places=2, lease_ms=1500)
async def server_away(stage: Stage) -> None:
    """The server is gone for 11 s while a task ends: its result is sent when the server is back."""
    (task,) = stage.push(call("sleep", 1200))
    await stage.begun(task)
    await stage.go_away()
    await asyncio.sleep(AWAY_S)
    stage.check(not stage.answers(task), "the task to end while the server is away")
    await stage.listen()
    sent = await stage.answer(task, "TASK.ACK", says=", when the server is back")
    stage.check(sent.options.get("RESULT") == b"1200", "the RESULT of the work that was done")
    await goes_on(stage)


def are_over(faults: Sequence[Fault]) -> bool:
    """Whether faults have happened as often as they were to."""
    return not any(fault.times for fault in faults)


@case("passing-errors")
async def passing_errors(stage: Stage) -> None:
    """Errors that pass (LOADING, READONLY and others) are waited out, for claims and for answers."""
    # Not all at once: the rests between tries may grow to 5 s, until something is claimed.
    for errors in (PASSING[:4], PASSING[4:]):
        refusals = [stage.fault(Fault("claim", "refused", error=error)) for error in errors]
        await stage.until(partial(are_over, refusals), "claims after errors that pass")
        (task,) = stage.push(call("echo", "a"))
        await stage.answer(task, "TASK.ACK")
    (task,) = stage.push(call("echo", "a"))
    refusals = [stage.fault(Fault("ack", "refused", error=error)) for error in (*PASSING[:2], *PASSING[-3:])]
    await stage.answer(task, "TASK.ACK", says=", after errors that pass")
    await stage.until(lambda: task.state == "done", "the ACK again after LOADING, NOREPLICAS and others")
    stage.check(are_over(refusals), "the ACK again after each error")
    stage.check(not stage.answers(task, "TASK.FAIL"), "no FAIL: the work is done")
    await goes_on(stage)


@case("cut-connections", places=2, lease_ms=1500)
async def cut_connections(stage: Stage) -> None:
    """New connections break at once or soon, again and again: the worker goes on trying."""
    (task,) = stage.push(call("sleep", 1200))
    await stage.begun(task)
    stage.breaks = list(BREAKS)
    stage.cut_all()
    await stage.until(lambda: not stage.breaks, "connections after those that broke")
    await stage.answer(task, "TASK.ACK")
    await goes_on(stage)


@case("idle-connections", lease_ms=1500)
async def idle_connections(stage: Stage) -> None:
    """Connections break while nothing is sent on them: the worker opens new ones."""
    (task,) = stage.push(call("sleep", 1200))
    await stage.begun(task)
    stage.cut_all()
    await stage.answer(task, "TASK.ACK")
    await goes_on(stage)
