"""Measures the cost of idle workers: the server's processor time for a push, with few and with many waiting workers.

    bench/waiters.py                               on the default server; two minutes
    bench/waiters.py --server redis-8.2,redis-7.0  on these, by name or path
    bench/waiters.py --workers 10000

Each figure is the median over rounds that alternate between two servers, one with ten waiting workers and one with
many. There are three kinds of push: to a queue for which no worker waits; the first push of a new queue; and a push
that serves a worker, which then waits again behind all the others.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections import deque

from harness.server import SERVERS, Installed, Server, identify
from harness.talk import packed
from harness.waiting import Floor

FEW = 10
ROUNDS = 15
PUSHES = 2000
CLAIM = packed(["TASK.CLAIM", "q", "BLOCK", 0, "NOACK"])


def cpu_us(pid: int) -> float:
    """The processor time that all threads of a process have used, in µs."""
    cpuclock_sched = 2
    return time.clock_gettime_ns((~pid << 3) | cpuclock_sched) / 1000


class Side:
    """A server with this many workers that wait for one queue."""

    def __init__(self, installed: Installed, workers: int):
        self.server = Server(installed, maxclients=workers + 100)
        self.floor = Floor(self.server)
        self.line = deque()
        while len(self.line) < workers:
            self.line.append(self.server.raw())
            self.line[-1].sendall(CLAIM)
            if len(self.line) % 100 == 0 or len(self.line) == workers:
                # Not all at once, because the number of connections that wait to be accepted is limited.
                self.floor.eventually(lambda: self.floor.blocked() == len(self.line), "all wait", 60)
        self.made = 0

    def to_others(self) -> None:
        """Push to a queue for which no worker waits."""
        self.floor.boss.many([["TASK.PUSH", "other", "x"]] * PUSHES)

    def to_new_queues(self) -> None:
        """Push the first task of new queues."""
        self.floor.boss.many([["TASK.PUSH", f"new:{self.made + at}", "x"] for at in range(PUSHES)])
        self.made += PUSHES

    def to_workers(self) -> None:
        """Push one by one. Each push serves the worker that waits longest, which then claims again."""
        for _ in range(PUSHES // 2):
            self.floor.boss("TASK.PUSH", "q", "x")
            worker = self.line.popleft()
            worker.recv(4096)
            worker.sendall(CLAIM)
            self.line.append(worker)

    def of_the_queue_anew(self) -> None:
        """Delete the queue that all wait for, and create it again with a push that serves one worker."""
        for _ in range(PUSHES // 2):
            self.floor.boss("DEL", "q")
            self.floor.boss("TASK.PUSH", "q", "x")
            worker = self.line.popleft()
            worker.recv(4096)
            worker.sendall(CLAIM)
            self.line.append(worker)


KINDS = {
    "push, no worker waits": (Side.to_others, PUSHES),
    "first push of a new queue": (Side.to_new_queues, PUSHES),
    "push that serves a worker": (Side.to_workers, PUSHES // 2),
    "the same, queue made anew": (Side.of_the_queue_anew, PUSHES // 2),
}


def measure(name: str, workers: int) -> None:
    """Measure all figures on one server."""
    installed = SERVERS[name] if name in SERVERS else identify(name)
    sides = [Side(installed, FEW), Side(installed, workers)]
    try:
        for kind, (act, pushes) in KINDS.items():
            costs: list[list[float]] = [[], []]
            for _ in range(ROUNDS):
                for side, cost in zip(sides, costs, strict=True):
                    before = cpu_us(side.server.pid)
                    act(side)
                    cost.append((cpu_us(side.server.pid) - before) / pushes)
            few, many = (statistics.median(cost) for cost in costs)
            ratio = statistics.median(b / a for a, b in zip(*costs, strict=True))
            figures = f"{few:6.2f} µs with {FEW} waiting, {many:6.2f} µs with {workers}: {ratio - 1:+.1%}"
            print(f"{name}: {kind}: {figures}", flush=True)
        for side in sides:
            side.server.check()
    finally:
        for side in sides:
            side.server.discard()
            for worker in side.line:
                worker.close()


def main() -> None:
    """Measure on the selected servers."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--server", default="valkey-9.1", help="names or paths, separated by commas")
    parser.add_argument("--workers", type=int, default=10_000)
    chosen = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for name in chosen.server.split(","):
        measure(name, chosen.workers)


if __name__ == "__main__":
    main()
