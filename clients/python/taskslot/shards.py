"""Names and slots of shards: the n queues that together hold one logical queue, spread over the slots of a cluster.

Shard i of `orders` is `orders:{tag}`. Its slot is the 14 bits of i in reverse. Its tag is the shortest text of 0-9a-z
with that slot; of several, the first in that order. So the names for a smaller n are the first of those for a larger
n. `TASK.SHARDS` returns the same names. A group or token belongs to shard CRC16(its bytes) modulo n; a batch too, by
its name or by the name's hash tag.
"""

from __future__ import annotations

import binascii
from functools import cache
from itertools import count, product

SLOTS = 16384
ALPHABET = b"0123456789abcdefghijklmnopqrstuvwxyz"


def crc16(data: bytes) -> int:
    """CRC16/XMODEM with all 16 bits, from which Redis Cluster computes slots (`123456789` gives 0x31C3)."""
    return binascii.crc_hqx(data, 0)


def slot_of(key: bytes) -> int:
    """The hash slot of a key, by its hash tag if it has one (Redis Cluster specification, "Hash tags")."""
    return crc16(tag_of(key)) % SLOTS


def tag_of(key: bytes) -> bytes:
    """The hash tag of a key: what is between its first braces. The whole key if that is nothing."""
    start = key.find(b"{")
    end = key.find(b"}", start + 1) if start >= 0 else -1
    return key[start + 1 : end] if end > start + 1 else key


def slot_of_shard(number: int) -> int:
    """The slot of the shard with this number: its 14 bits in reverse."""
    return int(f"{number:014b}"[::-1], 2)


@cache
def tags() -> list[str]:
    """For each slot the shortest tag of 0-9a-z in it; of several, the first. Computed once, in about 30 ms."""
    found: list[str] = [""] * SLOTS
    missing = SLOTS
    for length in count(1):
        for letters in product(ALPHABET, repeat=length):
            tag = bytes(letters)
            slot = crc16(tag) % SLOTS
            if not found[slot]:
                found[slot] = tag.decode()
                missing -= 1
                if not missing:
                    return found
    raise AssertionError("count() doesn't end")


def names(queue: str, number: int) -> list[str]:
    """The keys of a queue's shards, the same as TASK.SHARDS returns. Raises ValueError."""
    if not 1 <= number <= SLOTS:
        raise ValueError(f"a queue has 1 to {SLOTS} shards, not {number}")
    if "{" in queue:
        raise ValueError("a queue name that contains '{' cannot be sharded")
    return [f"{queue}:{{{tags()[slot_of_shard(i)]}}}" for i in range(number)]


def shard_of_name(name: str | bytes, number: int) -> int:
    """The number of the shard to which a group or token belongs, if there are `number` shards."""
    return crc16(name.encode() if isinstance(name, str) else name) % number


def shard_of_batch(name: str | bytes, number: int) -> int:
    """The number of the shard on which a batch lives: by its name, or by the name's hash tag.

    So the batch `{acme}import-7` is on the shard of the group `acme`.
    """
    return crc16(tag_of(name.encode() if isinstance(name, str) else name)) % number
