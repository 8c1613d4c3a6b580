"""The lease keeper: programs that claim tasks themselves keep their leases with it."""

import threading

import pytest
import redis
from harness.server import PATIENCE_S, wait_until
from taskslot import AsyncQueue, LeaseKeeper, Queue, ShardedQueue

# The lease of a task, and a time after which it is extended: more than a third.
LEASE_MS, THIRD_MS = 60_000, 25_000


@pytest.fixture
def server(start):
    """A server whose clock is turned by the test."""
    return start(port=True, clock=True)


@pytest.fixture
def keeper():
    """A lease keeper."""
    keeper = LeaseKeeper()
    yield keeper
    keeper.close()


@pytest.fixture
def passes(server, worker_clock, keeper):
    """`passes(ms)` lets time pass for the server and the keeper."""

    def both(ms):
        server.clock.passes(ms)
        worker_clock.passes_for(ms, keeper._leases)

    return both


def extends(client):
    """The number of TASK.EXTEND calls on the server."""
    stats = client.info("commandstats")
    return stats.get("cmdstat_TASK.EXTEND", stats.get("cmdstat_task.extend", {})).get("calls", 0)


def outlive(tasks, passes, client):
    """Let time pass for two leases, a third at a time, with a heartbeat in each."""
    for _ in range(6):
        before = extends(client)
        passes(THIRD_MS)
        wait_until(lambda: extends(client) > before, "the leases are extended")  # noqa: B023


@pytest.mark.parametrize(
    "lease_ms", [pytest.param(LEASE_MS, marks=pytest.mark.slow), None], ids=["given", "asked for"]
)
def test_a_kept_task_outlives_its_lease(queue, client, keeper, passes, lease_ms):
    """One command extends all leases of a key. After `remove`, the lease ends."""
    queue.push_many(["a", "b", "c"])
    tasks = queue.claim(3, lease_ms=LEASE_MS)
    for task in tasks:
        keeper.add(queue, task, lease_ms=lease_ms)
    if lease_ms is None:
        wait_until(lambda: all(one.lease_s for one in keeper._leases._leases.values()), "it has asked")
    outlive(tasks, passes, client)
    assert extends(client) <= 7  # not one for each task
    assert [queue.get(task).deliveries for task in tasks] == [1, 1, 1]
    keeper.remove(*tasks[:2], tasks[2].handle)
    assert len(keeper) == 0
    passes(2 * LEASE_MS)
    wait_until(lambda: queue.info().stalled == 3, "the leases have ended")


def test_one_keeper_serves_queues_of_all_kinds(server, client, keeper, passes):
    """Keys, shards and clients can differ."""
    with redis.Redis(port=server.port) as other:
        queues = [Queue(client, "mail"), Queue(other, "mail"), ShardedQueue(client, "orders", shards=2)]
        for queue in queues:
            queue.push_many(["a"] * 2)
        tasks = [(queue, task) for queue in queues for task in queue.claim(1, lease_ms=LEASE_MS)]
        for queue, task in tasks:
            keeper.add(queue, task, lease_ms=LEASE_MS)
        for _ in range(6):
            before = extends(client)
            passes(THIRD_MS)
            wait_until(lambda: extends(client) >= before + 3, "each has a heartbeat")  # noqa: B023
        assert [queue.get(task).stalls for queue, task in tasks] == [0, 0, 0]


def test_a_cancelled_task_and_a_lost_lease_are_told_once(queue, client, keeper, passes, caplog):
    """A callback that raises is logged, and the others are called."""
    queue.push_many(["a", "b", "c"])
    tasks = queue.claim(3, lease_ms=LEASE_MS)
    told = []

    def raises(task):
        told.append(("lost", task))
        raise ZeroDivisionError

    contexts = [
        keeper.add(
            queue,
            task,
            lease_ms=LEASE_MS,
            on_lost=raises,
            on_cancel=lambda task: told.append(("cancelled", task)),
        )
        for task in tasks
    ]
    queue.requeue(tasks[0])
    queue.cancel(tasks[1])
    passes(THIRD_MS)
    wait_until(lambda: len(told) == 2, "both are told")
    assert sorted(told, key=str) == [("cancelled", tasks[1]), ("lost", tasks[0])]
    assert [context.lease_lost for context in contexts] == [True, False, False]
    assert [context.cancelled for context in contexts] == [False, True, False]
    assert "callback of task" in caplog.text and "ZeroDivisionError" in caplog.text
    assert len(keeper) == 1
    before = extends(client)
    passes(THIRD_MS)
    wait_until(lambda: extends(client) > before, "the third is still kept")
    assert len(told) == 2


def test_progress_is_sent_for_a_kept_task(queue, keeper):
    """The context of a task sends it."""
    queue.push("a")
    (task,) = queue.claim(lease_ms=LEASE_MS)
    keeper.add(queue, task, lease_ms=LEASE_MS).progress("half")
    wait_until(lambda: queue.get(task).progress == b"half", "it is sent")


def test_a_task_that_is_added_twice_has_one_lease(queue, keeper):
    """A claim that is sent again can bring a task twice."""
    queue.push("a")
    (task,) = queue.claim()
    assert keeper.add(queue, task) is keeper.add(queue, task)
    assert len(keeper) == 1
    keeper.remove(task)
    keeper.remove(task, "1-0@1-unknown")
    assert len(keeper) == 0


def test_a_closed_keeper_ends_its_threads_and_takes_nothing(queue):
    """There are none before the first task either."""
    before = set(threading.enumerate())
    keeper = LeaseKeeper()
    assert set(threading.enumerate()) == before
    queue.push("a")
    (task,) = queue.claim()
    keeper.add(queue, task)
    own = set(threading.enumerate()) - before
    assert own
    keeper.close()
    for thread in own:
        thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in own)
    with pytest.raises(RuntimeError, match="closed"):
        keeper.add(queue, task)


def test_an_async_queue_is_refused(queue):
    """Its commands can't be sent from a thread."""
    with pytest.raises(TypeError, match="not AsyncQueue"):
        LeaseKeeper().add(AsyncQueue(redis.asyncio.Redis(), "mail"), None)
