"""Measures how late tasks become ready by the server's own clock, and how long due work blocks the server.

    bench/lateness.py                               on the default server; a minute
    bench/lateness.py --server redis-8.2,redis-7.0  on these, by name or path
    bench/lateness.py --tasks 100000                fewer tasks due at once

Lateness: a worker waits, and a task becomes due (DELAY, AT, the end of a lease). The figure is the time until the
worker has it. Blocking: many tasks become due in one moment. The figure is the longest reply time of a PING until all
are ready. Run it alone on the machine, because other processes show up as lateness.
"""

from __future__ import annotations

import argparse
import random
import time

from harness.server import SERVERS, Server, identify, wait_until
from harness.talk import Talk
from harness.waiting import Floor, Worker

SAMPLES = 300
# The largest number of tasks in one MPUSH.
BATCH = 1000
# The longest time between two samples, in ms. It is random, so that samples don't coincide with the server's timers.
APART_MS = 20


def wall_ms() -> float:
    """This machine's wall clock in unix ms, which the server uses too."""
    return time.time() * 1000


def percentiles(late: list[float]) -> str:
    """The percentiles of a distribution, as text."""
    late = sorted(late)
    p50, p99 = late[len(late) // 2], late[len(late) * 99 // 100]
    return f"p50 {p50:6.2f}   p99 {p99:6.2f}   max {late[-1]:6.2f} ms"


def delays(boss: Talk, worker: Worker, word: str) -> list[float]:
    """How late a waiting worker gets delayed tasks, in ms."""
    late = []
    for _ in range(SAMPLES):
        worker.asks("q", "NOACK")
        span = random.randint(1, APART_MS)
        sent = wall_ms()
        due = int(sent) + span if word == "AT" else sent + span
        boss("TASK.PUSH", "q", "x", word, due if word == "AT" else span)
        worker.read()
        late.append(wall_ms() - due)
    return late


def leases(boss: Talk, worker: Worker) -> list[float]:
    """How late a waiting worker gets tasks whose first lease ended, in ms."""
    late = []
    for _ in range(SAMPLES):
        boss("TASK.PUSH", "q", "x", "LEASE", random.randint(1, APART_MS))
        [[_, _, _, meta]] = boss("TASK.CLAIM", "q", "WITHMETA")
        due = boss.as_map(meta)[b"deadline"]
        worker.asks("q", "NOACK").read()
        late.append(wall_ms() - due)
    return late


def stall(boss: Talk, kind: str, tasks: int) -> tuple[list[float], float]:
    """PING times while many tasks become due or many leases end in one moment, and how long it lasted, in ms."""
    # The time for pushing, and claiming, all tasks beforehand.
    span = 2000 + tasks // (20 if kind == "leases" else 100)
    boss("FLUSHALL")
    due = int(wall_ms()) + span
    batches = range(0, tasks, BATCH)
    if kind == "leases":
        boss.many([["TASK.MPUSH", "q", "TASKS", BATCH, *range(BATCH)] for _ in batches], at_once=10)
        claims = (["TASK.CLAIM", "q", "COUNT", BATCH, "LEASE", max(1, due - int(wall_ms()))] for _ in batches)
        for claim in claims:
            boss(*claim)
    else:
        boss.many(
            [["TASK.MPUSH", "q", "AT", due, "TASKS", BATCH, *range(BATCH)] for _ in batches], at_once=10
        )
    if wall_ms() > due:
        raise SystemExit("this machine is too slow for that many tasks: use a lower --tasks")
    wait_until(lambda: wall_ms() > due - 5, "the moment has come", timeout=span / 1000 + 5)
    trips = []
    while True:
        began = wall_ms()
        boss("PING")
        trips.append(wall_ms() - began)
        if wall_ms() > due and boss("TASK.LEN", "q", "ready") == len(batches) * BATCH:
            return trips, wall_ms() - due


def crowd(floor: Floor, workers: int) -> list[float]:
    """PING times while tasks for all waiting workers become due in one moment."""
    floor.boss("FLUSHALL")
    line = [floor.worker().asks("q", "NOACK") for _ in range(workers)]
    floor.eventually(lambda: floor.blocked() == workers, "all wait", 20)
    floor.boss("TASK.MPUSH", "q", "DELAY", 500, "TASKS", workers, *range(workers))
    trips = []
    while not line[-1].has_answer():
        began = wall_ms()
        floor.boss("PING")
        trips.append(wall_ms() - began)
    for worker in line:
        worker.read()
        worker.leave()
    return trips


def measure(name: str, tasks: int) -> None:
    """Measure all figures on one server."""
    server = Server(SERVERS[name] if name in SERVERS else identify(name), maxclients=20000)
    try:
        floor, worker = Floor(server), Worker(server)
        for kind in ("DELAY", "AT"):
            print(
                f"{server.name}: late, {kind:<14} {percentiles(delays(floor.boss, worker, kind))}", flush=True
            )
        print(f"{server.name}: late, end of a lease {percentiles(leases(floor.boss, worker))}", flush=True)
        for kind in ("delays", "leases"):
            trips, lasted = stall(floor.boss, kind, tasks)
            longest = f"longest PING {max(trips):6.2f} ms"
            print(
                f"{server.name}: {tasks} {kind} due at once: {longest}, done in {lasted:.0f} ms", flush=True
            )
        trips = crowd(floor, BATCH)
        print(
            f"{server.name}: {BATCH} tasks due for {BATCH} workers: longest PING {max(trips):6.2f} ms",
            flush=True,
        )
        server.check()
    finally:
        server.discard()


def main() -> None:
    """Measure on the selected servers."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--server", default="valkey-9.1", help="names or paths, separated by commas")
    parser.add_argument("--tasks", type=int, default=1_000_000, help="tasks due at once")
    chosen = parser.parse_args()
    for name in chosen.server.split(","):
        measure(name, chosen.tasks)


if __name__ == "__main__":
    main()
