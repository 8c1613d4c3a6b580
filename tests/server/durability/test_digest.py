"""The digest that copies are compared by: it changes with everything in a queue, and with nothing else.

test_corrupt_payloads.py checks that each stored bit is in it.
"""

import pytest
from harness.queues import HOUR, SETTINGS, rich_queue, tasks
from harness.server import digest


def changes(r, rich) -> dict[str, tuple]:
    """One command for each thing that can change in the queue `twin`."""
    ready, delayed, dead = (tasks(r, "twin", state)[0]["id"] for state in ("ready", "delayed", "dead"))
    other = {"lease": 1, "backoff": "fixed"}
    return {
        **{f"setting {name}": ("TASK.CONFIG", "twin", "SET", name, other.get(name, 77)) for name in SETTINGS},
        "a push": ("TASK.PUSH", "twin", "x"),
        "a push and its token": ("TASK.PUSH", "twin", "x", "REQUEST", "new"),
        "a claim": ("TASK.CLAIM", "twin"),
        "a claim without a lease": ("TASK.CLAIM", "twin", "NOACK"),
        "an ack": ("TASK.ACK", "twin", rich.leased),
        "a late ack": ("TASK.ACK", "twin", rich.stalled),
        "a failure": ("TASK.FAIL", "twin", rich.leased),
        "a death": ("TASK.FAIL", "twin", rich.leased, "DEAD"),
        "a requeue": ("TASK.REQUEUE", "twin", rich.leased),
        "a requeue with a delay": ("TASK.REQUEUE", "twin", rich.leased, "DELAY", HOUR),
        "an extension": ("TASK.EXTEND", "twin", rich.leased, "LEASE", 3 * HOUR),
        "another priority": ("TASK.SET", "twin", ready, "PRIORITY", 9),
        "another group": ("TASK.SET", "twin", ready, "GROUP", "another"),
        "another payload": ("TASK.SET", "twin", ready, "PAYLOAD", "another"),
        "other headers": ("TASK.SET", "twin", ready, "HEADERS", 1, "other", "header"),
        "another time": ("TASK.SET", "twin", delayed, "DELAY", 3 * HOUR),
        "a delay": ("TASK.SET", "twin", ready, "DELAY", HOUR),
        "a cancel of a ready task": ("TASK.CANCEL", "twin", ready),
        "a cancel of a leased task": ("TASK.CANCEL", "twin", rich.leased.split(b"@")[0]),
        "a retry of a delayed task": ("TASK.RETRY", "twin", delayed),
        "a retry of a dead task": ("TASK.RETRY", "twin", dead),
        "a purge": ("TASK.PURGE", "twin", "dead", "COUNT", 1),
        "a push into a group": ("TASK.PUSH", "twin", "x", "GROUP", "red"),
        "a push into a new group": ("TASK.PUSH", "twin", "x", "GROUP", "new"),
        "a claim of a group": ("TASK.CLAIM", "twin", "GROUP", "red"),
        "a claim of another group": ("TASK.CLAIM", "twin", "GROUP", "blue"),
        "a group's weight": ("TASK.GROUP", "twin", "SET", "red", "WEIGHT", 4),
        "a group's concurrency": ("TASK.GROUP", "twin", "SET", "red", "CONCURRENCY", 4),
        "a group's rate": ("TASK.GROUP", "twin", "SET", "red", "RATE", 4),
        "the span of a group's rate": ("TASK.GROUP", "twin", "SET", "red", "RATE", 4, "PER", 5),
        "no rate of a group": ("TASK.GROUP", "twin", "SET", "red", "RATE", -1),
        "a group's order": ("TASK.GROUP", "twin", "SET", "red", "ORDERED", "yes"),
        "a new group": ("TASK.GROUP", "twin", "SET", "new", "WEIGHT", 4),
        "a group forgotten": ("TASK.GROUP", "twin", "DEL", "red"),
        "a schedule": ("TASK.CRON", "twin", "SET", "s", "EVERY", HOUR, "PAYLOAD", "x"),
        "a pause": ("TASK.PAUSE", "twin", "OUT"),
        "a pause for a while": ("TASK.PAUSE", "twin", "OUT", "FOR", HOUR),
        "a closed entrance": ("TASK.PAUSE", "twin", "IN"),
    }


# The arguments of two pushes whose tasks differ in one field.
PAIRS = {
    "payload": (("a",), ("b",)),
    "priority": (("a",), ("a", "PRIORITY", 1)),
    "attempts": (("a", "ATTEMPTS", 3), ("a", "ATTEMPTS", 4)),
    "lease": (("a", "LEASE", 1000), ("a", "LEASE", 1001)),
    "header name": (("a", "HEADERS", 1, "n", "v"), ("a", "HEADERS", 1, "m", "v")),
    "header value": (("a", "HEADERS", 1, "n", "v"), ("a", "HEADERS", 1, "n", "w")),
    "group": (("a", "GROUP", "g"), ("a", "GROUP", "h")),
    "whether there is a group": (("a",), ("a", "GROUP", "g")),
    "due": (("a", "AT", 4_102_444_800_000), ("a", "AT", 4_102_444_800_001)),
    "token": (("a", "REQUEST", "t"), ("a", "REQUEST", "u")),
    "payload or header": (("ab", "HEADERS", 1, "c", "d"), ("a", "HEADERS", 1, "bc", "d")),
}


def test_each_change_changes_the_digest(r, server):
    """Each command that changes the queue gives a different digest, and no two of them the same."""
    rich = rich_queue(r, paused=False)
    stored, before = r.dump("queue"), digest(r, "queue")
    seen = {before: "nothing"}
    r.restore("twin", 0, stored)
    for what, command in changes(r, rich).items():
        r.restore("twin", 0, stored, replace=True)
        assert digest(r, "twin") == before
        r.execute_command(*command)
        after = digest(r, "twin")
        assert after not in seen, f"{what} has the digest of {seen[after]}"
        seen[after] = what
    assert len(seen) > 30


@pytest.mark.parametrize("field", PAIRS)
def test_tasks_that_differ_in_one_field_have_different_digests(r, server, field):
    """Equal tasks with the same id have equal digests."""
    one, other = PAIRS[field]
    found = set()

    # One transaction gives all three the same id. It is repeated if the millisecond changed in between.
    def pushed() -> bool:
        r.flushall()
        with r.pipeline() as p:
            p.execute_command("TASK.PUSH", "one", *one)
            p.execute_command("TASK.PUSH", "same", *one)
            p.execute_command("TASK.PUSH", "other", *other)
            first, same, second = p.execute()
        found.clear()
        found.update([digest(r, "one"), digest(r, "other")])
        return first == same == second and digest(r, "one") == digest(r, "same")

    server.wait_until(pushed, "three pushes happen in one millisecond")
    assert len(found) == 2


def test_reads_renames_and_refused_pushes_do_not_change_the_digest(r, server):
    """The digest covers the queue alone, not its name or the figures of the node."""
    rich_queue(r)
    before = digest(r, "queue")
    for command in (
        ("TASK.INFO", "queue"),
        ("TASK.LIST", "queue", "leased"),
        ("TASK.CLAIM", "queue"),
        ("RENAME", "queue", "other"),
        ("RENAME", "other", "queue"),
        ("OBJECT", "ENCODING", "queue"),
    ):
        r.execute_command(*command)
        assert digest(r, "queue" if r.exists("queue") else "other") == before
    with pytest.raises(Exception, match="PAUSED"):
        r.execute_command("TASK.PUSH", "queue", "x")
    assert digest(r, "queue") == before
