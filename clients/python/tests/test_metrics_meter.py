"""How readings become metrics: labels, sums, totals that don't fall, buckets. Without a server."""

from dataclasses import fields, replace

import pytest
from taskslot import Durations, Info, Load, Times
from taskslot.metrics.labels import LONGEST, label
from taskslot.metrics.node_meter import measure_nodes
from taskslot.metrics.prometheus import metrics
from taskslot.metrics.queue_meter import QueueMeter
from taskslot.metrics.reading import Reading
from taskslot.metrics.tally import LOOKS_KEPT, Tally
from taskslot.overview import NodeInfo
from taskslot.overview.node_info import UNREACHED
from taskslot.replies import Schedule
from taskslot.shards import names

QUIET = Load(0.0, 0.0, -1.0, 0, 0, -1.0, 0, 0, 0, 0)
EMPTY = Info(
    **{item.name: 0 for item in fields(Info) if item.name not in ("load", "held_by", "broken", "more")},
    load=QUIET,
)


def info(**values) -> Info:
    """The Info of a queue that is empty except for this."""
    return replace(EMPTY, **values)


def measured(meter: QueueMeter, infos: dict[str, Info], **reading) -> dict[str, float]:
    """What a reading shows, as the lines of Prometheus."""
    found: dict[str, float] = {}
    for metric in metrics(meter.measure(Reading(infos, **reading))):
        for sample in metric.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            line = f"{sample.name.removeprefix('taskslot_')}{{{labels}}}"
            assert line not in found, f"{line} is there twice"
            found[line] = sample.value
    return found


# ---- totals


def counted(*values: int, source: str = "a") -> Tally:
    """A tally that has read these values, one in each look."""
    tally = Tally()
    for value in values:
        tally.count("q", source, [value])
        tally.end_look(is_complete=True)
    return tally


@pytest.mark.parametrize(
    ("values", "total"),
    [
        ((5, 7, 7), 7),
        ((1000, 990, 995), 1000),  # a failover lost the last changes
        ((1000, 990, 1003), 1003),
        ((1000, 3, 5), 1005),  # deleted, and made anew
        ((0, 0, 4), 4),
    ],
)
def test_a_total_that_falls_is_neither_lost_nor_counted_twice(values, total):
    """A monitoring system would take any fall for a new beginning at 0."""
    assert counted(*values).of("q") == (total,)


def test_values_of_a_source_begin_again_together():
    """One of them can be smaller than half after a failover, while the others say that the queue is the same."""
    tally = Tally()
    tally.count("q", "a", [1000, 3])
    tally.count("q", "a", [999, 1])
    tally.count("q", "a", [1001, 4])
    assert tally.of("q") == (1001, 4)


def test_a_source_that_is_away_is_not_forgotten():
    """When it comes back, only what is new counts. One that is gone for long is forgotten, and its series too."""
    tally = counted(100)
    for _ in range(2 * LOOKS_KEPT):
        tally.count("q", "b", [5])
        tally.end_look(is_complete=False)
    tally.count("q", "a", [101])
    assert tally.of("q") == (106,)
    for _ in range(LOOKS_KEPT + 2):
        tally.end_look(is_complete=True)
    assert tally.of("q") is None


# ---- labels


def test_a_label_is_printable_and_bounded():
    """Names that differ still differ once they are cut."""
    assert label("mail") == "mail" and label("später") == "später"
    assert label("a\nb\x1b\u202e") == "a\\nb\\x1b\\u202e"
    assert label(b"\xff".decode("utf-8", "surrogateescape")) == "\\xff"
    assert label("") == '""'
    long = [label("x" * 5000 + end) for end in "ab"]
    assert len(set(long)) == 2 and {len(one) for one in long} == {LONGEST}
    assert label("x" * LONGEST) == "x" * LONGEST


def test_names_that_look_the_same_are_one_queue():
    """Otherwise two lines would have the same labels, and Prometheus would refuse all of them."""
    found = measured(QueueMeter(10), {"\udcff": info(ready=1), "\\xff": info(ready=2)})
    assert found["queue_tasks{queue=\\xff,state=ready}"] == 3 and found["queues{}"] == 1


# ---- queues


def test_shards_are_one_queue_unless_they_are_wanted_apart():
    """Counts and totals are added, and the oldest task is that of all shards."""
    shards = {
        key: info(ready=1, pushed=10, oldest_ready_ms=1000 * n) for n, key in enumerate(names("jobs", 4))
    }
    found = measured(QueueMeter(10), shards)
    assert found["queue_tasks{queue=jobs,state=ready}"] == 4 and found["queue_pushed_total{queue=jobs}"] == 40
    assert found["queue_oldest_ready_seconds{queue=jobs}"] == 3 and found["queues{}"] == 1
    apart = measured(QueueMeter(10, shards_apart=True), shards)
    assert apart["queues{}"] == 4 and apart[f"queue_pushed_total{{queue={min(shards)}}}"] == 10


def test_queues_beyond_the_limit_are_one_without_a_name():
    """It is said how many they are. A queue keeps its metrics when others come, and its place is free when it goes."""
    meter = QueueMeter(2)
    infos = {name: info(ready=1, pushed=100) for name in ("b", "c", "d", "e")}
    found = measured(meter, infos)
    assert found["queue_tasks{queue=b,state=ready}"] == 1 and found["queue_tasks{queue=,state=ready}"] == 2
    assert (found["queues{}"], found["queues_left_out{}"], found["queue_pushed_total{queue=}"]) == (4, 2, 200)
    found = measured(meter, {**infos, "a": info(ready=1, pushed=7)})
    assert "queue_tasks{queue=a,state=ready}" not in found and found["queue_pushed_total{queue=}"] == 207
    del infos["b"]
    found = measured(meter, {**infos, "a": info(ready=1, pushed=9)})
    assert found["queue_pushed_total{queue=a}"] == 9 and "queue_pushed_total{queue=b}" not in found
    assert found["queue_pushed_total{queue=}"] == 207  # the total of the others doesn't fall


def test_no_queue_needs_metrics_of_its_own():
    """With a limit of 0 there are only the sums."""
    found = measured(QueueMeter(0), {"a": info(dead=1), "b": info(dead=2)})
    assert found["queue_tasks{queue=,state=dead}"] == 3 and found["queues_left_out{}"] == 2


def test_a_shard_whose_node_is_away_leaves_the_totals_alone():
    """The tasks of that shard are missing in the sums of what is there now."""
    first, second = names("jobs", 2)
    meter = QueueMeter(10)
    measured(meter, {first: info(ready=1, pushed=50), second: info(ready=1, pushed=70)})
    for _ in range(LOOKS_KEPT + 2):
        found = measured(meter, {first: info(ready=1, pushed=51)}, away=["10.0.0.7:6379"])
    assert (
        found["queue_pushed_total{queue=jobs}"] == 121 and found["queue_tasks{queue=jobs,state=ready}"] == 1
    )
    found = measured(meter, {first: info(pushed=51), second: info(pushed=75)})
    assert found["queue_pushed_total{queue=jobs}"] == 126


def test_what_only_a_node_knows_goes_on_at_the_next_node():
    """`refused` and the times start at 0 there. The first node's figures count no second time when it is back."""
    meter, times = QueueMeter(10), times_of({4: 3})
    measured(meter, {"q": info(refused=5)}, node_of={"q": "a:1"}, times={"q": times})
    found = measured(meter, {"q": info(refused=2)}, node_of={"q": "b:1"}, times={"q": times_of({4: 1})})
    assert found["queue_refused_total{queue=q}"] == 7 and found["queue_run_seconds_count{queue=q}"] == 4
    found = measured(meter, {"q": info(refused=5)}, node_of={"q": "a:1"}, times={"q": times})
    assert found["queue_refused_total{queue=q}"] == 7 and found["queue_run_seconds_count{queue=q}"] == 4


def test_a_figure_that_is_unknown_is_left_out():
    """-1 is no time, no load and no number of places. A queue without ready tasks has an age of 0."""
    load = replace(QUIET, places_needed=-1)
    unknown = {
        "oldest_ready_ms": -1,
        "next_delayed_ms": -1,
        "wait_p95_ms": -1,
        "run_p95_ms": -1,
        "load": load,
    }
    found = measured(QueueMeter(10), {"q": info(**unknown)})
    assert found["queue_oldest_ready_seconds{queue=q}"] == 0
    for name in (
        "next_delayed_seconds",
        "wait_p95_seconds",
        "run_p95_seconds",
        "places_needed",
        "utilisation_ratio",
    ):
        assert not [line for line in found if line.startswith(f"queue_{name}{{")], name


def test_what_stops_a_queue_is_shown():
    """A pause has two ways, and a limit its name."""
    found = measured(QueueMeter(10), {"q": info(paused_in=-1, held_by="rate", broken="lost an effect")})
    assert (found["queue_paused{queue=q,way=in}"], found["queue_paused{queue=q,way=out}"]) == (1, 0)
    assert (found["queue_held_by{queue=q,limit=rate}"], found["queue_broken{queue=q}"]) == (1, 1)
    assert found["queue_held_by{queue=q,limit=concurrency}"] == 0


def test_paused_and_stopped_groups_are_shown():
    """They stand beside the limit that says that no ready task may be claimed."""
    found = measured(QueueMeter(10), {"q": info(held_by="groups", groups_paused=1, groups_stopped=2)})
    assert found["queue_held_by{queue=q,limit=groups}"] == 1
    assert (found["queue_groups_held{queue=q,by=pause}"], found["queue_groups_held{queue=q,by=limit}"]) == (
        1,
        2,
    )


# ---- times


def times_of(below_ms: dict[float, int], sum_ms: int = 1500) -> Times:
    """Times with these run times, and no wait times."""
    durations = Durations(count=sum(below_ms.values()), sum_ms=sum_ms, below_ms=below_ms)
    return Times(watched_ms=1000, wait=Durations(0, 0, {}), run=durations)


def test_buckets_count_all_that_is_at_most_their_bound():
    """What is longer than the last bound is in +Inf, which equals the count."""
    times = times_of({1: 2, 4: 3, 1 << 22: 1, 1 << 25: 4, float("inf"): 5})
    found = measured(QueueMeter(10), {"q": info()}, times={"q": times})
    run = {
        le: found[f"queue_run_seconds_bucket{{queue=q,le={le}}}"]
        for le in ("0.001", "0.002", "0.004", "0.008")
    }
    assert run == {"0.001": 2, "0.002": 2, "0.004": 5, "0.008": 5}
    assert found["queue_run_seconds_bucket{queue=q,le=2097.152}"] == 5
    assert found["queue_run_seconds_bucket{queue=q,le=4194.304}"] == 6
    assert (
        found["queue_run_seconds_bucket{queue=q,le=+Inf}"] == found["queue_run_seconds_count{queue=q}"] == 15
    )
    assert found["queue_run_seconds_sum{queue=q}"] == 1.5
    assert found["queue_wait_seconds_count{queue=q}"] == 0


def test_a_queue_without_times_has_no_histogram():
    """Its node has an older module. And nobody has one if histograms are off."""
    found = measured(QueueMeter(10), {"a": info(), "b": info()}, times={"a": times_of({1: 1})})
    assert "queue_run_seconds_count{queue=a}" in found and "queue_run_seconds_count{queue=b}" not in found
    off = measured(QueueMeter(10, histograms=False), {"a": info()}, times={"a": times_of({1: 1})})
    assert not [line for line in off if "seconds_count" in line]


# ---- schedules


def schedule(name: str, **values) -> Schedule:
    """A schedule with no runs, except for these."""
    values = {"made": 0, "skipped": 0, "missed": 0, "disabled": False, **values}
    return Schedule(name=name, catchup="none", next_ms=1, next=1, payload_bytes=1, **values)


def test_runs_of_schedules_are_added_up():
    """The runs of a schedule that was removed stay in the total."""
    meter = QueueMeter(10)
    both = [schedule("a", made=10, missed=1), schedule("b", made=5, skipped=2, disabled=True)]
    found = measured(meter, {"q": info(), "none": info()}, schedules={"q": both})
    assert found["queue_schedule_runs_total{queue=q,outcome=made}"] == 15
    assert found["queue_schedules{queue=q,state=active}"] == 1
    assert found["queue_schedules{queue=q,state=disabled}"] == 1
    assert not [line for line in found if "schedule" in line and "queue=none" in line]
    found = measured(meter, {"q": info()}, schedules={"q": [schedule("b", made=6, skipped=2)]})
    assert found["queue_schedule_runs_total{queue=q,outcome=made}"] == 16
    assert found["queue_schedule_runs_total{queue=q,outcome=skipped}"] == 2


# ---- nodes


def test_a_replica_that_can_not_be_reached_is_neither_up_nor_down():
    """Its primary hears from it, as behind an address translation: an alert that it is down would be false."""
    hidden = NodeInfo("b:1", "replica", primary="a:1", link="up", trouble=UNREACHED)
    refused = NodeInfo("c:1", "primary", trouble="NOPERM")
    families = measure_nodes(Reading({}, nodes=[hidden, refused], away=["d:1"]))
    up = {sample.labels["node"]: sample.value for sample in next(iter(metrics(families))).samples}
    assert up == {"c:1": 1, "d:1": 0}
