"""An app: functions with their policy, pushed from sync and asyncio code, and their results."""

import asyncio
import copy
import gc
import pickle
import warnings

import pytest
import taskslot
from harness.server import wait_until
from harness.worker_thread import WorkerThread
from taskslot import App, NotEnded, Pushed, TaskDead, UnknownTask
from taskslot.app.task import together


@pytest.fixture(params=["one key", "shards"])
def app(request, client):
    """An app on a new server, whose queues are in one key or in shards."""
    with App(client, shards=4 if request.param == "shards" else None) as app:
        yield app


def test_a_push_has_a_worker_call_the_function_and_returns_the_way_to_its_result(app):
    """A function called directly is just a function."""

    @app.task
    def add(left, right=1):
        return left + right

    assert add(1) == 2
    with WorkerThread(app.worker()):
        pushed = add.push(1, right=4)
        assert pushed.result(timeout_ms=20_000) == 5
    assert isinstance(pushed, Pushed) and isinstance(pushed, str)
    assert app.queue().get(pushed).state == "done"


def test_asyncio_producers_share_the_app(app):
    """Each event loop has a client of its own, made like the sync one."""

    @app.task
    async def add(left, right):
        return left + right

    async def produce():
        async with app:
            one, two = await add.apush(1, 2), await add.delay(1).apush(3, 4)
            return [await one.aresult(20_000), await two.aresult(20_000)]

    with WorkerThread(app.worker()):
        assert [asyncio.run(produce()) for _ in range(2)] == [[3, 7]] * 2


def test_loops_that_ended_leave_nothing_behind(app):
    """Also without `aclose`."""
    work = app.task(lambda: None)

    async def produce():
        await work.apush()

    for _ in range(3):
        asyncio.run(produce())
    assert app.queue().len() == 3 and len(app._connections._of_loops) == 1


def test_a_dead_task_raises_with_the_error_and_the_traceback_of_the_worker(app):
    """The traceback ends where the exception was raised, and does not show the worker's own code."""

    @app.task(attempts=1)
    def breaks():
        raise ValueError("no such address")

    with WorkerThread(app.worker()):
        with pytest.raises(TaskDead, match="ValueError: no such address") as dead:
            breaks.push().result(timeout_ms=20_000)
    assert dead.value.error == "ValueError: no such address"
    assert dead.value.traceback.startswith("Traceback (most recent call last):\n")
    assert dead.value.traceback.endswith('raise ValueError("no such address")')
    assert "taskslot/worker" not in dead.value.traceback and dead.value.state == "dead"


def test_a_result_that_is_not_there_says_why(app):
    """Not ended in time, or not kept."""

    @app.task(retain_ms=0)
    def work():
        pass

    pushed = work.push()
    with pytest.raises(NotEnded, match="within 10 ms"):
        pushed.result(timeout_ms=10)
    with pytest.raises(TimeoutError):
        pushed.result(timeout_ms=0)
    with WorkerThread(app.worker()):
        wait_until(lambda: app.queue().len() == 0, "it is done")
    with pytest.raises(UnknownTask):
        work.pushed(str(pushed)).result()


def test_options_of_the_function_are_those_of_its_pushes(app):
    """Values, or functions of the arguments. Options of a push take precedence."""

    @app.task(queue="mail", attempts=3, priority=2, unique=lambda user: f"u:{user}", group=lambda kind: kind)
    def send(user, kind="news"):
        pass

    first, again = send.push("bob"), send.options(attempts=7).push("bob")
    other = send.options(attempts=7, unique="mine", priority=0).push("eve", kind="alert")
    assert (first.is_new, again.is_new, again) == (True, False, first)
    views = [app.queue("mail").get(one) for one in (first, other)]
    assert [(one.attempts, one.priority, one.unique, one.group) for one in views] == [
        (3, 2, "u:bob", "news"),
        (7, 0, "mine", "alert"),
    ]


@pytest.mark.parametrize("how", ["sync", "async"])
def test_many_calls_are_pushed_together_by_their_options(client, how):
    """The ids are in the order of the calls, and the tasks in that of the calls within each group."""
    app = App(client)
    work = app.task(group=lambda tenant: tenant)(lambda tenant, number: None)
    calls = [("ab"[number % 2], number) for number in range(100)]

    async def produce():
        async with app:
            return await work.apush_many(calls)

    before = client.info("commandstats").get("cmdstat_TASK.MPUSH", {"calls": 0})["calls"]
    made = work.push_many(calls) if how == "sync" else asyncio.run(produce())
    assert client.info("commandstats")["cmdstat_TASK.MPUSH"]["calls"] - before == 2
    queue, numbers = app.queue(), {"a": [], "b": []}
    for task, (tenant, number) in zip(made, calls, strict=True):
        assert queue.get(task).group == tenant
        assert queue.get(task).payload == work.call(tenant, number)
    for task in queue.claim(100, meta=True):
        numbers[task.meta.group].append(made.index(task.id))
    assert numbers == {"a": list(range(0, 100, 2)), "b": list(range(1, 100, 2))}


def test_the_cost_of_many_calls_grows_with_their_number():
    """Not with its square: the options of a call are not compared with those of all others."""

    class Group(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            compared.append(1)
            return str.__eq__(self, other)

    compared = []
    found = list(together((b"", {"group": Group(number)}) for number in range(500)))
    assert len(found) == 500 and len(compared) < 1000


def test_what_a_task_waits_for_can_be_an_iterator(app):
    """It is read once, for all calls and however often the options are used."""
    first = app.task(name="first")(lambda: None)
    work = app.task(name="work", attempts=3)(lambda number: None)
    parents = [first.push() for _ in range(2)] if len(app.queue().keys) == 1 else [first.push()]
    waits = work.options(after=iter(parents))
    made = [*waits.push_many([(1,)]), *waits.push_many([(2,)]), waits.push(3)]
    assert [app.queue().get(one).after for one in made] == [tuple(parents)] * 3


def test_a_pushed_task_can_be_copied_and_pickled(app):
    """A copy is the same. Pickle keeps the id, which finds the result again."""
    work = app.task(name="work", unique="one")(lambda: 7)
    pushed, again = work.push(), work.push()
    assert copy.copy(pushed) is pushed and copy.deepcopy([pushed])[0] is pushed
    kept, other = (pickle.loads(pickle.dumps(one)) for one in (pushed, again))
    assert (type(kept), kept, kept.is_new, other.is_new) == (taskslot.TaskId, pushed, True, False)
    with WorkerThread(app.worker()):
        assert work.pushed(kept).result(timeout_ms=20_000) == 7


@pytest.mark.filterwarnings("error")
def test_no_calls_are_no_forgotten_push(app):
    """`delay` warns only if none of its pushes was called."""
    work = app.task(name="work")(lambda: None)

    async def produce():
        async with app:
            return await work.delay(5).apush_many([])

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert work.delay(5).push_many([]) == []
        assert asyncio.run(produce()) == []
        gc.collect()
    # Others can be of connections of the tests before.
    assert not [one for one in seen if "never called" in str(one.message)]


def test_delay_of_celery_is_a_clear_error(app):
    """Neither a text nor several arguments are a number of ms."""

    @app.task
    def send(*args):
        pass

    for wrong in (lambda: send.delay("bob"), lambda: send.delay(1, 2), lambda: send.delay()):
        with pytest.raises(TypeError):
            wrong()
    with pytest.warns(RuntimeWarning, match="its push was never called"):
        send.delay(5)
    assert app.queue().len() == 0


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_function_that_takes_too_long_is_asked_to_stop(app, how):
    """An async function is cancelled; a sync one looks."""
    if how == "async":

        @app.task(timeout_ms=20, attempts=1)
        async def work():
            await asyncio.sleep(600)
    else:

        @app.task(timeout_ms=20, attempts=1)
        def work():
            assert taskslot.current().wait(600)
            taskslot.current().check()

    with WorkerThread(app.worker()), pytest.raises(TaskDead, match="TimedOut: timed out after 20 ms"):
        work.push().result(timeout_ms=20_000)


def test_a_worker_works_on_all_queues_of_the_app(app):
    """Without names, on those that its functions are pushed into."""

    @app.task(queue="mail")
    def send():
        return "sent"

    @app.task
    def resize():
        return "resized"

    assert app.queues == ["mail", "default"]
    with WorkerThread(app.worker()):
        assert [one.push().result(timeout_ms=20_000) for one in (send, resize)] == ["sent", "resized"]


def test_the_patience_of_the_app_is_that_of_its_queues():
    """Sync and asyncio, with shards and without. Nothing connects."""
    for shards in (None, 4):
        app = App("redis://127.0.0.1:1", shards=shards, patience_ms=1234)

        async def patience(app=app):
            return app.aqueue("mail").wire.patience_ms

        assert app.queue("mail").wire.patience_ms == asyncio.run(patience()) == 1234


def test_a_push_can_go_into_another_queue(app):
    """With the function's options, and the way to its result. Steps and ids of it too."""

    @app.task(queue="mail", attempts=3, group="g")
    def send(to):
        return f"sent to {to}"

    bulk = send.options(queue="bulk", priority=4)
    pushed = [bulk.push("a"), *bulk.push_many([("b",)]), asyncio.run(bulk.delay(1).apush("c"))]
    flow = app.push_flow(taskslot.chain(bulk.step("d"), bulk.step("e")))
    view = app.queue("bulk").get(pushed[0])
    assert (view.attempts, view.group, view.priority) == (3, "g", 4)
    assert (app.queue("bulk").len(), app.queue("mail").len()) == (5, 0)
    with pytest.raises(ValueError, match="must be in one queue, but .* is in bulk and .* is in mail"):
        app.push_flow(taskslot.chain(bulk.step("x"), send.step("y")))
    with pytest.raises(TypeError, match="queue is the name of a queue, not "):
        send.options(queue=app.queue("bulk"))
    with WorkerThread(app.worker(["bulk"])):
        values = [one.result(timeout_ms=20_000) for one in [*pushed, *flow, bulk.pushed(str(pushed[0]))]]
    assert values == [f"sent to {one}" for one in "abcdea"]
