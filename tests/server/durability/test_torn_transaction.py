"""A transaction that is torn at the end of the AOF: a defect of the servers, and the rewrite that avoids it."""

from __future__ import annotations

import os

from harness.files import rewrite_aof
from harness.queues import contents
from harness.server import Server
from harness.talk import Error, Talk

# The last bytes of the file are those of EXEC. So it ends within that command.
TORN_BYTES = 3


def torn(start) -> Server:
    """A server that was killed, whose file ends within the EXEC of a transaction, and that was started again."""
    server = start(appendonly="yes", appendfsync="always", auto_aof_rewrite_percentage=0)
    c = Talk(server)
    c.push("q", "before")
    assert c("MULTI") == "OK"
    c("TASK.PUSH", "q", "torn 1")
    c("TASK.PUSH", "q", "torn 2")
    assert len(c("EXEC")) == 2
    server.kill9()
    file = server._aof()
    assert file.read_bytes().endswith(b"$4\r\nEXEC\r\n")
    os.truncate(file, file.stat().st_size - TORN_BYTES)
    return server.start()


def payloads(server: Server) -> list[bytes]:
    """What is ready."""
    return [one["payload"] for one in contents(server.client(), "q")["tasks"]["ready"]]


def warns(server: Server) -> bool:
    """Whether INFO says that the AOF was cut."""
    return b"taskslot_warning_aof_cut:" in Talk(server)("INFO", "taskslot")


def test_a_torn_transaction_is_left_out_and_a_rewrite_makes_the_file_whole(start):
    """What is pushed after BGREWRITEAOF comes back at the next start, and nothing of the transaction does."""
    server = torn(start)
    assert payloads(server) == [b"before"]
    server.wait_until(lambda: warns(server), "INFO says that the file was cut")
    assert "the end of the AOF was cut off: BGREWRITEAOF makes it whole" in server.log()
    rewrite_aof(server)
    server.wait_until(lambda: not warns(server), "INFO says that the file is whole")
    Talk(server).push("q", "after")
    server.restart(kill=True)
    assert payloads(server) == [b"before", b"after"]
    assert Talk(server).push("q", "more")
    assert server.log().count("the end of the AOF was cut off") == 1, "the next start cuts nothing"


def test_without_a_rewrite_a_torn_transaction_spoils_the_next_start(start, installed):
    """Redis cuts the file behind commands of the transaction, so what it appends becomes a part of it. Valkey doesn't.

    If this fails because a server has mended it, say so in docs/operations.md.
    """
    server = torn(start)
    Talk(server).push("q", "after")
    assert payloads(server) == [b"before", b"after"]
    server.restart(kill=True)
    if installed.is_valkey:
        assert payloads(server) == [b"before", b"after"]
    elif installed.version >= (7, 0):
        assert payloads(server) == [b"before"], (
            "the rest is taken for a transaction without an end, and cut off"
        )
    else:
        assert payloads(server) == [b"before", b"torn 1", b"torn 2"], "the next EXEC runs the rest"
        reply = Talk(server)("TASK.PUSH", "q", "more")
        assert isinstance(reply, Error) and reply.startswith("BROKEN"), "the queue notices it"
