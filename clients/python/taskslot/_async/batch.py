"""A batch: a number of tasks, and a callback that becomes ready when all of them have ended."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Literal, Protocol, Self, Unpack

from ..commands import CallbackOptions, FlowOptions, Payload, PushOptions, TaskOptions
from ..flows import Flow, FlowIds
from ..replies import BatchInfo, Task, TaskId


class AsyncBatchQueue(Protocol):
    """What a batch asks of its queue."""

    async def push(self, payload: Payload, **options: Unpack[PushOptions]) -> TaskId: ...

    async def push_many(
        self, payloads: Iterable[Payload], *, request: str | None = None, **options: Unpack[TaskOptions]
    ) -> list[str]: ...

    async def push_flow(
        self,
        flow: Payload | Flow,
        *,
        after: Iterable[Task | str] = (),
        request: str | None = None,
        **options: Unpack[FlowOptions],
    ) -> FlowIds: ...

    async def open_batch(
        self, name: str, callback: Payload, **options: Unpack[CallbackOptions]
    ) -> TaskId: ...

    async def close_batch(self, name: str) -> bool: ...

    async def batch_info(self, name: str) -> BatchInfo | None: ...

    async def delete_batch(self, name: str) -> Literal["removed", "asked"] | None: ...


class AsyncBatch:
    """A batch of a queue, from `queue.batch(name)`. Its methods are those of the queue, for this batch.

    With a callback it is a context manager, which opens the batch and closes it in the end. If an exception ends the
    block, the batch is deleted instead, so its callback never runs; tasks that were pushed go on. A batch that was
    there before stays open then. `callback` is the id of the callback once the batch was opened here;
    `callback.is_new` is False if the batch was there before.
    """

    def __init__(
        self,
        queue: AsyncBatchQueue,
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

    async def __aenter__(self) -> Self:
        if self._payload is None:
            raise TypeError(f"batch({self.name!r}, callback) opens a batch: without a callback it cannot")
        self.callback = await self._queue.open_batch(self.name, self._payload, **self._options)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.close()
        elif self.callback is not None and self.callback.is_new:
            try:
                await self.delete()
            except Exception as refused:
                error.add_note(f"the batch {self.name} is still open, because it can't be deleted: {refused}")

    async def push(self, payload: Payload, **options: Unpack[PushOptions]) -> TaskId:
        """Push a task that counts in the batch."""
        options["batch"] = self.name
        return await self._queue.push(payload, **options)

    async def push_many(
        self, payloads: Iterable[Payload], *, request: str | None = None, **options: Unpack[TaskOptions]
    ) -> list[str]:
        """Push tasks that count in the batch."""
        options["batch"] = self.name
        return await self._queue.push_many(payloads, request=request, **options)

    async def push_flow(
        self,
        flow: Payload | Flow,
        *,
        after: Iterable[Task | str] = (),
        request: str | None = None,
        **options: Unpack[FlowOptions],
    ) -> FlowIds:
        """Push a flow whose tasks count in the batch."""
        options["batch"] = self.name
        return await self._queue.push_flow(flow, after=after, request=request, **options)

    async def close(self) -> bool:
        """Close the batch: its callback becomes ready once all tasks have ended. False if it was closed before."""
        return await self._queue.close_batch(self.name)

    async def info(self) -> BatchInfo | None:
        """The state and the counts of the batch; None if it is not there, as after the end of its callback."""
        return await self._queue.batch_info(self.name)

    async def delete(self) -> Literal["removed", "asked"] | None:
        """Delete the batch and its callback. Its tasks go on. See `delete_batch`."""
        return await self._queue.delete_batch(self.name)
