"""Measures how soon a task starts if a worker is free on any shard, and what idle workers cost, on a real cluster.

    bench/starts.py                       16 shards on 3 nodes, 1, 3, 8 and 24 idle workers; two minutes
    bench/starts.py --workers 8           only this number of workers
    bench/starts.py --tasks 400           more tasks for each figure (200)
    bench/starts.py --module A.so B.so    one build of the module beside another, in turns

Workers are AsyncShardedQueues, at most eight in a process, that claim with BLOCK, ack and claim again. A producer
pushes one task at a time, without a group, at random times. The figure is the time from the return of the push to the
return of the claim, on the machine's monotonic clock. A negative time (the worker was first) counts as 0. If a worker
waits on the task's shard, the server hands the task over at once. Otherwise the task waits for the next look of a
worker.

The cost is measured while nothing is pushed: the servers' own counts of commands (INFO commandstats), and the processor
time of their processes, minus what they use without any worker.

The machine matters: servers and workers share its processors, and on a busy machine the times are too long. `behind` is
how much too long a worker's process slept on average, which is the machine's own share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import redis.asyncio
from harness.cluster import Cluster
from harness.server import MODULE, SERVERS, wait_until
from rounds import cpu_ns
from taskslot import AsyncShardedQueue, ShardedQueue

SHARDS = 16
QUEUE = "starts"
# The most workers in one process. More would wait for each other, because Python runs one thread at a time.
IN_A_PROCESS = 8
# The random time between two pushes, in s. It is longer than a worker needs to become free again.
APART_S = (0.03, 0.15)
# How long idle workers are measured, in s.
IDLE_S = 4.0


# ---- a process of workers


async def work(client: redis.asyncio.RedisCluster) -> None:
    """Run a worker until it is cancelled. It prints when it got each task."""
    queue = AsyncShardedQueue(client, QUEUE, shards=SHARDS)
    while True:
        for task in await queue.claim(block_ms=0):
            print(json.dumps([task.payload.decode(), time.monotonic()]), flush=True)
            await queue.ack(task)


async def oversleep() -> None:
    """Print once a second by how many ms sleeps of 10 ms were too long."""
    while True:
        late = 0.0
        for _ in range(100):
            before = time.monotonic()
            await asyncio.sleep(0.01)
            late += time.monotonic() - before - 0.01
        print(json.dumps(["behind", late * 10]), flush=True)


async def workers(port: int, number: int) -> None:
    """Run this many workers until standard input ends."""
    client = redis.asyncio.RedisCluster(host="127.0.0.1", port=port, protocol=2)
    tasks = [asyncio.create_task(work(client)) for _ in range(number)]
    tasks.append(asyncio.create_task(oversleep()))
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    done, _ = await asyncio.wait([*tasks, ended], return_when=asyncio.FIRST_COMPLETED)
    for one in done:
        one.result()
    # A cancelled command of redis-py can go on, and then asyncio.run() would never return.
    sys.stdout.flush()
    os._exit(0)


class Crew:
    """The processes that run the workers."""

    def __init__(self, cluster: Cluster, number: int):
        self.processes = []
        while number > 0:
            words = [sys.executable, __file__, "--crew", cluster.nodes[0].port, min(number, IN_A_PROCESS)]
            self.processes.append(
                subprocess.Popen(
                    list(map(str, words)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            number -= IN_A_PROCESS

    def cpu_s(self) -> float:
        """The processor time that all of them have used."""
        return sum(cpu_ns(process.pid) for process in self.processes) / 1e9

    def end(self) -> dict[str, list[float]]:
        """End the processes. Returns what they printed, by name."""
        found: dict[str, list[float]] = {}
        for process in self.processes:
            output, _ = process.communicate("")
            for line in output.splitlines():
                name, value = json.loads(line)
                found.setdefault(name, []).append(value)
        return found


# ---- the measurements


def servers(cluster: Cluster) -> tuple[float, dict[str, int]]:
    """The processor time that the servers have used, in s, and their calls of TASK commands."""
    calls: dict[str, int] = {}
    for node in cluster.nodes:
        for name, facts in node.say("INFO", "commandstats").items():
            if (word := name.upper().removeprefix("CMDSTAT_")).startswith("TASK."):
                calls[word] = calls.get(word, 0) + facts["calls"]
    return sum(cpu_ns(node.pid) for node in cluster.nodes) / 1e9, calls


def idle(cluster: Cluster, crew: Crew | None) -> tuple[float, float, dict[str, float]]:
    """Measure while nothing is pushed: processor time of servers and workers in s a second, and commands a second."""
    (cpu, calls), own, began = servers(cluster), crew.cpu_s() if crew else 0.0, time.monotonic()
    time.sleep(IDLE_S)
    (cpu_then, calls_then), lasted = servers(cluster), time.monotonic() - began
    rates = {name: (count - calls.get(name, 0)) / lasted for name, count in calls_then.items()}
    return (cpu_then - cpu) / lasted, (crew.cpu_s() - own) / lasted if crew else 0.0, rates


def push(cluster: Cluster, tasks: int, name: str) -> dict[str, float]:
    """Push tasks at random times. Returns when each push returned."""
    queue, chance, pushed = ShardedQueue(cluster.client(), QUEUE, shards=SHARDS), random.Random(1), {}
    for number in range(tasks):
        time.sleep(chance.uniform(*APART_S))
        queue.push(f"{name}-{number}")
        pushed[f"{name}-{number}"] = time.monotonic()
    wait_until(lambda: queue.len() == 0, "all tasks are done", 20)
    queue.close()
    return pushed


def waiting(cluster: Cluster) -> int:
    """The number of waiting workers."""
    return sum(int(node.facts("INFO", "taskslot")["taskslot_blocked_workers"]) for node in cluster.nodes)


def measure(name: str, module: Path, server: str, number: int, tasks: int) -> None:
    """Measure and print a row of the table."""
    cluster = Cluster(SERVERS[server], replicas=0, module=module)
    try:
        alone, _, _ = idle(cluster, None)
        crew = Crew(cluster, number)
        try:
            wait_until(lambda: waiting(cluster) >= max(1, number * 0.6), "the workers wait", 30)
            push(cluster, 10, "warm")
            time.sleep(2.5)  # until the workers' paces suit their number
            cpu, own, rates = idle(cluster, crew)
            pushed = push(cluster, tasks, "task")
        finally:
            found = crew.end()
        cluster.check()
    finally:
        cluster.discard()
    spans = sorted(max(0.0, found[task][0] - at) * 1000 for task, at in pushed.items())
    p50, p95, p99 = (spans[min(len(spans) - 1, len(spans) * part // 100)] for part in (50, 95, 99))
    behind = sum(found["behind"]) / len(found["behind"])
    rate = {word: round(rates.get(f"TASK.{word}", 0)) for word in ("LEN", "CLAIM", "INFO")}
    print(
        f"| {name} | {number} | {p50:.1f} | {p95:.1f} | {p99:.1f} | {spans[-1]:.1f} | {behind:.1f} "
        f"| {rate['LEN']} + {rate['CLAIM']} + {rate['INFO']} | {max(0.0, cpu - alone):.2%} | {own:.1%} |",
        flush=True,
    )


def main() -> int:
    """Measure, or run as a process of workers."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--server", default="valkey-9.1", choices=SERVERS)
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[1, 3, 8, 24], help="numbers of idle workers"
    )
    parser.add_argument("--tasks", type=int, default=200, help="tasks for each figure (200)")
    parser.add_argument(
        "--module", type=Path, nargs="+", default=[MODULE], help="builds of the module to compare"
    )
    parser.add_argument("--crew", type=int, nargs=2, metavar=("PORT", "NUMBER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.crew:
        asyncio.run(workers(*options.crew))
        return 0
    print(
        f"{SHARDS} shards on 3 nodes, {options.tasks} tasks one at a time; times in ms from push to claim\n"
    )
    print(
        "| module | idle workers | p50 | p95 | p99 | max | behind | idle: LEN + CLAIM + INFO a second "
        "| servers' CPU | workers' CPU |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for number in options.workers:
        for module in options.module:
            measure(module.name, module, options.server, number, options.tasks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
