"""Many runs: a list of them, or profiles, servers and seeds in turn until the time is over; two at a time on a small
machine.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

from harness.server import SERVERS

from chaos.history import MARKS, History, Permits
from chaos.profiles import PROFILES
from chaos.profiles.profile import Profile
from chaos.report import Row, added, line, row
from chaos.rules import check
from chaos.rules.finding import story
from chaos.run import Order, run
from chaos.timeline import Timeline

# The seconds of load of one run, at least and at most, and what a run takes besides.
LENGTH_S, BESIDES_S = (4.0, 20.0), 8.0
# How many findings of a run are told.
TOLD = 3


@dataclass
class Judged:
    """The numbers of a run and, if something was found, what to tell of it. `length` is the seconds of its load, 0 if
    that is not known any more.
    """

    row: Row
    told: list[str] = field(default_factory=list)
    folder: str = ""
    length: float = 0.0


# Profile, server and seed of a run.
Wanted = tuple[str, str, int]


@dataclass(frozen=True)
class Plan:
    """Which runs there are, and for how many seconds each has load. No run begins after `seconds`, except for the first
    `least` ones.
    """

    wanted: Iterable[Wanted]
    least: int
    seconds: float
    length: float
    jobs: int = 2
    keeps: bool = False


def rounds(profiles: Sequence[str], servers: Sequence[str], seed: int, most: int) -> Iterator[Wanted]:
    """At most so many rounds of these profiles. In each round, each profile is on another server.

    When a profile was on all servers, it goes on with the second one. Otherwise a server would get the same share of
    its faults again and again.
    """
    for turn in range(most):
        for number, profile in enumerate(profiles):
            fit = [one for one in servers if PROFILES[profile].runs_on(SERVERS[one])]
            if fit:
                yield profile, fit[(number + turn + turn // len(fit)) % len(fit)], seed + turn


def share(seconds: float, jobs: int, profiles: int) -> float:
    """The seconds of load of one run, if one round of so many profiles is to take so long."""
    return min(max(seconds * jobs / profiles - BESIDES_S, LENGTH_S[0]), LENGTH_S[1])


def execute(plan: Plan, tell: Callable[[Judged], None]) -> list[Row]:
    """Do the runs of a plan, and return their rows. `tell` is called after each of them."""
    end = time.monotonic() + plan.seconds
    rows: list[Row] = []
    waiting = iter(plan.wanted)
    with ProcessPoolExecutor(plan.jobs, mp_context=get_context("spawn")) as pool:
        going: set[Future[Judged]] = set()
        started = 0
        while True:
            while len(going) < plan.jobs and (started < plan.least or time.monotonic() < end):
                order = next(waiting, None)
                if order is None:
                    break
                going.add(pool.submit(judged_run, *order, plan.length, plan.keeps))
                started += 1
            if not going:
                return rows
            done, going = wait(going, return_when=FIRST_COMPLETED)
            for one in done:
                rows.append(one.result().row)
                tell(one.result())


def judged_run(profile: str, server: str, seed: int, seconds: float, keeps: bool) -> Judged:
    """Do one run and judge it. Its folder is kept if something was found."""
    order = Order(PROFILES[profile], SERVERS[server], seed, seconds)
    shutil.rmtree(order.folder, ignore_errors=True)
    try:
        outcome = run(order)
        found = judged(outcome.history, [*outcome.problems, *hollow(order.profile, outcome.history)])
        if order.profile.must_lose:
            found.row.unpermitted = unpermitted(outcome.history)
    except Exception:
        found = Judged(Row(profile, server, 1, [seed], problems=1), [traceback.format_exc()])
    found.row.profile, found.row.server, found.row.seeds = profile, server, [seed]
    found.length = seconds
    if found.told or keeps:
        found.folder = os.path.relpath(order.folder)
        (order.folder / "row.json").write_text(json.dumps(found.row.plain(), indent=1))
    else:
        shutil.rmtree(order.folder, ignore_errors=True)
    return found


def judged(history: History, problems: Sequence[str] = ()) -> Judged:
    """What the rules say of a history. One without its end, of a run that was broken off, is not judged."""
    timeline = Timeline(history)
    findings = check(timeline) if history.runs else []
    told = list(problems)
    for finding in findings[:TOLD]:
        told.append("\n".join(story(timeline, finding)))
    if len(findings) > TOLD:
        told.append(f"… and {len(findings) - TOLD} more findings")
    return Judged(row(timeline, findings, len(problems)), told)


def hollow(profile: Profile, history: History) -> list[str]:
    """What a run must have, and this one doesn't: without it, it would show nothing. One that was broken off has told
    its problem.
    """
    if not history.runs:
        return []
    needed = {
        "no fault happened": not profile.faults or any(one.kind not in MARKS for one in history.faults),
        "no digests were compared": history.digests,
        "no push was acknowledged": any(call.call == "push" and call.ok for call in history.calls),
    }
    return [what for what, is_there in needed.items() if not is_there]


def missing(rows: Sequence[Row]) -> dict[str, list[str]]:
    """The faults of each profile that happened in none of its runs. A profile without runs is left out."""
    found: dict[str, list[str]] = {}
    for name, profile in PROFILES.items():
        of_it = [one for one in rows if one.profile == name]
        happened = {kind for one in of_it for kind, count in one.faults.items() if count}
        faults = [fault for fault in profile.faults if not fault.is_mark]
        kinds = [kind for fault in faults for kind in fault.kinds if kind not in happened]
        if of_it and kinds:
            found[name] = kinds
    return found


def unpermitted(history: History) -> int:
    """How many lost tasks the rules find in this history if no fault permits anything."""
    faults = [replace(fault, permits=Permits()) for fault in history.faults]
    return sum(finding.rule == "lost" for finding in check(replace(history, faults=faults)))


def controls(rows: Sequence[Row]) -> list[str]:
    """The positive controls that failed: profiles that must lose something, and no rule found a loss in their runs."""
    failed = []
    for name, profile in PROFILES.items():
        of_it = [one for one in rows if one.profile == name]
        if profile.must_lose and of_it and not any(one.unpermitted for one in of_it):
            failed.append(f"{name}: no rule found a loss in {len(of_it)} runs, whatever faults permit")
    return failed


def summary(rows: Sequence[Row]) -> list[str]:
    """A line for each profile and server."""
    order = list(PROFILES)
    return [line(one) for one in sorted(added(rows), key=lambda one: (order.index(one.profile), one.server))]


def write(folder: Path, rows: Sequence[Row]) -> None:
    """Write all rows of these runs into a folder, as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.json").write_text(json.dumps([one.plain() for one in rows], indent=1))
