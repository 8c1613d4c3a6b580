"""Sends the outcomes of tasks to the server: ack, fail and requeue."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from .._sync.base_queue import BaseQueue
from ..arguments import parts
from ..errors import LeaseLost, Refused, TaskslotError
from ..replies import Answer
from ..tracebacks import described
from .context import TaskContext
from .hooks import Hooks
from .leases import Leases
from .outcomes import Done, Failed, Outcome
from .places import Ended, Places
from .retries import log_retry, passes, rests
from .task_log import log_failure, log_lost, log_requeued
from .threads import Threads

log = logging.getLogger("taskslot")


class Answers:
    """Sends outcomes, frees the places of their tasks, and calls `freed`.

    The event `stopped` ends the rests between tries.
    """

    def __init__(
        self,
        threads: Threads,
        places: Places,
        leases: Leases,
        stopped: threading.Event,
        freed: Callable[[], None],
        hooks: Hooks,
    ) -> None:
        self._hooks = hooks
        self._threads = threads
        self._places = places
        self._leases = leases
        self._stopped = stopped
        self._freed = freed

    def end(
        self, context: TaskContext, outcome: Outcome | None, *, here: bool = True, claimer: object = None
    ) -> None:
        """Answer for a task; on another thread unless `here`.

        If the claimer ran the task itself, as `claimer`, it sends the answer with its next claim, if it can.
        """
        context.ended_at = time.monotonic()
        send: Callable[[], None]
        if not isinstance(outcome, Done) or outcome.step is not None or context.is_abandoned():
            send = partial(self._send_apart, context, outcome)
        elif self._places.end(context, outcome, claimer):
            return
        else:
            send = partial(self._send_ended, context.task.key)
        if here:
            send()
        else:
            self.elsewhere(send)

    def send_again(self, ended: Sequence[Ended]) -> None:
        """Answer for tasks whose ack had no reply, or failed. They have their places and their leases until then.

        Since that ack was sent, nothing has extended their leases, so these are due at once.
        """
        contexts = [context for context, _ in ended]
        self._places.keep(contexts)
        self._leases.add(contexts, asked_at=0.0)
        for context, done in ended:
            self.elsewhere(partial(self._send_apart, context, done))

    def elsewhere(self, send: Callable[[], None]) -> None:
        """Call something that sends an answer on another thread; here if the process can't start one."""
        try:
            self._threads.start(send)
        except RuntimeError:
            send()

    def _send_ended(self, key: str) -> None:
        """Ack the finished tasks of a key until there are none, those with equal results in one command."""
        left = deque[tuple[Done, Sequence[TaskContext]]]()
        try:
            while ended := self._places.take_ended(key):
                left.extend(groups(ended))
                while left:
                    self._ack(*left[0])
                    left.popleft()
        except BaseException:
            self._places.stop_sending(key)
            self.send_again([(context, done) for done, contexts in left for context in contexts])
            raise

    def _ack(self, done: Done, contexts: Sequence[TaskContext]) -> None:
        tasks = [context.task for context in contexts]
        try:
            answers = contexts[0].queue.ack_many(tasks, result=done.result, retain_ms=done.retain_ms)
        except Exception:
            again = list(contexts)
        else:
            ended, again = by_answer(contexts, answers)
            self._free(ended)
        for context in again:
            self.elsewhere(partial(self._send_apart, context, done))

    def _send_apart(self, context: TaskContext, outcome: Outcome | None) -> None:
        try:
            self._send(context, outcome)
        finally:
            self._free([context])

    def _free(self, contexts: Sequence[TaskContext]) -> None:
        self._leases.remove(contexts)
        self._places.free(contexts)
        self._freed()

    def _send(self, context: TaskContext, outcome: Outcome | None) -> None:
        """Send an outcome, and again while the server is away. The lease is extended meanwhile, if possible.

        A result is sent even if the heartbeat reported that the lease is lost. The server accepts it unless another
        worker has claimed the task, which saves doing the work twice.
        """
        all_rests = rests()
        while outcome is not None and not context.is_abandoned():
            try:
                next_ms = outcome.send(context.queue, context.task)
            except LeaseLost:
                return log_lost(context, outcome)
            except Exception as error:
                if passes(context.queue, error):
                    log_retry(error, f"sending the outcome of task {context.task.id} failed")
                    self._stopped.wait(next(all_rests))
                else:
                    log.error("the outcome of task %s can't be sent: %s", context.task.id, described(error))
                    outcome = instead(outcome, error)
            else:
                if isinstance(outcome, Failed):
                    log_failure(context, outcome, next_ms)
                    self._hooks.failed(context, outcome.cause or TaskslotError(outcome.error), next_ms)
                return


def groups(ended: Iterable[Ended]) -> Iterator[tuple[Done, Sequence[TaskContext]]]:
    """The finished tasks of one key whose outcomes are equal, at most a thousand at a time."""
    equal: dict[tuple[str, bytes | None, int | None], tuple[Done, list[TaskContext]]] = {}
    for context, done in ended:
        equal.setdefault((context.task.key, done.result, done.retain_ms), (done, []))[1].append(context)
    for done, contexts in equal.values():
        for part in parts(contexts):
            yield done, part


def by_answer(
    contexts: Sequence[TaskContext], answers: Sequence[int]
) -> tuple[list[TaskContext], list[TaskContext]]:
    """The tasks that, by these answers to an ack, have ended, and those whose lease is lost."""
    ended, lost = list[TaskContext](), list[TaskContext]()
    for context, answer in zip(contexts, answers, strict=True):
        (lost if answer == Answer.LEASE_LOST else ended).append(context)
    return ended, lost


def instead(outcome: Outcome, error: Exception) -> Outcome | None:
    """What to send instead of an outcome that the server refused, such as a result that is too long."""
    if isinstance(error, Refused) and not (isinstance(outcome, Failed) and outcome.dead):
        return Failed(f"the server refused the outcome: {described(error)}", dead=True)
    return None


def requeue(contexts: Iterable[TaskContext]) -> None:
    """Requeue tasks, with one command for each key. If that fails, they come back when their leases end."""
    by_queue: dict[BaseQueue, list[TaskContext]] = {}
    for context in contexts:
        by_queue.setdefault(context.queue, []).append(context)
    for queue, of_queue in by_queue.items():
        try:
            queue.requeue_many([context.task for context in of_queue])
        except Exception as error:
            left = counted(
                len(of_queue),
                "task can't be requeued and comes back when its lease ends",
                "tasks can't be requeued and come back when their leases end",
            )
            log.warning("%s: %s", left, described(error))
        else:
            log_requeued(of_queue)


def counted(number: int, one: str, many: str) -> str:
    """A number with the singular or the plural: `1 task is running`, `3 tasks are running`."""
    return f"{number} {one if number == 1 else many}"
