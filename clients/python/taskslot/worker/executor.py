"""Runs the functions of tasks: sync functions on threads, async functions on an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from ..calls import BadPayload, Call
from . import children
from .context import CURRENT, TaskContext
from .functions import AnyFunction
from .loops import Loop
from .options import WorkerOptions
from .outcomes import Failed, Outcome, described, of_end, of_error, sendable
from .threads import Threads

log = logging.getLogger("taskslot")

Begin = Callable[[], Coroutine[Any, Any, Any]]
Ended = tuple[Any, BaseException | None]


class Executor:
    """Runs the function of each task, and calls `end` with the outcome, never on the event loop.

    `is_stopping` returns whether the worker is stopping. `loop_closed` is called if the event loop is closed, so that
    no async function can run.
    """

    def __init__(
        self,
        options: WorkerOptions,
        threads: Threads,
        loop: Loop,
        end: Callable[[TaskContext, Outcome | None], None],
        is_stopping: Callable[[], bool],
        loop_closed: Callable[[], None],
    ) -> None:
        self._options = options
        self._threads = threads
        self._loop = loop
        self._end = end
        self._is_stopping = is_stopping
        self._loop_closed = loop_closed
        self._pid = os.getpid()

    def start(self, context: TaskContext) -> None:
        """Run the function that the task names, or end the task at once if there is none."""
        task = context.task
        try:
            call = Call.read(task.payload, self._options.codec)
        except BadPayload as error:
            self._end_soon(context, Failed(described(error), dead=True))
            return
        function = self._options.functions.get(call.task)
        if function is None:
            # Another worker may know it, for example while a new version is rolled out.
            log.error("task %s of %s is for a function that this worker doesn't have", task.id, task.key)
            self._end_soon(context, Failed(sendable(f"UnknownTask: no function {call.task!r}")))
        elif function.is_async:
            self._on_loop(partial(self._begin_async, context, function, call))
        else:
            self._threads.start(partial(self._run_sync, context, function, call))

    def _end_soon(self, context: TaskContext, outcome: Outcome) -> None:
        self._threads.start(partial(self._end, context, outcome))

    def _end_with(
        self, context: TaskContext, function: AnyFunction, value: Any, error: BaseException | None
    ) -> None:
        codec = self._options.codec
        self._end(context, of_end(context, function, codec, value, error, self._is_stopping()))

    # ---- on a thread

    def _run_sync(self, context: TaskContext, function: AnyFunction, call: Call) -> None:
        if not context.try_begin():
            self._end(context, of_error(asyncio.CancelledError(), context, True))
            return
        variables = variables_of(context)
        try:
            value, error = variables.run(function.function, *call.args, **call.kwargs), None
        except BaseException as raised:
            value, error = None, raised
        if os.getpid() != self._pid:
            children.end(error)
        if inspect.isawaitable(value):
            # A plain function that returned an awaitable, such as a decorator around an async function.
            self._on_loop(partial(self._await, context, function, partial(returned, value), variables))
        else:
            self._end_with(context, function, value, error)

    # ---- on the event loop

    def _on_loop(self, callback: Callable[[], None]) -> None:
        if not self._loop.call(callback):
            self._loop_closed()

    def _begin_async(self, context: TaskContext, function: AnyFunction, call: Call) -> None:
        begin = partial(called, context, function, call)
        self._await(context, function, begin, variables_of(context))

    def _await(
        self, context: TaskContext, function: AnyFunction, begin: Begin, variables: contextvars.Context
    ) -> None:
        """Run a coroutine as an asyncio task."""
        task = asyncio.get_running_loop().create_task(awaited(begin, self._pid), context=variables)
        task.add_done_callback(lambda task: self._ended_async(context, function, task))
        context.on_stop(partial(self._loop.call, task.cancel))

    def _ended_async(self, context: TaskContext, function: AnyFunction, task: asyncio.Task[Ended]) -> None:
        """End the task of an async function, even if that was cancelled before its first step."""
        value, error = (None, asyncio.CancelledError()) if task.cancelled() else task.result()
        # On a thread, because encoding and sending a result would block the event loop.
        self._threads.start(partial(self._end_with, context, function, value, error))


def variables_of(context: TaskContext) -> contextvars.Context:
    """The context variables of a function, in which `current()` finds its task."""
    variables = contextvars.Context()
    variables.run(CURRENT.set, context)
    return variables


async def called(context: TaskContext, function: AnyFunction, call: Call) -> Any:
    """Call an async function, unless it should stop already."""
    if not context.try_begin():
        raise asyncio.CancelledError
    return await function.function(*call.args, **call.kwargs)


async def returned(value: Awaitable[Any]) -> Any:
    """Await the awaitable that a function returned."""
    return await value


async def awaited(begin: Begin, pid: int) -> Ended:
    """Await a coroutine and return its value and its exception. SystemExit, if raised, would end the event loop."""
    result, error = None, None
    try:
        result = await children.in_this_process(begin())
    except BaseException as raised:
        error = raised
    if os.getpid() != pid:
        children.end(error)
    return result, error
