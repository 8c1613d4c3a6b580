"""The figures of a queue in words, as `taskslot info` and its page show them. Pure functions."""

from __future__ import annotations

from typing import get_args

from ..figures import UNKNOWN, age, plural, rate, size, span
from ..printable import printable
from ..replies import Info, State

TOTALS = (
    "pushed", "claimed", "acked", "late", "failed", "stalled", "requeued", "retried", "died", "cancelled", "purged",
    "dropped", "forgotten", "expired", "duplicate", "found", "refused",
)  # fmt: skip


def words_of(info: Info) -> list[tuple[str, str]]:
    """The figures that people look for first: a name and a text for each. What is empty is left out."""
    load = info.load
    found = [
        ("now", states(info)),
        ("batches", counts(open=info.batches_open, closed=info.batches_closed) if has_batches(info) else ""),
        ("oldest ready", span(info.oldest_ready_ms)),
        ("next delayed", f"in {span(info.next_delayed_ms)}" if info.next_delayed_ms >= 0 else ""),
        ("in per s", f"{rate(info.in_per_second_1m)} (5 min {rate(info.in_per_second_5m)})"),
        ("out per s", f"{rate(info.out_per_second_1m)} (5 min {rate(info.out_per_second_5m)})"),
        ("wait", percentiles(info.wait_p50_ms, info.wait_p95_ms, info.wait_p99_ms)),
        ("run", percentiles(info.run_p50_ms, info.run_p95_ms, info.run_p99_ms)),
        ("places", counts(busy=load.places_busy, free=load.places_free, needed=known(load.places_needed))),
        ("workers", counts(waiting=info.blocked_workers, needed=known(load.workers_needed))),
        ("utilisation", f"{load.utilisation:.2f}" if load.utilisation >= 0 else UNKNOWN),
        ("drained in", span(load.drain_ms) if load.drain_ms >= 0 else "never at this rate"),
        ("totals", counts(**{name: number for name in TOTALS if (number := getattr(info, name))})),
        ("size", f"{size(info.bytes)} of tasks, {size(info.memory)} of memory"),
        ("held by", info.held_by),
        ("paused", paused(info)),
        ("groups", stopped_groups(info)),
        ("broken", printable(info.broken)),
    ]
    return [(name, text) for name, text in found if text]


def states(info: Info) -> str:
    """The number of tasks in each state. Few queues have held tasks, so these are only named if there are some."""
    return counts(**{name: getattr(info, name) for name in get_args(State) if name != "held" or info.held})


def has_batches(info: Info) -> bool:
    """Whether the queue has batches."""
    return info.batches_open + info.batches_closed > 0


def counts(**numbers: object) -> str:
    """`12 ready, 3 delayed`."""
    return ", ".join(f"{number} {name}" for name, number in numbers.items())


def known(number: int) -> int | str:
    """A number, or a dash if it is -1 (unknown)."""
    return number if number >= 0 else UNKNOWN


def percentiles(p50: int, p95: int, p99: int) -> str:
    """Three percentiles as one text; empty if they are unknown."""
    return f"p50 {span(p50)}, p95 {span(p95)}, p99 {span(p99)}" if p50 >= 0 else ""


def paused(info: Info) -> str:
    """What is paused, and for how long: `claims`, `claims, pushes for 3 min`. Without a time it is until resumed."""
    ways = [("claims", info.paused_out), ("pushes", info.paused_in)]
    return ", ".join(way if left < 0 else f"{way} for {age(left)}" for way, left in ways if left)


def stopped_groups(info: Info) -> str:
    """`1 group paused`, `2 groups stopped`; empty if there are none."""
    ways = [("paused", info.groups_paused), ("stopped", info.groups_stopped)]
    return ", ".join(f"{plural(number, 'group')} {way}" for way, number in ways if number)
