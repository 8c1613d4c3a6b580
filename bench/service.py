"""Measures the processor time that a server spends on each command, as the Python library sends it.

It is measured on one node of a real cluster over TCP, in three ways. *Busy*: fifty connections have each sent a
command when the server reads them. (It is stopped with SIGSTOP while they send.) This is how a busy server works: one
round of its event loop handles many commands. *One at a time*: each command has a round of its own. *At ease*: the
server rests for some ms before each command, so its caches are cold. This costs most and matters least.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.cluster import Cluster, Node
from harness.simulation import Costs
from pipe import decode_one, encode
from rounds import cpu_ns
from taskslot import commands
from taskslot.arguments import token

CROWD = 50
# The rest before each command of a server at ease, in s.
REST_S = 0.004
# The number of commands of one kind in a round of single commands.
SINGLES, AT_EASE = 100, 40
SIZE = 10
KEYS = [f"q{at}" for at in range(22)]
PAYLOAD = bytes(range(100))
# Two lengths of bulks of reading commands. Their difference shows what each command adds.
SHORT, LONG = 2, len(KEYS)
BLOCK_MS = 20


def packed(command: Any) -> bytes:
    """A command of the library as bytes."""
    return encode(*(word.encode() if isinstance(word, str) else word for word in command.words))


def is_whole(data: bytes, replies: int) -> bool:
    """Whether `data` contains this many replies."""
    at = 0
    try:
        for _ in range(replies):
            _, at = decode_one(data, at)
    except (ValueError, IndexError):
        return False
    return at <= len(data)


def read(connection: socket.socket, replies: int = 1) -> list[Any]:
    """Read this many replies."""
    data = b""
    while not data or not is_whole(data, replies):
        data += connection.recv(1 << 20)
    found, at = [], 0
    for _ in range(replies):
        reply, at = decode_one(data, at)
        found.append(reply)
    return found


class Probe:
    """Sends commands to one node, and measures what they cost it."""

    def __init__(self, node: Node, at_once: int, rest_s: float = 0.0):
        self.node, self.at_once, self.rest_s = node, at_once, rest_s
        self.lines = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(2 * CROWD)]
        for line in self.lines:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line.settimeout(30)
        self.idle_share = self._idle()

    def _idle(self) -> float:
        """The share of a processor that the idle server uses."""
        before, began = cpu_ns(self.node.pid), time.monotonic()
        time.sleep(1.0)
        return (cpu_ns(self.node.pid) - before) / 1e9 / (time.monotonic() - began)

    def close(self) -> None:
        """Close the connections."""
        for line in self.lines:
            line.close()

    def send(self, calls: Sequence[bytes], first: int = 0) -> None:
        """Send a call on each connection, so that the server reads all of them at once."""
        if len(calls) > 1:
            self.node.freeze()
        time.sleep(self.rest_s)
        for line, call in zip(self.lines[first:], calls, strict=False):
            line.sendall(call)
        if len(calls) > 1:
            self.node.thaw()

    def cost(self, calls: Sequence[bytes], replies: int = 1) -> tuple[float, list[Any]]:
        """The µs of a call, and the replies."""
        before, began = cpu_ns(self.node.pid), time.monotonic()
        answers = []
        for start in range(0, len(calls), self.at_once):
            part = calls[start : start + self.at_once]
            self.send(part)
            for line in self.lines[: len(part)]:
                answers += read(line, replies)
        idle_ns = self.idle_share * (time.monotonic() - began) * 1e9
        return (cpu_ns(self.node.pid) - before - idle_ns) / len(calls) / 1000, answers

    def handed(self) -> float:
        """The µs of a waiting claim and of the push that serves it."""
        crowd, times = self._at_a_time()
        waits = [packed(commands.claim([KEYS[0]], 1, 10_000, token(), noack=True))] * crowd
        before, began = cpu_ns(self.node.pid), time.monotonic()
        for _ in range(times):
            self.send(waits)
            # Wait until all claims wait.
            time.sleep(0.02)
            self.send([one_push() for _ in waits], first=CROWD)
            for line in (*self.lines[:crowd], *self.lines[CROWD : CROWD + crowd]):
                read(line)
        idle_ns = self.idle_share * (time.monotonic() - began) * 1e9
        return (cpu_ns(self.node.pid) - before - idle_ns) / crowd / times / 1000

    def _at_a_time(self) -> tuple[int, int]:
        """How many claims wait at once, and how often: many, so that the server's own work hardly counts, or one."""
        return (1, AT_EASE // 2) if self.rest_s else (CROWD, 2)

    def waited(self) -> float:
        """The µs of a claim that waits for BLOCK_MS and gets nothing."""
        crowd, times = self._at_a_time()
        before, began = cpu_ns(self.node.pid), time.monotonic()
        for _ in range(times):
            self.send([packed(commands.claim([KEYS[0]], 1, BLOCK_MS, token())) for _ in range(crowd)])
            for line in self.lines[:crowd]:
                read(line)
        idle_ns = self.idle_share * (time.monotonic() - began) * 1e9
        return (cpu_ns(self.node.pid) - before - idle_ns) / crowd / times / 1000


def one_push() -> bytes:
    """The command with which the library pushes one task."""
    return packed(commands.push(KEYS[0], PAYLOAD, request=token()))


@dataclass(frozen=True)
class Measured:
    """The cost of commands on a node, and of a task's life on its replica, in µs."""

    costs: Costs
    replica_us: float  # of lives one by one and by tens, as many commands of each


def round_of(probe: Probe, calls: int) -> dict[str, float]:
    """Measure each kind of command once, in µs."""
    key, found = KEYS[0], {}

    def claims(count: int) -> list[bytes]:
        return [packed(commands.claim([key], count, None, token())) for _ in range(calls)]

    def bulks(of: Any, number: int) -> float:
        return probe.cost([b"".join(packed(of(one)) for one in KEYS[:number])] * calls, number)[0]

    found["push"], _ = probe.cost([one_push() for _ in range(calls)])
    found["claim"], got = probe.cost(claims(1))
    handles = [task[0].decode() for tasks in got for task in tasks]
    found["ack"], _ = probe.cost([packed(commands.ack(key, one, None, None)) for one in handles])
    many = [packed(commands.push_many(key, [PAYLOAD] * SIZE, token())) for _ in range(calls)]
    found["push_many"], _ = probe.cost(many)
    found["claim_many"], got = probe.cost(claims(SIZE))
    parts = [[task[0].decode() for task in tasks] for tasks in got]
    found["ack_many"], replies = probe.cost([packed(commands.ack(key, one, None, None)) for one in parts])
    if sum(map(sum, replies)) != calls * SIZE:
        raise RuntimeError("not all tasks were acked")
    found["claim_empty"], _ = probe.cost(claims(1))
    found["wait_over"] = probe.waited()
    found["handed"] = probe.handed()
    found["length2"] = bulks(lambda one: commands.length(one, "ready"), SHORT)
    found["length22"] = bulks(lambda one: commands.length(one, "ready"), LONG)
    found["info2"], found["info22"] = bulks(commands.info, SHORT), bulks(commands.info, LONG)
    return found


def costs_of(us: dict[str, float]) -> Costs:
    """The costs as the simulation needs them, each from two points of a line."""
    lines = {}
    for kind in ("push", "claim", "ack"):
        lines[f"{kind}_each"] = each = max(0.0, (us[f"{kind}_many"] - us[kind]) / (SIZE - 1))
        lines[kind] = us[kind] - each
    length, info = (
        (us[f"{kind}{LONG}"] - us[f"{kind}{SHORT}"]) / (LONG - SHORT) for kind in ("length", "info")
    )
    return Costs(
        **lines,
        claim_empty=us["claim_empty"],
        wait_over=max(us["wait_over"], us["claim_empty"]),
        handed=max(us["handed"] - us["push"], us["claim_empty"]),
        bulk=max(0.0, us[f"length{SHORT}"] - SHORT * length),
        length=length,
        info=info,
    )


def measure(cluster: Cluster, at_once: int, rounds: int, rest_s: float = 0.0) -> Measured:
    """Measure on the primary of a cluster of one node. The lowest of all rounds, because a busy machine only adds."""
    node, replicas = cluster.nodes[0], cluster.nodes[1:]
    probe = Probe(node, at_once, rest_s)
    calls = CROWD * 4 if at_once > 1 else AT_EASE if rest_s else SINGLES
    try:
        for key in KEYS:
            node.say("TASK.CONFIG", key, "SET", "lease", 3_600_000)
        round_of(probe, calls)
        found, spent = [], []
        for _ in range(rounds):
            before = [cpu_ns(one.pid) for one in replicas]
            found.append(round_of(probe, calls))
            # A round has the life of a single task and of ten together; both are reported as one figure.
            lives = calls * (1 + SIZE)
            spent.append(
                sum(cpu_ns(one.pid) - then for one, then in zip(replicas, before, strict=True)) / lives
            )
    finally:
        probe.close()
    lowest = {kind: min(one[kind] for one in found) for kind in found[0]}
    return Measured(costs_of(lowest), min(spent) / 1000)
