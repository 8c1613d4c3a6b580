"""Effects and stored parts sent by clients: refused, or accepted with `allow-effects` and then harmless.

Bytes and fields of real ones are changed at random. Afterwards each queue can be stored, loaded and worked on,
or is BROKEN.
"""

import time

import msgpack
import pytest
from harness.checksums import sealed
from harness.dumps import varint
from harness.effects import addressed, as_5, pack_as_3, unpack
from harness.files import rewrite_aof, wait_aof
from harness.forger import Forger, story
from harness.server import Server, wait_synced
from harness.talk import Error, Talk, stored_parts

REFUSED = Error("ERR this command is reserved for replication and the AOF")
INVALID = Error("ERR invalid effect")
INVALID_PART = Error("ERR invalid queue part")
NO_NUMBERS = Error("ERR the queue has no numbers left")
LAST = 2**48 - 1
HOUR = 3_600_000
EMPTY = b"\x01\xdd\0\0\0\0"
STATES = ["ready", "delayed", "leased", "dead"]


def check_sound(c: Talk, key: str) -> None:
    """A queue can be stored, loaded, read and worked on, or is broken."""
    if not c("EXISTS", key):
        return
    work = [["TASK.LIST", key, state, "COUNT", 1000, "WITHPAYLOAD"] for state in STATES]
    work += [
        ["TASK.CLAIM", key, "COUNT", 1000],
        ["TASK.RETRY", key, "COUNT", 9],
        ["TASK.PURGE", key, "ALL"],
    ]
    for _ in range(2):
        assert c("RESTORE", "copy", 0, c("DUMP", key), "REPLACE") == "OK"
        broken = c.map("TASK.INFO", key)[b"broken"]
        for reply in c.many(work):
            if isinstance(reply, Error):
                # A forged effect can use up the lease numbers, which is not damage.
                assert reply.startswith("BROKEN") if broken else "run out of ids" in reply


@pytest.fixture
def allowing(start):
    """A server that accepts effects from clients."""
    return start(appendonly="yes", aof_use_rdb_preamble="no", module_args=("allow-effects", "yes"))


def test_a_client_cannot_send_effects(c):
    """They are refused alone, in a transaction and in a script, and no queue is created."""
    c.push()
    digest = c.digest()
    for words in (["_APPLY", "q", EMPTY], ["_LOAD", "q", "HEAD", ""], ["_LOAD", "r", "END", ""]):
        name, *args = words
        assert c(f"TASK.{name}", *args) == REFUSED
        assert c("MULTI") == "OK" and c(f"TASK.{name}", *args) == "QUEUED"
        assert c("EXEC") == [REFUSED]
        script = f"return redis.pcall('TASK.{name}', KEYS[1], unpack(ARGV)).err"
        assert c("EVAL", script, 1, *args) == REFUSED.encode()
    assert c.digest() == digest and c("EXISTS", "r") == 0


def test_a_replica_refuses_effects_from_clients_too(start):
    """This holds for a writable replica."""
    primary, replica = start(port=True), start(replica_read_only="no")
    Talk(primary).push()
    replica.replicate(primary)
    assert Talk(replica)("TASK._APPLY", "q", EMPTY) == REFUSED


def test_allow_effects_can_be_set_while_the_server_runs(server, c):
    """It can be set from 7.0 on and is off by default."""
    if server.installed.version < (7, 0):
        assert c("CONFIG", "GET", "taskslot.allow-effects") == []
        return
    assert c("CONFIG", "GET", "taskslot.allow-effects") == [b"taskslot.allow-effects", b"no"]
    assert c("CONFIG", "SET", "taskslot.allow-effects", "yes") == "OK"
    assert c("TASK._APPLY", "q", EMPTY) == "OK"
    assert c("CONFIG", "SET", "taskslot.allow-effects", "no") == "OK"
    assert c("TASK._APPLY", "q", EMPTY) == REFUSED


def test_effects_that_are_allowed_create_the_same_queue(allowing):
    """They are sent to another key one by one, with a checksum for it, and propagated unchanged, but for the clocks."""
    c = Talk(allowing)
    c("TASK.PAUSE", "r")  # so that the timer does not change the compared queue
    c("DEL", "r")
    allowing.propagated()
    real = story(allowing, c)
    assert len(real) > 20
    sent = [addressed(b"r", *effect) for effect in real]
    replies = c.many(sent)
    assert replies == ["OK"] * len(real)
    assert c.digest("r") == c.digest("q")
    propagated = [words for words in allowing.propagated() if words[0] == b"TASK._APPLY"]
    assert propagated[1:] == sent[1:]
    (event, fields), *_ = unpack(propagated[0][2])[2][0].items()
    assert event == "term" and fields[2] is None, (
        "it begins with a term, now without the clocks of another node"
    )


def test_an_effect_that_does_not_fit_changes_nothing(allowing):
    """It can have an unknown event, an unknown task, a later version, another queue, or be cut short."""
    c = Talk(allowing)
    real = story(allowing, c)
    digest = c.digest()
    unknown = b"\x01" + msgpack.packb([{"nothing": []}])
    missing = b"\x01" + msgpack.packb([{"pause": ["out", None]}, {"ack": [[1, 1], False]}])
    for effect in (b"", b"\x01", b"\x63" + EMPTY[1:], unknown, missing, EMPTY + b"\0", as_5(real[0][0])[:-1]):
        assert c("TASK._APPLY", "q", effect) == INVALID
        assert c("TASK._APPLY", "new", effect) == INVALID
    assert c("TASK._APPLY", "q", EMPTY, "a payload for nothing") == INVALID
    assert c("TASK._APPLY", "new", *real[0]) == INVALID, "its checksum is for another queue"
    assert c.digest() == digest and c("EXISTS", "new") == 0
    c("SET", "s", "v")
    assert c("TASK._APPLY", "s", EMPTY).startswith("WRONGTYPE")


@pytest.mark.parametrize("seed", range(4))
def test_forged_effects_do_no_harm(allowing, seed):
    """Histories have changed, repeated and missing effects. Afterwards all queues are stored and loaded."""
    c = Talk(allowing)
    real = story(allowing, c)
    forger = Forger(seed, real)
    rng = forger.rng
    taken = refused = 0
    for history in range(100):
        key = f"forged {history}"
        sent = []
        for effect in real[: rng.randrange(1, len(real) + 1)]:
            if rng.random() < 0.15:
                sent += [forger.effect(rng.choice(real)) for _ in range(rng.randrange(1, 4))]
            if rng.random() < 0.1:
                sent.append(rng.choice(real))
            if rng.random() < 0.95:
                sent.append(effect)
        replies = c.many([addressed(key.encode(), *effect) for effect in sent])
        assert set(replies) <= {"OK", INVALID}
        taken, refused = taken + replies.count("OK"), refused + replies.count(INVALID)
        check_sound(c, key)
    assert taken > 500 and refused > 300
    keys = c("DBSIZE")
    assert c("DEBUG", "RELOAD") == "OK" and c("DBSIZE") == keys
    assert "panic" not in allowing.log()


@pytest.mark.parametrize("seed", range(4))
def test_forged_parts_of_a_stored_queue_do_no_harm(allowing, seed):
    """Heads, pages and ends are changed, repeated, left out and reordered."""
    c = Talk(allowing)
    forger = Forger(seed, story(allowing, c))
    parts, rng = stored_parts(allowing), forger.rng
    assert [part for part, _ in parts][0] == b"HEAD" and parts[-1] == [b"END", b""]
    assert c.many([["TASK._LOAD", "r", *part] for part in parts]) == ["OK"] * len(parts)
    assert c.digest("r") == c.digest("q")

    def forged(part: bytes, chunk: bytes) -> list[bytes]:
        if rng.random() < 0.3:
            part = rng.choice([b"HEAD", b"MORE", b"END", b"head", b"x", b""])
        if part == b"HEAD" and rng.random() < 0.7:
            try:
                return [part, msgpack.packb(forger.value(msgpack.unpackb(parts[0][1])))]
            except OverflowError:
                return [part, chunk]
        return [part, forger.bytes(chunk) if rng.random() < 0.8 else chunk]

    taken = refused = 0
    for history in range(150):
        key = f"forged {history}"
        sent = []
        for part in parts:
            if rng.random() < 0.2:
                sent.append(forged(*rng.choice(parts)))
            if rng.random() < 0.95:
                sent.append(part if rng.random() < 0.8 else forged(*part))
        replies = c.many([["TASK._LOAD", key, *part] for part in sent])
        taken += replies.count("OK")
        refused += sum(isinstance(reply, Error) for reply in replies)
        assert not any("internal" in reply for reply in replies)
        check_sound(c, key)
    assert taken > 200 and refused > 100
    keys = c("DBSIZE")
    assert c("DEBUG", "RELOAD") == "OK" and c("DBSIZE") == keys
    assert "panic" not in allowing.log()


def load(key: str, number: int, kind: bytes, chunk: bytes) -> list:
    """The command that carries part `number` of a queue."""
    return ["TASK._LOAD", key, kind, sealed(varint(number) + chunk, key.encode(), kind)]


@pytest.fixture
def copies(start) -> list[Server]:
    """A server that accepts parts of queues from clients, and its replica. Each has an AOF."""
    files = {"appendonly": "yes", "aof_use_rdb_preamble": "no"}
    primary = start(port=True, module_args=("allow-effects", "yes"), **files)
    replica = start(port=True, **files)
    replica.replicate(primary)
    wait_aof(replica)
    return [primary, replica]


def check_same(copies: list[Server], key: str) -> None:
    """All copies of a queue are equal, in memory and in the AOFs."""
    wait_synced(*copies)
    before = Talk(copies[0]).digest(key)
    assert Talk(copies[1]).digest(key) == before
    for copy in copies:
        assert Talk(copy.restart(kill=True, replicaof="127.0.0.1 1")).digest(key) == before


ABSURD = {"at_us": LAST * 1000, "wall_us": LAST * 1000, "boot": 0, "up_us": 0, "lead_us": LAST * 1000}


def test_clocks_that_a_tool_sends_do_not_become_those_of_the_node(copies):
    """They come with a queue, with a term and with the instant of a change. Restarted nodes keep their own clocks."""
    c = Talk(copies[0])
    story(copies[0], c)
    parts = stored_parts(copies[0])
    c.push("own", "x", "LEASE", HOUR)
    c.claim("own")
    c.push("own", "d", "DELAY", HOUR)
    [at] = [at for at, (_, chunk) in enumerate(parts) if chunk[:1] == b"k"]
    parts[at][1] = b"k" + msgpack.packb({**ABSURD, "lead_us": 2**50})
    for number, part in enumerate(parts):
        assert c(*load("r", number, *part)) == "OK"
    assert c.map("TASK.INFO", "r")[b"broken"] == b""
    # The clock of a node takes an instant of its data that is less than a day ahead.
    soon = int(time.time() * 1000) + 12 * HOUR
    term, pause = {"term": [7, 0, list(ABSURD.values())]}, {"pause": ["out", None]}
    for number, (at, event) in enumerate([(LAST, term), (LAST, pause), (soon, pause)], 1):
        assert c("TASK._APPLY", "s", pack_as_3(number, at, [event])) == "OK"
    assert c("TASK._APPLY", "s", pack_as_3(4, soon, [])) == INVALID, "only events change something"
    wait_synced(*copies)
    for copy in copies:
        copy.restart(kill=True, replicaof="no one")
        talk = Talk(copy)
        talk.push("own", "new")
        assert (talk("TASK.LEN", "own", "leased"), talk("TASK.LEN", "own", "delayed")) == (1, 1)
        number = int(talk.claim("own").split(b"@")[1].split(b"-")[0])
        assert number < time.time() * 1_000_000 + 2**40, "its lead is its own"


WRONG = {
    "a part that is missing": lambda parts, at: load("r", at + 1, *parts[at]),
    "another part's number": lambda parts, at: load("r", 0, *parts[at]),
    "a part of another queue": lambda parts, at: ["TASK._LOAD", "r", *load("q", at, *parts[at])[2:]],
    "the end too early": lambda parts, at: load("r", at, b"END", b""),
    "a reason with the wrong number": lambda parts, at: load("r", at + 1, b"END", b"why"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_part_from_a_tool_changes_nothing(copies, what):
    """The right one can follow."""
    c = Talk(copies[0])
    story(copies[0], c)
    parts = stored_parts(copies[0])
    for at, part in enumerate(parts):
        if at == 1:
            before = c.digest("r")
            assert c(*WRONG[what](parts, at)) == INVALID_PART and c.digest("r") == before
        assert c(*load("r", at, *part)) == "OK"
    assert c.digest("r") == c.digest("q")
    check_same(copies, "r")


def test_a_queue_without_numbers_from_a_tool_is_refused(copies):
    """The head shows how many are left, or only head and clocks together, which come later."""
    c = Talk(copies[0])
    story(copies[0], c)
    parts = stored_parts(copies[0])
    head = msgpack.unpackb(parts[0][1])
    none = msgpack.packb({**head, "last_batch": LAST})
    assert c("TASK._LOAD", "r", "HEAD", none) == NO_NUMBERS and c("EXISTS", "r") == 0
    [at] = [at for at, (_, chunk) in enumerate(parts) if chunk[:1] == b"k"]
    parts[0][1] = msgpack.packb({**head, "ahead_us": 2**47})
    parts[at][1] = b"k" + msgpack.packb({**ABSURD, "lead_us": 2**53})
    replies = c.many([["TASK._LOAD", "r", *part] for part in parts])
    assert replies == ["OK"] * (len(parts) - 1) + [NO_NUMBERS]
    assert c.map("TASK.INFO", "r")[b"broken"] == b"its stored form has no end"
    check_same(copies, "r")


def test_a_part_from_a_tool_replaces_no_other_value(allowing):
    """Neither does the first one, which replaces queues."""
    c = Talk(allowing)
    story(allowing, c)
    c("SET", "s", "v")
    for part in stored_parts(allowing):
        assert c("TASK._LOAD", "s", *part).startswith("WRONGTYPE")
    assert c("GET", "s") == b"v"


def test_half_a_queue_from_a_tool_is_broken_in_all_copies(copies):
    """It can be read and deleted."""
    c = Talk(copies[0])
    story(copies[0], c)
    parts = stored_parts(copies[0])
    for at, part in enumerate(parts[:-1]):
        assert c(*load("r", at, *part)) == "OK"
    assert c.map("TASK.INFO", "r")[b"broken"] == b"its stored form has no end"
    check_same(copies, "r")


@pytest.mark.parametrize("before", [1, 2, -1])
def test_a_queue_is_whole_in_an_aof_that_was_rewritten_between_two_of_its_parts(copies, before):
    """It was rewritten before the part with the clocks, before the one behind it, and before the last part."""
    c = Talk(copies[0])
    story(copies[0], c)
    parts = stored_parts(copies[0])
    for at, part in enumerate(parts):
        if at == before % len(parts):
            rewrite_aof(copies[0])
            rewrite_aof(copies[1])
        assert c(*load("r", at, *part)) == "OK"
    assert c.map("TASK.INFO", "r")[b"broken"] == b""
    check_same(copies, "r")


def test_a_part_of_which_only_the_beginning_is_valid_breaks_the_queue_in_all_copies(copies):
    """The beginning may be in the queue, so it is an error, but not without a change."""
    c = Talk(copies[0])
    story(copies[0], c)
    head, *more, _ = stored_parts(copies[0])
    for part in [head, *more]:
        assert c("TASK._LOAD", "r", *part) == "OK"
    assert c("TASK._LOAD", "r", *more[-1]).startswith("BROKEN"), "each task's last attempt came already"
    assert c.map("TASK.INFO", "r")[b"broken"].startswith(b"its stored form should have")
    assert c("TASK._LOAD", "r", "END", "another reason").startswith("BROKEN")
    check_same(copies, "r")
