"""A cluster of any size in simulated time, with the Python library itself as its clients.

Each node is a server with one thread, which executes one command after another; each takes its measured time
(`Costs`). The clients are AsyncShardedQueues. Only the library's connections (`Wire`), its clock and its random
numbers are replaced, so Loads, Pace, looks, claims and homes are the code that users run. Instead of an event loop
there are simpy processes: everything that the library awaits is a simpy event.

Not simulated are the clients' own processor time, lost messages and failovers. All messages take `net_s` one way.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import simpy
from taskslot import AsyncShardedQueue, Info, Load, arguments
from taskslot._async import queue as queue_module
from taskslot._async import shard_claims, shard_monitor
from taskslot._async import sharded as sharded_module
from taskslot.shards import SLOTS, slot_of


@dataclass(frozen=True)
class Costs:
    """A server's processor time in µs, for each command and (`_each`) for each task in it."""

    push: float
    push_each: float
    claim: float
    claim_each: float
    ack: float
    ack_each: float
    claim_empty: float  # a claim that finds nothing
    wait_over: float  # a claim with BLOCK that gets nothing
    handed: float  # a claim with BLOCK that a push serves, without the push
    bulk: float  # a bulk of reading commands, without the commands
    length: float  # each TASK.LEN in it
    info: float  # each TASK.INFO in it

    def life(self, size: int = 1) -> float:
        """The µs for a task's life: push, claim and ack, with `size` tasks at a time."""
        fixed = self.push + self.claim + self.ack
        return fixed / size + self.push_each + self.claim_each + self.ack_each

    def look(self, shards: int, nodes: int) -> float:
        """The µs of one look at all shards, on all nodes together."""
        return nodes * self.bulk + shards * self.length


@dataclass
class Shard:
    """A queue on a node: the arrival times of its ready tasks, and its waiting claims."""

    ready: deque[float] = field(default_factory=deque)
    waiters: deque[Waiter] = field(default_factory=deque)
    leased: int = 0
    made: int = 0


@dataclass(eq=False)
class Waiter:
    """A claim that waits."""

    event: simpy.Event
    count: int


@dataclass(eq=False)
class Node:
    """A server. It executes commands in the order of their arrival."""

    world: World
    shards: dict[str, Shard] = field(default_factory=dict)
    free_at: float = 0.0
    busy_s: float = 0.0

    def shard(self, key: str) -> Shard:
        """The queue of a key."""
        return self.shards.setdefault(key, Shard())

    def work(self, cost_us: float) -> float:
        """Add work now. Returns when it is done."""
        self.free_at = max(self.free_at, self.world.env.now) + cost_us / 1e6
        self.busy_s += cost_us / 1e6
        return self.free_at

    # A command takes effect when it arrives. The server executes commands in the order of arrival, so the outcome is
    # the same as if the command took effect when the server executes it.

    def serve(self, words: Sequence[Any]) -> tuple[float, Any] | Waiter:
        """Execute a command. Returns its reply and the time at which it leaves, or the waiting claim."""
        self.world.calls[words[0]] += 1
        return VERBS[words[0]](self, self.shard(words[1]), words)

    def push(self, shard: Shard, words: Sequence[Any]) -> tuple[float, Any]:
        """TASK.PUSH and TASK.MPUSH. Waiting claims are served first."""
        number = words[words.index("TASKS") + 1] if "TASKS" in words else 1
        costs = self.world.costs
        done_at = self.work(costs.push + number * costs.push_each)
        shard.ready.extend([done_at] * number)
        while shard.waiters and shard.ready:
            waiter = shard.waiters.popleft()
            handed_at = self.work(costs.handed - costs.claim_empty)
            self.world.answer(waiter, handed_at, self.lease(shard, waiter.count, handed_at))
        ids = [f"{shard.made + at}-0" for at in range(number)]
        shard.made += number
        return done_at, ids if "TASKS" in words else ids[0]

    def lease(self, shard: Shard, count: int, at: float) -> list[list[Any]]:
        """The tasks for a claim that is served at this time."""
        tasks = []
        while shard.ready and len(tasks) < count:
            self.world.waits_s.append(max(0.0, at - shard.ready.popleft()))
            shard.leased += 1
            tasks.append([f"{shard.leased}-0@x", b"", 1])
        return tasks

    def claim(self, shard: Shard, words: Sequence[Any]) -> tuple[float, Any] | Waiter:
        """TASK.CLAIM."""
        costs, count = self.world.costs, words[words.index("COUNT") + 1]
        if shard.ready:
            number = min(count, len(shard.ready))
            done_at = self.work(costs.claim + number * costs.claim_each)
            return done_at, self.lease(shard, count, done_at)
        done_at = self.work(costs.claim_empty)
        if "BLOCK" not in words:
            return done_at, []
        waiter = Waiter(self.world.env.event(), count)
        shard.waiters.append(waiter)
        self.world.at(done_at + words[words.index("BLOCK") + 1] / 1000, lambda: self.end(shard, waiter))
        return waiter

    def end(self, shard: Shard, waiter: Waiter) -> None:
        """End a waiting claim, unless it was served."""
        if waiter in shard.waiters:
            shard.waiters.remove(waiter)
            costs = self.world.costs
            self.world.answer(waiter, self.work(max(0.0, costs.wait_over - costs.claim_empty)), [])

    def ack(self, shard: Shard, words: Sequence[Any]) -> tuple[float, Any]:
        """TASK.ACK, of one and of many."""
        number = words[3] if "HANDLES" in words else 1
        costs = self.world.costs
        done_at = self.work(costs.ack + number * costs.ack_each)
        self.world.acked += number
        return done_at, [1] * number if "HANDLES" in words else 1

    def length(self, shard: Shard, words: Sequence[Any]) -> tuple[float, Any]:
        """TASK.LEN … READY, in a bulk."""
        return self.work(self.world.costs.length), len(shard.ready)

    def info(self, shard: Shard, words: Sequence[Any]) -> tuple[float, Any]:
        """TASK.INFO, in a bulk. Fields that the library doesn't use are 0."""
        done_at = self.work(self.world.costs.info)
        return done_at, {**NOTHING, "ready": len(shard.ready), "blocked-workers": len(shard.waiters)}


VERBS: dict[str, Callable[..., Any]] = {
    "TASK.PUSH": Node.push,
    "TASK.MPUSH": Node.push,
    "TASK.CLAIM": Node.claim,
    "TASK.ACK": Node.ack,
    "TASK.LEN": Node.length,
    "TASK.INFO": Node.info,
}


def named(kind: type) -> list[str]:
    """The server's names of the fields of a reply."""
    ways = {
        f"{way}_per_second_{span}m": f"{way}-per-second-{span}m" for way in ("in", "out") for span in (1, 5)
    }
    return [ways.get(one.name, one.name.replace("_", "-")) for one in fields(kind) if one.name != "more"]


NOTHING: dict[str, Any] = {**dict.fromkeys(named(Info), 0), "load": dict.fromkeys(named(Load), 0)}


class Awaited:
    """An event of simpy that library code can await."""

    __slots__ = ("event",)

    def __init__(self, event: simpy.Event):
        self.event = event

    def __await__(self) -> Generator[simpy.Event, Any, Any]:
        return (yield self.event)


class Wire:
    """Replaces the library's connections: sends a command to its key's node, and returns the reply."""

    kind = SimpleNamespace(is_away=lambda error: False)

    def __init__(self, world: World, patience_ms: int):
        self.world, self.patience_ms = world, patience_ms

    async def run(self, command: Any) -> Any:
        """Send a command, execute it, and return its reply."""
        world = self.world
        await world.passes(world.net_s)
        served = world.node_of(command.key).serve(command.words)
        if isinstance(served, Waiter):
            return command.read(await Awaited(served.event))
        done_at, reply = served
        await world.passes(done_at - world.env.now + world.net_s)
        return command.read(reply)

    async def wait(self, command: Any, patience_ms: int = 0) -> Any:
        """Send a command that can wait, like any other."""
        return await self.run(command)

    look = run_unless_away = run

    async def look_at_all(self, commands: Sequence[Any]) -> list[Any]:
        """Send commands in bulk, node by node, as the library does."""
        found: list[Any] = [None] * len(commands)
        by_node: dict[Node, list[int]] = {}
        for place, command in enumerate(commands):
            by_node.setdefault(self.world.node_of(command.key), []).append(place)
        for node, places in by_node.items():
            await self.world.passes(self.world.net_s)
            done_at = node.work(self.world.costs.bulk)
            for place in places:
                done_at, reply = node.serve(commands[place].words)
                found[place] = commands[place].read(reply)
            await self.world.passes(done_at - self.world.env.now + self.world.net_s)
        return found

    async def close(self) -> None:
        """Do nothing, since nothing is open."""


class World:
    """The nodes and the simulated time. Its queues only work in a block `with world.library():`."""

    def __init__(self, nodes: int, costs: Costs, net_s: float = 100e-6, seed: int = 1):
        self.env = simpy.Environment()
        self.costs, self.net_s = costs, net_s
        self.nodes = [Node(self) for _ in range(nodes)]
        self.random = random.Random(seed)
        self.waits_s: list[float] = []  # for each task, the time from ready to claimed
        self.acked = 0
        self.calls: Counter[str] = Counter()
        self._owners: dict[str, Node] = {}

    def node_of(self, key: str) -> Node:
        """The node of a key. Slots are spread evenly."""
        if key not in self._owners:
            self._owners[key] = self.nodes[slot_of(key.encode()) * len(self.nodes) // SLOTS]
        return self._owners[key]

    @property
    def now(self) -> float:
        """The time, in s."""
        return self.env.now

    def passes(self, span_s: float) -> Awaitable[Any]:
        """An awaitable that takes this time."""
        return Awaited(self.env.timeout(span_s))

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Call something at a later time."""
        self.env.timeout(max(0.0, when - self.env.now)).callbacks.append(lambda _: act())

    def answer(self, waiter: Waiter, leaves_at: float, reply: Any) -> None:
        """Deliver a reply to a waiting claim."""
        self.at(leaves_at + self.net_s, lambda: waiter.event.succeed(reply) and None)

    @contextmanager
    def library(self) -> Iterator[None]:
        """Let the library use this world's connections, clock and random numbers."""
        clock = SimpleNamespace(monotonic=lambda: self.env.now)
        with ExitStack() as stack:
            for module in (sharded_module, queue_module):
                stack.enter_context(patch.object(module, "AsyncWire", Wire))
            for module in (sharded_module, shard_claims, shard_monitor, arguments):
                stack.enter_context(patch.object(module, "time", clock))
            stack.enter_context(patch.object(shard_claims, "random", self.random))
            yield

    def queue(self, shards: int) -> AsyncShardedQueue:
        """A logical queue, for one producer or worker."""
        queue = AsyncShardedQueue(self, "orders", shards=shards)
        queue._loads.random = queue._claims.pace.random = self.random
        return queue

    def start(self, work: Any) -> None:
        """Start a producer or a worker, which is a coroutine."""
        self.env.process(work)


@dataclass(frozen=True)
class Traffic:
    """The work of producers and workers, for all nodes together."""

    rate: float  # tasks pushed a second
    producers: int
    workers: int
    shards: int = 64
    size: int = 1  # tasks in each push, claim and ack
    run_s: float = 0.0  # the run time of a task


@dataclass(frozen=True)
class Outcome:
    """The results for the time that was measured."""

    rate: float  # tasks acked a second
    used: list[float]  # the used share of each node's processor
    wait_p50_ms: float
    wait_p99_ms: float
    backlog: int
    cost_us: float  # the time of all nodes together for each task
    calls: dict[str, float]  # a second, by command


# `world` is a World, or a real cluster with the same methods (scaling.py), so both use the same clients.


async def produce(world: Any, traffic: Traffic) -> None:
    """Push at random times, but never before the last push has returned."""
    queue, due = world.queue(traffic.shards), world.now
    while True:
        due += world.random.expovariate(traffic.rate / traffic.producers / traffic.size)
        # A producer that is late doesn't catch up.
        due = max(due, world.now)
        await world.passes(due - world.now)
        if traffic.size == 1:
            await queue.push(b"")
        else:
            await queue.push_many([b""] * traffic.size)


async def work(world: Any, traffic: Traffic) -> None:
    """Claim, run and ack."""
    queue = world.queue(traffic.shards)
    # Workers start at different times.
    await world.passes(world.random.uniform(0, 0.02))
    while True:
        tasks = await queue.claim(traffic.size, block_ms=0)
        if traffic.run_s:
            await world.passes(traffic.run_s * len(tasks))
        if len(tasks) == 1:
            await queue.ack(tasks[0])
        else:
            await queue.ack_many(tasks)


def simulate(
    nodes: int,
    costs: Costs,
    traffic: Traffic,
    *,
    lasts_s: float = 1.0,
    warm_s: float = 0.3,
    net_s: float = 100e-6,
    seed: int = 1,
) -> Outcome:
    """Simulate a cluster, and measure for `lasts_s`, beginning `warm_s` after the start."""
    world = World(nodes, costs, net_s, seed)
    with world.library():
        for _ in range(traffic.producers):
            world.start(produce(world, traffic))
        for _ in range(traffic.workers):
            world.start(work(world, traffic))
        world.env.run(until=warm_s)
        acked, busy = world.acked, [node.busy_s - backlog_s(node) for node in world.nodes]
        world.waits_s.clear()
        world.calls.clear()
        world.env.run(until=warm_s + lasts_s)
    done = world.acked - acked
    spent = [node.busy_s - backlog_s(node) - then for node, then in zip(world.nodes, busy, strict=True)]
    waits = sorted(world.waits_s) or [0.0]
    return Outcome(
        rate=done / lasts_s,
        used=[one / lasts_s for one in spent],
        wait_p50_ms=waits[len(waits) // 2] * 1000,
        wait_p99_ms=waits[len(waits) * 99 // 100] * 1000,
        backlog=sum(len(shard.ready) for node in world.nodes for shard in node.shards.values()),
        cost_us=sum(spent) / done * 1e6 if done else 0.0,
        calls={name: count / lasts_s for name, count in world.calls.items()},
    )


def backlog_s(node: Node) -> float:
    """The work that a node still has to do, in s."""
    return max(0.0, node.free_at - node.world.env.now)
