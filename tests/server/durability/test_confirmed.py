"""WAIT and WAITAOF after a command that was sent again: they tell who has what the first copy did."""

import pytest
from harness.files import wait_aof
from harness.manual import manuals
from harness.server import wait_synced
from harness.talk import Error, Talk

HOUR = 3_600_000
# How long a WAIT lasts that must not be confirmed, and the most for one that must be.
SHORT_MS, LONG_MS = 50, 20_000
HANDLE = object()
REPEATED: dict[str, list] = {
    "push": ["TASK.PUSH", "q", "x", "REQUEST", "t"],
    "push of several": ["TASK.MPUSH", "q", "REQUEST", "t", "TASKS", 2, "x", "y"],
    "push that finds a task": ["TASK.PUSH", "q", "x", "UNIQUE", "u"],
    "claim": ["TASK.CLAIM", "q", "REQUEST", "t"],
    "claim from several": ["TASK.MCLAIM", "q", "KEYS", 1, "r", "REQUEST", "t"],
    "ack": ["TASK.ACK", "q", HANDLE],
    "acks": ["TASK.ACK", "q", "HANDLES", 1, HANDLE],
    "fail": ["TASK.FAIL", "q", HANDLE],
    "requeue": ["TASK.REQUEUE", "q", HANDLE],
    "next": ["TASK.NEXT", "empty", HANDLE],
    "next step": ["TASK.ACK", "q", HANDLE, "PUSH", "x"],
    "next step with a token": ["TASK.ACK", "q", HANDLE, "PUSH", "x", "REQUEST", "t"],
    "next step of a stale handle": ["TASK.ACK", "q", HANDLE, "PUSH", "x"],
    "extension of a stale handle": ["TASK.EXTEND", "q", HANDLE],
    "extension of what is finished": ["TASK.EXTEND", "q", HANDLE],
    "change": ["TASK.SET", "q", "UNIQUE", "held", "PRIORITY", 3],
    "opened batch": ["TASK.BATCH", "q", "OPEN", "new", "PAYLOAD", "x"],
    "closed batch": ["TASK.BATCH", "q", "CLOSE", "b"],
    "deleted batch": ["TASK.BATCH", "q", "DEL", "b"],
    "cancel": ["TASK.CANCEL", "q", "UNIQUE", "held"],
    "purge": ["TASK.PURGE", "q", "delayed"],
    "retry": ["TASK.RETRY", "q", "COUNT", 9],
    "removed schedule": ["TASK.CRON", "q", "DEL", "c"],
    "resume": ["TASK.RESUME", "q", "IN"],
    "limits of a group": ["TASK.GROUP", "q", "SET", "g", "WEIGHT", 3],
    "removed limits": ["TASK.GROUP", "q", "DEL", "h"],
}
# What was done before, if it was another command.
FIRST: dict[str, list] = {
    "next step of a stale handle": ["TASK.REQUEUE", "q", HANDLE],
    "extension of a stale handle": ["TASK.REQUEUE", "q", HANDLE],
    "extension of what is finished": ["TASK.ACK", "q", HANDLE],
}


@pytest.fixture(scope="module")
def prepared() -> list[list]:
    """Commands that make a queue on which each of the others does something."""
    return [
        ["TASK.PUSH", "q", "dead", "ATTEMPTS", 1],
        ["TASK.CLAIM", "q", "REQUEST", "dies"],
        ["TASK.PUSH", "q", "x", "DELAY", HOUR, "UNIQUE", "held"],
        ["TASK.BATCH", "q", "OPEN", "b", "PAYLOAD", "x"],
        ["TASK.CRON", "q", "SET", "c", "EVERY", HOUR, "PAYLOAD", "x"],
        ["TASK.GROUP", "q", "SET", "h", "WEIGHT", 2],
    ]


def prepare(talk: Talk, prepared: list[list], what: str) -> list[list]:
    """Make the queue. Returns the first command and the one after it, with the handle of a task that is leased."""
    for command in prepared:
        assert not isinstance(talk(*command), Error), command
    [[dead, *_]] = talk("TASK.CLAIM", "q", "REQUEST", "dies")
    assert talk("TASK.FAIL", "q", dead) == -1
    again = REPEATED[what]
    commands = [FIRST.get(what, again), again]
    key = again[1] if HANDLE in again else "q"
    talk.push(key, "task")
    if HANDLE in again:
        handle = talk.claim(key)
        commands = [[handle if word is HANDLE else word for word in command] for command in commands]
    if what == "resume":
        talk("TASK.PAUSE", "q", "IN")
    return commands


QUICK = ("push", "claim", "ack", "fail", "cancel")


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[pytest.mark.slow] * (what not in QUICK)) for what in REPEATED]
)
def test_a_wait_after_a_repeated_command_confirms_what_the_first_one_did(start, prepared, what):
    """The replica hangs. A new connection repeats the command, which sends only the time. WAIT counts no replica."""
    primary, replica = start(port=True, appendonly="yes", aof_use_rdb_preamble="no"), start()
    replica.replicate(primary)
    talk = Talk(primary)
    first, repeated = prepare(talk, prepared, what)
    wait_synced(primary, replica)
    replica.freeze()
    assert not isinstance(talk(*first), Error) and talk("WAIT", 1, SHORT_MS) == 0
    primary.propagated()
    again = Talk(primary)
    again(*repeated)
    assert {words[0] for words in primary.propagated()} - {b"MULTI", b"EXEC"} == {b"TASK._CLOCK"}
    assert again("WAIT", 1, SHORT_MS) == 0, "the replica has nothing"
    replica.thaw()
    assert again("WAIT", 1, LONG_MS) == 1
    wait_synced(primary, replica)
    assert Talk(replica).digest() == talk.digest()


@pytest.mark.slow
@pytest.mark.parametrize("what", REPEATED)
def test_a_waitaof_after_a_repeated_command_confirms_what_the_first_one_did(start, prepared, what):
    """The server syncs no file until it is told to. WAITAOF on a new connection says so."""
    server = start(appendonly="yes", appendfsync="no")
    talk = Talk(server)
    if talk("COMMAND", "INFO", "waitaof") == [None]:
        pytest.skip("this server has no WAITAOF")
    first, repeated = prepare(talk, prepared, what)
    assert talk("CONFIG", "SET", "appendfsync", "always") == "OK"
    assert talk("WAITAOF", 1, 0, LONG_MS) == [1, 0]
    assert talk("CONFIG", "SET", "appendfsync", "no") == "OK"
    assert not isinstance(talk(*first), Error) and talk("WAITAOF", 1, 0, SHORT_MS) == [0, 0]
    again = Talk(server)
    again(*repeated)
    assert again("WAITAOF", 1, 0, SHORT_MS) == [0, 0], "the file is not on the disk"
    assert talk("CONFIG", "SET", "appendfsync", "always") == "OK"
    talk.push("other")
    assert again("WAITAOF", 1, 0, LONG_MS) == [1, 0]


def test_each_command_that_sends_only_the_time_is_repeated_here():
    """Its manual says so."""
    named = {name for name, manual in manuals().items() if "Only TASK._CLOCK" in manual.replicates}
    assert "TASK.SET" in named and named <= {command[0] for command in REPEATED.values()}


def test_a_claim_that_finds_nothing_sends_nothing_to_replicas(start):
    """Workers ask again and again."""
    primary = start(port=True, appendonly="yes")
    talk = Talk(primary)
    talk.push()
    talk("TASK.CLAIM", "q", "NOACK")
    primary.propagated()
    for command in (["TASK.CLAIM", "q"], ["TASK.CLAIM", "q", "REQUEST", "t"], ["TASK.CLAIM", "none"]):
        assert talk(*command) == []
    talk.push("other", "x")
    assert [words[1] for words in primary.propagated() if words[0] == b"TASK._APPLY"] == [b"other"]


def test_a_waitaof_for_a_replica_counts_it_once_its_file_is_on_its_disk(start):
    """Not while it has no AOF, nor while it syncs none. What both servers have confirmed, both have after a kill."""
    primary, replica = start(port=True, appendonly="yes", appendfsync="always"), start()
    talk, far = Talk(primary), Talk(replica)
    if talk("COMMAND", "INFO", "waitaof") == [None]:
        pytest.skip("this server has no WAITAOF")
    replica.replicate(primary)
    talk.push("q", "without a file")
    assert talk("WAITAOF", 1, 1, SHORT_MS) == [1, 0], "fewer than asked for, and no error"
    replica.configure(appendonly="yes")
    wait_aof(replica)
    talk.push("q", "in a file that is not synced")
    assert talk("WAITAOF", 1, 1, SHORT_MS) == [1, 0]
    assert far("TASK.LEN", "q") == 2, "the replica has both"
    replica.configure(appendfsync="always")
    talk.push("q", "synced")
    assert talk("WAITAOF", 1, 1, LONG_MS) == [1, 1]
    for server in (primary, replica):
        server.restart(kill=True)
        assert Talk(server)("TASK.LEN", "q") == 3
    primary.configure(appendonly="no")
    assert str(Talk(primary)("WAITAOF", 1, 1, SHORT_MS)).startswith("ERR WAITAOF cannot be used")
