"""The order of first deliveries: higher priorities first, and first in, first out within a priority and group."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from chaos.rules.finding import Finding
from chaos.timeline import Delivery, Task, Timeline


@dataclass(slots=True)
class Ready:
    """A task that was certainly ready from `since` until the claim that got it began."""

    task: Task
    first: Delivery
    since: float
    priority: int
    group: str | None

    @property
    def until(self) -> float:
        """It was certainly ready until then, if that is after `since`."""
        return self.first.began


def at_once(timeline: Timeline) -> Iterator[Ready]:
    """The tasks that were ready as soon as they were pushed, and whose first delivery is known."""
    for task in timeline.tasks.values():
        push = task.pushed
        if push is None or len(task.pushes) > 1 or not task.deliveries or not _plain(timeline, task):
            continue
        first = task.deliveries[0]
        if first.attempt == 1 and first.queue == task.queue:
            group = push.options.get("group")
            yield Ready(task, first, push.call.ended, push.options.get("priority", 0), group)


def _plain(timeline: Timeline, task: Task) -> bool:
    """Whether nothing but the order decides when the task is claimed first."""
    options = task.options
    if (
        any(name in options for name in ("delay_ms", "at_ms", "after"))
        or task.replaced
        or task.pushes[0].callback
    ):
        return False
    if any(call.call != "result" for call in task.named) or task.uid in timeline.shared:
        return False
    calls = [task.pushes[0].call, task.deliveries[0].call]
    if any(timeline.permitted.undone(call) for call in calls):
        return False
    return timeline.permitted.upset_at(task.queue) > task.deliveries[0].high


def _near_unknown(timeline: Timeline, queue: str, began: float, ended: float) -> bool:
    """Whether a claim that never got its reply may have had the task for a moment: that hand-off is undone."""
    for call in timeline.unknown_claims.get(queue, []):
        if call.began <= ended and (math.isinf(call.ended) or call.ended + 1 >= began):
            return True
    return False


def out_of_order(timeline: Timeline) -> Iterator[Finding]:
    """A task was claimed first though another one of its priority and group was pushed before it and still ready."""
    lanes: dict[tuple[str, int, str | None], list[Ready]] = defaultdict(list)
    for ready in at_once(timeline):
        lanes[ready.task.queue, ready.priority, ready.group].append(ready)
    for lane in lanes.values():
        earlier = sorted(lane, key=lambda ready: ready.since)
        waited: Ready | None = None
        at = 0
        for ready in sorted(lane, key=lambda ready: ready.task.began):
            while at < len(earlier) and earlier[at].since < ready.task.began:
                if waited is None or earlier[at].until > waited.until:
                    waited = earlier[at]
                at += 1
            if waited is not None and waited.until > ready.first.high:
                yield from _unless_handed(timeline, ready, waited, "order")


def _unless_handed(timeline: Timeline, ready: Ready, waited: Ready, rule: str) -> Iterator[Finding]:
    if not _near_unknown(timeline, waited.task.queue, waited.task.began, ready.first.high):
        text = f"{ready.task.uid} was claimed while {waited.task.uid} waited, which was to go first"
        yield Finding(rule, text, [waited.task.uid, ready.task.uid])


def priority_ignored(timeline: Timeline) -> Iterator[Finding]:
    """A task was claimed while one of a higher priority was ready."""
    queues: dict[str, list[Ready]] = defaultdict(list)
    for ready in at_once(timeline):
        queues[ready.task.queue].append(ready)
    for queue, found in queues.items():
        waiting = sorted(
            (r for r in found if not timeline.limits.limited(queue, r.group)), key=lambda ready: ready.since
        )
        best: dict[int, Ready] = {}
        at = 0
        for ready in sorted(found, key=lambda ready: ready.first.low):
            while at < len(waiting) and waiting[at].since < ready.first.low:
                known = best.get(waiting[at].priority)
                if known is None or waiting[at].until > known.until:
                    best[waiting[at].priority] = waiting[at]
                at += 1
            wanted = ready.first.call.asked.get("group")
            for priority, waited in best.items():
                if priority > ready.priority and waited.until > ready.first.high:
                    if wanted is None or wanted == waited.group:
                        yield from _unless_handed(timeline, ready, waited, "priority")


def order_in_reply(timeline: Timeline) -> Iterator[Finding]:
    """Within one reply, a task of a higher priority comes after one of a lower priority."""
    seen = {(id(r.first.call), r.first.place): r for r in at_once(timeline)}
    for ready in seen.values():
        before = seen.get((id(ready.first.call), ready.first.place - 1))
        if before is None or before.priority >= ready.priority or ready.task.queue != before.task.queue:
            continue
        if timeline.limits.limited(ready.task.queue, ready.group) or ready.since >= ready.first.began:
            continue
        text = f"{ready.task.uid} came behind {before.task.uid} in one reply, and has a higher priority"
        yield Finding("priority", text, [before.task.uid, ready.task.uid])
