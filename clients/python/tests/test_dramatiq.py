"""The Dramatiq broker: messages are taskslot's tasks, with its delays, leases and dead letters."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import dramatiq
import dramatiq.worker
import pytest
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import ConnectionClosed, QueueJoinTimeout, QueueNotFound
from dramatiq.middleware import default_middleware
from dramatiq.results import ResultFailure, Results
from dramatiq.results.backends import RedisBackend
from harness.programs import OF_THIS_TREE
from harness.server import wait_until
from harness.worker_thread import Gate
from taskslot import Paused
from taskslot.integrations.dramatiq import TaskslotBroker

HERE = Path(__file__).parent
LEASE_MS, THIRD_MS = 60_000, 25_000


@pytest.fixture
def server(start):
    """A server whose clock is turned by the test, and whose tasks survive a kill."""
    return start(port=True, clock=True, appendonly="yes", appendfsync="always")


@pytest.fixture
def broker(client):
    """A broker with Dramatiq's usual middleware."""
    broker = TaskslotBroker(client)
    yield broker
    broker.close()


@contextmanager
def working(broker, threads=2):
    """A Dramatiq worker that runs during the block."""
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=threads)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def actor(broker, function, **options):
    """The function as an actor of this broker."""
    return dramatiq.actor(function, broker=broker, **options)


def queue_of(broker):
    """The taskslot queue of Dramatiq's queue `default`."""
    return broker.queues["default"]


def states(broker):
    """How many messages are ready, delayed, leased and dead."""
    return [queue_of(broker).len(state) for state in ("ready", "delayed", "leased", "dead")]


# ---- messages


@pytest.mark.parametrize("options", [{}, {"shards": 3}, {"shards": {"default": 2}}], ids=str)
def test_actors_run_for_each_message(client, options):
    """Also with shards. Nothing is left behind."""
    broker, seen = TaskslotBroker(client, **options), []
    add = actor(broker, lambda number: seen.append(number), actor_name="add")
    with working(broker, threads=4):
        for number in range(50):
            add.send(number)
        broker.join("default", timeout=20_000)
    assert sorted(seen) == list(range(50))
    assert len(queue_of(broker).keys) == {"{}": 1, "{'shards': 3}": 3}.get(str(options), 2)
    broker.close()


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_a_broker_takes_a_url(server, scheme):
    """The client is that of the scheme."""
    broker = TaskslotBroker(f"{scheme}://127.0.0.1:{server.port}")
    done = []
    run = actor(broker, lambda: done.append(1), actor_name="run")
    with working(broker):
        run.send()
        broker.join("default", timeout=20_000)
    assert done == [1]
    assert type(broker.client).__module__.partition(".")[0] == scheme
    broker.close()
    assert not server.client().client_list(_type="normal")[1:]  # only the one that asks


def test_results_are_those_of_dramatiq(broker, client):
    """The results middleware works as with other brokers, for values and for failures."""
    broker.add_middleware(Results(backend=RedisBackend(client=client)))
    half = actor(
        broker,
        lambda number: number // (number % 2 == 0),
        actor_name="half",
        max_retries=0,
        store_results=True,
    )
    with working(broker):
        assert half.send(8).get_result(backend=broker.get_results_backend(), block=True) == 8
        with pytest.raises(ResultFailure, match="ZeroDivisionError"):
            half.send(7).get_result(backend=broker.get_results_backend(), block=True)


def test_a_failed_message_is_retried_and_then_a_dead_letter(broker, server):
    """Retries are Dramatiq's, their delays the server's. A dead letter has its error, and can be brought back."""
    seen = []

    def fails():
        seen.append(queue_of(broker).len("delayed"))
        if len(seen) <= 2:
            raise ValueError(f"no {len(seen)}")

    message = actor(broker, fails, max_retries=1, min_backoff=30_000, max_backoff=60_000).send()
    with working(broker):
        wait_until(lambda: states(broker) == [0, 1, 0, 0], "the retry waits in the server")
        server.clock.passes(60_000)
        wait_until(lambda: states(broker) == [0, 0, 0, 1], "it is a dead letter")
        [dead] = queue_of(broker).tasks("dead", payloads=True)
        what, first, where = dead.error.splitlines()[:3]
        assert what == "ValueError: no 2" and first.startswith("Traceback") and where.endswith(", in fails")
        assert dramatiq.Message.decode(dead.payload).message_id == message.message_id
        assert broker.get_queue_message_counts("default") == (0, 0, 1)
        assert queue_of(broker).retry_dead() == 1
        broker.join("default", timeout=20_000)
    assert len(seen) == 3 and states(broker) == [0, 0, 0, 0]


def test_a_retry_that_cannot_be_pushed_does_not_lose_the_message(broker):
    """Dramatiq would finish the message: its middleware's errors are only logged."""
    seen = []

    def fails_once():
        seen.append(1)
        if len(seen) == 1:
            queue_of(broker).pause("in")
            raise ValueError("once")

    once = actor(broker, fails_once, max_retries=3, min_backoff=100, max_backoff=100)
    once.send()
    with working(broker):
        wait_until(lambda: len(seen) == 2, "the message came again")
        broker.join("default", timeout=20_000)
        with pytest.raises(Paused):
            once.send()
    assert states(broker) == [0, 0, 0, 0]


def test_a_delayed_message_waits_in_the_server(broker, server):
    """It survives a kill of the server and needs no worker. Then it runs once."""
    seen = []
    late = actor(broker, lambda: seen.append(1), actor_name="late")
    sent = late.send_with_options(delay=600_000)
    assert sent.options["eta"] > sent.message_timestamp
    server.restart(kill=True)
    with working(broker):
        wait_until(lambda: queue_of(broker).info().blocked_workers, "the worker waits")
        assert states(broker) == [0, 1, 0, 0] and not seen
        server.clock.passes(600_000)
        broker.join("default", timeout=20_000)
    assert seen == [1]


def test_a_message_that_waits_can_be_cancelled(broker):
    """By itself or by its id, ready, delayed, and as a retry. Not after a worker has claimed it."""
    run = actor(broker, lambda: None, actor_name="run")
    ready, delayed = run.send(), run.send_with_options(delay=60_000)
    assert broker.cancel(ready.message_id) and broker.cancel(delayed)
    assert not any(map(broker.cancel, (ready, "unknown", "x" * 300, "")))
    assert states(broker) == [0, 0, 0, 0]

    retried = actor(broker, lambda: 1 / 0, actor_name="fails", min_backoff=60_000).send()
    with working(broker):
        wait_until(lambda: states(broker) == [0, 1, 0, 0], "the retry waits")
        assert broker.cancel(retried)
    with Gate() as gate:
        begun = actor(broker, gate.enter, actor_name="begun").send()
        with working(broker):
            gate.inside()
            assert not broker.cancel(begun)
            gate.open()
            broker.join("default", timeout=20_000)


def test_a_message_that_is_enqueued_twice_runs_twice(broker):
    """As with other brokers. Only one of the two has its id in the server."""
    seen = []
    message = actor(broker, lambda: seen.append(1), actor_name="run").message()
    broker.enqueue(message)
    broker.enqueue(message)
    queue_of(broker).configure(tokens_max=1)
    broker.enqueue(message.copy(message_id="another"))  # one more than the server remembers by their ids
    with working(broker):
        broker.join("default", timeout=20_000)
    assert len(seen) == 3


def test_priorities_are_the_servers(broker):
    """Dramatiq's lowest goes first; `broker_priority` is RabbitMQ's, where the highest does."""
    urgent, usual, later = (
        actor(broker, lambda: None, actor_name=name, priority=priority)
        for name, priority in [("urgent", -5), ("usual", 0), ("later", 1000)]
    )
    for one in (later, usual, urgent):
        one.send()
    usual.send_with_options(broker_priority=9)
    found = [
        (dramatiq.Message.decode(task.payload).actor_name, task.priority)
        for task in queue_of(broker).tasks("ready", payloads=True)
    ]
    assert found == [("usual", 9), ("urgent", 5), ("usual", 0), ("later", -128)]


def test_old_messages_are_dropped_by_workers_or_by_the_server(client, server):
    """By workers they become dead letters; with `drops_old` the server removes them, at the same age."""
    for drops_old in (False, True):
        broker = TaskslotBroker(client, drops_old=drops_old, namespace=str(drops_old))
        run = actor(broker, lambda: 1 / 0, actor_name="run", max_age=50, max_retries=0)
        message = run.message()
        old = message.copy(message_timestamp=message.message_timestamp - 100)
        broker.enqueue(old)
        broker.enqueue(old, delay=60_000)
        server.clock.passes(60_100)
        if not drops_old:
            with working(broker):
                broker.join("default", timeout=20_000)
            errors = [task.error for task in queue_of(broker).tasks("dead")]
            assert errors == ["SkipMessage: Message age limit exceeded"] * 2
        else:
            wait_until(lambda: queue_of(broker).info().expired == 2, "they have expired")  # noqa: B023
        broker.close()


def test_the_server_drops_a_delayed_message_at_its_max_age(client):
    """Which counts from its first push, not from when it is due."""
    broker = TaskslotBroker(client, drops_old=True)
    actor(broker, lambda: None, actor_name="run", max_age=30_000).send_with_options(delay=20_000)
    [task] = queue_of(broker).tasks("delayed")
    assert 0 < task.ttl_ms <= 10_000
    broker.close()


# ---- workers and servers that die


def test_a_message_that_takes_longer_than_its_lease_runs_once(broker, server, worker_clock):
    """Its lease is extended, and so are those of the messages that wait in the worker."""
    with Gate() as gate:
        run = actor(broker, gate.enter, actor_name="run")
        run.send()
        run.send()
        with working(broker, threads=1):
            gate.inside()
            wait_until(lambda: states(broker) == [0, 0, 2, 0], "both are claimed")
            handles = {task.id: task.deadline for task in queue_of(broker).tasks("leased")}
            for _ in range(6):
                server.clock.passes(THIRD_MS)
                worker_clock.passes_for(THIRD_MS, broker._holdings._keeper._leases)
                wait_until(lambda: extended(broker, handles), "the leases are extended")
            gate.open()
            broker.join("default", timeout=20_000)
    assert queue_of(broker).info().stalled == 0 and queue_of(broker).info().claimed == 2
    assert len(broker._holdings._keeper) == 0


def extended(broker, deadlines):
    """Whether all leases have later deadlines, which are remembered."""
    now = {task.id: task.deadline for task in queue_of(broker).tasks("leased")}
    if any(now[name] <= deadline for name, deadline in deadlines.items()):
        return False
    deadlines.update(now)
    return True


@pytest.mark.slow
def test_the_messages_of_a_killed_worker_come_back(server, client):
    """`dramatiq` is killed with all its processes in mid-task. The next one gets the message when the lease ends."""
    command = [sys.executable, "-m", "dramatiq", "dramatiq_program", "--processes", "1", "--threads", "1"]
    environment = {**os.environ, "PORT": str(server.port), **OF_THIS_TREE}
    started = []

    def start_dramatiq():
        started.append(subprocess.Popen(command, cwd=HERE, env=environment, start_new_session=True))

    broker = TaskslotBroker(client)
    waits = actor(broker, lambda: None, actor_name="waits")
    try:
        start_dramatiq()
        waits.send()
        wait_until(lambda: client.get("came") == b"1", "it has begun")
        os.killpg(started[0].pid, signal.SIGKILL)
        started[0].wait()
        server.clock.passes(LEASE_MS)
        start_dramatiq()
        wait_until(lambda: client.get("came") == b"2", "it began again")
        client.set("go", 1)
        broker.join("default", timeout=20_000)
        assert client.get("went") == b"1"
        started[1].terminate()
        assert started[1].wait(20) == 0
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        broker.close()


def test_a_stopped_worker_gives_back_what_it_has_not_begun(broker):
    """At once, for the next worker."""
    with Gate() as gate:
        run = actor(broker, gate.enter, actor_name="run")
        for _ in range(5):
            run.send()
        with working(broker, threads=1) as worker:
            gate.inside()
            wait_until(lambda: states(broker) == [3, 0, 2, 0], "the worker has its two")
            worker.workers[0].stop()
            gate.open()
    assert states(broker) == [4, 0, 0, 0]
    assert len(broker._holdings._keeper) == 0


@pytest.mark.slow
def test_a_worker_outlives_a_server_that_is_away(client, server, monkeypatch):
    """The message in its hands is finished when the server is back, and others are worked on: each ran once."""
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.05)
    monkeypatch.setattr(dramatiq.worker, "POST_PROCESS_MESSAGE_RETRY_DELAY_SECS", 0.05)
    broker, seen = TaskslotBroker(client, patience_ms=50), []
    with Gate() as gate:
        slow = actor(broker, lambda: (gate.enter(), seen.append("slow")), actor_name="slow")
        quick = actor(broker, lambda: seen.append("quick"), actor_name="quick")
        slow.send()
        quick.send_with_options(delay=60_000)
        with working(broker) as worker:
            gate.inside()
            consumer = worker.consumers["default"].consumer
            server.kill9()
            gate.open()
            wait_until(
                lambda: worker.consumers["default"].consumer is not consumer, "the consumer is a new one"
            )
            with pytest.raises(ConnectionClosed):
                quick.send()
            server.start()
            server.clock.passes(60_000)
            wait_until(lambda: states(broker) == [0, 0, 0, 0], "all is done")
    assert sorted(seen) == ["quick", "slow"]
    broker.close()


def test_a_claim_whose_reply_is_lost_is_sent_again(broker, monkeypatch):
    """The next consumer gets its messages at once, not when their leases end."""
    run = actor(broker, lambda: None, actor_name="run")
    run.send()
    consumer, claim = broker.consume("default", timeout=50), queue_of(broker).claim

    def lose(*args, **options):
        claim(*args, **options)
        raise redis.ConnectionError("lost")

    monkeypatch.setattr(queue_of(broker), "claim", lose)
    with pytest.raises(ConnectionClosed):
        next(consumer)
    consumer.close()
    monkeypatch.undo()
    again = broker.consume("default", timeout=50)
    message = next(again)
    assert message.actor_name == "run" and message.task.deliveries == 1
    again.ack(message)
    assert states(broker) == [0, 0, 0, 0]


def test_workers_of_one_process_share_a_queue(broker):
    """Each message goes to one of them."""
    seen = []
    run = actor(broker, lambda number: seen.append(number), actor_name="run")
    with working(broker), working(broker):
        for number in range(200):
            run.send(number)
        broker.join("default", timeout=20_000)
    assert sorted(seen) == list(range(200))


def test_a_payload_that_is_no_message_becomes_dead(broker):
    """The worker goes on with the next one."""
    seen = []
    run = actor(broker, lambda: seen.append(1), actor_name="run")
    queue_of(broker).push("not a message")
    run.send()
    with working(broker):
        broker.join("default", timeout=20_000)
    [dead] = queue_of(broker).tasks("dead")
    assert seen == [1] and "failed to decode message 'not a message'" in dead.error


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"actor_name": [1]}, "the field actor_name can't be [1]"),
        ({"message_id": [1]}, "the field message_id can't be [1]"),
        ({"options": None}, "the field options can't be None"),
        ({"kwargs": "x"}, "the field kwargs can't be 'x'"),
        ({"args": "abc"}, "the field args can't be 'abc'"),
        ({"queue_name": "nosuch", "options": {"eta": 1}}, "but its queue_name is 'nosuch'"),
        ({"options": {"eta": float("inf")}}, "its eta must be a number of ms, not inf"),
        ({"more": 1}, "unexpected keyword argument 'more'"),
    ],
    ids=str,
)
def test_a_message_with_a_field_of_a_wrong_type_is_dead_and_those_claimed_with_it_run(
    broker, fields, expected
):
    """Dramatiq checks none of them: such a message would be held for ever, or stop the consumer."""
    seen = []
    run = actor(broker, lambda number: seen.append(number), actor_name="run")
    good = run.message(0).asdict()
    run.send(1)
    queue_of(broker).push(json.dumps({**good, **fields}))
    run.send(2)
    with working(broker):
        broker.join("default", timeout=20_000)
    [dead] = queue_of(broker).tasks("dead")
    assert sorted(seen) == [1, 2] and expected in dead.error
    assert queue_of(broker).info().stalled == 0


def test_a_message_nested_too_deep_is_dead(broker):
    """Its error is one that JSON's decoder does not name."""
    actor(broker, lambda: None, actor_name="run")
    queue_of(broker).push("[" * 100_000)
    with working(broker):
        broker.join("default", timeout=20_000)
    [dead] = queue_of(broker).tasks("dead")
    assert dead.error.startswith("RecursionError")


def test_a_lost_lease_is_not_an_error_of_the_worker(broker, server):
    """A message that another worker has got meanwhile is dropped by the first."""
    run = actor(broker, lambda: None, actor_name="run")
    run.send()
    first, second = broker.consume("default", timeout=50), broker.consume("default", timeout=50)
    stale = next(first)
    broker._holdings.let_go([stale])
    server.clock.passes(LEASE_MS)
    wait_until(lambda: queue_of(broker).info().stalled, "the lease has ended")
    server.clock.passes(LEASE_MS)  # at least the backoff
    fresh = next(second)
    first.ack(stale)
    assert states(broker) == [0, 0, 1, 0]
    second.nack(fresh)
    assert states(broker) == [0, 0, 0, 1]


# ---- queues


@pytest.mark.parametrize("name", ["a b", "ü\0\n", "{", "{x}", "default.DQ", "*", "x" * 2000, "0"])
def test_any_name_of_a_queue_works(broker, name):
    """Names that other brokers or patterns would take for something else."""
    seen = []
    actor(broker, lambda: seen.append(1), actor_name="run")
    broker.declare_queue(name)
    with working(broker):
        broker.enqueue(dramatiq.Message(name, "run", (), {}, {}))
        broker.join(name, timeout=20_000)
    assert seen == [1]


def test_queues_live_beside_those_of_the_redis_broker(broker, client):
    """Dramatiq's own broker has lists and hashes with the same prefix. So a program can use both while it moves."""
    theirs, seen = RedisBroker(client=client), []
    for one in (broker, theirs):
        actor(one, lambda: seen.append(1), actor_name="run").send()
    for one in (broker, theirs):
        with working(one):
            one.join("default", timeout=20_000)
    assert seen == [1, 1]


def test_a_queue_must_be_declared(broker):
    """A misspelt name is an error at once."""
    for call in (broker.consume, broker.join, broker.flush, broker.get_queue_message_counts):
        with pytest.raises(QueueNotFound):
            call("defualt")
    with pytest.raises(QueueNotFound):
        broker.enqueue(dramatiq.Message("defualt", "run", (), {}, {}))
    assert broker.get_declared_queues() == set() == broker.get_declared_delay_queues()


def test_flushed_queues_are_empty(broker):
    """Whatever the state of their messages, except for those that are worked on."""
    run = actor(broker, lambda: None, actor_name="run")
    for delay in (None, 60_000):
        for _ in range(600):
            run.send_with_options(delay=delay)
    consumer = broker.consume("default", timeout=50)
    consumer.nack(next(consumer))
    with pytest.raises(QueueJoinTimeout):
        broker.join("default", timeout=1)
    broker.flush_all()
    broker.join("default", timeout=1)
    assert states(broker) == [0, 0, 0, 0]


def test_a_consumer_holds_as_many_messages_as_it_may(broker):
    """Those that the worker has not answered count."""
    run = actor(broker, lambda: None, actor_name="run")
    for _ in range(5):
        run.send()
    consumer = broker.consume("default", prefetch=2, timeout=1)
    first, second = next(consumer), next(consumer)
    assert next(consumer) is None and states(broker) == [3, 0, 2, 0]
    consumer.ack(first)
    assert next(consumer) is not None
    consumer.requeue([second])
    assert next(consumer).task.id == second.task.id  # in its old position


def test_messages_of_the_consumer_before_make_no_room(broker):
    """After a reconnect the new consumer answers them, too. It still holds as many as it may, and no more."""
    run = actor(broker, lambda: None, actor_name="run")
    for _ in range(6):
        run.send()
    first, second = (broker.consume("default", prefetch=2, timeout=1) for _ in range(2))
    before = [next(first), next(first)]
    assert next(second) is not None and next(second) is not None
    for message in before:
        second.ack(message)
    assert next(second) is None and states(broker) == [2, 0, 2, 0]


def test_a_server_that_accepts_no_writes_is_waited_for(broker, client):
    """It lacks replicas, for example. Answers stay to be given, as while the server is away, and so do claims."""
    run = actor(broker, lambda: None, actor_name="run")
    for _ in range(3):
        run.send()
    consumer = broker.consume("default", prefetch=2, timeout=50)
    done, failed = next(consumer), next(consumer)
    client.config_set("min-replicas-to-write", 1)
    for call in (
        lambda: consumer.ack(done),
        lambda: consumer.nack(failed),
        lambda: consumer.requeue([]) or next(broker.consume("default", timeout=50)),
        run.send,
    ):
        with pytest.raises(ConnectionClosed, match="NOREPLICAS"):
            call()
    assert len(broker._holdings._keeper) == 2  # the leases are still extended
    client.config_set("min-replicas-to-write", 0)
    consumer.ack(done)
    consumer.nack(failed)
    assert states(broker) == [1, 0, 0, 1] and len(broker._holdings._keeper) == 0


def test_a_full_consumer_waits_until_a_message_is_answered(broker):
    """Then it claims the next one at once. So a worker that is busy doesn't ask in vain."""
    run = actor(broker, lambda: None, actor_name="run")
    first, second = run.send(), run.send()
    consumer, found = broker.consume("default", timeout=20_000), []
    held = next(consumer)
    thread = threading.Thread(target=lambda: found.append(next(consumer)))
    thread.start()
    wait_until(lambda: consumer._answered._waiters, "it waits")
    consumer.ack(held)
    thread.join(20)
    assert (held, *found) == (first, second)


def test_one_keeper_extends_all_leases(broker):
    """It stays while the process holds no message, and ends with the broker."""
    run = actor(broker, lambda: None, actor_name="run")
    consumer, keepers = broker.consume("default", timeout=50), set()
    for _ in range(3):
        run.send()
        consumer.ack(next(consumer))
        keepers.add(broker._holdings._keeper)
    broker.close()
    [keeper] = keepers
    with pytest.raises(RuntimeError, match="the LeaseKeeper is closed"):
        keeper.add(queue_of(broker), None)


def test_a_bad_lease_or_url_is_refused(client):
    """One that a worker could not extend in time. So is a URL that no client reads."""
    with pytest.raises(ValueError, match="lease_ms must be from 1000 to 86400000, not 30"):
        TaskslotBroker(client, lease_ms=30)
    with pytest.raises(ValueError, match="a URL of a server begins with redis://"):
        TaskslotBroker("amqp://127.0.0.1")


def test_the_usual_middleware_is_dramatiqs(broker):
    """Nothing is added and nothing is left out."""
    assert [type(one) for one in broker.middleware] == default_middleware
