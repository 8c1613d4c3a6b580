"""RESTORE of damaged payloads with valid checksums: each is refused, or gives a queue that works.

The servers of these tests are writable replicas without a primary. They run no timers until they are promoted,
so that restored queues can be compared before.
"""

import pytest
from harness.dumps import crc64, opened, sealed, sealed_flips, without_clocks
from harness.queues import rich_queue
from harness.seeds import SEEDS, digests, restore_all, standing, work
from harness.server import Server, digest
from harness.talk import Error, Talk


def check_they_work(server: Server, c: Talk, names: list[object], handles: list[bytes]) -> None:
    """Each queue can be stored, loaded, worked on after a promotion, and stored again."""

    def dumps() -> list[bytes]:
        return [without_clocks(payload) for payload in c.many([("DUMP", name) for name in names])]

    found, stored = digests(c, names), dumps()
    c("DEBUG", "RELOAD")
    assert digests(c, names) == found
    assert dumps() == stored, "a loaded queue is stored the same"
    assert c("REPLICAOF", "NO", "ONE") == "OK"
    for name in names:
        replies = c.many(work(name, handles))
        errors = {reply.split(" ")[0] for reply in replies if isinstance(reply, Error)}
        assert errors <= {"STALE", "CANCELLED", "PAUSED", "QFULL", "ERR"}, (name, replies)
        assert not any(isinstance(reply, Error) and "internal" in reply for reply in replies), (name, replies)
    assert {c.map("TASK.INFO", name)[b"broken"] for name in names} <= {b""}
    stored = c.many([("DUMP", name) for name in names])
    restored = c.many(
        [("RESTORE", f"again {name}", 0, value) for name, value in zip(names, stored, strict=True)]
    )
    assert set(restored) <= {"OK"}, "a queue that was worked on can be stored"
    assert c.many([("DEL", name) for name in names]) == [1] * len(names)
    assert "panic" not in server.log()


def test_crc64_is_that_of_the_server(r, server):
    """The CRC64 of the harness gives the same bytes as DUMP, and the check value of Redis' own test."""
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA
    rich_queue(r)
    payload = r.dump("queue")
    assert sealed(*opened(payload)) == payload


@pytest.mark.parametrize("compression", ["no", "yes"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_payload_cut_short_anywhere_is_refused(start, seed, compression):
    """No truncated payload with a valid checksum creates a queue."""
    server = standing(start, rdbcompression=compression)
    r, c = server.client(), Talk(server)
    seed(r)
    value, version = opened(r.dump("seed"))
    assert restore_all(c, {n: sealed(value[:n], version) for n in range(1, len(value))}) == []
    assert restore_all(c, {"whole": sealed(value, version)}) == ["whole"]
    assert digest(r, "whole") == digest(r, "seed")


def not_in_the_digest(value: bytes) -> set[int]:
    """The bytes of a stored queue outside the digest: the number of effects, the clocks and the versions."""
    count, behind = value.index(b"\xa7effects") + 8, value.index(b"\xafclock_offset_ms")
    clocks = value.index(b"k\x85\xa5at_us")
    version = value.index(b"\xa7version") + 8
    return {9, version, *range(count, behind), *range(clocks, value.index(b"\xa7lead_us", clocks) + 17)}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_flipped_bit_is_refused_or_makes_another_queue_that_works(start, share, seed):
    """With one bit flipped, a payload is refused, or gives a working queue with another digest.

    Flips start at the module's id. The type byte before it belongs to the server, and Redis 6.2.5 can read the
    payload as a list and crash.
    """
    server = standing(start, rdbcompression="no")
    r, c = server.client(), Talk(server)
    handles = seed(r)
    value, version = opened(r.dump("seed"))
    left_out = not_in_the_digest(value)
    flips = share([(bit, flip) for bit, flip in sealed_flips(value, version, 1) if bit // 8 not in left_out])
    accepted = restore_all(c, dict(flips))
    assert len(accepted) > len(flips) / 20
    same = [
        bit for bit, found in zip(accepted, digests(c, accepted), strict=True) if found == c.digest("seed")
    ]
    assert same == [], "each bit that is accepted is in the digest"
    assert c("DEL", "seed") == 1
    check_they_work(server, c, accepted, handles)
