"""Waits that end without a task, and hand-offs that their workers did not receive."""

import pytest
from harness.server import Server
from harness.talk import Error, Talk
from harness.waiting import FORCED, Floor


def test_a_wait_ends_with_an_empty_array_when_its_time_is_up(floor):
    """A worker without a time limit goes on waiting."""
    patient, short = floor.waiting(), floor.worker()
    assert short("TASK.CLAIM", "q", "BLOCK", 1) == []
    assert floor.all_wait([patient])
    floor.boss.push("q", "x")
    assert patient.payloads() == [b"x"]
    assert short("PING") == "PONG"
    floor.nobody_waits()


@pytest.mark.parametrize("protocol", [2, 3])
def test_client_unblock_ends_the_wait(floor, protocol):
    """The reply is an empty array, or the server's error with ERROR. Both workers can claim again."""
    timed_out, with_error = floor.waiting(protocol=protocol), floor.waiting(protocol=protocol)
    assert floor.boss("CLIENT", "UNBLOCK", timed_out.id) == 1
    assert floor.boss("CLIENT", "UNBLOCK", with_error.id, "ERROR") == 1
    assert timed_out.read() == []
    assert with_error.read() == Error(FORCED)
    floor.nobody_waits()
    floor.boss("TASK.MPUSH", "q", "TASKS", 2, "a", "b")
    for worker, payload in [(timed_out, b"a"), (with_error, b"b")]:
        worker.asks("q")
        assert worker.payloads() == [payload]


def test_a_killed_worker_leaves_the_wait_queue(floor):
    """The next task goes to the second worker and counts once."""
    first, second = floor.line(2)
    assert floor.boss("CLIENT", "KILL", "ID", first.id) == 1
    floor.boss.push("q", "x")
    assert first.is_cut()
    assert second.payloads() == [b"x"]
    assert floor.counts()["claimed"] == 1
    floor.nobody_waits()


def test_a_worker_that_closes_its_connection_leaves_the_wait_queue(floor):
    """The next task goes to the second worker."""
    first, second = floor.line(2)
    first.leave()
    floor.eventually(lambda: floor.counted() == 1, "the server has noticed")
    floor.boss.push("q", "x")
    assert second.payloads() == [b"x"]
    floor.nobody_waits()


def was_never_delivered(floor: Floor) -> None:
    """Wait until the task is ready again as if it had never been claimed."""
    state = {"ready": 1, "leased": 0, "claimed": 0, "stalled": 0, "requeued": 0}
    floor.eventually(lambda: state.items() <= floor.counts().items(), "the hand-off is undone")
    [[_, payload, deliveries]] = floor.worker()("TASK.CLAIM", "q")
    assert (payload, deliveries) == (b"x", 1)


ENDS = {
    "kill": lambda worker: ["CLIENT", "KILL", "ID", worker.id],
    "unblock with an error": lambda worker: ["CLIENT", "UNBLOCK", worker.id, "ERROR"],
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("options", [[], ["TIED"], ["REQUEST", "t"]], ids=["plain", "tied", "request"])
def test_a_worker_ended_right_after_its_hand_off_has_the_task_or_no_lease(floor, end, options):
    """It is ended in the batch of the push. If it gets no reply, there is no lease and no delivery counts."""
    worker = floor.waiting("q", *options)
    floor.boss.send(["TASK.PUSH", "q", "x"], ENDS[end](worker))
    _, ended = floor.boss.read(), floor.boss.read()
    floor.nobody_waits()
    if end != "kill" and not ended:
        # Up to 7.0 and on Valkey, the push itself sent the worker its reply.
        assert worker.payloads() == [b"x"]
        assert floor.counts()["leased"] == 1
    else:
        assert not worker.has_tasks()
        was_never_delivered(floor)


@pytest.mark.parametrize("end", ENDS)
def test_the_next_worker_gets_the_task_if_the_first_is_ended(floor, end):
    """The first is ended in the batch of the push. One of the two has the task, once."""
    first, second = floor.line(2)
    floor.boss.send(["TASK.PUSH", "q", "x"], ENDS[end](first))
    floor.boss.read()
    floor.boss.read()
    floor.eventually(lambda: first.has_tasks() or second.has_tasks(), "one has the task")
    assert first.has_tasks() != second.has_tasks()
    assert end != "kill" or second.has_tasks()
    counts = floor.counts()
    assert (counts["leased"], counts["claimed"], counts["ready"]) == (1, 1, 0)


def test_a_worker_unblocked_right_after_its_hand_off_has_the_task(floor):
    """CLIENT UNBLOCK in the batch of the push comes too late. The task is neither lost nor delivered twice."""
    worker = floor.waiting()
    floor.boss.send(
        ["TASK.PUSH", "q", "x"], ["CLIENT", "UNBLOCK", worker.id], ["CLIENT", "KILL", "ID", 1 << 40]
    )
    [floor.boss.read() for _ in range(3)]
    assert worker.payloads() == [b"x"]
    assert worker("PING") == "PONG"
    assert floor.counts()["leased"] == 1
    floor.nobody_waits()


@pytest.mark.parametrize("word", ["TIMEOUT", "ERROR"])
@pytest.mark.parametrize("ends", ["UNBLOCK KILL", "KILL UNBLOCK", "UNBLOCK UNBLOCK", "KILL KILL"])
def test_a_worker_ended_twice_in_one_batch_loses_no_task(floor, ends, word):
    """The batch has a push before and after. The server stays up, and both tasks exist once."""
    worker = floor.waiting()
    orders = {"UNBLOCK": ["CLIENT", "UNBLOCK", worker.id, word], "KILL": ["CLIENT", "KILL", "ID", worker.id]}
    crossing = [orders[end] for end in ends.split()]
    batch = [["TASK.PUSH", "q", "x"], *crossing, ["TASK.PUSH", "q", "y"]]
    floor.boss.send(*batch)
    assert all(not isinstance(floor.boss.read(), Error) or "KILL" in ends for _ in batch)
    floor.nobody_waits()
    counts = floor.counts()
    assert counts["ready"] + counts["leased"] == 2
    assert counts["claimed"] == counts["leased"] <= 1


def test_deleting_a_queue_leaves_its_workers_waiting(floor):
    """After DEL, UNLINK, FLUSHDB or FLUSHALL they get the next task of that key."""
    for order in (["DEL", "q"], ["UNLINK", "q"], ["FLUSHDB"], ["FLUSHALL"], ["FLUSHALL", "ASYNC"]):
        worker = floor.waiting()
        floor.boss("TASK.CONFIG", "q", "SET", "lease", 1000)
        floor.boss(*order)
        assert floor.boss("EXISTS", "q") == 0
        assert floor.all_wait([worker])
        floor.boss.push("q", order)
        assert len(worker.payloads()) == 1
    floor.nobody_waits()


def test_a_task_flushed_in_its_transaction_is_not_handed_off(floor):
    """After a push and FLUSHALL in one transaction, the worker waits for the next task."""
    worker = floor.waiting()
    floor.boss("MULTI")
    floor.boss("TASK.PUSH", "q", "flushed")
    floor.boss("FLUSHALL")
    floor.boss("EXEC")
    assert floor.all_wait([worker])
    floor.boss.push("q", "kept")
    assert worker.payloads() == [b"kept"]
    floor.nobody_waits()


def test_a_claim_in_a_transaction_or_a_script_does_not_wait(floor):
    """BLOCK is ignored: the reply is an empty array, or the tasks that are ready."""
    lua = "return redis.call('TASK.CLAIM', KEYS[1], 'BLOCK', 0)"
    assert floor.boss("EVAL", lua, 1, "q") == []
    floor.boss("MULTI")
    floor.boss("TASK.CLAIM", "q", "BLOCK", 0)
    floor.boss("TASK.PUSH", "q", "x")
    floor.boss("TASK.CLAIM", "q", "BLOCK", 0)
    nothing, _, [task] = floor.boss("EXEC")
    assert (nothing, task[1]) == ([], b"x")
    floor.boss.push("q", "y")
    assert floor.boss("EVAL", lua, 1, "q")[0][1] == b"y"
    assert (floor.blocked(), floor.counted()) == (0, 0)


def test_workers_get_an_error_when_their_node_becomes_a_replica(start):
    """Demotion ends all waits."""
    primary, node = start(port=True), Floor(start(port=True))
    workers = node.line(3)
    assert node.boss("REPLICAOF", "127.0.0.1", primary.port) == "OK"
    for worker in workers:
        reply = worker.read()
        assert isinstance(reply, Error) and reply.startswith("UNBLOCKED"), reply
    node.nobody_waits()
    other = Talk(primary)
    other.push("q", "x")
    assert node.boss("REPLICAOF", "NO", "ONE") == "OK"
    node.boss.push("p", "still at work")


def test_a_server_shuts_down_while_workers_wait(start):
    """SHUTDOWN does not wait for them."""
    server: Server = start()
    floor = Floor(server)
    workers = floor.line(3) + [floor.waiting("other", "TIED")]
    server.stop()
    assert all(worker.is_cut() for worker in workers)


@pytest.mark.parametrize("end", ["KILL", "UNBLOCK", "hang up"])
def test_a_client_that_waits_in_another_database_can_be_ended(floor, end):
    """This holds for workers and for BLPOP. (Redis 6.2.5 crashes if a module subscribes to closed connections.)"""
    worker, other = floor.worker(), floor.worker()
    for client, command in [(worker, ["TASK.CLAIM", "q", "BLOCK", 0]), (other, ["BLPOP", "list", 0])]:
        client("SELECT", 3)
        floor.seen_to_wait(lambda client=client, command=command: client.send(command))
    for client in (worker, other):
        match end:
            case "KILL":
                assert floor.boss("CLIENT", "KILL", "ID", client.id) == 1
            case "UNBLOCK":
                assert floor.boss("CLIENT", "UNBLOCK", client.id, "ERROR") == 1
            case _:
                client.leave()
    floor.nobody_waits()
    again = floor.worker()
    again("SELECT", 3)
    again.send(["BLPOP", "list", 0])
    floor.boss("SELECT", 3)
    floor.boss("RPUSH", "list", "x")
    assert again.read() == [b"list", b"x"]
