"""Limits: how many tasks may be worked on, and how fast, in a queue and in each of its groups; what is at one waits
and blocks no others."""

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
    """Say how many leases there may be."""
    assert c(*CONCURRENCY[whose], number) == "OK"


def rate(c: Talk, whose: str, number: int, per_ms: int = HOUR) -> None:
    """Say how many claims there may be in a span."""
    command, per = RATE[whose]
    assert c(*command, number, per, per_ms) == "OK"


def take(c: Talk, count: int = 100, *options: object) -> list[str]:
    """The payloads of what a claim gets."""
    return names(c("TASK.CLAIM", "q", "COUNT", count, *options))


# ---- concurrency


@pytest.mark.parametrize("whose", CONCURRENCY)
def test_no_more_are_leased_than_may_be(whose, c):
    """In one claim or several, over all priorities, NOACK too; a higher limit lets more run, a lower one ends none."""
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


def test_noack_takes_no_place(c):
    """What is finished as it is claimed is never leased; a place has to be free for it."""
    limit(c, "queue", 1)
    fill(c, "a", 10)
    assert take(c, 1, "NOACK") == ["a1"]
    assert take(c, 1, "NOACK") == ["a2"]
    assert take(c) == ["a3"]
    assert take(c, 1, "NOACK") == []


def test_groups_have_limits_of_their_own(c):
    """Each by the setting, but for what was said of it; those without a name by the queue's only."""
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


def test_the_queue_s_limit_is_shared_by_all(c):
    """And turns go on within it."""
    limit(c, "queue", 4)
    for group in ("a", "b", ""):
        fill(c, group, 5)
    assert Counter(tenants(take(c))) == {"a": 2, "b": 1, "-": 1}
    assert take(c) == []


ENDS = ["ack", "fail", "fail dead", "requeue", "requeue later", "stall", "cancel", "disconnect"]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("whose", CONCURRENCY)
def test_a_place_is_free_again(floor, whose, end):
    """However the lease ends, who waits for the group, or for any, gets what may run now."""
    c = floor.boss
    c("TASK.CONFIG", "q", "SET", "lease", HOUR)
    limit(c, whose, 1)
    tied = ["TIED"] if end == "disconnect" else []
    lease = ["LEASE", 60] if end == "stall" else []
    holder = floor.waiting("q", *tied, *lease)
    line = [floor.waiting("q", "GROUP", "a"), floor.waiting("q")]
    fill(c, "a", 2)
    [[handle, _, _]] = holder.read()
    again = end in ("requeue", "stall", "disconnect")
    if not lease:
        assert floor.all_wait(line)
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
            assert floor.all_wait(line)
            assert c("TASK.REQUEUE", "q", handle) == 0
        case "disconnect":
            holder.leave()
    assert line[0].payloads() == [b"a1" if again else b"a2"]
    assert floor.all_wait(line[1:])
    assert c("TASK.LEN", "q", "leased") == 1


def test_a_hand_off_that_is_undone_frees_its_place(floor):
    """A worker that is gone before it was told holds none."""
    c = floor.boss
    limit(c, "this group", 1)
    gone, next_one = floor.line(2, "q", "GROUP", "a")
    # In one round of the server: the push serves the first, and the kill comes before it is told.
    c("MULTI")
    c("TASK.PUSH", "q", "x", "GROUP", "a")
    c("CLIENT", "KILL", "ID", gone.id)
    c("EXEC")
    assert next_one.payloads() == [b"x"]
    assert groups(c)[b"a"][b"leased"] == 1


# ---- rates


@pytest.mark.parametrize("whose", RATE)
def test_so_many_may_be_claimed_at_once_and_no_more(whose, c):
    """A burst of n, in one claim or several, NOACK too; what is given back is not refunded."""
    rate(c, whose, 5)
    fill(c, "a", 20)
    assert take(c, 2, "NOACK") == ["a1", "a2"]
    handle = c.claim("q")
    assert c("TASK.REQUEUE", "q", handle) == 1
    assert take(c) == ["a3", "a4"]
    assert take(c) == take(c, 1, "GROUP", "a") == []
    assert c("TASK.LEN", "q", "ready") == 16


@pytest.mark.parametrize("whose", RATE)
def test_the_next_comes_by_itself_to_who_waits(floor, whose):
    """Beyond the burst one after each per/n, without any command; first come, first served."""
    c = floor.boss
    rate(c, whose, 3, 600)
    fill(c, "a", 10)
    fill(c, "a", 1, "PRIORITY", 1, first=11)
    assert len(take(c)) == 3
    line = [floor.waiting("q", "GROUP", "a"), floor.waiting("q"), floor.waiting("q", "GROUP", "a")]
    assert floor.all_got(line) == [[b"a3"], [b"a4"], [b"a5"]]
    floor.nobody_waits()


@pytest.mark.parametrize("whose", RATE)
def test_a_rate_is_never_exceeded(floor, whose):
    """Twenty workers ask without pause: in the time they take, by the server's clock, burst and rate and no more."""
    c = floor.boss
    rate(c, whose, 4, 100)
    fill(c, "a", 30)

    def now() -> float:
        seconds, micros = c("TIME")
        return int(seconds) * 1000 + int(micros) / 1000

    begun = now()
    line = [floor.worker().asks("q", "NOACK") for _ in range(20)]
    got = [payload for [payload] in floor.all_got(line)]
    # Each 25 ms one, but for the first four; the module's clock may differ by a hundredth.
    assert now() - begun >= (20 - 4) * 25 * 0.98 - 2
    assert sorted(got, key=lambda name: int(name[1:])) == [f"a{n}".encode() for n in range(1, 21)]


def test_each_group_has_the_rate_for_itself(c):
    """Those without a name have none but the queue's."""
    rate(c, "all groups", 2)
    rate(c, "this group", 3)
    for group in ("a", "b", "c", ""):
        fill(c, group, 10)
    got = tenants(take(c))
    assert [got.count(group) for group in "abc-"] == [3, 2, 2, 10]
    told = groups(c)
    assert {told[group][b"held-by"] for group in (b"a", b"b", b"c")} == {b"rate"}
    assert 0 < told[b"b"][b"rests-ms"] <= HOUR // 2 + 1000
    rate(c, "queue", 0)
    rate(c, "all groups", -1)
    assert take(c) == []
    rate(c, "queue", -1)
    assert sorted(tenants(take(c))) == sorted("b" * 8 + "c" * 8)


@pytest.mark.parametrize("whose", RATE)
def test_setting_a_rate_begins_it_anew(whose, c):
    """All of it is there; to say the same again, or another limit, doesn't."""
    rate(c, whose, 2)
    fill(c, "a", 20)
    assert len(take(c)) == 2
    rate(c, whose, 2)
    c("TASK.GROUP", "q", "SET", "a", "WEIGHT", 3)
    c("TASK.CONFIG", "q", "SET", "lease", 5000)
    assert take(c) == []
    rate(c, whose, 3)
    assert len(take(c)) == 3


def test_a_group_is_remembered_until_its_rate_is_there_again(server, c):
    """A tenant can't get a new burst by having no task for a moment."""
    rate(c, "all groups", 2, HOUR)
    fill(c, "a", 2)
    assert len(claims(c, 2, 2)) == 2
    fill(c, "a", 1)
    assert take(c) == [] and groups(c)[b"a"][b"held-by"] == b"rate"
    c("TASK.PURGE", "q", "ready")
    assert groups(c)[b"a"][b"tasks"] == 0
    # With a short one it is forgotten soon, by itself.
    rate(c, "all groups", 2, 50)
    assert groups(c) == {}
    fill(c, "b", 2)
    claims(c, 2, 2)
    server.wait_until(lambda: groups(c) == {}, "the group is forgotten")


# ---- nothing at all, more again


@pytest.mark.parametrize("whose", CONCURRENCY)
@pytest.mark.parametrize("kind", ["rate", "concurrency"])
def test_a_limit_of_0_holds_and_raising_it_serves_who_waits(floor, kind, whose):
    """Nothing is given out, by push, by time or by claim; then as much as may be."""
    c = floor.boss
    say = rate if kind == "rate" else limit
    say(c, whose, 0)
    line = [floor.waiting("q"), floor.waiting("q", "GROUP", "a"), floor.waiting("q", "GROUP", "a")]
    fill(c, "a", 5)
    fill(c, "a", 1, "DELAY", 20, first=9)
    floor.eventually(lambda: c("TASK.LEN", "q", "ready") == 6, "the delayed one is ready")
    assert take(c) == [] and floor.all_wait(line)
    say(c, whose, 2)
    assert floor.all_got(line[:2]) == [[b"a1"], [b"a2"]]
    assert floor.all_wait(line[2:])
    say(c, whose, -1)
    assert line[2].payloads() == [b"a3"]


def test_resume_serves_as_many_as_may_run(floor):
    """Limits hold for those who waited while the queue was paused."""
    c = floor.boss
    limit(c, "all groups", 1)
    c("TASK.PAUSE", "q")
    line = floor.line(5)
    for group in "abc":
        fill(c, group, 3)
    c("TASK.RESUME", "q")
    assert floor.all_got(line[:3]) == [[b"a1"], [b"b1"], [b"c1"]]
    assert floor.all_wait(line[3:])


@pytest.mark.parametrize("kind", ["concurrency", "rate", "ordered"])
def test_a_group_at_its_limit_blocks_no_others(kind, c):
    """A thousand groups at a limit stand in nobody's way, and their tasks come before those of lower priorities not."""
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


def test_limits_work_together(c):
    """The smallest holds: queue and group, rate and concurrency."""
    limit(c, "queue", 10)
    limit(c, "all groups", 3)
    rate(c, "queue", 12)
    rate(c, "all groups", 4)
    for group in "abcdef":
        fill(c, group, 10)
    first = c("TASK.CLAIM", "q", "COUNT", 100)
    # 3 + 3 + 3 and what is left of the queue's ten, in turn.
    assert len(first) == 10 and max(tenants(names(first)).count(g) for g in "abcdef") <= 3
    assert c("TASK.ACK", "q", "HANDLES", 10, *[task[0] for task in first]) == [1] * 10
    assert len(take(c)) == 2
    rate(c, "queue", -1)
    limit(c, "queue", -1)
    total = tenants(names(first)) + tenants(take(c))
    assert all(total.count(g) <= 4 for g in "abcdef")


def test_the_largest_rates_and_limits_let_everything_run(c):
    """No number overflows."""
    far = 100 * 365 * 24 * HOUR
    c("TASK.CONFIG", "q", "SET", "rate", 1_000_000, "rate-per", far, "concurrency", 2**53 - 1)
    c("TASK.CONFIG", "q", "SET", "group-rate", 1_000_000, "group-rate-per", 1)
    c("TASK.GROUP", "q", "SET", "b", "RATE", 1, "PER", far, "WEIGHT", 1_000_000, "CONCURRENCY", 2**53 - 1)
    for group in "ab":
        fill(c, group, 2000)
    got = tenants([name for _ in range(3) for name in take(c, 1000)])
    assert (got.count("a"), got.count("b")) == (2000, 1)
    told = groups(c)[b"b"]
    assert told[b"held-by"] == b"rate" and far - HOUR < told[b"rests-ms"] <= far


# ---- copies


def test_a_copy_holds_no_leases_and_so_no_places(c):
    """COPY: what was leased may be claimed in the copy, under the same limits; what is used of a rate stays used."""
    limit(c, "this group", 1)
    c("TASK.GROUP", "q", "SET", "b", "RATE", 2, "PER", HOUR)
    for group in "ab":
        fill(c, group, 4)
    assert sorted(take(c)) == ["a1", "b1", "b2"]
    assert c("COPY", "q", "copy") == 1
    assert names(c("TASK.CLAIM", "copy", "COUNT", 10)) == ["a1"]
    assert groups(c, "copy")[b"b"][b"ready"] == 4
    # RESTORE keeps the leases, and so the places.
    c("RESTORE", "twin", 0, c("DUMP", "q"))
    assert c("TASK.CLAIM", "twin", "COUNT", 10) == []
    assert c.digest("twin") == c.digest()


@pytest.mark.parametrize("way", ["reload", pytest.param("rdb", marks=pytest.mark.slow), "aof", "promotion"])
@pytest.mark.parametrize("whose", RATE)
def test_a_rate_goes_on_where_it_stood(start, way, whose):
    """After a restart or a failover nobody gets a new burst, and who waits is served when the next may run."""
    server = start(port=True, appendonly="yes" if way == "aof" else "no")
    c = Talk(server)
    # The next one may run after half of it: not before the server is back, or the replica has its copy.
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
        # Else the rate has let the next one run meanwhile, on a slow machine.
        assert take(c) == []
    worker = floor.worker().asks("q")
    assert worker.payloads() == [b"a3"]
    assert c("TASK.LEN", "q", "ready") == 7


def test_replicas_move_no_group(start):
    """A replica's groups rest until its primary says otherwise; both are equal at each step."""
    server, replica = start(port=True), start()
    replica.replicate(server)
    c, far = Talk(server), Talk(replica)
    rate(c, "all groups", 2, 200)
    c("TASK.GROUP", "q", "SET", "b", "WEIGHT", 3, "CONCURRENCY", 2)
    for group in "abc":
        fill(c, group, 20)
    got: list[str] = []

    def all_equal() -> bool:
        got.extend(claims_of(c))
        c("CLIENT", "PAUSE", 5000, "WRITE")
        wait_synced(server, replica)
        assert far.digest() == c.digest()
        c("CLIENT", "UNPAUSE")
        return len(got) > 20

    server.wait_until(all_equal, "twenty tasks are claimed", 20)


def claims_of(c: Talk) -> list[str]:
    """What may be claimed now, claimed and acknowledged."""
    tasks = c("TASK.CLAIM", "q", "COUNT", 5)
    assert all(c("TASK.ACK", "q", task[0]) == 1 for task in tasks)
    return names(tasks)


def test_info_says_which_limit_lets_nobody_claim(c):
    """Ready tasks that nobody gets have a reason: leases, the rate, or none."""
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
