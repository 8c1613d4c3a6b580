"""The rows of the table: one for each queue, or one for all shards of a logical queue. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from ..aggregate import total
from ..replies import Info
from ..shards import SLOTS, slot_of, slot_of_shard, tags
from .attention import Concern, attention, concerns

SHARD = re.compile(r"(?P<queue>[^{]*):\{(?P<tag>[0-9a-z]{1,4})\}")
# A user's own tag, as in `mail:{eu}`, is also the tag of one of the 16384 possible shards. So a key counts as a shard
# only if its number is small, or if many of the smaller numbers exist as well.
SMALL = 64


@dataclass(frozen=True)
class Row:
    """A line of the table: a queue and its state. `shards` is the number of shards found, 0 for a plain queue."""

    queue: str
    info: Info
    shards: int = 0

    @cached_property
    def concerns(self) -> tuple[Concern, ...]:
        """What a person should know about the queue, the most urgent first."""
        return concerns(self.info)


def rows(infos: Mapping[str, Info], shards_apart: bool = False) -> list[Row]:
    """A row for each queue, what needs a person first. Shards are one row, unless `shards_apart` is set."""
    together = {} if shards_apart else logical_queues(infos)
    shards = {key for keys in together.values() for key in keys}
    made = [Row(key, info) for key, info in infos.items() if key not in shards]
    for queue, keys in together.items():
        info = total([infos[key] for key in keys])
        if info is not None:
            made.append(Row(queue, info, len(keys)))
    return sorted(made, key=attention)


def logical_queues(keys: Iterable[str]) -> dict[str, set[str]]:
    """For the name of each logical queue, the keys of its shards."""
    numbered: dict[str, dict[int, str]] = {}
    for key in keys:
        if (found := shard_of_key(key)) is not None:
            queue, number = found
            numbered.setdefault(queue, {})[number] = key
    found_keys = {}
    for queue, shards in numbered.items():
        end = plausible_number(list(shards))
        found_keys[queue] = {key for number, key in shards.items() if number < end}
    return {queue: of for queue, of in found_keys.items() if of}


def shard_of_key(key: str) -> tuple[str, int] | None:
    """The logical queue and the shard number of a key, if its name is that of a shard (`shards.names`)."""
    match = SHARD.fullmatch(key)
    if match is None:
        return None
    slot = slot_of(match["tag"].encode())
    if tags()[slot] != match["tag"]:
        return None
    # The slot is the number's bits in reverse, so reversing them again gives the number.
    return match["queue"], slot_of_shard(slot)


def plausible_number(numbers: list[int]) -> int:
    """The largest power of two of which a quarter of all smaller numbers exist; at least `SMALL`."""
    end = plausible = SMALL
    while end < SLOTS:
        end *= 2
        if sum(number < end for number in numbers) * 4 >= end:
            plausible = end
    return plausible
