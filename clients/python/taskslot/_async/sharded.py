"""A queue over many slots: the same methods, and which shard each of them is for."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count, islice
from types import TracebackType
from typing import Any, Literal, TypeVar, Unpack

from .. import commands
from ..aggregate import total
from ..balance import Loads, Pace
from ..cancellation import cancellations, raise_if_cancelled
from ..commands import (
    ClaimOptions,
    Command,
    Direction,
    Payload,
    PushOptions,
    ScheduleOptions,
    TaskOptions,
)
from ..errors import QueueBroken, Refused, WrongType
from ..replies import (
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
    pairs,
)
from ..shards import names as shard_names
from ..shards import shard_of_name
from .pause import pause
from .queue import MOST, AsyncQueue, deadline, handle, identity, is_over, several, token
from .wire import AsyncWire, Elsewhere

log = logging.getLogger("taskslot")

R = TypeVar("R")

# How often a worker asks who waits where: it tells how many look besides it, and which shard lacks a worker.
CENSUS_S = 1.0


class AsyncShardedQueue:
    """A logical queue cut into `shards` queues, spread over the slots of a cluster: `orders:{1bz}`, `orders:{fjl}` …

    The same methods as `AsyncQueue`, but for `shards`, which are its `keys` here, and `infos`, which tells of each. Ids
    and handles have their shard's number before them, `5/1795334211134-0`, so
    that they find their way back; `task.key` is the shard's key. A task with `group` goes to the shard of its group,
    else with `unique` to the shard of its token, else to the less loaded of two picked at random. Limits, settings,
    groups and tokens are each shard's own; `configure`, `pause` and `resume` tell all shards.
    Schedules live on shard 0.

    A claim that waits does so on a home shard, and looks at the others meanwhile: a task pushed anywhere is found
    within some tens of milliseconds, though there be fewer workers than shards. It never leases more than `count`.
    """

    def __init__(self, client: Any, name: str, *, shards: int = 16, patience_ms: int = 10_000) -> None:
        self.name = name
        self.wire = AsyncWire(client, patience_ms)
        self.keys = shard_names(name, shards)
        self.queues = [AsyncQueue(client, key, wire=self.wire) for key in self.keys]
        self._numbers = {key: number for number, key in enumerate(self.keys)}
        self._loads = Loads.of(shards)
        self._pace = Pace()
        self._home = random.randrange(shards)
        self._census_at = 0.0
        self._faulty: set[int] = set()

    async def __aenter__(self) -> AsyncShardedQueue:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections that this queue made for itself; the client stays open."""
        await self.wire.close()

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
                for key in self.wire.gone_with(self.keys[shard], self.keys, error.reason):
                    self._loads.lost(self._numbers[key], now, now - asked_at)
                if all(self._loads.is_away(shard, now) for shard in range(len(self.keys))):
                    break
        shard = await self._less_loaded()
        return shard, await self.wire.run(command(self.keys[shard]))

    async def _less_loaded(self) -> int:
        """The less loaded of two shards."""
        if self._loads.is_stale(time.monotonic()):
            with suppress(Refused):  # who may push, and not ask for lengths, spreads by chance
                await self._look()
        return self._loads.choose(time.monotonic())

    async def _look(self) -> bool:
        """See how many tasks are ready on each shard whose node is there: whether any was."""
        # Before the answer: other threads need not ask the same meanwhile.
        self._loads.seen_at = asked_at = time.monotonic()
        asked = self._loads.there(asked_at)
        found = await self.wire.look_at_all([commands.length(self.keys[shard], "ready") for shard in asked])
        now = time.monotonic()
        self._loads.saw(dict(zip(asked, found, strict=True)), now, now - asked_at)
        return any(ready is not None for ready in found)

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
            raise ValueError(f"count must be 1 to {MOST}, not {count}")
        if options.get("tied"):
            raise ValueError("tied leases hang on one connection, and shards are claimed over a pool of them")
        request = request or token()
        ends_at = None if block_ms is None else deadline(block_ms)
        unanswered: set[int] = set()
        tasks = await self._take(count, request, unanswered, options)
        must_look, before = block_ms is None, cancellations()
        while not tasks:
            raise_if_cancelled(before)
            if must_look or self._loads.is_worth_a_look(time.monotonic()):
                if not await self._look_for_work():
                    # Nobody is there. That isn't an empty queue: so long as patience lasts, or the client's own error.
                    await self.queues[self._home].len()
                tasks = await self._take(count, request, unanswered, options)
                self._pace.looked(bool(tasks))
            if tasks or block_ms is None or is_over(ends_at):
                break
            tasks = await self._wait_at_home(count, request, ends_at, unanswered, options)
            must_look = True  # however short the wait was: the pace is what 50 ms hang on
        return tasks

    async def _wait_at_home(
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
            return self._named(home, await self.wire.look(command))
        except Exception as error:
            self._leave_alone(home, error, time.monotonic() - asked_at, unanswered)
            await pause(wait_ms / 1000)
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

    async def _take(
        self, count: int, request: str, unanswered: set[int], options: ClaimOptions
    ) -> list[Task]:
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
                found = await self.wire.look(command)
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

    async def _look_for_work(self) -> bool:
        if time.monotonic() - self._census_at < CENSUS_S:
            return await self._look()
        self._census_at = time.monotonic()
        return await self._census()

    async def _census(self) -> bool:
        """See how many tasks and workers each shard has: move home to where fewer wait, look as often as needed."""
        asked_at = time.monotonic()
        asked = self._loads.there(asked_at)
        found = await self.wire.look_at_all([told(self.keys[shard]) for shard in asked])
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

    async def ack(
        self, task: Task | str, *, result: Payload | None = None, retain_ms: int | None = None
    ) -> bool:
        """Finish a task: True; False if there is nothing left to finish. Raises `LeaseLost`."""
        queue, bare = self._of(task)
        return await queue.ack(bare, result=result, retain_ms=retain_ms)

    async def requeue(self, task: Task | str, *, delay_ms: int | None = None, back: bool = False) -> bool:
        """Give a task back to its shard, to its place, later, or behind the others."""
        queue, bare = self._of(task)
        return await queue.requeue(bare, delay_ms=delay_ms, back=back)

    async def extend(
        self, task: Task | str, *, lease_ms: int | None = None, progress: Payload | None = None
    ) -> int:
        """Keep the lease: the new deadline, 0 if the task is over. Raises `LeaseLost` or `CancelAsked`."""
        queue, bare = self._of(task)
        return await queue.extend(bare, lease_ms=lease_ms, progress=progress)

    async def fail(
        self, task: Task | str, error: str | None = None, *, delay_ms: int | None = None, dead: bool = False
    ) -> int:
        """Say that the attempt failed: the ms until the task is ready again, -1 if it is dead now, 0 if it is over."""
        queue, bare = self._of(task)
        return await queue.fail(bare, error, delay_ms=delay_ms, dead=dead)

    async def ack_many(
        self, tasks: Iterable[Task | str], *, result: Payload | None = None, retain_ms: int | None = None
    ) -> list[int]:
        """Finish tasks, one command for each shard and thousand: for each in order an `Answer`."""
        return await self.queues[0].ack_many(self._bare(tasks), result=result, retain_ms=retain_ms)

    async def requeue_many(
        self, tasks: Iterable[Task | str], *, delay_ms: int | None = None, back: bool = False
    ) -> list[int]:
        """Give tasks back: for each in order an `Answer`."""
        return await self.queues[0].requeue_many(self._bare(tasks), delay_ms=delay_ms, back=back)

    async def extend_many(
        self, tasks: Iterable[Task | str], *, lease_ms: int | None = None, progress: Payload | None = None
    ) -> list[int]:
        """Keep leases: for each in order the new deadline, or an `Answer` that is 0 or below."""
        return await self.queues[0].extend_many(self._bare(tasks), lease_ms=lease_ms, progress=progress)

    async def fail_many(
        self,
        tasks: Iterable[Task | str],
        error: str | None = None,
        *,
        delay_ms: int | None = None,
        dead: bool = False,
    ) -> list[int]:
        """Say that attempts failed: for each in order the ms until it is ready, or an `Answer` that is 0 or below."""
        return await self.queues[0].fail_many(self._bare(tasks), error, delay_ms=delay_ms, dead=dead)

    def _of(self, task: Task | str) -> tuple[AsyncQueue, str]:
        """The shard of a task, an id or a handle, and its name there."""
        number, slash, bare = handle(task).partition("/")
        if not slash or not number.isdigit() or int(number) >= len(self.queues):
            raise ValueError(
                f"an id or a handle of {self.name}, {len(self.queues)} shards, begins with its shard: 0/…"
            )
        return self.queues[int(number)], bare

    def _bare(self, tasks: Iterable[Task | str]) -> list[Task | str]:
        """Tasks as their shards know them."""
        found: list[Task | str] = []
        for task in several(tasks):
            queue, bare = self._of(task)
            found.append(Task(queue.name, bare, b"", 0))
        return found

    # ---- inspect

    async def result(self, task: Task | str, *, block_ms: int | None = None) -> Result | None:
        """How a task ended; None if it isn't over. `block_ms` waits so long for its end. Raises `UnknownTask`."""
        queue, bare = self._of(identity(task))
        return await queue.result(bare, block_ms=block_ms)

    async def get(self, task: Task | str) -> TaskView | None:
        """All that is known of a task; None if it is gone."""
        queue, bare = self._of(task)
        view = await queue.get(bare)
        return view and replace(view, id=f"{self._numbers[queue.name]}/{view.id}")

    async def tasks(
        self,
        state: State,
        *,
        group: str | None = None,
        worker: str | None = None,
        payloads: bool = False,
        page: int = 100,
        max_bytes: int | None = None,
    ) -> AsyncIterator[TaskView]:
        """The tasks in a state, shard after shard; in order within a shard."""
        for number, queue in enumerate(self.queues):
            views = queue.tasks(
                state, group=group, worker=worker, payloads=payloads, page=page, max_bytes=max_bytes
            )
            async for view in views:
                yield replace(view, id=f"{number}/{view.id}")

    async def len(self, state: State | None = None) -> int:
        """How many tasks are ready, delayed or leased, or in one state, on all shards."""
        return sum([await queue.len(state) for queue in self.queues])

    async def infos(self) -> dict[str, Info | None]:
        """What each shard tells, by its key."""
        return {queue.name: await queue.info() for queue in self.queues}

    async def info(self) -> Info | None:
        """What all shards tell together (`aggregate.total`); None where none of them exists yet."""
        return total([info for info in (await self.infos()).values() if info is not None])

    async def settings(self) -> Settings | None:
        """The settings of the first shard that exists, as of the others unless somebody set them apart."""
        for queue in self.queues:
            if (found := await queue.settings()) is not None:
                return found
        return None

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

    async def schedules(self) -> list[Schedule]:
        """The schedules, by name; they live on shard 0."""
        return await self.queues[0].schedules()

    # ---- admin

    async def cancel(self, task: Task | str) -> Literal["removed", "asked"] | None:
        """Remove a waiting task, or ask the worker of a leased one to stop; None where there is nothing to cancel."""
        queue, bare = self._of(identity(task))
        return await queue.cancel(bare)

    async def cancel_many(self, tasks: Iterable[Task | str]) -> list[Literal["removed", "asked"] | None]:
        """The same for many, in order."""
        return [await self.cancel(task) for task in several(tasks)]

    async def retry(self, tasks: Iterable[Task | str]) -> int:
        """Make dead or delayed tasks ready, behind the others: how many are."""
        by_shard: dict[str, list[str]] = {}
        for task in several(tasks):
            queue, bare = self._of(identity(task))
            by_shard.setdefault(queue.name, []).append(bare)
        return sum([await self.queues[self._numbers[key]].retry(ids) for key, ids in by_shard.items()])

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

    async def configure(self, **values: Payload | int) -> None:
        """Set settings on every shard. Limits hold for each shard alone."""
        for queue in self.queues:
            await queue.configure(**values)

    async def reset(self, *names: str) -> None:
        """Put settings of every shard back to their defaults, all of them if none is named."""
        for queue in self.queues:
            await queue.reset(*names)

    async def set_group(
        self,
        name: str,
        *,
        weight: int | None = None,
        concurrency: int | None = None,
        rate: int | None = None,
        rate_per_ms: int | None = None,
        ordered: bool | None = None,
    ) -> None:
        """Set a group's share and limits, on the one shard that has the group."""
        queue = self.queues[shard_of_name(name, len(self.queues))]
        await queue.set_group(
            name, weight=weight, concurrency=concurrency, rate=rate, rate_per_ms=rate_per_ms, ordered=ordered
        )

    async def forget_group(self, name: str) -> bool:
        """Forget what was set for a group: whether anything was."""
        return await self.queues[shard_of_name(name, len(self.queues))].forget_group(name)

    async def pause(self, direction: Direction = "out", *, for_ms: int | None = None) -> None:
        """Stop claims ("out"), pushes ("in") or both ("all") on every shard, for a time or until `resume`."""
        for queue in self.queues:
            await queue.pause(direction, for_ms=for_ms)

    async def resume(self, direction: Direction = "out") -> None:
        """Open on every shard what `pause` closed."""
        for queue in self.queues:
            await queue.resume(direction)

    async def schedule(
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
        """Set a schedule, which pushes to shard 0, whatever its group: True if it is new."""
        return await self.queues[0].schedule(
            name, payload, every_ms=every_ms, cron=cron, tz=tz, catchup=catchup, **options
        )

    async def unschedule(self, name: str) -> bool:
        """Remove a schedule: whether there was one."""
        return await self.queues[0].unschedule(name)


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
