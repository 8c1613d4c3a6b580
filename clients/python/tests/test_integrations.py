"""Middleware for OpenTelemetry, Sentry and Django, with the real packages."""

import asyncio

import django
import pytest
import sentry_sdk
from django.conf import settings
from django.db import connection
from harness.server import wait_until
from harness.worker_thread import WorkerThread
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from sentry_sdk.transport import Transport
from taskslot import App, Fail, GiveBack, TaskDead, current
from taskslot.integrations.django import DatabaseConnections
from taskslot.integrations.opentelemetry import Tracing
from taskslot.integrations.sentry import Sentry
from taskslot.testing import run_all

# ---- OpenTelemetry


@pytest.fixture
def exporter():
    """Keeps the spans that have ended."""
    return InMemorySpanExporter()


@pytest.fixture
def traced(client, exporter):
    """Makes an app with tracing."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    apps = []

    def make(**options):
        apps.append(App(client, middleware=[Tracing(provider=provider, **options)]))
        return apps[-1], provider.get_tracer("test")

    yield make
    for app in apps:
        app.close()


def spans(exporter):
    """The spans that have ended, by name."""
    return {span.name: span for span in exporter.get_finished_spans()}


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_request_and_its_tasks_are_one_trace(traced, exporter, how):
    """In a worker. The context is in the header `traceparent`; what runs in the function is below its span."""
    app, tracer = traced()

    def inner():
        with tracer.start_as_current_span("query"):
            pass

    async def ainner():
        await asyncio.sleep(0)
        inner()

    work = app.task(name="shop.send", queue="mail")(inner if how == "sync" else ainner)
    with WorkerThread(app.worker()):
        with tracer.start_as_current_span("request"):
            pushed = work.push()
        pushed.result(timeout_ms=20_000)
        wait_until(lambda: len(spans(exporter)) == 4, "all spans have ended")
    found = spans(exporter)
    request, push, run, query = (found[n] for n in ("request", "push shop.send", "run shop.send", "query"))
    assert [push.parent.span_id, run.parent.span_id, query.parent.span_id] == [
        span.context.span_id for span in (request, push, run)
    ]
    assert len({span.context.trace_id for span in found.values()}) == 1
    assert (push.kind, run.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert run.attributes == {
        "messaging.system": "taskslot",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": "mail",
        "messaging.message.id": pushed,
        "messaging.message.body.size": len(work.call()),
        "code.function.name": "shop.send",
        "taskslot.task.deliveries": 1,
        "taskslot.task.failures": 0,
    }
    assert push.attributes["messaging.operation.type"] == "create"
    assert [link.context.span_id for link in run.links] == [
        push.context.span_id
    ] and run.status.status_code == StatusCode.UNSET
    assert app.queue("mail").get(pushed).headers["traceparent"].split(b"-")[1].decode() == (
        f"{push.context.trace_id:032x}"
    )


def test_with_links_each_attempt_is_a_trace_of_its_own(traced, exporter):
    """A link leads to the push."""
    app, tracer = traced(links=True)
    work = app.task(name="f")(lambda: None)
    with tracer.start_as_current_span("request"):
        work.push()
        run_all(app)
    push, run = spans(exporter)["push f"], spans(exporter)["run f"]
    assert run.parent is None and run.context.trace_id != push.context.trace_id
    assert [link.context.span_id for link in run.links] == [push.context.span_id]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("bad"), "ValueError"),
        (Fail("no"), "taskslot.worker.outcomes.Fail"),
        (GiveBack(delay_ms=9999), None),
    ],
)
def test_errors_are_recorded_in_the_span(traced, exporter, error, kind):
    """A task that is given back is no error."""
    app, _ = traced()

    @app.task(name="f", attempts=1)
    def breaks():
        raise error

    breaks.push()
    run_all(app, raises=False)
    run = spans(exporter)["run f"]
    assert run.attributes.get("error.type") == kind
    if kind is None:
        assert run.status.status_code == StatusCode.UNSET and not run.events
    else:
        assert (run.status.status_code, run.status.description) == (StatusCode.ERROR, str(error))
        assert [event.attributes["exception.type"] for event in run.events] == [kind]


def test_a_push_of_many_has_one_span_and_a_context_of_its_own_is_kept(traced, exporter):
    """So that they are sent in one command; a push can also pass on the context that it was given."""
    app, _ = traced()
    work = app.task(name="f")(lambda n: None)
    pushed = work.push_many([(1,), (2,), (3,)])
    given = "00-" + "7" * 32 + "-" + "5" * 16 + "-01"
    own = work.options(headers={"traceparent": given}).push(4)
    assert [span.name for span in exporter.get_finished_spans()] == ["push f"]
    assert len({app.queue().get(one).headers["traceparent"] for one in pushed}) == 1
    assert app.queue().get(own).headers == {"traceparent": given.encode()}
    app.queue().push(work.call(5))  # without any context
    run_all(app)
    runs = [span for span in exporter.get_finished_spans() if span.name == "run f"]
    assert [len(run.links) for run in runs] == [1, 1, 1, 1, 0]
    assert runs[3].context.trace_id == int("7" * 32, 16) and runs[4].parent is None


# ---- Sentry


class Kept(Transport):
    """Keeps what the SDK would send."""

    def __init__(self, options=None):
        super().__init__(options)
        self.items = []

    def capture_envelope(self, envelope):
        """Keep the events and transactions."""
        self.items += [(item.type, item.payload.json) for item in envelope.items]

    def of(self, kind):
        """Those of a kind: event or transaction."""
        return [item for of, item in self.items if of == kind]


@pytest.fixture
def sent():
    """What the SDK has sent, initialised for the test."""
    kept = Kept()
    init(transport=kept)
    yield kept
    sentry_sdk.get_client().close()
    init(dsn=None)


def init(**options):
    """Initialise the SDK without what it does to other packages: it would change redis-py for all later tests."""
    given = {"dsn": "http://key@127.0.0.1:1/1", "traces_sample_rate": 1.0, **options}
    sentry_sdk.init(auto_enabling_integrations=False, **given)


def breaking(app):
    """A function that fails twice with its only argument in the error, and is dead then."""

    @app.task(name="shop.send", queue="mail", attempts=2, backoff=1)
    def send(secret):
        sentry_sdk.add_breadcrumb(message=f"attempt {current().task.deliveries}")
        raise ValueError("no address")

    return send


@pytest.mark.parametrize(("captures", "events"), [("dead", 1), ("all", 2)])
def test_an_error_is_an_event_when_the_task_dies_or_always(client, sent, captures, events):
    """With tags, the trace and the breadcrumbs of the attempt."""
    app = App(client, middleware=[Sentry(captures=captures)])
    send = breaking(app)
    with WorkerThread(app.worker()):
        with sentry_sdk.start_transaction(name="request") as request:
            pushed = send.push("key 7f")
        with pytest.raises(TaskDead):
            pushed.result(timeout_ms=20_000)
        wait_until(lambda: len(sent.of("event")) >= events, "the events were sent")
    assert len(sent.of("event")) == events
    event = sent.of("event")[-1]
    assert event["tags"] == {"taskslot.queue": "mail", "taskslot.task": "shop.send", "taskslot.id": pushed}
    assert event["transaction"] == "shop.send"
    assert event["contexts"]["trace"]["trace_id"] == request.trace_id
    assert [crumb["message"] for crumb in event["breadcrumbs"]["values"] if crumb["type"] == "default"][
        :1
    ] == ["attempt 2"]
    (raised,) = event["exception"]["values"]
    assert raised["type"] == "ValueError" and len(raised["stacktrace"]["frames"]) == 1
    runs = [one for one in sent.of("transaction") if one["transaction"] == "shop.send"]
    assert [one["contexts"]["trace"]["status"] for one in runs] == ["internal_error"] * 2
    assert {one["contexts"]["trace"]["trace_id"] for one in runs} == {request.trace_id}
    assert runs[0]["contexts"]["trace"]["data"]["messaging.message.id"] == pushed


def test_no_payload_is_sent_to_sentry(client, sent):
    """Apart from the local variables of the function, which the SDK can leave out."""
    init(transport=sent, include_local_variables=False)
    app = App(client, middleware=[Sentry(captures="all")])
    breaking(app).push("key 7f")
    run_all(app, raises=False, delayed=True)
    assert len(sent.of("event")) == 2 and "key 7f" not in str(sent.items)


def test_scopes_of_tasks_do_not_mix(client, sent):
    """Async functions run at the same time; a task that is given back is no error."""
    app = App(client, middleware=[Sentry()])
    both = asyncio.Event()
    began = []

    @app.task(name="f", attempts=1)
    async def work(name):
        if name == "back" and current().task.deliveries == 1:
            raise GiveBack(delay_ms=1)
        sentry_sdk.set_tag("who", name)
        began.append(name)
        both.set() if len(began) == 3 else await both.wait()
        if name != "back":
            raise ValueError(name)

    app.queue().push(b"{")  # no function is ever called for it
    work.push_many([("a",), ("b",), ("back",)])
    with WorkerThread(app.worker()):
        wait_until(lambda: len(sent.of("event")) == 3, "the events were sent")
        wait_until(lambda: len(sent.of("transaction")) == 4, "all attempts have ended")
    values = [
        (event["exception"]["values"][-1]["type"], event["tags"].get("who")) for event in sent.of("event")
    ]
    assert sorted(values, key=str) == [("BadPayload", None), ("ValueError", "a"), ("ValueError", "b")]
    ended = [one["contexts"]["trace"]["status"] for one in sent.of("transaction")]
    assert sorted(ended) == ["internal_error", "internal_error", "ok", "ok"]


def test_sentry_refuses_a_word_that_it_does_not_know():
    """At once."""
    with pytest.raises(ValueError, match="captures must be 'dead' or 'all', not 'some'"):
        Sentry(captures="some")


# ---- Django


def test_a_task_leaves_no_connection_of_django_open(client, tmp_path):
    """With the settings of Django's default: a connection is open for one task."""
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "db"}
    if not settings.configured:
        settings.configure(DATABASES={"default": database})
        django.setup()
    app = App(client, middleware=[DatabaseConnections()])

    @app.task(name="f", attempts=1)
    def query(fails):
        with connection.cursor() as cursor:
            cursor.execute("select 7")
            assert connection.connection is not None
            if fails:
                raise ValueError
            return cursor.fetchone()[0]

    query.push(False)
    assert [one.value for one in run_all(app)] == [7] and connection.connection is None
    query.push(True)
    assert [one.state for one in run_all(app, raises=False)] == ["dead"] and connection.connection is None


@pytest.mark.parametrize("how", ["sync", "async"])
def test_old_connections_of_django_are_closed_around_tasks(client, monkeypatch, how):
    """In the thread of the task; for async functions in the one in which Django makes their queries."""
    calls = []
    monkeypatch.setattr("taskslot.integrations.django.close_old_connections", lambda: calls.append(on_loop()))

    def on_loop():
        try:
            return bool(asyncio.get_running_loop())
        except RuntimeError:
            return False

    def work():
        calls.append("work")

    async def awork():
        work()

    app = App(client, middleware=[DatabaseConnections()])
    task = app.task(name="f", attempts=1)(work if how == "sync" else awork)
    with WorkerThread(app.worker()):
        task.push().result(timeout_ms=20_000)
        expected = [False, "work", False] if how == "sync" else ["work", False]
        wait_until(lambda: calls == expected, "it was called")
