"""One run of a worker: claims as many tasks as it has places for, has their functions run, answers, and stops.

What waits for a server runs on threads of its own, never on the event loop of async functions. The threads:

- one claims (`_claim_on`);
- one watches the leases (leases.py), and each heartbeat has one;
- each sync function has one, which then sends its answer; so has the answer of an async function;
- async functions share an event loop: the user's, or one on a thread of its own (loops.py);
- whoever calls `run` waits for what is asked of it, first of all to stop.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from queue import Empty, SimpleQueue
from typing import Any, Literal

from .. import commands
from .._sync.queue import Queue
from .._sync.sharded import ShardedQueue
from ..arguments import MOST, token
from ..calls import BadPayload, Call
from ..codecs import Codec
from ..errors import LeaseLost, OutOfMemory, Refused, TaskslotError
from ..outages import Outages
from ..replies import Task
from . import children
from .context import CURRENT, TaskContext
from .functions import AnyFunction
from .leases import Leases
from .loops import Loop
from .outcomes import Done, Fail, Failed, Outcome, described, of_error, sendable
from .threads import Threads

log = logging.getLogger("taskslot")

# How long a claim waits in the server, and so how long a stop may wait for it.
BLOCK_MS = 1000
# The rest after an error of a server that is away: from, to. The queue has tried for its own patience before.
REST_S = (0.1, 5.0)
# From then on a function that has ended, and whose answer is still under way, is no reason to claim less: its node is
# away, and its place is for tasks of those that work.
LATE_ANSWER_S = 1.0
# How long the main thread waits at a time. Python runs signal handlers there, but the system may give a signal to
# another thread, which doesn't wake it.
WAKE_S = 0.2
# How long a stop waits for its TASK.REQUEUE where a server is away, and then for functions that were told to end.
REQUEUE_S = 4.0
TOLD_S = 1.0
# Errors of a server that takes no writes for now, while others of their kind are for good.
PASSING = ("MISCONF", "NOREPLICAS", "BUSY ")

Ask = Literal["stop", "stop now", "look"]
Begin = Callable[[], Coroutine[Any, Any, Any]]


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker was made with."""

    queue: Queue | ShardedQueue
    concurrency: int
    name: str
    lease_ms: int | None
    codec: Codec
    grace_ms: int
    claim: Mapping[str, Any] = field(default_factory=dict)


class Runner:
    """One run. `ask` may be called from anywhere, also from a signal handler; `run` blocks until it has stopped."""

    def __init__(
        self,
        options: WorkerOptions,
        functions: Mapping[str, AnyFunction],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.options = options
        self.functions = functions
        self._pid = os.getpid()
        self._queue: Any = options.queue
        self._threads = Threads("taskslot")
        self._leases = Leases(options.queue, self._threads, options.lease_ms)
        self._loop = Loop(loop)
        # Put by signal handlers, too: a SimpleQueue takes that in the midst of anything.
        self._asked: SimpleQueue[Ask] = SimpleQueue()
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._runs: dict[str, TaskContext] = {}
        self._claims = True
        self._broken: Exception | None = None
        self.interrupted = False  # by Ctrl-C

    def ask(self, what: Ask) -> None:
        """Ask for a stop: gracefully, or at once."""
        self._asked.put(what)

    def run(self) -> int:
        """Work until a stop is asked for: 0 if all tasks ended in time, 1 if some were given back."""
        # Who shares the connections has it in the log, too.
        self.options.queue.wire.outages = self.options.queue.wire.outages or Outages()
        self._leases.open()
        self._threads.start(self._claim_on)
        log.info(
            "worker %s works on %s, in %d places: %s",
            self.options.name,
            self.options.queue.name,
            self.options.concurrency,
            ", ".join(self.functions) or "it knows no function",
        )
        asked: Ask | None = None
        while asked not in ("stop", "stop now") and self._broken is None:
            asked = self._next_ask(WAKE_S)
        status = self._stop(0 if asked == "stop now" else self.options.grace_ms / 1000)
        if self._broken is not None:
            raise self._broken
        return status

    def _next_ask(self, seconds: float) -> Ask | None:
        """The next thing that is asked for, None where it isn't soon."""
        try:
            return self._asked.get(timeout=max(0.0, min(WAKE_S, seconds)))
        except Empty:
            return None

    # ---- claiming

    def _claim_on(self) -> None:
        """Claim until the stop. What the server refuses ends the worker: claiming again would not help."""
        try:
            while free := self._wait_for_places():
                asked_at = time.monotonic()
                tasks = self._claim(min(free, MOST))
                self._requeue([task for task in tasks if not self._take(task, asked_at)])
        except Exception as error:
            log.error("worker %s stops: %s", self.options.name, described(error))
            self._broken = error
        finally:
            self._claims = False
            self.ask("look")

    def _wait_for_places(self) -> int:
        """How many tasks may be claimed, once there may be any; 0 at the stop."""
        with self._changed:
            while not self._stopping.is_set():
                if (free := self._free_places()) > 0:
                    return free
                self._changed.wait(LATE_ANSWER_S)
        return 0

    def _free_places(self) -> int:
        """Functions that run take places, and answers until they are late: at most as many late ones as places."""
        places, late_at = self.options.concurrency, time.monotonic() - LATE_ANSWER_S
        late = sum(
            context.ended_at is not None and context.ended_at < late_at for context in self._runs.values()
        )
        return places - len(self._runs) + min(late, places)

    def _claim(self, count: int) -> list[Task]:
        """Claim, again and again while a server is away: with one token, since a claim may have been done unheard."""
        request, rest_s = token(), REST_S[0]
        while not self._stopping.is_set():
            try:
                tasks = self._queue.claim(
                    count,
                    block_ms=BLOCK_MS,
                    request=request,
                    worker=self.options.name,
                    lease_ms=self.options.lease_ms,
                    **{**self.options.claim, "meta": self._wants_meta()},
                )
                return list(tasks)
            except Exception as error:
                if not self._passes(error):
                    raise
                self._tell_retry(error, f"claim of {self.options.queue.name} failed")
            self._stopping.wait(rest_s)
            rest_s = min(REST_S[1], rest_s * 2)
        return []

    def _wants_meta(self) -> bool:
        """Whether it is to be known of tasks how long the push or the queue has them kept, or the user wants it all."""
        is_default = any(function.retain_ms == "default" for function in list(self.functions.values()))
        return is_default or bool(self.options.claim.get("meta"))

    def _tell_retry(self, error: Exception, what: str) -> None:
        """A server that is away is in the log already, once; one that refuses for now is told of each time."""
        level = logging.WARNING if isinstance(error, TaskslotError) else logging.DEBUG
        log.log(level, "%s, trying again: %s", what, described(error))

    def _passes(self, error: Exception) -> bool:
        """Whether an error is of a server that is away, or takes no writes for now."""
        if isinstance(error, TaskslotError):
            waits = isinstance(error, Refused) and str(error).startswith(PASSING)
            return waits or isinstance(error, OutOfMemory)
        return self.options.queue.wire.kind.is_away(error)

    # ---- a task

    def _take(self, task: Task, asked_at: float) -> bool:
        """Give a task a place and begin with it; False where the stop came before."""
        context = TaskContext(task, self._leases.wake)
        with self._changed:
            if self._stopping.is_set():
                return False
            if task.handle in self._runs:
                return True  # a claim that was sent again brought it twice
            self._runs[task.handle] = context
        self._leases.add(context, asked_at)
        self._begin(context, task)
        return True

    def _begin(self, context: TaskContext, task: Task) -> None:
        """Run the function that the task is for, or answer at once that this can't be."""
        try:
            call = Call.read(task.payload, self.options.codec)
        except BadPayload as error:
            log.error("task %s of %s is dead: %s", task.id, task.key, error)
            self._threads.start(partial(self._end, context, Failed(described(error), dead=True)))
            return
        function = self.functions.get(call.task)
        if function is None:
            # Another worker may know it, as while a new version is being rolled out.
            log.error("task %s of %s is for a function that this worker doesn't have", task.id, task.key)
            unknown = Failed(sendable(f"UnknownTask: no function {call.task!r}"))
            self._threads.start(partial(self._end, context, unknown))
        elif function.is_async:
            if not self._loop.call(partial(self._begin_async, context, function, call)):
                self.ask("stop now")  # the user's loop is closed: nothing async can run any more
        else:
            self._threads.start(partial(self._run_sync, context, function, call))

    def _run_sync(self, context: TaskContext, function: AnyFunction, call: Call) -> None:
        if not context.try_begin():
            self._end(context, of_error(asyncio.CancelledError(), context, True))
            return
        variables = contextvars.Context()
        variables.run(CURRENT.set, context)
        try:
            value, error = variables.run(function.function, *call.args, **call.kwargs), None
        except BaseException as raised:
            value, error = None, raised
        if os.getpid() != self._pid:
            children.end(error)
        if inspect.isawaitable(value):
            # An async function behind a plain one, a decorator's, say.
            awaits = partial(self._await, context, function, partial(returned, value), variables)
            if not self._loop.call(awaits):
                self.ask("stop now")
            return
        self._end(context, self._outcome(context, function, value, error))

    def _begin_async(self, context: TaskContext, function: AnyFunction, call: Call) -> None:
        """Begin with an async function; runs on the event loop."""
        variables = contextvars.Context()
        variables.run(CURRENT.set, context)
        self._await(context, function, partial(called, context, function, call), variables)

    def _await(
        self, context: TaskContext, function: AnyFunction, begin: Begin, variables: contextvars.Context
    ) -> None:
        """Go on on the event loop, where this runs."""
        task = asyncio.get_running_loop().create_task(awaited(begin, self._pid), context=variables)
        task.add_done_callback(lambda task: self._ended_async(context, function, task))
        context.on_stop(partial(self._loop.call, task.cancel))

    def _ended_async(
        self,
        context: TaskContext,
        function: AnyFunction,
        task: asyncio.Task[tuple[Any, BaseException | None]],
    ) -> None:
        """Have an async function answered for; also one that was cancelled before its first step."""
        value, error = (None, asyncio.CancelledError()) if task.cancelled() else task.result()

        # Elsewhere, since writing a result and sending it would hold up the loop.
        def answer() -> None:
            self._end(context, self._outcome(context, function, value, error))

        self._threads.start(answer)

    def _outcome(
        self, context: TaskContext, function: AnyFunction, value: Any, error: BaseException | None
    ) -> Outcome | None:
        """What a function's end says. Whatever is wrong with what it returned or raised, the task has an end."""
        try:
            if error is None:
                return self._returned(context, function, value)
            return self._raised(context, function, error)
        except BaseException as broken:
            # A handler of the log can raise, and so can what the user's objects are asked for.
            why = f"{function.name} can't be answered for: {type(broken).__name__}"
            return Failed(sendable(why), dead=error is None)

    def _returned(self, context: TaskContext, function: AnyFunction, value: Any) -> Outcome:
        """A result that can't be written makes the task dead: the function has done its work, and would do it again."""
        try:
            result = None if value is None else self.options.codec.dumps(value)
        except Exception as error:
            why = f"the result of {function.name} can't be written as {self.options.codec.name}: {described(error)}"
            log.error("%s", why)
            return Failed(why, dead=True)
        return Done(result, function.retain_of(context.task))

    def _raised(self, context: TaskContext, function: AnyFunction, error: BaseException) -> Outcome | None:
        outcome = of_error(error, context, self._stopping.is_set())
        if isinstance(outcome, Failed):
            trace = None if isinstance(error, Fail) else error
            return replace(outcome, function=function.name, trace=trace)
        return outcome

    # ---- the end of a task

    def _end(self, context: TaskContext, outcome: Outcome | None) -> None:
        """Answer, and free the place."""
        context.ended_at = time.monotonic()
        try:
            self._answer(context, outcome)
        finally:
            self._leases.remove(context)
            with self._changed:
                self._runs.pop(context.task.handle, None)
                self._changed.notify_all()
            if self._stopping.is_set():
                self.ask("look")

    def _answer(self, context: TaskContext, outcome: Outcome | None) -> None:
        """Tell the server, again and again while it is away: the lease is kept meanwhile, as well as that goes.

        A result is sent also where the heartbeat said that the lease is lost: the server takes it as long as nobody
        else has claimed the task, which saves doing the work twice.
        """
        rest_s = REST_S[0]
        while outcome is not None and not context.is_abandoned():
            try:
                next_ms = outcome.send(self._queue, context.task)
            except LeaseLost:
                if isinstance(outcome, Failed):
                    outcome.tell(context.task, "; its lease was lost before, so that doesn't count")
                else:
                    log.warning("task %s: its lease was lost, the outcome is dropped", context.task.id)
                return
            except Exception as error:
                if not self._passes(error):
                    log.error("task %s can't be answered: %s", context.task.id, described(error))
                    outcome = self._instead(outcome, error)
                    continue
                self._tell_retry(error, f"answer for task {context.task.id} failed")
            else:
                if isinstance(outcome, Failed):
                    self._tell_failure(context.task, outcome, next_ms)
                return
            self._stopped.wait(rest_s)
            rest_s = min(REST_S[1], rest_s * 2)

    def _tell_failure(self, task: Task, failed: Failed, next_ms: int) -> None:
        """What was wrong and what happens next, in one line."""
        attempts = "" if next_ms == 0 else self._attempts(task)
        if next_ms < 0:
            then = "it is dead"
        else:
            then = f"again in {next_ms / 1000:g} s" if next_ms else "nobody waits for it any more"
        failed.tell(task, f" {attempts}, {then}" if attempts else f", {then}")

    def _attempts(self, task: Task) -> str:
        """`(attempt 1 of 4)`: of failures only, as the limit counts; empty where this user may not ask."""
        try:
            view = self._queue.get(task)
            if view is None:
                return ""
            if (limit := view.attempts) is None:
                settings = self.options.queue.wire.run(commands.settings(task.key))
                limit = settings.attempts if settings is not None else -1
            return f"(attempt {view.failures} of {limit})" if limit > 0 else f"(attempt {view.failures})"
        except Exception:
            return ""

    def _instead(self, outcome: Outcome, error: Exception) -> Outcome | None:
        """What to say where the server refused a result, too long a one, say; or a failure's text or delay."""
        if isinstance(error, Refused) and not (isinstance(outcome, Failed) and outcome.dead):
            return Failed(f"the answer was refused: {described(error)}", dead=True)
        return None

    # ---- stopping

    def _stop(self, grace_s: float) -> int:
        # Under the lock: a task has its place before, and is seen by what follows, or gets none.
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()
        self._tell_stop(grace_s)
        self._give_back([context for context in self._all() if context.abandon(unless_begun=True)])
        status = 0
        if not self._ends_within(grace_s):
            left = [context for context in self._all() if context.abandon()]
            if left:
                log.warning("worker %s gives back %d tasks that still run", self.options.name, len(left))
            self._give_back(left)
            self._ends_within(TOLD_S, at_once=False)
            status = 1 if left else 0
        self._stopped.set()
        self._leases.close()
        self._loop.close()
        self._threads.close()
        return status

    def _tell_stop(self, grace_s: float) -> None:
        """A person who typed Ctrl-C waits, and shall know for what."""
        number = len(self._runs)
        if number and grace_s and self.interrupted:
            log.warning(
                "worker %s stops when its %d tasks have ended, in %g s at the latest; Ctrl-C again ends it at once",
                *(self.options.name, number, grace_s),
            )
        else:
            log.info("worker %s stops; %d tasks run", self.options.name, number)

    def _all(self) -> Sequence[TaskContext]:
        with self._changed:
            return list(self._runs.values())

    def _ends_within(self, seconds: float, at_once: bool = True) -> bool:
        """Wait for the running tasks and the claim, at most so long, and not on when a stop at once is asked for."""
        until = time.monotonic() + seconds
        while self._claims or self._all():
            left_s = until - time.monotonic()
            asked = self._next_ask(left_s)
            if (asked == "stop now" and at_once) or (asked is None and left_s <= 0):
                return False
        return True

    def _give_back(self, left: Sequence[TaskContext]) -> None:
        """Requeue tasks, and wait no longer for that than a server that is there needs."""
        if not left:
            return
        for context in left:
            self._leases.remove(context)
        done = threading.Event()

        def give_back() -> None:
            self._requeue([context.task for context in left])
            done.set()

        self._threads.start(give_back)
        done.wait(REQUEUE_S)

    def _requeue(self, tasks: Sequence[Task]) -> None:
        """Give tasks back in one command for each key; where that fails, they come back when their leases end."""
        try:
            if tasks:
                self._queue.requeue_many(tasks)
        except Exception as error:
            log.warning("%d tasks come back when their leases end: %s", len(tasks), described(error))


async def called(context: TaskContext, function: AnyFunction, call: Call) -> Any:
    """What an async function returns."""
    if not context.try_begin():
        raise asyncio.CancelledError
    return await function.function(*call.args, **call.kwargs)


async def returned(value: Awaitable[Any]) -> Any:
    """What comes of something awaitable that a function returned."""
    return await value


async def awaited(begin: Begin, pid: int) -> tuple[Any, BaseException | None]:
    """What is returned or raised. SystemExit and the like would end the loop, were they let out."""
    result, error = None, None
    try:
        result = await children.in_this_process(begin())
    except BaseException as raised:
        error = raised
    if os.getpid() != pid:
        children.end(error)
    return result, error


def own_name() -> str:
    """The name of a worker that was given none: host, process, and something that no other process has.

    The server gives a task that may have killed its worker only to a name that holds nothing else: so workers of one
    process, which die together, have one name, and two containers with the same host name and process number don't.
    """
    return f"{socket.gethostname()}-{os.getpid()}-{mark_of(os.getpid())}"


@cache
def mark_of(_pid: int) -> str:
    """Drawn once for each process, anew in one that was forked."""
    return secrets.token_hex(3)
