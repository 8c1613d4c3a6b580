"""RESTORE of queues whose clock or counters stand at their ends: they hurt neither the node nor its files."""

import msgpack
import pytest
from harness.dumps import fields, opened, sealed, value_of
from harness.server import Server, wait_synced
from harness.talk import Error, Talk

LAST = 2**48 - 1
TOTAL_LAST = 2**53 - 1
ROOM = 2**32
HOUR = 3_600_000
# More than any clock is off: see CLOCK_OFFSET_MAX_MS.
YEARS_69 = 2**41
FILES = {"appendonly": "yes", "appendfsync": "always", "aof_use_rdb_preamble": "no", "rdbcompression": "no"}


def changed(talk: Talk, clocks: dict | None = None, totals: dict | None = None, **head: object) -> bytes:
    """A payload of two tasks, with other numbers in its head and in what the clocks showed."""
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
    """Much of what a queue counts and keeps instants of."""
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
def test_a_queue_whose_effects_are_all_counted_is_missing_none(start, last):
    """The last number there is comes again and again, on the replica and in the AOF too."""
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
def test_a_queue_with_an_absurd_clock_leaves_that_of_its_node_alone(start, at_us, offset):
    """Other queues' leases and delays are there after a restart and on a promoted replica; every file can be read."""
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


def test_an_offset_of_a_clock_that_no_node_finds_is_refused(server: Server):
    """It is less than that of a queue which was let in."""
    server.client().config_set("rdbcompression", "no")
    talk = Talk(server)
    for offset in (YEARS_69 + 1, -YEARS_69 - 1, LAST, -LAST):
        assert isinstance(talk("RESTORE", "q", 0, changed(talk, clock_offset_ms=offset)), Error)


def test_a_queue_that_was_let_in_can_be_read_again_after_more_of_its_numbers_are_used(start):
    """What has no room for that is refused at once, since a file with it would keep the server from starting."""
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


def test_a_restored_queue_is_equal_on_a_replica_with_another_clock_once_it_changes(start):
    """Each finds how far the queue's clock is ahead by its own; the primary's word holds from the first change on."""
    primary, replica = start(port=True, clock=True, **FILES), start(clock=True, rdbcompression="no")
    replica.clock.step(-HOUR)
    talk, far = Talk(primary), Talk(replica)
    talk.push("q", "x")
    stored = talk("DUMP", "q")
    # What the replica hears late: its clock stays behind.
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


def test_a_restored_queue_has_one_clock_on_all_nodes_though_nobody_changes_it(start):
    """The replica's clock was set; the primary says at once what it found, and both have the same digest."""
    here = start(clock=True)
    primary, replica = start(port=True, clock=True), start(clock=True)
    replica.replicate(primary)
    replica.clock.passes(60_000)
    talk, far = Talk(primary), Talk(replica)
    source = Talk(here)
    source.push("q", "x", "DELAY", 3_600_000)
    assert talk("RESTORE", "q", 0, source("DUMP", "q")) == "OK"
    primary.wait_until(lambda: talk.digest("q") == far.digest("q"), "both have the same clock")
