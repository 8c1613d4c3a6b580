"""A circuit breaker for nodes that don't reply: only one call at a time tries such a node. No clock, no connection.

After a broken connection, a cluster client asks for the slots again. For that, redis-py's asyncio client closes all its
connections, including those to healthy nodes. If a hundred calls retried a dead node, they would stop all other calls.
`now` is a monotonic time in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST_REST_S, LONGEST_REST_S = 0.02, 0.5
# If a probe takes longer than this, another call can send one.
LONGEST_PROBE_S = 2.0
# How often waiting calls check whether the node is back.
NOTICE_S = 0.025


@dataclass
class OpenCircuit:
    """A node that doesn't reply: the time of its next probe, and the length of the rest before it."""

    next_probe: float
    rest_s: float


@dataclass
class CircuitBreaker:
    """The open circuits by node name. All other circuits are closed: every call can use these nodes.

    From `next_probe` on, an open circuit is half open: the first call that asks can probe the node, and the others wait
    for the outcome.
    """

    open: dict[str, OpenCircuit] = field(default_factory=dict)

    def wait_s(self, node: str, now: float) -> float:
        """How long the caller has to wait before it asks again; 0 if it can send its command now."""
        circuit = self.open.get(node)
        if circuit is None:
            return 0.0
        if now < circuit.next_probe:
            return min(NOTICE_S, circuit.next_probe - now)
        circuit.next_probe = now + LONGEST_PROBE_S
        return 0.0

    def failed(self, node: str, now: float) -> None:
        """Record that the node didn't reply: open its circuit, each time for longer."""
        circuit = self.open.get(node)
        rest_s = FIRST_REST_S if circuit is None else min(LONGEST_REST_S, circuit.rest_s * 2)
        self.open[node] = OpenCircuit(now + rest_s, rest_s)

    def succeeded(self, node: str) -> None:
        """Record that the node replied: close its circuit."""
        self.open.pop(node, None)
