# Generated from taskslot/_async/shard_claims.py by make_sync.py: make changes there.
"""Claims from shards: where a worker waits, when it looks at the other shards, and from which it claims."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, field, replace

from .. import commands
from ..arguments import is_over
from ..balance import Pace
from ..cancellation import cancellations, raise_if_cancelled
from ..commands import ClaimOptions, Command
from ..errors import QueueBroken, WrongType
from ..replies import Meta, Task
from .pause import pause
from .shard_monitor import ShardMonitor

log = logging.getLogger("taskslot")

# How often a worker asks how many claims wait on each shard. It learns how many others look, and where workers lack.
SURVEY_S = 1.0


@dataclass
class Search:
    """One call of `claim`: how many tasks it wants, and until when."""

    count: int
    is_blocking: bool
    ends_at: float | None  # a monotonic time; None is no limit
    request: str
    options: ClaimOptions
    # Shards whose reply was lost. The claim may have been executed, so they are asked again with the same `request`.
    unanswered: set[int] = field(default_factory=set)

    def command(self, key: str, count: int, wait_ms: int | None) -> Command[list[Task]]:
        """The command that claims from a shard."""
        return commands.claim([key], count, wait_ms, self.request, **self.options)


class ShardClaims:
    """Claims from the shards for one client.

    A claim that waits does so on `home`, a shard where few others wait, for some tens of milliseconds at a time
    (`pace`). In between it looks at the other shards, and prefers the fuller ones.
    """

    def __init__(self, monitor: ShardMonitor) -> None:
        self.monitor = monitor
        self.wire, self.keys, self.loads = monitor.wire, monitor.keys, monitor.loads
        self.pace = Pace()
        self.home = random.randrange(len(self.keys))
        self._surveyed_at = 0.0
        # Shards with a fault of their own, such as a key of another type. Each is logged once.
        self._faulty: set[int] = set()

    def claim(self, search: Search) -> list[Task]:
        """The claimed tasks; an empty list at the end of the wait."""
        tasks = self._take(search)
        must_look, before = not search.is_blocking, cancellations()
        while not tasks:
            raise_if_cancelled(before)
            if must_look or self.loads.is_worth_a_look(time.monotonic()):
                tasks = self._look_and_take(search)
            if tasks or not search.is_blocking or is_over(search.ends_at):
                break
            tasks = self._wait_at_home(search)
            must_look = True  # however short the wait was: the pace ensures that tasks are found within 50 ms
        return tasks

    # ---- shards that are known to have tasks

    def _take(self, search: Search) -> list[Task]:
        """Claim from the shards that are known to have tasks, preferring fuller ones, until there are enough."""
        ready, now = self.loads.ready, time.monotonic()
        full = [shard for shard in range(len(self.keys)) if ready[shard] > 0 or shard in search.unanswered]
        tasks: list[Task] = []
        for shard in self.loads.by_chance(full):
            left = search.count - len(tasks)
            if left <= 0 or self.loads.is_away(shard, now):
                continue
            asked_at = time.monotonic()
            try:
                found = self.wire.look(search.command(self.keys[shard], left, None))
            except Exception as error:
                if tasks and not self.wire.kind.is_away(error):
                    break  # return the tasks; the error comes again with the next claim
                self._leave_alone(search, shard, error, time.monotonic() - asked_at)
                if tasks:
                    break  # return the tasks, since their leases are running
                continue
            search.unanswered.discard(shard)
            self._faulty.discard(shard)
            self.loads.took(shard, len(found), left)
            tasks += with_shard(shard, found)
        return tasks

    def _leave_alone(self, search: Search, shard: int, error: Exception, took_s: float) -> None:
        """Skip a shard for a while if its server is away. Other errors are raised.

        A shard with a fault of its own is skipped too, unless all shards have one, so that work on the others goes on.
        """
        if isinstance(error, (QueueBroken, WrongType)) and len(self._faulty | {shard}) < len(self.keys):
            if shard not in self._faulty:
                log.error("shard %s is skipped: %s", self.keys[shard], error)
            self._faulty.add(shard)
            self.loads.lost(shard, time.monotonic())
            return
        if not self.wire.kind.is_away(error):
            raise error
        self.monitor.lost(shard, error, took_s)
        search.unanswered.add(shard)

    # ---- a look at all shards

    def _look_and_take(self, search: Search) -> list[Task]:
        if not self._look():
            # No node replies. That is not an empty queue: keep trying for `patience_ms`, then raise the client's error.
            self.wire.run(commands.length(self.keys[self.home], None))
        tasks = self._take(search)
        self.pace.looked(bool(tasks))
        return tasks

    def _look(self) -> bool:
        """Look where tasks are ready, and now and then where others wait. Returns False if no node replied."""
        if time.monotonic() - self._surveyed_at < SURVEY_S:
            return self.monitor.refresh()
        self._surveyed_at = time.monotonic()
        waiting = self.monitor.survey()
        self._settle(waiting)
        return bool(waiting)

    def _settle(self, waiting: dict[int, int]) -> None:
        """Adapt the pace to the number of waiting claims, and move home to a shard where fewer wait."""
        self.pace.idle = 1 + sum(waiting.values())
        fewest = min(waiting.values(), default=0)
        if waiting.get(self.home, 0) > fewest + 1:
            self.home = random.choice([shard for shard, here in waiting.items() if here == fewest])

    # ---- the wait

    def _wait_at_home(self, search: Search) -> list[Task]:
        """Wait for a while on the home shard, or on the next one whose node is not away."""
        wait_ms = self.pace.next_ms()
        if search.ends_at is not None:
            wait_ms = max(1, min(wait_ms, round((search.ends_at - time.monotonic()) * 1000)))
        home = self._present_home()
        asked_at = time.monotonic()
        try:
            return with_shard(home, self.wire.look(search.command(self.keys[home], search.count, wait_ms)))
        except Exception as error:
            self._leave_alone(search, home, error, time.monotonic() - asked_at)
            pause(wait_ms / 1000)
            return []

    def _present_home(self) -> int:
        now, number = time.monotonic(), len(self.keys)
        order = ((self.home + step) % number for step in range(number))
        return next((shard for shard in order if not self.loads.is_away(shard, now)), self.home)


def with_shard(shard: int, tasks: list[Task]) -> list[Task]:
    """The tasks with the number of their shard before their handles, and before the ids that they waited for."""
    return [
        replace(task, handle=f"{shard}/{task.handle}", meta=task.meta and with_shard_after(shard, task.meta))
        for task in tasks
    ]


def with_shard_after(shard: int, meta: Meta) -> Meta:
    """The meta of a task of a shard."""
    return replace(meta, after=tuple(f"{shard}/{one}" for one in meta.after)) if meta.after else meta
