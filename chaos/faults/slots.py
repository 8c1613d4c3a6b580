"""Queues that move with their slots to another primary, while they are used."""

from __future__ import annotations

from harness.cluster import Node
from harness.server import Installed

from chaos.faults.cluster import slots_of
from chaos.faults.takeover import number
from chaos.injector import injector
from chaos.stage import Stage
from chaos.topologies.compare import queues


def migrates(installed: Installed) -> bool:
    """Whether a server has CLUSTER MIGRATESLOTS: Valkey since 9.0. The CLUSTER MIGRATION of Redis came after 8.2."""
    return installed.is_valkey and installed.version >= (9, 0)


@injector("slots moved by key", is_command=True)
def moved_by_key(stage: Stage) -> None:
    """The slots of some queues move key by key (MIGRATE), as redis-cli does it."""
    move(stage, atomically=False)


@injector("slots moved at once", is_command=True, only_on=migrates)
def moved_at_once(stage: Stage) -> None:
    """The slots of some queues move by CLUSTER MIGRATESLOTS."""
    move(stage, atomically=True)


def move(stage: Stage, atomically: bool) -> None:
    """Move one slot that has queues to another primary."""
    cluster = slots_of(stage).cluster
    source, slot = any_slot(stage)
    target = stage.random.choice([node for node in cluster.primaries() if node is not source])
    kind = "slots moved at once" if atomically else "slots moved by key"
    with stage.fault(kind, number(stage, source)) as fault:
        fault.details = {"slot": slot, "to": number(stage, target)}
        if atomically:
            cluster.migrate_slots([slot], source, target)
        else:
            cluster.move_slots([slot], source, target)
        cluster.wait_ok(60)


def any_slot(stage: Stage) -> tuple[Node, int]:
    """A slot with queues, and the primary that has it."""
    cluster = slots_of(stage).cluster
    found = [(node, cluster.slot(name)) for node in cluster.primaries() for name in queues(node)]
    return stage.random.choice(sorted(set(found), key=lambda one: one[1]))
