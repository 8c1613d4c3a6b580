"""Outcomes: converts what a function returned or raised into ack, fail or requeue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .._sync.base_queue import BaseQueue
from ..calls import BadPayload
from ..codecs import Codec
from ..commands import Payload, Step
from ..errors import CancelAsked, OutOfMemory, TimedOut
from ..replies import Task
from ..tracebacks import described, error_text, sendable
from .context import TaskContext, progress_bytes
from .functions import AnyFunction
from .policy import NO_POLICY, Policy

log = logging.getLogger("taskslot")

# The files whose calls a task's error leaves out.
WORKER = str(Path(__file__).parent)


class Fail(Exception):
    """Raised by a function to report a failed attempt. `why` is the error, as a text or another exception.

    `delay_ms` is the time until the next attempt, instead of the queue's backoff. With `dead` there is no next attempt.
    `progress` says how far the task has got: the next attempt gets it as `last_progress`.
    """

    def __init__(
        self,
        why: str | BaseException = "",
        *,
        delay_ms: int | None = None,
        dead: bool = False,
        progress: Payload | None = None,
    ) -> None:
        super().__init__(why)
        if dead and delay_ms is not None:
            raise ValueError("a dead task is not tried again: give delay_ms or dead, not both")
        self.why = described(why) if isinstance(why, BaseException) else str(why)
        self.delay_ms = delay_ms
        self.dead = dead
        self.progress = None if progress is None else progress_bytes(progress)


class GiveBack(Exception):
    """Raised by a function to give its task back unfinished. This does not count as a failed attempt.

    The task is ready again after `delay_ms`. Without a delay it returns to its old position, so the next free worker
    gets it at once. `progress` says how far the task has got: the next attempt gets it as `last_progress`.
    """

    def __init__(self, *, delay_ms: int | None = None, progress: Payload | None = None) -> None:
        super().__init__("given back")
        self.delay_ms = delay_ms
        self.progress = None if progress is None else progress_bytes(progress)


@dataclass(frozen=True, slots=True)
class Done:
    """The function returned: TASK.ACK."""

    result: bytes | None
    retain_ms: int | None
    step: Step | None = None

    def send(self, queue: BaseQueue, task: Task) -> int:
        """Ack the task. If the server is out of memory, the task is finished without keeping its result."""
        try:
            self._ack(queue, task, self.retain_ms)
        except OutOfMemory:
            # Callers that already wait for the result still get it.
            self._ack(queue, task, 0)
            log.warning("task %s is done, but not kept: the server is out of memory", task.id)
        return 0

    def _ack(self, queue: BaseQueue, task: Task, keep_ms: int | None) -> None:
        if self.step is None:
            queue.ack(task, result=self.result, retain_ms=keep_ms)
        else:
            queue.ack_and_push(
                task, self.step.payload, result=self.result, keep_ms=keep_ms, **self.step.options
            )


@dataclass(frozen=True, slots=True)
class Failed:
    """The function raised: TASK.FAIL."""

    error: str
    delay_ms: int | None = None
    dead: bool = False
    function: str = ""
    cause: BaseException | None = field(default=None, compare=False)
    progress: bytes | None = None

    def send(self, queue: BaseQueue, task: Task) -> int:
        """Fail the task. Returns the ms until it is ready again, -1 if it is dead, 0 if it no longer exists."""

        def fail(progress: bytes | None) -> int:
            return queue.fail(task, self.error, delay_ms=self.delay_ms, dead=self.dead, progress=progress)

        return with_progress(fail, self.progress, task)

    def log(self, task: str, next_: str, extra: Mapping[str, object]) -> None:
        """Log the failure and what happens next. `extra` are attributes of the record."""
        name = f", {self.function}," if self.function else ""
        trace = None if isinstance(self.cause, Fail | BadPayload) else self.cause
        what = self.error if trace is None else described(trace)
        log.warning("task %s%s failed%s: %s", task, name, next_, what, exc_info=trace, extra=extra)


@dataclass(frozen=True, slots=True)
class GivenBack:
    """The function gave the task back: TASK.REQUEUE."""

    delay_ms: int | None = None
    progress: bytes | None = None

    def send(self, queue: BaseQueue, task: Task) -> int:
        """Requeue the task."""
        with_progress(
            lambda progress: queue.requeue(task, delay_ms=self.delay_ms, progress=progress),
            self.progress,
            task,
        )
        return 0


def with_progress(send: Callable[[bytes | None], int], progress: bytes | None, task: Task) -> int:
    """Send an outcome with its progress. If the server is out of memory, it is sent without."""
    try:
        return send(progress)
    except OutOfMemory:
        if progress is None:
            raise
        log.warning("task %s: its progress is not stored, the server is out of memory", task.id)
        return send(None)


Outcome = Done | Failed | GivenBack


def of_end(
    context: TaskContext,
    function: AnyFunction,
    codec: Codec,
    value: Any,
    error: BaseException | None,
    is_stopping: bool,
) -> Outcome | None:
    """The outcome of a function that returned `value` or raised `error`. There is one, whatever these objects do."""
    try:
        if error is None:
            return of_value(value, context, function, codec)
        outcome = with_reported(of_error(error, context, is_stopping, function.policy), context)
        return replace(outcome, function=function.name) if isinstance(outcome, Failed) else outcome
    except BaseException as broken:
        # A log handler can raise, and so can methods of the user's objects.
        why = f"the outcome of {function.name} can't be read: {type(broken).__name__}"
        return Failed(sendable(why), dead=error is None)


def of_value(value: Any, context: TaskContext, function: AnyFunction, codec: Codec) -> Outcome:
    """The outcome of a returned value. If it can't be encoded, the task is dead: a retry would repeat finished work."""
    try:
        result = None if value is None else function.written_result(value, codec)
    except Exception as error:
        why = f"the result of {function.name} can't be written as {codec.name}: {described(error)}"
        log.error("%s", why)
        return Failed(why, dead=True, function=function.name)
    return Done(result, function.retain_of(context.is_kept), context.step)


def of_error(
    error: BaseException, context: TaskContext, is_stopping: bool, policy: Policy = NO_POLICY
) -> Outcome | None:
    """The outcome of an exception; None if the lease is lost, so that nothing can be reported.

    SystemExit and KeyboardInterrupt are failures like any other. A library that calls `sys.exit` must not end the
    worker and its other tasks.
    """
    if context.lease_lost:
        return None
    if isinstance(error, GiveBack):
        return GivenBack(error.delay_ms, error.progress)
    if isinstance(error, Fail):
        delay_ms = error.delay_ms
        if delay_ms is None and not error.dead:
            delay_ms = policy.delay_ms(context.failures + 1)
        return Failed(sendable(error.why), delay_ms, error.dead, cause=error, progress=error.progress)
    # A requeue ends a cancelled task, like a fail, but without an error: the function stopped as it was asked to.
    if context.cancelled and isinstance(error, (CancelAsked, asyncio.CancelledError)):
        return GivenBack()
    if context.timed_out and isinstance(error, asyncio.CancelledError):
        error = TimedOut(f"timed out after {policy.timeout_ms} ms").with_traceback(error.__traceback__)
    # A program that ends its event loop cancels the tasks on it.
    elif is_stopping and isinstance(error, asyncio.CancelledError):
        return GivenBack()
    if isinstance(error, BadPayload):
        return Failed(described(error), dead=True, cause=error)
    # A result that is gone does not come back.
    dead = error is context.missing or policy.is_dead(error)
    delay_ms = None if dead else policy.delay_ms(context.failures + 1)
    return Failed(error_text(error, WORKER), delay_ms, dead, cause=error)


def with_reported(outcome: Outcome | None, context: TaskContext) -> Outcome | None:
    """The outcome with the progress that the function reported last, if that has still to be sent."""
    if isinstance(outcome, Failed | GivenBack) and outcome.progress is None and context.has_progress():
        return replace(outcome, progress=context.take_progress())
    return outcome
