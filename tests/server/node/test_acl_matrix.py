"""Who may do what: every user × every command × every way to send it, compared with a table that is written by hand.

The table says what each command needs. From the rules of a user follows what must happen to each of its calls. The
same calls then go to a server directly, in a transaction, in a script, in a function, and to a replica. What is denied
must change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from harness.server import Installed, wait_synced
from harness.talk import Error, Talk

KEY = "<key>"
KEYS = ["jobs:1", "other:1", "xjobs:1", "jobs:"]
HANDLE = "1-1@1-00000000"


@dataclass(frozen=True)
class Call:
    """A call that succeeds on any queue, and what it needs.

    `needs` has the permissions on its keys: R to read data, W to change them. `kinds` are its categories, from 7.2 on.
    """

    words: tuple
    needs: str = ""
    kinds: str = ""
    # The call also needs the permission to run this command on its key, where modules can ask (7.0).
    also: str = ""

    @property
    def name(self) -> str:
        """The command, as an ACL rule has it."""
        return self.words[0].lower()

    def on(self, key: str) -> list:
        """The words of the call, on this key."""
        return [key if word == KEY else word for word in self.words]


def calls(needs: str, kinds: str, *lines: str) -> list[Call]:
    """Calls that need the same. The key is left out of their lines; it is their first argument."""
    return [Call((f"TASK.{name}", KEY, *rest), needs, kinds) for name, *rest in map(str.split, lines)]


CALLS = [
    *calls("R", "read", "GET 1-1", "LIST ready", "INFO"),
    *calls("R", "read blocking", "RESULT 1-1"),
    *calls("", "read", "LEN", "SHARDS 2"),
    *calls("W", "write", "PUSH p", "MPUSH TASKS 1 p", "SET 1-1 DELAY 1", "CANCEL 1-1", "RETRY 1-1"),
    *calls("W", "write", f"ACK {HANDLE}", f"REQUEUE {HANDLE}", f"EXTEND {HANDLE}", f"FAIL {HANDLE}"),
    *calls("W", "write", "CONFIG SET lease 9999", "GROUP SET g WEIGHT 2", "BATCH OPEN b PAYLOAD p"),
    *calls("W", "write", "CRON SET s EVERY 9999999 PAYLOAD p", "PAUSE", "RESUME"),
    *calls("W", "write dangerous", "PURGE ALL"),
    *calls("RW", "write blocking", "CLAIM", f"NEXT {HANDLE}"),
    Call(("TASK.MCLAIM", KEY, "KEYS", 1, "jobs:2"), "RW", "write blocking"),
    Call(("TASK.ACK", KEY, HANDLE, "PUSH", "p"), "W", "write", also="task.push"),
    Call(("TASK.HELP",)),
    Call(("TASK._APPLY", KEY, b"\x01\xdd\0\0\0\0"), "W", "write admin dangerous"),
    Call(("TASK._LOAD", KEY, "HEAD", "x"), "W", "write admin dangerous"),
    Call(("TASK._CLOCK", "x"), "", "write admin dangerous"),
]


@dataclass(frozen=True)
class Part:
    """What one set of rules allows: commands by name or category, and keys with permissions."""

    # "*" for all; otherwise commands or @categories, a - before those that are taken away.
    commands: str
    # Key patterns: each a prefix, with its permissions.
    keys: dict[str, str] = field(default_factory=dict)

    def runs(self, name: str, kinds: str, server: Installed) -> bool:
        """Whether the command is allowed. Rules are read from left to right, and the last one counts."""
        allowed = False
        for rule in self.commands.split():
            taken, rule = rule.startswith("-"), rule.removeprefix("-")
            if rule.startswith("@"):
                applies = rule[1:] in categories(kinds, server)
            else:
                applies = rule in ("*", name)
            allowed = not taken if applies else allowed
        return allowed

    def reaches(self, key: str, needs: str) -> bool:
        """Whether one of the patterns has all permissions on the key."""
        return any(key.startswith(prefix) and set(needs) <= set(has) for prefix, has in self.keys.items())

    def rules(self) -> list[str]:
        """The rules, as ACL SETUSER takes them."""
        signs = {"R": "%R~", "W": "%W~", "RW": "~"}
        keys = [f"{signs[has]}{prefix}*" for prefix, has in self.keys.items()]
        commands = [
            ("-" if word.startswith("-") else "+") + word.removeprefix("-").replace("*", "@all")
            for word in self.commands.split()
        ]
        return [*keys, *commands]


def categories(kinds: str, server: Installed) -> set[str]:
    """The categories of a command. Modules have them from 7.2 on, and one of their own from 7.4 on, and in Valkey."""
    if server.version < (7, 2):
        return set()
    return {*kinds.split(), *(["task"] if server.version >= (7, 4) else [])}


@dataclass(frozen=True)
class User:
    """A user: its rules, more rules in selectors, and the first version that has what they use."""

    root: Part
    selectors: tuple[Part, ...] = ()
    since: tuple[int, int] = (6, 2)

    def may(self, call: Call, key: str, server: Installed) -> bool:
        """Whether one set of rules allows all of the call."""
        keys = [word for word in call.on(key)[1:] if word in (*KEYS, "jobs:2")]

        def allows(part: Part, name: str, kinds: str) -> bool:
            return part.runs(name, kinds, server) and all(part.reaches(key, call.needs) for key in keys)

        parts = (self.root, *self.selectors)
        names = [(call.name, call.kinds)]
        if call.also and server.version >= (7, 0):
            names.append((call.also, "write"))
        return all(any(allows(part, *name) for part in parts) for name in names)

    def create(self, admin: Talk) -> None:
        """Make the user `u` one with these rules, who may also send the words around the calls."""
        around = ["+echo", "+multi", "+exec", "+eval", *(["+fcall"] if admin.has_functions else [])]
        selectors = [f"({' '.join(part.rules())})" for part in self.selectors]
        reply = admin("ACL", "SETUSER", "u", "reset", "on", ">x", *self.root.rules(), *around, *selectors)
        assert reply == "OK", reply


JOBS, ALL_KEYS = {"jobs:": "RW"}, {"": "RW"}
USERS = {
    "producer": User(Part("task.push task.mpush task.batch task.result task.len", JOBS)),
    "worker": User(
        Part("task.claim task.mclaim task.next task.ack task.fail task.requeue task.extend", JOBS),
    ),
    "viewer": User(Part("task.get task.list task.len task.info", JOBS)),
    "operator": User(
        Part(
            "task.get task.list task.len task.info task.set task.batch task.cancel task.retry task.purge "
            "task.pause task.resume task.config task.group task.cron",
            ALL_KEYS,
        )
    ),
    "only reads its keys": User(Part("*", {"jobs:": "R"}), since=(7, 0)),
    "only writes its keys": User(Part("*", {"jobs:": "W"}), since=(7, 0)),
    "reads some keys and writes others": User(Part("*", {"jobs:": "R", "other:": "W"}), since=(7, 0)),
    "has selectors": User(
        Part("task.len", {"other:": "RW"}),
        (
            Part("task.push", JOBS),
            Part("task.ack", {"": "W"}),
            Part("task.claim task.mclaim", {"jobs:1": "RW"}),
        ),
        since=(7, 0),
    ),
    "has no key": User(Part("*")),
    "has other keys": User(Part("*", {"other:": "RW"})),
    "has the category task": User(Part("@task -task.purge", JOBS), since=(7, 4)),
    "has the category read": User(Part("@read", ALL_KEYS), since=(7, 2)),
    "has nothing dangerous": User(Part("* -@dangerous -@blocking", ALL_KEYS)),
    "has no commands": User(Part("", ALL_KEYS)),
    "has the internal commands": User(Part("task._apply task._load task._clock", ALL_KEYS)),
    "may all": User(Part("*", ALL_KEYS)),
}
DENIED, RUNS, RESERVED, READONLY = "denied", "runs", "reserved", "read only"


def expected(user: User, call: Call, key: str, server: Installed, on_replica: bool) -> str:
    """What the table says of a call."""
    if not user.may(call, key, server):
        # A replica refuses a write before the module can ask for the second permission.
        first = Call(call.words, call.needs, call.kinds)
        return READONLY if on_replica and user.may(first, key, server) else DENIED
    if on_replica and "write" in call.kinds:
        return READONLY
    return RESERVED if call.name.startswith("task._") else RUNS


# What servers say in scripts: Redis 6.2, 7.0, and later ones.
DENIALS = ("NOPERM", "ACL failure", "can't run this command", "can't access", "has no permissions to")


def observed(replies: list) -> str:
    """What happened to a call, by the replies to it and to the words around it."""
    flat = [one for reply in replies for one in (reply if isinstance(reply, list) else [reply])]
    errors = [reply for reply in flat if isinstance(reply, Error)]
    for what, texts in {
        DENIED: DENIALS,
        READONLY: ("READONLY", "read only replica"),
        RESERVED: ("reserved for replication",),
    }.items():
        if any(text in error for error in errors for text in texts):
            return what
    return f"another error: {errors}" if errors else RUNS


SCRIPT = "return redis.call(ARGV[1], unpack(ARGV, 2))"
LIBRARY = "#!lua name=l\nredis.register_function('f', function(_, a) return redis.call(unpack(a)) end)"
WAYS = {
    "direct": lambda words: [words],
    "transaction": lambda words: [["MULTI"], words, ["EXEC"]],
    # The key is an argument, not a key of the script: so only the call inside is checked for it.
    "script": lambda words: [["EVAL", SCRIPT, 0, *words]],
    "function": lambda words: [["FCALL", "f", 0, *words]],
}


def connected(server) -> Talk:
    """An administrator's connection, to a server with a queue in every key."""
    admin = Talk(server)
    admin.has_functions = server.installed.version >= (7, 0)
    for key in (*KEYS, "jobs:2"):
        admin.push(key, "p", "DELAY", 10**8)
    if admin.has_functions:
        assert admin("FUNCTION", "LOAD", LIBRARY) == b"l"
    return admin


def digests(admin: Talk) -> list[str]:
    """The digests of all queues."""
    return admin("DEBUG", "DIGEST-VALUE", *KEYS, "jobs:2")


def wrong_verdicts(server, admin: Talk, way: str, on_replica: bool = False) -> tuple[int, list]:
    """Send all calls as all users. Returns how many there were, and those that did not end as the table says."""
    count, wrong = 0, []
    for name, user in USERS.items():
        if server.installed.version < user.since:
            continue
        user.create(admin)
        c = Talk(server)
        assert c("AUTH", "u", "x") == "OK"
        cases = [
            (expected(user, call, key, server.installed, on_replica), call.on(key))
            for call in CALLS
            for key in (KEYS if KEY in call.words else KEYS[:1])
        ]
        # Those that run come last: until then, nothing may change.
        cases.sort(key=lambda case: case[0] == RUNS)
        refused = [case for case in cases if case[0] != RUNS]
        before = digests(admin)
        for part in (refused, cases[len(refused) :]):
            groups = [WAYS[way](words) for _, words in part]
            replies = iter(c.many([command for group in groups for command in group]))
            for (verdict, words), group in zip(part, groups, strict=True):
                seen = observed([next(replies) for _ in group])
                if seen != verdict:
                    wrong.append((name, words, verdict, seen))
            if part is refused:
                assert digests(admin) == before, f"{name}: what was denied changed a queue"
        count += len(cases)
    return count, wrong


def test_the_table_has_every_command_of_the_server(server):
    """A new command is missing in the table until someone says who may run it."""
    admin = Talk(server)
    names = {info[0].decode().lower() for info in admin("COMMAND") if info[0].lower().startswith(b"task.")}
    assert {call.name for call in CALLS} == names


@pytest.mark.parametrize("way", WAYS)
def test_every_user_can_do_what_the_table_says(server, way):
    """Each of some 1400 calls is run or denied as it should be, and a denied one changes nothing."""
    admin = connected(server)
    if way == "function" and not admin.has_functions:
        assert isinstance(admin("FCALL", "f", 0), Error), "6.2 has no functions"
        return
    count, wrong = wrong_verdicts(server, admin, way)
    assert wrong == []
    assert count > (900 if server.installed.version < (7, 0) else 1200)


def test_a_replica_lets_the_same_users_read(start):
    """It denies what the primary denies. What a user may write is refused as it is to all."""
    primary, replica = start(port=True), start()
    connected(primary)
    replica.replicate(primary)
    wait_synced(primary, replica)
    admin = Talk(replica)
    admin.has_functions = replica.installed.version >= (7, 0)
    for way in ("direct", "transaction", "script"):
        _, wrong = wrong_verdicts(replica, admin, way, on_replica=True)
        assert wrong == [], way
