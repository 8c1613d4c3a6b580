"""Looks at the cluster four times a second: which node has which shards, how many tasks are on them, and the rates.

A *slot range* is a third of the slots. A primary serves it at the start, and its replica can take over.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import redis
from harness.cluster import Cluster, Node
from logs import Log, now
from taskslot.shards import names, slot_of_shard

LOOK_S = 0.25
# The time over which a rate is measured.
RATE_S = 1.5


@dataclass
class NodeView:
    """A node at the last look. `state` is `primary`, `replica of <port>`, `starting` or `killed`."""

    port: int
    slot_range: int
    state: str
    slots: int = 0
    shards: int = 0
    ready: int = 0
    leased: int = 0
    pushed_per_s: float = 0.0
    done_per_s: float = 0.0


@dataclass
class ShardView:
    """A shard at the last look. `node` is None while no node serves it."""

    number: int
    slot_range: int
    node: int | None
    ready: int = 0
    leased: int = 0


@dataclass
class View:
    """Everything that one look found."""

    t: float
    nodes: list[NodeView]
    shards: list[ShardView]

    def of_slot_ranges(self, what: str) -> list[int]:
        """A figure of the shards, added up for each slot range."""
        counts = [0] * SLOT_RANGES
        for shard in self.shards:
            counts[shard.slot_range] += getattr(shard, what)
        return counts


SLOT_RANGES = 3


@dataclass
class Watch:
    """A thread that looks at the cluster, and records what it finds in the story's log."""

    cluster: Cluster
    name: str
    shards: int
    log: Log
    view: View | None = None
    looked: Callable[[], None] = lambda: None
    _totals: dict[int, deque[tuple[float, int, int]]] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.keys = names(self.name, self.shards)
        self._seen = [ShardView(number, -1, None) for number in range(self.shards)]
        self._thread = threading.Thread(target=self._look_for_ever, name="watch", daemon=True)

    def start(self) -> None:
        """Look once, so that there is a view, then continue in the background."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join(timeout=10)

    def slot_range_of(self, node: Node) -> int:
        """The slot range of a node. Primaries were started first, then their replicas in the same order."""
        return self.cluster.nodes.index(node) % SLOT_RANGES

    def _look_for_ever(self) -> None:
        while not self._over.wait(LOOK_S):
            self._look()
            self.looked()

    def _look(self) -> None:
        seen = {node: self._member(node) for node in self.cluster.nodes}
        primaries = [node for node, member in seen.items() if member and member.is_primary and member.slots]
        views = {node: self._node_view(node, seen[node]) for node in self.cluster.nodes}
        before = [(shard.slot_range, shard.node) for shard in self._seen]
        for shard in self._seen:
            shard.node = None
        # If two nodes claim a slot, the one with the higher epoch comes last, and counts.
        for node in sorted(primaries, key=lambda node: seen[node].epoch):
            here = [shard for shard in self._seen if slot_of_shard(shard.number) in seen[node].slots]
            self._look_at_shards(node, here, views[node])
        self._tell(before)
        shards = [ShardView(**vars(shard)) for shard in self._seen]
        self.view = View(now(), list(views.values()), shards)
        ready, leased = self.view.of_slot_ranges("ready"), self.view.of_slot_ranges("leased")
        self.log.say("sample", ready=ready, leased=leased)

    @staticmethod
    def _member(node: Node):
        try:
            return node.itself() if node.up else None
        except (redis.RedisError, OSError, ValueError):
            return None

    def _node_view(self, node: Node, member) -> NodeView:
        view = NodeView(node.port, self.slot_range_of(node), "starting" if node.alive() else "killed")
        if member is None:
            self._totals.pop(node.port, None)
        elif member.is_primary:
            view.state, view.slots = "primary", len(member.slots)
            view.pushed_per_s, view.done_per_s = self._rates(node)
        else:
            of = next((one.port for one in self.cluster.nodes if one.id == member.primary), "?")
            view.state = f"replica of {of}"
        return view

    def _rates(self, node: Node) -> tuple[float, float]:
        """The pushes and completions a second, from the totals of INFO taskslot."""
        try:
            facts = node.facts("INFO", "taskslot")
        except (redis.RedisError, OSError, ValueError):
            return 0.0, 0.0
        seen = self._totals.setdefault(node.port, deque())
        seen.append((now(), int(facts["taskslot_total_pushed"]), int(facts["taskslot_total_acked"])))
        while seen[-1][0] - seen[0][0] > RATE_S and len(seen) > 2:
            seen.popleft()
        span_s = max(seen[-1][0] - seen[0][0], LOOK_S)
        return (seen[-1][1] - seen[0][1]) / span_s, (seen[-1][2] - seen[0][2]) / span_s

    def _look_at_shards(self, node: Node, here: list[ShardView], view: NodeView) -> None:
        for shard in here:
            key = self.keys[shard.number]
            try:
                shard.ready, shard.leased = (
                    int(node.say("TASK.LEN", key, state)) for state in ("READY", "LEASED")
                )
            except (redis.RedisError, OSError, ValueError):
                continue  # the node has just ended
            shard.slot_range, shard.node = self.slot_range_of(node), node.port
            view.shards += 1
            view.ready += shard.ready
            view.leased += shard.leased

    def _tell(self, before: list[tuple[int, int | None]]) -> None:
        """Log the shards whose node is not the same as at the last look."""
        for shard, was in zip(self._seen, before, strict=True):
            if shard.node is not None and (shard.slot_range, shard.node) != was:
                self.log.say("owns", shard=shard.number, slot_range=shard.slot_range, node=shard.node)
