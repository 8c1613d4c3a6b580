"""Runs the tasks of an app in the test itself: `run_all`, and `arun_all` for asyncio."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
from collections.abc import Iterator, Sequence
from contextvars import Context
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from .._sync.queue import Queue
from .._sync.sharded import ShardedQueue
from ..app import App
from ..calls import Call
from ..commands import ClaimOptions
from ..errors import CancelAsked, LeaseLost, TaskslotError
from ..replies import Task
from ..worker.context import TaskContext
from ..worker.executor import returned, variables_of
from ..worker.functions import AnyFunction
from ..worker.hooks import Around, Hooks
from ..worker.outcomes import Done, Failed, Outcome, of_end, of_error
from ..worker.relations import Relations
from ..worker.task_log import log_failure

AnyQueue = Queue | ShardedQueue
State = Literal["done", "retry", "dead", "given back", "lost"]

# Long enough for a test that is stopped in a debugger. No heartbeat extends these leases.
LEASE_MS = 3_600_000
# How many attempts a call makes at most. A task that pushes itself again would have no end.
LIMIT = 1000
# The folders whose calls a traceback leaves out.
OWN = (
    str(Path(__file__).parent),
    str(Path(__file__).parent.parent / "worker"),
    str(Path(asyncio.__file__).parent),
    str(Path(concurrent.futures.__file__).parent),
)


@dataclass(frozen=True, slots=True)
class Ran:
    """One attempt that `run_all` made. `value` is what the function returned, `error` what it raised.

    `state` is what became of the task: done; retry, which waits for its next attempt; dead; given back; or lost, if
    the function itself removed its task.
    """

    task: str
    name: str
    state: State
    value: Any = None
    error: BaseException | None = None


def run_all(
    app: App,
    queues: Sequence[str] | None = None,
    *,
    delayed: bool = False,
    raises: bool = True,
    limit: int = LIMIT,
) -> list[Ran]:
    """Run the tasks of an app here, one after the other, until none is ready. Returns what was run, in order.

    The functions run in this thread, in the order in which the server hands their tasks out: also those that are pushed
    meanwhile, next steps, and callbacks of batches. Async functions run on an event loop of their own.

    - `queues`: names of queues, in order of preference. Without it, all that the app's functions name.
    - `delayed`: do not wait for delayed tasks, nor for the next attempts of failed ones. They run when nothing else is
      ready, the earliest first.
    - `raises`: raise the first exception of a function, with its traceback. The failure is reported to the server
      before; what has not run stays in the queue. Without it, failures are in the list that is returned.
    - `limit`: raise RuntimeError after so many attempts.

    Middleware is called as in a worker, except for `on_worker_start` and `on_worker_stop`. Time-outs do not apply, so
    that a debugger can stop here. In a running event loop, use `await arun_all(app)`.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError("an event loop is running here: use await arun_all(app)")
    run, loop = Run(app, queues, delayed, limit), OwnLoop(app)
    try:
        for attempt in run.attempts():
            attempt.run(loop)
            run.took(attempt.end(), raises)
        return run.done
    finally:
        loop.close()


async def arun_all(
    app: App,
    queues: Sequence[str] | None = None,
    *,
    delayed: bool = False,
    raises: bool = True,
    limit: int = LIMIT,
) -> list[Ran]:
    """`run_all` in a running event loop: async functions run on it, sync ones on a thread, one at a time."""
    run = Run(app, queues, delayed, limit)
    for attempt in run.attempts():
        await attempt.arun()
        run.took(attempt.end(), raises)
    return run.done


class OwnLoop:
    """An event loop for async functions, made when the first of them runs."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._runner: asyncio.Runner | None = None

    def run(self, coroutine: Any, variables: Context) -> Any:
        """Run a coroutine."""
        self._runner = self._runner or asyncio.Runner()
        return self._runner.run(coroutine, context=variables)

    def close(self) -> None:
        """Close the loop, and what the app opened in it."""
        if self._runner is not None:
            with self._runner as runner:
                runner.run(self._app.aclose())


class Run:
    """One call of `run_all`: hands out attempts, and notes what became of them."""

    def __init__(self, app: App, queues: Sequence[str] | None, delayed: bool, limit: int) -> None:
        names = [queues] if isinstance(queues, str) else app.queues if queues is None else list(queues)
        self._app = app
        self._queues = [app.queue(name) for name in names]
        self._delayed = delayed
        self._limit = limit
        self._hooks = Hooks(app.middleware)
        self.done: list[Ran] = []

    def attempts(self) -> Iterator[Attempt]:
        """Claim one task after the other, until there is none."""
        while (claimed := self._claim()) is not None:
            queue, task = claimed
            if len(self.done) == self._limit:
                queue.requeue(task)
                raise RuntimeError(
                    f"after {self._limit} attempts there is still a task, the last was of {self.done[-1].name}: "
                    "does it push itself? If there are so many, give a higher limit"
                )
            yield Attempt(self._app, queue, task, self._hooks)

    def took(self, ran: Ran, raises: bool) -> None:
        """Note an attempt. Raises what its function raised; what is no Exception in any case, such as Ctrl-C."""
        self.done.append(ran)
        if ran.error is not None and (raises or not isinstance(ran.error, Exception)):
            raise ran.error

    def _claim(self) -> tuple[AnyQueue, Task] | None:
        while (claimed := self._claim_ready()) is None and self._delayed:
            if not self._make_ready():
                return self._claim_ready()  # one may have become ready in between
        return claimed

    def _claim_ready(self) -> tuple[AnyQueue, Task] | None:
        options: ClaimOptions = {"lease_ms": LEASE_MS, "worker": "run_all", "meta": True}
        for queue in self._queues:
            if tasks := queue.claim(1, **options):
                return queue, tasks[0]
        return None

    def _make_ready(self) -> bool:
        """Make the earliest delayed task ready. Returns False if there is none."""
        found = [(view.due or 0, queue, view.id) for queue in self._queues for view in queue.tasks("delayed")]
        if not found:
            return False
        _, queue, task = min(found, key=itemgetter(0))
        queue.set(task, delay_ms=0)
        return True


class Attempt:
    """One attempt of a claimed task."""

    def __init__(self, app: App, queue: AnyQueue, task: Task, hooks: Hooks) -> None:
        self._app = app
        self._queue = queue
        self._task = task
        self._hooks = hooks
        meta = task.meta
        self._context = TaskContext(
            task,
            self._send_progress,
            is_kept=meta is not None and meta.retain is not None,
            meta=meta,
            relations=Relations(queue, app.codec),
        )
        self._variables = variables_of(self._context)
        self._function: AnyFunction | None = None
        self._around: Around | None = None
        self._value: Any = None
        self._error: BaseException | None = None

    def run(self, loop: OwnLoop) -> None:
        """Call the function here, an async one on this loop."""
        try:
            function, call = self._called()
            if function.is_async:
                self._value = loop.run(self._await(function, call), self._variables)
                return
            self._value = self._variables.run(self._call, function, call)
            if inspect.isawaitable(self._value):
                self._value = loop.run(returned(self._value, self._around), self._variables)
        except BaseException as error:
            self._error = error.with_traceback(beyond(error.__traceback__))

    async def arun(self) -> None:
        """Call the function from a running event loop."""
        try:
            function, call = self._called()
            if not function.is_async:
                self._value = await asyncio.to_thread(self._variables.run, self._call, function, call)
            loop = asyncio.get_running_loop()
            if function.is_async:
                self._value = await loop.create_task(self._await(function, call), context=self._variables)
            elif inspect.isawaitable(self._value):
                later = returned(self._value, self._around)
                self._value = await loop.create_task(later, context=self._variables)
        except BaseException as error:
            self._error = error.with_traceback(beyond(error.__traceback__))

    def _called(self) -> tuple[AnyFunction, Call]:
        """The function that the task names, and its arguments. Raises `BadPayload`, and TaskslotError."""
        call = Call.read(self._task.payload, self._app.codec)
        self._context.name = call.task
        self._function = self._app.tasks.get(call.task)
        if self._function is None:
            raise TaskslotError(f"the app has no function {call.task!r}: is its module imported?")
        return self._function, call

    def _call(self, function: AnyFunction, call: Call) -> Any:
        self._context.try_begin()
        self._around = self._hooks.around(self._context)
        if self._around is None:
            return function.run(*call.args, **call.kwargs)
        return self._around.run(function.run, call.args, call.kwargs)

    async def _await(self, function: AnyFunction, call: Call) -> Any:
        return await returned(self._call(function, call), self._around)

    def end(self) -> Ran:
        """Report the outcome to the server, and tell the middleware, as a worker does."""
        outcome, state = self._outcome(), "done"
        try:
            next_ms = 0 if outcome is None else outcome.send(self._queue, self._task)
        except LeaseLost:
            return self._ran("lost")
        if isinstance(outcome, Failed):
            # A result that can't be written makes the task dead, without an exception.
            error = self._error = self._error or TaskslotError(outcome.error)
            log_failure(self._context, outcome, next_ms)
            self._hooks.failed(self._context, outcome.cause or error, next_ms)
            state = "dead" if next_ms < 0 else "retry"
            self._explain(error, state)
        elif not isinstance(outcome, Done):
            self._error, state = None, "given back"
        return self._ran(state)  # type: ignore[arg-type]

    def _outcome(self) -> Outcome | None:
        if self._function is None:
            assert self._error is not None
            return of_error(self._error, self._context, False)
        codec = self._app.codec
        return of_end(self._context, self._function, codec, self._value, self._error, False)

    def _explain(self, error: BaseException, state: str) -> None:
        """Say in the exception whose task it was, and what became of that."""
        then = "The task is dead." if state == "dead" else "The task waits for its next attempt."
        error.add_note(f"This was raised in task {self._task.id} of {self._context.name!r}. {then}")

    def _ran(self, state: State) -> Ran:
        return Ran(self._task.id, self._context.name, state, self._value, self._error)

    def _send_progress(self) -> None:
        """Send progress at once, so that the test sees it."""
        said = self._context.take_progress()
        try:
            self._queue.extend(self._task, progress=said)
        except CancelAsked:
            self._context.ask_to_stop(cancelled=True)
        except LeaseLost:
            self._context.ask_to_stop(lease_lost=True)


def beyond(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the calls at its beginning that are the library's own."""
    rest = trace
    while rest is not None and rest.tb_frame.f_code.co_filename.startswith(OWN):
        rest = rest.tb_next
    return rest or trace
