"""RESTORE of damaged payloads with right checksums: refused, or the queue they make works.

The servers of these tests are replicas of nobody that take writes: no time passes for their queues until they
are promoted, so that what was restored can be compared before.
"""

import pytest
from dumps import crc64, opened, sealed, sealed_flips, without_clocks
from queues import HOUR, Builder, rich_queue
from server import Server, digest
from talk import Error, Talk

REFUSED = Error("ERR Bad data format")


def standing(start, **settings) -> Server:
    """A server for whose queues no time passes."""
    return start(
        replicaof="127.0.0.1 1", replica_read_only="no", module_args=("failover-grace", 0), **settings
    )


def seed_ready(r) -> list[bytes]:
    """Tasks that were never touched, with and without options, and one that was given back."""
    made = Builder(r, "seed")
    r.execute_command("TASK.REQUEUE", "seed", handle := made.claim())
    r.execute_command("TASK.PUSH", "seed", "a", "PRIORITY", -3, "ATTEMPTS", 3, "HEADERS", 1, "a", "b")
    r.execute_command("TASK.MPUSH", "seed", "TASKS", 2, "b", "")
    return [handle]


def seed_delayed(r) -> list[bytes]:
    """Tasks due by either clock, and one that failed, with a text."""
    r.execute_command("TASK.FAIL", "seed", handle := Builder(r, "seed").claim(), "ERROR", "no", "DELAY", HOUR)
    r.execute_command("TASK.PUSH", "seed", "a", "DELAY", HOUR)
    r.execute_command("TASK.PUSH", "seed", "a", "AT", 4_102_444_800_000)
    return [handle]


def seed_leased(r) -> list[bytes]:
    """Leases of named and nameless workers, one tied, one to be cancelled."""
    made = Builder(r, "seed")
    handles = [made.claim("WORKER", "w"), made.claim("WORKER", "v", "TIED"), made.claim("LEASE", HOUR)]
    r.execute_command("TASK.CANCEL", "seed", handles[2].split(b"@")[0])
    return handles


def seed_dead(r) -> list[bytes]:
    """Dead tasks, with a text and without; closed gates."""
    made = Builder(r, "seed")
    handles = [made.claim(), made.claim()]
    r.execute_command("TASK.FAIL", "seed", handles[0], "ERROR", "dead of it", "DEAD")
    r.execute_command("TASK.FAIL", "seed", handles[1], "DEAD")
    r.execute_command("TASK.PAUSE", "seed", "OUT", "FOR", HOUR)
    r.execute_command("TASK.PAUSE", "seed", "IN")
    return handles


def seed_requests(r) -> list[bytes]:
    """Remembered answers to a push and to a claim."""
    r.execute_command("TASK.PUSH", "seed", "a", "REQUEST", "token")
    ((handle, *_),) = r.execute_command("TASK.CLAIM", "seed", "REQUEST", "other")
    return [handle]


def seed_named(r) -> list[bytes]:
    """Groups, schedules and tokens whose names are one bit apart: what is damaged may hold one of them twice."""
    for name in ("a", "c"):
        r.execute_command("TASK.PUSH", "seed", "p", "GROUP", name, "UNIQUE", name, "FOR", HOUR)
        r.execute_command("TASK.GROUP", "seed", "SET", name, "WEIGHT", 2)
        r.execute_command("TASK.CRON", "seed", "SET", name, "EVERY", HOUR, "PAYLOAD", "p")
    return [Builder(r, "seed").claim()]


def seed_empty(r) -> list[bytes]:
    """A queue without tasks."""
    r.execute_command("TASK.CONFIG", "seed", "SET", "lease", 1)
    return []


SEEDS = [seed_ready, seed_delayed, seed_leased, seed_dead, seed_requests, seed_named, seed_empty]


def work(key: object, handles: list[bytes]) -> list[tuple]:
    """Commands of every kind, as a client sends them that knows the seed."""
    one = [(verb, key, handle) for handle in handles for verb in ("TASK.EXTEND", "TASK.GET")]
    answers = [("TASK.ACK", key, handle) for handle in handles[:1]]
    answers += [("TASK.FAIL", key, handle, "ERROR", "x") for handle in handles[1:2]]
    answers += [("TASK.REQUEUE", key, handle) for handle in handles[2:]]
    lists = [("TASK.LIST", key, state, "WITHPAYLOAD") for state in ("ready", "delayed", "leased", "dead")]
    return [
        *lists,
        ("TASK.INFO", key),
        ("TASK.INFO", key, "CONFIG"),
        ("TASK.INFO", key, "WORKERS"),
        *one,
        ("TASK.PUSH", key, "new", "PRIORITY", 5, "HEADERS", 1, "a", "b", "REQUEST", "token"),
        ("TASK.MPUSH", key, "DELAY", 1, "TASKS", 2, "c", "d"),
        ("TASK.CLAIM", key, "WORKER", "w", "REQUEST", "other"),
        *answers,
        ("TASK.RESUME", key, "ALL"),
        ("TASK.RETRY", key, "COUNT", 10),
        ("TASK.CLAIM", key, "COUNT", 2, "LEASE", 1, "WITHMETA"),
        *(("TASK.CANCEL", key, handle.split(b"@")[0]) for handle in handles),
        ("TASK.CLAIM", key, "COUNT", 1, "NOACK"),
        ("TASK.PAUSE", key, "FOR", 1),
        ("TASK.CONFIG", key, "SET", "max-len", 3),
        ("TASK.PURGE", key, "ALL", "COUNT", 2),
        *lists,
        ("TASK.PURGE", key, "ALL"),
        ("TASK.PUSH", key, "last"),
    ]


def restore_all(c: Talk, payloads: dict[object, bytes]) -> list[object]:
    """Restore each payload at its name: the names at which that made a queue. The others left nothing."""
    before = c("DBSIZE")
    replies = c.many([("RESTORE", name, 0, payload) for name, payload in payloads.items()])
    accepted = [name for name, reply in zip(payloads, replies, strict=True) if reply == "OK"]
    assert {reply for reply in replies if reply != "OK"} <= {REFUSED}
    assert c("DBSIZE") == before + len(accepted)
    return accepted


def digests(c: Talk, names: list[object]) -> list[object]:
    """The digest of each of these queues."""
    return [reply[0] for reply in c.many([("DEBUG", "DIGEST-VALUE", name) for name in names])]


def check_they_work(server: Server, c: Talk, names: list[object], handles: list[bytes]) -> None:
    """Each queue is stored, loaded, worked on like any other once time passes, and stored again."""

    def dumps() -> list[bytes]:
        return [without_clocks(payload) for payload in c.many([("DUMP", name) for name in names])]

    found, stored = digests(c, names), dumps()
    c("DEBUG", "RELOAD")
    assert digests(c, names) == found
    assert dumps() == stored, "what came back is stored alike"
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
    assert set(restored) <= {"OK"}, "what was worked on is stored whole"
    assert c.many([("DEL", name) for name in names]) == [1] * len(names)
    assert "panic" not in server.log()


def test_our_checksum_is_the_servers(r, server):
    """The CRC64 written here gives the very bytes of DUMP, and the check value of Redis' own test."""
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA
    rich_queue(r)
    payload = r.dump("queue")
    assert sealed(*opened(payload)) == payload


@pytest.mark.parametrize("compression", ["no", "yes"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_payload_cut_short_anywhere_is_refused(start, seed, compression):
    """No truncation of a queue, with a right checksum, makes a queue."""
    server = standing(start, rdbcompression=compression)
    r, c = server.client(), Talk(server)
    seed(r)
    value, version = opened(r.dump("seed"))
    assert restore_all(c, {n: sealed(value[:n], version) for n in range(1, len(value))}) == []
    assert restore_all(c, {"whole": sealed(value, version)}) == ["whole"]
    assert digest(r, "whole") == digest(r, "seed")


def not_in_the_digest(value: bytes) -> set[int]:
    """The bytes of a stored queue that tell of its node or its form: effects so far, what clocks showed, versions."""
    count, behind = value.index(b"\xa7effects") + 8, value.index(b"\xafclock_offset_ms")
    clocks = value.index(b"k\x85\xa5at_us")
    version = value.index(b"\xa7version") + 8
    return {9, version, *range(count, behind), *range(clocks, value.index(b"\xa7lead_us", clocks) + 17)}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_flipped_bit_is_refused_or_makes_another_queue_that_works(start, share, seed):
    """With any bit flipped a payload is refused, or it is a queue with another digest that works.

    From the module's id on: the type byte before it is the server's own, and Redis 6.2.5 may take our bytes
    for a list and crash.
    """
    server = standing(start, rdbcompression="no")
    r, c = server.client(), Talk(server)
    handles = seed(r)
    value, version = opened(r.dump("seed"))
    untold = not_in_the_digest(value)
    flips = share([(bit, flip) for bit, flip in sealed_flips(value, version, 1) if bit // 8 not in untold])
    accepted = restore_all(c, dict(flips))
    assert len(accepted) > len(flips) / 20
    same = [
        bit for bit, found in zip(accepted, digests(c, accepted), strict=True) if found == c.digest("seed")
    ]
    assert same == [], "each bit that is taken is in the digest"
    assert c("DEL", "seed") == 1
    check_they_work(server, c, accepted, handles)
