"""Estimates how throughput grows with the nodes of a cluster, and where growth ends: on paper and by simulation.

    bench/scaling.py                          measure a node, calculate, simulate 1, 2, 3, 6 and 12 nodes; ten minutes
    bench/scaling.py measure                  the cost of commands on a node: alone, with an AOF, with a replica
    bench/scaling.py simulate --nodes 1 3     … only these sizes, with the costs that were measured last
    bench/scaling.py validate                 the simulation beside a real cluster of three nodes, at a small load

A machine with two processors can't load three nodes. Its throughput with one, two or three servers would show more
about the clients than about the cluster. But it can measure what a node's processor spends on each command, as the
Python library sends it (service.py). On paper, a node that spends c µs on a task's life handles 1,000,000 / c tasks a
second, and N nodes handle N times that, minus the looks: each producer asks for S lengths every 0.1 s, and each idle
worker looks at all shards now and then.

The simulation (tests/harness/simulation.py) has a server with one thread for each node, which takes the measured time
for each command. The library's own producers and workers run on these servers, in simulated time. Each of them is a
process with its own processor, and a message takes 0.1 ms. So the limits are those of the cluster and the library, not
of the clients.

Costs are written to target/costs.json, the plot to target/scaling.png. Set TASKSLOT_MODULE to measure another build of
the module.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import redis.asyncio
from harness.cluster import Cluster
from harness.server import SERVERS
from harness.simulation import Costs, Outcome, Traffic, produce, simulate, work
from rounds import cpu_ns
from service import CROWD, REST_S, measure
from taskslot import AsyncShardedQueue
from taskslot.balance import FRESH_S

TARGET = Path(__file__).resolve().parents[1] / "target"
COSTS = TARGET / "costs.json"
NODES = (1, 2, 3, 6, 12)
# The clients for each node, and the shards.
PRODUCERS, WORKERS, SHARDS = 20, 60, 64
AOF = {"appendonly": "yes", "appendfsync": "everysec"}
MODES = {"alone": {"replicas": 0}, "AOF everysec": {"replicas": 0, **AOF}, "a replica": {"replicas": 1}}
WAYS = (("busy", CROWD, 0.0), ("one at a time", 1, 0.0), ("at ease", 1, REST_S))


# ---- the processor time of a node


def measure_all(server: str, rounds: int) -> Costs:
    """Measure and print the costs. Those of a busy node with a replica are saved."""
    print("\nµs of a node's processor, on TCP, with the library's words\n")
    print(
        "| | push | claim | ack | life | … by tens | empty claim | empty wait | handed over | look: each node "
        "| each shard | INFO | a replica, each life |\n" + "|---" * 13 + "|"
    )
    kept = {}
    for name, options in MODES.items():
        cluster = Cluster(SERVERS[server], primaries=1, **options)
        try:
            for way, at_once, rest_s in WAYS:
                found = measure(cluster, at_once, rounds, rest_s)
                costs = found.costs
                kept[f"{name}, {way}"] = asdict(costs)
                cells = [
                    costs.push + costs.push_each, costs.claim + costs.claim_each, costs.ack + costs.ack_each,
                    costs.life(), costs.life(10), costs.claim_empty, costs.wait_over, costs.handed, costs.bulk,
                    costs.length, costs.info, found.replica_us,
                ]  # fmt: skip
                print(f"| {name}, {way} | {' | '.join(f'{cell:.1f}' for cell in cells)} |", flush=True)
            cluster.check()
        finally:
            cluster.discard()
    TARGET.mkdir(exist_ok=True)
    COSTS.write_text(json.dumps(kept, indent=1))
    return known("a replica, busy")


def known(mode: str) -> Costs:
    """The saved costs."""
    if not COSTS.exists():
        raise SystemExit("there are no saved costs: run bench/scaling.py measure first")
    return Costs(**json.loads(COSTS.read_text())[mode])


# ---- on paper


def paper(costs: Costs, nodes: int, size: int, shards: int = SHARDS) -> tuple[float, float]:
    """The tasks a second that this many nodes handle, and the share that the producers' looks take."""
    looks = PRODUCERS * nodes / FRESH_S * costs.look(shards, nodes) / 1e6
    return max(0.0, (nodes - looks) * 1e6 / costs.life(size)), looks / nodes


def calculate(costs: Costs) -> None:
    """Print the formula's results, and where growth ends."""
    print(
        "\nOn paper: tasks a second of N nodes = (N − P/0.1 s · (N·b + S·l)) / c, with c the µs of a life, b those of"
    )
    print(
        f"a bulk and l those of a length in it; S = {SHARDS}, P = {PRODUCERS}·N producers that push all the time\n"
    )
    print(
        "| nodes | one by one | by tens | of which looks take | with 16 shards a node |\n|---|---|---|---|---|"
    )
    for nodes in (*NODES, 24, 48, 96):
        (one, share), (ten, _) = paper(costs, nodes, 1), paper(costs, nodes, 10)
        _, many = paper(costs, nodes, 1, 16 * nodes)
        print(f"| {nodes} | {one:,.0f} | {ten:,.0f} | {share:.1%} | {many:.1%} |")
    print(
        f"\nOne shard, so one group, is on one node: {1e6 / costs.life():,.0f} tasks a second whatever N is."
    )


# ---- simulated


def one(job: tuple[int, Costs, int, float]) -> Outcome:
    """Simulate one point of the plot."""
    nodes, costs, size, share = job
    rate = share * paper(costs, nodes, size)[0]
    traffic = Traffic(rate, PRODUCERS * nodes, WORKERS * nodes, SHARDS, size)
    return simulate(nodes, costs, traffic, lasts_s=0.12, warm_s=0.08)


def simulate_all(costs: Costs, counts: list[int]) -> None:
    """Run the simulations, and print the table and the plot."""
    jobs = [
        (nodes, costs, size, share) for size, share in ((1, 0.4), (1, 1.5), (10, 1.5)) for nodes in counts
    ]
    # The long ones first, and one for each processor at a time.
    order = sorted(jobs, key=lambda job: (-job[0], job[2]))
    with multiprocessing.Pool(os.cpu_count()) as pool:
        found = dict(zip(order, pool.imap(one, order), strict=True))
    print(
        f"\nSimulated, {PRODUCERS} producers and {WORKERS} workers a node, {SHARDS} shards, 0.1 ms from end to end\n"
    )
    print(
        "| tasks at a time | offered, of paper | nodes | tasks a second | a node, of one alone | processor by node "
        "| µs a task | wait p50 / p99 ms | claims a task | looks a task |\n" + "|---" * 10 + "|"
    )
    for job in jobs:
        nodes, _, size, share = job
        outcome = found[job]
        alone = found.get((1, costs, size, share), outcome).rate
        claims = outcome.calls.get("TASK.CLAIM", 0) / outcome.rate
        looks = outcome.calls.get("TASK.LEN", 0) / SHARDS / outcome.rate
        print(
            f"| {size} | {share:.0%} | {nodes} | {outcome.rate:,.0f} | {outcome.rate / nodes / alone:.0%} "
            f"| {min(outcome.used):.0%}–{max(outcome.used):.0%} | {outcome.cost_us:.1f} "
            f"| {outcome.wait_p50_ms:.2f} / {outcome.wait_p99_ms:.2f} | {claims:.2f} | {looks:.2f} |"
        )
    plot(costs, found, counts)


def plot(costs: Costs, found: dict[tuple[int, Costs, int, float], Outcome], counts: list[int]) -> None:
    """Plot throughput and waiting times by number of nodes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    for size, colour, name in ((1, "tab:blue", "one by one"), (10, "tab:orange", "by tens")):
        on_paper = [paper(costs, nodes, size)[0] for nodes in counts]
        most = [found[nodes, costs, size, 1.5].rate for nodes in counts]
        left.plot(counts, on_paper, "--", color=colour, label=f"{name}, on paper")
        left.plot(counts, most, "o-", color=colour, label=f"{name}, simulated at 1.5 times that")
    for share in (0.4, 1.5):
        waits = [found[nodes, costs, 1, share].wait_p99_ms for nodes in counts]
        right.plot(counts, waits, "o-", label=f"one by one, p99 at {share:.0%} of paper")
    left.set(xlabel="nodes", ylabel="tasks a second (pushed, claimed, acked)", ylim=(0, None))
    right.set(xlabel="nodes", ylabel="ms from ready to claimed", ylim=(0, None))
    for panel in (left, right):
        panel.legend()
        panel.grid(alpha=0.3)
    figure.savefig(TARGET / "scaling.png", dpi=110)
    print("\nPlot: target/scaling.png")


# ---- beside a real cluster


class RealWorld:
    """The part of a `World` that producers and workers use, on a real cluster."""

    def __init__(self, client: redis.asyncio.RedisCluster, seed: int = 1):
        self.client, self.random = client, random.Random(seed)

    @property
    def now(self) -> float:
        """The time, in s."""
        return asyncio.get_running_loop().time()

    def passes(self, span_s: float):
        """Wait for this time."""
        return asyncio.sleep(span_s)

    def queue(self, shards: int) -> AsyncShardedQueue:
        """A logical queue, for one producer or worker."""
        return AsyncShardedQueue(self.client, "orders", shards=shards)


def usage(cluster: Cluster) -> tuple[float, Counter[str]]:
    """The processor time that the nodes have used, in s, and their calls by command."""
    calls: Counter[str] = Counter()
    for node in cluster.nodes:
        for name, facts in node.say("INFO", "commandstats").items():
            calls[name.upper().removeprefix("CMDSTAT_")] += facts["calls"]
    return sum(cpu_ns(node.pid) for node in cluster.nodes) / 1e9, calls


async def run_real(
    cluster: Cluster, traffic: Traffic, lasts_s: float
) -> tuple[float, dict[str, float], float]:
    """Run on a real cluster. Returns processors used, calls a second, and the time of a message one way in s."""
    client = redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port, protocol=2)
    await client.initialize()
    world = RealWorld(client)
    (cpu, _), began = usage(cluster), time.monotonic()
    await asyncio.sleep(2)
    alone = (usage(cluster)[0] - cpu) / (time.monotonic() - began)
    tasks = [asyncio.create_task(produce(world, traffic)) for _ in range(traffic.producers)]
    tasks += [asyncio.create_task(work(world, traffic)) for _ in range(traffic.workers)]
    await asyncio.sleep(3)
    (cpu, calls), began = usage(cluster), time.monotonic()
    await asyncio.sleep(lasts_s)
    (cpu_then, calls_then), lasted = usage(cluster), time.monotonic() - began
    trips = []
    for _ in range(50):
        asked = time.monotonic()
        await client.execute_command("TASK.LEN", "orders:{1bz}")
        trips.append((time.monotonic() - asked) / 2)
    while tasks:
        for one in tasks:
            one.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=1)
    await client.aclose()
    rates = {
        name: (count - calls[name]) / lasted for name, count in calls_then.items() if name[:5] == "TASK."
    }
    return (cpu_then - cpu) / lasted - alone, rates, sorted(trips)[25]


def validate(server: str, lasts_s: float) -> None:
    """Compare three real nodes with the simulation, at a load that one Python process on this machine can handle."""
    costs = known("alone, at ease")
    traffic = Traffic(rate=30, producers=1, workers=3, shards=16, run_s=0.02)
    cluster = Cluster(SERVERS[server], replicas=0)
    try:
        used, rates, net_s = asyncio.run(run_real(cluster, traffic, lasts_s))
        cluster.check()
    finally:
        cluster.discard()
    outcome = simulate(3, costs, traffic, lasts_s=lasts_s, warm_s=3.0, net_s=net_s)
    print(
        f"\n3 nodes, {traffic.rate:.0f} tasks a second of {traffic.run_s * 1000:.0f} ms, {traffic.producers} producers,"
    )
    print(
        f"{traffic.workers} workers, {traffic.shards} shards; {net_s * 1000:.2f} ms a message, Python included\n"
    )
    print(
        "| | processor, all nodes | " + " | ".join(sorted(rates)) + " |\n" + "|---" * (len(rates) + 2) + "|"
    )
    for name, share, by_name in (("real", used, rates), ("simulated", sum(outcome.used), outcome.calls)):
        cells = " | ".join(f"{by_name.get(word, 0):,.0f}" for word in sorted(rates))
        print(f"| {name} | {share:.2%} | {cells} |")
    print(f"\nreal to simulated: {used / sum(outcome.used):.2f} of the processor")


def main() -> int:
    """Run the selected parts."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument(
        "part", nargs="?", choices=["measure", "simulate", "validate"], help="run only this part"
    )
    parser.add_argument("--server", default="valkey-9.1", choices=SERVERS)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of measuring (7)")
    parser.add_argument("--nodes", type=int, nargs="+", default=list(NODES), help="sizes to simulate")
    options = parser.parse_args()
    if options.part in (None, "measure"):
        measure_all(options.server, options.rounds)
    if options.part in (None, "simulate"):
        costs = known("a replica, busy")
        calculate(costs)
        simulate_all(costs, sorted({1, *options.nodes}))
    if options.part in (None, "validate"):
        validate(options.server, 8.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
