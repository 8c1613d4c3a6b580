"""The section taskslot of INFO, the warnings in it, and LATENCY."""

import time

import pytest
from harness.edges import TINY
from harness.server import Server
from harness.talk import Talk, stored_parts

DAY = 86_400_000
TOTALS = [
    *["pushed", "claimed", "acked", "late", "failed", "stalled", "requeued", "retried", "died"],
    *["cancelled", "purged", "dropped", "forgotten", "expired"],
]
FIELDS = [
    *["version", "time_zones", "time_zones_from"],
    *["blocked_workers", "result_waiters", "queues", "queues_memory", "broken_queues"],
    *[f"total_{name}" for name in TOTALS],
    *["due_lag_ms", "slow_ticks", "clock_skew_ms", "warnings"],
]


def node(c: Talk) -> dict[str, str]:
    """The module's section of INFO."""
    lines = c("INFO", "taskslot").decode().split("\r\n")
    fields = [line.split(":", 1) for line in lines if line.startswith("taskslot_")]
    return {name.removeprefix("taskslot_"): value for name, value in fields}


def number(c: Talk, name: str) -> int:
    """One number of that section."""
    return int(node(c)[name])


def test_info_has_all_fields_from_the_start(c):
    """Warnings come after them."""
    info = node(c)
    assert list(info)[: len(FIELDS)] == FIELDS
    assert {info[name] for name in FIELDS if name.startswith("total_")} == {"0"}
    assert info["queues"] == info["queues_memory"] == "0"


def test_info_has_the_totals_of_all_queues(c):
    """Deleted queues count as well."""
    for key in ("q", "r"):
        c("TASK.MPUSH", key, "TASKS", 4, *range(4))
        handles = [task[0] for task in c("TASK.CLAIM", key, "COUNT", 4)]
        c("TASK.ACK", key, handles[0])
        c("TASK.FAIL", key, handles[1], "DELAY", DAY)
        c("TASK.FAIL", key, handles[2], "DEAD")
        c("TASK.REQUEUE", key, handles[3])
        c("TASK.CANCEL", key, handles[3].split(b"@")[0])
    c("DEL", "r")
    info = node(c)
    expected = {"pushed": 8, "claimed": 8, "acked": 2, "failed": 4, "died": 2, "requeued": 2, "cancelled": 2}
    assert {name: int(info[f"total_{name}"]) for name in TOTALS} == {name: 0 for name in TOTALS} | expected


def test_info_counts_stalls(server, c):
    """A stall is counted when the timer handles it."""
    c.push("q", "p", "LEASE", 1)
    c.claim("q")
    server.wait_until(lambda: number(c, "total_stalled") == 1, "the lease is over")
    # due_lag_ms is how late the timer handled the stall.
    assert 0 <= number(c, "due_lag_ms") < 5000


def test_a_replica_has_no_totals(start):
    """The totals count on the primary only. The queues count on both."""
    primary, replica = start(port=True), start()
    c, r = Talk(primary), Talk(replica)
    replica.replicate(primary)
    c.push("q")
    replica.wait_until(lambda: r("TASK.LEN", "q") == 1, "the task is there")
    assert (number(c, "total_pushed"), number(r, "total_pushed")) == (1, 0)
    assert (number(c, "queues"), number(r, "queues")) == (1, 1)


def test_info_counts_queues_and_their_memory(server, c):
    """The figures follow queues as they are created, copied, purged and deleted. Lookups create nothing."""
    c("TASK.CLAIM", "none")
    c("TASK.ACK", "none", "1-1@1-00000001")
    assert number(c, "queues") == 0
    c("TASK.MPUSH", "q", "TASKS", 100, *["x" * 1000] * 100)
    memory = c.map("TASK.INFO", "q")[b"memory"]
    assert number(c, "queues") == 1
    assert memory <= number(c, "queues_memory") <= memory + 500
    c("COPY", "q", "r")
    assert number(c, "queues") == 2 and number(c, "queues_memory") > 1.8 * memory
    c("RESTORE", "s", 0, c("DUMP", "q"))
    assert number(c, "queues") == 3
    c("TASK.PURGE", "q", "ALL")
    assert number(c, "queues_memory") < 2.5 * memory
    c("UNLINK", "q", "r")
    c("FLUSHALL")
    server.wait_until(lambda: number(c, "queues") == 0, "all are freed")
    assert number(c, "queues_memory") == 0


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_queues_are_counted_when_they_are_loaded(start, preamble):
    """This holds for both forms of an AOF."""
    server = start(appendonly="yes", aof_use_rdb_preamble=preamble)
    c = Talk(server)
    c.push("q")
    c.push("r")
    c("BGREWRITEAOF")
    server.wait_until(
        lambda: (
            b"aof_rewrite_in_progress:0" in (info := c("INFO", "persistence"))
            and b"aof_rewrite_scheduled:0" in info
        ),
        "the AOF is rewritten",
    )
    server.restart()
    c = Talk(server)
    assert (number(c, "queues"), number(c, "broken_queues")) == (2, 0)
    assert number(c, "queues_memory") > 500
    assert number(c, "total_pushed") == 0, "totals start with the node"


def test_info_counts_broken_queues_until_they_are_deleted(start):
    """A queue that was loaded in part is broken."""
    server = start(module_args=("allow-effects", "yes"))
    c = Talk(server)
    c.push("q")
    assert number(c, "broken_queues") == 0
    head = forged_head(server)
    assert c("TASK._LOAD", "broken", "HEAD", head) == "OK"
    assert number(c, "broken_queues") == 1
    c("DEL", "broken")
    # Some servers free deleted values on another thread.
    server.wait_until(lambda: number(c, "broken_queues") == 0, "it is freed")


def forged_head(server: Server) -> bytes:
    """The first stored part of a queue."""
    c = Talk(server)
    c("CONFIG", "SET", "aof-use-rdb-preamble", "no")
    c("CONFIG", "SET", "appendonly", "yes")
    server.wait_until(lambda: b"aof_rewrite_in_progress:0" in c("INFO", "persistence"), "the AOF is there")
    return next(chunk for part, chunk in stored_parts(server) if part == b"HEAD")


def test_info_shows_the_skew_after_the_clock_was_set(start):
    """The module's clock does not jump, so at first it is an hour behind."""
    server = start(clock=True)
    c = Talk(server)
    c.push("q")
    assert abs(number(c, "clock_skew_ms")) < 1000
    server.clock.step(3_600_000)
    server.wait_until(lambda: number(c, "clock_skew_ms") < -3_500_000, "the clock is an hour behind")


def test_info_does_not_end_the_grace_after_a_standstill(start):
    """Leases that ran out while the server was stopped are still spared after an INFO."""
    server = start(module_args=("failover-grace", 60000))
    c = Talk(server)
    c.push("q", "p", "LEASE", 1500)
    c.claim("q")
    other = Talk(server)
    server.freeze()
    other.send(["INFO", "taskslot"], ["TASK.LEN", "q", "leased"])
    end = time.monotonic() + 2
    server.wait_until(lambda: time.monotonic() > end, "two seconds have passed")
    server.thaw()
    other.read()
    assert other.read() == 1
    assert c("TASK.LEN", "q", "leased") == 1, "spared"


def test_info_warns_about_settings_of_the_server(start):
    """Warnings appear and disappear with their cause. The log has the one about evictions once."""
    server = start(appendonly="no")
    c = Talk(server)
    server.wait_until(lambda: "warning_durability" in node(c), "the settings are checked")
    assert node(c)["warnings"] == "1" and "warning_eviction" not in node(c)
    c("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    server.wait_until(lambda: "warning_eviction" in node(c), "the policy is seen")
    assert node(c)["warnings"] == "2" and "noeviction" in node(c)["warning_eviction"]
    c("CONFIG", "SET", "appendonly", "yes")
    server.wait_until(lambda: "warning_durability" not in node(c), "the AOF is seen")
    c("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    server.wait_until(lambda: node(c)["warnings"] == "0", "no warning is left")
    assert server.log().count("evicts whole queues") == 1


def test_replication_gives_no_warning(start):
    """A primary with a replica needs no AOF, and neither does the replica."""
    primary, replica = start(port=True), start()
    replica.replicate(primary)
    for server in (primary, replica):
        c = Talk(server)
        server.wait_until(lambda c=c: node(c)["warnings"] == "0", "the replica is seen")


def test_info_warns_about_a_queue_above_half_the_size_that_can_be_moved(start):
    """The warning disappears when the queue is deleted."""
    server = start(appendonly="yes")
    c = Talk(server)
    c.push("small")
    big = "x" * (44 << 20)
    for _ in range(6):
        c.push("q", big)
    assert node(c)["warning_queue_size"].startswith("queues above 256 MB: 1;")
    assert "256 MB" in server.log()
    c("DEL", "q")
    server.wait_until(lambda: "warning_queue_size" not in node(c), "the queue is deleted")


@pytest.mark.skipif(TINY, reason="no run of the timer is long")
def test_latency_shows_long_runs_of_the_timer(server, c):
    """Nothing is recorded while latency monitoring is off."""

    def many_fall_due(key: str) -> None:
        for _ in range(20):
            c("TASK.MPUSH", key, "DELAY", 60, "TASKS", 1000, *range(1000))
        server.wait_until(lambda: c.map("TASK.INFO", key)[b"delayed"] == 0, "all are ready", 30)

    many_fall_due("q")
    assert c("LATENCY", "LATEST") == []
    c("CONFIG", "SET", "latency-monitor-threshold", 1)
    # The module reads the threshold once a second.
    server.wait_until(
        lambda: many_fall_due("r") or b"taskslot-tick" in [event[0] for event in c("LATENCY", "LATEST")],
        "a long run is noted",
        30,
    )
    assert [event[2] >= 1 for event in c("LATENCY", "LATEST") if event[0] == b"taskslot-tick"] == [True]
