"""Measures how long single operations on large queues block the server, as the most work it does while a PING waits.

    bench/holds.py                               on the default server; a minute or two
    bench/holds.py --server redis-8.2,redis-7.0  on these, by name or path
    bench/holds.py --groups 100000

The figure is processor time of the server's main thread, so other programs on the machine don't count. The second
figure is that of all threads for the operation and the half second after it, which includes work that was put off.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path

from harness.server import SERVERS, Installed, Server, identify
from harness.talk import packed
from harness.waiting import Floor

AFTER_S = 0.5
WORKERS = 2000
QUEUES = 100


def cpu_s(pid: int) -> float:
    """The processor time that all threads of a process have used."""
    cpuclock_sched = 2
    return time.clock_gettime((~pid << 3) | cpuclock_sched)


def main_thread_s(pid: int) -> float:
    """The processor time that the main thread of a process has used."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


def ping(server: Server, longest: multiprocessing.Value) -> None:
    """Send PINGs all the time, and record the most work that the server did while one waited."""
    with server.raw() as s:
        while True:
            before = main_thread_s(server.pid)
            s.sendall(b"PING\r\n")
            try:
                if not s.recv(64):
                    return
            except ConnectionResetError:
                return
            took = main_thread_s(server.pid) - before
            with longest.get_lock():
                longest.value = max(longest.value, took)
            time.sleep(0.0005)


class Bench:
    """A server, and a process that sends it PINGs all the time."""

    def __init__(self, installed: Installed):
        self.server = Server(installed, maxclients=20_000, save="", lazyfree_lazy_user_del="no")
        self.name = installed.name
        self.floor = Floor(self.server)
        self.boss = self.floor.boss
        self.longest = multiprocessing.Value("d", 0.0)
        self.pinger = multiprocessing.Process(target=ping, args=(self.server, self.longest), daemon=True)
        self.pinger.start()

    def measure(self, what: str, act: Callable[[], object]) -> None:
        """Run an operation, and print how long it blocked the server."""
        time.sleep(AFTER_S)
        with self.longest.get_lock():
            self.longest.value = 0.0
        before = cpu_s(self.server.pid)
        act()
        time.sleep(AFTER_S)
        held, cpu = self.longest.value * 1000, (cpu_s(self.server.pid) - before) * 1000
        print(f"{self.name}: {what:55} blocked {held:7.1f} ms, in all {cpu:7.1f} ms", flush=True)

    def command(self, *words: object) -> None:
        """Measure one command."""
        self.measure(" ".join(map(str, words)), lambda: self.boss(*words))

    def end(self) -> None:
        """Stop the server and the process that sends PINGs."""
        self.server.check()
        self.server.discard()
        self.pinger.join()


def large_queues(bench: Bench, groups: int) -> None:
    """Measure settings, copies and the deletion of a queue with one group per task, and of one without groups."""
    bench.boss.many([["TASK.PUSH", "groups", "payload", "GROUP", f"tenant-{n}"] for n in range(groups)])
    for n in range(0, groups, 1000):
        bench.boss(
            "TASK.MPUSH", "plain", "TASKS", min(1000, groups - n), *["p" * 100] * min(1000, groups - n)
        )
    for setting in (
        ("group-concurrency", 0),
        ("group-concurrency", 1),
        ("group-rate", 5),
        ("group-rate", -1),
    ):
        bench.command("TASK.CONFIG", "groups", "SET", *setting)
    for queue in ("groups", "plain"):
        bench.command("COPY", queue, "copy")
        bench.command("DEBUG", "DIGEST-VALUE", queue)
        bench.command("DEL", "copy")


def wait_for_all(bench: Bench, claims: list[list[object]]) -> list:
    """Start waiting workers, each with its own claim."""
    workers = []
    for claim in claims:
        workers.append(bench.server.raw())
        workers[-1].sendall(packed(claim))
        if len(workers) % 100 == 0 or len(workers) == len(claims):
            bench.floor.eventually(lambda: bench.floor.blocked() == len(workers), "all wait", 60)
    return workers


def end_all(workers: list) -> None:
    """Close all connections at once."""
    for worker in workers:
        worker.close()


def waiting_workers(bench: Bench) -> None:
    """Measure many waiting workers that disconnect at once, or are served at once."""
    names = [f"q{n}" for n in range(QUEUES)]
    for count in (1, QUEUES):
        claim = ["TASK.CLAIM", "q", "BLOCK", 0]
        if count > 1:
            claim = ["TASK.MCLAIM", names[0], "KEYS", count - 1, *names[1:], "BLOCK", 0]
        workers = wait_for_all(bench, [claim] * WORKERS)
        bench.measure(f"{WORKERS} who wait for {count} queues die", lambda workers=workers: end_all(workers))
    for words in (["TASK.RESUME", "q"], ["TASK.CONFIG", "q", "SET", "group-concurrency", -1]):
        bench.boss("FLUSHALL")
        bench.boss.many([["TASK.PUSH", "q", "x", "GROUP", f"g{n}"] for n in range(10_000)])
        bench.boss(*(["TASK.PAUSE", "q", "OUT"] if words[0] == "TASK.RESUME" else [*words[:-1], 0]))
        claims = [["TASK.CLAIM", "q", "BLOCK", 0, "GROUP", f"g{n}"] for n in range(WORKERS)]
        workers = wait_for_all(bench, claims)
        bench.measure(f"{' '.join(map(str, words))}, {WORKERS} wait", lambda words=words: bench.boss(*words))
        end_all(workers)
    bench.boss("FLUSHALL")
    workers = wait_for_all(
        bench, [["TASK.MCLAIM", names[0], "KEYS", QUEUES - 1, *names[1:], "BLOCK", 0]] * WORKERS
    )
    tasks = ["TASK.MPUSH", names[0], "TASKS", 1000, *["x"] * 1000]
    bench.measure(f"1000 of {WORKERS} who wait for {QUEUES} are served", lambda: bench.boss(*tasks))
    end_all(workers)


def main() -> None:
    """Measure on the selected servers."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--server", default="valkey-9.1", help="names or paths, separated by commas")
    parser.add_argument("--groups", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["queues", "workers"], help="run only this half")
    chosen = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for name in chosen.server.split(","):
        bench = Bench(SERVERS[name] if name in SERVERS else identify(name))
        if chosen.only != "workers":
            large_queues(bench, chosen.groups)
        if chosen.only != "queues":
            waiting_workers(bench)
        bench.end()


if __name__ == "__main__":
    main()
