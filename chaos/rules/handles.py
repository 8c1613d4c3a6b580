"""Handles: only the holder's counts, the holder's always counts, and a task ends once."""

from __future__ import annotations

import math
from collections.abc import Iterator

from chaos.history import Call
from chaos.rules.finding import Finding
from chaos.timeline import Answer, Delivery, Task, Timeline


def _accepted(answer: Answer) -> bool:
    """Whether the server said that it did what the holder asked."""
    if answer.code is None:
        return False
    if answer.verb == "fail":
        return answer.code > 0 or answer.code == -1
    return answer.code > 0


def _excused(timeline: Timeline, task: Task, at: float, *calls: Call) -> bool:
    """Whether one of these calls may have been undone, or the task may exist twice."""
    if timeline.permitted.doubled_at(task.queues) <= at:
        return True
    return any(timeline.permitted.undone(call) for call in calls)


def stale_accepted(timeline: Timeline) -> Iterator[Finding]:
    """An answer counted though a later lease of the task had been handed out before it was sent."""
    for task in timeline.tasks.values():
        first_high = math.inf
        later: Delivery | None = None
        for delivery in reversed(task.deliveries):
            for answer in delivery.answers:
                if later is None or not _accepted(answer) or answer.call.began <= first_high:
                    continue
                # What may be undone may be an old primary's, which does not know the later lease.
                if not _excused(timeline, task, answer.call.ended, later.call, answer.call):
                    text = (
                        f"{answer.verb} of {delivery.handle} counted, after {later.call.client} had the task"
                    )
                    yield Finding("stale accepted", text, [task.uid])
            if delivery.handle is not None and delivery.high < first_high:
                first_high, later = delivery.high, delivery


def holder_refused(timeline: Timeline) -> Iterator[Finding]:
    """The server refused an answer of a worker whose lease cannot have been over."""
    for task in timeline.tasks.values():
        for delivery in task.deliveries:
            for answer in delivery.answers:
                if answer.refused or (answer.code == 0 and answer.verb in ("ack", "extend")):
                    if _is_holder(timeline, task, delivery, answer):
                        text = f"{answer.verb} of {delivery.handle} was refused ({answer.code})"
                        yield Finding("holder refused", f"{text}, and its lease was not over", [task.uid])


def _is_holder(timeline: Timeline, task: Task, delivery: Delivery, answer: Answer) -> bool:
    """Whether the lease must have been the holder's all through this call."""
    call = answer.call
    if call.ended >= timeline.deadline_low(delivery, call.began):
        return False
    for other in delivery.answers:
        if (
            other is not answer
            and not other.refused
            and other.verb != "extend"
            and other.call.began < call.ended
        ):
            return False
    if call.asked.get("handles", []).count(answer.handle) > 1:
        return False
    if any(c.may_count and c.call != "result" and c.began < call.ended for c in task.named):
        return False
    if timeline.may_have_closed(delivery, call.ended) or timeline.permitted.freed(
        delivery.queue, delivery.low, call.ended
    ):
        return False
    if timeline.gone_at(task) <= call.ended or call.queue != delivery.queue:
        return False
    # What a fault undid before the claim is done again; what it undoes after it takes the lease away.
    calls = [delivery.call, call, *(p.call for p in task.pushes), *(a.call for a in delivery.answers)]
    return not _excused(timeline, task, call.ended, *calls)


def acked_twice(timeline: Timeline) -> Iterator[Finding]:
    """A task was finished twice."""
    for task in timeline.tasks.values():
        if task.uid in timeline.shared:
            continue
        acks = [answer for answer in task.answers("ack") if answer.code == 1]
        for first, second in zip(acks, acks[1:], strict=False):
            ended = max(first.call.ended, second.call.ended)
            if first.handle.split("@")[0] != second.handle.split("@")[0]:
                continue  # two tasks of one push: another rule's
            if not _excused(timeline, task, ended, first.call, second.call):
                yield Finding("acked twice", f"{task.uid} was finished twice", [task.uid])


def runs_after_end(timeline: Timeline) -> Iterator[Finding]:
    """A task was delivered after it had ended."""
    for task in timeline.tasks.values():
        if task.uid in timeline.shared or task.replaced:
            continue
        for at, delivery in enumerate(task.deliveries):
            for later in task.deliveries[at + 1 :][:1]:
                if end := _end(timeline, task, delivery, later):
                    text = f"{task.uid} was delivered to {later.call.client}, after {end.call} had ended it"
                    if later.id == delivery.id and not _excused(timeline, task, later.high, end, later.call):
                        yield Finding("runs after its end", text, [task.uid])
        yield from _after_cancel(timeline, task)


def _end(timeline: Timeline, task: Task, delivery: Delivery, later: Delivery) -> Call | None:
    """The call by which this delivery ended its task for good, if there is one."""
    if delivery.handle is None:
        return delivery.call
    retried = any(c.call == "retry" for c in task.named) or timeline.limits.retries(delivery.queue)
    for answer in delivery.answers:
        if answer.verb == "ack" and answer.code == 1:
            # An ack with a handle counts only as long as no later lease was given: so the lease came after it.
            return answer.call
        if answer.verb == "fail" and answer.code == -1 and not retried and answer.call.ended < later.began:
            return answer.call
    return None


def _after_cancel(timeline: Timeline, task: Task) -> Iterator[Finding]:
    for call in task.named:
        if call.call != "cancel" or not call.ok or "unique" in call.asked:
            continue
        for name, code in zip(call.asked.get("ids", []), call.answer.get("codes", []), strict=False):
            for delivery in task.deliveries:
                if code == 1 and delivery.id == name and delivery.low > call.ended:
                    if not _excused(timeline, task, delivery.high, call):
                        text = f"{task.uid} was delivered after it was cancelled"
                        yield Finding("runs after its end", text, [task.uid], [call])
