"""Measures how late tasks become ready by the server's own clock.

    bench/lateness.py                               on the default server; half a minute
    bench/lateness.py --server redis-8.2,redis-7.0  on these, by name or path

A worker waits, and a task becomes due (DELAY, AT, the end of a lease). The figure is the time until the worker has it.
Run it alone on the machine, because other processes show up as lateness. bench/growth.py measures how long the server
is busy when many tasks become due at once.
"""

from __future__ import annotations

import argparse
import random
import time

from harness.server import SERVERS, Server, identify
from harness.talk import Talk
from harness.waiting import Floor, Worker

SAMPLES = 300
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


def measure(name: str) -> None:
    """Measure all figures on one server."""
    server = Server(SERVERS[name] if name in SERVERS else identify(name))
    try:
        floor, worker = Floor(server), Worker(server)
        for kind in ("DELAY", "AT"):
            print(
                f"{server.name}: late, {kind:<14} {percentiles(delays(floor.boss, worker, kind))}", flush=True
            )
        print(f"{server.name}: late, end of a lease {percentiles(leases(floor.boss, worker))}", flush=True)
        server.check()
    finally:
        server.discard()


def main() -> None:
    """Measure on the selected servers."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--server", default="valkey-9.1", help="names or paths, separated by commas")
    chosen = parser.parse_args()
    for name in chosen.server.split(","):
        measure(name)


if __name__ == "__main__":
    main()
