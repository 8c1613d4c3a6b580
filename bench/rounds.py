"""The lives of tasks on fresh servers, and what they cost: processor time as the operating system counts it.

In a round each contender has a fresh server of its own, and they take turns, a slice of tasks each, so that
what slows the machine slows all of them. In a slice so many tasks are pushed, claimed and acked, in that
order, behind a backlog that stays. The server's own clock of processor time (nanoseconds, user and system,
all threads) is read between the phases: what the client does meanwhile counts for nothing; what the server
does then, idle work and what it left for later, is told as `aside`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from contenders import Contender
from harness.server import Installed, Server, wait_until
from pipe import Pipe, decode

# Calls in one write: a hundred pushes of 100 bytes fit into the 16 KB that the server reads at once.
CALLS_A_WRITE = 100
PHASES = ("push", "claim", "ack")
NO_LISTENER = "nobody listens"
AOF = {"appendonly": "yes", "appendfsync": "everysec", "auto-aof-rewrite-percentage": 0}
# What listens to the server: settings of its own, and whether there is a replica.
MODES = {NO_LISTENER: ({}, False), "AOF everysec": (AOF, False), "a replica": ({}, True)}


@dataclass(frozen=True)
class Load:
    """What is done in a round."""

    tasks: int
    size: int = 1
    backlog: int = 1000
    slice: int = 1000
    payload_bytes: int = 100

    def slices(self) -> int:
        """Slices that are measured."""
        return max(self.tasks // self.slice, 1)


@dataclass
class Cost:
    """Processor time of the lives of so many tasks, in ns: by phase, and `aside`, between the phases."""

    tasks: int = 0
    phases: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PHASES, 0))
    aside: int = 0

    def us(self, phase: str) -> float:
        """µs a task of one phase."""
        return self.phases[phase] / self.tasks / 1000

    def life_us(self) -> float:
        """µs a task of all phases."""
        return sum(map(self.us, PHASES))


def payloads(count: int, size: int, seed: int = 1) -> list[bytes]:
    """Payloads that all differ, the same for each contender: a number, then random bytes, any of them."""
    noise = random.Random(seed).randbytes(count + size)
    return [b"%08d" % number + noise[number : number + size - 8] for number in range(count)]


def cpu_ns(pid: int) -> int:
    """Processor time of a process so far, all its threads: its own POSIX clock (see clock_getcpuclockid)."""
    cpuclock_sched = 2
    return time.clock_gettime_ns((~pid << 3) | cpuclock_sched)


@contextmanager
def server_of(
    installed: Installed, contender: Contender, module: Path, mode: str = NO_LISTENER
) -> Iterator[Server]:
    """A fresh server for a contender, with the module only where it is what is measured; ended after it."""
    settings, has_replica = MODES[mode]
    options = {"module": module if contender.needs_module else None, **settings}
    servers = []
    try:
        servers.append(Server(installed, port=has_replica, **options))
        if has_replica:
            servers.append(Server(installed, port=True, **options))
            servers[1].replicate(servers[0])
        yield servers[0]
        for server in servers:
            server.check()
        if has_replica:
            has_all(*servers)
    finally:
        for server in servers:
            server.discard()


def has_all(primary: Server, replica: Server) -> None:
    """Makes sure that the replica was fed: it comes to what the primary sent."""
    with primary.client() as asked, replica.client() as client:
        sent = asked.info("replication")["master_repl_offset"]

        def reached() -> bool:
            return client.info("replication")["slave_repl_offset"] >= sent

        wait_until(reached, "the replica has all", timeout=60)


class Racer:
    """A contender on its server, in the midst of a round."""

    key = b"queue"

    def __init__(self, contender: Contender, server: Server, load: Load):
        self.contender, self.pid, self.load = contender, server.pid, load
        self.pipe = Pipe(server.socket, CALLS_A_WRITE)
        self.cost = Cost()
        self._end = 0
        contender.prepare(self.pipe, self.key)
        # The backlog, a slice as warm-up, then what is measured.
        bodies = payloads(load.backlog + (1 + load.slices()) * load.slice, load.payload_bytes)
        self._next = iter(bodies)
        self.pipe.send(self._pushes(bodies[: load.backlog]))
        steps = range(load.backlog, len(bodies), load.slice)
        self._slices = iter([self._pushes(bodies[at : at + load.slice]) for at in steps])
        self._claims = self.pipe.prepared(contender.claims(self.key, load.slice, load.size))
        self.run()
        self.cost = Cost()

    def _pushes(self, bodies: list[bytes]) -> list[bytes]:
        return self.pipe.prepared(self.contender.pushes(self.key, bodies, self.load.size))

    def run(self) -> None:
        """One slice: its tasks are pushed, claimed and acked, and what the replies say is checked."""
        count, contender = self.load.slice, self.contender
        pushes = next(self._slices)
        push_at = cpu_ns(self.pid)
        self.pipe.send(pushes)
        claim_at = cpu_ns(self.pid)
        answer = self.pipe.send(self._claims)
        claimed_at = cpu_ns(self.pid)
        tasks = contender.claimed(decode(answer))
        if [task[0] for task in tasks] != [next(self._next) for _ in range(count)]:
            raise RuntimeError(f"{contender.name} gave out other tasks than the oldest")
        acks = self.pipe.prepared(contender.acks(self.key, tasks, self.load.size))
        ack_at = cpu_ns(self.pid)
        answer = self.pipe.send(acks)
        end = cpu_ns(self.pid)
        if contender.acked(decode(answer)) != count:
            raise RuntimeError(f"{contender.name} did not finish all tasks")
        self.cost.tasks += count
        spent = (claim_at - push_at, claimed_at - claim_at, end - ack_at)
        for phase, ns in zip(PHASES, spent, strict=True):
            self.cost.phases[phase] += ns
        self.cost.aside += ack_at - claimed_at + (push_at - self._end if self._end else 0)
        self._end = end


def round_of(
    installed: Installed, contenders: list[Contender], module: Path, mode: str, load: Load, first: int
) -> dict[str, Cost]:
    """One round of all: what a task's life costs, by contender. They take turns from the `first` on."""
    with ExitStack() as stack:
        racers = []
        for contender in contenders:
            server = stack.enter_context(server_of(installed, contender, module, mode))
            racers.append(Racer(contender, server, load))
            stack.callback(racers[-1].pipe.close)
        for number in range(first, first + load.slices()):
            turn = number % len(racers)
            for racer in racers[turn:] + racers[:turn]:
                racer.run()
        return {racer.contender.name: racer.cost for racer in racers}
