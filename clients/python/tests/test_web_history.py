"""What the web page remembers, and the small lines that it draws of it."""

import math
import random

import pytest
from harness.infos import info
from taskslot.overview import Row
from taskslot.web.live import history
from taskslot.web.live.history import SERIES, History, Ring
from taskslot.web.show.sparkline import sparkline

NAN = math.nan
Q, GONE = ("q", False), ("gone", False)


def sample(ready, wait=NAN):
    """A sample with these two values."""
    return tuple({"ready": float(ready), "wait_p95": float(wait)}.get(name, 0.0) for name in SERIES)


def known(values):
    """The values without the gaps."""
    return [value for value in values if not math.isnan(value)]


def test_a_step_has_the_mean_of_its_samples_and_the_longest_wait():
    """An unknown wait counts as none."""
    ring = Ring(60, 10)
    for ready, wait in ((1, NAN), (2, 50), (6, 20)):
        ring.add(600 + ready, {Q: sample(ready, wait)})
    assert known(ring.read(Q, "ready")) == [3]
    assert known(ring.read(Q, "wait_p95")) == [50]
    assert ring.times()[-1] == 600 and len(ring.times()) == 10


def test_it_agrees_with_a_plain_list():
    """Whatever the gaps between samples are, also longer than all that is kept."""
    rng = random.Random(7)
    for _ in range(200):
        ring, kept, step = Ring(2, 8), {}, 0
        for _ in range(rng.randrange(1, 40)):
            step += rng.choice([1, 1, 1, 2, 5, 9, 30])
            ring.add(step * 2, {Q: sample(step)})
            kept[step] = float(step)
        times = [number * 2 for number in range(step - 7, step + 1)]
        assert ring.times() == times
        got = ring.read(Q, "ready")
        assert [None if math.isnan(one) else one for one in got] == [kept.get(at // 2) for at in times]


def test_a_clock_that_is_set_back_changes_nothing():
    """Samples count again once it has caught up."""
    ring = Ring(2, 4)
    ring.add(100, {Q: sample(1)})
    ring.add(50, {Q: sample(9)})
    assert known(ring.read(Q, "ready")) == [1] and ring.times()[-1] == 100


def test_the_queues_that_are_kept_are_bounded(monkeypatch):
    """Also if each look finds others. The one that was seen longest ago makes room, and all queues together stay."""
    kept = History()
    for ring in kept.rings.values():
        ring.most = 4
    for step in range(5):
        names = ["busy", f"job {step}", f"other {step}"]
        kept.add(6000 + 60 * step, [Row(name, info(ready=1)) for name in names])
    for ring in kept.rings.values():
        assert set(ring._values) == {history.ALL, *((name, False) for name in names)}
    assert known(kept.read("24h", ("busy", False), ["ready"])[1]["ready"]) == [1] * 5
    assert known(kept.read("24h", history.ALL, ["ready"])[1]["ready"]) == [3] * 5
    assert all(ring.most == history.MOST_QUEUES + 1 for ring in History().rings.values())


def test_a_queue_that_is_gone_is_forgotten():
    """Once its last sample is too old. Others stay."""
    ring = Ring(2, 4)
    ring.add(0, {GONE: sample(1), Q: sample(1)})
    for at in range(2, 12, 2):
        ring.add(at, {Q: sample(1)})
    assert list(ring._values) == [Q]
    assert known(ring.read(GONE, "ready")) == []


def test_the_groups_of_a_line_stay_as_they_are():
    """Only the newest one changes when a step is added."""
    ring = Ring(2, 20)
    for number in range(40):
        ring.add(number * 2, {Q: sample(number)})
    before = ring.recent(Q, "ready", 5)
    ring.add(80, {Q: sample(40)})
    after = ring.recent(Q, "ready", 5)
    assert before == [22, 27, 32, 37] and after[:3] == [27, 32, 37]


def test_marks_are_limited_and_in_order(monkeypatch):
    """The oldest is forgotten first, and a long text is cut."""
    kept = History()
    for number in range(history.MOST_MARKS + 5):
        kept.mark(1000 - number, "x" * 500)
    assert len(kept.marks()) == history.MOST_MARKS
    assert [mark.at for mark in kept.marks(994)] == [994, 995]
    assert {len(mark.text) for mark in kept.marks()} == {history.LONGEST_MARK}


@pytest.mark.parametrize("line", [[], [NAN, NAN], [0, 0, NAN]])
def test_nothing_is_drawn_of_nothing(line):
    """Neither of what is unknown, nor of what was always 0."""
    assert sparkline("x", line) == ""


def test_a_line_has_gaps_and_its_label_is_only_text():
    """It begins at 0, and its largest value is at the top."""
    svg = sparkline('ready "><script>', [0, 10, NAN, 5], [1, 1, 1, 1])
    assert 'd="M0.5 15h.1L20.2 1M59.5 8h.1"' in svg and svg.count("<path") == 2
    assert "<script>" not in svg and "&#34;&gt;&lt;script&gt;" in svg
