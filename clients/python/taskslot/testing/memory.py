"""Queues in memory, for tests without a server: what an app pushes, and enough of the rest for `run_all`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from ..app import App
from ..commands import Payload, PushOptions, push_words, unix_ms
from ..errors import LeaseLost, UnknownTask
from ..replies import Meta, Result, Task, TaskId, TaskView

# The defaults of the server's settings.
ATTEMPTS = 25
BACKOFF_MS = 1000
# What only the server knows how to do.
NEEDS_SERVER = ("after", "batch", "keep", "on_dead", "postpone", "postpone_until_ms", "replace")
WAITING = ("ready", "delayed")
SHOWN = ("id", "state", "deliveries", "failures", "payload", "result", "progress", "error", "headers")


@contextmanager
def in_memory(app: App) -> Iterator[App]:
    """Let an app push into memory in this block, without a server: `with in_memory(app): order("Dune"); run_all(app)`.

    `push`, `apush`, `push_many`, `unique` tokens, results, next steps, delays, retries and `run_all` work. Of a queue,
    `app.queue(name)`, there are `push`, `get`, `tasks`, `len`, `result` and `cancel`. All else, such as flows, batches,
    limits and schedules, raises RuntimeError: tests of that need a server.
    """
    queues: dict[str, MemoryQueue] = {}

    def queue(name: str = "default") -> MemoryQueue:
        return queues.setdefault(name, MemoryQueue(name))

    def aqueue(name: str = "default") -> Awaited:
        return Awaited(queue(name))

    with mock.patch.multiple(app._connections, queue=queue, aqueue=aqueue):
        yield app


@dataclass
class Entry:
    """A task in memory."""

    id: str
    payload: bytes
    options: PushOptions
    due: int  # 0: ready
    state: str = "ready"
    deliveries: int = 0
    failures: int = 0
    progress: bytes | None = None
    result: bytes | None = None
    error: str | None = None

    @property
    def headers(self) -> dict[str, bytes]:
        """The headers as bytes."""
        return {name: encoded(value) for name, value in self.options.get("headers", {}).items()}

    def view(self) -> TaskView:
        """The task as TASK.GET would show it."""
        values: dict[str, Any] = {name: getattr(self, name) for name in SHOWN}
        values |= {name: self.options.get(name) for name in ("unique", "group", "attempts")}
        values |= {"priority": self.options.get("priority", 0), "enqueued": 0, "stalls": 0}
        return TaskView(**values, due=self.due if self.state == "delayed" else None)


class MemoryQueue:
    """A queue in memory, with the methods of `Queue` that an app and `run_all` need."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys = [name]
        self._entries: dict[str, Entry] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise RuntimeError(f"{name} needs a server: this app is in memory only")

    # ---- producers

    def push(self, payload: Payload, **options: Any) -> TaskId:
        """Push a task; see `Queue.push`."""
        push_words(options, None)  # checks them
        for option in NEEDS_SERVER:
            if options.get(option):
                raise RuntimeError(f"{option} needs a server: this app is in memory only")
        token = options.get("unique")
        for one in self._entries.values():
            if token is not None and one.options.get("unique") == token and self._holds(one):
                return TaskId.found(one.id, False)
        due = unix_ms(options["at"]) if options.get("at") is not None else 0
        due = now_ms() + options["delay_ms"] if options.get("delay_ms") else due
        entry = Entry(f"{len(self._entries) + 1}-0", encoded(payload), options, due)  # type: ignore[arg-type]
        entry.state = "delayed" if due else "ready"
        self._entries[entry.id] = entry
        return TaskId.found(entry.id, True)

    def push_many(self, payloads: Iterable[Payload], **options: Any) -> list[TaskId]:
        """Push tasks."""
        return [self.push(payload, **options) for payload in payloads]

    def _holds(self, entry: Entry) -> bool:
        return entry.state in WAITING or (entry.state == "leased" and not entry.options.get("until_start"))

    def result(self, task: Task | str, *, block_ms: int | None = None) -> Result | None:
        """How a task ended; None if it has not, because nobody else would end it while this waits."""
        if (entry := self._entries.get(str(task))) is None:
            raise UnknownTask("there is no such task")
        if entry.state in (*WAITING, "leased"):
            return None
        return Result(entry.state, entry.result, entry.error)

    def get(self, task: Task | str) -> TaskView | None:
        """A task; None if there is none."""
        entry = self._entries.get(id_of(task))
        return None if entry is None else entry.view()

    def tasks(self, state: str, **_: Any) -> Iterator[TaskView]:
        """The tasks in a state, in the order in which they would be claimed."""
        found = [entry for entry in self._entries.values() if entry.state == state]
        found.sort(key=lambda entry: (entry.due, -entry.options.get("priority", 0)))
        return iter([entry.view() for entry in found])

    def len(self, *states: str) -> int:
        """How many tasks there are in these states; without any, in all but dead and done."""
        counted = states or (*WAITING, "leased")
        return sum(entry.state in counted for entry in self._entries.values())

    def cancel(self, task: Task | str) -> str | None:
        """Remove a task that waits."""
        entry = self._entries.get(id_of(task))
        if entry is None or entry.state not in WAITING:
            return None
        entry.state = "cancelled"
        return "removed"

    # ---- what run_all needs

    def set(self, task: str, *, delay_ms: int) -> bool:
        """Make a delayed task ready."""
        entry = self._entries[task]
        entry.due, entry.state = (now_ms() + delay_ms, "delayed") if delay_ms else (0, "ready")
        return True

    def claim(self, count: int = 1, **_: Any) -> list[Task]:
        """Claim the first task."""
        for view in self.tasks("ready"):
            entry = self._entries[view.id]
            entry.state, entry.deliveries = "leased", entry.deliveries + 1
            return [task_of(self.name, entry)]
        return []

    def ack(self, task: Task, *, result: bytes | None = None, retain_ms: int | None = None) -> bool:
        """Finish a task."""
        entry = self._leased(task)
        entry.state, entry.result = "done", result
        return True

    def ack_and_push(
        self, task: Task, payload: Payload, *, result: bytes | None, keep_ms: int | None, **options: Any
    ) -> TaskId:
        """Finish a task and push the next one."""
        self._leased(task)
        pushed = self.push(payload, **{name: of for name, of in options.items() if name != "request"})
        self.ack(task, result=result)
        return pushed

    def fail(
        self,
        task: Task,
        error: str | None,
        *,
        delay_ms: int | None = None,
        dead: bool = False,
        progress: Payload | None = None,
    ) -> int:
        """Report a failed attempt."""
        entry = self._leased(task)
        entry.error, entry.failures = error, entry.failures + 1
        self.extend(task, progress=progress)
        limit = entry.options.get("attempts", ATTEMPTS)
        if dead or 0 <= limit <= entry.failures:
            entry.state = "dead"
            return -1
        delay_ms = BACKOFF_MS if delay_ms is None else delay_ms
        self.set(entry.id, delay_ms=delay_ms)
        return max(1, delay_ms)

    def requeue(self, task: Task, *, delay_ms: int | None = None, progress: Payload | None = None) -> bool:
        """Give a task back."""
        self._leased(task)
        self.extend(task, progress=progress)
        return self.set(task.id, delay_ms=delay_ms or 0)

    def extend(self, task: Task, *, progress: Payload | None = None) -> int:
        """Note the progress."""
        if progress is not None:
            self._leased(task).progress = encoded(progress)
        return now_ms()

    def _leased(self, task: Task) -> Entry:
        entry = self._entries[task.id]
        if entry.state != "leased":
            raise LeaseLost("the task is not leased")
        return entry


class Awaited:
    """The methods of a queue in memory, to be awaited."""

    def __init__(self, queue: MemoryQueue) -> None:
        self._queue = queue

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._queue, name)

        async def call(*args: Any, **options: Any) -> Any:
            return method(*args, **options)

        return call


def task_of(key: str, entry: Entry) -> Task:
    """A claimed task."""
    meta = Meta(
        lease=entry.deliveries,
        priority=entry.options.get("priority", 0),
        enqueued=0,
        deadline=0,
        failures=entry.failures,
        stalls=0,
        retain=entry.options.get("retain_ms"),
        progress=entry.progress,
        group=entry.options.get("group", ""),
        headers=entry.headers,
    )
    return Task(key, f"{entry.id}@1-{entry.deliveries}", entry.payload, entry.deliveries, meta)


def id_of(task: Task | str) -> str:
    """The id of a task."""
    return task.id if isinstance(task, Task) else str(task).partition("@")[0]


def now_ms() -> int:
    """The unix time in ms."""
    return round(time.time() * 1000)


def encoded(value: Payload) -> bytes:
    """A text as bytes."""
    return value.encode() if isinstance(value, str) else value
