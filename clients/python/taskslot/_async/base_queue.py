"""The methods that a queue and a sharded queue share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack

from .. import commands
from ..aggregate import total, total_times
from ..arguments import MOST, deadline, identity, is_over, one_name, parts, several, token
from ..cancellation import cancellations, raise_if_cancelled
from ..commands import (
    CallbackOptions,
    Command,
    Direction,
    FlowOptions,
    Payload,
    PushOptions,
    ScheduleOptions,
    SetOptions,
    Step,
    TaskOptions,
)
from ..errors import Refused, UnknownTask
from ..flows import Flow, FlowIds, Part, as_flow, planned, shaped
from ..replies import (
    BatchInfo,
    Info,
    Result,
    Schedule,
    Settings,
    State,
    Task,
    TaskId,
    TaskView,
    Times,
    answer_of,
    cancel_answer,
)
from .batch import AsyncBatch
from .wire import AsyncWire

R = TypeVar("R")


class AsyncBaseQueue(ABC):
    """A logical queue in one key or in several. Each method finds the key that its command is for.

    `name` is the queue's name, `keys` are the keys that hold its tasks, and `wire` sends its commands.
    """

    def __init__(self, name: str, keys: Sequence[str], wire: AsyncWire) -> None:
        self.name = name
        self.keys = list(keys)
        self.wire = wire

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections that this queue opened. The client stays open."""
        await self.wire.close()

    # ---- which key

    @abstractmethod
    def _locate(self, task: Task | str) -> tuple[str, str]:
        """The key of a task (or of an id or a handle), and the id or handle that the server knows."""

    @abstractmethod
    def _key_of_group(self, group: str) -> str:
        """The key that holds a group."""

    @abstractmethod
    def _key_of_batch(self, name: str) -> str:
        """The key that holds a batch."""

    @abstractmethod
    def _keys_of_token(self, token: str) -> Sequence[str]:
        """The keys of which one can have the task that holds a token, the likely one first."""

    @abstractmethod
    def _key_for(self, after: Sequence[Task | str], options: Sequence[Mapping[str, Any]]) -> str | None:
        """The key for pushes with these options that wait for these tasks; None if they can go to any.

        Raises ValueError if they name different ones.
        """

    @abstractmethod
    async def _run_at(
        self, key: str | None, name: str | None, number: int, command: Callable[[str], Command[R]]
    ) -> tuple[str, R]:
        """Push `number` tasks to this key, else to the key of this name, else to any. Returns the key and the reply.

        The name is a token by which a repeated push must find the tasks.
        """

    @abstractmethod
    def _name_of(self, key: str, task_id: str) -> str:
        """The id that a task of a key has in this queue."""

    def _named_here(self, key: str, view: TaskView) -> TaskView:
        """The view of a task of a key, with the ids that the tasks have in this queue."""
        after, waits_for = (
            tuple(self._name_of(key, one) for one in ids) for ids in (view.after, view.waits_for)
        )
        return replace(view, id=self._name_of(key, view.id), after=after, waits_for=waits_for)

    def _batch_here(self, key: str, batch: BatchInfo) -> BatchInfo:
        """A batch of a key, with the id that its callback has in this queue."""
        return replace(batch, callback=self._name_of(key, batch.callback))

    def _bare(self, task: Task | str) -> str:
        """The id of a task as the server knows it."""
        return self._locate(task)[1].partition("@")[0]

    def _place(self, options: TaskOptions | PushOptions) -> str | None:
        """The key for a push with these options; None if any will do. `after` gets the ids that the server knows."""
        after = several(options.get("after", ()))
        key = self._key_for(after, [options])
        if after:
            options["after"] = [self._bare(task) for task in after]
        return key

    # ---- produce

    @abstractmethod
    async def push(self, payload: Payload, **options: Unpack[PushOptions]) -> TaskId:
        """Push a task and return its id."""

    @abstractmethod
    async def push_many(
        self, payloads: Iterable[Payload], *, request: str | None = None, **options: Unpack[TaskOptions]
    ) -> list[str]:
        """Push tasks with the same options and return their ids."""

    async def push_flow(
        self,
        flow: Payload | Flow,
        *,
        after: Iterable[Task | str] = (),
        request: str | None = None,
        **options: Unpack[FlowOptions],
    ) -> FlowIds:
        """Push the tasks of a flow, and return their ids in its shape: an id for a step, a list for a chain or a group.

        The options are those of all steps that have none of their own. The first steps wait for `after`. Tasks that
        others wait for are kept for a day once they are done, unless `retain_ms` says otherwise, so that their results
        are there when the others run.

        Equal tasks that are next to each other are pushed together. If a push fails, those before it are in the queue,
        and a flow that is pushed with the same `request` again within 5 minutes gets the rest. Raises ValueError if a
        task would wait for more than 1000 others, or, with shards, if the flow has groups of different shards.
        """
        commands.refuse_unknown(options, FlowOptions)
        first, flow = several(after), as_flow(flow)
        todo, again = planned(flow, options, len(first)), request or token()
        key = self._key_for(first, [part.options for part in todo])
        outer = [self._bare(task) for task in first]
        ids: dict[int, str] = {}
        try:
            for number, part in enumerate(todo):
                waits_for = [ids[place] for place in part.parents] or outer
                send = self._sends(part, waits_for, f"{again}.{number}")
                key, made = await self._run_at(key, request, len(part.places), send)
                ids.update(zip(part.places, made, strict=True))
        except Exception as error:
            error.add_note(
                f"{len(ids)} of the {sum(len(part.places) for part in todo)} tasks of the flow were pushed"
            )
            raise
        return shaped(flow, iter([TaskId(self._name_of(str(key), ids[place])) for place in sorted(ids)]))

    def _sends(
        self, part: Part, waits_for: Sequence[str], request: str
    ) -> Callable[[str], Command[list[str]]]:
        """The command that pushes a part of a flow to a key."""
        options: TaskOptions = {**part.options, "after": waits_for}
        return lambda key: commands.push_many(key, part.payloads, request, **options)

    # ---- batches

    def batch(
        self, name: str, callback: Payload | None = None, **options: Unpack[CallbackOptions]
    ) -> AsyncBatch:
        """A batch as a context manager: `with queue.batch("import-7", done.call(7)) as batch:`, or `async with`.

        It is opened with this callback, and closed at the end of the block. Its own methods push into it. The options
        are those of the callback. If an exception ends the block, the batch is deleted, and its callback never runs.
        Without a callback this is a batch that is there, to be used as it is.
        """
        commands.refuse_unknown(options, CallbackOptions)
        return AsyncBatch(self, name, callback, options)

    async def open_batch(self, name: str, callback: Payload, **options: Unpack[CallbackOptions]) -> TaskId:
        """Open a batch and push its callback, which is held. Returns the callback's id.

        The callback becomes ready, exactly once, when the batch is closed and all of its tasks have ended, however they
        ended. The options are those of the callback. If there is a batch of this name, nothing changes, and
        `id.is_new` is False. A batch is there until its callback has ended and is not kept.
        """
        key = self._key_of_batch(name)
        self._key_for([], [{**options, "batch": name}, options])
        made = await self.wire.run(commands.open_batch(key, name, callback, **options))
        return TaskId.found(self._name_of(key, made), made.is_new)

    async def close_batch(self, name: str) -> bool:
        """Close a batch: its callback becomes ready once all tasks have ended. Returns False if it was closed before.

        The tasks of the batch can still push into it while they run. Raises `Refused` if there is no such batch. If a
        reply was lost and the batch is gone by the second try, that is no error: the first try closed it, and its
        callback has ended.
        """
        try:
            # Not with `run`: a client that resends by itself does not tell that it did.
            return await self.wire.wait(commands.close_batch(self._key_of_batch(name), name))
        except Refused as error:
            if error.is_repeat and "no batch of this name" in str(error):
                return False
            raise

    async def batch_info(self, name: str) -> BatchInfo | None:
        """The state and the counts of a batch; None if there is no such batch."""
        key = self._key_of_batch(name)
        found = await self.wire.run(commands.batch_info(key, name))
        return found and self._batch_here(key, found)

    async def delete_batch(self, name: str) -> Literal["removed", "asked"] | None:
        """Delete a batch and its callback; the tasks of the batch go on. None if there is no such batch.

        If the callback is leased, its worker is "asked" to stop.
        """
        return await self.wire.run(commands.delete_batch(self._key_of_batch(name), name))

    async def batches(self) -> list[BatchInfo]:
        """All batches, by name; those of a sharded queue shard by shard."""
        found: list[BatchInfo] = []
        for key in self.keys:
            last: commands.Word | None = None
            while True:
                more, last = await self.wire.run(commands.batches(key, last))
                found += [self._batch_here(key, batch) for batch in more]
                if len(more) < MOST:
                    break
        return found

    # ---- work

    async def ack(
        self, task: Task | str, *, result: Payload | None = None, retain_ms: int | None = None
    ) -> bool:
        """Finish a task. Returns False if it was already finished or removed, so a repeated ack is harmless.

        An ack also counts after the deadline, until the task is claimed again. Then it raises `LeaseLost`.
        """
        return bool(await self.wire.run(commands.ack(*self._locate(task), result, retain_ms)))

    async def ack_and_push(
        self,
        task: Task | str,
        payload: Payload,
        *,
        result: Payload | None = None,
        keep_ms: int | None = None,
        **options: Unpack[PushOptions],
    ) -> TaskId | None:
        """Finish a task and push the next step, both or neither. Returns its id; None if the task was already finished.

        `result` and `keep_ms` are those of an ack (`retain_ms`), the options those of a push. If the push is refused
        (`QueueFull`, `Paused`), or if the lease is lost (`LeaseLost`), nothing has changed. The next step goes into the
        same key: in a sharded queue to the shard of its task, whatever its group or token.
        """
        options["request"] = options.get("request") or token()
        key, handle = self._locate(task)
        if "after" in options:
            after = several(options["after"])
            if self._key_for(after, []) not in (None, key):
                raise ValueError("the next step of a task can only wait for tasks of the same key")
            options["after"] = [self._bare(one) for one in after]
        command = commands.ack_and_push(key, handle, result, keep_ms, Step(payload, options))
        made = await self.wire.run(command)
        return made and TaskId.found(self._name_of(key, made), made.is_new)

    async def requeue(
        self,
        task: Task | str,
        *,
        delay_ms: int | None = None,
        back: bool = False,
        progress: Payload | None = None,
    ) -> bool:
        """Give a task back unfinished: to its old position, after `delay_ms`, or to the `back` of the queue.

        This does not count as a failed attempt. `progress` says how far the task has got, for the next attempt. Returns
        False if the task was already finished or removed.
        """
        return bool(await self.wire.run(commands.requeue(*self._locate(task), delay_ms, back, progress)))

    async def extend(
        self, task: Task | str, *, lease_ms: int | None = None, progress: Payload | None = None
    ) -> int:
        """Extend a lease by its own length, or by `lease_ms`, from now. Returns the new deadline; 0 if the task ended.

        Raises `LeaseLost`, or `CancelAsked` if the task was cancelled.
        """
        return int(await self.wire.run(commands.extend(*self._locate(task), lease_ms, progress)))

    async def fail(
        self,
        task: Task | str,
        error: str | None = None,
        *,
        delay_ms: int | None = None,
        dead: bool = False,
        progress: Payload | None = None,
    ) -> int:
        """Report a failed attempt. Returns the ms until the task is ready again, -1 if it is dead, 0 if it ended.

        `progress` says how far the task has got, for the next attempt.
        """
        return int(await self.wire.run(commands.fail(*self._locate(task), error, delay_ms, dead, progress)))

    async def ack_many(
        self, tasks: Iterable[Task | str], *, result: Payload | None = None, retain_ms: int | None = None
    ) -> list[int]:
        """Finish tasks, a thousand of a key in one command. Returns an `Answer` for each task, in order."""
        return await self._answers(tasks, lambda key, handles: commands.ack(key, handles, result, retain_ms))

    async def requeue_many(
        self,
        tasks: Iterable[Task | str],
        *,
        delay_ms: int | None = None,
        back: bool = False,
        progress: Payload | None = None,
    ) -> list[int]:
        """Give tasks back unfinished. Returns an `Answer` for each task, in order."""
        return await self._answers(
            tasks, lambda key, handles: commands.requeue(key, handles, delay_ms, back, progress)
        )

    async def extend_many(
        self, tasks: Iterable[Task | str], *, lease_ms: int | None = None, progress: Payload | None = None
    ) -> list[int]:
        """Extend leases. Returns for each task, in order, the new deadline, or an `Answer` (≤ 0)."""
        return await self._answers(
            tasks, lambda key, handles: commands.extend(key, handles, lease_ms, progress)
        )

    async def fail_many(
        self,
        tasks: Iterable[Task | str],
        error: str | None = None,
        *,
        delay_ms: int | None = None,
        dead: bool = False,
        progress: Payload | None = None,
    ) -> list[int]:
        """Report failed attempts. Returns for each task, in order, the ms until it is ready, or an `Answer` (≤ 0)."""
        return await self._answers(
            tasks, lambda key, handles: commands.fail(key, handles, error, delay_ms, dead, progress)
        )

    async def _answers(
        self, tasks: Iterable[Task | str], command: Callable[[str, Sequence[str]], Command[list[int]]]
    ) -> list[int]:
        """Send one command for each thousand tasks of a key. Returns the replies in the order of the tasks."""
        located = [self._locate(task) for task in several(tasks)]
        places: dict[str, list[int]] = {}
        for place, (key, _) in enumerate(located):
            places.setdefault(key, []).append(place)
        answers = [0] * len(located)
        for key, of_key in places.items():
            for part in parts(of_key):
                found = await self.wire.run(command(key, [located[place][1] for place in part]))
                for place, answer in zip(part, found, strict=True):
                    answers[place] = answer_of(answer)
        return answers

    # ---- inspect

    async def result(
        self, task: Task | str | None = None, *, unique: str | None = None, block_ms: int | None = None
    ) -> Result | None:
        """How a task ended; None if it has not. `block_ms` waits for its end; 0 waits without a limit.

        With `unique` it is the task that holds this token now. Raises `UnknownTask` if there is no such task, or if it
        ended and was not kept.
        """
        one_name(task, unique)
        if unique is not None:
            if (view := await self.get(unique=unique)) is None:
                raise UnknownTask("no task that waits or is leased holds the token")
            task = view.id
        assert task is not None
        key, task_id = self._locate(identity(task))
        if block_ms is None:
            return await self.wire.run(commands.result(key, task_id, None))
        ends_at, before = deadline(block_ms), cancellations()
        while True:
            raise_if_cancelled(before)
            ended = await self.wire.watch(lambda ms: commands.result(key, task_id, ms), ends_at)
            if ended is not None or is_over(ends_at):
                return ended

    async def get(self, task: Task | str | None = None, *, unique: str | None = None) -> TaskView | None:
        """Everything known about a task, by its id or handle; None if there is no such task.

        With `unique` it is the task that holds this token now: one that is ready, delayed or leased.
        """
        one_name(task, unique)
        if task is not None:
            key, name = self._locate(task)
            view = await self.wire.run(commands.get(key, name))
            return view and self._named_here(key, view)
        assert unique is not None
        for key in self._keys_of_token(unique):
            if (view := await self.wire.run(commands.get(key, "UNIQUE", unique))) is not None:
                return self._named_here(key, view)
        return None

    async def tasks(
        self,
        state: State,
        *,
        group: str | None = None,
        worker: str | None = None,
        payloads: bool = False,
        page: int = 100,
        max_bytes: int | None = None,
        reverse: bool = False,
        match: Payload | None = None,
        header: tuple[str, Payload] | None = None,
    ) -> AsyncIterator[TaskView]:
        """Iterate over the tasks in a state: ready ones in claim order, delayed ones by due time, others by age.

        `reverse` is the opposite order. `match` is a glob pattern for the payload, `header` a name and a pattern for
        the value of that header.

        The tasks are read in pages of at most `page` tasks and `max_bytes` (16 MiB by default), but at least one task.
        A sharded queue is read shard by shard.
        """
        for key in self.keys:
            cursor = ""
            while cursor != "0":
                command = commands.page(
                    *(key, state, cursor or "0", page),
                    group=group,
                    worker=worker,
                    payloads=payloads,
                    max_bytes=max_bytes,
                    reverse=reverse,
                    match=match,
                    header=header,
                )
                cursor, found = await self.wire.run(command)
                for view in found:
                    yield self._named_here(key, view)

    async def len(self, state: State | None = None) -> int:
        """The number of tasks in a state. Without a state: of those that are ready, delayed, held or leased."""
        return sum([await self.wire.run(commands.length(key, state)) for key in self.keys])

    async def info(self) -> Info | None:
        """Counts, totals, rates, times and load, of all shards together; None if there is no queue yet."""
        infos = [await self.wire.run(commands.info(key)) for key in self.keys]
        return total([info for info in infos if info is not None])

    async def times(self) -> Times | None:
        """Histograms of all wait and run times, of all shards together; None if there is no queue yet.

        They only grow, so that a monitoring system can compute rates and percentiles over any span. `info` has the
        percentiles of the last minutes.
        """
        times = [await self.wire.run(commands.times(key)) for key in self.keys]
        return total_times([one for one in times if one is not None])

    async def settings(self) -> Settings | None:
        """The settings, for shards those of the first that exists; None if there is no queue yet."""
        for key in self.keys:
            if (found := await self.wire.run(commands.settings(key))) is not None:
                return found
        return None

    async def schedules(self) -> list[Schedule]:
        """The schedules, by name."""
        return await self.wire.run(commands.schedules(self.keys[0]))

    # ---- admin

    async def set(
        self, task: Task | str | None = None, *, unique: str | None = None, **options: Unpack[SetOptions]
    ) -> bool:
        """Change a task that waits: when it is due, its priority, group, payload or headers.

        Returns False if it does not wait any more. With `unique` it is the task that holds this token now.
        """
        one_name(task, unique)
        if task is not None:
            return (await self.set_many([task], **options))[0]
        assert unique is not None
        if options.get("group"):
            # In a sharded queue it depends on the task's shard whether it can move there.
            view = await self.get(unique=unique)
            return view is not None and await self.set(view.id, **options)
        return bool(
            await self._of_token(unique, lambda key, name: commands.change_unique(key, name, **options))
        )

    async def set_many(self, tasks: Iterable[Task | str], **options: Unpack[SetOptions]) -> list[bool]:
        """Change tasks that wait, a thousand of a key in one command. Returns for each, in order, what `set` would."""
        ids = [identity(task) for task in several(tasks)]
        for task in ids:
            self._check_group(self._locate(task)[0], options.get("group"))
        answers = await self._answers(ids, lambda key, part: commands.change(key, part, **options))
        return [bool(answer) for answer in answers]

    def _check_group(self, key: str, group: str | None) -> None:
        """Raise ValueError if a task of this key can't move to a group, because that is in another key."""
        if group and self._key_of_group(group) != key:
            raise ValueError(f"a task of {key} cannot move to group {group}, which is on another shard")

    async def _of_token(self, token: str, command: Callable[[str, str], Command[int]]) -> int:
        """Send a command for the task that holds a token. Returns the first reply that isn't 0."""
        for key in self._keys_of_token(token):
            if answer := await self.wire.run(command(key, token)):
                return answer
        return 0

    async def cancel(
        self, task: Task | str | None = None, *, unique: str | None = None
    ) -> Literal["removed", "asked"] | None:
        """Remove a waiting task, or ask the worker of a leased one to stop. None if there is nothing to cancel.

        With `unique` it is the task that holds this token now.
        """
        one_name(task, unique)
        if unique is not None:
            return cancel_answer(await self._of_token(unique, commands.cancel_unique))
        assert task is not None
        return (await self.cancel_many([task]))[0]

    async def cancel_many(self, tasks: Iterable[Task | str]) -> list[Literal["removed", "asked"] | None]:
        """Cancel tasks. Returns for each, in order, what `cancel` would."""
        ids = [identity(task) for task in several(tasks)]
        return [cancel_answer(answer) for answer in await self._answers(ids, commands.cancel)]

    async def retry(
        self, tasks: Task | str | Iterable[Task | str] | None = None, *, unique: str | None = None
    ) -> int:
        """Make dead, delayed or held tasks ready, at the back of the queue: one or several. Returns how many were.

        With `unique` it is the delayed or held task that holds this token now. A dead task holds none.
        """
        one_name(tasks, unique)
        if unique is not None:
            return await self._of_token(unique, commands.retry_unique)
        assert tasks is not None
        return await self._sum([tasks] if isinstance(tasks, Task | str) else tasks, commands.retry)

    async def _sum(
        self, tasks: Iterable[Task | str], command: Callable[[str, Sequence[str]], Command[int]]
    ) -> int:
        """Send one command for each thousand tasks of a key. Returns the sum of the replies."""
        by_key: dict[str, list[str]] = {}
        for task in several(tasks):
            key, task_id = self._locate(identity(task))
            by_key.setdefault(key, []).append(task_id)
        done = 0
        for key, ids in by_key.items():
            for part in parts(ids):
                done += await self.wire.run(command(key, part))
        return done

    async def purge(
        self,
        state: State | Literal["all"] | None = None,
        count: int = MOST,
        *,
        ids: Iterable[Task | str] | None = None,
        older_ms: int | None = None,
    ) -> int:
        """Remove at most `count` tasks in a state, or the tasks with these ids. Returns how many were.

        "all" is every state except leased. Leased tasks are never removed. `older_ms` removes only tasks that have
        been in their state for so long; delayed ones, since their push. Call it until it returns 0; with `older_ms` in
        a queue of more than 10,000 tasks as often as it takes to look at all of them.
        """
        if ids is not None and state is None:
            return await self._sum(ids, lambda key, part: commands.purge_ids(key, part, older_ms))
        if ids is not None or state is None:
            raise ValueError("purge takes either a state or ids")
        done = 0
        for key in self.keys:
            if done < count:
                done += await self.wire.run(commands.purge(key, state, count - done, older_ms))
        return done

    async def configure(self, **values: Payload | int) -> None:
        """Change settings, by their names with _ for -: `configure(lease=60_000, max_len=10_000)`.

        A sharded queue changes them on every shard, and each shard has its limits for itself.
        """
        for key in self.keys:
            await self.wire.run(commands.configure(key, values))

    async def reset(self, *names: str) -> None:
        """Reset settings to their defaults; all of them if none is named."""
        for key in self.keys:
            await self.wire.run(commands.reset(key, names))

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
        """Set a group's weight and limits. Those that are not given keep their values."""
        key = self._key_of_group(name)
        await self.wire.run(commands.set_group(key, name, weight, concurrency, rate, rate_per_ms, ordered))

    async def forget_group(self, name: str) -> bool:
        """Remove the weight and limits of a group. Returns False if it had none."""
        return await self.wire.run(commands.forget_group(self._key_of_group(name), name))

    async def pause(
        self, direction: Direction = "out", *, group: str | None = None, for_ms: int | None = None
    ) -> None:
        """Stop claims ("out"), pushes ("in") or both ("all"), for `for_ms` or until `resume`.

        With `group`, stop the claims of that group only.
        """
        if group is not None:
            check_claims_only(direction)
            return await self.wire.run(commands.pause_group(self._key_of_group(group), group, for_ms))
        for key in self.keys:
            await self.wire.run(commands.pause(key, direction, for_ms))

    async def resume(self, direction: Direction = "out", *, group: str | None = None) -> None:
        """Allow again what `pause` stopped."""
        if group is not None:
            check_claims_only(direction)
            return await self.wire.run(commands.resume_group(self._key_of_group(group), group))
        for key in self.keys:
            await self.wire.run(commands.resume(key, direction))

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
        """Set a schedule, by an interval or a cron expression. Returns False if it replaced one of the same name.

        A sharded queue has all schedules on shard 0, and their tasks are pushed there, whatever their group.
        """
        key = self.keys[0]
        return await self.wire.run(
            commands.schedule(key, name, payload, every_ms, cron, tz, catchup, **options)
        )

    async def unschedule(self, name: str) -> bool:
        """Remove a schedule. Returns False if there was none of that name."""
        return await self.wire.run(commands.unschedule(self.keys[0], name))


def check_claims_only(direction: Direction) -> None:
    """Raise ValueError for a direction that cannot be paused for one group."""
    if direction != "out":
        raise ValueError("only the claims of a group can be paused, not its pushes")
