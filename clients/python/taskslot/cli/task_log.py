"""Logs when a task starts and ends. What comes of a failure is logged by the worker itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ..middleware import Middleware
from ..worker import GiveBack, TaskContext
from ..worker.task_log import fields, span

log = logging.getLogger("taskslot")


class TaskLog(Middleware):
    """Writes a line when a function begins, and one with the time that it took when it has returned."""

    @contextmanager
    def around(self, context: TaskContext) -> Iterator[None]:
        """Log around a function."""
        attempt = context.failures + 1
        again = f", attempt {attempt}" if attempt > 1 else ""
        log.info(
            "task %s, %s, started%s", context.log_name, context.name, again, extra=fields("started", context)
        )
        ended: tuple[str, str] | None = "done", "done"
        try:
            yield
        except GiveBack:
            ended = "requeued", "given back"
            raise
        except BaseException:
            ended = None  # the worker logs it when the server knows it
            raise
        finally:
            # What a stop gave back is in the log already, as that.
            if ended is not None and not context.is_abandoned():
                event, words = ended
                ms = context.ran_ms() or 0.0
                extra = fields(event, context) | {"task_ms": ms}
                log.info(
                    "task %s, %s, %s in %s", context.log_name, context.name, words, span(ms), extra=extra
                )
