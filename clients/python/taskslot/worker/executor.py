"""Runs the functions of tasks: sync functions on threads, async functions on an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, NamedTuple

from ..calls import BadPayload, Call
from ..tracebacks import described, sendable
from . import children
from .answers import Answers
from .context import CURRENT, TaskContext
from .functions import AnyFunction
from .hooks import Around
from .loops import Loop
from .options import WorkerOptions
from .outcomes import Done, Failed, Outcome, of_end, of_error
from .threads import Threads
from .timeouts import Timeouts

log = logging.getLogger("taskslot")

Begin = Callable[[], Coroutine[Any, Any, Any]]
Ended = tuple[Any, BaseException | None]


class Job(NamedTuple):
    """A task with the function that it names."""

    context: TaskContext
    function: AnyFunction
    call: Call


class Executor:
    """Runs the function of each task, and lets `answers` send the outcome.

    `is_stopping` returns whether the worker is stopping. `loop_closed` is called if the event loop is closed, so that
    no async function can run.
    """

    def __init__(
        self,
        options: WorkerOptions,
        threads: Threads,
        loop: Loop,
        answers: Answers,
        timeouts: Timeouts,
        is_stopping: Callable[[], bool],
        loop_closed: Callable[[], None],
    ) -> None:
        self._options = options
        self._threads = threads
        self._loop = loop
        self._answers = answers
        self._timeouts = timeouts
        self._hooks = options.hooks
        self._is_stopping = is_stopping
        self._loop_closed = loop_closed
        self._pid = os.getpid()

    def start(self, contexts: Sequence[TaskContext], spare_s: float) -> list[Job]:
        """Run the functions that the tasks name, or end a task at once if there is none.

        Returns those of sync functions that together usually take less than `spare_s`, for the caller to `run`; and
        those for which no thread can be started.
        """
        short, on_loop = list[Job](), list[Job]()
        for context in contexts:
            if (job := self._job(context)) is None:
                continue
            if job.function.is_async:
                on_loop.append(job)
                continue
            if job.function.usual_s < spare_s:
                spare_s -= job.function.usual_s
                short.append(job)
            elif not self.start_thread(job):
                short.append(job)
        if on_loop and not self._loop.call(partial(self._begin_async, on_loop)):
            self._loop_closed()
        return short

    def start_thread(self, job: Job) -> bool:
        """Run the function of a task on a thread. Returns False if the process can't start one."""
        try:
            self._threads.start(partial(self.run, job))
        except RuntimeError:
            return False
        return True

    def run(self, job: Job, claimer: object = None) -> None:
        """Run a sync function here, and end its task. `claimer` is the claimer that calls this; it sends the answer."""
        context, function, call = job
        end = partial(self._answers.end, context, here=claimer is None, claimer=claimer)
        if not context.try_begin():
            return end(of_error(asyncio.CancelledError(), context, True))
        variables, around = variables_of(context), self._begun(context, function)
        begun_at = time.monotonic()
        try:
            if around is None:
                value, error = variables.run(function.run, *call.args, **call.kwargs), None
            else:
                value, error = variables.run(around.run, function.run, call.args, call.kwargs), None
        except BaseException as raised:
            value, error = None, raised
        if os.getpid() != self._pid:
            children.end(error)
        function.took(time.monotonic() - begun_at)
        if value is not None and inspect.isawaitable(value):
            # A plain function that returned an awaitable, such as a decorator around an async function.
            begin = partial(returned, value, around)
            if not self._loop.call(partial(self._await, context, function, begin, variables)):
                self._loop_closed()
            return
        self._over(context, function)
        end(self._outcome(context, function, value, error))

    def _begun(self, context: TaskContext, function: AnyFunction) -> Around | None:
        """Note that a function begins. Returns the hooks to call around it, if there are any."""
        context.name = function.name
        if (timeout_ms := function.policy.timeout_ms) is not None:
            context.timeout_ms = timeout_ms
            self._timeouts.add(context, timeout_ms)
        return self._hooks.around(context)

    def _over(self, context: TaskContext, function: AnyFunction) -> None:
        if function.policy.timeout_ms is not None:
            self._timeouts.remove(context)

    def _job(self, context: TaskContext) -> Job | None:
        task = context.task
        try:
            call = Call.read(task.payload, self._options.codec)
        except BadPayload as error:
            self._answers.end(context, Failed(described(error), dead=True, cause=error), here=False)
            return None
        function = self._options.functions.get(call.task)
        if function is None:
            # Another worker may know it, for example while a new version is rolled out.
            log.error("task %s of %s is for a function that this worker doesn't have", task.id, task.key)
            why = sendable(f"UnknownFunction: no function {call.task!r}")
            self._answers.end(context, Failed(why), here=False)
            return None
        return Job(context, function, call)

    def _outcome(
        self, context: TaskContext, function: AnyFunction, value: Any, error: BaseException | None
    ) -> Outcome | None:
        return of_end(context, function, self._options.codec, value, error, self._is_stopping())

    # ---- on the event loop

    def _begin_async(self, jobs: Sequence[Job]) -> None:
        for context, function, call in jobs:
            begin = partial(self._called, context, function, call)
            self._await(context, function, begin, variables_of(context))

    async def _called(self, context: TaskContext, function: AnyFunction, call: Call) -> Any:
        """Call an async function, unless it should stop already."""
        if not context.try_begin():
            raise asyncio.CancelledError
        around = self._begun(context, function)
        if around is None:
            return await function.run(*call.args, **call.kwargs)
        return await returned(around.run(function.run, call.args, call.kwargs), around)

    def _await(
        self, context: TaskContext, function: AnyFunction, begin: Begin, variables: contextvars.Context
    ) -> None:
        """Run a coroutine as an asyncio task."""
        task = asyncio.get_running_loop().create_task(awaited(begin, self._pid), context=variables)
        task.add_done_callback(lambda task: self._ended_async(context, function, task))
        context.on_stop(partial(self._loop.call, task.cancel))

    def _ended_async(self, context: TaskContext, function: AnyFunction, task: asyncio.Task[Ended]) -> None:
        """End the task of an async function, even if that was cancelled before its first step."""
        self._over(context, function)
        value, error = (None, asyncio.CancelledError()) if task.cancelled() else task.result()
        if value is None and error is None:
            done = Done(None, function.retain_of(context.is_kept), context.step)
            self._answers.end(context, done, here=False)
            return

        # On a thread if there is one, because encoding and sending a result would block the event loop.
        def end() -> None:
            self._answers.end(context, self._outcome(context, function, value, error))

        self._answers.elsewhere(end)


def variables_of(context: TaskContext) -> contextvars.Context:
    """The context variables of a function, in which `current()` finds its task."""
    variables = contextvars.Context()
    variables.run(CURRENT.set, context)
    return variables


async def returned(value: Awaitable[Any], around: Around | None) -> Any:
    """Await the awaitable that a function returned, and call what comes after it."""
    error: BaseException | None = None
    try:
        return await value
    except BaseException as raised:
        error = raised
        raise
    finally:
        if around is not None:
            around.end(error)


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
