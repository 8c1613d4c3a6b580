"""The policy of functions: which failures are tried again, and when; their errors; and middleware."""

import asyncio
import logging
from contextlib import contextmanager
from datetime import timedelta

import pytest
import taskslot
from harness.server import wait_until
from harness.worker_thread import WorkerThread
from taskslot import App, Fail, GiveBack, Middleware, TaskDead, Worker, current
from taskslot.testing import run_all
from taskslot.tracebacks import MOST_BYTES, error_text, parted


@pytest.fixture
def app(client):
    """An app on a new server."""
    with App(client) as app:
        yield app


def test_exceptions_decide_whether_a_task_is_tried_again(app):
    """`retry_for` names those that are; `dead_for` goes before it."""

    @app.task(retry_for=OSError, dead_for=[FileNotFoundError], backoff=3_600_000)
    def work(kind):
        raise {"os": ConnectionError, "file": FileNotFoundError, "other": KeyError, "fail": Fail}[kind]("why")

    pushed = {kind: work.push(kind) for kind in ("os", "file", "other", "fail")}
    with WorkerThread(app.worker()):
        wait_until(lambda: app.queue().len("ready") == app.queue().len("leased") == 0, "all have failed")
    states = {kind: app.queue().get(task).state for kind, task in pushed.items()}
    assert states == {"os": "delayed", "file": "dead", "other": "dead", "fail": "delayed"}


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (7_000_000, [7_000_000] * 3),
        (lambda failure: failure * 1_000_000, [1_000_000, 2_000_000, 3_000_000]),
        ((1_000_000, 2_500_000), [1_000_000, 2_000_000, 2_500_000]),
    ],
)
def test_the_backoff_of_a_function_is_the_delay_of_its_failures(queue, backoff, delays):
    """As ms, as a function of the failure's number, and as (first, most), which varies by a tenth."""
    told = []

    class Told(Middleware):
        def on_retry(self, context, error, delay_ms):
            told.append(delay_ms)

    worker = Worker(queue, middleware=[Told()])

    @worker.task("f", backoff=backoff, retain_ms=60_000)
    def work():
        raise ValueError

    task = queue.push(work.call(), attempts=9)
    with WorkerThread(worker):
        for number in range(1, 4):
            wait_until(lambda number=number: len(told) == number, "it has failed")
            queue.retry(task)
    assert [round(one, -5) for one in told[:3]] == pytest.approx(delays, rel=0.15)


def test_attempts_that_were_given_back_are_no_failures(queue):
    """The backoff gets the number of the failure, which is not that of the delivery."""
    numbers = []
    worker = Worker(queue)

    @worker.task("f", backoff=lambda failure: numbers.append(failure) or 3_600_000, retain_ms=60_000)
    def work():
        raise GiveBack if current().task.deliveries < 3 else ValueError

    task = queue.push(work.call())
    with WorkerThread(worker):
        wait_until(lambda: queue.get(task).state == "delayed", "it has failed")
    assert numbers == [1]


def test_a_backoff_that_raises_leaves_it_to_the_queue(queue, caplog):
    """The failure is reported nevertheless."""
    queue.configure(attempts=2, **{"backoff-base": 1})
    worker = Worker(queue)
    work = worker.task("f", backoff=lambda failure: 1 / 0)(lambda: int("x"))
    with WorkerThread(worker):
        assert queue.result(queue.push(work.call()), block_ms=20_000).state == "dead"
    assert "backoff failed" in caplog.text


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"backoff": "1s"}, TypeError), ({"backoff": -1}, ValueError), ({"backoff": (5, 1)}, ValueError),
        ({"retry_for": "OSError"}, TypeError), ({"dead_for": [int]}, TypeError), ({"timeout_ms": 0}, ValueError),
        ({"timeout_ms": "1"}, TypeError), ({"retries": 3}, TypeError), ({"unique": lambda user: ""}, TypeError),
    ],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused_where_it_is_written(app, options, error):
    """When the module is imported, not when a task fails."""
    with pytest.raises(error):
        app.task(**options)(lambda: None)
    assert app.tasks == {}


def test_a_sync_function_that_does_not_look_runs_on_and_its_result_counts(app, caplog):
    """Its thread can't be stopped. The work is done, so a retry would repeat it."""

    @app.task(timeout_ms=5)
    def work():
        wait_until(lambda: current().timed_out, "its time is over")
        return "done"

    with caplog.at_level(logging.WARNING, "taskslot"), WorkerThread(app.worker()):
        assert work.push().result(timeout_ms=20_000) == "done"
        wait_until(lambda: "runs for longer than its timeout_ms" in caplog.text, "the log says so")


def test_a_log_handler_that_raises_ends_no_time_outs(app):
    """One thread waits for the time-outs of all tasks. It asks before it logs, and goes on."""

    @app.task(timeout_ms=5, attempts=1)
    def work():
        assert current().wait(5)
        current().check()

    def refuse(record):
        if "runs for longer" in record.msg:
            raise OSError("no space left for the log")
        return True

    log = logging.getLogger("taskslot")
    log.addFilter(refuse)
    try:
        with WorkerThread(app.worker()):
            for _ in range(2):
                with pytest.raises(TaskDead, match="TimedOut: timed out after 5 ms"):
                    work.push().result(timeout_ms=20_000)
    finally:
        log.removeFilter(refuse)


def test_a_function_that_ends_in_time_is_not_asked_to_stop(app):
    """The next task of the same place has its own time."""

    @app.task(timeout_ms=600_000)
    def work(first):
        assert not current().timed_out
        return first

    worker = app.worker()
    with WorkerThread(worker):
        assert [work.push(n).result(timeout_ms=20_000) for n in range(3)] == [0, 1, 2]
        wait_until(lambda: not worker._runner._executor._timeouts._over_at, "nothing is left")


# ---- errors


def test_a_long_traceback_keeps_its_end(app):
    """And the text of the exception, also if that is long itself. The server keeps 4 KiB."""

    @app.task(attempts=1)
    def work(depth, text):
        if depth:
            return work(depth - 1, text)
        raise ValueError(text)

    with WorkerThread(app.worker()):
        for depth, text in ((200, "short"), (200, "ä" * 5000), (0, "x" * 100_000), (5000, "")):
            with pytest.raises(TaskDead) as dead:
                work.push(depth, text).result(timeout_ms=20_000)
            error, trace = dead.value.error, dead.value.traceback
            assert len(f"{error}\n{trace}".encode()) <= MOST_BYTES
            assert error.startswith(f"ValueError: {text[:500]}" if depth < 5000 else "RecursionError")
            assert trace.startswith("Traceback (most recent call last):\n")
            assert depth == 5000 or trace.endswith("raise ValueError(text)")


def test_an_exception_that_cannot_be_shown_is_still_an_error(app):
    """Its name is."""

    class Mean(Exception):
        def __str__(self):
            raise SystemExit

        __repr__ = __str__

    @app.task(attempts=1)
    def work():
        raise Mean

    with WorkerThread(app.worker()), pytest.raises(TaskDead) as dead:
        work.push().result(timeout_ms=20_000)
    assert dead.value.error == "Mean"


def test_the_cause_of_an_exception_is_in_its_traceback():
    """Before it, as Python shows it; of a group, all."""
    try:
        try:
            int("x")
        except ValueError as error:
            raise KeyError("no\nuser") from error
    except KeyError as error:
        what, trace = parted(error_text(error))
    assert what == "KeyError: 'no\\nuser'"
    assert (
        trace.index("invalid literal for int") < trace.index("which led to") < trace.index("raise KeyError")
    )
    group = ExceptionGroup("two", [ValueError("one"), KeyError("other")])
    assert all(one in error_text(group) for one in ("ValueError: one", "KeyError: 'other'"))
    assert parted(error_text(ValueError("never raised"))) == ("ValueError: never raised", None)


def test_a_result_that_cannot_be_written_or_read_says_so(app):
    """The first is dead; the second raises at the caller."""

    @app.task(attempts=1)
    def writes():
        return object()

    @app.task
    def reads() -> set[int]:
        return "no set"

    with WorkerThread(app.worker()):
        with pytest.raises(TaskDead, match="the result of .*writes can't be written as JSON"):
            writes.push().result(timeout_ms=20_000)
        with pytest.raises(taskslot.TaskslotError, match="the result of .* can't be read: it is no list"):
            reads.push().result(timeout_ms=20_000)


def test_arguments_that_cannot_be_read_make_the_task_dead_at_once(app):
    """No later attempt could read them."""

    @app.task(name="f")
    def work(ids: set[int]):
        raise AssertionError

    task = app.queue().push('{"task": "f", "args": ["secret"]}')
    with WorkerThread(app.worker()), pytest.raises(TaskDead) as dead:
        work.pushed(task).result(timeout_ms=20_000)
    assert dead.value.error == "BadArguments: argument 'ids' of f can't be read: it is no list"


def test_a_unique_that_raises_pushes_nothing(app):
    """The exception is the caller's, with a note of where it came from."""

    @app.task(unique=lambda user: user["id"])
    def digest(user):
        pass

    with pytest.raises(KeyError) as refused:
        digest.push({})
    assert "unique of" in refused.value.__notes__[0]
    with pytest.raises(TypeError, match="must return a str, not int"):
        digest.push({"id": 1})
    assert app.queue().len() == 0


# ---- middleware


class Notes(Middleware):
    """Notes each call of a hook."""

    def __init__(self, name, notes):
        self.name, self.notes = name, notes

    def note(self, *what):
        """Note something."""
        self.notes.append((self.name, *what))

    def on_push(self, task, headers):
        """Add a header."""
        headers[self.name] = task

    @contextmanager
    def around(self, context):
        """Note both ends."""
        self.note("around", current() is context, context.headers.get(self.name))
        try:
            yield
        except ValueError:
            self.note("raised")
            return  # which would swallow the exception
        finally:
            self.note("left")

    def before(self, context):
        """Note the task's name."""
        self.note("before", context.name)

    def after(self, context, error):
        """Note the exception."""
        self.note("after", type(error).__name__)

    def on_retry(self, context, error, delay_ms):
        """Note the exception and the delay."""
        self.note("retry", type(error).__name__, delay_ms)

    def on_dead(self, context, error):
        """Note the exception."""
        self.note("dead", type(error).__name__)

    def on_worker_start(self, worker):
        """Note the worker."""
        self.note("start", worker.concurrency)

    def on_worker_stop(self, worker):
        """Note the worker."""
        self.note("stop", worker.concurrency)


@pytest.mark.parametrize("how", ["sync", "async", "returns an awaitable"])
def test_middleware_is_called_around_each_task(client, how):
    """In the order of the list, and backwards."""
    notes = []
    app = App(client, middleware=[Notes("a", notes), Notes("b", notes)])

    def fails():
        if current().task.deliveries == 1:
            raise ValueError
        raise Fail("enough", dead=True)

    async def fails_later():
        await asyncio.sleep(0)
        fails()

    function = {"sync": fails, "async": fails_later, "returns an awaitable": lambda: fails_later()}[how]
    work = app.task(name="f", backoff=3_600_000)(function)
    with WorkerThread(app.worker(concurrency=2)):
        pushed = work.push()
        wait_until(lambda: ("b", "retry", "ValueError", 3_600_000) in notes, "the first attempt has failed")
        app.queue().retry(pushed)
        with pytest.raises(TaskDead, match="enough"):
            pushed.result(timeout_ms=20_000)
        wait_until(lambda: ("b", "dead", "Fail") in notes, "the last hook was called")
    of_first, of_last = (
        [one[1:] for one in notes if one[0] == "a"],
        [one[1:] for one in notes if one[0] == "b"],
    )
    assert of_first == [
        ("start", 2),
        ("around", True, "f"), ("before", "f"), ("after", "ValueError"), ("raised",), ("left",),
        ("retry", "ValueError", 3_600_000),
        ("around", True, "f"), ("before", "f"), ("after", "Fail"), ("left",), ("dead", "Fail"),
        ("stop", 2),
    ]  # fmt: skip
    assert of_last == of_first
    assert [one[:2] for one in notes[2:6]] == [
        ("a", "around"),
        ("a", "before"),
        ("b", "around"),
        ("b", "before"),
    ]
    assert [one[0] for one in notes[6:9]] == ["b", "b", "b"]


def test_middleware_that_raises_changes_nothing(client, caplog):
    """Each hook of it is logged."""

    class Broken(Middleware):
        def around(self, context):
            return 5

        def on_push(self, task, headers):
            raise KeyError

        before = after = on_retry = on_dead = on_worker_start = on_worker_stop = lambda self, *_: {}[1]

    class Leaves(Middleware):
        @contextmanager
        def around(self, context):
            yield
            raise OSError("at the end")

    app = App(client, middleware=[Broken(), Leaves()])

    @app.task(backoff=1)
    def work(breaks):
        if breaks:
            raise ValueError if current().task.deliveries == 1 else Fail("enough", dead=True)
        return 7

    with caplog.at_level(logging.ERROR, "taskslot"), WorkerThread(app.worker()):
        assert work.push(False).result(timeout_ms=20_000) == 7
        with pytest.raises(TaskDead, match="enough"):
            work.push(True).result(timeout_ms=20_000)
        wait_until(lambda: "on_dead of Broken failed" in caplog.text, "the last hook was called")
    hooks = ("on_push", "before", "after", "around", "on_retry", "on_worker_start", "on_worker_stop")
    assert all(f"{one} of Broken failed" in caplog.text for one in hooks)
    assert "around of Leaves failed" in caplog.text


def test_what_is_no_middleware_is_refused(client, queue):
    """A class instead of an object, mostly."""
    for make in (lambda: App(client, middleware=[Notes]), lambda: Worker(queue, middleware=[Notes])):
        with pytest.raises(TypeError, match="objects of taskslot.Middleware"):
            make()


class Refuses(Middleware):
    """Refuses with what the test gives, at the hook that the task names, and notes what it sees of others."""

    def __init__(self):
        self.refusals, self.notes = {}, []

    def refuse(self, hook):
        """Raise what the test has given for a hook."""
        if hook in self.refusals:
            raise self.refusals[hook]

    def on_push(self, task, headers):
        """Refuse a push."""
        self.refuse("on_push")

    @contextmanager
    def around(self, context):
        """Refuse before the function."""
        self.refuse("around")
        try:
            yield
        finally:
            self.notes.append("left")

    def before(self, context):
        """Refuse before the function."""
        self.refuse("before")

    def after(self, context, error):
        """Note that a function has ended."""
        self.notes.append(("after", type(error).__name__))

    def on_dead(self, context, error):
        """Note that a task is dead."""
        self.notes.append(("dead", str(error)))


@pytest.mark.parametrize("where", ["worker", "run_all"])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("hook", ["around", "before"])
def test_middleware_can_refuse_a_task(client, hook, is_async, where):
    """`Fail` and `GiveBack` before the function are the outcome of the attempt, and the function does not run."""
    outer, inner, ran = Refuses(), Refuses(), []
    app = App(client, middleware=[outer, inner])

    def function():
        ran.append(current().task.id)

    async def function_later():
        ran.append(current().task.id)

    work = app.task(name="f")(function_later if is_async else function)
    inner.refusals[hook] = Fail("no tenant", dead=True)
    refused = work.push()

    def run():
        if where == "run_all":
            return run_all(app, raises=False)
        with WorkerThread(app.worker()):
            wait_until(lambda: app.queue().len("ready") == app.queue().len("leased") == 0, "all have ended")

    run()
    assert (app.queue().get(refused).state, app.queue().get(refused).error) == ("dead", "no tenant")
    assert ran == []
    # The outer one's hooks end as for a function that raised. Of the inner one, only what had begun.
    assert outer.notes == [("after", "Fail"), "left", ("dead", "no tenant")]
    assert inner.notes == (["left"] if hook == "before" else []) + [("dead", "no tenant")]
    inner.refusals[hook] = GiveBack(delay_ms=3_600_000)
    later = work.push()
    run()
    assert (app.queue().get(later).state, app.queue().get(later).failures, ran) == ("delayed", 0, [])
    inner.refusals[hook] = KeyError("logged")
    went_on = work.push()
    run()
    assert ran == [went_on]


def test_middleware_can_refuse_a_push(app):
    """The push raises, and nothing is pushed."""
    refuses = Refuses()
    app.middleware.append(refuses)

    @app.task
    def work():
        pass

    refuses.refusals["on_push"] = Fail("no tenant")
    for push in (work.push, lambda: work.push_many([()]), work.step, lambda: asyncio.run(work.apush())):
        with pytest.raises(Fail, match="no tenant"):
            push()
    assert app.queue().len() == 0


def test_headers_are_texts_in_the_worker_as_at_the_push(client):
    """A value that is no text keeps its bytes."""
    seen = []

    class Tenant(Middleware):
        def on_push(self, task, headers):
            headers["tenant"] = "böse"

        def before(self, context):
            seen.append(context.headers["tenant"])

    app = App(client, middleware=[Tenant()])

    @app.task
    def work():
        seen.append(current().headers["raw"].encode("utf-8", "surrogateescape"))

    work.options(headers={"raw": b"\xff\x00"}).push()
    run_all(app)
    assert seen == ["böse", b"\xff\x00"]


def test_spans_are_whole_ms(app):
    """A number or a timedelta that was meant as seconds is a clear error."""
    with pytest.raises(
        ValueError, match="backoff is in ms, whole numbers: 1.5 is none; for seconds write 1500"
    ):
        app.task(backoff=1.5)
    work = app.task(backoff=2000.0)(lambda: None)
    with pytest.raises(TypeError, match="delay_ms is a number of ms, not a timedelta"):
        work.options(delay_ms=timedelta(minutes=1)).push()


def test_a_worker_shows_its_queues(app):
    """In a debugger or a log."""
    worker = app.worker(["mail", "default"], name="w1")
    assert repr(worker) == "<Worker w1 on mail, default>"
