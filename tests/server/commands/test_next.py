"""TASK.NEXT: finishing tasks and claiming the next ones, in one round trip and one effect."""

import pytest
from harness.files import wait_aof
from harness.queues import HOUR
from harness.server import Server, digest, wait_synced
from harness.talk import SYNTAX, Error, Talk, effects, id_parts, parts, payloads
from harness.waiting import FORCED, Floor, Worker

MEGABYTE = 2**20
OOM = Error("OOM command not allowed when used memory > 'maxmemory'.")
WRONGTYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
NOBODYS = "1-1@1-00000000"


def fill(c: Talk, names: str, *options: object) -> None:
    """Push a task for each letter."""
    c("TASK.MPUSH", "q", *options, "TASKS", len(names), *names)


def claim(c: Talk, count: int = 1, *options: object) -> list[bytes]:
    """Claim that many tasks and return their handles."""
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", count, *options)]
    assert len(handles) == count
    return handles


def stale(c: Talk) -> bytes:
    """A stale handle of a task that another worker has."""
    [handle] = claim(c)
    assert c("TASK.REQUEUE", "q", handle) == 1
    claim(c)
    return handle


def waiting(floor: Floor, *words: object, protocol: int = 2) -> Worker:
    """A new worker that waits in TASK.NEXT on q."""
    worker = floor.worker(protocol)
    floor.seen_to_wait(lambda: worker.send(["TASK.NEXT", "q", *words, "BLOCK", 0]))
    return worker


# ---- the reply


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_reply_has_the_answer_and_the_next_task(protocol, c):
    """The answer is an integer for one handle, the tasks are an array as TASK.CLAIM returns it."""
    fill(c, "abc")
    [a] = claim(c)
    answer, [[b, payload, deliveries]] = c("TASK.NEXT", "q", a)
    assert (answer, payload, deliveries) == (1, b"b", 1)
    answer, [[d, payload, _]] = c("TASK.NEXT", "q", b)
    assert (answer, payload) == (1, b"c")
    assert c("TASK.NEXT", "q", d) == [1, []]
    assert c("TASK.NEXT", "q", d) == [0, []], "it was finished before"
    info = c.map("TASK.INFO", "q")
    assert (info[b"claimed"], info[b"acked"], info[b"leased"]) == (3, 3, 0)


@pytest.mark.parametrize("protocol", [2, 3])
def test_several_handles_get_an_array_of_answers(protocol, c):
    """COUNT can be more or less than the number of handles."""
    fill(c, "abcdefgh")
    handles = claim(c, 2)
    answers, tasks = c("TASK.NEXT", "q", "HANDLES", 2, *handles, "COUNT", 5)
    assert (answers, payloads(tasks)) == ([1, 1], [b"c", b"d", b"e", b"f", b"g"])
    answers, tasks = c("TASK.NEXT", "q", "HANDLES", 3, handles[0], tasks[0][0], tasks[1][0])
    assert (answers, payloads(tasks)) == ([0, 1, 1], [b"h"])
    assert c("TASK.NEXT", "q", "HANDLES", 1, tasks[0][0], "COUNT", 1000) == [[1], []]


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_stale_handle_is_answered_with_minus_2_and_the_claim_goes_on(protocol, c):
    """It is no error, not even for one handle."""
    fill(c, "abcd")
    old = stale(c)
    answer, tasks = c("TASK.NEXT", "q", old)
    assert (answer, payloads(tasks)) == (-2, [b"b"])
    answers, tasks = c("TASK.NEXT", "q", "HANDLES", 3, old, tasks[0][0], NOBODYS, "COUNT", 5)
    assert (answers, payloads(tasks)) == ([-2, 1, 0], [b"c", b"d"])
    assert c.map("TASK.INFO", "q")[b"acked"] == 1


def test_a_late_answer_is_accepted(floor):
    """As with TASK.ACK, until the task is claimed again."""
    c = floor.boss
    c.push("q", "a")
    handle = c.claim("q", "LEASE", 1)
    floor.eventually(lambda: floor.counts()["stalled"] == 1, "the lease is over")
    assert c("TASK.NEXT", "q", handle, "COUNT", 5) == [1, []]
    assert floor.counts()["late"] == 1


def test_the_options_of_a_claim_mean_the_same(c):
    """BYTES, LEASE, WORKER, GROUP, WITHMETA and NOACK, in any order among those of the ack."""
    fill(c, "abcdefgh")
    c.push("q", "x", "GROUP", "g")
    [a] = claim(c)
    words = ["withmeta", "RESULT", "r", "LEASE", 77_000, "RETAIN", 1, "GROUP", "g", "WORKER", "ann"]
    answer, [[handle, payload, _, meta]] = c("TASK.NEXT", "q", a, *words)
    assert (answer, payload) == (1, b"x")
    _, number, _ = parts(handle)
    assert c.as_map(meta)[b"lease"] == number
    view = c.map("TASK.GET", "q", handle)
    assert (view[b"worker"], view[b"lease-ms"]) == (b"ann", 77_000)
    answer, tasks = c("TASK.NEXT", "q", handle, "COUNT", 5, "BYTES", 2)
    assert (answer, payloads(tasks)) == (1, [b"b", b"c"])
    answers, tasks = c("TASK.NEXT", "q", "HANDLES", 2, *(task[0] for task in tasks), "NOACK", "COUNT", 2)
    assert (answers, [(b"@" in name, payload) for name, payload, _ in tasks]) == (
        [1, 1],
        [(False, b"d"), (False, b"e")],
    )
    assert c.map("TASK.INFO", "q")[b"leased"] == 0


def test_results_are_kept_as_an_ack_keeps_them(c):
    """RESULT is stored for each handle, and RETAIN says for how long."""
    fill(c, "abc")
    handles = claim(c, 2)
    answers, _ = c("TASK.NEXT", "q", "HANDLES", 2, *handles, "RESULT", "done well", "RETAIN", HOUR)
    assert answers == [1, 1]
    for handle in handles:
        assert c("TASK.RESULT", "q", handle.split(b"@")[0]) == [b"done", b"done well"]
    assert c("TASK.LEN", "q", "done") == 2


def test_a_client_that_waits_for_the_result_gets_it(floor):
    """It waits in TASK.RESULT on another connection."""
    task = floor.boss.push("q", "a")
    handle = floor.boss.claim("q")
    client = floor.worker()
    floor.seen_to_wait(lambda: client.send(["TASK.RESULT", "q", task, "BLOCK", 0]))
    assert floor.boss("TASK.NEXT", "q", handle, "RESULT", "r") == [1, []]
    assert client.read() == [b"done", b"r"]


def test_a_missing_queue_is_not_created(c):
    """There is nothing to finish and nothing to claim."""
    assert c("TASK.NEXT", "missing", NOBODYS) == [0, []]
    assert c("TASK.NEXT", "missing", "HANDLES", 2, NOBODYS, NOBODYS, "BLOCK", 1) == [[0, 0], []]
    assert c("EXISTS", "missing") == 0


# ---- waiting


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_answers_count_while_it_waits(floor, protocol):
    """Another client sees that the tasks are finished. A push serves the worker, whose reply has both parts."""
    fill(floor.boss, "ab")
    handles = claim(floor.boss, 2)
    one = waiting(floor, handles[0], protocol=protocol)
    many = waiting(floor, "HANDLES", 2, handles[1], NOBODYS, "COUNT", 3, protocol=protocol)
    counts = floor.counts()
    assert (counts["acked"], counts["leased"], counts["blocked-workers"]) == (2, 0, 2)
    assert floor.boss("TASK.ACK", "q", handles[0]) == 0
    floor.boss.push("q", "c")
    answer, [[handle, payload, deliveries]] = one.read()
    assert (answer, payload, deliveries) == (1, b"c", 1)
    floor.boss("TASK.MPUSH", "q", "TASKS", 2, "d", "e")
    answers, tasks = many.read()
    assert (answers, payloads(tasks)) == ([1, 0], [b"d", b"e"])
    assert one("TASK.NEXT", "q", handle) == [1, []]
    floor.nobody_waits()


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_wait_that_ends_without_a_task_has_the_answers(floor, protocol):
    """At the end of BLOCK, and after CLIENT UNBLOCK, the array of tasks is empty."""
    fill(floor.boss, "abc")
    a, b, d = claim(floor.boss, 3)
    worker = floor.worker(protocol)
    assert worker("TASK.NEXT", "q", a, "BLOCK", 1) == [1, []]
    assert worker("TASK.NEXT", "q", "HANDLES", 2, b, NOBODYS, "BLOCK", 1) == [[1, 0], []]
    ended = waiting(floor, d, protocol=protocol)
    assert floor.boss("CLIENT", "UNBLOCK", ended.id) == 1
    assert ended.read() == [1, []]
    floor.nobody_waits()


def test_answers_are_not_undone_if_the_wait_ends_with_an_error(floor):
    """After UNBLOCKED and after a broken connection the tasks are finished. Sent again, the answer is 0."""
    fill(floor.boss, "ab")
    a, b = claim(floor.boss, 2)
    failed, killed = waiting(floor, a), waiting(floor, b)
    assert floor.boss("CLIENT", "UNBLOCK", failed.id, "ERROR") == 1
    assert failed.read() == Error(FORCED)
    assert floor.boss("CLIENT", "KILL", "ID", killed.id) == 1
    floor.nobody_waits()
    assert killed.is_cut()
    assert floor.counts()["acked"] == 2
    floor.boss.push("q", "c")
    answers, tasks = failed("TASK.NEXT", "q", "HANDLES", 2, a, b)
    assert (answers, payloads(tasks)) == ([0, 0], [b"c"])


@pytest.mark.parametrize("end", ["KILL", "UNBLOCK"])
def test_a_worker_ended_right_after_its_hand_off_has_the_task_or_no_lease(floor, end):
    """It is ended in the batch of the push. Without a reply there is no lease, but its answer counts."""
    floor.boss.push("q", "a")
    worker = waiting(floor, floor.boss.claim("q"))
    ends = {"KILL": ["CLIENT", "KILL", "ID", worker.id], "UNBLOCK": ["CLIENT", "UNBLOCK", worker.id, "ERROR"]}
    floor.boss.send(["TASK.PUSH", "q", "x"], ends[end])
    _, ended = floor.boss.read(), floor.boss.read()
    floor.nobody_waits()
    if end != "KILL" and not ended:
        answer, tasks = worker.read()
        assert (answer, payloads(tasks)) == (1, [b"x"])
    else:
        floor.eventually(lambda: floor.counts()["ready"] == 1, "the hand-off is undone")
        assert not worker.has_tasks()
    assert floor.counts()["acked"] == 1


def test_a_worker_whose_queue_is_deleted_goes_on_waiting(floor):
    """It gets the next task of that key."""
    floor.boss.push("q", "a")
    worker = waiting(floor, floor.boss.claim("q"))
    assert floor.boss("DEL", "q") == 1
    assert floor.all_wait([worker])
    floor.boss.push("q", "x")
    answer, tasks = worker.read()
    assert (answer, payloads(tasks)) == (1, [b"x"])


def test_workers_that_wait_are_served_first(floor):
    """What the answer makes claimable goes to the worker that came before, as after an ACK."""
    c = floor.boss
    c("TASK.CONFIG", "q", "SET", "concurrency", 1)
    fill(c, "abc")
    [handle] = claim(c)
    first = floor.waiting("q")
    assert c("TASK.NEXT", "q", handle) == [1, []]
    [[handle, payload, _]] = first.read()
    assert payload == b"b"
    answer, tasks = c("TASK.NEXT", "q", handle)
    assert (answer, payloads(tasks)) == (1, [b"c"])


def test_a_task_retried_while_it_waits_goes_to_it(floor):
    """A requeue serves it as a push does."""
    fill(floor.boss, "ab")
    a, b = claim(floor.boss, 2)
    worker = waiting(floor, a)
    assert floor.boss("TASK.REQUEUE", "q", b) == 1
    answer, tasks = worker.read()
    assert (answer, payloads(tasks), tasks[0][2]) == (1, [b"b"], 2)


def test_a_transaction_or_a_script_does_not_wait(floor):
    """BLOCK has no effect there, and the answers count."""
    c = floor.boss
    fill(c, "abc")
    a, b, d = claim(c, 3)
    lua = "return redis.call('TASK.NEXT', KEYS[1], ARGV[1], 'BLOCK', 0)"
    assert c("EVAL", lua, 1, "q", a) == [1, []]
    for words in (["MULTI"], ["TASK.NEXT", "q", b, "BLOCK", 0], ["TASK.PUSH", "q", "x"]):
        c(*words)
    c("TASK.NEXT", "q", "HANDLES", 1, d, "BLOCK", 0)
    nothing, _, (answers, tasks) = c("EXEC")
    assert (nothing, answers, payloads(tasks)) == ([1, []], [1], [b"x"])
    assert (floor.blocked(), floor.counted()) == (0, 0)


# ---- sent again


@pytest.mark.parametrize("protocol", [2, 3])
def test_sent_again_with_its_request_token_it_gets_the_same_tasks(protocol, c):
    """The answers are those of a repeated ACK, so 0. A CLAIM with the token gets the same tasks too."""
    fill(c, "abcd")
    handles = claim(c, 2)
    words = ["TASK.NEXT", "q", "HANDLES", 2, *handles, "COUNT", 2, "REQUEST", "t"]
    answers, tasks = c(*words)
    assert (answers, payloads(tasks)) == ([1, 1], [b"c", b"d"])
    before = c.digest()
    assert c(*words) == [[0, 0], tasks]
    assert c("TASK.CLAIM", "q", "COUNT", 2, "REQUEST", "t") == tasks
    assert c.digest() == before
    info = c.map("TASK.INFO", "q")
    assert (info[b"acked"], info[b"claimed"], info[b"duplicate"]) == (2, 4, 2)


def test_a_copy_takes_the_place_of_a_worker_that_waits(floor):
    """The older one gets its answers and no task, the copy gets 0 and the task."""
    floor.boss.push("q", "a")
    handle = floor.boss.claim("q")
    older = waiting(floor, handle, "REQUEST", "t")
    behind = floor.waiting("q")
    copy = floor.worker()
    copy.send(["TASK.NEXT", "q", handle, "REQUEST", "t", "BLOCK", 0])
    assert older.read() == [1, []]
    floor.boss.push("q", "x")
    answer, tasks = copy.read()
    assert (answer, payloads(tasks)) == (0, [b"x"])
    assert floor.all_wait([behind])


# ---- what the claim sees of the answers


def test_an_answer_frees_the_place_that_the_claim_takes(c):
    """This holds for a limit of the queue, for one of a group, and for strict order."""
    for limit in (
        ["TASK.CONFIG", "q", "SET", "concurrency", 1],
        ["TASK.GROUP", "q", "SET", "g", "CONCURRENCY", 1],
        ["TASK.GROUP", "q", "SET", "g", "ORDERED", "yes"],
    ):
        assert c(*limit) == "OK"
        fill(c, "ab", "GROUP", "g")
        [handle] = claim(c)
        assert c("TASK.CLAIM", "q") == [], limit
        answer, tasks = c("TASK.NEXT", "q", handle)
        assert (answer, payloads(tasks)) == (1, [b"b"]), limit
        assert c("TASK.NEXT", "q", tasks[0][0]) == [1, []]
        c("DEL", "q")


def test_a_worker_that_answers_its_last_task_can_get_a_suspect(floor):
    """A task that stalled twice goes only to a worker that holds nothing, and this one holds nothing any more."""
    c = floor.boss
    c("TASK.CONFIG", "q", "SET", "backoff-base", 1)
    c.push("q", "poison")
    for count in (1, 2):
        c.claim("q", "LEASE", 1)
        floor.eventually(lambda count=count: floor.counts()["stalled"] == count, "it has stalled")
        floor.eventually(lambda: floor.counts()["ready"] == 1, "it is ready")
    c.push("q", "held", "PRIORITY", 100)
    held = c.claim("q", "WORKER", "w")
    assert c("TASK.NEXT", "q", NOBODYS, "WORKER", "w") == [0, []]
    answer, tasks = c("TASK.NEXT", "q", held, "WORKER", "w", "COUNT", 5)
    assert (answer, payloads(tasks)) == (1, [b"poison"])


def test_a_paused_queue_takes_answers_and_gives_nothing(c):
    """After RESUME the tasks can be claimed."""
    fill(c, "ab")
    [handle] = claim(c)
    assert c("TASK.PAUSE", "q", "ALL") == "OK"
    assert c("TASK.NEXT", "q", handle, "BLOCK", 1) == [1, []]
    assert c("TASK.RESUME", "q", "ALL") == "OK"
    answer, tasks = c("TASK.NEXT", "q", handle)
    assert (answer, payloads(tasks)) == (0, [b"b"])


def test_a_cancelled_task_is_finished_by_its_answer(c):
    """As with TASK.ACK, a request to cancel does not matter to an answer."""
    fill(c, "ab")
    [handle] = claim(c)
    assert c("TASK.CANCEL", "q", handle.split(b"@")[0]) == 2
    answer, tasks = c("TASK.NEXT", "q", handle)
    assert (answer, payloads(tasks)) == (1, [b"b"])


def test_a_tied_lease_ends_with_the_connection(floor):
    """The next task's lease is tied to the connection that sent TASK.NEXT, also if it waited."""
    fill(floor.boss, "ab")
    handles = claim(floor.boss, 2)
    floor.boss.push("q", "c")
    worker = floor.worker()
    assert payloads(worker("TASK.NEXT", "q", handles[0], "TIED")[1]) == [b"c"]
    served = waiting(floor, handles[1], "TIED")
    floor.boss.push("q", "d")
    assert payloads(served.read()[1]) == [b"d"]
    worker.leave()
    served.leave()
    floor.eventually(lambda: floor.counts()["stalled"] == 2, "both leases have ended")


# ---- errors


def test_an_error_changes_nothing(c):
    """A wrong argument after the handles finishes no task, and claims none."""
    fill(c, "abc")
    handles = claim(c, 2)
    c("SET", "text", "x")
    before = c.digest()
    one, two = ["TASK.NEXT", "q", handles[0]], ["TASK.NEXT", "q", "HANDLES", 2, *handles]
    for wrong in (["COUNT"], ["COUNT", 1, "COUNT", 1], ["NO"], ["RESULT"], ["KEYS", 1, "p"], ["DEAD"]):
        assert c(*one, *wrong) == c(*two, *wrong) == SYNTAX, wrong
    for wrong in (
        *[["COUNT", 0], ["COUNT", 1001], ["BYTES", 0], ["LEASE", 0], ["LEASE", 2**63], ["BLOCK", -1]],
        *[["BLOCK", ""], ["WORKER", ""], ["GROUP", "x" * 257], ["REQUEST", ""], ["RETAIN", -1]],
        *[
            ["NOACK", "TIED"],
            ["NOACK", "LEASE", 1],
            ["NOACK", "REQUEST", "t"],
            ["RESULT", "x" * (MEGABYTE + 1)],
        ],
    ):
        for command in (one, two):
            reply = c(*command, *wrong)
            assert isinstance(reply, Error) and reply.startswith("ERR "), wrong
    for wrong in (
        ["x"],
        ["HANDLES", 0],
        ["HANDLES", 1001, handles[0]],
        ["HANDLES", 3, *handles],
        ["HANDLES"],
    ):
        assert isinstance(c("TASK.NEXT", "q", *wrong), Error), wrong
    assert c("TASK.NEXT", "q", "HANDLES", 2, handles[0], "x", "COUNT", 1) == Error("ERR invalid handle")
    assert c("TASK.NEXT", "text", handles[0], "BLOCK", 0) == WRONGTYPE
    assert c.digest() == before


def test_results_of_many_handles_together_have_a_limit(c):
    """64 MiB, as for TASK.ACK. Nothing is finished."""
    fill(c, "a" * 70)
    handles = claim(c, 65)
    before = c.digest()
    refused = c("TASK.NEXT", "q", "HANDLES", 65, *handles, "RESULT", "x" * MEGABYTE)
    assert refused == Error("ERR RESULT for all HANDLES together must be at most 67108864 bytes long")
    assert c.digest() == before


def test_a_tied_claim_in_a_script_finishes_nothing(c):
    """A script has no connection, and the error comes before the answer."""
    fill(c, "ab")
    [handle] = claim(c)
    before = c.digest()
    lua = "return redis.call('TASK.NEXT', KEYS[1], ARGV[1], 'TIED')"
    assert "ERR TIED requires" in c("EVAL", lua, 1, "q", handle)
    assert c.digest() == before


def test_a_full_server_takes_answers_and_gives_tasks(c):
    """Only a result that would be kept is refused, and then nothing is finished or claimed."""
    fill(c, "abcd")
    a, b = claim(c, 2)
    assert c("CONFIG", "SET", "maxmemory", 1) == "OK"
    before = c.digest()
    assert c("TASK.NEXT", "q", a, "RESULT", "r", "RETAIN", HOUR) == OOM
    assert c.digest() == before
    answer, tasks = c("TASK.NEXT", "q", a, "RESULT", "r", "RETAIN", 0)
    assert (answer, payloads(tasks)) == (1, [b"c"])
    answers, tasks = c("TASK.NEXT", "q", "HANDLES", 2, b, tasks[0][0], "WORKER", "w", "REQUEST", "t")
    assert (answers, payloads(tasks)) == ([1, 1], [b"d"])


# ---- replicas and files


@pytest.fixture
def recorded(start) -> Server:
    """A server whose effects are read."""
    return start(appendonly="yes")


def test_answers_and_leases_are_one_effect(recorded):
    """The acks come before the claim, with the result. A NEXT that changes nothing has no effect."""
    c = Talk(recorded)
    fill(c, "abcd")
    a, b = claim(c, 2)
    effects(recorded)
    _, [[handle, *_]] = c("TASK.NEXT", "q", a)
    [effect] = effects(recorded)
    assert effect.names == ["ack", "claim"]
    task, number, _ = parts(handle)
    (_, acked), (_, claimed) = effect.events
    assert acked[:2] == [parts(a)[0], False]
    assert claimed[3][0][:2] == [task, number]
    c("TASK.NEXT", "q", "HANDLES", 3, a, b, handle, "RESULT", "r", "REQUEST", "t")
    [effect] = effects(recorded)
    assert effect.names == ["ack", "ack", "claim", "req"]
    assert c("TASK.NEXT", "q", a) == [0, []]
    assert effects(recorded) == []


def test_a_worker_that_waits_has_two_effects(recorded):
    """The answers are replicated at once. The lease is part of the effect of the push that serves it."""
    floor = Floor(recorded)
    task = floor.boss.push("q", "a")
    handle = floor.boss.claim("q")
    effects(recorded)
    worker = waiting(floor, handle)
    [effect] = effects(recorded)
    assert (effect.names, effect.events[0][1][0]) == (["ack"], id_parts(task))
    floor.boss.push("q", "b")
    [effect] = effects(recorded)
    assert effect.names == ["push", "claim"]
    assert payloads(worker.read()[1]) == [b"b"]


def test_in_a_transaction_each_command_has_its_effect(recorded):
    """Replicas apply them together."""
    c = Talk(recorded)
    fill(c, "abc")
    a, b = claim(c, 2)
    effects(recorded)
    for words in (["MULTI"], ["TASK.NEXT", "q", a], ["TASK.NEXT", "q", b], ["EXEC"]):
        c(*words)
    assert [effect.names for effect in effects(recorded)] == [["ack", "claim"], ["ack"]]


def test_replica_and_aof_have_the_same_queue(start):
    """After answers and claims of every kind the replica is equal, and so is the server after a restart."""
    primary, replica = start(port=True, appendonly="yes"), start()
    replica.replicate(primary)
    floor = Floor(primary)
    c = floor.boss
    c("TASK.GROUP", "q", "SET", "g", "CONCURRENCY", 1)
    fill(c, "abcdefgh", "RETAIN", HOUR)
    fill(c, "xyz", "GROUP", "g")
    old = stale(c)
    handles = claim(c, 4, "LEASE", HOUR)
    c("TASK.NEXT", "q", "HANDLES", 2, handles[0], old, "RESULT", "r", "COUNT", 2, "REQUEST", "t")
    c("TASK.NEXT", "q", handles[1], "RETAIN", 0, "WORKER", "ann", "GROUP", "g", "LEASE", HOUR)
    c("TASK.NEXT", "q", handles[2], "NOACK")
    worker = waiting(floor, handles[3], "GROUP", "new")
    c("TASK.PUSH", "q", "last", "GROUP", "new")
    assert payloads(worker.read()[1]) == [b"last"]
    wait_synced(primary, replica)
    expected = digest(primary.client(), "q")
    assert digest(replica.client(), "q") == expected
    wait_aof(primary)
    primary.kill9()
    primary.start()
    assert digest(primary.client(), "q") == expected


def test_a_replica_refuses_it(start):
    """READONLY, before anything is looked at. A promoted replica accepts the handle."""
    primary, replica = start(port=True), start()
    replica.replicate(primary)
    c, at_replica = Talk(primary), Talk(replica)
    fill(c, "ab")
    [handle] = claim(c)
    wait_synced(primary, replica)
    refused = at_replica("TASK.NEXT", "q", handle, "BLOCK", 0)
    assert isinstance(refused, Error) and refused.startswith("READONLY")
    primary.stop()
    assert at_replica("REPLICAOF", "NO", "ONE") == "OK"
    answer, tasks = at_replica("TASK.NEXT", "q", handle)
    assert (answer, payloads(tasks)) == (1, [b"b"])


def test_a_demoted_node_ends_the_wait_with_an_error(start):
    """UNBLOCKED comes instead of the reply. The answer counts, so that a copy at the new primary gets 0."""
    primary, node = start(port=True), Floor(start(port=True))
    node.boss.push("q", "a")
    handle = node.boss.claim("q")
    worker = waiting(node, handle)
    primary.replicate(node.server)
    wait_synced(node.server, primary)
    other = Talk(primary)
    assert other("REPLICAOF", "NO", "ONE") == "OK"
    assert node.boss("REPLICAOF", "127.0.0.1", primary.port) == "OK"
    reply = worker.read()
    assert isinstance(reply, Error) and reply.startswith("UNBLOCKED"), reply
    assert other("TASK.NEXT", "q", handle) == [0, []]
