"""TASK.RESULT answers what a worker sent with its ack."""

from __future__ import annotations

import math
from collections.abc import Iterator

from chaos.history import Call
from chaos.rules.finding import Finding
from chaos.timeline import RATE, Task, Timeline


def result_wrong(timeline: Timeline) -> Iterator[Finding]:
    """A result that no worker sent for this task, or none for a task that was finished and is kept."""
    for call in timeline.history.calls:
        if call.call != "result" or not call.ok or "id" not in call.asked:
            continue
        uids = timeline.uids.get((call.queue, call.asked["id"]), set())
        if len(uids) != 1:
            continue
        task = timeline.tasks[next(iter(uids))]
        if task.uid in timeline.shared or timeline.permitted.upset_at(call.queue) <= call.ended:
            continue
        state, value = call.answer.get("state"), call.answer.get("value")
        if state == "done":
            sent = _sent(timeline, task, call)
            if sent is not None and value not in sent:
                yield Finding(
                    "result wrong", f"{task.uid} is said to be done with {value!r}", [task.uid], [call]
                )
        elif state in ("pending", "unknown") and _is_kept(timeline, task, call):
            yield Finding(
                "result missing", f"{task.uid} is finished and kept, and is said to be {state}", [task.uid]
            )


def _sent(timeline: Timeline, task: Task, call: Call) -> set[str | None] | None:
    """What workers sent for this task before this call ended; None if not all of them are known."""
    if any(c.asked.get("noack") for c in timeline.unknown_claims.get(task.queue, [])):
        return None
    acks = [a for a in task.answers("ack") if a.code in (1, None) and a.call.began <= call.ended]
    sent: set[str | None] = {answer.call.asked.get("result") for answer in acks}
    if any(delivery.handle is None for delivery in task.deliveries):
        sent.add(None)
    return sent


def _is_kept(timeline: Timeline, task: Task, call: Call) -> bool:
    """Whether the task was certainly done and kept all through this call."""
    if timeline.permitted.undone(call) or task.named != [c for c in task.named if c.call == "result"]:
        return False
    if timeline.limits.purges(task.queue) or timeline.gone_at(task) < math.inf:
        return False
    for answer in task.answers("ack"):
        kept = answer.call.asked.get("retain_ms", task.options.get("retain_ms", 0)) / 1000 * RATE
        if (
            answer.code == 1
            and answer.call.ended < call.began
            and call.ended < answer.call.began + kept - 0.1
        ):
            at = answer.call.ended
            return not timeline.permitted.undone(answer.call) and not timeline.permitted.stale(at, call.ended)
    return False
