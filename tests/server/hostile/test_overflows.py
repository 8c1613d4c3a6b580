"""Numbers and counts at their ends: pairs that would overflow together, huge lists, doubled options, many arguments.

Each call gets one reply. An error is documented and changes nothing, and what is accepted leaves a queue that can be
stored and loaded.
"""

import itertools

import pytest
from harness.manual import manuals
from harness.talk import Error, Talk, packed

HOUR = 3_600_000
ENDS = [0, 1, 2**31 - 1, 2**31, 2**32, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -1, -(2**63)]
YEARS_100 = 100 * 365 * 86_400_000
BOUNDS = [1, YEARS_100 - 1, YEARS_100, 86_400_000, 65_535]
HANDLE, OTHER = "<handle>", "<other>"
# Calls with two numbers that are added, multiplied or compared: `A` and `B` are every pair of ends and bounds.
PAIRS = [
    "PUSH q p DELAY A TTL B",
    "PUSH q p AT A RETAIN B",
    "PUSH q p UNIQUE a FOR A REPLACE POSTPONE UNTIL B DELAY 9",
    "PUSH q p LEASE A ATTEMPTS B",
    "MPUSH q DELAY A TTL B TASKS 1 p",
    "BATCH q OPEN b DELAY A TTL B PAYLOAD p",
    "NEXT q <handle> RETAIN A COUNT B",
    "NEXT q <handle> BYTES A LEASE B",
    "NEXT q HANDLES 2 <handle> <other> BLOCK A LEASE B COUNT 1",
    "MCLAIM p KEYS 1 q COUNT A BYTES B",
    "MCLAIM p KEYS A q LEASE B",
    "CLAIM q COUNT A GATHER B",
    "ACK q <handle> RETAIN A PUSH p DELAY B",
    "ACK q <handle> PUSH p TTL A UNIQUE z FOR B",
    "REQUEUE q HANDLES A <handle> DELAY B",
    "EXTEND q HANDLES A <handle> LEASE B",
    "FAIL q HANDLES A <handle> DELAY B",
    "SET q IDS A 1-1 DELAY B",
    "SET q IDS A 1-1 PRIORITY B",
    "RETRY q COUNT A GROUP B",
    "PURGE q all OLDER A COUNT B",
    "PURGE q IDS A 1-1 OLDER B",
    "PUSH q p AFTER A 1-1 DELAY B",
    "CRON q SET s EVERY A TTL B PAYLOAD p",
    "GROUP q SET g RATE A PER B",
    "GROUP q SET g WEIGHT A CONCURRENCY B",
    "CONFIG q SET lease A run-max B",
    "CONFIG q SET backoff-base A backoff-max B",
    "CONFIG q SET rate A rate-per B",
    "CONFIG q SET max-len A max-bytes B",
    "PAUSE q ALL FOR A",
    "SHARDS q A",
    "LIST q ready CURSOR A-B",
    "LIST q ready COUNT A BYTES B",
]


class Queue:
    """A queue that is restored before each attack, with two leases."""

    def __init__(self, server):
        self.server, self.c = server, Talk(server)
        for n in range(4):
            self.c.push("q", n, "GROUP", "g", "PRIORITY", n)
        leases = self.c("TASK.CLAIM", "q", "COUNT", 2, "LEASE", 20 * HOUR)
        self.names = dict(zip((HANDLE, OTHER), (task[0] for task in leases), strict=True))
        self.dump = self.c("DUMP", "q")

    def words(self, line: str, **values: object) -> list:
        """The words of a call."""
        name, *rest = line.split()
        words = [str(values.get(word, word)) for word in rest]
        if "A-B" in words:
            words = [word.replace("A-B", f"{values['A']}-{values['B']}") for word in words]
        return [f"TASK.{name}", *(self.names.get(word, word) for word in words)]

    def attack(self, attacks: list[list]) -> list:
        """Run each on the restored queue. Returns the replies."""
        sent = []
        for words in attacks:
            digest = ["DEBUG", "DIGEST-VALUE", "q"]
            # Nothing waits: each is in a transaction, where BLOCK has no effect.
            call = [["MULTI"], words, ["EXEC"]]
            sent += [["UNLINK", "q", "p"], ["RESTORE", "q", 0, self.dump], digest, *call, digest]
            sent += [["DUMP", "q"]]
        # In whole attacks: what comes between two parts must not be in a transaction.
        replies = self.c.many(sent, at_once=60 * 8)
        answers, dumps = [], set()
        for at, words in zip(range(0, len(replies), 8), attacks, strict=True):
            before, queued, done, after, dump = replies[at + 2], *replies[at + 4 : at + 8]
            answer = done[0] if isinstance(done, list) else queued
            if isinstance(answer, Error):
                assert before == after, f"changed by {words}, which was refused: {answer}"
                assert manuals()[words[0]].documented(answer), f"{words}: {answer}"
            elif dump is not None:
                dumps.add(dump)
            answers.append(answer)
        loads = self.c.many([["RESTORE", "copy", 0, dump, "REPLACE"] for dump in dumps])
        assert set(loads) <= {"OK"}, "what was accepted can be loaded"
        assert "internal error" not in str(answers) and "panic" not in self.server.log()
        self.server.check()
        return answers


def test_pairs_of_numbers_at_their_ends_overflow_nothing(server):
    """Each pair of ends, and of bounds, in each call with two numbers: sums, products, and instants far away."""
    queue = Queue(server)
    pairs = [
        *itertools.product(ENDS, BOUNDS),
        *itertools.product(BOUNDS, ENDS),
        *zip(ENDS, ENDS, strict=True),
    ]
    attacks = [(line, queue.words(line, A=a, B=b)) for line in PAIRS for a, b in pairs]
    answers = queue.attack([words for _, words in attacks])
    refused = {line for (line, _), answer in zip(attacks, answers, strict=True) if isinstance(answer, Error)}
    accepted = {
        line for (line, _), answer in zip(attacks, answers, strict=True) if not isinstance(answer, Error)
    }
    assert refused == accepted == set(PAIRS), "of each call, some pairs are accepted and some are not"


# Commands that take a number and so many values. A thousand of them is the most, and a hundred for KEYS.
LISTS = {
    "ACK": ["q", "HANDLES"],
    "NEXT": ["q", "HANDLES"],
    "FAIL": ["q", "HANDLES"],
    "EXTEND": ["q", "HANDLES"],
    "REQUEUE": ["q", "HANDLES"],
    "CANCEL": ["q", "IDS"],
    "RETRY": ["q", "IDS"],
    "SET": ["q", "IDS"],
    "PURGE": ["q", "IDS"],
    "MCLAIM": ["q", "KEYS"],
    "PUSH": ["q", "p", "AFTER"],
    "MPUSH": ["q", "TASKS"],
}


@pytest.mark.parametrize("count", [1001, 100_000])
def test_lists_that_are_too_long_are_refused_at_once(server, share, count):
    """A hundred thousand handles, ids or keys; with the true number, a smaller one, and none."""
    queue = Queue(server)
    c, digest = queue.c, queue.c.digest()
    value = {"HANDLES": "1-1@1-00000000", "IDS": "1-1", "KEYS": "k", "AFTER": "1-1", "TASKS": "p"}
    for name, start in share(list(LISTS.items())):
        values = [value[start[-1]]] * count
        for words in (
            [*start, count, *values],
            [*start, 1, *values],
            [*start, *values],
            [*start, 2**31, *values],
        ):
            reply = c(f"TASK.{name}", *words)
            if name == "MCLAIM" and words[2] == 2**31:
                assert isinstance(
                    reply, Error
                )  # the server itself says that there are no such keys (from 7.0 on)
                continue
            assert isinstance(reply, Error) and manuals()[f"TASK.{name}"].documented(reply), (name, reply)
    assert isinstance(c("TASK.CONFIG", "q", "SET", *["lease", 5] * count), Error)
    assert isinstance(c("TASK.CONFIG", "q", "RESET", *["lease"] * count), Error)
    assert isinstance(c("TASK.PUSH", "q", "p", "HEADERS", count, *["n", "v"] * count), Error)
    assert c.digest() == digest
    server.check()


MINIMAL = {
    "TASK.PUSH": ["q", "p"],
    "TASK.MPUSH": ["q", "TASKS", 1, "p"],
    "TASK.MCLAIM": ["q", "KEYS", 1, "p"],
    "TASK.ACK": ["q", HANDLE],
    "TASK.NEXT": ["q", HANDLE],
    "TASK.REQUEUE": ["q", HANDLE],
    "TASK.EXTEND": ["q", HANDLE],
    "TASK.FAIL": ["q", HANDLE],
    "TASK.RESULT": ["q", "1-1"],
    "TASK.GET": ["q", "1-1"],
    "TASK.LIST": ["q", "ready"],
    "TASK.SHARDS": ["q", 2],
    "TASK.SET": ["q", "1-1", "DELAY", 1],
    "TASK.CANCEL": ["q", "1-1"],
    "TASK.RETRY": ["q", "1-1"],
    "TASK.CONFIG": ["q", "SET", "lease", 5],
    "TASK.GROUP": ["q", "SET", "g", "WEIGHT", 1],
    "TASK.CRON": ["q", "SET", "s", "EVERY", 500, "PAYLOAD", "p"],
    "TASK.BATCH": ["q", "OPEN", "b", "PAYLOAD", "p"],
    "TASK.PURGE": ["q", "all"],
}
FILL = ["x", "1", "", "DELAY", "KEYS", "HANDLES", "PUSH", "WITHMETA"]


def test_any_number_of_arguments_gets_one_reply(server, share):
    """Every command with 0 to 64 more arguments of the same word: no argument at all, and after a valid call."""
    queue = Queue(server)
    for name in manuals():
        if name in ("TASK._APPLY", "TASK._LOAD", "TASK._CLOCK"):
            continue
        start = [queue.names.get(word, word) for word in MINIMAL.get(name, ["q"])]
        attacks = [[name, *head, *[word] * n] for head in ([], start) for word in FILL for n in range(65)]
        # Those without the key `q` first can create others. They are errors, or read.
        sent = [words for words in attacks if len(words) == 1 or words[1] == "q"]
        queue.attack(share(sent))


CLAIMS = ["COUNT 1", "BYTES 1", "LEASE 1", "BLOCK 1", "GATHER 1", "WORKER w", "GROUP g", "TIED", "NOACK"]
CLAIMS += ["REQUEST r", "WITHMETA"]
PUSHES = ["DELAY 1", "PRIORITY 1", "ATTEMPTS 1", "LEASE 1", "GROUP g", "TTL 1", "RETAIN 1", "UNIQUE t"]
PUSHES += ["HEADERS 1 n v", "BATCH b", "AFTER 1 1-1", "REQUEST r"]
TWICE = {
    "NEXT q <handle>": ["RESULT r", "RETAIN 1", *CLAIMS],
    "MCLAIM q KEYS 1 p": CLAIMS,
    "CLAIM q": CLAIMS,
    "ACK q <handle> PUSH p": PUSHES,
    "MPUSH q": [option for option in PUSHES if option != "UNIQUE t"],
}


def test_every_option_of_the_long_commands_is_refused_twice(server):
    """Also if others stand between the two, and whatever the second value is."""
    queue = Queue(server)
    for start, options in TWICE.items():
        for option in options:
            others = [other for other in options if other != option and other not in ("NOACK", "TIED")][:2]
            for line in (f"{start} {option} {option}", f"{start} {option} {' '.join(others)} {option}"):
                [reply] = queue.attack([queue.words(line)])
                assert reply == Error(f"ERR option {option.split()[0]} is given twice"), line


def test_a_number_of_arguments_that_is_a_lie_closes_the_connection_only(server):
    """The protocol's own counts: more arguments than come, a negative number, a bulk that is too long."""
    c = Talk(server)
    c.push()
    digest = c.digest()
    whole = packed(["TASK.PUSH", "q", "x"])
    for lie in (
        b"*-5\r\n",
        b"*2147483648\r\n",
        b"*3\r\n$-1\r\n",
        b"*3\r\n$99999999999\r\n",
        b"*1\r\n$9\r\nTASK.PUSHq",
    ):
        with server.raw() as raw:
            raw.sendall(lie + whole)
            raw.shutdown(1)
            while raw.recv(65536):
                pass
    assert c("TASK.LEN", "q") in (1, 2), "*-5 is an empty command, after which the whole one counts"
    assert c.digest() == digest or c("TASK.LEN", "q") == 2
    server.check()
