"""A node that is killed or stopped and goes on before anybody takes its place, and clocks of single nodes."""

from __future__ import annotations

from harness.server import Server

from chaos.faults.takeover import Down, affected, several, takeover
from chaos.history import Fault
from chaos.injector import injector
from chaos.stage import Stage
from chaos.topologies.replicas import Replicas

# How much faster or slower the clock of a queue may run than the true time, to follow a wall clock that was set.
SLEWING = 0.01
# The longest span that the load uses, in ms.
LONGEST_MS = 10_000


@injector("replica killed")
def replica_killed(stage: Stage) -> None:
    """A replica ends at once, and starts again from its file."""
    topology = several(stage)
    replica = stage.random.choice(topology.replicas())
    with takeover(stage, "replica killed", replica):
        if isinstance(topology, Replicas):
            topology.restart(replica)
        else:
            down = Down(stage, replica).kill()
            stage.wait(stage.random.uniform(0.0, 1.0))
            down.restart()
            topology.make_well()


@injector("primary killed")
def primary_killed(stage: Stage) -> None:
    """A primary ends at once, and is back before anybody takes its place. Its file has all that it acknowledged."""
    topology = several(stage)
    primary = stage.random.choice(topology.primaries())
    with takeover(stage, "primary killed", primary) as fault:
        down = Down(stage, primary).kill()
        down.restart()
        topology.make_well()
        note_outage(stage, fault, primary, down)


@injector("node stopped")
def node_stopped(stage: Stage) -> None:
    """A node stands still for a moment (SIGSTOP), too short for another to take its place."""
    topology = several(stage)
    _, node = stage.any_node()
    was_primary = node in topology.primaries()
    with takeover(stage, "node stopped", node) as fault:
        down = Down(stage, node).freeze()
        stage.wait(stage.random.uniform(0.1, 0.8))
        down.thaw()
        topology.make_well()
        if was_primary:
            note_outage(stage, fault, node, down)


def note_outage(stage: Stage, fault: Fault, primary: Server, down: Down) -> None:
    """Say that a primary was away, for which its leases have a grace, unless another took its place."""
    if not several(stage).watch.takeovers(fault.began):
        fault.outage = down.span
        fault.permits.queues = affected(stage, primary)


@injector("clock stepped")
def clock_stepped(stage: Stage) -> None:
    """The wall clock of one node is set by seconds, or by an hour; later ones may set it back."""
    topology = several(stage)
    _, node = stage.any_node()
    assert node.clock is not None
    with takeover(stage, "clock stepped", node) as fault:
        before = node.clock.shift
        by = stage.random.choice([-3_600_000, -5_000, -700, 700, 5_000, 3_600_000])
        node.clock.step(-before if abs(before) > 3_000_000 else by)
        fault.details["from_ms"], fault.details["to_ms"] = before, node.clock.shift
        fault.permits.instants_ms = max(abs(before), abs(node.clock.shift))
        fault.permits.spans_ms = SLEWING * LONGEST_MS
        topology.make_well()


@injector("clock drifts")
def clock_drifts(stage: Stage) -> None:
    """The wall clock of one node runs a fifth faster or slower for some seconds."""
    topology = several(stage)
    _, node = stage.any_node()
    assert node.clock is not None
    with takeover(stage, "clock drifts", node) as fault:
        each_ms = stage.random.choice([-4, 4])
        before = node.clock.shift
        for _ in range(stage.random.randint(50, 150)):
            node.clock.step(each_ms)
            stage.wait(0.02)
        fault.details["from_ms"], fault.details["to_ms"] = before, node.clock.shift
        fault.permits.instants_ms = max(abs(before), abs(node.clock.shift))
        fault.permits.spans_ms = SLEWING * LONGEST_MS
        topology.make_well()
