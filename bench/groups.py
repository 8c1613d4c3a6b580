"""Measures the cost of groups: claims and finding a task by id, with no, few and many groups; and their memory.

    bench/groups.py                               on the default server; a minute
    bench/groups.py --server redis-8.2,redis-7.0  on these, by name or path
    bench/groups.py --groups 1000000 --tasks 1000000

The figures are the processor time of three servers that take turns: one whose tasks have no group, one with ten groups,
and one with many. Each figure is the median over all rounds.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

from harness.server import MODULE, SERVERS, Installed, Server, identify
from harness.talk import Talk
from waiters import cpu_us

FEW = 10
ROUNDS = 9
# The number of calls of each kind in a round.
CALLS = 2000
PAYLOAD = "p" * 100
IN_MEMORY = 1000


class Side:
    """A server with one queue whose tasks are spread evenly over `groups` groups."""

    def __init__(self, installed: Installed, module: Path, groups: int, tasks: int):
        self.server = Server(installed, module=module)
        self.c = Talk(self.server)
        before = self.used_memory()
        self.ids = self.c.many([self.push(n, groups) for n in range(tasks)])
        self.bytes_each = (self.used_memory() - before) / tasks - len(PAYLOAD)
        self.next = tasks // 2

    def push(self, n: int, groups: int) -> list:
        """The command that pushes task number `n`."""
        return ["TASK.PUSH", "q", PAYLOAD, *(["GROUP", f"tenant:{n % groups}"] if groups else [])]

    def used_memory(self) -> int:
        """The server's `used_memory`."""
        lines = self.c("INFO", "memory").decode().splitlines()
        return int(dict(line.split(":", 1) for line in lines if ":" in line)["used_memory"])

    def claims_one(self) -> int:
        """Claim one by one with NOACK, so that no leases pile up."""
        replies = self.c.many([["TASK.CLAIM", "q", "NOACK"]] * CALLS)
        assert all(len(tasks) == 1 for tasks in replies)
        return CALLS

    def claims_ten(self) -> int:
        """Claim ten at a time with NOACK."""
        replies = self.c.many([["TASK.CLAIM", "q", "NOACK", "COUNT", 10]] * (CALLS // 10))
        assert all(len(tasks) == 10 for tasks in replies)
        return CALLS

    def lives(self) -> int:
        """Claim with a lease, and ack."""
        for tasks in (self.c("TASK.CLAIM", "q", "COUNT", 1) for _ in range(CALLS // 4)):
            assert self.c("TASK.ACK", "q", tasks[0][0]) == 1
        return CALLS // 4

    def gets(self) -> int:
        """Read tasks of the second half by id."""
        some = self.ids[self.next :: max(1, (len(self.ids) - self.next) // CALLS)][:CALLS]
        assert all(self.c.many([["TASK.GET", "q", task] for task in some]))
        return len(some)

    def cancels(self) -> int:
        """Cancel tasks by id, from the last one on."""
        some = [self.ids.pop() for _ in range(CALLS)]
        assert self.c.many([["TASK.CANCEL", "q", task] for task in some]) == [1] * CALLS
        return CALLS


KINDS = {
    "claim one by one": Side.claims_one,
    "claim by tens": Side.claims_ten,
    "claim and ack": Side.lives,
    "get by id": Side.gets,
    "cancel by id": Side.cancels,
}


def measure(name: str, module: Path, groups: int, tasks: int) -> None:
    """Measure all figures on one server."""
    installed = SERVERS[name] if name in SERVERS else identify(name)
    counts = [0, FEW, groups]
    sides = [Side(installed, module, count, tasks) for count in counts]
    try:
        for kind, act in KINDS.items():
            costs: list[list[float]] = [[] for _ in sides]
            for _ in range(ROUNDS):
                for side, cost in zip(sides, costs, strict=True):
                    before = cpu_us(side.server.pid)
                    calls = act(side)
                    cost.append((cpu_us(side.server.pid) - before) / calls)
            none, few, many = (statistics.median(cost) for cost in costs)
            few_to_none = statistics.median(b / a for a, b in zip(costs[0], costs[1], strict=True))
            many_to_few = statistics.median(b / a for a, b in zip(costs[1], costs[2], strict=True))
            print(
                f"{name}: {kind}: {none:.2f} µs without groups, {few:.2f} with {FEW}, {many:.2f} with {groups:,};"
                f" {FEW}/none {few_to_none:.2f}, {groups:,}/{FEW} {many_to_few:.2f}",
                flush=True,
            )
        for side, count in zip(sides, counts, strict=True):
            side.server.check()
            print(
                f"{name}: {side.bytes_each:.1f} bytes beside the payload of each of {tasks:,} tasks, {count:,} groups"
            )
    finally:
        for side in sides:
            side.server.discard()
    side = Side(installed, module, IN_MEMORY, tasks)
    print(
        f"{name}: {side.bytes_each:.1f} bytes beside the payload of each of {tasks:,} tasks, {IN_MEMORY:,} groups"
    )
    side.server.discard()


def main() -> None:
    """Measure on the selected servers."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--server", default="valkey-9.1", help="names or paths, separated by commas")
    parser.add_argument("--groups", type=int, default=100_000)
    parser.add_argument("--tasks", type=int, default=200_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="taskslot-bench-") as folder:
        # A copy, so that a build in the meantime doesn't change what is measured.
        module = Path(shutil.copy(MODULE, folder))
        for name in chosen.server.split(","):
            measure(name, module, chosen.groups, chosen.tasks)


if __name__ == "__main__":
    main()
