"""Faults by which a replica may become the primary, and what that permits."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from harness.server import Server

from chaos.history import REPLACED, Fault
from chaos.stage import Stage
from chaos.topologies.cluster import Slots
from chaos.topologies.compare import queues
from chaos.topologies.several import Several
from chaos.topologies.windows import Span, Takeover


def several(stage: Stage) -> Several:
    """The topology, which has several nodes."""
    topology = stage.topology
    assert isinstance(topology, Several)
    return topology


def number(stage: Stage, server: Server) -> int:
    """The place of a node in the topology."""
    return stage.topology.nodes().index(server)


@contextmanager
def takeover(stage: Stage, kind: str, node: Server) -> Iterator[Fault]:
    """The span of a fault in which a replica may take over.

    After it, the history says what each takeover that was seen may have undone, with a mark `replaced` for each span
    of time. The block ends when roles and links are in order again.
    """
    with stage.fault(kind, number(stage, node)) as fault:
        fault.permits.stale = True
        yield fault
    permit_undone(stage, fault.began)


def until_replaced(
    stage: Stage, kind: str, primary: Server, replica: Server, is_killed: bool, longest_s: float
) -> None:
    """Kill a primary, or stop it, until its replica was promoted. At most so many seconds later it comes back."""
    topology = several(stage)
    with takeover(stage, kind, primary):
        down = Down(stage, primary)
        if is_killed:
            down.kill()
        else:
            down.freeze()
        topology.watch.promoted(replica)
        stage.wait(stage.random.uniform(0.0, longest_s))
        if is_killed:
            down.restart()
        else:
            down.thaw()
        topology.make_well()


def permit_undone(stage: Stage, since: float) -> None:
    """Write what the takeovers since this instant may have undone."""
    watch = several(stage).watch
    watch.until(
        lambda: all(found.demoted < math.inf for found in watch.takeovers(since)),
        "those that were replaced have become replicas",
    )
    for found in watch.takeovers(since):
        for span in watch.undone(found):
            permit(stage, found, span)


def permit_unasked(stage: Stage, since: float) -> None:
    """Write what those takeovers since this instant may have undone that no fault brought about.

    On a machine that is too busy, nodes answer so late that Sentinel or a cluster replaces them.
    """
    if not isinstance(stage.topology, Several):
        return
    watch, during = stage.topology.watch, [(fault.began, fault.ended) for fault in stage.faults]
    for found in watch.takeovers(since):
        if not any(began <= found.promoted <= ended for began, ended in during):
            for span in watch.undone(found):
                permit(stage, found, span, max(since, span[0]))


def permit(stage: Stage, found: Takeover, span: Span, began: float | None = None) -> None:
    """Write that a takeover may have undone what happened in a span. It disturbs clients since `began`, or now."""
    with stage.fault(REPLACED, found.old) as fault:
        fault.began = began or fault.began
        fault.permits.undoes = span
        fault.permits.queues = affected(stage, stage.topology.nodes()[found.new])
        fault.details = {"by": found.new, "promoted": found.promoted, "demoted": found.demoted}


def affected(stage: Stage, primary: Server) -> list[str] | None:
    """The queues of a primary in a cluster; None, which is all queues, elsewhere."""
    return queues(primary) if isinstance(stage.topology, Slots) else None


class Down:
    """A node that answers nobody, from the end of `kill` or `freeze` on, until it is told to go on: its `span`."""

    span: Span

    def __init__(self, stage: Stage, server: Server):
        self._watch, self._server = several(stage).watch, server

    def kill(self) -> Down:
        """End it at once."""
        self._server.kill9()
        self._since = time.monotonic()
        return self

    def freeze(self) -> Down:
        """Stop it (SIGSTOP)."""
        self._server.freeze()
        self._since = time.monotonic()
        return self

    def restart(self) -> None:
        """Start it as what it was before it had a primary: as a primary, if nobody tells it otherwise."""
        self._over()
        self._server.restart(replicaof=None)

    def thaw(self) -> None:
        """Let it go on."""
        self._over()
        self._server.thaw()

    def _over(self) -> None:
        self.span = self._watch.was_down(self._server, self._since)
