"""Combines the `Info`s or `Times` of many queues into one: of the shards of a queue, or of all queues of a node."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from .replies import Durations, Info, Load, Times

# Fields that can't be added: ages and percentiles. The largest value is taken; -1 means unknown or none.
WORST = {"oldest_ready_ms"} | {f"{what}_p{part}_ms" for what in ("wait", "run") for part in (50, 95, 99)}


def total(infos: Sequence[Info]) -> Info | None:
    """One Info for several queues; None for an empty list.

    Counts, totals, bytes and rates are added. Ages and percentiles are the largest. The load is computed anew.
    """
    if not infos:
        return None
    if len(infos) == 1:
        return infos[0]
    values: dict[str, Any] = {}
    for item in fields(Info):
        of_all = [getattr(info, item.name) for info in infos]
        if item.name == "load":
            values["load"] = total_load([info.load for info in infos])
        elif item.name == "next_delayed_ms":
            values[item.name] = min([ms for ms in of_all if ms >= 0], default=-1)
        elif item.name in ("paused_in", "paused_out"):
            # -1 means paused until somebody resumes it, so it outlasts every number.
            values[item.name] = -1 if -1 in of_all else max(of_all)
        elif item.name == "held_by":
            values[item.name] = held_by(infos)
        elif item.name == "broken":
            values[item.name] = next((text for text in of_all if text), "")
        elif item.name == "more":
            values["more"] = {}
        else:
            values[item.name] = max(of_all) if item.name in WORST else sum(of_all)
    return Info(**values)


def held_by(infos: Sequence[Info]) -> str:
    """The limit that stops claims of any queue; `groups` only if the groups of all ready tasks hold them."""
    limits = [info.held_by for info in infos]
    if own := next((limit for limit in limits if limit and limit != "groups"), ""):
        return own
    is_held = "groups" in limits and all(info.held_by for info in infos if info.ready)
    return "groups" if is_held else ""


def total_load(loads: Sequence[Load]) -> Load:
    """The load of several queues that share their workers. The rules are those of TASK.INFO (docs/observability.md)."""
    arrivals = sum(load.arrival_rate for load in loads)
    completions = sum(load.completion_rate for load in loads)
    busy, free = sum(load.places_busy for load in loads), sum(load.places_free for load in loads)
    backlog = sum(load.backlog for load in loads)
    run_mean_ms = mean_run_ms(loads)
    is_known = run_mean_ms >= 0 or arrivals == 0
    # If nothing arrives, no place is needed, however long a task runs.
    work = arrivals * max(0.0, run_mean_ms) / 1000
    needed = math.ceil(work / 0.8 - 1e-9) if is_known else -1
    if backlog:
        needed = max(1, needed)
    return Load(
        arrival_rate=arrivals,
        completion_rate=completions,
        run_mean_ms=run_mean_ms,
        places_busy=busy,
        places_free=free,
        utilisation=work / (busy + free) if is_known and busy + free else -1.0,
        backlog=backlog,
        drain_ms=drain_ms(backlog, completions - arrivals),
        places_needed=needed,
        workers_needed=needed
        if needed == 0
        else -1,  # unknown: a worker can have places in several of the queues
    )


def mean_run_ms(loads: Sequence[Load]) -> float:
    """The mean run time over the queues, weighted by their completion rates; -1 if it is unknown."""
    known = [load for load in loads if load.run_mean_ms >= 0]
    weights = [load.completion_rate or 0.001 for load in known]
    if not known:
        return -1.0
    return sum(load.run_mean_ms * weight for load, weight in zip(known, weights, strict=True)) / sum(weights)


def drain_ms(backlog: int, shrinks_by: float) -> int:
    """The time until no task is ready, if the backlog shrinks by this many tasks a second; -1 if it doesn't."""
    if not backlog:
        return 0
    return round(backlog / shrinks_by * 1000) if shrinks_by > 0 else -1


def total_times(times: Sequence[Times]) -> Times | None:
    """The times of several queues added up; None for an empty list. `watched_ms` is the longest."""
    if not times:
        return None
    return Times(
        watched_ms=max(one.watched_ms for one in times),
        wait=total_durations([one.wait for one in times]),
        run=total_durations([one.run for one in times]),
    )


def total_durations(durations: Sequence[Durations]) -> Durations:
    """Durations added up, bucket by bucket. They have the same bounds everywhere."""
    below: Counter[float] = Counter()
    for one in durations:
        below.update(one.below_ms)
    return Durations(
        count=sum(one.count for one in durations),
        sum_ms=sum(one.sum_ms for one in durations),
        below_ms=dict(sorted(below.items())),
    )
