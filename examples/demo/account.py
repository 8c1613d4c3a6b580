"""The account of a run: which tasks were pushed, done, lost and redelivered, and why; and whether all records agree.

    python examples/demo/account.py .run/demo

prints it again from the logs of a run.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from books import Books, Claim, Failover, shard_of

SLOT_RANGES = 3
WORKER_KILLED = "its worker was killed"
IN_MID_CLAIM = "its worker was killed while it claimed"
ACK_UNDONE = "its ack died with the primary"
CLAIM_UNDONE = "its claim died with the primary"
PUSH_UNDONE = "its push died with the primary, after it had been done"
LEASE_ENDED = "its lease ended before the worker's answer"
NODE_AWAY = "its lease ended while its node was away"
ANSWER_LOST = "the connection broke while it was claimed"
UNEXPLAINED = "unexplained"
# A change that never reached the replica can be older than the cut by this much: it was in the primary's buffers.
BUFFERED_S = 1.0
# Leases that end while a node is away are kept for this much longer (`failover-grace`).
GRACE_S = 5.0


@dataclass(frozen=True)
class Check:
    """A condition that must hold. `text` describes it and what was found."""

    holds: bool
    text: str


class Account:
    """The account of a run, computed from its books."""

    def __init__(self, books: Books) -> None:
        self.books = books

    # ---- what happened to the tasks

    @cached_property
    def done(self) -> set[int]:
        """The numbers of the tasks that are done, by the server's own list."""
        return {kept.n for kept in self.books.kept.values()}

    @cached_property
    def lost(self) -> list[int]:
        """The numbers that were pushed and that the server doesn't have."""
        return sorted(self.books.pushed.keys() - self.done)

    @cached_property
    def duplicates(self) -> list[int]:
        """The numbers that became more than one task."""
        counts = Counter(kept.n for kept in self.books.kept.values())
        return sorted(n for n, count in counts.items() if count > 1)

    @cached_property
    def silent(self) -> set[int]:
        """The numbers that are done without an ack in a worker's log, although the last worker didn't die."""
        found = set()
        for id_, kept in self.books.kept.items():
            claims = self.books.claims.get(kept.n, [])
            mine = [claim for claim in claims if (claim.id, claim.deliveries) == (id_, kept.deliveries)]
            if not any(self._may_have_acked(claim) for claim in mine):
                found.add(kept.n)
        return found

    def _may_have_acked(self, claim: Claim) -> bool:
        """Whether the claim was acked, or its worker died before it could log the ack."""
        answer = self.books.answers.get(claim.handle)
        return answer[1] in ("done", "gone") if answer else claim.worker in self.books.killed

    # ---- redeliveries and their causes

    @cached_property
    def redelivered(self) -> Counter[str]:
        """The number of deliveries after the first one of each task, by cause."""
        causes: Counter[str] = Counter()
        for claims in self.books.claims.values():
            for before, claim in zip([None, *claims], claims, strict=False):
                if before is not None:
                    causes[self._cause(before, claim)] += 1
                causes.update(self._cause_unseen(claim) for _ in range(unseen(before, claim)))
        return causes

    def _cause(self, before: Claim, claim: Claim) -> str:
        """The cause of the claim that follows this claim."""
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
        """The cause of a claim before this one that is in no worker's log."""
        since = claim.t - self.books.lease_ms / 1000 - 2 * GRACE_S
        slot_range = self.books.slot_range_of(shard_of(claim.id), claim.t)
        if any(
            one.slot_range == slot_range and since <= one.promoted <= claim.t for one in self.books.failovers
        ):
            return ANSWER_LOST
        if any(since <= t <= claim.t for t in self.books.killed.values()):
            return IN_MID_CLAIM
        return (
            ANSWER_LOST
            if any(since <= end and begin <= claim.t for begin, end in self.books.moves)
            else UNEXPLAINED
        )

    def _failover(self, before: Claim, claim: Claim) -> Failover | None:
        """The failover of the task's node between two of its claims."""
        slot_range = self.books.slot_range_of(shard_of(before.id), before.t)
        for failover in self.books.failovers:
            is_between = before.t <= failover.promoted and claim.t >= failover.cut
            if failover.slot_range == slot_range and is_between:
                return failover
        return None

    # ---- how even the load was

    def shares(self, what: str, until: float = float("inf")) -> list[int]:
        """The pushes or completions of each slot range until an instant, in percent of an even share."""
        if what == "pushes":
            found = [(t, id_) for t, id_ in self.books.pushed.values()]
        else:
            found = [(t, handle) for handle, (t, answer) in self.books.answers.items() if answer == "done"]
        counts = Counter(self.books.slot_range_of(shard_of(id_), t) for t, id_ in found if t < until)
        return [
            round(100 * SLOT_RANGES * counts[slot_range] / max(1, counts.total()))
            for slot_range in range(SLOT_RANGES)
        ]

    # ---- checks

    @cached_property
    def checks(self) -> list[Check]:
        """All conditions that must hold."""
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
                not left,
                f"no task is left on the server or ended in another way{f': {left}' if left else ''}",
            ),
            equal(
                "tasks pushed", {"the producer's log": len(self.books.pushed), "TASK.INFO": totals["pushed"]}
            ),
            equal("tasks done", {"TASK.LIST": len(kept), "TASK.INFO": totals["acked"]}),
            equal("claims", {"the deliveries of all tasks": deliveries, "TASK.INFO": totals["claimed"]}),
            self._of_leases(),
        ]

    def _of_leases(self) -> Check:
        """Each claim ends with an answer or with a stall. It has both if the ack came after the stall (a late ack)."""
        totals = self.books.totals
        ended = {name: totals[name] for name in ("acked", "stalled", "failed", "requeued") if totals[name]}
        both = sum(ended.values()) - totals["claimed"]
        sums = " + ".join(f"{count} {name}" for name, count in ended.items())
        late = f", of which {both} are both" if both else ""
        return Check(0 <= both <= totals["late"], f"each claim has ended: {totals['claimed']} = {sums}{late}")

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
                f"the producer's log and the server have the same ids{found(strange, 'differ')}",
            ),
            Check(
                not self.silent,
                f"each done task has its ack in a worker's log{found(self.silent, 'lack it')}",
            ),
            Check(not unclaimed, f"no worker acked a task that it hadn't claimed{found(unclaimed, 'did')}"),
            Check(not wrong, f"workers and server agree on each task's deliveries{found(wrong, 'differ')}"),
        ]

    def _deliveries(self, id_: str, n: int) -> set[int]:
        """The delivery numbers of the claims that may have finished the task."""
        mine = [claim for claim in self.books.claims.get(n, []) if claim.id == id_]
        return {claim.deliveries for claim in mine if self._may_have_acked(claim)}

    def _of_nodes(self) -> Check:
        """Nodes count from their start, so the totals are those of the live nodes plus the killed one until its end."""
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
        """Whether a primary that was killed later served the task at this instant."""
        for one in self.books.failovers:
            if (
                one.slot_range == self.books.slot_range_of(shard_of(id_), one.cut)
                and wall_ms / 1000 <= one.killed
            ):
                return True
        return False

    # ---- as text

    def lines(self) -> list[str]:
        """The account as lines of text."""
        books, again = self.books, self.books.again
        lines = [
            f"pushed        {len(books.pushed):>7,}   acknowledged by a primary, confirmed by its replica (WAIT 1)",
            f"done          {len(self.done):>7,}   acked by a worker, by the server's own list",
            f"lost          {len(self.lost):>7,}",
            f"pushed twice  {len(self.duplicates):>7,}",
            f"sent again    {again:>7,}   pushes that were not confirmed when their connection to the primary broke: "
            f"{again - len(books.undone):,}",
            f"{'':24}had survived (the REQUEST token added nothing), {len(books.undone):,} had died with the primary "
            "and would be lost",
            f"redelivered   {self.redelivered.total():>7,}   claims after the first one of a task, because",
        ]
        causes = [(cause, count) for cause, count in self.redelivered.most_common() if cause != UNEXPLAINED]
        for cause, count in [*causes, (UNEXPLAINED, self.redelivered[UNEXPLAINED])]:
            lines.append(f"{count:>21,}   … {cause}")
        return [*lines, "", *self._balance(), "", *self._agreement()]

    def _balance(self) -> list[str]:
        ports = ["→".join(map(str, self.books.nodes[slot_range])) for slot_range in range(SLOT_RANGES)]
        head = "load in % of an even share"
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
            else f"{wrong} of {len(self.checks)} checks FAILED:"
        )
        return [head, *(f"  {'✓' if check.holds else '✗'} {check.text}" for check in self.checks)]

    @property
    def holds(self) -> bool:
        """Whether all checks hold."""
        return all(check.holds for check in self.checks)


# The states that must be empty at the end, and the totals that must be 0.
LEFT = (
    "ready", "delayed", "leased", "dead", "cancelled", "purged", "expired", "dropped", "forgotten", "died", "retried",
)  # fmt: skip


def unseen(before: Claim | None, claim: Claim) -> int:
    """The number of claims before this one that are in no log, by the task's count of deliveries."""
    if before is None or before.id != claim.id:
        return claim.deliveries - 1
    return max(0, claim.deliveries - before.deliveries - 1)


def found(wrong: object, how: str) -> str:
    """The number of exceptions and the first of them, as text; empty if there are none."""
    some = sorted(wrong)  # type: ignore[call-overload]
    return f": {len(some)} {how}, as {', '.join(map(str, some[:3]))}" if some else ""


def equal(what: str, counts: dict[str, object]) -> Check:
    """A check that several records have the same count."""
    values = set(counts.values())
    text = (
        str(values.pop())
        if len(values) == 1
        else ", ".join(f"{name} {count}" for name, count in counts.items())
    )
    names = list(counts)
    same = len(set(counts.values())) == 1
    return Check(same, f"{what}: {text}" + (f" by {', '.join(names[:-1])} and {names[-1]}" if same else ""))


if __name__ == "__main__":
    account = Account(Books.of(Path(sys.argv[1])))
    print("\n".join(account.lines()))
    sys.exit(not account.holds)
