"""A queue: one key, one method for each command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Unpack

from .. import commands
from ..arguments import MOST, deadline, handle, is_over, parts, several, token
from ..cancellation import cancellations, raise_if_cancelled
from ..commands import ClaimOptions, Payload, PushOptions, TaskOptions, Word
from ..replies import Group, State, Task, TaskId, TaskView, WorkerView
from .base_queue import AsyncBaseQueue
from .wire import AsyncWire, slice_ms


class AsyncQueue(AsyncBaseQueue):
    """The queue in a key: `AsyncQueue(client, "mail")`.

    `client` is a client of redis-py (5 or later) or valkey-py, standalone, of Sentinel or of Cluster. Commands that
    wait in the server have connections of their own, made like the client's; all others go over the client. Spans are
    milliseconds. A push and a claim carry a `REQUEST` token, so that a client that sends them again after a broken
    connection pushes nothing twice and leases nothing twice. While a server is away, calls go on trying for
    `patience_ms` and then raise the client's own error. Queues that are given the `wire` of another share its
    connections. A queue object may be shared: by threads, and an asyncio one by the tasks of its event loop.

    Raises `LeaseLost`, `QueueFull`, `Paused` and the like (`taskslot.errors`). `decode_responses` of the client has
    no effect: payloads and results are bytes.
    """

    def __init__(
        self, client: Any, name: str, *, patience_ms: int = 10_000, wire: AsyncWire | None = None
    ) -> None:
        super().__init__(name, [name], wire or AsyncWire(client, patience_ms))

    def _locate(self, task: Task | str) -> tuple[str, str]:
        return (task.key if isinstance(task, Task) else self.name), handle(task)

    def _key_of_group(self, group: str) -> str:
        return self.name

    def _named_here(self, key: str, view: TaskView) -> TaskView:
        return view

    # ---- produce

    async def push(self, payload: Payload, **options: Unpack[PushOptions]) -> TaskId:
        """Push a task: its id. With `unique`, `id.is_new` tells whether it is new or was found."""
        options["request"] = options.get("request") or token()
        return await self.wire.run(commands.push(self.name, payload, **options))

    async def push_many(
        self, payloads: Iterable[Payload], *, request: str | None = None, **options: Unpack[TaskOptions]
    ) -> list[str]:
        """Push tasks with the same options: their ids. A thousand at a time, and each thousand all or none.

        The same payloads again with the same `request` within 5 minutes push nothing and get the same ids.
        """
        ids: list[str] = []
        request = request or token()
        for number, part in enumerate(parts(several(payloads))):
            made = await self.wire.run(commands.push_many(self.name, part, f"{request}.{number}", **options))
            ids += made
        return ids

    # ---- work

    async def claim(
        self,
        count: int = 1,
        *,
        block_ms: int | None = None,
        also: Sequence[str] = (),
        request: str | None = None,
        **options: Unpack[ClaimOptions],
    ) -> list[Task]:
        """Claim up to `count` tasks (1 to 1000), each under a lease; an empty list where there are none.

        `block_ms` waits so long for the first one, 0 for ever. `also` names queues to claim from if this one has none
        (in a cluster, of the same hash slot); a task's `key` tells where it was.
        """
        request = request or token()
        keys = [self.name, *several(also)]
        if block_ms is None:
            return await self.wire.run(commands.claim(keys, count, None, request, **options))
        ends_at, before = deadline(block_ms), cancellations()
        while True:
            raise_if_cancelled(before)
            wait_ms = slice_ms(ends_at)
            command = commands.claim(keys, count, wait_ms, request, **options)
            tasks = await self.wire.wait(command)
            if tasks or is_over(ends_at):
                return tasks

    # ---- inspect

    async def groups(self) -> list[Group]:
        """All groups that are known, by name."""
        found: list[Group] = []
        last: Word | None = None
        while True:
            more, last = await self.wire.run(commands.groups(self.name, last))
            found += more
            if len(more) < MOST:
                return found

    async def workers(self) -> list[WorkerView]:
        """Who holds leases and who waits, the first thousand by name."""
        return await self.wire.run(commands.workers(self.name))

    async def shards(self, number: int) -> list[str]:
        """The keys of so many shards of this queue, as the server names them."""
        return await self.wire.run(commands.shards(self.name, number))

    # ---- admin

    async def retry_dead(self, count: int = MOST) -> int:
        """Make the oldest dead tasks ready, at most so many (1 to 1000): how many are."""
        return await self.wire.run(commands.retry_dead(self.name, count))

    async def purge(self, state: State | Literal["all"], count: int = MOST) -> int:
        """Remove tasks of a state, or all but the leased: how many were, at most `count`. Call it until it says 0."""
        return await self.wire.run(commands.purge(self.name, state, count))
