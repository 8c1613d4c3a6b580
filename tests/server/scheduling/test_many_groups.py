"""Settings that hold for thousands of groups: none is visited when they are set, and all follow."""

import pytest
from harness.server import digest, wait_synced
from harness.talk import Talk, effects

GROUPS = 1500


def many(c: Talk) -> None:
    """A task in each of more groups than are visited at once; none may run."""
    c.many([["TASK.PUSH", "q", f"of {number}", "GROUP", f"g{number}"] for number in range(GROUPS)])
    assert c("TASK.CONFIG", "q", "SET", "group-concurrency", 0) == "OK"


def test_a_limit_of_many_groups_is_told_in_small_steps(start):
    """The setting's own effect names no group; each of those that follow names 128 at most, and all are named."""
    server = start(appendonly="yes")
    c = Talk(server)
    many(c)
    told = []

    def all_are_told() -> bool:
        told.extend(effects(server))
        return sum(len(fields[0]) for e in told for name, fields in e.events if name == "rest") >= GROUPS

    server.wait_until(all_are_told, "all groups have followed")
    [setting] = [effect for effect in told if "config" in effect.names]
    steps = [len(fields[0]) for effect in told for name, fields in effect.events if name == "rest"]
    assert setting.names == ["config"]
    assert sum(steps) == GROUPS and max(steps) <= 128


@pytest.mark.parametrize("wish", [(), ("GROUP", "g1400")])
def test_who_waits_is_served_when_a_limit_of_many_groups_is_raised(floor, wish):
    """Also who waits for any task, or for that of a group whose turn to follow comes late."""
    many(floor.boss)
    workers = floor.line(3 if not wish else 1, "q", *wish)
    floor.boss("TASK.CONFIG", "q", "SET", "group-concurrency", 1)
    got = floor.all_got(workers)
    assert all(len(payloads) == 1 for payloads in got)
    assert not wish or got == [[b"of 1400"]]


def test_a_limit_of_many_groups_holds_in_the_same_transaction(c):
    """A claim right behind the setting gets nothing, however many groups haven't followed."""
    many(c)
    c("TASK.CONFIG", "q", "SET", "group-concurrency", -1)
    c("MULTI")
    c("TASK.CONFIG", "q", "SET", "group-concurrency", 0)
    c("TASK.CLAIM", "q", "COUNT", 1000)
    c("TASK.CONFIG", "q", "SET", "group-concurrency", -1)
    c("TASK.CLAIM", "q", "COUNT", 1000)
    _, none, _, some = c("EXEC")
    assert none == [] and len(some) == 1000


def test_copies_are_equal_while_groups_follow_a_limit(start):
    """A replica, DEBUG RELOAD, an AOF and a COPY of a queue whose groups haven't all followed."""
    primary, replica = start(port=True, appendonly="yes"), start()
    replica.replicate(primary)
    c, r = Talk(primary), primary.client()
    many(c)
    for limit in (1, 0, 2):
        c("TASK.CONFIG", "q", "SET", "group-concurrency", limit, "group-rate", limit)
        c("TASK.CLAIM", "q", "COUNT", 100)
        c("DEBUG", "RELOAD")
    wait_synced(primary, replica)

    def are_equal() -> bool:
        wait_synced(primary, replica)
        return digest(r, "q") == digest(replica.client(), "q")

    primary.wait_until(are_equal, "the replica equals its primary")
    c("CLIENT", "PAUSE", 100_000, "WRITE")
    before = digest(r, "q")
    c("DEBUG", "RELOAD")
    assert digest(r, "q") == before
    c("DEBUG", "LOADAOF")
    assert digest(r, "q") == before
