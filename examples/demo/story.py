"""The faults of the demo: a worker and a primary are killed, the primary comes back, and shards move."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from harness.cluster import Cluster, Node
from harness.server import wait_synced, wait_until
from logs import Log, now, read
from taskslot.shards import names, slot_of_shard
from watch import Watch

# How long a primary is cut off from its replica before it is killed, as if the network failed first.
CUT_S = 0.3
# When each fault happens, as a fraction of the time during which tasks are pushed.
WORKER_DIES, PRIMARY_DIES, PRIMARY_BACK, SHARDS_MOVE = 0.25, 0.38, 0.62, 0.78


# A worker: its name, its process and its log.
Hand = tuple[str, BaseProcess, Path]


@dataclass
class Event:
    """An event. `mark` is its number in the plot, if the plot shows it."""

    t: float
    text: str
    mark: int | None = None


@dataclass
class Story:
    """Causes the faults, and records them in `events` and in its log, with the fields that the account needs."""

    cluster: Cluster
    name: str
    shards: int
    workers: Sequence[Hand]
    watch: Watch
    log: Log
    tell: Callable[[Event], None]
    random: random.Random
    began: float = 0.0
    events: list[Event] = field(default_factory=list)
    _marks: int = 0

    def say(self, what: str, text: str, mark: bool = False, **fields: object) -> None:
        """Record an event, for the screen and for the account."""
        self._marks += mark
        event = Event(now() - self.began, text, self._marks if mark else None)
        self.log.say(what, text=text, mark=event.mark, **fields)
        self.events.append(event)
        self.tell(event)

    def play(self, seconds: float) -> None:
        """Cause all faults, while tasks are pushed for this many seconds."""
        self.began = now()
        self.say("began", f"one producer pushes, {len(self.workers)} workers work")
        self._wait_for(WORKER_DIES * seconds)
        self._kill_worker()
        self._wait_for(PRIMARY_DIES * seconds)
        dead = self._kill_primary()
        self._wait_for(PRIMARY_BACK * seconds)
        self.cluster.restart(dead)
        self.say(
            "back",
            f"node {dead.port} is back, as a replica of {self._port(dead.itself().primary)}",
            mark=True,
        )
        self._wait_for(SHARDS_MOVE * seconds)
        self._move_shards()
        self._wait_for(seconds)

    def _wait_for(self, second: float) -> None:
        time.sleep(max(0.0, self.began + second - now()))

    def _port(self, id_: str | None) -> int | str:
        return next((node.port for node in self.cluster.nodes if node.id == id_), "?")

    def _kill_worker(self) -> None:
        """Kill a worker while it holds tasks."""
        name, process, log = self.random.choice(self.workers)
        wait_until(lambda: stopped_with_tasks(process, log), f"{name} has tasks", 20)
        count = held(log)
        process.kill()
        process.join()
        self.say(
            "worker killed",
            f"worker {name} is killed (-9) while it holds {count} task{'s' * (count > 1)}",
            True,
            worker=name,
        )

    def _kill_primary(self) -> Node:
        """Cut a primary off from its replica, then kill it. The replica never receives the changes in between."""
        primary = self.random.choice(self.cluster.primaries())
        replica, slot_range = self.cluster.replica_of(primary), self.watch.slot_range_of(primary)
        self.cluster.freeze(replica)
        try:
            primary.say("CLIENT", "KILL", "TYPE", "REPLICA")
            self.log.say("cut", slot_range=slot_range)
            time.sleep(CUT_S)
            self.cluster.kill(primary)
        finally:
            self.cluster.thaw(replica)
        cut_ms = round(CUT_S * 1000)
        text = f"node {primary.port} is killed (-9), cut off from its replica {cut_ms} ms earlier"
        self.say("node killed", text, True, slot_range=slot_range, node=primary.port)
        self.cluster.wait_promoted(replica)
        self.say(
            "promoted",
            f"its replica {replica.port} has taken over",
            True,
            slot_range=slot_range,
            node=replica.port,
        )
        return primary

    def _move_shards(self) -> None:
        """Move some shards, with their slots and all keys in them, from one primary to the next."""
        source, target = self.random.sample(self.cluster.primaries(), 2)
        mine = [shard for shard in range(self.shards) if self.cluster.node_of(slot_of_shard(shard)) is source]
        moved = sorted(self.random.sample(mine, max(1, len(mine) // 6)))
        self.log.say("moving", shards=moved)
        slots = [slot_of_shard(shard) for shard in moved]
        self.cluster.move_slots(slots, source, target)
        # MIGRATE doesn't wait for a replica, so wait here until the target's replica has the keys.
        wait_synced(target, self.cluster.replica_of(target))
        keys = ", ".join(names(self.name, self.shards)[shard] for shard in moved)
        self.say("moved", f"{keys} moved from {source.port} to {target.port} under load", True, shards=moved)


def stopped_with_tasks(process: BaseProcess, log: Path) -> bool:
    """Stop a worker (SIGSTOP). If it holds no tasks at that moment, let it continue, and return False."""
    os.kill(process.pid, signal.SIGSTOP)
    has_tasks = held(log) > 0
    if not has_tasks:
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.01)
    return has_tasks


def held(log: Path) -> int:
    """The number of tasks that a worker has claimed and not acked, by its log."""
    lines = list(read(log))
    answered = {line["handle"] for line in lines if line["what"] == "acked"}
    return sum(line["what"] == "claimed" and line["handle"] not in answered for line in lines)


def stop(process: BaseProcess, timeout_s: float) -> None:
    """Ask a process to finish, and kill it if it doesn't."""
    if process.is_alive():
        process.terminate()
    process.join(timeout_s)
    if process.is_alive():
        process.kill()
        process.join()
