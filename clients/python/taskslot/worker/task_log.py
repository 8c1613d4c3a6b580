"""What the log says about a task: the words for people, and the fields for programs (`taskslot worker --log json`)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

from .. import commands
from .context import TaskContext
from .outcomes import Failed

log = logging.getLogger("taskslot")


class Attempts(NamedTuple):
    """How many attempts have failed, and how many can; 0 for the second is no limit."""

    failed: int
    of: int

    def __str__(self) -> str:
        return f"attempt {self.failed} of {self.of}" if self.of else f"attempt {self.failed}"


def log_failure(context: TaskContext, failed: Failed, next_ms: int) -> None:
    """Log in one line what went wrong, how long it took and what happens next."""
    attempts = None if next_ms == 0 else attempts_of(context)
    event, then = "retry", f"again in {next_ms / 1000:g} s"
    if next_ms <= 0:
        event, then = ("dead", "now dead") if next_ms < 0 else ("gone", "no longer in the queue")
    ran_ms = context.ran_ms()
    took = f" after {span(ran_ms)}" if ran_ms is not None else ""
    extra = fields(event, context) | {"task_ms": ran_ms, "task_error": failed.error}
    if attempts is not None:
        extra |= {"task_attempt": attempts.failed, "task_attempts": attempts.of or None}
    if next_ms > 0:
        extra["task_delay_ms"] = next_ms
    failed.log(context.log_name, f"{took} ({attempts}, {then})" if attempts else f"{took}, {then}", extra)


def log_lost(context: TaskContext, outcome: object) -> None:
    """Log an outcome that the server refused because the lease is lost."""
    extra = fields("lost", context)
    if isinstance(outcome, Failed):
        outcome.log(context.log_name, "; its lease had ended, so the failure does not count", extra)
    else:
        log.warning("task %s: its lease had ended, so its outcome is dropped", context.log_name, extra=extra)


def log_requeued(contexts: Iterable[TaskContext]) -> None:
    """Log the tasks that a stop gave back, of those whose function had begun."""
    for context in contexts:
        if (ran_ms := context.ran_ms()) is not None:
            extra = fields("requeued", context) | {"task_ms": ran_ms}
            words = context.log_name, context.name, span(ran_ms)
            log.info("task %s, %s, given back after %s: the worker stops", *words, extra=extra)


def attempts_of(context: TaskContext) -> Attempts | None:
    """The attempts so far, and the limit of the task or the queue. None if this user lacks the rights to ask."""
    queue, task = context.queue, context.task
    try:
        view = queue.get(task)
        if view is None:
            return None
        if (limit := view.attempts) is None:
            settings = queue.wire.run(commands.settings(task.key))
            limit = settings.attempts if settings is not None else -1
        return Attempts(view.failures, max(0, limit))
    except Exception:
        return None


def fields(event: str, context: TaskContext) -> dict[str, Any]:
    """What a log record about a task has as attributes, beside its message. A payload is not among it."""
    return {
        "task_event": event,
        "task_task": context.task.id,
        "task_name": context.name or None,
        "task_queue": context.queue.name,
        "task_attempt": context.failures + 1,
    }


def span(ms: float) -> str:
    """A span for people: `1.2 ms`, `12 ms`, `3.2 s`."""
    return f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"
