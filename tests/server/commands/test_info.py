"""TASK.INFO: counts, totals, ages and sizes of a queue."""

import pytest
from harness.talk import Talk

DAY = 86_400_000

FIELDS = [
    *[b"ready", b"delayed", b"held", b"leased", b"dead", b"done"],
    *[b"pushed", b"claimed", b"acked", b"late", b"failed", b"stalled", b"requeued", b"retried", b"died"],
    *[b"cancelled", b"purged", b"dropped", b"forgotten", b"expired", b"duplicate", b"found", b"refused"],
    *[b"bytes", b"memory", b"tokens", b"groups", b"groups-paused", b"groups-stopped"],
    *[b"batches-open", b"batches-closed", b"blocked-workers"],
    *[b"oldest-ready-ms", b"next-delayed-ms", b"paused-in", b"paused-out", b"held-by"],
    *[b"in-per-second-1m", b"in-per-second-5m", b"out-per-second-1m", b"out-per-second-5m"],
    *[b"wait-p50-ms", b"wait-p95-ms", b"wait-p99-ms", b"run-p50-ms", b"run-p95-ms", b"run-p99-ms"],
    *[b"load", b"broken"],
]


@pytest.mark.parametrize("protocol", [2, 3])
def test_info_has_the_same_fields_for_every_queue(protocol, c):
    """In an empty queue they are 0, or -1 for a time that does not exist."""
    c("TASK.CONFIG", "q", "SET", "lease", 30_000)
    empty = c.map("TASK.INFO", "q")
    assert list(empty) == FIELDS
    assert empty.pop(b"memory") > 0
    assert (empty.pop(b"oldest-ready-ms"), empty.pop(b"next-delayed-ms"), empty.pop(b"broken")) == (
        -1,
        -1,
        b"",
    )
    load = c.as_map(empty.pop(b"load"))
    assert load == {
        **{b"arrival-rate": b"0.000", b"completion-rate": b"0.000", b"run-mean-ms": b"-1"},
        **{b"places-busy": 0, b"places-free": 0, b"utilisation": b"-1"},
        **{b"backlog": 0, b"drain-ms": 0, b"places-needed": 0, b"workers-needed": 0},
    }
    rates = {empty.pop(name) for name in FIELDS if b"-per-second-" in name}
    assert rates == {b"0.000"}
    assert {empty.pop(name) for name in FIELDS if name.startswith((b"wait-", b"run-"))} == {-1}
    assert empty.pop(b"held-by") == b""
    assert set(empty.values()) == {0}
    c("TASK.MPUSH", "q", "TASKS", 10, *range(10))
    assert list(c.map("TASK.INFO", "q")) == FIELDS


def test_info_counts_each_kind_of_event(server, c):
    """One series of commands gives each total a number of its own."""
    c("TASK.CONFIG", "q", "SET", "max-len", 20, "dead-max", 2)
    c("TASK.MPUSH", "q", "TASKS", 20, *range(20))
    c("TASK.MPUSH", "q", "TASKS", 1, "refused")

    def claimed(count: int) -> list[bytes]:
        return [task[0] for task in c("TASK.CLAIM", "q", "COUNT", count)]

    def ids(handles: list[bytes]) -> list[bytes]:
        return [handle.split(b"@")[0] for handle in handles]

    c("TASK.ACK", "q", "HANDLES", 5, *claimed(5))
    c("TASK.REQUEUE", "q", "HANDLES", 4, *claimed(4), "BACK")
    dead = claimed(3)
    c("TASK.FAIL", "q", "HANDLES", 3, *dead, "DEAD")
    # dead-max is 2, so the third dead task removes the oldest.
    server.wait_until(lambda: c("TASK.LEN", "q", "dead") == 2, "the oldest dead task is dropped")
    assert c("TASK.RETRY", "q", "COUNT", 1) == 1
    c("TASK.FAIL", "q", "HANDLES", 2, *claimed(2), "DELAY", DAY)
    c("TASK.CANCEL", "q", "IDS", 2, *ids(claimed(2)))
    assert c("TASK.PURGE", "q", "delayed", "COUNT", 2) == 2
    assert c("TASK.PUSH", "q", "p", "REQUEST", "t") == c("TASK.PUSH", "q", "p", "REQUEST", "t")
    c("TASK.PAUSE", "q", "IN")
    c("TASK.PUSH", "q", "refused")
    info = c.map("TASK.INFO", "q")
    expected = {
        b"pushed": 21,
        b"claimed": 16,
        b"acked": 5,
        b"late": 0,
        b"failed": 5,
        b"stalled": 0,
        b"requeued": 4,
        b"retried": 1,
        b"died": 3,
        b"cancelled": 0,
        b"purged": 2,
        b"dropped": 1,
        b"duplicate": 1,
        b"refused": 2,
        b"delayed": 0,
        b"leased": 2,
        b"dead": 1,
        b"ready": 10,
    }
    assert {name: info[name] for name in expected} == expected


def test_info_counts_stalls_and_late_acks(server, c):
    """A lease that ran out counts as a stall. An ACK after that counts as late."""
    c("TASK.MPUSH", "q", "TASKS", 2, "a", "b")
    handle, _ = (task[0] for task in c("TASK.CLAIM", "q", "COUNT", 2, "LEASE", 1))
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"stalled"] == 2, "both have stalled")
    assert c("TASK.ACK", "q", handle) == 1
    info = c.map("TASK.INFO", "q")
    assert (info[b"late"], info[b"acked"], info[b"ready"]) == (1, 1, 1)


def test_info_shows_sizes(c):
    """bytes counts the tasks alone. memory is at most what MEMORY USAGE shows."""
    for _ in range(10):
        c.push("q", "x" * 1000, "HEADERS", 1, "name", "value")
    info = c.map("TASK.INFO", "q")
    assert 10_000 < info[b"bytes"] < 10_500
    assert info[b"bytes"] < info[b"memory"] < 40_000
    assert c("MEMORY", "USAGE", "q") >= info[b"memory"]
    c("TASK.PURGE", "q", "ALL")
    assert c.map("TASK.INFO", "q")[b"bytes"] == 0


def test_info_shows_times_relative_to_now(server, c):
    """oldest-ready-ms is an age, next-delayed-ms the time until the first task is due."""
    c.push()
    c.push("q", "p", "DELAY", DAY)
    c.push("q", "p", "DELAY", DAY // 2)
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"oldest-ready-ms"] > 2, "the task grows old")
    assert 0 < c.map("TASK.INFO", "q")[b"next-delayed-ms"] <= DAY // 2


def test_info_shows_how_long_a_pause_lasts(server, c):
    """The fields are 0 if not paused, -1 until RESUME, and otherwise the remaining ms."""
    c.push()

    def pauses():
        info = c.map("TASK.INFO", "q")
        return info[b"paused-in"], info[b"paused-out"]

    assert pauses() == (0, 0)
    c("TASK.PAUSE", "q")
    assert pauses() == (0, -1)
    c("TASK.PAUSE", "q", "IN", "FOR", DAY)
    paused_in, paused_out = pauses()
    assert DAY - 60_000 < paused_in <= DAY and paused_out == -1
    c("TASK.PAUSE", "q", "ALL", "FOR", 1)
    server.wait_until(lambda: pauses() == (0, 0), "the pause is over")


def test_info_counts_blocked_workers(server, c):
    """TASK.INFO counts those of its queue. INFO of the server counts all."""
    c("TASK.CONFIG", "q", "SET", "lease", 1000)
    workers = [Talk(server) for _ in range(3)]
    for worker, key in zip(workers, "qqr", strict=True):
        worker.send(["TASK.CLAIM", key, "BLOCK", 0])
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"blocked-workers"] == 2, "two workers wait for q")
    server.wait_until(lambda: b"taskslot_blocked_workers:3\r\n" in c("INFO", "taskslot"), "three wait in all")
    for worker, key in zip(workers, "qqr", strict=True):
        c.push(key)
        assert len(worker.read()) == 1
    assert c.map("TASK.INFO", "q")[b"blocked-workers"] == 0
    assert b"taskslot_blocked_workers:0\r\n" in c("INFO", "taskslot")
