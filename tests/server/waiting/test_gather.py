"""GATHER: workers that wait for more tasks."""

import pytest
from harness.server import Server
from harness.talk import Error, effects
from harness.waiting import FORCED, Floor

HOUR = 3_600_000


def gathers(floor: Floor, count: int, *options: object, key: object = "q", ms: int = HOUR, block: int = 0):
    """A new worker that waits for a batch of this size."""
    return floor.waiting(key, "COUNT", count, "GATHER", ms, *options, block=block)


def push(floor: Floor, names: str, *options: object, key: str = "q") -> None:
    """Push a task for each letter."""
    floor.boss("TASK.MPUSH", key, *options, "TASKS", len(names), *names)


def letters(names: str) -> list[bytes]:
    """The payloads of these tasks."""
    return [name.encode() for name in names]


# ---- when it is served


def test_a_worker_that_gathers_is_served_when_its_batch_is_full(floor):
    """Two tasks are not enough for three places. The third makes one effect with three leases."""
    worker = gathers(floor, 3)
    push(floor, "a")
    push(floor, "b")
    assert floor.all_wait([worker]) and floor.boss("TASK.LEN", "q", "ready") == 2
    push(floor, "cd")
    assert worker.payloads() == letters("abc")
    assert floor.boss("TASK.LEN", "q", "ready") == 1
    floor.nobody_waits()


def test_it_takes_what_is_there_when_the_first_task_has_waited_for_long_enough(floor):
    """The span begins with the first task, not with the claim."""
    worker = gathers(floor, 10, ms=60)
    push(floor, "a")
    push(floor, "b")
    assert worker.payloads() == letters("ab")
    floor.nobody_waits()


def test_a_task_that_has_waited_already_is_taken_at_once(floor):
    """The reply comes without a wait, although the batch is not full."""
    push(floor, "ab")
    floor.eventually(lambda: age(floor) > 30, "the task is 30 ms old")
    assert [task[1] for task in floor.boss("TASK.CLAIM", "q", "COUNT", 9, "GATHER", 20)] == letters("ab")


def age(floor: Floor) -> int:
    """How long the oldest ready task has waited, by the server's clock."""
    [task, *_] = floor.boss("TASK.LIST", "q", "ready")[1]
    ms = int(floor.boss.as_map(task)[b"id"].split(b"-")[0])
    seconds, micros = floor.boss("TIME")
    return int(seconds) * 1000 + int(micros) // 1000 - ms


def test_a_full_batch_is_taken_at_once(floor):
    """Also without BLOCK."""
    push(floor, "abc")
    got = floor.boss("TASK.CLAIM", "q", "COUNT", 2, "GATHER", HOUR)
    assert [task[1] for task in got] == letters("ab")


def test_without_block_it_waits_for_more_but_not_for_the_first_task(floor):
    """An empty queue gives an empty reply. A task that is there is waited with."""
    assert floor.boss("TASK.CLAIM", "q", "COUNT", 2, "GATHER", HOUR) == []
    push(floor, "a")
    worker = floor.worker()
    floor.seen_to_wait(lambda: worker.send(["TASK.CLAIM", "q", "COUNT", 2, "GATHER", HOUR]))
    push(floor, "b")
    assert worker.payloads() == letters("ab")
    push(floor, "c")
    assert [task[1] for task in floor.boss("TASK.CLAIM", "q", "COUNT", 2, "GATHER", 30)] == letters("c")


def test_without_block_the_wait_ends_when_others_have_taken_the_tasks(floor):
    """The reply is empty then."""
    push(floor, "a")
    worker = floor.worker()
    floor.seen_to_wait(lambda: worker.send(["TASK.CLAIM", "q", "COUNT", 2, "GATHER", 80]))
    floor.boss.claim("q")
    assert worker.payloads() == []
    floor.nobody_waits()


def test_the_end_of_block_ends_the_gathering(floor):
    """It takes what is there. If nothing is there, the reply is empty."""
    worker = gathers(floor, 5, block=120)
    push(floor, "a")
    assert worker.payloads() == letters("a")
    assert gathers(floor, 5, block=20).payloads() == []
    floor.nobody_waits()


def test_bytes_make_a_batch_full(floor):
    """The third payload would exceed BYTES, so two tasks are a full batch."""
    worker = gathers(floor, 10, "BYTES", 250)
    floor.boss.push("q", "a" * 100)
    floor.boss.push("q", "b" * 100)
    assert floor.all_wait([worker])
    floor.boss.push("q", "c" * 100)
    assert worker.payloads() == [b"a" * 100, b"b" * 100]


@pytest.mark.parametrize("kind", ["MULTI", "EVAL"])
def test_in_transactions_and_scripts_it_takes_what_is_there(floor, kind):
    """Nothing can wait there."""
    push(floor, "ab")
    claim = ["TASK.CLAIM", "q", "COUNT", 5, "BLOCK", 0, "GATHER", HOUR]
    if kind == "MULTI":
        floor.boss("MULTI")
        floor.boss(*claim)
        [got] = floor.boss("EXEC")
    else:
        script = "return redis.call('TASK.CLAIM', KEYS[1], 'COUNT', 5, 'BLOCK', 0, 'GATHER', 9999)"
        got = floor.boss("EVAL", script, 1, "q")
    assert [task[1] for task in got] == letters("ab")


def test_a_transaction_that_fills_a_batch_serves_it_afterwards(floor):
    """The tasks of a transaction count together."""
    worker = gathers(floor, 3)
    floor.boss("MULTI")
    for name in "abc":
        floor.boss("TASK.PUSH", "q", name)
    floor.boss("EXEC")
    assert worker.payloads() == letters("abc")


# ---- others


def test_others_get_tasks_while_a_worker_gathers(floor):
    """Neither a claim nor a worker that waits is held up. The batch begins anew with what comes."""
    worker = gathers(floor, 3)
    push(floor, "a")
    assert [task[1] for task in floor.boss("TASK.CLAIM", "q")] == letters("a")
    plain = floor.waiting()
    push(floor, "b")
    assert plain.payloads() == letters("b")
    assert floor.all_wait([worker])
    push(floor, "cde")
    assert worker.payloads() == letters("cde")


def test_a_worker_that_gathers_is_not_passed_over_for_ever(floor):
    """Others take each task at once. When its span is over, the next task is for the worker that came first."""
    worker = gathers(floor, 3, ms=40)
    taken = 0
    while not worker.has_answer():
        plain = floor.asking()
        push(floor, "x")
        floor.eventually(lambda plain=plain: plain.has_answer() or worker.has_answer(), "a task is taken")
        taken += plain.has_answer()
    assert taken > 0
    assert worker.payloads() == letters("x")


def test_workers_gather_one_after_the_other(floor):
    """The first in line is filled first, also if the second would be content with less."""
    first, second = gathers(floor, 3), gathers(floor, 2)
    push(floor, "ab")
    assert floor.all_wait([first, second])
    late = floor.worker()
    floor.seen_to_wait(lambda: late.send(["TASK.CLAIM", "q", "COUNT", 2, "GATHER", HOUR]))
    push(floor, "c")
    assert first.payloads() == letters("abc")
    assert floor.all_wait([second, late])
    push(floor, "defg")
    assert floor.all_got([second, late]) == [letters("de"), letters("fg")]


def test_the_second_in_line_gets_tasks_of_its_own_when_its_wait_ends(floor):
    """The first gathers on."""
    first = gathers(floor, 9)
    second = gathers(floor, 9, block=150)
    push(floor, "ab")
    assert second.payloads() == letters("ab")
    assert floor.all_wait([first])


def test_workers_for_groups_gather_each_for_theirs(floor):
    """A batch for a group has tasks of this group only."""
    f, g = gathers(floor, 2, "GROUP", "f"), gathers(floor, 2, "GROUP", "g")
    push(floor, "a", "GROUP", "f")
    push(floor, "b", "GROUP", "g")
    assert floor.all_wait([f, g])
    push(floor, "c", "GROUP", "g")
    assert g.payloads() == letters("bc")
    assert floor.all_wait([f])


def test_a_worker_for_a_group_takes_what_is_there_in_time(floor):
    """Its batch is not full. No other write comes, and its wait has no end."""
    worker = gathers(floor, 3, "GROUP", "f", ms=60)
    push(floor, "a", "GROUP", "g")
    push(floor, "bc", "GROUP", "f")
    assert worker.payloads() == letters("bc")
    floor.nobody_waits()


def test_a_worker_for_a_group_takes_what_is_there_when_its_wait_ends(floor):
    """The first in line gathers on."""
    first = gathers(floor, 9, "GROUP", "f")
    second = gathers(floor, 9, "GROUP", "f", block=150)
    push(floor, "ab", "GROUP", "f")
    assert second.payloads() == letters("ab")
    assert floor.all_wait([first])


@pytest.mark.parametrize("group", [[], ["GROUP", "f"]], ids=["any", "group"])
@pytest.mark.parametrize("ends", ["unblocked", "closed", "elsewhere"])
def test_the_next_in_line_gathers_from_the_tasks_that_are_there(floor, group, ends):
    """The first leaves, or is served by another queue. It would have gathered for an hour. No other task comes."""
    first = gathers(floor, 2, *group, key=["q", "r"])
    second = gathers(floor, 2, *group, ms=30)
    push(floor, "a", *group)
    assert floor.all_wait([first, second])
    if ends == "unblocked":
        floor.boss("CLIENT", "UNBLOCK", first.id)
    elif ends == "closed":
        first.leave()
    else:
        push(floor, "bc", *group, key="r")
        assert first.served() == (b"r", letters("bc"))
    assert second.payloads() == letters("a")
    floor.nobody_waits()


@pytest.mark.parametrize("group", [[], ["GROUP", "f"]], ids=["any", "group"])
def test_a_worker_whose_time_is_over_takes_tasks_of_each_queue_that_it_waits_for(floor, group):
    """Its time began in another queue, where the task was then taken. Here it stands behind one that gathers on."""
    first = gathers(floor, 2, *group)
    worker = gathers(floor, 2, *group, key=["r", "q"], ms=60)
    push(floor, "a", *group)
    floor.boss.many([["TASK.PUSH", "r", "b", *group], ["TASK.CLAIM", "r"]])
    assert worker.served() == (b"q", letters("a"))
    assert floor.all_wait([first])


def test_limits_of_groups_bound_what_counts(floor):
    """Of five tasks of a group that runs two at a time, two count. The others come with the time."""
    floor.boss("TASK.GROUP", "q", "SET", "g", "CONCURRENCY", 2)
    worker = gathers(floor, 3)
    push(floor, "abcde", "GROUP", "g")
    assert floor.all_wait([worker])
    push(floor, "f", "GROUP", "h")
    assert sorted(worker.payloads()) == letters("abf")


def test_a_pause_holds_a_batch_back(floor):
    """After RESUME it is delivered."""
    worker = gathers(floor, 2)
    floor.boss("TASK.PAUSE", "q", "OUT")
    push(floor, "ab")
    assert floor.all_wait([worker])
    floor.boss("TASK.RESUME", "q")
    assert worker.payloads() == letters("ab")


def test_a_task_that_stalled_twice_is_delivered_alone(floor):
    """More tasks would not make its batch fuller."""
    push(floor, "a")
    for _ in range(2):
        floor.boss("TASK.CLAIM", "q", "LEASE", 1)
        floor.eventually(lambda: floor.boss("TASK.LEN", "q", "leased") == 0, "the lease ends")
    worker = gathers(floor, 5, "WORKER", "w")
    assert worker.payloads() == letters("a")


# ---- how it combines


def test_mclaim_gathers_in_each_queue(floor):
    """All tasks of a batch come from one queue."""
    worker = gathers(floor, 2, key=["q", "r"])
    push(floor, "a")
    push(floor, "b", key="r")
    assert floor.all_wait([worker])
    push(floor, "c", key="r")
    assert worker.served() == (b"r", letters("bc"))
    worker = floor.worker().asks(["r", "q"], "COUNT", 2, "GATHER", 50)
    key, tasks = worker.served()
    assert (key, tasks) == (b"q", letters("a"))


def test_next_answers_at_once_and_gathers(floor):
    """The ack counts while it waits."""
    push(floor, "a")
    handle = floor.boss.claim("q")
    worker = floor.worker()
    floor.seen_to_wait(
        lambda: worker.send(["TASK.NEXT", "q", handle, "COUNT", 2, "BLOCK", 0, "GATHER", HOUR])
    )
    assert floor.counts()["acked"] == 1
    push(floor, "bc")
    answer, tasks = worker.read()
    assert (answer, [task[1] for task in tasks]) == (1, letters("bc"))


def test_noack_and_tied_gather_too(floor):
    """NOACK gets ids. TIED leases end with the connection."""
    taker = gathers(floor, 2, "NOACK")
    push(floor, "ab")
    assert taker.payloads() == letters("ab")
    tied = gathers(floor, 2, "TIED")
    push(floor, "cd")
    assert tied.payloads() == letters("cd")
    tied.leave()
    floor.eventually(lambda: floor.boss("TASK.LEN", "q", "ready") == 2, "the leases end")


def test_a_copy_of_the_claim_takes_over_its_place(floor):
    """The older claim gets an empty reply, the copy the batch, and a third the same tasks."""
    old = gathers(floor, 2, "REQUEST", "t")
    push(floor, "a")
    copy = floor.worker().asks("q", "COUNT", 2, "GATHER", HOUR, "REQUEST", "t")
    assert old.payloads() == []
    behind = gathers(floor, 2)
    push(floor, "b")
    assert copy.payloads() == letters("ab")
    again = floor.boss("TASK.CLAIM", "q", "COUNT", 2, "GATHER", HOUR, "REQUEST", "t")
    assert [task[1] for task in again] == letters("ab")
    assert floor.all_wait([behind])


def test_a_worker_that_leaves_holds_nothing(floor):
    """Nothing was leased yet, so nothing is undone. The next in line gathers."""
    gone, stays = gathers(floor, 2), gathers(floor, 2)
    push(floor, "a")
    gone.leave()
    floor.eventually(lambda: floor.blocked() == 1, "it has left")
    push(floor, "b")
    assert stays.payloads() == letters("ab")
    assert floor.counts()["claimed"] == 2


@pytest.mark.parametrize("remove", [["DEL", "q"], ["FLUSHDB"], ["RENAME", "q", "r"]])
def test_it_waits_on_when_the_queue_is_gone(floor, remove):
    """A new queue at the key fills the batch."""
    worker = gathers(floor, 2, ms=HOUR)
    push(floor, "a")
    floor.boss(*remove)
    push(floor, "b")
    assert floor.all_wait([worker])
    push(floor, "c")
    assert worker.payloads() == letters("bc")


def test_a_queue_that_arrives_by_rename_is_gathered_from(floor):
    """The span of its task goes on."""
    push(floor, "a", key="r")
    worker = gathers(floor, 2, ms=50)
    floor.boss("RENAME", "r", "q")
    assert worker.payloads() == letters("a")


def test_unblock_and_a_change_of_role_end_the_wait(floor):
    """As of any worker that waits. The tasks stay."""
    worker = gathers(floor, 5)
    push(floor, "a")
    floor.boss("CLIENT", "UNBLOCK", worker.id)
    assert worker.payloads() == []
    worker = gathers(floor, 5)
    floor.boss("CLIENT", "UNBLOCK", worker.id, "ERROR")
    assert worker.read() == Error(FORCED)
    worker = gathers(floor, 5)
    floor.boss("REPLICAOF", "127.0.0.1", 1)
    reply = worker.read()
    assert isinstance(reply, Error) and reply.startswith("UNBLOCKED")
    floor.boss("REPLICAOF", "NO", "ONE")
    assert floor.boss("TASK.LEN", "q", "ready") == 1
    floor.nobody_waits()


def test_a_batch_is_one_effect(start):
    """The push that fills it, and all its leases."""
    floor = Floor(start(appendonly="yes"))
    worker = gathers(floor, 2)
    push(floor, "a")
    effects(floor.server)
    push(floor, "b")
    assert worker.payloads() == letters("ab")
    [effect] = effects(floor.server)
    assert [event[0] for event in effect.events] == ["push", "claim"]


def test_many_workers_gather(floor):
    """A hundred workers, a hundred batches, and no task is delivered twice."""
    workers = [floor.worker() for _ in range(100)]
    for worker in workers:
        worker.asks("q", "COUNT", 10, "GATHER", HOUR)
    floor.eventually(lambda: floor.blocked() == 100, "all wait")
    floor.boss("TASK.MPUSH", "q", "TASKS", 1000, *range(1000))
    got = floor.all_got(workers)
    assert [len(batch) for batch in got] == [10] * 100
    assert sorted(int(payload) for batch in got for payload in batch) == list(range(1000))


# ---- arguments


def test_gather_requires_count(server: Server, floor):
    """With COUNT 1 there would be nothing to gather."""
    assert floor.boss("TASK.CLAIM", "q", "GATHER", 9) == Error("ERR option GATHER requires COUNT")
    for ms in (0, 86_400_001, "x"):
        assert floor.boss("TASK.CLAIM", "q", "COUNT", 2, "GATHER", ms) == Error(
            "ERR GATHER must be an integer between 1 and 86400000"
        )
