"""Answers: ACK and FAIL whose reply does not come, or that the server does not accept."""

from __future__ import annotations

from ..case import case
from ..faults import Fault
from ..model import ModelTask, call
from ..stage import Stage


async def goes_on(stage: Stage) -> None:
    """Whether the worker has a free place and takes the next task."""
    (task,) = stage.push(call("echo", "next"))
    await stage.answer(task, "TASK.ACK", says=", which needs a free place")


async def acked_again(stage: Stage, fault: Fault) -> ModelTask:
    """Whether an ACK that met a fault is sent again, with its result."""
    stage.fault(fault)
    (task,) = stage.push(call("echo", "kept"))
    first = await stage.answer(task, "TASK.ACK")
    again = (await stage.until(lambda: stage.answers(task)[1:], "the ACK again, because it had no reply"))[0]
    stage.check(again.name in ("TASK.ACK", "TASK.NEXT"), "an ACK again, and nothing else")
    same = again.options.get("RESULT") == first.options.get("RESULT") == b'"kept"'
    stage.check(same, 'the same RESULT again, "kept"')
    return task


@case("lost-ack")
async def lost_ack(stage: Stage) -> None:
    """An ACK whose reply is lost is sent again; 0 says that the first one counted."""
    task = await acked_again(stage, Fault("ack", "executed, connection cut"))
    await goes_on(stage)
    await stage.quiet(0.5, lambda: len(stage.answers(task)) > 3, "the ACK was sent on after the reply 0")


@case("cut-ack")
async def cut_ack(stage: Stage) -> None:
    """An ACK that may not have arrived is sent again until it is answered."""
    task = await acked_again(stage, Fault("ack", "not executed, connection cut", times=2))
    await stage.until(lambda: task.state == "done", "the ACK until it is answered")
    await goes_on(stage)


@case("lost-fail")
async def lost_fail(stage: Stage) -> None:
    """A FAIL whose reply is lost is sent again; STALE says that the first one counted."""
    stage.fault(Fault("fail", "executed, connection cut"))
    (task,) = stage.push(call("fail", "no route"))
    await stage.answer(task, "TASK.FAIL")
    again = (await stage.until(lambda: stage.answers(task)[1:], "the FAIL again, because it had no reply"))[0]
    stage.check(again.name == "TASK.FAIL", "a FAIL again, and nothing else")
    await goes_on(stage)
    await stage.quiet(0.5, lambda: len(stage.answers(task)) > 2, "the FAIL was sent on after STALE")


@case("stale-ack")
async def stale_ack(stage: Stage) -> None:
    """STALE to an ACK: another worker has the task, so its result is dropped."""
    (task,) = stage.push(call("sleep", 300))
    await stage.until(lambda: task.delivered_at, "a claim")
    task.fate = "taken"
    await stage.answer(task, "TASK.ACK")
    await goes_on(stage)
    # A NEXT that was answered with -2 may be followed by one ACK, which tells the same.
    await stage.quiet(1.5, lambda: len(stage.answers(task)) > 2, "the ACK was sent on after STALE")
    stage.check(not stage.answers(task, "TASK.FAIL", "TASK.REQUEUE"), "nothing but the ACK")


@case("refused-result")
async def refused_result(stage: Stage) -> None:
    """A result that the server refuses makes the task dead: its work is done."""
    stage.fault(Fault("ack", "refused", times=1000, error="ERR RESULT must have at most 1048576 bytes"))
    (task,) = stage.push(call("echo", "big"))
    await stage.answer(task, "TASK.ACK")
    failed = (await stage.until(lambda: stage.answers(task, "TASK.FAIL"), "a FAIL after the refusal"))[0]
    stage.check("DEAD" in failed.options, "FAIL … DEAD, because the work is done")
    stage.faults.clear()
    await goes_on(stage)


@case("full-server")
async def full_server(stage: Stage) -> None:
    """OOM to an ACK with a result: the task is finished with RETAIN 0."""
    error = "OOM command not allowed when used memory > 'maxmemory'."
    stage.fault(Fault("ack", "refused", times=1000, error=error, only_kept_results=True))
    (task,) = stage.push(call("echo", "kept"))
    await stage.answer(task, "TASK.ACK")
    await stage.until(lambda: task.state == "done", "the ACK again with RETAIN 0, after OOM")
    last = stage.answers(task)[-1]
    stage.check(last.options.get("RESULT") == b'"kept"', "the RESULT with RETAIN 0: callers that wait get it")
    stage.faults.clear()
    await goes_on(stage)
