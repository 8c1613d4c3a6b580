"""Errors that all commands have: a wrong number of arguments, a key of another type, a broken queue."""

import pytest
from talk import Error, Talk, stored_parts

WRONG_TYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
BROKEN = Error("BROKEN the queue is readable only: a change failed half way, see the server's log")
HANDLE = "1-1@1-00000000"

WRITES = [
    ["TASK.PUSH", "k", "p"],
    ["TASK.MPUSH", "k", "TASKS", 2, "a", "b"],
    ["TASK.CLAIM", "k"],
    ["TASK.CLAIM", "k", "BLOCK", 0],
    ["TASK.ACK", "k", HANDLE],
    ["TASK.ACK", "k", "HANDLES", 1, HANDLE],
    ["TASK.REQUEUE", "k", HANDLE],
    ["TASK.EXTEND", "k", HANDLE],
    ["TASK.FAIL", "k", HANDLE],
    ["TASK.CANCEL", "k", "1-1"],
    ["TASK.CANCEL", "k", "IDS", 1, "1-1"],
    ["TASK.RETRY", "k", "1-1"],
    ["TASK.RETRY", "k", "COUNT", 1],
    ["TASK.CONFIG", "k", "SET", "lease", 5],
    ["TASK.CONFIG", "k", "RESET"],
    ["TASK.PAUSE", "k"],
    ["TASK.RESUME", "k"],
    ["TASK.PURGE", "k", "ALL"],
]
READS = [
    ["TASK.GET", "k", "1-1"],
    ["TASK.LIST", "k", "ready"],
    ["TASK.LEN", "k"],
    ["TASK.INFO", "k"],
    ["TASK.INFO", "k", "CONFIG"],
    ["TASK.INFO", "k", "WORKERS"],
]
# The least number of arguments, with the command's name, and whether there may be more.
ARITIES = {
    "TASK.PUSH": (3, True),
    "TASK.MPUSH": (5, True),
    "TASK.CLAIM": (2, True),
    "TASK.ACK": (3, True),
    "TASK.REQUEUE": (3, True),
    "TASK.EXTEND": (3, True),
    "TASK.FAIL": (3, True),
    "TASK.GET": (3, False),
    "TASK.LIST": (3, True),
    "TASK.LEN": (2, True),
    "TASK.INFO": (2, True),
    "TASK.CANCEL": (3, True),
    "TASK.RETRY": (3, True),
    "TASK.CONFIG": (3, True),
    "TASK.PAUSE": (2, True),
    "TASK.RESUME": (2, True),
    "TASK.PURGE": (3, True),
    "TASK.HELP": (1, False),
    "TASK._APPLY": (3, True),
    "TASK._LOAD": (4, False),
}


def same(commands: list[list], key: object) -> list[list]:
    """The commands on another key."""
    return [[name, key, *rest] for name, _, *rest in commands]


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_wrong_number_of_arguments_is_told_in_the_servers_own_words(server, protocol):
    """Of every command, with each number that is too small, and one too large where there is a largest."""
    c = Talk(server, protocol)
    for name, (least, more) in ARITIES.items():
        error = Error(f"ERR wrong number of arguments for '{name}' command")
        for count in [*range(1, least), *([] if more else [least + 1, least + 2])]:
            assert c(name, *["x"] * (count - 1)) == error
        assert c(name, *["x"] * (least - 1)) != error
    # The others are made of queues that are there by now.
    assert c("TASK.PUSH", "only") == Error("ERR wrong number of arguments for 'TASK.PUSH' command")
    assert c("EXISTS", "only") == 0


def test_a_key_of_another_type_is_refused_by_every_command(server):
    """WRONGTYPE, and the value stays; arguments that are bad are told first."""
    c = Talk(server)
    c("SET", "string", "v")
    c("RPUSH", "list", "v")
    c("XADD", "stream", "1-1", "f", "v")
    keys = ["string", "list", "stream"]
    digests = [c.digest(key) for key in keys]
    for key in keys:
        answers = c.many(same(WRITES + READS, key))
        assert answers == [WRONG_TYPE] * len(answers)
    assert [c.digest(key) for key in keys] == digests
    assert c("TASK.CLAIM", "string", "COUNT", 0) == Error("ERR COUNT must be an integer between 1 and 1000")


def test_other_commands_refuse_a_queue(server):
    """A queue is no list and no string, and its type has a name."""
    c = Talk(server)
    c.push("k")
    for command in (["GET", "k"], ["LPUSH", "k", "v"], ["XADD", "k", "*", "f", "v"], ["INCR", "k"]):
        assert c(*command) == WRONG_TYPE
    assert c("TYPE", "k") == "taskqueue"
    assert c("SCAN", 0, "TYPE", "taskqueue") == [b"0", [b"k"]]


def test_a_missing_key_is_an_empty_queue(server):
    """Only PUSH, MPUSH, CONFIG SET and PAUSE make one."""
    c = Talk(server)
    expected = {
        "TASK.CLAIM": [],
        "TASK.LIST": [b"0", []],
        "TASK.GET": None,
        "TASK.INFO": None,
        "TASK.RESUME": "OK",
        "TASK.CONFIG": "OK",
    }
    for command in WRITES + READS:
        if "BLOCK" in command:
            continue
        answer = c(*command)
        if command[0] in ("TASK.PUSH", "TASK.MPUSH", "TASK.PAUSE") or "SET" in command:
            assert not isinstance(answer, Error) and c("DEL", "k") == 1
        else:
            many = "HANDLES" in command or "IDS" in command
            assert answer == expected.get(command[0], [0] if many else 0)
            assert c("EXISTS", "k") == 0


@pytest.mark.parametrize("key", [b"", b"\0", b"k" * 300, b"\xff\xfe", b"a b\r\n", b"{}", b"TASKS", b"{a}b"])
def test_a_key_has_any_name(server, key):
    """Empty, binary, long, or the word of an option."""
    c = Talk(server)
    task = c.push(key)
    assert c.map("TASK.GET", key, task)[b"id"] == task
    assert c("TASK.ACK", key, c.claim(key)) == 1
    assert c("TASK.LEN", key) == 0 and c("EXISTS", key) == 1


def test_a_broken_queue_can_be_read_and_not_be_written(start):
    """Every write says BROKEN; what can be read stays so, over a reload too; it can be deleted."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no", module_args=("allow-effects", "yes"))
    c = Talk(server)
    task = c.push("sound")
    for part, chunk in stored_parts(server)[:-1]:
        assert c("TASK._LOAD", "k", part, chunk) == "OK"
    assert c("TASK._LOAD", "k", "END", "somebody said so") == "OK"
    for _ in range(2):
        assert c.map("TASK.INFO", "k")[b"broken"] == b"somebody said so"
        digest = c.digest("k")
        answers = c.many(WRITES)
        assert answers == [BROKEN] * len(answers)
        assert c("TASK._APPLY", "k", b"\x01\xdd\0\0\0\0") == BROKEN
        assert not any(isinstance(answer, Error) for answer in c.many(READS))
        assert c.map("TASK.GET", "k", task)[b"payload"] == b"p"
        assert c.digest("k") == digest
        assert c("DEBUG", "RELOAD") == "OK"
        assert isinstance(c("COPY", "k", "copy"), Error)
    assert c("DEL", "k") == 1
    c.push("k")


def test_a_queue_whose_loading_never_ended_is_broken_until_it_does(start):
    """So that what is stored of it can be loaded again, and nobody works on a half."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no", module_args=("allow-effects", "yes"))
    c = Talk(server)
    c("TASK.MPUSH", "sound", "TASKS", 3, *"abc")
    head, *more, end = stored_parts(server)
    assert c("TASK._LOAD", "k", *more[0]) == Error("ERR a queue's head comes first")
    assert c("TASK._LOAD", "k", *head) == "OK"
    assert c("TASK.PUSH", "k", "p") == BROKEN
    assert c("DEBUG", "RELOAD") == "OK"
    assert c("EXISTS", "k") == 1
    for part in [*more, end]:
        assert c("TASK.CLAIM", "k") == BROKEN
        assert c("TASK._LOAD", "k", *part) == "OK"
    assert c.digest("k") == c.digest("sound")
    assert c("TASK._LOAD", "k", *more[0]) == Error("ERR a queue's head comes first")
    assert [task[1] for task in c("TASK.CLAIM", "k", "COUNT", 9)] == [b"a", b"b", b"c"]
    assert c("TASK._LOAD", "k", *head) == "OK"
    assert c("TASK._LOAD", "k", *end) == Error("ERR invalid part of a queue"), "pages are missing"
    assert c("EXISTS", "k") == 0
