"""A circuit breaker for nodes that don't answer: one call at a time tries such a node. No clock, no connection.

A client of a cluster asks for the slots again after each broken connection; redis-py's asyncio client closes all its
connections for that, also those to nodes that work. If a hundred calls each retried a dead node, they would stop all
the others. `now` is a monotonic time in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST_REST_S, LONGEST_REST_S = 0.02, 0.5
# How long a probe may take before another call may send one.
LONGEST_PROBE_S = 2.0
# How soon the waiting calls notice that the node is back.
NOTICE_S = 0.025


@dataclass
class OpenCircuit:
    """A node that doesn't answer: when it is probed next, and how long it rests after that."""

    next_probe: float
    rest_s: float


@dataclass
class CircuitBreaker:
    """Open circuits by the name of their node; all other nodes are closed circuits, which anybody may use.

    An open circuit is half open from `next_probe` on: the first call that asks may probe the node, the others wait for
    the outcome.
    """

    open: dict[str, OpenCircuit] = field(default_factory=dict)

    def wait_s(self, node: str, now: float) -> float:
        """How long to wait before asking again; 0 means that the caller may send its command now."""
        circuit = self.open.get(node)
        if circuit is None:
            return 0.0
        if now < circuit.next_probe:
            return min(NOTICE_S, circuit.next_probe - now)
        circuit.next_probe = now + LONGEST_PROBE_S
        return 0.0

    def failed(self, node: str, now: float) -> None:
        """The node didn't answer: open its circuit, each time for longer."""
        circuit = self.open.get(node)
        rest_s = FIRST_REST_S if circuit is None else min(LONGEST_REST_S, circuit.rest_s * 2)
        self.open[node] = OpenCircuit(now + rest_s, rest_s)

    def succeeded(self, node: str) -> None:
        """The node answered: close its circuit."""
        self.open.pop(node, None)
