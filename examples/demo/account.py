"""The account of a run: what was pushed, done, redelivered and why, lost; and whether all the books say the same.

    python examples/demo/account.py .run/demo

makes it again of the logs of a run.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from books import Books, Claim, Failover, shard_of

PLACES = 3
WORKER_KILLED = "its worker was killed"
IN_MID_CLAIM = "its worker was killed while it claimed"
ACK_UNDONE = "its ack died with the primary"
CLAIM_UNDONE = "its claim died with the primary"
PUSH_UNDONE = "its push died with the primary, after it had been done"
LEASE_ENDED = "its lease ended before the worker's answer"
NODE_AWAY = "its lease ended while its node was away"
ANSWER_LOST = "the connection broke while it was claimed"
UNEXPLAINED = "unexplained"
# How much older than the cut a change may be that the replica has never seen: what stood in the primary's buffers.
BUFFERED_S = 1.0
# Leases that end while a node can't be heard are spared for so long besides (`failover-grace`).
GRACE_S = 5.0


@dataclass(frozen=True)
class Check:
    """Something that must be so; `text` says what was found."""

    holds: bool
    text: str


class Account:
    """The account of the books of a run."""

    def __init__(self, books: Books) -> None:
        self.books = books

    # ---- what came of the tasks

    @cached_property
    def done(self) -> set[int]:
        """The numbers whose task is done by the server's word."""
        return {kept.n for kept in self.books.kept.values()}

    @cached_property
    def lost(self) -> list[int]:
        """Numbers that were pushed, and of which the server knows nothing."""
        return sorted(self.books.pushed.keys() - self.done)

    @cached_property
    def duplicates(self) -> list[int]:
        """Numbers that became more than one task."""
        counts = Counter(kept.n for kept in self.books.kept.values())
        return sorted(n for n, count in counts.items() if count > 1)

    @cached_property
    def silent(self) -> set[int]:
        """Numbers that are done though no worker's log has the answer, nor died the worker that claimed it last."""
        found = set()
        for id_, kept in self.books.kept.items():
            claims = self.books.claims.get(kept.n, [])
            mine = [claim for claim in claims if (claim.id, claim.deliveries) == (id_, kept.deliveries)]
            if not any(self._may_have_acked(claim) for claim in mine):
                found.add(kept.n)
        return found

    def _may_have_acked(self, claim: Claim) -> bool:
        """Whether it was acked, or its worker died before it could write so."""
        answer = self.books.answers.get(claim.handle)
        return answer[1] in ("done", "gone") if answer else claim.worker in self.books.killed

    # ---- what came again, and why

    @cached_property
    def redelivered(self) -> Counter[str]:
        """How many deliveries there were beyond the first of each number, by their cause."""
        causes: Counter[str] = Counter()
        for claims in self.books.claims.values():
            for before, claim in zip([None, *claims], claims, strict=False):
                if before is not None:
                    causes[self._cause(before, claim)] += 1
                causes.update(self._cause_unseen(claim) for _ in range(unseen(before, claim)))
        return causes

    def _cause(self, before: Claim, claim: Claim) -> str:
        """Why a task was claimed again after this claim."""
        answered, answer = self.books.answers.get(before.handle, (0.0, ""))
        failover = self._failover(before, claim)
        if before.id != claim.id:
            return PUSH_UNDONE if failover else UNEXPLAINED
        if answer == "done":
            is_undone = failover and before.t <= failover.killed and answered >= failover.cut - BUFFERED_S
            return ACK_UNDONE if is_undone else UNEXPLAINED
        killed = self.books.killed.get(before.worker)
        if killed is not None and before.t <= killed <= claim.t and not answer:
            return WORKER_KILLED
        if failover and claim.deliveries <= before.deliveries:
            return CLAIM_UNDONE
        if claim.t * 1000 >= before.deadline:
            return NODE_AWAY if failover else LEASE_ENDED
        return UNEXPLAINED

    def _cause_unseen(self, claim: Claim) -> str:
        """Why there was a claim before this one which no worker's log knows of."""
        since = claim.t - self.books.lease_ms / 1000 - 2 * GRACE_S
        place = self.books.place_of(shard_of(claim.id), claim.t)
        if any(one.place == place and since <= one.promoted <= claim.t for one in self.books.failovers):
            return ANSWER_LOST
        if any(since <= t <= claim.t for t in self.books.killed.values()):
            return IN_MID_CLAIM
        return (
            ANSWER_LOST
            if any(since <= end and begin <= claim.t for begin, end in self.books.moves)
            else UNEXPLAINED
        )

    def _failover(self, before: Claim, claim: Claim) -> Failover | None:
        """The failover of its node that lies between two claims of a task."""
        place = self.books.place_of(shard_of(before.id), before.t)
        for failover in self.books.failovers:
            is_between = before.t <= failover.promoted and claim.t >= failover.cut
            if failover.place == place and is_between:
                return failover
        return None

    # ---- how evenly

    def shares(self, what: str, until: float = float("inf")) -> list[int]:
        """Pushes or completions of each place until an instant, in % of an even share."""
        if what == "pushes":
            found = [(t, id_) for t, id_ in self.books.pushed.values()]
        else:
            found = [(t, handle) for handle, (t, answer) in self.books.answers.items() if answer == "done"]
        counts = Counter(self.books.place_of(shard_of(id_), t) for t, id_ in found if t < until)
        return [round(100 * PLACES * counts[place] / max(1, counts.total())) for place in range(PLACES)]

    # ---- whether the books agree

    @cached_property
    def checks(self) -> list[Check]:
        """All that must be so."""
        return [*self._of_tasks(), *self._of_totals(), *self._of_logs(), self._of_nodes()]

    def _of_tasks(self) -> list[Check]:
        unexplained = self.redelivered[UNEXPLAINED]
        unconfirmed = self.books.pushed.keys() - self.books.confirmed
        return [
            Check(not self.lost, f"every push is done{found(self.lost, 'lost')}"),
            Check(not self.duplicates, f"no push made two tasks{found(self.duplicates, 'twice')}"),
            Check(not unconfirmed, f"a replica confirmed every push{found(unconfirmed, 'unconfirmed')}"),
            Check(
                not unexplained,
                f"every redelivery has its cause{f' (all but {unexplained})' * bool(unexplained)}",
            ),
        ]

    def _of_totals(self) -> list[Check]:
        totals, kept = self.books.totals, self.books.kept
        left = {name: totals[name] for name in LEFT if totals[name]}
        deliveries = sum(one.deliveries for one in kept.values())
        return [
            Check(
                not left, f"no task is left on the server or went another way{f': {left}' if left else ''}"
            ),
            equal(
                "tasks pushed", {"the producer's log": len(self.books.pushed), "TASK.INFO": totals["pushed"]}
            ),
            equal("tasks done", {"TASK.LIST": len(kept), "TASK.INFO": totals["acked"]}),
            equal("claims", {"the deliveries of all tasks": deliveries, "TASK.INFO": totals["claimed"]}),
            self._of_leases(),
        ]

    def _of_leases(self) -> Check:
        """Each claim ends with an answer or a stall; with both, if the ack came after the stall: that is a late one."""
        totals = self.books.totals
        ended = {name: totals[name] for name in ("acked", "stalled", "failed", "requeued") if totals[name]}
        both = sum(ended.values()) - totals["claimed"]
        said = " + ".join(f"{count} {name}" for name, count in ended.items())
        late = f", {both} of them both" if both else ""
        return Check(0 <= both <= totals["late"], f"each claim has ended: {totals['claimed']} = {said}{late}")

    def _of_logs(self) -> list[Check]:
        strange = set(self.books.kept) ^ set(self.books.ids.values())
        unclaimed = self.books.answers.keys() - {
            c.handle for all_ in self.books.claims.values() for c in all_
        }
        wrong = [
            id_
            for id_, kept in self.books.kept.items()
            if kept.deliveries not in self._deliveries(id_, kept.n)
        ]
        return [
            Check(
                not strange,
                f"the ids of the producer's log are those of the server{found(strange, 'differ')}",
            ),
            Check(
                not self.silent,
                f"each done task has its ack in a worker's log{found(self.silent, 'lack it')}",
            ),
            Check(not unclaimed, f"no worker acked what it hadn't claimed{found(unclaimed, 'did')}"),
            Check(not wrong, f"workers and server count a task's deliveries alike{found(wrong, 'differ')}"),
        ]

    def _deliveries(self, id_: str, n: int) -> set[int]:
        """The deliveries that claims say which may have finished a task."""
        mine = [claim for claim in self.books.claims.get(n, []) if claim.id == id_]
        return {claim.deliveries for claim in mine if self._may_have_acked(claim)}

    def _of_nodes(self) -> Check:
        """Nodes count from their start: those that live now, and the dead one until its death, make the whole."""
        kept = self.books.kept.items()
        pushed = sum(
            not self._by_the_dead(id_, int(id_.partition("/")[2].partition("-")[0])) for id_, _ in kept
        )
        acked = sum(not self._by_the_dead(id_, one.done_since) for id_, one in kept)
        return equal(
            "pushes and acks of the nodes that live",
            {
                "INFO taskslot": (self.books.live["pushed"], self.books.live["acked"]),
                "the tasks": (pushed, acked),
            },
        )

    def _by_the_dead(self, id_: str, wall_ms: int) -> bool:
        """Whether what happened to a task at this instant was done by a primary that died later."""
        for one in self.books.failovers:
            if one.place == self.books.place_of(shard_of(id_), one.cut) and wall_ms / 1000 <= one.killed:
                return True
        return False

    # ---- in words

    def lines(self) -> list[str]:
        """The account, to be read."""
        books, again = self.books, self.books.again
        lines = [
            f"pushed        {len(books.pushed):>7,}   acknowledged by a primary, confirmed by its replica (WAIT 1)",
            f"done          {len(self.done):>7,}   acked by a worker, by the server's own list",
            f"lost          {len(self.lost):>7,}",
            f"pushed twice  {len(self.duplicates):>7,}",
            f"sent again    {again:>7,}   pushes that had no replica's word when their line to the primary broke or "
            f"wasn't there yet: {again - len(books.undone):,}",
            f"{'':24}were there (their REQUEST token added nothing), {len(books.undone):,} had died with the primary, "
            "and would be lost",
            f"redelivered   {self.redelivered.total():>7,}   claims beyond the first of a task, since",
        ]
        causes = [(cause, count) for cause, count in self.redelivered.most_common() if cause != UNEXPLAINED]
        for cause, count in [*causes, (UNEXPLAINED, self.redelivered[UNEXPLAINED])]:
            lines.append(f"{count:>21,}   … {cause}")
        return [*lines, "", *self._balance(), "", *self._agreement()]

    def _balance(self) -> list[str]:
        ports = ["→".join(map(str, self.books.nodes[place])) for place in range(PLACES)]
        head = "load in % of even"
        lines = [f"{head:<32}" + "".join(f"{port:>14}" for port in ports)]
        for when, until in (("before the faults", self.books.first_fault), ("in all", float("inf"))):
            for what in ("pushes", "completions"):
                label = f"  {what}, {when}"
                lines.append(f"{label:<32}" + "".join(f"{share:>12} %" for share in self.shares(what, until)))
        return lines

    def _agreement(self) -> list[str]:
        wrong = sum(not check.holds for check in self.checks)
        head = (
            "the server's totals and the logs agree:"
            if not wrong
            else f"NOT SO, {wrong} of {len(self.checks)}:"
        )
        return [head, *(f"  {'✓' if check.holds else '✗'} {check.text}" for check in self.checks)]

    @property
    def holds(self) -> bool:
        """Whether all that must be so is so."""
        return all(check.holds for check in self.checks)


# Where no task may be at the end, and what may not have become of any.
LEFT = (
    "ready", "delayed", "leased", "dead", "cancelled", "purged", "expired", "dropped", "forgotten", "died", "retried",
)  # fmt: skip


def unseen(before: Claim | None, claim: Claim) -> int:
    """How many claims of a task no log has before this one, by its count of deliveries."""
    if before is None or before.id != claim.id:
        return claim.deliveries - 1
    return max(0, claim.deliveries - before.deliveries - 1)


def found(wrong: object, how: str) -> str:
    """How many do not comply, and the first of them; nothing where all do."""
    some = sorted(wrong)  # type: ignore[call-overload]
    return f": {len(some)} {how}, as {', '.join(map(str, some[:3]))}" if some else ""


def equal(what: str, counts: dict[str, object]) -> Check:
    """A check that several books have the same count."""
    values = set(counts.values())
    said = (
        str(values.pop())
        if len(values) == 1
        else ", ".join(f"{name} {count}" for name, count in counts.items())
    )
    names = list(counts)
    same = len(set(counts.values())) == 1
    return Check(same, f"{what}: {said}" + (f" by {', '.join(names[:-1])} and {names[-1]}" if same else ""))


if __name__ == "__main__":
    account = Account(Books.of(Path(sys.argv[1])))
    print("\n".join(account.lines()))
    sys.exit(not account.holds)
