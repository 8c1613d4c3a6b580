"""Hostile arguments: each call gets one reply, an error changes nothing, and the server stays up."""

import random
import re

import pytest
from harness.manual import manuals
from harness.server import Server
from harness.talk import Error, Talk

BIGGEST = 2**53 - 1  # error texts have it as a bound

HOSTILE = [
    *[b"", b"0", b"-0", b"-1", b"+1", b" 1", b"1 ", b"01", b"1,0", b"0x10", b"1e3", b"1.5", b"1_000"],
    *[b"NaN", b"inf", b"-inf", b"true", b"--1", b"-"],
    *[str(number).encode() for edge in (31, 32, 48, 53, 63, 64) for number in (2**edge - 1, 2**edge)],
    *[str(-number).encode() for edge in (31, 63, 64) for number in (2**edge, 2**edge + 1)],
    *[b"9" * 400, b"-" + b"9" * 400, b"0" * 400 + b"1"],
    *[
        b"\0",
        b"1\0",
        b"a\0b",
        b"\r\n",
        b"1\r\n",
        b"x\r\n+OK\r\n",
        b"\n1",
        b"\xff\xfe",
        b"\xc3\x28",
        b"\xf0\x9f",
    ],
    *["１".encode(), "é".encode(), b"%s%n%x", b"*", b"?", b"{}", b"{q}", b"q", b"\\", b"'\""],
    *[b"A" * 257, b"A" * 1025, b"A" * 4097, b"A" * 2**20],
    *[b"0-0", b"1-1", b"01-1", b"1-1-1", b"1--1", b"-1-1", b"%d-%d" % (2**64 - 1, 2**64 - 1)],
    *[
        b"%d-0" % 2**64,
        b"0-0@0-00000000",
        b"1-1@1-0000000g",
        b"1-1@1-0000000000",
        b"1-1@-",
        b"@",
        b"@-",
        b"-@-",
    ],
    *[
        b"count",
        b"DELAY",
        b"At",
        b"LEASE",
        b"HANDLES",
        b"IDS",
        b"TASKS",
        b"HEADERS",
        b"TIED",
        b"DEAD",
        b"SET",
    ],
    *[
        b"TTL",
        b"GROUP",
        b"UNIQUE",
        b"UNTIL",
        b"start",
        b"FOR",
        b"KEEP",
        b"REPLACE",
        b"POSTPONE",
        b"PAYLOAD",
        b"RESULT",
        b"RETAIN",
        b"PROGRESS",
        b"done",
        b"KEYS",
        b"BATCH",
        b"AFTER",
        b"ONDEAD",
        b"held",
        b"open",
        b"OPEN",
        b"ALL",
        b"ready",
    ],
]

READY, DELAYED, HANDLE, OTHER, DEAD = "<ready>", "<delayed>", "<handle>", "<other handle>", "<dead>"
DONE, HELD = "<done>", "<held>"
TEMPLATES = [
    ["TASK.PUSH", "q", "p", "DELAY", 9, "PRIORITY", 3, "ATTEMPTS", 2, "LEASE", 5, "REQUEST", "t"],
    ["TASK.PUSH", "q", "p", "GROUP", "g", "PRIORITY", 3],
    ["TASK.PUSH", "q", "p", "RETAIN", 9],
    ["TASK.PUSH", "q", "p", "AT", 9 * 10**12, "HEADERS", 2, "name", "value", "n", "v"],
    ["TASK.PUSH", "q", "p", "UNIQUE", "held", "FOR", 9, "KEEP", "REPLACE", "TTL", 9],
    [
        "TASK.PUSH",
        "q",
        "p",
        "UNIQUE",
        "held",
        "REPLACE",
        "POSTPONE",
        "UNTIL",
        9,
        "DELAY",
        9,
        "UNTIL",
        "start",
    ],
    ["TASK.PUSH", "q", "p", "TTL", 9, "UNIQUE", "other", "UNTIL", "start", "REQUEST", "t"],
    ["TASK.MPUSH", "q", "PRIORITY", 1, "TTL", 9, "REQUEST", "t", "TASKS", 2, "a", "b"],
    ["TASK.MPUSH", "q", "GROUP", "g", "TASKS", 2, "a", "b"],
    ["TASK.PUSH", "q", "p", "BATCH", "open", "AFTER", 2, READY, DEAD, "ONDEAD", "run", "DELAY", 9],
    ["TASK.PUSH", "q", "p", "AFTER", 1, HANDLE, "ONDEAD", "drop", "UNIQUE", "other", "REQUEST", "t"],
    ["TASK.MPUSH", "q", "BATCH", "closed", "AFTER", 2, HELD, DELAYED, "TASKS", 2, "a", "b"],
    ["TASK.BATCH", "q", "OPEN", "b", "DELAY", 9, "BATCH", "open", "GROUP", "g", "TTL", 9, "PAYLOAD", "p"],
    ["TASK.BATCH", "q", "OPEN", "open", "PAYLOAD", "p"],
    ["TASK.BATCH", "q", "CLOSE", "open"],
    ["TASK.BATCH", "q", "INFO", "closed"],
    ["TASK.BATCH", "q", "DEL", "closed"],
    ["TASK.INFO", "q", "BATCHES", "AFTER", "a"],
    ["TASK.CANCEL", "q", HELD],
    ["TASK.RETRY", "q", HELD],
    ["TASK.PURGE", "q", "held", "COUNT", 5],
    ["TASK.LIST", "q", "held", "CURSOR", "1-0"],
    ["TASK.MPUSH", "q", "PRIORITY", 1, "REQUEST", "t", "TASKS", 2, "a", "b"],
    [
        "TASK.CLAIM",
        "q",
        "COUNT",
        2,
        "BYTES",
        9,
        "LEASE",
        9,
        "BLOCK",
        1,
        "WORKER",
        "w",
        "TIED",
        "REQUEST",
        "t",
    ],
    ["TASK.CLAIM", "q", "TIED", "LEASE", 9, "WITHMETA"],
    ["TASK.CLAIM", "q", "NOACK", "WITHMETA"],
    ["TASK.CLAIM", "q", "GROUP", "g", "COUNT", 5, "BLOCK", 1],
    ["TASK.MCLAIM", "q", "KEYS", 2, "p", "q", "COUNT", 2, "BYTES", 9, "LEASE", 9, "BLOCK", 1, "TIED"],
    ["TASK.MCLAIM", "p", "KEYS", 1, "q", "WORKER", "KEYS", "REQUEST", "t", "WITHMETA"],
    ["TASK.ACK", "q", HANDLE],
    ["TASK.ACK", "q", "HANDLES", 2, HANDLE, OTHER],
    ["TASK.ACK", "q", HANDLE, "RESULT", "r", "RETAIN", 9],
    ["TASK.ACK", "q", "HANDLES", 2, HANDLE, OTHER, "RETAIN", 9, "RESULT", "r"],
    ["TASK.ACK", "q", HANDLE, "RETAIN", 9, "PUSH", "p", "DELAY", 9, "REQUEST", "t", "RETAIN", 9],
    ["TASK.ACK", "q", HANDLE, "PUSH", "p", "BATCH", "closed", "AFTER", 1, HELD, "ONDEAD", "wait"],
    ["TASK.ACK", "q", HANDLE, "PUSH", "p", "UNIQUE", "held", "FOR", 9, "KEEP", "REPLACE", "GROUP", "g"],
    ["TASK.CLAIM", "q", "COUNT", 99, "GATHER", 9, "GROUP", "g", "BLOCK", 1],
    ["TASK.CLAIM", "q", "COUNT", 99, "GATHER", 1, "WORKER", "w"],
    ["TASK.MCLAIM", "p", "KEYS", 1, "q", "COUNT", 99, "GATHER", 9, "BLOCK", 1],
    ["TASK.NEXT", "q", HANDLE, "COUNT", 99, "GATHER", 9, "BLOCK", 1],
    ["TASK.NEXT", "q", HANDLE],
    [
        "TASK.NEXT",
        "q",
        HANDLE,
        "RESULT",
        "r",
        "RETAIN",
        9,
        "COUNT",
        2,
        "BYTES",
        9,
        "BLOCK",
        1,
        "REQUEST",
        "t",
    ],
    ["TASK.NEXT", "q", "HANDLES", 2, HANDLE, OTHER, "LEASE", 9, "WORKER", "w", "TIED", "WITHMETA"],
    ["TASK.NEXT", "q", "HANDLES", 2, HANDLE, OTHER, "GROUP", "g", "NOACK", "RESULT", "r"],
    ["TASK.RESULT", "q", READY],
    ["TASK.RESULT", "q", DONE, "BLOCK", 1],
    ["TASK.GET", "q", DONE],
    ["TASK.PURGE", "q", "done", "COUNT", 5],
    ["TASK.LIST", "q", "done", "CURSOR", "1-0", "WITHPAYLOAD"],
    ["TASK.REQUEUE", "q", HANDLE, "DELAY", 5, "BACK"],
    ["TASK.REQUEUE", "q", HANDLE, "PROGRESS", "half"],
    ["TASK.REQUEUE", "q", "HANDLES", 2, HANDLE, OTHER, "DELAY", 5],
    ["TASK.EXTEND", "q", HANDLE, "LEASE", 5],
    ["TASK.EXTEND", "q", HANDLE, "PROGRESS", "half"],
    ["TASK.EXTEND", "q", "HANDLES", 2, HANDLE, OTHER, "LEASE", 5],
    ["TASK.FAIL", "q", HANDLE, "ERROR", "e", "DELAY", 5],
    ["TASK.FAIL", "q", HANDLE, "PROGRESS", "half", "ERROR", "e"],
    ["TASK.FAIL", "q", "HANDLES", 2, HANDLE, OTHER, "DEAD"],
    ["TASK.GET", "q", READY],
    ["TASK.GET", "q", HANDLE],
    ["TASK.LIST", "q", "ready", "CURSOR", "128-0", "COUNT", 3, "WITHPAYLOAD"],
    ["TASK.LIST", "q", "delayed", "CURSOR", "1-0"],
    ["TASK.LIST", "q", "leased", "WORKER", "w", "CURSOR", "1-0"],
    ["TASK.LIST", "q", "dead", "CURSOR", "1-0"],
    ["TASK.LIST", "q", "ready", "GROUP", "g", "COUNT", 3],
    ["TASK.LEN", "q"],
    ["TASK.LEN", "q", "ready"],
    ["TASK.INFO", "q"],
    ["TASK.INFO", "q", "CONFIG"],
    ["TASK.INFO", "q", "GROUPS", "AFTER", "f"],
    ["TASK.SHARDS", "q", 3],
    ["TASK.SHARDS", "q", 3, "WITHSLOTS"],
    ["TASK.SET", "q", READY, "DELAY", 9, "PRIORITY", 1, "GROUP", "g", "PAYLOAD", "p", "HEADERS", 1, "n", "v"],
    ["TASK.SET", "q", "IDS", 2, DELAYED, READY, "PRIORITY", 1, "PAYLOAD", "p"],
    ["TASK.SET", "q", "UNIQUE", "held", "AT", 100_000_000_000, "HEADERS", 0],
    ["TASK.GET", "q", "UNIQUE", "held"],
    ["TASK.RESULT", "q", "UNIQUE", "nobody", "BLOCK", 1],
    ["TASK.CANCEL", "q", "UNIQUE", "held"],
    ["TASK.RETRY", "q", "UNIQUE", "held"],
    ["TASK.CANCEL", "q", READY],
    ["TASK.CANCEL", "q", "IDS", 2, DELAYED, READY],
    ["TASK.RETRY", "q", DEAD],
    ["TASK.RETRY", "q", "IDS", 2, DELAYED, DEAD],
    ["TASK.RETRY", "q", "COUNT", 2],
    ["TASK.CONFIG", "q", "SET", "lease", 5, "backoff", "fixed", "max-len", 9, "run-max", 9],
    ["TASK.CONFIG", "q", "RESET", "lease", "backoff"],
    ["TASK.CONFIG", "q", "SET", "rate", 5, "concurrency", 9, "group-rate", 3, "groups-max", 2],
    ["TASK.GROUP", "q", "SET", "g", "WEIGHT", 2, "CONCURRENCY", 3, "RATE", 4, "PER", 5, "ORDERED", "yes"],
    ["TASK.GROUP", "q", "SET", "h", "ORDERED", "no", "RATE", -1],
    ["TASK.GROUP", "q", "DEL", "g"],
    ["TASK.CRON", "q", "SET", "s", "EVERY", 3_600_000, "CATCHUP", "none", "LEASE", 5, "PAYLOAD", "p"],
    ["TASK.CRON", "q", "SET", "s", "CRON", "*/5 3-4 L jan,2 sun", "TZ", "Europe/Berlin", "PAYLOAD", "p"],
    ["TASK.CRON", "q", "DEL", "s"],
    ["TASK.INFO", "q", "CRON"],
    ["TASK.INFO", "q", "TIMES"],
    ["TASK.PAUSE", "q", "ALL", "FOR", 5],
    ["TASK.RESUME", "q", "ALL"],
    ["TASK.PURGE", "q", "dead", "COUNT", 5],
    ["TASK.PURGE", "q", "all", "OLDER", 5, "COUNT", 5],
    ["TASK.PURGE", "q", "IDS", 2, READY, DONE, "OLDER", 9],
    ["TASK.LIST", "q", "ready", "REV", "CURSOR", "128-0", "COUNT", 3, "MATCH", "*[a-z]?\\*"],
    ["TASK.LIST", "q", "leased", "REV", "CURSOR", "1-0"],
    ["TASK.LIST", "q", "delayed", "REV", "CURSOR", "1-0", "BYTES", 9],
    ["TASK.LIST", "q", "dead", "REV", "CURSOR", "1-0", "HEADER", "h", "[^"],
    ["TASK.RETRY", "q", "COUNT", 2, "GROUP", "g"],
    ["TASK.PAUSE", "q", "GROUP", "g", "FOR", 5],
    ["TASK.RESUME", "q", "GROUP", "g"],
    ["TASK.CRON", "q", "RUN", "s"],
    ["TASK.HELP"],
    ["TASK._APPLY", "q", b"\x01\xdd\0\0\0\0", "p"],
    ["TASK._LOAD", "q", "HEAD", "chunk"],
]


def test_every_command_of_the_manual_is_attacked():
    """A new command must be added to TEMPLATES with each of its options."""
    assert {template[0] for template in TEMPLATES} | {"TASK._CLOCK"} == set(manuals())


class Target:
    """A queue with tasks in every state, restored before each attack."""

    def __init__(self, server: Server, protocol: int = 2):
        self.server = server
        self.c = c = Talk(server, protocol)
        c("TASK.CONFIG", "q", "SET", "lease", 86_400_000)
        c("TASK.GROUP", "q", "SET", "g", "WEIGHT", 3, "RATE", 7)
        for priority in (9, 8, 7, 6):
            c.push("q", "p", "PRIORITY", priority)
        handles = [c.claim("q", "WORKER", "w") for _ in range(4)]
        assert c("TASK.ACK", "q", handles[3], "RESULT", "r", "RETAIN", 86_400_000) == 1
        assert c("TASK.FAIL", "q", handles[2], "DEAD", "ERROR", "e") == -1
        self.names = {
            READY: c.push("q", "p", "HEADERS", 1, "h", "v", "GROUP", "g"),
            DELAYED: c.push("q", "p", "DELAY", 86_400_000),
            "<unique>": c("TASK.PUSH", "q", "p", "PRIORITY", -9, "UNIQUE", "held")[0],
            HANDLE: handles[0],
            OTHER: handles[1],
            DEAD: handles[2].split(b"@")[0],
            DONE: handles[3].split(b"@")[0],
        }
        for batch in ("open", "closed"):
            assert c("TASK.BATCH", "q", "OPEN", batch, "PAYLOAD", "p")[1] == 1
            c.push("q", "p", "PRIORITY", -9, "BATCH", batch)
        assert c("TASK.BATCH", "q", "CLOSE", "closed") == 1
        self.names[HELD] = c.push("q", "p", "AFTER", 2, self.names[READY], self.names[DEAD])
        self.dump = c("DUMP", "q")

    def fill(self, template: list) -> list:
        """The template with its placeholders filled in."""
        return [self.names.get(word, word) for word in template]

    def attack(self, attacks: list[list]) -> list:
        """Send each attack on the restored queue. An error is in the manual and changes neither queue nor key.

        The key is deleted before: time can change a queue that an earlier attack left there.
        """
        sent = []
        for attack in attacks:
            digest = ["DEBUG", "DIGEST-VALUE", "q", *attack[1:2]]
            restored = ["RESTORE", "q", 0, self.dump, "REPLACE"]
            sent += [["UNLINK", "q", *attack[1:2]], restored, digest, attack, digest]
        self.c("FLUSHALL")
        replies = self.c.many(sent)
        answers = replies[3::5]
        for attack, before, answer, after in zip(attacks, replies[2::5], answers, replies[4::5], strict=True):
            if isinstance(answer, Error):
                assert before == after, f"changed by {shown(attack)}, which was refused: {answer}"
                assert manuals()[attack[0]].documented(answer), f"{shown(attack)}: {answer}"
        self.server.check()
        assert "panic" not in self.server.log()
        return answers


def shown(attack: list) -> str:
    """A command, shortened to be readable."""
    return " ".join(repr(word)[:60] for word in attack)


def is_echoed(value: bytes, error: str) -> bool:
    """Whether an error repeats the caller's bytes, except short ones, bounds and option names.

    An unknown word or an unexpected argument is quoted, shortened and printable.
    """
    assert error.isascii() and error.isprintable(), error
    error = re.sub(
        r"^ERR (unknown option|unknown setting|unexpected argument) '[ -~]{0,32}(\.\.\.)?'", "", error
    )
    text = value.decode("latin-1").strip()
    return len(text) > 3 and text != str(BIGGEST) and not text.isalpha() and text[:99] in error


@pytest.mark.timeout(180)  # 150,000 commands
@pytest.mark.parametrize("protocol", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_hostile_values_in_any_argument_do_no_harm(server, share, protocol):
    """Each argument of each command is replaced by each hostile value, in RESP3 by every fourth.

    RESP3 only changes how replies are written, so RESP2 alone tries every pair.
    """
    target = Target(server, protocol)
    cases = []
    for template in map(target.fill, TEMPLATES):
        for position in range(1, len(template)):
            values = HOSTILE if protocol == 2 else HOSTILE[position % 4 :: 4]
            cases += [([*template[:position], value, *template[position + 1 :]], value) for value in values]
    attacks, values = zip(*share(cases), strict=True)
    refused = 0
    for attack, value, answer in zip(attacks, values, target.attack(attacks), strict=True):
        if isinstance(answer, Error):
            refused += 1
            assert not is_echoed(value, answer), f"{shown(attack)}: {answer}"
    assert refused > len(attacks) / 2


def test_too_few_and_too_many_arguments_do_no_harm(server):
    """Every command is cut after each argument, and is given each hostile value as one more argument."""
    target = Target(server)
    for template in map(target.fill, TEMPLATES):
        longer = [[*template, value] for value in HOSTILE]
        target.attack([template[:length] for length in range(1, len(template))])
        answers = target.attack(longer)
        if template[0] not in ("TASK._APPLY", "TASK._LOAD", "TASK.HELP"):
            assert sum(isinstance(answer, Error) for answer in answers) > len(longer) / 2, template


def test_an_option_given_twice_is_named(server):
    """Every option of the templates, with its value, is added once more at the end."""
    target = Target(server)
    options = {
        "TASK.GROUP": [
            ["WEIGHT", 1],
            ["CONCURRENCY", 1],
            ["RATE", 1],
            ["RATE", 1, "PER", 5],
            ["ORDERED", "no"],
        ],
        "TASK.PUSH": [
            *[["DELAY", 1], ["PRIORITY", 1], ["ATTEMPTS", 1], ["LEASE", 1], ["RETAIN", 1], ["REQUEST", "r"]],
            *[
                ["TTL", 1],
                ["BATCH", "open"],
                ["AFTER", 1, READY],
                ["GROUP", "g"],
                ["UNIQUE", "t"],
                ["FOR", 1],
                ["UNTIL", "start"],
                ["KEEP"],
                ["REPLACE"],
            ],
        ],
        "TASK.MPUSH": [
            ["PRIORITY", 1],
            ["GROUP", "g"],
            ["TTL", 1],
            ["BATCH", "open"],
            ["REQUEST", "r"],
            ["TASKS", 1, "p"],
        ],
        "TASK.ACK": [["RESULT", "r"], ["RETAIN", 1]],
        "TASK.NEXT": [["RESULT", "r"], ["RETAIN", 1], ["COUNT", 1], ["BLOCK", 1], ["TIED"], ["REQUEST", "r"]],
        "TASK.RESULT": [["BLOCK", 1]],
        "TASK.CLAIM": [
            *[["COUNT", 1], ["BYTES", 1], ["LEASE", 1], ["BLOCK", 1], ["WORKER", "w"], ["TIED"], ["NOACK"]],
            *[["REQUEST", "r"], ["WITHMETA"], ["GROUP", "g"]],
        ],
        "TASK.MCLAIM": [["COUNT", 1], ["BLOCK", 1], ["TIED"], ["REQUEST", "r"], ["WITHMETA"]],
        "TASK.SHARDS": [["WITHSLOTS"]],
        "TASK.REQUEUE": [["DELAY", 1], ["BACK"], ["PROGRESS", "p"]],
        "TASK.EXTEND": [["LEASE", 1], ["PROGRESS", "p"]],
        "TASK.FAIL": [["ERROR", "e"], ["DELAY", 1], ["DEAD"], ["PROGRESS", "p"]],
        "TASK.LIST": [["CURSOR", 0], ["COUNT", 1], ["GROUP", "g"], ["WITHPAYLOAD"], ["REV"], ["MATCH", "*"]],
        "TASK.CRON": [["EVERY", 500], ["CATCHUP", "one"], ["PRIORITY", 1], ["PAYLOAD", "p"]],
        "TASK.BATCH": [["DELAY", 1], ["GROUP", "g"], ["BATCH", "open"], ["PAYLOAD", "p"]],
        "TASK.PAUSE": [["OUT"], ["IN"], ["ALL"], ["GROUP", "g"], ["FOR", 1]],
        "TASK.RESUME": [["OUT"], ["IN"], ["ALL"], ["GROUP", "g"]],
        "TASK.PURGE": [["COUNT", 1], ["OLDER", 1]],
    }
    heads = {
        "TASK.GROUP": ["SET", "g"],
        "TASK.PUSH": ["p"],
        "TASK.MCLAIM": ["KEYS", 1, "p"],
        "TASK.SHARDS": [2],
        "TASK.ACK": [HANDLE],
        "TASK.NEXT": [HANDLE],
        "TASK.RESULT": [READY],
        "TASK.REQUEUE": [HANDLE],
        "TASK.EXTEND": [HANDLE],
        "TASK.FAIL": [HANDLE],
        "TASK.LIST": ["ready"],
        "TASK.PURGE": ["ready"],
        "TASK.CRON": ["SET", "s"],
        "TASK.BATCH": ["OPEN", "b"],
    }
    attacks, named = [], []
    for name, known in options.items():
        for option in known:
            lower = [str(option[0]).lower(), *option[1:]]
            attacks.append(target.fill([name, "q", *heads.get(name, []), *option, *lower]))
            named.append(Error(f"ERR option {option[0]} is given twice"))
    assert target.attack(attacks) == named


@pytest.mark.parametrize("seed", range(3))
def test_random_commands_do_no_harm(server, seed):
    """Options, numbers, names and hostile values are combined in any order."""
    target = Target(server)
    rng = random.Random(seed)
    words = [word for template in map(target.fill, TEMPLATES) for word in template[2:]]
    words += [value for value in HOSTILE if len(value) < 5000]
    attacks = []
    for _ in range(1500):
        template = target.fill(rng.choice(TEMPLATES))
        keep = rng.randrange(1, len(template) + 1)
        more = rng.choices(words, k=rng.randrange(1, 7))
        attacks.append([*template[:keep], *more] if rng.random() < 0.5 else [template[0], "q", *more])
    # Only commands on q are kept: on another key, BLOCK would wait.
    attacks = [attack for attack in attacks if len(attack) > 1 and attack[1] == "q"]
    answers = target.attack(attacks)
    assert any(isinstance(answer, Error) for answer in answers)


def test_a_command_that_is_cut_off_does_nothing(server, c):
    """The connection closes after half a request. The server goes on."""
    for half in (
        b"*3\r\n$9\r\nTASK.PUSH\r\n$1\r\nq\r\n$5\r\nab",
        b"TASK.PUSH q",
        b"*-1\r\n",
        b"*3\r\n$9\r\nTASK",
    ):
        with server.raw() as raw:
            raw.sendall(half)
    server.wait_until(lambda: c("TASK.LEN", "q") == 0, "the server answers")
    assert c("EXISTS", "q") == 0
