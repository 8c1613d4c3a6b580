"""What happened to each task of a history: its pushes, deliveries and answers, with bounds of when they happened.

A call took effect at some instant between its begin and its end. So each bound here says either what is certain or what
is possible, and its name tells which.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from chaos.history import Call, History, Left
from chaos.permitted import Permitted
from chaos.settings import Limits

# The module's clock may run this much faster than ours while it approaches the wall clock.
RATE = 0.985
# What two clocks of a machine may differ when milliseconds are cut off.
SLACK_S = 0.01


@dataclass(slots=True)
class Push:
    """One call that pushed a task, or may have."""

    call: Call
    options: dict[str, Any]
    # None if the reply is not known, or if nothing was pushed.
    id: str | None
    # False if UNIQUE found another task.
    new: bool = True
    # Whether it is the callback of a batch.
    callback: bool = False


@dataclass(slots=True)
class Answer:
    """What a worker's call did with one handle. The code is None if that is unknown."""

    call: Call
    handle: str
    code: int | None

    @property
    def verb(self) -> str:
        """ack, fail, requeue or extend: NEXT is an ack."""
        return "ack" if self.call.call == "next" else self.call.call

    @property
    def refused(self) -> bool:
        """Whether the lease was over, by the server's word."""
        return self.code == -2


@dataclass(slots=True)
class Delivery:
    """A task that a claim returned."""

    uid: str
    queue: str
    call: Call
    # Its place in the reply.
    place: int
    id: str
    # Both are None with NOACK.
    handle: str | None
    number: int | None
    attempt: int
    lease_ms: float
    # It had not happened before: when the claim was sent, or its first copy with the same REQUEST.
    began: float
    low: float = 0.0
    answers: list[Answer] = field(default_factory=list)

    @property
    def high(self) -> float:
        """It had happened by then."""
        return self.call.ended


@dataclass(slots=True)
class Task:
    """Everything that a history has of one uid."""

    uid: str
    pushes: list[Push] = field(default_factory=list)
    # In the order of their lease numbers.
    deliveries: list[Delivery] = field(default_factory=list)
    # Calls that name it by id or token: cancel, set, retry, result, batch.
    named: list[Call] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    # Another push may have put its payload in the place of this one, or this one is such a payload.
    replaced: bool = False

    @property
    def queue(self) -> str:
        """The queue in which it was pushed or first seen."""
        if self.pushes:
            return self.pushes[0].call.queue
        return self.deliveries[0].queue if self.deliveries else self.left[0].queue

    @property
    def queues(self) -> set[str]:
        """All queues in which it was seen."""
        return (
            {push.call.queue for push in self.pushes}
            | {delivery.queue for delivery in self.deliveries}
            | {left.queue for left in self.left}
        )

    @property
    def options(self) -> dict[str, Any]:
        """The options of its push."""
        return self.pushes[0].options if self.pushes else {}

    @property
    def began(self) -> float:
        """It was not pushed before."""
        return min((push.call.began for push in self.pushes), default=-math.inf)

    @property
    def pushed(self) -> Push | None:
        """The first push that the server acknowledged as a new task."""
        return min(
            (p for p in self.pushes if p.call.ok and p.new and p.id), key=lambda p: p.call.ended, default=None
        )

    def answers(self, *verbs: str) -> Iterator[Answer]:
        """What workers answered, of these kinds, for any of its handles."""
        for delivery in self.deliveries:
            for answer in delivery.answers:
                if answer.verb in verbs:
                    yield answer


class Timeline:
    """The tasks of a history, and what all rules ask about them."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.permitted = Permitted(history)
        self.limits = Limits(history)
        self.tasks: dict[str, Task] = {}
        self.uids: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.by_handle: dict[str, list[Delivery]] = defaultdict(list)
        self.deliveries: list[Delivery] = []
        self.claims: dict[str, list[Call]] = defaultdict(list)
        self.unknown_claims: dict[str, list[Call]] = defaultdict(list)
        # When the first claim with a REQUEST token began.
        self._first_copy: dict[tuple[str, str | None], float] = {}
        # The uids of schedules, whose tasks share them.
        self.shared: set[str] = set()
        self._read_pushes()
        self._read_claims()
        self._read_answers()
        self._read_names()
        for left in history.left:
            if left.uid is not None:
                self._task(left.uid).left.append(left)
                self.uids[left.queue, left.id].add(left.uid)
        self._bound()

    def _task(self, uid: str) -> Task:
        if uid not in self.tasks:
            self.tasks[uid] = Task(uid)
        return self.tasks[uid]

    def _read_pushes(self) -> None:
        for call in self.history.calls:
            if call.call == "cron":
                self.shared.update(call.asked.get("uids", []))
            for push_of in pushes_of(call):
                uid, push = push_of
                task = self._task(uid)
                task.pushes.append(push)
                if push.id is not None:
                    self.uids[call.queue, push.id].add(uid)
                    if not push.new and push.options.get("replace"):
                        for other in self.uids[call.queue, push.id]:
                            self._task(other).replaced = True
                elif push.call.outcome == "unknown" and push.options.get("replace"):
                    task.replaced = True

    def _read_claims(self) -> None:
        for call in self.history.calls:
            if call.call not in ("claim", "next"):
                continue
            for queue in call.asked.get("queues", [call.queue]):
                self.claims[queue].append(call)
                if "request" in call.asked:
                    self._first_copy.setdefault((queue, call.asked["request"]), call.began)
                if call.outcome == "unknown":
                    self.unknown_claims[queue].append(call)
            for place, claimed in enumerate(call.answer.get("tasks", [])):
                self._deliver(call, place, claimed)

    def _deliver(self, call: Call, place: int, claimed: dict[str, Any]) -> None:
        queue = call.answer.get("queue") or call.queue
        handle = claimed.get("handle")
        name = claimed["id"] if handle is None else handle.split("@", 1)[0]
        number = None if handle is None else int(handle.split("@", 1)[1].rsplit("-", 1)[0])
        uid = claimed["uid"] if claimed["uid"] is not None else f"({queue} {name})"
        task = self._task(uid)
        lease_ms = call.asked.get("lease_ms") or task.options.get("lease_ms") or self.limits.lease_ms(queue)
        began = min(call.began, self._first_copy.get((queue, call.asked.get("request")), math.inf))
        delivery = Delivery(
            uid, queue, call, place, name, handle, number, claimed["attempt"], lease_ms, began
        )
        if handle is not None and any(seen.handle == handle for seen in task.deliveries):
            self.by_handle[handle].append(delivery)  # a claim that was sent again; not a second delivery
            return
        task.deliveries.append(delivery)
        self.deliveries.append(delivery)
        self.uids[queue, name].add(uid)
        if handle is not None:
            self.by_handle[handle].append(delivery)

    def _read_answers(self) -> None:
        for call in self.history.calls:
            if call.call in ("ack", "next", "fail", "requeue", "extend"):
                for handle, code in zip(call.asked.get("handles", []), call.codes(), strict=False):
                    for delivery in self.by_handle.get(handle, [])[:1]:
                        delivery.answers.append(Answer(call, handle, code))

    def _read_names(self) -> None:
        tokens: dict[tuple[str, str], list[Task]] = defaultdict(list)
        names: dict[tuple[str, str], list[Task]] = defaultdict(list)
        for task in self.tasks.values():
            for push in task.pushes:
                if token := push.options.get("unique"):
                    tokens[push.call.queue, token].append(task)
                if push.callback:
                    names[push.call.queue, push.options["name"]].append(task)
        for call in self.history.calls:
            if call.call in ("cancel", "set", "retry", "result", "purge"):
                ids = call.asked.get("ids", [call.asked["id"]] if "id" in call.asked else [])
                found = [self.tasks[uid] for name in ids for uid in self.uids.get((call.queue, name), ())]
                if "unique" in call.asked:
                    found += tokens[call.queue, call.asked["unique"]]
            elif call.call == "batch" and call.asked.get("what") == "del":
                found = names[call.queue, call.asked["name"]]
            else:
                continue
            for task in found:
                task.named.append(call)

    def _bound(self) -> None:
        """Order the deliveries of each task, and say when each can have begun at the earliest."""
        for task in self.tasks.values():
            task.deliveries.sort(key=lambda d: (d.number if d.number is not None else math.inf, d.high))
            began = task.began + task.options.get("delay_ms", 0) / 1000 * RATE
            low = -math.inf
            for at, delivery in enumerate(task.deliveries):
                low = max(low, delivery.began)
                if math.isfinite(began) and not task.named:
                    low = max(low, began)
                if at:
                    low = max(low, self._given_back_at(task.deliveries[at - 1], delivery))
                # What is noted after the reply came cannot be.
                delivery.low = low = min(low, delivery.high)

    def _given_back_at(self, before: Delivery, after: Delivery) -> float:
        """If only an answer of the holder can have ended this lease before the next one: when that began."""
        begins = [a.call.began for a in before.answers if a.verb in ("fail", "requeue") and not a.refused]
        if (
            not begins
            or self.deadline_low(before, after.high) <= after.high
            or self.may_have_closed(before, after.high)
        ):
            return -math.inf
        if self.permitted.undone(before.call) or self.permitted.freed(before.queue, before.low, after.high):
            return -math.inf
        return min(begins)

    def may_have_closed(self, delivery: Delivery, until: float) -> bool:
        """Whether a tied lease may have ended because its connection closed."""
        return bool(delivery.call.asked.get("tied")) and self.permitted.closed(
            delivery.call.client, delivery.began, until
        )

    def deadline_low(self, delivery: Delivery, until: float) -> float:
        """The lease lasts at least this long, as far as its time goes, by what was certain before `until`."""
        deadline = delivery.low + delivery.lease_ms / 1000 * RATE
        for answer in delivery.answers:
            if answer.verb == "extend" and (answer.code or 0) > 0 and answer.call.ended < until:
                if not self.permitted.undone(answer.call):
                    span = answer.call.asked.get("lease_ms", delivery.lease_ms) / 1000 * RATE
                    deadline = max(deadline, answer.call.began + span)
        deadline = min(deadline, delivery.low + self.limits.run_max_s(delivery.queue) * RATE)
        off = SLACK_S + self.permitted.spans_s(delivery.queue, until)
        # At the latest, the claim took effect when it ended, and the clock ran slow instead of fast.
        late = delivery.high - delivery.low + (deadline - delivery.low) * (1 / RATE**2 - 1)
        latest = max(deadline + late + off, self._extended_high(delivery, until) + off)
        return self.permitted.graced(delivery.queue, delivery.high, deadline - off, latest)

    def _extended_high(self, delivery: Delivery, until: float) -> float:
        """The latest deadline that an `EXTEND` may have given, sent before `until`."""
        return max(
            (
                answer.call.ended + answer.call.asked.get("lease_ms", delivery.lease_ms) / 1000 / RATE
                for answer in delivery.answers
                if answer.verb == "extend" and not answer.refused and answer.call.began < until
            ),
            default=-math.inf,
        )

    def gone_at(self, task: Task) -> float:
        """From when on a fault may have removed this task, or undone its push."""
        gone = min((fault.began for fault in self.permitted.gone(task.queues, task.began)), default=math.inf)
        if any(self.permitted.undone(push.call) for push in task.pushes):
            return min(gone, task.began)
        return gone

    def may_have_ended_at(self, task: Task, death: bool = True) -> float:
        """The task cannot have ended before: acked, dead (unless `death` is False), cancelled, expired, purged."""
        ends = [self.gone_at(task), self.permitted.doubled_at(task.queues)]
        for answer in task.answers("ack", "fail", "requeue"):
            dies = answer.verb == "fail" and answer.code in (-1, None)
            removed = answer.code == 0 and answer.verb != "ack"
            if (answer.verb == "ack" and answer.code in (1, None)) or removed or (death and dies):
                ends.append(answer.call.began)
        ends += [delivery.low for delivery in task.deliveries if delivery.handle is None]
        ends += [c.began for c in self.unknown_claims.get(task.queue, []) if c.asked.get("noack")]
        ends += [
            c.began for c in task.named if c.call in ("cancel", "purge", "batch", "retry") and c.may_count
        ]
        ends += [call.began for call in self.limits.purges(task.queue)]
        if "ttl_ms" in task.options:
            ends.append(task.began + task.options["ttl_ms"] / 1000 * RATE)
        if task.options.get("on_dead") == "drop" or task.replaced:
            ends.append(task.began)
        if death and self._may_have_stalled_to_death(task):
            ends.append(task.began)
        return min(ends)

    def _may_have_stalled_to_death(self, task: Task) -> bool:
        limit = self.limits.stalls(task.queue)
        known = max([d.attempt for d in task.deliveries] + [left.deliveries for left in task.left], default=0)
        settled = task.left or any(a.code in (1, -1) for a in task.answers("ack", "fail"))
        return known + (0 if settled else len(self.unknown_claims.get(task.queue, []))) >= limit


def pushes_of(call: Call) -> Iterator[tuple[str, Push]]:
    """The pushes that a call made or may have made, each with its uid."""
    if not call.may_count:
        return
    if call.call == "ack" and "push" in call.asked:
        options, ids = call.asked["push"], call.answer.get("ids", [])
        if call.ok and not ids:
            return
    elif call.call == "push" or (call.call == "batch" and call.asked.get("what") == "open"):
        options, ids = call.asked, call.answer.get("ids", [])
    else:
        return
    for at, uid in enumerate(options.get("uids", [])):
        found = ids[at] if at < len(ids) else None
        yield uid, Push(call, options, found, call.answer.get("new", True), call.call == "batch")
