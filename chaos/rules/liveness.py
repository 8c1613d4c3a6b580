"""Between faults, ready tasks reach the workers that wait, and calls are answered."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from chaos.history import Call
from chaos.rules.finding import Finding
from chaos.timeline import RATE, Delivery, Task, Timeline

# A busy machine can take so long to do what is due.
READY_S = 1.5
# A call without BLOCK is answered within this time, on a machine that does a lot else.
ANSWER_S = 10.0


@dataclass(slots=True)
class Span:
    """A task was certainly ready between these instants."""

    task: Task
    since: float
    until: float


def not_served(timeline: Timeline) -> Iterator[Finding]:
    """A claim waited or got nothing, though a task had been ready for long."""
    spans: dict[str, list[Span]] = defaultdict(list)
    for task in timeline.tasks.values():
        if not timeline.limits.limited(task.queue, task.options.get("group")):
            spans[task.queue] += _ready(timeline, task)
    for queue, found in spans.items():
        poisoned = _poisoned_at(timeline, queue)
        for group in {None, *(span.task.options.get("group") for span in found)}:
            own = [s for s in found if group is None or s.task.options.get("group") == group]
            claims = [c for c in timeline.claims[queue] if c.asked.get("group") == group]
            yield from _idle(timeline, own, claims, poisoned)


def _idle(timeline: Timeline, spans: list[Span], claims: list[Call], poisoned: float) -> Iterator[Finding]:
    """Match claims that got nothing with tasks that were ready meanwhile."""
    spans.sort(key=lambda span: span.since)
    sinces = [span.since for span in spans]
    longest: list[Span] = []
    for span in spans:
        longest.append(span if not longest or span.until > longest[-1].until else longest[-1])
    for call in claims:
        waited = _waited_until(timeline, call)
        if waited is None or (call.asked.get("worker") and waited >= poisoned):
            continue
        at = bisect_left(sinces, waited - READY_S) - 1
        if at < 0 or longest[at].until <= waited:
            continue
        span = longest[at]
        # A claim that does not wait must find the task when it comes.
        if ("block_ms" not in call.asked and span.since + READY_S > call.began) or not _undisturbed(
            timeline, span, waited
        ):
            continue
        text = f"{call.client} got nothing, and {span.task.uid} was ready for {waited - span.since:.1f} s"
        yield Finding("not served", text, [span.task.uid], [call])


def _undisturbed(timeline: Timeline, span: Span, until: float) -> bool:
    return timeline.permitted.quiet(span.since, until)


def _waited_until(timeline: Timeline, call: Call) -> float | None:
    """Until when this claim certainly had got nothing; None if that says nothing."""
    if not call.ok or call.asked.get("gather_ms"):
        return None
    tasks = call.answer.get("tasks", [])
    if not tasks:
        return call.ended
    low = min(
        (d.low for c in tasks for d in timeline.by_handle.get(c.get("handle") or "", [])), default=call.began
    )
    return low if "block_ms" in call.asked and low - call.began >= READY_S else None


def _ready(timeline: Timeline, task: Task) -> Iterator[Span]:
    """The spans of time in which this task was certainly ready."""
    push = task.pushed
    if push is None or len(task.pushes) > 1 or task.replaced or task.uid in timeline.shared:
        return
    if any(call.call != "result" for call in task.named) or push.callback or push.options.get("after"):
        return
    delay = push.options.get("delay_ms", 0) / 1000
    since = push.call.ended + delay / RATE
    if "at_ms" in push.options:
        since = max(since, (push.options["at_ms"] - timeline.history.run.wall_ms) / 1000 + 0.1)
    if task.deliveries:
        if task.deliveries[0].attempt == 1:
            yield Span(task, since, min(task.deliveries[0].began, _expires(task)))
    for before, after in pairwise(task.deliveries):
        back = _back_at(before)
        if back is None:
            back = _untied_at(timeline, before)
        if back is not None and after.attempt == before.attempt + 1:
            yield Span(task, back, after.began)


def _expires(task: Task) -> float:
    """The task may have expired from then on."""
    return task.began + task.options["ttl_ms"] / 1000 * RATE if "ttl_ms" in task.options else math.inf


def _back_at(delivery: Delivery) -> float | None:
    """When the task must have been ready again, if its holder gave it back or failed it."""
    for answer in delivery.answers:
        if answer.verb == "fail" and (answer.code or 0) > 0:
            return answer.call.ended + (answer.code or 0) / 1000 / RATE
        if answer.verb == "requeue" and answer.code == 1:
            delay_ms: float = answer.call.asked.get("delay_ms", 0)
            return answer.call.ended + delay_ms / 1000 / RATE
    return None


def _untied_at(timeline: Timeline, delivery: Delivery) -> float | None:
    """When the task must have been ready again, because its first lease was TIED to a connection that closed."""
    call = delivery.call
    if not call.asked.get("tied") or delivery.answers or delivery.attempt != 1:
        return None
    names = (call.client, call.client.partition("/")[0])
    ends = [one.at for one in timeline.history.closed if one.client in names and one.at >= call.ended]
    at = min(ends, default=math.inf)
    # After a restart or a promotion in between, nothing but its time ends it.
    return at if at < math.inf and timeline.permitted.quiet(call.began, at) else None


def _poisoned_at(timeline: Timeline, queue: str) -> float:
    """From when on a worker with a name may get nothing, because a task that stalled twice is kept for it.

    Leases that end without an answer count, and those of claims whose reply was lost.
    """
    stalls: list[float] = []
    for task in timeline.tasks.values():
        if queue not in task.queues:
            continue
        ended = [
            d.high
            for d in task.deliveries
            if d.handle and not any(_ends(timeline, d, a.code, a.verb) for a in d.answers)
        ]
        gaps = sum(max(0, b.attempt - a.attempt - 1) for a, b in pairwise(task.deliveries))
        if len(ended) + gaps >= 2:
            stalls.append(min(ended, default=task.began) if gaps else sorted(ended)[1])
    return min(stalls, default=math.inf)


def _ends(timeline: Timeline, delivery: Delivery, code: int | None, verb: str) -> bool:
    """Whether an answer certainly ended a lease before it was over."""
    if verb == "extend" or code is None:
        return False
    return code > 0 or code == -1


def slow(timeline: Timeline) -> Iterator[Finding]:
    """A call took far longer than it may wait, in a time without faults."""
    for call in timeline.history.calls:
        if call.outcome == "unknown" or call.asked.get("block_ms") == 0:
            continue
        waits = call.asked.get("block_ms", 0) / 1000
        if call.ended - call.began > waits + ANSWER_S and timeline.permitted.quiet(call.began, call.ended):
            uids = [uid for uid in call.asked.get("uids", [])]
            text = f"{call.call} of {call.client} took {call.ended - call.began:.1f} s"
            yield Finding("slow", text, uids, [call])
