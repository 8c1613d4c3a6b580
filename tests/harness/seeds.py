"""Small queues, each with one kind of contents, to be stored, damaged and restored."""

from __future__ import annotations

from harness.queues import HOUR, Builder
from harness.server import Server
from harness.talk import Error, Talk

REFUSED = Error("ERR Bad data format")


def standing(start, **settings) -> Server:
    """A server on which no time passes for queues."""
    return start(
        replicaof="127.0.0.1 1", replica_read_only="no", module_args=("failover-grace", 0), **settings
    )


def seed_ready(r) -> list[bytes]:
    """Tasks that were never touched, with and without options, and one that was requeued."""
    made = Builder(r, "seed")
    r.execute_command("TASK.REQUEUE", "seed", handle := made.claim())
    r.execute_command("TASK.PUSH", "seed", "a", "PRIORITY", -3, "ATTEMPTS", 3, "HEADERS", 1, "a", "b")
    r.execute_command("TASK.MPUSH", "seed", "TASKS", 2, "b", "")
    return [handle]


def seed_delayed(r) -> list[bytes]:
    """Delayed tasks, by the queue's clock and by the wall clock, and a failed one with an error."""
    r.execute_command("TASK.FAIL", "seed", handle := Builder(r, "seed").claim(), "ERROR", "no", "DELAY", HOUR)
    r.execute_command("TASK.PUSH", "seed", "a", "DELAY", HOUR)
    r.execute_command("TASK.PUSH", "seed", "a", "AT", 4_102_444_800_000)
    return [handle]


def seed_leased(r) -> list[bytes]:
    """Leases of workers with and without a name, one of them tied, one with a cancelled task."""
    made = Builder(r, "seed")
    handles = [made.claim("WORKER", "w"), made.claim("WORKER", "v", "TIED"), made.claim("LEASE", HOUR)]
    r.execute_command("TASK.CANCEL", "seed", handles[2].split(b"@")[0])
    return handles


def seed_dead(r) -> list[bytes]:
    """Dead tasks with and without an error; both directions paused."""
    made = Builder(r, "seed")
    handles = [made.claim(), made.claim()]
    r.execute_command("TASK.FAIL", "seed", handles[0], "ERROR", "dead of it", "DEAD")
    r.execute_command("TASK.FAIL", "seed", handles[1], "DEAD")
    r.execute_command("TASK.PAUSE", "seed", "OUT", "FOR", HOUR)
    r.execute_command("TASK.PAUSE", "seed", "IN")
    return handles


def seed_requests(r) -> list[bytes]:
    """Remembered replies to a push and to a claim."""
    r.execute_command("TASK.PUSH", "seed", "a", "REQUEST", "token")
    ((handle, *_),) = r.execute_command("TASK.CLAIM", "seed", "REQUEST", "other")
    return [handle]


def seed_named(r) -> list[bytes]:
    """Groups, schedules and tokens whose names differ by one bit, so that a damaged payload can have a name twice."""
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
    """Commands of every kind, with the ids and handles of the seed."""
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
        ("TASK.INFO", key, "TIMES"),
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
    """Restore each payload at its name. Returns the names that became queues; the others created no key."""
    before = c("DBSIZE")
    replies = c.many([("RESTORE", name, 0, payload) for name, payload in payloads.items()])
    accepted = [name for name, reply in zip(payloads, replies, strict=True) if reply == "OK"]
    assert {reply for reply in replies if reply != "OK"} <= {REFUSED}
    assert c("DBSIZE") == before + len(accepted)
    return accepted


def digests(c: Talk, names: list[object]) -> list[object]:
    """The digest of each of these queues."""
    return [reply[0] for reply in c.many([("DEBUG", "DIGEST-VALUE", name) for name in names])]
