"""Errors that all commands share: a wrong number of arguments, a key of another type, a broken queue."""

import pytest
from harness.manual import manuals
from harness.talk import Error, Talk, stored_parts

WRONG_TYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
BROKEN = Error(
    "BROKEN the queue can only be read: a change failed or effects are missing, see TASK.INFO and the server's log"
)
HANDLE = "1-1@1-00000000"

WRITES = [
    ["TASK.PUSH", "k", "p"],
    ["TASK.MPUSH", "k", "TASKS", 2, "a", "b"],
    ["TASK.CLAIM", "k"],
    ["TASK.CLAIM", "k", "BLOCK", 0],
    ["TASK.ACK", "k", HANDLE],
    ["TASK.ACK", "k", "HANDLES", 1, HANDLE],
    ["TASK.NEXT", "k", HANDLE],
    ["TASK.NEXT", "k", "HANDLES", 1, HANDLE, "BLOCK", 0],
    ["TASK.REQUEUE", "k", HANDLE],
    ["TASK.EXTEND", "k", HANDLE],
    ["TASK.FAIL", "k", HANDLE],
    ["TASK.SET", "k", "1-1", "PRIORITY", 1],
    ["TASK.SET", "k", "UNIQUE", "t", "DELAY", 0],
    ["TASK.CANCEL", "k", "1-1"],
    ["TASK.CANCEL", "k", "IDS", 1, "1-1"],
    ["TASK.RETRY", "k", "1-1"],
    ["TASK.RETRY", "k", "COUNT", 1],
    ["TASK.CONFIG", "k", "SET", "lease", 5],
    ["TASK.CONFIG", "k", "RESET"],
    ["TASK.BATCH", "k", "OPEN", "b", "PAYLOAD", "p"],
    ["TASK.BATCH", "k", "CLOSE", "b"],
    ["TASK.BATCH", "k", "DEL", "b"],
    ["TASK.PAUSE", "k"],
    ["TASK.RESUME", "k"],
    ["TASK.PURGE", "k", "ALL"],
    ["TASK.PURGE", "k", "IDS", 1, "1-1"],
    ["TASK.PAUSE", "k", "GROUP", "g"],
    ["TASK.RESUME", "k", "GROUP", "g"],
]
READS = [
    ["TASK.GET", "k", "1-1"],
    ["TASK.GET", "k", "UNIQUE", "t"],
    ["TASK.LIST", "k", "ready"],
    ["TASK.LEN", "k"],
    ["TASK.INFO", "k"],
    ["TASK.INFO", "k", "CONFIG"],
    ["TASK.INFO", "k", "WORKERS"],
    ["TASK.INFO", "k", "BATCHES"],
    ["TASK.INFO", "k", "TIMES"],
    ["TASK.BATCH", "k", "INFO", "b"],
]
# The smallest number of arguments, counting the command's name, and whether more are accepted.
ARITIES = {
    "TASK.PUSH": (3, True),
    "TASK.MPUSH": (5, True),
    "TASK.CLAIM": (2, True),
    "TASK.MCLAIM": (5, True),
    "TASK.ACK": (3, True),
    "TASK.NEXT": (3, True),
    "TASK.REQUEUE": (3, True),
    "TASK.EXTEND": (3, True),
    "TASK.FAIL": (3, True),
    "TASK.RESULT": (3, True),
    "TASK.GET": (3, True),
    "TASK.LIST": (3, True),
    "TASK.LEN": (2, True),
    "TASK.INFO": (2, True),
    "TASK.SHARDS": (3, True),
    "TASK.SET": (5, True),
    "TASK.CANCEL": (3, True),
    "TASK.RETRY": (3, True),
    "TASK.CONFIG": (3, True),
    "TASK.GROUP": (4, True),
    "TASK.CRON": (4, True),
    "TASK.BATCH": (4, True),
    "TASK.PAUSE": (2, True),
    "TASK.RESUME": (2, True),
    "TASK.PURGE": (3, True),
    "TASK.HELP": (1, False),
    "TASK._APPLY": (3, True),
    "TASK._LOAD": (4, False),
    "TASK._CLOCK": (2, False),
}


def on_key(commands: list[list], key: object) -> list[list]:
    """The same commands on another key."""
    return [[name, key, *rest] for name, _, *rest in commands]


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_wrong_number_of_arguments_is_the_servers_own_error(protocol, c):
    """Each command is called with every number that is too small, and with two that are too large."""
    assert set(ARITIES) == set(manuals())
    for name, (least, more) in ARITIES.items():
        error = Error(f"ERR wrong number of arguments for '{name}' command")
        for count in [*range(1, least), *([] if more else [least + 1, least + 2])]:
            assert c(name, *["x"] * (count - 1)) == error
        assert c(name, *["x"] * (least - 1)) != error
    # The valid calls above made a queue x; a push that is refused makes none.
    assert c("TASK.PUSH", "only") == Error("ERR wrong number of arguments for 'TASK.PUSH' command")
    assert c("EXISTS", "only") == 0


# The options of a push, as an error lists them.
PUSH = (
    "DELAY, AT, PRIORITY, ATTEMPTS, LEASE, GROUP, TTL, RETAIN, UNIQUE, UNTIL, FOR, KEEP, REPLACE, HEADERS, BATCH, "
    "AFTER, ONDEAD, REQUEST or POSTPONE"
)

# What is sent, and the error that is replied.
NAMED = {
    "TASK.PUSH q p PRIO 5": f"unknown option 'PRIO', expected {PUSH}",
    "TASK.PUSH q p PRIORITY 5 priority 6": "option PRIORITY is given twice",
    "TASK.PUSH q p PRIORITY": "option PRIORITY has no value",
    "TASK.PUSH q p DELAY 5 AT 2000000000000": "options DELAY and AT cannot be combined",
    "TASK.PUSH q p HEADERS 2 n v": "option HEADERS has fewer values than its number says",
    "TASK.PUSH q p REPLACE": "option REPLACE requires UNIQUE",
    "TASK.PUSH q p UNIQUE t KEEP": "option KEEP requires FOR",
    "TASK.PUSH q p UNIQUE t UNTIL END": "unknown option 'END', expected START (UNTIL ms comes directly after POSTPONE)",
    "TASK.PUSH q p UNIQUE t UNTIL START FOR 5": "options UNTIL and FOR cannot be combined",
    "TASK.PUSH q p POSTPONE": "option POSTPONE requires UNIQUE",
    "TASK.PUSH q p UNIQUE t POSTPONE": "option POSTPONE requires REPLACE",
    "TASK.PUSH q p UNIQUE t REPLACE POSTPONE UNTIL": "option UNTIL has no value",
    "TASK.PUSH q p UNIQUE t REPLACE POSTPONE UNTIL x": "UNTIL must be an integer between 1 and 3153600000000",
    "TASK.PUSH q p UNIQUE t REPLACE UNTIL 5 POSTPONE": "unknown option '5', "
    "expected START (UNTIL ms comes directly after POSTPONE)",
    "TASK.CRON q SET s EVERY 5000 UNIQUE t UNTIL 5 PAYLOAD p": "unknown option '5', expected START",
    "TASK.ACK q 1-1@1-00000000 PUSH p RESULT r": f"unknown option 'RESULT', expected {PUSH} (RESULT comes before PUSH)",
    "TASK.PUSH q p TASKS 1 x": f"unknown option 'TASKS', expected {PUSH}",
    "TASK.MPUSH q PRIORITY 1 LEASE 5": "option TASKS is required",
    "TASK.MPUSH q TASKS 3 x y": "option TASKS has fewer values than its number says",
    "TASK.MPUSH q TASKS 1 x y": "unknown option 'y', "
    "expected DELAY, AT, PRIORITY, ATTEMPTS, LEASE, GROUP, TTL, RETAIN, HEADERS, BATCH, AFTER, ONDEAD, REQUEST or "
    "TASKS",
    "TASK.CLAIM q 5": "unknown option '5', "
    "expected COUNT, BYTES, LEASE, BLOCK, GATHER, WORKER, GROUP, TIED, NOACK, REQUEST or WITHMETA",
    "TASK.CLAIM q COUNT": "option COUNT has no value",
    "TASK.CLAIM q TIED TIED": "option TIED is given twice",
    "TASK.MCLAIM q KEYS r s": "KEYS must be followed by the number of keys, 1 to 100",
    "TASK.MCLAIM q KEY 1 r": "unknown option 'KEY', expected KEYS",
    "TASK.MCLAIM q KEYS 3 r s": "option KEYS has fewer values than its number says",
    "TASK.ACK q HANDLE 1": "invalid handle",
    "TASK.ACK q 1-1@1-00000000 RES x": "unknown option 'RES', expected RESULT, RETAIN or PUSH",
    "TASK.ACK q HANDLES 2 1-1@1-00000000": "option HANDLES has fewer values than its number says",
    "TASK.NEXT q 1-1@1-00000000 5": "unknown option '5', expected RESULT, RETAIN, "
    "COUNT, BYTES, LEASE, BLOCK, GATHER, WORKER, GROUP, TIED, NOACK, REQUEST or WITHMETA",
    "TASK.REQUEUE q 1-1@1-00000000 BACK BACK": "option BACK is given twice",
    "TASK.EXTEND q 1-1@1-00000000 LEASE": "option LEASE has no value",
    "TASK.FAIL q 1-1@1-00000000 DEAD DELAY 5": "options DELAY and DEAD cannot be combined",
    "TASK.RESULT q 1-1 WAIT 5": "unknown option 'WAIT', expected BLOCK",
    "TASK.LIST q gone": "unknown option 'gone', expected READY, DELAYED, HELD, LEASED, DEAD or DONE",
    "TASK.LIST q ready LIMIT 5": "unknown option 'LIMIT', "
    "expected CURSOR, COUNT, BYTES, GROUP, WORKER, WITHPAYLOAD, REV, MATCH or HEADER",
    "TASK.LIST q ready MATCH a HEADER b c": "options MATCH and HEADER cannot be combined",
    "TASK.LIST q ready HEADER b": "option HEADER has no value",
    "TASK.LEN q ready dead": "unexpected argument 'dead'",
    "TASK.INFO q LOAD": "unknown option 'LOAD', expected CONFIG, CRON, GROUPS, BATCHES, WORKERS or TIMES",
    "TASK.INFO q GROUPS AFTER": "option AFTER has no value",
    "TASK.SHARDS q 4 SLOTS": "unknown option 'SLOTS', expected WITHSLOTS",
    "TASK.GET q 1-1 2-1": "unexpected argument '2-1'",
    "TASK.GET q UNIQUE": "option UNIQUE has no value",
    "TASK.SET q IDS 1 1-1": "at least one option is required",
    "TASK.SET q 1-1 AT 5": "AT in unix milliseconds must be an integer between 100000000000 and 281474976710655",
    "TASK.SET q IDS 2 UNIQUE t DELAY 1": "invalid task id",
    "TASK.SET q UNIQUE t TTL 1": "unknown option 'TTL', expected DELAY, AT, PRIORITY, GROUP, PAYLOAD or HEADERS",
    "TASK.CANCEL q 1-1 2-1": "unexpected argument '2-1'",
    "TASK.RETRY q COUNT": "option COUNT has no value",
    "TASK.CONFIG q GET": "unknown option 'GET', expected SET or RESET",
    "TASK.CONFIG q SET": "option SET has no value",
    "TASK.CONFIG q SET colour red": "unknown setting 'colour'",
    "TASK.CONFIG q SET lease": "option lease has no value",
    "TASK.CONFIG q SET lease 5 lease 6": "option lease is given twice",
    "TASK.GROUP q SET g": "option WEIGHT, CONCURRENCY, RATE or ORDERED is required",
    "TASK.GROUP q SET g ORDERED maybe": "unknown option 'maybe', expected NO or YES",
    "TASK.CRON q SET s PAYLOAD p": "option EVERY or CRON is required",
    "TASK.CRON q SET s EVERY 5000": "option PAYLOAD is required",
    "TASK.CRON q SET s EVERY 5000 TZ UTC PAYLOAD p": "options EVERY and TZ cannot be combined",
    "TASK.CRON q SET s EVERY 5000 DELAY 5 PAYLOAD p": "unknown option 'DELAY', "
    "expected EVERY, CRON, TZ, CATCHUP, PRIORITY, ATTEMPTS, LEASE, GROUP, TTL, RETAIN, UNIQUE, UNTIL, FOR, KEEP, "
    "HEADERS or PAYLOAD",
    "TASK.PUSH q p ONDEAD RUN": "option ONDEAD requires AFTER",
    "TASK.PUSH q p AFTER 2 1-1": "option AFTER has fewer values than its number says",
    "TASK.PUSH q p AFTER 1-1": "AFTER must be followed by the number of ids, 1 to 1000",
    "TASK.PUSH q p AFTER": "option AFTER has no value",
    "TASK.PUSH q p HEADERS n v": "HEADERS must be followed by the number of headers, 1 to 64",
    "TASK.ACK q HANDLES 1-1@1-00000000": "HANDLES must be followed by the number of handles, 1 to 1000",
    "TASK.MPUSH q TASKS x y": "TASKS must be followed by the number of payloads, 1 to 1000",
    "TASK.PUSH q p AFTER 1 1-1": "AFTER names a task that was never pushed",
    "TASK.PUSH q p AFTER 1 1-1 ONDEAD LATER": "unknown option 'LATER', expected WAIT, RUN or DROP",
    "TASK.PUSH q p BATCH b": "there is no batch of this name",
    "TASK.BATCH q PUSH b": "unknown option 'PUSH', expected OPEN, CLOSE, INFO or DEL",
    "TASK.BATCH q OPEN b": "option PAYLOAD is required",
    "TASK.BATCH q OPEN b UNIQUE t PAYLOAD p": "unknown option 'UNIQUE', "
    "expected DELAY, AT, PRIORITY, ATTEMPTS, LEASE, GROUP, TTL, RETAIN, HEADERS, BATCH or PAYLOAD",
    "TASK.BATCH q CLOSE b": "there is no batch of this name",
    "TASK.PAUSE q OUT IN": "options OUT and IN cannot be combined",
    "TASK.PAUSE q GROUP g OUT": "options GROUP and OUT cannot be combined",
    "TASK.PAUSE q IN FOR 5 GROUP g": "options IN and GROUP cannot be combined",
    "TASK.RESUME q ALL GROUP g": "options ALL and GROUP cannot be combined",
    "TASK.RESUME q FOR 5": "unknown option 'FOR', expected OUT, IN, ALL or GROUP",
    "TASK.PURGE q leased": "unknown option 'leased', expected HELD, READY, DELAYED, DEAD, DONE, ALL or IDS",
    "TASK.PURGE q ready LIMIT 5": "unknown option 'LIMIT', expected OLDER or COUNT",
    "TASK.PURGE q IDS 1 1-1 COUNT 5": "options IDS and COUNT cannot be combined",
    "TASK.PURGE q IDS 2 1-1": "option IDS has fewer values than its number says",
    "TASK.PURGE q IDS 1-1": "IDS must be followed by the number of ids, 1 to 1000",
    "TASK.CANCEL q IDS": "option IDS has no value",
    "TASK.RETRY q GROUP acme": "invalid task id: expected an id, IDS, UNIQUE or COUNT",
    "TASK.RETRY q IDS 1 GROUP": "invalid task id",
    "TASK.RETRY q COUNT 1 GROUP": "option GROUP has no value",
    "TASK.RETRY q 1-1 GROUP g": "unexpected argument 'GROUP'",
    "TASK.CRON q RUN s": "there is no such schedule",
    "TASK.CRON q RUN s NOW": "unexpected argument 'NOW'",
}


@pytest.mark.parametrize("protocol", [2, 3])
def test_an_error_names_the_option_that_is_wrong(protocol, c):
    """An option can be unknown, repeated, missing, in conflict or without its value. Nothing is changed."""
    for command, error in NAMED.items():
        assert c(*command.split()) == Error(f"ERR {error}"), command
    assert c("DBSIZE") == 0


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        (b"", ""),
        (b"PRIO\r\n-ERR more", "PRIO??-ERR more"),
        (b"\x1b[31mred\xff\0", "?[31mred??"),
        ("größe".encode(), "gr????e"),
        (b"it's 100%s", "it's 100%s"),
        (b"x" * 32, "x" * 32),
        (b"x" * 33, "x" * 32 + "..."),
        (b"\n" * 5_000_000, "?" * 32 + "..."),
    ],
)
def test_an_unknown_word_is_shown_cut_and_printable(word, shown, c):
    """An error is one line, and can end up on a terminal or in a log."""
    assert c("TASK.PUSH", "q", "p", word) == Error(f"ERR unknown option '{shown}', expected {PUSH}")
    assert c("TASK.RESULT", "q", "1-1", word) == Error(f"ERR unknown option '{shown}', expected BLOCK")
    assert c("TASK.INFO", "q", "CONFIG", word) == Error(f"ERR unexpected argument '{shown}'")
    assert c("TASK.CONFIG", "q", "SET", word, 5) == Error(f"ERR unknown setting '{shown}'")
    assert c("PING") == "PONG"


def test_a_key_of_another_type_is_refused_by_every_command(c):
    """The value stays as it is. Errors in arguments come before WRONGTYPE."""
    c("SET", "string", "v")
    c("RPUSH", "list", "v")
    c("XADD", "stream", "1-1", "f", "v")
    keys = ["string", "list", "stream"]
    digests = [c.digest(key) for key in keys]
    for key in keys:
        replies = c.many(on_key(WRITES + READS, key))
        assert replies == [WRONG_TYPE] * len(replies)
    assert [c.digest(key) for key in keys] == digests
    assert c("TASK.CLAIM", "string", "COUNT", 0) == Error("ERR COUNT must be an integer between 1 and 1000")


def test_other_commands_refuse_a_queue(c):
    """A queue is neither a list nor a string. Its type is named taskqueue."""
    c.push("k")
    for command in (["GET", "k"], ["LPUSH", "k", "v"], ["XADD", "k", "*", "f", "v"], ["INCR", "k"]):
        assert c(*command) == WRONG_TYPE
    assert c("TYPE", "k") == "taskqueue"
    assert c("SCAN", 0, "TYPE", "taskqueue") == [b"0", [b"k"]]


def test_a_missing_key_is_an_empty_queue(c):
    """Only PUSH, MPUSH, CONFIG SET, BATCH OPEN and PAUSE create a queue. It has no batch."""
    expected = {
        "TASK.CLAIM": [],
        "TASK.NEXT": [0, []],
        "TASK.LIST": [b"0", []],
        "TASK.GET": None,
        "TASK.INFO": None,
        "TASK.RESUME": "OK",
        "TASK.CONFIG": "OK",
        "TASK.BATCH CLOSE": Error("ERR there is no batch of this name"),
        "TASK.BATCH INFO": None,
    }
    for command in WRITES + READS:
        if "BLOCK" in command:
            continue
        reply = c(*command)
        if command[0] in ("TASK.PUSH", "TASK.MPUSH", "TASK.PAUSE") or {"SET", "OPEN"} & set(command):
            assert not isinstance(reply, Error) and c("DEL", "k") == 1
        else:
            many = "HANDLES" in command or "IDS" in command and command[0] != "TASK.PURGE"
            name = " ".join(command[:1] + command[2:3]) if command[0] == "TASK.BATCH" else command[0]
            assert reply == expected.get(name, [0] if many else 0)
            assert c("EXISTS", "k") == 0


@pytest.mark.parametrize("key", [b"", b"\0", b"k" * 300, b"\xff\xfe", b"a b\r\n", b"{}", b"TASKS", b"{a}b"])
def test_a_key_can_have_any_name(key, c):
    """A name can be empty, binary, long, or the word of an option."""
    task = c.push(key)
    assert c.map("TASK.GET", key, task)[b"id"] == task
    assert c("TASK.ACK", key, c.claim(key)) == 1
    assert c("TASK.LEN", key) == 0 and c("EXISTS", key) == 1


def test_a_broken_queue_can_be_read_but_not_written(start):
    """Every write replies BROKEN, also after a reload. Reads work, and the queue can be deleted."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no", module_args=("allow-effects", "yes"))
    c = Talk(server)
    task = c.push("sound")
    for part, chunk in stored_parts(server)[:-1]:
        assert c("TASK._LOAD", "k", part, chunk) == "OK"
    assert c("TASK._LOAD", "k", "END", "somebody said so") == "OK"
    for _ in range(2):
        assert c.map("TASK.INFO", "k")[b"broken"] == b"somebody said so"
        digest = c.digest("k")
        replies = c.many(WRITES)
        assert replies == [BROKEN] * len(replies)
        assert c("TASK._APPLY", "k", b"\x01\xdd\0\0\0\0") == BROKEN
        assert not any(isinstance(reply, Error) for reply in c.many(READS))
        assert c.map("TASK.GET", "k", task)[b"payload"] == b"p"
        assert c.digest("k") == digest
        assert c("DEBUG", "RELOAD") == "OK"
        assert isinstance(c("COPY", "k", "copy"), Error)
    assert c("DEL", "k") == 1
    c.push("k")


def test_a_queue_is_broken_until_it_is_loaded_completely(start):
    """Loading can go on after a reload, and no client can change half a queue."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no", module_args=("allow-effects", "yes"))
    c = Talk(server)
    c("TASK.MPUSH", "sound", "TASKS", 3, *"abc")
    head, *more, end = stored_parts(server)
    assert c("TASK._LOAD", "k", *more[0]) == Error("ERR the head of a queue must come first")
    assert c("TASK._LOAD", "k", *head) == "OK"
    assert c("TASK.PUSH", "k", "p") == BROKEN
    assert c("DEBUG", "RELOAD") == "OK"
    assert c("EXISTS", "k") == 1
    for part in [*more, end]:
        assert c("TASK.CLAIM", "k") == BROKEN
        assert c("TASK._LOAD", "k", *part) == "OK"
    assert c.digest("k") == c.digest("sound")
    assert c("TASK._LOAD", "k", *more[0]) == Error("ERR the head of a queue must come first")
    assert [task[1] for task in c("TASK.CLAIM", "k", "COUNT", 9)] == [b"a", b"b", b"c"]
    assert c("TASK._LOAD", "k", *head) == "OK"
    assert c("TASK._LOAD", "k", *end) == Error("ERR invalid queue part"), "pages are missing"
    for part in [*more, end]:
        assert c("TASK._LOAD", "k", *part) == "OK"
    assert c.digest("k") == c.digest("sound")
