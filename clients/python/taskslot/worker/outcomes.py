"""How a function's end becomes an answer to the server."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from typing import Any

from .._sync.base_queue import BaseQueue
from ..codecs import Codec
from ..errors import CancelAsked, OutOfMemory
from ..replies import Task
from .context import TaskContext
from .functions import AnyFunction

log = logging.getLogger("taskslot")

# The server keeps 1 KiB of an error; a text may hold a payload of many MiB.
ERROR_CHARACTERS = 1024


class Fail(Exception):
    """Raised in a function: this attempt failed, with this text as the task's error, or that of another exception.

    `delay_ms` is when it is tried again, in place of the queue's backoff; `dead` says that trying again is of no use.
    """

    def __init__(
        self, why: str | BaseException = "", *, delay_ms: int | None = None, dead: bool = False
    ) -> None:
        super().__init__(why)
        if dead and delay_ms is not None:
            raise ValueError("a dead task is not tried again: give delay_ms or dead, not both")
        self.why = described(why) if isinstance(why, BaseException) else str(why)
        self.delay_ms = delay_ms
        self.dead = dead


class GiveBack(Exception):
    """Raised in a function: not now. The task is ready again, or after `delay_ms`; it counts nothing against it.

    Without a delay it goes to its old place, so that the next free worker has it at once.
    """

    def __init__(self, *, delay_ms: int | None = None) -> None:
        super().__init__("given back")
        self.delay_ms = delay_ms


@dataclass(frozen=True, slots=True)
class Done:
    """The function returned: TASK.ACK."""

    result: bytes | None
    retain_ms: int | None

    def send(self, queue: BaseQueue, task: Task) -> int:
        """Say so. A full server keeps no more results, and drains only by tasks that are finished."""
        try:
            queue.ack(task, result=self.result, retain_ms=self.retain_ms)
        except OutOfMemory:
            # Who waits for the result gets it all the same.
            queue.ack(task, result=self.result, retain_ms=0)
            log.warning("task %s is done, but not kept: the server is out of memory", task.id)
        return 0


@dataclass(frozen=True, slots=True)
class Failed:
    """The function raised: TASK.FAIL."""

    error: str
    delay_ms: int | None = None
    dead: bool = False
    function: str = ""
    trace: BaseException | None = field(default=None, compare=False)

    def send(self, queue: BaseQueue, task: Task) -> int:
        """Say so: the ms until the task is ready again, -1 if it is dead, 0 if there is none any more."""
        return queue.fail(task, self.error, delay_ms=self.delay_ms, dead=self.dead)

    def log(self, task: Task, next_: str) -> None:
        """Log it, with what happens next."""
        name = f", {self.function}," if self.function else ""
        log.warning("task %s%s failed%s: %s", task.id, name, next_, self.error, exc_info=self.trace)


@dataclass(frozen=True, slots=True)
class GivenBack:
    """The task goes back: TASK.REQUEUE."""

    delay_ms: int | None = None

    def send(self, queue: BaseQueue, task: Task) -> int:
        """Say so."""
        queue.requeue(task, delay_ms=self.delay_ms)
        return 0


Outcome = Done | Failed | GivenBack


def of_end(
    context: TaskContext,
    function: AnyFunction,
    codec: Codec,
    value: Any,
    error: BaseException | None,
    is_stopping: bool,
) -> Outcome | None:
    """What a function's end says. Whatever is wrong with what it returned or raised, the task has an end."""
    try:
        if error is None:
            return of_value(value, context.task, function, codec)
        outcome = of_error(error, context, is_stopping)
        if isinstance(outcome, Failed):
            trace = None if isinstance(error, Fail) else error
            return replace(outcome, function=function.name, trace=trace)
        return outcome
    except BaseException as broken:
        # A handler of the log can raise, and so can what the user's objects are asked for.
        why = f"the outcome of {function.name} can't be read: {type(broken).__name__}"
        return Failed(sendable(why), dead=error is None)


def of_value(value: Any, task: Task, function: AnyFunction, codec: Codec) -> Outcome:
    """A result that can't be written makes the task dead: the function has done its work, and would do it again."""
    try:
        result = None if value is None else codec.dumps(value)
    except Exception as error:
        why = f"the result of {function.name} can't be written as {codec.name}: {described(error)}"
        log.error("%s", why)
        return Failed(why, dead=True)
    return Done(result, function.retain_of(task))


def of_error(error: BaseException, context: TaskContext, is_stopping: bool) -> Outcome | None:
    """What an exception says; None where there is nobody to tell, since the lease is lost.

    SystemExit and KeyboardInterrupt are failures of the task as any other: a library that calls `sys.exit` must not
    take the worker down, with all that runs beside it.
    """
    if context.lease_lost:
        return None
    if isinstance(error, GiveBack):
        return GivenBack(error.delay_ms)
    if isinstance(error, Fail):
        return Failed(sendable(error.why), error.delay_ms, error.dead)
    # A task that somebody cancelled is gone with either answer; without an error, since the function did as asked.
    if context.cancelled and isinstance(error, (CancelAsked, asyncio.CancelledError)):
        return GivenBack()
    # Whoever ends an event loop cancels what runs on it.
    if is_stopping and isinstance(error, asyncio.CancelledError):
        return GivenBack()
    return Failed(described(error))


def described(error: BaseException) -> str:
    """An exception as the task's error: `ValueError: no such address`."""
    try:
        text = str(error)
    except BaseException:
        text = ""
    return sendable(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def sendable(text: str) -> str:
    """A text that can be sent: what isn't Unicode in it (the name of a file, say) is written as its code."""
    return text[:ERROR_CHARACTERS].encode("utf-8", "backslashreplace").decode()
