"""RESTORE of queues with extreme clocks or counters: they harm neither the node nor its files."""

import msgpack
import pytest
from harness.dumps import fields, opened, sealed, value_of
from harness.server import Server, wait_synced
from harness.talk import Error, Talk

LAST = 2**48 - 1
TOTAL_LAST = 2**53 - 1
ROOM = 2**32
HOUR = 3_600_000
# The largest offset of a clock that is accepted: CLOCK_OFFSET_MAX_MS.
YEARS_69 = 2**41
FILES = {"appendonly": "yes", "appendfsync": "always", "aof_use_rdb_preamble": "no", "rdbcompression": "no"}


def changed(talk: Talk, clocks: dict | None = None, totals: dict | None = None, **head: object) -> bytes:
    """A payload of two tasks with other numbers in its head, its totals or its clocks."""
    talk.push("seed", "x")
    talk.push("seed", "d", "DELAY", HOUR)
    value, version = opened(talk("DUMP", "seed"))
    talk("DEL", "seed")
    before, (broken, stored, *chunks) = fields(value)
    stored = msgpack.unpackb(stored)
    stored.update(head)
    stored["totals"].update(totals or {})
    for place, chunk in enumerate(chunks):
        if chunk[:1] == b"k":
            chunks[place] = b"k" + msgpack.packb({**msgpack.unpackb(chunk[1:]), **(clocks or {})})
    return sealed(value_of(before, [broken, msgpack.packb(stored), *chunks]), version)


def work(talk: Talk, key: str) -> None:
    """Commands that use most counters and times of a queue."""
    for command in (
        ["TASK.CONFIG", key, "SET", "rate", 3, "group-rate", 3],
        ["TASK.PUSH", key, "y", "GROUP", "g"],
        ["TASK.PUSH", key, "u", "UNIQUE", "t", "FOR", HOUR],
        ["TASK.PUSH", key, "d", "DELAY", HOUR],
        ["TASK.CRON", key, "SET", "c", "EVERY", HOUR, "PAYLOAD", "x"],
        ["TASK.CLAIM", key, "COUNT", 2, "REQUEST", "r"],
        ["TASK.PAUSE", key, "ALL", "FOR", HOUR],
    ):
        assert not isinstance(talk(*command), Error), command


@pytest.mark.parametrize("last", [LAST - 1, LAST])
def test_a_queue_at_the_last_effect_number_is_not_broken(start, last):
    """The last number repeats, on the replica and in the AOF as well."""
    primary, replica = start(port=True, **FILES), start()
    replica.replicate(primary)
    talk, far = Talk(primary), Talk(replica)
    assert talk("RESTORE", "q", 0, changed(talk, effects=last)) == "OK"
    for _ in range(3):
        talk.push("q", "y")
    wait_synced(primary, replica)
    assert far.map("TASK.INFO", "q")[b"broken"] == b"" and far.digest() == talk.digest()
    primary.restart(kill=True)
    assert Talk(primary).map("TASK.INFO", "q")[b"broken"] == b""


@pytest.mark.parametrize("at_us", [0, LAST * 1000])
@pytest.mark.parametrize("offset", [-YEARS_69, 0, YEARS_69])
def test_a_queue_with_an_absurd_clock_does_not_change_the_clock_of_its_node(start, at_us, offset):
    """Other queues keep leases and delays over a restart and on a promoted replica. Every file can be loaded."""
    primary, replica = start(port=True, **FILES), start()
    replica.replicate(primary)
    talk, far = Talk(primary), Talk(replica)
    talk.push("own", "x", "LEASE", HOUR)
    talk.claim("own")
    talk.push("own", "d", "DELAY", HOUR)
    assert talk("RESTORE", "q", 0, changed(talk, {"at_us": at_us}, clock_offset_ms=offset)) == "OK"
    work(talk, "q")
    wait_synced(primary, replica)
    assert far.digest() == talk.digest() and talk("DEBUG", "RELOAD") == "OK"
    primary.restart(kill=True)
    assert far("REPLICAOF", "NO", "ONE") == "OK"
    for server in (primary, replica):
        talk = Talk(server)
        talk.push("own", "y")
        assert (talk("TASK.LEN", "own", "leased"), talk("TASK.LEN", "own", "delayed")) == (1, 1)
        assert talk.map("TASK.INFO", "q")[b"broken"] == b""


def test_a_clock_offset_above_69_years_is_refused(server: Server):
    """RESTORE refuses the payload. An offset of exactly 69 years is accepted above."""
    server.client().config_set("rdbcompression", "no")
    talk = Talk(server)
    for offset in (YEARS_69 + 1, -YEARS_69 - 1, LAST, -LAST):
        assert isinstance(talk("RESTORE", "q", 0, changed(talk, clock_offset_ms=offset)), Error)


def test_an_accepted_queue_can_still_be_loaded_after_more_changes(start):
    """A queue whose counters have no room left is refused. A file with it could keep the server from starting."""
    server = start(rdbcompression="no")
    talk = Talk(server)
    at_most = TOTAL_LAST - ROOM
    for numbers in (
        {"next_order": LAST - ROOM},
        {"totals": {"pushed": at_most, "acked": at_most - 2, "claimed": at_most}},
    ):
        assert talk("RESTORE", "q", 0, changed(talk, **numbers), "REPLACE") == "OK", numbers
        work(talk, "q")
        assert talk("DEBUG", "RELOAD") == "OK", numbers
    for numbers in (
        {"next_order": LAST - ROOM + 1},
        {"totals": {"pushed": at_most + 1, "acked": at_most - 1}},
        {"totals": {"claimed": TOTAL_LAST}},
    ):
        assert isinstance(talk("RESTORE", "p", 0, changed(talk, **numbers)), Error), numbers


@pytest.mark.parametrize(
    "numbers",
    [
        {"last_batch": LAST},
        {"last_lease": TOTAL_LAST},
        {"ahead_us": TOTAL_LAST},
        {"last_id": {"ms": LAST, "seq": 2**64 - 1}},
    ],
    ids=["batches", "leases", "leases elsewhere", "ids"],
)
def test_a_queue_that_has_no_numbers_left_is_refused(server: Server, numbers):
    """Otherwise the next batch breaks it, or it takes no claims or pushes any more. The log has the reason."""
    server.client().config_set("rdbcompression", "no")
    talk, log = Talk(server), len(server.log())
    assert isinstance(talk("RESTORE", "q", 0, changed(talk, **numbers)), Error)
    assert "a queue is refused: it has run out of" in server.log()[log:]


def test_a_restored_queue_is_equal_on_a_replica_with_another_clock_once_it_changes(start):
    """Each node computes the clock offset of a restored queue. The first change replaces it by the primary's."""
    primary, replica = start(port=True, clock=True, **FILES), start(clock=True, rdbcompression="no")
    replica.clock.step(-HOUR)
    talk, far = Talk(primary), Talk(replica)
    talk.push("q", "x")
    stored = talk("DUMP", "q")
    # The replica gets the effects late, so its clock stays behind.
    replica.replicate(primary)
    replica.freeze()
    primary.clock.passes(500)
    primary.clock.step(-250)
    talk("RESTORE", "r", 0, stored)
    replica.thaw()
    wait_synced(primary, replica)

    def offset(talk: Talk) -> int:
        return msgpack.unpackb(fields(opened(talk("DUMP", "r"))[0])[1][1])["clock_offset_ms"]

    talk.push("r", "y")
    wait_synced(primary, replica)
    assert offset(far) == offset(talk) and far.digest("r") == talk.digest("r")


def test_a_restored_queue_has_the_same_clock_on_a_replica_without_a_change(start):
    """The primary propagates its clock offset at once, so both have the same digest."""
    here = start(clock=True)
    primary, replica = start(port=True, clock=True), start(clock=True)
    replica.replicate(primary)
    replica.clock.passes(60_000)
    talk, far = Talk(primary), Talk(replica)
    source = Talk(here)
    source.push("q", "x", "DELAY", 3_600_000)
    assert talk("RESTORE", "q", 0, source("DUMP", "q")) == "OK"
    primary.wait_until(lambda: talk.digest("q") == far.digest("q"), "both have the same clock")
