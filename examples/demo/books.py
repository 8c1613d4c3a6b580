"""Reads the logs of producer, workers and story, and the servers' own figures. It draws no conclusions."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logs import read

if TYPE_CHECKING:
    from harness.cluster import Cluster
    from taskslot import ShardedQueue

# A failover that the story didn't cause may have begun this long before it was noticed.
UNSEEN_S = 10.0


@dataclass(frozen=True)
class Claim:
    """A claim, from a worker's log."""

    t: float  # when the server leased the task; the worker may have received it much later
    worker: str
    handle: str
    deliveries: int
    deadline: int  # the end of the lease unless it is extended, a unix time in ms

    @property
    def id(self) -> str:
        """The task's id, with its shard."""
        return self.handle.partition("@")[0]


@dataclass(frozen=True)
class Failover:
    """A failover of a slot range: when its replica was cut off, and when the replica had taken over."""

    slot_range: int
    cut: float
    promoted: float
    killed: float = 0.0  # 0 if the story didn't kill the primary


@dataclass(frozen=True)
class Kept:
    """A done task that the server keeps."""

    n: int
    deliveries: int
    done_since: int  # unix time in ms


def shard_of(id_: str) -> int:
    """The shard of an id."""
    return int(id_.partition("/")[0])


@dataclass
class Books:
    """A run's logs and the servers' totals, from its folder."""

    pushed: dict[int, tuple[float, str]] = field(default_factory=dict)  # by number: the time and the first id
    ids: dict[int, str] = field(default_factory=dict)  # by number: the last id
    again: int = 0  # the number of pushes that were sent again
    undone: set[int] = field(
        default_factory=set
    )  # those of them that got a new id, because the first task was lost
    confirmed: set[int] = field(default_factory=set)
    claims: dict[int, list[Claim]] = field(default_factory=lambda: defaultdict(list))
    answers: dict[str, tuple[float, str]] = field(default_factory=dict)  # by handle
    killed: dict[str, float] = field(default_factory=dict)  # by worker
    failovers: list[Failover] = field(default_factory=list)
    moves: list[tuple[float, float]] = field(default_factory=list)
    first_fault: float = float("inf")
    owners: dict[int, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    nodes: dict[int, list[int]] = field(
        default_factory=lambda: defaultdict(list)
    )  # the ports of each slot range, in the order in which they served it
    kept: dict[str, Kept] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    live: dict[str, int] = field(default_factory=dict)
    lease_ms: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path) -> Books:
        """Read the folder of a run."""
        books = cls()
        figures = json.loads((folder / "server.json").read_text())
        books.totals, books.live, books.lease_ms = figures["totals"], figures["live"], figures["lease_ms"]
        books.kept = {id_: Kept(*kept) for id_, kept in figures["kept"].items()}
        books._read_producer(folder / "producer.log")
        for path in sorted(folder.glob("worker-*.log")):
            books._read_worker(path)
        for claims in books.claims.values():
            claims.sort(key=lambda claim: claim.t)
        books._read_story(folder / "story.log")
        return books

    def _read_producer(self, path: Path) -> None:
        for line in read(path):
            if line["what"] == "pushed":
                self.pushed[line["n"]] = (line["t"], line["id"])
                self.ids[line["n"]] = line["id"]
            elif line["what"] == "again":
                self.again += 1
                self.ids[line["n"]] = line["id"]
                if line["id"] != line["was"]:
                    self.undone.add(line["n"])
            elif line["what"] == "confirmed":
                self.confirmed.update(line["ns"])

    def _read_worker(self, path: Path) -> None:
        worker = path.stem.removeprefix("worker-")
        for line in read(path):
            if line["what"] == "claimed":
                leased_at = (line["deadline"] - self.lease_ms) / 1000
                claim = Claim(leased_at, worker, line["handle"], line["deliveries"], line["deadline"])
                self.claims[line["n"]].append(claim)
            elif line["what"] == "acked":
                self.answers[line["handle"]] = (line["t"], line["answer"])

    def _read_story(self, path: Path) -> None:
        lines = list(read(path))
        cut: dict[int, float] = {}
        dead: dict[int, float] = {}
        begun = 0.0
        for line in lines:
            t, what = line["t"], line["what"]
            if what in ("worker killed", "cut", "moving"):
                self.first_fault = min(self.first_fault, t)
            if what == "worker killed":
                self.killed[line["worker"]] = t
            elif what == "cut":
                cut[line["slot_range"]] = t
            elif what == "node killed":
                dead[line["slot_range"]] = t
            elif what == "promoted":
                slot_range = line["slot_range"]
                self.failovers.append(Failover(slot_range, cut[slot_range], t, dead[slot_range]))
            elif what == "moving":
                begun = t
            elif what == "moved":
                self.moves.append((begun, t))
            elif what == "sample":
                self.samples.append(line)
            if "text" in line:
                self.events.append(line)
        for line in lines:
            if line["what"] == "owns":
                self._read_owner(line["t"], line["shard"], line["slot_range"], line["node"])

    def _read_owner(self, t: float, shard: int, slot_range: int, node: int) -> None:
        """A shard has a new node. If the story didn't cause that, its slot range has failed over by itself."""
        ports = self.nodes[slot_range]
        if node not in ports:
            known = any(one.slot_range == slot_range and one.cut <= t for one in self.failovers)
            if ports and not known:
                self.failovers.append(Failover(slot_range, t - UNSEEN_S, t))
            ports.append(node)
        self.owners[shard].append((t, slot_range))

    def slot_range_of(self, shard: int, t: float) -> int:
        """The slot range of a shard at an instant. Within a quarter of a second of a move, it can be wrong."""
        owners = self.owners[shard]
        return owners[max(0, bisect_right(owners, (t, 99)) - 1)][1]


def ask_servers(orders: ShardedQueue, cluster: Cluster, lease_ms: int, path: Path) -> None:
    """Log the servers' figures at the end: the sums of TASK.INFO, INFO taskslot of each node, and every done task."""
    info = orders.info()
    totals = {name: value for name, value in asdict(info).items() if isinstance(value, int)} if info else {}
    live = {"pushed": 0, "acked": 0}
    for node in cluster.alive():
        facts = node.facts("INFO", "taskslot")
        for name in live:
            live[name] += int(facts[f"taskslot_total_{name}"])
    kept = {
        task.id: (int(task.payload or b"-1"), task.deliveries, task.done_since)
        for task in orders.tasks("done", payloads=True, page=1000)
    }
    path.write_text(json.dumps({"totals": totals, "live": live, "lease_ms": lease_ms, "kept": kept}))
