"""The lease number is a fencing token: over failovers no primary gives one that is as high as its successor's."""

import msgpack
import pytest
from harness.server import Server, parse_commands, wait_synced
from harness.talk import Talk, parts

HOUR = 3_600_000
TERM = 2**36


@pytest.fixture
def pair(start) -> tuple[Server, Server]:
    """A primary and its replica, whose clocks can be set; the primary keeps an AOF."""
    primary = start(port=True, clock=True, appendonly="yes", appendfsync="always")
    replica = start(port=True, clock=True)
    replica.replicate(primary)
    return primary, replica


def promoted(server: Server) -> Talk:
    """The replica is the primary now, too."""
    talk = Talk(server)
    assert talk("REPLICAOF", "NO", "ONE") == "OK"
    return talk


def claimed(talk: Talk, key: str = "q") -> tuple[list[int], int]:
    """The task that a claim gives, and the number of its lease."""
    handle = talk.claim(key)
    task, number, _ = parts(handle)
    assert talk("TASK.REQUEUE", key, handle) == 1
    return task, number


def test_a_primary_that_lives_on_stays_below_its_successor(pair):
    """A queue that nobody had claimed from before the failover: the first story of a cut-off primary."""
    primary, replica = pair
    old = Talk(primary)
    old("TASK.MPUSH", "q", "TASKS", 3, *"xyz")
    wait_synced(primary, replica)
    new = promoted(replica)
    for _ in range(3):
        (task, successors), (same, its) = claimed(new), claimed(old)
        assert task == same and successors - its > TERM // 2


def test_a_primary_that_starts_again_stays_below_its_successor(pair):
    """Also when it starts often; neither gives a number that the other gave."""
    primary, replica = pair
    old = Talk(primary)
    old("TASK.MPUSH", "q", "TASKS", 3, *"xyz")
    claimed(old)
    wait_synced(primary, replica)
    new = promoted(replica)
    successors, its = {claimed(new)[1]}, set()
    for _ in range(3):
        primary.restart(kill=True)
        its.add(claimed(Talk(primary))[1])
        successors.add(claimed(new)[1])
    assert len(its) == 3 and max(its) < min(successors)


def test_a_queue_that_was_claimed_long_ago_is_no_exception(pair):
    """Its last claim is a day old: by then the clock has passed what the last number was raised by."""
    primary, replica = pair
    old = Talk(primary)
    old("TASK.MPUSH", "q", "TASKS", 3, *"xyz")
    claimed(old)
    wait_synced(primary, replica)
    primary.clock.passes(24 * HOUR)
    replica.clock.passes(24 * HOUR)
    new = promoted(replica)
    assert claimed(new)[1] - claimed(old)[1] > TERM // 2


def test_a_cut_off_primary_whose_clock_is_ahead_stays_below(pair):
    """By half a day, which is more than clocks are wrong."""
    primary, replica = pair
    old = Talk(primary)
    old("TASK.MPUSH", "q", "TASKS", 3, *"xyz")
    wait_synced(primary, replica)
    new = promoted(replica)
    primary.clock.passes(12 * HOUR)
    assert claimed(new)[1] > claimed(old)[1]


def test_every_successor_is_above_the_one_before(start, pair):
    """A replica of the promoted replica is promoted, before the queue has changed again; all three live on."""
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


def test_a_promoted_primary_that_starts_again_stays_above(pair):
    """It had changed nothing before; its file tells of the promotion all the same."""
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
    """How far lease numbers were ahead of the clock, by each word of the clock in what was appended to the AOF."""
    commands, _ = parse_commands(server._aof().read_bytes())
    return [0, *(msgpack.unpackb(words[1])[4] for words in commands if words[0] == b"TASK._CLOCK")]


def test_clocks_beyond_2255_stop_no_claims(start):
    """Nor does a clock that was set right again."""
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
