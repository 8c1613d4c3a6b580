"""What an operator and bad luck do to a chain of replicas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from harness.server import Server, wait_synced, wait_until

from chaos.disk import lose_unsynced
from chaos.faults import disk
from chaos.faults.takeover import number, takeover
from chaos.injector import injector
from chaos.stage import Stage
from chaos.topologies.replicas import Replicas

FAILOVER_MS = 5000
# More than a link and the buffers of its sockets hold, so that the rest waits in the primary.
PIECES, PIECE_BYTES = 24, 1 << 20
LIMIT = "replica 262144 262144 1"
# A limit below the size of the backlog is not heeded, and Valkey's is 10 MB.
BACKLOG = "1mb"
NO_LIMIT = "replica 0 0 0"
# Keys that a copy takes time for, and the time for each of them.
KEYS, KEY_US = 500, 2000


def replicas_of(stage: Stage) -> Replicas:
    """The topology, which is a chain."""
    topology = stage.topology
    assert isinstance(topology, Replicas)
    return topology


@injector("FAILOVER", is_command=True)
def failover(stage: Stage) -> None:
    """FAILOVER to the replica. The primary stops writes and waits until it has everything: nothing may be lost."""
    topology = replicas_of(stage)
    old, heir, third = topology.chain
    with stage.fault("FAILOVER", number(stage, old)) as fault:
        fault.details["to"] = number(stage, heir)
        fault.permits.stale = True
        hand_over(topology, old, heir)
        topology.follow([heir, third, old])


def hand_over(topology: Replicas, old: Server, heir: Server) -> None:
    """Make the replica the primary by FAILOVER, and tell clients."""
    with old.client() as client:
        client.execute_command("FAILOVER", "TO", "127.0.0.1", heir.port, "TIMEOUT", FAILOVER_MS)
    topology.watch.promoted(heir)
    topology.watch.demoted(old)
    topology.lead(heir)


@injector("link cut, replica promoted")
def promoted_behind_a_cut(stage: Stage) -> None:
    """The primary is cut off and goes on, and its replica is promoted. Clients are on both sides meanwhile."""
    topology = replicas_of(stage)
    old, heir, third = topology.chain
    with takeover(stage, "link cut, replica promoted", old) as fault:
        topology.network.cut([old], [heir, third])
        cut_s = fault.details["cut_s"] = stage.random.uniform(0.3, 3.0)
        stage.wait(cut_s)
        with heir.client() as client:
            client.execute_command("REPLICAOF", "NO", "ONE")
        topology.watch.promoted(heir)
        topology.lead(heir)
        stage.wait(stage.random.uniform(0.2, 1.5))
        topology.network.heal()
        topology.follow([heir, third, old])
        topology.watch.demoted(old)


@injector("REPLICAOF NO ONE", is_command=True)
def promoted_healthy(stage: Stage) -> None:
    """An operator promotes the replica at once (REPLICAOF NO ONE), and demotes the primary a little later."""
    topology = replicas_of(stage)
    old, heir, third = topology.chain
    with takeover(stage, "REPLICAOF NO ONE", old):
        with heir.client() as client:
            client.execute_command("REPLICAOF", "NO", "ONE")
        topology.watch.promoted(heir)
        topology.lead(heir)
        stage.wait(stage.random.uniform(0.0, 0.5))
        topology.follow([heir, third, old])
        topology.watch.demoted(old)


@injector("power cut of the primary")
def power_cut(stage: Stage) -> None:
    """The primary loses power under `everysec`, and is back before anybody takes its place.

    Its replicas have more than its file, and lose that when they follow it again: what WAIT confirmed, too.
    """
    topology = replicas_of(stage)
    primary = topology.chain[0]
    with stage.fault("power cut of the primary", number(stage, primary)) as fault:
        fault.permits.stale = fault.permits.confirmed = True
        disk.kill(fault, primary, topology.disks[primary], lose_unsynced, is_allowed=True)
        fault.details["rewritten"] = disk.start(primary)
        topology.follow(topology.chain)


@injector("output buffer limit")
def output_limit(stage: Stage) -> None:
    """The replica's buffer in the primary grows over its limit: the primary closes the link, and sends a new copy."""
    topology = replicas_of(stage)
    primary, replica, third = topology.chain
    with stage.fault("output buffer limit", number(stage, replica)) as fault, primary.client() as client:
        copies = client.info("stats")["sync_full"]
        backlog = client.config_get("repl-backlog-size")["repl-backlog-size"]
        client.config_set("repl-backlog-size", BACKLOG)
        client.config_set("client-output-buffer-limit", LIMIT)
        topology.network.cut([primary], [replica])
        for piece in range(PIECES):
            client.set(f"ballast {piece}", bytes(PIECE_BYTES))
        wait_until(lambda: client.info("replication")["connected_slaves"] == 0, "the link is closed")
        client.config_set("client-output-buffer-limit", NO_LIMIT)
        client.config_set("repl-backlog-size", backlog)
        client.delete(*(f"ballast {piece}" for piece in range(PIECES)))
        topology.network.heal()
        wait_synced(primary, replica, 60)
        wait_synced(replica, third, 60)
        fault.details["copies"] = client.info("stats")["sync_full"] - copies


@injector("copy broken off")
def copy_broken_off(stage: Stage) -> None:
    """A copy that is loaded beside the old data (`repl-diskless-load swapdb`) is broken off, and begins again."""
    topology = replicas_of(stage)
    primary, replica, third = topology.chain
    with stage.fault("copy broken off", number(stage, replica)) as fault, ballast(primary):
        with primary.client() as p, replica.client() as r:
            p.config_set("repl-diskless-sync", "yes")
            p.config_set("rdb-key-save-delay", KEY_US)
            r.config_set("repl-diskless-load", "swapdb")
            for _ in range(stage.random.randint(1, 3)):
                # Otherwise a replica that has its copy already goes on where it was.
                p.execute_command("DEBUG", "CHANGE-REPL-ID")
                topology.network.reset([primary], [replica])
                is_copying = lambda: copying(r)  # noqa: E731
                wait_until(is_copying, "a copy is under way", 30)
                stage.wait(stage.random.uniform(0.0, 0.5))
                fault.details["broken off"] = fault.details.get("broken off", 0) + copying(r)
            p.config_set("rdb-key-save-delay", 0)
            topology.network.reset([primary], [replica])
            wait_synced(primary, replica, 60)
            r.config_set("repl-diskless-load", "disabled")
        wait_synced(replica, third, 60)


@contextmanager
def ballast(primary: Server) -> Iterator[None]:
    """Keys that make a copy of the primary take its time."""
    with primary.client() as client:
        client.mset({f"ballast {key}": key for key in range(KEYS)})
        yield
        client.delete(*(f"ballast {key}" for key in range(KEYS)))


def copying(client: redis.Redis) -> bool:
    """Whether a replica gets a copy now."""
    return bool(client.info("replication").get("master_sync_in_progress"))
