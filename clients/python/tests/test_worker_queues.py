"""A worker of several queues: which it prefers, how it waits, and that none of them holds up another."""

import os
import signal
import subprocess
import sys
import time

import pytest
import redis
import taskslot
from harness.programs import OF_THIS_TREE
from harness.server import PATIENCE_S, wait_until
from harness.worker_thread import Gate, WorkerThread
from taskslot import AsyncQueue, Queue, ShardedQueue, Task, Worker
from taskslot.worker.places import Places
from taskslot.worker.polling import WAITS_MS, Polling
from taskslot.worker.sources import sources_of


def calls(client, name):
    """The number of calls of a command on the server."""
    stats = {one.upper(): figures["calls"] for one, figures in client.info("commandstats").items()}
    return stats.get(f"CMDSTAT_{name}", 0)


def pair_of(client):
    """Two queues on one server, from which one command claims."""
    return [Queue(client, "critical"), Queue(client, "default")]


def mixed_of(client):
    """Two queues from which no single command claims."""
    return [ShardedQueue(client, "critical", shards=2), Queue(client, "default")]


@pytest.fixture
def pair(client):
    """Two queues on one server, from which one command claims."""
    return pair_of(client)


@pytest.fixture
def mixed(client):
    """Two queues from which no single command claims."""
    return mixed_of(client)


@pytest.mark.parametrize("kind", [pair_of, mixed_of])
def test_the_queue_that_is_named_first_is_preferred(client, kind):
    """While it has tasks, no task of the other is claimed."""
    critical, default = kind(client)
    order = []
    worker = Worker([critical, default], concurrency=1)
    task = worker.task("f", retain_ms=0)(order.append)
    for number in range(5):
        default.push(task.call(f"default {number}"))
        critical.push(task.call("critical"))
    with WorkerThread(worker):
        wait_until(lambda: len(order) == 10, "all are done")
    assert order == ["critical"] * 5 + [f"default {number}" for number in range(5)]


@pytest.mark.parametrize("kind", [pair_of, mixed_of])
def test_an_empty_queue_holds_up_no_other(client, kind):
    """Tasks of the last queue are done one after the other while the first stays empty, and the other way round."""
    critical, default = kind(client)
    worker = Worker([critical, default], concurrency=2)
    task = worker.task("f", retain_ms=60_000)(lambda number: number)
    with WorkerThread(worker):
        for queue in (default, critical):
            for number in range(5):
                done = queue.result(queue.push(task.call(number)), block_ms=PATIENCE_S * 1000)
                assert done.value == b"%d" % number


@pytest.mark.parametrize("kind", [pair_of, mixed_of])
def test_free_places_are_filled_from_several_queues(client, kind):
    """A task of the first does not keep those of the other from running beside it."""
    critical, default = kind(client)
    with Gate() as gate:
        worker = Worker([critical, default], concurrency=4)
        task = worker.task("f")(gate.enter)
        critical.push(task.call("critical"))
        default.push_many([task.call("default")] * 8)
        with WorkerThread(worker):
            assert sorted(gate.inside() for _ in range(4)) == ["critical", "default", "default", "default"]
            gate.open()
            wait_until(lambda: (critical.info().acked, default.info().acked) == (1, 8), "the rest follows")


def test_queues_of_one_server_are_claimed_from_with_one_command(pair, client):
    """Answers for tasks of both go with the next claim."""
    worker = Worker(pair, concurrency=10)
    task = worker.task("f", retain_ms=0)(lambda: None)
    for queue in pair:
        queue.pause()
        queue.push_many([task.call()] * 500)
        queue.resume()
    with WorkerThread(worker):
        wait_until(lambda: [queue.info().acked for queue in pair] == [500, 500], "all are done")
    assert calls(client, "TASK.CLAIM") == calls(client, "TASK.NEXT") == 0
    assert calls(client, "TASK.MCLAIM") < 300 and calls(client, "TASK.ACK") < 300


def test_outcomes_and_leases_belong_to_the_queue_of_the_task(client):
    """A failure, a heartbeat and a task that is given back each reach the task's own queue."""
    queues = [
        Queue(client, "critical"),
        ShardedQueue(client, "default", shards=2),
        Queue(client, "last"),
    ]
    with Gate() as gate:
        worker = Worker(queues, concurrency=6, grace_ms=0, lease_ms=300)

        @worker.task("fails")
        def fails():
            raise taskslot.Fail("no", dead=True)

        task = worker.task("waits")(gate.enter)
        failed = [queue.push(fails.call()) for queue in queues]
        running = [queue.push(task.call()) for queue in queues]
        with WorkerThread(worker):
            for _ in queues:
                gate.inside()
            first = [queue.get(one).deadline for queue, one in zip(queues, running, strict=True)]
            pairs = list(zip(queues, failed, running, first, strict=True))
            wait_until(lambda: all(q.get(dead).state == "dead" for q, dead, *_ in pairs), "they failed")
            wait_until(lambda: all(q.get(one).deadline > at for q, _, one, at in pairs), "they are extended")
        assert [queue.get(one).state for queue, one in zip(queues, running, strict=True)] == ["ready"] * 3
        gate.open()


# ---- servers that are away


def test_a_server_that_hangs_does_not_hold_up_the_queue_of_another(start):
    """Tasks of the other are done meanwhile. When it is back, its own tasks are done too."""
    first, second = start(port=True), start(port=True)
    with redis.Redis(port=first.port) as one, redis.Redis(port=second.port) as other:
        critical, default = Queue(one, "critical"), Queue(other, "default")
        worker = Worker([critical, default], concurrency=2)
        task = worker.task("f", retain_ms=60_000)(lambda: None)
        with WorkerThread(worker):
            critical.result(critical.push(task.call()), block_ms=PATIENCE_S * 1000)
            waits = critical.push(task.call(), delay_ms=500)
            first.freeze()
            for _ in range(3):
                assert default.result(default.push(task.call()), block_ms=PATIENCE_S * 1000).state == "done"
            first.thaw()
            assert critical.result(waits, block_ms=PATIENCE_S * 1000).state == "done"


class Fake:
    """A source that replies as a test says: with lists of tasks, or exceptions."""

    name = "fake"

    def __init__(self, queue):
        self.queue = queue
        self.says = []
        self.asked = []

    def apart(self, patience_ms):
        """Replaces the source's method."""
        return self

    def look(self, count, wait_ms, request, options):
        """Replaces the source's method."""
        self.asked.append((count, wait_ms, request))
        said = self.says.pop(0) if self.says else []
        if isinstance(said, Exception):
            raise said
        return said


@pytest.fixture
def fakes(queue):
    """Two sources and the polling of them."""
    sources = [Fake(queue), Fake(queue)]
    return *sources, Polling(sources, Places(8, together=False))


def tasks(number):
    """Some tasks."""
    return [Task("mail", f"{n}-0@1-a", b"", 1) for n in range(number)]


def test_a_source_with_enough_tasks_is_the_only_one_that_is_asked(fakes):
    """If it has fewer, the next one is asked for the rest."""
    first, second, polling = fakes
    first.says = [tasks(4), tasks(1)]
    assert len(polling.claim(4, {}).tasks) == 4
    assert not second.asked
    second.says = [tasks(3)]
    assert len(polling.claim(4, {}).tasks) == 4
    assert second.asked[0][0] == 3


def test_an_idle_worker_looks_less_and_less_often(fakes):
    """It waits in the first source. A task makes the next waits short again."""
    first, second, polling = fakes
    for _ in range(30):
        polling.claim(1, {})
    waits = [wait_ms for _, wait_ms, _ in first.asked if wait_ms is not None]
    assert len(waits) == 30 and waits[0] <= WAITS_MS[0] and waits[-1] >= 0.8 * WAITS_MS[1]
    assert {wait_ms for _, wait_ms, _ in second.asked} == {None}
    second.says = [tasks(1)]
    assert polling.claim(1, {}).tasks
    polling.claim(1, {})
    assert first.asked[-1][1] <= WAITS_MS[0]


def test_a_claim_without_a_reply_is_sent_again_with_its_token(fakes):
    """Its leases count from the first copy, because that one may have been executed."""
    first, second, polling = fakes
    first.says = [redis.ConnectionError("gone")]
    second.says = [tasks(1)]
    begin = time.monotonic()
    polling.claim(4, {})
    request, asked_at = first.asked[0][2], polling._polled[0].asked_at
    assert polling.claim(4, {}).tasks == [] and len(first.asked) == 1  # it rests for a while
    wait_until(lambda: polling._is_there(polling._polled[0]), "it is asked again")
    first.says = [tasks(3)]
    found = polling.claim(2, {})
    assert first.asked[1][2] == request and begin <= found.asked_at == asked_at
    assert len(found.tasks) == 3  # one more than there are places: the worker gives it back
    polling.claim(2, {})
    assert first.asked[2][2] != request


def test_tasks_without_a_place_are_given_back(mixed, monkeypatch):
    """A claim whose reply was lost can bring more tasks than there are places by then."""
    claim = Polling.claim
    monkeypatch.setattr(Polling, "claim", lambda self, count, options: claim(self, 4, options))
    with Gate() as gate:
        worker = Worker(mixed, concurrency=2)
        mixed[1].push_many([worker.task("f")(gate.enter).call()] * 4)
        with WorkerThread(worker):
            gate.inside()
            wait_until(lambda: mixed[1].info().requeued == 2, "two are given back")
            assert mixed[1].info().leased == 2
            gate.open()


def is_done(queue, task):
    """Whether a task is done within a while."""
    return queue.result(task, block_ms=20_000).value == b"7"


@pytest.mark.parametrize("kind", [pair_of, mixed_of])
def test_a_queue_that_the_server_refuses_holds_up_no_other(client, kind, caplog):
    """The worker logs it once, goes on with the others, and looks again now and then."""
    critical, default = kind(client)
    client.set("default", "no queue")
    worker = Worker([critical, default], concurrency=4)
    task = worker.task("f", retain_ms=60_000)(lambda: 7)
    pushed = [critical.push(task.call()) for _ in range(3)]
    with WorkerThread(worker):
        assert all(is_done(critical, one) for one in pushed)
        wait_until(lambda: "claims of default are refused" in caplog.text, "it is logged")
        polled = next(one for one in worker._runner._claimer.claims._polled if one.source.name == "default")
        until = polled.away_until
        wait_until(lambda: polled.away_until > until, "it is asked again")
        client.delete("default")
        assert is_done(default, default.push(task.call()))
        assert is_done(critical, critical.push(task.call()))
        assert caplog.text.count("refused, trying again now and then: WrongType") == 1
        wait_until(lambda: "claims of default are accepted again" in caplog.text, "and that, too")


def test_a_worker_claims_only_from_queues_that_it_may(pair, client, server):
    """Its user lacks the right to a key."""
    client.acl_setuser("some", enabled=True, nopass=True, categories=["+@all"], keys=["critical"])
    with redis.Redis(port=server.port, username="some", password="any") as limited:
        worker = Worker(pair_of(limited), concurrency=1)
        task = worker.task("f", retain_ms=60_000)(lambda: 7)
        with WorkerThread(worker):
            assert is_done(pair[0], pair[0].push(task.call()))
    client.acl_deluser("some")


@pytest.mark.parametrize("kind", [pair_of, mixed_of])
def test_a_worker_ends_if_all_its_queues_are_refused(client, kind):
    """Running tasks are done first."""
    critical, default = kind(client)
    with Gate() as gate:
        worker = Worker([critical, default], concurrency=4)
        default.push(worker.task("f")(gate.enter).call())
        with WorkerThread(worker) as run:
            gate.inside()
            client.rename("default", "kept")
            for key in [*critical.keys, "default"]:
                client.set(key, "no queue")
            wait_until(lambda: worker._runner._places.is_stopping(), "the worker stops")
            client.rename("kept", "default")
            gate.open()
            run.ended()
    assert isinstance(run.error, taskslot.WrongType)
    assert default.info().acked == 1


# ---- which queues


def test_neighbours_of_one_client_are_one_source(client, server):
    """A sharded queue and a queue of another client are sources of their own; the order is kept."""
    with redis.Redis(port=server.port) as other:
        queues = [
            Queue(client, "a"),
            Queue(client, "b"),
            ShardedQueue(client, "c", shards=2),
            Queue(client, "d"),
            Queue(other, "e"),
        ]
        assert [source.name for source in sources_of(queues)] == ["a, b", "c", "d", "e"]
    many = sources_of([Queue(client, f"q{number}") for number in range(102)])
    assert [len(source.keys) for source in many] == [101, 1]


def test_queues_that_a_worker_cannot_take_are_refused(client, mixed):
    """Each error says what is wrong."""
    with pytest.raises(ValueError, match="at least one queue"):
        Worker([])
    with pytest.raises(ValueError, match="the queue a is given twice"):
        Worker([Queue(client, "a"), Queue(client, "b"), Queue(client, "a")])
    with pytest.raises(TypeError, match="not AsyncQueue"):
        Worker([Queue(client, "a"), AsyncQueue(redis.asyncio.Redis(), "b")])
    with pytest.raises(TypeError, match="not str"):
        Worker("mail")
    for queues in (mixed, mixed[0]):
        with pytest.raises(ValueError, match="tied needs queues that one command can claim from"):
            Worker(queues, tied=True)


# ---- tied leases

TIED = """
import os, sys, redis, taskslot
client = redis.Redis(port=int(sys.argv[1]))
queues = [taskslot.Queue(client, name) for name in sys.argv[2:]]
worker = taskslot.Worker(queues, concurrency=2, lease_ms=600_000, tied=True)

@worker.task("waits")
def waits():
    client.incr("came")
    while client.get("go") is None:
        taskslot.current().wait(0.01)

worker.run()
"""


@pytest.mark.parametrize("names", [["critical"], ["critical", "default"]])
def test_the_tied_tasks_of_a_killed_worker_are_ready_at_once(server, client, names):
    """Their leases would last for ten minutes. Heartbeats and answers don't untie them."""
    queues = [Queue(client, name) for name in names]
    env = {**os.environ, **OF_THIS_TREE}
    with subprocess.Popen([sys.executable, "-c", TIED, str(server.port), *names], env=env) as program:
        try:
            ids = [queue.push(taskslot.call("waits")) for queue in queues]
            wait_until(lambda: int(client.get("came") or 0) == len(names), "they run")
            program.send_signal(signal.SIGKILL)
            program.wait()
            wait_until(
                lambda: all(q.get(one).state == "ready" for q, one in zip(queues, ids, strict=True)), "ready"
            )
        finally:
            program.kill()
    assert [queue.get(one).stalls for queue, one in zip(queues, ids, strict=True)] == [1] * len(names)


def test_a_tied_worker_claims_on_one_connection(pair, client):
    """It is used for nothing else while the worker runs, and is closed at its end."""
    with Gate() as gate:
        worker = Worker(pair, concurrency=2, tied=True)
        task = worker.task("f", retain_ms=0)(lambda waits: gate.enter() if waits else None)
        with WorkerThread(worker):
            for queue in pair:
                queue.push(task.call(True))
                queue.push_many([task.call(False)] * 20)
            gate.inside()
            gate.inside()
            claimed = [one for one in client.client_list() if one["cmd"].lower().startswith("task.mclaim")]
            assert len(claimed) == 1
            gate.open()
            wait_until(lambda: [queue.info().acked for queue in pair] == [21, 21], "all are done")
            wait_until(lambda: any(one["id"] == claimed[0]["id"] for one in client.client_list()), "open")
    assert all(one["id"] != claimed[0]["id"] for one in client.client_list())
    assert [queue.info().stalled for queue in pair] == [0, 0]
