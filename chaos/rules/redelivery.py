"""Every delivery but the first has a cause."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from chaos.rules.finding import Finding
from chaos.timeline import RATE, SLACK_S, Delivery, Task, Timeline


@dataclass(slots=True)
class Redelivery:
    """A delivery after another of the same task, and its cause; None if there is none."""

    before: Delivery
    after: Delivery
    cause: str | None
    # Whether it was given back, but the delay of that was not over.
    early: bool = False


def redeliveries(timeline: Timeline) -> Iterator[Redelivery]:
    """All redeliveries, each with its cause."""
    for task in timeline.tasks.values():
        if task.uid in timeline.shared:
            continue
        for before, after in pairwise(task.deliveries):
            yield _judge(timeline, task, before, after)


def _judge(timeline: Timeline, task: Task, before: Delivery, after: Delivery) -> Redelivery:
    """Find the cause of the second of two deliveries."""
    early = False
    for answer in before.answers:
        if answer.verb not in ("fail", "requeue") or answer.refused or answer.call.began > after.high:
            continue
        if answer.verb == "fail" and answer.code in (-1, 0):
            if any(call.call == "retry" for call in task.named) or timeline.limits.retries(before.queue):
                return Redelivery(before, after, "retried")
            continue
        if answer.verb == "requeue" and answer.code == 0:
            continue
        asked = answer.call.asked.get("delay_ms", 0)
        delay = (answer.code or 0) if answer.verb == "fail" else (asked if answer.code == 1 else 0)
        if answer.call.began + delay / 1000 * RATE - SLACK_S - _spans(timeline, after) <= after.high:
            return Redelivery(before, after, "failed" if answer.verb == "fail" else "given back")
        if any(call.call in ("retry", "set") for call in task.named):
            return Redelivery(before, after, "retried")
        early = True
    if before.handle is not None and not early and timeline.deadline_low(before, after.high) <= after.high:
        return Redelivery(before, after, "lease over")
    return Redelivery(before, after, _by_fault(timeline, task, before, after), early)


def _by_fault(timeline: Timeline, task: Task, before: Delivery, after: Delivery) -> str | None:
    """The cause among connections that closed and declared faults."""
    if timeline.may_have_closed(before, after.high):
        return "connection closed"
    permitted = timeline.permitted
    # What was undone can be the claim, an answer to it, or the push: its delay then begins again.
    calls = [before.call, *(answer.call for answer in before.answers), after.call]
    for call in calls:
        if fault := permitted.undone(call):
            return f"undone by {fault.kind}"
    if permitted.doubled_at(task.queues) <= after.high:
        return "copied or moved"
    if fault := permitted.freed(before.queue, before.low, after.high):
        return f"freed by {fault.kind}"
    return None


def _spans(timeline: Timeline, after: Delivery) -> float:
    return timeline.permitted.spans_s(after.queue, after.high)


def without_cause(timeline: Timeline) -> Iterator[Finding]:
    """A task was delivered again, and nothing in the history says why; or before the delay of its retry was over."""
    for found in redeliveries(timeline):
        if found.cause is not None or _ended(found.before):
            continue  # what runs after its end is another rule's
        if found.early:
            text = f"{found.after.uid} was delivered again before its delay was over"
            yield Finding("retry too early", text, [found.after.uid])
        else:
            text = f"{found.after.uid} was delivered again while {found.before.call.client} had its lease"
            yield Finding("no cause", text, [found.after.uid])


def _ended(delivery: Delivery) -> bool:
    if delivery.handle is None:
        return True
    return any(
        (a.verb == "ack" and a.code == 1) or (a.verb == "fail" and a.code == -1) for a in delivery.answers
    )
