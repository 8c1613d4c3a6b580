"""A setting of thousands of groups applies at once, and the groups are updated in small steps."""

import pytest
from harness.server import digest, wait_synced
from harness.talk import Talk, effects

GROUPS = 1500


def many(c: Talk) -> None:
    """Push a task to each of many groups and stop all of them. One step does not update that many."""
    c.many([["TASK.PUSH", "q", f"of {number}", "GROUP", f"g{number}"] for number in range(GROUPS)])
    assert c("TASK.CONFIG", "q", "SET", "group-concurrency", 0) == "OK"


def test_a_limit_of_many_groups_is_propagated_in_small_steps(start):
    """The effect of the setting names no group. Each later effect names at most 128, until all are named."""
    server = start(appendonly="yes")
    c = Talk(server)
    many(c)
    found = []

    def all_are_updated() -> bool:
        found.extend(effects(server))
        return sum(len(fields[0]) for e in found for name, fields in e.events if name == "rest") >= GROUPS

    server.wait_until(all_are_updated, "all groups are updated")
    [setting] = [effect for effect in found if "config" in effect.names]
    steps = [len(fields[0]) for effect in found for name, fields in effect.events if name == "rest"]
    assert setting.names == ["config"]
    assert sum(steps) == GROUPS and max(steps) <= 128


@pytest.mark.parametrize("options", [(), ("GROUP", "g1400")])
def test_waiting_workers_are_served_when_a_limit_of_many_groups_is_raised(floor, options):
    """This holds for a worker of any group, and for one of a group that is updated late."""
    many(floor.boss)
    workers = floor.line(3 if not options else 1, "q", *options)
    floor.boss("TASK.CONFIG", "q", "SET", "group-concurrency", 1)
    got = floor.all_got(workers)
    assert all(len(payloads) == 1 for payloads in got)
    assert not options or got == [[b"of 1400"]]


def test_a_limit_of_many_groups_applies_in_the_same_transaction(c):
    """A claim right after the setting gets nothing, even before all groups are updated."""
    many(c)
    c("TASK.CONFIG", "q", "SET", "group-concurrency", -1)
    c("MULTI")
    c("TASK.CONFIG", "q", "SET", "group-concurrency", 0)
    c("TASK.CLAIM", "q", "COUNT", 1000)
    c("TASK.CONFIG", "q", "SET", "group-concurrency", -1)
    c("TASK.CLAIM", "q", "COUNT", 1000)
    _, none, _, some = c("EXEC")
    assert none == [] and len(some) == 1000


def test_copies_are_equal_while_groups_are_updated(start):
    """The copies are a replica, a reload and an AOF."""
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
