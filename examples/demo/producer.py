"""The producer: pushes at a steady rate, and considers a push safe once a replica has it.

Replication is asynchronous, so an acknowledged push is lost if the primary dies before its replica received it. Redis
has `WAIT` for that. The producer keeps a *line* to each primary: one connection, on which it asks every 50 ms whether
a replica has everything that was pushed there. If the line breaks, unconfirmed pushes are sent again with the same
REQUEST token, which adds nothing if the first push has survived.

The token also decides the shard of a push, so a third of the pushes wait while one of three nodes is away. The number
of waiting pushes is limited for each node by itself, so pushes to one node don't hold up those to another.
"""

from __future__ import annotations

import asyncio
import signal
from collections import defaultdict
from collections.abc import Callable, Iterable, MutableSequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from logs import Log, now
from taskslot import ShardedQueue
from taskslot.clients import Client
from taskslot.shards import shard_of_name

ROUND_S = 0.05
# How long WAIT waits for the replica. Pushes that the replica doesn't have by then are checked again in the next round.
WAIT_MS = 50
# The number of pushes that can be under way to each node. Further pushes wait, if the node is away until its replica
# has taken over.
THREADS = 60
# How long a done task is kept, since the account asks the server for all of them.
RETAIN_MS = 3_600_000


@dataclass
class Push:
    """A push: the number that is its payload, its id, and its shard once that is known."""

    number: int
    id: str = ""

    @property
    def shard(self) -> int:
        """The shard, from the start of the id."""
        return int(self.id.partition("/")[0])

    @property
    def token(self) -> str:
        """Its REQUEST token, the same for all pushes of a number."""
        return f"push-{self.number}"


@dataclass
class Line:
    """A connection to a primary that is never reopened. While it lasts, all pushes went to the same primary process."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    holds: bool = True
    unconfirmed: list[Push] = field(default_factory=list)

    async def ask(self, keys: Iterable[str]) -> list[str]:
        """Check that the queues are here, write a mark, and wait until a replica has it. Returns the replies.

        Replication is in order, so a replica that has the mark also has everything before it.
        """
        keys = list(keys)
        mark = "demo:mark:{" + keys[0].partition("{")[2]
        words = [f"TASK.LEN {key}" for key in keys] + [f"SET {mark} 1 PX 60000", f"WAIT 1 {WAIT_MS}"]
        self.writer.write("".join(f"{word}\r\n" for word in words).encode())
        replies = [await asyncio.wait_for(self.reader.readline(), 5.0) for _ in words]
        if not all(reply.endswith(b"\r\n") for reply in replies):
            raise ConnectionError("the primary is gone")
        return [reply.decode().strip() for reply in replies]


class Producer:
    """Pushes numbers as payloads until it is asked to stop, then continues until each push is confirmed."""

    def __init__(self, orders: ShardedQueue, log: Log, progress: MutableSequence[int]) -> None:
        self.orders = orders
        self.log = log
        self.progress = progress  # the first two counters: pushed and confirmed
        self.threads: defaultdict[str, ThreadPoolExecutor] = defaultdict(lambda: ThreadPoolExecutor(THREADS))
        self.kind = Client(orders.wire.client)
        self.lines: dict[str, Line] = {}
        self.again: list[Push] = []  # pushed, but it is unknown whether a replica has it
        self.under_way: set[asyncio.Task[None]] = set()
        self.failed: BaseException | None = None
        self.stopping = asyncio.Event()

    async def run(self, rate: float) -> None:
        """Push `rate` tasks a second until SIGTERM."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stopping.set)
        confirming = asyncio.create_task(self._confirm_for_ever())
        number, begun = 0, now()
        while not self.stopping.is_set() and not self.failed:
            due = int((now() - begun) * rate)
            if due - number > rate / 4:  # after a delay, the missed pushes are not sent in one burst
                begun += (due - number) / rate
                continue
            while number < due:
                self._start(Push(number))
                number += 1
            await asyncio.sleep(0.005)
        while self._is_unsure():
            await asyncio.sleep(0.01)
        confirming.cancel()
        if self.failed:
            raise self.failed
        self.log.say("stopped")

    def _is_unsure(self) -> bool:
        """Whether a push is under way, or not yet confirmed."""
        unsure = self.under_way or self.again or any(line.unconfirmed for line in self.lines.values())
        return bool(unsure) and not self.failed

    def _start(self, push: Push) -> None:
        task = asyncio.create_task(self._push(push))
        self.under_way.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.under_way.discard(task)
        self.failed = self.failed or task.exception()

    # ---- pushing

    async def _push(self, push: Push) -> None:
        """Push, or push again to the same shard."""
        lines = dict(self.lines)
        if not push.id:
            shard = shard_of_name(push.token, len(self.orders.keys))
            push.id = await self._send(self.orders.push, push, shard)
            self.log.say("pushed", n=push.number, id=push.id)
            self.progress[0] += 1
        else:
            queue = self.orders.queues[push.shard]
            task = f"{push.shard}/{await self._send(queue.push, push, push.shard)}"
            self.log.say("again", n=push.number, id=task, was=push.id)
            push.id = task
        line = lines.get(self._node_of(push.shard))
        if line is not None and line.holds:
            line.unconfirmed.append(push)
        else:
            self.again.append(push)

    async def _send(self, method: Callable[..., str], push: Push, shard: int) -> str:
        """Push on a thread. If a node is away, redis-py's asyncio client stops for all nodes; the sync one doesn't."""
        send = partial(method, str(push.number), request=push.token, retain_ms=RETAIN_MS)
        threads = self.threads[self._node_of(shard)]
        return await asyncio.get_running_loop().run_in_executor(threads, send)

    def _node_of(self, shard: int) -> str:
        """The node of a shard, as far as the client knows; "" if no node serves its slot."""
        try:
            return self.kind.node_of(self.orders.keys[shard])
        except Exception as error:
            if not self.kind.is_away(error):
                raise
            return ""

    # ---- confirming

    async def _confirm_for_ever(self) -> None:
        while True:
            names = {self._node_of(shard) for shard in range(len(self.orders.keys))} - {""}
            await asyncio.gather(*(self._confirm(name) for name in names | set(self.lines)))
            again, self.again = self.again, []
            for push in again:
                self._start(push)
            await asyncio.sleep(ROUND_S)

    async def _confirm(self, name: str) -> None:
        try:
            await (self._ask(self.lines[name]) if name in self.lines else self._connect(name))
        except (TimeoutError, OSError):
            if line := self.lines.pop(name, None):
                line.holds = False
                line.writer.close()
                self.again += line.unconfirmed

    async def _connect(self, name: str) -> None:
        host, _, port = name.rpartition(":")
        self.lines[name] = Line(*await asyncio.open_connection(host, int(port)))

    async def _ask(self, line: Line) -> None:
        """Confirm the pushes from before this round. Those to a shard that has moved away are sent again."""
        asked = list(line.unconfirmed)
        if not asked:
            return
        shards = sorted({push.shard for push in asked})
        *here, mark, replicas = await line.ask(self.orders.keys[shard] for shard in shards)
        if mark != "+OK":  # the node is no longer a primary, or a slot is moving
            raise ConnectionError(mark)
        left = {shard for shard, reply in zip(shards, here, strict=True) if not reply.startswith(":")}
        has_replica = replicas.startswith(":") and int(replicas[1:]) >= 1
        sure = [push for push in asked if push.shard not in left] if has_replica else []
        self.again += [push for push in asked if push.shard in left]
        gone = {push.number for push in sure} | {push.number for push in asked if push.shard in left}
        line.unconfirmed = [push for push in line.unconfirmed if push.number not in gone]
        if sure:
            self.log.say("confirmed", ns=[push.number for push in sure])
            self.progress[1] += len(sure)
