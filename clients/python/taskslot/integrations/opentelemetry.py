"""Middleware for OpenTelemetry: a span for each push and for each attempt, in one trace.

    app = taskslot.App(client, middleware=[Tracing()])

It needs the extra `otel`. The names of attributes are those of OpenTelemetry's conventions for messaging.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from ..commands import Payload
from ..errors import CancelAsked
from ..middleware import Middleware
from ..worker.context import TaskContext
from ..worker.outcomes import GiveBack
from .packages import needs

with needs("opentelemetry", "otel"):
    from opentelemetry import propagate, trace
    from opentelemetry.context import Context
    from opentelemetry.propagators.textmap import Getter, TextMapPropagator
    from opentelemetry.trace import Link, Span, SpanKind, StatusCode, TracerProvider

SYSTEM = "taskslot"


class Tracing(Middleware):
    """Spans `push shop.send` and `run shop.send`.

    A push adds the context of its span to the task's headers (`traceparent`, by W3C Trace Context). Each attempt has a
    span of its own, whose parent is the push, so a request, its tasks and their tasks are one trace. With `links`, each
    attempt begins a new trace with a link to the push instead: for tasks that run hours later, or for a push that has
    thousands of tasks.

    An exception is recorded in the span, whose status is then ERROR. `GiveBack`, and the end of a cancelled task, are
    no errors. Payloads, arguments and results are in no span.

    The parameters:

    - `provider`: where spans go; OpenTelemetry's global one by default.
    - `propagator`: how a context is written into headers; OpenTelemetry's global one by default, which is that of W3C
      unless `OTEL_PROPAGATORS` says otherwise.
    """

    def __init__(
        self,
        *,
        links: bool = False,
        provider: TracerProvider | None = None,
        propagator: TextMapPropagator | None = None,
    ) -> None:
        self._links = links
        self._tracer = trace.get_tracer("taskslot", tracer_provider=provider)
        self._propagator = propagator or propagate.get_global_textmap()

    def on_push(self, task: str, headers: MutableMapping[str, Payload]) -> None:
        """Add the context of a new span, unless the push has a context of its own."""
        if self._propagator.fields & headers.keys():
            return
        attributes = {
            "messaging.system": SYSTEM,
            "messaging.operation.name": "push",
            "messaging.operation.type": "create",
            "code.function.name": task,
        }
        with self._tracer.start_as_current_span(
            f"push {task}", kind=SpanKind.PRODUCER, attributes=attributes
        ):
            self._propagator.inject(headers)

    @contextmanager
    def around(self, context: TaskContext) -> Iterator[None]:
        """Run the function in a span."""
        pushed = self._propagator.extract(context.headers, getter=HEADERS)
        of_push = trace.get_current_span(pushed).get_span_context()
        parent = without_span(pushed) if self._links else pushed
        with self._tracer.start_as_current_span(
            f"run {context.name}",
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes_of(context),
            links=[Link(of_push)] if of_push.is_valid else [],
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                note(span, context, error)
                raise


class Headers(Getter[Mapping[str, str]]):
    """Reads a context from a task's headers."""

    def get(self, carrier: Mapping[str, str], key: str) -> list[str] | None:
        """The value of a header in a list; None if there is none."""
        value = carrier.get(key)
        return None if value is None else [value]

    def keys(self, carrier: Mapping[str, str]) -> list[str]:
        """The names of all headers."""
        return list(carrier)


HEADERS = Headers()


def without_span(context: Context) -> Context:
    """A context with the same baggage, in which a span begins a new trace."""
    return trace.set_span_in_context(trace.INVALID_SPAN, context)


def attributes_of(context: TaskContext) -> dict[str, Any]:
    """What a span says about an attempt."""
    task = context.task
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": context.queue.name,
        "messaging.message.id": task.id,
        "messaging.message.body.size": len(task.payload),
        "code.function.name": context.name,
        "taskslot.task.deliveries": task.deliveries,
        "taskslot.task.failures": context.failures,
    }


def note(span: Span, context: TaskContext, error: BaseException) -> None:
    """Record what a function raised."""
    if isinstance(error, GiveBack) or (context.cancelled and isinstance(error, CancelAsked | CancelledError)):
        return
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    span.record_exception(error)
    span.set_attribute("error.type", name)
    span.set_status(StatusCode.ERROR, str(error))
