"""Measures how many bytes a task takes beyond its payload: `used_memory` before and after a million tasks.

Both are read while no other client is connected, so that no client's buffers count.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import redis
from contenders import Contender
from harness.server import Installed, wait_until
from pipe import Pipe, decode
from rounds import CALLS_A_WRITE, payloads, server_of

# The number of tasks that the client prepares at a time.
STEP = 20_000


@dataclass(frozen=True)
class Footprint:
    """Bytes per task beyond its payload, with all tasks ready and with all tasks leased."""

    tasks: int
    payload_bytes: int
    ready: float
    leased: float


def used_memory(asked: redis.Redis) -> int:
    """`used_memory` once all other clients have disconnected."""
    wait_until(lambda: asked.info("clients")["connected_clients"] == 1, "all others are gone")
    return asked.info("memory")["used_memory"]


def footprint(
    installed: Installed, contender: Contender, module: Path, tasks: int, payload_bytes: int
) -> Footprint:
    """Push and claim tasks on a new server, ten at a time, and return the bytes per task."""
    key, size = b"queue", 10
    with server_of(installed, contender, module) as server:
        asked = server.client(socket_timeout=60)

        def with_pipe(work) -> int:
            pipe = Pipe(server.socket, CALLS_A_WRITE)
            work(pipe)
            pipe.close()
            return used_memory(asked)

        def push(pipe: Pipe) -> None:
            for start in range(0, tasks, STEP):
                bodies = payloads(min(STEP, tasks - start), payload_bytes, seed=start)
                pipe.send(pipe.prepared(contender.pushes(key, bodies, size)))

        def claim(pipe: Pipe) -> None:
            for start in range(0, tasks, STEP):
                count = min(STEP, tasks - start)
                answer = pipe.send(pipe.prepared(contender.claims(key, count, size)))
                if len(contender.claimed(decode(answer))) != count:
                    raise RuntimeError(f"{contender.name} did not give out all tasks")

        empty = with_pipe(lambda pipe: contender.prepare(pipe, key))
        ready = with_pipe(push)
        leased = with_pipe(claim)
        beyond = [(used - empty) / tasks - payload_bytes for used in (ready, leased)]
        return Footprint(tasks, payload_bytes, *beyond)
