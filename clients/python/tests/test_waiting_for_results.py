"""A caller that waits for a result gets it, even if the task ends between two slices of the wait or before the wait."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
import taskslot._async.wire
import taskslot._sync.wire
import valkey
from harness.blocking import Blocking
from harness.proxy import Proxy
from harness.server import passes, wait_until
from harness.worker_thread import WorkerThread
from taskslot import AsyncQueue, AsyncShardedQueue, Queue, UnknownTask, Worker

WAITERS = 16


@pytest.fixture
def short_slices(monkeypatch):
    """Make the slices of waits very short."""
    for module in (taskslot._async.wire, taskslot._sync.wire):
        monkeypatch.setattr(module, "SLICE_MS", 150)


@pytest.fixture
def late_replies(monkeypatch):
    """Let this process be late by many slices."""
    for module in (taskslot._async.wire, taskslot._sync.wire):
        monkeypatch.setattr(module, "LATE_S", 4.0)


def waiting(server, number):
    """Wait until this many connections wait for a result, or have just done so."""

    def wait_for_results():
        return sum(one["cmd"].lower() == "task.result" for one in server.client().client_list()) >= number

    wait_until(wait_for_results, f"{number} wait for results")


def far(library, port, loop):
    """A queue with a client for that port."""
    if library.endswith("asyncio"):
        kind = redis.asyncio.Redis if library.startswith("redis") else valkey.asyncio.Valkey
        return Blocking(AsyncQueue(kind(port=port), "mail"), loop)
    return Queue((redis.Redis if library.startswith("redis") else valkey.Valkey)(port=port), "mail")


def test_an_end_between_two_slices_is_noticed(library, server, queue, loop, short_slices, late_replies):
    """No task is kept, a round trip takes 0.1 s, and tasks end at any time within a slice."""
    tasks = queue.push_many([b"%d" % number for number in range(WAITERS)])
    claimed = queue.claim(WAITERS)
    with Proxy(server.port, delay_s=0.05) as proxy, ThreadPoolExecutor(WAITERS) as threads:
        waiter = far(library, proxy.port, loop)
        results = [threads.submit(waiter.result, task, block_ms=20_000) for task in tasks]
        waiting(server, WAITERS)
        for task in claimed:
            passes(30)  # so that they end over several slices
            queue.ack(task, result=task.payload)
        lost = [number for number, one in enumerate(results) if isinstance(one.exception(20), UnknownTask)]
        assert lost == []
        assert [one.result().value for one in results] == [task.payload for task in claimed]
        waiter.close()


def test_a_caller_gets_a_result_at_once_or_later(make, queue):
    """Users write this first. The task can be done before the wait begins."""
    worker, waiter = Worker(queue), make()
    add = worker.task("add")(lambda left, right: left + right)
    with WorkerThread(worker):
        values = [waiter.result(waiter.push(add.call(1, 2)), block_ms=20_000).value for _ in range(100)]
        later = queue.push(add.call(2, 3))
        wait_until(lambda: queue.len() == 0, "it is done")
    assert values == [b"3"] * 100 and waiter.result(later).value == b"5"


@pytest.mark.parametrize(
    ("function", "push", "setting", "kept_ms"),
    [
        ({}, {}, {}, 60_000),
        ({}, {"retain_ms": 3_600_000}, {}, 3_600_000),
        ({}, {"retain_ms": 3_600_000}, {"retain": 7_200_000}, 3_600_000),
        ({}, {"retain_ms": 0}, {}, 0),
        ({}, {}, {"retain": 7_200_000}, 7_200_000),
        ({"retain_ms": None}, {}, {}, 0),
        ({"retain_ms": None}, {"retain_ms": 3_600_000}, {}, 3_600_000),
        ({"retain_ms": 0}, {"retain_ms": 3_600_000}, {"retain": 7_200_000}, 0),
        ({"retain_ms": 5_000_000}, {"retain_ms": 3_600_000}, {}, 5_000_000),
    ],
)
def test_the_retention_is_that_of_the_function_or_the_push_or_the_queue(
    queue, function, push, setting, kept_ms
):
    """The first one that is set applies. If none is set, a result is kept for a minute."""
    if setting:
        queue.configure(**setting)
    worker = Worker(queue)
    task = worker.task("f", **function)(lambda: 1)
    with WorkerThread(worker):
        pushed = queue.push(task.call(), **push)
        wait_until(lambda: queue.info().acked == 1, "it is done")
    view = queue.get(pushed)
    assert (view.kept_until - view.done_since if view else 0) == kept_ms


@pytest.mark.parametrize("replies", [0, 4])
def test_a_waiter_whose_connection_breaks_asks_again(make, server, queue, short_slices, replies):
    """It does so even after a wait longer than its patience, because the patience starts when the connection breaks."""
    # With replies: shorter than the wait for them. Without: it includes all breaks, however long the machine takes.
    waiter = make(patience_ms=300 if replies else 60_000)
    queue.push("a")
    (task,) = queue.claim()
    with ThreadPoolExecutor(1) as threads:
        result = threads.submit(waiter.result, task.id, block_ms=0)
        for _ in range(3):
            waiting(server, 1)
            before, calls = clients_of_results(server), calls_of_result(server)
            wait_until(lambda calls=calls: calls_of_result(server) >= calls + replies, "slices have ended")
            server.client().client_kill_filter(_type="normal", skipme=True)
            wait_until(lambda before=before: clients_of_results(server) - before, "it asks again")
        queue.ack(task, result="done")
        assert result.result(20).value == b"done"


def calls_of_result(server):
    """The number of TASK.RESULT that the server has executed."""
    return server.client().info("commandstats").get("cmdstat_TASK.RESULT", {}).get("calls", 0)


def clients_of_results(server):
    """The connections that wait for results."""
    return {one["id"] for one in server.client().client_list() if one["cmd"].lower() == "task.result"}


def test_waits_reuse_their_connections(make, server, queue, short_slices):
    """This holds even if a reply arrives while the next slice is under way: both replies are read."""
    waiter = make()
    tasks = queue.push_many(list("abcdefgh"), retain_ms=60_000)
    for task in queue.claim(8):
        queue.ack(task)
    waiter.result(tasks[0], block_ms=60_000)
    looking = server.client()
    before = looking.info("stats")["total_connections_received"]
    assert [waiter.result(task, block_ms=60_000).state for task in tasks] == ["done"] * 8
    assert looking.info("stats")["total_connections_received"] == before
    queue.push("still there")
    assert [task.payload for task in waiter.claim(block_ms=20_000)] == [b"still there"]


@pytest.mark.parametrize("kind", [redis.asyncio.Redis, valkey.asyncio.Valkey])
def test_a_cancelled_wait_leaves_no_reply_for_the_next(server, kind, short_slices):
    """Its connection had outstanding replies."""

    async def give_up():
        async with kind(port=server.port) as client, AsyncQueue(client, "mail") as queue:
            task = await queue.push("a")
            for _ in range(5):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(queue.result(task, block_ms=0), 0.05)
                claimed = await queue.claim(block_ms=20_000)
                assert [one.payload for one in claimed] == [b"a"]
                await queue.requeue(claimed[0])

    asyncio.run(give_up())


@pytest.mark.parametrize("what", ["result", "claim", "claim of shards"])
@pytest.mark.parametrize("kind", [redis.asyncio.Redis, valkey.asyncio.Valkey])
def test_a_cancel_that_the_client_swallows_still_ends_an_endless_wait(server, kind, what, short_slices):
    """The libraries sometimes swallow a cancel that arrives while they connect."""

    async def give_up():
        swallowed = []

        class Connection(
            redis.asyncio.Connection if kind is redis.asyncio.Redis else valkey.asyncio.Connection
        ):
            async def connect(self):
                await super().connect()
                if asyncio.current_task() in waits:
                    waits.discard(asyncio.current_task())
                    try:
                        came.set()
                        await asyncio.sleep(20)
                    except asyncio.CancelledError:
                        swallowed.append(True)

        waits, came = set(), asyncio.Event()
        pools = redis.asyncio if kind is redis.asyncio.Redis else valkey.asyncio
        pool = pools.ConnectionPool(connection_class=Connection, port=server.port)
        async with kind.from_pool(pool) as client:
            queue, shards = AsyncQueue(client, "mail"), AsyncShardedQueue(client, "orders", shards=2)
            task = await queue.push("a", delay_ms=3_600_000)
            begin = {
                "result": lambda: queue.result(task, block_ms=0),
                "claim": lambda: queue.claim(block_ms=0),
                "claim of shards": lambda: shards.claim(block_ms=0),
            }[what]
            waiting = asyncio.create_task(begin())
            waits.add(waiting)
            await asyncio.wait_for(came.wait(), 20)
            waiting.cancel()
            await asyncio.wait([waiting], timeout=20)
            assert swallowed and waiting.cancelled()
            await queue.close()
            await shards.close()

    asyncio.run(give_up())


def test_a_wait_without_a_result_ends_at_its_time_limit(make, queue, short_slices):
    """The time limit holds after one slice and after several."""
    waiter, task = make(), queue.push("a")
    for block_ms in (1, 100, 150, 151, 500):
        began = time.monotonic()
        assert waiter.result(task, block_ms=block_ms) is None
        assert time.monotonic() - began >= block_ms / 1000
