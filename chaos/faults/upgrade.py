"""The module is upgraded and downgraded under load, as docs/upgrade.md says: replicas first."""

from __future__ import annotations

import math
import time
from pathlib import Path

from harness.files import wait_aof
from harness.server import MODULE, Server, digest, wait_synced, wait_until

from chaos.faults.replicas import hand_over, replicas_of
from chaos.faults.takeover import number
from chaos.injector import injector
from chaos.stage import Stage
from chaos.topologies.compare import queues
from chaos.topologies.replicas import Replicas


@injector("upgraded", "downgraded", is_command=True)
def upgraded_and_back(stage: Stage) -> None:
    """All nodes get the new build, and then the older one again."""
    for _ in range(2):
        upgraded_or_back(stage)


def upgraded_or_back(stage: Stage) -> None:
    """All nodes get the other build, one after the other, and the replica takes over. Nothing may be lost."""
    topology = replicas_of(stage)
    old, heir, third = topology.chain
    module = topology.module if heir.module == MODULE else MODULE
    kind = "upgraded" if module == MODULE else "downgraded"
    with stage.fault(kind, number(stage, old)) as fault:
        fault.permits.stale = True
        for replica in (third, heir):
            renew(topology, replica, module)
        hand_over(topology, old, heir)
        topology.follow([heir, third, old])
        stage.wait(stage.random.uniform(0.2, 1.0))
        expect_whole(topology)
        # The old primary has the other build now: it must come to the same queues from the new one's effects.
        for digest_of in topology.compare(f"{kind}, at {fault.began:.3f}"):
            stage.note(digest_of)
        renew(topology, old, module)
        expect_whole(topology)


@injector("upgraded, older formats", is_command=True, is_final=True)
def upgraded_for_good(stage: Stage) -> None:
    """From a version with older formats. Its last node can't follow: it must say so, until it has the new build too."""
    topology = replicas_of(stage)
    old, heir, third = topology.chain
    with stage.fault("upgraded, older formats", number(stage, old)) as fault:
        # Clients can read from the old node, too. Below, no other one may have a broken queue.
        fault.permits.stale = fault.permits.breaks = True
        for replica in (third, heir):
            renew(topology, replica, MODULE)
        hand_over(topology, old, heir)
        stage.wait(stage.random.uniform(0.5, 1.5))
        fault.details["the old one"] = state_of_follower(heir, old)
        topology.chain = [heir, third, old]
        renew(topology, old, MODULE)
        expect_whole(topology)
    # The old one's stale queues can't be mistaken for good ones.
    assert fault.details["the old one"] != "different", "an older module follows, and silently differs"


def renew(topology: Replicas, replica: Server, module: Path) -> None:
    """Start a replica with another build, and wait until it has everything and its queues are whole."""
    # A server does not shut down while it writes its first AOF after a copy.
    wait_aof(replica)
    replica.load_module(module)
    topology.restart(replica, kill=False)
    assert broken(replica) == 0, f"node {replica.port} has broken queues after its restart"


def expect_whole(topology: Replicas) -> None:
    """Fail if a node has a broken queue."""
    for at, node in enumerate(topology.nodes()):
        assert broken(node) == 0, f"node {at} has broken queues"


def broken(node: Server) -> int:
    """How many queues of a node are BROKEN."""
    with node.client() as client:
        info = client.execute_command("INFO", "taskslot")
        facts = info if isinstance(info, dict) else {}
        return int(facts.get("taskslot_broken_queues", 0))


def state_of_follower(primary: Server, follower: Server) -> str:
    """What became of a replica that can't read its primary: `broken`, `no link`, or `different`, which must not be."""
    deadline = time.monotonic() + 20
    state = "different"

    def is_known() -> bool:
        nonlocal state
        with follower.client() as client:
            if client.info("replication")["master_link_status"] != "up":
                state = "no link"
            elif broken(follower):
                state = "broken"
            elif same(primary, follower):
                state = "the same"
        return state != "different" or time.monotonic() > deadline

    wait_until(is_known, "the old node has shown what it makes of its primary", math.inf)
    return state


def same(primary: Server, follower: Server) -> bool:
    """Whether the queues of two nodes have equal digests, when both stand still."""
    with primary.client() as p, follower.client() as f:
        p.execute_command("CLIENT", "PAUSE", 2000, "WRITE")
        try:
            wait_synced(primary, follower)
            return all(digest(p, name) == digest(f, name) for name in queues(primary))
        finally:
            p.execute_command("CLIENT", "UNPAUSE")
