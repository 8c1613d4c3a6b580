"""Leases are extended while functions run, and functions are asked to stop when they should."""

import asyncio
import threading
import time

import pytest
import redis
from harness.results import result_of
from harness.server import PATIENCE_S, wait_until
from harness.worker_thread import Gate, WorkerThread
from taskslot import JSON, Answer, CancelAsked, Fail, GiveBack, LeaseLost, Queue, Task, Worker, current
from taskslot.worker.context import TaskContext
from taskslot.worker.leases import Leases
from taskslot.worker.relations import Relations
from taskslot.worker.threads import Threads

# The lease of a task, and a time after which it is extended: more than a third.
LEASE_MS, THIRD_MS = 60_000, 25_000


@pytest.fixture
def server(start):
    """A server whose clock is turned by the test."""
    return start(port=True, clock=True)


@pytest.fixture
def passes(server, worker_clock):
    """`passes(THIRD_MS, worker)` lets time pass for the server and the worker."""

    def both(ms, worker):
        server.clock.passes(ms)
        worker_clock.passes(ms, worker)

    return both


def extends(client):
    """The number of TASK.EXTEND calls on the server."""
    stats = client.info("commandstats")
    return stats.get("cmdstat_TASK.EXTEND", stats.get("cmdstat_task.extend", {})).get("calls", 0)


def test_one_extend_keeps_all_running_tasks(queue, client, passes):
    """One command is enough for any number of tasks."""
    with Gate() as gate:
        worker = Worker(queue, concurrency=5, lease_ms=LEASE_MS)
        task = worker.task("f")(gate.enter)
        queue.push_many([task.call()] * 5)
        with WorkerThread(worker), client.monitor() as seen:
            for _ in range(5):
                gate.inside()
            beats = []
            for _ in range(3):
                passes(THIRD_MS, worker)
                while (words := seen.next_command()["command"].split())[0] != "TASK.EXTEND":
                    pass
                beats.append(words[2:4])
            gate.open()
            wait_until(lambda: queue.info().acked == 5, "all are done")
    assert beats == [["HANDLES", "5"]] * 3


def is_kept(queue, task, pass_third):
    """Wait until a task was leased for longer than its lease is, and extended each time a third has passed."""
    for _ in range(4):
        before = queue.get(task).deadline
        pass_third()
        wait_until(
            lambda before=before: queue.get(task).deadline >= before + THIRD_MS, "its lease is extended"
        )


@pytest.mark.parametrize("told_by", ["worker", "task", "queue"])
def test_a_function_can_run_longer_than_its_lease(queue, passes, told_by):
    """The length of the lease can be set by the worker, the task or the queue."""
    queue.configure(lease=LEASE_MS if told_by == "queue" else 60 * LEASE_MS)
    with Gate() as gate:
        worker = Worker(queue, lease_ms=LEASE_MS if told_by == "worker" else None)
        task = worker.task("f", retain_ms=60_000)(gate.enter)
        with WorkerThread(worker):
            pushed = queue.push(task.call(), **({"lease_ms": LEASE_MS} if told_by == "task" else {}))
            gate.inside()
            is_kept(queue, pushed, lambda: passes(THIRD_MS, worker))
            gate.open()
            wait_until(lambda: queue.get(pushed).state == "done", "it is done")
    assert queue.get(pushed).deliveries == 1
    assert queue.info().stalled == 0


def test_a_long_lease_is_extended_rarely(queue, client):
    """The worker reads its length once, and then sends nothing for ten seconds."""
    with Gate() as gate:
        worker = Worker(queue)
        task = worker.task("f")(gate.enter)
        with WorkerThread(worker):
            queue.push(task.call())
            gate.inside()
            wait_until(lambda: "cmdstat_TASK.GET" in client.info("commandstats"), "it has asked")
            gate.open()
            wait_until(lambda: queue.info().acked == 1, "it is done")
    assert extends(client) == 0


@pytest.mark.parametrize("how", ["run", "serve"])
def test_a_blocked_event_loop_loses_no_lease(queue, passes, how):
    """Heartbeats don't run on an event loop, neither on the worker's nor on the user's."""
    with Gate() as gate:
        worker = Worker(queue, lease_ms=LEASE_MS)

        @worker.task("f", retain_ms=60_000)
        async def blocks():
            gate.enter()

        with WorkerThread(worker, how):
            pushed = queue.push(blocks.call())
            gate.inside()
            is_kept(queue, pushed, lambda: passes(THIRD_MS, worker))
            gate.open()
            wait_until(lambda: queue.get(pushed).state == "done", "it is done")
    assert queue.get(pushed).deliveries == 1
    assert queue.info().stalled == 0


# ---- asked to stop


def test_a_sync_function_sees_that_its_task_is_cancelled(queue, client, passes):
    """`wait` ends at once, `check` raises, and the task is cancelled, not failed."""
    seen = []

    def work():
        context = current()
        gate.come()
        seen.append((context.wait(30), context.cancelled, context.lease_lost))
        context.check()

    with Gate() as gate:
        worker = Worker(queue, lease_ms=LEASE_MS)
        task = worker.task("f")(work)
        with WorkerThread(worker):
            pushed = queue.push(task.call())
            gate.inside()
            assert queue.cancel(pushed) == "asked"
            result = result_of(queue, pushed, client, lambda: passes(THIRD_MS, worker))
    assert seen == [(True, True, False)]
    assert (result.state, result.error) == ("cancelled", None)
    assert queue.info().failed == 0


@pytest.mark.parametrize("how", ["run", "serve"])
def test_an_async_function_is_cancelled_with_its_task(queue, client, passes, how):
    """It can still clean up."""
    tidied = []
    with Gate() as gate:
        worker = Worker(queue, lease_ms=LEASE_MS)

        @worker.task("f")
        async def work():
            gate.come()
            try:
                await asyncio.sleep(30)
            finally:
                tidied.append(current().cancelled)

        with WorkerThread(worker, how):
            pushed = queue.push(work.call())
            gate.inside()
            queue.cancel(pushed)
            result = result_of(queue, pushed, client, lambda: passes(THIRD_MS, worker))
    assert result.state == "cancelled"
    assert tidied == [True]


def test_a_function_whose_task_is_cancelled_before_it_begins_is_never_called(queue, passes, caplog):
    """The event loop is blocked, so the task is claimed and cancelled before the function can be called."""
    called = []
    with Gate() as gate:
        worker = Worker(queue, concurrency=2, lease_ms=LEASE_MS)

        @worker.task("f")
        async def work(number):
            called.append(number)
            gate.enter()

        with WorkerThread(worker):
            queue.push(work.call(1))
            gate.inside()
            second = queue.push(work.call(2))
            wait_until(lambda: queue.get(second).state == "leased", "it is claimed")
            queue.cancel(second)
            passes(THIRD_MS, worker)
            wait_until(lambda: "was cancelled" in caplog.text, "the worker knows")
            gate.open()
            # A stopped worker also gives back the first task, unless its function has returned.
            wait_until(lambda: (queue.info().cancelled, queue.info().acked) == (1, 1), "both have ended")
    assert called == [1]
    assert queue.info().stalled == 0


def test_a_cancelled_function_that_returns_a_result_is_done(queue, passes):
    """Its result counts."""
    with Gate() as gate:
        worker = Worker(queue, lease_ms=LEASE_MS)
        task = worker.task("f")(lambda: (gate.come(), current().wait(30), "done")[-1])
        with WorkerThread(worker):
            pushed = queue.push(task.call(), retain_ms=60_000)
            gate.inside()
            queue.cancel(pushed)
            passes(THIRD_MS, worker)
            result = queue.result(pushed, block_ms=20_000)
    assert (result.state, result.value) == ("done", b'"done"')


def test_a_cancelled_function_that_raises_is_cancelled_too(queue, client, passes):
    """The task has not failed and is not tried again."""

    def work():
        gate.come()
        current().wait(30)
        raise ValueError("half way")

    with Gate() as gate:
        worker = Worker(queue, lease_ms=LEASE_MS)
        task = worker.task("f")(work)
        with WorkerThread(worker):
            pushed = queue.push(task.call(), retain_ms=60_000)
            gate.inside()
            queue.cancel(pushed)
            result = result_of(queue, pushed, client, lambda: passes(THIRD_MS, worker))
    assert result.state == "cancelled"
    assert (queue.info().cancelled, queue.info().failed, queue.len()) == (1, 0, 0)


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_function_whose_lease_is_lost_is_asked_to_stop(queue, passes, how):
    """Its failure is dropped, and its place is free for other tasks."""
    seen = []
    with Gate() as gate:
        worker = Worker(queue, concurrency=1, lease_ms=LEASE_MS)

        def work():
            gate.come(current().task)
            current().wait(30)
            seen.append(current().lease_lost)
            current().check()

        async def later():
            gate.come(current().task)
            try:
                await asyncio.sleep(30)
            finally:
                seen.append(current().lease_lost)

        task = worker.task("f")(work if how == "sync" else later)
        other = worker.task("other")(lambda: None)
        with WorkerThread(worker):
            queue.push(task.call())
            claimed = gate.inside()
            queue.requeue(claimed, delay_ms=3_600_000)
            passes(THIRD_MS, worker)
            queue.push(other.call())
            wait_until(lambda: queue.info().acked == 1, "the other is done")
    assert seen == [True]
    assert (queue.get(claimed.id).state, queue.info().failed) == ("delayed", 0)


def test_a_function_whose_task_is_finished_elsewhere_is_asked_to_stop(queue, passes):
    """Another client has finished it."""
    with Gate() as gate:
        worker = Worker(queue, lease_ms=LEASE_MS)
        seen = []
        task = worker.task("f")(lambda: (gate.come(current().task), seen.append(current().wait(30))))
        with WorkerThread(worker):
            queue.push(task.call())
            queue.ack(gate.inside())
            passes(THIRD_MS, worker)
            wait_until(lambda: seen, "it stopped")
    assert seen == [True]


def test_a_late_result_counts_if_the_task_was_not_claimed_again(queue):
    """The server accepts it, and the work isn't done twice."""
    with Gate() as gate:
        worker = Worker(queue, concurrency=1, lease_ms=100)
        task = worker.task("f")(lambda: (gate.come(), current().wait(30), current().lease_lost)[-1])
        queue.configure(**{"run-max": 100})
        with WorkerThread(worker):
            pushed = queue.push(task.call(), retain_ms=60_000)
            gate.inside()
            result = queue.result(pushed, block_ms=20_000)
    assert (result.state, result.value) == ("done", b"true")
    assert queue.info().late == 1


def test_wait_raises_an_error_in_an_async_function(queue):
    """It would block all other functions on the event loop."""
    worker = Worker(queue)

    @worker.task("f")
    async def work():
        current().wait(1)

    with WorkerThread(worker):
        pushed = queue.push(work.call())
        wait_until(lambda: queue.get(pushed).state == "delayed", "it has failed")
    assert "await asyncio.sleep()" in queue.get(pushed).error


# ---- progress


@pytest.mark.parametrize("how", ["sync", "async"])
def test_progress_is_shown_while_the_function_runs(queue, how):
    """It is shown at once, not with the next heartbeat. The newest text counts."""
    with Gate() as gate:
        worker = Worker(queue, lease_ms=60_000)

        def work():
            current().progress("1 of 3")
            current().progress(b"2 of 3")
            gate.enter(current().task.id)

        async def later():
            work()

        task = worker.task("f")(work if how == "sync" else later)
        with WorkerThread(worker):
            queue.push(task.call())
            shown = gate.inside()
            wait_until(lambda: queue.get(shown).progress == b"2 of 3", "it is shown")
            gate.open()


def test_a_full_server_drops_progress_and_the_task_continues(queue, server, passes, caplog):
    """The progress is dropped and logged. The lease is extended, and later progress is shown."""
    with Gate() as begun, Gate() as first, Gate() as second:
        worker = Worker(queue, lease_ms=LEASE_MS)

        @worker.task("f")
        def work():
            begun.enter()
            current().progress("left out")
            first.enter(current().task.id)
            current().progress("shown")
            second.enter()

        with WorkerThread(worker):
            queue.push(work.call())
            begun.inside()
            server.client().config_set("maxmemory", 1)
            begun.open()
            shown = first.inside()
            wait_until(lambda: "its progress is not stored" in caplog.text, "it is refused")
            before = queue.get(shown).deadline
            passes(THIRD_MS, worker)
            wait_until(lambda: queue.get(shown).deadline >= before + THIRD_MS, "the lease is extended")
            assert queue.get(shown).progress is None
            server.client().config_set("maxmemory", 0)
            first.open()
            wait_until(lambda: queue.get(shown).progress == b"shown", "the next progress is shown")


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_function_goes_on_where_the_last_attempt_stopped(queue, how):
    """GiveBack and Fail take the progress along. The first attempt has none."""
    worker, seen = Worker(queue), []

    def work():
        seen.append(current().last_progress)
        if len(seen) == 1:
            raise GiveBack(progress="step=1")
        if len(seen) == 2:
            raise Fail("no net", delay_ms=1, progress=b"step=2")

    async def later():
        work()

    task = worker.task("f")(work if how == "sync" else later)
    with WorkerThread(worker):
        queue.push(task.call())
        wait_until(lambda: queue.info().acked == 1, "it is done")
    assert seen == [None, b"step=1", b"step=2"]


def test_progress_that_is_reported_last_goes_with_a_failure(queue):
    """It is not lost, although the function ends before the worker could send it."""
    worker = Worker(queue)

    @worker.task("f")
    def work():
        current()._progress = (
            b"all but the last"  # as progress() does, without waking the thread that sends it
        )
        raise OSError("no disk")

    with WorkerThread(worker):
        task = queue.push(work.call())
        wait_until(lambda: queue.get(task).state == "delayed", "it failed")
    view = queue.get(task)
    assert (view.progress, view.error.partition("\n")[0]) == (b"all but the last", "OSError: no disk")


def test_an_outcome_is_sent_without_its_progress_if_the_server_is_full(queue, server, caplog):
    """The task is given back or fails all the same, and the log says what is missing."""
    worker = Worker(queue)

    @worker.task("f")
    def work(is_failure):
        server.client().config_set("maxmemory", 1)
        raise (
            Fail("e", delay_ms=3_600_000, progress="p")
            if is_failure
            else GiveBack(delay_ms=3_600_000, progress="p")
        )

    with WorkerThread(worker):
        for is_failure in (False, True):
            task = queue.push(work.call(is_failure))
            wait_until(lambda task=task: queue.get(task).state == "delayed", "it ended")
            assert queue.get(task).progress is None
            server.client().config_set("maxmemory", 0)
    assert caplog.text.count("its progress is not stored") == 2


@pytest.mark.parametrize("meta", [False, True])
def test_the_last_progress_of_a_claim_without_meta_is_asked_of_the_server(queue, meta):
    """Once, before the function reports its own. Too late is an error: the server has only the newest then."""
    worker, seen = Worker(queue, meta=meta), []

    @worker.task("f", retain_ms=0)
    def work():
        if not seen:
            seen.append(current().last_progress)
            raise GiveBack(progress="step=1")
        if len(seen) == 1:
            seen.append(current().last_progress)
            current().progress("step=2")
            assert current().last_progress == b"step=1"
            raise OSError("no disk")
        current().progress("step=3")
        if meta:
            seen.append(current().last_progress)
            return
        with pytest.raises(RuntimeError, match="before you report progress"):
            current().last_progress  # noqa: B018
        seen.append(b"step=2")

    queue.configure(backoff_base=1)
    with WorkerThread(worker):
        queue.push(work.call())
        wait_until(lambda: queue.info().acked == 1, "it is done")
    assert seen == [None, b"step=1", b"step=2"]


def test_progress_that_is_too_long_is_refused(queue):
    """The function gets an exception that it can handle."""
    seen = []

    def work():
        with pytest.raises(ValueError, match="at most 4096 bytes, not 4098"):
            current().progress("ü" * 2049)
        for outcome in (GiveBack, Fail):
            with pytest.raises(ValueError, match="at most 4096 bytes, not 4097"):
                outcome(progress=b"x" * 4097)
        seen.append(True)

    worker = Worker(queue)
    task = worker.task("f")(work)
    with WorkerThread(worker):
        queue.push(task.call())
        wait_until(lambda: queue.info().acked == 1, "it is done")
    assert seen == [True]


# ---- servers that hang


def test_a_heartbeat_that_fails_is_tried_again(server, queue, passes):
    """A server that hangs for a while doesn't end a function or the worker."""
    with redis.Redis(port=server.port, socket_timeout=0.2, retry=None) as client, Gate() as gate:
        impatient = Queue(client, "mail", patience_ms=0)
        worker = Worker(impatient, lease_ms=LEASE_MS)
        task = worker.task("f", retain_ms=60_000)(gate.enter)
        tried = threading.Event()
        keep = impatient.extend_many

        def extend_many(*args, **options):
            try:
                return keep(*args, **options)
            except redis.TimeoutError:
                tried.set()
                raise

        impatient.extend_many = extend_many
        with WorkerThread(worker) as run:
            pushed = queue.push(task.call())
            gate.inside()
            server.freeze()
            passes(THIRD_MS, worker)
            assert tried.wait(PATIENCE_S)
            server.thaw()
            is_kept(queue, pushed, lambda: passes(THIRD_MS, worker))
            gate.open()
            wait_until(lambda: queue.get(pushed).state == "done", "it is done")
            assert not run.is_over()
    assert queue.get(pushed).deliveries == 1


class OneAway:
    """A sharded queue of which one shard doesn't reply, while all others accept every heartbeat."""

    name = "mail"

    def __init__(self):
        self.kept = []
        self.comes_back = threading.Event()

    def extend_many(self, tasks, **_):
        """Replaces the queue's method."""
        if tasks[0].key == "away":
            assert self.comes_back.wait(20)
        self.kept.append(tasks[0].key)
        return [1_700_000_000_000] * len(tasks)


def test_a_shard_that_is_away_does_not_hold_up_the_heartbeats_of_others():
    """Each key has its own heartbeat."""
    queue, threads = OneAway(), Threads("test")
    leases = Leases(threads, lease_ms=30)
    leases.open()
    try:
        for key in ("away", "here"):
            context = TaskContext(
                Task(key, f"{key}-1", b"", 1), leases.wake, relations=Relations(queue, JSON)
            )
            leases.add([context], time.monotonic())
        wait_until(lambda: queue.kept.count("here") >= 5, "the other shard is kept")
        assert "away" not in queue.kept
        queue.comes_back.set()
        wait_until(lambda: queue.kept.count("away") >= 2, "the shard is kept, too, once it is back")
    finally:
        leases.close()
        threads.close()


class Says:
    """A queue whose heartbeats get the replies that a test chooses."""

    name = "mail"

    def __init__(self, answer):
        self.answer = answer
        self.asked = 0

    def extend_many(self, tasks, **_):
        """Replaces the queue's method."""
        self.asked += 1
        return [self.answer] * len(tasks)


@pytest.mark.parametrize(
    ("answer", "raises"),
    [(Answer.LEASE_LOST, LeaseLost), (Answer.GONE, LeaseLost), (Answer.CANCEL_ASKED, CancelAsked)],
)
def test_a_task_whose_function_was_asked_to_stop_is_not_extended(answer, raises):
    """A function that continues anyway causes no more commands."""
    queue, threads = Says(answer), Threads("test")
    leases = Leases(threads, lease_ms=30)
    leases.open()
    try:
        context = TaskContext(Task("mail", "1-0@1-a", b"", 1), leases.wake, relations=Relations(queue, JSON))
        leases.add([context], time.monotonic())
        assert context.wait(PATIENCE_S)
        with pytest.raises(raises):
            context.check()
        again = TaskContext(Task("mail", "2-0@2-b", b"", 1), leases.wake, relations=Relations(queue, JSON))
        leases.add([again], time.monotonic())
        assert again.wait(PATIENCE_S)
        assert queue.asked == 2
    finally:
        leases.close()
        threads.close()
