"""What was pushed and is nowhere, and what is still in a queue that was emptied."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from chaos.rules.confirmed import confirmed
from chaos.rules.finding import Finding
from chaos.timeline import Task, Timeline

# A delayed or leased task that is still there this long after it was due is stuck.
PATIENCE_S = 3.0
# How long a grace can hold a lease up.
GRACE_S = 6.0


@dataclass(slots=True)
class Loss:
    """An acknowledged push that is nowhere at the end, and what permitted that."""

    task: Task
    # The kind of the fault, or None if nothing permitted it.
    fault: str | None
    # How long before the end of the fault's window it was acknowledged.
    before_s: float
    # Whether a replica had it, by the word of WAIT.
    confirmed: bool = False


def losses(timeline: Timeline) -> Iterator[Loss]:
    """All acknowledged pushes that are nowhere at the end, permitted or not."""
    judged = {final.queue for final in timeline.history.finals}
    replicated = confirmed(timeline.history)
    for task in timeline.tasks.values():
        sure = [p for p in task.pushes if p.call.ok and p.new and p.id]
        if not sure or task.queue not in judged or _accounted(timeline, task):
            continue
        has_replica = any((push.call.client, push.call.n) in replicated for push in sure)
        undoing = [timeline.permitted.undone(push.call) for push in sure]
        may_be_gone = [
            fault is not None and (fault.permits.confirmed or not has_replica) for fault in undoing
        ]
        if all(may_be_gone):
            fault = undoing[-1]
            window = (fault.permits.undoes or (0.0, 0.0))[1] if fault else 0.0
            yield Loss(task, fault.kind if fault else None, max(0.0, window - sure[-1].call.ended))
        elif gone := next(iter(timeline.permitted.gone(task.queues, task.began)), None):
            yield Loss(task, gone.kind, 0.0)
        elif not math.isinf(timeline.permitted.doubled_at(task.queues)):
            yield Loss(task, "moved", 0.0)
        else:
            yield Loss(task, None, 0.0, has_replica)


def _accounted(timeline: Timeline, task: Task) -> bool:
    """Whether the task is still there, or ended, or may have ended by something that was called."""
    if task.left or task.replaced or task.uid in timeline.shared:
        return True
    if any(delivery.handle is None for delivery in task.deliveries):
        return True
    for answer in task.answers("ack", "fail", "requeue"):
        if answer.code in (None, -1) or (answer.verb == "ack" and answer.code == 1):
            return True
    if any(call.call in ("cancel", "purge", "batch") and call.may_count for call in task.named):
        return True
    if "ttl_ms" in task.options and all(timeline.permitted.undone(d.call) for d in task.deliveries):
        return True
    if task.options.get("on_dead") == "drop" or timeline.limits.purges(task.queue):
        return True
    unknown = timeline.unknown_claims.get(task.queue, [])
    return any(call.asked.get("noack") for call in unknown)


def lost(timeline: Timeline) -> Iterator[Finding]:
    """An acknowledged push is nowhere at the end, and nothing permitted that."""
    for loss in losses(timeline):
        if loss.confirmed:
            text = f"{loss.task.uid} was pushed and is nowhere, though WAIT said that a replica had it"
            yield Finding("confirmed", text, [loss.task.uid])
        elif loss.fault is None:
            yield Finding("lost", f"{loss.task.uid} was pushed and is nowhere", [loss.task.uid])


def stuck(timeline: Timeline) -> Iterator[Finding]:
    """A queue was claimed until nothing came, and a task is still ready, leased or delayed beyond its time."""
    drained = {final.queue: final.at for final in timeline.history.finals if final.drained}
    for task in timeline.tasks.values():
        for left in task.left:
            at = drained.get(left.queue)
            if at is None or timeline.permitted.broken_at(left.queue) < at:
                continue
            if left.state == "ready" and not timeline.limits.limited(left.queue, task.options.get("group")):
                yield Finding("stuck", f"{task.uid} is ready, and no claim got it", [task.uid])
            elif left.state == "delayed" and _due_high(timeline, task, at) < at:
                yield Finding("stuck", f"{task.uid} is still delayed, though it was due", [task.uid])
            elif left.state == "leased" and _lease_high(timeline, task) < at:
                yield Finding("stuck", f"{task.uid} is still leased, though its lease is over", [task.uid])


def _due_high(timeline: Timeline, task: Task, at: float) -> float:
    """When a delayed task must have been ready at the latest; infinite if that is not known."""
    if any(call.call in ("set", "retry") for call in task.named) or task.replaced:
        return math.inf
    spans = [0.0]
    for push in task.pushes:
        spans.append(push.options.get("delay_ms", 0) / 1000)
        if "at_ms" in push.options:
            spans.append((push.options["at_ms"] - timeline.history.run.wall_ms) / 1000 - task.began)
    for answer in task.answers("fail", "requeue"):
        if answer.code is None and answer.verb == "fail" and "delay_ms" not in answer.call.asked:
            return math.inf
        spans.append((answer.code or 0) / 1000 if answer.verb == "fail" else 0.0)
        spans.append(answer.call.asked.get("delay_ms", 0) / 1000)
    if task.options.get("after") or any(push.callback for push in task.pushes):
        return math.inf  # the delay counts from the end of the wait
    backoff = timeline.limits.values(task.queue, "backoff-max")[0] / 1000
    stalled = max((left.stalls for left in task.left), default=0) > 1
    last = max([task.began, *(d.high for d in task.deliveries)], default=task.began)
    last = max([last, *(a.call.began for a in task.answers("fail", "requeue"))])
    last = max([last, *(f.ended for f in timeline.permitted.faults if f.ended < at)])
    slow = 2 - 0.985
    return (
        last
        + (max(spans) + (backoff if stalled else 0)) * slow
        + _lease_s(timeline, task)
        + GRACE_S
        + PATIENCE_S
    )


def _lease_s(timeline: Timeline, task: Task) -> float:
    """The longest lease that this task may have had."""
    spans = [delivery.lease_ms for delivery in task.deliveries]
    spans += [a.call.asked.get("lease_ms", 0) for a in task.answers("extend")]
    spans += [call.asked.get("lease_ms", 0) for call in timeline.unknown_claims.get(task.queue, [])]
    if any("lease_ms" not in call.asked for call in timeline.unknown_claims.get(task.queue, [])):
        spans += [*timeline.limits.values(task.queue, "lease"), task.options.get("lease_ms", 0)]
    return max(spans, default=0) / 1000


def _lease_high(timeline: Timeline, task: Task) -> float:
    """When the lease of a task must have ended at the latest."""
    begins = [delivery.high for delivery in task.deliveries]
    begins += [a.call.ended if a.call.ended < math.inf else a.call.began for a in task.answers("extend")]
    begins += [call.began for call in timeline.unknown_claims.get(task.queue, [])]
    begins += [fault.ended for fault in timeline.permitted.faults]
    return max(begins, default=math.inf) + _lease_s(timeline, task) * 1.015 + GRACE_S + PATIENCE_S
