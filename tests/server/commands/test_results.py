"""What is kept of finished tasks, and who waits for their end: RETAIN, RESULT, PROGRESS, TASK.RESULT."""

import pytest
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
    """A connection that asks for results."""

    def waits(self, floor: Floor, task: bytes, key: object = "q", block: int = 0) -> "Asker":
        """Ask, and return when the server has one more to wait."""
        floor.seen_to_wait(lambda: self.send(["TASK.RESULT", key, task, "BLOCK", block]))
        return self


def asker(floor: Floor, task: bytes, key: object = "q", block: int = 0, protocol: int = 2) -> Asker:
    """A new connection that waits for a task's end."""
    return Asker(floor.server, protocol).waits(floor, task, key, block)


def nobody_asks(floor: Floor) -> None:
    """Wait until the module has nobody waiting for a result."""
    floor.eventually(
        lambda: (floor.blocked(), floor.info("taskslot", "taskslot_result_waiters")) == (0, 0), "nobody asks"
    )


def leased(c: Talk, key: object = "q", *options: object) -> tuple[bytes, bytes]:
    """A task that a worker holds: its id and its handle."""
    task = c.push(key, "p", *options)
    return task, c.claim(key)


# ---- what is kept


def test_an_acked_task_is_gone_unless_it_is_to_be_kept(c):
    """ACK's RETAIN, else the push's, else the queue's."""
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
    told = c.map("TASK.INFO", "q")
    assert (told[b"done"], told[b"acked"], told[b"forgotten"]) == (2, 6, 0)


def test_what_is_done_is_over_for_everybody(c):
    """A handle answers 0, CANCEL and RETRY find nothing, no claim gets it."""
    task, handle = leased(c, "q", "RETAIN", DAY)
    assert c("TASK.ACK", "q", handle) == 1
    for verb in ("ACK", "FAIL", "REQUEUE", "EXTEND"):
        assert c(f"TASK.{verb}", "q", handle) == 0
    assert c("TASK.ACK", "q", handle, "RESULT", "another") == 0
    assert (c("TASK.CANCEL", "q", task), c("TASK.RETRY", "q", task)) == (0, 0)
    assert c("TASK.CLAIM", "q") == []
    assert c("TASK.RESULT", "q", task) == [b"done", None]


def test_mpush_and_handles_keep_all_of_them(c):
    """The same result for each; the list shows them by when they were done."""
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


def test_a_done_task_goes_when_its_time_is_over(floor):
    """By the server's own clock, with nobody asking for it."""
    task, handle = leased(floor.boss, "q")
    assert floor.boss("TASK.ACK", "q", handle, "RETAIN", 30, "RESULT", "x") == 1
    floor.eventually(lambda: floor.counts()["done"] == 0, "it is kept no longer")
    assert floor.counts()["forgotten"] == 1 and floor.counts()["bytes"] == 0
    assert floor.boss("TASK.RESULT", "q", task) == 0


def test_too_many_done_tasks_make_the_oldest_go(floor):
    """retain-max bounds them."""
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


def test_done_tasks_give_way_to_pushes(c):
    """max-bytes: a push is never refused for what is done, but for what isn't."""
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
    """PURGE done, and ALL; they count as forgotten, since they are counted as acked."""
    for _ in range(3):
        _, handle = leased(c)
        assert c("TASK.ACK", "q", handle, "RETAIN", DAY) == 1
    assert c("TASK.PURGE", "q", "DONE", "COUNT", 2) == 2
    c.push()
    assert c("TASK.PURGE", "q", "all") == 2
    told = c.map("TASK.INFO", "q")
    assert (told[b"forgotten"], told[b"purged"], told[b"done"]) == (3, 1, 0)


def test_progress_is_shown_while_it_lasts(c):
    """The next replaces it, an empty one takes it back, the next lease and the end forget it."""
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
    handle = c.claim()
    assert b"progress" not in c.map("TASK.GET", "q", task)


def test_bounds_and_syntax(c):
    """RESULT at most 1 MiB, and 64 MiB for all of a call; RETAIN a span; BLOCK too."""
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


# ---- asking, and waiting


def test_result_tells_how_a_task_ended_or_that_it_has_not(c):
    """nil while it isn't over, the result or error once it is, 0 for an unknown id; nothing is made or changed."""
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


def test_a_hundred_who_wait_for_one_task_all_get_its_result(floor):
    """Also where nothing is kept; and who waits for another task waits on."""
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
    nobody_asks(floor)


def test_a_large_result_reaches_those_who_wait(floor):
    """A megabyte each."""
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
def test_every_end_of_a_task_is_told(floor, end):
    """Dead, cancelled, taken with NOACK, acked anywhere."""
    happens, told = ENDS[end]
    task = floor.boss.push("q", "p", "ATTEMPTS", 1)
    one = asker(floor, task)
    happens(floor, task)
    assert one.read() == told
    assert one("PING") == "PONG"
    nobody_asks(floor)


def test_nobody_waits_in_a_transaction_or_a_script(floor):
    """BLOCK acts as if absent."""
    task = floor.boss.push()
    lua = "return redis.call('TASK.RESULT', KEYS[1], ARGV[1], 'BLOCK', 0)"
    assert floor.boss("EVAL", lua, 1, "q", task) is None
    floor.boss("MULTI")
    floor.boss("TASK.RESULT", "q", task, "BLOCK", 0)
    assert floor.boss("EXEC") == [None]
    nobody_asks(floor)


# ---- how a wait ends otherwise


def test_a_wait_ends_with_nil_when_its_time_is_up(floor):
    """And who waits for ever waits on."""
    task, handle = leased(floor.boss)
    patient, short = asker(floor, task), Asker(floor.server)
    assert short("TASK.RESULT", "q", task, "BLOCK", 20) is None
    assert floor.all_wait([patient])
    assert floor.boss("TASK.ACK", "q", handle) == 1
    assert patient.read() == [b"done", None]
    nobody_asks(floor)


@pytest.mark.parametrize("protocol", [2, 3])
def test_an_order_to_stop_waiting_ends_the_wait(floor, protocol):
    """CLIENT UNBLOCK answers nil, with ERROR the server's error; kills and hang-ups leave nobody behind."""
    task, handle = leased(floor.boss)
    kindly, harshly, killed, gone = (asker(floor, task, protocol=protocol) for _ in range(4))
    assert floor.boss("CLIENT", "UNBLOCK", kindly.id) == 1
    assert floor.boss("CLIENT", "UNBLOCK", harshly.id, "ERROR") == 1
    assert floor.boss("CLIENT", "KILL", "ID", killed.id) == 1
    gone.leave()
    assert kindly.read() is None
    assert harshly.read() == Error(FORCED)
    assert killed.is_cut()
    nobody_asks(floor)
    assert floor.boss("TASK.ACK", "q", handle) == 1


@pytest.mark.parametrize("order", ["KILL", "UNBLOCK", "UNBLOCK ERROR"])
def test_an_end_in_the_batch_of_the_ack_does_no_harm(floor, order):
    """Who is ended right after the task gets the result, an error, or nothing; the others get it."""
    task, handle = leased(floor.boss)
    first, second = asker(floor, task), asker(floor, task)
    word, *how = order.split()
    ended = ["CLIENT", "KILL", "ID", first.id] if word == "KILL" else ["CLIENT", "UNBLOCK", first.id, *how]
    floor.boss.send(["TASK.ACK", "q", handle, "RESULT", "r"], ended)
    assert [floor.boss.read(), floor.boss.read()] == [1, 1]
    assert second.read() == [b"done", b"r"]
    if word != "KILL":
        assert first.read() == ([b"done", b"r"] if not how else Error(FORCED))
    nobody_asks(floor)


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
def test_who_waits_for_a_task_that_is_there_no_more_is_told(floor, how):
    """0, within a moment, whatever became of the queue."""
    task, _ = leased(floor.boss)
    one = asker(floor, task)
    for words in GONE[how]:
        assert not isinstance(floor.boss(*words), Error)
    assert one.read() == 0
    nobody_asks(floor)


def test_a_task_that_ended_elsewhere_is_told_when_its_queue_comes_back(floor):
    """Another queue takes the place, in which the task is done: the server finds out."""
    task, handle = leased(floor.boss)
    one = asker(floor, task)
    floor.boss("MULTI")
    floor.boss("RENAME", "q", "p")
    floor.boss("TASK.ACK", "p", handle, "RETAIN", DAY, "RESULT", "elsewhere")
    floor.boss("RENAME", "p", "q")
    floor.boss("EXEC")
    assert one.read() == [b"done", b"elsewhere"]


def test_more_tasks_than_one_beat_looks_at_are_all_looked_at(floor):
    """Of twelve hundred that are awaited, in two queues, each is found to be gone."""
    tasks = {key: floor.boss("TASK.MPUSH", key, "TASKS", 600, *range(600)) for key in ("p", "q")}
    askers = []
    for key, ids in tasks.items():
        for task in ids:
            askers.append(Asker(floor.server))
            askers[-1].send(["TASK.RESULT", key, task, "BLOCK", 0])
    waiting = lambda: floor.info("taskslot", "taskslot_result_waiters")  # noqa: E731
    floor.eventually(lambda: waiting() == 1200, "all wait", 20)
    floor.boss("DEL", "q", "p")
    floor.eventually(lambda: waiting() == 0, "all were told", 20)
    assert [one.read() for one in askers] == [0] * 1200


def test_a_server_shuts_down_with_askers_waiting(start):
    """SHUTDOWN neither waits for them nor breaks over them."""
    server: Server = start()
    floor = Floor(server)
    one = asker(floor, floor.boss.push())
    server.stop()
    assert one.is_cut()


# ---- replicas, files


def follows(floor: Floor, primary: Server) -> None:
    """Make the floor's node a replica, and wait until its link is up."""
    assert floor.boss("REPLICAOF", "127.0.0.1", primary.port) == "OK"
    is_up = lambda: b"master_link_status:up" in floor.boss("INFO", "replication")  # noqa: E731
    floor.eventually(is_up, "the link is up", 20)


def test_who_waits_on_a_replica_gets_what_is_applied_there(start):
    """The result, kept or not; and 0 when the queue is deleted; equal digests all the way."""
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
    nobody_asks(node)


def test_who_waits_on_a_node_that_is_demoted_is_told(start):
    """The server's error, as for workers."""
    primary, node = start(port=True), Floor(start(port=True))
    one = asker(node, node.boss.push())
    assert node.boss("REPLICAOF", "127.0.0.1", primary.port) == "OK"
    answer = one.read()
    assert isinstance(answer, Error) and answer.startswith("UNBLOCKED"), answer
    nobody_asks(node)


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
    """And they go when their time is over."""
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


def test_copies_and_dumps_hold_what_is_done(c):
    """COPY, DUMP and RESTORE, RENAME."""
    task, handle = leased(c, "q", "RETAIN", DAY)
    assert c("TASK.ACK", "q", handle, "RESULT", "r") == 1
    assert c("COPY", "q", "copy") == 1
    assert c("RESTORE", "restored", 0, c("DUMP", "q")) == "OK"
    assert c("RENAME", "q", "renamed") == "OK"
    for key in ("copy", "restored", "renamed"):
        assert c("TASK.RESULT", key, task) == [b"done", b"r"]
    assert c.digest("copy") == c.digest("restored") == c.digest("renamed")


# ---- clusters


def test_who_waits_in_a_cluster_is_sent_where_the_queue_went(start):
    """A queue that is gone may have moved: whoever waits is told MOVED, or to ask again; who does is sent there."""
    one, two = pair(start)
    task = one.boss.push("q", "p")
    waits = asker(one, task)
    move("q", one, two)
    answer = waits.read()
    assert isinstance(answer, Error) and answer.split()[0] in ("MOVED", "TRYAGAIN"), answer
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
    nobody_asks(one)
    nobody_asks(two)
