"""Large queues are freed on another thread, except when the server is short of memory."""

from pathlib import Path

from harness.server import Server
from harness.talk import Talk

GROUPS = 5000


def large(c: Talk, key: str) -> None:
    """Fill a queue with more blocks than are freed at once. Each of its groups has some."""
    c.many([["TASK.PUSH", key, "x", "GROUP", number] for number in range(GROUPS)])


def frees_elsewhere(server: Server) -> bool:
    """Whether the process has started the thread that frees large queues."""
    names = [path.read_text().strip() for path in Path(f"/proc/{server.pid}/task").glob("*/comm")]
    return "taskslot-free" in names


def queues(c: Talk) -> int:
    """How many queues the server has, including those that are being freed."""
    lines = c("INFO", "taskslot").decode().splitlines()
    return next(int(line.split(":")[1]) for line in lines if line.startswith("taskslot_queues:"))


def not_lazy(start, **settings) -> tuple[Server, Talk]:
    """A server on which DEL frees at once, as old servers do by default."""
    server = start(lazyfree_lazy_user_del="no", **settings)
    return server, Talk(server)


def test_a_plain_del_of_a_large_queue_is_freed_on_another_thread(start):
    """FLUSHALL and commands that overwrite the key do the same. In the end all queues are freed."""
    server, c = not_lazy(start)
    c.push("small")
    assert c("DEL", "small") == 1
    assert not frees_elsewhere(server), "a small queue is freed on the main thread"
    large(c, "q")
    payload = c("DUMP", "q")
    assert c("DEL", "q") == 1
    server.wait_until(lambda: frees_elsewhere(server), "the thread has started and has its name")
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


def test_a_server_that_is_nearly_full_frees_on_the_main_thread(start):
    """A server that evicts keys must get their memory back at once, or it evicts more than it has to."""
    server, c = not_lazy(start, maxmemory="4mb", maxmemory_policy="noeviction")
    large(c, "q")
    used = int(c("INFO", "memory").split(b"used_memory:")[1].split(b"\r")[0])
    assert c("CONFIG", "SET", "maxmemory", used) == "OK"
    assert c("DEL", "q") == 1
    assert queues(c) == 0
    assert not frees_elsewhere(server)


def test_eviction_removes_one_large_queue_and_not_all(start):
    """A little memory is missing, and ten queues are large."""
    server, c = not_lazy(start, maxmemory_policy="allkeys-lru", lazyfree_lazy_eviction="no")
    for number in range(10):
        large(c, f"q{number}")
    used = int(c("INFO", "memory").split(b"used_memory:")[1].split(b"\r")[0])
    assert c("CONFIG", "SET", "maxmemory", used - 100_000) == "OK"
    c("SET", "something", "x")
    server.wait_until(lambda: c("DBSIZE") < 11, "one is evicted")
    assert c("DBSIZE") >= 9
