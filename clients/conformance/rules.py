"""What a worker must keep to in every case: connections, slices, tokens, places, the stop."""

from __future__ import annotations

import time

from .scene import Scene
from .sent import Sent

LONGEST_SLICE_MS = 4000
# A command can be under way when another connection's command, or a signal, overtakes it.
UNDER_WAY_S = 0.4
STOP_S = 1.5


class Rules:
    """Watches the commands of a worker. `breaches` has what was expected, and the first command that was otherwise."""

    def __init__(self, scene: Scene, places: int, lease_ms: int) -> None:
        self._scene = scene
        self._places = places
        self._lease_ms = lease_ms
        self._worker = b""
        self._too_many: list[tuple[float, Sent]] = []
        self._breaches: dict[str, list[str]] = {}

    @property
    def breaches(self) -> list[str]:
        """What the worker did wrong: for each rule what was expected, what came, and how often."""
        return [
            f"expected {rule}; came {came[0]}" + (f", and {len(came) - 1} more" if came[1:] else "")
            for rule, came in self._breaches.items()
        ]

    def broken(self, rule: str, came: object) -> None:
        """Note what was expected, and what came instead."""
        self._breaches.setdefault(rule, []).append(str(came))
        self._scene.changed()

    def came_behind_a_claim(self, words: list[bytes]) -> None:
        """A command came on the connection of a claim that waits."""
        rule = "a waiting claim to have its connection to itself"
        self.broken(rule, f"{words[0].decode('latin-1').upper()} behind it")

    def came(self, sent: Sent) -> None:
        """Look at a command of the module, before it is carried out."""
        if not sent.claims:
            return
        self._look_at_options(sent)
        self._look_at_token(sent)
        self._look_at_places(sent)
        self._look_at_stop(sent)

    def _look_at_options(self, sent: Sent) -> None:
        if "BLOCK" in sent.options and not 1 <= sent.number("BLOCK", 0) <= LONGEST_SLICE_MS:
            self.broken(f"BLOCK to be 1 to {LONGEST_SLICE_MS} ms", sent)
        if sent.number("LEASE", 0) != self._lease_ms:
            self.broken(f"LEASE {self._lease_ms} in each claim, as TASKSLOT_LEASE_MS says", sent)
        worker = sent.options.get("WORKER", b"")
        if not worker or (self._worker and worker != self._worker):
            self.broken("WORKER with one name of the process in each claim", sent)
        self._worker = self._worker or worker
        if {"NOACK", "GROUP", "GATHER"} & sent.options.keys():
            self.broken("a claim without NOACK, GROUP and GATHER", sent)

    def _look_at_token(self, sent: Sent) -> None:
        if not sent.request:
            return self.broken("REQUEST in each claim", sent)
        for before in self._scene.claims():
            is_over = before.is_answered and not before.is_refused and self._is_open(before)
            if before.request == sent.request and is_over:
                return self.broken("a new REQUEST token after a reply", sent)

    def _is_open(self, sent: Sent) -> bool:
        return sent.connection in self._scene.open_connections

    # ---- places

    def _look_at_places(self, sent: Sent) -> None:
        waiting = [
            other
            for other in self._scene.claims()
            if other.is_waiting and other.request != sent.request and self._is_open(other)
        ]
        wanted = sent.number("COUNT", 1) + sum(other.number("COUNT", 1) for other in waiting)
        if self._held(sent, sent.at) + wanted > self._places:
            self._too_many.append((wanted, sent))

    def _held(self, claim: Sent, until: float) -> int:
        """The number of tasks that the worker had at a claim, without those that it has answered until a time."""
        came = [sent for sent in self._scene.sent if sent.answers and sent.at <= until]
        answered = {handle for sent in (*came, claim) for handle in sent.handles}
        return sum(
            0 < task.delivered_at < claim.at and not task.is_told and task.handle not in answered
            for task in self._scene.model.tasks
        )

    def look_at_places_again(self) -> None:
        """Judge claims that seemed to be for too many tasks, now that answers that were under way have come."""
        for wanted, sent in self._too_many:
            held = self._held(sent, sent.at + UNDER_WAY_S)
            if held + wanted > self._places:
                taken = f"with {held} of {self._places} places taken"
                self.broken("claims for free places only", f"{sent} {taken}")

    # ---- the stop

    def ends_waits(self) -> bool:
        """Whether waiting claims end early, because the worker is stopping: a worker that goes on claims again."""
        stopped_at = self._scene.stopped_at
        return stopped_at is not None and time.monotonic() > stopped_at + UNDER_WAY_S + self._scene.late_s

    def _look_at_stop(self, sent: Sent) -> None:
        stopped_at = self._scene.stopped_at
        if stopped_at is not None and sent.at > stopped_at + STOP_S:
            known = {before.request for before in self._scene.claims() if not before.is_answered}
            if sent.request not in known:
                self.broken("no new claim after SIGTERM", sent)
