# Generated from taskslot/_async/sharded.py by make_sync.py: make changes there.
"""A queue that is spread over many slots: the methods of a queue, and the choice of the shard for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count, islice
from typing import Any, TypeVar, Unpack

from .. import commands
from ..arguments import MOST, deadline, handle, several, token
from ..commands import ClaimOptions, Command, Payload, PushOptions, TaskOptions
from ..errors import Refused
from ..replies import Group, Info, Next, Task, TaskId, TaskView, WorkerView
from ..shards import names as shard_names
from ..shards import shard_of_name
from .base_queue import BaseQueue
from .queue import Queue
from .shard_claims import Search, ShardClaims
from .shard_monitor import ShardMonitor
from .wire import Elsewhere, Wire

R = TypeVar("R")


class ShardedQueue(BaseQueue):
    """A logical queue of `shards` queues, spread over the slots of a cluster: `orders:{1bz}`, `orders:{fjl}` …

    It has the methods of `Queue` except `shards`: its `keys` are the shards, and `infos` returns the figures of
    each. Ids and handles begin with the number of their shard, `5/1795334211134-0`; `task.key` is the shard's key.

    A task with `group` goes to the shard of its group. Otherwise, a task with `unique` goes to the shard of its token.
    All other tasks go to the less loaded of two shards that are picked at random. Each shard has its own limits,
    settings, groups and tokens; `configure`, `pause` and `resume` go to all shards. Schedules are on shard 0.

    A claim that waits does so on a home shard, and looks at the others in between. So a task is found within some tens
    of milliseconds on any shard, even with fewer workers than shards. A claim never leases more than `count` tasks.
    """

    def __init__(self, client: Any, name: str, *, shards: int = 16, patience_ms: int = 10_000) -> None:
        super().__init__(name, shard_names(name, shards), Wire(client, patience_ms))
        self.queues = [Queue(client, key, wire=self.wire) for key in self.keys]
        self._numbers = {key: number for number, key in enumerate(self.keys)}
        self._monitor = ShardMonitor(self.wire, self.keys)
        self._loads = self._monitor.loads
        self._claims = ShardClaims(self._monitor)

    def _locate(self, task: Task | str) -> tuple[str, str]:
        number, slash, bare = handle(task).partition("/")
        if not slash or not number.isdigit() or int(number) >= len(self.keys):
            raise ValueError(
                f"an id or handle of {self.name} begins with its shard, from 0/ to {len(self.keys) - 1}/"
            )
        return self.keys[int(number)], bare

    def _key_of_group(self, group: str) -> str:
        return self.keys[shard_of_name(group, len(self.keys))]

    def _keys_of_token(self, token: str) -> Sequence[str]:
        # The task may also have a group, and is on the shard of that.
        likely = self.keys[shard_of_name(token, len(self.keys))]
        return [likely, *(key for key in self.keys if key != likely)]

    def _id_here(self, key: str, task_id: TaskId) -> TaskId:
        return TaskId.found(f"{self._numbers[key]}/{task_id}", task_id.is_new)

    def _named_here(self, key: str, view: TaskView) -> TaskView:
        return replace(view, id=f"{self._numbers[key]}/{view.id}")

    # ---- produce

    def push(self, payload: Payload, **options: Unpack[PushOptions]) -> TaskId:
        """Push a task and return its id, which begins with its shard.

        With a `request` of your own, and neither group nor unique, the task goes to the shard of that token, so that a
        repeated call finds it.
        """
        name = first_given(options.get("group"), options.get("unique"), options.get("request"))
        if name is None:
            options["request"] = token()
            shard, made = self._push_anywhere(lambda key: commands.push(key, payload, **options))
        else:
            shard = shard_of_name(name, len(self.keys))
            made = self.queues[shard].push(payload, **options)
        self._loads.pushed(shard, 1)
        return TaskId.found(f"{shard}/{made}", made.is_new)

    def push_many(
        self, payloads: Iterable[Payload], *, request: str | None = None, **options: Unpack[TaskOptions]
    ) -> list[str]:
        """Push tasks with the same options and return their ids.

        Each hundred goes to one shard, completely or not at all. If the same payloads are pushed with the same
        `request` again within 5 minutes, nothing is added, and the same ids are returned.
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
                shard, made = self._push_anywhere(send)
            else:
                shard = shard_of_name(name, len(self.keys))
                made = self.wire.run(send(self.keys[shard]))
            self._loads.pushed(shard, len(part))
            ids += [f"{shard}/{task}" for task in made]
        return ids

    def _push_anywhere(self, command: Callable[[str], Command[R]]) -> tuple[int, R]:
        """Push to a shard whose node is not away. Returns the shard and the reply.

        If the connection broke during a push, it may have been executed, so this waits for that node.
        """
        for _ in self.keys:
            shard, asked_at = self._less_loaded(), time.monotonic()
            try:
                return shard, self.wire.run_unless_away(command(self.keys[shard]))
            except Elsewhere as error:
                now = time.monotonic()
                self._monitor.lost(shard, error.reason, now - asked_at)
                if all(self._loads.is_away(shard, now) for shard in range(len(self.keys))):
                    break
        shard = self._less_loaded()
        return shard, self.wire.run(command(self.keys[shard]))

    def _less_loaded(self) -> int:
        """The less loaded of two shards that are picked at random."""
        if self._loads.is_stale(time.monotonic()):
            with suppress(Refused):  # without the right to ask for lengths, the choice is random
                self._monitor.refresh()
        return self._loads.choose(time.monotonic())

    # ---- work

    def claim(
        self,
        count: int = 1,
        *,
        block_ms: int | None = None,
        request: str | None = None,
        **options: Unpack[ClaimOptions],
    ) -> list[Task]:
        """Claim up to `count` tasks (1 to 1000) from any shards.

        `block_ms` waits for the first task; 0 waits without a limit.
        """
        return self._claims.claim(self._search(count, block_ms, request, options))

    def _search(self, count: int, block_ms: int | None, request: str | None, options: ClaimOptions) -> Search:
        """A claim with these options. They are checked here, because no shard may be asked at all."""
        commands.refuse_unknown(options, ClaimOptions)
        if not 1 <= count <= MOST:
            raise ValueError(f"count must be from 1 to {MOST}, not {count}")
        if options.get("tied"):
            raise ValueError("tied does not work with shards, which are claimed over a pool of connections")
        if options.get("gather_ms") is not None:
            raise ValueError(
                "gather_ms does not work with shards: each of them would wait for a batch of its own"
            )
        ends_at = None if block_ms is None else deadline(block_ms)
        return Search(count, block_ms is not None, ends_at, request or token(), options)

    def next(
        self,
        done: Iterable[Task | str],
        count: int = 1,
        *,
        result: Payload | None = None,
        retain_ms: int | None = None,
        block_ms: int | None = None,
        request: str | None = None,
        **options: Unpack[ClaimOptions],
    ) -> Next:
        """Finish tasks as `ack_many` does, then claim up to `count` others as `claim` does.

        With shards, these are separate commands: the next tasks may be on any shard.
        """
        search = self._search(count, block_ms, request, options)
        answers = self.ack_many(done, result=result, retain_ms=retain_ms)
        return Next(answers, self._claims.claim(search))

    # ---- inspect

    def infos(self) -> dict[str, Info | None]:
        """The `Info` of each shard by its key; None for shards that don't exist yet."""
        return {queue.name: queue.info() for queue in self.queues}

    def groups(self) -> list[Group]:
        """All groups of the queue, by name. Each is on one shard."""
        return sorted([group for queue in self.queues for group in queue.groups()], key=lambda one: one.name)

    def workers(self) -> list[WorkerView]:
        """The workers that hold leases or wait for tasks, by name: the first thousand of each shard, added up."""
        found: dict[str, WorkerView] = {}
        for queue in self.queues:
            for one in queue.workers():
                other = found.get(one.name)
                found[one.name] = together(one, other) if other else one
        return [found[name] for name in sorted(found)]

    # ---- admin

    def retry_dead(self, count: int = MOST, *, group: str | None = None) -> int:
        """Make at most `count` dead tasks ready, the oldest of each shard first. Returns how many were.

        With `group`, those of that group, which are on one shard.
        """
        if group is not None:
            key = self._key_of_group(group)
            return self.wire.run(commands.retry_dead(key, min(MOST, count), group))
        done = 0
        for queue in self.queues:
            if done < count:
                done += queue.retry_dead(min(MOST, count - done))
        return done

    def run_schedule(self, name: str) -> str:
        """Make a run of a schedule now, besides those that are planned. Returns the id of its task."""
        made = self.queues[0].run_schedule(name)
        return f"0/{made}"


def first_given(*names: str | None) -> str | None:
    """The first name that is not None."""
    return next((name for name in names if name is not None), None)


def together(one: WorkerView, other: WorkerView) -> WorkerView:
    """The figures of one worker on two shards, added up."""
    return replace(
        one,
        leases=one.leases + other.leases,
        oldest_lease_ms=max(one.oldest_lease_ms, other.oldest_lease_ms),
        blocked=one.blocked + other.blocked,
        places_free=one.places_free + other.places_free,
    )
