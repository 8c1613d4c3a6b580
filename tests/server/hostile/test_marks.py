"""What clients write appears in no log line, error, figure or event, however it gets there.

Everything that a client can write has a mark, with the letters of formats, line ends, zeros and escapes. It then goes
through commands, errors, damaged stored queues, forged effects, broken files and a replica.
"""

import random
import re

import pytest
from harness.dumps import opened, sealed
from harness.effects import as_5
from harness.files import add_to_aof
from harness.server import Server, ServerDied, wait_synced
from harness.talk import Error, Talk, packed, stored_parts

WORD = "QZMARK"
MARK = f"{WORD}%n%s%x%p%1000000c\r\n+OK\r\n\x1b]0;{WORD}\x07".encode() + b"\0\xff\xfe" + WORD.encode()
HOUR = 3_600_000
# Calls with every option that takes text of a client; `M` stands for the mark, and each comes as a queue is changed.
LIFE = [
    "PUSH M HEADERS 1 M M GROUP M REQUEST M",
    "PUSH M UNIQUE M FOR 3600000 KEEP RETAIN 3600000",
    "PUSH M UNIQUE M REPLACE POSTPONE DELAY 3600000",
    "BATCH OPEN M PAYLOAD M HEADERS 1 M M",
    "MPUSH BATCH M HEADERS 1 M M REQUEST M2 TASKS 3 M M M",
    "BATCH CLOSE M",
    "BATCH INFO M",
    "CRON SET M EVERY 3600000 HEADERS 1 M M GROUP M PAYLOAD M",
    "CRON RUN M",
    "GROUP SET M WEIGHT 2 CONCURRENCY 9",
    "PAUSE GROUP M FOR 3600000",
    "RESUME GROUP M",
    "CLAIM WORKER M GROUP M REQUEST M LEASE 3600000",
    "GET UNIQUE M",
    "RESULT UNIQUE M",
    "SET UNIQUE M PAYLOAD M GROUP M HEADERS 1 M M",
    "LIST ready WITHPAYLOAD",
    "LIST leased WORKER M",
    "LIST ready GROUP M",
    "LIST ready HEADER M M",
    "LIST ready MATCH M",
    "INFO GROUPS AFTER M",
    "INFO BATCHES AFTER M",
    "RETRY COUNT 1 GROUP M",
    "CANCEL UNIQUE M",
]
# Calls of which each word in turn becomes the mark.
BAD = [
    "PUSH p DELAY 9 PRIORITY 3 ATTEMPTS 2 LEASE 5 TTL 9 UNIQUE t FOR 9 REQUEST r AFTER 1 1-1 ONDEAD run",
    "PUSH p AT 9 HEADERS 1 n v RETAIN 9 BATCH b UNIQUE t UNTIL start",
    "MPUSH PRIORITY 3 TASKS 1 p",
    "CLAIM COUNT 1 BYTES 9 LEASE 9 BLOCK 1 GATHER 1 TIED WITHMETA",
    "MCLAIM KEYS 1 p COUNT 1",
    "ACK 1-1@1-00000000 RESULT r RETAIN 9 PUSH p DELAY 9",
    "NEXT HANDLES 1 1-1@1-00000000 COUNT 1",
    "REQUEUE 1-1@1-00000000 DELAY 9 BACK PROGRESS x",
    "EXTEND 1-1@1-00000000 LEASE 9 PROGRESS x",
    "FAIL 1-1@1-00000000 ERROR e DELAY 9",
    "RESULT 1-1 BLOCK 1",
    "GET 1-1",
    "LIST ready CURSOR 1-1 COUNT 3 REV",
    "LEN ready",
    "INFO CONFIG",
    "SHARDS 3 WITHSLOTS",
    "SET IDS 1 1-1 DELAY 9",
    "CANCEL IDS 1 1-1",
    "RETRY COUNT 1",
    "CONFIG SET lease 9",
    "CONFIG RESET lease",
    "GROUP SET g ORDERED yes RATE 9 PER 9",
    "CRON SET s CRON * TZ Europe/Berlin PAYLOAD p",
    "BATCH OPEN b DELAY 9 PAYLOAD p",
    "PAUSE ALL FOR 9",
    "RESUME ALL",
    "PURGE all OLDER 9 COUNT 1",
    "_APPLY x p",
    "_LOAD HEAD x",
    "_CLOCK",
]


def filled(line: str, key: object = "q") -> list:
    """The words of a call on a queue."""
    name, *rest = line.split()
    words = {"M": MARK, "M2": MARK + b"2"}
    return [f"TASK.{name}", key, *(words.get(word, word) for word in rest)]


def spoiled() -> list[list]:
    """Calls in which one word is the mark."""
    bad = []
    for line in BAD:
        words = filled(line)
        bad += [[*words[:at], MARK, *words[at + 1 :]] for at in range(1, len(words))]
        bad += [[*words, MARK], [*words, MARK, MARK]]
    return bad


def without_shown_word(error: str) -> str:
    """The error without the one word that it may show, which is short and printable."""
    assert error.isascii() and error.isprintable(), error
    return re.sub(r"'[ -~]{1,35}'(?=$|, expected)", "''", error)


def mark_all(server: Server, c: Talk) -> bytes:
    """Put the mark everywhere in queue `q`. Returns a dump of it."""
    for line in LIFE:
        reply = c(*filled(line))
        assert not isinstance(reply, Error), (line, reply)
    for end in (["ACK", "RESULT"], ["FAIL", "ERROR"], ["REQUEUE", "PROGRESS"], ["FAIL", "DEAD", "ERROR"]):
        handle = c.claim("q", "WORKER", MARK, "LEASE", HOUR)
        assert c(f"TASK.{end[0]}", "q", handle, *end[1:], MARK) is not None
    for state in ("ready", "delayed", "held", "leased", "dead"):
        assert WORD in str(c("TASK.LIST", "q", state, "WITHPAYLOAD")), state
    return c("DUMP", "q")


def check_silent(*servers: Server) -> None:
    """Neither the logs nor the figures of the servers have the mark."""
    for server in servers:
        assert WORD not in server.log()
        if server.alive():
            c = Talk(server)
            assert "<taskslot>" not in c("INFO", "all").decode()
            assert WORD.encode() not in c("INFO", "all") + c("INFO", "everything")


def test_no_error_figure_or_event_shows_what_clients_write(start):
    """All commands, alone, in transactions and in scripts; effects that are allowed; and memory that is full."""
    server = start(module_args=("allow-effects", "yes"), notify_keyspace_events="KEAm")
    c, listener = Talk(server), Talk(server)
    listener("PSUBSCRIBE", "__key*")
    dump = mark_all(server, c)
    assert WORD.encode() in dump, "or this test shows nothing"
    replies = c.many(spoiled())
    errors = [reply for reply in replies if isinstance(reply, Error)]
    assert len(errors) > len(replies) / 2
    code = "return redis.pcall(unpack(ARGV))"
    errors += [
        reply
        for reply in c.many([["EVAL", code, 0, *words] for words in spoiled()])
        if isinstance(reply, Error)
    ]
    for words in spoiled()[::9]:
        errors += [one for one in c.many([["MULTI"], words, ["EXEC"]])[2] or [] if isinstance(one, Error)]
    assert c("CONFIG", "SET", "maxmemory", 1) == "OK"
    errors += [one for one in c.many([filled(line) for line in LIFE]) if isinstance(one, Error)]
    assert c("CONFIG", "SET", "maxmemory", 0) == "OK"
    shown = {without_shown_word(error) for error in errors}
    assert len(shown) > 50
    assert any(WORD in error for error in errors), "an unknown word is shown, so the mark would be seen"
    assert not [error for error in shown if WORD in error]
    assert not [error for error in shown if "internal" in error]
    listener.send(["PUNSUBSCRIBE"])
    events = 0
    while (event := listener.read())[0] != b"punsubscribe":
        events += 1
        if b"@0__:q" in event[2] or event[3] == b"q":
            assert WORD not in str(event)
    assert events > 50
    check_silent(server)


@pytest.mark.parametrize("name", [MARK, b"k" * 300 + MARK], ids=["marked", "long"])
def test_the_log_shows_the_name_of_a_broken_queue_short_and_printable(start, name):
    """It is not taken for a format, ends no line, and reaches no terminal."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no")
    c = Talk(server)
    c.push(name, "x")
    server.stop()
    add_to_aof(server, packed(["TASK._APPLY", name, b"\x01", MARK]))
    server.start()
    [line] = [line for line in server.log().splitlines() if "BROKEN" in line and "queue '" in line]
    assert line.isascii() and line.isprintable() and len(line) < 300
    assert (WORD in line) == name.startswith(WORD.encode()), (
        "as far as it is shown, the mark is seen in the log"
    )
    assert Talk(server).map("TASK.INFO", name)[b"broken"]


def test_no_damage_puts_what_clients_write_into_a_log(start):
    """Dumps with flipped bits, forged effects and parts, a broken AOF and its replica, a torn RDB file."""
    rng = random.Random(1)
    settings = {"appendonly": "yes", "aof_use_rdb_preamble": "no", "port": True}
    server = start(module_args=("allow-effects", "yes"), rdbcompression="no", **settings)
    replica = start()
    replica.replicate(server)
    c = Talk(server)
    dump = mark_all(server, c)
    effects = [words for words in server.propagated() if words[0] == b"TASK._APPLY"]

    def damaged(data: bytes) -> bytes:
        at = rng.randrange(len(data))
        return data[:at] + bytes([rng.randrange(256)]) + data[at + rng.randrange(2) :]

    value, version = opened(dump)
    sent = [["RESTORE", "copy", 0, sealed(damaged(value), version), "REPLACE"] for _ in range(400)]
    sent += [["TASK._APPLY", "q", damaged(as_5(words[2])), *words[3:]] for words in effects for _ in range(5)]
    sent += [["TASK._LOAD", "part", part, damaged(chunk + b"x")] for part, chunk in stored_parts(server)]
    replies = c.many(sent)
    refused = [without_shown_word(reply) for reply in replies if isinstance(reply, Error)]
    assert len(refused) > 100
    assert not [error for error in refused if WORD in error]
    wait_synced(server, replica)
    assert "a damaged queue is refused" in server.log()
    check_silent(server, replica)
    # The AOF has effects that do not fit: the queue is broken there, and at the replica that gets it.
    server.stop()
    add_to_aof(
        server, *[packed([words[0], b"broken", damaged(as_5(words[2])), *words[3:]]) for words in effects]
    )
    server.start()
    wait_synced(server, replica)
    assert Talk(replica).map("TASK.INFO", "broken")[b"broken"]
    check_silent(server, replica)
    # An RDB file with a damaged queue: the server does not start.
    alone = start(rdbcompression="no", rdbchecksum="no", save="60 1")
    c = Talk(alone)
    mark_all(alone, c)
    alone.stop(save=True)
    file = alone.dir / "dump.rdb"
    data = file.read_bytes()
    at = data.index(WORD.encode(), len(data) // 3)
    file.write_bytes(data[: at + 3] + b"\xff\xff\xff" + data[at + 3 :])
    with pytest.raises(ServerDied):
        alone.start()
    check_silent(alone)
    alone._ended_by_us = True
