"""The log of a worker: outages of its server, why a task failed, and what happens next."""

import logging
import os
import re
import signal
import threading

import pytest
import redis
import taskslot
from harness.server import wait_until
from harness.worker_thread import Gate, WorkerThread
from taskslot import Fail, Middleware, Queue, Worker, current


@pytest.fixture(autouse=True)
def heard(caplog):
    """The log of this test only. A thread from an earlier test may still be looking for its server."""
    others = set(threading.enumerate()) - {threading.current_thread()}
    caplog.handler.addFilter(lambda _: threading.current_thread() not in others)
    caplog.set_level(logging.INFO, logger="taskslot")


def lines_with(caplog, words):
    """The lines that contain a text."""
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


def failures(caplog):
    """The lines about failures, without the time that the function took, which each of them has."""
    parts = [line.partition(" after ") for line in lines_with(caplog, "failed after")]
    assert all(re.match(r"[\d.]+ m?s \(", rest) for _, _, rest in parts)
    return [before + rest[rest.index(" (") :] for before, _, rest in parts]


def test_a_worker_logs_its_queue_places_and_functions_at_the_start(queue, caplog):
    """It logs them in one line."""
    worker = Worker(queue, concurrency=3, name="w1")
    worker.task("mail.send")(lambda: None)
    worker.task("mail.sweep")(lambda: None)
    with WorkerThread(worker):
        wait_until(lambda: lines_with(caplog, "works on"), "it has started")
    (line,) = lines_with(caplog, "works on")
    assert line == f"worker w1 works on {queue.name} with 3 places, functions: mail.send, mail.sweep"


def test_a_failure_says_what_happens_next(queue, caplog):
    """It logs the number of the failure and the time of the next attempt. At the limit, the task is dead."""
    queue.configure(attempts=4, **{"backoff-base": 50, "backoff-jitter": 0})
    # The next attempt begins when the line about the last one is written: the worker asks for the number of failures.
    worker = Worker(queue, concurrency=1)

    @worker.task("f")
    def fails():
        raise ValueError("no such address")

    task = queue.push(fails.call())
    with WorkerThread(worker):
        assert queue.result(task, block_ms=20_000).state == "dead"
        wait_until(lambda: len(lines_with(caplog, "failed")) == 4, "all four are logged")
    begin, error = f"task {task}, f, failed", "ValueError: no such address"
    assert failures(caplog) == [
        f"{begin} (attempt 1 of 4, again in 0.05 s): {error}",
        f"{begin} (attempt 2 of 4, again in 0.1 s): {error}",
        f"{begin} (attempt 3 of 4, again in 0.2 s): {error}",
        f"{begin} (attempt 4 of 4, now dead): {error}",
    ]
    traces = [record for record in caplog.records if "failed" in record.getMessage()]
    assert all(record.exc_text.endswith("\nValueError: no such address") for record in traces)


def test_a_failure_names_the_queue_if_the_worker_has_several(queue, client, caplog):
    """Else nobody knows where to look for the task."""
    with Queue(client, "other") as other:
        other.configure(attempts=1)
        worker = Worker([queue, other])

        @worker.task("f")
        def fails():
            raise Fail("no")

        task = other.push(fails.call())
        with WorkerThread(worker):
            wait_until(lambda: lines_with(caplog, "now dead"), "it is logged")
    assert failures(caplog) == [f"task {task} of other, f, failed (attempt 1 of 1, now dead): no"]


def test_a_failure_is_logged_with_the_limit_of_its_task(queue, caplog):
    """Failures are counted without a limit too. A task that is given up at once is dead."""
    queue.configure(**{"backoff-base": 3_600_000, "backoff-jitter": 0})
    worker = Worker(queue)
    fails = worker.task("f")(lambda dead: exec("raise Fail('no', dead=dead)", {"Fail": Fail, "dead": dead}))
    own = queue.push(fails.call(False), attempts=2)
    endless = queue.push(fails.call(False), attempts=-1)
    gone = queue.push(fails.call(True))
    with WorkerThread(worker):
        wait_until(lambda: len(lines_with(caplog, "failed")) == 3, "all are logged")
    assert sorted(failures(caplog)) == sorted(
        [
            f"task {own}, f, failed (attempt 1 of 2, again in 3600 s): no",
            f"task {endless}, f, failed (attempt 1, again in 3600 s): no",
            f"task {gone}, f, failed (attempt 1 of 25, now dead): no",
        ]
    )


def test_a_lease_that_run_max_ends_says_so(queue, worker_clock, caplog):
    """The function is asked to stop, and the log has the reason."""
    queue.configure(run_max=300, lease=60_000)
    worker = Worker(queue, concurrency=1)
    stopped = threading.Event()

    @worker.task("f")
    def long():
        if current().wait(30):
            stopped.set()

    task = queue.push(long.call())
    with WorkerThread(worker):
        wait_until(lambda: queue.info().stalled == 1, "its lease is over")
        worker_clock.passes(25_000, worker)
        assert stopped.wait(20)
        wait_until(lambda: lines_with(caplog, "lost its lease"), "the lost lease is logged")
        worker.stop(at_once=True)
    lines = lines_with(caplog, f"task {task} lost its lease (run-max of 0.3 s reached)")
    assert lines, lines_with(caplog, "task")


def test_a_payload_that_cannot_be_read_is_one_line(queue, caplog):
    """The line has the reason, but no part of the payload."""
    task = queue.push(b"not JSON")
    with WorkerThread(Worker(queue)):
        wait_until(lambda: lines_with(caplog, "now dead"), "it is logged")
    why = "BadPayload: the payload can't be read as JSON: JSONDecodeError"
    assert lines_with(caplog, str(task)) == [f"task {task} failed (attempt 1 of 25, now dead): {why}"]


LONG = "x" * 1_000_000
MEAN = "\x1b]0;pwn\x07\n12:00:00 FORGED"


def written(caplog, words):
    """What a program with a formatter of its own writes of the records with a text."""
    formatter = logging.Formatter("%(levelname)s %(message)s")
    return "\n".join(formatter.format(record) for record in caplog.records if words in record.getMessage())


@pytest.mark.parametrize("name", ["raises", "leads", "group", "broken", "keyword", "unknown", "noted"])
def test_a_payload_can_neither_fill_the_log_nor_forge_lines_of_it(queue, caplog, name):
    """An exception's text is cut and escaped: in the message, in the traceback, and in what led to it."""
    queue.configure(attempts=1)
    worker = Worker(queue)

    @worker.task("raises")
    def raises(text):
        raise ValueError(f"no address: {text}")

    @worker.task("leads")
    def leads(text):
        try:
            raises(text)
        except ValueError:
            raise RuntimeError(text)  # noqa: B904

    @worker.task("group")
    def group(text):
        raise ExceptionGroup(text, [ValueError(text), KeyError(text)])

    @worker.task("broken")
    def broken(text):
        class Broken(Exception):
            def __str__(self):
                raise RuntimeError(text)  # noqa: B904

        raise Broken

    @worker.task("noted")
    def noted(text):
        error = ValueError("no")
        error.add_note(text)
        raise error

    for text in (MEAN, LONG):
        if name == "keyword":
            queue.push(taskslot.call("raises", **{text: 1}))
        else:
            queue.push(taskslot.call(text if name == "unknown" else name, text))
    with WorkerThread(worker):
        wait_until(lambda: queue.info().dead == 2, "both are dead")
        wait_until(lambda: len(lines_with(caplog, "now dead")) == 2, "both are logged")
    text = written(caplog, "task ")
    assert len(text) < 60_000
    assert not set(text) & {"\x1b", "\x07"}
    assert not [line for line in text.split("\n") if line.startswith("12:00:00")]


def test_what_middleware_raises_is_bounded_too(queue, caplog):
    """The log keeps the traceback, down to the line that raised."""

    class Fails(Middleware):
        def before(self, context):
            raise ValueError(MEAN + LONG)

    worker = Worker(queue, middleware=[Fails()])
    task = worker.task("f")(lambda: None)
    with WorkerThread(worker):
        queue.push(task.call())
        wait_until(lambda: lines_with(caplog, "before of Fails failed"), "it is logged")
    text = written(caplog, "before of Fails")
    assert "raise ValueError(MEAN + LONG)" in text and "\x1b" not in text and len(text) < 20_000


def test_a_stop_logs_the_number_of_running_tasks(queue, caplog):
    """For one task, the word is singular."""
    with Gate() as gate:
        worker = Worker(queue, grace_ms=0, name="w1")
        queue.push(worker.task("f")(gate.enter).call())
        with WorkerThread(worker):
            gate.inside()
            worker.stop()
            wait_until(lambda: lines_with(caplog, "gives back"), "it is logged")
            assert lines_with(caplog, "stopping") == ["worker w1 is stopping; 1 task is running"]
            assert lines_with(caplog, "gives back") == ["worker w1 gives back 1 task that is still running"]


def test_an_outage_and_its_end_are_logged_once_each(start, caplog):
    """The number of claims, heartbeats and outcomes that fail in between doesn't matter."""
    caplog.set_level(logging.DEBUG, logger="taskslot")
    server = start(port=True, appendonly="yes")
    with redis.Redis(port=server.port) as client, Gate() as gate:
        queue = Queue(client, "mail", patience_ms=200)
        worker = Worker(queue, concurrency=2, lease_ms=300)
        task = worker.task("f", retain_ms=60_000)(gate.enter)
        with WorkerThread(worker):
            pushed = queue.push(task.call())
            gate.inside()
            server.kill9()
            wait_until(lambda: lines_with(caplog, "does not answer"), "it is noticed")
            gate.open()
            wait_until(lambda: len(lines_with(caplog, "failed, trying again")) > 5, "it has tried often")
            server.start()
            wait_until(lambda: lines_with(caplog, "is back after"), "that, too")
            assert queue.result(pushed, block_ms=20_000) is not None
    (away,), (back,) = lines_with(caplog, "does not answer"), lines_with(caplog, "is back after")
    assert away.startswith("the server does not answer, trying again until it is back: ")
    assert back.startswith("the server is back after ") and float(back.split()[-2]) > 0
    tries = [record for record in caplog.records if "failed, trying again" in record.getMessage()]
    assert {record.levelno for record in tries} == {logging.DEBUG}


def test_ctrl_c_logs_that_a_second_one_ends_the_worker_at_once(queue, caplog):
    """It does so if tasks still run, and logs how long it waits for them."""
    worker = Worker(queue, grace_ms=20_000, name="w1")
    gate = Gate()
    task = worker.task("f")(gate.enter)
    queue.push(task.call())

    def interrupt():
        gate.inside()
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: lines_with(caplog, "Ctrl-C again"), "it is logged")
        gate.open()

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    assert worker.run() == 0
    thread.join()
    (line,) = lines_with(caplog, "Ctrl-C again")
    assert line == (
        "worker w1 stops when its 1 task has ended, after at most 20 s; press Ctrl-C again to stop now"
    )
