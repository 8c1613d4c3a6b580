# Made of taskslot/_async/queue.py by make_sync.py: change it there.
"""A queue: one key, one method for each command."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar, Unpack

from .. import commands
from ..cancellation import cancellations, raise_if_cancelled
from ..commands import ClaimOptions, Direction, Payload, PushOptions, ScheduleOptions, TaskOptions, Word
from ..replies import (
    Answer,
    Group,
    Info,
    Result,
    Schedule,
    Settings,
    State,
    Task,
    TaskId,
    TaskView,
    WorkerView,
)
from .wire import Wire, slice_ms

Item = TypeVar("Item")

# The most handles, ids or payloads that one command takes.
MOST = 1000


class Queue:
    """The queue in a key: `Queue(client, "mail")`.

    `client` is a client of redis-py (5 or later) or valkey-py, standalone, of Sentinel or of Cluster. What waits in
    the server has connections of its own, made like the client's; all else goes over the client. Spans are
    milliseconds. A push and a claim carry a `REQUEST` token, so that a client that sends them again after a broken
    connection pushes nothing twice and leases nothing twice. While a server is away, calls go on trying for
    `patience_ms` and raise the client's own error then. Queues that are given the `wire` of another share its
    connections. A queue object may be shared: by threads, and an asyncio one by
    the tasks of its event loop.

    Raises `LeaseLost`, `QueueFull`, `Paused` and the like (`taskslot.errors`). `decode_responses` of the client is
    of no effect: payloads and results are bytes.
    """

    def __init__(
        self, client: Any, name: str, *, patience_ms: int = 10_000, wire: Wire | None = None
    ) -> None:
        self.name = name
        self.wire = wire or Wire(client, patience_ms)

    def __enter__(self) -> Queue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that this queue made for itself; the client stays open."""
        self.wire.close()

    # ---- produce

    def push(self, payload: Payload, **options: Unpack[PushOptions]) -> TaskId:
        """Push a task: its id. With `unique`, `id.is_new` tells whether it is new or was found."""
        options["request"] = options.get("request") or token()
        return self.wire.run(commands.push(self.name, payload, **options))

    def push_many(
        self, payloads: Iterable[Payload], *, request: str | None = None, **options: Unpack[TaskOptions]
    ) -> list[str]:
        """Push tasks with the same options: their ids. A thousand at a time, and each thousand all or none.

        The same payloads again with the same `request` within 5 minutes push nothing and get the same ids.
        """
        ids: list[str] = []
        request = request or token()
        for number, part in enumerate(parts(several(payloads))):
            made = self.wire.run(commands.push_many(self.name, part, f"{request}.{number}", **options))
            ids += made
        return ids

    # ---- work

    def claim(
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
            return self.wire.run(commands.claim(keys, count, None, request, **options))
        ends_at, before = deadline(block_ms), cancellations()
        while True:
            raise_if_cancelled(before)
            wait_ms = slice_ms(ends_at)
            command = commands.claim(keys, count, wait_ms, request, **options)
            tasks = self.wire.wait(command)
            if tasks or is_over(ends_at):
                return tasks

    def ack(self, task: Task | str, *, result: Payload | None = None, retain_ms: int | None = None) -> bool:
        """Finish a task: True; False if there is nothing left to finish (so an ack sent twice is harmless).

        Counts also after the deadline, until the task is claimed again: then it raises `LeaseLost`.
        """
        command = commands.ack(key(task, self.name), handle(task), result, retain_ms)
        return bool(self.wire.run(command))

    def requeue(self, task: Task | str, *, delay_ms: int | None = None, back: bool = False) -> bool:
        """Give a task back, to its place, later, or behind the others; it counts nothing against the task."""
        command = commands.requeue(key(task, self.name), handle(task), delay_ms, back)
        return bool(self.wire.run(command))

    def extend(
        self, task: Task | str, *, lease_ms: int | None = None, progress: Payload | None = None
    ) -> int:
        """Keep the lease for its own length again, or `lease_ms`: the new deadline; 0 if the task is over.

        Raises `LeaseLost`, or `CancelAsked` where somebody cancelled the task.
        """
        return int(self.wire.run(commands.extend(key(task, self.name), handle(task), lease_ms, progress)))

    def fail(
        self, task: Task | str, error: str | None = None, *, delay_ms: int | None = None, dead: bool = False
    ) -> int:
        """Say that the attempt failed: the ms until the task is ready again, -1 if it is dead now, 0 if it is over."""
        return int(self.wire.run(commands.fail(key(task, self.name), handle(task), error, delay_ms, dead)))

    def ack_many(
        self, tasks: Iterable[Task | str], *, result: Payload | None = None, retain_ms: int | None = None
    ) -> list[int]:
        """Finish tasks in one command for each key and thousand: for each in order an `Answer`."""
        return self._answer(tasks, lambda of, handles: commands.ack(of, handles, result, retain_ms))

    def requeue_many(
        self, tasks: Iterable[Task | str], *, delay_ms: int | None = None, back: bool = False
    ) -> list[int]:
        """Give tasks back: for each in order an `Answer`."""
        return self._answer(tasks, lambda of, handles: commands.requeue(of, handles, delay_ms, back))

    def extend_many(
        self, tasks: Iterable[Task | str], *, lease_ms: int | None = None, progress: Payload | None = None
    ) -> list[int]:
        """Keep leases: for each in order the new deadline, or an `Answer` that is 0 or below."""
        return self._answer(tasks, lambda of, handles: commands.extend(of, handles, lease_ms, progress))

    def fail_many(
        self,
        tasks: Iterable[Task | str],
        error: str | None = None,
        *,
        delay_ms: int | None = None,
        dead: bool = False,
    ) -> list[int]:
        """Say that attempts failed: for each in order the ms until it is ready, or an `Answer` that is 0 or below."""
        return self._answer(tasks, lambda of, handles: commands.fail(of, handles, error, delay_ms, dead))

    def _answer(self, tasks: Iterable[Task | str], command: Any) -> list[int]:
        tasks = several(tasks)
        places: dict[str, list[int]] = {}
        for place, task in enumerate(tasks):
            places.setdefault(key(task, self.name), []).append(place)
        answers = [0] * len(tasks)
        for of, here in places.items():
            for part in parts(here):
                said = self.wire.run(command(of, [handle(tasks[place]) for place in part]))
                for place, one in zip(part, said, strict=True):
                    answers[place] = named(one)
        return answers

    # ---- inspect

    def result(self, task: Task | str, *, block_ms: int | None = None) -> Result | None:
        """How a task ended; None if it isn't over. `block_ms` waits so long for its end, 0 for ever.

        Raises `UnknownTask` where there is no such task, or it is over and was not kept.
        """
        one = identity(task)
        if block_ms is None:
            return self.wire.run(commands.result(self.name, one, None))
        ends_at, before = deadline(block_ms), cancellations()
        while True:
            raise_if_cancelled(before)
            ended = self.wire.watch(lambda ms: commands.result(self.name, one, ms), ends_at)
            if ended is not None or is_over(ends_at):
                return ended

    def get(self, task: Task | str) -> TaskView | None:
        """All that is known of a task, by its id or its handle; None if it is gone."""
        return self.wire.run(commands.get(key(task, self.name), handle(task)))

    def tasks(
        self,
        state: State,
        *,
        group: str | None = None,
        worker: str | None = None,
        payloads: bool = False,
        page: int = 100,
        max_bytes: int | None = None,
    ) -> Iterator[TaskView]:
        """The tasks in a state, page by page: ready in the order of claims, delayed by due time, others by age.

        A page holds at most so many tasks and bytes, by default 16 MiB, and at least one task.
        """
        cursor = "0"
        while True:
            command = commands.page(
                self.name,
                state,
                cursor,
                page,
                group=group,
                worker=worker,
                payloads=payloads,
                max_bytes=max_bytes,
            )
            cursor, found = self.wire.run(command)
            for task in found:
                yield task
            if cursor == "0":
                return

    def len(self, state: State | None = None) -> int:
        """How many tasks are ready, delayed or leased, or in one state."""
        return self.wire.run(commands.length(self.name, state))

    def info(self) -> Info | None:
        """Counts, totals, rates, times and load; None where there is no queue yet."""
        return self.wire.run(commands.info(self.name))

    def settings(self) -> Settings | None:
        """The settings; None where there is no queue yet."""
        return self.wire.run(commands.settings(self.name))

    def groups(self) -> list[Group]:
        """All groups that are known, by name."""
        found: list[Group] = []
        last: Word | None = None
        while True:
            more, last = self.wire.run(commands.groups(self.name, last))
            found += more
            if len(more) < MOST:
                return found

    def workers(self) -> list[WorkerView]:
        """Who holds leases and who waits, the first thousand by name."""
        return self.wire.run(commands.workers(self.name))

    def schedules(self) -> list[Schedule]:
        """The schedules, by name."""
        return self.wire.run(commands.schedules(self.name))

    def shards(self, number: int) -> list[str]:
        """The keys of so many shards of this queue, as the server names them."""
        return self.wire.run(commands.shards(self.name, number))

    # ---- admin

    def cancel(self, task: Task | str) -> Literal["removed", "asked"] | None:
        """Remove a waiting task, or ask the worker of a leased one to stop; None where there is nothing to cancel."""
        return cancelled((self.wire.run(commands.cancel(self.name, [identity(task)])))[0])

    def cancel_many(self, tasks: Iterable[Task | str]) -> list[Literal["removed", "asked"] | None]:
        """The same for many, in order."""
        found: list[int] = []
        for part in parts([identity(task) for task in several(tasks)]):
            said = self.wire.run(commands.cancel(self.name, part))
            found += said
        return [cancelled(one) for one in found]

    def retry(self, tasks: Iterable[Task | str]) -> int:
        """Make dead or delayed tasks ready, behind the others: how many are."""
        done = 0
        for part in parts([identity(task) for task in several(tasks)]):
            done += self.wire.run(commands.retry(self.name, part))
        return done

    def retry_dead(self, count: int = MOST) -> int:
        """Make the oldest dead tasks ready, at most so many (1 to 1000): how many are."""
        return self.wire.run(commands.retry_dead(self.name, count))

    def configure(self, **values: Payload | int) -> None:
        """Set settings by their names, with _ for -: `configure(lease=60_000, max_len=10_000)`."""
        self.wire.run(commands.configure(self.name, values))

    def reset(self, *names: str) -> None:
        """Put settings back to their defaults, all of them if none is named."""
        self.wire.run(commands.reset(self.name, names))

    def set_group(
        self,
        name: str,
        *,
        weight: int | None = None,
        concurrency: int | None = None,
        rate: int | None = None,
        rate_per_ms: int | None = None,
        ordered: bool | None = None,
    ) -> None:
        """Set a group's share and limits; what isn't given stays as it was."""
        self.wire.run(commands.set_group(self.name, name, weight, concurrency, rate, rate_per_ms, ordered))

    def forget_group(self, name: str) -> bool:
        """Forget what was set for a group: whether anything was."""
        return self.wire.run(commands.forget_group(self.name, name))

    def pause(self, direction: Direction = "out", *, for_ms: int | None = None) -> None:
        """Stop claims ("out"), pushes ("in") or both ("all"), for a time or until `resume`."""
        self.wire.run(commands.pause(self.name, direction, for_ms))

    def resume(self, direction: Direction = "out") -> None:
        """Open what `pause` closed."""
        self.wire.run(commands.resume(self.name, direction))

    def purge(self, state: State | Literal["all"], count: int = MOST) -> int:
        """Remove tasks of a state, or all but the leased: how many were, at most `count`. Call it until it says 0."""
        return self.wire.run(commands.purge(self.name, state, count))

    def schedule(
        self,
        name: str,
        payload: Payload,
        *,
        every_ms: int | None = None,
        cron: str | None = None,
        tz: str | None = None,
        catchup: Literal["none", "one"] | None = None,
        **options: Unpack[ScheduleOptions],
    ) -> bool:
        """Set a schedule, at an interval or by a cron expression: True if it is new, False in place of another."""
        return self.wire.run(
            commands.schedule(self.name, name, payload, every_ms, cron, tz, catchup, **options)
        )

    def unschedule(self, name: str) -> bool:
        """Remove a schedule: whether there was one."""
        return self.wire.run(commands.unschedule(self.name, name))


def token() -> str:
    """A new REQUEST token."""
    return os.urandom(9).hex()


def key(task: Task | str, default: str) -> str:
    """The key that a task was claimed from; of a bare handle the queue's."""
    return task.key if isinstance(task, Task) else default


def handle(task: Task | str) -> str:
    """The handle of a task, or what was given in its place. Raises TypeError for what is not one task."""
    if isinstance(task, Task):
        return task.handle
    if not isinstance(task, str):
        # For several the server has an answer each, and this method has one for all.
        what = f"one task is needed, its handle or its id, not {type(task).__name__}"
        raise TypeError(f"{what}: ack_many and the like take several")
    return task


def identity(task: Task | str) -> str:
    """The id of a task, or what was given in its place."""
    return task.id if isinstance(task, Task) else handle(task)


def several(items: Iterable[Item]) -> list[Item]:
    """Payloads, tasks or ids, and not one: the letters of a text could be taken for many."""
    if isinstance(items, Task | str | bytes | bytearray | memoryview):
        raise TypeError(f"a list is needed, not {type(items).__name__}: this method takes several")
    return list(items)


def parts(items: Sequence[Any]) -> list[Sequence[Any]]:
    """What one command takes at a time."""
    return [items[start : start + MOST] for start in range(0, len(items), MOST)]


def named(answer: int) -> int:
    """An answer that is no number of its own, by its name."""
    return Answer(answer) if answer <= 1 else answer


def cancelled(answer: int) -> Literal["removed", "asked"] | None:
    """What TASK.CANCEL says."""
    return "removed" if answer == 1 else "asked" if answer == 2 else None


def deadline(block_ms: int) -> float | None:
    """When a wait ends, as a monotonic time; None for never. Raises ValueError for one that is over already."""
    if block_ms < 0:
        raise ValueError("block_ms must not be negative: 0 waits for ever, None not at all")
    return time.monotonic() + block_ms / 1000 if block_ms else None


def is_over(ends_at: float | None) -> bool:
    """Whether a wait has had its time."""
    return ends_at is not None and time.monotonic() >= ends_at
