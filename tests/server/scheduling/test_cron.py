"""Schedules: they push tasks by themselves, once for each instant, also over restarts and failovers."""

import time

import pytest
from harness.server import Server, wait_synced
from harness.talk import SYNTAX, Error, Talk, effects, id_parts

HOUR = 3_600_000
SPAN_MAX = 100 * 365 * 86_400_000
EVERY = ["EVERY", 100, "PAYLOAD", "tick"]
RULE = Error(
    "ERR CRON must have five fields: minute 0-59, hour 0-23, day of month 1-31 or L, month 1-12, "
    "day of week 0-7"
)
ZONE = Error("ERR TZ must be the name of a time zone, such as Europe/Berlin")
NEVER = Error("ERR CRON names a date that never comes")
OOM = Error("OOM command not allowed when used memory > 'maxmemory'.")


def schedule(c: Talk, name: bytes = b"a", key: object = "q") -> dict:
    """The entry of a schedule in TASK.INFO CRON."""
    [found] = [about for about in map(c.as_map, c("TASK.INFO", key, "CRON")) if about[b"name"] == name]
    return found


def made(c: Talk, name: bytes = b"a") -> int:
    """How many runs a schedule has made."""
    return schedule(c, name)[b"made"]


def claim_all(c: Talk) -> list[bytes]:
    """Claim all ready tasks and return their payloads."""
    return [task[1] for task in c("TASK.CLAIM", "q", "COUNT", 1000)]


# ---- TASK.CRON SET and DEL


def test_a_schedule_pushes_tasks(server, c):
    """They have the payload and the options that were set. No command is needed."""
    words = [
        "PRIORITY",
        7,
        "ATTEMPTS",
        3,
        "LEASE",
        5000,
        "HEADERS",
        1,
        "k",
        "v",
        "EVERY",
        100,
        "PAYLOAD",
        "x",
    ]
    assert c("TASK.CRON", "q", "SET", "a", *words) == 1
    server.wait_until(lambda: c("TASK.LEN", "q") >= 3, "three runs")
    task = c.map("TASK.GET", "q", c.claim())
    assert (task[b"priority"], task[b"attempts"], task[b"lease-ms"]) == (7, 3, 5000)
    assert task[b"headers"] == [b"k", b"v"] or task[b"headers"] == {b"k": b"v"}
    about = schedule(c)
    assert about[b"every"] == 100 and about[b"payload-bytes"] == 1
    assert 0 <= about[b"next-ms"] <= 100
    assert (about[b"skipped"], about[b"missed"], about[b"disabled"]) == (0, 0, 0)
    assert 0 <= about[b"last"] - id_parts(about[b"last-id"])[0] < 50


def test_a_blocked_worker_gets_the_task_of_a_schedule(server):
    """A schedule serves workers as a push does."""
    worker, c = Talk(server), Talk(server)
    worker.send(["TASK.CLAIM", "q", "BLOCK", 5000])
    assert c("TASK.CRON", "q", "SET", "a", *EVERY) == 1
    [task] = worker.read()
    assert task[1] == b"tick"


def test_set_replaces_a_schedule_of_the_same_name(server, c):
    """It returns 0. The next run stays if the rule is the same. Counters always stay."""
    assert c("TASK.CRON", "q", "SET", "a", "EVERY", HOUR, "PAYLOAD", "old") == 1
    next_run = schedule(c)[b"next"]
    server.wait_until(lambda: schedule(c)[b"next-ms"] < HOUR - 5, "time has passed")
    assert c("TASK.CRON", "q", "set", "a", "every", HOUR, "payload", "new", "catchup", "NONE") == 0
    about = schedule(c)
    assert abs(about[b"next"] - next_run) <= 2 and about[b"catchup"] == b"none"
    assert c("TASK.CRON", "q", "SET", "a", *EVERY) == 0
    server.wait_until(lambda: made(c) >= 2, "it runs by its new rule")
    assert c("TASK.CRON", "q", "SET", "a", "EVERY", HOUR, "PAYLOAD", "x") == 0
    assert schedule(c)[b"made"] >= 2


def test_del_removes_a_schedule_and_keeps_its_tasks(server, c):
    """It returns 1, or 0 if there is no such schedule. A missing queue is not created."""
    assert c("TASK.CRON", "q", "DEL", "a") == 0 and c("EXISTS", "q") == 0
    c("TASK.CRON", "q", "SET", "a", *EVERY)
    server.wait_until(lambda: c("TASK.LEN", "q") >= 1, "a run")
    assert c("TASK.CRON", "q", "DEL", "a") == 1 and c("TASK.CRON", "q", "DEL", "a") == 0
    assert c("TASK.INFO", "q", "CRON") == [] and c("TASK.LEN", "q") >= 1


@pytest.mark.parametrize("protocol", [2, 3])
def test_info_cron_shows_schedules_sorted_by_name(protocol, c):
    """The reply is an array of maps, or null for a missing queue."""
    assert c("TASK.INFO", "q", "CRON") is None
    c("TASK.CRON", "q", "SET", "z", "EVERY", HOUR, "PAYLOAD", "")
    c("TASK.CRON", "q", "SET", "b", "CRON", "30 2 * * mon-FRI", "TZ", "Europe/Berlin", "PAYLOAD", "x")
    c("TASK.CRON", "q", "SET", "a\r\n", "CRON", "0 0 * * *", "PAYLOAD", "x")
    first, second, third = map(c.as_map, c("TASK.INFO", "q", "cron"))
    assert first[b"name"] == b"a\r\n" and first[b"tz"] == b"UTC"
    assert (second[b"cron"], second[b"tz"]) == (b"30 2 * * mon-FRI", b"Europe/Berlin")
    assert third[b"name"] == b"z" and b"last" not in third
    assert first[b"next"] % 86_400_000 == 0 and second[b"next"] % 60_000 == 0
    assert c("TASK.INFO", "q", "CRON", "x") == SYNTAX
    c("SET", "s", "x")
    assert c("TASK.INFO", "s", "CRON").startswith("WRONGTYPE")


def test_run_makes_a_run_now(c):
    """It has the payload and options of the schedule, and counts as a run. The next run stays."""
    words = ["PRIORITY", 7, "GROUP", "g", "HEADERS", 1, "k", "v"]
    assert c("TASK.CRON", "q", "SET", "a", "EVERY", HOUR, *words, "PAYLOAD", "x") == 1
    before = schedule(c)
    task = c("TASK.CRON", "q", "run", "a")
    shown = c.map("TASK.GET", "q", task)
    assert (shown[b"payload"], shown[b"priority"], shown[b"group"]) == (b"x", 7, b"g")
    after = schedule(c)
    assert (after[b"made"], after[b"skipped"], after[b"last-id"]) == (1, 0, task)
    assert after[b"next"] == before[b"next"]
    second = c("TASK.CRON", "q", "RUN", "a")
    assert id_parts(second) > id_parts(task) and made(c) == 2
    assert c("TASK.CRON", "q", "SET", "b", "CRON", "0 4 * * *", "PAYLOAD", "y") == 1
    before = schedule(c, b"b")
    assert c("TASK.CRON", "q", "RUN", "b")
    assert schedule(c, b"b")[b"next"] == before[b"next"]


def test_run_says_why_its_task_cannot_be_pushed(c):
    """An unknown name, a paused or full queue, a token that is held, no memory. Nothing is counted."""
    no_such = Error("ERR there is no such schedule")
    assert c("TASK.CRON", "q", "RUN", "a") == no_such and c("EXISTS", "q") == 0
    assert c("TASK.CRON", "q", "SET", "a", "EVERY", HOUR, "UNIQUE", "t", "PAYLOAD", "x") == 1
    assert c("TASK.CRON", "q", "RUN", "b") == no_such
    c("TASK.PAUSE", "q", "IN")
    assert c("TASK.CRON", "q", "RUN", "a") == Error("PAUSED the queue accepts no pushes")
    c("TASK.RESUME", "q", "IN")
    assert id_parts(c("TASK.CRON", "q", "RUN", "a"))
    assert c("TASK.CRON", "q", "RUN", "a") == Error("ERR another task holds the token")
    c("TASK.PURGE", "q", "ALL")
    c("TASK.CONFIG", "q", "SET", "max-len", 0)
    assert c("TASK.CRON", "q", "RUN", "a") == Error("QFULL the queue has reached max-len")
    c("TASK.CONFIG", "q", "RESET", "max-len")
    c("CONFIG", "SET", "maxmemory", 1)
    assert c("TASK.CRON", "q", "RUN", "a") == OOM
    c("CONFIG", "SET", "maxmemory", 0)
    assert (schedule(c)[b"made"], schedule(c)[b"skipped"]) == (1, 0)


def test_a_waiting_worker_gets_the_task_of_a_run(server, c):
    """At once, as after a push."""
    c("TASK.CRON", "q", "SET", "a", "EVERY", HOUR, "PAYLOAD", "x")
    worker = Talk(server)
    worker.send(["TASK.CLAIM", "q", "BLOCK", 0])
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"blocked-workers"] == 1, "the worker waits")
    task = c("TASK.CRON", "q", "RUN", "a")
    [[handle, payload, _]] = worker.read()
    assert payload == b"x" and handle.startswith(task)


def test_info_cron_shows_payloads_and_options(c):
    """As TASK.GET names them. Payloads beyond 16 MiB are left out."""
    words = ["PRIORITY", 7, "ATTEMPTS", 3, "LEASE", 5000, "GROUP", "g", "TTL", 9, "RETAIN", 8, "UNIQUE", "t"]
    c("TASK.CRON", "q", "SET", "a", "EVERY", HOUR, *words, "FOR", 5, "HEADERS", 1, "k", "v", "PAYLOAD", "x")
    shown = schedule(c)
    assert (shown[b"payload"], shown[b"priority"], shown[b"attempts"]) == (b"x", 7, 3)
    assert (shown[b"lease-ms"], shown[b"group"], shown[b"ttl-ms"], shown[b"retain"]) == (5000, b"g", 9, 8)
    assert (shown[b"unique"], shown[b"unique-hold"], shown[b"unique-for"]) == (b"t", b"for", 5)
    assert c.as_map(shown[b"headers"]) == {b"k": b"v"}
    for number in range(17):
        c("TASK.CRON", "q", "SET", f"b{number:02}", "EVERY", HOUR, "PAYLOAD", "x" * 2**20)
    assert b"attempts" not in schedule(c, b"b00") and schedule(c, b"b00")[b"priority"] == 0
    assert len(schedule(c, b"b00")[b"payload"]) == 2**20
    last = schedule(c, b"b16")
    assert b"payload" not in last and last[b"payload-bytes"] == 2**20


def test_an_invalid_schedule_is_refused(server, c):
    """Each error is provoked, and no queue is created."""
    payload = ["PAYLOAD", "p"]
    for rule in (
        "",
        "* * * *",
        "* * * * * *",
        "@daily",
        "60 * * * *",
        "*/0 * * * *",
        "5/2 * * * *",
        "\xff" * 5,
        "*" * 300,
    ):
        assert c("TASK.CRON", "q", "SET", "a", "CRON", rule, *payload) == RULE, rule
    assert c("TASK.CRON", "q", "SET", "a", "CRON", b"\xff * * * *", *payload) == RULE
    for zone in ("", "Berlin", "europe/berlin", "UTC+1", b"\xff", "x" * 1000, "../../etc/passwd"):
        assert c("TASK.CRON", "q", "SET", "a", "CRON", "* * * * *", "TZ", zone, *payload) == ZONE, zone
    for rule in ("0 0 30 2 *", "* * 31 2,4,6,9,11 *"):
        assert c("TASK.CRON", "q", "SET", "a", "CRON", rule, *payload) == NEVER
    for ms in (0, 99, -1, SPAN_MAX + 1, "x", ""):
        bounds = Error(f"ERR EVERY must be an integer between 100 and {SPAN_MAX}")
        assert c("TASK.CRON", "q", "SET", "a", "EVERY", ms, *payload) == bounds
    for words in (
        *([], payload, ["EVERY", 100], ["EVERY"], ["EVERY", 100, "CRON", "* * * * *", *payload]),
        *(
            ["EVERY", 100, "TZ", "UTC", *payload],
            [*EVERY, "DELAY", 5],
            [*EVERY, "AT", 5],
            [*EVERY, "REQUEST", "t"],
        ),
        *(
            [*EVERY, "CATCHUP", "two"],
            [*EVERY, "CATCHUP"],
            [*EVERY, *payload],
            [*EVERY, "x"],
            ["TZ", "UTC", *payload],
        ),
    ):
        assert c("TASK.CRON", "q", "SET", "a", *words) == SYNTAX, words
    for words in (["GET", "a"], ["DEL", "a", "b"], ["", "a"]):
        assert c("TASK.CRON", "q", *words) == SYNTAX
    name = Error("ERR the name of a schedule must be 1 to 256 bytes long")
    for bad in ("", "x" * 257):
        assert c("TASK.CRON", "q", "SET", bad, *EVERY) == name and c("TASK.CRON", "q", "DEL", bad) == name
    large = ["EVERY", 100, "PAYLOAD", "x" * (2**20 + 1)]
    long = Error("ERR the payload of a schedule must be at most 1048576 bytes long")
    assert c("TASK.CRON", "q", "SET", "a", *large) == long
    assert c("EXISTS", "q") == 0


def test_a_queue_has_at_most_a_thousand_schedules(server, c):
    """Existing ones can still be set."""
    replies = c.many([["TASK.CRON", "q", "SET", n, "EVERY", HOUR, "PAYLOAD", ""] for n in range(1001)])
    assert replies == [1] * 1000 + [Error("ERR a queue can have at most 1000 schedules")]
    assert c("TASK.CRON", "q", "SET", 7, "EVERY", HOUR, "PAYLOAD", "x") == 0
    assert len(c("TASK.INFO", "q", "CRON")) == 1000
    assert c.map("TASK.INFO", "q")[b"memory"] > 100_000


# ---- skipping


def test_a_schedule_skips_and_counts_runs_that_cannot_push(server, c):
    """It skips while the queue is paused IN or full, or the server is out of memory. Then it goes on."""
    c("TASK.PAUSE", "q", "IN")
    c("TASK.CRON", "q", "SET", "a", *EVERY)

    def skips(why: str) -> None:
        before = schedule(c)
        server.wait_until(lambda: schedule(c)[b"skipped"] >= before[b"skipped"] + 2, why)
        assert schedule(c)[b"made"] == before[b"made"], why

    def runs() -> None:
        before = made(c)
        server.wait_until(lambda: made(c) > before, "it runs again")

    skips("paused IN")
    c("TASK.RESUME", "q", "IN")
    runs()
    c("TASK.CONFIG", "q", "SET", "max-len", 0)
    skips("full")
    c("TASK.CONFIG", "q", "RESET")
    runs()
    assert c("CONFIG", "SET", "maxmemory", 1) == "OK"
    skips("out of memory")
    assert c("TASK.CRON", "q", "SET", "b", *EVERY) == OOM
    assert c("TASK.CRON", "q", "DEL", "b") == 0
    c("CONFIG", "SET", "maxmemory", 0)
    runs()


# ---- persistence and replication


def test_a_run_is_one_small_effect(start):
    """It names the schedule and has neither payload nor options."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no")
    c = Talk(server)
    c("TASK.CRON", "q", "SET", "nightly", "EVERY", 100, "PAYLOAD", "x" * 10_000)
    server.wait_until(lambda: made(c, b"nightly") >= 2, "two runs")
    first, second, *_ = effects(server)
    assert first.names == ["sched"] and second.names == ["fire"]
    name, task, *_ = second.events[0][1]
    assert name == b"nightly" and task[0] > 0 and second.payloads == []


@pytest.mark.parametrize("rewritten", [False, True])
@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_schedules_go_on_after_a_kill(start, preamble, rewritten):
    """The number of runs equals the number of tasks, and other schedules keep their next run."""
    server = start(appendonly="yes", appendfsync="always", aof_use_rdb_preamble=preamble)
    c = Talk(server)
    c("TASK.CRON", "q", "SET", "a", *EVERY)
    c("TASK.CRON", "q", "SET", "far", "CRON", "0 0 1 1 *", "TZ", "Asia/Kathmandu", "PAYLOAD", "x")
    server.wait_until(lambda: made(c) >= 3, "some runs")
    far = schedule(c, b"far")[b"next"]
    if rewritten:

        def is_done() -> bool:
            info = c("INFO", "persistence")
            return b"aof_rewrite_in_progress:0" in info and b"aof_rewrite_scheduled:0" in info

        c("BGREWRITEAOF")
        server.wait_until(is_done, "the AOF is rewritten")
    before = made(c)
    server.restart(kill=True)
    again = Talk(server)
    server.wait_until(lambda: made(again) >= before + 2, "it goes on")
    again("TASK.PAUSE", "q", "IN")
    assert again("TASK.LEN", "q") == made(again) and set(claim_all(again)) == {b"tick"}
    assert schedule(again, b"far")[b"next"] == far


def test_an_aof_and_a_dump_give_the_same_schedules(start):
    """The digests are equal after replaying the effects and after RESTORE."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no")
    c = Talk(server)
    c("TASK.CRON", "q", "SET", "a", *EVERY, "HEADERS", 1, "k", "v", "CATCHUP", "none")
    c("TASK.CRON", "q", "SET", "b", "CRON", "* * * * *", "TZ", "Europe/Berlin", "PAYLOAD", "x")
    c("TASK.CRON", "q", "SET", "gone", *EVERY)
    server.wait_until(lambda: made(c) >= 3, "some runs")
    c("TASK.CRON", "q", "DEL", "gone")
    c("TASK.CRON", "q", "SET", "a", "EVERY", HOUR, "PAYLOAD", "x")
    before = c.digest()
    assert c("RESTORE", "r", 0, c("DUMP", "q")) == "OK"
    assert c.digest("r") == before
    assert len(c("TASK.INFO", "r", "CRON")) == 2
    server.restart(kill=True)
    c = Talk(server)
    assert c.digest() == before or made(c, b"b") > 0, "unless a new minute has begun"


def test_rename_keeps_schedules_and_a_copy_has_none(server, c):
    """Otherwise the runs of the copy would be doubles."""
    c("TASK.CRON", "q", "SET", "a", *EVERY)
    server.wait_until(lambda: made(c) >= 1, "a run")
    assert c("RENAME", "q", "p") == "OK"
    before = schedule(c, key="p")[b"made"]
    server.wait_until(lambda: schedule(c, key="p")[b"made"] >= before + 2, "it runs under its new name")
    assert c("COPY", "p", "copy") == 1
    assert c("TASK.INFO", "copy", "CRON") == []
    c("TASK.CRON", "p", "DEL", "a")


def test_a_replica_makes_no_runs_until_it_is_promoted(start):
    """It is equal while it follows. Afterwards each run is made once, and the counters go on."""
    primary, replica = start(port=True), start(port=True)
    replica.replicate(primary)
    c, far = Talk(primary), Talk(replica)
    c("TASK.CRON", "q", "SET", "a", *EVERY)
    c("TASK.CRON", "q", "SET", "b", "EVERY", 130, "PAYLOAD", "other")
    primary.wait_until(lambda: made(c) >= 3, "some runs")
    c("TASK.PAUSE", "q", "IN")
    wait_synced(primary, replica)
    replica.wait_until(lambda: made(far) == made(c) and far("TASK.LEN", "q") == c("TASK.LEN", "q"), "equal")
    c("TASK.RESUME", "q", "IN")
    primary.wait_until(lambda: made(c) >= 5, "more runs")
    primary.kill9()
    before = made(far)
    assert before <= far("TASK.LEN", "q")
    assert far("REPLICAOF", "NO", "ONE") == "OK"
    replica.wait_until(lambda: made(far) >= before + 3, "the new primary goes on")
    far("TASK.PAUSE", "q", "IN")
    assert made(far) + made(far, b"b") == far("TASK.LEN", "q")
    ids = [task[0].split(b"@")[0] for task in far("TASK.CLAIM", "q", "COUNT", 1000)]
    assert len(set(ids)) == len(ids)


def test_a_failover_makes_every_run_once(start):
    """After FAILOVER both servers are equal, and no instant has two runs."""
    first, second = start(port=True), start(port=True)
    second.replicate(first)
    one, two = Talk(first), Talk(second)
    one("TASK.CRON", "q", "SET", "a", "EVERY", 300, "PAYLOAD", "tick")
    first.wait_until(lambda: made(one) >= 3, "some runs")
    first.wait_until(lambda: b"state=online" in one("INFO", "replication"), "the replica is online")
    assert one("FAILOVER") == "OK"
    second.wait_until(lambda: b"role:master" in two("INFO", "replication"), "the second is the primary", 20)
    before = made(two)
    second.wait_until(lambda: made(two) >= before + 5, "it goes on")
    two("TASK.PAUSE", "q", "IN")
    wait_synced(second, first)
    first.wait_until(lambda: made(one) == made(two), "the first follows")
    assert made(two) == two("TASK.LEN", "q")
    times = [id_parts(task[0].split(b"@")[0])[0] for task in two("TASK.CLAIM", "q", "COUNT", 1000)]
    # Runs are 300 ms apart, so no two belong to one instant.
    instants = [(time - times[0] + 150) // 300 for time in times]
    assert len(set(instants)) >= len(instants) - 1, times


# ---- the wall clock


def next_midnight(server: Server, c: Talk) -> int:
    """The server's next midnight in UTC, in ms."""
    seconds, _ = c("TIME")
    return (int(seconds) // 86_400 + 1) * 86_400_000


def test_a_cron_rule_runs_when_the_clock_is_set_past_its_time(start):
    """It runs once. A schedule with EVERY does not run, because spans keep their length."""
    server = start(clock=True)
    c = Talk(server)
    c("TASK.CRON", "q", "SET", "a", "CRON", "0 0 * * *", "PAYLOAD", "x")
    c("TASK.CRON", "q", "SET", "e", "EVERY", 86_400_000, "PAYLOAD", "x")
    midnight = next_midnight(server, c)
    assert schedule(c)[b"next"] == midnight
    server.clock.step(86_400_000)
    server.wait_until(lambda: made(c) == 1, "it is past midnight")
    assert schedule(c)[b"next"] == midnight + 86_400_000 and made(c, b"e") == 0
    # After a large step back, the next run follows the clock. Otherwise none would come for two days.
    server.clock.step(-86_400_000)
    server.wait_until(lambda: schedule(c)[b"next"] == midnight, "the next run is updated")
    assert made(c) == 1


def test_catchup_decides_about_runs_missed_while_the_server_was_down(start):
    """CATCHUP one makes one run, CATCHUP none makes none, however long it was."""
    server = start(clock=True, appendonly="yes", appendfsync="always")
    c = Talk(server)
    for name, catchup in (("one", "ONE"), ("none", "NONE")):
        c("TASK.CRON", "q", "SET", name, "CRON", "0 * * * *", "CATCHUP", catchup, "PAYLOAD", name)
        c("TASK.CRON", "q", "SET", f"e-{name}", "EVERY", HOUR, "CATCHUP", catchup, "PAYLOAD", name)
    server.stop()
    # At half past an hour, so that no run is on time.
    server.clock.passes(10 * HOUR + (30 - minute_of(server)) % 60 * 60_000)
    server.start()
    c = Talk(server)
    server.wait_until(lambda: made(c, b"one") == 1 and made(c, b"e-one") == 1, "one run")
    server.wait_until(lambda: schedule(c, b"none")[b"missed"] == 1, "none for the other")
    server.wait_until(lambda: schedule(c, b"e-none")[b"missed"] == 1, "none for the other")
    assert (made(c, b"none"), made(c, b"e-none")) == (0, 0)
    assert sorted(claim_all(c)) == [b"one", b"one"]


def minute_of(server: Server) -> int:
    """The minute of the hour on the server's clock."""
    return int(time.time() + server.clock.shift / 1000) // 60 % 60
