"""Shards: their names and slots, and the shard of a group or token. The server's replies are the reference."""

from collections import Counter

import pytest
from redis.crc import key_slot
from taskslot import Queue, shards


def test_the_checksum_is_the_one_of_the_cluster():
    """It matches the test vector of the Redis Cluster specification, and redis-py's slots for all kinds of tags."""
    assert shards.crc16(b"123456789") == 0x31C3
    for key in (
        b"a",
        b"{a}b",
        b"x{a}",
        b"{}a",
        b"a{}",
        b"{a",
        b"a}b{c}",
        b"{{a}}",
        b"",
        b"a{b}{c}",
        bytes(range(256)),
    ):
        assert shards.slot_of(key) == key_slot(key), key


def test_shards_have_the_names_that_the_server_gives_them(client):
    """Checked are all of the first 200, and the last of 16384."""
    for number in (1, 2, 3, 200):
        assert shards.names("orders", number) == Queue(client, "orders").shards(number)
    assert shards.names("q", 16384)[-1] == Queue(client, "q").shards(16384)[-1]


def test_growing_renames_no_shard_and_every_slot_has_one():
    """The names for a smaller number are the first of those for a larger one."""
    names = shards.names("q", 16384)
    assert shards.names("q", 100) == names[:100]
    assert {key_slot(name.encode()) for name in names} == set(range(16384))


@pytest.mark.parametrize("number", [0, -1, 16385])
def test_a_number_of_shards_out_of_bounds_is_refused(number):
    """It is refused before anything is sent."""
    with pytest.raises(ValueError, match="1 to 16384"):
        shards.names("q", number)


def test_a_name_with_a_hash_tag_has_no_shards():
    """Its tag would affect the slot."""
    with pytest.raises(ValueError, match="a queue name that contains '{' cannot be sharded"):
        shards.names("q{x}", 4)


@pytest.mark.parametrize("number", [2, 3, 16, 64])
def test_names_spread_evenly_over_shards(number):
    """Of ten thousand similar names, no shard gets a fifth more than its share. A name always has the same shard."""
    groups = [f"tenant-{n}" for n in range(10_000)]
    counts = Counter(shards.shard_of_name(group, number) for group in groups)
    assert set(counts) == set(range(number))
    assert max(counts.values()) < 10_000 / number * 1.2
    assert shards.shard_of_name("tenant-7", number) == shards.shard_of_name(b"tenant-7", number)


def test_the_rule_for_names_is_the_one_in_the_manual():
    """The rule is CRC16 of the bytes, modulo the number of shards. Other clients compute it too."""
    assert shards.shard_of_name("123456789", 16) == 0x31C3 % 16
    assert shards.shard_of_name("acme", 16) == key_slot(b"acme") % 16


def test_a_batch_has_the_shard_of_its_name_or_of_the_tag_in_it():
    """So a batch can be put beside a group. Without a tag, the whole name counts, as that of a group."""
    for number in (1, 4, 16, 1000):
        assert shards.shard_of_batch("{acme}import-7", number) == shards.shard_of_name("acme", number)
        for name in ("import-7", "{}import", "import{", b"\xff"):
            assert shards.shard_of_batch(name, number) == shards.shard_of_name(name, number)
