"""What a rule found, and its story: the lines of the history that have to do with it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from chaos.history import Call, Fault
from chaos.timeline import Timeline

# A story of more lines has a gap in its middle.
LONGEST = 60


@dataclass(slots=True)
class Finding:
    """Something that a sound queue cannot have done."""

    # The name of the rule, as `lost`.
    rule: str
    # What is wrong, in a sentence.
    text: str
    uids: list[str] = field(default_factory=list)
    # Calls that belong to the story though they name none of these tasks.
    calls: list[Call] = field(default_factory=list)


def story(timeline: Timeline, finding: Finding) -> list[str]:
    """The lines of the tasks of this finding, and the faults near them, in order of time."""
    start = timeline.history.run.began
    calls = {
        (c.client, c.n): c for c in [*finding.calls, *(c for u in finding.uids for c in _calls(timeline, u))]
    }
    lines = [(call.began, _call_line(call, start)) for call in calls.values()]
    first = min((call.began for call in calls.values()), default=-math.inf)
    last = max(
        (call.began if math.isinf(call.ended) else call.ended for call in calls.values()), default=math.inf
    )
    for fault in timeline.history.faults:
        if fault.began <= last + 1 and first - 1 <= fault.ended:
            lines.append((fault.began, _fault_line(fault, start)))
    told = [line for _, line in sorted(lines)]
    if len(told) > LONGEST:
        half = LONGEST // 2
        told = [*told[:half], f"   … {len(told) - 2 * half} more lines …", *told[-half:]]
    for uid in finding.uids:
        told += [
            f"   at the end: {left.state} in {left.queue}, id {left.id}" for left in _left(timeline, uid)
        ]
    return [f"{finding.rule}: {finding.text}", *told]


def _calls(timeline: Timeline, uid: str) -> Iterable[Call]:
    task = timeline.tasks.get(uid)
    if task is None:
        return
    yield from (push.call for push in task.pushes)
    yield from task.named
    for delivery in task.deliveries:
        yield delivery.call
        yield from (answer.call for answer in delivery.answers)


def _left(timeline: Timeline, uid: str) -> Iterable[Any]:
    task = timeline.tasks.get(uid)
    return task.left if task else []


def _at(instant: float, start: float) -> str:
    return "   never" if math.isinf(instant) else f"{instant - start:8.3f}"


def _call_line(call: Call, start: float) -> str:
    asked = " ".join(f"{name}={_short(value)}" for name, value in call.asked.items())
    answer = " ".join(f"{name}={_short(value)}" for name, value in call.answer.items())
    what = f"{call.outcome} {answer}{call.error}".strip()
    times = f"{_at(call.began, start)} {_at(call.ended, start)}"
    return f"{times} {call.client:10} {call.call} {call.queue} {asked} -> {what}"


def _fault_line(fault: Fault, start: float) -> str:
    undoes = fault.permits.undoes
    window = f" undoes {undoes[0] - start:.3f} to {undoes[1] - start:.3f}" if undoes else ""
    return (
        f"{_at(fault.began, start)} {_at(fault.ended, start)} FAULT      {fault.kind} of {fault.node}{window}"
    )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
