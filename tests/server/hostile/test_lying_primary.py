"""A primary that lies: its replica lives, each queue is right or BROKEN, and a full copy of a true primary heals it.

The replica's memory is limited, and no payload may come into its log.
"""

import random
import resource

import msgpack
import pytest
from harness.dumps import varint
from harness.effects import EFFECT_VERSION, addressed, as_5, pack_as_3, unpack
from harness.forger import Forger, story
from harness.lying_primary import LyingPrimary, rdb_of
from harness.server import Server, wait_synced
from harness.talk import Error, Talk, stored_parts

MARK = b"SECRET-PAYLOAD"
STATES = ["ready", "delayed", "held", "leased", "dead", "done"]
YEAR = 31_536_000_000
# Room for what a test really needs. A length that was believed would take more.
MORE_MEMORY = 400 * 2**20
HUGE = [2**n - d for n in (16, 24, 31, 32, 40, 48, 53, 63, 64) for d in (0, 1)]


@pytest.fixture
def truth(start):
    """A true primary with a queue `q` that has been through everything."""
    primary = start(port=True, appendonly="yes", aof_use_rdb_preamble="no")
    c = Talk(primary)
    primary.effects = story(primary, c)
    c.push("q", MARK, "HEADERS", 1, MARK, MARK)
    return primary


@pytest.fixture
def replica(start):
    """A replica-to-be that may not take much more memory than now."""
    server = start()
    pages = int(open(f"/proc/{server.pid}/statm").read().split()[0])
    most = pages * resource.getpagesize() + MORE_MEMORY
    resource.prlimit(server.pid, resource.RLIMIT_AS, (most, most))
    return server


def forged_effects(real: list[list[bytes]], seed: int) -> list[list[bytes]]:
    """Effects of every wrong kind, each with its payloads."""
    forger, rng = Forger(seed, real), random.Random(seed)
    forged = []
    for whole, *payloads in real:
        # Without a checksum, so that it is not all that is tested.
        effect = as_5(whole)
        at = rng.randrange(len(effect))
        # Cut off; a bit flipped; a length that no message has; a byte of the middle gone.
        forged.append([effect[:at], *payloads])
        flipped = bytearray(effect)
        flipped[at] ^= 1 << rng.randrange(8)
        forged.append([bytes(flipped), *payloads])
        forged.append([effect[:at] + varint(rng.choice(HUGE)) + effect[at:], *payloads])
        # A number that is not the next one; a time far away; a version that nobody knows.
        number, instant, events = unpack(whole)
        forged.append([pack_as_3(rng.choice([0, number + 5, 2**48 - 1]), instant, events), *payloads])
        forged.append([pack_as_3(number, rng.choice([0, 2**48 - 1, instant + 99 * YEAR]), events), *payloads])
        forged.append([bytes([rng.choice([0, EFFECT_VERSION + 1, 127, 255])]) + effect[1:], *payloads])
        # Payloads for nothing, and none where there should be some.
        forged.append([effect, *payloads, MARK * 9])
        forged.append([effect])
        forged.append(forger.effect([whole, *payloads]))
        # A checksum for another queue.
        forged.append([whole, *payloads])
    # MessagePack that claims billions of elements.
    heads = [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
    ]
    forged += [[version + head + MARK] for version in (b"\1", b"\2", b"\3") for head in heads]
    forged += [[b"\3" + b"\0" * 12 + head * 50] for head in heads]
    return forged


STAMPS = [
    *[b"", b"\0", b"\xff" * 40, b"\xdd\xff\xff\xff\xff", MARK * 100, msgpack.packb({}), msgpack.packb([])],
    *[msgpack.packb([n] * count) for n in (0, -1, 2**48, 2**63 - 1, 2**64 - 1) for count in (1, 2, 3, 4, 5)],
]


def check_queues(replica: Server, c: Talk) -> int:
    """Every queue can be read and copied, or is broken and can be read. Returns how many are broken."""
    broken = 0
    for key in c("KEYS", "*"):
        if c("TYPE", key) == "string":
            continue
        broken += bool(c.map("TASK.INFO", key)[b"broken"])
        for state in STATES:
            assert not isinstance(c("TASK.LIST", key, state, "COUNT", 1000, "WITHPAYLOAD"), Error), key
        for section in ("CONFIG", "CRON", "GROUPS", "BATCHES", "WORKERS", "TIMES"):
            assert not isinstance(c("TASK.INFO", key, section), Error), key
        assert isinstance(c("DUMP", key), bytes)
    replica.check()
    return broken


def check_healed(replica: Server, truth: Server) -> None:
    """After a full copy of a true primary, the queue is equal to the true one, and nothing else is left."""
    c, p = Talk(replica), Talk(truth)
    p("TASK.PAUSE", "q", "ALL")
    replica.replicate(truth)
    wait_synced(truth, replica)
    assert c("KEYS", "*") == p("KEYS", "*") == [b"q"]
    assert c.digest() == p.digest()
    assert c.map("TASK.INFO", "q")[b"broken"] == b""
    # The old queues can be freed on another thread.
    replica.wait_until(lambda: b"taskslot_broken_queues:0" in c("INFO", "taskslot"), "none is broken")


def check_log(replica: Server) -> None:
    """The log says what is broken, and has no payload: neither of the forged effects nor of others."""
    log = replica.log()
    assert MARK.decode() not in log
    assert "sending an error to its" not in log, "for that, Redis logs the stream"
    assert "panic" not in log


def test_forged_effects_of_a_primary_break_no_more_than_their_queue(truth, replica):
    """Each queue gets a part of a true history and a forged effect, then more of the history."""
    real, rng = truth.effects, random.Random(1)
    with LyingPrimary(rdb_of(truth)) as liar:
        liar.adopt(replica)
        c = Talk(replica)
        before = c.digest()
        told = []
        for n, forged in enumerate(forged_effects(real, 1)):
            key, part = f"forged {n}".encode(), rng.randrange(len(real))
            told += [addressed(key, *effect) for effect in real[:part]]
            told.append(["TASK._APPLY", key, *forged])
            told += [addressed(key, *effect) for effect in real[part : part + 3]]
        # Some forged ones on the queue that has come with the file, on a key of another type, and on a new one.
        told += [["SET", "string", "x"], ["TASK._APPLY", "string", *real[0]]]
        told += [["TASK._APPLY", "new", b"", MARK], ["TASK._APPLY", "", *real[0]]]
        liar.tell(replica, *told)
        count = c("DBSIZE")
        assert check_queues(replica, c) > count / 2, "most of them were noticed"
        assert "can't be made here: WRONGTYPE" in replica.log()
        assert c.digest() == before, "other queues stay as they are"
        liar.tell(replica, ["TASK._APPLY", "q", real[0][0][:-1], MARK])
        assert c.map("TASK.INFO", "q")[b"broken"]
        assert "queue 'q' in database 0 is BROKEN" in replica.log()
        check_healed(replica, truth)
    check_log(replica)


def test_forged_parts_of_queues_from_a_primary_do_no_harm(truth, replica):
    """Heads, parts and ends that are changed, missing, doubled, too long, or say that the queue was broken."""
    parts, rng = stored_parts(truth), random.Random(1)
    forger = Forger(1, truth.effects)
    told = []
    for n in range(150):
        sent = list(parts)
        at = rng.randrange(len(sent))
        part, chunk = sent[at]
        match n % 6:
            case 0:
                sent[at] = [part, chunk[: len(chunk) // 2]]
            case 1:
                sent[at] = [part, forger.bytes(chunk)]
            case 2:
                del sent[at]
            case 3:
                sent.insert(at, sent[rng.randrange(len(sent))])
            case 4:
                where = rng.randrange(len(chunk) + 1)
                sent[at] = [part, chunk[:where] + varint(rng.choice(HUGE)) + chunk[where:]]
            case 5:
                sent[at] = [rng.choice(["HEAD", "MORE", "END", "x", ""]), rng.choice([MARK * 99, b"", chunk])]
        told += [["TASK._LOAD", f"forged {n}", *one] for one in sent]
    with LyingPrimary(rdb_of(truth)) as liar:
        liar.adopt(replica)
        liar.tell(replica, *told, ["SET", "s", "x"], ["TASK._LOAD", "s", "MORE", MARK])
        assert check_queues(replica, Talk(replica)) > 30
        check_healed(replica, truth)
    check_log(replica)


def test_stamps_of_a_clock_far_away_do_no_harm(truth, replica):
    """A replica follows its primary's clock, wherever it is. Once promoted, its spans have their length."""
    with LyingPrimary(rdb_of(truth)) as liar:
        liar.adopt(replica)
        liar.tell(replica, *[["TASK._CLOCK", stamp] for stamp in STAMPS])
        c = Talk(replica)
        assert check_queues(replica, c) == 0
        for ahead in (99 * YEAR, -40 * YEAR, 0):
            at = (int(c("TIME")[0]) * 1000 + ahead) * 1000
            for lead in (0, 2**40):
                liar.tell(replica, ["TASK._CLOCK", msgpack.packb([at, at, 1, 1, lead])])
                assert check_queues(replica, c) == 0
        assert c("REPLICAOF", "NO", "ONE") == "OK"
        c.push("span", "p", "DELAY", 50)
        replica.wait_until(lambda: c("TASK.LEN", "span", "ready") == 1, "the delay has passed")
        check_healed(replica, truth)
    check_log(replica)
