"""A sharded queue: where tasks go, how workers find them, and the methods for all shards."""

import inspect
import threading
from collections import Counter

import pytest
import redis
import valkey
from harness.blocking import Blocking
from harness.results import result_of
from harness.server import wait_until
from redis.backoff import NoBackoff
from redis.retry import Retry
from taskslot import Answer, AsyncShardedQueue, Queue, Refused, ShardedQueue, WrongType, shards
from taskslot.clients import Client

SHARDS = 4


@pytest.fixture
def queue(make):
    """An empty queue of four shards."""
    return make("orders", shards=SHARDS)


def shard(task):
    """The number of the shard of an id or a handle."""
    return int(str(task).partition("/")[0])


def test_it_has_the_methods_of_a_queue():
    """They have the same parameters, so the classes are interchangeable. The docstring lists the differences."""
    methods = [
        {name: inspect.signature(method) for name, method in vars(kind).items() if not name.startswith("_")}
        for kind in (Queue, ShardedQueue)
    ]
    one, many = methods
    assert one.keys() - many.keys() == {"shards"} and many.keys() - one.keys() == {"infos"}
    assert [name for name in one.keys() & many.keys() if one[name] != many[name]] == [
        "claim"
    ]  # except `also`


def test_tasks_spread_over_the_shards(queue, client):
    """Each shard has its part. Tasks that are pushed one by one are spread evenly. The ids name the shards."""
    ids = [queue.push(str(n)) for n in range(100)]
    counts = Counter(map(shard, ids))
    assert max(counts.values()) - min(counts.values()) <= 20
    counts.update(map(shard, queue.push_many(map(str, range(100, 2000)))))
    assert sum(counts.values()) == 2000 and min(counts.values()) >= 200
    for number, key in enumerate(shards.names("orders", SHARDS)):
        assert client.execute_command("TASK.LEN", key) == counts[number]


def test_a_group_and_a_token_have_their_shard(queue):
    """A group takes precedence over a token. A token is found again on its shard."""
    for n in range(20):
        assert shard(queue.push("p", group=f"g{n}")) == shards.shard_of_name(f"g{n}", SHARDS)
        assert shard(queue.push("p", unique=f"u{n}")) == shards.shard_of_name(f"u{n}", SHARDS)
        assert shard(queue.push("p", unique=f"v{n}", group="acme")) == shards.shard_of_name("acme", SHARDS)
    assert [shard(task) for task in queue.push_many(["a", "b"], group="acme")] == [
        shards.shard_of_name("acme", SHARDS)
    ] * 2
    first = queue.push("p", unique="once")
    again = queue.push("p", unique="once")
    assert (first, first.is_new, again.is_new) == (again, True, False)


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_a_count_out_of_bounds_is_refused_on_empty_shards_too(queue, count):
    """It is refused even if no shard has tasks, so that no shard is asked."""
    with pytest.raises(ValueError, match="1 to 1000"):
        queue.claim(count)
    with pytest.raises(TypeError, match="also"):
        queue.claim(also=["other"])


def test_a_user_without_permission_to_look_gets_an_error(library, server, client, loop):
    """Without TASK.LEN and TASK.INFO, a worker would only find tasks on its home shard. A producer needs neither."""
    asks = ["+@connection", "+task.push", "+task.claim"]
    client.execute_command("ACL", "SETUSER", "bob", "on", ">secret", "~*", *asks)
    is_async = library.endswith("asyncio")
    module = redis if library.startswith("redis") else valkey
    kind = getattr(module.asyncio if is_async else module, "Redis" if module is redis else "Valkey")
    theirs = kind(port=server.port, username="bob", password="secret")

    def one():
        if is_async:
            return Blocking(AsyncShardedQueue(theirs, "orders", shards=SHARDS), loop)
        return ShardedQueue(theirs, "orders", shards=SHARDS)

    producer, worker = one(), one()
    assert len({shard(producer.push("p")) for _ in range(50)}) == SHARDS
    with pytest.raises(Refused, match="no permissions"):
        worker.claim()
    for queue in (producer, worker):
        queue.close()


def test_tasks_of_all_shards_are_claimed_and_answered(queue):
    """Each task is claimed once and can be acked by its handle. A claim never returns more than `count`."""
    queue.push_many([str(n) for n in range(300)])
    tasks = []
    while got := queue.claim(7):
        assert len(got) <= 7
        tasks += got
    assert sorted(int(task.payload) for task in tasks) == list(range(300))
    assert len({task.key for task in tasks}) > 1
    assert all(deadline > 10**12 for deadline in queue.extend_many(tasks))
    one, two, three, four, *others = tasks
    assert queue.ack(one) is True and queue.ack(two.handle) is True
    assert queue.fail(three, "bad", dead=True) == -1
    assert queue.requeue(four) is True and queue.extend(others[0]) > 10**12
    assert queue.ack_many(others[:-1]) == [Answer.OK] * 295
    assert queue.fail_many(others[-1:], delay_ms=60_000) == [60_000]
    assert (queue.len(), queue.len("dead"), queue.len("delayed")) == (2, 1, 1)


def test_a_token_finds_its_task_on_any_shard(queue):
    """A task with a group is on the shard of the group, not on that of its token."""
    tasks = {f"t{n}": queue.push("p", unique=f"t{n}", group=f"g{n}", delay_ms=60_000) for n in range(6)}
    tasks["u"] = queue.push("p", unique="u", delay_ms=60_000)
    for token, task in tasks.items():
        assert queue.get(unique=token).id == task and queue.result(unique=token) is None
        assert queue.set(unique=token, priority=5) is True and queue.get(task).priority == 5
        assert queue.retry(unique=token) == 1 and queue.cancel(unique=token) == "removed"
        assert queue.get(unique=token) is None and queue.set(unique=token, priority=1) is False


def test_a_task_moves_only_to_a_group_of_its_shard(queue):
    """It can always leave its group."""
    task = queue.push("p", unique="t", group="g0")
    here = [f"g{n}" for n in range(1, 50) if shards.shard_of_name(f"g{n}", SHARDS) == shard(task)]
    there = [f"g{n}" for n in range(1, 50) if shards.shard_of_name(f"g{n}", SHARDS) != shard(task)]
    assert queue.set_many([task], group=here[0]) == [True] and queue.set(unique="t", group=here[1]) is True
    assert queue.get(task).group == here[1]
    for named in ({"task": task}, {"unique": "t"}):
        with pytest.raises(ValueError):
            queue.set(**named, group=there[0])
    assert queue.set(task, group="") is True


def test_an_id_without_a_valid_shard_is_refused(queue):
    """The shard is missing or does not exist."""
    for name in ("1-1", "9/1-1", "x/1-1", "", "/1-1", "-1/1-1"):
        with pytest.raises(ValueError, match="begins with its shard"):
            queue.get(name)


@pytest.mark.parametrize("number", range(SHARDS))
def test_a_worker_finds_a_task_on_any_shard(make, client, number):
    """It waits on its home shard and looks at the others, even if it waits without a limit."""
    queue = make("orders", shards=SHARDS)
    key = shards.names("orders", SHARDS)[number]
    pushing = threading.Timer(0.1, lambda: client.execute_command("TASK.PUSH", key, "late"))
    pushing.start()
    (task,) = queue.claim(3, block_ms=0)
    assert (task.payload, task.key) == (b"late", key)
    pushing.join()


def test_a_claim_that_finds_nothing_ends_in_time(queue):
    """It returns an empty list."""
    assert queue.claim() == [] and queue.claim(block_ms=1) == [] and queue.claim(block_ms=150) == []


def test_workers_spread_over_the_shards_for_their_waits(make, client):
    """Four workers that begin with the same home have different ones after some looks."""
    queues = [make("orders", shards=SHARDS) for _ in range(SHARDS)]
    for queue in queues:
        getattr(queue, "inner", queue)._claims.home = 0
    queues[0].configure(lease=30_000)  # creates all shards, so that they count waiting workers
    stop = threading.Event()

    def wait_about(queue):
        while not stop.is_set():
            queue.claim(block_ms=500)

    workers = [threading.Thread(target=wait_about, args=[queue], daemon=True) for queue in queues]
    for worker in workers:
        worker.start()
    keys = shards.names("orders", SHARDS)

    def waiting():
        infos = [client.execute_command("TASK.INFO", key) for key in keys]
        fields = [
            info if isinstance(info, dict) else dict(zip(info[::2], info[1::2], strict=True))
            for info in infos
        ]
        return [one[b"blocked-workers"] for one in fields]

    wait_until(lambda: max(waiting()) <= 2 and sum(waiting()) >= 3, "the workers have spread", 40)
    stop.set()
    for worker in workers:
        worker.join(10)


def test_threads_that_begin_at_once_share_the_connections(client, monkeypatch):
    """There is one client for looks and one for waits. Another one would never be closed."""
    made, second, twin = [], threading.Event(), Client.twin

    def slow_twin(self, timeout_s):
        made.append(timeout_s)
        second.set() if len(made) > 2 else second.wait(0.3)
        return twin(self, timeout_s)

    monkeypatch.setattr(Client, "twin", slow_twin)
    with ShardedQueue(client, "orders", shards=2) as queue:
        threads = [threading.Thread(target=queue.claim, kwargs={"block_ms": 10}) for _ in range(4)]
        threads += [threading.Thread(target=queue.queues[0].claim, kwargs={"block_ms": 10}) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(made) == 2


def test_a_push_repeated_with_its_token_pushes_once(queue):
    """The token decides the shard, so a repeated call finds it. A group and a unique token take precedence."""
    assert len({queue.push("a", request="r") for _ in range(20)}) == 1
    assert shard(queue.push("a", request="r2", group="acme")) == shards.shard_of_name("acme", SHARDS)
    many = [str(n) for n in range(350)]
    assert queue.push_many(many, request="m") == queue.push_many(many, request="m")
    assert queue.len() == 352


def test_a_claim_that_is_sent_again_gets_the_same_tasks(queue):
    """It is sent to the same shard, if that still has tasks."""
    queue.push_many(["a", "b"], group="acme")
    assert queue.claim(request="r") == queue.claim(request="r")


def test_info_adds_up_all_shards(queue):
    """Counts and rates are added. The figures of each shard are available too."""
    assert queue.info() is None and queue.settings() is None and queue.groups() == []
    queue.push_many(map(str, range(500)))
    tasks = queue.claim(10)
    info = queue.info()
    assert (info.ready, info.leased, info.pushed, info.load.places_busy, info.load.backlog) == (
        490,
        10,
        500,
        10,
        490,
    )
    assert sum(one.pushed for one in queue.infos().values() if one) == 500
    assert (queue.times().wait.count, queue.times().run.count) == (10, 0)
    assert queue.get(tasks[0]).state == "leased" and queue.get(tasks[0].id).id == tasks[0].id
    assert len(list(queue.tasks("ready", page=50))) == 490
    ids = [view.id for view in queue.tasks("ready")]
    assert queue.cancel(ids[0]) == "removed" and queue.cancel_many(ids[:2]) == [None, "removed"]
    queue.claim(2, worker="w1")
    assert [(one.name, one.leases) for one in queue.workers()] == [("", 10), ("w1", 2)]


def test_all_shards_are_administered_together(queue, client):
    """Settings, pauses, purges and retries affect all shards."""
    shards_apart = [Queue(client, key) for key in shards.names("orders", SHARDS)]
    queue.configure(lease=1234)
    assert [one.settings().lease for one in shards_apart] == [
        1234
    ] * SHARDS and queue.settings().lease == 1234
    queue.reset()
    assert [one.settings().lease for one in shards_apart] == [30_000] * SHARDS
    ids = queue.push_many(map(str, range(400)))
    queue.pause()
    assert queue.claim() == [] and queue.claim(block_ms=60) == []
    queue.resume()
    tasks = queue.claim(400)
    assert len(tasks) == 400
    dead, others = tasks[::10], [task for task in tasks if task not in tasks[::10]]
    queue.fail_many(dead, dead=True)
    queue.requeue_many(others)
    assert queue.retry([dead[0].id, dead[-1].id]) == 2
    assert queue.retry_dead(15) == 15 and queue.retry_dead() == 23
    assert queue.purge("ready", 150) == 150 and queue.purge("all") == len(ids) - 150


def test_a_groups_settings_are_on_its_own_shard(queue):
    """That is the shard of its tasks."""
    names = [f"tenant-{n}" for n in range(8)]
    assert len({shards.shard_of_name(name, SHARDS) for name in names}) > 2
    for name in names:
        queue.set_group(name, concurrency=1)
        queue.push_many(["a", "b"], group=name)
    assert len(queue.claim(100)) == len(names)
    assert [(group.name, group.held_by) for group in queue.groups()] == [
        (name, "concurrency") for name in names
    ]
    assert [queue.forget_group(name) for name in names] == [True] * 8


def test_a_bad_argument_is_refused_by_a_shard(queue):
    """The errors are those of a queue that is not sharded."""
    with pytest.raises(Refused):
        queue.push("x", delay_ms=-5)


def test_a_caller_can_wait_for_a_result_of_a_shard(queue, client):
    """It uses the id that the push returned."""
    task = queue.push("a")
    (claimed,) = queue.claim()
    assert result_of(queue, task, client, lambda: queue.ack(claimed, result="r")).value == b"r"


def test_a_schedule_is_on_the_first_shard(queue):
    """This does not depend on its group. Its tasks are claimed like others."""
    assert queue.schedule("beat", "b", every_ms=100, group="acme") is True
    assert [one.name for one in queue.schedules()] == ["beat"]
    (task,) = queue.claim(block_ms=20_000)
    assert shard(task.handle) == 0
    assert queue.unschedule("beat") is True


def test_an_unreachable_server_does_not_count_as_an_empty_queue(server):
    """The client's own error is raised when the patience ends, even if the claim doesn't wait."""
    client = redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0))
    with client, ShardedQueue(client, "orders", shards=SHARDS, patience_ms=50) as queue:
        queue.push("a")
        server.kill9()
        for block_ms in (None, 1, 0):
            with pytest.raises(redis.ConnectionError):
                queue.claim(block_ms=block_ms)


def test_an_error_of_one_shard_does_not_stop_the_others(queue, client):
    """The tasks of other shards are done, none of their leases is lost, and claims that find nothing don't fail."""
    keys = shards.names("orders", SHARDS)
    ids = queue.push_many([str(n) for n in range(1000)])
    others = [task for task in ids if shard(task) != 0]
    client.set(keys[0], "no queue")
    getattr(queue, "inner", queue)._loads.ready[0] = 500  # as it was known before
    claimed = []
    while len(claimed) < len(others):
        claimed += queue.claim(10, block_ms=10_000)
    assert sorted(task.id for task in claimed) == sorted(others)
    assert sum(client.execute_command("TASK.LEN", key, "leased") for key in keys[1:]) == len(others)
    assert queue.claim() == [] and queue.claim(block_ms=100) == []


def test_an_error_of_all_shards_is_raised(queue, client):
    """Otherwise a worker would wait without a limit."""
    for key in shards.names("orders", SHARDS):
        client.set(key, "no queue")
    with pytest.raises(WrongType):
        queue.claim(block_ms=0)


def test_a_tied_claim_over_shards_is_refused(queue):
    """It uses a pool, where one late reply would end leases that are still in use."""
    with pytest.raises(ValueError, match="tied"):
        queue.claim(tied=True)


def test_a_group_is_paused_and_retried_on_its_shard(queue):
    """Ids of purge are sent to their shards. A run of a schedule is on shard 0."""
    ids = [queue.push("x", group=f"g{n}") for n in range(6)]
    queue.pause(group="g3")
    tasks = queue.claim(9)
    assert len(tasks) == 5 and ids[3] not in {task.id for task in tasks}
    assert [group.name for group in queue.groups() if group.held_by == "pause"] == ["g3"]
    queue.fail_many(tasks, dead=True)
    assert queue.retry_dead(group="g1") == 1 and queue.len("dead") == 4
    queue.resume(group="g3")
    assert queue.purge(ids=ids) == 6
    queue.schedule("beat", "tick", every_ms=3_600_000)
    assert queue.run_schedule("beat").startswith("0/")
