"""The files that a server keeps its data in: rewritten, read, added to."""

from __future__ import annotations

from harness.server import Server, parse_commands
from harness.talk import packed


def wait_aof(server: Server) -> None:
    """Wait until no AOF is being written: after a full sync a replica has none until then."""
    r = server.client()

    def settled() -> bool:
        info = r.info("persistence")
        return not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]

    server.wait_until(settled, "the AOF is written", timeout=15)
    assert r.info("persistence")["aof_last_bgrewrite_status"] == "ok"


def rewrite_aof(server: Server) -> None:
    """Rewrite the AOF from memory, and wait until the new file is in use."""
    server.client().execute_command("BGREWRITEAOF")
    wait_aof(server)


def aof_bytes(server: Server) -> bytes:
    """The contents of the AOF, including its base file."""
    files = sorted(
        f for f in server.dir.rglob("appendonly*.*") if f.is_file() and not f.name.endswith("manifest")
    )
    return b"".join(f.read_bytes() for f in files)


def add_to_aof(server: Server, *commands: bytes) -> None:
    """Append commands, packed as in the protocol, to the AOF of a server that is down."""
    assert not server.alive()
    with open(server._aof(), "ab") as file:
        file.writelines(commands)


SELECT = b"*2\r\n$6\r\nSELECT\r\n"


def commands_in(aof: bytes) -> list[tuple[int, list[bytes]]]:
    """Where each whole command of an AOF begins, and its words. What comes before the first one is RDB."""
    is_rdb = aof.startswith((b"REDIS", b"VALKEY"))
    at = aof.index(SELECT) if SELECT in aof else len(aof) if is_rdb else 0
    found = []
    for words in parse_commands(aof, at)[0]:
        found.append((at, words))
        at += len(packed(words))
    return found
