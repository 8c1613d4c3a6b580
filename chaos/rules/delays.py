"""Instants before and after which a task is not delivered: DELAY, AT, TTL."""

from __future__ import annotations

from collections.abc import Iterator

from chaos.rules.finding import Finding
from chaos.timeline import RATE, SLACK_S, Task, Timeline

# A wall clock and the monotonic clock run apart by a few ms in a run.
WALL_S = 0.1


def too_early(timeline: Timeline) -> Iterator[Finding]:
    """A task was delivered before its delay was over, or before its instant."""
    for task in timeline.tasks.values():
        if not task.pushes or not task.deliveries or not _as_pushed(timeline, task):
            continue
        first = min(task.deliveries, key=lambda delivery: delivery.high)
        due = task.began + task.options.get("delay_ms", 0) / 1000 * RATE - SLACK_S
        due -= timeline.permitted.spans_s(first.queue, first.high)
        if "at_ms" in task.options:
            due = (task.options["at_ms"] - timeline.history.run.wall_ms) / 1000 - WALL_S
            due -= timeline.permitted.instants_s(first.queue, first.high)
        if first.high < due:
            yield Finding("too early", f"{task.uid} was delivered {due - first.high:.3f} s early", [task.uid])


def expired(timeline: Timeline) -> Iterator[Finding]:
    """A task was delivered for the first time after its time to live was over."""
    for task in timeline.tasks.values():
        ttl = task.options.get("ttl_ms")
        if ttl is None or not task.deliveries or not _as_pushed(timeline, task) or "at_ms" in task.options:
            continue
        if task.options.get("after") or task.pushes[0].callback or task.pushed is None:
            continue
        first = task.deliveries[0]
        over = task.pushed.call.ended + (task.options.get("delay_ms", 0) + ttl) / 1000 / RATE
        # A time that the server did not run may count less, and one that a delay was late counts, too.
        disturbed = not timeline.permitted.quiet(task.began, first.high)
        if first.attempt == 1 and first.low > over + 1.0 and not disturbed and "delay_ms" not in task.options:
            yield Finding("expired", f"{task.uid} was delivered after its time to live", [task.uid])


def _as_pushed(timeline: Timeline, task: Task) -> bool:
    """Whether its times are those of its push."""
    if task.replaced or task.uid in timeline.shared:
        return False
    return not any(call.call in ("set", "retry") for call in task.named)
