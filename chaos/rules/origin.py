"""Where tasks come from: each was pushed, and each push made one."""

from __future__ import annotations

import math
from collections.abc import Iterator

from chaos.rules.finding import Finding
from chaos.timeline import Task, Timeline

# A queue remembers a REQUEST for 5 minutes, and 10,000 of them. Rules go by less.
REMEMBERED_S = 280.0
REMEMBERED = 5000


def appeared(timeline: Timeline) -> Iterator[Finding]:
    """A task was delivered or left that nobody had pushed by then."""
    for task in timeline.tasks.values():
        seen = min([*(d.high for d in task.deliveries), *(math.inf for _ in task.left)], default=None)
        if seen is not None and not task.pushes and task.uid not in timeline.shared:
            yield Finding("appeared", f"{task.uid} was never pushed", [task.uid])
        elif seen is not None and seen < task.began:
            yield Finding("appeared", f"{task.uid} was delivered before it was pushed", [task.uid])


def pushed_twice(timeline: Timeline) -> Iterator[Finding]:
    """One push, sent again or not, made two tasks."""
    requests = [call for call in timeline.history.calls if call.call == "push" and "request" in call.asked]
    for task in timeline.tasks.values():
        if task.uid in timeline.shared or task.replaced:
            continue
        ids = {push.id for push in task.pushes if push.id and push.new}
        ids |= {delivery.id for delivery in task.deliveries} | {left.id for left in task.left}
        if len(ids) > 1 and not _excused(timeline, task, len(requests)):
            yield Finding(
                "pushed twice", f"{task.uid} is {len(ids)} tasks: {', '.join(sorted(ids))}", [task.uid]
            )
        places = [(left.queue, left.id) for left in task.left]
        if len(places) > 1 and len(ids) == 1 and math.isinf(timeline.permitted.doubled_at(task.queues)):
            yield Finding("pushed twice", f"{task.uid} was left {len(places)} times", [task.uid])


def _excused(timeline: Timeline, task: Task, requests: int) -> bool:
    """Whether the push may have been forgotten before it was sent again."""
    if any(timeline.permitted.undone(push.call) for push in task.pushes):
        return True
    if any(timeline.permitted.upset_at(queue) < math.inf for queue in task.queues):
        return True
    begins = [push.call.began for push in task.pushes]
    again = len(begins) > 1
    if again and any("request" not in push.options and not push.callback for push in task.pushes):
        return True  # the load sent it again without REQUEST: a mistake of its own, not the queue's
    return again and (max(begins) - min(begins) > REMEMBERED_S or requests > REMEMBERED)
