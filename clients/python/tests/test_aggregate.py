"""One Info or Times for many queues: the rules of `aggregate`, without a server."""

from dataclasses import fields, replace
from math import inf

import pytest
from taskslot import Durations, Info, Load, Times
from taskslot.aggregate import total, total_times

QUIET = Load(0.0, 0.0, -1.0, 0, 0, -1.0, 0, 0, 0, 0)
EMPTY = Info(
    **{item.name: 0 for item in fields(Info) if item.name not in ("load", "held_by", "broken", "more")},
    load=QUIET,
)


def info_of(**values):
    """The Info of a queue that is empty except for this."""
    return replace(EMPTY, **values)


def test_no_queue_gives_none_and_one_queue_its_own_info():
    """The total of no queue is None, not zeros. The Info of one queue is returned unchanged."""
    one = info_of(ready=3, more={"new": 1})
    assert total([]) is None and total([one]) is one


def test_counts_are_added_and_the_worst_time_is_taken():
    """The value -1 means none, so the next delayed task is that of a queue that has one."""
    both = total(
        [
            info_of(
                ready=2,
                held=1,
                batches_open=3,
                pushed=5,
                in_per_second_1m=1.5,
                oldest_ready_ms=70,
                next_delayed_ms=-1,
                wait_p99_ms=9,
            ),
            info_of(
                ready=3,
                held=4,
                batches_open=1,
                pushed=1,
                in_per_second_1m=0.5,
                oldest_ready_ms=-1,
                next_delayed_ms=40,
                wait_p99_ms=12,
            ),
        ]
    )
    assert (both.ready, both.pushed, both.in_per_second_1m) == (5, 6, 2.0)
    assert (both.held, both.batches_open, both.batches_closed) == (5, 4, 0)
    assert (both.oldest_ready_ms, both.next_delayed_ms, both.wait_p99_ms) == (70, 40, 12)


@pytest.mark.parametrize(
    ("pauses", "together"), [((0, 0), 0), ((0, 500), 500), ((0, -1), -1), ((-1, 500), -1), ((-1, -1), -1)]
)
def test_a_pause_of_any_shard_is_shown(pauses, together):
    """0 is no pause, and -1 is one without an end. Neither a running shard nor a shorter pause hides it."""
    for way in ("paused_in", "paused_out"):
        assert getattr(total([info_of(**{way: one}) for one in pauses]), way) == together


def test_the_limit_or_error_of_any_queue_is_shown():
    """The total has the first limit that is reached, and the first reason of a broken queue."""
    both = total([info_of(), info_of(held_by="rate", broken="bad event")])
    assert (both.held_by, both.broken) == ("rate", "bad event")


def test_groups_hold_all_shards_only_if_no_ready_task_may_be_claimed():
    """A shard with a task that may be claimed is not held; one without ready tasks doesn't matter. Pauses add up."""
    held = info_of(ready=1, held_by="groups", groups_paused=1, groups_stopped=2)
    both = total([held, info_of(ready=0), held])
    assert (both.held_by, both.groups_paused, both.groups_stopped) == ("groups", 2, 4)
    assert total([held, info_of(ready=1)]).held_by == ""
    assert total([held, info_of(ready=1, held_by="rate")]).held_by == "rate"


def test_the_load_is_that_of_workers_that_share_the_queues():
    """Means are weighted by completions. Utilisation, drain time and places needed follow from the sums."""
    one = replace(
        QUIET,
        arrival_rate=6.0,
        completion_rate=9.0,
        run_mean_ms=1000.0,
        places_busy=6,
        places_free=2,
        backlog=10,
    )
    two = replace(
        QUIET,
        arrival_rate=2.0,
        completion_rate=1.0,
        run_mean_ms=2000.0,
        places_busy=2,
        places_free=0,
        backlog=30,
    )
    load = total([info_of(load=one), info_of(load=two)]).load
    assert (load.arrival_rate, load.completion_rate, load.backlog) == (8, 10, 40)
    assert (load.places_busy, load.places_free) == (8, 2)
    assert load.run_mean_ms == pytest.approx(1100)
    assert load.utilisation == pytest.approx(0.88) and load.places_needed == 11
    assert load.workers_needed == -1, "a worker may have places in both"
    assert load.drain_ms == 20_000


def test_a_load_that_cannot_be_computed_is_unknown():
    """Without run times or workers it is -1, without a division by zero. A backlog that doesn't shrink never ends."""
    load = total([info_of(load=replace(QUIET, arrival_rate=1.0)), info_of()]).load
    assert (load.run_mean_ms, load.utilisation, load.places_needed, load.workers_needed) == (-1, -1, -1, -1)
    assert total([info_of(load=replace(QUIET, arrival_rate=1.0, backlog=5)), info_of()]).load.drain_ms == -1


def test_a_ready_task_needs_a_place_and_empty_queues_need_none():
    """TASK.INFO uses the same rule for one queue. A whole number with a rounding error is not rounded up."""
    ready = total([info_of(load=replace(QUIET, backlog=5)), info_of()]).load
    assert (ready.places_needed, ready.workers_needed) == (1, -1)
    assert (
        total([info_of(load=replace(QUIET, arrival_rate=1.0, backlog=5)), info_of()]).load.places_needed == 1
    )
    nothing = total([info_of(), info_of()]).load
    assert (nothing.places_needed, nothing.workers_needed) == (0, 0)
    whole = replace(QUIET, arrival_rate=50 / 11, run_mean_ms=880.0)
    assert total([info_of(load=whole), info_of()]).load.places_needed == 5


def test_no_worker_is_needed_if_no_task_arrives():
    """The number is zero, never negative, even if run times are unknown."""
    idle = replace(QUIET, run_mean_ms=-1.0, places_free=2)
    load = total([info_of(load=idle), info_of(load=idle)]).load
    assert (str(load.utilisation), load.places_needed, load.workers_needed) == ("0.0", 0, 0)


def test_times_are_added_bucket_by_bucket():
    """The node that has watched for longest counts. No queue has no times."""
    nothing = Durations(0, 0, {})
    one = Times(watched_ms=10, wait=Durations(3, 9, {2: 1, 8: 2}), run=nothing)
    other = Times(watched_ms=700, wait=Durations(2, 4_000_000_003, {1: 1, inf: 1}), run=nothing)
    both = total_times([one, other])
    assert both == Times(700, Durations(5, 4_000_000_012, {1: 1, 2: 1, 8: 2, inf: 1}), nothing)
    assert list(both.wait.below_ms) == [1, 2, 8, inf]
    assert total_times([]) is None and total_times([replace(one, watched_ms=-1)]).watched_ms == -1


def test_cumulative_counts_have_every_bound():
    """Prometheus wants all bounds, always the same, and in each the count of all shorter durations too."""
    shown = Durations(4, 30, {2: 1, 16: 2, inf: 1}).cumulative()
    assert [bound for bound, _ in shown] == [2**power for power in range(30)] + [inf]
    assert [count for _, count in shown[:6]] == [0, 1, 1, 1, 3, 3] and shown[-2:] == [(2**29, 3), (inf, 4)]
    assert {count for _, count in Durations(0, 0, {}).cumulative()} == {0}
