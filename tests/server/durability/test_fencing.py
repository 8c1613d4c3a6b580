"""The lease number is a fencing token: a replaced primary never gives a number as high as its successor's."""

import msgpack
import pytest
from harness.checksums import opened
from harness.server import Server, parse_commands, wait_synced
from harness.talk import Talk, parts

HOUR = 3_600_000
TERM = 2**36


@pytest.fixture
def pair(start) -> tuple[Server, Server]:
    """A primary with an AOF and its replica, both with a clock that can be set."""
    primary = start(port=True, clock=True, appendonly="yes", appendfsync="always")
    replica = start(port=True, clock=True)
    replica.replicate(primary)
    return primary, replica


def promoted(server: Server) -> Talk:
    """Promote the replica while the old primary goes on."""
    talk = Talk(server)
    assert talk("REPLICAOF", "NO", "ONE") == "OK"
    return talk


def claimed(talk: Talk, key: str = "q") -> tuple[list[int], int]:
    """Claim a task, give it back, and return its id and the lease number."""
    handle = talk.claim(key)
    task, number, _ = parts(handle)
    assert talk("TASK.REQUEUE", key, handle) == 1
    return task, number


def test_a_primary_that_goes_on_stays_below_its_successor(pair):
    """The queue had no claims before the failover, so both give their first numbers."""
    primary, replica = pair
    old = Talk(primary)
    old("TASK.MPUSH", "q", "TASKS", 3, *"xyz")
    wait_synced(primary, replica)
    new = promoted(replica)
    for _ in range(3):
        (task, new_number), (same_task, old_number) = claimed(new), claimed(old)
        assert task == same_task and new_number - old_number > TERM // 2


def test_a_primary_that_restarts_stays_below_its_successor(pair):
    """This also holds after several restarts. No number is given twice."""
    primary, replica = pair
    old = Talk(primary)
    old("TASK.MPUSH", "q", "TASKS", 3, *"xyz")
    claimed(old)
    wait_synced(primary, replica)
    new = promoted(replica)
    new_numbers, old_numbers = {claimed(new)[1]}, set()
    for _ in range(3):
        primary.restart(kill=True)
        old_numbers.add(claimed(Talk(primary))[1])
        new_numbers.add(claimed(new)[1])
    assert len(old_numbers) == 3 and max(old_numbers) < min(new_numbers)


def test_a_successor_is_above_even_if_the_last_claim_is_a_day_old(pair):
    """By then the clock has passed the last number, which had been raised above the clock."""
    primary, replica = pair
    old = Talk(primary)
    old("TASK.MPUSH", "q", "TASKS", 3, *"xyz")
    claimed(old)
    wait_synced(primary, replica)
    primary.clock.passes(24 * HOUR)
    replica.clock.passes(24 * HOUR)
    new = promoted(replica)
    assert claimed(new)[1] - claimed(old)[1] > TERM // 2


def test_a_replaced_primary_whose_clock_is_ahead_stays_below(pair):
    """Its clock is half a day ahead, more than clocks are usually wrong."""
    primary, replica = pair
    old = Talk(primary)
    old("TASK.MPUSH", "q", "TASKS", 3, *"xyz")
    wait_synced(primary, replica)
    new = promoted(replica)
    primary.clock.passes(12 * HOUR)
    assert claimed(new)[1] > claimed(old)[1]


def test_every_successor_is_above_the_one_before(start, pair):
    """A replica of the promoted replica is promoted before the queue has changed. All three servers go on."""
    primary, replica = pair
    third = start(port=True, clock=True)
    old = Talk(primary)
    old.push("q", "x")
    wait_synced(primary, replica)
    new = promoted(replica)
    third.replicate(replica)
    newest = promoted(third)
    numbers = [claimed(talk)[1] for talk in (old, new, newest)]
    assert numbers[0] + TERM // 2 < numbers[1] and numbers[1] + TERM // 2 < numbers[2]
    assert numbers[2] < 2**53


def test_a_queue_that_moves_right_after_a_promotion_stays_above(start, pair):
    """The promoted replica has not written to it yet, and the server that it moves to was never promoted."""
    primary, replica = pair
    there = start(port=True)
    old = Talk(primary)
    old.push("q", "x")
    wait_synced(primary, replica)
    new = promoted(replica)
    primary.clock.passes(12 * HOUR)
    assert Talk(there)("RESTORE", "q", 0, new("DUMP", "q")) == "OK"
    assert claimed(Talk(there))[1] > claimed(Talk(primary))[1]


def test_a_promoted_primary_that_restarts_stays_above(pair):
    """It changed no queue before the restart, but its AOF has the promotion."""
    primary, replica = pair
    old = Talk(primary)
    old.push("q", "x")
    wait_synced(primary, replica)
    new = Talk(replica)
    new("CONFIG", "SET", "aof-use-rdb-preamble", "no")
    new("CONFIG", "SET", "appendonly", "yes")
    replica.wait_until(lambda: b"aof_rewrite_in_progress:0" in new("INFO", "persistence"), "it has an AOF")
    promoted(replica)
    replica.wait_until(lambda: max(leads(replica)) > 0, "the promotion is in the file")
    replica.restart(kill=True, appendonly="yes")
    assert claimed(Talk(replica))[1] - claimed(old)[1] > TERM // 2


def leads(server: Server) -> list[int]:
    """How far lease numbers were ahead of the clock, in each TASK._CLOCK that was appended to the AOF."""
    commands, _ = parse_commands(server._aof().read_bytes())
    return [0, *(msgpack.unpackb(opened(words[1]))[4] for words in commands if words[0] == b"TASK._CLOCK")]


def test_claims_go_on_with_a_clock_beyond_2255(start):
    """They also go on after the clock is set right again, with growing numbers."""
    server = start(clock=True, appendonly="yes", appendfsync="always")
    talk = Talk(server)
    talk.push("q", "x")
    numbers = [claimed(talk)[1]]
    for by in (86_400_000 * 366 * 235, 86_400_000 * 366, -86_400_000 * 366 * 236):
        server.clock.step(by)
        server.restart()
        talk = Talk(server)
        numbers.append(claimed(talk)[1])
    assert numbers == sorted(numbers) and numbers[-1] < 2**53 - 2**40
