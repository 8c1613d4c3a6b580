"""What COMMAND and TASK.HELP show of the commands: flags, keys, arguments and texts."""

import re

import pytest
from harness.manual import manuals, rows
from harness.talk import Error, Talk

# Name: arity, flags, what is done with the key.
ABOUT = {
    "TASK.PUSH": (-3, {"write", "denyoom", "fast"}, {"RW", "insert"}),
    "TASK.MPUSH": (-5, {"write", "denyoom"}, {"RW", "insert"}),
    "TASK.CLAIM": (-2, {"write", "fast", "blocking"}, {"RW", "access", "update"}),
    "TASK.MCLAIM": (-5, {"write", "blocking", "movablekeys"}, {"RW", "access", "update"}),
    "TASK.ACK": (-3, {"write", "fast"}, {"RW", "delete"}),
    "TASK.NEXT": (-3, {"write", "fast", "blocking"}, {"RW", "access", "update"}),
    "TASK.REQUEUE": (-3, {"write", "fast"}, {"RW", "update"}),
    "TASK.EXTEND": (-3, {"write", "fast"}, {"RW", "update"}),
    "TASK.FAIL": (-3, {"write", "fast"}, {"RW", "update"}),
    "TASK.RESULT": (-3, {"readonly", "fast", "blocking", "random"}, {"RO", "access"}),
    "TASK.GET": (-3, {"readonly", "fast", "random"}, {"RO", "access"}),
    "TASK.LIST": (-3, {"readonly", "random"}, {"RO", "access"}),
    "TASK.LEN": (-2, {"readonly", "fast", "random"}, {"RO"}),
    "TASK.INFO": (-2, {"readonly", "random"}, {"RO", "access"}),
    "TASK.SHARDS": (-3, {"readonly"}, {"RO"}),
    "TASK.SET": (-5, {"write"}, {"RW", "update"}),
    "TASK.CANCEL": (-3, {"write", "fast"}, {"RW", "delete"}),
    "TASK.RETRY": (-3, {"write"}, {"RW", "update"}),
    "TASK.CONFIG": (-3, {"write"}, {"RW", "update"}),
    "TASK.GROUP": (-4, {"write", "fast"}, {"RW", "update"}),
    "TASK.CRON": (-4, {"write"}, {"RW", "update"}),
    "TASK.BATCH": (-4, {"write"}, {"RW", "update"}),
    "TASK.PAUSE": (-2, {"write", "fast"}, {"RW", "update"}),
    "TASK.RESUME": (-2, {"write"}, {"RW", "update"}),
    "TASK.PURGE": (-3, {"write"}, {"RW", "delete"}),
    "TASK.HELP": (1, {"readonly", "fast"}, None),
    "TASK._APPLY": (-3, {"write"}, {"RW", "update"}),
    "TASK._LOAD": (4, {"write"}, {"RW", "update"}),
    "TASK._CLOCK": (2, {"write"}, None),
}
# Commands whose further keys are counted, by a second key spec.
COUNTED = {"TASK.MCLAIM"}
SHOWN = [name for name in ABOUT if "_" not in name]


def test_the_module_has_these_commands_and_no_others(c):
    """Every command of the module that COMMAND shows is in the table above."""
    names = {command[0].decode().upper() for command in c("COMMAND")}
    assert {name for name in names if name.startswith("TASK")} == set(ABOUT)
    # Servers bring modules of their own.
    assert b"taskslot" in [c.as_map(module)[b"name"] for module in c("MODULE", "LIST")]


@pytest.mark.parametrize("name", ABOUT)
def test_command_info_shows_arity_flags_and_keys(server, name, c):
    """Only pushes have denyoom. Clients without key specs see the first argument as the key."""
    arity, flags, key = ABOUT[name]
    has_specs = server.installed.version >= (7, 0)
    [about] = c("COMMAND", "INFO", name)
    assert about[0].decode().upper() == name
    # A module gives 6.2 no arity. 6.2 has no flag "blocking"; it alone has one for replies that depend on the clock.
    assert about[1] == (arity if has_specs else -1)
    assert set(about[2]) - {"module"} == flags - ({"random"} if has_specs else {"blocking"})
    assert about[3:6] == ([1, 1, 1] if key else [0, 0, 0])
    if has_specs:
        specs = [c.as_map(spec) for spec in about[8]]
        keys = 0 if not key else 2 if name in COUNTED else 1
        assert [set(spec[b"flags"]) for spec in specs] == [key] * keys


def test_getkeys_finds_the_first_argument_only(server, c):
    """More arguments do not change the result."""
    for name, (arity, _, key) in ABOUT.items():
        least = abs(arity) - 1
        words = ["k", "COUNT", "HANDLES", "x", "TASKS"][:least]
        if name in COUNTED:
            continue
        if not key:
            assert isinstance(c("COMMAND", "GETKEYS", name), Error)
            continue
        assert c("COMMAND", "GETKEYS", name, *words) == [b"k"]
        if arity < 0:
            assert c("COMMAND", "GETKEYS", name, *words, "x", "KEYS", 2, "y", "z") == [b"k"]
        if server.installed.version >= (7, 0):
            [[found, flags]] = c("COMMAND", "GETKEYSANDFLAGS", name, *words)
            assert found == b"k" and set(flags) == key


def test_getkeys_finds_keys_that_are_counted(server, c):
    """The keys are the first argument and those after KEYS. If the number is invalid, it is the first alone."""
    options = ["COUNT", 2, "WORKER", "KEYS", "REQUEST", "3", "BLOCK", 0]
    for keys in (["a", "b"], ["a", "a", "KEYS", "b"], ["COUNT", *map(str, range(100))]):
        command = ["TASK.MCLAIM", keys[0], "KEYS", len(keys) - 1, *keys[1:], *options]
        names = [key.encode() for key in keys]
        assert c("COMMAND", "GETKEYS", *command) == names
        if server.installed.version >= (7, 0):
            found = c("COMMAND", "GETKEYSANDFLAGS", *command)
            assert [[name, set(flags)] for name, flags in found] == [
                [name, ABOUT["TASK.MCLAIM"][2]] for name in names
            ]
    for number in ("x", "-1", "", "1.0", 2**64):
        assert c("COMMAND", "GETKEYS", "TASK.MCLAIM", "a", "KEYS", number, "b") == [b"a"]
    assert c("COMMAND", "GETKEYS", "TASK.MCLAIM", "a", "KEYS", 9, "b") == [b"a", b"b"]


def test_command_docs_describe_every_command(server, c):
    """From 7.0 on, COMMAND DOCS has summary, complexity, version and arguments. The first argument is the key."""
    if server.installed.version < (7, 0):
        assert isinstance(c("COMMAND", "DOCS"), Error)
        return
    for name, (_, _, key) in ABOUT.items():
        [(shown, about)] = c.map("COMMAND", "DOCS", name).items()
        about = c.as_map(about)
        assert shown.decode().upper() == name
        assert about[b"summary"] and not about[b"summary"].endswith(b".")
        assert about[b"complexity"].startswith(b"O(")
        assert re.fullmatch(rb"\d+\.\d+\.\d+", about[b"since"])
        assert about[b"group"] == b"module" and about[b"module"] == b"taskslot"
        arguments = [c.as_map(argument) for argument in about.get(b"arguments", [])]
        if not key:
            assert [argument[b"name"] for argument in arguments] == ([b"stamp"] if "CLOCK" in name else [])
            continue
        assert (arguments[0][b"name"], arguments[0][b"type"]) == (b"key", b"key")
        assert arguments[0][b"key_spec_index"] == 0


def tokens(c: Talk, argument: object) -> set[str]:
    """The words of an argument and of all arguments within it."""
    argument = c.as_map(argument)
    found = {argument[b"token"].decode()} if b"token" in argument else set()
    return found.union(*(tokens(c, sub) for sub in argument.get(b"arguments", [])))


OPTIONS = {
    "TASK.PUSH": "DELAY AT PRIORITY ATTEMPTS LEASE GROUP TTL RETAIN UNIQUE UNTIL START FOR KEEP REPLACE "
    "POSTPONE HEADERS BATCH AFTER ONDEAD WAIT RUN DROP REQUEST",
    "TASK.MPUSH": "DELAY AT PRIORITY ATTEMPTS LEASE GROUP TTL RETAIN HEADERS BATCH AFTER ONDEAD WAIT RUN "
    "DROP REQUEST TASKS",
    "TASK.CLAIM": "COUNT BYTES LEASE BLOCK GATHER WORKER GROUP TIED NOACK REQUEST WITHMETA",
    "TASK.MCLAIM": "KEYS COUNT BYTES LEASE BLOCK GATHER WORKER GROUP TIED NOACK REQUEST WITHMETA",
    "TASK.ACK": "HANDLES RESULT RETAIN PUSH DELAY AT PRIORITY ATTEMPTS LEASE GROUP TTL RETAIN UNIQUE UNTIL START "
    "FOR KEEP REPLACE POSTPONE HEADERS BATCH AFTER ONDEAD WAIT RUN DROP REQUEST",
    "TASK.NEXT": "HANDLES RESULT RETAIN COUNT BYTES LEASE BLOCK GATHER WORKER GROUP TIED NOACK REQUEST WITHMETA",
    "TASK.REQUEUE": "HANDLES DELAY BACK PROGRESS",
    "TASK.EXTEND": "HANDLES LEASE PROGRESS",
    "TASK.FAIL": "HANDLES ERROR DELAY DEAD PROGRESS",
    "TASK.RESULT": "UNIQUE BLOCK",
    "TASK.GET": "UNIQUE",
    "TASK.LIST": "READY DELAYED HELD LEASED DEAD DONE CURSOR COUNT BYTES GROUP WORKER WITHPAYLOAD "
    "REV MATCH HEADER",
    "TASK.LEN": "READY DELAYED HELD LEASED DEAD DONE",
    "TASK.SHARDS": "WITHSLOTS",
    "TASK.INFO": "CONFIG CRON GROUPS AFTER BATCHES WORKERS TIMES",
    "TASK.SET": "IDS UNIQUE DELAY AT PRIORITY GROUP PAYLOAD HEADERS",
    "TASK.CANCEL": "IDS UNIQUE",
    "TASK.RETRY": "IDS UNIQUE COUNT GROUP",
    "TASK.CONFIG": "SET RESET",
    "TASK.GROUP": "SET WEIGHT CONCURRENCY RATE PER ORDERED YES NO DEL",
    "TASK.CRON": "SET EVERY CRON TZ CATCHUP NONE ONE PRIORITY ATTEMPTS LEASE GROUP TTL RETAIN UNIQUE UNTIL "
    "START FOR KEEP HEADERS PAYLOAD DEL RUN",
    "TASK.BATCH": "OPEN DELAY AT PRIORITY ATTEMPTS LEASE GROUP TTL RETAIN HEADERS BATCH PAYLOAD CLOSE INFO DEL",
    "TASK.PAUSE": "OUT IN ALL GROUP FOR",
    "TASK.RESUME": "OUT IN ALL GROUP",
    "TASK.PURGE": "READY DELAYED HELD DEAD DONE ALL IDS OLDER COUNT",
    "TASK.HELP": "",
}


def test_help_shows_every_command_with_its_options(server, c):
    """The version, then three lines each: synopsis, summary and reply. Internal commands are not shown."""
    first, *lines = c("TASK.HELP")
    assert re.fullmatch(r"taskslot \d+\.\d+\.\d+: task queues with leases", first)
    assert [line.split()[0] for line in lines[::3]] == SHOWN
    for synopsis, summary, reply in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        name, *words = re.findall(r"[^\s<>|\[\]]+", synopsis)
        assert {word for word in words if word.isupper()} == set(OPTIONS[name].split())
        assert summary.startswith("    ") and summary.endswith(".")
        assert reply.startswith("    -> ") and len(reply) > 7
    assert Talk(server, 3)("TASK.HELP") == [first, *lines]


def test_the_manual_has_the_texts_of_help(server):
    """docs/commands.md has the same commands in the same order, with the texts of TASK.HELP and COMMAND DOCS."""
    assert list(manuals()) == list(ABOUT)
    c = Talk(server)
    help_lines = iter(c("TASK.HELP")[1:])
    for name in SHOWN:
        manual = manuals()[name]
        assert next(help_lines) == manual.synopsis
        # The section goes on with details that HELP leaves out.
        assert f"    {manual.summary}.".startswith(next(help_lines))
        assert next(help_lines) == f"    -> {manual.replies}."
        if server.installed.version >= (7, 0):
            [about] = c.map("COMMAND", "DOCS", name).values()
            assert c.as_map(about)[b"complexity"].decode() == manual.complexity


def test_the_table_of_the_manual_has_the_lines_of_help(server):
    """docs/commands.md begins with one row per command: its name, HELP's own words, and a link to its section."""
    lines = Talk(server)("TASK.HELP")[1:]
    assert [synopsis.split()[0] for synopsis in lines[::3]] == [name for name, _, _ in rows()] == SHOWN
    assert [f"    {summary}." for _, _, summary in rows()] == lines[1::3]
    assert [anchor for _, anchor, _ in rows()] == [name.lower().replace(".", "") for name in SHOWN]


def test_command_docs_list_the_options_of_a_command(server, c):
    """From 7.0 on, COMMAND DOCS has all options of a command and no others."""
    if server.installed.version < (7, 0):
        assert isinstance(c("COMMAND", "DOCS"), Error)
        return
    for name in SHOWN:
        [about] = c.map("COMMAND", "DOCS", name).values()
        arguments = c.as_map(about).get(b"arguments", [])
        named = set().union(*(tokens(c, argument) for argument in arguments))
        assert named == set(OPTIONS[name].split()), name


@pytest.mark.parametrize("name", ["TASK.CLAIM", "task.claim", "Task.Claim"])
def test_names_of_commands_can_be_in_any_case(server, name):
    """`TASK.CLAIM`, `task.claim` and `Task.Claim` are one command."""
    assert Talk(server)(name, "q") == []
