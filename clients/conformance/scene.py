"""What has happened in a case so far, and what is to go wrong: shared by the stage, its connections and its rules."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from .faults import Fault, matches
from .model import Model
from .sent import Sent


class Scene:
    """The state of one case. `sent` has the worker's commands, `open_connections` the numbers of its connections."""

    def __init__(self, *, has_next: bool) -> None:
        self.model = Model()
        self.faults: list[Fault] = []
        self.sent: list[Sent] = []
        self.open_connections: set[int] = set()
        self.has_next = has_next
        self.stopped_at: float | None = None
        self.breaks: list[int] = []  # after how many commands the next connections break
        self.late_s = 0.0  # how much later than BLOCK says the server ends waits
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Something has changed that a case or a waiting claim may look at."""
        self._changed.set()

    async def change(self, within_s: float) -> None:
        """Wait for a change, at most this long."""
        self._changed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), max(0.001, within_s))

    def next_fault(self, sent: Sent) -> Fault | None:
        """Take the fault that is for this command."""
        for fault in self.faults:
            if fault.times > 0 and matches(fault, sent):
                fault.times -= 1
                fault.met.append(sent)
                return fault
        return None

    def next_break(self) -> int | None:
        """After how many commands a new connection breaks; None if it doesn't."""
        return self.breaks.pop(0) if self.breaks else None

    def claims(self) -> list[Sent]:
        """The claims, in order."""
        return [sent for sent in self.sent if sent.claims]
