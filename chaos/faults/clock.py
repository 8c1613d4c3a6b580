"""Faults of the wall clock of one server: it is set, and it drifts."""

from __future__ import annotations

from harness.server import Clock

from chaos.history import Fault
from chaos.injector import injector
from chaos.stage import Stage

STEPS_MS = (-3_600_000, -5_000, 5_000, 3_600_000)
# The module's clock approaches the wall clock at 1 %. So a span of 10 s, the longest of the load, can be off by this.
SLEWED_MS = 100.0
# A drifting clock is set so much further, so often, for so long.
DRIFT_MS, DRIFT_EACH_S, DRIFT_S = 10, 0.02, 2.0


@injector("clock set")
def step(stage: Stage) -> None:
    """The wall clock is set, forward or back, by five seconds or an hour."""
    node, server = stage.any_node()
    by = stage.random.choice(STEPS_MS)
    assert server.clock
    with stage.fault("clock set", node) as fault:
        fault.details["by_ms"] = by
        permit(fault, server.clock, server.clock.shift + by)
        server.clock.step(by)


@injector("clock drifts")
def drift(stage: Stage) -> None:
    """The wall clock runs half as fast again, or half as fast, for two seconds."""
    node, server = stage.any_node()
    sign = stage.random.choice([-1, 1])
    steps = int(DRIFT_S / DRIFT_EACH_S)
    assert server.clock
    with stage.fault("clock drifts", node) as fault:
        permit(fault, server.clock, server.clock.shift + sign * steps * DRIFT_MS)
        for _ in range(steps):
            server.clock.step(sign * DRIFT_MS)
            stage.wait(DRIFT_EACH_S)


def permit(fault: Fault, clock: Clock, shift_ms: int) -> None:
    """Permit what comes of a clock that goes from its shift to this one."""
    fault.permits.spans_ms = SLEWED_MS
    fault.permits.instants_ms = abs(shift_ms - clock.shift) + max(abs(shift_ms), abs(clock.shift))
