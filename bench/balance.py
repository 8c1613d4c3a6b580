"""Measures how evenly a sharded queue loads a real cluster of three nodes, with the Python library's ShardedQueue.

    bench/balance.py                   both parts, two minutes
    bench/balance.py spread            64 shards: pushes and completions by node, without groups and with many
    bench/balance.py slow              one node is three times slower: two choices beside round robin, 60 s
    bench/balance.py slow --share 0.9  … at 90 % of the capacity of all workers

spread: three producers push, and four workers claim from all shards and ack. The figures are the servers' own totals
(INFO taskslot), compared with an even third for each node, and with each node's share of the shards.

slow: each shard has one worker of its own (a plain Queue). The tasks on the third node's shards take three times as
long, as if the workers or disks of that node were slow. (The server itself can't be the slow part on one machine,
because it serves far more than Python can push, and a stopped process would only measure time-outs.) All rules run at
the same time, each with its own queue and workers, and get tasks at the same random times. The arrival rate is 70 % of
the total capacity, so an even third is more than the slow node can handle. The result is the mean number of ready
tasks on each node, in the second half of the run. A plot is written to target/balance-slow.png.

Set TASKSLOT_MODULE to measure another build of the module.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import threading
from pathlib import Path

import redis.asyncio
from harness.cluster import Cluster, Node
from harness.server import SERVERS
from taskslot import AsyncQueue, AsyncShardedQueue, ShardedQueue

ROOT = Path(__file__).resolve().parents[1]
SHARDS = 64
# The run time of a task in the slow comparison, in s, and the factor for the slow node.
RUN_S, SLOWER = 0.6, 3
SAMPLE_S = 0.5


def shares(cluster: Cluster, keys: list[str]) -> list[list[str]]:
    """The shards of each primary."""
    owners = cluster.owners()
    return [[key for key in keys if owners[cluster.slot(key)] is node] for node in cluster.primaries()]


# ---- spread


def totals(nodes: list[Node]) -> list[tuple[int, int]]:
    """The number of tasks pushed and acked so far, for each node."""
    facts = [node.facts("INFO", "taskslot") for node in nodes]
    return [(int(one["taskslot_total_pushed"]), int(one["taskslot_total_acked"])) for one in facts]


class Traffic:
    """Producers and workers on one logical queue, until `tasks` tasks are done."""

    def __init__(self, cluster: Cluster, name: str, tasks: int, groups: int):
        self.client = cluster.client()
        self.name, self.tasks, self.groups = name, tasks, groups
        self.done, self.counting = 0, threading.Lock()

    def run(self) -> None:
        """Run three threads that push a third each, and four that claim ten tasks at a time and ack them."""
        work = [threading.Thread(target=self.push, args=(at,)) for at in range(3)]
        work += [threading.Thread(target=self.work) for _ in range(4)]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()

    def push(self, producer: int) -> None:
        """Push a third of the tasks, one by one."""
        queue, chance = ShardedQueue(self.client, self.name, shards=SHARDS), random.Random(producer)
        for _ in range(self.tasks // 3):
            if self.groups:
                queue.push(b"x", group=f"tenant-{chance.randrange(self.groups)}")
            else:
                queue.push(b"x")
        queue.close()

    def work(self) -> None:
        """Claim and ack until all tasks are done."""
        queue = ShardedQueue(self.client, self.name, shards=SHARDS)
        while self.done < self.tasks // 3 * 3:
            tasks = queue.claim(10, block_ms=100)
            finished = sum(queue.ack_many(tasks))
            with self.counting:
                self.done += finished
        queue.close()


def spread(cluster: Cluster, tasks: int) -> None:
    """Print the table of pushes and completions by node."""
    nodes = cluster.primaries()
    print(f"\n{SHARDS} shards on {len(nodes)} nodes, {tasks:,} tasks; deviation from the mean of the nodes\n")
    print(
        "| tasks | shards by node | pushed | off at most | completed | off at most |\n|---|---|---|---|---|---|"
    )
    for name, groups in (("without group", 0), ("10,000 groups", 10_000)):
        before = totals(nodes)
        traffic = Traffic(cluster, f"spread{groups}", tasks, groups)
        traffic.run()
        moved = [
            (now[0] - then[0], now[1] - then[1]) for now, then in zip(totals(nodes), before, strict=True)
        ]
        keys = ShardedQueue(traffic.client, traffic.name, shards=SHARDS).keys
        here = [len(part) for part in shares(cluster, keys)]
        cells = []
        for counts in zip(*moved, strict=True):
            mean = sum(counts) / len(counts)
            off = max(abs(count / mean - 1) for count in counts)
            cells += [" / ".join(f"{count:,}" for count in counts), f"{off:.1%}"]
        print(f"| {name} | {' / '.join(map(str, here))} | {' | '.join(cells)} |", flush=True)
    by_slots = max(abs(count / (SHARDS / len(nodes)) - 1) for count in here)
    print(f"\nThe numbers of shards deviate by {by_slots:.1%} at most.")


# ---- one slow node


class Rule:
    """One rule for choosing shards, with its own queue and a worker for each shard."""

    def __init__(self, name: str, cluster: Cluster, client: redis.asyncio.RedisCluster):
        self.name, self.turn = name, 0
        self.queue = AsyncShardedQueue(client, name.replace(" ", "-").replace(",", ""), shards=SHARDS)
        self.shards = shares(cluster, self.queue.keys)
        self.backlogs: list[list[int]] = []

    async def push(self) -> None:
        """Push a task to the shard that the rule chooses."""
        if self.name == "round robin":
            self.turn += 1
            await self.queue.queues[self.turn % SHARDS].push(b"x")
            return
        if self.name == "two choices, without memory":
            self.queue._loads.usual = [0.0] * SHARDS
        await self.queue.push(b"x")

    async def work(self, queue: AsyncQueue, run_s: float) -> None:
        """Run a worker for one shard, until it is cancelled."""
        while True:
            for task in await queue.claim(block_ms=0):
                await asyncio.sleep(run_s)
                await queue.ack(task)

    async def look(self, clients: list[redis.asyncio.Redis]) -> None:
        """Record how many tasks are ready on each node."""
        counts = []
        for client, keys in zip(clients, self.shards, strict=True):
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.execute_command("TASK.LEN", key, "READY")
            counts.append(sum(await pipeline.execute()))
        self.backlogs.append(counts)

    def means(self) -> list[float]:
        """The mean number of ready tasks on each node, in the second half."""
        half = self.backlogs[len(self.backlogs) // 2 :]
        return [sum(counts) / len(half) for counts in zip(*half, strict=True)]

    def ratio(self) -> float:
        """The ratio of the slow node's mean backlog to that of the others, which counts as at least one task."""
        *others, slow = self.means()
        return slow / max(1.0, sum(others) / len(others))


RULES = ("two choices", "two choices, without memory", "round robin")


async def all_wait(nodes: list[redis.asyncio.Redis], number: int) -> None:
    """Wait until this many workers wait for tasks."""
    waiting = 0
    while waiting < number:
        await asyncio.sleep(0.05)
        infos = [await node.info("taskslot") for node in nodes]
        waiting = sum(info["taskslot_blocked_workers"] for info in infos)


async def run_rules(cluster: Cluster, share: float, lasts_s: float) -> list[Rule]:
    """Run all rules at the same time."""
    client = redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port, protocol=2)
    nodes = [redis.asyncio.Redis(port=node.port, protocol=2) for node in cluster.primaries()]
    rules = [Rule(name, cluster, client) for name in RULES]
    here = [len(keys) for keys in rules[0].shards]
    spans = [RUN_S] * (len(nodes) - 1) + [RUN_S * SLOWER]
    able = [count / span for count, span in zip(here, spans, strict=True)]
    rate = share * sum(able)
    print(
        f"\n{SHARDS} workers, one a shard ({' / '.join(map(str, here))}); a task takes {RUN_S} s, on the third"
    )
    print(
        f"node {RUN_S * SLOWER:.1f} s: their capacity is {' + '.join(f'{one:.0f}' for one in able)} tasks a second."
    )
    print(
        f"{rate:.0f} tasks a second arrive for each rule ({share:.0%}); a third of that is {rate / 3:.0f}.",
        flush=True,
    )
    asyncs: set[asyncio.Task] = set()
    for rule in rules:
        for node, keys, span in zip(nodes, rule.shards, spans, strict=True):
            wire = AsyncQueue(
                node, keys[0]
            ).wire  # shared by all workers, with a connection for each waiting claim
            for key in keys:
                asyncs.add(asyncio.create_task(rule.work(AsyncQueue(node, key, wire=wire), span)))
    await all_wait(nodes, len(asyncs))
    loop, chance = asyncio.get_running_loop(), random.Random(1)
    start = due = sampled = loop.time()
    while due < start + lasts_s:
        due += chance.expovariate(rate)
        await asyncio.sleep(max(0.0, due - loop.time()))
        # Concurrently, so that a slow push doesn't delay the next one.
        asyncs |= {asyncio.create_task(rule.push()) for rule in rules}
        if loop.time() >= sampled:
            sampled += SAMPLE_S
            asyncs |= {asyncio.create_task(rule.look(nodes)) for rule in rules}
        failed = [one for one in asyncs if one.done() and one.exception()]
        if failed:
            await failed[0]
        asyncs = {one for one in asyncs if not one.done()}
    while asyncs:
        # More than once, because a client that is about to return can swallow a cancellation.
        for one in asyncs:
            one.cancel()
        _, asyncs = await asyncio.wait(asyncs, timeout=1)
    for one in (*nodes, client):
        await one.aclose()
    return rules


def plot(rules: list[Rule], path: Path) -> None:
    """Plot the backlogs over time, with a panel for each rule."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(rules), figsize=(13, 4), layout="constrained")
    for panel, rule in zip(panels, rules, strict=True):
        seconds = [SAMPLE_S * at for at in range(len(rule.backlogs))]
        for number, counts in enumerate(zip(*rule.backlogs, strict=True)):
            slow = number == len(rule.shards) - 1
            label = f"node {number + 1}" + (f", {SLOWER} times slower" if slow else "")
            panel.plot(seconds, counts, label=label, color="tab:red" if slow else None)
        panel.set(title=f"{rule.name}: ratio {rule.ratio():.1f}", xlabel="s", ylabel="tasks ready")
        panel.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def slow(cluster: Cluster, share: float, lasts_s: float) -> None:
    """Print the table of backlogs by rule."""
    rules = asyncio.run(run_rules(cluster, share, lasts_s))
    print("\n| rule | tasks ready by node, mean of the second half | slow node to the others | at the end |")
    print("|---|---|---|---|")
    for rule in rules:
        means, last = (
            " / ".join(f"{count:.1f}" for count in rule.means()),
            " / ".join(map(str, rule.backlogs[-1])),
        )
        print(f"| {rule.name} | {means} | {rule.ratio():.1f} | {last} |")
    print("\ntasks ready on the slow node after")
    steps = range(0, len(rules[0].backlogs), max(1, len(rules[0].backlogs) // 8))
    for rule in rules:
        figures = "  ".join(f"{at * SAMPLE_S:.0f} s {rule.backlogs[at][-1]}" for at in steps)
        print(f"  {rule.name:<28} {figures}")
    plot(rules, ROOT / "target/balance-slow.png")
    print("\nPlot: target/balance-slow.png")


def main() -> int:
    """Run the selected parts."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("part", nargs="?", choices=["spread", "slow"], help="run only this part")
    parser.add_argument("--server", default="valkey-9.1", choices=SERVERS)
    parser.add_argument("--tasks", type=int, default=12_000, help="tasks of each kind in spread (12,000)")
    parser.add_argument(
        "--share", type=float, default=0.7, help="arrival rate in slow, as a share of the capacity (0.7)"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long slow lasts (60)")
    options = parser.parse_args()
    # Without replicas, which would take processor time and don't affect where tasks go.
    cluster = Cluster(SERVERS[options.server], replicas=0)
    try:
        if options.part != "slow":
            spread(cluster, options.tasks)
        if options.part != "spread":
            slow(cluster, options.share, options.seconds)
        cluster.check()
    finally:
        cluster.discard()
    return 0


if __name__ == "__main__":
    sys.exit(main())
