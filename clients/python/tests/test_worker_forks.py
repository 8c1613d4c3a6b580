"""Functions that fork: the parent finishes the task, and the child ends without sending anything to the server."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import taskslot
from harness.programs import OF_THIS_TREE
from harness.server import wait_until

PROGRAM = Path(__file__).with_name("forking_program.py")

# The return value of the parent's function: usually the exit status of the child.
EXPECTED = {
    "exits": b"3",
    "returns": b"0",
    "raises": b"1",
    "says": b"1",
    "tells_progress": b"0",
    "is_terminated": b"-15",
    "maps": b"[1,2,3]",
    "pushes": b"0",
    "exits_async": b"3",
    "returns_async": b"0",
    "awaits": b"1",
}


@pytest.fixture(params=["run", "serve"])
def program(request, server):
    """The program, which uses `run()` or `serve()`."""
    words = [sys.executable, PROGRAM, str(server.port), request.param]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=OF_THIS_TREE, stdout=pipe, stderr=pipe, text=True) as program:
        yield program
        if program.poll() is None:
            program.kill()


def test_the_parent_answers_and_the_child_ends(program, queue):
    """The child ends with its own status, however it ends. Each task is done once, by the parent."""
    tasks = {name: queue.push(taskslot.call(name)) for name in EXPECTED}
    results = {name: queue.result(task, block_ms=20_000) for name, task in tasks.items()}
    assert {name: (one.state, one.error) for name, one in results.items()} == dict.fromkeys(
        tasks, ("done", None)
    )
    assert {name: one.value for name, one in results.items()} == EXPECTED
    program.send_signal(signal.SIGTERM)
    output, errors = program.communicate(timeout=20)
    assert (program.returncode, output) == (0, "from the child\nended\n")
    for text in ("over\n", "ValueError: in the child", "can't await"):
        assert text in errors
    info = queue.info()
    assert (info.acked, info.failed, info.stalled, info.requeued) == (len(tasks), 0, 0, 0)
    assert queue.len("delayed") == 1  # pushed by a child


def test_a_child_that_outlives_its_task_does_not_work(program, queue, client):
    """It ends by itself, whatever happened to the worker."""
    task = queue.push(taskslot.call("outlives"))
    assert queue.result(task, block_ms=20_000).value == b'"parent"'
    program.send_signal(signal.SIGTERM)
    assert program.wait(20) == 0
    connected = len(client.client_list())
    client.set("go", 1)
    wait_until(lambda: len(client.client_list()) < connected, "the child is gone", 20)
    info = queue.info()
    assert (info.acked, info.failed, info.claimed) == (1, 0, 1)
