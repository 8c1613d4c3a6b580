"""Rates, wait times, run times and load in TASK.INFO, and its sections WORKERS and TIMES."""

import math
import time

import pytest
from harness.edges import bound
from harness.server import Server
from harness.talk import SYNTAX, Talk


def passes(server: Server, ms: int) -> None:
    """Let time pass."""
    end = time.monotonic() + ms / 1000
    server.wait_until(lambda: time.monotonic() >= end, f"{ms} ms have passed")


class Rate:
    """The rate of `count` tasks that came since now. The queue divides by its age, at least one second."""

    def __init__(self, count: int):
        self.count, self.began = count, time.monotonic()

    def __eq__(self, shown: object) -> bool:
        age = max(1.0, time.monotonic() - self.began + 0.01)
        assert isinstance(shown, bytes) and shown.partition(b".")[2].isdigit(), shown
        return round(self.count / age, 3) - 0.001 <= float(shown) <= self.count

    def __repr__(self) -> str:
        return f"{self.count} tasks since {self.began}"


@pytest.mark.parametrize("protocol", [2, 3])
def test_info_shows_rates_and_times(server, protocol, c):
    """Twenty tasks come and ten are finished later. Fractions are strings in both protocols."""
    pushed, acked = Rate(20), Rate(10)
    c("TASK.MPUSH", "q", "TASKS", 20, *range(20))
    passes(server, 30)
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 10)]
    passes(server, 60)
    c("TASK.ACK", "q", "HANDLES", 10, *handles)
    info = c.map("TASK.INFO", "q")
    assert info[b"in-per-second-1m"] == info[b"in-per-second-5m"] == pushed
    assert info[b"out-per-second-1m"] == info[b"out-per-second-5m"] == acked
    for name, least in [(b"wait", 30), (b"run", 60)]:
        p50, p95, p99 = (info[name + b"-p%d-ms" % percent] for percent in (50, 95, 99))
        assert least * 3 // 4 <= p50 <= p95 <= p99 < 2000, name


def test_info_shows_the_load(server, c):
    """The places needed are arrival rate times run time: 20 tasks a second that take at least 100 ms each."""
    c("TASK.MPUSH", "q", "TASKS", 20, *range(20))
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 15)]
    passes(server, 100)
    c("TASK.ACK", "q", "HANDLES", 10, *handles[:10])
    idle = Talk(server)
    load = c.as_map(c.map("TASK.INFO", "q")[b"load"])
    rate, mean = float(load[b"arrival-rate"]), float(load[b"run-mean-ms"])
    assert float(load[b"completion-rate"]) == pytest.approx(rate / 2, abs=0.001)
    assert mean >= 99
    assert (load[b"places-busy"], load[b"places-free"], load[b"backlog"]) == (5, 0, 5)
    assert float(load[b"utilisation"]) == pytest.approx(rate * mean / 1000 / 5, abs=0.001)
    assert load[b"drain-ms"] == -1, "more come than go"
    assert load[b"places-needed"] == -(-rate * mean / 1000 // 0.8)
    idle.send(["TASK.CLAIM", "q", "COUNT", 5, "BLOCK", 0])
    assert len(idle.read()) == 5
    idle.send(["TASK.CLAIM", "q", "BLOCK", 0])
    load = loaded(server, c, places_free=1)
    assert load[b"workers-needed"] == -1, "no worker gave a name"


def loaded(server: Server, c: Talk, *, places_free: int, key: str = "q") -> dict[bytes, object]:
    """The load, once that many places are free."""

    def look() -> dict[bytes, object] | None:
        load = c.as_map(c.map("TASK.INFO", key)[b"load"])
        return load if load[b"places-free"] == places_free else None

    return server.wait_until(look, f"{places_free} places are free")


def test_a_blocked_claim_counts_as_many_places_as_its_count(server):
    """Places with a task are no longer free."""
    c, worker = Talk(server), Talk(server)
    c("TASK.MPUSH", "q", "TASKS", 20, *range(20))
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 20, "WORKER", "w")]
    passes(server, 1000)
    c("TASK.ACK", "q", "HANDLES", 18, *handles[:18])
    claim = ["TASK.CLAIM", "q", "WORKER", "w", "BLOCK", 0, "COUNT"]
    worker.send([*claim, 48])
    load = loaded(server, c, places_free=48)
    used = float(load[b"arrival-rate"]) * float(load[b"run-mean-ms"]) / 1000
    assert float(load[b"utilisation"]) == pytest.approx(used / 50, abs=0.001) and used >= 1.9
    # The figures shown are rounded, so the number that is needed can be on either side of a whole one.
    needed = {math.ceil(part * used / 0.8) for part in (0.999, 1.001)}
    assert load[b"places-needed"] in needed
    assert (load[b"places-busy"], load[b"workers-needed"]) == (2, 1)
    c.push("q")
    assert len(worker.read()) == 1
    assert loaded(server, c, places_free=0)[b"places-busy"] == 3
    # A worker of 47 more places, and another that holds nothing: 30 places each on average.
    worker.send([*claim, 47])
    other = Talk(server)
    other.send(["TASK.CLAIM", "q", "COUNT", 10, "WORKER", "v", "BLOCK", 0])
    load = loaded(server, c, places_free=57)
    assert load[b"workers-needed"] == -(-load[b"places-needed"] // 30)
    workers = [c.as_map(worker) for worker in c.map("TASK.INFO", "q", "WORKERS")[b"workers"]]
    found = [(w[b"name"], w[b"leases"], w[b"blocked"], w[b"places-free"]) for w in workers]
    assert found == [(b"v", 0, 1, 10), (b"w", 3, 1, 47)]


def test_ready_tasks_without_workers_need_a_place(server, c):
    """Otherwise an autoscaler that has scaled to zero would never start a worker."""
    c("TASK.CONFIG", "q", "SET", "concurrency", 0)
    c("TASK.MPUSH", "q", "TASKS", 5, *range(5))
    load = c.as_map(c.map("TASK.INFO", "q")[b"load"])
    assert (load[b"backlog"], load[b"places-needed"], load[b"workers-needed"]) == (5, 1, -1)
    worker = Talk(server)
    worker.send(["TASK.CLAIM", "q", "COUNT", 4, "WORKER", "w", "BLOCK", 0])
    assert loaded(server, c, places_free=4)[b"workers-needed"] == 1


def test_places_are_those_of_claims_that_still_wait(server, c):
    """A claim that is sent again counts once. One for several queues counts in each of them until it is served."""
    c("TASK.CONFIG", "q", "SET", "lease", 1000, "concurrency", 0)
    c("TASK.CONFIG", "r", "SET", "lease", 1000)
    first, again, of_two = Talk(server), Talk(server), Talk(server)
    claim = ["TASK.CLAIM", "q", "BLOCK", 0, "REQUEST", "t", "WORKER", "w", "COUNT"]
    number = again("CLIENT", "ID")
    first.send([*claim, 7])
    loaded(server, c, places_free=7)
    again.send([*claim, 7])
    assert first.read() == []
    loaded(server, c, places_free=7)
    of_two.send(["TASK.MCLAIM", "r", "KEYS", 1, "q", "COUNT", 5, "BLOCK", 0])
    loaded(server, c, places_free=12)
    loaded(server, c, places_free=5, key="r")
    c("TASK.MPUSH", "r", "TASKS", 2, 1, 2)
    assert len(of_two.read()[1]) == 2
    loaded(server, c, places_free=7)
    loaded(server, c, places_free=0, key="r")
    c("CLIENT", "KILL", "ID", number)
    loaded(server, c, places_free=0)
    assert c.map("TASK.INFO", "q", "WORKERS") == {b"holding": 0, b"blocked": 0, b"workers": []}


def test_a_replica_counts_its_own_rates(start):
    """It counts the effects that it applies. Rates are not replicated and not in the digest."""
    primary, replica = start(port=True), start()
    c, r = Talk(primary), Talk(replica)
    c("TASK.MPUSH", "q", "TASKS", 3, 1, 2, 3)
    replica.replicate(primary)
    # Tasks that came with the full copy do not count.
    assert r.map("TASK.INFO", "q")[b"in-per-second-1m"] == b"0.000"
    pushed, acked = Rate(2), Rate(1)
    c("TASK.MPUSH", "q", "TASKS", 2, 1, 2)
    c("TASK.ACK", "q", c.claim("q"))
    replica.wait_until(lambda: r.map("TASK.INFO", "q")[b"acked"] == 1, "the replica has all")
    info = r.map("TASK.INFO", "q")
    assert (info[b"in-per-second-1m"], info[b"out-per-second-1m"]) == (pushed, acked)
    assert info[b"run-p50-ms"] >= 0
    assert histogram(r, "wait") == histogram(c, "wait") and sum(histogram(r, "wait").values()) == 1
    assert sum(histogram(r, "run").values()) == 1
    if primary.installed.version >= (7, 0):
        assert c.digest("q") == r.digest("q")


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_a_loaded_queue_starts_without_rates(start, preamble):
    """Rates and times are not stored, and replaying an AOF does not count. Totals are stored."""
    server = start(appendonly="yes", aof_use_rdb_preamble=preamble)
    c = Talk(server)
    c.push("q")
    c("TASK.ACK", "q", c.claim("q"))
    assert c.map("TASK.INFO", "q")[b"run-p50-ms"] >= 0
    server.restart()
    c = Talk(server)
    info = c.map("TASK.INFO", "q")
    assert (info[b"in-per-second-5m"], info[b"run-p50-ms"], info[b"acked"]) == (b"0.000", -1, 1)
    assert (c.map("TASK.INFO", "q", "TIMES")[b"watched-ms"], histogram(c, "run")) == (-1, {})
    pushed = Rate(1)
    c.push("q")
    assert c.map("TASK.INFO", "q")[b"in-per-second-1m"] == pushed


def test_a_copy_starts_without_rates(c):
    """The events of one queue do not count for another."""
    pushed = Rate(1)
    c.push("q")
    c("COPY", "q", "r")
    assert c.map("TASK.INFO", "q")[b"in-per-second-1m"] == pushed
    assert c.map("TASK.INFO", "r")[b"in-per-second-1m"] == b"0.000"
    assert c.map("TASK.INFO", "q", "TIMES")[b"watched-ms"] >= 0
    assert c.map("TASK.INFO", "r", "TIMES")[b"watched-ms"] == -1


def histogram(c: Talk, what: str) -> dict[bytes, int]:
    """The buckets of all wait or run times, by their bounds, after a check that they fit the count and the sum."""
    shown = c.as_map(c.map("TASK.INFO", "q", "TIMES")[what.encode()])
    below = c.as_map(shown[b"below-ms"])
    assert list(shown) == [b"count", b"sum-ms", b"below-ms"] and sum(below.values()) == shown[b"count"]
    bounds = [int(bound) for bound in below]
    assert bounds == sorted(bounds) and all(bound.bit_count() == 1 for bound in bounds)
    # A time is below its bound, and at least half of it, or 0.
    most = sum((bound - 1) * below[b"%d" % bound] for bound in bounds)
    least = sum(bound // 2 * below[b"%d" % bound] for bound in bounds)
    assert least <= shown[b"sum-ms"] <= most
    return below


@pytest.mark.parametrize("protocol", [2, 3])
def test_info_times_counts_all_wait_and_run_times(server, protocol, c):
    """They only grow. A task that failed or was acked late has waited, but has no run time."""
    c("TASK.CONFIG", "q", "SET", "lease", 100)
    times = c.map("TASK.INFO", "q", "TIMES")
    none = {b"count": 0, b"sum-ms": 0, b"below-ms": {}}
    assert list(times) == [b"watched-ms", b"wait", b"run"] and times[b"watched-ms"] == -1
    for what in (b"wait", b"run"):
        shown = c.as_map(times[what])
        assert {**shown, b"below-ms": c.as_map(shown[b"below-ms"])} == none
    c("TASK.MPUSH", "q", "TASKS", 3, 1, 2, 3)
    passes(server, 300)
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 3, "LEASE", 60_000)]
    waits = histogram(c, "wait")
    assert sum(waits.values()) == 3 and min(map(int, waits)) >= 512
    passes(server, 150)
    c("TASK.ACK", "q", handles[0])
    c("TASK.FAIL", "q", handles[1], "DEAD")
    assert sum(histogram(c, "run").values()) == 1 and min(map(int, histogram(c, "run"))) >= 256
    c.push("q")
    late = c.claim("q")
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"stalled"] == 1, "the lease is over")
    assert c("TASK.ACK", "q", late) == 1
    c.push("q")
    assert len(c("TASK.CLAIM", "q", "NOACK")) == 1
    assert (sum(histogram(c, "wait").values()), sum(histogram(c, "run").values())) == (5, 1)
    assert c.map("TASK.INFO", "q", "TIMES")[b"watched-ms"] >= 450


@pytest.mark.parametrize("protocol", [2, 3])
def test_info_workers_shows_workers_with_leases_and_blocked_ones(server, protocol, c):
    """They are sorted by name. Workers without a name are one entry."""
    c("TASK.MPUSH", "q", "TASKS", 6, *range(6))
    c("TASK.CLAIM", "q", "WORKER", "b", "COUNT", 2)
    passes(server, 20)
    c("TASK.CLAIM", "q", "WORKER", "a")
    c("TASK.CLAIM", "q", "WORKER", "b")
    c("TASK.CLAIM", "q", "COUNT", 2)
    waiting = [Talk(server) for _ in range(4)]
    for worker, words in zip(waiting, (["WORKER", "a"], ["WORKER", "c"], ["WORKER", "c"], []), strict=True):
        worker.send(["TASK.CLAIM", "q", "BLOCK", 0, *words])
    reply = server.wait_until(
        lambda: (info := c.map("TASK.INFO", "q", "workers"))[b"blocked"] == 4 and info, "four wait"
    )
    assert list(reply) == [b"holding", b"blocked", b"workers"] and reply[b"holding"] == 3
    workers = [c.as_map(worker) for worker in reply[b"workers"]]
    assert [(w[b"name"], w[b"leases"], w[b"blocked"]) for w in workers] == [
        (b"", 2, 1),
        (b"a", 1, 1),
        (b"b", 3, 0),
        (b"c", 0, 2),
    ]
    ages = [w[b"oldest-lease-ms"] for w in workers]
    assert ages[3] == -1 and min(ages[:3]) >= 0 and ages[2] >= ages[1] + 19


def test_info_workers_shows_up_to_a_thousand_workers(c):
    """These are the first by name. `holding` counts all of them."""
    c("TASK.MPUSH", "q", "TASKS", 1000, *range(1000))
    c("TASK.MPUSH", "q", "TASKS", 5, *range(5))
    c.many([["TASK.CLAIM", "q", "WORKER", f"w{i:04}"] for i in range(1005)])
    reply = c.map("TASK.INFO", "q", "WORKERS")
    assert reply[b"holding"] == 1005
    names = [c.as_map(worker)[b"name"] for worker in reply[b"workers"]]
    assert names == [b"w%04d" % i for i in range(bound("module/commands/info/workers.rs", "SHOWN"))]


def test_info_of_a_missing_queue_is_nil(c):
    """An unknown section is an error."""
    for section in ([], ["CONFIG"], ["WORKERS"], ["TIMES"]):
        assert c("TASK.INFO", "none", *section) is None
    c.push("q")
    for words in (["NO"], ["CONFIG", "WORKERS"], ["WORKERS", "WORKERS"], ["TIMES", "TIMES"]):
        assert c("TASK.INFO", "q", *words) == SYNTAX
