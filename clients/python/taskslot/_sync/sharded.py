# Made of taskslot/_async/sharded.py by make_sync.py: change it there.
"""A queue over many slots: the same methods, and which shard each of them is for."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count, islice
from typing import Any, Literal, TypeVar, Unpack

from .. import commands
from ..arguments import MOST, deadline, handle, is_over, several, token
from ..balance import Loads, Pace
from ..cancellation import cancellations, raise_if_cancelled
from ..commands import ClaimOptions, Command, Payload, PushOptions, TaskOptions
from ..errors import QueueBroken, Refused, WrongType
from ..replies import Group, Info, State, Task, TaskId, TaskView, WorkerView, pairs
from ..shards import names as shard_names
from ..shards import shard_of_name
from .base_queue import BaseQueue
from .pause import pause
from .queue import Queue
from .wire import Elsewhere, Wire

log = logging.getLogger("taskslot")

R = TypeVar("R")

# How often a worker asks who waits where: it tells how many look besides it, and which shard lacks a worker.
CENSUS_S = 1.0


class ShardedQueue(BaseQueue):
    """A logical queue cut into `shards` queues, spread over the slots of a cluster: `orders:{1bz}`, `orders:{fjl}` …

    It has the methods of `Queue`, except `shards`: the shards are its `keys`, and `infos` has the figures of each.
    Ids and handles begin with the number of their shard, `5/1795334211134-0`; `task.key` is the shard's key. A task
    with `group` goes to the shard of its group, else with `unique` to the shard of its token, else to the less loaded
    of two picked at random. Each shard has its own limits, settings, groups and tokens; `configure`, `pause` and
    `resume` go to all shards. Schedules are on shard 0.

    A claim that waits does so on a home shard, and looks at the others meanwhile: a task pushed anywhere is found
    within some tens of milliseconds, even where there are fewer workers than shards. It never leases more than `count`.
    """

    def __init__(self, client: Any, name: str, *, shards: int = 16, patience_ms: int = 10_000) -> None:
        super().__init__(name, shard_names(name, shards), Wire(client, patience_ms))
        self.queues = [Queue(client, key, wire=self.wire) for key in self.keys]
        self._numbers = {key: number for number, key in enumerate(self.keys)}
        self._loads = Loads.of(shards)
        self._pace = Pace()
        self._home = random.randrange(shards)
        self._census_at = 0.0
        self._faulty: set[int] = set()

    def _locate(self, task: Task | str) -> tuple[str, str]:
        number, slash, bare = handle(task).partition("/")
        if not slash or not number.isdigit() or int(number) >= len(self.keys):
            raise ValueError(
                f"an id or a handle of {self.name}, {len(self.keys)} shards, begins with its shard: 0/…"
            )
        return self.keys[int(number)], bare

    def _key_of_group(self, group: str) -> str:
        return self.keys[shard_of_name(group, len(self.keys))]

    def _named_here(self, key: str, view: TaskView) -> TaskView:
        return replace(view, id=f"{self._numbers[key]}/{view.id}")

    # ---- produce

    def push(self, payload: Payload, **options: Unpack[PushOptions]) -> TaskId:
        """Push a task: its id, with its shard before it.

        With a `request` of yours, and neither group nor unique, it goes to the shard of that token, so that the same
        call made again finds it.
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
                shard, made = self._push_anywhere(send)
            else:
                shard = shard_of_name(name, len(self.keys))
                made = self.wire.run(send(self.keys[shard]))
            self._loads.pushed(shard, len(part))
            ids += [f"{shard}/{task}" for task in made]
        return ids

    def _push_anywhere(self, command: Callable[[str], Command[R]]) -> tuple[int, R]:
        """Push to a shard whose node is there: which one, and the reply. A node that is away has others take its load.

        Where the connection broke while the push was under way, that waits for its node: it may have been done.
        """
        for _ in self.keys:
            shard, asked_at = self._less_loaded(), time.monotonic()
            try:
                return shard, self.wire.run_unless_away(command(self.keys[shard]))
            except Elsewhere as error:
                now = time.monotonic()
                for key in self.wire.gone_with(self.keys[shard], self.keys, error.reason):
                    self._loads.lost(self._numbers[key], now, now - asked_at)
                if all(self._loads.is_away(shard, now) for shard in range(len(self.keys))):
                    break
        shard = self._less_loaded()
        return shard, self.wire.run(command(self.keys[shard]))

    def _less_loaded(self) -> int:
        """The less loaded of two shards."""
        if self._loads.is_stale(time.monotonic()):
            with suppress(Refused):  # who may push, and not ask for lengths, spreads by chance
                self._look()
        return self._loads.choose(time.monotonic())

    def _look(self) -> bool:
        """See how many tasks are ready on each shard whose node is there: whether any was."""
        # Before the answer: other threads need not ask the same meanwhile.
        self._loads.seen_at = asked_at = time.monotonic()
        asked = self._loads.there(asked_at)
        found = self.wire.look_at_all([commands.length(self.keys[shard], "ready") for shard in asked])
        now = time.monotonic()
        self._loads.saw(dict(zip(asked, found, strict=True)), now, now - asked_at)
        return any(ready is not None for ready in found)

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

        `block_ms` waits so long for the first one, 0 for ever.
        """
        # Here, since there may be nothing to ask any shard.
        commands.refuse_unknown(options, ClaimOptions)
        if not 1 <= count <= MOST:
            raise ValueError(f"count must be 1 to {MOST}, not {count}")
        if options.get("tied"):
            raise ValueError("tied leases hang on one connection, and shards are claimed over a pool of them")
        request = request or token()
        ends_at = None if block_ms is None else deadline(block_ms)
        unanswered: set[int] = set()
        tasks = self._take(count, request, unanswered, options)
        must_look, before = block_ms is None, cancellations()
        while not tasks:
            raise_if_cancelled(before)
            if must_look or self._loads.is_worth_a_look(time.monotonic()):
                if not self._look_for_work():
                    # Nobody is there. That isn't an empty queue: so long as patience lasts, or the client's own error.
                    self.queues[self._home].len()
                tasks = self._take(count, request, unanswered, options)
                self._pace.looked(bool(tasks))
            if tasks or block_ms is None or is_over(ends_at):
                break
            tasks = self._wait_at_home(count, request, ends_at, unanswered, options)
            must_look = True  # however short the wait was: the pace is what 50 ms hang on
        return tasks

    def _wait_at_home(
        self, count: int, request: str, ends_at: float | None, unanswered: set[int], options: ClaimOptions
    ) -> list[Task]:
        """Wait for a span on the home shard, or on the next one whose node is there."""
        wait_ms = self._pace.next_ms()
        if ends_at is not None:
            wait_ms = max(1, min(wait_ms, round((ends_at - time.monotonic()) * 1000)))
        home = self._present_home()
        command = commands.claim([self.keys[home]], count, wait_ms, request, **options)
        asked_at = time.monotonic()
        try:
            return self._named(home, self.wire.look(command))
        except Exception as error:
            self._leave_alone(home, error, time.monotonic() - asked_at, unanswered)
            pause(wait_ms / 1000)
            return []

    def _present_home(self) -> int:
        now, number = time.monotonic(), len(self.keys)
        order = ((self._home + step) % number for step in range(number))
        return next((shard for shard in order if not self._loads.is_away(shard, now)), self._home)

    def _leave_alone(self, shard: int, error: Exception, took_s: float, unanswered: set[int]) -> None:
        """Leave a shard alone for a while, and where its node doesn't answer all that lie there.

        Its claim may have been done all the same: it is asked for again. So is a key with a trouble of its own left
        alone, unless all have one: the work on the others goes on. Other errors are raised.
        """
        if isinstance(error, (QueueBroken, WrongType)) and len(self._faulty | {shard}) < len(self.keys):
            if shard not in self._faulty:
                log.error("shard %s is left out: %s", self.keys[shard], error)
            self._faulty.add(shard)
            self._loads.lost(shard, time.monotonic())
            return
        if not self.wire.kind.is_away(error):
            raise error
        # One after another they would take the look's time-out each, and all the others wait meanwhile.
        for key in self.wire.gone_with(self.keys[shard], self.keys, error):
            self._loads.lost(self._numbers[key], time.monotonic(), took_s)
        unanswered.add(shard)

    def _take(self, count: int, request: str, unanswered: set[int], options: ClaimOptions) -> list[Task]:
        """Claim from the shards that are known to have tasks, the fuller the sooner, until there are enough."""
        ready, now = self._loads.ready, time.monotonic()
        full = [shard for shard in range(len(self.keys)) if ready[shard] > 0 or shard in unanswered]
        tasks: list[Task] = []
        for shard in self._loads.by_chance(full):
            left = count - len(tasks)
            if left <= 0 or self._loads.is_away(shard, now):
                continue
            command = commands.claim([self.keys[shard]], left, None, request, **options)
            asked_at = time.monotonic()
            try:
                found = self.wire.look(command)
            except Exception as error:
                if tasks and not self.wire.kind.is_away(error):
                    break  # it is raised when there is nothing else to be had
                self._leave_alone(shard, error, time.monotonic() - asked_at, unanswered)
                if tasks:
                    break  # their leases run while others are asked
                continue
            unanswered.discard(shard)
            self._faulty.discard(shard)
            self._loads.took(shard, len(found), left)
            tasks += self._named(shard, found)
        return tasks

    def _look_for_work(self) -> bool:
        if time.monotonic() - self._census_at < CENSUS_S:
            return self._look()
        self._census_at = time.monotonic()
        return self._census()

    def _census(self) -> bool:
        """See how many tasks and workers each shard has: move home to where fewer wait, look as often as needed."""
        asked_at = time.monotonic()
        asked = self._loads.there(asked_at)
        found = self.wire.look_at_all([told(self.keys[shard]) for shard in asked])
        infos, now = dict(zip(asked, found, strict=True)), time.monotonic()
        self._loads.saw({shard: one and one[0] for shard, one in infos.items()}, now, now - asked_at)
        waiting = {shard: one[1] for shard, one in infos.items() if one is not None}
        self._pace.idle = 1 + sum(waiting.values())
        fewest = min(waiting.values(), default=0)
        if waiting.get(self._home, 0) > fewest + 1:
            self._home = random.choice([shard for shard, here in waiting.items() if here == fewest])
        return bool(waiting)

    def _named(self, shard: int, tasks: list[Task]) -> list[Task]:
        return [replace(task, handle=f"{shard}/{task.handle}") for task in tasks]

    # ---- inspect

    def infos(self) -> dict[str, Info | None]:
        """What each shard tells, by its key."""
        return {queue.name: queue.info() for queue in self.queues}

    def groups(self) -> list[Group]:
        """All groups that are known, by name, each of the one shard that has it."""
        return sorted([group for queue in self.queues for group in queue.groups()], key=lambda one: one.name)

    def workers(self) -> list[WorkerView]:
        """Who holds leases and who waits, by name: of each shard the first thousand, added up."""
        found: dict[str, WorkerView] = {}
        for queue in self.queues:
            for one in queue.workers():
                other = found.get(one.name)
                found[one.name] = together(one, other) if other else one
        return [found[name] for name in sorted(found)]

    # ---- admin

    def retry_dead(self, count: int = MOST) -> int:
        """Make dead tasks ready, the oldest of each shard first, at most so many: how many are."""
        done = 0
        for queue in self.queues:
            if done < count:
                done += queue.retry_dead(min(MOST, count - done))
        return done

    def purge(self, state: State | Literal["all"], count: int = MOST) -> int:
        """Remove tasks of a state, or all but the leased: how many were, at most `count`. Call it until it says 0."""
        done = 0
        for queue in self.queues:
            if done < count:
                done += queue.purge(state, count - done)
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


def told(key: str) -> Command[tuple[int, int]]:
    """TASK.INFO, of which only two fields are read: all of them, of each shard, would take long."""

    def read(reply: Any) -> tuple[int, int]:
        facts = dict(pairs(reply or ()))
        return int(facts.get("ready", 0)), int(facts.get("blocked-workers", 0))

    return Command(commands.info(key).words, read)
