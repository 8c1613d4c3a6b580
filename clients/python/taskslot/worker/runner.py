"""One run of a worker, from its start to its stop.

What waits for a server runs on threads of its own, never on the event loop of async functions. The threads:

- one claims (claimer.py);
- one watches the leases (leases.py), and each heartbeat has one;
- each sync function has one (executor.py), which then sends its answer (answers.py); so has the answer of an async
  function;
- async functions share an event loop: the user's, or one on a thread of its own (loops.py);
- the caller of `run` waits for what is asked of it, first of all to stop.
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

from ..outages import Outages
from ..replies import Task
from .answers import Answers, counted, requeue
from .claimer import Claimer
from .context import TaskContext
from .executor import Executor
from .leases import Leases
from .loops import Loop
from .options import WorkerOptions
from .outcomes import Outcome
from .places import Places
from .threads import Threads

log = logging.getLogger("taskslot")

# How long the main thread waits at a time. Python runs signal handlers there, but the system may give a signal to
# another thread, which doesn't wake it.
WAKE_S = 0.2
# How long a stop waits for its TASK.REQUEUE where a server is away, and then for functions that were asked to end.
REQUEUE_S = 4.0
TOLD_S = 1.0

Ask = Literal["stop", "stop now", "look"]


class Runner:
    """One run. `ask` may be called from anywhere, also from a signal handler; `run` blocks until it has stopped."""

    def __init__(self, options: WorkerOptions, loop: asyncio.AbstractEventLoop | None) -> None:
        self.options = options
        self.interrupted = False  # by Ctrl-C
        # Put by signal handlers, too: a SimpleQueue takes that in the midst of anything.
        self._asked: SimpleQueue[Ask] = SimpleQueue()
        self._stopped = threading.Event()
        self._threads = Threads("taskslot")
        self._loop = Loop(loop)
        self._places = Places(options.concurrency)
        self._leases = Leases(options.queue, self._threads, options.lease_ms)
        self._answers = Answers(options.queue, self._stopped)
        self._claimer = Claimer(options, self._places, self._begin)
        self._executor = Executor(
            options,
            self._threads,
            self._loop,
            self._end,
            self._places.is_stopping,
            partial(self.ask, "stop now"),
        )

    def ask(self, what: Ask) -> None:
        """Ask for a stop, gracefully or at once; or for a look at what has ended."""
        self._asked.put(what)

    def run(self) -> int:
        """Work until a stop is asked for: 0 if all tasks ended in time, 1 if some were given back."""
        options = self.options
        # Outages are logged for all who share the connections.
        options.queue.wire.outages = options.queue.wire.outages or Outages()
        self._leases.open()
        self._threads.start(self._claim)
        log.info(
            "worker %s works on %s with %d places, functions: %s",
            *(options.name, options.queue.name, options.concurrency),
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
        """The next thing that is asked for, None where it isn't soon."""
        try:
            return self._asked.get(timeout=max(0.0, min(WAKE_S, seconds)))
        except Empty:
            return None

    # ---- a task

    def _claim(self) -> None:
        try:
            self._claimer.run()
        finally:
            self.ask("look")

    def _begin(self, task: Task, asked_at: float) -> bool:
        """Begin with a task, whose claim was sent at that monotonic time; False where the stop came before."""
        context = TaskContext(task, self._leases.wake)
        place = self._places.take(context)
        if place == "taken":
            self._leases.add(context, asked_at)
            self._executor.start(context)
        return place != "stopping"

    def _end(self, context: TaskContext, outcome: Outcome | None) -> None:
        """Answer for a task, and free its place."""
        context.ended_at = time.monotonic()
        try:
            self._answers.send(context, outcome)
        finally:
            self._leases.remove(context)
            self._places.free(context)
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
            status = 1 if left else 0
        self._stopped.set()
        self._leases.close()
        self._loop.close()
        self._threads.close()
        return status

    def _log_stop(self, grace_s: float) -> None:
        """A person who typed Ctrl-C waits, and should know for what."""
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
        """Wait for the running tasks and the claim: at most so long, and no longer once a stop at once is asked for."""
        until = time.monotonic() + seconds
        while not self._claimer.has_ended or self._places.all():
            left_s = until - time.monotonic()
            asked = self._next_ask(left_s)
            if (asked == "stop now" and at_once) or (asked is None and left_s <= 0):
                return False
        return True

    def _give_back(self, left: Sequence[TaskContext]) -> None:
        """Requeue tasks, and wait no longer for that than a server needs that is there."""
        if not left:
            return
        for context in left:
            self._leases.remove(context)
        done = threading.Event()

        def give_back() -> None:
            requeue(self.options.queue, [context.task for context in left])
            done.set()

        self._threads.start(give_back)
        done.wait(REQUEUE_S)
