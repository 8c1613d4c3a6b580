"""From where a worker claims: its queues in order of preference, and which of them one command can claim from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import commands
from .._sync.queue import Queue
from .._sync.sharded import ShardedQueue
from .._sync.wire import Wire
from ..commands import ClaimOptions
from ..replies import Task
from ..shards import slot_of

AnyQueue = Queue | ShardedQueue

# How many keys TASK.MCLAIM takes.
MOST_KEYS = 101


@dataclass(frozen=True)
class Source:
    """Queues from which one command claims: one queue, or several of one server and slot, or a sharded queue.

    `queue` is the first of them, through which claims are sent. `also` are the names of the others.
    """

    queue: AnyQueue
    also: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The names of the queues."""
        return ", ".join([self.queue.name, *self.also])

    @property
    def keys(self) -> Sequence[str]:
        """The keys from which a claim takes tasks; not for a sharded queue, which asks each shard by itself."""
        return [self.queue.name, *self.also]

    def claim(self, count: int, block_ms: int, request: str, options: ClaimOptions) -> list[Task]:
        """Claim, and wait for the first task. While the server is away, this tries again for the queue's patience."""
        if isinstance(self.queue, ShardedQueue):
            return self.queue.claim(count, block_ms=block_ms, request=request, **options)
        return self.queue.claim(count, block_ms=block_ms, also=self.also, request=request, **options)

    def look(self, count: int, wait_ms: int | None, request: str, options: ClaimOptions) -> list[Task]:
        """Claim once, and wait for at most a quarter of a second. A server that is away soon raises an error."""
        if isinstance(self.queue, ShardedQueue):
            return self.queue.claim(count, block_ms=wait_ms, request=request, **options)
        return self.queue.wire.look(commands.claim(self.keys, count, wait_ms, request, **options))

    def singles(self) -> list[Source]:
        """A source for each of the queues, on the connections of this one."""
        wire = self.queue.wire
        return [Source(Queue(wire.client, name, wire=wire)) for name in self.keys]

    def apart(self, patience_ms: int) -> Source:
        """The same queues, reached over connections of their own, with this patience."""
        client, name = self.queue.wire.client, self.queue.name
        if isinstance(self.queue, ShardedQueue):
            shards = len(self.queue.keys)
            return Source(ShardedQueue(client, name, shards=shards, patience_ms=patience_ms))
        return Source(Queue(client, name, wire=Wire(client, patience_ms)), self.also)


def sources_of(queues: Sequence[AnyQueue]) -> list[Source]:
    """The sources of queues in order of preference: neighbours that one command can claim from are one source."""
    found: list[Source] = []
    for queue in queues:
        if found and is_beside(found[-1], queue):
            found[-1] = Source(found[-1].queue, (*found[-1].also, queue.name))
        else:
            found.append(Source(queue))
    return found


def is_beside(source: Source, queue: AnyQueue) -> bool:
    """Whether the command that claims from a source can claim from this queue too."""
    first = source.queue
    if isinstance(first, ShardedQueue) or isinstance(queue, ShardedQueue):
        return False
    if first.wire.client is not queue.wire.client or len(source.keys) == MOST_KEYS:
        return False
    return not first.wire.kind.is_cluster or slot_of(first.name.encode()) == slot_of(queue.name.encode())
