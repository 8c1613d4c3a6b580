"""Deliveries are counted, and failures have a limit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from chaos.rules.finding import Finding
from chaos.timeline import Task, Timeline


def miscounted(timeline: Timeline) -> Iterator[Finding]:
    """The number of deliveries did not grow by one for each delivery that was made or may have been lost."""
    for task in timeline.tasks.values():
        if task.uid in timeline.shared or task.replaced:
            continue
        unknown = [c.began for c in timeline.unknown_claims.get(task.queue, [])]
        last, last_high = 0, task.began
        for number, delivery in enumerate(task.deliveries):
            grew = delivery.attempt - last
            missed = sum(1 for began in unknown if began <= delivery.high) - _used(task, number)
            if not _excused(timeline, task, number):
                if grew < 1:
                    text = f"delivery {delivery.attempt} of {task.uid} came after delivery {last}"
                    yield Finding("attempt not counted", text, [task.uid])
                elif grew - 1 > max(0, missed) and last_high is not None:
                    text = f"{task.uid} has {delivery.attempt} deliveries, and no claim that may have had the others"
                    yield Finding("attempt not counted", text, [task.uid])
            last, last_high = delivery.attempt, delivery.high


def _used(task: Task, number: int) -> int:
    """How many unknown claims earlier gaps in the numbers needed."""
    counts = [0, *(delivery.attempt for delivery in task.deliveries[:number])]
    return sum(max(0, after - before - 1) for before, after in pairwise(counts))


def _excused(timeline: Timeline, task: Task, number: int) -> bool:
    """Whether a fault may have changed the count."""
    delivery = task.deliveries[number]
    if timeline.permitted.doubled_at(task.queues) <= delivery.high:
        return True
    earlier = [d.call for d in task.deliveries[: number + 1]] + [p.call for p in task.pushes]
    return any(timeline.permitted.undone(call) for call in earlier)


def above_limit(timeline: Timeline) -> Iterator[Finding]:
    """A task failed more often than it may, and was not dead."""
    for task in timeline.tasks.values():
        if task.uid in timeline.shared or any(c.call == "retry" for c in task.named):
            continue
        if timeline.limits.retries(task.queue) or timeline.permitted.upset_at(task.queue) < float("inf"):
            continue
        limits = timeline.limits.values(task.queue, "attempts")
        limit = task.options.get("attempts", -1 if -1 in limits else max(limits))
        fails = [
            a for a in task.answers("fail") if (a.code or 0) > 0 and not timeline.permitted.undone(a.call)
        ]
        if 0 < limit <= len(fails):
            text = f"{task.uid} failed {len(fails)} times and was tried again; its limit is {limit}"
            yield Finding("above attempts", text, [task.uid])
        dead = [a for a in task.answers("fail") if a.code == -1 and not a.call.asked.get("dead")]
        tried = [a for a in task.answers("fail") if a.code != -2 and a.code != 0]
        if dead and 0 < len(tried) < limit and not any(timeline.permitted.undone(a.call) for a in tried):
            if not _lost_fails(timeline, task):
                yield Finding(
                    "above attempts", f"{task.uid} is dead after {len(tried)} of {limit} failures", [task.uid]
                )


def _lost_fails(timeline: Timeline, task: Task) -> bool:
    """Whether there may be failures that the history does not show: there are none without a handle."""
    return task.replaced or len({d.id for d in task.deliveries}) > 1
