"""A worker calls functions for tasks and reports their outcomes; sync and async, with `run` and with `serve`."""

import asyncio
import functools
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import taskslot
import valkey
from harness.server import wait_until
from harness.worker_thread import Gate, WorkerThread
from taskslot import MSGPACK, Fail, GiveBack, Queue, Refused, ShardedQueue, Worker, WrongType, current
from taskslot.tracebacks import parted
from taskslot.worker.loops import Loop
from taskslot.worker.threads import Threads


@pytest.fixture(params=["sync", "async under run", "async under serve"])
def how(request):
    """The kind of function, and how the worker runs."""
    return request.param


def working(worker, how):
    """Run a worker as `how` says."""
    return WorkerThread(worker, "serve" if how.endswith("serve") else "run")


def register(worker, how, function, name="f", **options):
    """Register a function, as it is or as an async one."""
    if how == "sync":
        return worker.task(name, **options)(function)

    async def later(*args, **kwargs):
        await asyncio.sleep(0)
        return function(*args, **kwargs)

    return worker.task(name, **options)(later)


def ended(queue, task):
    """How a task ends, for a caller that waits for its result."""
    result = queue.result(task, block_ms=20_000)
    assert result is not None, f"{task} has not ended"
    return result


def test_what_a_function_returns_is_the_tasks_result(queue, how):
    """Arguments and result are JSON."""
    queue.configure(retain=60_000)
    worker = Worker(queue)
    add = register(worker, how, lambda *args, **kwargs: {"args": args, "kwargs": kwargs})
    with working(worker, how):
        result = ended(queue, queue.push(add.call(1, "ü", x=[None])))
    assert result.state == "done"
    assert json.loads(result.value) == {"args": [1, "ü"], "kwargs": {"x": [None]}}


def test_a_function_that_returns_nothing_leaves_no_result(queue, how):
    """The task is done nevertheless."""
    queue.configure(retain=60_000)
    worker = Worker(queue)
    work = register(worker, how, lambda: None)
    with working(worker, how):
        result = ended(queue, queue.push(work.call()))
    assert (result.state, result.value) == ("done", None)


def test_a_payload_written_by_hand_is_a_call(queue):
    """Any program that writes JSON can have a function called."""
    queue.configure(retain=60_000)
    worker = Worker(queue)
    worker.task("add")(lambda a, b=1: a + b)
    with WorkerThread(worker):
        assert ended(queue, queue.push('{"task": "add", "args": [41]}')).value == b"42"


def test_messagepack_carries_bytes(queue):
    """Arguments and results can be bytes."""
    queue.configure(retain=60_000)
    worker = Worker(queue, codec=MSGPACK)
    echo = worker.task("echo")(lambda data: data + b"\xfe")
    with WorkerThread(worker):
        assert MSGPACK.loads(ended(queue, queue.push(echo.call(b"\xff"))).value) == b"\xff\xfe"


def plain(function):
    """A decorator that doesn't know about async functions."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapped


class Promise:
    """An awaitable that is not a coroutine."""

    def __init__(self, value):
        self.value = value

    def __await__(self):
        yield from asyncio.sleep(0.01).__await__()
        return self.value


@pytest.mark.parametrize("where", ["async under run", "async under serve"])
def test_what_a_plain_function_returns_to_be_awaited_is_awaited(queue, where):
    """A decorated async function, a future, any awaitable. Exceptions, `current()` and cancellation work as usual."""
    worker = Worker(queue)

    @worker.task("adds")
    @plain
    async def adds(left, right):
        await asyncio.sleep(0)
        assert current().task.deliveries == 1
        return left + right

    @worker.task("breaks")
    @plain
    async def breaks():
        raise ValueError("late")

    @worker.task("promises")
    def promises():
        return Promise("kept")

    @worker.task("waits")
    @plain
    async def waits():
        current().progress("here")
        await asyncio.sleep(60)

    with working(worker, where):
        assert ended(queue, queue.push(adds.call(1, right=2))).value == b"3"
        assert ended(queue, queue.push(promises.call())).value == b'"kept"'
        failed = queue.push(breaks.call(), attempts=1)
        assert parted(ended(queue, failed).error)[0] == "ValueError: late"
        waiting = queue.push(waits.call(), lease_ms=300)
        wait_until(lambda: queue.get(waiting).progress == b"here", "it runs")
        queue.cancel(waiting)
        wait_until(lambda: queue.len() == 0, "it was cancelled")


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_what_ends_an_event_loop_ends_a_task(queue, error):
    """asyncio ends its loop if a task raises SystemExit or stops the loop. The worker's loop continues."""
    worker = Worker(queue)

    async def breaks():
        raise error

    @worker.task("f")
    async def f():
        await asyncio.gather(breaks())

    @worker.task("stops")
    async def stops():
        asyncio.get_running_loop().stop()
        return "went on"

    @worker.task("goes_on")
    async def goes_on():
        await asyncio.sleep(0.01)
        return 1

    with WorkerThread(worker):
        beside = queue.push(goes_on.call())
        assert ended(queue, queue.push(f.call(), attempts=1)).error.startswith(type(error).__name__)
        assert ended(queue, queue.push(stops.call())).value == b'"went on"'
        assert ended(queue, beside).value == ended(queue, queue.push(goes_on.call())).value == b"1"


@pytest.mark.parametrize("error", [ValueError("no such"), SystemExit(3), KeyboardInterrupt(), RuntimeError()])
def test_an_exception_is_a_failure_and_the_worker_continues(queue, how, error):
    """SystemExit counts too. The error of the task is its type and text, and the queue's backoff applies."""

    def work(breaks):
        if breaks:
            raise error
        return 1

    queue.configure(**{"backoff-base": 3_600_000})
    worker = Worker(queue)
    task = register(worker, how, work, retain_ms=60_000)
    with working(worker, how):
        failed = queue.push(task.call(True))
        wait_until(lambda: queue.get(failed).state == "delayed", "it has failed")
        assert ended(queue, queue.push(task.call(False))).state == "done"
    view = queue.get(failed)
    what, trace = parted(view.error)
    assert what == (f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
    assert trace.endswith("raise error")
    assert view.failures == 1


def test_fail_says_when_the_task_is_tried_again(queue, how):
    """It also sets the error."""

    def work():
        raise Fail("not before noon", delay_ms=3_600_000)

    worker = Worker(queue)
    task = register(worker, how, work)
    with working(worker, how):
        failed = queue.push(task.call())
        wait_until(lambda: queue.get(failed).state == "delayed", "it has failed")
    view = queue.get(failed)
    assert (view.error, view.failures) == ("not before noon", 1)
    assert queue.info().next_delayed_ms > 3_000_000


@pytest.mark.parametrize(
    ("why", "text"), [(ValueError("no such address"), "ValueError: no such address"), (404, "404")]
)
def test_fail_takes_another_exception_for_its_text(queue, how, why, text):
    """The form is `raise Fail(error) from error`. Afterwards the place is free again."""
    worker = Worker(queue, concurrency=1)

    def give_up():
        raise Fail(why, dead=True)

    work = register(worker, how, give_up)
    with working(worker, how):
        waited = [ended(queue, queue.push(work.call())) for _ in range(2)]
    assert [(one.state, one.error) for one in waited] == [("dead", text)] * 2


def test_an_outcome_that_cannot_be_reported_is_a_failure_and_frees_the_place(queue, how):
    """Neither an exception nor a log handler can keep a task leased permanently."""
    queue.configure(attempts=1)
    worker = Worker(queue, concurrency=1)

    class Mean(Exception):
        def __str__(self):
            raise SystemExit

    def work():
        raise Mean

    refused = []

    def refuse(record):
        """Refuse the line about the failure. A line about the refusal is let through, or it would end the thread."""
        if (record.exc_text or "").endswith("\nKeyboardInterrupt"):
            return True
        refused.append(record)
        raise KeyboardInterrupt

    work = register(worker, how, work)
    with working(worker, how):
        first = ended(queue, queue.push(work.call()))
        log = logging.getLogger("taskslot")
        log.addFilter(refuse)
        try:
            second = ended(queue, queue.push(work.call()))
            wait_until(lambda: refused, "its line is refused")
        finally:
            log.removeFilter(refuse)
        third = ended(queue, queue.push(work.call()))
    for end in (first, second, third):
        assert (end.state, parted(end.error)[0]) == ("dead", "Mean")
    assert queue.info().failed == 3


def test_fail_says_that_a_task_is_dead(queue, how):
    """Another attempt would be useless."""

    def work():
        raise Fail("no such user", dead=True)

    worker = Worker(queue)
    task = register(worker, how, work)
    with working(worker, how):
        result = ended(queue, queue.push(task.call()))
    assert (result.state, result.error) == ("dead", "no such user")


def test_give_back_does_not_count_as_a_failure(queue, how):
    """It is ready again after the delay, which is long here."""

    def work():
        raise GiveBack(delay_ms=3_600_000)

    worker = Worker(queue)
    task = register(worker, how, work)
    with working(worker, how):
        given = queue.push(task.call())
        wait_until(lambda: queue.get(given).state == "delayed", "it is given back")
    view = queue.get(given)
    assert (view.failures, view.stalls, view.error) == (0, 0, None)
    assert queue.info().requeued == 1


def test_a_task_for_an_unknown_function_fails_and_is_tried_again(queue):
    """It isn't dead, because another worker may know it, for example during a rollout."""
    with WorkerThread(Worker(queue)):
        task = queue.push(taskslot.call("new"))
        wait_until(lambda: queue.get(task).state == "delayed", "it has failed")
    assert queue.get(task).error == "UnknownFunction: no function 'new'"


def test_a_task_whose_payload_cannot_be_read_is_dead(queue):
    """It would be unreadable the next time too."""
    with WorkerThread(Worker(queue)):
        result = ended(queue, queue.push(b"\xff"))
    assert (result.state, result.error) == (
        "dead", "BadPayload: the payload can't be read as JSON: UnicodeDecodeError",
    )  # fmt: skip


def test_a_result_that_cannot_be_written_makes_the_task_dead(queue, how):
    """Its work is done, and would be repeated."""
    worker = Worker(queue)
    task = register(worker, how, lambda: {1, 2})
    with working(worker, how):
        result = ended(queue, queue.push(task.call()))
    assert result.state == "dead" and "the result of f can't be written as JSON: TypeError" in result.error


def test_a_result_that_the_server_refuses_makes_the_task_dead(queue):
    """The result is larger than a MiB."""
    worker = Worker(queue)
    task = worker.task("f")(lambda: "x" * 1_100_000)
    with WorkerThread(worker):
        result = ended(queue, queue.push(task.call()))
    assert result.state == "dead" and "Refused: RESULT must be" in result.error


def test_no_more_tasks_are_leased_than_there_are_places(queue):
    """Sync and async tasks together use the places. The number of ready tasks doesn't matter."""
    worker = Worker(queue, concurrency=3)
    leased = []
    sync = worker.task("sync")(lambda: leased.append(queue.info().leased))

    @worker.task("async")
    async def other():
        leased.append(await asyncio.to_thread(lambda: queue.info().leased))

    queue.push_many([sync.call(), other.call()] * 20)
    with WorkerThread(worker):
        wait_until(lambda: queue.info().acked == 40, "all are done")
    assert max(leased) <= 3
    assert queue.info().requeued == 0


def test_all_places_are_used_at_once(queue):
    """No task is leased without a free place."""
    with Gate() as gate:
        worker = Worker(queue, concurrency=3)
        task = worker.task("f")(gate.enter)
        with WorkerThread(worker):
            queue.push_many([task.call()] * 5)
            for _ in range(3):
                gate.inside()
            assert (queue.info().leased, queue.info().ready) == (3, 2)
            gate.open()
            wait_until(lambda: queue.info().acked == 5, "all are done")


def test_a_function_knows_its_task(queue):
    """A sync function, an async one, and a thread for which an async function waits can use `current()`."""
    seen = {}
    worker = Worker(queue, meta=True)

    @worker.task("sync")
    def sync():
        seen["sync"] = current().task

    @worker.task("async")
    async def later():
        await asyncio.sleep(0)
        seen["async"] = current().task
        seen["thread"] = await asyncio.to_thread(lambda: current().task)

    with WorkerThread(worker):
        first = queue.push(sync.call(), priority=5)
        wait_until(lambda: queue.info().acked == 1, "the first is done")
        second = queue.push(later.call(), headers={"trace": "7"})
        wait_until(lambda: queue.info().acked == 2, "both are done")
    assert (seen["sync"].id, seen["sync"].meta.priority) == (first, 5)
    assert (seen["async"].id, seen["async"].meta.headers) == (second, {"trace": b"7"})
    assert seen["thread"] == seen["async"]


def test_a_function_names_the_next_step(queue, how):
    """It is pushed when the task is finished, with its own options."""
    queue.configure(retain=60_000)
    worker, seen = Worker(queue), []

    def work(step):
        seen.append(step)
        if step < 3:
            current().then(go.call(step + 1), priority=step)
        return step

    go = register(worker, how, work)
    with working(worker, how):
        assert ended(queue, queue.push(go.call(1))).state == "done"
        wait_until(lambda: queue.info().acked == 3, "all steps are done")
    assert seen == [1, 2, 3] and queue.info().pushed == 3


def test_the_next_step_of_a_failed_attempt_is_not_pushed(queue, how):
    """The attempt that succeeds pushes it, once. A second step, or a wrong option, is an error."""
    worker, attempts = Worker(queue), []
    queue.configure(backoff_base=1)

    def work():
        attempts.append(1)
        if len(attempts) == 1:
            with pytest.raises(TypeError, match="unknown option delay"):
                current().then("bad", delay=5)
        current().then("next", delay_ms=3_600_000)
        with pytest.raises(ValueError, match="a next step already"):
            current().then("another")
        if len(attempts) < 3:
            raise OSError("not yet")

    go = register(worker, how, work)
    with working(worker, how):
        queue.push(go.call())
        wait_until(lambda: queue.info().acked == 1, "it is done")
    assert (len(attempts), queue.len("delayed"), queue.info().pushed) == (3, 1, 2)


def test_a_worker_keeps_a_task_whose_next_step_is_refused_for_now(queue, how, caplog):
    """While pushes are paused it tries again, and the function doesn't run twice."""
    worker, runs = Worker(queue), []

    def work():
        runs.append(1)
        current().then("next", delay_ms=3_600_000)

    go = register(worker, how, work)
    queue.push(go.call())
    queue.pause("in")
    with caplog.at_level(logging.WARNING, "taskslot"), working(worker, how):
        wait_until(lambda: "failed, trying again" in caplog.text, "the push is refused")
        assert queue.info().acked == 0
        queue.resume("in")
        wait_until(lambda: queue.info().acked == 1, "it is done")
    assert (len(runs), queue.len("delayed")) == (1, 1)


def test_a_task_does_not_see_the_one_before_it(queue):
    """Threads are reused, but their context variables are not."""
    worker = Worker(queue, concurrency=1)
    seen = []
    task = worker.task("f")(lambda: seen.append((threading.get_ident(), current().task.id)))
    with WorkerThread(worker):
        ids = queue.push_many([task.call()] * 3)
        wait_until(lambda: queue.info().acked == 3, "all are done")
    assert [one for _, one in seen] == ids


def test_a_worker_shows_its_name(queue):
    """The name is the given one, or it is made from host and process (test_worker_poison)."""
    with Gate() as gate:
        worker = Worker(queue, name="w7")
        task = worker.task("f")(gate.enter)
        with WorkerThread(worker):
            queue.push(task.call())
            gate.inside()
            assert [one.name for one in queue.workers()] == ["w7"]
            gate.open()


def test_a_worker_can_take_tasks_of_one_group(queue):
    """It leaves tasks of other groups alone."""
    worker = Worker(queue, group="acme")
    task = worker.task("f")(lambda: None)
    other = queue.push(task.call(), group="other")
    queue.push(task.call(), group="acme")
    with WorkerThread(worker):
        wait_until(lambda: queue.info().acked == 1, "its own is done")
    assert queue.get(other).deliveries == 0


def test_a_worker_runs_with_valkey_py(server):
    """It uses the client and the errors of valkey-py."""
    with valkey.Valkey(port=server.port) as client:
        queue = Queue(client, "mail", patience_ms=0)
        worker = Worker(queue)
        task = worker.task("f", retain_ms=60_000)(lambda: 1)
        with WorkerThread(worker) as run:
            assert ended(queue, queue.push(task.call())).value == b"1"
            server.restart(kill=True)
            wait_until(lambda: answers(client), "the server is back")
            assert ended(queue, queue.push(task.call())).value == b"1"
            client.delete("mail")
            client.set("mail", "a string")
            run.ended()
        assert isinstance(run.error, WrongType)


def answers(client):
    """Whether the server replies."""
    try:
        return client.ping()
    except (redis.ConnectionError, valkey.ConnectionError):
        return False


def test_a_worker_takes_from_all_shards(client, how):
    """Each task is finished on its shard."""
    queue = ShardedQueue(client, "orders", shards=4)
    queue.configure(retain=60_000)
    worker = Worker(queue, concurrency=3, lease_ms=300)
    task = register(worker, how, lambda n: n)
    ids = [queue.push(task.call(n), group=f"g{n}") for n in range(12)]
    assert len({one.partition("/")[0] for one in ids}) > 1
    with working(worker, how):
        assert [json.loads(ended(queue, one).value) for one in ids] == list(range(12))


# ---- servers that are away, or refuse


def test_an_outcome_is_sent_when_the_server_is_back(start, how):
    """A function ends while the server is away. Its task is done when the server is back."""
    server = start(port=True, appendonly="yes", appendfsync="always")
    with redis.Redis(port=server.port, retry=None) as client, Gate() as gate:
        queue = Queue(client, "mail", patience_ms=0)
        worker = Worker(queue, concurrency=1)
        name = {"sync": lambda: (gate.enter(), 1)[1]}.get(how)
        if name is None:

            async def waits():
                await asyncio.to_thread(gate.enter)
                return 1

            name = waits
        task = worker.task("f", retain_ms=60_000)(name)
        with working(worker, how):
            pushed = queue.push(task.call())
            gate.inside()
            server.kill9()
            gate.open()
            server.start()
            wait_until(lambda: answers(client), "the server is back")
            wait_until(lambda: queue.get(pushed).state == "done", "it is answered for", timeout=10)
        view = queue.get(pushed)
        assert (view.result, view.deliveries) == (b"1", 1)


def test_a_worker_finishes_tasks_on_a_full_server(queue, server, how, caplog):
    """It keeps no more results. Callers that wait get theirs, and the log says that none are kept."""
    queue.configure(retain=60_000)
    worker = Worker(queue)
    work = register(worker, how, lambda: "x" * 1000)
    task = queue.push(work.call())
    server.client().config_set("maxmemory", 1)
    with ThreadPoolExecutor() as threads:
        result = threads.submit(queue.result, task, block_ms=10_000)
        asked = server.client()
        wait_until(lambda: asked.info("taskslot")["taskslot_result_waiters"] == 1, "somebody waits for it")
        with working(worker, how):
            assert json.loads(result.result().value) == "x" * 1000
            wait_until(lambda: "not kept: the server is out of memory" in caplog.text, "the log says so")
            assert queue.get(task) is None


def test_a_worker_waits_while_the_server_refuses_writes(server, caplog):
    """NOREPLICAS and MISCONF are temporary errors."""
    with redis.Redis(port=server.port) as client:
        queue = Queue(client, "mail")
        worker = Worker(queue)
        task = worker.task("f", retain_ms=60_000)(lambda: 1)
        pushed = queue.push(task.call())
        client.config_set("min-replicas-to-write", 1)
        with WorkerThread(worker) as run:
            wait_until(lambda: "NOREPLICAS" in caplog.text, "a claim was refused")
            assert not run.is_over()
            client.config_set("min-replicas-to-write", 0)
            assert ended(queue, pushed).value == b"1"


def test_a_claim_that_is_refused_permanently_ends_the_worker(queue, client, how):
    """The worker doesn't claim again and again. Running tasks are finished first."""
    with Gate() as gate:
        worker = Worker(queue, concurrency=2)

        async def waits():
            await asyncio.to_thread(gate.enter)

        task = worker.task("f")(gate.enter if how == "sync" else waits)
        with working(worker, how) as run:
            queue.push(task.call())
            gate.inside()
            client.rename("mail", "kept")
            client.set("mail", "a string")
            wait_until(lambda: worker._runner._places.is_stopping(), "the worker stops")
            assert not run.is_over()
            client.rename("kept", "mail")
            gate.open()
            run.ended()
        assert isinstance(run.error, WrongType)
        assert queue.info().acked == 1


def test_a_server_without_the_module_is_an_error(start):
    """It says what is missing."""
    server = start(port=True, module=None)
    with redis.Redis(port=server.port) as client, WorkerThread(Worker(Queue(client, "mail"))) as run:
        run.ended()
    assert isinstance(run.error, Refused) and "no taskslot module" in str(run.error)


def test_a_wrong_password_is_an_error(server):
    """It is a permanent error."""
    with redis.Redis(port=server.port) as client:
        client.config_set("requirepass", "secret")
        with redis.Redis(port=server.port, password="wrong") as other:
            with WorkerThread(Worker(Queue(other, "mail"))) as run:
                run.ended()
        assert isinstance(run.error, redis.AuthenticationError)


def test_a_worker_without_the_password_says_once_what_is_missing(server, caplog):
    """It does not say that it tries again, and then stops."""
    with redis.Redis(port=server.port) as client:
        client.config_set("requirepass", "secret")
        with redis.Redis(port=server.port) as other, WorkerThread(Worker(Queue(other, "mail"))) as run:
            run.ended()
    wait_until(lambda: "asks for a password" in caplog.text, "it is said")
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 1 and said[0].endswith("stops: the server asks for a password")


def test_a_process_that_can_start_no_thread_still_ends_its_tasks(queue, how, monkeypatch):
    """A function runs, or its outcome is sent, on a thread that is there."""
    queue.configure(retain=60_000)
    worker = Worker(queue)
    first, second = register(worker, how, lambda: "a", "first"), register(worker, how, lambda: "b", "second")

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    with working(worker, how):
        assert ended(queue, queue.push(first.call())).value == b'"a"'
        monkeypatch.setattr(Threads, "start", refuse)
        assert ended(queue, queue.push(second.call())).value == b'"b"'
        monkeypatch.undo()


def test_an_event_loop_without_a_thread_is_none(monkeypatch):
    """A callback on it would never be called."""
    loop, called = Loop(None), threading.Event()

    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", refuse)
        assert not loop.call(called.set)
        loop.close()
    assert loop.call(called.set) and called.wait(20)
    loop.close()
