"""The manual, docs/commands.md: its errors and its notes on replication are correct and complete."""

import re

import pytest
from harness.manual import manuals, pattern
from harness.server import ROOT
from harness.talk import Error, Talk, stored_parts

HANDLE = "1-1@1-00000000"
LONG = "x" * 257

# Arguments that provoke each error that the manual lists for a command.
PUSHED = [
    "NO",
    "TTL 1 TTL 1",
    "TTL",
    "TTL 0",
    "HEADERS n v",
    "HEADERS 2 n v",
    "GROUP " + LONG,
    "HEADERS 1 n " + "x" * 5000,
    "ATTEMPTS 0",
]
# What PUSH and MPUSH have beside that, to wait for other tasks and to count in a batch.
WAITS = ["ONDEAD run", "AFTER 1 x", "AFTER 1 1-1", "BATCH b"]
HANDLED = ["x", f"{HANDLE} NO", "HANDLES 0 x", "HANDLES 2 " + HANDLE]
SHARED = {
    "TASK.PUSH": ["p " + words for words in [*PUSHED, *WAITS, "DELAY 1 AT 1", "UNIQUE t UNTIL no", "KEEP"]],
    "TASK.MPUSH": [words + " TASKS 1 p" for words in (*PUSHED, *WAITS, "DELAY 1 AT 1")]
    + [
        "TTL 1 LEASE 1",
        "TTL 1 TASKS 2 p",
        "TTL 1 TASKS",
        "AFTER 11" + 11 * " 1-1" + " TASKS 1000" + 1000 * " p",
    ],
    "TASK.CLAIM": ["NO", "TIED TIED", "COUNT", "COUNT 0", "WORKER " + LONG, "NOACK TIED", "GATHER 5"],
    "TASK.ACK": [
        *[*HANDLED, f"{HANDLE} RETAIN 1 RETAIN 1", f"{HANDLE} RESULT " + "x" * 2**20 + "x"],
        *[f"{HANDLE} PUSH p {words}" for words in (*PUSHED, "DELAY 1 AT 1", "KEEP", "AFTER 1 x")],
        f"HANDLES 1 {HANDLE} PUSH p",
    ],
    "TASK.NEXT": [*HANDLED, f"{HANDLE} RETAIN 1 RETAIN 1", f"{HANDLE} RESULT " + "x" * 2**20 + "x"],
    "TASK.REQUEUE": [
        *HANDLED,
        *[f"{HANDLE} {words}" for words in ("DELAY", "DELAY x", "BACK BACK")],
        f"{HANDLE} PROGRESS " + "x" * 4097,
    ],
    "TASK.EXTEND": [
        *HANDLED,
        *[f"{HANDLE} LEASE{words}" for words in ("", " x", " 1 LEASE 1")],
        f"{HANDLE} PROGRESS " + "x" * 4097,
    ],
    "TASK.FAIL": [
        *HANDLED,
        f"{HANDLE} DELAY",
        f"{HANDLE} DELAY x",
        f"{HANDLE} DEAD DEAD",
        f"{HANDLE} DEAD DELAY 1",
        f"{HANDLE} PROGRESS " + "x" * 4097,
    ],
    "TASK.RESULT": ["x", "UNIQUE " + LONG, "1-1 NO", "1-1 BLOCK", "1-1 BLOCK x", "1-1 BLOCK 1 BLOCK 1"],
    "TASK.GET": ["x", "1-1 NO", "UNIQUE", "UNIQUE " + LONG],
    "TASK.LIST": [
        *["no", "ready NO", "ready COUNT", "ready COUNT 0", "ready WITHPAYLOAD WITHPAYLOAD"],
        *[
            "ready GROUP " + LONG,
            "ready CURSOR x",
            "ready WORKER w",
            "ready MATCH " + LONG,
            "ready MATCH x HEADER h x",
        ],
    ],
    "TASK.LEN": ["no", "ready NO"],
    "TASK.INFO": ["NO", "CONFIG NO", "TIMES NO", "GROUPS AFTER", "GROUPS AFTER " + LONG],
    "TASK.SHARDS": ["0", "1 NO", "1 WITHSLOTS WITHSLOTS"],
    "TASK.SET": [
        *[
            "x DELAY 1",
            "1-1 NO x",
            "1-1 DELAY 1 DELAY 1",
            "1-1 DELAY 1 AT 1",
            "1-1 PRIORITY 1 DELAY",
            "IDS 1 1-1",
            "IDS 0 x",
            "IDS 2 1-1",
        ],
        *["1-1 PRIORITY 128", "1-1 GROUP " + LONG, "1-1 HEADERS 1 n " + "x" * 5000],
    ],
    "TASK.CANCEL": ["x", "1-1 NO", "IDS 0 x", "IDS", "IDS 2 1-1", "UNIQUE " + LONG],
    "TASK.RETRY": [
        "x",
        "1-1 NO",
        "IDS 0 x",
        "IDS 1 x",
        "IDS 2 1-1",
        "COUNT",
        "COUNT 0",
        "COUNT 1 GROUP " + LONG,
    ],
    "TASK.CONFIG": [
        *["NO", "SET lease", "SET lease 1 lease 1", "SET lease 0", "SET max-len x"],
        *["SET backoff no", "SET no 1"],
    ],
    "TASK.GROUP": [
        *["NO g", "SET " + LONG, "SET g", "SET g NO", "SET g WEIGHT", "SET g WEIGHT 0"],
        *["SET g WEIGHT 1 WEIGHT 1", "SET g ORDERED no ORDERED", "DEL g NO"],
    ],
    "TASK.CRON": [
        *["NO s", "DEL " + LONG, "DEL s NO", "SET s EVERY 5000", "RUN s"],
        *[f"SET s EVERY 5000 PAYLOAD p {words}" for words in (*PUSHED, "KEEP", "CRON x", "CATCHUP no")],
        *["SET s PAYLOAD p CRON x", "SET s PAYLOAD p CRON 0_0_30_2_*", "SET s PAYLOAD p CRON *_*_*_*_* TZ x"],
    ],
    "TASK.BATCH": [
        *["NO b", "CLOSE " + LONG, "CLOSE b NO", "CLOSE b", "OPEN b", "OPEN b PAYLOAD p BATCH c"],
        *[f"OPEN b PAYLOAD p {words}" for words in (*PUSHED, "DELAY 1 AT 1")],
    ],
    "TASK.PAUSE": ["NO", "OUT OUT", "FOR", "FOR 0", "OUT IN", "GROUP " + LONG],
    "TASK.RESUME": ["NO", "OUT OUT", "OUT IN", "GROUP", "GROUP " + LONG],
    "TASK.PURGE": [
        "no",
        "all NO",
        "all COUNT",
        "all COUNT 0",
        "all COUNT 1 COUNT 1",
        "IDS 1 x",
        "IDS 0 x",
        "IDS 2 1-1",
        "IDS 1 1-1 COUNT 1",
    ],
    "TASK.HELP": [],
}
BAD = {
    **SHARED,
    "TASK.MCLAIM": [
        "NO 1 q",
        "KEYS 0 q",
        "KEYS 2 q",
        *("KEYS 1 q " + words for words in SHARED["TASK.CLAIM"]),
    ],
    "TASK.NEXT": [*SHARED["TASK.NEXT"], *(f"{HANDLE} {words}" for words in SHARED["TASK.CLAIM"])],
}
# Errors that depend on a state or on the caller, not on arguments. Other tests cover those of the server.
STATES = [
    *["STALE ", "CANCELLED ", "PAUSED ", "QFULL ", "BROKEN ", "WRONGTYPE ", "OOM ", "NOPERM ", "TRYAGAIN "],
    *["UNBLOCKED ", "ERR TIED ", "ERR the queue ", "ERR scripts ", "ERR a queue can have at most"],
    *["ERR another task holds the token", "ERR the batch takes no more ", "ERR AFTER names a held task "],
    "ERR IDS names held tasks ",
]
# The push of a next step is looked at only if there is a task to finish.
OF_A_STEP = ["ERR there is no batch of this name", "ERR AFTER names "]
INTERNAL = ["TASK._APPLY", "TASK._LOAD", "TASK._CLOCK"]


def by_argument(name: str) -> set[str]:
    """The errors in a command's manual that arguments can cause, on a queue that doesn't exist."""
    states = STATES if name != "TASK.ACK" else [*STATES, *OF_A_STEP]
    return {text for text in manuals()[name].errors if not text.startswith(tuple(states))}


def typed(name: str, words: str) -> list[str]:
    """A command on the queue q. An underscore stands for a blank within an argument."""
    return [name, "q", *(word.replace("_", " ") for word in words.split(" "))]


@pytest.mark.parametrize("name", BAD)
def test_the_manual_lists_exactly_the_errors_that_arguments_cause(server, name):
    """Each listed error is provoked, no other error occurs, and nothing is changed."""
    c = Talk(server)
    calls = [typed(name, words) for words in BAD[name]]
    if name == "TASK.SHARDS":
        calls += [[name, "x" * 2000, "1"], [name, "a{b}", "1"]]
    got = set()
    for call in calls:
        reply = c(*call)
        assert isinstance(reply, Error), call
        text = manuals()[name].documented(reply)
        assert text, f"{reply} is not in the manual of {name}"
        got.add(text)
    assert got == by_argument(name)
    assert c("DBSIZE") == 0


# The shortest valid arguments of each command.
VALID = {
    **{name: ["q", HANDLE] for name in ("TASK.ACK", "TASK.NEXT", "TASK.REQUEUE", "TASK.EXTEND", "TASK.FAIL")},
    **{name: ["q", "1-1"] for name in ("TASK.GET", "TASK.CANCEL", "TASK.RETRY")},
    **{name: ["q"] for name in ("TASK.CLAIM", "TASK.LEN", "TASK.INFO", "TASK.PAUSE", "TASK.RESUME")},
    **{name: ["q", "ready"] for name in ("TASK.LIST", "TASK.PURGE")},
    "TASK.PUSH": ["q", "p"],
    "TASK.MPUSH": ["q", "TASKS", 1, "p"],
    "TASK.MCLAIM": ["q", "KEYS", 1, "r"],
    "TASK.SHARDS": ["q", 1],
    "TASK.RESULT": ["q", "1-1", "BLOCK", 1],
    "TASK.SET": ["q", "1-1", "DELAY", 5],
    "TASK.CONFIG": ["q", "SET", "lease", 5],
    "TASK.GROUP": ["q", "SET", "g", "WEIGHT", 2],
    "TASK.CRON": ["q", "SET", "s", "EVERY", 5000, "PAYLOAD", "p"],
    "TASK.BATCH": ["q", "OPEN", "b", "PAYLOAD", "p"],
    "TASK.HELP": [],
    "TASK._APPLY": ["q", b"\x01\xdd\0\0\0\0"],
    "TASK._LOAD": ["q", "MORE", "x"],
    "TASK._CLOCK": ["x"],
}


def test_every_command_of_the_manual_is_tried_here():
    """A new command must be added to VALID, and to BAD unless only servers send it."""
    assert {*BAD, *INTERNAL} == set(manuals())
    assert set(VALID) == set(manuals())


def commands_with_error(c: Talk, beginning: str, calls: dict[str, list] = VALID) -> tuple[set[str], set[str]]:
    """The commands whose manual lists an error with this beginning, and the commands that reply it."""
    listed = {
        name
        for name, manual in manuals().items()
        if any(text.startswith(beginning) for text in manual.errors)
    }
    replies = {name: c(name, *words) for name, words in calls.items()}
    got = {
        name for name, reply in replies.items() if isinstance(reply, Error) and reply.startswith(beginning)
    }
    return listed, got


def test_the_manual_says_which_commands_refuse_another_type(start):
    """The manual lists WRONGTYPE for exactly the commands that reply it."""
    c = Talk(start(module_args=("allow-effects", "yes")))
    c("SET", "q", "v")
    listed, got = commands_with_error(c, "WRONGTYPE")
    assert listed == got


def test_the_manual_says_which_commands_refuse_a_broken_queue(start):
    """These are the commands that change a queue or would wait for a change."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no", module_args=("allow-effects", "yes"))
    c = Talk(server)
    task = c.push("q")
    for part, chunk in stored_parts(server)[:-1]:
        assert c("TASK._LOAD", "q", part, chunk) == "OK"
    assert c("TASK._LOAD", "q", "END", "a test broke it") == "OK"
    listed, got = commands_with_error(c, "BROKEN", {**VALID, "TASK.RESULT": ["q", task, "BLOCK", 1]})
    assert listed == got


def test_the_manual_says_which_commands_refuse_an_ordinary_client(server):
    """These are the internal commands and no others."""
    listed, got = commands_with_error(Talk(server), "ERR this command is reserved")
    assert listed == got == set(INTERNAL)


def test_the_manual_says_which_commands_reply_stale_cancelled_full_or_paused(server):
    """These errors depend on the state of the task or of the queue."""
    c = Talk(server)

    def got(name: str, *words: object) -> str:
        reply = c(name, *words)
        assert isinstance(reply, Error), (name, words)
        text = manuals()[name].documented(reply)
        assert text == str(reply), f"{reply} is not in the manual of {name}"
        return reply.split()[0] + (" " + reply.split()[-1] if "QFULL" in reply else "")

    task = c.push("q")
    for name in ("TASK.ACK", "TASK.REQUEUE", "TASK.EXTEND", "TASK.FAIL"):
        assert got(name, "q", f"{task.decode()}@1-00000000") == "STALE"
    handle = c.claim("q")
    assert c("TASK.CANCEL", "q", task) == 2
    assert got("TASK.EXTEND", "q", handle) == "CANCELLED"
    for queue, setting in (("a", "max-len"), ("b", "groups-max"), ("c", "max-bytes"), ("d", "tokens-max")):
        c("TASK.CONFIG", queue, "SET", setting, 1)
        assert not isinstance(c("TASK.PUSH", queue, "", "GROUP", "g", "UNIQUE", "t"), Error) or queue == "c"
        more = ["GROUP", "h", "UNIQUE", "u"] if queue != "d" else ["UNIQUE", "u"]
        assert got("TASK.PUSH", queue, "p", *more) == f"QFULL {setting}"
        if queue != "d":
            assert got("TASK.MPUSH", queue, "GROUP", "h", "TASKS", 1, "p") == f"QFULL {setting}"
        if queue != "c":
            # What the task before it leaves is less than this takes.
            c("TASK.CONFIG", queue, "SET", setting, 0)
            step = ["PUSH", "p", *more]
            assert got("TASK.ACK", queue, c.claim(queue), *step) == f"QFULL {setting}"
    assert got("TASK.GROUP", "b", "SET", "h", "WEIGHT", 2) == "QFULL groups-max"
    assert got("TASK.PAUSE", "b", "GROUP", "h") == "QFULL groups-max"
    for queue, setting in (("a", "max-len"), ("b", "groups-max"), ("c", "max-bytes"), ("d", "tokens-max")):
        unique = "t" if queue == "d" else "s"
        words = ["EVERY", 9_000_000, "GROUP", "h", "UNIQUE", unique, "PAYLOAD", "p"]
        assert c("TASK.CRON", queue, "SET", "s", *words) == 1
        expected = "ERR" if queue == "d" else f"QFULL {setting}"
        assert got("TASK.CRON", queue, "RUN", "s") == expected
    assert c("TASK.CRON", "d", "SET", "s", "EVERY", 9_000_000, "UNIQUE", "u", "PAYLOAD", "p") == 0
    assert got("TASK.CRON", "d", "RUN", "s") == "QFULL tokens-max"
    changed = c.push("b")
    assert got("TASK.SET", "b", changed, "GROUP", "h") == "QFULL groups-max"
    c("TASK.CONFIG", "b", "SET", "max-bytes", 1)
    assert got("TASK.SET", "b", changed, "PAYLOAD", "longer") == "QFULL max-bytes"
    c("TASK.PAUSE", "q", "IN")
    assert got("TASK.PUSH", "q", "p") == got("TASK.MPUSH", "q", "TASKS", 1, "p") == "PAUSED"
    assert got("TASK.ACK", "q", handle, "PUSH", "p") == "PAUSED"
    assert c("TASK.CRON", "q", "SET", "s", "EVERY", 9_000_000, "PAYLOAD", "p") == 1
    assert got("TASK.CRON", "q", "RUN", "s") == "PAUSED"


# Texts of the module that no command can reply, or that are templates.
UNREACHED = [
    *["ERR syntax error", "ERR there is no such task"],
    *["ERR {what}", "ERR {must}"],
]
# The error of a setting with a fixed set of words is built in TASK.CONFIG.
IN_CONFIG = "ERR {} must be one of {}"
# Texts of the server.
SERVERS = ["UNBLOCKED <why>"]


def source(*paths: str) -> str:
    """These files of the module."""
    return "".join((ROOT / "src/module" / path).read_text() for path in paths)


def test_the_manual_has_exactly_the_error_texts_of_the_module():
    """A text that is changed, added or removed in the source must change in the manual too."""
    documented = {text for manual in manuals().values() for text in manual.errors} - set(SERVERS)
    made = set(re.findall(r'"([A-Z]+ [^"]+)"', source("errors.rs"))) - set(UNREACHED)
    names = [path.name for path in (ROOT / "src/module/commands").glob("*.rs") if path.name != "docs.rs"]
    commands = source("peers.rs", *(f"commands/{name}" for name in names))
    for text in documented:
        is_literal = f'"{text.removeprefix("ERR ")}"' in commands
        assert is_literal or any(like(one).fullmatch(text) for one in made | {IN_CONFIG}), text
    assert IN_CONFIG.removeprefix("ERR ") in commands
    for text in made:
        assert any(like(text).fullmatch(known) for known in documented), text


def like(text: str) -> re.Pattern:
    """The pattern of a text in the source, in which `{…}` stands for anything."""
    return re.compile(".+".join(map(re.escape, re.split(r"\{[^}]*\}", text))))


def test_the_commands_that_replicate_nothing_are_those_that_only_read(server):
    """The server's readonly flag decides. The manual has a note on replication for every command."""
    c = Talk(server)
    for name, manual in manuals().items():
        [about] = c("COMMAND", "INFO", name)
        assert (manual.replicates == "Nothing") == ("readonly" in set(about[2])), name
        assert manual.replicates


def test_the_pattern_of_an_error_text_matches_any_value():
    """Only `<…>` is a placeholder. Other characters stand for themselves."""
    assert pattern("ERR option <option> is (there)").fullmatch("ERR option A b is (there)")
    assert not pattern("ERR option <option>").fullmatch("ERR options X")
