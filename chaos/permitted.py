"""What the faults of a history permit, asked by queue and instant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from chaos.history import Call, Closed, Fault, History

# How long after a fault nothing is said about how fast a queue answers: links heal, and clients find the primary.
SETTLE_S = 3.0
# A standstill from half a second on is an outage, after which overdue leases last as long again, at most 5 s.
SHORTEST_OUTAGE_S, GRACE_S = 0.6, 5.0


class Permitted:
    """The faults of a history, and the connections that were closed."""

    def __init__(self, history: History) -> None:
        self.faults = sorted(history.faults, key=lambda fault: fault.began)
        self._closed = sorted(_closings(history), key=lambda closed: closed[1])
        self._undoing = [fault for fault in self.faults if fault.permits.undoes]
        self._restless = [fault for fault in self.faults if not fault.permits.calm]

    def undone(self, call: Call) -> Fault | None:
        """A fault that may have undone this call.

        One without a reply may take effect after its client gave up: when a server that stood still goes on.
        """
        return self.undone_between(
            call.began, math.inf if call.outcome == "unknown" else call.ended, call.queue
        )

    def undone_between(self, began: float, ended: float, queue: str) -> Fault | None:
        """A fault that may have undone something that took effect between these instants."""
        for fault in self._undoing:
            first, last = fault.permits.undoes or (0.0, 0.0)
            if first <= ended and began <= last and _covers(fault, queue):
                return fault
        return None

    def gone(self, queues: Iterable[str], pushed_at: float) -> Iterator[Fault]:
        """The faults that may have removed a task which was in these queues from then on."""
        names = list(queues)
        for fault in self.faults:
            if (
                fault.permits.loses
                and fault.ended >= pushed_at
                and any(_covers(fault, name) for name in names)
            ):
                yield fault

    def upset_at(self, queue: str) -> float:
        """From when on this queue may be another one than before: emptied, doubled, moved."""
        return min(
            (
                fault.began
                for fault in self.faults
                if (fault.permits.loses or fault.permits.doubles or fault.permits.moves)
                and _covers(fault, queue)
            ),
            default=math.inf,
        )

    def doubled_at(self, queues: Iterable[str]) -> float:
        """From when on a task of these queues may exist twice, or elsewhere."""
        names = list(queues)
        return min(
            (
                fault.began
                for fault in self.faults
                if (fault.permits.doubles or fault.permits.moves)
                and any(_covers(fault, name) for name in names)
            ),
            default=math.inf,
        )

    def freed(self, queue: str, began: float, ended: float) -> Fault | None:
        """A fault that may have ended a lease of this queue in this time."""
        for fault in self.faults:
            if (
                fault.permits.frees
                and fault.began <= ended
                and began <= fault.ended
                and _covers(fault, queue)
            ):
                return fault
        return None

    def closed(self, client: str, began: float, ended: float) -> bool:
        """Whether a connection of this client may have been closed in this time."""
        return any(
            first <= ended and began <= last and name in ("*", client, client.split("/", 1)[0])
            for name, first, last in self._closed
        )

    def spans_s(self, queue: str, until: float) -> float:
        """By how much a span may be shorter because clocks were set, before this instant."""
        return sum(f.permits.spans_ms for f in self.faults if f.began <= until and _covers(f, queue)) / 1000

    def instants_s(self, queue: str, until: float) -> float:
        """By how much an instant of the wall clock may be off, before this instant."""
        return (
            sum(f.permits.instants_ms for f in self.faults if f.began <= until and _covers(f, queue)) / 1000
        )

    def graced(self, queue: str, held_at: float, deadline: float, latest: float) -> float:
        """The earliest end of a lease with a deadline between these two, held at this instant, with its grace.

        A deadline that may have come after an outage may have had no grace. A fault during a grace may end it: a server
        that starts knows of the last outage only.
        """
        for fault in self.faults:
            if fault.outage and _covers(fault, queue):
                stopped, went_on = fault.outage
                length = went_on - stopped
                if (
                    length >= SHORTEST_OUTAGE_S
                    and held_at < stopped < deadline <= went_on
                    and latest <= went_on
                ):
                    over = went_on + min(length, GRACE_S) * 0.97 - 0.02
                    cut = min((f.began for f in self.faults if went_on <= f.began < over), default=over)
                    deadline = max(deadline, cut)
        return deadline

    def stale(self, began: float, ended: float) -> bool:
        """Whether something read between these instants may be older than the first of them."""
        return any(f.permits.stale and f.began <= ended and began <= f.ended for f in self.faults)

    def broken_at(self, queue: str) -> float:
        """From when on this queue may be broken."""
        return min((f.began for f in self.faults if f.permits.breaks and _covers(f, queue)), default=math.inf)

    def quiet(self, began: float, ended: float) -> bool:
        """Whether nothing disturbed the servers in this time, nor shortly before."""
        return not any(f.began <= ended and began <= f.ended + SETTLE_S for f in self._restless)


def _covers(fault: Fault, queue: str) -> bool:
    """Whether the fault permits something for this queue."""
    return fault.permits.queues is None or queue in fault.permits.queues


def _closings(history: History) -> Iterator[tuple[str, float, float]]:
    """Whose connections were closed, not before and not after which instants."""
    for fault in history.faults:
        for name in fault.permits.closes:
            yield name, fault.began, fault.ended
    for closed in history.closed:
        yield closed.client, *_around(closed)
    last: dict[str, Call] = {}
    for call in history.calls:
        before = last.get(call.client)
        if before and before.connection != call.connection:
            yield call.client, before.began, call.began
        if call.outcome == "unknown":
            yield call.client, call.began, math.inf if math.isinf(call.ended) else call.ended + 1.0
        last[call.client] = call


def _around(closed: Closed) -> tuple[float, float]:
    """The server learns of it a little later, and a killed process may have died a little earlier."""
    return closed.at - 1.0, closed.at + 1.0
