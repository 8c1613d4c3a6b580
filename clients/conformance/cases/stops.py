"""Stops: SIGTERM ends claims, waits for the tasks in hand, and gives back the others."""

from __future__ import annotations

import asyncio

from ..case import case
from ..model import call
from ..stage import Stage

LATE_S, NOTICED_S = 1.5, 1.0


@case("stop", places=2, lease_ms=900)
async def stop(stage: Stage) -> None:
    """After SIGTERM: no new claim, heartbeats go on, the task in hand ends and is answered, then the worker exits."""
    (task,) = stage.push(call("sleep", 3000))
    await stage.begun(task)
    await stage.stop_worker()
    await stage.answer(task, "TASK.ACK", says=", after SIGTERM and within the grace")
    stage.check(not task.has_lapsed, "EXTEND while the worker waits for its task")
    status = await stage.ended()
    stage.check(status == 0, f"exit status 0, because all tasks have ended, not {status}")


@case("stop-idle")
async def stop_idle(stage: Stage) -> None:
    """A worker without tasks ends soon after SIGTERM."""
    await stage.until(lambda: len(stage.claims()) >= 2, "claims")
    await stage.stop_worker()
    status = await stage.ended()
    stage.check(status == 0, f"exit status 0, not {status}")


@case("stop-grace", places=2, lease_ms=900, grace_ms=700)
async def stop_grace(stage: Stage) -> None:
    """Tasks that have not ended within the grace are given back with REQUEUE."""
    patient, stubborn = stage.push(call("sleep", 60_000), call("stubborn", 60_000))
    await stage.begun(patient, stubborn)
    await stage.stop_worker()
    for task in (patient, stubborn):
        sent = await stage.answer(task, "TASK.REQUEUE", says=", when the grace is over")
        stage.check(
            "DELAY" not in sent.options, "a REQUEUE without DELAY: other workers can claim the task at once"
        )
    await stage.ended()


@case("stop-claim")
async def stop_claim(stage: Stage) -> None:
    """A task that comes with a claim that was waiting at SIGTERM is given back, or was never leased."""
    stage.late_s = LATE_S  # so that the claim still waits when the worker has noticed the signal
    await stage.until(
        lambda: len(stage.claims()) >= 2 and stage.claims()[-1].is_waiting, "a claim that waits"
    )
    await stage.stop_worker()
    await asyncio.sleep(NOTICED_S)
    (task,) = stage.push(call("echo", "a"))
    await stage.ended()
    if task.delivered_at:
        names = [sent.name for sent in stage.answers(task)]
        stage.check(
            names == ["TASK.REQUEUE"], f"one REQUEUE for the task that came after SIGTERM, not {names}"
        )
