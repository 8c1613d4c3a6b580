"""Who tries a node that is away: one call at a time, while the others wait for how that ends. No clock, no connection.

A client of a cluster learns the slots anew at each broken connection; redis-py's asyncio client closes all its
connections for that, those to the nodes that work, too. A hundred calls that each try a dead node again stop all the
others. `now` is a monotonic time in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST_REST_S, LONGEST_REST_S = 0.02, 0.5
# How long a try may take before somebody else has a go.
LONGEST_TRY_S = 2.0
# How soon those who wait notice that the node is back.
NOTICE_S = 0.025


@dataclass
class Away:
    """A node that doesn't answer: when it is tried next, and how long it is left alone after that."""

    next_try: float
    rest_s: float


@dataclass
class Turns:
    """Nodes that are away, by name."""

    away: dict[str, Away] = field(default_factory=dict)

    def wait_s(self, node: str, now: float) -> float:
        """How long to wait before asking again; 0 says it is the caller's turn to try."""
        away = self.away.get(node)
        if away is None:
            return 0.0
        if now < away.next_try:
            return min(NOTICE_S, away.next_try - now)
        away.next_try = now + LONGEST_TRY_S
        return 0.0

    def failed(self, node: str, now: float) -> None:
        """A try has failed: leave the node alone for a while, each time longer."""
        away = self.away.get(node)
        rest_s = FIRST_REST_S if away is None else min(LONGEST_REST_S, away.rest_s * 2)
        self.away[node] = Away(now + rest_s, rest_s)

    def worked(self, node: str) -> None:
        """The node answers: whoever waits may go."""
        self.away.pop(node, None)
