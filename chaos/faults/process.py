"""Faults of the server's process: it is killed, stopped, or told to save, rewrite or load its data."""

from __future__ import annotations

import time

import redis
from harness.server import wait_until

from chaos.injector import Injector, injector
from chaos.stage import Stage

# The seconds that a process is stopped, at least and at most.
STOPPED_S = (0.1, 1.2)


@injector("kill -9")
def kill(stage: Stage) -> None:
    """kill -9, and a start from the same files. Nothing may be lost: the server has written before it replied."""
    node, server = stage.any_primary()
    with stage.fault("kill -9", node) as fault:
        server.kill9()
        server.start()
        fault.permits.closes = ["*"]


@injector("SIGSTOP")
def stop(stage: Stage) -> None:
    """SIGSTOP for a while, as when a virtual machine pauses."""
    node, server = stage.any_node()
    with stage.fault("SIGSTOP", node) as fault:
        server.freeze()
        stopped = time.monotonic()
        stage.wait(stage.random.uniform(*STOPPED_S))
        fault.outage = (stopped, time.monotonic())
        server.thaw()


@injector("BGREWRITEAOF", is_command=True)
def rewrite(stage: Stage) -> None:
    """BGREWRITEAOF."""
    background(stage, "BGREWRITEAOF", "aof_rewrite_in_progress")


@injector("BGSAVE", is_command=True)
def save(stage: Stage) -> None:
    """BGSAVE."""
    background(stage, "BGSAVE", "rdb_bgsave_in_progress")


def background(stage: Stage, command: str, going_on: str) -> None:
    """A command that forks, until its child has ended."""
    node, server = stage.any_primary()
    with stage.fault(command, node), server.client() as client:
        wait_until(lambda: is_begun(client, command), f"{command} begins")
        wait_until(lambda: not client.info("persistence")[going_on], f"{command} has ended")


def is_begun(client: redis.Redis, command: str) -> bool:
    """Begin it. The server refuses it while another child works."""
    try:
        client.execute_command(command)
    except redis.ResponseError as error:
        assert "in progress" in str(error), error
        return False
    return True


@injector("DEBUG RELOAD", is_command=True)
def reload(stage: Stage) -> None:
    """DEBUG RELOAD: the server saves its data and loads them again, in place."""
    node, server = stage.any_primary()
    with stage.fault("DEBUG RELOAD", node), server.client() as client:
        client.execute_command("DEBUG", "RELOAD")


def pause(mode: str) -> Injector:
    """CLIENT PAUSE, of writes (WRITE) or of everything (ALL)."""
    kind = f"CLIENT PAUSE {mode}"

    @injector(kind, is_command=True)
    def pausing(stage: Stage) -> None:
        node, server = stage.any_primary()
        seconds = stage.random.uniform(*STOPPED_S)
        with stage.fault(kind, node), server.client() as client:
            client.execute_command("CLIENT", "PAUSE", int(seconds * 1000), mode)
            stage.wait(seconds)

    return pausing


pause_writes, pause_all = pause("WRITE"), pause("ALL")
