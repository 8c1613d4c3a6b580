"""The rules for where tasks go and how often workers look: no server, and a simulated clock."""

import heapq
import random

import pytest
from taskslot.balance import FRESH_S, LONGEST_LOOK_MS, MEMORY_S, Loads, Pace


def loads(ready, seed=1):
    """Loads that have just been seen, at second 0."""
    made = Loads.of(len(ready))
    made.random = random.Random(seed)
    made.saw(dict(enumerate(ready)), 0.0)
    return made


def fills(tasks, shards, choose):
    """The number of tasks that each shard has in the end."""
    full = [0] * shards
    for _ in range(tasks):
        full[choose()] += 1
    return full


def test_an_unreachable_shard_is_not_chosen_while_another_is_reachable():
    """Even an empty shard waits until a look has reached it. If nothing looks, it is tried again after a while."""
    some = loads([50, 60, None, 70, 0])
    some.lost(4, 0.0)
    assert {some.choose(0.9) for _ in range(500)} <= {0, 1, 3}
    assert {some.choose(1.1) for _ in range(500)} <= {0, 1, 3}
    assert set(some.there(1.1)) == {0, 1, 2, 3, 4}, "the next look asks for them"
    assert {some.choose(11.0) for _ in range(500)} & {2, 4}
    some.saw({2: 0, 4: 0}, 11.0)
    assert {some.choose(11.0) for _ in range(500)} >= {2, 4}


def test_a_node_is_left_alone_for_as_long_as_asking_it_costs():
    """A node that hangs costs each look a time-out. A closed port costs almost nothing."""
    some = loads([0, 0, 0])
    for shard, took_s in enumerate((0.001, 0.6, 60.0)):
        some.lost(shard, 0.0, took_s)
    at = {now: [some.is_away(shard, now) for shard in range(3)] for now in (0.2, 0.3, 2.3, 2.5, 3.9, 4.1)}
    assert at[0.2] == [True, True, True] and at[0.3] == at[2.3] == [False, True, True]
    assert at[2.5] == at[3.9] == [False, False, True] and at[4.1] == [False, False, False]


def test_if_all_shards_are_unreachable_each_is_tried():
    """A push must choose one of them, and then keeps trying for its patience."""
    some = loads([None, None, None])
    assert {some.choose(0.5) for _ in range(200)} == {0, 1, 2}


def test_a_shard_that_replies_again_can_be_chosen_at_once():
    """It can be chosen before the time for which it was to be skipped has ended."""
    some = loads([None, 3])
    assert some.is_away(0, 0.1)
    some.saw(dict(enumerate([0, 3])), 0.1)
    assert not some.is_away(0, 0.1)


def test_the_less_loaded_of_two_spreads_far_better_than_one_at_random():
    """Of 6,400 tasks on 64 shards, the fullest shard has a few more than 100. Random choice gives it dozens more."""
    some = loads([0] * 64)

    def of_two():
        shard = some.choose(0.0)
        some.pushed(shard, 1)
        return shard

    chance = random.Random(1)
    two, one = fills(6400, 64, of_two), fills(6400, 64, lambda: chance.randrange(64))
    assert max(two) <= 103
    assert max(one) >= 115


def test_many_producers_with_the_same_knowledge_do_not_all_choose_one_shard():
    """Eight producers see shard 5 empty, and ten tasks on all others. On average it gets two of 64 tasks, not all."""
    seen = [10] * 64
    seen[5] = 0
    crowd = [loads(seen, seed) for seed in range(8)]
    chosen = [one.choose(0.0) for one in crowd for _ in range(100)]
    assert 5 < chosen.count(5) < 60


def test_what_a_producer_pushed_counts_until_it_looks_again():
    """Its own tasks are added to what it saw, and a look replaces both."""
    some = loads([0, 0])
    some.saw(dict(enumerate([0, 4])), 0.01)
    some.pushed(0, 9)
    assert [some.choose(0.01) for _ in range(5)] == [1] * 5
    some.saw(dict(enumerate([0, 4])), 0.02)
    assert [some.choose(0.02) for _ in range(5)] == [0] * 5


def test_knowledge_is_stale_after_a_tenth_of_a_second():
    """It is stale at the start too."""
    assert Loads.of(3).is_stale(0.0)
    some = loads([1, 2])
    assert not some.is_stale(FRESH_S) and some.is_stale(FRESH_S * 1.01)


def test_a_claim_that_got_less_than_it_asked_for_has_emptied_the_shard():
    """A claim that got all that it asked for leaves the known number minus these."""
    some = loads([9, 9])
    some.took(0, 5, 5)
    some.took(1, 3, 5)
    assert some.ready == [4, 0]


def test_of_two_equal_shards_the_one_that_mostly_has_tasks_left_is_passed_over():
    """Both are empty now, but one of them had tasks at earlier looks."""
    some = loads([0, 0])
    for look in range(1, 20):
        some.saw(dict(enumerate([2, 0])), look * 0.1)
    some.saw(dict(enumerate([0, 0])), 2.0)
    assert [some.choose(2.0) for _ in range(5)] == [1] * 5


def test_a_burst_is_forgotten():
    """A shard that was full counts as empty again after several times MEMORY_S."""
    some = loads([1000, 0])
    some.saw(dict(enumerate([1000, 0])), 1.0)
    look = 1.0
    while look < 4 * MEMORY_S:
        look += FRESH_S
        some.saw(dict(enumerate([0, 0])), look)
    some.pushed(1, 1)
    assert [some.choose(look) for _ in range(5)] == [0] * 5


def test_memory_depends_on_time_and_not_on_the_number_of_looks():
    """A hundred looks within a second count as much as a single one after a second."""
    often, rarely = loads([0, 0]), loads([0, 0])
    for look in range(1, 101):
        often.saw(dict(enumerate([8, 0])), look / 100)
    rarely.saw(dict(enumerate([8, 0])), 1.0)
    assert often.usual[0] == pytest.approx(rarely.usual[0])


def test_workers_with_the_same_knowledge_try_different_shards():
    """Each worker tries all shards, usually the fuller ones first. They don't all begin with the fullest."""
    orders = [loads([1, 3, 0, 9], seed).by_chance([0, 1, 3]) for seed in range(300)]
    assert all(sorted(order) == [0, 1, 3] for order in orders)
    first = [[order[0] for order in orders].count(shard) for shard in (0, 1, 3)]
    assert 5 < first[0] < first[1] < first[2] < 260


def test_a_worker_looks_again_after_20_ms_and_a_new_one_at_once():
    """The time counts from when the worker got replies, not from when it asked."""
    assert Loads.of(2).is_worth_a_look(0.0)
    some = loads([0, 0])
    assert not some.is_worth_a_look(0.019) and some.is_worth_a_look(0.021)
    some.seen_at = 0.021
    assert some.is_worth_a_look(0.021)


# ---- one slow node


class Shop:
    """64 shards with one worker each. Tasks arrive at random and take one second, or three on the third node.

    `backlogs` has the mean number of ready tasks on each node, in the second half of the time.
    """

    NODE = [0] * 22 + [1] * 21 + [2] * 21

    def __init__(self, share, rule, seed=1, lasts_s=300.0, producers=4):
        self.random = random.Random(seed)
        self.producers = [loads([0] * 64, seed + at) for at in range(producers)]
        self.ready, self.busy, self.turn = [0] * 64, [False] * 64, 0
        self.spans = [3.0 if node == 2 else 1.0 for node in self.NODE]
        self.rate = share * sum(1 / span for span in self.spans)
        self.sums, self.half_s = [0.0] * 3, lasts_s / 2
        self._run(rule, lasts_s)
        self.backlogs = [total / self.half_s for total in self.sums]

    def _run(self, rule, lasts_s):
        events = [(0.0, -1)]
        now = 0.0
        while now < lasts_s:
            before, (now, done) = now, heapq.heappop(events)
            if now > self.half_s:
                for node, ready in zip(self.NODE, self.ready, strict=True):
                    self.sums[node] += ready * (now - before)
            if done >= 0:
                shard, self.busy[done] = done, False
            else:
                shard = rule(self, now)
                self.ready[shard] += 1
                heapq.heappush(events, (now + self.random.expovariate(self.rate), -1))
            if self.ready[shard] and not self.busy[shard]:
                self.ready[shard] -= 1
                self.busy[shard] = True
                heapq.heappush(events, (now + self.spans[shard], shard))

    def two_choices(self, now):
        """Choose a shard by the library's rule."""
        one = self.random.choice(self.producers)
        if one.is_stale(now):
            one.saw(dict(enumerate(self.ready)), now)
        shard = one.choose(now)
        one.pushed(shard, 1)
        return shard

    def in_turn(self, now):
        """Choose shards by round robin."""
        self.turn += 1
        return self.turn % 64

    def ratio(self):
        """The ratio of the slow node's backlog to the mean of the others'."""
        return self.backlogs[2] / max(0.01, sum(self.backlogs[:2]) / 2)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.95])
def test_a_node_three_times_slower_has_at_most_twice_the_backlog_of_the_others(share):
    """This holds for any share of the total capacity."""
    shop = Shop(share, Shop.two_choices)
    assert shop.ratio() < 2
    assert sum(shop.backlogs) < 64 * 10


def test_with_round_robin_the_backlog_of_the_slow_node_keeps_growing():
    """At 70 % of the total capacity, an even third is more than the slow node can handle."""
    assert Shop(0.7, Shop.in_turn).ratio() > 50


# ---- how often workers look


def waits_ms(idle, seed=1, instants=4000):
    """How long tasks wait until any worker looks, if all workers know how many there are."""
    chance = random.Random(seed)
    next_at = []
    paces = [Pace(idle=idle, random=random.Random(chance.random())) for _ in range(idle)]
    for pace in paces:
        for _ in range(40):
            pace.looked(False)
        next_at.append(chance.uniform(0, pace.next_ms()))
    found = []
    now = 2 * LONGEST_LOOK_MS
    for _ in range(instants):
        now += chance.uniform(0, 100)
        for at, pace in enumerate(paces):
            while next_at[at] < now:
                pace.looked(False)
                next_at[at] += pace.next_ms()
        found.append(min(next_at) - now)
    return sorted(found)


@pytest.mark.parametrize("idle", [1, 2, 3, 5, 8, 13, 24, 60])
def test_one_of_the_idle_workers_looks_within_50_ms(idle):
    """99 of 100 tasks are seen within 50 ms, with some ms left for the look itself."""
    waits = waits_ms(idle)
    assert waits[len(waits) * 99 // 100] <= 46


def test_many_idle_workers_each_look_rarely():
    """Each worker's pace slows down to what suits their number, but not beyond LONGEST_LOOK_MS."""
    looks = {}
    for idle in (1, 8, 1000):
        pace = Pace(idle=idle, random=random.Random(1))
        for _ in range(40):
            pace.looked(False)
        looks[idle] = sum(pace.next_ms() for _ in range(200)) / 200
    assert looks[1] < 25 and 60 < looks[8] < 88 and 180 < looks[1000] <= LONGEST_LOOK_MS


def test_a_look_that_found_something_makes_the_next_ones_quick_again():
    """Then fewer workers wait than was known."""
    pace = Pace(idle=100, random=random.Random(1))
    for _ in range(40):
        pace.looked(False)
    slow = pace.next_ms()
    pace.looked(True)
    assert pace.next_ms() <= 25 < slow


def test_a_wait_is_never_zero():
    """BLOCK 0 would wait without a limit."""
    pace = Pace(quick_ms=0.0, random=random.Random(1))
    assert pace.next_ms() == 1


def test_the_first_look_counts_in_full():
    """At the start, no load is known."""
    fresh = Loads.of(2)
    fresh.saw(dict(enumerate([4, 0])), 100.0)
    assert fresh.usual == [4, 0] and fresh.ready == [4, 0]
