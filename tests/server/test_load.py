"""What TASK.INFO tells of the last minutes: rates, waits, run times, load; and of workers."""

import time

import pytest
from server import Server
from talk import Error, Talk


def passes(server: Server, ms: int) -> None:
    """Let time pass."""
    end = time.monotonic() + ms / 1000
    server.wait_until(lambda: time.monotonic() >= end, f"{ms} ms have passed")


class Rate:
    """What a queue should tell of `count` tasks that came since now: it is judged by its age, a second at least."""

    def __init__(self, count: int):
        self.count, self.began = count, time.monotonic()

    def __eq__(self, told: object) -> bool:
        age = max(1.0, time.monotonic() - self.began + 0.01)
        assert isinstance(told, bytes) and told.partition(b".")[2].isdigit(), told
        return round(self.count / age, 3) - 0.001 <= float(told) <= self.count

    def __repr__(self) -> str:
        return f"{self.count} tasks since {self.began}"


@pytest.mark.parametrize("protocol", [2, 3])
def test_info_tells_rates_and_times(server, protocol):
    """Twenty tasks come, ten are finished after a while; fractions are texts in both protocols."""
    c = Talk(server, protocol)
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


def test_info_tells_the_load(server):
    """λ·s workers are kept busy: 20 a second for 100 ms and a little more each."""
    c = Talk(server)
    c("TASK.MPUSH", "q", "TASKS", 20, *range(20))
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 15)]
    passes(server, 100)
    c("TASK.ACK", "q", "HANDLES", 10, *handles[:10])
    idle = Talk(server)
    load = c.as_map(c.map("TASK.INFO", "q")[b"load"])
    rate, mean = float(load[b"arrival-rate"]), float(load[b"run-mean-ms"])
    assert float(load[b"completion-rate"]) == pytest.approx(rate / 2, abs=0.001)
    assert mean >= 99
    assert (load[b"busy"], load[b"waiting"], load[b"backlog"]) == (5, 0, 5)
    assert float(load[b"utilisation"]) == pytest.approx(rate * mean / 1000 / 5, abs=0.001)
    assert load[b"drain-ms"] == -1, "more come than go"
    assert load[b"workers-needed"] == -(-rate * mean / 1000 // 0.8)
    idle.send(["TASK.CLAIM", "q", "COUNT", 5, "BLOCK", 0])
    assert len(idle.read()) == 5
    idle.send(["TASK.CLAIM", "q", "BLOCK", 0])
    server.wait_until(
        lambda: c.as_map(c.map("TASK.INFO", "q")[b"load"])[b"waiting"] == 1, "a worker waits for more"
    )


def test_a_replica_has_rates_of_its_own(start):
    """They aren't replicated; a replica counts what it is told of. Nothing of it is in the digest."""
    primary, replica = start(port=True), start()
    c, r = Talk(primary), Talk(replica)
    c("TASK.MPUSH", "q", "TASKS", 3, 1, 2, 3)
    replica.replicate(primary)
    # What came before, as a file, is not of these minutes.
    assert r.map("TASK.INFO", "q")[b"in-per-second-1m"] == b"0.000"
    pushed, acked = Rate(2), Rate(1)
    c("TASK.MPUSH", "q", "TASKS", 2, 1, 2)
    c("TASK.ACK", "q", c.claim("q"))
    replica.wait_until(lambda: r.map("TASK.INFO", "q")[b"acked"] == 1, "the replica has all")
    info = r.map("TASK.INFO", "q")
    assert (info[b"in-per-second-1m"], info[b"out-per-second-1m"]) == (pushed, acked)
    assert info[b"run-p50-ms"] >= 0
    if primary.installed.version >= (7, 0):
        assert c.digest("q") == r.digest("q")


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_a_queue_that_was_loaded_begins_anew(start, preamble):
    """Rates and times are not stored, nor taken from an AOF that is replayed; totals are."""
    server = start(appendonly="yes", aof_use_rdb_preamble=preamble)
    c = Talk(server)
    c.push("q")
    c("TASK.ACK", "q", c.claim("q"))
    assert c.map("TASK.INFO", "q")[b"run-p50-ms"] >= 0
    server.restart()
    c = Talk(server)
    info = c.map("TASK.INFO", "q")
    assert (info[b"in-per-second-5m"], info[b"run-p50-ms"], info[b"acked"]) == (b"0.000", -1, 1)
    pushed = Rate(1)
    c.push("q")
    assert c.map("TASK.INFO", "q")[b"in-per-second-1m"] == pushed


def test_a_copy_begins_anew(server):
    """What happened to one queue says nothing of another."""
    c = Talk(server)
    pushed = Rate(1)
    c.push("q")
    c("COPY", "q", "r")
    assert c.map("TASK.INFO", "q")[b"in-per-second-1m"] == pushed
    assert c.map("TASK.INFO", "r")[b"in-per-second-1m"] == b"0.000"


@pytest.mark.parametrize("protocol", [2, 3])
def test_info_tells_of_workers(server, protocol):
    """Those that hold leases and those that wait, by name; those that gave none are one."""
    c = Talk(server, protocol)
    c("TASK.MPUSH", "q", "TASKS", 6, *range(6))
    c("TASK.CLAIM", "q", "WORKER", "b", "COUNT", 2)
    passes(server, 20)
    c("TASK.CLAIM", "q", "WORKER", "a")
    c("TASK.CLAIM", "q", "WORKER", "b")
    c("TASK.CLAIM", "q", "COUNT", 2)
    waiting = [Talk(server) for _ in range(4)]
    for worker, words in zip(waiting, (["WORKER", "a"], ["WORKER", "c"], ["WORKER", "c"], []), strict=True):
        worker.send(["TASK.CLAIM", "q", "BLOCK", 0, *words])
    told = server.wait_until(
        lambda: (info := c.map("TASK.INFO", "q", "workers"))[b"blocked"] == 4 and info, "four wait"
    )
    assert list(told) == [b"holding", b"blocked", b"workers"] and told[b"holding"] == 3
    workers = [c.as_map(worker) for worker in told[b"workers"]]
    assert [(w[b"name"], w[b"leases"], w[b"blocked"]) for w in workers] == [
        (b"", 2, 1),
        (b"a", 1, 1),
        (b"b", 3, 0),
        (b"c", 0, 2),
    ]
    ages = [w[b"oldest-lease-ms"] for w in workers]
    assert ages[3] == -1 and min(ages[:3]) >= 0 and ages[2] >= ages[1] + 19


def test_workers_are_told_up_to_a_thousand(server):
    """The first by name, and how many there are."""
    c = Talk(server)
    c("TASK.MPUSH", "q", "TASKS", 1000, *range(1000))
    c("TASK.MPUSH", "q", "TASKS", 5, *range(5))
    c.many([["TASK.CLAIM", "q", "WORKER", f"w{i:04}"] for i in range(1005)])
    told = c.map("TASK.INFO", "q", "WORKERS")
    assert told[b"holding"] == 1005
    names = [c.as_map(worker)[b"name"] for worker in told[b"workers"]]
    assert names == [b"w%04d" % i for i in range(1000)]


def test_info_of_what_is_not_there(server):
    """No queue is nil in each section; an unknown section is an error."""
    c = Talk(server)
    for section in ([], ["CONFIG"], ["WORKERS"]):
        assert c("TASK.INFO", "none", *section) is None
    c.push("q")
    for words in (["NO"], ["CONFIG", "WORKERS"], ["WORKERS", "WORKERS"]):
        assert c("TASK.INFO", "q", *words) == Error("ERR syntax error")
