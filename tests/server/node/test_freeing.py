"""How large queues are freed: not by the thread that serves everybody."""

from pathlib import Path

from harness.server import Server
from harness.talk import Talk

GROUPS = 5000


def large(c: Talk, key: str) -> None:
    """A queue of more blocks than are freed at once: each of its groups has some."""
    c.many([["TASK.PUSH", key, "x", "GROUP", number] for number in range(GROUPS)])


def frees_elsewhere(server: Server) -> bool:
    """Whether the process has the thread that frees large queues."""
    names = [path.read_text().strip() for path in Path(f"/proc/{server.pid}/task").glob("*/comm")]
    return "taskslot-free" in names


def queues(c: Talk) -> int:
    """How many queues the server holds, those included that are being freed."""
    lines = c("INFO", "taskslot").decode().splitlines()
    return next(int(line.split(":")[1]) for line in lines if line.startswith("taskslot_queues:"))


def not_lazy(start, **settings) -> tuple[Server, Talk]:
    """A server on which DEL frees at once, as it may be set and as old servers do."""
    server = start(lazyfree_lazy_user_del="no", **settings)
    return server, Talk(server)


def test_a_plain_del_of_a_large_queue_is_freed_on_another_thread(start):
    """DEL, FLUSHALL SYNC, SET over it and RESTORE over it come back at once; all memory comes back."""
    server, c = not_lazy(start)
    c.push("small")
    assert c("DEL", "small") == 1
    assert not frees_elsewhere(server), "a small queue is freed where it is"
    large(c, "q")
    payload = c("DUMP", "q")
    assert c("DEL", "q") == 1
    server.wait_until(lambda: frees_elsewhere(server), "the thread has begun, and its name")
    for remove in (["FLUSHALL"], ["SET", "q", "x"], ["RENAME", "other", "q"]):
        c("DEL", "q")
        large(c, "q")
        c("SET", "other", "x")
        c(*remove)
    assert c("RESTORE", "q", 0, payload, "REPLACE") == "OK"
    assert c("RESTORE", "q", 0, payload, "REPLACE") == "OK"
    c("DEL", "q")
    server.wait_until(lambda: queues(c) == 0, "all queues are freed")
    server.check()


def test_a_server_that_is_nearly_full_frees_at_once(start):
    """Where the server removes keys to get memory back, it gets it: else it would remove more than it has to."""
    server, c = not_lazy(start, maxmemory="4mb", maxmemory_policy="noeviction")
    large(c, "q")
    used = int(c("INFO", "memory").split(b"used_memory:")[1].split(b"\r")[0])
    assert c("CONFIG", "SET", "maxmemory", used) == "OK"
    assert c("DEL", "q") == 1
    assert queues(c) == 0
    assert not frees_elsewhere(server)


def test_a_server_that_evicts_removes_one_queue_and_not_all(start):
    """Of ten large queues one goes when a little memory is missing."""
    server, c = not_lazy(start, maxmemory_policy="allkeys-lru", lazyfree_lazy_eviction="no")
    for number in range(10):
        large(c, f"q{number}")
    used = int(c("INFO", "memory").split(b"used_memory:")[1].split(b"\r")[0])
    assert c("CONFIG", "SET", "maxmemory", used - 100_000) == "OK"
    c("SET", "something", "x")
    server.wait_until(lambda: c("DBSIZE") < 11, "one goes")
    assert c("DBSIZE") >= 9
