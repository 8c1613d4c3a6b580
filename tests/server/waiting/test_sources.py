"""Where tasks for waiting workers come from: all that makes a task claimable serves who waits for it."""

import pytest
from harness.talk import Talk
from harness.waiting import Floor


def is_due(floor):
    """A delayed push."""
    floor.boss.push("q", "x", "DELAY", 30)


def is_due_at(floor):
    """A push for an instant."""
    seconds, micros = floor.boss("TIME")
    floor.boss.push("q", "x", "AT", int(seconds) * 1000 + int(micros) // 1000 + 30)


def is_hurried(floor):
    """A delayed task that is retried before it is due."""
    task = floor.boss.push("q", "x", "DELAY", 3_600_000)
    assert floor.boss("TASK.RETRY", "q", task) == 1


def is_resumed(floor):
    """A queue that was paused for claims."""
    floor.boss("TASK.PAUSE", "q")
    floor.boss.push("q", "x")
    assert not floor.boss("TASK.CLAIM", "q")
    floor.boss("TASK.RESUME", "q")


def pause_runs_out(floor):
    """A pause that ends by itself."""
    floor.boss("TASK.PAUSE", "q", "OUT", "FOR", 30)
    floor.boss.push("q", "x")


def is_pushed_by_a_script(floor):
    """A push in Lua."""
    floor.boss("EVAL", "return redis.call('TASK.PUSH', KEYS[1], 'x')", 1, "q")


def is_pushed_in_a_transaction(floor):
    """A push in MULTI."""
    floor.boss("MULTI")
    floor.boss("TASK.PUSH", "q", "x")
    assert len(floor.boss("EXEC")) == 1


def is_renamed(floor):
    """A queue that gets the name that is waited for."""
    floor.boss.push("p", "x")
    assert floor.boss("RENAME", "p", "q") == "OK"


def is_copied(floor):
    """A copy of a queue under that name."""
    floor.boss.push("p", "x")
    assert floor.boss("COPY", "p", "q") == 1


def is_moved(floor):
    """A queue that comes from another database."""
    floor.boss("SELECT", 1)
    floor.boss.push("q", "x")
    assert floor.boss("MOVE", "q", 0) == 1
    floor.boss("SELECT", 0)


def is_swapped_in(floor):
    """A database that changes places with the one in which the worker waits."""
    floor.boss("SELECT", 1)
    floor.boss.push("q", "x")
    floor.boss("SELECT", 0)
    assert floor.boss("SWAPDB", 0, 1) == "OK"


def is_restored(floor):
    """A queue that comes from a dump."""
    floor.boss.push("p", "x")
    assert floor.boss("RESTORE", "q", 0, floor.boss("DUMP", "p")) == "OK"


def is_restored_and_due(floor):
    """A queue that comes from a dump, with a task that becomes due later."""
    floor.boss.push("p", "x", "DELAY", 60)
    assert floor.boss("RESTORE", "q", 0, floor.boss("DUMP", "p")) == "OK"


SOURCES = [
    is_due,
    is_due_at,
    is_hurried,
    is_resumed,
    pause_runs_out,
    is_pushed_by_a_script,
    is_pushed_in_a_transaction,
    is_renamed,
    is_copied,
    is_moved,
    is_swapped_in,
    is_restored,
    is_restored_and_due,
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_a_waiting_worker_gets_the_task_that(floor, source):
    """Whatever makes the task claimable, the first of two workers gets it, without any further command."""
    line = floor.line(2)
    source(floor)
    assert line[0].payloads() == [b"x"]
    assert floor.all_wait(line[1:])


@pytest.mark.parametrize("end", ["REQUEUE", "REQUEUE DELAY", "FAIL", "stall", "RETRY"])
def test_what_a_worker_gives_up_goes_to_the_one_who_waits(floor, end):
    """The worker at work has the task; another waits meanwhile and gets it when the first lets go of it."""
    floor.boss.push("q", "x", *(["LEASE", 40] if end == "stall" else []))
    handle = floor.boss.claim("q")
    line = floor.line(2)
    match end:
        case "REQUEUE":
            assert floor.boss("TASK.REQUEUE", "q", handle) == 1
        case "REQUEUE DELAY":
            assert floor.boss("TASK.REQUEUE", "q", handle, "DELAY", 20) == 1
        case "FAIL":
            assert floor.boss("TASK.FAIL", "q", handle, "DELAY", 20) == 20
        case "RETRY":
            assert floor.boss("TASK.FAIL", "q", handle, "DEAD") == -1
            assert floor.boss("TASK.RETRY", "q", "COUNT", 1) == 1
    [[_, payload, deliveries]] = line[0].read()
    assert (payload, deliveries) == (b"x", 2)
    assert floor.all_wait(line[1:])


def test_a_task_that_comes_back_after_a_backoff_goes_to_the_one_who_waits(floor):
    """The first stall gives the task to the next worker at once, the second after the backoff."""
    floor.boss("TASK.CONFIG", "q", "SET", "backoff-base", 30, "backoff-jitter", 0, "lease", 20)
    line = floor.line(4)
    task = floor.boss.push("q", "x")
    assert [worker.read()[0][2] for worker in line[:3]] == [1, 2, 3]
    assert floor.boss.map("TASK.GET", "q", task)[b"stalls"] >= 2
    assert line[3].read()[0][2] == 4


def test_nobody_is_served_while_claims_are_paused(floor):
    """PAUSE OUT holds pushes back from those who wait; CONFIG of a paused queue changes nothing in that."""
    floor.boss("TASK.PAUSE", "q")
    line = floor.line(2)
    floor.boss("TASK.MPUSH", "q", "TASKS", 2, "a", "b")
    floor.boss("TASK.CONFIG", "q", "SET", "lease", 1000)
    assert floor.all_wait(line)
    assert floor.boss("TASK.LEN", "q", "ready") == 2
    floor.boss("TASK.RESUME", "q", "IN")
    assert floor.all_wait(line)
    floor.boss("TASK.RESUME", "q", "ALL")
    assert floor.all_got(line) == [[b"a"], [b"b"]]


def test_configuring_a_new_queue_serves_nobody(floor):
    """A queue that comes to be by CONFIG or PAUSE has no task: who waits for it waits on."""
    line = floor.line(2)
    floor.boss("TASK.CONFIG", "q", "SET", "lease", 1000)
    floor.boss("TASK.PAUSE", "q", "IN")
    assert floor.all_wait(line)
    assert floor.counts()["blocked-workers"] == 2


def test_a_transaction_is_over_before_its_tasks_are_given_out(floor):
    """In MULTI the pushed tasks are still ready; after it the highest goes to the first worker."""
    line = floor.line(2)
    floor.boss("MULTI")
    floor.boss("TASK.PUSH", "q", "low")
    floor.boss("TASK.PUSH", "q", "high", "PRIORITY", 1)
    floor.boss("TASK.LEN", "q", "ready")
    floor.boss("TASK.PUSH", "q", "mine", "PRIORITY", 2)
    floor.boss("TASK.CLAIM", "q")
    *_, ready, _, [task] = floor.boss("EXEC")
    assert (ready, task[1]) == (2, b"mine")
    assert floor.all_got(line) == [[b"high"], [b"low"]]


def test_a_transaction_that_takes_its_task_back_serves_nobody(floor):
    """What was pushed and removed in one script was never there for those who wait."""
    worker = floor.waiting()
    lua = "local id = redis.call('TASK.PUSH', KEYS[1], 'x'); return redis.call('TASK.CANCEL', KEYS[1], id)"
    assert floor.boss("EVAL", lua, 1, "q") == 1
    assert floor.all_wait([worker])
    assert floor.counts()["claimed"] == 0


def test_a_queue_that_arrives_keeps_its_own_times(floor):
    """A lease that runs and a task that is delayed are acted on under the new name, in the other database too."""
    floor.boss.push("p", "leased", "LEASE", 60)
    floor.boss("TASK.CLAIM", "p")
    floor.boss.push("p", "delayed", "DELAY", 90)
    floor.boss("RENAME", "p", "r")
    floor.boss("MOVE", "r", 1)
    floor.boss("SWAPDB", 1, 2)
    line = [floor.worker(), floor.worker()]
    for worker in line:
        worker("SELECT", 2)
        floor.seen_to_wait(lambda worker=worker: worker.asks("r"))
    assert floor.all_got(line) == [[b"leased"], [b"delayed"]]


def test_workers_wait_at_their_name_when_the_queue_goes(floor):
    """After RENAME a push to the new name serves nobody at the old one."""
    floor.boss("TASK.CONFIG", "q", "SET", "lease", 1000)
    old = floor.waiting()
    floor.boss("RENAME", "q", "p")
    floor.boss.push("p", "x")
    assert floor.all_wait([old])
    assert floor.boss("TASK.LEN", "p", "ready") == 1
    floor.boss.push("q", "y")
    assert old.payloads() == [b"y"]


def test_a_queue_that_a_replica_would_get_is_the_one_workers_saw(start):
    """Hand-offs replicate as claims: leases on the replica are those the workers hold."""
    server, replica = start(port=True), start()
    replica.replicate(server)
    floor = Floor(server)
    line = floor.line(3, "q", "WORKER", "ann")
    floor.boss("TASK.MPUSH", "q", "TASKS", 3, "a", "b", "c")
    handles = [worker.read()[0][0] for worker in line]
    far = Talk(replica)
    floor.eventually(lambda: far("TASK.LEN", "q", "leased") == 3, "the replica has the leases")
    assert far.digest() == floor.boss.digest()
    assert far("TASK.GET", "q", handles[0])
