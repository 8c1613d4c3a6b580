"""What a running task has to do with others: its batch, the tasks that it waited for, and their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from .. import commands
from .._sync.batch import Batch
from .._sync.queue import Queue
from .._sync.sharded import ShardedQueue
from ..arguments import parts
from ..codecs import Codec
from ..commands import Command
from ..errors import NotDone, TaskslotError, UnknownTask
from ..replies import Meta, Result, Task, TaskView
from ..tracebacks import parted

# How many results one round trip asks for. Each can be as long as a payload.
RESULTS_AT_ONCE = 100


class Relations:
    """Answers what tasks of a queue have to do with others. One for all tasks of a worker."""

    def __init__(self, queue: Queue | ShardedQueue, codec: Codec, *, is_only: bool = True) -> None:
        self.queue = queue
        self.is_only = is_only  # whether its worker has no other queue
        self._codec = codec

    def known(self, task: Task, meta: Any) -> Meta | TaskView:
        """What is known of a task: what the reply to its claim says (`meta`), or else what the server says now.

        Raises `UnknownTask`.
        """
        if meta is not None:
            return Meta.read(meta)
        view = self.queue.get(task)
        if view is None:
            raise UnknownTask("the running task is no longer in the queue")
        return view

    def batch(self, name: str) -> Batch:
        """The batch of this name."""
        return self.queue.batch(name)

    def results(self, key: str, ids: Sequence[str]) -> list[Any]:
        """For each of these tasks of a key its result, decoded, or the exception that says why there is none."""
        found: list[Any] = []
        for part in parts(ids, RESULTS_AT_ONCE):
            asked = [commands.result(key, one.rpartition("/")[2], None) for one in part]
            found += [self._value(one, reply) for one, reply in zip(part, self._replies(asked), strict=True)]
        return found

    def _replies(self, asked: Sequence[Command[Any]]) -> Iterator[Callable[[], Any]]:
        """The replies to commands, in one round trip if possible. To be called: each returns a value, or raises."""
        wire = self.queue.wire
        replies = wire.send_together([one.words for one in asked]) if wire.can_send_together() else None
        if replies is None or any(isinstance(reply, Exception) for reply in replies):
            return (partial(wire.run, one) for one in asked)
        return (partial(one.read, reply) for one, reply in zip(asked, replies, strict=True))

    def _value(self, task: str, read: Callable[[], Result | None]) -> Any:
        """The decoded result of a task, or the exception that says why there is none."""
        try:
            ended = read()
        except UnknownTask:
            return UnknownTask(
                f"the result of task {task} is not kept any more: push it with a longer retain_ms"
            )
        if ended is None:
            return NotDone(f"task {task} has not ended")
        if ended.state != "done":
            why = f": {parted(ended.error)[0]}" if ended.error else ""
            return NotDone(f"task {task} is {ended.state}{why}", ended.state)
        return None if ended.value is None else self._decoded(task, ended.value)

    def _decoded(self, task: str, value: bytes) -> Any:
        try:
            return self._codec.loads(value)
        except ModuleNotFoundError:
            raise
        except Exception as error:
            # The task may be one of another program, so its result can be anything.
            how = f"{self._codec.name}: {type(error).__name__}"
            return TaskslotError(f"the result of task {task} can't be read as {how}")
