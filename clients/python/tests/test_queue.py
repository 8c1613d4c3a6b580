"""A queue in one key: what each method sends, returns and raises; sync and asyncio, with redis-py and valkey-py."""

import threading
import time
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
import redis
import valkey
from harness.server import wait_until
from taskslot import (
    Answer,
    AsyncQueue,
    AsyncShardedQueue,
    CancelAsked,
    Durations,
    LeaseLost,
    OutOfMemory,
    Paused,
    Queue,
    QueueFull,
    Refused,
    ShardedQueue,
    UnknownTask,
    WrongType,
)
from taskslot.clients import Client


def later(call):
    """Run a function on another thread."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def test_a_task_is_pushed_claimed_and_acked(make):
    """Payloads are bytes, also if they are not UTF-8. A repeated ack is harmless."""
    queue = make()
    pushed = queue.push(b"\xff\x00")
    (task,) = queue.claim(worker="w1")
    assert (task.id, task.payload, task.deliveries, task.key) == (pushed, b"\xff\x00", 1, "mail")
    assert pushed.is_new and queue.len() == 1
    assert queue.ack(task) is True
    assert queue.ack(task.handle) is False
    assert queue.len() == 0 and queue.claim() == []


def test_a_client_that_decodes_gets_bytes_too(server):
    """decode_responses doesn't affect what the library reads."""
    for protocol in (2, 3):
        with redis.Redis(port=server.port, decode_responses=True, protocol=protocol) as client:
            queue = Queue(client, "mail")
            queue.push(b"\xff")
            (task,) = queue.claim(meta=True)
            assert (task.payload, task.meta.group) == (b"\xff", "")
            queue.ack(task)


def test_every_option_of_a_push_is_kept(make):
    """TASK.GET shows each of them."""
    queue = make()
    at = datetime.now(UTC) + timedelta(hours=1)
    task = queue.push(
        "p", at=at, priority=-3, attempts=7, lease_ms=5000, ttl_ms=60_000, group="g", retain_ms=1000,
        headers={"trace": b"\xfe"}, unique="u", for_ms=50_000, keep=True,
    )  # fmt: skip
    view = queue.get(task)
    assert view.due == round(at.timestamp() * 1000)
    assert (view.state, view.priority, view.attempts, view.group) == ("delayed", -3, 7, "g")
    assert (view.ttl_ms, view.retain, view.unique, view.unique_held) == (60_000, 1000, "u", True)
    assert (view.headers, view.payload) == ({"trace": b"\xfe"}, b"p")
    found = queue.push("q", unique="u", replace=True)
    assert (found, found.is_new) == (task, False)
    assert queue.get(task).payload == b"q"
    assert queue.push("r", unique="v", until_start=True).is_new
    with pytest.raises(ValueError, match="time zone"):
        queue.push("p", at=datetime(2030, 1, 1))
    with pytest.raises(ValueError, match="a unix time in ms"):
        queue.push("p", at=int(at.timestamp()))


def test_a_client_of_the_other_kind_is_refused():
    """With an asyncio client, a sync queue would push nothing, without an error."""
    for kind in (Queue, ShardedQueue, AsyncQueue, AsyncShardedQueue):
        is_async = kind in (AsyncQueue, AsyncShardedQueue)
        for other in (
            (redis.Redis, valkey.Valkey) if is_async else (redis.asyncio.Redis, valkey.asyncio.Valkey)
        ):
            with pytest.raises(TypeError, match="asyncio client"):
                kind(other(), "q")
    with pytest.raises(TypeError, match="pipeline"):
        Queue(redis.Redis().pipeline(), "q")


def test_an_option_that_a_method_does_not_have_is_refused(make):
    """`delay` instead of `delay_ms` must not push a task that is ready now. Nothing is pushed."""
    queue, sharded = make(), make("orders", shards=2)
    queue.push("a")
    for call in (
        lambda: queue.push("b", delay=5000),
        lambda: queue.push_many(["b", "c"], unique="u"),
        lambda: queue.claim(lease=1000),
        lambda: queue.schedule("beat", "b", every_ms=100, delay_ms=1000),
        lambda: sharded.push("b", delay=5000),
        lambda: sharded.push_many(["b", "c"], request="r", unique="u"),
        lambda: sharded.claim(also=["mail"]),
    ):
        with pytest.raises(
            TypeError, match="unknown option (delay|unique|lease|delay_ms|also): the options are "
        ):
            call()
    assert (queue.len("ready"), sharded.len(), queue.schedules()) == (1, 0, [])


def test_many_tasks_are_pushed_claimed_and_answered_at_once(make):
    """There are more than fit into one command. Each task gets its own reply, in order."""
    queue = make()
    ids = queue.push_many([str(n) for n in range(1500)], priority=1)
    assert len(set(ids)) == 1500
    tasks = queue.claim(1000) + queue.claim(1000)
    assert [task.payload for task in tasks] == [str(n).encode() for n in range(1500)]
    deadlines = queue.extend_many(tasks, lease_ms=60_000)
    assert len(deadlines) == 1500 and min(deadlines) > 10**12
    assert queue.ack_many(tasks[:1200]) == [Answer.OK] * 1200
    queue.requeue(tasks[1200])
    answers = queue.extend_many(tasks[1199:1202])
    assert answers[:2] == [Answer.GONE, Answer.LEASE_LOST] and answers[2] > 10**12
    assert queue.fail_many(tasks[1201:1203], "bad", dead=True) == [Answer.DEAD] * 2
    assert queue.requeue_many(tasks[1203:], delay_ms=60_000) == [Answer.OK] * 297
    assert (queue.len("delayed"), queue.len("dead"), queue.len("ready")) == (297, 2, 1)


def test_each_error_code_has_its_exception(make, server):
    """The exception has the server's text."""
    queue = make()
    queue.configure(max_len=1)
    queue.push("a")
    with pytest.raises(QueueFull):
        queue.push("b")
    (task,) = queue.claim()
    queue.requeue(task)
    for answer in (queue.ack, queue.fail, queue.extend, queue.requeue):
        with pytest.raises(LeaseLost, match="lease (is over|has ended)"):
            answer(task)
    (task,) = queue.claim()
    assert queue.cancel(task.id) == "asked"
    with pytest.raises(CancelAsked):
        queue.extend(task)
    assert queue.extend_many([task]) == [Answer.CANCEL_ASKED]
    queue.ack(task)
    queue.pause("in")
    with pytest.raises(Paused):
        queue.push("b")
    queue.resume("in")
    with pytest.raises(Refused, match="DELAY"):
        queue.push("b", delay_ms=-1)
    with pytest.raises(UnknownTask):
        queue.result("1-1")
    server.client().set("text", "x")
    with pytest.raises(WrongType):
        make("text").push("b")
    server.client().config_set("maxmemory", 1)
    with pytest.raises(OutOfMemory):
        queue.push("b")


def test_a_claim_waits_for_a_task_up_to_its_limit(make):
    """One wait is longer than a slice and ends without a task. Another one ends when a task arrives."""
    queue = make()
    assert queue.claim(block_ms=1200) == []
    other = make()
    waiting = later(lambda: other.push("a"))
    assert [task.payload for task in queue.claim(block_ms=0)] == [b"a"]
    waiting.join()


def test_a_claim_takes_from_several_queues_in_order(make):
    """`also` names them. A task knows its queue, and is acked there."""
    high, low = make("{m}high"), make("{m}low")
    low.push("l")
    high.push("h")
    tasks = high.claim(also=["{m}low"]) + high.claim(also=["{m}low"], block_ms=1000)
    assert [(task.key, task.payload) for task in tasks] == [("{m}high", b"h"), ("{m}low", b"l")]
    assert high.ack_many(tasks) == [Answer.OK] * 2
    assert low.len() == 0


@pytest.mark.parametrize("options", [{}, {"shards": 3}])
def test_finished_tasks_are_exchanged_for_the_next_ones(make, options):
    """`next` returns an `Answer` for each task, in order, and the claimed tasks. A lost lease raises nothing."""
    queue = make(**options)
    queue.push_many(["a", "b", "c"])
    first, second = queue.claim(2)
    queue.requeue(second)
    answers, tasks = queue.next(
        [first, second.handle], 5, result="r", retain_ms=60_000, worker="w", meta=True
    )
    assert answers == [Answer.OK, Answer.LEASE_LOST] and isinstance(answers[0], Answer)
    assert sorted(task.payload for task in tasks) == [b"b", b"c"] and tasks[0].meta.lease > 0
    assert queue.result(first).value == b"r"
    again = queue.next([first, *tasks])
    assert (again.answers, again.tasks) == ([Answer.GONE, Answer.OK, Answer.OK], [])
    queue.push("d")
    assert [task.payload for task in queue.next([]).tasks] == [b"d"]


@pytest.mark.parametrize("options", [{}, {"shards": 3}])
def test_next_waits_for_tasks_and_the_answers_count_meanwhile(make, options):
    """One wait is longer than a slice and ends without a task, another one ends when a task arrives."""
    queue, other = make(**options), make(**options)
    queue.push_many(["a", "b"])
    first, second = queue.claim(2)
    assert queue.next([first], block_ms=1200) == ([Answer.OK], [])

    def push():
        wait_until(lambda: other.len() == 0, "the second task is finished")
        other.push("c")

    pushing = later(push)
    answers, (task,) = queue.next([second], block_ms=0)
    assert (answers, task.payload) == ([Answer.OK], b"c")
    pushing.join()


def test_next_finishes_more_tasks_than_fit_into_one_command(make):
    """The answers are in the order of the tasks."""
    queue = make()
    queue.push_many([str(n) for n in range(2500)])
    tasks = queue.claim(1000) + queue.claim(1000)
    queue.requeue(tasks[1500])
    answers, more = queue.next(tasks, 1000)
    assert answers == [Answer.OK] * 1500 + [Answer.LEASE_LOST] + [Answer.OK] * 499
    assert len(more) == 501


@pytest.mark.parametrize("options", [{}, {"shards": 3}])
def test_ack_and_push_finishes_a_task_and_pushes_the_next(make, options):
    """The id is that of the next task, which is in the same key. A task that is finished already pushes nothing."""
    queue = make(**options)
    queue.push("a", group="g")
    (task,) = queue.claim()
    made = queue.ack_and_push(task, "b", priority=3, retain_ms=5000, result="r", keep_ms=60_000)
    assert made.is_new
    (after,) = queue.claim(meta=True)
    assert (after.payload, after.meta.priority, after.meta.retain) == (b"b", 3, 5000)
    assert queue.get(made).state == "leased" and after.key == task.key
    assert queue.result(task).value == b"r"
    assert queue.ack_and_push(task, "c") is None
    assert queue.len() == 1
    with pytest.raises(TypeError, match="unknown option delay"):
        queue.ack_and_push(after, "c", delay=5)
    found = queue.push("waits", unique="t", group="g")
    again = queue.ack_and_push(after, "c", unique="t")
    assert (again, again.is_new) == (found, False)


def test_ack_and_push_leaves_the_task_if_the_push_is_refused(make):
    """Neither of them counts. The lease can be lost as well."""
    queue = make()
    queue.push_many(["a", "b"])
    first, second = queue.claim(2)
    queue.pause("in")
    with pytest.raises(Paused):
        queue.ack_and_push(first, "next")
    queue.resume("in")
    queue.configure(max_len=1)
    with pytest.raises(QueueFull):
        queue.ack_and_push(first, "next")
    queue.configure(max_len=2)
    assert queue.len("leased") == 2
    assert queue.ack_and_push(first, "next") is not None
    queue.requeue(second)
    queue.claim(2)
    with pytest.raises(LeaseLost):
        queue.ack_and_push(second, "next")
    assert queue.info().pushed == 3


def test_a_task_remembers_its_attempts(make):
    """Progress goes to the next claim, errors and the last attempt are typed values."""
    queue = make()
    queue.configure(errors_kept=2)
    task = queue.push("a", retain_ms=60_000)
    (first,) = queue.claim(worker="w1", meta=True)
    assert first.meta.progress is None
    queue.requeue(first, progress="step=1")
    (second,) = queue.claim(worker="w1", meta=True)
    assert second.meta.progress == b"step=1"
    assert queue.fail(second, "no disk", delay_ms=60_000, progress=b"step=2") == 60_000
    assert queue.retry([task]) == 1
    (third,) = queue.claim(worker="w2")
    assert queue.fail_many([third], "no net", dead=True, progress="step=3") == [Answer.DEAD]
    view = queue.get(task)
    assert (view.progress, view.error, view.worker) == (b"step=3", "no net", "w2")
    assert [(error.attempt, error.worker, error.error) for error in view.errors] == [
        (2, "w1", "no disk"), (3, "w2", "no net"),
    ]  # fmt: skip
    assert view.errors[1].at == view.dead_since == view.claimed + view.run_ms
    assert queue.settings().errors_kept == 2
    queue.retry([task])
    (last,) = queue.claim(worker="w3")
    assert queue.get(task).run_ms is None
    queue.ack(last)
    done = queue.get(task)
    assert (done.worker, done.progress, done.claimed + done.run_ms) == ("w3", None, done.done_since)


def test_a_claim_can_gather_a_fuller_batch(make):
    """It waits for a full batch, or until the first task has been ready for long enough."""
    queue, other = make(), make()
    queue.push("a")
    pushing = later(
        lambda: wait_until(lambda: other.info().blocked_workers == 1, "it waits") and other.push("b")
    )
    assert [task.payload for task in queue.claim(2, gather_ms=1000, block_ms=0)] == [b"a", b"b"]
    pushing.join()
    queue.push("c")
    assert [task.payload for task in queue.claim(2, gather_ms=30)] == [b"c"]
    assert queue.claim(2, gather_ms=30) == []
    (done,) = queue.push("d") and queue.claim()
    queue.push("e")
    assert [task.payload for task in queue.next([done], 2, gather_ms=30).tasks] == [b"e"]


def test_gather_has_bounds_and_does_not_work_with_shards(make):
    """The library waits in slices of a second."""
    queue = make()
    for wrong in (0, 1001):
        with pytest.raises(ValueError, match="gather_ms must be from 1 to 1000"):
            queue.claim(2, gather_ms=wrong)
    with pytest.raises(ValueError, match="gather_ms does not work with shards"):
        make(shards=3).claim(2, gather_ms=5)


@pytest.mark.parametrize("options", [{}, {"shards": 3}])
def test_next_refuses_wrong_arguments_and_finishes_nothing(make, options):
    """Unknown options, a single task, a wrong number, a negative wait, and a task of another queue."""
    queue, other = make(**options), make("{m}other")
    queue.push_many(["a", "b"])
    (task,) = queue.claim()
    for wrong in (task, task.handle, [[task]]):
        with pytest.raises(TypeError):
            queue.next(wrong)
    with pytest.raises(TypeError, match="unknown option lease"):
        queue.next([task], lease=1000)
    with pytest.raises(ValueError, match="must not be negative"):
        queue.next([task], block_ms=-1)
    with pytest.raises((ValueError, Refused)):
        queue.next([task], 0)
    if not options:
        with pytest.raises(ValueError, match="finishes tasks of {m}other only"):
            other.next([task])
    assert queue.ack(task) and queue.len("ready") == 1


def test_a_result_is_waited_for(make):
    """The task ends with a value or without one, with an error, or cancelled. None means that the time is over."""
    queue, worker = make(), make()
    first, second, third = queue.push_many(["a", "b", "c"], retain_ms=60_000)
    assert queue.result(first) is None and queue.result(first, block_ms=20) is None

    def work():
        one, two, three = worker.claim(3)
        worker.ack(one, result=b"\xff")
        worker.ack(two)
        worker.fail(three, "no route", dead=True)

    working = later(work)
    ended = [queue.result(task, block_ms=20_000) for task in (first, second, third)]
    working.join()
    assert [(one.state, one.value, one.error) for one in ended] == [
        ("done", b"\xff", None),
        ("done", None, None),
        ("dead", None, "no route"),
    ]


def test_failed_tasks_are_tried_again_and_dead_ones_after_retry(make):
    """The delay is the failure's own or the queue's backoff. RETRY makes dead tasks ready."""
    queue = make()
    queue.push("a", attempts=2)
    (task,) = queue.claim(noack=False)
    assert queue.fail(task, "once", delay_ms=1) == 1
    (task,) = queue.claim(block_ms=20_000)
    assert queue.fail(task, "twice") == -1
    (view,) = queue.tasks("dead")
    assert (view.error, view.failures) == ("twice", 2)
    assert queue.retry(view.id) == 1 and queue.retry([view.id]) == 0
    (task,) = queue.claim()
    queue.fail(task, dead=True)
    assert queue.retry_dead() == 1
    assert queue.claim(noack=True)[0].id == view.id


def test_a_task_that_waits_is_changed(make):
    """What is not given stays. A task that does not wait any more is not changed."""
    queue = make()
    task, other = queue.push("old", headers={"n": "v"}, delay_ms=60_000), queue.push("p")
    assert queue.set(task, payload=b"\xff", priority=3, group="g") is True
    view = queue.get(task)
    assert (view.payload, view.priority, view.group, view.headers) == (b"\xff", 3, "g", {"n": b"v"})
    assert queue.set(task, at=datetime(2100, 1, 1, tzinfo=UTC), headers={}, group="") is True
    view = queue.get(task)
    assert (view.due, view.headers, view.group or "") == (4102444800000, {}, "")
    (leased,) = queue.claim()
    assert leased.id == other and queue.set(leased, priority=1) is False
    assert queue.set_many([other, task, "1-1"], delay_ms=0) == [False, True, False]
    assert queue.get(task).state == "ready" and queue.set_many([], delay_ms=0) == []


def test_a_change_of_nothing_or_of_two_tasks_at_once_is_a_mistake(make):
    """A task is named in one way."""
    queue = make()
    task = queue.push("a", unique="t")
    for wrong in ({}, {"ttl_ms": 5}, {"unique": "t", "priority": 1}):
        with pytest.raises(TypeError):
            queue.set(task, **wrong)
    with pytest.raises(TypeError):
        queue.get()
    with pytest.raises(QueueFull):
        queue.configure(max_bytes=1)
        queue.set(task, payload="longer")


def test_a_token_names_the_task_that_holds_it(make, server):
    """A token that no living task holds is like an unknown id."""
    queue = make()
    task = queue.push("a", unique="t", delay_ms=60_000, retain_ms=60_000)
    assert queue.get(unique="t").id == task and queue.result(unique="t") is None
    assert queue.set(unique="t", payload="b", group="g") is True
    assert queue.retry(unique="t") == 1 and queue.retry(unique="t") == 0
    (leased,) = queue.claim()
    assert leased.payload == b"b" and queue.set(unique="t", priority=1) is False
    waiting = later(lambda: wait_until(lambda: asks(server), "it waits") and queue.ack(leased, result="42"))
    assert queue.result(unique="t", block_ms=20_000).value == b"42"
    waiting.join()
    assert queue.get(unique="t") is None and queue.cancel(unique="t") is None
    assert queue.retry(unique="t") == 0 and queue.set(unique="t", priority=1, group="g") is False
    with pytest.raises(UnknownTask):
        queue.result(unique="t", block_ms=0)
    queue.push("a", unique="t")
    assert queue.cancel(unique="t") == "removed"


def test_a_push_postpones_the_task_that_it_finds(make):
    """The task is due as the last push says, but at most so long after the first."""
    queue = make()
    options = {"unique": "t", "replace": True, "delay_ms": 60_000}
    first = queue.push("a", **options)
    before = queue.get(first)
    found = queue.push("b", **{**options, "delay_ms": 90_000}, postpone=True)
    view = queue.get(first)
    assert (found, found.is_new, view.payload) == (first, False, b"b") and view.due >= before.due + 30_000
    queue.push("c", **options, until_start=True, postpone=True, postpone_until_ms=70_000, request="r")
    assert queue.get(first).due <= before.enqueued + 70_000
    queue.push("d", **options, postpone_until_ms=1)
    wait_until(lambda: queue.get(first).state == "ready", "it is due")
    assert queue.get(first).payload == b"d"
    with pytest.raises(Refused):
        queue.push("e", unique="t", postpone=True)


def test_tasks_are_listed_page_by_page(make):
    """The pages have all tasks of a state in order, with payloads if asked for."""
    queue = make()
    ids = queue.push_many([str(n) for n in range(25)])
    assert [view.id for view in queue.tasks("ready", page=10)] == ids
    assert [view.payload for view in queue.tasks("ready", payloads=True)] == [b"%d" % n for n in range(25)]
    assert [view.id for view in queue.tasks("ready", payloads=True, max_bytes=1)] == ids, "one on a page"
    queue.claim(3, worker="w")
    assert len(list(queue.tasks("leased", worker="w"))) == 3


def test_info_and_its_sections_are_typed_values(make):
    """They are None or an empty list if there is no queue."""
    queue = make()
    assert queue.info() is None and queue.settings() is None
    assert queue.groups() == [] and queue.workers() == [] and queue.schedules() == []
    queue.set_group("acme", weight=2, concurrency=1, rate=5, rate_per_ms=100, ordered=True)
    queue.push_many(["a", "b"], group="acme")
    queue.claim(worker="w1")
    info = queue.info()
    assert (info.ready, info.leased, info.pushed, info.load.places_busy, info.load.backlog) == (1, 1, 2, 1, 1)
    assert info.in_per_second_1m > 0 and info.broken == "" and not info.more
    (group,) = queue.groups()
    assert (group.name, group.weight, group.ordered, group.rate, group.held_by) == (
        "acme",
        2,
        True,
        5,
        "concurrency",
    )
    assert [(worker.name, worker.leases) for worker in queue.workers()] == [("w1", 1)]
    queue.configure(lease=1234, backoff="fixed")
    assert (queue.settings().lease, queue.settings().backoff) == (1234, "fixed")
    queue.reset("lease")
    assert (queue.settings().lease, queue.settings().backoff) == (30_000, "fixed")
    assert queue.forget_group("acme") is True and queue.forget_group("nobody") is False


def test_times_count_every_wait_and_run(make):
    """They are histograms that only grow; None if there is no queue. The bounds of buckets are numbers."""
    queue = make()
    assert queue.times() is None
    queue.push_many(["a", "b", "c"])
    assert queue.times().wait == Durations(0, 0, {}) and queue.times().watched_ms >= 0
    first, second = queue.claim(2)
    queue.ack(first)
    queue.fail(second, "no", dead=True)
    times = queue.times()
    assert (times.wait.count, times.run.count, sum(times.wait.below_ms.values())) == (2, 1, 2)
    ((bound, count),) = times.run.below_ms.items()
    assert count == 1 and bound / 2 <= max(times.run.sum_ms, 0.5) < bound
    assert dict(times.run.cumulative())[bound] == 1 and not times.more


def test_a_queue_can_be_paused_and_its_tasks_removed(make):
    """The methods are pause, resume, cancel and purge."""
    queue = make()
    ids = queue.push_many(["a", "b", "c"])
    queue.pause(for_ms=60_000)
    assert queue.claim() == [] and queue.info().paused_out > 0
    queue.resume()
    assert queue.cancel_many([*ids[:1], "1-1"]) == ["removed", None]
    assert queue.purge("ready", 1) == 1 and queue.purge("all") == 1 and queue.purge("all") == 0


def test_a_queue_has_schedules(make):
    """They run at intervals or by a calendar. The tasks have the options that were given."""
    queue = make()
    assert queue.schedule("beat", "b", every_ms=100, catchup="none", priority=5) is True
    assert queue.schedule("night", "n", cron="30 2 * * *", tz="Europe/Berlin") is True
    assert queue.schedule("night", "n", cron="30 3 * * *") is False
    beat, night = queue.schedules()
    assert (beat.every, beat.catchup, night.cron, night.tz) == (100, "none", "30 3 * * *", "UTC")
    (task,) = queue.claim(block_ms=20_000, meta=True)
    assert (task.payload, task.meta.priority) == (b"b", 5)
    assert queue.unschedule("beat") is True and queue.unschedule("beat") is False


def test_shards_are_named_as_the_server_names_them(make):
    """The method asks the server."""
    assert make("orders").shards(2) == ["orders:{1bz}", "orders:{fjl}"]


def test_a_push_that_is_sent_again_pushes_once(make):
    """The token is the caller's, or the library's own for each call."""
    queue = make()
    assert queue.push("a", request="r1") == queue.push("a", request="r1")
    queue.push("a")
    assert queue.len() == 2
    many = [str(n) for n in range(1200)]
    assert queue.push_many(many, request="m") == queue.push_many(many, request="m")
    assert queue.len() == 1202


def test_a_claim_that_is_sent_again_gets_the_same_tasks(make):
    """A worker that gave up during a claim asks again with its token."""
    queue = make()
    queue.push_many(["a", "b"])
    assert queue.claim(request="r") == queue.claim(request="r")
    assert queue.len("ready") == 1


def test_a_call_survives_a_restart_of_the_server(make, server):
    """While the server is away, calls keep trying, and a waiting worker keeps waiting."""
    queue, worker = make(), make()
    queue.push("before")
    queue.claim(noack=True)
    got = []
    waiting = later(lambda: got.extend(worker.claim(block_ms=20_000)))
    wait_until(lambda: queue.info().blocked_workers == 1, "the worker waits")
    server.kill9()
    pushing = later(lambda: queue.push("after"))
    server.start()
    pushing.join(20)
    waiting.join(20)
    assert [task.payload for task in got] == [b"after"]


def test_next_survives_a_restart_of_the_server(make, server):
    """It keeps waiting. If its reply was lost, the answer says that there is nothing left to finish."""
    queue, worker = make(), make()
    queue.push("before")
    done = queue.claim()
    got = []
    waiting = later(lambda: got.append(worker.next(done, block_ms=20_000)))
    wait_until(lambda: queue.info().blocked_workers == 1, "the worker waits")
    assert queue.info().acked == 1
    server.kill9()
    pushing = later(lambda: queue.push("after"))
    server.start()
    pushing.join(20)
    waiting.join(20)
    [(answers, tasks)] = got
    assert answers[0] in (Answer.OK, Answer.GONE) and [task.payload for task in tasks] == [b"after"]


def test_a_call_gives_up_when_its_patience_is_over(make, server):
    """Then the client's own error is raised."""
    queue = make(patience_ms=50)
    assert queue.claim(block_ms=1) == []
    server.kill9()
    with pytest.raises((redis.ConnectionError, valkey.ConnectionError)):
        queue.claim(block_ms=60_000)


def test_no_task_is_stranded_by_a_worker_that_gave_up(make, server):
    """Its connection breaks during a hand-off. The next claim gets the task, at the latest after its lease."""
    queue = make(patience_ms=0)
    queue.configure(lease=200)
    with pytest.raises(Exception, match="(?i)time|connection|closed"):
        later(lambda: wait_until(lambda: waits(server), "it waits") and kill_and_push(server))
        queue.claim(block_ms=10_000)
    (task,) = make().claim(block_ms=10_000)
    assert task.payload == b"a"


def asks(server):
    """Whether a client waits for a result on this server."""
    return server.client().info("clients")["blocked_clients"] == 1


def waits(server):
    """Whether a worker waits on this server."""
    return server.client().info("taskslot")["taskslot_blocked_workers"] == 1


def kill_and_push(server):
    """Push a task and close all connections of clients in one transaction."""
    c = server.client()
    with c.pipeline(transaction=True) as both:
        both.execute_command("TASK.PUSH", "mail", "a")
        both.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        both.execute()


def test_a_text_is_not_many_payloads(make):
    """The characters of a string are not taken for payloads."""
    for queue in (make(), make(shards=4)):
        for payload in ("letters", b"bytes"):
            with pytest.raises(TypeError):
                queue.push_many(payload)
        assert queue.info() is None


def test_a_negative_wait_is_refused(make):
    """A computed time can be negative. It must not silently become a wait without a limit, or no wait."""
    for queue in (make(), make("orders", shards=4)):
        task = queue.push("p")
        with pytest.raises(ValueError, match="must not be negative"):
            queue.claim(block_ms=-1)
        with pytest.raises(ValueError, match="must not be negative"):
            queue.result(task, block_ms=-1)
        assert queue.len("ready") == 1


@pytest.mark.parametrize("token", [None, ""])
def test_a_push_without_a_token_of_its_own_gets_one(server, token):
    """None counts as no token too, because without a token a resend would push twice."""

    class Resending(redis.Redis):
        def execute_command(self, *words, **options):
            super().execute_command(*words, **options)
            return super().execute_command(*words, **options)

    with Resending(port=server.port) as client:
        queue = Queue(client, "mail")
        queue.push("p", request=token)
        assert queue.len() == 1


def test_groups_whose_names_are_not_text_are_listed_page_by_page(make, client):
    """They look alike as text, but the next page begins after the server's own bytes of the last name."""
    with client.pipeline(transaction=False) as pipeline:
        for number in range(1500):
            pipeline.execute_command("TASK.PUSH", "mail", "p", "GROUP", b"\xff%04d" % number)
        pipeline.execute()
    assert [group.name[1:] for group in make().groups()] == [f"{number:04}" for number in range(1500)]


def test_threads_that_start_together_share_one_twin(server, monkeypatch):
    """However many threads make the first claim, there is one twin for waits, so that `close` closes everything."""
    made, real, second = [], Client.twin, threading.Event()

    def twin(self, seconds):
        made.append(seconds)
        second.set() if len(made) > 1 else second.wait(0.3)
        return real(self, seconds)

    monkeypatch.setattr(Client, "twin", twin)
    with redis.Redis(port=server.port) as client, Queue(client, "mail") as queue:
        threads = [later(lambda: queue.claim(block_ms=10)) for _ in range(20)]
        for thread in threads:
            thread.join()
    assert len(made) == 1


@pytest.mark.parametrize("options", [{}, {"shards": 3}])
def test_a_method_for_one_task_refuses_a_list_and_one_for_many_a_single_task(make, options):
    """A stale handle in a list would return True, and a string would pass for a task per character."""
    queue = make(**options)
    queue.push_many(["a", "b"])
    stale = queue.claim(2, lease_ms=60_000)
    assert queue.requeue_many(stale) == [1, 1]
    for name in ("ack", "requeue", "extend", "fail", "get", "result", "cancel"):
        for wrong in ([stale[0]], [stale[0].handle], [], stale[0].handle.encode(), None):
            with pytest.raises(TypeError, match="expected (one|either a) task"):
                getattr(queue, name)(wrong)
    for name in ("ack_many", "requeue_many", "extend_many", "fail_many", "cancel_many"):
        for wrong in (stale[0], stale[0].handle, stale[0].handle.encode()):
            with pytest.raises(TypeError, match="takes several"):
                getattr(queue, name)(wrong)
        with pytest.raises(TypeError, match="expected one task"):
            getattr(queue, name)([stale])
    with pytest.raises(TypeError, match="takes several"):
        queue.retry(stale[0].handle.encode())
    assert queue.len("ready") == 2
    for name in ("ack", "requeue", "extend", "fail"):
        with pytest.raises(LeaseLost):
            getattr(queue, name)(stale[0])
        answers = getattr(queue, f"{name}_many")(task for task in stale)
        assert answers == [Answer.LEASE_LOST] * 2
    if not options:
        with pytest.raises(TypeError, match="takes several"):
            queue.claim(also="other")


@pytest.mark.parametrize("options", [{}, {"shards": 3}])
def test_a_claimed_task_can_be_passed_instead_of_its_id(make, options):
    """It can also be passed instead of its handle."""
    queue = make(**options)
    queue.push("a", retain_ms=60_000)
    (task,) = queue.claim()
    assert (
        queue.result(task) is None
        and queue.cancel(task) == "asked"
        and queue.cancel_many([task]) == ["asked"]
    )
    queue.push("b")
    (other,) = queue.claim()
    assert queue.fail(other, dead=True) == Answer.DEAD and queue.retry([other]) == 1


@pytest.mark.parametrize("options", [{}, {"shards": 3}])
def test_an_instant_in_the_wrong_unit_is_refused(make, options):
    """Unix seconds would be long ago, so the task would be ready at once. Microseconds are far in the future."""
    queue = make(**options)
    numbers = [1_760_000_000, 1_760_000_000.5, 0, -5, float("nan"), float("inf"), 1_760_000_000_000_000]
    wrong = dict.fromkeys([*numbers, datetime(2026, 5, 4, 12)], ValueError)
    for at, error in {**wrong, date(2026, 5, 4): TypeError, "2026-05-04": TypeError, True: TypeError}.items():
        with pytest.raises(error, match="^at "):
            queue.push("a", at=at)
        with pytest.raises(error, match="^at "):
            queue.push_many(["a"], at=at)
    assert queue.len() == queue.len("delayed") == 0


def test_an_instant_can_be_a_datetime_or_ms(make):
    """A float is rounded. A datetime can have any time zone."""
    queue, now = make(), time.time()
    hour = timezone(timedelta(hours=1))
    instants = [now * 1000 + 60_000.4, round(now * 1000) + 60_000, datetime.fromtimestamp(now + 60, hour)]
    dues = {queue.get(queue.push("a", at=at)).due for at in instants}
    assert max(dues) - min(dues) <= 1 and abs(max(dues) - now * 1000 - 60_000) <= 1


def test_tasks_are_listed_the_other_way_round_and_by_a_pattern(make):
    """`match` is for the payload, `header` for the value of a header."""
    queue = make()
    first = queue.push("mail to ada")
    second = queue.push(b"mail to \xff", headers={"kind": "mail"})
    third = queue.push("sms", headers={"kind": "sms"})
    assert [view.id for view in queue.tasks("ready", reverse=True, page=1)] == [third, second, first]
    assert [view.id for view in queue.tasks("ready", match="mail*")] == [first, second]
    assert [view.id for view in queue.tasks("ready", match=b"*\xff")] == [second]
    assert [view.id for view in queue.tasks("ready", header=("kind", "[^m]*"))] == [third]
    with pytest.raises(Refused, match="options MATCH and HEADER"):
        list(queue.tasks("ready", match="a", header=("kind", "b")))


def test_tasks_are_removed_by_their_ids_and_by_age(make):
    """Leased tasks stay. A state and ids cannot be given together."""
    queue = make()
    ids = queue.push_many(["a"] * 1200)
    leased = queue.claim(1)[0]
    assert queue.purge("ready", older_ms=3_600_000) == queue.purge(ids=ids, older_ms=3_600_000) == 0
    assert queue.purge(ids=[leased, *ids]) == 1199
    assert queue.purge(ids=[]) == 0 and queue.len() == 1
    queue.fail(leased, dead=True)
    assert queue.purge("dead", older_ms=0) == 1
    for call in (lambda: queue.purge(), lambda: queue.purge("dead", ids=ids)):
        with pytest.raises(ValueError, match="either a state or ids"):
            call()


def test_the_dead_of_a_group_are_retried_and_a_group_is_paused(make):
    """Other groups are not touched."""
    queue = make()
    for group in ("a", "b", "a"):
        queue.push(group, group=group)
        queue.fail(queue.claim()[0], dead=True)
    assert queue.retry_dead(group="a") == 2 and queue.len("dead") == 1
    assert queue.retry_dead() == 1
    queue.pause(group="a", for_ms=60_000)
    assert [task.payload for task in queue.claim(9)] == [b"b"]
    (paused, _) = queue.groups()
    assert (paused.held_by, paused.more) == ("pause", {}) and 0 < paused.paused_ms <= 60_000
    queue.resume(group="a")
    assert [task.payload for task in queue.claim(9)] == [b"a", b"a"]
    for call in (lambda: queue.pause("in", group="a"), lambda: queue.resume("all", group="a")):
        with pytest.raises(ValueError, match="only the claims of a group"):
            call()


def test_a_run_of_a_schedule_can_be_made_now(make):
    """`schedules` shows the payload and the options of its tasks."""
    queue = make()
    queue.schedule("beat", b"tick", every_ms=3_600_000, priority=3, group="g", headers={"k": "v"})
    task = queue.run_schedule("beat")
    (claimed,) = queue.claim()
    assert (claimed.id, claimed.payload) == (task, b"tick")
    (beat,) = queue.schedules()
    assert (beat.payload, beat.priority, beat.group, beat.made) == (b"tick", 3, "g", 1)
    assert (beat.headers, beat.unique, beat.more) == ({"k": b"v"}, None, {})
    with pytest.raises(Refused, match="no such schedule"):
        queue.run_schedule("none")
