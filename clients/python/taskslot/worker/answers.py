"""Sends the outcomes of tasks to the server: ack, fail and requeue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from .. import commands
from .._sync.base_queue import BaseQueue
from ..errors import LeaseLost, Refused
from ..replies import Task
from .context import TaskContext
from .outcomes import Failed, Outcome, described
from .retries import log_retry, passes, rests

log = logging.getLogger("taskslot")


class Answers:
    """Sends outcomes, each on the caller's thread. The event `stopped` ends the rests between tries."""

    def __init__(self, queue: BaseQueue, stopped: threading.Event) -> None:
        self._queue = queue
        self._stopped = stopped

    def send(self, context: TaskContext, outcome: Outcome | None) -> None:
        """Send an outcome, and again while the server is away. The lease is extended meanwhile, if possible.

        A result is sent even if the heartbeat reported that the lease is lost. The server accepts it unless another
        worker has claimed the task, which saves doing the work twice.
        """
        all_rests = rests()
        while outcome is not None and not context.is_abandoned():
            try:
                next_ms = outcome.send(self._queue, context.task)
            except LeaseLost:
                return log_lost(outcome, context.task)
            except Exception as error:
                if passes(self._queue, error):
                    log_retry(error, f"sending the outcome of task {context.task.id} failed")
                    self._stopped.wait(next(all_rests))
                else:
                    log.error("the outcome of task %s can't be sent: %s", context.task.id, described(error))
                    outcome = instead(outcome, error)
            else:
                if isinstance(outcome, Failed):
                    self._log_failure(context.task, outcome, next_ms)
                return

    def _log_failure(self, task: Task, failed: Failed, next_ms: int) -> None:
        """Log in one line what went wrong and what happens next."""
        count = "" if next_ms == 0 else self._failures(task)
        if next_ms < 0:
            then = "now dead"
        else:
            then = f"retrying in {next_ms / 1000:g} s" if next_ms else "no longer in the queue"
        failed.log(task, f" {count}, {then}" if count else f", {then}")

    def _failures(self, task: Task) -> str:
        """`(failure 1 of 4)`: the setting `attempts` limits failures. Empty if this user lacks the rights to ask."""
        try:
            view = self._queue.get(task)
            if view is None:
                return ""
            if (limit := view.attempts) is None:
                settings = self._queue.wire.run(commands.settings(task.key))
                limit = settings.attempts if settings is not None else -1
            return f"(failure {view.failures} of {limit})" if limit > 0 else f"(failure {view.failures})"
        except Exception:
            return ""


def log_lost(outcome: Outcome, task: Task) -> None:
    """Log an outcome that the server refused because the lease is lost."""
    if isinstance(outcome, Failed):
        outcome.log(task, "; its lease had ended, so the failure does not count")
    else:
        log.warning("task %s: its lease had ended, so its outcome is dropped", task.id)


def instead(outcome: Outcome, error: Exception) -> Outcome | None:
    """What to send instead of an outcome that the server refused, such as a result that is too long."""
    if isinstance(error, Refused) and not (isinstance(outcome, Failed) and outcome.dead):
        return Failed(f"the server refused the outcome: {described(error)}", dead=True)
    return None


def requeue(queue: BaseQueue, tasks: Sequence[Task]) -> None:
    """Requeue tasks, with one command for each key. If that fails, they come back when their leases end."""
    try:
        if tasks:
            queue.requeue_many(tasks)
    except Exception as error:
        left = counted(
            len(tasks),
            "task can't be requeued and comes back when its lease ends",
            "tasks can't be requeued and come back when their leases end",
        )
        log.warning("%s: %s", left, described(error))


def counted(number: int, one: str, many: str) -> str:
    """A number with the singular or the plural: `1 task is running`, `3 tasks are running`."""
    return f"{number} {one if number == 1 else many}"
