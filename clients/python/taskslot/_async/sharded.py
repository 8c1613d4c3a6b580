"""A queue over many slots: the same methods, and which shard each of them is for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count, islice
from typing import Any, Literal, TypeVar, Unpack

from .. import commands
from ..arguments import MOST, deadline, handle, several, token
from ..commands import ClaimOptions, Command, Payload, PushOptions, TaskOptions
from ..errors import Refused
from ..replies import Group, Info, State, Task, TaskId, TaskView, WorkerView
from ..shards import names as shard_names
from ..shards import shard_of_name
from .base_queue import AsyncBaseQueue
from .queue import AsyncQueue
from .shard_claims import AsyncShardClaims, Search
from .shard_monitor import AsyncShardMonitor
from .wire import AsyncWire, Elsewhere

R = TypeVar("R")


class AsyncShardedQueue(AsyncBaseQueue):
    """A logical queue cut into `shards` queues, spread over the slots of a cluster: `orders:{1bz}`, `orders:{fjl}` …

    It has the methods of `AsyncQueue`, except `shards`: the shards are its `keys`, and `infos` has the figures of each.
    Ids and handles begin with the number of their shard, `5/1795334211134-0`; `task.key` is the shard's key. A task
    with `group` goes to the shard of its group, else with `unique` to the shard of its token, else to the less loaded
    of two picked at random. Each shard has its own limits, settings, groups and tokens; `configure`, `pause` and
    `resume` go to all shards. Schedules are on shard 0.

    A claim that waits does so on a home shard, and looks at the others meanwhile: a task pushed anywhere is found
    within some tens of milliseconds, even where there are fewer workers than shards. It never leases more than `count`.
    """

    def __init__(self, client: Any, name: str, *, shards: int = 16, patience_ms: int = 10_000) -> None:
        super().__init__(name, shard_names(name, shards), AsyncWire(client, patience_ms))
        self.queues = [AsyncQueue(client, key, wire=self.wire) for key in self.keys]
        self._numbers = {key: number for number, key in enumerate(self.keys)}
        self._monitor = AsyncShardMonitor(self.wire, self.keys)
        self._loads = self._monitor.loads
        self._claims = AsyncShardClaims(self._monitor)

    def _locate(self, task: Task | str) -> tuple[str, str]:
        number, slash, bare = handle(task).partition("/")
        if not slash or not number.isdigit() or int(number) >= len(self.keys):
            raise ValueError(
                f"an id or handle of {self.name} begins with its shard, from 0/ to {len(self.keys) - 1}/"
            )
        return self.keys[int(number)], bare

    def _key_of_group(self, group: str) -> str:
        return self.keys[shard_of_name(group, len(self.keys))]

    def _named_here(self, key: str, view: TaskView) -> TaskView:
        return replace(view, id=f"{self._numbers[key]}/{view.id}")

    # ---- produce

    async def push(self, payload: Payload, **options: Unpack[PushOptions]) -> TaskId:
        """Push a task: its id, with its shard before it.

        With a `request` of yours, and neither group nor unique, it goes to the shard of that token, so that the same
        call made again finds it.
        """
        name = first_given(options.get("group"), options.get("unique"), options.get("request"))
        if name is None:
            options["request"] = token()
            shard, made = await self._push_anywhere(lambda key: commands.push(key, payload, **options))
        else:
            shard = shard_of_name(name, len(self.keys))
            made = await self.queues[shard].push(payload, **options)
        self._loads.pushed(shard, 1)
        return TaskId.found(f"{shard}/{made}", made.is_new)

    async def push_many(
        self, payloads: Iterable[Payload], *, request: str | None = None, **options: Unpack[TaskOptions]
    ) -> list[str]:
        """Push tasks with the same options: their ids. They go out by hundreds, each all or none, over the shards.

        The same payloads again with the same `request` within 5 minutes push nothing and get the same ids.
        """
        ids: list[str] = []
        todo = iter(several(payloads))
        for number in count():
            if not (part := list(islice(todo, 100))):
                return ids
            again = f"{request}.{number}" if request else None
            name = first_given(options.get("group"), again)
            send = partial(commands.push_many, payloads=part, request=again or token(), **options)
            if name is None:
                shard, made = await self._push_anywhere(send)
            else:
                shard = shard_of_name(name, len(self.keys))
                made = await self.wire.run(send(self.keys[shard]))
            self._loads.pushed(shard, len(part))
            ids += [f"{shard}/{task}" for task in made]
        return ids

    async def _push_anywhere(self, command: Callable[[str], Command[R]]) -> tuple[int, R]:
        """Push to a shard whose node is there: which one, and the reply. A node that is away has others take its load.

        Where the connection broke while the push was under way, that waits for its node: it may have been done.
        """
        for _ in self.keys:
            shard, asked_at = await self._less_loaded(), time.monotonic()
            try:
                return shard, await self.wire.run_unless_away(command(self.keys[shard]))
            except Elsewhere as error:
                now = time.monotonic()
                self._monitor.lost(shard, error.reason, now - asked_at)
                if all(self._loads.is_away(shard, now) for shard in range(len(self.keys))):
                    break
        shard = await self._less_loaded()
        return shard, await self.wire.run(command(self.keys[shard]))

    async def _less_loaded(self) -> int:
        """The less loaded of two shards."""
        if self._loads.is_stale(time.monotonic()):
            with suppress(Refused):  # who may push, and not ask for lengths, spreads by chance
                await self._monitor.refresh()
        return self._loads.choose(time.monotonic())

    # ---- work

    async def claim(
        self,
        count: int = 1,
        *,
        block_ms: int | None = None,
        request: str | None = None,
        **options: Unpack[ClaimOptions],
    ) -> list[Task]:
        """Claim up to `count` tasks (1 to 1000) from any shards.

        `block_ms` waits so long for the first one, 0 for ever.
        """
        # Here, since there may be nothing to ask any shard.
        commands.refuse_unknown(options, ClaimOptions)
        if not 1 <= count <= MOST:
            raise ValueError(f"count must be from 1 to {MOST}, not {count}")
        if options.get("tied"):
            raise ValueError("tied does not work with shards, which are claimed over a pool of connections")
        ends_at = None if block_ms is None else deadline(block_ms)
        search = Search(count, block_ms is not None, ends_at, request or token(), options)
        return await self._claims.claim(search)

    # ---- inspect

    async def infos(self) -> dict[str, Info | None]:
        """What each shard tells, by its key."""
        return {queue.name: await queue.info() for queue in self.queues}

    async def groups(self) -> list[Group]:
        """All groups that are known, by name, each of the one shard that has it."""
        return sorted(
            [group for queue in self.queues for group in await queue.groups()], key=lambda one: one.name
        )

    async def workers(self) -> list[WorkerView]:
        """Who holds leases and who waits, by name: of each shard the first thousand, added up."""
        found: dict[str, WorkerView] = {}
        for queue in self.queues:
            for one in await queue.workers():
                other = found.get(one.name)
                found[one.name] = together(one, other) if other else one
        return [found[name] for name in sorted(found)]

    # ---- admin

    async def retry_dead(self, count: int = MOST) -> int:
        """Make dead tasks ready, the oldest of each shard first, at most so many: how many are."""
        done = 0
        for queue in self.queues:
            if done < count:
                done += await queue.retry_dead(min(MOST, count - done))
        return done

    async def purge(self, state: State | Literal["all"], count: int = MOST) -> int:
        """Remove tasks of a state, or all but the leased: how many were, at most `count`. Call it until it says 0."""
        done = 0
        for queue in self.queues:
            if done < count:
                done += await queue.purge(state, count - done)
        return done


def first_given(*names: str | None) -> str | None:
    """The first name that is given."""
    return next((name for name in names if name is not None), None)


def together(one: WorkerView, other: WorkerView) -> WorkerView:
    """What two shards tell of the same worker."""
    return replace(
        one,
        leases=one.leases + other.leases,
        oldest_lease_ms=max(one.oldest_lease_ms, other.oldest_lease_ms),
        blocked=one.blocked + other.blocked,
        places_free=one.places_free + other.places_free,
    )
