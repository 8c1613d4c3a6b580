"""The thread of a worker that claims also runs short tasks and sends their answers, without delaying other tasks."""

import asyncio

import pytest
import redis
import taskslot.worker.claimer
from harness.server import wait_until
from harness.worker_thread import Gate, WorkerThread
from taskslot import Queue, ShardedQueue, Worker

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
