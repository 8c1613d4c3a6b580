"""`taskslot.testing`: tasks that run in the test itself, a task that no worker runs, fixtures."""

import asyncio
import subprocess
import sys
import threading
import traceback

import pytest
import taskslot
from harness.programs import OF_THIS_TREE
from taskslot import (
    App,
    BatchCounts,
    CancelAsked,
    Fail,
    GiveBack,
    Middleware,
    NotDone,
    NotEnded,
    TaskDead,
    TaskslotError,
    chain,
)
from taskslot.testing import Server, arun_all, connected, current, in_memory, run_all
from taskslot.testing.run import Run
from taskslot.testing.server import found_server


@pytest.fixture(params=["one key", "shards"])
def app_on_server(request, client):
    """An app on a new server, whose queues are in one key or in shards."""
    with App(client, shards=4 if request.param == "shards" else None) as app:
        yield app


@pytest.fixture(params=["one key", "shards", "memory"])
def app(request, client):
    """An app on a new server, or in memory only: the tests are the same."""
    if request.param == "memory":
        with in_memory(App("redis://127.0.0.1:1")) as app:
            yield app
    else:
        with App(client, shards=4 if request.param == "shards" else None) as app:
            yield app


def states(ran):
    """The names and states of what was run."""
    return [(one.name, one.state) for one in ran]


def test_run_all_runs_what_is_ready_in_this_thread(app):
    """Also what is pushed meanwhile, in all queues of the app; results are there afterwards."""
    threads = []

    @app.task(name="first", queue="mail")
    def first(left):
        threads.append(threading.get_ident())
        second.push(left + 1)
        taskslot.current().then(first.step(9)) if left == 1 else None
        return left

    @app.task(name="second")
    async def second(right):
        threads.append(threading.get_ident())
        return (await third.apush(right)).is_new

    @app.task(name="third")
    def third(right):
        return right

    pushed = first.push(1)
    ran = run_all(app)
    assert sorted(states(ran)) == [(name, "done") for name in ("first", "second", "third") for _ in (1, 2)]
    assert sorted(one.value for one in ran if one.name == "third") == [2, 10]
    assert pushed.result(timeout_ms=0) == 1 and set(threads) == {threading.get_ident()}
    assert run_all(app) == []


def test_run_all_raises_what_a_function_raised(app):
    """With the function's own traceback. The failure is reported, and what has not run stays."""

    @app.task(name="breaks", attempts=1)
    def breaks():
        raise KeyError("no such order")

    pushed = [breaks.push(), breaks.push()]
    with pytest.raises(KeyError, match="no such order") as raised:
        run_all(app)
    calls = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert calls[1:] == ["run_all", "took", "breaks"]
    assert "of 'breaks'. The task is dead." in raised.value.__notes__[0]
    ended = [app.queue().get(one) for one in pushed]
    assert sorted(one.state for one in ended) == ["dead", "ready"]
    with pytest.raises(TaskDead) as dead:
        next(one for one in pushed if app.queue().get(one).state == "dead").result()
    assert dead.value.traceback.count("File ") == 1


@pytest.mark.parametrize("how", ["sync", "async"])
def test_delayed_tasks_and_retries_can_run_at_once(app, how):
    """The earliest first; a failed task until it is done or dead."""
    order = []

    def flaky(name):
        order.append((name, taskslot.current().task.deliveries))
        if taskslot.current().task.deliveries < 3:
            raise OSError("away")

    async def aflaky(name):
        flaky(name)

    work = app.task(name="flaky", backoff=60_000, attempts=5)(flaky if how == "sync" else aflaky)
    work.delay(3_600_000).push("late")
    work.delay(1_800_000).push("soon")
    assert run_all(app, raises=False) == []
    with pytest.raises(OSError):
        run_all(app, delayed=True)
    ran = run_all(app, delayed=True, raises=False)
    assert [one.state for one in ran] == ["retry", "done", "retry", "retry", "done"]
    assert order == [("soon", 1), ("soon", 2), ("soon", 3), ("late", 1), ("late", 2), ("late", 3)]


def test_a_task_that_becomes_ready_between_two_looks_is_run(app, monkeypatch):
    """The claim came too early for it, and the list of delayed tasks too late."""
    look = Run._make_ready
    monkeypatch.setattr(Run, "_make_ready", lambda run: bool(look(run)) and False)
    work = app.task(name="f")(lambda: 7)
    work.delay(3_600_000).push()
    assert [one.value for one in run_all(app, delayed=True)] == [7]


def test_a_task_that_never_ends_is_an_error(app):
    """It pushes itself, or gives itself back."""

    @app.task(name="again")
    def again():
        raise GiveBack()

    again.push()
    with pytest.raises(RuntimeError, match="after 5 attempts .* of again: does it push itself"):
        run_all(app, limit=5)
    assert app.queue().len("ready") == 1


def test_run_all_refuses_what_it_can_not_run(app):
    """A function that is not registered, and a running event loop."""
    app.task(name="known")(lambda: None)
    app.queue().push(taskslot.call("elsewhere", 1))
    with pytest.raises(TaskslotError, match="no function 'elsewhere': is its module imported"):
        run_all(app)

    async def inside():
        run_all(app)

    with pytest.raises(RuntimeError, match="use await arun_all"):
        asyncio.run(inside())
    assert run_all(app, "another") == []


def test_a_result_that_can_not_be_written_is_raised(app):
    """The task is dead, as in a worker."""

    @app.task(name="odd")
    def odd():
        return object()

    pushed = odd.push()
    with pytest.raises(TaskslotError, match="the result of odd can't be written as JSON"):
        run_all(app)
    assert app.queue().get(pushed).state == "dead"


def test_arun_all_runs_async_functions_on_the_running_loop(app):
    """Sync ones run on a thread, so that they may block."""
    loops = []

    @app.task
    async def on_loop():
        loops.append(asyncio.get_running_loop())
        await blocks.apush()

    @app.task
    def blocks():
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return 5

    @app.task(attempts=1)
    async def breaks():
        raise Fail("not today")

    async def test():
        async with app:
            await on_loop.apush()
            ran = await arun_all(app)
            await breaks.apush()
            with pytest.raises(Fail, match="not today"):
                await arun_all(app)
            return ran, asyncio.get_running_loop()

    ran, loop = asyncio.run(test())
    assert [one.value for one in ran] == [None, 5] and loops == [loop]


def test_flows_batches_and_progress_work_in_run_all(app_on_server):
    """They are the server's, so nothing of them is imitated."""
    app = app_on_server

    @app.task
    def one(n):
        taskslot.current().progress(f"{n} begun")
        return n, app.queue().get(taskslot.current().task.id).progress.decode()

    @app.task
    def total():
        counts = taskslot.current().counts
        return counts.done if counts else taskslot.current().results()

    _, last = app.push_flow(chain(one.step(1), total.step()))
    with app.batch("b", total.step()) as batch:
        batch.push_many([one.step(2), one.step(3)])
    assert [ran.state for ran in run_all(app)] == ["done"] * 5
    assert last.result() == [[1, "1 begun"]] and batch.callback.result() == 2


def test_middleware_is_called_in_run_all(app):
    """As in a worker."""
    heard = []

    class Hears(Middleware):
        def before(self, context):
            heard.append(("before", context.name))

        def after(self, context, error):
            heard.append(("after", str(error)))

        def on_retry(self, context, error, delay_ms):
            heard.append(("retry", str(error), delay_ms))

        def on_dead(self, context, error):
            heard.append(("dead", str(error)))

    app.middleware.append(Hears())

    @app.task(name="breaks", attempts=2, backoff=7)
    def breaks():
        raise ValueError("bad")

    breaks.push()
    run_all(app, raises=False, delayed=True)
    both = [("before", "breaks"), ("after", "bad")]
    assert heard == [*both, ("retry", "bad", 7), *both, ("dead", "bad")]


# ---- in memory


def test_an_app_in_memory_has_the_options_of_pushes():
    """Tokens, priorities, headers, attempts; sync and async."""
    app = App("redis://127.0.0.1:1")

    @app.task(name="f", unique=lambda n: f"u{n}", attempts=7)
    def work(n):
        return list(taskslot.current().headers)

    async def push():
        return await work.options(priority=5, headers={"a": "b"}).apush(2)

    with in_memory(app):
        first, again, second = work.push(1), work.push(1), asyncio.run(push())
        assert (again, again.is_new, second.is_new) == (first, False, True)
        with pytest.raises(NotEnded):
            first.result()
        assert [view.id for view in app.queue().tasks("ready")] == [second, first]
        assert app.queue().get(second).headers == {"a": b"b"} and app.queue().get(second).attempts == 7
        later = work.options(delay_ms=5, unique="other").push(3)
        assert app.queue().cancel(later) == "removed" and app.queue().cancel(later) is None
        with pytest.raises(NotDone, match="is cancelled"):
            later.result()
        assert [one.task for one in run_all(app)] == [second, first]
        assert work.push(1).is_new and app.queue().len() == 1


def test_what_needs_a_server_says_so():
    """Instead of doing something else."""
    app = App("redis://127.0.0.1:1", name="shop")
    work = app.every("1s")(lambda: None)
    with in_memory(app):
        for needs in (
            lambda: work.options(batch="b").push(),
            lambda: work.options(unique="u", replace=True).push(),
            lambda: app.push_flow(chain(work.step(), work.step())),
            lambda: app.queue().info(),
            app.deploy,
        ):
            with pytest.raises(RuntimeError, match="needs a server: this app is in memory only"):
                needs()
        with pytest.raises(TypeError, match="unknown option"):
            app.queue().push("x", colour="red")
        assert app.queue().len() == 0


# ---- a task that no worker runs


def test_current_can_be_imitated():
    """The function sees what the test set, and the test what the function did."""
    app = App("redis://127.0.0.1:1")  # nothing connects

    @app.task
    def crawl(url):
        here = taskslot.current()
        here.progress(f"{here.last_progress.decode()}, {here.task.deliveries}")
        assert not here.wait(60)
        here.then(crawl.call("next"), priority=2)
        return here.headers["trace"], here.failures, here.counts, here.results(return_exceptions=True)

    counts, gone = BatchCounts(3, 2, 1, 0, 0, 0), TaskslotError("gone")
    with current(
        deliveries=2, last_progress="p7", headers={"trace": "7f"}, counts=counts, results=[gone, 4]
    ) as task:
        assert crawl("here") == ("7f", 1, counts, [gone, 4])
        with pytest.raises(TaskslotError, match="gone"):
            taskslot.current().results()
    assert task.reported == [b"p7, 2"] and task.waits_s == [60]
    assert task.step.payload == crawl.call("next") and task.step.options["priority"] == 2
    with pytest.raises(RuntimeError, match="no task runs here"):
        taskslot.current()


def test_an_imitated_task_can_be_asked_to_stop():
    """From the start, or in the middle."""
    with current(cancelled=True) as task, pytest.raises(CancelAsked):
        assert task.wait(5)
        taskslot.current().check()
    with current() as task:
        task.check()
        task.ask_to_stop(lease_lost=True)
        assert taskslot.current().wait(5)
        with pytest.raises(RuntimeError, match="no queue"):
            task.queue  # noqa: B018


# ---- servers and fixtures


def test_an_app_uses_another_server_for_a_while(app_on_server, start):
    """With all that was made of it before, and is its own again afterwards."""
    app = app_on_server

    @app.task
    def work():
        return 1

    before = work.push()
    other = start(port=True)
    with connected(app, f"redis://127.0.0.1:{other.port}") as same:
        assert same is app and run_all(app_on_server) == []
        inside = work.push()
        assert [one.task for one in run_all(app)] == [inside]
    assert [one.task for one in run_all(app)] == [before]


def test_a_server_for_tests_runs_until_it_is_closed(installed, module):
    """It is empty, and listens on a unix socket."""
    with Server(installed.path, module) as server:
        server.client.set("a", 1)
        server.clear()
        assert server.client.dbsize() == 0
    with pytest.raises(Exception, match="socket"):
        server.client.ping()


def test_what_is_missing_is_said(monkeypatch, installed, module, tmp_path):
    """No server, no module, or one that it does not load."""
    with pytest.raises(RuntimeError, match="the server did not start: .*nothing.so"):
        Server(installed.path, tmp_path / "nothing.so")
    monkeypatch.setenv("TASKSLOT_MODULE", "/nowhere.so")
    with pytest.raises(FileNotFoundError, match="TASKSLOT_MODULE names /nowhere.so"):
        Server(installed.path)
    (tmp_path / "links").mkdir()
    (tmp_path / "links/valkey-server").symlink_to(installed.path)
    monkeypatch.setenv("TASKSLOT_SERVER", str(tmp_path / "links/valkey-server"))
    assert found_server() == str(
        tmp_path / "links/valkey-server"
    )  # some programs go by the name of their link
    monkeypatch.delenv("TASKSLOT_SERVER")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("taskslot.programs.WHEEL", "no_such_wheel")
    with pytest.raises(FileNotFoundError, match="no valkey-server or redis-server on the PATH"):
        Server(module=module)


@pytest.fixture
def module():
    """The module under test."""
    from harness.server import MODULE

    return MODULE


SHOP = """
import taskslot
app = taskslot.App("redis://127.0.0.1:1")
@app.task
def add(left, right): return left + right
"""
TESTS = """
from shop import add, app
from taskslot.testing import run_all
def test_first(taskslot_app, taskslot_server):
    assert taskslot_app is app
    pushed = add.push(1, 2)
    run_all(app)
    assert pushed.result() == 3
    add.push(3, 4)
def test_second(taskslot_app):
    assert run_all(app) == []
"""


@pytest.mark.parametrize("is_here", [True, False])
def test_the_fixtures_connect_an_app_or_skip(installed, module, tmp_path, is_here):
    """Each test begins with an empty server."""
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "test_shop.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["taskslot.testing.pytest"]')
    (tmp_path / "pytest.ini").write_text("[pytest]\ntaskslot_app = shop:app\npythonpath = .")
    env = {**OF_THIS_TREE, "TASKSLOT_SERVER": installed.path if is_here else "/no/server", "PATH": "/usr/bin"}
    env["TASKSLOT_MODULE"] = str(module)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    if is_here:
        assert "2 passed" in done.stdout
    else:
        assert "2 skipped" in done.stdout
        assert "no server for taskslot: TASKSLOT_SERVER names /no/server" in done.stdout
