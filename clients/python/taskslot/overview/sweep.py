"""The search for queues in one server's keys (SCAN … TYPE taskqueue), which goes on where it stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..clients import AS_BYTES

# The number of keys that one SCAN searches, and the number of SCANs that one look sends to each server.
SCAN_COUNT, SCANS_A_LOOK = 1000, 100
# A longer key is left out, so that few names can't fill the memory.
MOST_KEY_BYTES = 8192


@dataclass
class Sweep:
    """The state of the search: its cursor, the queues found, and how often it reached the end.

    `oversized` is how many queues the last search up to the end left out for their long names.
    """

    cursor: int = 0
    keys: dict[bytes, None] = field(default_factory=dict)
    rounds: int = 0
    oversized: int = 0
    _left_out: int = 0

    def search(self, client: Any, limit: int, whole: bool) -> int:
        """Go on until more than `limit` queues are known, to the end of the keys at most; some steps unless `whole`.

        Returns the number of commands that were sent.
        """
        steps, rounds = 0, self.rounds
        while self.rounds == rounds and (whole or steps < SCANS_A_LOOK) and len(self.keys) <= limit:
            self._step(client)
            steps += 1
        return steps

    def _step(self, client: Any) -> None:
        words = ("SCAN", self.cursor, "COUNT", SCAN_COUNT, "TYPE", "taskqueue")
        cursor, found = client.execute_command(*words, **AS_BYTES)[:2]
        short = [key for key in found if len(key) <= MOST_KEY_BYTES]
        self.keys.update(dict.fromkeys(short))
        self._left_out += len(found) - len(short)
        self.cursor = int(cursor)
        if self.cursor == 0:
            self.rounds += 1
            self.oversized, self._left_out = self._left_out, 0
