"""The rules: what a sound queue cannot do, whatever the faults were, unless one of them permits it.

Each rule is a function of a timeline that yields findings. It goes by intervals: a call took effect at some instant
between its begin and its end, and a rule speaks only if it is broken wherever those instants were. So a sound queue
never breaks one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from chaos.history import History
from chaos.rules import (
    attempts,
    batches,
    delays,
    dependents,
    handles,
    leases,
    limits,
    liveness,
    loss,
    nodes,
    order,
    origin,
    redelivery,
    results,
    unique,
)
from chaos.rules.finding import Finding
from chaos.timeline import Timeline

Rule = Callable[[Timeline], Iterator[Finding]]

RULES: list[Rule] = [
    loss.lost,
    loss.stuck,
    origin.appeared,
    origin.pushed_twice,
    leases.given_twice,
    leases.not_growing,
    redelivery.without_cause,
    handles.stale_accepted,
    handles.holder_refused,
    handles.acked_twice,
    handles.runs_after_end,
    attempts.miscounted,
    attempts.above_limit,
    order.out_of_order,
    order.priority_ignored,
    order.order_in_reply,
    delays.too_early,
    delays.expired,
    unique.two_holders,
    unique.found_too_late,
    limits.limit_exceeded,
    batches.batch_wrong,
    dependents.before_others,
    dependents.never_let_go,
    results.result_wrong,
    liveness.not_served,
    liveness.slow,
    nodes.unequal,
    nodes.ended,
    nodes.broken,
]


def check(history: History | Timeline) -> list[Finding]:
    """Everything that is wrong in this history; nothing if the queue is sound."""
    timeline = history if isinstance(history, Timeline) else Timeline(history)
    return [finding for rule in RULES for finding in rule(timeline)]
