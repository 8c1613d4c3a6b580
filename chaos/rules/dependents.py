"""AFTER: a task is not delivered before those that it waits for have ended."""

from __future__ import annotations

import math
from collections.abc import Iterator

from chaos.rules.finding import Finding
from chaos.timeline import SLACK_S, Task, Timeline


def before_others(timeline: Timeline) -> Iterator[Finding]:
    """A task was delivered before one that it waits for can have ended."""
    for task in timeline.tasks.values():
        if not task.options.get("after") or not task.deliveries or task.replaced:
            continue
        if any(call.call != "result" for call in task.named) or _excused(timeline, task):
            continue
        first = min(task.deliveries, key=lambda delivery: delivery.high)
        for name in task.options["after"]:
            others = [timeline.tasks[uid] for uid in timeline.uids.get((task.queue, name), ())]
            if len(others) != 1 or _excused(timeline, others[0]):
                continue
            death = task.options.get("on_dead", "wait") != "wait"
            if first.high < timeline.may_have_ended_at(others[0], death) - SLACK_S:
                text = f"{task.uid} was delivered before {others[0].uid} had ended, for which it waits"
                yield Finding("after too early", text, [others[0].uid, task.uid])


def _excused(timeline: Timeline, task: Task) -> bool:
    """Whether the task may not be what it was pushed as."""
    if any(timeline.permitted.undone(push.call) for push in task.pushes):
        return True
    return timeline.permitted.upset_at(task.queue) < math.inf


def never_let_go(timeline: Timeline) -> Iterator[Finding]:
    """A queue was emptied, everything that a task waits for was done, and it is still held."""
    drained = {final.queue for final in timeline.history.finals if final.drained}
    for task in timeline.tasks.values():
        held = [left for left in task.left if left.state == "held" and left.queue in drained]
        if not held or not task.options.get("after") or _excused(timeline, task):
            continue
        others = [t for name in task.options["after"] for t in _named(timeline, task.queue, name)]
        if others and all(_done(timeline, other) for other in others):
            text = f"{task.uid} is still held, and all that it waits for is done"
            yield Finding("after never", text, [task.uid, *(other.uid for other in others)])


def _named(timeline: Timeline, queue: str, name: str) -> list[Task]:
    return [timeline.tasks[uid] for uid in timeline.uids.get((queue, name), ())]


def _done(timeline: Timeline, task: Task) -> bool:
    """Whether the task was certainly finished by an ack, and for good."""
    if any(left.state != "done" for left in task.left):
        return False
    return any(a.code == 1 and not timeline.permitted.undone(a.call) for a in task.answers("ack"))
