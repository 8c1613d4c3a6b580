"""What a running task has to do with others: its batch, the tasks that it waited for, and their results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import commands
from .._sync.batch import Batch
from .._sync.queue import Queue
from .._sync.sharded import ShardedQueue
from ..codecs import Codec
from ..errors import NotDone, TaskslotError, UnknownTask
from ..replies import Meta, Result, Task, TaskView

# How many results one round trip asks for. Each can be as long as a payload.
RESULTS_AT_ONCE = 100


class Relations:
    """Answers what tasks of a queue have to do with others. One for all tasks of a worker.

    `meta` is what the task's claim said: as it is, or read. None if the claim did not ask for it.
    """

    def __init__(self, queue: Queue | ShardedQueue, codec: Codec) -> None:
        self._queue = queue
        self._codec = codec

    def known(self, task: Task, meta: Any) -> Meta | TaskView:
        """What is known of a task. If its claim did not say, the server is asked. Raises `UnknownTask`."""
        if isinstance(meta, Meta):
            return meta
        if meta is not None:
            return Meta.read(meta)
        view = self._queue.get(task)
        if view is None:
            raise UnknownTask("the running task is no longer in the queue")
        return view

    def batch(self, name: str) -> Batch:
        """The batch of this name."""
        return self._queue.batch(name)

    def results(self, ids: Sequence[str]) -> list[Any]:
        """For each of these tasks its result, decoded, or the exception that says why there is none."""
        found: list[Any] = []
        for start in range(0, len(ids), RESULTS_AT_ONCE):
            found += self._some(ids[start : start + RESULTS_AT_ONCE])
        return found

    def _some(self, ids: Sequence[str]) -> list[Any]:
        wire, asked = self._queue.wire, [commands.result(*self._queue._locate(one), None) for one in ids]
        replies = None
        if isinstance(self._queue, Queue) and wire.can_send_together():
            replies = wire.send_together([command.words for command in asked])
        if replies is None or any(isinstance(reply, Exception) for reply in replies):
            return [self._value(one, lambda one=one: self._queue.result(one)) for one in ids]
        return [
            self._value(one, lambda command=command, reply=reply: command.read(reply))
            for one, command, reply in zip(ids, asked, replies, strict=True)
        ]

    def _value(self, task: str, read: Any) -> Any:
        try:
            return self._decoded(task, read())
        except UnknownTask:
            return UnknownTask(
                f"the result of task {task} is not kept any more: push it with a longer retain_ms"
            )
        except NotDone as error:
            return error

    def _decoded(self, task: str, ended: Result | None) -> Any:
        if ended is None:
            raise NotDone(f"task {task} has not ended")
        if ended.state != "done":
            raise NotDone(
                f"task {task} is {ended.state}" + (f": {ended.error}" if ended.error else ""), ended.state
            )
        if ended.value is None:
            return None
        try:
            return self._codec.loads(ended.value)
        except ModuleNotFoundError:
            raise
        except Exception as error:
            name = self._codec.name
            raise TaskslotError(
                f"the result of task {task} can't be read as {name}: {type(error).__name__}"
            ) from None
