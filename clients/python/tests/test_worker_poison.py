"""A task that repeatedly kills its worker's process, and the tasks that run beside it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import taskslot
from harness.programs import OF_THIS_TREE
from harness.server import wait_until
from harness.worker_thread import WorkerThread
from taskslot import Worker
from taskslot.worker.options import own_name

HERE = Path(__file__).parent


class Supervised:
    """Runs poison_program.py, and restarts it whenever it ends."""

    def __init__(self, port):
        self._words = [sys.executable, str(HERE / "poison_program.py"), str(port)]
        self._process = None
        self.started = 0

    def __enter__(self):
        self.look()
        return self

    def look(self):
        """Start the program if it has ended."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(self._words, env=OF_THIS_TREE, stderr=subprocess.DEVNULL)
            self.started += 1

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()


@pytest.mark.slow
def test_only_the_poison_task_is_dead_in_the_end(server, queue):
    """One of four tasks ends the process, and a supervisor restarts it. All settings except the lease are defaults."""
    queue.pause()
    poison = queue.push(taskslot.call("poison"))
    innocents = queue.push_many([taskslot.call("innocent")] * 3)
    queue.resume()
    with Supervised(server.port) as supervised:

        def is_over():
            supervised.look()
            return queue.len() == 0

        wait_until(is_over, "no task is left", timeout=120)
    assert [(task.id, task.stalls) for task in queue.tasks("dead")] == [(poison, 5)]
    assert [queue.get(innocent).state for innocent in innocents] == ["done"] * 3
    assert supervised.started >= 5


def test_a_dead_task_shows_its_reason(queue):
    """A function ran for longer than `run-max`, so there was no FAIL with an error."""
    queue.configure(run_max=200, stalls=1)
    worker = Worker(queue, name="w1")
    hangs = worker.task("hangs")(lambda: taskslot.current().wait(20))
    with WorkerThread(worker):
        result = queue.result(queue.push(hangs.call()), block_ms=10_000)
    why = "1 stall, after 200 ms at worker w1 (run-max)"
    assert (result.state, result.error) == ("dead", why)
    assert [task.error for task in queue.tasks("dead")] == [why]


def test_worker_names_differ_even_if_host_and_pid_are_the_same(monkeypatch):
    """Two containers can have the same. A crash in one must not count against tasks in the other."""
    code = "import os; os.getpid = lambda: 1; from taskslot.worker.options import own_name; print(own_name())"
    words = [sys.executable, "-c", code]
    names = {subprocess.check_output(words, env=OF_THIS_TREE, text=True) for _ in range(2)}
    assert len(names) == 2 and all("-1-" in name for name in names)
    assert own_name() == own_name(), "workers of one process die together"
    mine = own_name()
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert own_name() != mine, "a fork is another process"
