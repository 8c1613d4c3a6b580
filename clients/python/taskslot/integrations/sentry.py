"""Middleware for Sentry: the errors of tasks, and a transaction for each attempt.

    sentry_sdk.init(dsn=…)
    app = taskslot.App(client, middleware=[Sentry()])

It needs the extra `sentry`.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from weakref import WeakKeyDictionary

from ..commands import Payload
from ..middleware import Middleware
from ..worker.context import TaskContext
from ..worker.outcomes import GiveBack
from .packages import needs

with needs("sentry_sdk", "sentry"):
    import sentry_sdk
    from sentry_sdk.scope import Scope, use_isolation_scope, use_scope

Captures = Literal["dead", "all"]
ORIGIN = "auto.queue.taskslot"
HEADERS = ("sentry-trace", "baggage")
PACKAGE = str(Path(__file__).parent.parent)


class Sentry(Middleware):
    """An isolation scope and a transaction for each attempt, and an event for each task that dies.

    `captures="all"` makes an event of each failed attempt, also of those that are tried again. Without it, an error
    that a retry mends is no event, only the last one is, with the breadcrumbs of its attempt.

    Events have the tags `taskslot.queue`, `taskslot.task` (the function) and `taskslot.id`. A push adds Sentry's trace
    to the headers, so that a request and its tasks are one trace. Payloads, arguments and results are not sent. But
    Sentry's SDK sends the local variables of the functions in a traceback; `include_local_variables=False` of
    `sentry_sdk.init` turns that off.
    """

    def __init__(self, captures: Captures = "dead") -> None:
        if captures not in ("dead", "all"):
            raise ValueError(f"captures must be 'dead' or 'all', not {captures!r}")
        self._captures = captures
        self._scopes: WeakKeyDictionary[TaskContext, tuple[Scope, Scope]] = WeakKeyDictionary()

    def on_push(self, task: str, headers: MutableMapping[str, Payload]) -> None:
        """Add the trace to the headers, unless the push has one of its own."""
        if not any(name in headers for name in HEADERS):
            given = (sentry_sdk.get_traceparent(), sentry_sdk.get_baggage())
            headers.update({name: value for name, value in zip(HEADERS, given, strict=True) if value})

    @contextmanager
    def around(self, context: TaskContext) -> Iterator[None]:
        """Run the function in a scope and a transaction."""
        with sentry_sdk.isolation_scope() as scope:
            describe(scope, context)
            self._scopes[context] = scope, Scope.get_current_scope()
            headers = {name: context.headers[name] for name in HEADERS if name in context.headers}
            transaction = sentry_sdk.continue_trace(
                headers, op="queue.process", name=context.name, source="task", origin=ORIGIN
            )
            with sentry_sdk.start_transaction(transaction) as span:
                for name, value in data_of(context).items():
                    span.set_data(name, value)
                with ExitStack() as stack:
                    stack.push(is_no_error)
                    yield
                span.set_status("ok")

    def on_retry(self, context: TaskContext, error: BaseException, delay_ms: int) -> None:
        """Send an event if all failures are wanted."""
        if self._captures == "all":
            self._capture(context, error)

    def on_dead(self, context: TaskContext, error: BaseException) -> None:
        """Send an event."""
        self._capture(context, error)

    def _capture(self, context: TaskContext, error: BaseException) -> None:
        """Send an event from the scope in which the function ran; from a new one if none ran."""
        scopes = self._scopes.get(context)
        with ExitStack() as stack:
            if scopes is not None:
                stack.enter_context(use_isolation_scope(scopes[0]))
                stack.enter_context(use_scope(scopes[1]))
            else:
                describe(stack.enter_context(sentry_sdk.isolation_scope()), context)
            sentry_sdk.capture_exception((type(error), error, beyond(error.__traceback__)))


def describe(scope: Scope, context: TaskContext) -> None:
    """Set the name and the tags of an isolation scope.

    The name is also set in the current scope, which takes precedence, and may have one of the thread's past.
    """
    for one in (scope, Scope.get_current_scope()):
        one.set_transaction_name(context.name, source="task")
    scope.set_tag("taskslot.queue", context.queue.name)
    scope.set_tag("taskslot.task", context.name)
    scope.set_tag("taskslot.id", context.task.id)
    scope.set_context("taskslot", {"deliveries": context.task.deliveries, "failures": context.failures})


def data_of(context: TaskContext) -> dict[str, Any]:
    """What Sentry's page of queues shows."""
    return {
        "messaging.system": "taskslot",
        "messaging.destination.name": context.queue.name,
        "messaging.message.id": context.task.id,
        "messaging.message.body.size": len(context.task.payload),
        "messaging.message.retry.count": context.task.deliveries - 1,
    }


def is_no_error(kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> bool:
    """Whether what ended a function is no error for the transaction."""
    return isinstance(error, GiveBack)


def beyond(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the worker's own calls at its beginning, whose local variables have the payload."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(PACKAGE):
        trace = trace.tb_next
    return trace
