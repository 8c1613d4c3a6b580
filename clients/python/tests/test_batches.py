"""Batches, tasks that wait for tasks, and flows: what each method sends, returns and raises; one queue and shards."""

import asyncio
import inspect
from contextlib import contextmanager

import pytest
import redis
import taskslot
from harness.blocking import Blocking
from harness.server import wait_until
from taskslot import BatchCounts, Queue, QueueFull, Refused, chain, chord, group, shards, step

SHARDS = 4


@pytest.fixture(params=[None, SHARDS], ids=["one key", "shards"])
def queue(request, make):
    """An empty queue, or an empty sharded one."""
    return make("mail") if request.param is None else make("mail", shards=SHARDS)


@contextmanager
def block(queue, *words, **options):
    """`with queue.batch(…)`, or `async with` for asyncio."""
    made = queue.batch(*words, **options)
    if not isinstance(queue, Blocking):
        with made as batch:
            yield batch
        return
    batch = Blocking(made, queue._loop)
    assert batch.__aenter__() is made
    try:
        yield batch
    except BaseException as error:
        batch.__aexit__(type(error), error, None)
        raise
    batch.__aexit__(None, None, None)


def finish(queue, *payloads):
    """Claim tasks and ack them; they must be these."""
    tasks = queue.claim(100)
    assert sorted(task.payload for task in tasks) == sorted(payload.encode() for payload in payloads)
    queue.ack_many(tasks)


def shard(task):
    """The number of the shard of an id."""
    return int(task.partition("/")[0])


# ---- after


def test_a_task_waits_for_others(queue):
    """It is held until they are done. Parents can be ids, handles and claimed tasks."""
    first = queue.push("first", group="g")
    (task,) = queue.claim()
    second = queue.push("second", group="g")
    last = queue.push("last", after=[task, second], on_dead="run")
    view = queue.get(last)
    assert (view.state, view.on_dead, view.after) == ("held", "run", (first, second))
    assert view.waits_for == (first, second) and view.held_since > 10**12
    assert [one.id for one in queue.tasks("held")] == [last] and queue.len("held") == queue.info().held == 1
    queue.ack(task)
    assert queue.get(last).waits_for == (second,)
    finish(queue, "second")
    (task,) = queue.claim(meta=True)
    assert (task.id, task.meta.after, task.meta.batch, task.meta.counts) == (
        last,
        (first, second),
        None,
        None,
    )


def test_many_tasks_wait_for_others(queue):
    """Each of them. As many as the server takes go into one command."""
    parents = [queue.push(str(n), group="g") for n in range(30)]
    held = queue.push_many([f"after {n}" for n in range(500)], after=iter(parents))
    assert queue.len("held") == 500 == len(set(held))
    finish(queue, *map(str, range(30)))
    wait_until(lambda: queue.len("ready") == 500, "the server let them go, a part at a time")
    assert queue.len("held") == 0


def test_a_handle_is_a_parent_too(queue):
    """It is the id with more at its end."""
    queue.push("first")
    (task,) = queue.claim()
    assert queue.get(queue.push("last", after=[task.handle])).after == (task.id,)


def test_a_next_step_waits_for_others_and_counts_in_a_batch(queue):
    """In a sharded queue, it is pushed beside its task, so all of them must be there."""
    queue.open_batch("a", "callback")
    first, other = (queue.push(payload, after=[], batch="a") for payload in ("first", "other"))
    task = next(task for task in queue.claim(2) if task.id == first)
    made = queue.ack_and_push(task, "second", after=[other], batch="a")
    view = queue.get(made)
    assert (view.state, view.after, view.batch, queue.batch_info("a").tasks) == ("held", (other,), "a", 3)


def test_an_empty_list_of_tasks_is_nothing_to_wait_for(queue):
    """It is what a producer gets that found no task to wait for."""
    queue.push("a", after=[], on_dead="drop")
    queue.push_many(["b"], after=())
    finish(queue, "a", "b")


def test_a_wait_for_what_cannot_be_is_refused(queue):
    """A task that was never pushed, a single id in the place of a list, what is no id, and `on_dead` alone."""
    task = queue.push("a")
    unborn = task.replace("-", "9-")
    with pytest.raises(Refused, match="never pushed"):
        queue.push("b", after=[unborn])
    with pytest.raises(TypeError, match="several"):
        queue.push("b", after=task)
    with pytest.raises(TypeError, match="not int"):
        queue.push("b", after=[7])
    for call in (queue.push, lambda payload, **options: queue.push_many([payload], **options)):
        with pytest.raises(ValueError, match="together with after"):
            call("b", on_dead="run")
    assert queue.len() == 1


def test_a_task_that_waits_for_one_of_another_queue_is_refused(make):
    """Tasks wait for tasks of their own queue."""
    mail, other = make("mail"), make("other")
    other.push("a")
    (task,) = other.claim()
    with pytest.raises(ValueError, match="mail can't wait for one of other"):
        mail.push("b", after=[task])


@pytest.mark.parametrize(("on_dead", "ends"), [("wait", "held"), ("run", "ready"), ("drop", None)])
def test_what_happens_if_a_parent_dies(queue, on_dead, ends):
    """It waits on, runs, or is gone. A retry of the dead task lets it go on."""
    queue.push("first")
    (task,) = queue.claim()
    last = queue.push("last", after=[task], on_dead=on_dead)
    queue.fail(task, "no", dead=True)
    view = queue.get(last)
    assert (view.state if view else None) == ends
    if on_dead == "wait":
        queue.retry([task.id])
        finish(queue, "first")
        assert queue.get(last).state == "ready"


# ---- batches


def test_the_callback_of_a_batch_runs_when_all_tasks_have_ended(queue):
    """Whatever their ends. Its counts tell them."""
    with block(queue, "import-7", "callback", priority=3) as batch:
        assert batch.callback.is_new and batch.info().state == "open"
        one = batch.push("one", attempts=1)
        two, three = batch.push_many(["two", "three"])
        assert queue.get(one).batch == "import-7"
    info = batch.info()
    assert (info.name, info.state, info.callback) == ("import-7", "closed", batch.callback)
    assert (info.tasks, info.open, info.opened <= info.closed) == (3, 3, True)
    assert queue.info().batches_closed == 1 and queue.info().batches_open == 0
    tasks = {task.id: task for task in queue.claim(10, meta=True)}
    assert {task.meta.batch for task in tasks.values()} == {"import-7"}
    queue.fail(tasks[one], "no")
    queue.ack(tasks[two])
    view = queue.get(batch.callback)
    assert (view.state, view.callback_of, view.batch_open) == ("held", "import-7", 1)
    assert view.counts == BatchCounts(3, 1, 1, 0, 0, 0)
    queue.cancel(three)
    queue.requeue(tasks[three])
    (callback,) = queue.claim(meta=True)
    assert (callback.id, callback.payload, callback.meta.priority) == (batch.callback, b"callback", 3)
    assert (callback.meta.callback_of, callback.meta.counts) == ("import-7", BatchCounts(3, 1, 1, 1, 0, 0))
    assert batch.info().state == "complete"
    queue.ack(callback)
    assert batch.info() is None and queue.batches() == []


def test_a_batch_without_tasks_has_a_callback_too(queue):
    """An import of an empty file is complete."""
    with block(queue, "empty", "callback"):
        assert queue.len("held") == 1
    finish(queue, "callback")


def test_an_exception_deletes_the_batch(queue):
    """Its callback never runs, and the tasks that were pushed go on. The exception goes on too."""
    with pytest.raises(KeyError, match="row 3"), block(queue, "import-7", "callback") as batch:
        batch.push("one")
        raise KeyError("row 3")
    assert batch.info() is None
    finish(queue, "one")
    assert queue.len() == 0


def test_an_exception_does_not_delete_the_batch_of_another(queue):
    """It was open before, so whoever opened it may still need it."""
    first = queue.open_batch("import-7", "callback")
    with pytest.raises(KeyError), block(queue, "import-7", "another") as batch:
        assert (batch.callback, batch.callback.is_new) == (first, False)
        raise KeyError
    assert batch.info().state == "open"


def test_a_batch_that_cannot_be_deleted_is_named_in_the_exception(queue):
    """The exception of the block is the one that is raised."""
    batch = queue.batch("import-7", "callback")
    enter, leave = ("__aenter__", "__aexit__") if isinstance(queue, Blocking) else ("__enter__", "__exit__")
    call = Blocking(batch, queue._loop) if isinstance(queue, Blocking) else batch
    getattr(call, enter)()

    def fails(name):
        raise Refused("no permissions")

    batch._queue.delete_batch = fails
    error = KeyError("row 3")
    getattr(call, leave)(KeyError, error, None)
    assert error.__notes__ == [
        "the batch import-7 is still open, because it can't be deleted: no permissions"
    ]
    assert queue.batch_info("import-7").state == "open"


def test_a_batch_is_worked_with_by_name(queue):
    """Open, push, close, show and delete, in different processes."""
    made = queue.open_batch("a", "callback", delay_ms=60_000)
    again = queue.open_batch("a", "other")
    assert (again, made.is_new, again.is_new) == (made, True, False)
    task = queue.push("one", batch="a")
    assert queue.push_many(["two"], batch="a") and queue.batch_info("a").tasks == 2
    (other,) = queue.claim(1)
    assert queue.close_batch("a") is True and queue.close_batch("a") is False
    queue.ack(other)
    finish(queue, "two" if other.id == task else "one")
    assert queue.get(made).state == "delayed"
    with pytest.raises(Refused, match="its callback waits no more"):
        queue.push("late", batch="a")
    assert queue.delete_batch("a") == "removed" and queue.delete_batch("a") is None
    assert queue.batch_info("a") is None and queue.get(made) is None


def test_a_callback_that_runs_is_asked_to_stop(queue):
    """Deleting its batch is a cancellation."""
    queue.open_batch("a", "callback")
    queue.close_batch("a")
    (task,) = queue.claim()
    assert queue.delete_batch("a") == "asked"
    with pytest.raises(taskslot.CancelAsked):
        queue.extend(task)


def test_an_unknown_batch_is_refused(queue):
    """For a push and a close. Without a callback, a batch can't be opened."""
    for call in (lambda: queue.push("a", batch="no"), lambda: queue.close_batch("no")):
        with pytest.raises(Refused, match="no batch of this name"):
            call()
    with pytest.raises(TypeError, match="opens a batch"), block(queue, "no"):
        pass
    with pytest.raises(TypeError, match="unknown option unique"):
        queue.batch("no", "callback", unique="u")
    assert queue.len() == 0


def test_all_batches_are_listed(queue):
    """Also more than one reply has."""
    for number in range(1003):
        queue.open_batch(f"b{number}", "callback", priority=1)
    found = queue.batches()
    assert {batch.name for batch in found} == {f"b{number}" for number in range(1003)} and len(found) == 1003
    one = found[5]
    assert queue.get(one.callback).callback_of == one.name


def test_a_batch_counts_in_another(queue):
    """The callback of the inner one is a task of the outer one."""
    with (
        block(queue, "{x}outer", "end") as outer,
        block(queue, "{x}inner", "middle", batch="{x}outer") as inner,
    ):
        inner.push("one")
    finish(queue, "one")
    assert outer.info().open == 1
    finish(queue, "middle")
    finish(queue, "end")


# ---- flows


def test_a_flow_is_pushed_and_done_in_its_order(queue):
    """The ids come in its shape."""
    first, (left, right), last = queue.push_flow(chain("first", group("left", "right"), "last"))
    assert queue.get(left).after == queue.get(right).after == (first,)
    assert queue.get(last).after == (left, right)
    for payloads in (["first"], ["left", "right"], ["last"]):
        assert queue.len("held") == 4 - queue.len("done") - len(payloads)
        finish(queue, *payloads)
    assert queue.len("done") == 3 and queue.get(left).kept_until > 10**12


def test_a_flow_waits_for_others_and_counts_in_a_batch(queue):
    """Its first steps wait for these tasks. All of its tasks count."""
    with block(queue, "a", "callback") as batch:
        before = batch.push("before")
        ids = batch.push_flow(chord(["one", "two"], "three"), after=[before], priority=2)
        assert queue.get(ids[0][0]).after == (before,) and batch.info().tasks == 4
    assert queue.get(ids[1]).priority == 2
    for payloads in (["before"], ["one", "two"], ["three"], ["callback"]):
        finish(queue, *payloads)


def test_a_payload_is_a_flow_too(queue):
    """Its id is all that is returned."""
    task = queue.push_flow("only")
    assert queue.get(task).payload == b"only" and task.is_new
    assert queue.get(queue.push_flow(step("one", delay_ms=60_000))).state == "delayed"


def test_a_flow_that_is_pushed_again_adds_only_what_is_missing(queue):
    """The first push fails in the middle, because the queue is full. The error says how far it got."""
    queue.configure(max_len=3)
    flow = chain("a", "b", group("c", "d"), "e")
    with pytest.raises(QueueFull) as refused:
        queue.push_flow(flow, request="order 7")
    assert refused.value.__notes__ == ["2 of the 5 tasks of the flow were pushed"]
    assert queue.len() == 2
    queue.reset("max-len")
    ids = queue.push_flow(flow, request="order 7")
    assert queue.push_flow(flow, request="order 7") == ids and queue.len() == 5
    for payloads in ("a", "b", "cd", "e"):
        finish(queue, *payloads)


def test_an_unknown_option_of_a_flow_is_refused(queue):
    """If it were ignored, `delay_ms` of all steps would delay none."""
    with pytest.raises(TypeError, match="unknown option delay_ms"):
        queue.push_flow("a", delay_ms=5)


# ---- shards


@pytest.fixture
def orders(make):
    """An empty queue of four shards."""
    return make("orders", shards=SHARDS)


def apart():
    """Two names that belong to different shards."""
    return next((f"x{n}", "y") for n in range(99) if number_of(f"x{n}") != number_of("y"))


def number_of(name):
    """The shard of a group or a batch."""
    return shards.shard_of_batch(name, SHARDS)


def test_a_batch_lives_on_the_shard_of_its_name(orders):
    """Its tasks are pushed there. With a hash tag in its name, that is the shard of the tag, as of a group."""
    for n in range(20):
        callback = orders.open_batch(f"b{n}", "callback")
        assert shard(callback) == number_of(f"b{n}") == shards.shard_of_name(f"b{n}", SHARDS)
        assert shard(orders.push("a", batch=f"b{n}")) == shard(callback)
        assert orders.batch_info(f"b{n}").callback == callback
        tagged = orders.open_batch(f"{{g{n}}}import", "callback", group=f"g{n}")
        assert shard(tagged) == shards.shard_of_name(f"g{n}", SHARDS)
        assert shard(orders.push("a", batch=f"{{g{n}}}import", group=f"g{n}")) == shard(tagged)


def test_tasks_that_wait_are_pushed_beside_those_they_wait_for(orders):
    """So are flows, whose tasks would otherwise be on any shards."""
    for n in range(20):
        parent = orders.push(str(n))
        assert shard(orders.push("a", after=[parent])) == shard(parent)
        assert {shard(one) for one in orders.push_many(["a"] * 300, after=[parent])} == {shard(parent)}
        first, last = orders.push_flow(chain("a", "b"))
        assert shard(first) == shard(last)
        assert shard(orders.push_flow("a", after=[parent])) == shard(parent)
    flows = [orders.push_flow(group("a", "b")) for _ in range(40)]
    assert all(shard(one) == shard(other) for one, other in flows)
    assert len({shard(one) for one, _ in flows}) > 1  # any that is not too full


def test_what_belongs_together_but_is_on_different_shards_is_refused(orders):
    """The error names both and their shards, before anything is pushed."""
    x, y = apart()
    one, other = (orders.push(name, group=name) for name in (x, y))
    orders.open_batch(y, "callback")
    before = orders.len()
    for call in (
        lambda: orders.push("a", after=[one, other]),
        lambda: orders.push("a", batch=y, group=x),
        lambda: orders.push("a", batch=y, after=[one]),
        lambda: orders.push_many(["a"], group=y, after=[one]),
        lambda: orders.open_batch(y, "callback", group=x),
        lambda: orders.open_batch(x, "callback", batch=y),
        lambda: orders.push_flow(chain(step("a", group=x), step("b", group=y))),
        lambda: orders.push_flow(group("a", "b"), group=x, batch=y),
    ):
        with pytest.raises(ValueError, match=r"one shard, but .* is on shard \d and .* is on shard \d"):
            call()
    assert orders.len() == before


def test_a_next_step_cannot_wait_for_a_task_of_another_shard(orders):
    """It is pushed beside its task, with the same command."""
    x, y = apart()
    other = orders.push("other", group=y)
    orders.push("first", group=x)
    task = next(task for task in orders.claim(2) if task.payload == b"first")
    with pytest.raises(ValueError, match="of the same key"):
        orders.ack_and_push(task, "second", after=[other])
    assert orders.ack_and_push(task, "second", after=[task]) is not None


def test_a_token_is_looked_for_on_the_shard_of_the_batch(orders):
    """As it is on the shard of the group."""
    orders.open_batch("b", "callback")
    for n in range(10):
        task = orders.push("a", batch="b", unique=f"u{n}")
        again = orders.push("a", batch="b", unique=f"u{n}")
        assert (again, again.is_new, shard(task)) == (task, False, number_of("b"))


# ---- asyncio


def test_a_cancelled_block_deletes_the_batch(server):
    """`async with` and `await`, as a program has them."""

    async def go():
        async with (
            redis.asyncio.Redis(port=server.port) as client,
            taskslot.AsyncQueue(client, "mail") as queue,
        ):
            inside = asyncio.Event()

            async def block():
                async with queue.batch("a", "callback") as batch:
                    await batch.push("one")
                    inside.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(block())
            await inside.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await queue.batch_info("a") is None and await queue.len() == 1
            async with queue.batch("b", "callback") as batch:
                await batch.push_flow(chain("two", "three"))
            assert (await batch.info()).state == "closed"

    asyncio.run(go())


def test_a_batch_has_the_methods_of_its_queue():
    """They take the same options, except the batch and what it was opened with."""
    for name in ("push", "push_many", "push_flow"):
        assert inspect.signature(getattr(taskslot.Batch, name)) == inspect.signature(getattr(Queue, name))
