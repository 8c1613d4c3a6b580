"""Faults of the disk: power cuts, a file that is torn at its end, syncs that take long, no space left."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis
from harness.server import Server, wait_until

from chaos.disk import Cut, Disk, appends, has_open_transaction, lose_unsynced, tear, unwritten
from chaos.history import Fault
from chaos.injector import Injector, injector
from chaos.stage import Stage
from chaos.topologies.single import Single

# How long the disk is slow or full, in seconds.
LASTS_S = (0.5, 2.0)
# A torn file lacks up to so many bytes; most often few of them.
TORN_BYTES = (1, 20, 300, 5_000)


def single(stage: Stage) -> tuple[Single, Server, Disk]:
    """The topology with a disk, its server and its disk."""
    topology = stage.topology
    assert isinstance(topology, Single) and topology.disk, "the profile has no disk"
    return topology, topology.server, topology.disk


def ends(stage: Stage, kind: str, leaves: Callable[[Disk, Server, float], Cut], is_allowed: bool) -> None:
    """Kill the server, do something to its files, and start it. Without `is_allowed` nothing may be lost by it."""
    _, server, disk = single(stage)
    with stage.fault(kind) as fault:
        kill(fault, server, disk, leaves, is_allowed)
        fault.details["rewritten"] = start(server)


def kill(
    fault: Fault, server: Server, disk: Disk, leaves: Callable[[Disk, Server, float], Cut], is_allowed: bool
) -> None:
    """Kill the server, and write into the fault what that permits."""
    server.kill9()
    killed = time.monotonic()
    cut = leaves(disk, server, killed)
    fault.permits.closes = ["*"]
    fault.details["cut_bytes"] = cut.bytes
    if is_allowed:
        fault.permits.undoes = cut.undoes


def start(server: Server) -> bool:
    """Start a server whose file was cut, as a primary, and rewrite the file if it would be no good.

    Returns whether it was so.
    """
    server.restart(replicaof=None)
    if not has_open_transaction(server):
        return False
    with server.client() as client:
        client.execute_command("BGREWRITEAOF")
        wait_until(lambda: is_rewritten(client), "BGREWRITEAOF has ended")
    return True


def is_rewritten(client: redis.Redis) -> bool:
    """Whether no rewrite goes on or waits, and the last one went well."""
    now = client.info("persistence")
    is_going_on = now["aof_rewrite_in_progress"] or now["aof_rewrite_scheduled"]
    return not is_going_on and bool(now["aof_last_bgrewrite_status"] == "ok")


@injector("power cut")
def power_cut(stage: Stage) -> None:
    """A power cut with `appendfsync always`: nothing that was acknowledged may be lost."""
    ends(stage, "power cut", lose_unsynced, is_allowed=False)


@injector("power cut")
def power_cut_everysec(stage: Stage) -> None:
    """A power cut with `appendfsync everysec`: what the last sync didn't cover is lost."""
    ends(stage, "power cut", lose_unsynced, is_allowed=True)


@injector("kill -9")
def kill_everysec(stage: Stage) -> None:
    """kill -9 with `appendfsync everysec`: what the server has put off writing is lost."""
    ends(stage, "kill -9", unwritten, is_allowed=True)


@injector("AOF torn")
def torn(stage: Stage) -> None:
    """kill -9, and the append-only file lacks some bytes at its end."""
    lost = stage.random.randint(1, stage.random.choice(TORN_BYTES))
    ends(stage, "AOF torn", lambda disk, server, killed: tear(disk, server, killed, lost), is_allowed=True)


def slow(least_s: float, most_s: float, is_killed: bool) -> Injector:
    """Each sync takes so much longer, for a while. With `is_killed` the server is killed meanwhile, under everysec."""

    kind = "slow sync, kill -9" if is_killed else "slow sync"

    @injector(kind)
    def slow_sync(stage: Stage) -> None:
        _, server, disk = single(stage)
        delay = stage.random.uniform(least_s, most_s)
        with stage.fault(kind) as fault:
            fault.details["delay_s"] = delay
            disk.slow(delay)
            stage.wait(stage.random.uniform(*LASTS_S) + most_s)
            if is_killed:
                kill(fault, server, disk, unwritten, is_allowed=True)
            disk.free()
            if is_killed:
                server.start()

    return slow_sync


@injector("disk full")
def full(stage: Stage) -> None:
    """No space is left for a while. With `appendfsync everysec` the server refuses writes; with `always` it exits.

    Half of the last write may still fit, unless the server would damage its own file then.
    """
    topology, server, disk = single(stage)
    is_always = topology.settings["appendfsync"] == "always"
    is_torn = stage.random.random() < 0.5
    with stage.fault("disk full") as fault:
        fault.details["torn"] = is_torn and (is_always or appends(server))
        disk.fill(fault.details["torn"])
        if is_always:
            server.ends_by_itself()
            fault.permits.closes = ["*"]
            fault.details["exited"] = server.status()
        else:
            wait_until(lambda: is_refusing(server), "the server refuses writes")
        stage.wait(stage.random.uniform(*LASTS_S))
        disk.free()
        if is_always:
            fault.details["rewritten"] = start(server)
        else:
            wait_until(lambda: not is_refusing(server), "the server writes again")


def is_refusing(server: Server) -> bool:
    """Whether the server refuses writes because it could not write to its file."""
    with server.client() as client:
        return bool(client.info("persistence")["aof_last_write_status"] != "ok")


@injector("BGSAVE on a full disk")
def failed_save(stage: Stage) -> None:
    """A snapshot fails for want of space: the server refuses writes with MISCONF until one succeeds."""
    _, server, disk = single(stage)
    with stage.fault("BGSAVE on a full disk") as fault, server.client() as client:
        client.config_set("save", "3600 1000000")
        disk.fill()
        try:
            save(client)
            fault.details["status"] = client.info("persistence")["rdb_last_bgsave_status"]
            stage.wait(stage.random.uniform(*LASTS_S) / 2)
        finally:
            disk.free()
            client.config_set("save", "")
            save(client)


def save(client: redis.Redis) -> None:
    """BGSAVE, until it has ended somehow."""
    client.execute_command("BGSAVE")
    wait_until(lambda: not client.info("persistence")["rdb_bgsave_in_progress"], "BGSAVE has ended")
