"""A missing effect is detected, because the effects of a queue are numbered."""

from harness.files import rewrite_aof
from harness.server import Server, parse_commands, wait_synced
from harness.talk import Error, Talk, read_effect

GAP = b"effects are missing"


def packed(words: list[bytes]) -> bytes:
    """A command as an AOF has it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def without(server: Server, nth: int) -> None:
    """Remove one effect from the AOF of a server that is down."""
    path = server._aof()
    commands, _ = parse_commands(path.read_bytes())
    positions = [n for n, words in enumerate(commands) if words[0] == b"TASK._APPLY"]
    commands.pop(positions[nth])
    path.write_bytes(b"".join(map(packed, commands)))


def test_effects_of_a_queue_are_numbered_from_1(start):
    """Effects of the timer are numbered too. A queue that is created again starts at 1 again."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no")
    c = Talk(server)
    for _ in range(2):
        c.push("q", "x", "DELAY", 1)
        server.wait_until(lambda: c("TASK.LEN", "q", "ready") == 1, "the delay is over")
        c.claim("q")
        c("DEL", "q")
    c.push("r", "x")
    applied = [read_effect(words) for words in server.propagated() if words[0] == b"TASK._APPLY"]
    numbers = [(effect.key, effect.number) for effect in applied]
    assert numbers == [(b"q", n) for n in (1, 2, 3)] * 2 + [(b"r", 1)]


def test_a_push_that_is_missing_in_the_middle_of_an_aof_breaks_the_queue(start):
    """The log and TASK.INFO give the reason. The queue can be read, and other queues are not affected."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no", appendfsync="always")
    c = Talk(server)
    for n in range(5):
        c.push("q", f"p{n}")
    c.push("r", "x")
    server.kill9()
    without(server, 2)
    c = Talk(server.start())
    assert GAP in c.map("TASK.INFO", "q")[b"broken"] and GAP.decode() in server.log()
    assert c("TASK.LEN", "q") == 2
    assert isinstance(c("TASK.PUSH", "q", "y"), Error)
    assert c.push("r", "y") and c.map("TASK.INFO", "r")[b"broken"] == b""


def test_a_missing_first_effect_is_detected_too(start):
    """The queue does not exist yet when the second effect is applied."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no", appendfsync="always")
    c = Talk(server)
    c.push("q", "x")
    c.push("q", "y")
    server.kill9()
    without(server, 0)
    c = Talk(server.start())
    assert GAP in c.map("TASK.INFO", "q")[b"broken"]


def test_a_change_on_a_replica_is_detected_at_the_next_effect(start):
    """A replica that accepts its own writes differs from its primary."""
    primary, replica = start(port=True), start(replica_read_only="no")
    c, far = Talk(primary), Talk(replica)
    c.push("q", "x")
    replica.replicate(primary)
    far.push("q", "mine")
    c.push("q", "y")
    wait_synced(primary, replica)
    assert GAP in far.map("TASK.INFO", "q")[b"broken"]


def test_numbers_continue_over_rewrites_copies_renames_and_failovers(start):
    """No effect is reported missing when none is."""
    primary = start(port=True, appendonly="yes", aof_use_rdb_preamble="no", appendfsync="always")
    replica = start(port=True)
    c = Talk(primary)
    replica.replicate(primary)
    for n in range(3):
        c.push("q", f"p{n}", "DELAY", 5)
    rewrite_aof(primary)
    c.push("q", "x")
    c("COPY", "q", "copy")
    c("RENAME", "q", "renamed")
    c("RESTORE", "restored", 0, c("DUMP", "renamed"))
    for key in ("copy", "renamed", "restored"):
        c.push(key, "y")
        c.claim(key)
    wait_synced(primary, replica)
    assert Talk(replica)("REPLICAOF", "NO", "ONE") == "OK"
    primary.replicate(replica)
    far = Talk(replica)
    for key in ("copy", "renamed", "restored"):
        far.push(key, "z")
    wait_synced(replica, primary)
    for server in (primary, replica):
        talk = Talk(server)
        assert {talk.map("TASK.INFO", key)[b"broken"] for key in ("copy", "renamed", "restored")} == {b""}
        assert b"taskslot_broken_queues:0" in talk("INFO", "taskslot")
    for key in ("copy", "renamed", "restored"):
        assert c.digest(key) == far.digest(key)
