"""What a run shows, as a row of numbers, and the sums of such rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Self

from chaos.history import MARKS, Call, History
from chaos.rules.confirmed import confirmed
from chaos.rules.finding import Finding
from chaos.rules.loss import losses
from chaos.rules.redelivery import redeliveries
from chaos.timeline import Timeline


@dataclass
class Row:
    """The numbers of one run, or of several runs of a profile on a server.

    - `pushed`: tasks that a client tried to push; `acknowledged` those that were confirmed; `unknown` those for which
      no reply told. `confirmed`: pushes of which WAIT said that a replica has them.
    - `delivered`: tasks given to workers; `redelivered` those given before, and `causes` says why.
    - `lost`: acknowledged pushes that are nowhere at the end and that no fault explains. `in_window`: the same with a
      fault that permits it, at most `window_s` before the fault. `flushed`: removed by a fault that empties queues.
    - `unpermitted`: of a positive control, the losses that the rules find if no fault permits anything.
    - `stale_refused`: answers with an old handle that were refused.
    - `refused`: refused calls by the first word of the error.
    - `pause_s`: the longest time in which no client had a successful answer.
    - `digests`: comparisons of a queue's digest; `unequal` those that differ.
    - `exits`: servers that ended though no fault explains it.
    - `findings`: broken rules by name. `problems`: what went wrong in a run apart from that.
    """

    profile: str
    server: str
    runs: int = 0
    seeds: list[int] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    pushed: int = 0
    acknowledged: int = 0
    unknown: int = 0
    confirmed: int = 0
    delivered: int = 0
    acked: int = 0
    dead: int = 0
    redelivered: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    in_window: int = 0
    flushed: int = 0
    window_s: float = 0.0
    unpermitted: int = 0
    stale_refused: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    pause_s: float = 0.0
    digests: int = 0
    unequal: int = 0
    exits: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    problems: int = 0

    def add(self, other: Self) -> None:
        """Add the runs of another row of the same profile and server."""
        assert (self.profile, self.server) == (other.profile, other.server)
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if each.name.endswith("_s"):
                setattr(self, each.name, max(mine, theirs))
            elif each.name not in ("profile", "server"):
                setattr(self, each.name, mine + theirs)

    def plain(self) -> dict[str, Any]:
        """The row for JSON."""
        return {
            name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()
        }

    @classmethod
    def read(cls, values: dict[str, Any]) -> Self:
        """A row from JSON."""
        fields: dict[str, Any] = {
            name: Counter(value) if isinstance(value, dict) else value for name, value in values.items()
        }
        return cls(**fields)


def row(timeline: Timeline, findings: Iterable[Finding], problems: int) -> Row:
    """The numbers of one run."""
    history = timeline.history
    made = Row(history.run.profile, history.run.server, 1, [history.run.seed], problems=problems)
    made.faults = Counter(fault.kind for fault in history.faults)
    count_pushes(made, timeline)
    count_deliveries(made, timeline)
    count_losses(made, timeline)
    made.refused = Counter(call.word for call in history.calls if call.outcome == "refused")
    made.pause_s = round(longest_pause(history), 3)
    made.digests, made.unequal = compared(history)
    made.exits = len(history.exits)
    made.findings = Counter(finding.rule for finding in findings)
    return made


def count_pushes(made: Row, timeline: Timeline) -> None:
    """Count what was pushed, by how much the clients know."""
    for task in timeline.tasks.values():
        if task.pushed:
            made.acknowledged += 1
        elif any(push.call.outcome == "unknown" for push in task.pushes):
            made.unknown += 1
    made.confirmed = len(confirmed(timeline.history))
    made.pushed = made.acknowledged + made.unknown


def count_deliveries(made: Row, timeline: Timeline) -> None:
    """Count deliveries and how they ended, and redeliveries by their cause."""
    for task in timeline.tasks.values():
        made.delivered += bool(task.deliveries)
        made.acked += any(answer.verb == "ack" and answer.code == 1 for answer in task.answers("ack"))
        made.dead += any(left.state == "dead" for left in task.left)
        made.stale_refused += sum(
            answer.refused for answer in task.answers("ack", "fail", "requeue", "extend")
        )
    for found in redeliveries(timeline):
        made.redelivered += 1
        made.causes[found.cause or "none"] += 1


def count_losses(made: Row, timeline: Timeline) -> None:
    """Count acknowledged pushes that are nowhere at the end."""
    flushing = {fault.kind for fault in timeline.history.faults if fault.permits.loses}
    for loss in losses(timeline):
        if loss.fault is None:
            made.lost += 1
        elif loss.fault in flushing:
            made.flushed += 1
        else:
            made.in_window += 1
            made.window_s = max(made.window_s, round(loss.before_s, 3))


def longest_pause(history: History) -> float:
    """The longest time between two successful answers of any clients, while the load was on."""
    run = history.run
    ends = sorted(call.ended for call in history.calls if is_answer(call, run.began, run.ended))
    return max((later - earlier for earlier, later in zip(ends, ends[1:], strict=False)), default=0.0)


def is_answer(call: Call, began: float, ended: float) -> bool:
    """Whether a call was answered with success in this time."""
    return call.ok and began <= call.ended <= ended


def compared(history: History) -> tuple[int, int]:
    """How many comparisons of digests there are, and how many of them differ."""
    values: dict[tuple[str, str], list[str]] = {}
    for one in history.digests:
        values.setdefault((one.comparison, one.queue), []).append(one.digest)
    return len(values), sum(len(set(each)) > 1 for each in values.values())


def added(rows: Iterable[Row]) -> list[Row]:
    """The sums of rows by profile and server, in the order of their first appearance."""
    sums: dict[tuple[str, str], Row] = {}
    for one in rows:
        sums.setdefault((one.profile, one.server), Row(one.profile, one.server)).add(one)
    return list(sums.values())


def happened(one: Row) -> Counter[str]:
    """How often each fault happened. Marks are none."""
    return Counter({kind: count for kind, count in sorted(one.faults.items()) if kind not in MARKS})


def line(one: Row) -> str:
    """A row in one line, for the screen."""
    in_window = f", {one.in_window:,} in window ({one.window_s:.2f} s)" if one.in_window else ""
    flushed = f", {one.flushed:,} flushed" if one.flushed else ""
    control = f", control found {one.unpermitted:,}" if one.unpermitted else ""
    bad = [f"{count} × {name}" for name, count in one.findings.items()]
    bad += [f"{one.problems} problems"] if one.problems else []
    return (
        f"{one.profile:15} {one.server:11} {happened(one).total():3} faults, {one.acknowledged:6,} pushed, "
        f"{one.lost} lost{in_window}{flushed}{control}, {one.redelivered:,} again, pause {one.pause_s:.2f} s, "
        f"digests {one.digests - one.unequal}/{one.digests}, {one.exits} exits"
        + (f"  FOUND: {', '.join(bad)}" if bad else "")
    )
