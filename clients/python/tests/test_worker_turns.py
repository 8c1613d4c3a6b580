"""The thread of a worker that claims also runs short tasks and sends their answers, without delaying other tasks."""

import asyncio
import threading

import pytest
import redis
import taskslot.worker.claimer
from harness.server import wait_until
from harness.worker_thread import Gate, WorkerThread
from taskslot import JSON, Queue, ShardedQueue, Worker
from taskslot._sync.wire import Wire
from taskslot.replies import Task
from taskslot.worker.answers import Answers
from taskslot.worker.context import TaskContext
from taskslot.worker.executor import Executor
from taskslot.worker.hooks import Hooks
from taskslot.worker.leases import Leases
from taskslot.worker.outcomes import Done
from taskslot.worker.places import Places
from taskslot.worker.relations import Relations
from taskslot.worker.threads import Threads

ENDS = ("TASK.ACK", "TASK.NEXT")


def calls(client, names):
    """The number of calls of these commands on the server."""
    stats = {name.upper(): one["calls"] for name, one in client.info("commandstats").items()}
    return sum(stats.get(f"CMDSTAT_{name}", 0) for name in names)


def pushed(queue, payloads):
    """Push tasks so that one claim gets as many of them as it wants."""
    queue.pause()
    queue.push_many(payloads)
    queue.resume()


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("shards", [None, 2])
def test_tasks_that_end_together_are_answered_together(client, how, shards):
    """Ten run at a time, so far fewer commands than tasks are needed."""
    queue = Queue(client, "mail") if shards is None else ShardedQueue(client, "mail", shards=shards)
    worker = Worker(queue, concurrency=10)

    async def nothing():
        await asyncio.sleep(0)

    task = worker.task("f")(nothing if how == "async" else lambda: None)
    pushed(queue, [task.call()] * 500)
    with WorkerThread(worker):
        wait_until(lambda: queue.info().acked == 500, "all are done")
    assert calls(client, ENDS) < 250
    assert queue.info().claimed == 500


@pytest.fixture
def sometimes(queue):
    """A worker of five places whose function is short, and known to be, but can wait at a gate."""
    with Gate() as gate:
        worker = Worker(queue, concurrency=5)
        task = worker.task("f")(lambda waits=False: gate.enter() if waits else None)
        pushed(queue, [task.call()] * 50)
        with WorkerThread(worker):
            wait_until(lambda: queue.info().acked == 50, "the worker knows the function")
            yield task, gate
            gate.open()


def test_a_task_that_takes_longer_than_usual_delays_no_others(queue, sometimes):
    """Those that were claimed with it run, their answers are sent, and the worker claims more."""
    task, gate = sometimes
    pushed(queue, [task.call(True), *[task.call()] * 4])
    gate.inside()
    wait_until(lambda: queue.info().acked == 54, "those claimed with it are done")
    pushed(queue, [task.call(True), *[task.call()] * 20])
    gate.inside()
    wait_until(lambda: queue.info().acked == 74, "and others")
    assert queue.len("leased") == 2
    gate.open()
    wait_until(lambda: queue.info().acked == 76, "and it is")


def test_an_answer_does_not_wait_for_a_claim_that_waits(queue, client, monkeypatch):
    """The task's own thread sends it at once; the claim for the other place goes on waiting in the server."""
    monkeypatch.setattr(taskslot.worker.claimer, "BLOCK_MS", 1000)
    with Gate() as gate:
        worker = Worker(queue, concurrency=2)
        task = worker.task("f")(gate.enter)
        queue.push(task.call())
        with WorkerThread(worker), client.monitor() as seen:
            gate.inside()
            names = []
            while names[-1:] != ["TASK.CLAIM"]:  # the claim for the second place
                names.append(seen.next_command()["command"].split()[0])
            gate.open()
            while names[-1] != "TASK.ACK":
                names.append(seen.next_command()["command"].split()[0])
            claims = [name for name in names if name in ("TASK.CLAIM", "TASK.NEXT")]
    assert len(claims) <= 2


def test_a_user_without_the_right_to_next_can_work(server, queue):
    """The worker then sends TASK.ACK and TASK.CLAIM, as with a server whose module doesn't have TASK.NEXT."""
    server.client().execute_command("ACL", "SETUSER", "w", "on", ">secret", "~*", "+@all", "-task.next")
    with redis.Redis(port=server.port, username="w", password="secret") as client:
        worker = Worker(Queue(client, "mail"), concurrency=5)
        task = worker.task("f", retain_ms=60_000)(lambda number: number)
        ids = queue.push_many([task.call(number % 2) for number in range(100)])
        with WorkerThread(worker):
            wait_until(lambda: queue.info().acked == 100, "all are done")
    assert [queue.result(one).value for one in ids] == [b"0", b"1"] * 50
    assert queue.info().claimed == 100
    assert calls(server.client(), ["TASK.NEXT"]) == 0


@pytest.fixture
def held(queue, monkeypatch):
    """A gate at which acks of single tasks wait."""
    ack = queue.ack
    with Gate() as gate:

        def waits(task, **options):
            gate.enter(task)
            ack(task, **options)

        monkeypatch.setattr(queue, "ack", waits)
        yield gate


def test_tasks_whose_answers_are_sent_again_leave_no_fewer_than_no_places():
    """Five have ended and keep their places, because their answers are lost. Meanwhile five more were claimed."""
    places, outcome = Places(5, together=True), Done(None, None)
    tasks = [TaskContext(Task("mail", f"{number}", b"", 1), lambda: None) for number in range(10)]
    turn = places.give_turn()
    places.take(tasks[:5])
    for task in tasks[:5]:
        places.end(task, outcome, turn)
    assert places.next_turn(turn) == (5, [(task, outcome) for task in tasks[:5]])
    places.keep(tasks[:5])
    places.take(tasks[5:])
    places.end(tasks[9], outcome, turn)
    assert places.next_turn(turn) == (0, [(tasks[9], outcome)])
    places.free(tasks[:7])
    assert places.next_turn(turn) == (3, [])


def test_a_task_whose_answer_is_sent_again_keeps_its_lease(queue, client, held):
    """The lease is extended at once: since the first answer was sent, nothing has extended it."""
    threads, places, stopped = Threads("test"), Places(1, together=True), threading.Event()
    leases = Leases(threads, lease_ms=600_000)
    answers = Answers(threads, places, leases, stopped, lambda: None, Hooks([]))
    queue.push("a")
    context = TaskContext(queue.claim()[0], leases.wake, relations=Relations(queue, JSON))
    leases.open()
    answers.send_again([(context, Done(None, None))])
    held.inside()
    wait_until(lambda: calls(client, ["TASK.EXTEND"]) == 1, "the lease is extended")
    held.open()
    wait_until(lambda: not places.all(), "the answer is sent")
    assert queue.info().acked == 1
    leases.close()
    threads.close()


def test_a_process_without_threads_to_spare_works_on(queue, sometimes, monkeypatch):
    """The guard can't start any when a task takes long. The tasks behind it run, one after the other."""
    task, gate = sometimes
    start, refused = threading.Thread.start, threading.Event()

    def refuses(thread):
        if not thread.name.startswith("taskslot-"):
            return start(thread)
        refused.set()
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuses)
        pushed(queue, [task.call(True), *[task.call()] * 4])
        gate.inside()
        assert refused.wait(10)
        gate.open()
        wait_until(lambda: queue.info().acked == 55, "all are done")
    pushed(queue, [task.call()] * 10)
    wait_until(lambda: queue.info().acked == 65, "and others")


def test_the_answers_of_ended_tasks_are_sent_if_the_worker_ends_with_an_error(queue, monkeypatch):
    """The functions have run, so their tasks must not run again."""
    run, began = Executor.run, []

    def breaks(self, job, *args):
        began.append(job)
        run(self, job, *args)
        if len(began) == 2:
            raise MemoryError

    worker = Worker(queue, concurrency=2)
    task = worker.task("f")(lambda: None)
    pushed(queue, [task.call()] * 50)
    with WorkerThread(worker) as running:
        wait_until(lambda: queue.info().acked == 50, "the worker knows the function")
        monkeypatch.setattr(Executor, "run", breaks)
        pushed(queue, [task.call()] * 2)
        running.ended()
    assert isinstance(running.error, MemoryError)
    assert (queue.info().acked, queue.len()) == (52, 0)


def test_an_error_while_answers_are_sent_keeps_no_later_ones_back(client, monkeypatch):
    """With a sharded queue, one thread sends all answers for a shard. If it ends, another one has to."""
    with ShardedQueue(client, "mail", shards=1) as queue:
        worker, ack_many = Worker(queue, concurrency=1), queue.ack_many

        def breaks(*args, **options):
            monkeypatch.setattr(queue, "ack_many", ack_many)
            raise SystemExit

        monkeypatch.setattr(queue, "ack_many", breaks)
        queue.push_many([worker.task("f")(lambda: None).call()] * 3)
        with WorkerThread(worker):
            wait_until(lambda: queue.info().acked == 3, "all are done")


def test_a_stop_at_once_while_an_answer_is_on_its_way_is_no_success(queue, monkeypatch):
    """Whether the task has ended in time is not known."""
    send = Wire.send_together
    with Gate() as gate:

        def waits(self, commands):
            if commands[0][0] in ENDS:
                gate.enter()
            return send(self, commands)

        monkeypatch.setattr(Wire, "send_together", waits)
        worker = Worker(queue, concurrency=1)
        queue.push_many([worker.task("f")(lambda: None).call()] * 50)
        with WorkerThread(worker) as running:
            gate.inside()
            worker.stop(at_once=True)
            assert running.ended() == 1
