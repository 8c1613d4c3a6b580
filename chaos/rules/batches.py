"""Batches: the callback is delivered only after all tasks of the batch have ended, and then it is."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from chaos.history import Call
from chaos.rules.finding import Finding
from chaos.timeline import SLACK_S, Delivery, Task, Timeline


def batch_wrong(timeline: Timeline) -> Iterator[Finding]:
    """A callback came before a task of its batch can have ended, before the batch was closed, or never."""
    members: dict[tuple[str, str], list[Task]] = defaultdict(list)
    closes: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for task in timeline.tasks.values():
        for push in task.pushes[:1]:
            if name := push.options.get("batch"):
                members[push.call.queue, name].append(task)
    for call in timeline.history.calls:
        if call.call == "batch" and call.asked.get("what") == "close" and call.may_count:
            closes[call.queue, call.asked["name"]].append(call)
    for task in timeline.tasks.values():
        if task.pushes and task.pushes[0].callback and not _excused(timeline, task):
            name = task.queue, task.pushes[0].options["name"]
            yield from _callback(timeline, task, members[name], closes[name])


def _excused(timeline: Timeline, task: Task) -> bool:
    """Whether somebody or a fault may have let the callback go."""
    if any(call.call != "result" for call in task.named) or timeline.limits.purges(task.queue):
        return True
    if any(timeline.permitted.undone(push.call) for push in task.pushes):
        return True
    return timeline.permitted.upset_at(task.queue) < math.inf


def _callback(timeline: Timeline, task: Task, members: list[Task], closes: list[Call]) -> Iterator[Finding]:
    name = task.pushes[0].options["name"]
    sure = [m for m in members if m.pushed and not any(timeline.permitted.undone(p.call) for p in m.pushes)]
    if not task.deliveries:
        yield from _never(timeline, task, sure, closes)
        return
    # An old primary does not know the tasks that its successor got: what may be undone is not judged.
    judged = [delivery for delivery in task.deliveries if not timeline.permitted.undone(delivery.call)]
    if not judged:
        return
    first = min(judged, key=lambda delivery: delivery.high)
    if first.high < min((call.began for call in closes), default=math.inf):
        yield Finding(
            "batch too early", f"the callback of {name} came before the batch was closed", [task.uid]
        )
    for member in sure:
        if first.high < timeline.may_have_ended_at(member) - SLACK_S:
            text = f"the callback of {name} came while {member.uid} had not ended"
            yield Finding("batch too early", text, [task.uid, member.uid], closes)
    yield from _counts(task, judged, members, sure)


def _never(timeline: Timeline, task: Task, sure: list[Task], closes: list[Call]) -> Iterator[Finding]:
    """A batch whose tasks have all ended must not be left with its callback held."""
    drained = {final.queue for final in timeline.history.finals if final.drained}
    held = [left for left in task.left if left.state == "held" and left.queue in drained]
    closed = any(call.ok and not timeline.permitted.undone(call) for call in closes)
    if (
        held
        and closed
        and not any(left.state != "done" and left.state != "dead" for m in sure for left in m.left)
    ):
        name = task.pushes[0].options["name"]
        text = f"all tasks of the batch {name} have ended, and its callback is still held"
        yield Finding("batch never complete", text, [task.uid, *(member.uid for member in sure)], closes)


def _counts(task: Task, judged: list[Delivery], members: list[Task], sure: list[Task]) -> Iterator[Finding]:
    """The counts that the callback's worker got fit the tasks that were pushed."""
    for delivery in judged:
        for claimed in delivery.call.answer["tasks"]:
            counts = claimed.get("batch") if claimed.get("handle") == delivery.handle else None
            if isinstance(counts, dict) and not len(sure) <= counts.get("tasks", len(sure)) <= len(members):
                text = f"the callback of {task.uid} was told of {counts['tasks']} tasks, and {len(sure)} were pushed"
                yield Finding("batch miscounted", text, [task.uid])
