"""The queue that the test serves: tasks, leases and tokens, as far as a worker can see them.

A task is delivered once, so that a case has one end to look at: what was failed or requeued is not given out again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from .resp import ErrorReply
from .sent import Sent

STALE, CANCELLED = -2, -3
TEXTS = {
    STALE: ErrorReply("STALE the lease has ended and the handle is no longer valid"),
    CANCELLED: ErrorReply("CANCELLED cancellation of this task was requested"),
}


@dataclass(eq=False)
class ModelTask:
    """A task. `fate` is what the case has done to it: taken by another worker, cancelled, or removed."""

    number: int
    payload: bytes
    handle: str = ""
    lease_s: float = 0.0
    deadline: float = 0.0  # monotonic
    state: str = "ready"  # ready, leased, done, failed, requeued
    fate: str = ""
    has_lapsed: bool = False  # its lease ended while the worker held it
    delivered_at: float = 0.0  # when the reply that has it was written, to an open connection
    is_told: bool = False  # the worker was told that the lease is over, or that it is cancelled

    @property
    def id(self) -> str:
        """The id, as a push returns it."""
        return self.handle.partition("@")[0]


class Model:
    """A queue in one key."""

    def __init__(self) -> None:
        self.tasks: list[ModelTask] = []
        self._by_request: dict[str, list[ModelTask]] = {}
        self._born_ms = int(time.time() * 1000)

    def push(self, payload: bytes) -> ModelTask:
        """Add a task."""
        task = ModelTask(len(self.tasks), payload)
        task.handle = f"{self._born_ms}-{task.number}@{self._born_ms * 1000 + task.number}-{task.number:08x}"
        self.tasks.append(task)
        return task

    def has_ready(self, request: str) -> bool:
        """Whether a claim with this token gets tasks at once."""
        return request in self._by_request or any(task.state == "ready" for task in self.tasks)

    def claim(self, sent: Sent) -> list[ModelTask]:
        """Lease ready tasks. A claim with a known token gets the tasks of the first one that are still leased."""
        if sent.request in self._by_request:
            return [task for task in self._by_request[sent.request] if task.state == "leased"]
        tasks = [task for task in self.tasks if task.state == "ready"][: sent.number("COUNT", 1)]
        lease_s = sent.number("LEASE", 30_000) / 1000
        for task in tasks:
            task.state, task.lease_s, task.deadline = "leased", lease_s, time.monotonic() + lease_s
        if tasks and sent.request:
            self._by_request[sent.request] = tasks
        return tasks

    def answers(self, sent: Sent) -> Any:
        """Carry out an ACK, FAIL, REQUEUE or EXTEND, and return its reply. For a NEXT, that of its answers."""
        self.look_at_leases()
        verb = "TASK.ACK" if sent.name == "TASK.NEXT" else sent.name
        numbers = [self._answer(self._found(handle), verb, sent) for handle in sent.handles]
        if sent.is_array:
            return numbers
        return TEXTS.get(numbers[0], numbers[0]) if sent.name != "TASK.NEXT" else numbers[0]

    def _found(self, handle: str) -> ModelTask | None:
        return next((task for task in self.tasks if task.handle == handle), None)

    def _answer(self, task: ModelTask | None, verb: str, sent: Sent) -> int:
        if task is None or task.fate == "removed" or task.state == "done":
            if task is not None:
                task.is_told = True
            return 0
        is_over = task.state in ("failed", "requeued") or task.fate == "taken"
        if is_over or (task.has_lapsed and verb != "TASK.ACK"):
            task.is_told = True
            return STALE
        if verb == "TASK.EXTEND":
            if task.fate == "cancelled":
                task.is_told = True
                return CANCELLED
            task.deadline = time.monotonic() + task.lease_s
            return int((time.time() + task.lease_s) * 1000)
        task.state = {"TASK.ACK": "done", "TASK.FAIL": "failed", "TASK.REQUEUE": "requeued"}[verb]
        if verb == "TASK.FAIL" and task.fate != "cancelled":
            return -1 if "DEAD" in sent.options else sent.number("DELAY", 1000) or 1
        return 0 if task.fate == "cancelled" and verb != "TASK.ACK" else 1

    def look_at_leases(self) -> None:
        """Note which leases have ended."""
        now = time.monotonic()
        for task in self.tasks:
            if task.state == "leased" and not task.fate and now > task.deadline:
                task.has_lapsed = True

    def reply_of(self, tasks: list[ModelTask], with_meta: bool) -> list[Any]:
        """A claim's reply. Its map has a name that workers don't know, because a newer server may add some."""
        return [
            [task.handle.encode(), task.payload, 1, *([meta_of(task)] if with_meta else [])] for task in tasks
        ]


def meta_of(task: ModelTask) -> dict[bytes, Any]:
    """The map of WITHMETA."""
    return {
        b"lease": int(task.handle.partition("@")[2].partition("-")[0]),
        b"priority": 0,
        b"group": b"",
        b"headers": {},
        b"enqueued": int(task.id.partition("-")[0]),
        b"deadline": int((time.time() + task.lease_s) * 1000),
        b"failures": 0,
        b"stalls": 0,
        b"retain": None,
        b"added-by-a-newer-server": [1, b"a", {b"b": None}],
    }


def call(task: str, *args: Any, **kwargs: Any) -> bytes:
    """The payload of a call."""
    return json.dumps({"task": task, "args": args, "kwargs": kwargs}).encode()
