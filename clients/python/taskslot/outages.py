"""Outages of nodes, so that the log tells each once when it begins and once when it ends. No clock, no connection.

`now` is a monotonic time in seconds.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class Outage:
    """A node that doesn't answer: since when, when that was last noticed, and for which keys."""

    since: float
    noticed_at: float
    keys: set[str]


@dataclass
class Outages:
    """The outages now, by the name of the node. For a key that another node has taken over, the outage ends, too."""

    by_node: dict[str, Outage] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def failed(self, node: str, key: str, now: float) -> bool:
        """A node didn't answer for a key: whether that begins an outage."""
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
        """A command for a key, sent at `asked_at`, was answered: how long the outage was that this ends, if any."""
        with self._lock:
            for node, outage in self.by_node.items():
                # An answer to a command that was sent before the last failure proves nothing.
                if key in outage.keys and asked_at > outage.noticed_at:
                    del self.by_node[node]
                    return now - outage.since
            return None
