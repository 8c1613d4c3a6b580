"""A bit that changed in an AOF is noticed: the server says why it ends, a queue is BROKEN, or nothing is different.

Never is other data loaded without a word. Commands of the server itself, like SELECT, have no checksum.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.files import add_to_aof, commands_in, rewrite_aof
from harness.queues import rich_queue
from harness.server import CRASH, Server, ServerDied, parse_commands
from harness.talk import Talk, packed

# How an AOF is written: as effects alone, or with what a rewrite puts before them.
WAYS = ["effects", "commands", "preamble"]
FEW, MANY = 6, 40
CHECKSUM = b"the checksum that was computed"
GAP = b"effects are missing"

# The digest of each queue, and why it is BROKEN.
Queues = dict[bytes, tuple[bytes, bytes]]


def sleeping(start, **settings) -> Server:
    """A server with an AOF. From its next start on it is a replica without a primary, so nothing in it becomes due."""
    server = start(appendonly="yes", aof_load_truncated="no", **settings)
    server._settings["replicaof"] = "127.0.0.1 1"
    return server


def filled(start, way: str) -> Server:
    """A server that is down, with queues in its AOF. The names of two of them differ in one bit."""
    server = sleeping(start, aof_use_rdb_preamble="yes" if way == "preamble" else "no")
    r, c = server.client(), Talk(server)
    for name in "ac":
        rich_queue(r, name, many=5, paused=False)
    if way != "effects":
        rewrite_aof(server)
        rich_queue(r, "b", many=5, paused=False)
    for n in range(5):
        c.push("a", f"payload {n} " * 9)
        c("TASK.CLAIM", "c", "LEASE", 80_000_000)
    server.kill9()
    return server


def files(server: Server) -> list[Path]:
    """The files of a server's AOF that have data."""
    found = [f for f in server.dir.rglob("appendonly.aof*") if f.is_file() and f.suffix != ".manifest"]
    return sorted(f for f in found if f.stat().st_size)


def loaded(server: Server) -> Queues | None:
    """The queues after a start. None if the server ends, as it does on damage of its own commands."""
    try:
        server.start()
    except ServerDied:
        assert server.status() == 1 and not CRASH.search(server.log()), server.log_tail()
        server.ends_by_itself()
        return None
    c = Talk(server)
    found = {key: (c.digest(key).encode(), c.map("TASK.INFO", key)[b"broken"]) for key in c("KEYS", "*")}
    server.kill9()
    return found


def words_at(data: bytes) -> list[list[tuple[int, int]]]:
    """For each command in a file: where its words and what is around them begin and end. SELECT is left out.

    An RDB part counts as one command of one word.
    """
    commands = commands_in(data)
    begin = commands[0][0] if commands else len(data)
    places = [[(0, begin)]] if begin else []
    for at, words in commands:
        ends = [len(b"*%d\r\n" % len(words))]
        for word in words:
            line = len(b"$%d\r\n" % len(word))
            ends += [ends[-1] + line, ends[-1] + line + len(word) + 2]
        if words[0] != b"SELECT":
            begins = [0, *ends[:-1]]
            places.append([(at + begin, at + end) for begin, end in zip(begins, ends, strict=True)])
    return places


def flips(start, way: str, seed: int, count: int) -> dict[str, int]:
    """Flip single bits, each in a fresh copy of the AOF. Returns how often each outcome came."""
    server, rng = filled(start, way), random.Random(seed)
    truth = loaded(server)
    assert truth and not any(why for _, why in truth.values())
    whole = {file: file.read_bytes() for file in files(server)}
    places = {file: words_at(data) for file, data in whole.items()}
    became = {"refused": 0, "broken": 0, "equal": 0}
    for _ in range(count):
        file = rng.choice(list(whole))
        # By commands and words, because by bytes nearly all flips would be in what is long.
        at = rng.randrange(*rng.choice(rng.choice(places[file])))
        flipped = bytearray(whole[file])
        flipped[at] ^= 1 << rng.randrange(8)
        file.write_bytes(flipped)
        found = loaded(server)
        file.write_bytes(whole[file])
        if found is None:
            became["refused"] += 1
        elif any(why for _, why in found.values()):
            became["broken"] += 1
        else:
            around = bytes(flipped[max(0, at - 40) : at + 40])
            assert found == truth, f"byte {at} of {file.name} is {flipped[at]:#x} now: {around!r}"
            became["equal"] += 1
    return became


@pytest.mark.parametrize("way", WAYS)
def test_a_flipped_bit_is_noticed(start, way):
    """Some bits in each kind of AOF."""
    assert sum(flips(start, way, 1, FEW).values()) == FEW


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_many_flipped_bits_are_noticed(start, way):
    """Each way of noticing is seen."""
    became = flips(start, way, 2, MANY)
    assert all(became.values()), became


def edited(server: Server, change: Callable[[list[list[bytes]]], None]) -> Talk:
    """The server after a start with commands in its AOF that `change` has changed."""
    server.kill9()
    for file in files(server):
        commands, _ = parse_commands(file.read_bytes())
        change(commands)
        file.write_bytes(b"".join(map(packed, commands)))
    return Talk(server.start())


def broken(c: Talk, key: str) -> bytes:
    """Why a queue is BROKEN; empty if it is not."""
    return c.map("TASK.INFO", key)[b"broken"]


def flip(word: bytes, at: int, bit: int = 0) -> bytes:
    """The word with a bit of one byte changed."""
    return word[:at] + bytes([word[at] ^ 1 << bit]) + word[at + 1 :]


def with_effects(start) -> Server:
    """A server with an effect for each of three tasks in each of the queues `a` and `c`."""
    server = sleeping(start, aof_use_rdb_preamble="no")
    c = Talk(server)
    for n in range(3):
        for key in "ac":
            c.push(key, f"p{n}")
    return server


def effect_of(commands: list[list[bytes]], key: bytes, nth: int) -> list[bytes]:
    """The words of an effect of a queue."""
    return [words for words in commands if words[:2] == [b"TASK._APPLY", key]][nth]


# The queue `a`, whose name has changed: to that of another queue, or to that of none.
@pytest.mark.parametrize("name", ["c", "q"])
def test_an_effect_whose_name_changed_breaks_the_queue_that_it_names(start, name):
    """The server can't know whose it was. Even if it was the last one, something is BROKEN that an operator sees."""
    server = with_effects(start)

    def renames(commands: list[list[bytes]]) -> None:
        effect_of(commands, b"a", -1)[1] = name.encode()

    c = edited(server, renames)
    why = broken(c, name)
    assert why.startswith(b"an effect should have " + CHECKSUM) and why.endswith(
        b"may belong to another queue"
    )
    assert b"taskslot_broken_queues:1" in c("INFO", "taskslot")
    assert broken(c, "a") == b"" and c("TASK.LEN", "a") == 2
    assert f"queue '{name}' in database 0 is BROKEN: {why.decode()}" in server.log()


def test_an_effect_whose_name_changed_is_missed_by_its_queue(start):
    """The next effect of the right queue has a number too high."""

    def renames(commands: list[list[bytes]]) -> None:
        effect_of(commands, b"a", 1)[1] = b"c"

    c = edited(with_effects(start), renames)
    assert CHECKSUM in broken(c, "c") and GAP in broken(c, "a") and c("TASK.LEN", "a") == 1


@pytest.mark.parametrize("word", [2, 3], ids=["effect", "payload"])
def test_an_effect_that_changed_breaks_its_queue(start, word):
    """Nothing of it is applied, and other queues go on."""

    def changes(commands: list[list[bytes]]) -> None:
        words = effect_of(commands, b"a", 1)
        words[word] = flip(words[word], len(words[word]) - 1, 5)

    c = edited(with_effects(start), changes)
    assert CHECKSUM in broken(c, "a") and c("TASK.LEN", "a") == 1
    assert broken(c, "c") == b"" and c("TASK.LEN", "c") == 3


def with_parts(start) -> Server:
    """A server with a rewritten AOF of queues `a` and `c`, each of several parts."""
    server = sleeping(start, aof_use_rdb_preamble="no")
    r = server.client()
    for key in "ac":
        rich_queue(r, key, many=5, paused=False)
    rewrite_aof(server)
    return server


def parts_of(commands: list[list[bytes]], key: bytes) -> list[int]:
    """Where the parts of a queue are among the commands; empty in another file."""
    return [at for at, words in enumerate(commands) if words[:2] == [b"TASK._LOAD", key]]


def renamed(to: bytes, nth: int) -> Callable:
    """Changes the name of a part of `a`."""

    def change(commands: list[list[bytes]]) -> None:
        for at in parts_of(commands, b"a")[nth:][:1]:
            commands[at][1] = to

    return change


@pytest.mark.parametrize("name", ["c", "q"])
@pytest.mark.parametrize("nth", [0, 1, -1], ids=["head", "more", "end"])
def test_a_part_whose_name_changed_breaks_its_own_queue(start, name, nth):
    """The queue that it names stays as it was, and none is created."""
    server = with_parts(start)
    before = Talk(server).digest("c")
    c = edited(server, renamed(name.encode(), nth))
    assert sorted(c("KEYS", "*")) == [b"a", b"c"]
    assert broken(c, "a") and broken(c, "c") == b"" and c.digest("c") == before
    assert f"a part of queue '{name}' in database 0 is skipped: it should have" in server.log()


PART_CHANGES = {
    "the head": lambda parts: [[*parts[0][:3], flip(parts[0][3], 30)], *parts[1:]],
    "a chunk": lambda parts: [parts[0], [*parts[1][:3], flip(parts[1][3], 30)], *parts[2:]],
    "the end": lambda parts: [*parts[:-1], [*parts[-1][:3], flip(parts[-1][3], 3)]],
    "a mark": lambda parts: [parts[0], [*parts[1][:3], flip(parts[1][3], 0)], *parts[2:]],
    "the kind of the head": lambda parts: [[*parts[0][:2], b"hEAD", parts[0][3]], *parts[1:]],
    "the kind of the end": lambda parts: [*parts[:-1], [*parts[-1][:2], b"ENd", parts[-1][3]]],
    "a part is missing": lambda parts: [*parts[:1], *parts[2:]],
    "the head is missing": lambda parts: parts[1:],
    "two are exchanged": lambda parts: [parts[0], parts[2], parts[1], *parts[3:]],
    "one is there twice": lambda parts: [*parts[:2], *parts[1:]],
}


@pytest.mark.parametrize("what", PART_CHANGES)
def test_a_part_that_changed_breaks_its_queue(start, what):
    """A queue of which parts have changed, are missing or in another order is BROKEN, and not missing."""
    server = with_parts(start)
    before = Talk(server).digest("c")

    def change(commands: list[list[bytes]]) -> None:
        ours = parts_of(commands, b"a")
        assert not ours or len(ours) > 4
        if ours:
            commands[ours[0] : ours[-1] + 1] = PART_CHANGES[what]([commands[at] for at in ours])

    c = edited(server, change)
    assert broken(c, "a") and c("DEBUG", "RELOAD") == "OK" and broken(c, "a")
    assert broken(c, "c") == b"" and c.digest("c") == before


def with_broken(start) -> Server:
    """A server with a rewritten AOF of queues `a` and `c`, of which `a` is BROKEN."""
    server = with_parts(start)
    server.kill9()
    add_to_aof(server, packed([b"TASK._APPLY", b"a", b""]))
    server.start()
    assert broken(Talk(server), "a").startswith(b"an effect should have")
    rewrite_aof(server)
    return server


@pytest.mark.parametrize("what", ["the head", "a chunk", "a part is missing", "the head is missing"])
def test_damage_in_the_parts_of_a_broken_queue_becomes_its_reason(start, what):
    """What is left of it can be less than what could be read before."""
    server = with_broken(start)

    def change(commands: list[list[bytes]]) -> None:
        if ours := parts_of(commands, b"a"):
            commands[ours[0] : ours[-1] + 1] = PART_CHANGES[what]([commands[at] for at in ours])

    assert broken(edited(server, change), "a").startswith(b"its stored form should have")


def test_a_part_behind_the_last_one_of_a_broken_queue_changes_nothing(start):
    """It keeps the first reason, which is the one to look into."""
    server = with_broken(start)
    before = Talk(server).digest("a")

    def change(commands: list[list[bytes]]) -> None:
        commands += [commands[at] for at in parts_of(commands, b"a")[1:2]]

    assert edited(server, change).digest("a") == before


def test_a_stamp_that_changed_is_not_believed(start):
    """The log says so. Queues are not affected."""
    server = with_effects(start)
    c = Talk(server)
    digests = [c.digest(key) for key in "ac"]
    server.wait_until(lambda: b"TASK._CLOCK" in server._aof().read_bytes(), "a stamp is in the file")

    def changes(commands: list[list[bytes]]) -> None:
        for words in commands:
            if words[0] == b"TASK._CLOCK":
                words[1] = flip(words[1], 12, 7)

    c = edited(server, changes)
    assert "a change in the file can't be made here: ERR invalid stamp" in server.log()
    assert [c.digest(key) for key in "ac"] == digests and broken(c, "a") == b""
