"""A worker: functions by name, run for the tasks of a queue."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar, overload

from .._sync.queue import Queue
from .._sync.sharded import ShardedQueue
from ..codecs import JSON, Codec
from . import children
from .functions import AnyFunction, Function, Retain, name_of
from .options import WorkerOptions, own_name
from .runner import WAKE_S, Runner

P = ParamSpec("P")
R = TypeVar("R")

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Worker:
    """Runs registered functions for the tasks of a queue, sync ones on threads, async ones on an event loop.

        worker = Worker(Queue(redis.Redis(), "mail"), concurrency=8)

        @worker.task("mail.send")
        def send(to, subject="hello"): ...

        worker.run()                                # here: until SIGTERM or Ctrl-C
        queue.push(send.call("bob", subject="hi"))  # elsewhere

    It claims no more tasks than it has free places (`concurrency`, sync and async together), and keeps their leases as
    long as they run, with one TASK.EXTEND for all at a third of the shortest lease; on threads of its own, so that a
    function or an event loop that stands still loses nothing. While a server is away it goes on trying.

    What a function returns, if not None, is the task's result. An exception is a failure with the error
    "ValueError: text", also SystemExit and KeyboardInterrupt; `Fail` says more, `GiveBack` gives the task back. A
    task for an unknown function fails, since another worker may know it; a payload that can't be read, or a result
    that can't be written, is dead. At least once: a function may run again for the same task.

    `queue` is a `Queue` or a `ShardedQueue`, not an async one: async functions need none. `name` is what TASK.INFO …
    WORKERS shows; where none is given it has host and process. One of your own must differ from process to process: a
    task that may have killed its worker is only given to a name that holds nothing else. `lease_ms` is the length of
    leases; without it the task's or the queue's holds, for which the worker asks where a task takes longer than
    50 ms. `codec` reads payloads and writes results. `grace_ms` is how long a stop waits for running tasks; keep it
    below what the supervisor waits before it kills (Kubernetes: 30 s). `group` restricts the worker to tasks of a
    group; `meta` has `current().task.meta` tell priority, headers and so on.
    """

    def __init__(
        self,
        queue: Queue | ShardedQueue,
        *,
        concurrency: int = 8,
        name: str | None = None,
        lease_ms: int | None = None,
        codec: Codec = JSON,
        grace_ms: int = 25_000,
        group: str | None = None,
        meta: bool = False,
    ) -> None:
        if not isinstance(queue, Queue | ShardedQueue):
            raise TypeError(f"a Worker needs a Queue or a ShardedQueue, not {type(queue).__name__}")
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        if grace_ms < 0:
            raise ValueError("grace_ms must not be negative")
        codec.dumps(None)  # one whose package is missing says so here
        self.queue = queue
        self.concurrency = concurrency
        self.name = name
        self.lease_ms = lease_ms
        self.codec = codec
        self.grace_ms = grace_ms
        self.functions: dict[str, AnyFunction] = {}
        self.group = group
        self.meta = meta
        self._lock = threading.Lock()
        self._runner: Runner | None = None
        self._began = self._stops_early = False

    # ---- registering

    @overload
    def task(self, name: Callable[P, R], /) -> Function[P, R]: ...

    @overload
    def task(
        self, name: str | None = None, /, *, retain_ms: Retain = "default"
    ) -> Callable[[Callable[P, R]], Function[P, R]]: ...

    def task(self, name: Any = None, /, *, retain_ms: Retain = "default") -> Any:
        """Register a function, sync or async: `@worker.task`, or `@worker.task("mail.send", retain_ms=3_600_000)`.

        Its name is `module.function` where none is given: then it must not move. `retain_ms` is how long a finished
        task is kept with its result, 0 not at all; it counts in place of the push's and the queue's, and None leaves it
        to these. Where you don't say it is theirs, and a minute where they don't say either. The function stays what it
        was, and has `.call(…)`, the payload to push. Raises ValueError for a name that is taken.
        """
        if callable(name):
            return self._register(name, name_of(name), retain_ms)

        def register(function: Callable[P, R]) -> Function[P, R]:
            return self._register(function, name or name_of(function), retain_ms)

        return register

    def _register(self, function: Callable[P, R], name: str, retain_ms: Retain) -> Function[P, R]:
        if name in self.functions:
            raise ValueError(f"{name} is already registered")
        self.functions[name] = made = Function(function, name, self.codec, retain_ms)
        return made

    # ---- running

    def run(self, *, signals: bool = True) -> int:
        """Work until SIGTERM, SIGINT or `stop()`: 0 if all tasks ended within the grace, 1 if some were given back.

        `raise SystemExit(worker.run())` ends a program. At the stop it claims no more, waits for the running tasks up
        to `grace_ms`, asks the others to stop (`current()`) and requeues them; a second signal does so at once.
        A sync function that runs on all the same is left on a thread that doesn't keep the process alive. Async
        functions run on an event loop of their own. Handlers of signals are only installed on the main thread, and
        restored at the end; with `signals=False` the program has its own, and they call `stop()`.

        Raises what the server refuses a claim with (`Refused`, `WrongType`, `QueueBroken`, a wrong password), after
        such a stop.
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
        """The same within a running event loop, on which async functions run then.

        Being cancelled is a stop at once: what runs is asked to stop and requeued before `serve` ends.
        """
        loop = asyncio.get_running_loop()
        runner = self._begin(loop)
        try:
            with stopped_by_signals(runner, signals):
                ended = in_thread(runner.run, loop)
                try:
                    # Awake now and then, as in `Runner.run`, so that a signal that woke another thread is handled.
                    while not ended.done():
                        await asyncio.wait([ended], timeout=WAKE_S)
                    return ended.result()
                except asyncio.CancelledError:
                    runner.ask("stop now")
                    await asyncio.wait([ended])
                    ended.exception()  # which is in the log: the cancel goes first
                    raise
        finally:
            self._over()

    def stop(self, *, at_once: bool = False) -> None:
        """Ask for a graceful stop, from any thread, also from a function; `at_once` without the grace.

        Asked for before the first `run` or `serve`, it ends that as soon as it begins; after the last it does nothing.
        """
        with self._lock:
            if self._runner is not None:
                self._runner.ask("stop now" if at_once else "stop")
            else:
                self._stops_early = not self._began

    def _begin(self, loop: asyncio.AbstractEventLoop | None) -> Runner:
        options = WorkerOptions(
            queue=self.queue,
            functions=self.functions,
            concurrency=self.concurrency,
            name=self.name or own_name(),
            lease_ms=self.lease_ms,
            codec=self.codec,
            grace_ms=self.grace_ms,
            group=self.group,
            meta=self.meta,
        )
        with self._lock:
            if self._runner is not None:
                raise RuntimeError("this worker is already running")
            self._runner = Runner(options, loop)
            self._began = True
            if self._stops_early:
                self._runner.ask("stop")
            return self._runner

    def _over(self) -> None:
        with self._lock:
            self._runner, self._stops_early = None, False


@contextmanager
def stopped_by_signals(runner: Runner, signals: bool) -> Iterator[None]:
    """Have SIGTERM and SIGINT stop a run: the first gracefully, the next at once. Only on the main thread."""
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
    """What a function returns or raises on a thread that doesn't keep the process alive."""
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
            pass  # the loop is closed: nobody waits any more

    threading.Thread(target=live, name="taskslot-serve", daemon=True).start()
    return ended
