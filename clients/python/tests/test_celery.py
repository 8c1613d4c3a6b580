"""Celery on taskslot: real workers, which are killed, whose server goes away, and whose tasks are revoked."""

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
import taskslot
import taskslot.integrations.celery
from celery import Celery
from celery.exceptions import BackendStoreError
from harness.programs import OF_THIS_TREE
from harness.sentinel import NAME, Sentinel
from harness.server import wait_until
from kombu import Connection, Consumer, Queue
from kombu.transport import resolve_transport
from taskslot.integrations.celery.bad_messages import blames_message
from taskslot.integrations.celery.held import Held
from taskslot.integrations.kombu_messages import celery_id, push_options

HERE = Path(__file__).parent
KEY = "{celery}:celery"


@contextmanager
def celery_worker(server, *words, lease_ms=1000):
    """A worker as users start one, with a process of its own group."""
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "celery_program",
        "worker",
        "-l",
        "INFO",
        "--without-gossip",
    ]
    command += ["--without-mingle", "--without-heartbeat", "-n", f"w{time.monotonic_ns()}@test", *words]
    with open(server.dir / "celery.log", "ab") as log:
        process = subprocess.Popen(
            command,
            cwd=HERE,
            env={**os.environ, **OF_THIS_TREE, **environment(server, lease_ms)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: b"ready." in (server.dir / "celery.log").read_bytes(), "the worker is ready")
        yield process
    finally:
        kill(process)


def environment(server, lease_ms=1000):
    """What the program reads."""
    return {"TASKSLOT_TEST_PORT": str(server.port), "TASKSLOT_TEST_LEASE_MS": str(lease_ms)}


def kill(process):
    """Kill a worker and its children at once."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def app(server):
    """An app that sends to the worker's."""
    app = Celery(broker=f"taskslot://127.0.0.1:{server.port}/0", backend=f"redis://127.0.0.1:{server.port}/0")
    app.conf.broker_transport_options = {"lease_ms": 1000}
    yield app
    app.close()


@pytest.fixture
def queue(client):
    """The queue of the app, as the library sees it."""
    with taskslot.Queue(client, KEY) as queue:
        yield queue


@pytest.fixture
def send(app):
    """Send a task of the program by its name."""

    def send_task(name, *args, **options):
        return app.send_task(f"celery_program.{name}", args, **options)

    return send_task


def ran(client):
    """What the tasks told."""
    return [text.decode() for text in client.lrange("ran", 0, -1)]


def wait_ran(client, *texts):
    """Wait until the tasks have told this, and nothing else."""
    wait_until(lambda: len(ran(client)) >= len(texts), f"the tasks say {texts}")
    assert ran(client) == list(texts)


def test_a_worker_runs_delays_retries_and_rejects(server, client, queue, app, send):
    """A list of the queue's name does not matter. An ETA waits in the server, and a retry keeps its id."""
    client.rpush("celery", "a message of the Redis transport")
    hour = send("say", "in an hour", countdown=3600)
    with celery_worker(server, "-c", "2"):
        at = datetime.now(UTC) + timedelta(seconds=0.5)
        later = send("say", "later", eta=at)
        assert send("say", "now").get(timeout=20) == "now"
        assert later.get(timeout=20) == "later"
        assert datetime.now(UTC) > at
        assert sorted(ran(client)) == ["later", "now"]
        client.delete("ran")
        send("try_again", "once").get(timeout=20)
        assert ran(client) == ["once 0", "once 1", "once 2"]
        send("refuse", task_id="refused")
        wait_until(lambda: queue.len("dead"), "the rejected task is dead")
    (dead,) = queue.tasks("dead")
    assert dead.error == "rejected by its consumer"
    assert (queue.len("delayed"), queue.len()) == (1, 1)
    assert queue.get(unique=hour.id).state == "delayed"
    assert client.lrange("celery", 0, -1) == [b"a message of the Redis transport"]


@pytest.mark.parametrize("pool", ["prefork", "solo", "threads", "gevent"])
def test_a_task_longer_than_its_lease_runs_once(server, client, queue, send, pool):
    """In each pool, its lease is extended: the only thread of `solo` runs the task meanwhile."""
    with celery_worker(server, "--pool", pool, "-c", "1", lease_ms=1000):
        task = send("wait_for", "end", "long")
        wait_ran(client, "long")
        begun = next(queue.tasks("leased")).deadline
        wait_until(
            lambda: next(queue.tasks("leased")).deadline - begun > 1200, "its lease was extended for longer"
        )
        client.rpush("end", 1)
        task.get(timeout=20)
    assert ran(client) == ["long", "long ended"]
    assert queue.info().stalled == 0


def test_the_task_of_a_killed_worker_runs_again_when_its_lease_ends(server, client, queue, send):
    """The second worker gets it after the lease, and the prefetched one too."""
    with celery_worker(server, "-c", "1", "--prefetch-multiplier", "2") as worker:
        send("wait_for", "end", "first")
        wait_ran(client, "first")
        send("say", "second")
        wait_until(lambda: queue.len("leased") == 2, "the second is prefetched")
        kill(worker)
    client.rpush("end", 1)
    (server.dir / "celery.log").unlink()
    with celery_worker(server, "-c", "1"):
        wait_until(lambda: len(ran(client)) == 4, "both ran")
    assert sorted(ran(client)) == ["first", "first", "first ended", "second"]
    assert queue.info().stalled == 2


def test_a_task_runs_once_although_the_server_was_away(start, send_to, tmp_path):
    """The task goes on while the worker has no connection. The worker acks it when it is connected again."""
    server = start(port=True, appendonly="yes", appendfsync="always")
    send = send_to(server)
    with celery_worker(server, "-c", "1", lease_ms=5000):
        send("wait_in", str(tmp_path))
        wait_until((tmp_path / "ran").exists, "the task begins")
        server.kill9()
        log = server.dir / "celery.log"
        wait_until(lambda: b"Connection to broker lost" in log.read_bytes(), "the worker notices")
        (tmp_path / "end").touch()
        wait_until(lambda: "ended" in (tmp_path / "ran").read_text(), "the task ends")
        server.start()
        assert send("say", "next").get(timeout=20) == "next"
        queue = taskslot.Queue(redis.Redis(port=server.port), KEY)
        wait_until(lambda: queue.len() == 0, "both are acked")
    assert (tmp_path / "ran").read_text() == "begun\nended\n"
    assert queue.info().stalled == 0


@pytest.fixture
def send_to():
    """Send tasks to the program on any server."""
    apps = []

    def sender(server):
        url = f"127.0.0.1:{server.port}/0"
        app = Celery(broker=f"taskslot://{url}", backend=f"redis://{url}")
        apps.append(app)
        return lambda name, *args: app.send_task(f"celery_program.{name}", args)

    yield sender
    for app in apps:
        app.close()


def test_a_worker_removes_a_revoked_task_that_waits(server, client, queue, app, send):
    """The command `revoke` reaches it, and it removes the task from the server. The state is REVOKED."""
    with celery_worker(server, "-c", "1"):
        wait_until(lambda: client.execute_command("PUBSUB", "NUMPAT"), "the worker listens to commands")
        later = send("say", "never", countdown=3600)
        assert queue.len("delayed") == 1
        later.revoke()
        wait_until(lambda: queue.len() == 0, "it is removed")
        assert later.state == "REVOKED"
        again = send("try_later")
        wait_until(lambda: queue.len("leased") == 0 < queue.len("delayed"), "it waits for its next attempt")
        again.revoke()
        wait_until(lambda: queue.len() == 0, "that is removed too")
    assert ran(client) == []


def test_revoke_works_without_a_worker(queue, app, send):
    """The function removes a waiting task, and tells what it removed. Another one is only named to the workers."""
    first, second = send("say", "a"), send("say", "b")
    assert taskslot.integrations.celery.revoke(app, [first.id, "unknown"]) == [first.id]
    assert (first.state, second.state) == ("REVOKED", "PENDING")
    assert taskslot.integrations.celery.revoke(app, ["x" * 300, ""]) == []
    assert queue.len() == 1


def test_a_warm_shutdown_gives_back_what_has_not_begun(server, client, queue, send):
    """The running task ends. The prefetched one is ready again at once."""
    with celery_worker(server, "-c", "1", "--prefetch-multiplier", "2", lease_ms=60_000) as worker:
        send("wait_for", "end", "running")
        wait_ran(client, "running")
        send("say", "waiting")
        wait_until(lambda: queue.len("leased") == 2, "the next one is prefetched")
        os.kill(worker.pid, signal.SIGTERM)
        wait_until(lambda: b"Warm shutdown" in (server.dir / "celery.log").read_bytes(), "it shuts down")
        client.rpush("end", 1)
        assert worker.wait(20) == 0
    assert ran(client) == ["running", "running ended"]
    assert (queue.len("ready"), queue.len("leased")) == (1, 0)


# ---- bad messages

GOOD = {
    "body": base64.b64encode(b'[["bad"], {}, {}]').decode(),
    "content-type": "application/json",
    "content-encoding": "utf-8",
    "headers": {"task": "celery_program.say", "id": "bad"},
    "properties": {
        "body_encoding": "base64",
        "delivery_info": {"routing_key": "celery"},
        "delivery_tag": "x",
    },
}


def good_but(where, **fields):
    """A message of the task `say` with other fields in a part of it."""
    return json.dumps({**GOOD, where: {**GOOD[where], **fields}} if where else {**GOOD, **fields})


# Each as it was found: it ended the worker, and the next one.
NO_MESSAGES = [
    "[" * 200_000,
    '{"__type__": "bytes", "__value__": 5}',
    '{"__type__": "uuid", "__value__": {"hex": 5}}',
    good_but("", body="%%%not base64"),
    good_but("", body=5),
    good_but("properties", body_encoding="nosuch"),
    good_but("", headers="x"),
    good_but("", headers=[1]),
]
NOT_TAKEN = [
    good_but("headers", task=[1]),
    good_but("headers", id=[1]),
    json.dumps({**GOOD, "headers": {"task": "celery_program.say"}}),
    good_but("headers", timelimit="abc"),
    good_but("headers", timelimit=["x", "y"]),
    good_but("", **{"content-type": [1]}),
    good_but("properties", delivery_info="x"),
    json.dumps({"properties": {}}),
]


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_bad_messages_are_dead_and_the_worker_goes_on(server, client, queue, send, pool):
    """Also more of them than it has processes. One that waits for a free process is bad as well."""
    with celery_worker(
        server, "--pool", pool, "-c", "1", "--prefetch-multiplier", "30", lease_ms=60_000
    ) as worker:
        send("wait_for", "end", "first")
        wait_ran(client, "first")
        for payload in NO_MESSAGES + NOT_TAKEN:
            queue.push(payload)
        send("say", "last")
        client.rpush("end", 1)
        wait_until(lambda: "last" in ran(client), "the last one runs")
        wait_until(lambda: queue.len() == 0, "nothing waits")
        assert worker.poll() is None
    errors = [task.error for task in queue.tasks("dead")]
    assert ran(client) == ["first", "first ended", "last"]
    assert sum(error.startswith("no message of Kombu: ") for error in errors) == len(NO_MESSAGES)
    assert sum(error.startswith("the worker can't take it: ") for error in errors) == len(NOT_TAKEN)
    assert queue.info().stalled == 0


def test_what_is_published_to_workers_and_is_no_message_is_dropped(server, client, send):
    """Commands for workers come by PUB/SUB, without a queue."""
    with celery_worker(server, "-c", "1", "--pool", "solo") as worker:
        wait_until(lambda: client.execute_command("PUBSUB", "NUMPAT"), "the worker listens to commands")
        for payload in NO_MESSAGES:
            assert client.publish("/0.celery.pidbox", payload) == 1
        wait_until(
            lambda: (
                (server.dir / "celery.log").read_text().count("is no message of Kombu") == len(NO_MESSAGES)
            ),
            "all are dropped",
        )
        assert send("say", "on").get(timeout=20) == "on"
        assert worker.poll() is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyError("id"), True),
        (RecursionError(), True),
        (ValueError(), True),
        (RuntimeError("cannot schedule new futures after shutdown"), False),
        (MemoryError(), False),
        (BrokenPipeError(), False),
        (redis.ConnectionError(), False),
        (redis.ResponseError("NOPERM"), False),
        (BackendStoreError(), False),
        (taskslot.OutOfMemory(), False),
    ],
    ids=repr,
)
def test_an_error_of_the_pool_or_of_a_server_makes_no_message_dead(connection, error, expected):
    """Otherwise a worker whose pool is broken would make all messages of its queue dead."""
    assert blames_message(connection.default_channel, error) is expected


# ---- Kombu alone


@pytest.fixture
def connection(server):
    """A connection of Kombu."""
    options = {"lease_ms": 1000}
    with Connection(f"taskslot://127.0.0.1:{server.port}/0", transport_options=options) as connection:
        yield connection


def test_the_lowest_priority_comes_first_and_equal_ones_in_order(connection):
    """As in Kombu's Redis transport, but with all ten levels."""
    mail = connection.SimpleQueue("mail")
    for number, priority in enumerate([5, 9, 0, 4, 5, 0]):
        mail.put(number, priority=priority)
    got = []
    for _ in range(6):
        message = mail.get(timeout=5)
        got.append(message.payload)
        message.ack()
    assert got == [2, 5, 3, 0, 4, 1]


def test_messages_without_ack_are_finished_as_they_are_claimed(connection, client):
    """Nothing is leased, and nothing comes back."""
    mail = connection.SimpleQueue("mail", no_ack=True)
    mail.put("a")
    assert mail.get(timeout=5).payload == "a"
    view = taskslot.Queue(client, "{celery}:mail")
    assert (view.len(), view.info().acked) == (0, 1)
    assert "cmdstat_TASK.ACK" not in client.info("commandstats")


def test_an_ack_is_sent_until_the_server_is_back(start, caplog):
    """It is not lost, and its caller does not wait for the server."""
    server = start(port=True, appendonly="yes", appendfsync="always")
    options = {"lease_ms": 60_000}
    with Connection(f"taskslot://127.0.0.1:{server.port}/0", transport_options=options) as connection:
        mail = connection.SimpleQueue("mail")
        mail.put("a")
        message = mail.get(timeout=5)
        server.kill9()
        message.ack()
        assert "the answer is sent again" in caplog.text
        server.start()
        view = taskslot.Queue(redis.Redis(port=server.port), "{celery}:mail")
        wait_until(lambda: view.len() == 0, "it is acked")


def test_acks_do_not_wait_for_a_server_that_is_away(start, monkeypatch):
    """Only the first is tried by its caller, once. The others go to the thread that sends what is late."""
    tried, waited = [], []
    monkeypatch.setattr("taskslot._sync.wire.pause", record(waited, "taskslot._sync.wire", "pause"))
    monkeypatch.setattr(Held, "_send", record(tried, "taskslot.integrations.celery.held", "Held", "_send"))
    server = start(port=True, appendonly="yes", appendfsync="always")
    with Connection(f"taskslot://127.0.0.1:{server.port}/0") as connection:
        mail = connection.SimpleQueue("mail")
        for number in range(4):
            mail.put(number)
        messages = [mail.get(timeout=5) for _ in range(4)]
        server.kill9()
        for message in messages:
            message.ack()
        me = threading.current_thread()
        assert tried.count(me) == 1 and me not in waited
        server.start()
        view = taskslot.Queue(redis.Redis(port=server.port), "{celery}:mail")
        wait_until(lambda: view.len() == 0, "all are acked")


def record(threads, module, *names):
    """The function of this name, which also notes the threads that call it."""
    function = sys.modules[module]
    for name in names:
        function = getattr(function, name)

    def recorded(*args):
        threads.append(threading.current_thread())
        return function(*args)

    return recorded


def test_an_ack_is_sent_until_the_server_accepts_writes(connection, client, caplog):
    """A server that lacks replicas refuses it. Meanwhile the lease is extended, so finished work is not done again."""
    mail, view = connection.SimpleQueue("mail"), taskslot.Queue(client, "{celery}:mail")
    for body in "abc":
        mail.put(body)
    messages = [mail.get(timeout=5) for _ in range(3)]
    client.config_set("min-replicas-to-write", 1)
    messages[0].ack()
    messages[1].requeue()
    messages[2].reject()
    assert "the answer is sent again" in caplog.text and "NOREPLICAS" in caplog.text
    client.config_set("min-replicas-to-write", 0)
    wait_until(lambda: view.len("leased") == 0, "all are answered")
    info = view.info()
    assert (info.acked, view.len("ready"), view.len("dead"), info.stalled) == (1, 1, 1, 0)


def test_a_claim_that_is_refused_for_now_is_an_error_of_the_connection(connection, client):
    """So Celery's worker connects again, and goes on."""
    got = []
    with (
        connection.channel() as channel,
        Consumer(channel, [Queue("mail")], callbacks=[lambda body, message: got.append(body)]),
    ):
        connection.SimpleQueue("mail").put("a")
        client.config_set("min-replicas-to-write", 1)
        with pytest.raises(connection.connection_errors, match="NOREPLICAS"):
            connection.drain_events(timeout=5)
        client.config_set("min-replicas-to-write", 0)
        connection.drain_events(timeout=5)
    assert got == ["a"]


def test_a_channel_extends_all_leases_of_a_queue_with_one_command(connection, client):
    """Not with one for each message."""
    mail, view = connection.SimpleQueue("mail"), taskslot.Queue(client, "{celery}:mail")
    for number in range(20):
        mail.put(number)
    messages = [mail.get(timeout=5) for _ in range(20)]
    begun = max(task.deadline for task in view.tasks("leased"))
    client.config_resetstat()
    wait_until(lambda: min(task.deadline for task in view.tasks("leased")) > begun, "all are extended")
    assert client.info("commandstats")["cmdstat_TASK.EXTEND"]["calls"] < 10
    for message in messages:
        message.ack()


def test_a_purge_removes_all_that_waits(connection, client):
    """Also more than the server removes at a time."""
    view = taskslot.Queue(client, "{celery}:mail")
    view.push_many(["{}"] * 1500)
    view.push_many(["{}"] * 1100, delay_ms=60_000)
    with connection.channel() as channel:
        assert channel.queue_purge("mail") == 2600
    assert view.len() == 0


def test_one_channel_can_consume_with_and_without_acks(connection, client):
    """Those of the consumer without acks are acked at once."""
    got = []
    with connection.channel() as channel:
        names = ("with", "without")
        for name in names:
            connection.SimpleQueue(name).put(name)
        with (
            Consumer(channel, [Queue("with")], callbacks=[lambda body, message: got.append((body, message))]),
            Consumer(
                channel,
                [Queue("without")],
                callbacks=[lambda body, message: got.append((body, message))],
                no_ack=True,
            ),
        ):
            while len(got) < 2:
                connection.drain_events(timeout=5)
            lengths = {name: taskslot.Queue(client, f"{{celery}}:{name}").len("leased") for name in names}
    assert lengths == {"with": 1, "without": 0}
    assert sorted(body for body, _ in got) == ["with", "without"]


def test_what_a_consumer_has_when_it_raises_goes_back(connection, client):
    """Of three claimed messages, the second makes the callback raise. The third was never delivered, and is ready."""
    view = taskslot.Queue(client, "{celery}:mail")
    for body in "abc":
        connection.SimpleQueue("mail").put(body)

    def callback(body, message):
        message.ack()
        if body == "b":
            raise LookupError(body)

    with connection.channel() as channel:
        consumer = Consumer(channel, [Queue("mail")], callbacks=[callback])
        consumer.qos(prefetch_count=10)
        with consumer, pytest.raises(LookupError):
            connection.drain_events(timeout=5)
        assert (view.len("ready"), view.len("leased"), view.info().acked) == (1, 0, 2)


def test_a_worker_without_prefetching_gets_one_message_at_a_time(connection, client):
    """Celery says so by replacing `can_consume`. The claim then is for one message, whatever the prefetch count."""
    for body in "abc":
        connection.SimpleQueue("mail").put(body)
    with connection.channel() as channel:
        consumer = Consumer(channel, [Queue("mail")], callbacks=[lambda body, message: None])
        consumer.qos(prefetch_count=10)
        channel.qos.can_consume = lambda: True
        with consumer:
            connection.drain_events(timeout=5)
            assert taskslot.Queue(client, "{celery}:mail").len("leased") == 1


def test_tied_leases_end_with_the_connection(server, client):
    """The message is ready again at once, although its lease is long."""
    url, options = f"taskslot://127.0.0.1:{server.port}/0", {"lease_ms": 3_600_000, "tied": True}
    view = taskslot.Queue(client, "{celery}:mail")
    with Connection(url, transport_options=options) as connection, connection.channel() as channel:
        connection.SimpleQueue("mail").put("a")
        with Consumer(channel, [Queue("mail")], callbacks=[lambda body, message: None]):
            connection.drain_events(timeout=5)
            assert view.len("leased") == 1
            channel.client.connection.disconnect()
            wait_until(lambda: view.len("ready") == 1, "it is ready again")


def test_a_redelivered_message_says_so(connection):
    """In its delivery info, where Celery looks, and in its headers."""
    mail = connection.SimpleQueue("mail")
    mail.put("a")
    first = mail.get(timeout=5)
    first.requeue()
    second = mail.get(timeout=5)
    assert (first.delivery_info.get("redelivered"), second.delivery_info["redelivered"]) == (None, True)
    assert second.headers["redelivered"]


@pytest.mark.parametrize("no_ack", [False, True])
def test_a_message_for_a_cancelled_consumer_goes_back(connection, client, no_ack):
    """It was cancelled while its claim waited in the server. Another channel of the connection is older."""
    view = taskslot.Queue(client, "{celery}:mail")
    with connection.channel(), connection.channel() as channel, connection.clone() as other:
        consumer = Consumer(channel, [Queue("mail")], callbacks=[pytest.fail], no_ack=no_ack)
        consumer.consume()
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.1)
        consumer.cancel()
        other.SimpleQueue("mail").put("a")
        connection.drain_events(timeout=5)
        assert (view.len("ready"), view.len("leased")) == (1, 0)


def test_a_reply_that_lay_until_its_lease_ended_is_not_delivered(server, client):
    """The program was busy, and another one has claimed the message meanwhile."""
    url, options = f"taskslot://127.0.0.1:{server.port}/0", {"lease_ms": 200}
    view = taskslot.Queue(client, "{celery}:mail")
    with Connection(url, transport_options=options) as connection, connection.clone() as other:
        mail = other.SimpleQueue("mail")
        with connection.channel() as channel, Consumer(channel, [Queue("mail")], callbacks=[pytest.fail]):
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.05)
            mail.put("a")
            wait_until(lambda: (info := view.info()) and info.stalled == 1, "the lease has ended")
            message = mail.get(timeout=5)
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.05)
        message.ack()
        assert (view.len(), view.info().acked) == (0, 1)


def test_a_payload_that_is_no_message_is_dead(connection, client):
    """It is kept with the reason, and the next message is delivered."""
    view = taskslot.Queue(client, "{celery}:mail")
    view.push("not JSON")
    view.push("{}")
    mail = connection.SimpleQueue("mail")
    mail.put("a")
    assert mail.get(timeout=5).payload == "a"
    assert view.len("dead") == 2
    view.push("nor this")
    with pytest.raises(mail.Empty):
        mail.get_nowait()
    assert view.len("dead") == 3
    assert all(task.error.startswith("no message of Kombu") for task in view.tasks("dead"))


def test_a_publish_that_is_tried_again_adds_nothing(connection, client):
    """Kombu tries again after a lost reply, with the same properties."""
    with connection.channel() as channel:
        message = channel.prepare_message('"a"', content_type="application/json", content_encoding="utf-8")
        for _ in range(2):
            channel.basic_publish({**message, "properties": message["properties"]}, "", "mail")
        assert taskslot.Queue(client, "{celery}:mail").len() == 1
        assert channel.basic_get("mail").properties.keys().isdisjoint({"taskslot_request"})


def test_two_celery_tasks_can_have_one_id(connection, client):
    """As with other brokers, both are delivered."""
    with connection.channel() as channel:
        for _ in range(2):
            headers = {"task": "t", "id": "one"}
            message = channel.prepare_message('"a"', content_type="application/json", headers=headers)
            channel.basic_publish(message, "", "mail")
    assert taskslot.Queue(client, "{celery}:mail").len("ready") == 2


def test_a_task_is_delivered_although_too_many_have_ids(connection, client):
    """It can't be revoked while it waits, that is all. Another limit of the queue is an error."""
    view = taskslot.Queue(client, "{celery}:mail")
    view.configure(tokens_max=1, max_len=2)
    with connection.channel() as channel:

        def send(task_id):
            headers = {"task": "t", "id": task_id}
            message = channel.prepare_message('"a"', content_type="application/json", headers=headers)
            channel.basic_publish(message, "", "mail")

        send("one")
        send("two")
        assert view.len("ready") == 2 and view.get(unique="one") and not view.get(unique="two")
        with pytest.raises(taskslot.TokensFull, match="tokens-max"):
            view.push("a", unique="three")
        with pytest.raises(taskslot.QueueFull, match="max-len"):
            send("three")


def test_a_queue_that_expires_lives_on_as_long_as_it_is_used(connection, client):
    """A publish and a get set its time to live again."""
    queue = Queue("replies", expires=60)
    with connection.channel() as channel:
        for use in (lambda: channel.basic_publish(channel.prepare_message("a"), "", "replies"), None):
            queue(channel).declare()
            if use is None:
                assert channel.basic_get("replies").body == b"a"
            else:
                use()
            assert 30_000 < client.pttl("{celery}:replies") <= 60_000
            client.pexpire("{celery}:replies", 30_000)


def test_a_server_without_the_module_is_named(start):
    """The error says what to do."""
    server = start(port=True, module=None)
    with (
        Connection(f"taskslot://127.0.0.1:{server.port}/0") as connection,
        pytest.raises(taskslot.Refused, match="no taskslot module"),
    ):
        connection.SimpleQueue("mail").put("a")


@pytest.mark.slow
def test_sentinel_finds_the_primary(installed):
    """The URLs name sentinels, the first of which does not reply."""
    sentinel = Sentinel(installed)
    try:
        urls = [f"taskslot-sentinel://127.0.0.1:{watcher.port}" for watcher in sentinel.watchers]
        sentinel.watchers[0].stop()
        with Connection(";".join(urls), transport_options={"master_name": NAME}) as connection:
            mail = connection.SimpleQueue("mail")
            mail.put("a")
            assert mail.get(timeout=5).payload == "a"
    finally:
        sentinel.discard()


@pytest.mark.parametrize("given", [False, True, {"ssl_cert_reqs": ssl.CERT_NONE}])
def test_taskslots_is_always_encrypted(given):
    """Without settings the certificate is checked; settings of the user stay."""
    connection = Connection("taskslots://127.0.0.1:1", ssl=given)
    transport = connection.create_transport()
    kind = resolve_transport("taskslots")
    assert isinstance(transport, kind)
    expected = given if isinstance(given, dict) else {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    assert connection.ssl == expected


# ---- what a push says

NOW = datetime(2026, 3, 1, tzinfo=UTC)
IN_AN_HOUR = NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("headers", "properties", "expected"),
    [
        ({}, {}, {}),
        ({"eta": IN_AN_HOUR.isoformat()}, {}, {"at": IN_AN_HOUR.timestamp() * 1000}),
        ({"eta": IN_AN_HOUR.replace(tzinfo=None).isoformat()}, {}, {}),  # only the worker knows its time zone
        ({"eta": NOW.isoformat()}, {}, {}),
        ({"eta": "9999-01-01T00:00:00+00:00"}, {}, {}),
        ({"eta": "soon"}, {}, {}),
        ({}, {"expiration": "1500"}, {"ttl_ms": 1500}),
        ({}, {"expiration": "0"}, {"ttl_ms": 1}),
        ({"expires": IN_AN_HOUR.isoformat()}, {"expiration": "3600000"}, {}),
        ({}, {"priority": 3}, {"priority": -3}),
        ({}, {"priority": 200}, {"priority": -9}),
        ({}, {"priority": -1}, {}),
        ({}, {"priority": "high"}, {}),
    ],
)
def test_a_push_says_when_and_how_long_and_how_urgent(headers, properties, expected):
    """Of an ETA that the server can't wait for, and of an expiry that Celery has to see, nothing is said."""
    message = {"headers": headers, "properties": properties}
    assert push_options(message, NOW.timestamp()) == {"priority": 0, **expected}


@pytest.mark.parametrize("expiration", ["soon", "inf", "nan"])
def test_an_expiration_is_a_number(expiration):
    """It is an error at the publish."""
    with pytest.raises(ValueError, match="the expiration of a message is a number of ms, not "):
        push_options({"headers": {}, "properties": {"expiration": expiration}}, NOW.timestamp())


def test_messages_of_celery_have_an_id():
    """Those of other programs can have a header of that name, which means something else."""
    assert celery_id({"headers": {"task": "t", "id": "x"}}) == "x"
    assert celery_id({"headers": {"id": "x"}}) is None
    assert celery_id({"headers": None}) is None
