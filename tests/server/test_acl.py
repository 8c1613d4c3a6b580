"""Who may do what: key patterns, read and write permissions, categories, in transactions and scripts too."""

import pytest
from talk import Error, Talk

HANDLE = "1-1@1-00000000"
# What a command needs to do with its key, as the server counts it: see data, change data, or neither.
READERS = [["RESULT", "1-1"], ["GET", "1-1"], ["LIST", "ready"], ["INFO"]]
WRITERS = [
    ["PUSH", "p"],
    ["MPUSH", "TASKS", 1, "p"],
    ["ACK", HANDLE],
    ["REQUEUE", HANDLE],
    ["EXTEND", HANDLE],
    ["FAIL", HANDLE],
    ["CANCEL", "1-1"],
    ["RETRY", "1-1"],
    ["CONFIG", "RESET"],
    ["GROUP", "DEL", "g"],
    ["CRON", "DEL", "s"],
    ["PAUSE"],
    ["RESUME"],
    ["PURGE", "ALL"],
]
KEY = "<key>"
BOTH = [["CLAIM"], ["MCLAIM", "KEYS", 1, KEY]]
NEITHER = [["LEN"], ["SHARDS", 2]]


def on(key: str, commands: list[list]) -> list[list]:
    """The commands on this key."""
    return [
        [f"TASK.{name}", key, *(key if word == KEY else word for word in rest)] for name, *rest in commands
    ]


def user(server, *rules: str) -> Talk:
    """A connection of a user with these rules."""
    admin = Talk(server)
    assert admin("ACL", "SETUSER", "u", "reset", "on", ">x", *rules) == "OK"
    c = Talk(server)
    assert c("AUTH", "u", "x") == "OK"
    return c


def denied(c: Talk, commands: list[list]) -> list[bool]:
    """Which of the commands are refused for want of permission."""
    return [isinstance(reply, Error) and reply.startswith("NOPERM") for reply in c.many(commands)]


def test_a_user_has_the_keys_of_its_patterns(server):
    """Every command is refused on another key, and the other key stays as it is."""
    c = user(server, "+@all", "~jobs:*")
    admin = Talk(server)
    admin.push("secret")
    digest = admin.digest("secret")
    commands = READERS + WRITERS + BOTH + NEITHER
    assert not any(denied(c, on("jobs:1", commands)))
    assert all(denied(c, on("secret", commands)))
    assert all(denied(c, on("xjobs:1", commands)))
    assert admin.digest("secret") == digest


def test_a_word_in_place_of_an_option_moves_no_key(server):
    """The key is the first argument whatever follows, so no option evades a pattern."""
    c = user(server, "+@all", "~jobs:*")
    for word in ("KEYS", "TASKS", "HANDLES", "jobs:1", "STREAMS"):
        Talk(server).push("jobs:1")
        assert denied(c, [["TASK.CLAIM", "secret", "WORKER", word, "BLOCK", 1]]) == [True]
        assert denied(c, [["TASK.PUSH", "secret", word, "jobs:1"]]) == [True]
        assert denied(c, [["TASK.CLAIM", "jobs:1", "WORKER", word, "BLOCK", 1]]) == [False]


OPTIONS_WITH_VALUES = ["COUNT", "BYTES", "LEASE", "BLOCK", "WORKER", "REQUEST"]


def test_every_key_of_several_has_to_be_the_users(server):
    """One that isn't, in any place, and nothing is claimed of any; whatever words and numbers the options hold."""
    c, admin = user(server, "+@all", "~jobs:*"), Talk(server)
    for key in ("secret", "jobs:1", "jobs:2"):
        admin.push(key)
    mine = ["TASK.MCLAIM", "jobs:1", "KEYS", 2, "jobs:2", "jobs:3"]
    endings = [[], *([option, word] for option in OPTIONS_WITH_VALUES for word in ("KEYS", "1", "jobs:1"))]
    endings += [["WORKER", "KEYS", "BLOCK", 1], ["REQUEST", "KEYS", "COUNT", 1], ["KEYS", 1, "jobs:1"]]
    for place in (1, 4, 5):
        theirs = [*mine[:place], "secret", *mine[place + 1 :]]
        assert all(denied(c, [[*theirs, *ending] for ending in endings])), theirs
    for key in ("secret", "jobs:1", "jobs:2"):
        assert admin("TASK.INFO", key)[1] == 1, "it is ready still"
    assert not any(denied(c, [[*mine, *ending] for ending in endings]))


def test_a_number_of_keys_that_the_server_cannot_read_runs_nothing(server):
    """The server checks no key of such a command: so the command looks at none, and says nothing of any."""
    c, admin = user(server, "+@all", "~jobs:*"), Talk(server)
    admin.push("secret")
    admin("SET", "text", "x")
    digest = admin.digest("secret")
    numbers = ["0", "-1", "-0", "+1", "01", " 1", "1 ", "1.0", "0x1", "x", "", "KEYS", 101, 2**31, 2**32 + 1]
    numbers += [2**63 - 1, 2**63, 2**64 + 1, -(2**63), "\0", "1\0"]
    for number in [*numbers, 2, 3, 4, 5, 6]:
        answers = set()
        for first, second in (("secret", "secret"), ("text", "text"), ("nothing", "nothing")):
            for ending in ([], ["BLOCK", 0], ["COUNT", 1], ["WORKER", "KEYS"], ["REQUEST", "t"]):
                answer = c("TASK.MCLAIM", first, "KEYS", number, second, *ending)
                assert isinstance(answer, Error), (number, answer)
                answers.add((tuple(ending), answer))
        assert len({ending for ending, _ in answers}) == len(answers), "no key is told apart from another"
    for word in ("KEY", "COUNT", "WORKER", "", "1", "jobs:1"):
        answer = c("TASK.MCLAIM", "secret", word, 1, "secret")
        assert isinstance(answer, Error)
    assert isinstance(c("TASK.MCLAIM", "secret"), Error)
    assert isinstance(c("TASK.MCLAIM", "secret", "KEYS"), Error)
    assert isinstance(c("TASK.MCLAIM", "secret", "KEYS", 1), Error)
    assert admin.digest("secret") == digest


def test_read_and_write_permissions_tell_commands_apart(server):
    """%R~ suffices to ask, %W~ to push and to answer, a claim needs both (from 7.0 on)."""
    if server.installed.version < (7, 0):
        admin = Talk(server)
        assert isinstance(admin("ACL", "SETUSER", "u", "%R~q"), Error), "6.2 knows no such patterns"
        return
    reader = user(server, "+@all", "%R~q")
    assert not any(denied(reader, on("q", READERS + NEITHER)))
    assert all(denied(reader, on("q", WRITERS + BOTH)))
    writer = user(server, "+@all", "%W~q")
    assert not any(denied(writer, on("q", WRITERS + NEITHER)))
    assert all(denied(writer, on("q", READERS + BOTH)))
    worker = user(server, "+@all", "%RW~q")
    assert not any(denied(worker, on("q", READERS + WRITERS + BOTH + NEITHER)))


def test_a_user_has_the_commands_it_was_given(server):
    """By name, on every server."""
    c = user(server, "~*", "-@all", "+echo", "+task.claim", "+task.ack")
    assert not any(denied(c, on("q", [["CLAIM"], ["ACK", HANDLE]])))
    assert all(denied(c, on("q", [["PUSH", "p"], ["PURGE", "ALL"], ["REQUEUE", HANDLE], ["LEN"]])))


def test_categories_hold_our_commands(server):
    """@read, @write, @dangerous and the like, from 7.2 on: older servers let modules name none."""
    c = user(server, "~*", "+@all", "-@write")
    if server.installed.version < (7, 2):
        assert not any(denied(c, on("q", READERS + WRITERS + BOTH))), "as with every module's commands"
        return
    assert not any(denied(c, on("q", READERS + NEITHER)))
    assert all(denied(c, on("q", WRITERS + BOTH)))
    c = user(server, "~*", "-@all", "+echo", "+@read")
    assert not any(denied(c, on("q", READERS + NEITHER)))
    assert all(denied(c, on("q", WRITERS + BOTH)))
    c = user(server, "~*", "+@all", "-@dangerous")
    assert denied(c, on("q", [["PURGE", "ALL"], ["PUSH", "p"]])) == [True, False]
    assert (
        denied(c, [["TASK._APPLY", "q", "x"], ["TASK._LOAD", "q", "HEAD", "x"], ["TASK._CLOCK", "x"]])
        == [True] * 3
    )
    c = user(server, "~*", "+@all", "-@blocking")
    assert denied(c, on("q", [["CLAIM"], ["PUSH", "p"]])) == [True, False]


def test_the_category_task_holds_all_commands_of_the_module(server):
    """From 7.4 on, and in Valkey; -@task takes them all away."""
    admin = Talk(server)
    if server.installed.version < (7, 4):
        assert admin("ACL", "CAT", "task") == Error("ERR Unknown category 'task'")
        return
    commands = READERS + WRITERS + BOTH + NEITHER
    names = {f"TASK.{name}".encode() for name, *_ in commands} | {b"TASK.HELP", b"TASK._APPLY", b"TASK._LOAD"}
    names.add(b"TASK._CLOCK")
    assert {name.upper() for name in admin("ACL", "CAT", "task")} == names
    c = user(server, "~*", "-@all", "+echo", "+@task")
    assert not any(denied(c, on("q", commands)))
    assert denied(c, [["SET", "k", "v"]]) == [True]
    c = user(server, "~*", "+@all", "-@task")
    assert all(denied(c, on("q", commands)))


@pytest.mark.parametrize("name, key", [("PUSH", "secret"), ("CLAIM", "secret"), ("LEN", "q")])
def test_transactions_and_scripts_give_no_way_around(server, name, key):
    """MULTI refuses what may not be done alone, and so does a script."""
    c = user(server, "~q", "+@all", "-task.len")
    admin = Talk(server)
    admin.push("secret")
    digest = admin.digest("secret")
    more = ["p"] if name == "PUSH" else []
    assert c("MULTI") == "OK"
    assert c(f"TASK.{name}", key, *more).startswith("NOPERM")
    assert c("EXEC").startswith("EXECABORT")
    answer = c("EVAL", f"return redis.call('TASK.{name}', '{key}', unpack(ARGV))", 0, *more)
    assert isinstance(answer, Error)
    assert any(why in answer for why in ("NOPERM", "ACL failure", "can't access", "can't run")), answer
    assert admin.digest("secret") == digest


def test_permission_lost_while_waiting_is_the_servers_matter(server):
    """A worker whose user is deleted is disconnected, and its place in the line is free."""
    admin, c = Talk(server), user(server, "~q", "+@all")
    c.send(["TASK.CLAIM", "q", "BLOCK", 0])
    server.wait_until(lambda: b"taskslot_blocked_workers:1" in admin("INFO", "taskslot"), "the worker waits")
    assert admin("ACL", "DELUSER", "u") == 1
    server.wait_until(lambda: b"taskslot_blocked_workers:0" in admin("INFO", "taskslot"), "it waits no more")
    admin.push()
    assert admin("TASK.LEN", "q", "ready") == 1
