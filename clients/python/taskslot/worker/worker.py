"""The class `Worker`: registers functions by name, runs them for the tasks of a queue, and handles signals."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from .._sync.queue import Queue
from .._sync.sharded import ShardedQueue
from ..codecs import JSON, Codec
from ..middleware import Middleware
from . import children
from .functions import AnyFunction, Function, name_of, registered
from .hooks import Hooks
from .options import WorkerOptions, own_name
from .policy import Policy, PolicyOptions, Retain
from .runner import WAKE_S, Runner
from .sources import sources_of

P = ParamSpec("P")
R = TypeVar("R")

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Worker:
    """Runs registered functions for the tasks of a queue: sync ones on threads, async ones on an event loop.

        worker = Worker(Queue(redis.Redis(), "mail"), concurrency=8)

        @worker.task("mail.send")
        def send(to, subject="hello"): ...

        worker.run()                                # here: until SIGTERM or Ctrl-C
        queue.push(send.call("bob", subject="hi"))  # elsewhere

    The worker claims only as many tasks as it has free places (`concurrency`, sync and async together). It extends all
    leases with one TASK.EXTEND every third of the shortest lease, on threads of its own, so that a function or an event
    loop that hangs loses no lease. While a server is away, the worker keeps trying.

    The value that a function returns is the task's result, unless it is None. An exception is a failed attempt with the
    error "ValueError: text"; this includes SystemExit and KeyboardInterrupt. Raise `Fail` to control the next attempt,
    and `GiveBack` to requeue the task. A task for an unknown function fails, because another worker may know it. A task
    is dead if its payload can't be read or its result can't be encoded. Delivery is at-least-once: a function can run
    again for the same task.

    The parameters:

    - `queue`: a `Queue` or a `ShardedQueue`, never an async one, even for async functions. Or several, in order of
      preference: the worker claims from the first that has a task. It waits in all of them at once if one command can
      (queues of one client, in a cluster also of one slot). Otherwise it waits in the first, and looks at the others at
      least five times a second.
    - `name`: the name in TASK.INFO … WORKERS. By default it has the host's name and the process id. Names must differ
      between processes: the server gives a task that may have killed its worker only to a name that holds nothing else.
    - `lease_ms`: the length of leases. Without it the task's or the queue's applies, and the worker asks for it if a
      task takes longer than 50 ms.
    - `codec`: reads payloads and writes results.
    - `grace_ms`: how long a stop waits for running tasks. Keep it below the time after which the supervisor kills the
      process (Kubernetes: 30 s).
    - `group`: claim only tasks of this group.
    - `meta`: set `current().task.meta`, which has priority, headers and more.
    - `tied`: leases also end when the worker's connection for claims closes, so that the tasks of a killed process are
      ready again within milliseconds. See "Tied leases" in docs/guarantees.md for the limits. Raises ValueError for
      queues that one command can't claim from.
    - `functions`: functions by their names, to which `task` adds more. An app gives its own.
    - `middleware`: what is called around each task, see `Middleware`.
    """

    def __init__(
        self,
        queue: Queue | ShardedQueue | Sequence[Queue | ShardedQueue],
        *,
        concurrency: int = 8,
        name: str | None = None,
        lease_ms: int | None = None,
        codec: Codec = JSON,
        grace_ms: int = 25_000,
        group: str | None = None,
        meta: bool = False,
        tied: bool = False,
        functions: dict[str, AnyFunction] | None = None,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        queues = [queue] if isinstance(queue, Queue | ShardedQueue) else list(several_queues(queue))
        must_fit(queues, tied)
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        if grace_ms < 0:
            raise ValueError("grace_ms must not be negative")
        codec.dumps(None)  # raises here if the codec's package is missing
        self.queue = queues[0]
        self.queues = queues
        self.concurrency = concurrency
        self.name = name
        self.lease_ms = lease_ms
        self.codec = codec
        self.grace_ms = grace_ms
        self.functions: dict[str, AnyFunction] = {} if functions is None else functions
        self.middleware = middleware
        Hooks(middleware)  # raises here for what is none
        self.group = group
        self.meta = meta
        self.tied = tied
        self._lock = threading.Lock()
        self._runner: Runner | None = None
        self._began = self._stops_early = False

    def __repr__(self) -> str:
        queues = ", ".join(queue.name for queue in self.queues)
        return f"<Worker {self.name or 'without a name'} on {queues}>"

    # ---- registering

    @overload
    def task(self, name: Callable[P, R], /) -> Function[P, R]: ...

    @overload
    def task(
        self, name: str | None = None, /, *, retain_ms: Retain = "default", **policy: Unpack[PolicyOptions]
    ) -> Callable[[Callable[P, R]], Function[P, R]]: ...

    def task(
        self, name: Any = None, /, *, retain_ms: Retain = "default", **policy: Unpack[PolicyOptions]
    ) -> Any:
        """Register a function, sync or async: `@worker.task`, or `@worker.task("mail.send", retain_ms=3_600_000)`.

        The default name is `module.function`, which changes if the function moves. The function can be called as
        before, and has `.call(…)`, which makes the payload to push.

        `retain_ms` is how long a finished task and its result are kept; 0 keeps nothing. It takes precedence over the
        push and the queue's setting. None leaves it to them. By default it is left to them too, but is a minute if
        neither says anything. `backoff`, `retry_for`, `dead_for` and `timeout_ms` are those of `App.task`. Raises
        ValueError if the name is already registered.
        """
        checked = Policy.of(**policy)

        def register(function: Callable[P, R]) -> Function[P, R]:
            made = Function(function, name or name_of(function), self.codec, retain_ms, checked)
            return registered(made, self.functions)

        if callable(name):
            function, name = name, None
            return register(function)
        return register

    # ---- running

    def run(self, *, signals: bool = True) -> int:
        """Work until SIGTERM, SIGINT or `stop()`. Returns 0 if all tasks ended in time, and 1 if some were given back.

        A program usually ends with `raise SystemExit(worker.run())`. On a stop, the worker stops claiming and waits up
        to `grace_ms` for the running tasks. Then it asks the remaining functions to stop (`current()`) and requeues
        their tasks. A second signal skips the wait. A sync function that still runs is left on a daemon thread.

        Async functions run on an event loop of the worker's own. Signal handlers are only installed on the main thread,
        and restored at the end. With `signals=False` the program has its own handlers, which should call `stop()`.

        If the server refuses a claim (`Refused`, `WrongType`, `QueueBroken`, a wrong password), the worker stops and
        this raises the error.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("an event loop is running here: use await worker.serve()")
        runner = self._begin(None)
        try:
            with stopped_by_signals(runner, signals):
                return runner.run()
        finally:
            self._over()

    async def serve(self, *, signals: bool = True) -> int:
        """Like `run`, but in a running event loop, on which async functions then run.

        If `serve` is cancelled, the worker stops at once: functions are asked to stop and their tasks are requeued
        before `serve` ends.
        """
        loop = asyncio.get_running_loop()
        runner = self._begin(loop)
        try:
            with stopped_by_signals(runner, signals):
                ended = in_thread(runner.run, loop)
                try:
                    # Wake up now and then, as `Runner.run` does, so that a signal that woke another thread is handled.
                    while not ended.done():
                        await asyncio.wait([ended], timeout=WAKE_S)
                    return ended.result()
                except asyncio.CancelledError:
                    runner.ask("stop now")
                    await asyncio.wait([ended])
                    ended.exception()  # it is in the log; the cancellation takes precedence
                    raise
        finally:
            self._over()

    def stop(self, *, at_once: bool = False) -> None:
        """Ask for a graceful stop, or with `at_once` for one without the grace. Can be called from any thread.

        If it is called before the first `run` or `serve`, that one ends as soon as it begins. After a run it does
        nothing.
        """
        with self._lock:
            if self._runner is not None:
                self._runner.ask("stop now" if at_once else "stop")
            else:
                self._stops_early = not self._began

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> Runner:
        options = WorkerOptions(
            queues=self.queues,
            functions=self.functions,
            concurrency=self.concurrency,
            name=self.name or own_name(),
            lease_ms=self.lease_ms,
            codec=self.codec,
            grace_ms=self.grace_ms,
            group=self.group,
            meta=self.meta,
            tied=self.tied,
            hooks=Hooks(self.middleware),
        )
        with self._lock:
            if self._runner is not None:
                raise RuntimeError("this worker is already running")
            self._runner = Runner(options, loop, self)
            self._began = True
            if self._stops_early:
                self._runner.ask("stop")
            return self._runner

    def _over(self) -> None:
        with self._lock:
            self._runner, self._stops_early = None, False


def several_queues(queues: Any) -> Sequence[Any]:
    """The queues of a worker. Raises TypeError."""
    if not isinstance(queues, Sequence) or isinstance(queues, str | bytes):
        raise TypeError(f"a Worker needs a Queue or a ShardedQueue, or several, not {type(queues).__name__}")
    return queues


def must_fit(queues: Sequence[Any], tied: bool) -> None:
    """Raise TypeError or ValueError if a worker can't work on these queues."""
    if not queues:
        raise ValueError("a Worker needs at least one queue")
    seen = set[str]()
    for queue in queues:
        if not isinstance(queue, Queue | ShardedQueue):
            raise TypeError(f"a Worker needs a Queue or a ShardedQueue, not {type(queue).__name__}")
        if twice := seen.intersection(queue.keys):
            raise ValueError(f"the queue {min(twice)} is given twice")
        seen.update(queue.keys)
    if tied and (isinstance(queues[0], ShardedQueue) or len(sources_of(queues)) > 1):
        raise ValueError("tied needs queues that one command can claim from: of one client, and of one slot")


@contextmanager
def stopped_by_signals(runner: Runner, signals: bool) -> Iterator[None]:
    """Let SIGTERM and SIGINT stop a run: the first gracefully, the next at once. Only on the main thread."""
    if not signals or threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []

    def on_signal(number: int, _: object) -> None:
        runner.interrupted = number == signal.SIGINT
        runner.ask("stop now" if seen else "stop")
        seen.append(number)

    before: dict[int, Any] = {number: signal.signal(number, on_signal) for number in SIGNALS}
    children.HANDLERS.update(before)
    try:
        yield
    finally:
        children.HANDLERS.clear()
        children.install(before)


def in_thread(run: Callable[[], int], loop: asyncio.AbstractEventLoop) -> asyncio.Future[int]:
    """Run a function on a daemon thread. The future gets what it returns or raises."""
    ended: asyncio.Future[int] = loop.create_future()

    def tell(settle: Callable[[Any], None], what: Any) -> None:
        if not ended.done():
            settle(what)

    def live() -> None:
        try:
            settled: tuple[Callable[[Any], None], Any] = (ended.set_result, run())
        except BaseException as error:
            settled = (ended.set_exception, error)
        try:
            loop.call_soon_threadsafe(tell, *settled)
        except RuntimeError:
            pass  # the loop is closed, so nothing waits for the future

    threading.Thread(target=live, name="taskslot-serve", daemon=True).start()
    return ended
