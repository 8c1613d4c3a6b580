"""When a server went away and when it is back, each to be told once. No clock, no connection.

`now` is a monotonic time in seconds.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class Absence:
    """Since when a node doesn't answer, when that was last seen, and for which keys."""

    since: float
    seen_at: float
    keys: set[str]


@dataclass
class Absences:
    """Nodes that are away, by name; a key that another node serves by now has an end of its absence, too."""

    away: dict[str, Absence] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def lost(self, node: str, key: str, now: float) -> bool:
        """A node didn't answer: whether that is news."""
        with self._lock:
            is_known = any(key in absence.keys for absence in self.away.values())
            absence = self.away.get(node)
            if absence is None and not is_known:
                self.away[node] = Absence(now, now, {key})
                return True
            for one in self.away.values():
                if one is absence or key in one.keys:
                    one.seen_at = now
                    one.keys.add(key)
            return False

    def found(self, key: str, asked_at: float, now: float) -> float | None:
        """A key was answered for, which was asked for at that time: how long it wasn't, if that is news."""
        with self._lock:
            for node, absence in self.away.items():
                # An answer that was on its way before says nothing.
                if key in absence.keys and asked_at > absence.seen_at:
                    del self.away[node]
                    return now - absence.since
            return None
