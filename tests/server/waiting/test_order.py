"""Which waiting worker is served, with which tasks, and in which order."""

import pytest
from harness.talk import Error, effects
from harness.waiting import Floor


def test_the_worker_that_waits_longest_is_served_first(floor):
    """Five tasks come one by one, and each goes to the first of the workers that still wait."""
    workers = floor.line(5)
    for at in range(5):
        floor.boss.push("q", f"task {at}")
        assert workers[at].payloads() == [f"task {at}".encode()]
        assert floor.all_wait(workers[at + 1 :])
    floor.nobody_waits()


def test_as_many_workers_are_served_as_there_are_tasks(floor):
    """Three tasks serve three of five workers. The others wait for the next tasks."""
    workers = floor.line(5)
    floor.boss("TASK.MPUSH", "q", "TASKS", 3, "a", "b", "c")
    assert floor.all_got(workers[:3]) == [[b"a"], [b"b"], [b"c"]]
    assert floor.all_wait(workers[3:])
    assert (floor.blocked(), floor.counted(), floor.counts()["blocked-workers"]) == (2, 2, 2)
    floor.boss("TASK.MPUSH", "q", "TASKS", 3, "d", "e", "f")
    assert floor.all_got(workers[3:]) == [[b"d"], [b"e"]]
    assert floor.boss("TASK.LEN", "q", "ready") == 1
    floor.nobody_waits()


def test_a_worker_that_waited_gets_an_ordinary_lease(floor):
    """It counts as one delivery, and the task can be acked."""
    worker = floor.waiting("q", "WORKER", "ann")
    task = floor.boss.push("q", "x")
    [[handle, payload, deliveries]] = worker.read()
    assert (handle.split(b"@")[0], payload, deliveries) == (task, b"x", 1)
    assert floor.boss("TASK.LEN", "q", "leased") == 1
    assert worker("TASK.ACK", "q", handle) == 1
    assert floor.boss("TASK.LEN", "q") == 0
    assert floor.counts()["claimed"] == 1


def test_a_later_claim_does_not_overtake_a_waiting_worker(floor):
    """It gets only tasks that are left."""
    first = floor.waiting()
    floor.boss.send(
        ["TASK.PUSH", "q", "a"], ["TASK.CLAIM", "q"], ["TASK.PUSH", "q", "b"], ["TASK.CLAIM", "q"]
    )
    _, late, _, later = [floor.boss.read() for _ in range(4)]
    assert first.payloads() == [b"a"]
    assert (late, [task[1] for task in later]) == ([], [b"b"])


@pytest.mark.parametrize("command", [["TASK.CLAIM", "q"], ["TASK.NEXT", "q", "1-0@1-00000000"]])
def test_a_claim_that_can_wait_does_not_overtake_workers_that_one_write_cannot_all_serve(floor, command):
    """The push serves 64 of them, and so does the claim before its own work. It waits behind the others."""
    workers = floor.line(140)
    late = floor.worker()
    late.send(["TASK.MPUSH", "q", "TASKS", 200, *range(200)], [*command, "COUNT", 200, "BLOCK", 0])
    assert len(late.read()) == 200
    assert floor.all_got(workers) == [[b"%d" % at] for at in range(140)]
    got = late.read() if command[0] == "TASK.CLAIM" else late.read()[1]
    assert [payload for _, payload, _ in got] == [b"%d" % at for at in range(140, 200)]


def test_a_worker_of_a_group_is_not_overtaken_while_its_task_is_put_off(floor):
    """A transaction's tasks are given out after it. The push behind it gives none of them to a later worker."""
    first, later = floor.waiting("q", "GROUP", "g"), floor.waiting()
    floor.boss.send(["MULTI"], ["TASK.PUSH", "q", "a", "GROUP", "g"], ["EXEC"], ["TASK.PUSH", "q", "b"])
    assert (first.payloads(), later.payloads()) == ([b"a"], [b"b"])


def test_the_highest_priority_goes_to_the_first_worker(floor):
    """Tasks that become ready at once are handed off in claim order."""
    floor.boss("TASK.PAUSE", "q")
    workers = floor.line(3)
    for payload, priority in [("low", -1), ("mid", 0), ("high", 5)]:
        floor.boss.push("q", payload, "PRIORITY", priority)
    floor.boss("TASK.RESUME", "q")
    assert floor.all_got(workers) == [[b"high"], [b"mid"], [b"low"]]


def test_a_waiting_worker_gets_up_to_count_tasks(floor):
    """COUNT is an upper bound. The second worker gets the remaining tasks."""
    many, one = floor.waiting("q", "COUNT", 3), floor.waiting("q", "COUNT", 10)
    floor.boss("TASK.MPUSH", "q", "TASKS", 5, *"abcde")
    assert many.payloads() == [b"a", b"b", b"c"]
    assert one.payloads() == [b"d", b"e"]


def test_bytes_applies_to_a_worker_that_waited(floor):
    """A delivery ends before BYTES is exceeded, but has at least one task."""
    workers = floor.line(2, "q", "COUNT", 10, "BYTES", 7)
    floor.boss("TASK.MPUSH", "q", "TASKS", 4, "123456789", "123", "456", "78")
    assert floor.all_got(workers) == [[b"123456789"], [b"123", b"456"]]
    assert floor.boss("TASK.LEN", "q", "ready") == 1


def test_worker_and_lease_apply_to_a_worker_that_waited(floor):
    """The lease has the name and length of the waiting claim."""
    worker = floor.waiting("q", "WORKER", "ann", "LEASE", 77_000, "WITHMETA")
    floor.boss.push("q", "x")
    [[handle, _, _, meta]] = worker.read()
    meta = worker.as_map(meta)
    shown = floor.boss.map("TASK.GET", "q", handle)
    assert shown[b"worker"] == b"ann"
    seconds, micros = floor.boss("TIME")
    left = meta[b"deadline"] - (int(seconds) * 1000 + int(micros) // 1000)
    assert 60_000 < left <= 77_100


@pytest.mark.parametrize("protocol", [2, 3])
def test_withmeta_applies_to_a_worker_that_waited(floor, protocol):
    """The map is the same as for a claim that does not wait, in both protocols."""
    push = ["q", "x", "PRIORITY", 3, "HEADERS", 2, "lang", "de", "empty", ""]
    found = floor.worker(protocol)
    floor.boss.push(*push)
    [[_, _, _, expected]] = found("TASK.CLAIM", "q", "WITHMETA")
    waited = floor.waiting("q", "WITHMETA", protocol=protocol)
    floor.boss.push(*push)
    [[handle, payload, deliveries, meta]] = waited.read()
    expected, meta = found.as_map(expected), waited.as_map(meta)
    assert (payload, deliveries, list(meta)) == (b"x", 1, list(expected))
    assert waited.as_map(meta[b"headers"]) == {b"lang": b"de", b"empty": b""}
    assert meta[b"lease"] == int(handle.split(b"@")[1].split(b"-")[0])
    for field in (b"priority", b"failures", b"stalls", b"headers"):
        assert meta[field] == expected[field]


def test_noack_applies_to_a_worker_that_waited(floor):
    """It gets the task's id, and there is no lease."""
    worker = floor.waiting("q", "NOACK", "COUNT", 2)
    task = floor.boss.push("q", "x")
    assert worker.read() == [[task, b"x", 1]]
    counts = floor.counts()
    assert (counts["leased"], counts["ready"], counts["acked"]) == (0, 0, 1)


def test_a_claim_sent_again_replaces_the_one_that_waits(floor):
    """With REQUEST, the copy keeps its position in the wait queue. The first claim returns nothing."""
    front, first, behind = floor.waiting(), floor.waiting("q", "REQUEST", "t"), floor.waiting()
    copy = floor.worker().asks("q", "REQUEST", "t")
    assert first.payloads() == []
    assert (floor.blocked(), floor.counted()) == (3, 3)
    floor.boss("TASK.MPUSH", "q", "TASKS", 3, "a", "b", "c")
    assert floor.all_got([front, copy, behind]) == [[b"a"], [b"b"], [b"c"]]
    floor.nobody_waits()


def test_a_claim_sent_again_after_it_was_served_gets_the_same_tasks(floor):
    """With REQUEST, the copy gets the handles of the first claim and does not wait."""
    first = floor.waiting("q", "REQUEST", "t", "COUNT", 2)
    floor.boss("TASK.MPUSH", "q", "TASKS", 3, "a", "b", "c")
    got = first.read()
    assert [task[1] for task in got] == [b"a", b"b"]
    assert floor.worker()("TASK.CLAIM", "q", "BLOCK", 0, "REQUEST", "t", "COUNT", 2) == got
    assert floor.boss("TASK.LEN", "q", "ready") == 1


def test_a_token_is_separate_in_each_queue(floor):
    """The same token in another queue is another claim."""
    one, other = floor.waiting("q", "REQUEST", "t"), floor.waiting("p", "REQUEST", "t")
    third = floor.waiting("q", "REQUEST", "u")
    assert floor.all_wait([one, other, third])
    floor.boss.push("p", "x")
    assert other.payloads() == [b"x"]
    assert floor.all_wait([one, third])


def test_a_copy_in_a_transaction_does_not_replace_the_waiting_claim(floor):
    """Claims in MULTI do not wait, so the copy gets nothing."""
    first = floor.waiting("q", "REQUEST", "t")
    floor.boss("MULTI")
    floor.boss("TASK.CLAIM", "q", "BLOCK", 0, "REQUEST", "t")
    assert floor.boss("EXEC") == [[]]
    assert floor.all_wait([first])
    floor.boss.push("q", "x")
    assert first.payloads() == [b"x"]


def test_the_same_key_in_two_databases_has_two_wait_queues(floor):
    """A push serves a worker of its own database only."""
    here, there = floor.waiting(), floor.worker()
    there("SELECT", 1)
    floor.seen_to_wait(there.asks)
    floor.boss("SELECT", 1)
    floor.boss.push("q", "there")
    assert there.payloads() == [b"there"]
    assert floor.all_wait([here])
    floor.boss("SELECT", 0)
    floor.boss.push("q", "here")
    assert here.payloads() == [b"here"]


def test_a_worker_can_wait_again_on_the_same_connection(floor):
    """It waits, is served and acks a hundred times."""
    worker = floor.worker()
    for at in range(100):
        worker.asks("q")
        floor.boss.push("q", at)
        [[handle, payload, deliveries]] = worker.read()
        assert (payload, deliveries) == (str(at).encode(), 1)
        assert worker("TASK.ACK", "q", handle) == 1
    floor.nobody_waits()
    assert floor.counts()["acked"] == 100


def test_a_claim_of_a_key_of_another_type_fails_at_once(floor):
    """A worker that already waits goes on waiting while its key has another type."""
    worker = floor.waiting("s")
    floor.boss("SET", "s", "text")
    wrong = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
    assert floor.worker()("TASK.CLAIM", "s", "BLOCK", 0) == wrong
    assert floor.all_wait([worker])
    floor.boss("DEL", "s")
    floor.boss.push("s", "x")
    assert worker.payloads() == [b"x"]


def test_a_thousand_workers_are_served_one_by_one(floor):
    """One push serves one of them. Each gets one task, and no waiting entry is left."""
    workers = [floor.worker() for _ in range(1000)]
    for worker in workers:
        worker.asks("q")
    floor.eventually(lambda: floor.blocked() == 1000, "a thousand wait")
    floor.boss.push("q", "first")
    floor.eventually(lambda: floor.blocked() == 999, "one is served")
    assert (floor.counted(), floor.counts()["blocked-workers"]) == (999, 999)
    assert floor.counts()["claimed"] == 1
    [served] = [worker for worker in workers if worker.has_answer()]
    assert served.payloads() == [b"first"]
    for start in range(0, 999, 100):
        payloads = range(start, min(start + 100, 999))
        floor.boss("TASK.MPUSH", "q", "TASKS", len(payloads), *payloads)
    got = [worker.payloads() for worker in workers if worker is not served]
    assert sorted(int(payload) for [payload] in got) == list(range(999))
    floor.nobody_waits()
    assert floor.counts()["blocked-workers"] == 0


def test_many_large_claims_are_served_in_rounds(start):
    """RESUME has 3000 tasks for thirty workers of COUNT 100. One round gives about 250 of them."""
    floor = Floor(start(appendonly="yes"))
    floor.boss("TASK.PAUSE", "q")
    workers = [floor.waiting("q", "COUNT", 100) for _ in range(30)]
    for _ in range(3):
        floor.boss("TASK.MPUSH", "q", "TASKS", 1000, *range(1000))
    floor.boss("TASK.RESUME", "q")
    assert [len(worker.payloads()) for worker in workers] == [100] * 30
    floor.nobody_waits()
    rounds = [
        sum(len(fields[3]) for name, fields in effect.events if name == "claim")
        for effect in effects(floor.server)
    ]
    assert sum(rounds) == 3000 and max(rounds) < 250 + 100
