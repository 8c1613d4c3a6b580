# Generated from taskslot/_async/queue.py by make_sync.py: make changes there.
"""A queue in one key, with a method for each command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, Unpack

from .. import commands
from ..arguments import MOST, deadline, handle, is_over, most_at_once, parts, several, token
from ..cancellation import cancellations, raise_if_cancelled
from ..commands import ClaimOptions, Command, Payload, PushOptions, TaskOptions, Word
from ..replies import Group, Next, Task, TaskId, WorkerView
from .base_queue import BaseQueue
from .wire import Wire, slice_ms

R = TypeVar("R")


class Queue(BaseQueue):
    """The queue in a key: `Queue(client, "mail")`.

    `client` is a client of redis-py (5.0.1 or later) or valkey-py: standalone, of Sentinel or of a cluster. Commands
    that wait in the server use connections of their own, made like the client's. All others use the client; a sync
    client of a single server lends a connection that is kept for them. Spans are milliseconds. Payloads and results
    are bytes; the client's `decode_responses` has no effect.

    Each push and claim carries a `REQUEST` token. If it is sent again after a broken connection, nothing is pushed or
    leased twice. While a server is away, calls keep trying for `patience_ms`; then they raise the client's own error.
    Errors of the server are those of `taskslot.errors`.

    Threads can share a queue object, and the tasks of one event loop can share an asyncio one. Queues that are given
    the `wire` of another share its connections.
    """

    def __init__(
        self, client: Any, name: str, *, patience_ms: int = 10_000, wire: Wire | None = None
    ) -> None:
        super().__init__(name, [name], wire or Wire(client, patience_ms))

    def _locate(self, task: Task | str) -> tuple[str, str]:
        return (task.key if isinstance(task, Task) else self.name), handle(task)

    def _key_of_group(self, group: str) -> str:
        return self.name

    def _key_of_batch(self, name: str) -> str:
        return self.name

    def _keys_of_token(self, token: str) -> Sequence[str]:
        return [self.name]

    def _key_for(self, after: Sequence[Task | str], options: Sequence[Mapping[str, Any]]) -> str:
        if others := {key for key, _ in map(self._locate, after)} - {self.name}:
            raise ValueError(f"a task of {self.name} can't wait for one of {min(others)}")
        return self.name

    def _run_at(
        self, key: str | None, name: str | None, number: int, command: Callable[[str], Command[R]]
    ) -> tuple[str, R]:
        return self.name, self.wire.run(command(self.name))

    def _name_of(self, key: str, task_id: str) -> str:
        return task_id

    # ---- produce

    def push(self, payload: Payload, **options: Unpack[PushOptions]) -> TaskId:
        """Push a task and return its id. With `unique`, `id.is_new` is False if another task holds the token.

        With `after`, the task is held until these tasks are done. With `batch`, it counts in this batch.
        """
        options["request"] = options.get("request") or token()
        if "after" in options:
            self._place(options)
        return self.wire.run(commands.push(self.name, payload, **options))

    def push_many(
        self, payloads: Iterable[Payload], *, request: str | None = None, **options: Unpack[TaskOptions]
    ) -> list[str]:
        """Push tasks with the same options and return their ids.

        They are pushed in thousands; each thousand is pushed completely or not at all. (Fewer at a time if each waits
        for more than ten tasks.) If the same payloads are pushed with the same `request` again within 5 minutes,
        nothing is added, and the same ids are returned.
        """
        ids: list[str] = []
        request = request or token()
        if "after" in options:
            self._place(options)
        most = most_at_once(len(several(options.get("after", ()))))
        for number, part in enumerate(parts(several(payloads), most)):
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
        """Claim up to `count` tasks (1 to 1000), each with a lease. Returns an empty list if there are none.

        `block_ms` waits for the first task; 0 waits without a limit. `also` names more queues, which are used in this
        order if this queue has no task (in a cluster, they need the same hash slot). A task's `key` is its queue.

        `gather_ms` waits for all `count` tasks, also without `block_ms`, and returns what is there when the first of
        them has been ready for so long.
        """
        request = request or token()
        keys = [self.name, *several(also)]
        if block_ms is None:
            send = self.wire.run if options.get("gather_ms") is None else self.wire.wait
            return send(commands.claim(keys, count, None, request, **options))
        return self._wait(keys, count, deadline(block_ms), cancellations(), request, options)

    def _wait(
        self,
        keys: Sequence[str],
        count: int,
        ends_at: float | None,
        before: int,
        request: str,
        options: ClaimOptions,
    ) -> list[Task]:
        """Claim in slices until there are tasks, or until `ends_at`."""
        while True:
            raise_if_cancelled(before)
            wait_ms = slice_ms(ends_at)
            command = commands.claim(keys, count, wait_ms, request, **options)
            tasks = self.wire.wait(command)
            if tasks or is_over(ends_at):
                return tasks

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
        """Finish tasks of this queue as `ack_many` does, then claim up to `count` others as `claim` does.

        That is one command, which saves a worker half of its round trips. The tasks are finished at once, also if the
        claim then waits, and even if the wait ends with an exception. If the command was sent again, because its reply
        was lost or its slot moved, the answer for a task that the first copy finished is `GONE`.
        """
        commands.refuse_unknown(options, ClaimOptions)
        ends_at = None if block_ms is None else deadline(block_ms)
        request, before = request or token(), cancellations()
        located = [self._locate(task) for task in several(done)]
        if any(key != self.name for key, _ in located):
            raise ValueError(
                f"next finishes tasks of {self.name} only: use ack_many for those of other queues"
            )
        handles = [bare for _, bare in located]
        if not handles:
            return Next([], self.claim(count, block_ms=block_ms, request=request, **options))
        answers = self.ack_many(handles[:-MOST], result=result, retain_ms=retain_ms)
        wait_ms = None if block_ms is None else slice_ms(ends_at)
        last = handles[-MOST:]
        command = commands.claim_next(self.name, last, result, retain_ms, count, wait_ms, request, **options)
        waits = wait_ms is not None or options.get("gather_ms") is not None
        send = self.wire.wait if waits else self.wire.run
        found = send(command)
        tasks = found.tasks
        if not tasks and wait_ms is not None and not is_over(ends_at):
            tasks = self._wait([self.name], count, ends_at, before, request, options)
        return Next(answers + found.answers, tasks)

    # ---- inspect

    def groups(self) -> list[Group]:
        """All groups of the queue, by name."""
        found: list[Group] = []
        last: Word | None = None
        while True:
            more, last = self.wire.run(commands.groups(self.name, last))
            found += more
            if len(more) < MOST:
                return found

    def workers(self) -> list[WorkerView]:
        """The workers that hold leases or wait for tasks, the first thousand by name."""
        return self.wire.run(commands.workers(self.name))

    def shards(self, number: int) -> list[str]:
        """The keys that this queue would have with `number` shards, from the server."""
        return self.wire.run(commands.shards(self.name, number))

    # ---- admin

    def retry_dead(self, count: int = MOST, *, group: str | None = None) -> int:
        """Make the oldest dead tasks ready, at most `count` (1 to 1000). Returns how many were.

        With `group`, those of that group. If there are more than 10,000 dead tasks, call it as often as it takes to
        look at all of them.
        """
        return self.wire.run(commands.retry_dead(self.name, count, group))

    def run_schedule(self, name: str) -> str:
        """Make a run of a schedule now, besides those that are planned. Returns the id of its task."""
        return self.wire.run(commands.run_schedule(self.name, name))
