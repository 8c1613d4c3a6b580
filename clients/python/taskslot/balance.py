"""Decides to which shard a task goes, and how often a worker looks at other shards. No connection, no clock.

`now` is a time in seconds from `time.monotonic()`. A *look* asks all shards how many tasks are ready.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# A push looks again if the last look is older than this. So each producer asks all shards at most ten times a second.
FRESH_S = 0.1
# A waiting worker looks again only if its last look is older than this. Without the limit, many workers with short
# tasks would look after each task, and see tasks that others are just claiming. Tasks at home arrive without a look.
AGAIN_S = 0.02
# A shard whose node didn't reply is skipped for AWAY_TIMES as long as the attempt took, within these bounds. A node
# that hangs costs each attempt more than half a second, while all other shards wait. A closed port costs almost
# nothing.
AWAY_TIMES, AWAY_S = 4.0, (0.25, 4.0)
# If a look found a node away, no push tries that node before the next look, for at most this long.
TRUST_S = 10.0
# The weight of the usual number of ready tasks, beside the present number, and the time over which "usual" is averaged.
# Most shards are empty most of the time, on slow nodes as on fast ones, so two present lengths are often equal and tell
# nothing. The usual length does. With it, a node that is three times slower than two others has at most twice their
# backlog; without it, 3 to 5 times theirs (bench/balance.py slow, test_balance.py).
USUAL = 4.0
MEMORY_S = 20.0
# Lengths above this count as this much in the average. Long backlogs differ anyway, and one that has been worked off
# must not keep tasks away for minutes.
REMEMBERED = 8.0


@dataclass
class Loads:
    """The number of ready tasks on each shard: as the last look found it, plus what this client has pushed since.

    A task goes to the less loaded of two shards that are picked at random. With figures that are a tenth of a second
    old, this spreads tasks nearly as well as comparing all shards, and producers with the same figures don't all choose
    the same shard (M. Mitzenmacher, "The power of two choices in randomized load balancing", 2001). The less loaded
    shard is the one with fewer tasks now and in the recent past: `usual` is a mean in which older looks count less.
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
        """The loads of `number` shards before the first look."""
        return cls([0.0] * number)

    def is_stale(self, now: float) -> bool:
        """Whether a push should look again."""
        return now - self.seen_at > FRESH_S

    def is_worth_a_look(self, now: float) -> bool:
        """Whether a worker that found nothing should look again, rather than wait."""
        return now - self.learned_at > AGAIN_S

    def saw(self, ready: Mapping[int, int | None], now: float, took_s: float = 0.25) -> None:
        """Record a look: the ready tasks by shard, None for a node that didn't reply; and how long the look took."""
        # Measured from `learned_at`, because the caller sets `seen_at` before it looks.
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
        """The shards whose nodes were not away a moment ago; all shards if all nodes were away."""
        every = range(len(self.ready))
        return [shard for shard in every if not self.is_away(shard, now)] or list(every)

    def lost(self, shard: int, now: float, took_s: float = 0.25) -> None:
        """Record that the shard's node didn't reply within `took_s`, and skip the shard for a while."""
        shortest, longest = AWAY_S
        self.away_until[shard] = now + min(longest, max(shortest, AWAY_TIMES * took_s))

    def is_away(self, shard: int, now: float) -> bool:
        """Whether the shard's node was away a moment ago."""
        return self.away_until.get(shard, now) > now

    def choose(self, now: float) -> int:
        """The shard for a task without group and token, on a node that is not away if there is one.

        A node that was away is chosen again only after a look has reached it. A push that tried it earlier could wait
        until the node is back.
        """
        there = self.there(now)
        if now - self.learned_at < TRUST_S:
            there = [shard for shard in there if shard not in self.away_until] or there
        picked = self.random.sample(there, min(2, len(there)))
        return min(picked, key=lambda shard: self.ready[shard] + USUAL * self.usual[shard])

    def by_chance(self, shards: Sequence[int]) -> list[int]:
        """The shards in the order in which a worker claims from them: random, but fuller shards tend to come first.

        If the fullest always came first, workers with the same figures would all go to one shard, and most of them
        would find it empty. The weighted order is from P. Efraimidis and P. Spirakis, "Weighted random sampling with a
        reservoir", 2006.
        """
        return sorted(shards, key=lambda shard: -(self.random.random() ** (1 / max(1.0, self.ready[shard]))))

    def took(self, shard: int, tasks: int, asked: int) -> None:
        """Record a claim of `asked` tasks that got `tasks`. If it got fewer, the shard is empty now."""
        self.ready[shard] = max(0.0, self.ready[shard] - tasks) if tasks == asked else 0.0

    def pushed(self, shard: int, tasks: int) -> None:
        """Record tasks that this client has pushed since the last look."""
        self.ready[shard] += tasks


# The longest wait between two looks of a worker that is alone.
LOOK_MS = 25.0
# The longest wait between two looks of one worker, if many are idle and share the looking.
LONGEST_LOOK_MS = 250.0


@dataclass
class Pace:
    """How long a worker waits on its home shard before it looks at the others.

    Idle workers look at random times and share the work: each of k workers looks about k times less often than one
    that is alone. After a look that found a task, the next looks are quick again, because then fewer workers are idle
    than was known.
    """

    idle: int = 1
    quick_ms: float = LOOK_MS
    random: random.Random = field(default_factory=random.Random)

    def next_ms(self) -> int:
        """The length of the next wait: random, a little below the present pace, at least a millisecond."""
        return max(1, round(self.quick_ms * self.random.uniform(0.6, 1.0)))

    def looked(self, found: bool) -> None:
        """Set the pace after a look: quick if it found a task, otherwise slowly back to what suits the idle workers.

        If all workers together look λ times a second, at random times, a task waits longer than 50 ms with the
        probability e^(-0.05 λ). That is 1 % for λ = 92. So each of k idle workers looks every k/92 s, which is 11·k ms.
        """
        suits = min(LONGEST_LOOK_MS, max(LOOK_MS, 11.0 * self.idle))
        self.quick_ms = LOOK_MS if found else min(suits, self.quick_ms * 1.25)
