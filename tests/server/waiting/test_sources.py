"""Everything that makes a task claimable serves a waiting worker."""

import pytest
from harness.talk import Talk
from harness.waiting import Floor


def is_due(floor, *options):
    """A delayed task becomes due."""
    floor.boss.push("q", "x", *options, "DELAY", 30)


def is_due_at(floor, *options):
    """A task with AT becomes due."""
    seconds, micros = floor.boss("TIME")
    floor.boss.push("q", "x", *options, "AT", int(seconds) * 1000 + int(micros) // 1000 + 30)


def is_retried(floor, *options):
    """A delayed task is retried before it is due."""
    task = floor.boss.push("q", "x", *options, "DELAY", 3_600_000)
    assert floor.boss("TASK.RETRY", "q", task) == 1


def is_resumed(floor, *options):
    """A queue that was paused for claims is resumed."""
    floor.boss("TASK.PAUSE", "q")
    floor.boss.push("q", "x", *options)
    assert not floor.boss("TASK.CLAIM", "q")
    floor.boss("TASK.RESUME", "q")


def pause_runs_out(floor, *options):
    """A pause ends by itself."""
    floor.boss("TASK.PAUSE", "q", "OUT", "FOR", 30)
    floor.boss.push("q", "x", *options)


def is_pushed_by_a_script(floor, *options):
    """A script pushes a task."""
    floor.boss("EVAL", "return redis.call('TASK.PUSH', KEYS[1], 'x', unpack(ARGV))", 1, "q", *options)


def is_pushed_in_a_transaction(floor, *options):
    """A transaction pushes a task."""
    floor.boss("MULTI")
    floor.boss("TASK.PUSH", "q", "x", *options)
    assert len(floor.boss("EXEC")) == 1


def is_renamed(floor, *options):
    """A queue is renamed to the key that workers wait for."""
    floor.boss.push("p", "x", *options)
    assert floor.boss("RENAME", "p", "q") == "OK"


def is_copied(floor, *options):
    """A queue is copied to that key."""
    floor.boss.push("p", "x", *options)
    assert floor.boss("COPY", "p", "q") == 1


def is_moved(floor, *options):
    """A queue is moved from another database."""
    floor.boss("SELECT", 1)
    floor.boss.push("q", "x", *options)
    assert floor.boss("MOVE", "q", 0) == 1
    floor.boss("SELECT", 0)


def is_copied_in_a_transaction(floor, *options):
    """A transaction copies a queue from another database."""
    floor.boss("SELECT", 1)
    floor.boss.push("p", "x", *options)
    floor.boss("MULTI")
    floor.boss("COPY", "p", "q", "DB", 0)
    assert floor.boss("EXEC") == [1]
    floor.boss("SELECT", 0)


def is_swapped_in(floor, *options):
    """A database with the queue is swapped with that of the workers."""
    floor.boss("SELECT", 1)
    floor.boss.push("q", "x", *options)
    floor.boss("SELECT", 0)
    assert floor.boss("SWAPDB", 0, 1) == "OK"


def is_restored(floor, *options):
    """A queue is restored from a dump."""
    floor.boss.push("p", "x", *options)
    assert floor.boss("RESTORE", "q", 0, floor.boss("DUMP", "p")) == "OK"


def is_restored_and_due(floor, *options):
    """A queue is restored from a dump with a task that becomes due later."""
    floor.boss.push("p", "x", *options, "DELAY", 60)
    assert floor.boss("RESTORE", "q", 0, floor.boss("DUMP", "p")) == "OK"


SOURCES = [
    is_due,
    is_due_at,
    is_retried,
    is_resumed,
    pause_runs_out,
    is_pushed_by_a_script,
    is_pushed_in_a_transaction,
    is_renamed,
    is_copied,
    is_moved,
    is_copied_in_a_transaction,
    is_swapped_in,
    is_restored,
    is_restored_and_due,
]


@pytest.mark.parametrize("group", [[], ["GROUP", "g"]], ids=["any", "group"])
@pytest.mark.parametrize("gathers", [[], ["COUNT", 2, "GATHER", 40]], ids=["at once", "gathers"])
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_a_waiting_worker_gets_a_task_however_it_becomes_claimable(floor, source, gathers, group):
    """The first of two workers gets it, without a further command."""
    workers = floor.line(2, "q", *gathers, *group)
    source(floor, *group)
    assert workers[0].payloads() == [b"x"]
    assert floor.all_wait(workers[1:])


@pytest.mark.parametrize("end", ["REQUEUE", "REQUEUE DELAY", "FAIL", "stall", "RETRY"])
def test_a_waiting_worker_gets_a_task_that_another_gives_back(floor, end):
    """The task is given back by REQUEUE or FAIL, stalls, or is retried after its death."""
    floor.boss.push("q", "x", *(["LEASE", 1000] if end == "stall" else []))
    handle = floor.boss.claim("q")
    workers = floor.line(2)
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
    [[_, payload, deliveries]] = workers[0].read()
    assert (payload, deliveries) == (b"x", 2)
    assert floor.all_wait(workers[1:])


def test_a_waiting_worker_gets_a_task_after_its_backoff(floor):
    """The first stall gives the task to the next worker at once, the second after the backoff."""
    floor.boss("TASK.CONFIG", "q", "SET", "backoff-base", 30, "backoff-jitter", 0, "lease", 20)
    workers = floor.line(4)
    task = floor.boss.push("q", "x")
    assert [worker.read()[0][2] for worker in workers[:3]] == [1, 2, 3]
    assert floor.boss.map("TASK.GET", "q", task)[b"stalls"] >= 2
    assert workers[3].read()[0][2] == 4


def test_no_worker_is_served_while_claims_are_paused(floor):
    """This holds for pushes and for CONFIG during PAUSE OUT."""
    floor.boss("TASK.PAUSE", "q")
    workers = floor.line(2)
    floor.boss("TASK.MPUSH", "q", "TASKS", 2, "a", "b")
    floor.boss("TASK.CONFIG", "q", "SET", "lease", 1000)
    assert floor.all_wait(workers)
    assert floor.boss("TASK.LEN", "q", "ready") == 2
    floor.boss("TASK.RESUME", "q", "IN")
    assert floor.all_wait(workers)
    floor.boss("TASK.RESUME", "q", "ALL")
    assert floor.all_got(workers) == [[b"a"], [b"b"]]


def test_creating_a_queue_without_tasks_serves_no_worker(floor):
    """CONFIG and PAUSE create a queue, and the workers go on waiting."""
    workers = floor.line(2)
    floor.boss("TASK.CONFIG", "q", "SET", "lease", 1000)
    floor.boss("TASK.PAUSE", "q", "IN")
    assert floor.all_wait(workers)
    assert floor.counts()["blocked-workers"] == 2


def test_tasks_are_handed_off_after_the_transaction(floor):
    """During it they are ready. Afterwards the task of the highest priority goes to the first worker."""
    workers = floor.line(2)
    floor.boss("MULTI")
    floor.boss("TASK.PUSH", "q", "low")
    floor.boss("TASK.PUSH", "q", "high", "PRIORITY", 1)
    floor.boss("TASK.LEN", "q", "ready")
    floor.boss("TASK.PUSH", "q", "mine", "PRIORITY", 2)
    floor.boss("TASK.CLAIM", "q")
    *_, ready, _, [task] = floor.boss("EXEC")
    assert (ready, task[1]) == (2, b"mine")
    assert floor.all_got(workers) == [[b"high"], [b"low"]]


def test_a_task_cancelled_in_its_script_is_not_handed_off(floor):
    """A push and a CANCEL in one script leave nothing to claim."""
    worker = floor.waiting()
    lua = "local id = redis.call('TASK.PUSH', KEYS[1], 'x'); return redis.call('TASK.CANCEL', KEYS[1], id)"
    assert floor.boss("EVAL", lua, 1, "q") == 1
    assert floor.all_wait([worker])
    assert floor.counts()["claimed"] == 0


def test_leases_and_delays_end_under_the_new_key_of_a_queue(floor):
    """The queue was renamed, moved and swapped into another database."""
    floor.boss.push("p", "leased", "LEASE", 1000)
    floor.boss("TASK.CLAIM", "p")
    floor.boss.push("p", "delayed", "DELAY", 1500)
    floor.boss("RENAME", "p", "r")
    floor.boss("MOVE", "r", 1)
    floor.boss("SWAPDB", 1, 2)
    workers = [floor.worker(), floor.worker()]
    for worker in workers:
        worker("SELECT", 2)
        floor.seen_to_wait(lambda worker=worker: worker.asks("r"))
    assert floor.all_got(workers) == [[b"leased"], [b"delayed"]]


def test_workers_go_on_waiting_at_the_old_key_of_a_renamed_queue(floor):
    """A push to the new key does not serve them."""
    floor.boss("TASK.CONFIG", "q", "SET", "lease", 1000)
    old = floor.waiting()
    floor.boss("RENAME", "q", "p")
    floor.boss.push("p", "x")
    assert floor.all_wait([old])
    assert floor.boss("TASK.LEN", "p", "ready") == 1
    floor.boss.push("q", "y")
    assert old.payloads() == [b"y"]


def test_hand_offs_are_replicated_as_claims(start):
    """The replica has the leases that the workers have."""
    server, replica = start(port=True), start()
    replica.replicate(server)
    floor = Floor(server)
    workers = floor.line(3, "q", "WORKER", "ann")
    floor.boss("TASK.MPUSH", "q", "TASKS", 3, "a", "b", "c")
    handles = [worker.read()[0][0] for worker in workers]
    far = Talk(replica)
    floor.eventually(lambda: far("TASK.LEN", "q", "leased") == 3, "the replica has the leases")
    assert far.digest() == floor.boss.digest()
    assert far("TASK.GET", "q", handles[0])
