"""Tracks outages of nodes, so that each is logged once at its start and once at its end. No clock, no connection.

`now` is a monotonic time in seconds.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class Outage:
    """A node that doesn't reply: since when, when that was last noticed, and for which keys."""

    since: float
    noticed_at: float
    keys: set[str]


@dataclass
class Outages:
    """The present outages by node name. An outage also ends if another node takes over one of its keys."""

    by_node: dict[str, Outage] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def failed(self, node: str, key: str, now: float) -> bool:
        """Record that a node didn't reply for a key. Returns True if this is the start of an outage."""
        with self._lock:
            is_known = any(key in outage.keys for outage in self.by_node.values())
            own = self.by_node.get(node)
            if own is None and not is_known:
                self.by_node[node] = Outage(now, now, {key})
                return True
            for outage in self.by_node.values():
                if outage is own or key in outage.keys:
                    outage.noticed_at = now
                    outage.keys.add(key)
            return False

    def succeeded(self, key: str, asked_at: float, now: float) -> float | None:
        """Record a reply for a key to a command sent at `asked_at`. If it ends an outage, returns its length."""
        with self._lock:
            for node, outage in self.by_node.items():
                # A reply to a command that was sent before the last failure proves nothing.
                if key in outage.keys and asked_at > outage.noticed_at:
                    del self.by_node[node]
                    return now - outage.since
            return None
