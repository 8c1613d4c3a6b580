"""UNIQUE: one task at a time holds a token, and a token is free once its task has ended."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from chaos.rules.finding import Finding
from chaos.timeline import RATE, Push, Task, Timeline

Holder = tuple[Task, Push]


def two_holders(timeline: Timeline) -> Iterator[Finding]:
    """Two tasks were pushed with one token, and the first must still have held it when the second came."""
    for holders in _holders(timeline).values():
        longest: Holder | None = None
        free_at = -math.inf
        done: list[tuple[float, float, Holder]] = []
        for task, push in sorted(holders, key=lambda holder: holder[1].call.ended):
            done.append((push.call.ended, _free_at(timeline, task, push), (task, push)))
        at = 0
        for task, push in sorted(holders, key=lambda holder: holder[1].call.began):
            while at < len(done) and done[at][0] < push.call.began:
                if done[at][1] > free_at:
                    free_at, longest = done[at][1], done[at][2]
                at += 1
            if timeline.permitted.undone(push.call):
                continue  # an old primary may not know who holds the token now
            if longest is not None and longest[0] is not task and push.call.ended < free_at:
                text = (
                    f"{task.uid} was added though {longest[0].uid} held its token {push.options['unique']!r}"
                )
                yield Finding("unique", text, [longest[0].uid, task.uid])


def _holders(timeline: Timeline) -> dict[tuple[str, str], list[Holder]]:
    """The pushes that added a task with a token, by queue and token."""
    holders: dict[tuple[str, str], list[Holder]] = defaultdict(list)
    for task in timeline.tasks.values():
        push = task.pushed
        if push and push.options.get("unique"):
            holders[push.call.queue, push.options["unique"]].append((task, push))
    return holders


def _free_at(timeline: Timeline, task: Task, push: Push) -> float:
    """Until when the task must have held its token."""
    if len(task.pushes) > 1:
        return -math.inf
    ends = [timeline.may_have_ended_at(task)]
    if push.options.get("keep"):
        ends = [timeline.gone_at(task)]
    if "for_ms" in push.options:
        ends.append(push.call.began + push.options["for_ms"] / 1000 * RATE)
    if push.options.get("until_start"):
        ends += [delivery.low for delivery in task.deliveries]
        ends += [c.began for c in timeline.unknown_claims.get(task.queue, [])]
    ends.append(timeline.permitted.upset_at(task.queue))
    return min(ends)


def found_too_late(timeline: Timeline) -> Iterator[Finding]:
    """A push found a task that had ended before it."""
    for call in timeline.history.calls:
        options = call.asked.get("push", call.asked) if call.call in ("push", "ack") else {}
        if (
            not call.ok
            or call.answer.get("new", True)
            or not options.get("unique")
            or not call.answer.get("ids")
        ):
            continue
        if "request" in options or timeline.permitted.undone(call):
            continue  # the reply can be that of an earlier copy, or of an old primary
        for uid in timeline.uids.get((call.queue, call.answer["ids"][0]), ()):
            task = timeline.tasks[uid]
            pushed = task.pushed
            if pushed is None or pushed.options.get("keep") or task.replaced or len(task.pushes) > 1:
                continue
            for answer in task.answers("ack"):
                if answer.code != 1 or answer.call.ended >= call.began:
                    continue
                if pushed.call.call == "push" and not timeline.permitted.undone(answer.call):
                    if timeline.permitted.doubled_at(task.queues) > call.ended:
                        text = f"a push found {uid}, which had been finished before"
                        yield Finding("unique", text, [uid], [call])
