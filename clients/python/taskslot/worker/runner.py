"""One run of a worker, from its start to its stop.

Everything that waits for a server runs on a thread, never on the event loop of async functions. The threads are:

- one that claims, runs short sync functions and sends their answers, and one that guards it (claimer.py);
- one that watches the leases (leases.py), and one for each heartbeat;
- one for each other sync function (executor.py), which also sends its outcome (answers.py), and one for the outcomes of
  async functions;
- the thread of the event loop for async functions: the user's, or one of the worker's own (loops.py);
- the caller of `run`, which waits until it is asked to stop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Literal

from .._sync.sharded import ShardedQueue
from .._sync.wire import Wire
from ..outages import Outages
from .answers import Answers, counted, requeue
from .claimer import Claimer
from .context import TaskContext
from .executor import Executor
from .leases import Leases
from .loops import Loop
from .options import WorkerOptions
from .places import Places
from .polling import Polling
from .sources import Source, sources_of
from .threads import Threads
from .timeouts import Timeouts

log = logging.getLogger("taskslot")

# How long the main thread waits at a time. Python runs signal handlers on it, but the system can deliver a signal to
# another thread, which doesn't wake the main thread.
WAKE_S = 0.2
# How long a stop waits for its TASK.REQUEUE if a server is away, and then for functions that were asked to stop.
REQUEUE_S = 4.0
TOLD_S = 1.0
# How much longer a stop waits for the last claim, which may have the answers of tasks with it.
LAST_CLAIM_S = 0.5

Ask = Literal["stop", "stop now", "look"]


class Runner:
    """One run of a worker. `run` blocks until the worker has stopped. `ask` can be called from anywhere."""

    def __init__(
        self, options: WorkerOptions, loop: asyncio.AbstractEventLoop | None, worker: object = None
    ) -> None:
        self.options = options
        self._worker = worker  # for the hooks
        self.interrupted = False  # whether Ctrl-C asked for the stop
        # A SimpleQueue, because signal handlers use it too, and its `put` is reentrant.
        self._asked: SimpleQueue[Ask] = SimpleQueue()
        self._stopped = threading.Event()
        self._threads = Threads("taskslot")
        self._loop = Loop(loop)
        sources = sources_of(options.queues)
        self._places = Places(options.concurrency, can_be_together(sources))
        claims: Source | Polling
        if len(sources) > 1:
            claims = Polling(sources, self._places)
        else:
            claims = sources[0].apart(sources[0].queue.wire.patience_ms) if options.tied else sources[0]
        self._leases = Leases(self._threads, options.lease_ms)
        self._answers = Answers(
            self._threads, self._places, self._leases, self._stopped, self._freed, options.hooks
        )
        self._timeouts = Timeouts(self._threads)
        self._executor = Executor(
            options,
            self._threads,
            self._loop,
            self._answers,
            self._timeouts,
            self._places.is_stopping,
            partial(self.ask, "stop now"),
        )
        self._claimer = Claimer(
            options,
            claims,
            self._threads,
            self._places,
            self._leases,
            self._answers,
            self._executor,
            partial(self.ask, "look"),
        )

    def ask(self, what: Ask) -> None:
        """Ask for a stop, gracefully or at once; or wake `run` to look at what has ended. Safe in signal handlers."""
        self._asked.put(what)

    def run(self) -> int:
        """Work until a stop is asked for. Returns 0 if all tasks ended in time, and 1 if some were given back."""
        self.options.hooks.call("on_worker_start", self._worker)
        try:
            return self._work()
        finally:
            self.options.hooks.call("on_worker_stop", self._worker)

    def _work(self) -> int:
        options = self.options
        log_outages([wire for some in self._wires() for wire in some])
        self._leases.open()
        self._claimer.open()
        log.info(
            "worker %s works on %s with %d places, functions: %s",
            *(options.name, ", ".join(queue.name for queue in options.queues), options.concurrency),
            ", ".join(options.functions) or "none",
        )
        asked: Ask | None = None
        while asked not in ("stop", "stop now") and self._claimer.error is None:
            asked = self._next_ask(WAKE_S)
        status = self._stop(0 if asked == "stop now" else options.grace_ms / 1000)
        if self._claimer.error is not None:
            raise self._claimer.error
        return status

    def _next_ask(self, seconds: float) -> Ask | None:
        """The next request of `ask`; None if there is none within the time (at most `WAKE_S`)."""
        try:
            return self._asked.get(timeout=max(0.0, min(WAKE_S, seconds)))
        except Empty:
            return None

    def _wires(self) -> tuple[list[Wire], list[Wire]]:
        """The connections of the queues, and those that claims have for themselves."""
        claims = self._claimer.claims
        sources = claims.sources if isinstance(claims, Polling) else [claims]
        of_queues = [queue.wire for queue in self.options.queues]
        return of_queues, [one.queue.wire for one in sources if one.queue.wire not in of_queues]

    def _freed(self) -> None:
        if self._places.is_stopping():
            self.ask("look")

    # ---- the stop

    def _stop(self, grace_s: float) -> int:
        self._places.stop()
        self._log_stop(grace_s)
        self._give_back([context for context in self._places.all() if context.abandon(unless_begun=True)])
        status = 0
        if not self._ends_within(grace_s):
            left = [context for context in self._places.all() if context.abandon()]
            if left:
                still = counted(len(left), "task that is still running", "tasks that are still running")
                log.warning("worker %s gives back %s", self.options.name, still)
            self._give_back(left)
            self._ends_within(TOLD_S, at_once=False)
            status = 1 if left or not self._ends_within(LAST_CLAIM_S, at_once=False) else 0
        self._stopped.set()
        self._claimer.close()
        self._leases.close()
        self._timeouts.close()
        self._loop.close()
        self._threads.close()
        for wire in self._wires()[1]:
            wire.close()
        log.info("worker %s has stopped", self.options.name)
        return status

    def _log_stop(self, grace_s: float) -> None:
        """Log the stop. After Ctrl-C, tell the person at the terminal what the worker waits for."""
        number = len(self._places)
        if number and grace_s and self.interrupted:
            log.warning(
                "worker %s stops when its %s ended, after at most %g s; press Ctrl-C again to stop now",
                *(self.options.name, counted(number, "task has", "tasks have"), grace_s),
            )
        else:
            running = counted(number, "task is running", "tasks are running")
            log.info("worker %s is stopping; %s", self.options.name, running)

    def _ends_within(self, seconds: float, at_once: bool = True) -> bool:
        """Wait for the running tasks and the last claim. Returns False if they didn't end within the time.

        With `at_once`, a request to stop now ends the wait too.
        """
        until = time.monotonic() + seconds
        while not self._claimer.has_ended or self._places.all():
            left_s = until - time.monotonic()
            asked = self._next_ask(left_s)
            if (asked == "stop now" and at_once) or (asked is None and left_s <= 0):
                return False
        return True

    def _give_back(self, left: Sequence[TaskContext]) -> None:
        """Requeue tasks. Wait for that at most `REQUEUE_S`, which is long enough unless the server is away."""
        if not left:
            return
        self._leases.remove(left)
        done = threading.Event()

        def give_back() -> None:
            requeue(left)
            done.set()

        try:
            self._threads.start(give_back)
        except RuntimeError:  # the process can't start another thread
            give_back()
        done.wait(REQUEUE_S)


def can_be_together(sources: Sequence[Source]) -> bool:
    """Whether claims can be sent together with the answers of all queues."""
    first = sources[0].queue
    return len(sources) == 1 and not isinstance(first, ShardedQueue) and first.wire.can_send_together()


def log_outages(wires: Sequence[Wire]) -> None:
    """Let outages be logged, once for all connections of a client."""
    by_client: dict[int, Outages] = {
        id(wire.client): wire.outages for wire in wires if wire.outages is not None
    }
    for wire in wires:
        wire.outages = by_client.setdefault(id(wire.client), wire.outages or Outages())
