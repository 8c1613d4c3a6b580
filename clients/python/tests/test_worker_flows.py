"""A worker runs chains, groups and batches: results of parents, counts, pushes into the batch, tasks that die."""

import asyncio
import json

import pytest
from harness.server import wait_until
from harness.worker_thread import Gate, WorkerThread
from taskslot import (
    MSGPACK,
    BatchCounts,
    Fail,
    NotDone,
    Queue,
    ShardedQueue,
    UnknownTask,
    Worker,
    chain,
    chord,
    current,
    group,
    step,
)
from taskslot.worker import relations


@pytest.fixture(params=[None, 4], ids=["one key", "shards"])
def queue(request, client):
    """An empty queue, or an empty sharded one."""
    made = Queue(client, "mail") if request.param is None else ShardedQueue(client, "mail", shards=4)
    with made as queue:
        yield queue


@pytest.fixture
def worker(queue):
    """A worker with functions for flows: `number`, `total` of what it waited for, `die`, and `counts`."""
    worker = Worker(queue)
    worker.task("number")(lambda value: value)
    worker.task("total")(lambda: sum(current().results()))
    worker.task("counts")(lambda: current().counts)

    @worker.task("die")
    def die():
        raise Fail("no such picture", dead=True)

    return worker


@pytest.fixture
def call(worker):
    """`call("number", 7)` makes a payload."""
    return lambda name, *args: worker.functions[name].call(*args)


def value(queue, task):
    """The result of a task, for a caller that waits for it; an exception for one that is not done."""
    ended = queue.result(task, block_ms=20_000)
    assert ended is not None, f"{task} has not ended"
    if ended.state != "done":
        raise Fail(ended.error)
    return None if ended.value is None else json.loads(ended.value)


def test_a_chain_hands_on_its_results(queue, worker):
    """Each step has the result of the one before."""

    @worker.task("more")
    def more():
        (before,) = current().results()
        return before + [len(before)]

    first = worker.task("first")(lambda: [])
    with WorkerThread(worker):
        ids = queue.push_flow(chain(first.call(), more.call(), more.call(), more.call()))
        assert value(queue, ids[-1]) == [0, 1, 2]


def test_a_chord_has_the_results_of_its_group_in_order(queue, worker, call):
    """The order is that of the flow, however long each task took, and also for chains in the group."""
    order = worker.task("order")(lambda: current().results())
    members = [chain(call("number", 0), call("number", 1)), call("number", 2), call("number", None)]
    members += [chord([call("number", n) for n in range(4)], call("total")), call("number", "ü")]
    with WorkerThread(worker):
        ids = queue.push_flow(chord(members, order.call()))
        assert value(queue, ids[-1]) == [1, 2, None, 6, "ü"]


def test_more_results_than_one_round_trip_has(queue, worker, call, monkeypatch):
    """They are asked for in parts, and come in order."""
    monkeypatch.setattr(relations, "RESULTS_AT_ONCE", 7)
    order = worker.task("order")(lambda: current().results())
    with WorkerThread(worker):
        ids = queue.push_flow(chord([call("number", n) for n in range(50)], order.call()))
        assert value(queue, ids[-1]) == list(range(50))


def test_an_async_function_asks_on_a_thread(queue, worker, call):
    """Asked on the event loop, the results would stop all its tasks, so that is an error which says what to do."""

    @worker.task("later")
    async def later():
        with pytest.raises(RuntimeError, match="asyncio.to_thread"):
            current().results()
        return await asyncio.to_thread(current().results)

    with WorkerThread(worker, "serve"):
        ids = queue.push_flow(chain(call("number", 7), later.call()))
        assert value(queue, ids[-1]) == [7]


def test_a_chain_waits_for_a_task_that_died_until_it_is_retried(queue, worker, call):
    """The operator mends what was wrong and retries the dead task. Then the rest goes on, with its result."""
    is_mended = []

    @worker.task("broken")
    def broken():
        if not is_mended:
            raise Fail("no", dead=True)
        return 5

    with WorkerThread(worker):
        first, both, last = queue.push_flow(
            chain(call("number", 1), group(broken.call(), call("number", 3)), call("total"))
        )
        assert queue.result(both[0], block_ms=20_000).state == "dead"
        value(queue, both[1])
        assert queue.get(last).waits_for == (both[0],)
        is_mended.append(True)
        queue.retry([both[0]])
        assert value(queue, last) == 8


def test_a_callback_that_runs_in_any_case_sees_who_died(queue, worker, call):
    """With `on_dead="run"`. Results that are not there raise, or are returned as exceptions."""

    @worker.task("see")
    def see():
        with pytest.raises(NotDone, match="is dead: no such picture") as raised:
            current().results()
        assert raised.value.state == "dead"
        one, died, three = current().results(return_exceptions=True)
        return [one, type(died).__name__, three]

    members = [call("number", 1), call("die"), call("number", 3)]
    with WorkerThread(worker):
        ids = queue.push_flow(chord(members, step(see.call(), on_dead="run")))
        assert value(queue, ids[-1]) == [1, "NotDone", 3]


def test_a_result_that_is_not_kept_says_so(queue, worker, call):
    """A parent without retention is gone when the next step asks for its result."""
    worker.task("one", retain_ms=0)(lambda: 1)
    with WorkerThread(worker):
        ids = queue.push_flow(chain(call("one"), step(call("total"), attempts=1)))
        with pytest.raises(
            Fail, match=f"UnknownTask: the result of task {ids[0]} is not kept any more.*retain_ms"
        ):
            value(queue, ids[1])


def test_a_task_whose_results_are_gone_is_dead_at_once(queue, worker, call):
    """No later attempt would find them. A function that handles it goes on, and another UnknownTask is a failure."""

    @worker.task("handles")
    def handles():
        with pytest.raises(UnknownTask):
            current().results()
        raise UnknownTask("another")

    worker.task("one", retain_ms=0)(lambda: 1)
    with WorkerThread(worker):
        total = queue.push_flow(chain(call("one"), call("total")))[1]
        wait_until(lambda: (view := queue.get(total)).state == "dead" and view.failures == 1, "it is dead")
        other = queue.push_flow(chain(call("one"), handles.call()))[1]
        wait_until(lambda: queue.get(other).failures, "it failed")
        assert queue.get(other).state in ("delayed", "ready", "leased")


def test_a_task_whose_parents_have_not_ended_is_tried_again(queue, worker, call):
    """They may be done by then."""
    with Gate() as gate:
        long = worker.task("long")(lambda: gate.enter() or 5)
        with WorkerThread(worker):
            first, last = queue.push_flow(chain(long.call(), call("total")))
            gate.inside()
            queue.retry(last)
            wait_until(lambda: queue.get(last).failures, "it failed")
            gate.open()
            value(queue, first)
            assert value(queue, last) == 5


def test_a_step_that_is_let_go_before_its_parents_end_says_so(queue, worker, call):
    """An operator can retry a held task, which then waits for nothing."""
    with Gate() as gate:

        @worker.task("long")
        def long():
            gate.enter()

        with WorkerThread(worker):
            first, last = queue.push_flow(chain(long.call(), step(call("total"), attempts=1)))
            gate.inside()
            queue.retry([last])
            with pytest.raises(Fail, match=f"NotDone: task {first} has not ended"):
                value(queue, last)


def test_a_result_that_is_not_of_this_codec_says_so(queue, worker, call):
    """The parent was done by another program, which has results of another kind."""
    parent = queue.push("by hand", retain_ms=60_000)
    queue.ack(queue.claim()[0], result=b"\xff")
    with WorkerThread(worker):
        task = queue.push_flow(step(call("total"), attempts=1), after=[parent])
        with pytest.raises(Fail, match=f"the result of task {parent} can't be read as JSON"):
            value(queue, task)


def test_the_codec_of_the_worker_reads_the_results(queue):
    """MessagePack has bytes."""
    worker = Worker(queue, codec=MSGPACK)
    first, last = worker.task("first")(lambda: b"\xff"), worker.task("last")(lambda: current().results())
    with WorkerThread(worker):
        ids = queue.push_flow(chain(first.call(), last.call()))
        assert MSGPACK.loads(queue.result(ids[-1], block_ms=20_000).value) == [b"\xff"]


@pytest.mark.parametrize(
    ("retain", "meta", "asks"), [("default", False, False), (60_000, True, False), (60_000, False, True)]
)
def test_results_need_no_option_of_the_worker(queue, client, retain, meta, asks):
    """The claim says what a task waited for. Only if it asks for no more than payloads, the server is asked again."""
    worker = Worker(queue, meta=meta, lease_ms=30_000)
    first = worker.task("first", retain_ms=retain)(lambda: 1)
    last = worker.task("last", retain_ms=retain)(lambda: [*current().after, *current().results()])
    with WorkerThread(worker):
        ids = queue.push_flow(chain(first.call(), last.call()))
        assert value(queue, ids[1]) == [ids[0], 1]
    assert ("cmdstat_task.get" in {name.lower() for name in client.info("commandstats")}) == asks


def test_the_callback_of_a_batch_has_its_counts(queue, worker, call):
    """It runs although a task died. Tasks that are no callback have none, and count in their batch."""
    names = worker.task("names")(lambda: [current().batch.name, current().counts, current().results()])
    with WorkerThread(worker):
        with queue.batch("album-7", call("counts")) as batch:
            batch.push_many([call("number", n) for n in range(20)])
            batch.push(call("die"))
            one = batch.push(names.call())
        assert BatchCounts(*value(queue, batch.callback)) == BatchCounts(22, 21, 1, 0, 0, 0)
        assert value(queue, one) == ["album-7", None, []]
        assert value(queue, queue.push(call("counts"))) is None


def test_a_task_of_a_batch_pushes_into_it_while_it_runs(queue, worker, call):
    """Also after the batch was closed. The callback waits for what it pushed."""

    @worker.task("fetch")
    def fetch():
        wait_until(lambda: current().batch.info().state == "closed", "the batch is closed")
        current().batch.push_many([call("number", n) for n in range(5)])
        current().batch.push_flow(chain(call("number", 1), call("total")))

    with WorkerThread(worker):
        with queue.batch("album-7", call("counts")) as batch:
            batch.push(fetch.call())
        assert BatchCounts(*value(queue, batch.callback)) == BatchCounts(8, 8, 0, 0, 0, 0)


def test_the_next_step_counts_in_the_batch_too(queue, worker, call):
    """It is pushed with the ack of its task, so the batch is never complete in between."""

    @worker.task("first")
    def first(other):
        current().then(call("total"), batch=current().batch.name, after=iter([other]))

    with WorkerThread(worker):
        with queue.batch("album-7", call("counts")) as batch:
            batch.push(first.call(batch.push(call("number", 3))))
        assert BatchCounts(*value(queue, batch.callback)) == BatchCounts(3, 3, 0, 0, 0, 0)


def test_a_next_step_that_would_wait_for_a_task_elsewhere_is_refused(client):
    """When it is named, so that the function fails, not its answer."""
    with ShardedQueue(client, "mail", shards=4) as queue:
        worker = Worker(queue)

        @worker.task("first")
        def first(other):
            with pytest.raises(ValueError, match="of the same key"):
                current().then("x", after=[other])
            return "refused"

        with WorkerThread(worker):
            task = queue.push(first.call("9/1-1"))
            assert value(queue, task) == "refused"


def test_a_task_without_relations_has_none(queue, worker):
    """No batch, no counts, no results."""
    alone = worker.task("alone")(
        lambda: [current().batch, current().counts, current().after, current().results()]
    )
    with WorkerThread(worker):
        assert value(queue, queue.push(alone.call())) == [None, None, [], []]
