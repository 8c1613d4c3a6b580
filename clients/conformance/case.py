"""A case: what it plays, the worker's settings for it, and how it is run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .failure import Failure
from .real_stage import RealStage
from .stage import PATIENCE_S, Stage

# Cases mostly wait, so that more can run than there are cores.
AT_A_TIME = 8

# What a case plays on: the scripted server, or a real one.
Play = Callable[[Any], Awaitable[None]]

CASES: list[Case] = []


@dataclass(frozen=True)
class Case:
    """A case by name. `play` raises `Failure`. `summary` says what a worker has to do.

    `needs_server` is for cases against a real server; the others play the server's part themselves. A case that
    disturbs the whole server runs `alone`.
    """

    name: str
    summary: str
    play: Play
    environment: dict[str, str]
    has_next: bool = True
    needs_server: bool = False
    alone: bool = False


@dataclass
class Verdict:
    """How a case ended. `failures` is empty if the worker did right."""

    case: Case
    seconds: float
    failures: list[str] = field(default_factory=list)
    output: str = ""


def case(
    name: str,
    *,
    places: int = 1,
    lease_ms: int = 30_000,
    grace_ms: int = 10_000,
    has_next: bool = True,
    needs_server: bool = False,
    alone: bool = False,
) -> Callable[[Play], Play]:
    """Register a case. Its docstring says what a worker has to do."""
    environment = {
        "TASKSLOT_CONCURRENCY": str(places),
        "TASKSLOT_LEASE_MS": str(lease_ms),
        "TASKSLOT_GRACE_MS": str(grace_ms),
    }

    def register(play: Play) -> Play:
        summary = (play.__doc__ or "").partition("\n")[0]
        CASES.append(Case(name, summary, play, environment, has_next, needs_server, alone))
        return play

    return register


async def run(case: Case, command: list[str], *, patience_s: float = PATIENCE_S, server: str = "") -> Verdict:
    """Start a worker, play a case for it, and kill it. `server` is the URL of a real server, if the case needs one."""
    begun_at = time.monotonic()
    stage: Stage | RealStage
    if case.needs_server:
        stage = RealStage(command, case.environment, url=server, patience_s=patience_s)
    else:
        stage = Stage(command, case.environment, has_next=case.has_next, patience_s=patience_s)
    verdict = Verdict(case, 0.0)
    try:
        await stage.open()
        await case.play(stage)
    except Failure as failure:
        verdict.failures.append(str(failure))
    finally:
        await stage.close()
    verdict.failures += stage.breaches()
    verdict.seconds = time.monotonic() - begun_at
    verdict.output = stage.output
    return verdict


async def run_all(
    pairs: Sequence[tuple[Case, list[str]]],
    *,
    at_a_time: int = AT_A_TIME,
    ended: Callable[[Verdict], object] = lambda verdict: None,
    patience_s: float = PATIENCE_S,
    server: str = "",
) -> list[Verdict]:
    """Run cases with the commands of their workers, several at a time. `ended` is called as each ends.

    The verdicts are in the order of the cases, those that run alone last.
    """
    limit = asyncio.Semaphore(at_a_time)

    async def run_one(case: Case, command: list[str]) -> Verdict:
        async with limit:
            verdict = await run(case, command, patience_s=patience_s, server=server)
        ended(verdict)
        return verdict

    together, apart = [pair for pair in pairs if not pair[0].alone], [pair for pair in pairs if pair[0].alone]
    verdicts = await asyncio.gather(*(run_one(*pair) for pair in together))
    return [*verdicts, *[await run_one(*pair) for pair in apart]]
