"""Limits on concurrency and rate, for a queue and for its groups. A group at its limit does not block others."""

from collections import Counter

import pytest
from harness.queues import HOUR
from harness.server import wait_synced
from harness.talk import Talk
from harness.tenants import claims, fill, groups, names, tenants
from harness.waiting import Floor

CONCURRENCY = {
    "queue": ["TASK.CONFIG", "q", "SET", "concurrency"],
    "all groups": ["TASK.CONFIG", "q", "SET", "group-concurrency"],
    "this group": ["TASK.GROUP", "q", "SET", "a", "CONCURRENCY"],
}
RATE = {
    "queue": (["TASK.CONFIG", "q", "SET", "rate"], "rate-per"),
    "all groups": (["TASK.CONFIG", "q", "SET", "group-rate"], "group-rate-per"),
    "this group": (["TASK.GROUP", "q", "SET", "a", "RATE"], "PER"),
}


def limit(c: Talk, whose: str, number: int) -> None:
    """Set a concurrency limit."""
    assert c(*CONCURRENCY[whose], number) == "OK"


def rate(c: Talk, whose: str, number: int, per_ms: int = HOUR) -> None:
    """Set how many claims are allowed in a span."""
    command, per = RATE[whose]
    assert c(*command, number, per, per_ms) == "OK"


def take(c: Talk, count: int = 100, *options: object) -> list[str]:
    """Claim tasks and return their payloads."""
    return names(c("TASK.CLAIM", "q", "COUNT", count, *options))


# ---- concurrency


@pytest.mark.parametrize("whose", CONCURRENCY)
def test_concurrency_bounds_the_number_of_leases(whose, c):
    """It holds over claims and priorities and with NOACK. Lowering it ends no lease."""
    limit(c, whose, 3)
    fill(c, "a", 3)
    fill(c, "a", 4, "PRIORITY", 2, first=11)
    assert take(c, 2) == ["a11", "a12"]
    assert take(c) == ["a13"]
    assert take(c) == take(c, 1, "GROUP", "a") == take(c, 1, "NOACK") == []
    limit(c, whose, 4)
    assert take(c) == ["a14"]
    limit(c, whose, 2)
    assert take(c) == []
    limit(c, whose, -1)
    assert take(c) == ["a1", "a2", "a3"]


def test_noack_does_not_use_up_concurrency(c):
    """A claim with NOACK needs room for a lease, but takes none."""
    limit(c, "queue", 1)
    fill(c, "a", 10)
    assert take(c, 1, "NOACK") == ["a1"]
    assert take(c, 1, "NOACK") == ["a2"]
    assert take(c) == ["a3"]
    assert take(c, 1, "NOACK") == []


def test_groups_have_limits_of_their_own(c):
    """group-concurrency applies unless the group has its own limit. Tasks without a group have only the queue's."""
    limit(c, "all groups", 2)
    limit(c, "this group", 4)
    for group in ("a", "b", "c", ""):
        fill(c, group, 10)
    got = tenants(take(c))
    assert [got.count(group) for group in "abc-"] == [4, 2, 2, 10]
    limit(c, "this group", -1)
    assert tenants(take(c)) == "a" * 6
    assert c("TASK.GROUP", "q", "DEL", "a") == 1
    fill(c, "a", 1)
    assert take(c) == []


def test_the_limit_of_a_queue_is_shared_by_all_groups(c):
    """Groups still take turns within it."""
    limit(c, "queue", 4)
    for group in ("a", "b", ""):
        fill(c, group, 5)
    assert Counter(tenants(take(c))) == {"a": 2, "b": 1, "-": 1}
    assert take(c) == []


ENDS = ["ack", "fail", "fail dead", "requeue", "requeue later", "stall", "cancel", "disconnect"]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("whose", CONCURRENCY)
def test_the_end_of_a_lease_lets_the_next_task_run(floor, whose, end):
    """However the lease ends, the next task goes to the first waiting worker."""
    c = floor.boss
    c("TASK.CONFIG", "q", "SET", "lease", HOUR)
    limit(c, whose, 1)
    tied = ["TIED"] if end == "disconnect" else []
    lease = ["LEASE", 60] if end == "stall" else []
    holder = floor.waiting("q", *tied, *lease)
    workers = [floor.waiting("q", "GROUP", "a"), floor.waiting("q")]
    fill(c, "a", 2)
    [[handle, _, _]] = holder.read()
    again = end in ("requeue", "stall", "disconnect")
    if not lease:
        assert floor.all_wait(workers)
    match end:
        case "ack":
            assert c("TASK.ACK", "q", handle) == 1
        case "fail":
            assert c("TASK.FAIL", "q", handle, "DELAY", HOUR) == HOUR
        case "fail dead":
            assert c("TASK.FAIL", "q", handle, "DEAD") == -1
        case "requeue":
            assert c("TASK.REQUEUE", "q", handle) == 1
        case "requeue later":
            assert c("TASK.REQUEUE", "q", handle, "DELAY", HOUR) == 1
        case "cancel":
            assert c("TASK.CANCEL", "q", handle.split(b"@")[0]) == 2
            assert floor.all_wait(workers)
            assert c("TASK.REQUEUE", "q", handle) == 0
        case "disconnect":
            holder.leave()
    assert workers[0].payloads() == [b"a1" if again else b"a2"]
    assert floor.all_wait(workers[1:])
    assert c("TASK.LEN", "q", "leased") == 1


def test_a_hand_off_that_is_undone_does_not_use_up_concurrency(floor):
    """The worker is killed in the same transaction as the push, and the next worker gets the task."""
    c = floor.boss
    limit(c, "this group", 1)
    killed, next_one = floor.line(2, "q", "GROUP", "a")
    # In one event loop cycle, the push serves the first worker, and the kill comes before its reply.
    c("MULTI")
    c("TASK.PUSH", "q", "x", "GROUP", "a")
    c("CLIENT", "KILL", "ID", killed.id)
    c("EXEC")
    assert next_one.payloads() == [b"x"]
    assert groups(c)[b"a"][b"leased"] == 1


# ---- rates


@pytest.mark.parametrize("whose", RATE)
def test_a_rate_allows_a_burst_of_its_number(whose, c):
    """It holds over several claims and with NOACK. A requeue does not give anything back."""
    rate(c, whose, 5)
    fill(c, "a", 20)
    assert take(c, 2, "NOACK") == ["a1", "a2"]
    handle = c.claim("q")
    assert c("TASK.REQUEUE", "q", handle) == 1
    assert take(c) == ["a3", "a4"]
    assert take(c) == take(c, 1, "GROUP", "a") == []
    assert c("TASK.LEN", "q", "ready") == 16


@pytest.mark.parametrize("whose", RATE)
def test_waiting_workers_get_tasks_at_the_rate(floor, whose):
    """After the burst, the timer hands off one task at a time, in the order the workers came."""
    c = floor.boss
    rate(c, whose, 3, 600)
    fill(c, "a", 10)
    fill(c, "a", 1, "PRIORITY", 1, first=11)
    assert len(take(c)) == 3
    workers = [floor.asking("q", "GROUP", "a"), floor.asking("q"), floor.asking("q", "GROUP", "a")]
    assert floor.all_got(workers) == [[b"a3"], [b"a4"], [b"a5"]]
    floor.nobody_waits()


@pytest.mark.parametrize("whose", RATE)
def test_a_rate_is_never_exceeded(floor, whose):
    """Twenty workers wait at once. Serving them takes at least as long as the rate requires."""
    c = floor.boss
    rate(c, whose, 4, 100)
    fill(c, "a", 30)

    def now() -> float:
        seconds, micros = c("TIME")
        return int(seconds) * 1000 + int(micros) / 1000

    begun = now()
    workers = [floor.worker().asks("q", "NOACK") for _ in range(20)]
    got = [payload for [payload] in floor.all_got(workers)]
    # One per 25 ms after the first four. The module's clock can differ by 1 %.
    assert now() - begun >= (20 - 4) * 25 * 0.98 - 2
    assert sorted(got, key=lambda name: int(name[1:])) == [f"a{n}".encode() for n in range(1, 21)]


def test_each_group_has_its_own_rate(c):
    """Tasks without a group have only the queue's rate."""
    rate(c, "all groups", 2)
    rate(c, "this group", 3)
    for group in ("a", "b", "c", ""):
        fill(c, group, 10)
    got = tenants(take(c))
    assert [got.count(group) for group in "abc-"] == [3, 2, 2, 10]
    shown = groups(c)
    assert {shown[group][b"held-by"] for group in (b"a", b"b", b"c")} == {b"rate"}
    assert 0 < shown[b"b"][b"rests-ms"] <= HOUR // 2 + 1000
    rate(c, "queue", 0)
    rate(c, "all groups", -1)
    assert take(c) == []
    rate(c, "queue", -1)
    assert sorted(tenants(take(c))) == sorted("b" * 8 + "c" * 8)


@pytest.mark.parametrize("whose", RATE)
def test_setting_another_rate_allows_a_new_burst(whose, c):
    """Setting the same rate or another setting does not."""
    rate(c, whose, 2)
    fill(c, "a", 20)
    assert len(take(c)) == 2
    rate(c, whose, 2)
    c("TASK.GROUP", "q", "SET", "a", "WEIGHT", 3)
    c("TASK.CONFIG", "q", "SET", "lease", 5000)
    assert take(c) == []
    rate(c, whose, 3)
    assert len(take(c)) == 3


def test_a_group_without_tasks_keeps_its_used_rate(server, c):
    """A tenant cannot get a new burst by having no tasks for a moment."""
    rate(c, "all groups", 2, HOUR)
    fill(c, "a", 2)
    assert len(claims(c, 2, 2)) == 2
    fill(c, "a", 1)
    assert take(c) == [] and groups(c)[b"a"][b"held-by"] == b"rate"
    c("TASK.PURGE", "q", "ready")
    assert groups(c)[b"a"][b"tasks"] == 0
    # With a short span the timer forgets the group soon.
    rate(c, "all groups", 2, 50)
    assert groups(c) == {}
    fill(c, "b", 2)
    claims(c, 2, 2)
    server.wait_until(lambda: groups(c) == {}, "the group is forgotten")


# ---- a limit of 0, and several limits


@pytest.mark.parametrize("whose", CONCURRENCY)
@pytest.mark.parametrize("kind", ["rate", "concurrency"])
def test_a_limit_of_0_stops_claims_and_raising_it_serves_waiting_workers(floor, kind, whose):
    """Neither a push nor a due task is handed off before."""
    c = floor.boss
    set_limit = rate if kind == "rate" else limit
    set_limit(c, whose, 0)
    workers = [floor.waiting("q"), floor.waiting("q", "GROUP", "a"), floor.waiting("q", "GROUP", "a")]
    fill(c, "a", 5)
    fill(c, "a", 1, "DELAY", 20, first=9)
    floor.eventually(lambda: c("TASK.LEN", "q", "ready") == 6, "the delayed one is ready")
    assert take(c) == [] and floor.all_wait(workers)
    set_limit(c, whose, 2)
    assert floor.all_got(workers[:2]) == [[b"a1"], [b"a2"]]
    assert floor.all_wait(workers[2:])
    set_limit(c, whose, -1)
    assert workers[2].payloads() == [b"a3"]


def test_resume_serves_only_as_many_tasks_as_the_limits_allow(floor):
    """Limits apply to workers that waited during the pause."""
    c = floor.boss
    limit(c, "all groups", 1)
    c("TASK.PAUSE", "q")
    workers = floor.line(5)
    for group in "abc":
        fill(c, group, 3)
    c("TASK.RESUME", "q")
    assert floor.all_got(workers[:3]) == [[b"a1"], [b"b1"], [b"c1"]]
    assert floor.all_wait(workers[3:])


@pytest.mark.parametrize("kind", ["concurrency", "rate", "ordered"])
def test_groups_at_their_limit_do_not_block_others(kind, c):
    """A thousand groups at a limit have tasks of a higher priority, and other groups go on."""
    words = {"concurrency": ["CONCURRENCY", 0], "rate": ["RATE", 0], "ordered": ["ORDERED", "yes"]}[kind]
    for n in range(1000):
        c("TASK.GROUP", "q", "SET", f"h{n}", *words)
        c.push("q", "held", "GROUP", f"h{n}", "PRIORITY", 5)
    if kind == "ordered":
        for handle, *_ in c("TASK.CLAIM", "q", "COUNT", 1000):
            assert c("TASK.FAIL", "q", handle, "DELAY", HOUR) == HOUR
    fill(c, "b", 100)
    fill(c, "", 100)
    assert tenants(claims(c, 200, 7)).count("b") == 100
    assert c("TASK.CLAIM", "q") == []


def test_the_smallest_limit_applies(c):
    """Queue and groups have both rate and concurrency."""
    limit(c, "queue", 10)
    limit(c, "all groups", 3)
    rate(c, "queue", 12)
    rate(c, "all groups", 4)
    for group in "abcdef":
        fill(c, group, 10)
    first = c("TASK.CLAIM", "q", "COUNT", 100)
    # At most 3 of each group, and 10 of the queue.
    assert len(first) == 10 and max(tenants(names(first)).count(g) for g in "abcdef") <= 3
    assert c("TASK.ACK", "q", "HANDLES", 10, *[task[0] for task in first]) == [1] * 10
    assert len(take(c)) == 2
    rate(c, "queue", -1)
    limit(c, "queue", -1)
    total = tenants(names(first)) + tenants(take(c))
    assert all(total.count(g) <= 4 for g in "abcdef")


def test_the_largest_limits_do_not_overflow(c):
    """All tasks of an unlimited group are claimed, and the slowest rate allows one."""
    far = 100 * 365 * 24 * HOUR
    c("TASK.CONFIG", "q", "SET", "rate", 1_000_000, "rate-per", far, "concurrency", 2**53 - 1)
    c("TASK.CONFIG", "q", "SET", "group-rate", 1_000_000, "group-rate-per", 1)
    c("TASK.GROUP", "q", "SET", "b", "RATE", 1, "PER", far, "WEIGHT", 1_000_000, "CONCURRENCY", 2**53 - 1)
    for group in "ab":
        fill(c, group, 2000)
    got = tenants([name for _ in range(3) for name in take(c, 1000)])
    assert (got.count("a"), got.count("b")) == (2000, 1)
    shown = groups(c)[b"b"]
    assert shown[b"held-by"] == b"rate" and far - HOUR < shown[b"rests-ms"] <= far


# ---- persistence and replication


def test_a_copy_has_no_leases_but_the_same_used_rate(c):
    """Tasks leased in the original can be claimed in a COPY, within the limits. RESTORE keeps leases."""
    limit(c, "this group", 1)
    c("TASK.GROUP", "q", "SET", "b", "RATE", 2, "PER", HOUR)
    for group in "ab":
        fill(c, group, 4)
    assert sorted(take(c)) == ["a1", "b1", "b2"]
    assert c("COPY", "q", "copy") == 1
    assert names(c("TASK.CLAIM", "copy", "COUNT", 10)) == ["a1"]
    assert groups(c, "copy")[b"b"][b"ready"] == 4
    # RESTORE keeps the leases, so the limits are reached.
    c("RESTORE", "twin", 0, c("DUMP", "q"))
    assert c("TASK.CLAIM", "twin", "COUNT", 10) == []
    assert c.digest("twin") == c.digest()


@pytest.mark.parametrize("way", ["reload", pytest.param("rdb", marks=pytest.mark.slow), "aof", "promotion"])
@pytest.mark.parametrize("whose", RATE)
def test_a_restart_or_failover_gives_no_new_burst(start, way, whose):
    """A waiting worker is served when the rate allows the next task."""
    server = start(port=True, appendonly="yes" if way == "aof" else "no")
    c = Talk(server)
    # The next task is allowed after half the span, when the server is back or the replica has its copy.
    rate(c, whose, 2, 4000 if way == "promotion" else 1600)
    fill(c, "a", 10)
    assert len(take(c)) == 2
    before = c.digest()
    match way:
        case "reload":
            c("DEBUG", "RELOAD")
        case "rdb":
            server.stop(save=True)
            server.restart()
        case "aof":
            server.restart(kill=True)
        case "promotion":
            replica = start()
            replica.replicate(server)
            assert Talk(replica).digest() == before
            server.kill9()
            server = replica
            assert Talk(server)("REPLICAOF", "NO", "ONE") == "OK"
    floor = Floor(server)
    c = floor.boss
    if c.digest() == before:
        # On a slow machine the rate can already allow the next task.
        assert take(c) == []
    worker = floor.worker().asks("q")
    assert worker.payloads() == [b"a3"]
    assert c("TASK.LEN", "q", "ready") == 7


def test_a_replica_does_not_change_groups_itself(start):
    """Groups at a limit stay there until the primary's effect. Both are equal at each step."""
    server, replica = start(port=True), start()
    replica.replicate(server)
    c, far = Talk(server), Talk(replica)
    rate(c, "all groups", 2, 200)
    c("TASK.GROUP", "q", "SET", "b", "WEIGHT", 3, "CONCURRENCY", 2)
    for group in "abc":
        fill(c, group, 20)
    got: list[str] = []

    def all_equal() -> bool:
        got.extend(claim_and_ack(c))
        c("CLIENT", "PAUSE", 5000, "WRITE")
        wait_synced(server, replica)
        assert far.digest() == c.digest()
        c("CLIENT", "UNPAUSE")
        return len(got) > 20

    server.wait_until(all_equal, "twenty tasks are claimed", 20)


def claim_and_ack(c: Talk) -> list[str]:
    """Claim and ack the tasks that can be claimed now, and return their payloads."""
    tasks = c("TASK.CLAIM", "q", "COUNT", 5)
    assert all(c("TASK.ACK", "q", task[0]) == 1 for task in tasks)
    return names(tasks)


def test_info_shows_which_limit_stops_claims(c):
    """held-by is concurrency, rate, groups or empty."""
    c("TASK.MPUSH", "q", "TASKS", 3, "a", "b", "c")

    def held_by() -> bytes:
        return c.map("TASK.INFO", "q")[b"held-by"]

    assert held_by() == b""
    c("TASK.CONFIG", "q", "SET", "concurrency", 1, "rate", 2, "rate-per", 3_600_000)
    [[handle, *_]] = c("TASK.CLAIM", "q", "COUNT", 3)
    assert held_by() == b"concurrency" and c("TASK.CLAIM", "q") == []
    assert c("TASK.ACK", "q", handle) == 1 and held_by() == b""
    [[handle, *_]] = c("TASK.CLAIM", "q")
    assert c("TASK.ACK", "q", handle) == 1 and held_by() == b"rate" and c("TASK.CLAIM", "q") == []
    c("TASK.CONFIG", "q", "SET", "rate", -1, "concurrency", -1)
    c("TASK.PUSH", "q", "d", "GROUP", "g")
    assert held_by() == b"" and claim_and_ack(c) == ["c", "d"]
    c("TASK.PUSH", "q", "e", "GROUP", "g")
    c("TASK.GROUP", "q", "SET", "g", "CONCURRENCY", 0)
    assert held_by() == b"groups" and c("TASK.CLAIM", "q") == []


def test_info_counts_paused_and_stopped_groups(c):
    """Paused by a person; stopped by a concurrency or rate of 0 of their own. They outlive a restart of the server."""

    def counts() -> tuple[int, int]:
        info = c.map("TASK.INFO", "q")
        return info[b"groups-paused"], info[b"groups-stopped"]

    c("TASK.PUSH", "q", "t", "GROUP", "a")
    assert counts() == (0, 0)
    c("TASK.PAUSE", "q", "GROUP", "a")
    c("TASK.GROUP", "q", "SET", "b", "CONCURRENCY", 0)
    c("TASK.GROUP", "q", "SET", "c", "RATE", 0, "PER", HOUR)
    assert counts() == (1, 2)
    assert c("DEBUG", "RELOAD") == "OK" and counts() == (1, 2)
    c("TASK.RESUME", "q", "GROUP", "a")
    c("TASK.GROUP", "q", "DEL", "b")
    assert counts() == (0, 1)
