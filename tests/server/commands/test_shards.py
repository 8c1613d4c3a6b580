"""TASK.SHARDS: the names of the queues that spread one logical queue over the slots of a cluster."""

import pytest
from harness.talk import SYNTAX, Error, Talk
from harness.two_nodes import node

SLOTS = 16384
ALPHABET = b"0123456789abcdefghijklmnopqrstuvwxyz"
# The names since the first release. Changing one would lose the tasks in that shard.
FIXED = {
    0: (b"orders:{1bz}", 0),
    1: (b"orders:{fjl}", 8192),
    2: (b"orders:{17p}", 4096),
    3: (b"orders:{356}", 12288),
    4: (b"orders:{5nw}", 2048),
    5: (b"orders:{7l1}", 10240),
    7: (b"orders:{b3k}", 14336),
    100: (b"orders:{frw}", 2432),
    8191: (b"orders:{4oi}", 16382),
    16383: (b"orders:{hia}", 16383),
}


def reversed_bits(number: int) -> int:
    """The 14 bits of a number in reverse order."""
    return int(f"{number:014b}"[::-1], 2)


def tag(name: bytes) -> bytes:
    """The hash tag at the end of a shard's name."""
    before, _, tag = name.rpartition(b":{")
    assert tag.endswith(b"}") and b"{" not in before
    return tag[:-1]


def test_the_names_of_shards_never_change(c):
    """They are written down above, so that every version finds the tasks of a shard under the same name."""
    shards = c("TASK.SHARDS", "orders", SLOTS, "WITHSLOTS")
    assert {at: tuple(shards[at]) for at in FIXED} == FIXED
    assert c("TASK.SHARDS", "orders", 1) == [FIXED[0][0]]
    assert c("TASK.SHARDS", "", 2) == [b":{%b}" % tag(FIXED[at][0]) for at in range(2)]


@pytest.mark.parametrize("name", [b"orders", b"", b"a}b", b"\0\xff\r\n", b":", b"x" * 1024])
def test_each_shard_is_in_the_slot_that_withslots_shows(start, name):
    """CLUSTER KEYSLOT agrees: the slot of shard i has the 14 bits of i in reverse order."""
    c = node(start).boss
    shards = c("TASK.SHARDS", name, 4096, "WITHSLOTS")
    assert [slot for _, slot in shards] == [reversed_bits(at) for at in range(4096)]
    assert c.many([["CLUSTER", "KEYSLOT", shard] for shard, _ in shards]) == [slot for _, slot in shards]
    assert all(shard.startswith(name + b":{") for shard, _ in shards)


def test_there_is_at_most_one_shard_per_slot(start):
    """16384 shards have 16384 names, each in a slot of its own."""
    c = node(start).boss
    shards = c("TASK.SHARDS", "q", SLOTS)
    assert len(set(shards)) == SLOTS
    assert sorted(c.many([["CLUSTER", "KEYSLOT", shard] for shard in shards])) == list(range(SLOTS))


def test_a_tag_is_the_first_of_the_shortest_tags_of_its_slot(start):
    """Tags use 0-9 and a-z, so any client finds the same tag by counting up."""
    c = node(start).boss
    words = [bytes([one]) for one in ALPHABET]
    words += [one + bytes([other]) for one in words for other in ALPHABET]
    words += [two + bytes([other]) for two in words[36:] for other in ALPHABET]
    first = {}
    for word, slot in zip(words, c.many([["CLUSTER", "KEYSLOT", word] for word in words]), strict=True):
        first.setdefault(slot, word)
    for name, slot in c("TASK.SHARDS", "q", SLOTS, "WITHSLOTS"):
        # A few slots have no tag as short as that.
        assert tag(name) == first[slot] if slot in first else len(tag(name)) == 4


def test_more_shards_keep_the_names_of_the_existing_ones(c):
    """The names of n shards are the first n names of any larger number."""
    most = c("TASK.SHARDS", "q", SLOTS)
    for count in (1, 2, 3, 7, 64, 1000, SLOTS - 1):
        assert c("TASK.SHARDS", "q", count) == most[:count]


def test_shards_are_spread_evenly_over_the_slots(c):
    """A power of two gives equal distances. Otherwise no gap is more than twice another."""
    for count in (1, 2, 3, 5, 16, 100, 1024, 5000):
        slots = sorted(slot for _, slot in c("TASK.SHARDS", "q", count, "WITHSLOTS"))
        gaps = {after - before for before, after in zip(slots, [*slots[1:], slots[0] + SLOTS], strict=True)}
        assert max(gaps) <= 2 * min(gaps)
        if count.bit_count() == 1:
            assert gaps == {SLOTS // count}


@pytest.mark.parametrize("name", [b"{tag}a", b"a{b}c", b"{}", b"{}{a}", b"a{b", b"{", b"a}{", b"\0{\xff}"])
def test_a_name_that_affects_its_slot_is_refused(name, c):
    """A brace in the name would begin a hash tag of its own, or one that ends with the shard's."""
    error = Error("ERR a queue name that contains '{' cannot be sharded")
    assert [c("TASK.SHARDS", name, count) for count in (1, 2, SLOTS)] == [error] * 3


def test_arguments_out_of_bounds_are_refused(c):
    """There is at least one shard and at most one per slot. A name has at most 1 KiB."""
    bounds = Error("ERR the number of shards must be an integer between 1 and 16384")
    assert {c("TASK.SHARDS", "q", count) for count in (0, -1, SLOTS + 1, "x", "", "01", 2**64)} == {bounds}
    assert c("TASK.SHARDS", "q", 1, "SLOTS") == SYNTAX
    assert c("TASK.SHARDS", "q", 1, "WITHSLOTS", "WITHSLOTS") == SYNTAX
    long = Error("ERR the name of a sharded queue must be at most 1024 bytes long")
    assert c("TASK.SHARDS", b"x" * 1025, 1) == long


def test_shards_does_not_read_the_key(server, c):
    """The reply is the same for a queue, a missing key and a key of another type. Nothing is created."""
    none = c("TASK.SHARDS", "q", 3)
    c("SET", "q", "text")
    assert c("TASK.SHARDS", "q", 3) == none
    assert c("DBSIZE") == 1
    c("DEL", "q")
    c.push("q")
    assert Talk(server, 3)("task.shards", "q", 3) == none
