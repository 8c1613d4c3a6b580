"""What a task costs the server as one number grows: tasks, queues, waiting workers, groups, batches, bytes.

For each number there is a server of its own. They take turns, so a busy machine slows all of them alike, and the
figure to look at is the ratio to the server with the first number.
"""

from __future__ import annotations

import random
import select
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contenders import Contender, Streams, Taskslot
from harness.server import Installed, Server
from harness.talk import packed
from harness.waiting import Floor
from pauses import Pause, fill, line, pinging
from pipe import PING, Pipe, decode, encode
from rounds import CALLS_A_WRITE, cpu_ns, payloads

# Tasks of a phase in a round, of a phase that names tasks by id, and of one that waits for each reply.
SLICE, BY_ID, ONE_BY_ONE = 1000, 400, 500
# Rounds while PINGs are sent.
PINGED = 10


class Side(ABC):
    """A server, the work of a round, and the µs of processor time that each phase of it took for a task."""

    def __init__(self, server: Server, contender: str):
        self.server, self.contender = server, contender
        self.costs: dict[str, list[float]] = {}
        self.pause = Pause()

    @abstractmethod
    def round(self) -> None:
        """Run all phases once, each inside `spend`."""

    def spend(self, phase: str, tasks: int, work: Callable[[], object]) -> object:
        """Do the work of a phase, and note its cost."""
        before = cpu_ns(self.server.pid)
        result = work()
        self.costs.setdefault(phase, []).append((cpu_ns(self.server.pid) - before) / tasks / 1000)
        return result

    def round_with_pings(self) -> None:
        """Note the longest pause for another client, and no costs."""
        costs = {phase: list(figures) for phase, figures in self.costs.items()}
        with pinging(self.server) as self.pause:
            for _ in range(PINGED):
                self.round()
        self.costs = costs

    def warm_up(self) -> None:
        """Run a round that doesn't count."""
        self.round()
        self.costs.clear()

    def end(self) -> None:
        """Stop the server."""
        self.server.check()
        self.server.discard()


# ---- lives of tasks


@dataclass(frozen=True)
class Load:
    """The sizes of a load: tasks that stay in the queue, queues, tasks a call, bytes a task, groups (0: none)."""

    backlog: int = 1000
    queues: int = 1
    size: int = 1
    payload_bytes: int = 100
    groups: int = 0
    by_id: bool = False


class Grouped(Taskslot):
    """taskslot with tasks of many groups in turn. Claims take from the groups in turn."""

    def __init__(self, groups: int):
        self._groups, self._pushed = groups, 0

    def pushes(self, key, bodies, size):
        first, self._pushed = self._pushed, self._pushed + len(bodies)
        return [
            encode(b"TASK.PUSH", key, body, b"GROUP", b"tenant:%d" % (number % self._groups))
            for number, body in enumerate(bodies, first)
        ]


class Lives(Side):
    """Push, claim and ack behind a backlog, on one queue, or on many in a random order."""

    def __init__(self, installed: Installed, module: Path, contender: Contender, load: Load):
        options = {"module": module if contender.needs_module else None}
        super().__init__(Server(installed, **options), contender.name)
        self.maker, self.load = contender, load
        self.random = random.Random(1)
        self.pipe = Pipe(self.server.socket, max(1, CALLS_A_WRITE // load.size))
        self.keys = [b"queue:%d" % number for number in range(load.queues)]
        self.bodies = payloads(SLICE, load.payload_bytes)
        # Some tasks that wait, the oldest first, and which part of them that is.
        self.every = max(1, load.backlog // 20_000)
        self.ids: list[bytes] = []
        self._prepare()
        self.warm_up()

    def _prepare(self) -> None:
        """Create the queues and their backlog."""
        load, first = self.load, self.keys[0]
        if load.queues == 1 or isinstance(self.maker, Streams):
            for key in self.keys:
                self.maker.prepare(self.pipe, key)
        if load.groups:
            self._send(self.maker.pushes(first, payloads(load.backlog, load.payload_bytes), 1))
        elif load.queues == 1:
            every = self.every if self._has_ids() else 0
            self.ids = fill(self.server, self.maker, first, load.backlog, load.payload_bytes, every)
        else:
            self._send([call for key in self.keys for call in self.maker.pushes(key, self.bodies[:1], 1)])

    def _has_ids(self) -> bool:
        return self.load.by_id and self.maker.needs_module

    def _send(self, calls: list[bytes]) -> list:
        return decode(self.pipe.send(self.pipe.prepared(calls)))

    def _phase(self, phase: str, calls: list[bytes], tasks: int = SLICE) -> list:
        """Send calls as a phase, and return their replies."""
        writes = self.pipe.prepared(calls)
        return decode(self.spend(phase, tasks, lambda: self.pipe.send(writes)))

    def round(self) -> None:
        if self.load.queues > 1:
            return self._round_of_queues()
        maker, key, size = self.maker, self.keys[0], self.load.size
        pushed = self._phase("push", maker.pushes(key, self.bodies, size))
        tasks = maker.claimed(self._phase("claim", maker.claims(key, SLICE, size)))
        if maker.acked(self._phase("ack", maker.acks(key, tasks, size))) != SLICE:
            raise RuntimeError(f"{maker.name} did not finish all tasks")
        if self._has_ids():
            self._by_id(pushed, id_of(tasks[-1][1]))

    def _round_of_queues(self) -> None:
        """A task in each of some queues."""
        maker, keys = self.maker, self.random.choices(self.keys, k=SLICE)
        bodies = zip(keys, self.bodies, strict=True)
        self._phase("push", [call for key, body in bodies for call in maker.pushes(key, [body], 1)])
        claims = self._phase("claim", [call for key in keys for call in maker.claims(key, 1, 1)])
        tasks = zip(keys, maker.claimed(claims), strict=True)
        acks = self._phase("ack", [call for key, task in tasks for call in maker.acks(key, [task], 1)])
        if maker.acked(acks) != SLICE:
            raise RuntimeError(f"{maker.name} did not finish all tasks")

    def _by_id(self, pushed: list[bytes], last: tuple[int, int]) -> None:
        """Read and cancel tasks that wait, at random. All tasks up to `last` have been claimed."""
        self.ids = [id for id in self.ids if id_of(id) > last] + pushed[:: self.every]
        key = self.keys[0]
        some = self.random.sample(self.ids, BY_ID)
        found = self._phase("get by id", [encode(b"TASK.GET", key, id) for id in some], BY_ID)
        ended = self._phase("cancel by id", [encode(b"TASK.CANCEL", key, id) for id in some], BY_ID)
        if not all(found) or sum(ended) != BY_ID:
            raise RuntimeError("a task that waits was not found")
        gone = set(some)
        self.ids = [id for id in self.ids if id not in gone]
        fill(self.server, self.maker, key, BY_ID, self.load.payload_bytes)


def id_of(handle: bytes) -> tuple[int, int]:
    """The id of a task, or that in a handle, as numbers."""
    ms, seq = handle.split(b"@")[0].split(b"-")
    return int(ms), int(seq)


# ---- connections


class Connections(Side):
    """Many connections that are used in turn."""

    def __init__(self, server: Server, contender: str, count: int, first: bytes):
        super().__init__(server, contender)
        self.floor = Floor(server)
        self.line = line(self.floor, first, count)
        # The server may answer in another order than that in which they were opened.
        self.answers = select.epoll(count)
        self.by_number = {one.fileno(): one for one in self.line}
        for one in self.line:
            self.answers.register(one, select.EPOLLIN)

    def end(self) -> None:
        super().end()
        self.answers.close()
        for one in self.line:
            one.close()


class Waiters(Connections):
    """Workers that wait for one queue. Each push serves the first of them, which then waits again behind the others."""

    CLAIM = packed(["TASK.CLAIM", "q", "BLOCK", 0, "NOACK"])

    def __init__(self, installed: Installed, module: Path, workers: int):
        super().__init__(
            Server(installed, module=module, maxclients=workers + 1000), "taskslot", workers, self.CLAIM
        )
        self.warm_up()

    def round(self) -> None:
        self.spend("push, none waits for it", ONE_BY_ONE, self._push_to_others)
        self.spend("push that serves, claim again", ONE_BY_ONE, self._push_to_workers)

    def _push_to_others(self) -> None:
        for _ in range(ONE_BY_ONE):
            self.floor.boss("TASK.PUSH", "other", "x")

    def _push_to_workers(self) -> None:
        for _ in range(ONE_BY_ONE):
            self.floor.boss("TASK.PUSH", "q", "x")
            [(number, _)] = self.answers.poll(60)
            worker = self.by_number[number]
            worker.recv(4096)
            worker.sendall(self.CLAIM)


class Turns(Connections):
    """Connections that send a PING in turn, without the module: what the server itself pays for many connections."""

    def __init__(self, installed: Installed, connections: int):
        super().__init__(
            Server(installed, module=None, maxclients=connections + 1000), "server", connections, b""
        )
        self.at = 0
        self.warm_up()

    def round(self) -> None:
        self.spend("two PINGs, one of them in turn", ONE_BY_ONE, self._ping)

    def _ping(self) -> None:
        for _ in range(ONE_BY_ONE):
            self.floor.boss("PING")
            one = self.line[self.at]
            one.sendall(PING)
            one.recv(64)
            self.at = (self.at + 1) % len(self.line)
