"""Queues to keep: one that holds something of everything, and what two equal queues have in common."""

from __future__ import annotations

from dataclasses import dataclass, field

import redis

from harness.server import wait_until

STATES = ("ready", "delayed", "held", "leased", "dead", "done")
HOUR = 3_600_000
# No task of a rich queue becomes due, ends or is dropped while a test runs.
SETTINGS = {
    "lease": HOUR,
    "attempts": 7,
    "stalls": 4,
    "backoff": "linear",
    "backoff-base": HOUR,
    "backoff-max": 2 * HOUR,
    "backoff-jitter": 20,
    "max-len": 100_000,
    "max-bytes": 1_000_000_000,
    "dead-max": 50,
    "dead-ttl": 1000 * HOUR,
    "run-max": 20 * HOUR,
    "concurrency": 90_000,
    "rate": 500_000,
    "rate-per": 2 * HOUR,
    "group-concurrency": 80_000,
    "group-rate": 400_000,
    "group-rate-per": 3 * HOUR,
    "groups-max": 50,
    "retain-max": 1000,
}
# The priority at which groups take turns in a rich queue, and what it gives out from then on.
TURNS_AT = -50
TURNS = ["red2", "red3", "none1", "blue2", "red4", "red5", "red6", "none2", "blue3", "none3", "blue4"]
# Fields of INFO about the node, the moment or the layout in memory, and not about the queue's contents.
OF_THE_MOMENT = {
    *[
        "duplicate",
        "found",
        "refused",
        "memory",
        "blocked-workers",
        "oldest-ready-ms",
        "next-delayed-ms",
        "load",
    ],
    *["in-per-second-1m", "in-per-second-5m", "out-per-second-1m", "out-per-second-5m"],
    *["wait-p50-ms", "wait-p95-ms", "wait-p99-ms", "run-p50-ms", "run-p95-ms", "run-p99-ms"],
}


def pairs(reply: list) -> dict:
    """A map in the form of RESP2, as a dict."""
    return {name.decode(): value for name, value in zip(reply[::2], reply[1::2], strict=True)}


def task(r: redis.Redis, key: object, id_: bytes) -> dict | None:
    """The reply of TASK.GET for an id or a handle. Instants of AT are in whole seconds, see `tasks`."""
    reply = r.execute_command("TASK.GET", key, id_)
    return reply and shown(reply)


def shown(reply: list) -> dict:
    """A task's map. Instants of AT are shown by the module's clock, which can differ from the wall clock by 1 ms."""
    fields = pairs(reply)
    if "due" in fields:
        fields["due"] //= 1000
    return fields


def schedules(r: redis.Redis, key: object) -> list[dict]:
    """The schedules in TASK.INFO, without the spans from now."""
    found = list(map(pairs, r.execute_command("TASK.INFO", key, "CRON")))
    # Two clocks, which differ slightly, give the next instant of an interval.
    return [{name: one[name] for name in one if not name.startswith("next")} for one in found]


def tasks(r: redis.Redis, key: object, state: str) -> list[dict]:
    """All tasks in a state, with payloads, in the order of LIST."""
    found, cursor = [], b"0"
    while True:
        cursor, part = r.execute_command(
            "TASK.LIST", key, state, "CURSOR", cursor, "COUNT", 100, "WITHPAYLOAD"
        )
        found += map(shown, part)
        if cursor == b"0":
            return found


def info(r: redis.Redis, key: object) -> dict:
    """TASK.INFO as a map."""
    return pairs(r.execute_command("TASK.INFO", key))


def contents(r: redis.Redis, key: object) -> dict:
    """Everything that clients can see of a queue and that is equal on all its copies."""
    fields = {name: value for name, value in info(r, key).items() if name not in OF_THE_MOMENT}
    for gate in ("paused-in", "paused-out"):
        fields[gate] = "for a while" if fields[gate] > 0 else fields[gate]
    listed = {state: tasks(r, key, state) for state in STATES}
    for one in (one for of_state in listed.values() for one in of_state):
        assert task(r, key, one["id"]) == one, "GET and LIST say the same"
    for state, of_state in listed.items():
        assert r.execute_command("TASK.LEN", key, state) == len(of_state) == fields[state]
    config = pairs(r.execute_command("TASK.INFO", key, "CONFIG"))
    return {
        "info": fields,
        "config": config,
        "tasks": listed,
        "groups": groups(r, key),
        "batches": list(map(pairs, pairs(r.execute_command("TASK.INFO", key, "BATCHES"))["batches"])),
        "cron": schedules(r, key),
    }


def groups(r: redis.Redis, key: object) -> dict:
    """The groups in TASK.INFO, without the spans from now."""
    found = {
        group["name"]: group
        for group in map(pairs, pairs(r.execute_command("TASK.INFO", key, "GROUPS"))["groups"])
    }
    for group in found.values():
        group["rests-ms"] = group["rests-ms"] > 0
    return found


@dataclass
class Rich:
    """A queue with something of everything: its key, and handles and ids for later commands."""

    key: str
    leased: bytes = b""  # ACK it
    extended: bytes = b""  # extended once
    cancelled: bytes = b""  # EXTEND replies CANCELLED
    tied: bytes = b""
    requested: bytes = b""  # claimed with REQUEST claim-token
    stalled: bytes = b""  # its lease has ended, but its ACK is still accepted
    requeued: bytes = b""  # requeued: STALE
    pushed: bytes = b""  # the id in the reply to the push with REQUEST push-token
    acked: list[bytes] = field(default_factory=list)
    unique: bytes = b""  # the id of the task that holds the token "one"
    kept: bytes = b""  # the id of a finished task whose token "kept" is still held
    awaited: bytes = b""  # the id of a delayed task that others wait for, the last of the batch "closed"


class Builder:
    """Creates tasks one at a time. Each has a higher priority than the one before, so a claim gets the newest."""

    def __init__(self, r: redis.Redis, key: str, priority: int = 0):
        self.r, self.key, self.priority = r, key, priority

    def claim(self, *options: object, push: tuple[object, ...] = ()) -> bytes:
        """Push a task and claim it. Returns its handle."""
        self.priority += 1
        payload = f"task {self.priority}"
        id_ = self.r.execute_command("TASK.PUSH", self.key, payload, "PRIORITY", self.priority, *push)
        ((handle, got, _),) = self.r.execute_command("TASK.CLAIM", self.key, *options)
        assert got == payload.encode() and handle.startswith(id_ + b"@")
        return handle

    def stall(self, handle: bytes, times: int) -> None:
        """Wait until a task with a short lease has stalled this often."""
        wait_until(
            lambda: task(self.r, self.key, handle)["stalls"] == times, f"{handle} stalled {times} times"
        )


def rich_queue(r: redis.Redis, key: str = "queue", paused: bool = True, many: int = 600) -> Rich:
    """Create a queue with tasks in each state and of each kind, settings, totals, texts and tokens; it is paused."""
    x, rich, made = r.execute_command, Rich(key), Builder(r, key)
    for name, value in SETTINGS.items():
        x("TASK.CONFIG", key, "SET", name, value)
    # A task that stalled twice is delayed, one that stalled once is ready. These come first, because they take long.
    made.stall(made.claim("LEASE", 1), 1)
    ((again, *_),) = x("TASK.CLAIM", key, "LEASE", 1, "WORKER", "crashes")
    made.stall(again, 2)
    rich.stalled = made.claim("LEASE", 1)
    made.stall(rich.stalled, 1)

    rich.leased = made.claim("WORKER", "w1")
    rich.extended = made.claim("WORKER", "w2", "LEASE", 60_000)
    x("TASK.EXTEND", key, rich.extended, "LEASE", 2 * HOUR)
    rich.cancelled = made.claim("WORKER", "w1", push=("ATTEMPTS", 3))
    assert x("TASK.CANCEL", key, rich.cancelled.split(b"@")[0]) == 2
    rich.tied = made.claim("TIED", "WORKER", b"tied \x00\xff")
    rich.requested = made.claim("REQUEST", "claim-token", push=("HEADERS", 1, "of", "a lease"))
    x("TASK.FAIL", key, made.claim(), "ERROR", b"went wrong: \x00\xff")
    x("TASK.FAIL", key, made.claim(push=("LEASE", 1234)), "ERROR", "dead of it" * 100, "DEAD")
    x("TASK.FAIL", key, made.claim(push=("ATTEMPTS", 1)))
    x("TASK.FAIL", key, made.claim(), "ERROR", "again later", "DELAY", 20 * HOUR)
    rich.requeued = made.claim()
    x("TASK.REQUEUE", key, rich.requeued)
    x("TASK.REQUEUE", key, made.claim(), "BACK")
    x("TASK.REQUEUE", key, made.claim(), "DELAY", 30 * HOUR)
    rich.acked = [made.claim(), made.claim()]
    assert x("TASK.ACK", key, "HANDLES", 2, *rich.acked) == [1, 1]
    done = made.claim(push=("RETAIN", 500 * HOUR))
    assert x("TASK.ACK", key, done, "RESULT", b"came of it \x00\xff") == 1
    assert x("TASK.ACK", key, made.claim(), "RETAIN", 600 * HOUR) == 1
    x("TASK.EXTEND", key, made.claim("WORKER", "w3"), "PROGRESS", b"half \x00\xff")
    retried = made.claim()
    x("TASK.FAIL", key, retried, "ERROR", "and retried", "DEAD")
    assert x("TASK.RETRY", key, retried.split(b"@")[0]) == 1
    assert x("TASK.CANCEL", key, x("TASK.PUSH", key, "never mind", "DELAY", HOUR)) == 1
    x("TASK.PUSH", key, "at most once", "PRIORITY", 127)
    assert x("TASK.CLAIM", key, "NOACK")[0][1] == b"at most once"

    x("TASK.PUSH", key, b"", "PRIORITY", -128)
    x("TASK.PUSH", key, bytes(range(256)), "HEADERS", 2, "trace", b"\x00\xff", "empty", "", "ATTEMPTS", -1)
    x("TASK.PUSH", key, "large" * 6 * many, "LEASE", 86_400_000)
    x("TASK.PUSH", key, "delayed", "DELAY", 10 * HOUR, "PRIORITY", 127)
    x("TASK.PUSH", key, "at", "AT", 4_102_444_800_500, "HEADERS", 1, "a", "b")
    rich.pushed = x("TASK.PUSH", key, "with a token", "REQUEST", b"push-token \xff")
    with_groups(r, key)
    rich.awaited = with_waits(made)
    rich.unique, one = x("TASK.PUSH", key, "first", "PRIORITY", -3, "UNIQUE", "one", "TTL", 700 * HOUR)
    assert one == 1 and x("TASK.PUSH", key, b"second \x00", "UNIQUE", "one", "REPLACE") == [rich.unique, 0]
    rich.kept, _ = x("TASK.PUSH", key, "cancelled", "UNIQUE", "kept", "FOR", 800 * HOUR, "KEEP")
    assert x("TASK.CANCEL", key, rich.kept) == 1
    assert x("TASK.CRON", key, "SET", "seldom", "EVERY", 900 * HOUR, "PAYLOAD", "tick") == 1
    assert x("TASK.CRON", key, "SET", "new year", "CRON", "0 0 1 1 *", "TZ", "Asia/Tokyo", "PAYLOAD", "") == 1
    x("TASK.MPUSH", key, "PRIORITY", -1, "TASKS", many, *(f"many {n}" for n in range(many)))
    if paused:
        x("TASK.PAUSE", key, "OUT")
        x("TASK.PAUSE", key, "IN", "FOR", 1000 * HOUR)
    return rich


def with_waits(made: Builder) -> bytes:
    """Add batches and tasks that wait for others. Returns the id of a task: once it is done, two more are ready."""
    x, key = made.r.execute_command, made.key
    assert (
        x("TASK.BATCH", key, "OPEN", b"open \x00\xff", "DELAY", HOUR, "PAYLOAD", b"", "GROUP", "callbacks")[1]
        == 1
    )
    outer = ("BATCH", b"open \x00\xff")
    assert (
        x("TASK.BATCH", key, "OPEN", "closed", *outer, "PRIORITY", -128, "PAYLOAD", "closed is complete")[1]
        == 1
    )
    in_batch = ("BATCH", "closed")
    x("TASK.FAIL", key, made.claim(push=in_batch), "DEAD", "ERROR", "died in its batch")
    assert x("TASK.ACK", key, made.claim(push=in_batch)) == 1
    assert x("TASK.CANCEL", key, x("TASK.PUSH", key, "cancelled", *in_batch, "DELAY", HOUR)) == 1
    awaited = x("TASK.PUSH", key, "awaited", *in_batch, "DELAY", 50 * HOUR)
    done = made.claim()
    x("TASK.ACK", key, done)
    after = ("AFTER", 2, done.split(b"@")[0], awaited)
    waits = x("TASK.PUSH", key, "waited", *after, *outer, "ONDEAD", "drop", "PRIORITY", -128)
    x(
        "TASK.MPUSH",
        key,
        "AFTER",
        1,
        waits,
        "ONDEAD",
        "run",
        "DELAY",
        HOUR,
        "HEADERS",
        1,
        "a",
        "b",
        "TASKS",
        2,
        "c",
        "d",
    )
    assert x("TASK.BATCH", key, "CLOSE", "closed") == 1
    return awaited


def with_groups(r: redis.Redis, key: str) -> None:
    """Add groups with each kind of limit, some of them reached, with tasks in each state, in the middle of a turn."""

    def put(group: str, count: int, *options: object) -> None:
        of = ("GROUP", group) if group != "none" else ()
        names = [f"{group}{n}" for n in range(1, count + 1)]
        r.execute_command("TASK.MPUSH", key, "PRIORITY", TURNS_AT, *of, *options, "TASKS", count, *names)

    for group, words in (
        ("red", ("WEIGHT", 3)),
        ("blue", ("RATE", 1000, "PER", HOUR)),
        ("held", ("CONCURRENCY", 0, "RATE", -1)),
        ("slow", ("RATE", 1, "PER", 100 * HOUR)),
        ("strict", ("ORDERED", "yes")),
    ):
        assert r.execute_command("TASK.GROUP", key, "SET", group, *words) == b"OK"
    for group, count in (("red", 6), ("blue", 4), ("none", 3), ("held", 2), ("slow", 2), ("strict", 2)):
        put(group, count)
    for group, option in (("red", "NOACK"), ("blue", "NOACK"), ("slow", "NOACK"), ("strict", "WITHMETA")):
        assert len(r.execute_command("TASK.CLAIM", key, "GROUP", group, option)) == 1
    put("later", 2, "DELAY", 40 * HOUR)


def goes_on(r: redis.Redis, rich: Rich, tied: bool = True) -> None:
    """Check that a stored queue works as before: handles, tokens, pauses and order. This empties it."""
    x, key = r.execute_command, rich.key
    for command in (("TASK.PUSH", key, "x"), ("TASK.MPUSH", key, "TASKS", 1, "x")):
        assert refusal(r, *command) == "PAUSED"
    assert x("TASK.CLAIM", key) == []
    x("TASK.RESUME", key, "ALL")
    assert refusal(r, "TASK.EXTEND", key, rich.cancelled) == "CANCELLED"
    assert refusal(r, "TASK.ACK", key, rich.requeued) == "STALE"
    assert x("TASK.ACK", key, "HANDLES", 2, *rich.acked) == [0, 0]
    assert x("TASK.PUSH", key, "with a token", "REQUEST", b"push-token \xff") == rich.pushed
    assert x("TASK.CLAIM", key, "REQUEST", "claim-token")[0][0] == rich.requested
    if rich.unique:
        assert x("TASK.PUSH", key, "third", "UNIQUE", "one") == [rich.unique, 0]
        assert x("TASK.PUSH", key, "third", "UNIQUE", "kept") == [rich.kept, 0]
    number = max(one["lease"] for one in tasks(r, key, "leased"))
    held = [rich.leased, rich.extended, rich.requested, *([rich.tied] if tied else [])]
    assert min(x("TASK.EXTEND", key, "HANDLES", len(held), *held)) > 0
    assert x("TASK.ACK", key, "HANDLES", len(held), *held) == [1] * len(held)
    assert x("TASK.FAIL", key, rich.cancelled) == 0 and task(r, key, rich.cancelled) is None
    late = info(r, key)["late"]
    assert x("TASK.ACK", key, rich.stalled) == 1 and info(r, key)["late"] == late + 1
    last = max(one["id"] for state in STATES for one in tasks(r, key, state))
    assert id_of(x("TASK.PUSH", key, "new", "PRIORITY", -128)) > id_of(last)
    # If groups take turns, LIST shows tasks by id.
    order = [one["id"] for one in tasks(r, key, "ready") if one["priority"] != TURNS_AT]
    claimed, in_turn = [], []
    while got := x("TASK.CLAIM", key, "COUNT", 7, "WITHMETA"):
        for handle, payload, _, meta in got:
            assert pairs(meta)["lease"] > number, "lease numbers grow"
            number = pairs(meta)["lease"]
            if pairs(meta)["priority"] == TURNS_AT:
                in_turn.append(payload.decode())
            else:
                claimed.append(handle.split(b"@")[0])
        handles = [handle for handle, *_ in got]
        assert x("TASK.ACK", key, "HANDLES", len(handles), *handles) == [1] * len(handles)
    assert claimed == order and len(order) > 30, "tasks come in the order in which LIST shows them"
    if rich.awaited:
        assert x("TASK.RETRY", key, rich.awaited) == 1 and x("TASK.CLAIM", key, "NOACK")[0][1] == b"awaited"
        released = {
            payload: pairs(meta)
            for _, payload, _, meta in x("TASK.CLAIM", key, "NOACK", "COUNT", 9, "WITHMETA")
        }
        assert set(released) == {b"waited", b"closed is complete"}
        meta = released[b"waited"]
        assert (meta["batch"], meta["after"][0]) == (b"open \x00\xff", rich.awaited)
        meta = released[b"closed is complete"]
        assert (meta["callback-of"], meta["batch-tasks"], meta["batch-done"]) == (b"closed", 4, 2)
        assert (meta["batch-dead"], meta["batch-cancelled"]) == (1, 1)
        assert x("TASK.LEN", key, "held") == 1 and x("TASK.BATCH", key, "CLOSE", b"open \x00\xff") == 1
        assert x("TASK.LEN", key, "held") == 0
    # Queues from before there were groups have none.
    assert in_turn in (TURNS, []), "groups go on where they stood in turn"
    assert bool(in_turn) == (pairs(x("TASK.INFO", key, "GROUPS"))["known"] > 0)


def refusal(r: redis.Redis, *command: object) -> str:
    """The code of the error that a command returns."""
    try:
        reply = r.execute_command(*command)
    except redis.ResponseError as error:
        # redis-py turns some codes into types of exceptions, and removes them from the text.
        word = "READONLY" if isinstance(error, redis.ReadOnlyError) else str(error).split(" ")[0]
        return word if word.isupper() else "ERR"
    raise AssertionError(f"{command} is refused (it answered {reply!r})")


def id_of(text: bytes) -> tuple[int, ...]:
    """A task's id as a pair of numbers, for comparisons."""
    return tuple(map(int, text.split(b"-")))
