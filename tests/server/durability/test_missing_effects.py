"""An effect that is missing is noticed: a queue's effects are numbered."""

from harness.files import rewrite_aof
from harness.server import Server, parse_commands, wait_synced
from harness.talk import Error, Talk

GAP = b"effects are missing"


def packed(words: list[bytes]) -> bytes:
    """A command as it stands in an AOF."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def without(server: Server, place: int) -> None:
    """Take one effect out of the AOF of a server that is down."""
    path = server._aof()
    commands, _ = parse_commands(path.read_bytes())
    told = [n for n, words in enumerate(commands) if words[0] == b"TASK._APPLY"]
    commands.pop(told[place])
    path.write_bytes(b"".join(map(packed, commands)))


def test_effects_are_numbered_from_the_queues_first_on(start):
    """Also those of what the server does by itself; a queue that comes anew begins anew."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no")
    c = Talk(server)
    for _ in range(2):
        c.push("q", "x", "DELAY", 1)
        server.wait_until(lambda: c("TASK.LEN", "q", "ready") == 1, "the delay is over")
        c.claim("q")
        c("DEL", "q")
    c.push("r", "x")
    told = [words for words in server.propagated() if words[0] == b"TASK._APPLY"]
    numbers = [(words[1], int.from_bytes(words[2][1:7], "big")) for words in told]
    assert numbers == [(b"q", n) for n in (1, 2, 3)] * 2 + [(b"r", 1)]


def test_a_push_that_is_missing_in_the_middle_of_an_aof_breaks_the_queue(start):
    """The log and INFO say what is wrong; what is there can be read; other queues are well."""
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


def test_the_first_effect_of_a_queue_is_missed_too(start):
    """There is no queue yet when the second comes."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no", appendfsync="always")
    c = Talk(server)
    c.push("q", "x")
    c.push("q", "y")
    server.kill9()
    without(server, 0)
    c = Talk(server.start())
    assert GAP in c.map("TASK.INFO", "q")[b"broken"]


def test_a_change_on_a_replica_is_noticed_at_the_next_effect(start):
    """A replica that takes writes of its own has diverged from its primary."""
    primary, replica = start(port=True), start(replica_read_only="no")
    c, far = Talk(primary), Talk(replica)
    c.push("q", "x")
    replica.replicate(primary)
    far.push("q", "mine")
    c.push("q", "y")
    wait_synced(primary, replica)
    assert GAP in far.map("TASK.INFO", "q")[b"broken"]


def test_numbers_go_on_over_rewrites_copies_moves_and_failovers(start):
    """Nothing is missed where nothing is missing."""
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
