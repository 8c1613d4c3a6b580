# Generated from taskslot/_async/batch.py by make_sync.py: make changes there.
"""A batch: a number of tasks, and a callback that becomes ready when all of them have ended."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Literal, Protocol, Self, Unpack

from ..commands import CallbackOptions, FlowOptions, Payload, PushOptions, TaskOptions
from ..flows import Flow, FlowIds
from ..replies import BatchInfo, Task, TaskId


class BatchQueue(Protocol):
    """What a batch asks of its queue."""

    def push(self, payload: Payload, **options: Unpack[PushOptions]) -> TaskId: ...

    def push_many(
        self, payloads: Iterable[Payload], *, request: str | None = None, **options: Unpack[TaskOptions]
    ) -> list[str]: ...

    def push_flow(
        self,
        flow: Payload | Flow,
        *,
        after: Iterable[Task | str] = (),
        request: str | None = None,
        **options: Unpack[FlowOptions],
    ) -> FlowIds: ...

    def open_batch(self, name: str, callback: Payload, **options: Unpack[CallbackOptions]) -> TaskId: ...

    def close_batch(self, name: str) -> bool: ...

    def batch_info(self, name: str) -> BatchInfo | None: ...

    def delete_batch(self, name: str) -> Literal["removed", "asked"] | None: ...


class Batch:
    """A batch of a queue, from `queue.batch(name)`. Its methods are those of the queue, for this batch.

    With a callback it is a context manager, which opens the batch and closes it in the end. If an exception ends the
    block, the batch is deleted instead, so its callback never runs; tasks that were pushed go on. A batch that was
    there before stays open then. `callback` is the id of the callback once the batch was opened here;
    `callback.is_new` is False if the batch was there before.
    """

    def __init__(
        self,
        queue: BatchQueue,
        name: str,
        payload: Payload | None = None,
        options: CallbackOptions | None = None,
    ) -> None:
        self.name = name
        self.callback: TaskId | None = None
        self._queue = queue
        self._payload = payload
        self._options: CallbackOptions = options or {}

    def __repr__(self) -> str:
        return f"<batch {self.name}>"

    def __enter__(self) -> Self:
        if self._payload is None:
            raise TypeError(f"batch({self.name!r}, callback) opens a batch: without a callback it cannot")
        self.callback = self._queue.open_batch(self.name, self._payload, **self._options)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif self.callback is not None and self.callback.is_new:
            try:
                self.delete()
            except Exception as refused:
                error.add_note(f"the batch {self.name} is still open, because it can't be deleted: {refused}")

    def push(self, payload: Payload, **options: Unpack[PushOptions]) -> TaskId:
        """Push a task that counts in the batch."""
        options["batch"] = self.name
        return self._queue.push(payload, **options)

    def push_many(
        self, payloads: Iterable[Payload], *, request: str | None = None, **options: Unpack[TaskOptions]
    ) -> list[str]:
        """Push tasks that count in the batch."""
        options["batch"] = self.name
        return self._queue.push_many(payloads, request=request, **options)

    def push_flow(
        self,
        flow: Payload | Flow,
        *,
        after: Iterable[Task | str] = (),
        request: str | None = None,
        **options: Unpack[FlowOptions],
    ) -> FlowIds:
        """Push a flow whose tasks count in the batch."""
        options["batch"] = self.name
        return self._queue.push_flow(flow, after=after, request=request, **options)

    def close(self) -> bool:
        """Close the batch: its callback becomes ready once all tasks have ended. False if it was closed before."""
        return self._queue.close_batch(self.name)

    def info(self) -> BatchInfo | None:
        """The state and the counts of the batch; None if it is not there, as after the end of its callback."""
        return self._queue.batch_info(self.name)

    def delete(self) -> Literal["removed", "asked"] | None:
        """Delete the batch and its callback. Its tasks go on. See `delete_batch`."""
        return self._queue.delete_batch(self.name)
