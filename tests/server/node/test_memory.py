"""The memory of a queue: MEMORY USAGE agrees with used_memory, and all of it is freed."""

import pytest
from harness.edges import bound
from harness.queues import HOUR
from harness.server import Server
from harness.talk import Talk

TASKS = 10_000
NOISE = 100_000  # bytes of connection buffers, which come and go whatever the queue does


def used(c: Talk) -> int:
    """used_memory, in bytes."""
    return int(info_field(c, "memory", "used_memory"))


def info_field(c: Talk, section: str, name: str) -> str:
    """A field of INFO."""
    lines = c("INFO", section).decode().splitlines()
    return next(line.split(":")[1] for line in lines if line.startswith(name + ":"))


def push(c: Talk, count: int, payload: str, *options: object, each: tuple[str, ...] = ()) -> None:
    """Push that many tasks, a thousand at a time. If each has options of its own, push one by one."""
    if each:
        words = [[word.format(n) for word in each] for n in range(count)]
        c.many([("TASK.PUSH", "queue", payload, *options, *own) for own in words])
    else:
        c.many([("TASK.MPUSH", "queue", *options, "TASKS", 1000, *[payload] * 1000)] * (count // 1000))


def claim_all(c: Talk, *options: object) -> list[bytes]:
    """Claim all ready tasks and return their handles."""
    handles = []
    while tasks := c("TASK.CLAIM", "queue", "COUNT", 1000, "LEASE", HOUR, *options):
        handles += [handle for handle, *_ in tasks]
    return handles


def ready(c: Talk) -> None:
    push(c, TASKS, "x" * 100)


def small(c: Talk) -> None:
    push(c, 10 * TASKS, "")


def large(c: Talk) -> None:
    push(c, TASKS // 10, "x" * 20_000)


def optional(c: Talk) -> None:
    push(c, TASKS, "x" * 30, "PRIORITY", 3, "LEASE", 5000, "HEADERS", 2, "trace", "0123456789", "b", "c")


def of_many_priorities(c: Talk) -> None:
    for n in range(TASKS // 10):
        c("TASK.MPUSH", "queue", "PRIORITY", n % 256 - 128, "TASKS", 10, *["x" * 90] * 10)


def delayed(c: Talk) -> None:
    push(c, TASKS, "x" * 100, "DELAY", HOUR)


def delayed_apart(c: Talk) -> None:
    push(c, TASKS, "x" * 100, each=("DELAY", "36{:05}"))


def leased(c: Talk) -> None:
    push(c, TASKS, "x" * 100)
    claim_all(c, "WORKER", "a name of a worker")


def tied(c: Talk) -> None:
    push(c, TASKS, "x" * 100)
    claim_all(c, "TIED")


def dead(c: Talk) -> None:
    push(c, TASKS, "x" * 100)
    c.many([("TASK.FAIL", "queue", handle, "DEAD", "ERROR", "e" * 60) for handle in claim_all(c)])


def returned(c: Talk) -> None:
    push(c, TASKS, "x" * 100)
    c.many([("TASK.REQUEUE", "queue", handle) for handle in claim_all(c)])


def requested(c: Talk) -> None:
    push(c, TASKS, "x" * 10, each=("REQUEST", "token number {}"))


def unique(c: Talk) -> None:
    push(c, TASKS, "x" * 10, each=("UNIQUE", "token number {}"))


def unique_for(c: Talk) -> None:
    push(c, TASKS, "x" * 10, "FOR", HOUR, each=("UNIQUE", "token number {}"))


def replaced(c: Talk) -> None:
    for size in (1, 200):
        push(c, TASKS, "x" * size, "REPLACE", each=("UNIQUE", "token number {}"))


def to_expire(c: Talk) -> None:
    push(c, TASKS, "x" * 10, "TTL", HOUR)


def half_gone(c: Talk) -> None:
    push(c, TASKS * 2, "x" * 100)
    handles = claim_all(c)
    c.many([("TASK.ACK", "queue", handle) for handle in handles[::2]])


KINDS = [
    ready,
    small,
    large,
    optional,
    of_many_priorities,
    delayed,
    delayed_apart,
    leased,
    tied,
    dead,
    returned,
    requested,
    unique,
    unique_for,
    replaced,
    to_expire,
    half_gone,
]


def warm(server: Server) -> Talk:
    """A client of a server that did similar work before, so that its own buffers are allocated."""
    c = Talk(server)
    for fill in (leased, dead):
        fill(c)
        c("DEL", "queue")
    c.many([("ECHO", "x" * 1000)] * 1000)
    # Valkey frees deleted values on another thread, and the module frees large queues on one.
    is_freed = b"lazyfree_pending_objects:0"
    server.wait_until(lambda: is_freed in c("INFO", "memory"), "what was deleted is freed")
    server.wait_until(lambda: b"taskslot_queues:0" in c("INFO", "taskslot"), "large queues are freed too")
    return c


@pytest.mark.parametrize("fill", KINDS)
def test_memory_usage_is_the_growth_of_used_memory(start, fill):
    """They agree within 15 %. UNLINK frees all of it."""
    server = start()
    c = warm(server)
    before = used(c)
    fill(c)
    grown, usage = used(c) - before, c("MEMORY", "USAGE", "queue", "SAMPLES", 0)
    assert usage == pytest.approx(grown, rel=0.15, abs=NOISE)
    assert c.map("TASK.INFO", "queue")[b"memory"] == pytest.approx(usage, abs=500)
    assert c("UNLINK", "queue") == 1
    server.wait_until(lambda: used(c) - before < grown * 0.02 + NOISE, "the memory is freed")


def test_a_large_queue_is_freed_by_the_server_in_the_background(start):
    """UNLINK, FLUSHALL ASYNC and an expired key use the server's lazy free thread."""
    server = start(lazyfree_lazy_expire="yes")
    c = warm(server)
    before = used(c)
    for thousands, *remove in (
        (200, "UNLINK", "queue"),
        (30, "PEXPIRE", "queue", 1),
        (30, "FLUSHALL", "ASYNC"),
    ):
        freed = int(info_field(c, "memory", "lazyfreed_objects"))
        push(c, thousands * 1000, "x" * 50)
        claimed = c("TASK.CLAIM", "queue", "COUNT", 1000, "LEASE", HOUR)
        assert len(claimed) == 1000 and used(c) - before > thousands * 50_000
        c(*remove)
        server.wait_until(lambda: c("EXISTS", "queue") == 0, "it is deleted")
        server.wait_until(lambda: used(c) - before < 2 * NOISE, f"the memory is freed by {remove[0]}")
        by_thread = "the other thread has freed it"
        server.wait_until(lambda n=freed: int(info_field(c, "memory", "lazyfreed_objects")) > n, by_thread)
        # The key is free for a new queue.
        assert c("TASK.LEN", "queue") == 0


def test_a_small_queue_is_freed_at_once(c):
    """A queue of a thousand small tasks does not need another thread."""
    count = min(1000, bound("api/freeing.rs", "FEW_BLOCKS") // 4)
    c("TASK.MPUSH", "queue", "TASKS", count, *["x"] * count)
    freed = info_field(c, "memory", "lazyfreed_objects")
    c("UNLINK", "queue")
    assert info_field(c, "memory", "lazyfreed_objects") == freed


def test_a_drained_queue_keeps_little_memory(server):
    """After 20,000 tasks were acked, at most 5 % of their memory is left."""
    c = warm(server)
    before = used(c)
    push(c, 2 * TASKS, "x" * 100)
    full = used(c) - before
    c.many([("TASK.ACK", "queue", handle) for handle in claim_all(c, "WORKER", "w")])
    assert c("TASK.LEN", "queue") == 0 and c("EXISTS", "queue") == 1
    server.wait_until(lambda: used(c) - before < full * 0.05 + NOISE, "the memory is freed")
    assert c("MEMORY", "USAGE", "queue") < full * 0.05


def test_a_full_server_can_be_drained(start):
    """Above maxmemory only pushes are refused. Once enough tasks are acked, pushes work again."""
    server = start(maxmemory_policy="noeviction")
    c = warm(server)
    push(c, 2 * TASKS, "x" * 100)
    c("CONFIG", "SET", "maxmemory", used(c) // 2)
    assert c("TASK.PUSH", "queue", "x").startswith("OOM ") and c("TASK.PUSH", "new", "x").startswith("OOM ")
    handles = claim_all(c)
    assert len(handles) == 2 * TASKS
    assert c("TASK.EXTEND", "queue", handles[0], "LEASE", HOUR) > 0
    assert c("TASK.REQUEUE", "queue", handles.pop()) == 1
    assert c("TASK.FAIL", "queue", handles.pop(), "DEAD") == -1
    assert c("TASK.CONFIG", "queue", "SET", "lease", 1) == "OK"
    c.many([("TASK.ACK", "queue", handle) for handle in handles])
    server.wait_until(lambda: c("TASK.PUSH", "queue", "x").__class__ is bytes, "there is room again")


ENDS = {
    "deleted": lambda c, name: c("DEL", name),
    "unlinked": lambda c, name: c("UNLINK", name),
    "expired": lambda c, name: c("PEXPIRE", name, -1),
    "overwritten": lambda c, name: (c("SET", name, "x"), c("DEL", name)),
    "replaced": lambda c, name: (c("SET", "x", "x"), c("RENAME", "x", name), c("DEL", name)),
    "renamed": lambda c, name: (c("RENAME", name, "x"), c("DEL", "x")),
    "moved": lambda c, name: (c("MOVE", name, 1), c("SELECT", 1), c("DEL", name), c("SELECT", 0)),
    "flushed": lambda c, name: c("FLUSHDB"),
    "flushed by a thread": lambda c, name: c("FLUSHALL", "ASYNC"),
    "swapped": lambda c, name: (c("SWAPDB", 0, 1), c("SELECT", 1), c("DEL", name), c("SELECT", 0)),
}


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_left_of_queues_that_are_gone(server, end):
    """They had tasks to come in years, so the node had noted when."""
    c = warm(server)
    before = used(c)
    for n in range(20):
        name = f"{n}" + "k" * NOISE
        c("TASK.PUSH", name, "x", "DELAY", 10_000 * HOUR)
        ENDS[end](c, name)
    assert c("DBSIZE") == 0
    server.wait_until(lambda: used(c) - before < 3 * NOISE, "the memory is freed", 5)


def test_nothing_is_left_of_many_queues_that_are_gone_at_once(server):
    """Their hints are removed in steps."""
    c = warm(server)
    before = used(c)
    c.many([("TASK.PUSH", f"{n}" + "k" * NOISE, "x", "DELAY", 10_000 * HOUR) for n in range(50)])
    assert c("FLUSHALL") == "OK"
    server.wait_until(lambda: used(c) - before < 3 * NOISE, "the memory is freed", 5)


def test_a_script_leaves_nothing_of_its_queues(server):
    """It ends them before anything else can run."""
    c = warm(server)
    before = used(c)
    most = c(
        "EVAL",
        "for n = 1, 50 do "
        "redis.call('TASK.PUSH', n .. KEYS[1], 'x', 'DELAY', 3000000000000); redis.call('DEL', n .. KEYS[1]) end "
        "return string.match(redis.call('INFO', 'memory'), 'used_memory:(%d+)')",
        1,
        "k" * NOISE,
    )
    assert int(most) - before < 10 * NOISE


def test_times_that_come_ever_earlier_take_no_memory(server):
    """A node notes only when a queue has something to do next."""
    c = warm(server)
    name = "k" * NOISE
    c("TASK.PUSH", name, "x")
    before = used(c)
    c.many([("TASK.PUSH", name, "x", "DELAY", (10_000 - n) * HOUR) for n in range(20)])
    assert used(c) - before < 3 * NOISE


def test_a_script_with_many_writes_takes_no_memory_for_each(server):
    """A worker waits for the queue, and gets its task once the script has ended."""
    c, worker = warm(server), Talk(server)
    name = "k" * NOISE
    worker.send(["TASK.CLAIM", name, "BLOCK", 0])
    server.wait_until(lambda: info_field(c, "taskslot", "taskslot_blocked_workers") == "1", "it waits")
    before = used(c)
    most = c(
        "EVAL",
        "for n = 1, 50 do redis.call('TASK.PUSH', KEYS[1], 'x') end "
        "return string.match(redis.call('INFO', 'memory'), 'used_memory:(%d+)')",
        1,
        name,
    )
    assert len(worker.read()) == 1
    assert int(most) - before < 10 * NOISE


def test_nothing_is_left_on_a_replica_of_queues_that_are_gone(start):
    """It notes times too, because it may be promoted. Some of the queues were restored from a dump."""
    options = {"repl-backlog-size": "16kb"}
    server, replica = start(port=True, **options), start(**options)
    replica.replicate(server)
    c, far = warm(server), Talk(replica)
    dump = c("TASK.PUSH", "q", "x", "DELAY", 10_000 * HOUR) and c("DUMP", "q")
    server.wait_until(lambda: far("EXISTS", "q") == 1, "the replica follows")
    before = used(far)
    for n in range(20):
        name = f"{n}" + "k" * NOISE
        c("TASK.PUSH", name, "x", "DELAY", 10_000 * HOUR)
        c("DEL", name)
        assert c("RESTORE", name, 0, dump) == "OK"
        c("DEL", name)
    assert c("DEL", "q") == 1
    server.wait_until(lambda: far("DBSIZE") == 0, "the replica follows")
    server.wait_until(lambda: used(far) - before < 3 * NOISE, "the memory is freed", 5)
