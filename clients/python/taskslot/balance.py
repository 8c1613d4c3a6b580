"""Which shard a task goes to, and how often a worker looks beyond its own: decisions without a connection or a clock.

`now` is a monotonic time in seconds, by `time.monotonic()`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# How old what is known of the loads may be before a push asks again: S lengths a tenth of a second, for each producer.
FRESH_S = 0.1
# How old it must be before a worker that waits looks again. Many workers with short tasks would look after each of
# them, and see what the others are just taking: at home they are served without a look.
AGAIN_S = 0.02
# How long a shard whose node didn't answer is left alone: some times as long as asking it took, in which the others
# wait. A node that stands still costs more than half a second; where nobody listens any more that is known at once.
AWAY_TIMES, AWAY_S = 4.0, (0.25, 4.0)
# For how long a look counts that finds a node away: no push tries it before the next one, however long that takes.
TRUST_S = 10.0
# How far what is usually ready on a shard counts beside what is ready now, and how long ago "usually" reaches. Most of
# the time most shards are empty, those of a slow node just as those of a quick one, so that two lengths are often equal
# and say nothing; which of the two mostly has tasks left does. With that, one of three nodes that is three times slower
# has at most twice the others' backlog, and without it 3 to 5 times theirs (bench/balance.py slow, test_balance.py).
USUAL = 4.0
MEMORY_S = 20.0
# What a look finds beyond so many isn't remembered: lengths differ by themselves there, and a backlog that was worked
# off shall not keep tasks away for minutes.
REMEMBERED = 8.0


@dataclass
class Loads:
    """How many tasks are ready on each shard, as last seen, and what this producer has pushed since.

    A task goes to the less loaded of two shards picked at random: with what is a tenth of a second old that spreads
    nearly as well as a look at all of them, and many producers with the same knowledge don't all run to one shard
    (M. Mitzenmacher, "The power of two choices in randomized load balancing", 2001). Less loaded is where fewer tasks
    are ready now and were ready lately: `usual` is the mean of what looks found, the older the less it counts.
    """

    ready: list[float]
    usual: list[float] = field(default_factory=list)
    seen_at: float = float("-inf")
    learned_at: float = float("-inf")
    away_until: dict[int, float] = field(default_factory=dict)
    random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.usual = self.usual or [0.0] * len(self.ready)

    @classmethod
    def of(cls, number: int) -> Loads:
        """Loads of so many shards, of which nothing is known yet."""
        return cls([0.0] * number)

    def is_stale(self, now: float) -> bool:
        """Whether it is time to look again."""
        return now - self.seen_at > FRESH_S

    def is_worth_a_look(self, now: float) -> bool:
        """Whether a worker that found nothing may look again rather than wait."""
        return now - self.learned_at > AGAIN_S

    def saw(self, ready: Mapping[int, int | None], now: float, took_s: float = 0.25) -> None:
        """Take in what a look found: tasks ready by shard, None where the node didn't answer; and how long it took."""
        # Not since `seen_at`, which whoever looks sets beforehand.
        news = 1.0 - math.exp((self.learned_at - now) / MEMORY_S)
        self.seen_at = self.learned_at = now
        for shard, seen in ready.items():
            if seen is None:
                self.lost(shard, now, took_s)
            else:
                self.ready[shard] = seen
                self.usual[shard] += news * (min(seen, REMEMBERED) - self.usual[shard])
                self.away_until.pop(shard, None)

    def there(self, now: float) -> list[int]:
        """The shards whose nodes weren't away a moment ago; all of them if none is left."""
        every = range(len(self.ready))
        return [shard for shard in every if not self.is_away(shard, now)] or list(every)

    def lost(self, shard: int, now: float, took_s: float = 0.25) -> None:
        """Its node doesn't answer, which it took so long to learn: leave it alone for a while."""
        shortest, longest = AWAY_S
        self.away_until[shard] = now + min(longest, max(shortest, AWAY_TIMES * took_s))

    def is_away(self, shard: int, now: float) -> bool:
        """Whether the shard's node was away a moment ago."""
        return self.away_until.get(shard, now) > now

    def choose(self, now: float) -> int:
        """The shard for a task without group and token; of those that are there, if any is.

        One that was away is there when a look has seen it: a push that tried it might wait for as long as it is away.
        """
        there = self.there(now)
        if now - self.learned_at < TRUST_S:
            there = [shard for shard in there if shard not in self.away_until] or there
        picked = self.random.sample(there, min(2, len(there)))
        return min(picked, key=lambda shard: self.ready[shard] + USUAL * self.usual[shard])

    def by_chance(self, shards: Sequence[int]) -> list[int]:
        """Shards in the order in which a worker tries them: by chance, the fuller the sooner.

        The fullest first, and workers with the same knowledge would all run to one shard, empty it and ask in vain.
        An order by weights: P. Efraimidis and P. Spirakis, "Weighted random sampling with a reservoir", 2006.
        """
        return sorted(shards, key=lambda shard: -(self.random.random() ** (1 / max(1.0, self.ready[shard]))))

    def took(self, shard: int, tasks: int, asked: int) -> None:
        """Count what a claim took; one that got less than it asked for has left nothing."""
        self.ready[shard] = max(0.0, self.ready[shard] - tasks) if tasks == asked else 0.0

    def pushed(self, shard: int, tasks: int) -> None:
        """Count what this producer has added since the last look."""
        self.ready[shard] += tasks


# A task on another shard is found within such a span by a worker that is alone …
LOOK_MS = 25.0
# … and within 100 ms at the latest of each one's own look where many are idle and share the looking.
LONGEST_LOOK_MS = 250.0


@dataclass
class Pace:
    """How long a worker waits on its home shard before it looks at the others.

    All idle workers look at random instants, so that together they look often enough: k of them each k times as rarely
    as one alone, less what chance leaves open. A look that found something makes the next ones quick again, since
    then those who wait are fewer than was known.
    """

    idle: int = 1
    quick_ms: float = LOOK_MS
    random: random.Random = field(default_factory=random.Random)

    def next_ms(self) -> int:
        """The next wait: a random span around the present pace, at least a millisecond."""
        return max(1, round(self.quick_ms * self.random.uniform(0.6, 1.0)))

    def looked(self, found: bool) -> None:
        """After a look: quick where it found something, else slowly back to what suits so many idle workers.

        For looks at random instants, λ a second in all, a task waits longer than 50 ms with e^(-0.05 λ): 1 % for
        λ = 92. So of k idle workers each may look every k/92 s, 11 ms times k.
        """
        suits = min(LONGEST_LOOK_MS, max(LOOK_MS, 11.0 * self.idle))
        self.quick_ms = LOOK_MS if found else min(suits, self.quick_ms * 1.25)
