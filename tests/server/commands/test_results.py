"""Results and progress of tasks, how long done tasks are kept, and TASK.RESULT, which waits for the end of a task."""

import pytest
from harness.edges import bound
from harness.server import Server, wait_until
from harness.talk import SYNTAX, Error, Talk
from harness.two_nodes import move, pair
from harness.waiting import FORCED, Floor, Worker

DAY = 86_400_000
SPAN_MAX = 100 * 365 * DAY
MIB = 2**20


@pytest.fixture(params=[2, 3])
def protocol(request):
    """RESP2, then RESP3."""
    return request.param


class Asker(Worker):
    """A connection that waits for results."""

    def waits(self, floor: Floor, task: bytes, key: object = "q", block: int = 0) -> "Asker":
        """Send TASK.RESULT and return when the server has one more blocked client."""
        floor.seen_to_wait(lambda: self.send(["TASK.RESULT", key, task, "BLOCK", block]))
        return self


def asker(floor: Floor, task: bytes, key: object = "q", block: int = 0, protocol: int = 2) -> Asker:
    """A new connection that waits for the end of a task."""
    return Asker(floor.server, protocol).waits(floor, task, key, block)


def no_client_waits(floor: Floor) -> None:
    """Wait until no client waits for a result."""
    floor.eventually(
        lambda: (floor.blocked(), floor.info("taskslot", "taskslot_result_waiters")) == (0, 0),
        "no client waits for a result",
    )


def leased(c: Talk, key: object = "q", *options: object) -> tuple[bytes, bytes]:
    """The id and the handle of a new task that is leased."""
    task = c.push(key, "p", *options)
    return task, c.claim(key)


# ---- done tasks


def test_an_acked_task_is_removed_unless_retain_is_set(c):
    """RETAIN of the ACK comes first, then that of the push, then the queue's setting."""
    for retained in ([], ["RETAIN", 0], ["RESULT", "x"]):
        task, handle = leased(c)
        assert c("TASK.ACK", "q", handle, *retained) == 1
        assert c("TASK.GET", "q", task) is None
        assert c("TASK.RESULT", "q", task) == 0
    task, handle = leased(c, "q", "RETAIN", DAY)
    assert c("TASK.ACK", "q", handle, "result", "42") == 1
    shown = c.map("TASK.GET", "q", task)
    assert (shown[b"state"], shown[b"result"], shown[b"retain"]) == (b"done", b"42", DAY)
    assert shown[b"kept-until"] == shown[b"done-since"] + DAY
    assert shown[b"payload"] == b"p" and shown[b"deliveries"] == 1
    assert not {b"ready-since", b"deadline", b"worker", b"lease", b"progress"} & set(shown)
    c("TASK.CONFIG", "q", "SET", "retain", 7000)
    task, handle = leased(c)
    assert c("TASK.ACK", "q", handle) == 1
    shown = c.map("TASK.GET", "q", task)
    assert shown[b"kept-until"] == shown[b"done-since"] + 7000 and b"result" not in shown
    task, handle = leased(c, "q", "RETAIN", 0)
    assert c("TASK.ACK", "q", handle) == 1
    assert c("TASK.GET", "q", task) is None
    assert c("TASK.LEN", "q", "done") == 2 and c("TASK.LEN", "q") == 0
    info = c.map("TASK.INFO", "q")
    assert (info[b"done"], info[b"acked"], info[b"forgotten"]) == (2, 6, 0)


def test_a_done_task_cannot_be_changed(c):
    """Its handle returns 0, CANCEL and RETRY do not find it, and no claim returns it."""
    task, handle = leased(c, "q", "RETAIN", DAY)
    assert c("TASK.ACK", "q", handle) == 1
    for verb in ("ACK", "FAIL", "REQUEUE", "EXTEND"):
        assert c(f"TASK.{verb}", "q", handle) == 0
    assert c("TASK.ACK", "q", handle, "RESULT", "another") == 0
    assert (c("TASK.CANCEL", "q", task), c("TASK.RETRY", "q", task)) == (0, 0)
    assert c("TASK.CLAIM", "q") == []
    assert c("TASK.RESULT", "q", task) == [b"done", None]


def test_an_ack_of_many_handles_keeps_all_of_them(c):
    """Each task has the same result. TASK.LIST shows them in the order they were done."""
    tasks = c("TASK.MPUSH", "q", "RETAIN", DAY, "TASKS", 3, *"abc")
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 3)]
    assert c("TASK.ACK", "q", "HANDLES", 3, *reversed(handles), "RESULT", "r") == [1, 1, 1]
    for count in (1, 2, 9):
        cursor, shown = b"0", []
        while True:
            cursor, part = c("TASK.LIST", "q", "DONE", "CURSOR", cursor, "COUNT", count)
            shown += [c.as_map(task) for task in part]
            if cursor == b"0":
                break
        assert {task[b"id"] for task in shown} == set(tasks) and len(shown) == 3
        assert [task[b"done-since"] for task in shown] == sorted(task[b"done-since"] for task in shown)
        assert not any({b"result", b"payload"} & set(task) for task in shown)
    _, [first, *_] = c("TASK.LIST", "q", "done", "WITHPAYLOAD")
    first = c.as_map(first)
    assert first == c.map("TASK.GET", "q", first[b"id"])
    assert [c("TASK.RESULT", "q", task) for task in tasks] == [[b"done", b"r"]] * 3


def test_a_done_task_is_removed_when_its_retention_ends(floor):
    """The server's timer removes it. No command is needed."""
    task, handle = leased(floor.boss, "q")
    assert floor.boss("TASK.ACK", "q", handle, "RETAIN", 30, "RESULT", "x") == 1
    floor.eventually(lambda: floor.counts()["done"] == 0, "it is kept no longer")
    assert floor.counts()["forgotten"] == 1 and floor.counts()["bytes"] == 0
    assert floor.boss("TASK.RESULT", "q", task) == 0


def test_the_oldest_done_tasks_are_removed_beyond_retain_max(floor):
    """retain-max bounds the number of done tasks."""
    boss = floor.boss
    boss("TASK.CONFIG", "q", "SET", "retain", DAY, "retain-max", 2)
    tasks = []
    for _ in range(4):
        task, handle = leased(boss)
        assert boss("TASK.ACK", "q", handle) == 1
        tasks.append(task)
        floor.eventually(lambda: floor.counts()["done"] <= 2, "the oldest go")
    assert [boss("TASK.RESULT", "q", task) for task in tasks[:2]] == [0, 0]
    assert [boss("TASK.RESULT", "q", task) for task in tasks[2:]] == [[b"done", None]] * 2


def test_done_tasks_are_removed_to_make_room_for_a_push(c):
    """max-bytes refuses a push only because of tasks that are not done."""
    for _ in range(3):
        _, handle = leased(c)
        assert c("TASK.ACK", "q", handle, "RETAIN", DAY, "RESULT", "x" * 1000) == 1
    size = c.map("TASK.INFO", "q")[b"bytes"]
    assert size > 3000
    c("TASK.CONFIG", "q", "SET", "max-bytes", size)
    c.push("q", "x" * 500)
    assert (c("TASK.LEN", "q", "done"), c.map("TASK.INFO", "q")[b"forgotten"]) == (2, 1)
    assert c("TASK.PUSH", "q", "x" * size) == Error("QFULL the queue has reached max-bytes")
    assert c("TASK.LEN", "q", "done") == 2
    c.push("q", "x" * (size - 600))
    assert c("TASK.LEN", "q", "done") == 0


def test_purge_removes_done_tasks(c):
    """PURGE done and PURGE ALL remove them. They count as forgotten, because they already count as acked."""
    for _ in range(3):
        _, handle = leased(c)
        assert c("TASK.ACK", "q", handle, "RETAIN", DAY) == 1
    assert c("TASK.PURGE", "q", "DONE", "COUNT", 2) == 2
    c.push()
    assert c("TASK.PURGE", "q", "all") == 2
    info = c.map("TASK.INFO", "q")
    assert (info[b"forgotten"], info[b"purged"], info[b"done"]) == (3, 1, 0)


def test_progress_is_shown_until_it_is_replaced_or_the_end(c):
    """An empty progress removes it. Requeues, failures, retries and claims keep it; a done task has none."""
    task, handle = leased(c)
    assert b"progress" not in c.map("TASK.GET", "q", task)
    for progress in ("10 %", b"\x00\xff" * 2048):
        assert c("TASK.EXTEND", "q", handle, "PROGRESS", progress) > 0
        wanted = progress if isinstance(progress, bytes) else progress.encode()
        assert c.map("TASK.GET", "q", task)[b"progress"] == wanted
    assert c("TASK.EXTEND", "q", handle, "LEASE", 5) > 0
    assert c("TASK.EXTEND", "q", handle, "PROGRESS", "x" * 4097) == Error(
        "ERR PROGRESS must be at most 4096 bytes long"
    )
    assert len(c.map("TASK.GET", "q", task)[b"progress"]) == 4096
    assert c("TASK.EXTEND", "q", handle, "PROGRESS", "") > 0
    assert b"progress" not in c.map("TASK.GET", "q", task)
    assert c("TASK.EXTEND", "q", "HANDLES", 1, handle, "PROGRESS", "half", "LEASE", DAY)[0] > 0
    assert c("TASK.REQUEUE", "q", handle) == 1
    assert c.map("TASK.GET", "q", task)[b"progress"] == b"half"
    assert c("TASK.FAIL", "q", c.claim(), "DEAD") == -1
    assert c("TASK.RETRY", "q", task) == 1
    handle = c.claim()
    assert c.map("TASK.GET", "q", task)[b"progress"] == b"half"
    assert c("TASK.ACK", "q", handle, "RETAIN", DAY) == 1
    assert b"progress" not in c.map("TASK.GET", "q", task)


@pytest.mark.parametrize("claim", ["TASK.CLAIM q", "TASK.MCLAIM q KEYS 1 p", "TASK.NEXT q 1-1@1-00000001"])
def test_a_claim_shows_how_far_the_task_had_got(server, protocol, c, claim):
    """WITHMETA has the progress that an attempt before left, if there is one, whether the claim blocks or not."""
    task, handle = leased(c)
    assert c("TASK.REQUEUE", "q", handle, "PROGRESS", "step=3\0") == 1

    def read(reply):
        [[handle, *_, meta]] = reply if claim.startswith("TASK.CLAIM") else reply[1]
        return handle, c.as_map(meta)

    handle, meta = read(c(*claim.split(" "), "WITHMETA"))
    assert meta[b"progress"] == b"step=3\0"
    [again] = c("TASK.LIST", "q", "LEASED")[1]
    assert c.as_map(again)[b"progress"] == b"step=3\0"
    waiting = Talk(server, protocol)
    waiting.send([*claim.split(" "), "WITHMETA", "BLOCK", 0])
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"blocked-workers"] == 1, "it waits")
    assert c("TASK.REQUEUE", "q", handle, "PROGRESS", "step=4") == 1
    _, meta = read(waiting.read())
    assert meta[b"progress"] == b"step=4"
    c.push()
    _, meta = read(c(*claim.split(" "), "WITHMETA"))
    assert b"progress" not in meta


def test_a_claim_with_noack_shows_how_far_the_task_had_got(c):
    """The task is gone, but its worker knows where to go on."""
    _, handle = leased(c)
    assert c("TASK.REQUEUE", "q", handle, "PROGRESS", "half") == 1
    [[_, _, _, meta]] = c("TASK.CLAIM", "q", "NOACK", "WITHMETA")
    assert c.as_map(meta)[b"progress"] == b"half"


def test_a_requeue_says_how_far_the_task_has_got(c):
    """Each of several handles gets it, and a delayed task keeps it."""
    c("TASK.MPUSH", "q", "TASKS", 2, "a", "b")
    handles = [handle for handle, *_ in c("TASK.CLAIM", "q", "COUNT", 2)]
    assert c("TASK.REQUEUE", "q", "HANDLES", 2, *handles, "DELAY", DAY, "PROGRESS", "step=3") == [1, 1]
    shown = [c.as_map(task) for task in c("TASK.LIST", "q", "DELAYED")[1]]
    assert [task[b"progress"] for task in shown] == [b"step=3"] * 2


def test_a_done_task_shows_its_last_attempt(c):
    """The worker, when it claimed the task, and for how long it had it."""
    task = c.push()
    handle = c.claim("q", "WORKER", "w1")
    claimed = c.map("TASK.GET", "q", task)[b"claimed"]
    assert c("TASK.ACK", "q", handle, "RETAIN", DAY) == 1
    shown = c.map("TASK.GET", "q", task)
    assert (shown[b"worker"], shown[b"claimed"]) == (b"w1", claimed)
    assert claimed + shown[b"run-ms"] == shown[b"done-since"]


def test_results_and_their_times_have_bounds(c):
    """A RESULT has at most 1 MiB, and 64 MiB for all handles of a call. RETAIN and BLOCK have bounds too."""
    task, handle = leased(c)
    big = "x" * (MIB + 1)
    assert c("TASK.ACK", "q", handle, "RESULT", big) == Error(f"ERR RESULT must be at most {MIB} bytes long")
    assert c("TASK.ACK", "q", "HANDLES", 65, *[handle] * 65, "RESULT", big[1:]) == Error(
        f"ERR RESULT for all HANDLES together must be at most {64 * MIB} bytes long"
    )
    for retain in (-1, SPAN_MAX + 1, "x", ""):
        error = Error(f"ERR RETAIN must be an integer between 0 and {SPAN_MAX}")
        assert c("TASK.ACK", "q", handle, "RETAIN", retain) == error
        assert c("TASK.PUSH", "q", "p", "RETAIN", retain) == error
    for words in (["RESULT"], ["RETAIN", 1, "RETAIN", 2], ["KEEP"], ["RESULT", "a", "result", "b"]):
        assert c("TASK.ACK", "q", handle, *words) == SYNTAX
    for words in (["BLOCK"], ["BLOCK", 1, "BLOCK", 1], ["x"]):
        assert c("TASK.RESULT", "q", task, *words) == SYNTAX
    assert c("TASK.RESULT", "q", "x") == Error("ERR invalid task id")
    assert c("TASK.RESULT", "q", task, "BLOCK", -1) == Error(
        f"ERR BLOCK must be an integer between 0 and {SPAN_MAX}"
    )
    assert c("TASK.ACK", "q", handle, "RETAIN", SPAN_MAX, "RESULT", big[1:]) == 1
    assert c("TASK.RESULT", "q", task) == [b"done", big[1:].encode()]
    c("SET", "string", "x")
    assert c("TASK.RESULT", "string", task, "BLOCK", 0).startswith("WRONGTYPE")


# ---- TASK.RESULT, with and without a wait


def test_result_returns_the_end_of_a_task_or_nil_before_it(c):
    """It returns a result or an error text, and 0 for an unknown id. It creates and changes nothing."""
    assert c("TASK.RESULT", "missing", "1-1") == 0
    assert c("TASK.RESULT", "missing", "1-1", "BLOCK", 0) == 0
    assert c("EXISTS", "missing") == 0
    task, handle = leased(c, "q", "RETAIN", DAY)
    assert c("TASK.RESULT", "q", task) is None
    assert c("TASK.RESULT", "q", task, "BLOCK", 1) is None
    assert c("TASK.ACK", "q", handle, "RESULT", "") == 1
    assert c("TASK.RESULT", "q", task, "BLOCK", 0) == [b"done", b""]
    for error in ([], ["ERROR", "broken"]):
        task, handle = leased(c)
        assert c("TASK.FAIL", "q", handle, "DEAD", *error) == -1
        assert c("TASK.RESULT", "q", task, "BLOCK", 0) == [b"dead", error[1].encode() if error else None]


def test_a_hundred_clients_that_wait_for_one_task_all_get_its_result(floor):
    """This holds even if the task is not kept. A client that waits for another task goes on waiting."""
    task, handle = leased(floor.boss)
    other = asker(floor, floor.boss.push("q", "other"))
    askers = [asker(floor, task, protocol=2 + at % 2) for at in range(100)]
    assert floor.all_wait([*askers, other])
    assert floor.info("taskslot", "taskslot_result_waiters") == 101
    assert floor.boss("TASK.ACK", "q", handle, "RESULT", "42") == 1
    assert [one.read() for one in askers] == [[b"done", b"42"]] * 100
    assert floor.boss("TASK.RESULT", "q", task) == 0
    assert floor.all_wait([other])
    assert floor.boss("TASK.PURGE", "q", "ready") == 1
    assert other.read() == [b"purged", None]
    no_client_waits(floor)


def test_a_large_result_reaches_the_clients_that_wait(floor):
    """Each of them gets 1 MiB."""
    task, handle = leased(floor.boss)
    askers = [asker(floor, task) for _ in range(5)]
    assert floor.boss("TASK.ACK", "q", handle, "RESULT", b"\xff" * MIB) == 1
    assert [one.read() for one in askers] == [[b"done", b"\xff" * MIB]] * 5


def dies_of_failures(floor: Floor, task: bytes) -> None:
    floor.boss("TASK.FAIL", "q", floor.boss.claim(), "ERROR", "one failure")


def dies_of_stalls(floor: Floor, task: bytes) -> None:
    floor.boss("TASK.CONFIG", "q", "SET", "stalls", 1)
    floor.boss.claim("q", "LEASE", 1)


def is_cancelled(floor: Floor, task: bytes) -> None:
    assert floor.boss("TASK.CANCEL", "q", task) == 1


def is_cancelled_in_its_lease(floor: Floor, task: bytes) -> None:
    handle = floor.boss.claim()
    assert floor.boss("TASK.CANCEL", "q", task) == 2
    assert floor.boss("TASK.FAIL", "q", handle) == 0


def is_taken(floor: Floor, task: bytes) -> None:
    floor.boss("TASK.CLAIM", "q", "NOACK")


def is_acked_in_a_transaction(floor: Floor, task: bytes) -> None:
    handle = floor.boss.claim()
    for words in (["MULTI"], ["TASK.ACK", "q", handle, "RESULT", "r"], ["DEL", "q"], ["EXEC"]):
        floor.boss(*words)


def is_acked_in_a_script(floor: Floor, task: bytes) -> None:
    lua = "return redis.call('TASK.ACK', KEYS[1], ARGV[1], 'RESULT', 'r')"
    assert floor.boss("EVAL", lua, 1, "q", floor.boss.claim()) == 1


ENDS = {
    "failures": (dies_of_failures, [b"dead", b"one failure"]),
    "stalls": (dies_of_stalls, [b"dead", b"1 stall, after 1 ms"]),
    "cancelled": (is_cancelled, [b"cancelled", None]),
    "cancelled in its lease": (is_cancelled_in_its_lease, [b"cancelled", None]),
    "taken": (is_taken, [b"done", None]),
    "transaction": (is_acked_in_a_transaction, [b"done", b"r"]),
    "script": (is_acked_in_a_script, [b"done", b"r"]),
}


@pytest.mark.parametrize("end", ENDS)
def test_every_end_of_a_task_is_reported_to_the_client_that_waits(floor, end):
    """A task can end as done, dead or cancelled, by any command, also in a transaction or a script."""
    end_task, reply = ENDS[end]
    task = floor.boss.push("q", "p", "ATTEMPTS", 1)
    one = asker(floor, task)
    end_task(floor, task)
    assert one.read() == reply
    assert one("PING") == "PONG"
    no_client_waits(floor)


def test_result_in_a_transaction_or_a_script_does_not_wait(floor):
    """BLOCK is ignored."""
    task = floor.boss.push()
    lua = "return redis.call('TASK.RESULT', KEYS[1], ARGV[1], 'BLOCK', 0)"
    assert floor.boss("EVAL", lua, 1, "q", task) is None
    floor.boss("MULTI")
    floor.boss("TASK.RESULT", "q", task, "BLOCK", 0)
    assert floor.boss("EXEC") == [None]
    no_client_waits(floor)


# ---- other ends of a wait


def test_a_wait_ends_with_nil_when_its_time_is_up(floor):
    """A client without a time limit goes on waiting."""
    task, handle = leased(floor.boss)
    patient, short = asker(floor, task), Asker(floor.server)
    assert short("TASK.RESULT", "q", task, "BLOCK", 20) is None
    assert floor.all_wait([patient])
    assert floor.boss("TASK.ACK", "q", handle) == 1
    assert patient.read() == [b"done", None]
    no_client_waits(floor)


@pytest.mark.parametrize("protocol", [2, 3])
def test_client_unblock_client_kill_and_a_closed_connection_end_the_wait(floor, protocol):
    """CLIENT UNBLOCK returns nil, or the server's error with ERROR. No waiting entry is left."""
    task, handle = leased(floor.boss)
    timed_out, with_error, killed, closed = (asker(floor, task, protocol=protocol) for _ in range(4))
    assert floor.boss("CLIENT", "UNBLOCK", timed_out.id) == 1
    assert floor.boss("CLIENT", "UNBLOCK", with_error.id, "ERROR") == 1
    assert floor.boss("CLIENT", "KILL", "ID", killed.id) == 1
    closed.leave()
    assert timed_out.read() is None
    assert with_error.read() == Error(FORCED)
    assert killed.is_cut()
    no_client_waits(floor)
    assert floor.boss("TASK.ACK", "q", handle) == 1


@pytest.mark.parametrize("order", ["KILL", "UNBLOCK", "UNBLOCK ERROR"])
def test_a_wait_can_end_in_the_same_batch_as_the_ack(floor, order):
    """The client that is unblocked or killed gets the result, an error or nothing. The other client gets the result."""
    task, handle = leased(floor.boss)
    first, second = asker(floor, task), asker(floor, task)
    word, *how = order.split()
    ended = ["CLIENT", "KILL", "ID", first.id] if word == "KILL" else ["CLIENT", "UNBLOCK", first.id, *how]
    floor.boss.send(["TASK.ACK", "q", handle, "RESULT", "r"], ended)
    assert [floor.boss.read(), floor.boss.read()] == [1, 1]
    assert second.read() == [b"done", b"r"]
    if word != "KILL":
        assert first.read() == ([b"done", b"r"] if not how else Error(FORCED))
    no_client_waits(floor)


GONE = {
    "DEL": [["DEL", "q"]],
    "UNLINK": [["UNLINK", "q"]],
    "FLUSHALL": [["FLUSHALL"]],
    "FLUSHDB": [["FLUSHDB", "ASYNC"]],
    "EXPIRE": [["PEXPIRE", "q", 1]],
    "RENAME": [["RENAME", "q", "p"]],
    "SWAPDB": [["SWAPDB", 0, 1]],
    "MOVE": [["MOVE", "q", 2]],
    "SET": [["SET", "q", "a string"]],
    "another queue": [["DEL", "q"], ["TASK.CONFIG", "q", "SET", "lease", 5]],
}


@pytest.mark.parametrize("how", GONE)
def test_a_wait_ends_with_0_when_the_task_no_longer_exists(floor, how):
    """It ends soon, however the queue was removed or replaced."""
    task, _ = leased(floor.boss)
    one = asker(floor, task)
    for words in GONE[how]:
        assert not isinstance(floor.boss(*words), Error)
    assert one.read() == 0
    no_client_waits(floor)


def test_a_task_that_ended_under_another_key_is_reported_when_its_queue_returns(floor):
    """The queue is renamed, the task is acked, and the queue is renamed back, all in one transaction."""
    task, handle = leased(floor.boss)
    one = asker(floor, task)
    floor.boss("MULTI")
    floor.boss("RENAME", "q", "p")
    floor.boss("TASK.ACK", "p", handle, "RETAIN", DAY, "RESULT", "elsewhere")
    floor.boss("RENAME", "p", "q")
    floor.boss("EXEC")
    assert one.read() == [b"done", b"elsewhere"]


def test_all_tasks_are_checked_even_if_one_tick_cannot_check_them_all(floor):
    """1200 clients wait for tasks of two queues, and each learns that its task no longer exists."""
    each = bound("module/results.rs", "CHECKED_AT_ONCE") * 6 // 5
    tasks = {key: floor.boss("TASK.MPUSH", key, "TASKS", each, *range(each)) for key in ("p", "q")}
    askers = []
    for key, ids in tasks.items():
        for task in ids:
            askers.append(Asker(floor.server))
            askers[-1].send(["TASK.RESULT", key, task, "BLOCK", 0])
    waiting = lambda: floor.info("taskslot", "taskslot_result_waiters")  # noqa: E731
    floor.eventually(lambda: waiting() == 2 * each, "all wait", 20)
    floor.boss("DEL", "q", "p")
    floor.eventually(lambda: waiting() == 0, "all were answered", 20)
    assert [one.read() for one in askers] == [0] * 2 * each


def test_a_server_shuts_down_while_clients_wait(start):
    """SHUTDOWN does not wait for them."""
    server: Server = start()
    floor = Floor(server)
    one = asker(floor, floor.boss.push())
    server.stop()
    assert one.is_cut()


# ---- replication and persistence


def follows(floor: Floor, primary: Server) -> None:
    """Make this node a replica and wait until its link is up."""
    assert floor.boss("REPLICAOF", "127.0.0.1", primary.port) == "OK"
    is_up = lambda: b"master_link_status:up" in floor.boss("INFO", "replication")  # noqa: E731
    floor.eventually(is_up, "the link is up", 20)


def test_a_client_that_waits_on_a_replica_gets_the_result(start):
    """It gets 0 if the queue is deleted. The digests stay equal."""
    primary, node = start(port=True), Floor(start(port=True))
    boss = Talk(primary)
    task, handle = leased(boss)
    kept, kept_handle = leased(boss, "q", "RETAIN", DAY)
    left = boss.push("r", "never ends")
    follows(node, primary)
    askers = [asker(node, task), asker(node, kept), asker(node, left, "r")]
    assert boss("TASK.EXTEND", "q", kept_handle, "PROGRESS", "half") > 0
    assert boss("TASK.ACK", "q", handle, "RESULT", "unkept") == 1
    assert boss("TASK.ACK", "q", kept_handle, "RESULT", "kept") == 1
    assert askers[0].read() == [b"done", b"unkept"]
    assert askers[1].read() == [b"done", b"kept"]
    assert node.boss("TASK.RESULT", "q", kept) == [b"done", b"kept"]
    assert boss.digest() == node.boss.digest()
    boss("DEL", "r")
    assert askers[2].read() == 0
    assert node.boss("REPLICAOF", "NO", "ONE") == "OK"
    assert node.boss("TASK.RESULT", "q", kept) == [b"done", b"kept"]
    no_client_waits(node)


def test_a_client_that_waits_gets_an_error_when_its_node_becomes_a_replica(start):
    """The error is the server's UNBLOCKED, as for workers."""
    primary, node = start(port=True), Floor(start(port=True))
    one = asker(node, node.boss.push())
    assert node.boss("REPLICAOF", "127.0.0.1", primary.port) == "OK"
    reply = one.read()
    assert isinstance(reply, Error) and reply.startswith("UNBLOCKED"), reply
    no_client_waits(node)


@pytest.mark.parametrize(
    "settings",
    [
        {"save": "900 1"},
        {"appendonly": "yes", "aof_use_rdb_preamble": "yes"},
        {"appendonly": "yes", "aof_use_rdb_preamble": "no"},
        {"appendonly": "yes", "aof_use_rdb_preamble": "no", "rewritten": True},
    ],
    ids=["rdb", "aof", "aof without preamble", "rewritten"],
)
def test_a_restart_keeps_results_and_progress(start, settings):
    """Done tasks are still removed when their retention ends."""
    settings = dict(settings)
    rewritten = settings.pop("rewritten", False)
    server = start(**settings)
    c = Talk(server)
    done, handle = leased(c, "q", "RETAIN", DAY)
    assert c("TASK.ACK", "q", handle, "RESULT", b"\x00" * 70_000) == 1
    empty, handle = leased(c, "q", "RETAIN", DAY)
    assert c("TASK.ACK", "q", handle, "RESULT", "") == 1
    short, handle = leased(c)
    assert c("TASK.ACK", "q", handle, "RETAIN", 1500) == 1
    task, handle = leased(c)
    assert c("TASK.EXTEND", "q", handle, "LEASE", DAY, "PROGRESS", "half") > 0
    if rewritten:
        c("BGREWRITEAOF")
        is_over = lambda: b"aof_rewrite_in_progress:0" in c("INFO", "persistence")  # noqa: E731
        wait_until(is_over, "the AOF is rewritten", 10)
    shown = [c("TASK.GET", "q", one) for one in (done, empty, task)]
    server.stop(save="save" in settings)
    server.start()
    c = Talk(server)
    assert [c("TASK.GET", "q", one) for one in (done, empty, task)] == shown
    assert c("TASK.RESULT", "q", empty) == [b"done", b""]
    assert c("TASK.ACK", "q", handle, "RESULT", "r") == 1
    server.wait_until(lambda: c("TASK.RESULT", "q", short) == 0, "the short one is kept no longer", 10)
    assert c("TASK.LEN", "q", "done") == 2


def test_copies_and_dumps_contain_done_tasks(c):
    """COPY, DUMP with RESTORE, and RENAME keep results."""
    task, handle = leased(c, "q", "RETAIN", DAY)
    assert c("TASK.ACK", "q", handle, "RESULT", "r") == 1
    assert c("COPY", "q", "copy") == 1
    assert c("RESTORE", "restored", 0, c("DUMP", "q")) == "OK"
    assert c("RENAME", "q", "renamed") == "OK"
    for key in ("copy", "restored", "renamed"):
        assert c("TASK.RESULT", key, task) == [b"done", b"r"]
    assert c.digest("copy") == c.digest("restored") == c.digest("renamed")


# ---- cluster


def test_a_client_that_waits_is_redirected_when_the_queue_moves(start):
    """It gets MOVED or TRYAGAIN; a client that then asks again gets MOVED. TRYAGAIN also follows a deleted queue."""
    one, two = pair(start)
    task = one.boss.push("q", "p")
    waits = asker(one, task)
    move("q", one, two)
    reply = waits.read()
    assert isinstance(reply, Error) and reply.split()[0] in ("MOVED", "TRYAGAIN"), reply
    again = waits("TASK.RESULT", "q", task, "BLOCK", 0)
    assert isinstance(again, Error) and again.startswith("MOVED"), again
    waits = asker(two, task)
    assert two.boss("TASK.ACK", "q", two.boss.claim(), "RESULT", "r") == 1
    assert waits.read() == [b"done", b"r"]
    task = two.boss.push("q", "p")
    waits = asker(two, task)
    two.boss("DEL", "q")
    assert waits.read() == Error("TRYAGAIN the queue was removed or is moving to another node: try again")
    assert waits("TASK.RESULT", "q", task, "BLOCK", 0) == 0
    no_client_waits(one)
    no_client_waits(two)
