"""A case: what it plays, the worker's settings for it, and how it is run."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from .stage import PATIENCE_S, Failure, Stage

Play = Callable[[Stage], Awaitable[None]]

CASES: list[Case] = []


@dataclass(frozen=True)
class Case:
    """A case by name. `play` raises `Failure`. `summary` says what a worker has to do."""

    name: str
    summary: str
    play: Play
    environment: dict[str, str]
    has_next: bool = True


@dataclass
class Verdict:
    """How a case ended. `failures` is empty if the worker did right."""

    case: Case
    seconds: float
    failures: list[str] = field(default_factory=list)
    output: str = ""


def case(
    name: str, *, places: int = 1, lease_ms: int = 30_000, grace_ms: int = 10_000, has_next: bool = True
) -> Callable[[Play], Play]:
    """Register a case. Its docstring says what a worker has to do."""
    environment = {
        "TASKSLOT_CONCURRENCY": str(places),
        "TASKSLOT_LEASE_MS": str(lease_ms),
        "TASKSLOT_GRACE_MS": str(grace_ms),
    }

    def register(play: Play) -> Play:
        summary = (play.__doc__ or "").partition("\n")[0]
        CASES.append(Case(name, summary, play, environment, has_next))
        return play

    return register


async def run(case: Case, command: list[str], patience_s: float = PATIENCE_S) -> Verdict:
    """Start a worker, play a case for it, and kill it."""
    begun_at = time.monotonic()
    stage = Stage(command, case.environment, has_next=case.has_next, patience_s=patience_s)
    verdict = Verdict(case, 0.0)
    try:
        await stage.open()
        await case.play(stage)
    except Failure as failure:
        verdict.failures.append(str(failure))
    finally:
        stage.rules.look_at_places_again()
        await stage.close()
    verdict.failures += stage.rules.breaches
    verdict.seconds = time.monotonic() - begun_at
    verdict.output = stage.worker.output if stage.worker is not None else ""
    return verdict
