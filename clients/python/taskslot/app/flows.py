"""Flows and batches of an app's functions, which are all in one queue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self, Unpack

from .._async.batch import AsyncBatch
from .._sync.batch import Batch
from ..commands import CallbackOptions, FlowOptions
from ..flows import Flow, FlowIds, Step, as_flow
from ..flows import group as group_of
from .connections import Connections
from .pushed import Pushed
from .task import AppStep


def steps_of(flow: Flow) -> Iterator[Step]:
    """The steps of a flow, in order."""
    if isinstance(flow, Step):
        yield flow
    else:
        for one in flow.flows:
            yield from steps_of(one)


def queue_of(steps: Iterable[Any]) -> str:
    """The queue of steps. Raises TypeError for what is no call of an app's function, ValueError for two queues."""
    queues: dict[str, AppStep] = {}
    for step in steps:
        if not isinstance(step, AppStep):
            hint = "write resize.step(…) for a call of resize"
            raise TypeError(f"an app pushes steps of its own functions, not {type(step).__name__}: {hint}")
        if "unique" in step.options:
            raise ValueError(f"{step.task.name} is unique, which a task of a flow or a batch can't be")
        queues.setdefault(step.queue, step)
    if len(queues) > 1:
        two = [f"{step.task.name} is in {queue}" for queue, step in list(queues.items())[:2]]
        raise ValueError(f"what belongs together must be in one queue, but {' and '.join(two)}")
    return next(iter(queues))


def with_results(flow: Flow, ids: FlowIds) -> Any:
    """The ids of a flow in its shape, each as a `Pushed`."""
    if isinstance(flow, Step):
        return flow.of(ids) if isinstance(flow, AppStep) else ids
    return [with_results(one, of) for one, of in zip(flow.flows, ids, strict=True)]


def push_flow(connections: Connections, flow: Any, options: FlowOptions) -> Any:
    """Push a flow of an app's functions."""
    flow = as_flow(flow)
    queue = connections.queue(queue_of(steps_of(flow)))
    return with_results(flow, queue.push_flow(flow, **options))


async def apush_flow(connections: Connections, flow: Any, options: FlowOptions) -> Any:
    """`push_flow` for asyncio."""
    flow = as_flow(flow)
    queue = connections.aqueue(queue_of(steps_of(flow)))
    return with_results(flow, await queue.push_flow(flow, **options))


class AppBatch:
    """A batch of an app's functions: `with app.batch("import-7", report.step()) as batch:`, or `async with`.

    With `with`, use `push`, `push_many` and `push_flow`; with `async with`, those with an `a` in front. `callback` is
    the task that runs when the batch is closed and all of its tasks have ended.
    """

    def __init__(
        self, connections: Connections, name: str, callback: AppStep, options: CallbackOptions
    ) -> None:
        self._queue = queue_of([callback])
        self.name = name
        self._connections = connections
        self._callback = callback
        self._options: CallbackOptions = {**callback.options, **options}  # type: ignore[typeddict-unknown-key]
        self._sync: Batch | None = None
        self._async: AsyncBatch | None = None

    @property
    def callback(self) -> Pushed[Any]:
        """The callback. Raises RuntimeError before the batch is opened."""
        opened = self._sync or self._async
        if opened is None or opened.callback is None:
            raise RuntimeError(f"batch {self.name} is not open: use it as a context manager")
        return self._callback.of(opened.callback)

    # ---- with

    def __enter__(self) -> Self:
        queue = self._connections.queue(self._queue)
        self._sync = queue.batch(self.name, self._callback.payload, **self._options)
        self._sync.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sync is not None:
            self._sync.__exit__(kind, error, trace)

    def push(self, step: AppStep) -> Pushed[Any]:
        """Push a task that counts in the batch."""
        return self.push_many([step])[0]

    def push_many(self, steps: Iterable[AppStep]) -> list[Pushed[Any]]:
        """Push tasks that count in the batch; equal options are pushed together."""
        found = self._checked(steps)
        pushed: list[Pushed[Any]] = self.push_flow(group_of(found)) if found else []
        return pushed

    def push_flow(self, flow: Any, **options: Unpack[FlowOptions]) -> Any:
        """Push a flow whose tasks count in the batch."""
        self._checked(steps_of(as_flow(flow)))
        if self._sync is None:
            raise RuntimeError(f"batch {self.name} is not open: use it in a with block")
        return with_results(flow, self._sync.push_flow(flow, **options))

    # ---- async with

    async def __aenter__(self) -> Self:
        queue = self._connections.aqueue(self._queue)
        self._async = queue.batch(self.name, self._callback.payload, **self._options)
        await self._async.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._async is not None:
            await self._async.__aexit__(kind, error, trace)

    async def apush(self, step: AppStep) -> Pushed[Any]:
        """Push a task that counts in the batch."""
        return (await self.apush_many([step]))[0]

    async def apush_many(self, steps: Iterable[AppStep]) -> list[Pushed[Any]]:
        """Push tasks that count in the batch; equal options are pushed together."""
        found = self._checked(steps)
        pushed: list[Pushed[Any]] = await self.apush_flow(group_of(found)) if found else []
        return pushed

    async def apush_flow(self, flow: Any, **options: Unpack[FlowOptions]) -> Any:
        """Push a flow whose tasks count in the batch."""
        self._checked(steps_of(as_flow(flow)))
        if self._async is None:
            raise RuntimeError(f"batch {self.name} is not open: use it in an async with block")
        return with_results(flow, await self._async.push_flow(flow, **options))

    def _checked(self, steps: Iterable[Any]) -> list[AppStep]:
        """The steps as a list. Raises TypeError and ValueError for what can't be in this batch."""
        found = list(steps)
        queue_of([self._callback, *found])
        return found
