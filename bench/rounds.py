"""Runs the lives of tasks on new servers and measures their cost: processor time as the operating system counts it.

In a round, each contender has a new server, and they take turns with a slice of tasks each, so that anything that
slows the machine slows all of them. In a slice, tasks are pushed, claimed and acked, in that order, behind a constant
backlog. (TASK.NEXT claims and finishes in one; it counts as a claim.) The
server's processor time (in nanoseconds; user and system, all threads) is read between the phases, so the client's work
doesn't count. The server's work between the phases, such as timers and work that it put off, is reported as `aside`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from contenders import Contender, contenders
from harness.server import Installed, Server, wait_until
from pipe import Pipe, decode

# The number of calls in one write. A hundred pushes of 100 bytes fit into the 16 KB that the server reads at once.
CALLS_A_WRITE = 100
PHASES = ("push", "claim", "ack")
NO_LISTENER = "no AOF, no replica"
AOF = {"appendonly": "yes", "appendfsync": "everysec", "auto-aof-rewrite-percentage": 0}
# What receives the server's changes: for each mode the server's settings, and whether there is a replica.
MODES = {NO_LISTENER: ({}, False), "AOF everysec": (AOF, False), "a replica": ({}, True)}


@dataclass(frozen=True)
class Load:
    """The sizes of a round: the number of tasks, how many a call pushes, and how many a call claims or acks."""

    tasks: int
    push: int = 1
    size: int = 1
    backlog: int = 1000
    slice: int = 1000
    payload_bytes: int = 100

    def slices(self) -> int:
        """The number of slices that are measured."""
        return max(self.tasks // self.slice, 1)


# How many tasks a call carries, by the name of the load: for pushes, and for claims and acks.
LOADS = {"one by one": (1, 1), "pushed one by one, claimed by tens": (1, 10), "by tens": (10, 10)}


@dataclass
class Cost:
    """The processor time of the lives of `tasks` tasks, in ns: for each phase, and between the phases (`aside`)."""

    tasks: int = 0
    phases: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PHASES, 0))
    aside: int = 0

    def ns_a_task(self) -> dict[str, float]:
        """The ns per task of each phase and of `aside`."""
        return {"aside": self.aside / self.tasks, **{p: ns / self.tasks for p, ns in self.phases.items()}}


def payloads(count: int, size: int, seed: int = 1) -> list[bytes]:
    """Different payloads, the same for each contender: a number, then random bytes."""
    noise = random.Random(seed).randbytes(count + size)
    return [b"%08d" % number + noise[number : number + size - 8] for number in range(count)]


def cpu_ns(pid: int) -> int:
    """The processor time that all threads of a process have used, from its POSIX clock (clock_getcpuclockid)."""
    cpuclock_sched = 2
    return time.clock_gettime_ns((~pid << 3) | cpuclock_sched)


@contextmanager
def server_of(
    installed: Installed, contender: Contender, module: Path, mode: str = NO_LISTENER
) -> Iterator[Server]:
    """A new server for a contender, with the module only for taskslot. It is stopped at the end of the block."""
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
    """Check that the replica was fed: wait until it has everything that the primary sent."""
    with primary.client() as asked, replica.client() as client:
        sent = asked.info("replication")["master_repl_offset"]

        def reached() -> bool:
            return client.info("replication")["slave_repl_offset"] >= sent

        wait_until(reached, "the replica has everything", timeout=60)


def contenders_on(installed: Installed, module: Path) -> tuple[list[Contender], dict[str, str]]:
    """The contenders that run on this server with this module, and for each that is skipped the reason."""
    server = Server(installed, module=module)
    try:
        with server.client() as client:
            commands = {name.upper() for name in client.command()}
    finally:
        server.discard()
    return contenders(installed.name, commands)


class Racer:
    """A contender and its server, during a round."""

    key = b"queue"

    def __init__(self, contender: Contender, server: Server, load: Load):
        self.contender, self.pid, self.load = contender, server.pid, load
        self.pipe = Pipe(server.socket, CALLS_A_WRITE)
        self.cost = Cost()
        self._end = 0
        self._leased = contender.prepare(self.pipe, self.key, load.slice if contender.claims_finish else 0)
        # The backlog, one slice to warm up, then the measured slices.
        bodies = payloads(load.backlog + (1 + load.slices()) * load.slice, load.payload_bytes)
        self._next = iter(bodies)
        self.pipe.send(self._pushes(bodies[: load.backlog]))
        steps = range(load.backlog, len(bodies), load.slice)
        self._slices = iter([self._pushes(bodies[at : at + load.slice]) for at in steps])
        self.run()
        self.cost = Cost()

    def _pushes(self, bodies: list[bytes]) -> list[bytes]:
        return self.pipe.prepared(self.contender.pushes(self.key, bodies, self.load.push))

    def run(self) -> None:
        """Run one slice: push, claim and ack its tasks, and check the replies."""
        count, contender = self.load.slice, self.contender
        pushes = next(self._slices)
        claims = self.pipe.prepared(contender.claims(self.key, count, self.load.size, self._leased))
        push_at = cpu_ns(self.pid)
        self.pipe.send(pushes)
        claim_at = cpu_ns(self.pid)
        answer = self.pipe.send(claims)
        claimed_at = cpu_ns(self.pid)
        claimed = decode(answer)
        tasks = contender.claimed(claimed)
        if [task[0] for task in tasks] != [next(self._next) for _ in range(count)]:
            raise RuntimeError(f"{contender.name} returned other tasks than the oldest")
        acks = self.pipe.prepared(contender.acks(self.key, tasks, self.load.size))
        ack_at = cpu_ns(self.pid)
        answer = self.pipe.send(acks)
        end = cpu_ns(self.pid)
        if contender.acked(claimed if contender.claims_finish else decode(answer)) != count:
            raise RuntimeError(f"{contender.name} did not finish all tasks")
        self._leased = tasks if contender.claims_finish else []
        self.cost.tasks += count
        spent = (claim_at - push_at, claimed_at - claim_at, end - ack_at)
        for phase, ns in zip(PHASES, spent, strict=True):
            self.cost.phases[phase] += ns
        self.cost.aside += ack_at - claimed_at + (push_at - self._end if self._end else 0)
        self._end = end


def round_of(
    installed: Installed, contenders: list[Contender], module: Path, mode: str, load: Load, first: int
) -> dict[str, Cost]:
    """Run one round of all contenders, starting with number `first`. Returns the cost of a life by contender."""
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
