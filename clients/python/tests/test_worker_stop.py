"""How a worker ends: on request, by a signal, or by kill -9. Running tasks are finished or given back."""

import asyncio
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import taskslot
from harness.programs import OF_THIS_TREE
from harness.server import PATIENCE_S, wait_until
from harness.worker_thread import Gate, WorkerThread
from taskslot import Worker, current
from taskslot.worker.worker import stopped_by_signals

HERE = Path(__file__).parent


# ---- on request


@pytest.mark.parametrize("how", ["run", "serve"])
def test_a_stop_waits_for_running_tasks(queue, how):
    """It claims no more tasks."""
    with Gate() as gate:
        worker = Worker(queue, concurrency=1)
        task = worker.task("f")(gate.enter)
        with WorkerThread(worker, how) as run:
            queue.push_many([task.call()] * 2)
            gate.inside()
            worker.stop()
            wait_until(lambda: worker._runner._places.is_stopping(), "the worker stops")
            assert not run.is_over()
            gate.open()
            assert run.ended() == 0
    assert (queue.info().acked, queue.info().ready, queue.info().leased) == (1, 1, 0)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("how", ["run", "serve"])
def test_tasks_that_run_after_the_grace_are_given_back(queue, how, kind):
    """The task is ready at once without a failed attempt, and the function's own outcome is dropped."""
    stopped = []
    with Gate() as gate:
        worker = Worker(queue, concurrency=2, grace_ms=50)

        def work():
            gate.come()
            stopped.append(current().wait(30))
            raise ValueError("interrupted")

        async def later():
            gate.come()
            try:
                await asyncio.sleep(30)
            finally:
                stopped.append(True)

        task = worker.task("f")(work if kind == "sync" else later)
        with WorkerThread(worker, how) as run:
            ids = queue.push_many([task.call()] * 2)
            gate.inside(), gate.inside()
            worker.stop()
            assert run.ended() == 1
    wait_until(lambda: stopped == [True, True], "both were asked to stop")
    for one in ids:
        view = queue.get(one)
        assert (view.state, view.failures, view.stalls) == ("ready", 0, 0)
    assert (queue.info().requeued, queue.info().failed) == (2, 0)


def test_a_function_that_ignores_the_stop_is_abandoned(queue):
    """Its task is given back. Its result is too late, and is dropped."""
    with Gate() as gate:
        worker = Worker(queue, grace_ms=0)
        task = worker.task("f")(gate.enter)
        with WorkerThread(worker) as run:
            pushed = queue.push(task.call())
            gate.inside()
            worker.stop()
            assert run.ended() == 1
            gate.open()
        assert queue.get(pushed).state == "ready"


def test_all_tasks_are_given_back_in_one_command(queue, client):
    """The number of running tasks doesn't matter."""
    with Gate() as gate:
        worker = Worker(queue, concurrency=4, grace_ms=0)
        task = worker.task("f")(lambda: (gate.come(), current().wait(30)))
        with WorkerThread(worker):
            queue.push_many([task.call()] * 4)
            for _ in range(4):
                gate.inside()
    stats = client.info("commandstats")
    assert stats.get("cmdstat_TASK.REQUEUE", stats.get("cmdstat_task.requeue"))["calls"] == 1
    assert queue.info().requeued == 4


def test_tasks_that_have_not_begun_are_given_back_at_once(queue):
    """They wait for a blocked event loop. The function that blocks it can finish."""
    with Gate() as gate:
        worker = Worker(queue, concurrency=3)

        @worker.task("f")
        async def blocks():
            gate.enter()

        with WorkerThread(worker) as run:
            queue.push_many([blocks.call()] * 3)
            gate.inside()
            wait_until(lambda: queue.info().leased == 3, "all are claimed")
            worker.stop()
            wait_until(lambda: queue.info().ready == 2, "two are given back")
            assert queue.info().leased == 1 and not run.is_over()
            gate.open()
            assert run.ended() == 0
    assert (queue.info().acked, queue.info().requeued) == (1, 2)


def test_a_stop_without_a_thread_gives_back_all_the_same(queue, monkeypatch):
    """The process may not be able to start one. Then the caller of `run` does it."""
    with Gate() as gate:
        worker = Worker(queue, concurrency=1, grace_ms=0)
        task = worker.task("f")(gate.enter)
        with WorkerThread(worker) as run:
            queue.push(task.call())
            gate.inside()

            def refuse(_):
                raise RuntimeError("can't start new thread")

            monkeypatch.setattr(worker._runner._threads, "start", refuse)
            worker.stop()
            assert run.ended() == 1
    assert (queue.info().ready, queue.info().leased) == (1, 0)


def test_a_stop_before_the_start_counts(queue):
    """A stop counts even if another thread is only about to start the worker."""
    worker = Worker(queue)
    worker.stop()
    with WorkerThread(worker) as run:
        assert run.ended() == 0


def test_a_function_can_stop_its_worker(queue):
    """A function can do so after a number of tasks, to limit memory leaks. The worker can be run again."""
    worker = Worker(queue)
    task = worker.task("f")(worker.stop)
    for number in (1, 2):
        with WorkerThread(worker) as run:
            queue.push(task.call())
            assert run.ended() == 0
        assert queue.info().acked == number


def test_a_worker_runs_once_at_a_time(queue):
    """The second run raises an error, and the first continues."""
    with Gate() as gate:
        worker = Worker(queue)
        task = worker.task("f")(gate.enter)
        with WorkerThread(worker) as run:
            queue.push(task.call())
            gate.inside()
            with pytest.raises(RuntimeError, match="already running"):
                worker.run()
            assert not run.is_over()
            gate.open()
            wait_until(lambda: queue.info().acked == 1, "it is done")


def test_run_within_an_event_loop_is_an_error(queue):
    """It would block the event loop; `serve` doesn't."""

    async def wrong():
        Worker(queue).run()

    with pytest.raises(RuntimeError, match="await worker.serve"):
        asyncio.run(wrong())


def test_serve_that_is_cancelled_gives_back_before_it_ends(queue):
    """This happens if a TaskGroup ends because of another task, for example."""
    tidied, leased = [], []
    with Gate() as gate:
        worker = Worker(queue)

        @worker.task("f")
        async def work():
            gate.come()
            try:
                await asyncio.sleep(30)
            finally:
                tidied.append(current().lease_lost)

        async def main():
            serving = asyncio.create_task(worker.serve())
            queue.push(work.call())
            await asyncio.to_thread(gate.inside)
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
            leased.append(queue.info().leased)

        thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
        thread.start()
        wait_until(lambda: not thread.is_alive(), "it has ended")
    assert (tidied, leased) == ([True], [0])
    # A waiting claim of the worker may have got the task once more and given it back.
    assert (queue.info().ready, queue.info().requeued >= 1, queue.info().failed) == (1, True, 0)


def test_closing_the_event_loop_ends_the_worker(queue):
    """The tasks of async functions are given back."""
    worker = Worker(queue, grace_ms=0)

    @worker.task("f")
    async def work(): ...

    def live():
        loop = asyncio.new_event_loop()
        serving = loop.create_task(worker.serve())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        closed.append(serving)

    closed = []
    threading.Thread(target=live, daemon=True).start()
    wait_until(lambda: closed, "the loop is closed")
    runner = worker._runner
    queue.push(work.call())
    wait_until(runner._stopped.is_set, "the worker has ended")
    wait_until(lambda: (queue.info().leased, queue.info().ready) == (0, 1), "its task is given back")
    assert queue.info().requeued >= 1


# ---- signals


class Program:
    """A running process of worker_program.py."""

    def __init__(self, port, grace_ms=20_000, lease_ms=60_000, told_s=1):
        words = [
            sys.executable,
            str(HERE / "worker_program.py"),
            *map(str, (port, grace_ms, lease_ms, told_s)),
        ]
        self.process = subprocess.Popen(words, env=OF_THIS_TREE, stdout=subprocess.PIPE, text=True)

    def signal(self, number):
        """Send the process a signal."""
        self.process.send_signal(number)

    def ended(self):
        """Wait for its end. Returns its exit status, and whether `run` returned."""
        out, _ = self.process.communicate(timeout=2 * PATIENCE_S)
        return self.process.returncode, "ended" in out

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def reaches(client, number=1):
    """Wait until this many functions run."""
    wait_until(lambda: int(client.get("came") or 0) >= number, "functions run")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("how", ["run", "serve"])
def test_a_signal_lets_tasks_finish(server, queue, client, how, number):
    """The exit status is 0, the handlers are restored, and no task is left."""
    client.set("serve", 1) if how == "serve" else None
    with Program(server.port) as program:
        queue.push_many([taskslot.call("waits"), taskslot.call("waits_async")])
        reaches(client, 2)
        program.signal(number)
        later = queue.push(taskslot.call("waits"))
        client.set("go", 1)
        assert program.ended() == (0, True)
    assert queue.info().acked >= 2 and queue.info().leased == 0
    assert queue.info().acked == 3 or queue.get(later).state == "ready"


def test_signal_handlers_are_optional():
    """With signals=False no handler is installed."""
    before = signal.getsignal(signal.SIGTERM)
    with stopped_by_signals(None, signals=False):
        assert signal.getsignal(signal.SIGTERM) is before
    with stopped_by_signals(None, signals=True):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_after_the_grace_tasks_are_given_back(server, queue, client):
    """The exit status is 1. Functions were asked to stop and could clean up."""
    with Program(server.port, grace_ms=50, told_s=20) as program:
        queue.push_many([taskslot.call("waits"), taskslot.call("waits_async")])
        reaches(client, 2)
        program.signal(signal.SIGTERM)
        assert program.ended() == (1, True)
    assert int(client.get("went")) == 2
    assert (queue.info().ready, queue.info().requeued, queue.info().failed) == (2, 2, 0)


def test_a_second_signal_gives_all_tasks_back_at_once(server, queue, client):
    """A long grace doesn't matter. A thread that never ends doesn't keep the process alive."""
    with Program(server.port, grace_ms=600_000) as program:
        queue.push(taskslot.call("hangs"))
        reaches(client)
        program.signal(signal.SIGTERM)
        program.signal(signal.SIGINT)
        assert program.ended() == (1, True)
    assert (queue.info().ready, queue.info().leased) == (1, 0)


def test_the_tasks_of_a_killed_worker_are_ready_again(server, queue, client):
    """That happens when their leases end. The ends count as stalls."""
    with Program(server.port, lease_ms=3000) as program:
        pushed = queue.push(taskslot.call("waits"))
        reaches(client)
        program.signal(signal.SIGKILL)
        program.ended()
        wait_until(lambda: queue.get(pushed).state == "ready", "it is ready again")
    assert queue.get(pushed).stalls == 1
    with WorkerThread(Worker(queue)):
        wait_until(lambda: queue.get(pushed).failures == 1, "another worker has had it")
