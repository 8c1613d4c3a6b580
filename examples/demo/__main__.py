"""A cluster of three primaries and three replicas under load, with faults, and the account of it: `make demo`.

A producer and eight workers share a queue of 64 shards. On the way a worker and a primary are killed, the primary
comes back as a replica, and some shards move to another node. In the end every task that was pushed is done, or the
demo says which is not, and exits with 1. Its logs stay in .run/demo, a plot in .run/demo.png.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import SynchronizedArray
from pathlib import Path

import redis
import story as stories
from account import Account
from books import Books, ask_servers
from harness.cluster import Cluster
from harness.server import ROOT, SERVERS, end_with_parent, wait_until
from logs import Log, read
from plot import plot
from producer import Producer
from redis.backoff import NoBackoff
from redis.retry import Retry
from rich.console import Console
from screen import Screen
from taskslot import ShardedQueue
from watch import Watch
from worker import Worker

QUEUE = "orders"
SETTINGS = {
    "cluster_node_timeout": 2000,  # long enough for a busy machine: none is taken for dead that is merely slow
    # By default all nodes refuse all commands while one third of the slots has no primary.
    "cluster_require_full_coverage": "no",
}
# How long a call goes on trying while a node is away.
PATIENCE_MS = 60_000
# How long the workers may take for what is left when the producer has stopped.
DRAIN_S = 60
FORK = multiprocessing.get_context("fork")


def options() -> argparse.Namespace:
    """What can be chosen."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=30, help="how long tasks are pushed (default: %(default)s)"
    )
    parser.add_argument("--rate", type=float, default=500, help="pushes a second (default: %(default)s)")
    parser.add_argument("--shards", type=int, default=64, help="shards of the queue (default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=8, help="worker processes, at least 2 (default: %(default)s)"
    )
    parser.add_argument("--lease-ms", type=int, default=2500, help="length of a lease (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=None, help="who is killed, and what moves (default: by chance)"
    )
    parser.add_argument(
        "--server", default="valkey-9.1", choices=sorted(SERVERS), help="(default: %(default)s)"
    )
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".run/demo", help="for the logs (default: .run/demo)"
    )
    parser.add_argument("--plot", type=Path, help="the plot, a .png or an .svg (default: FOLDER.png)")
    chosen = parser.parse_args()
    if chosen.workers < 2 or chosen.shards < 6 or chosen.seconds < 5 or chosen.rate <= 0:
        parser.error("at least 2 workers, 6 shards, 5 seconds and a rate above 0 are needed")
    return chosen


# ---- the processes


def sharded(chosen: argparse.Namespace, port: int) -> ShardedQueue:
    """The queue, over a client that leaves it to the library to try again."""
    retry = Retry(NoBackoff(), 0)
    client = redis.RedisCluster("127.0.0.1", port, socket_timeout=5, retry=retry, require_full_coverage=False)
    return ShardedQueue(client, QUEUE, shards=chosen.shards, patience_ms=PATIENCE_MS)


def start(what: Callable[..., None], *arguments: object) -> BaseProcess:
    """Run a function in a process of its own, which ends when this one does."""

    def run() -> None:
        end_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that ends the others
        what(*arguments)

    process = FORK.Process(target=run, daemon=True)
    process.start()
    return process


def produce(chosen: argparse.Namespace, port: int, progress: SynchronizedArray) -> None:
    """The producer's process."""
    log = Log(chosen.folder / "producer.log")
    asyncio.run(Producer(sharded(chosen, port), log, progress).run(chosen.rate))


def work(chosen: argparse.Namespace, port: int, progress: SynchronizedArray, number: int) -> None:
    """A worker's process."""
    log = Log(chosen.folder / f"worker-w{number}.log")
    Worker(sharded(chosen, port), f"w{number}", log, chosen.lease_ms, progress, 1 + number).run()


# ---- the run


def main() -> int:
    """Run the demo; 0 if all is well in the end."""
    chosen = options()
    shutil.rmtree(chosen.folder, ignore_errors=True)
    seed = random.SystemRandom().randrange(1000) if chosen.seed is None else chosen.seed
    print(f"Starting a cluster of 3 + 3 nodes with {chosen.server} and taskslot (seed {seed}) …", flush=True)
    cluster = Cluster(SERVERS[chosen.server], **SETTINGS)
    processes: list[BaseProcess] = []
    try:
        run(chosen, cluster, processes, random.Random(seed))
    finally:
        for process in processes:
            process.kill() if process.is_alive() else None
        cluster.discard()
    return conclude(chosen)


def run(
    chosen: argparse.Namespace, cluster: Cluster, processes: list[BaseProcess], chance: random.Random
) -> None:
    """The load, the story, the drain, and what the servers say in the end."""
    port = cluster.nodes[0].port
    # Numbers that one process each writes: pushed, confirmed, and what each worker has done.
    progress = FORK.Array("q", 2 + chosen.workers, lock=False)
    with ShardedQueue(cluster.client(), QUEUE, shards=chosen.shards) as orders:
        orders.configure(retain_max=10_000_000)  # every done task is kept, to be counted in the end
        workers = []
        for number in range(1, chosen.workers + 1):
            process = start(work, chosen, port, progress, number)
            workers.append((f"w{number}", process, chosen.folder / f"worker-w{number}.log"))
            processes.append(process)
        wait_until(lambda: all(list(read(log)) for _, _, log in workers), "all workers have started", 60)
        producer = start(produce, chosen, port, progress)
        processes.append(producer)
        wait_until(lambda: progress[0], "the first task is pushed", 60)
        log = Log(chosen.folder / "story.log")
        watch = Watch(cluster, QUEUE, chosen.shards, log)
        screen = Screen(
            title(chosen), Console(), watch, lambda: (progress[0], progress[1], sum(progress[2:]))
        )
        screen.phase = f"pushing {chosen.rate:,.0f} tasks a second"
        watch.looked = screen.say_now
        watch.start()
        story = stories.Story(cluster, QUEUE, chosen.shards, workers, watch, log, screen.tell, chance)
        with screen.live():
            story.play(chosen.seconds)
            drain(orders, story, screen, producer, workers)
            watch.stop()
        ask_servers(orders, cluster, chosen.lease_ms, chosen.folder / "server.json")
        cluster.check()


def title(chosen: argparse.Namespace) -> str:
    """What runs, in a line."""
    return f"taskslot on {chosen.server}: 3 + 3 nodes, {chosen.shards} shards, {chosen.workers} workers"


def drain(
    orders: ShardedQueue,
    story: stories.Story,
    screen: Screen,
    producer: BaseProcess,
    workers: list[stories.Hand],
) -> None:
    """Stop the producer when its pushes are confirmed, wait until all is done, stop the workers."""
    screen.phase = "draining"
    stories.stop(producer, 30)
    story.say("pushed all", "the producer has stopped: all its pushes are confirmed")
    until = time.monotonic() + DRAIN_S
    while left := sum(orders.len(state) for state in ("ready", "delayed", "leased")):
        if time.monotonic() > until:
            break
        time.sleep(0.05)
    for _, process, _ in workers:
        stories.stop(process, 10)
    story.say(
        "drained", "every shard is empty" if not left else f"{left} tasks are not done after {DRAIN_S} s"
    )


def conclude(chosen: argparse.Namespace) -> int:
    """Show the account, draw the plot."""
    books = Books.of(chosen.folder)
    account = Account(books)
    print("\n" + "\n".join(account.lines()) + "\n")
    picture = chosen.plot or chosen.folder.with_suffix(".png")
    plot(account, title(chosen), picture)
    print(f"The plot: {picture}\nThe logs: {chosen.folder}", flush=True)
    return 0 if account.holds else 1


if __name__ == "__main__":
    sys.exit(main())
