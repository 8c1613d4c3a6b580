"""Moving from RQ: jobs that RQ itself has stored become tasks, and what would lose something stays in RQ."""

import os
import pickle
import subprocess
import sys
import zlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import rq
import taskslot
from harness import command_line
from harness.programs import OF_THIS_TREE
from harness.server import wait_until
from harness.worker_thread import WorkerThread
from taskslot.migrate import plain
from taskslot.migrate.plain import NotPlain, as_json, decompressed, unpickled


@pytest.fixture
def old(client):
    """RQ's queue `mail`."""
    return rq.Queue("mail", connection=client)


@pytest.fixture
def run(server):
    """`run("mail", "tasks")` runs `taskslot migrate rq` on the server."""
    return lambda *words, **options: command_line.run(
        "migrate", "rq", *words, "--url", f"redis://127.0.0.1:{server.port}", **options
    )


@pytest.fixture
def tasks(client):
    """The new queue."""
    with taskslot.Queue(client, "tasks") as queue:
        yield queue


def test_a_job_is_the_same_call_with_the_policy_that_it_has_left(old, run, tasks):
    """Names, arguments, attempts, expiry, retention and due time. The headers tell where it came from."""
    first = old.enqueue("shop.send", "bob", subject="hi", sizes=(1, 2.5, None, True))
    old.enqueue("shop.send", retry=rq.Retry(max=3, interval=5), ttl=100, result_ttl=7, job_timeout=60)
    due = datetime.now(UTC) + timedelta(hours=1)
    old.enqueue_at(due, "shop.send", "später")
    assert run("mail", "tasks").lines == [
        "moved 3 to tasks", "  2 from rq:queue:mail", "  1 from rq:scheduled:mail"
    ]  # fmt: skip
    plain, retried = (tasks.get(one.id) for one in tasks.tasks("ready"))
    assert plain.payload == (
        b'{"task":"shop.send","args":["bob"],"kwargs":{"subject":"hi","sizes":[1,2.5,null,true]}}'
    )
    assert plain.attempts == 1
    assert plain.headers == {"timeout-s": b"180", "migrated-from": f"rq:{first.id}".encode()}
    assert (retried.attempts, retried.retain, retried.headers["timeout-s"]) == (4, 7000, b"60")
    assert 0 < retried.ttl_ms <= 100_000
    (later,) = (tasks.get(one.id) for one in tasks.tasks("delayed"))
    assert later.payload == '{"task":"shop.send","args":["später"],"kwargs":{}}'.encode()
    assert abs(later.due - due.timestamp() * 1000) < 1000


def test_a_worker_of_taskslot_runs_it(old, run, tasks):
    """Under the name that RQ knows, or another one."""
    done = []
    worker = taskslot.Worker(tasks)
    worker.task("shop.send")(lambda to, **more: done.append((to, more)))
    worker.task("bill")(done.append)
    old.enqueue("shop.send", "bob", subject="hi")
    old.enqueue("shop.bill", 7)
    run("mail", "tasks", "--task", "shop.bill=bill")
    with WorkerThread(worker):
        wait_until(lambda: len(done) == 2, "both have run")
    assert sorted(done, key=str) == [("bob", {"subject": "hi"}), 7]


def test_nothing_of_a_moved_job_remains(old, run, client):
    """RQ's keys are as if its worker had run and deleted the job."""
    old.enqueue("shop.send", "bob")
    old.enqueue_in(timedelta(hours=1), "shop.send", "eve")
    run("mail", "tasks")
    assert set(client.keys("*")) == {b"rq:queues", b"tasks"}


class Evil:
    """Its pickle makes a folder when it is read."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_pickle_runs_no_code(old, run, client, tmp_path):
    """It stays, and the report names what it holds."""
    old.enqueue("shop.send", Evil(tmp_path / "made"))
    output = run("mail", "tasks")
    assert output.lines[:2] == ["moved 0 to tasks", "left 1 in RQ"]
    assert "1: its pickle holds an object of posix.mkdir, which is not read" in output.lines[2]
    assert not list(tmp_path.iterdir()) and old.count == 1


@pytest.mark.parametrize(
    "value, reason",
    [
        (Decimal("1.5"), "an object of decimal.Decimal"),
        ({1, 2}, "a value of type set, which JSON lacks"),
        (b"bytes", "a value of type bytes"),
        ({1: "a"}, "keys that are not text"),
        (float("nan"), "NaN or infinity"),
        ("\ud800", "not UTF-8"),
    ],
)
def test_arguments_that_json_would_change_stay(old, run, value, reason):
    """Each reason is in the report with the job's id."""
    job = old.enqueue("shop.send", value)
    output = run("mail", "tasks", "--json")
    (left,) = output.json()[0]["left"]
    assert reason in left["reason"] and left["ids"] == [job.id]
    assert old.job_ids == [job.id] and old.fetch_job(job.id) is not None


def test_a_short_pickle_can_not_fill_the_memory(monkeypatch):
    """A list that holds a list many times, one that holds itself, and data that is long only when decompressed."""
    monkeypatch.setattr(plain, "MOST_VALUES", 1000)
    monkeypatch.setattr(plain, "LONGEST", 1000)
    value = []
    for _ in range(30):
        value = [value, value]
    with pytest.raises(NotPlain, match="too large or too deep"):
        as_json(unpickled(pickle.dumps(value)))
    value = []
    value.append(value)
    with pytest.raises(NotPlain, match="too large or too deep"):
        as_json(unpickled(pickle.dumps(value)))
    with pytest.raises(NotPlain, match="longer than"):
        decompressed(zlib.compress(bytes(1001)))


DAMAGED = (
    b"", b"\x80", b"\x80\x05.", b"(lp0\n.", b"cos\nsystem\n(S'id'\ntR.",
    b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f", b"[1]", b"[" * 100_000, b'["upper", "text", [], {}]', b'{"a":1}',
)  # fmt: skip


@pytest.mark.parametrize("data", DAMAGED)
def test_damaged_data_stays(client, old, run, data):
    """Whatever the hash holds, the tool reports it and goes on."""
    old.enqueue("shop.send", "good")
    client.hset("rq:job:bad", mapping={"data": data, "status": "queued"})
    client.rpush("rq:queue:mail", "bad")
    output = run("mail", "tasks")
    assert output.lines[0] == "moved 1 to tasks" and "left 1 in RQ" in output.lines
    assert client.lrange("rq:queue:mail", 0, -1) == [b"bad"]


def test_a_time_that_is_no_number_of_ms_stays(client, old, run):
    """A sorted set can hold infinity."""
    old.enqueue_in(timedelta(hours=1), "shop.send", "good")
    (name,) = client.zrange("rq:scheduled:mail", 0, -1)
    client.zadd("rq:scheduled:mail", {name: "inf"})
    assert "1: its hash can't be read" in "\n".join(run("mail", "tasks").lines)


def test_what_needs_more_of_rq_stays(old, run, client):
    """Jobs that others wait for, callbacks, repeats, and groups; and what is not in the queue is counted."""
    from rq.group import Group

    awaited = old.enqueue("shop.send", 1)
    old.enqueue("shop.send", 2, depends_on=awaited)
    old.enqueue("shop.send", 3, on_success=rq.Callback("shop.done"))
    old.enqueue("shop.send", 4, repeat=rq.Repeat(times=2, interval=5))
    Group.create(connection=client).enqueue_many(old, [rq.Queue.prepare_data("shop.send", (5,))])
    output = run("mail", "tasks")
    assert output.lines[:2] == ["moved 0 to tasks", "left 4 in RQ"]
    text = "\n".join(output.lines)
    for reason in (
        "other jobs wait for it (depends_on)",
        "it has callbacks",
        "it has repeats (Repeat): set a schedule instead",
        "it has a group of RQ that waits for it",
        "not moved, jobs that wait for others (depends_on): 1",
    ):
        assert reason in text, output.lines
    assert old.count == 4


def test_jobs_of_the_json_serializer_are_read(client, run, tasks):
    """The tool sees which serializer has written a job."""
    rq.Queue("mail", connection=client, serializer="json").enqueue("shop.send", "bob")
    run("mail", "tasks")
    assert tasks.claim()[0].payload == b'{"task":"shop.send","args":["bob"],"kwargs":{}}'


def test_a_queue_that_rq_does_not_know_is_an_error(old, run, client):
    """The text names those that it has. A key of another type is no queue either."""
    old.enqueue("shop.send")
    (error,) = run("nail", "tasks", status=2).errors
    assert error == "taskslot: RQ has no queue nail on this server; it has: mail"
    client.set("rq:queue:nail", "text")
    (error,) = run("nail", "tasks", status=2).errors
    assert "rq:queue:nail holds a string, not a list" in error


def test_a_stopped_run_says_how_to_go_on(old, run, tasks):
    """The exit status is that of the error."""
    old.enqueue("shop.send", 1)
    old.enqueue("shop.send", 2)
    tasks.configure(max_len=1)
    output = run("mail", "tasks", status=1)
    assert output.lines == ["moved 1 to tasks, not finished"]
    assert output.errors[0] == "stopped: run the same command again, it goes on from here"
    assert "max-len" in output.errors[1]


def test_the_old_queue_may_be_on_a_server_without_the_module(start, server, old, tasks):
    """`--from` names it. The tool needs nothing but Lua there."""
    bare = start(port=True, module=None)
    with bare.client() as client:
        rq.Queue("mail", connection=client).enqueue("shop.send", "bob")
    words = ("migrate", "rq", "mail", "tasks", "--from", f"redis://127.0.0.1:{bare.port}")
    output = command_line.run(*words, "--url", f"redis://127.0.0.1:{server.port}")
    assert output.lines == ["moved 1 to tasks", "  1 from rq:queue:mail"]
    (error,) = command_line.run("migrate", "rq", "mail", "tasks", "--from", "http://x", status=2).errors
    assert error.startswith("taskslot: --from must be redis://")


def test_the_library_does_not_load_the_tool():
    """`import taskslot` stays small."""
    script = "import sys, taskslot; print('taskslot.migrate' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], env=OF_THIS_TREE, capture_output=True, text=True)
    assert done.stdout == "False\n"
