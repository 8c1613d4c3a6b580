"""Moving from Celery on Redis: messages that Celery itself has sent become tasks."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import taskslot
import taskslot.integrations.celery
from harness import command_line
from harness.old_systems import celery_app
from kombu import Connection


@pytest.fixture
def app(server):
    """An app of Celery with the queue `mail`."""
    app = celery_app(server.port)
    yield app
    app.close()


@pytest.fixture
def run(server):
    """`run("mail", "tasks")` runs `taskslot migrate celery` on the server."""
    return lambda *words, **options: command_line.run(
        "migrate", "celery", *words, "--url", f"redis://127.0.0.1:{server.port}", **options
    )


@pytest.fixture
def tasks(client):
    """The new queue."""
    with taskslot.Queue(client, "tasks") as queue:
        yield queue


def test_a_message_becomes_the_same_call(app, run, tasks):
    """With its time, its expiry and its priority: in Celery on Redis 0 goes first, here the highest."""
    due = datetime.now(UTC) + timedelta(hours=1)
    app.send_task("shop.send", (9,), priority=9)
    sent = app.send_task("shop.send", ("bob",), {"subject": "hi"})
    app.send_task("shop.send", (3,), priority=3)
    app.send_task("shop.send", ("later",), eta=due, expires=due + timedelta(seconds=60))
    output = run("mail", "tasks")
    assert output.lines == [
        "moved 4 to tasks", "  2 from mail", r"  1 from mail\x06\x163", r"  1 from mail\x06\x169"
    ]  # fmt: skip
    (later,) = (tasks.get(one.id) for one in tasks.tasks("delayed"))
    assert abs(later.due - due.timestamp() * 1000) < 2 and abs(later.ttl_ms - 60_000) < 2
    claimed = tasks.claim(10, meta=True)
    assert [json.loads(task.payload)["args"] for task in claimed] == [["bob"], [3], [9]]
    assert claimed[0].payload == b'{"task":"shop.send","args":["bob"],"kwargs":{"subject":"hi"}}'
    assert claimed[0].meta.headers == {"migrated-from": f"celery:{sent.id}".encode()}


def test_what_needs_celerys_workers_stays(app, run, client):
    """Chains, chords, links, pickles and arguments in Kombu's own form. The report says why."""
    from celery import chain

    app.send_task("shop.send", (1,), serializer="pickle")
    app.send_task("shop.send", (datetime.now(),))
    app.send_task("shop.send", (2,), link=app.signature("shop.log"))
    chain(app.signature("shop.send", (3,)), app.signature("shop.log")).apply_async()
    app.send_task("shop.send", (4,), expires=datetime.now(UTC) - timedelta(seconds=5))
    app.send_task("shop.send", (5,), eta=datetime(2100, 1, 1))
    message = json.loads(client.lpop("mail"))
    message["headers"]["eta"] = "2100-01-01T00:00:00"
    client.lpush(
        "mail",
        json.dumps(message),
        "{}",
        b"\xff",
        json.dumps({"headers": {"task": "t", "id": "i"}, "properties": {}}),
    )
    text = "\n".join(run("mail", "tasks").lines)
    assert "moved 0 to tasks\nleft 9 in Celery" in text
    for reason in (
        "1: its body is application/x-python-serialize, not JSON",
        "1: its arguments hold dates, UUIDs or decimals in Celery's own form",
        "1: a link belongs to it",
        "1: a chain belongs to it",
        "1: it has expired",
        "1: its ETA or expires names no time zone",
        "1: it is not a message of Celery, or of its old protocol 1",
        "1: it is not a message of Celery (",
        "1: its body is None, not JSON",
    ):
        assert reason in text
    assert client.llen("mail") == 9


def test_what_dead_workers_hold_moves_only_if_asked(app, run, client, tasks):
    """Messages of other queues stay. The question needs an answer."""
    app.send_task("shop.send", (1,), countdown=3600)
    app.send_task("shop.send", (2,), queue="other")
    for queue in ("mail", "other"):
        message = client.rpop(queue)
        client.hset("unacked", queue, json.dumps([json.loads(message), "", queue]))
        client.zadd("unacked_index", {queue: 1795808576})
    client.zadd("unacked_index", {"gone": 1795808577})
    lines = run("mail", "tasks").lines
    assert lines[0] == "moved 0 to tasks"
    assert lines[1].startswith("not moved, messages that workers have fetched, of all queues: 2.")
    (error,) = run("mail", "tasks", "--unacked", status=2).errors
    assert "would run twice" in error and "--yes" in error
    assert run("mail", "tasks", "--unacked", "--dry-run").lines[0] == "would move 1 to tasks"
    assert run("mail", "tasks", "--unacked", "--yes").lines == [
        "moved 1 to tasks",
        "  1 from unacked",
        "not moved, messages in unacked whose routing key is not mail: 1. They are of other queues, or of exchanges "
        "and routing keys that the app has configured",
    ]
    assert tasks.len("delayed") == 1 and client.hkeys("unacked") == [b"other"]
    assert client.zrange("unacked_index", 0, -1) == [b"other", b"gone"]


def test_a_message_of_unacked_goes_back_with_its_time(app, run, client, tasks):
    """If the target is full, for example."""
    tasks.configure(max_len=0)
    app.send_task("shop.send", (1,))
    text = json.dumps([json.loads(client.rpop("mail")), "", "mail"])
    client.hset("unacked", "tag", text)
    client.zadd("unacked_index", {"tag": 1795808576.25})
    run("mail", "tasks", "--unacked", "--yes", status=1)
    assert client.hgetall("unacked") == {b"tag": text.encode()}
    assert client.zrange("unacked_index", 0, -1, withscores=True)[0][1] == 1795808576.25


def test_messages_can_be_kept_for_celerys_own_workers(app, run, tasks):
    """Then chains and pickles move too, byte by byte: nothing is read but the headers."""
    app.send_task("shop.send", (1,), serializer="pickle", countdown=3600)
    app.send_task("shop.send", (2,), link=app.signature("shop.log"), expires=60)
    run("mail", "tasks", "--format", "kombu")
    (later,) = tasks.tasks("delayed", payloads=True)
    assert json.loads(later.payload)["content-type"] == "application/x-python-serialize"
    (task,) = tasks.tasks("ready", payloads=True)
    assert json.loads(task.payload)["properties"]["expiration"] and tasks.get(task.id).ttl_ms is None


def test_other_names_of_keys_and_steps_are_options(app, run, client):
    """`global_keyprefix` and `priority_steps` of the transport."""
    app.conf.broker_transport_options = {"global_keyprefix": "shop:", "priority_steps": [0, 5]}
    app.send_task("shop.send", (1,))
    app.send_task("shop.send", (2,), priority=7)
    words = ("mail", "tasks", "--key-prefix", "shop:", "--priority-steps", "0,5")
    assert run(*words).lines == ["moved 2 to tasks", "  1 from shop:mail", r"  1 from shop:mail\x06\x165"]


@pytest.mark.parametrize("steps", ["x", "", "0,3,six,9", "0,3,O9", "0,,9"])
def test_a_priority_step_that_is_no_number_is_an_error(app, run, client, steps):
    """Otherwise the list of that step would stay, and nobody would know."""
    app.send_task("shop.send", (1,))
    (error,) = run("mail", "tasks", "--priority-steps", steps, status=2).errors
    assert f"--priority-steps takes numbers, such as 0,3,6,9, not {steps!r}" in error
    assert client.llen("mail") == 1


def test_a_kept_message_is_pushed_as_the_transport_would(app, run, client, tasks):
    """When it is due, how urgent it is, how long it may wait: also what the server would refuse or can't know."""
    app.send_task("shop.send", (1,))
    message = json.loads(client.lpop("mail"))
    in_an_hour = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    etas = [None, in_an_hour.isoformat(), "9999-01-01T00:00:00+00:00", "soon", "2100-01-01T00:00:00", None]
    found = [{"priority": 200}, {}, {}, {"priority": None}, {"priority": 6}, {"expiration": "60000"}]
    for eta, properties in zip(etas, found, strict=True):
        message["headers"]["eta"] = eta
        client.lpush("mail", json.dumps({**message, "properties": {**message["properties"], **properties}}))
    assert run("mail", "tasks", "--format", "kombu").lines == ["moved 6 to tasks", "  6 from mail"]
    (later,) = tasks.tasks("delayed")
    assert later.due == in_an_hour.timestamp() * 1000
    ready = list(tasks.tasks("ready"))
    assert [task.priority for task in ready] == [0, 0, 0, -6, -9]
    assert [task.ttl_ms is not None for task in ready] == [False, False, True, False, False]


def test_an_unreadable_message_of_unacked_is_told(run, client):
    """And so is one whose expiration is none."""
    for tag, value in enumerate(["5", "[]", '["a"]', "not JSON"]):
        client.hset("unacked", str(tag), value)
        client.zadd("unacked_index", {str(tag): 1})
    message = {"headers": {"task": "t", "id": "i"}, "properties": {"expiration": "inf"}, "body": ""}
    client.lpush("mail", json.dumps(message))
    lines = run("mail", "tasks", "--unacked", "--yes", "--format", "kombu").lines
    assert lines[:2] == ["moved 0 to tasks", "left 5 in Celery"]
    assert lines[2].startswith("  1: its message can't be read (i)")
    assert lines[3].startswith("  4: it is not a message that a worker of Celery has fetched")
    assert client.hlen("unacked") == 4 and client.llen("mail") == 1


def test_celerys_transport_on_taskslot_finds_the_messages_that_were_kept(app, run, server):
    """In the key of that transport. It reads headers, arguments and what comes after the task."""
    sent = app.send_task("shop.send", ("bob",), {"subject": "hi"}, link=app.signature("shop.log"))
    run("mail", "{celery}:mail", "--format", "kombu")
    with Connection(f"taskslot://127.0.0.1:{server.port}/0") as connection:
        message = connection.default_channel.basic_get("mail")
        assert (message.headers["task"], message.headers["id"]) == ("shop.send", sent.id)
        args, kwargs, after = message.payload
        assert (args, kwargs, after["callbacks"][0]["task"]) == (["bob"], {"subject": "hi"}, "shop.log")
        message.ack()
        assert connection.default_channel.basic_get("mail") is None
