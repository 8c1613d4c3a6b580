"""Replies to what clients send to get to know a server, and to reading commands that a worker may send."""

from __future__ import annotations

from typing import Any

from .model import Model
from .resp import ErrorReply
from .sent import Sent

INFO = (
    "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n# Persistence\r\nloading:0\r\n"
    "# Replication\r\nrole:master\r\n# Cluster\r\ncluster_enabled:0\r\n"
)
NUMBERS = {b"ID": 1, b"UNPAUSE": 0, b"UNBLOCK": 0, b"GETREDIR": -1}


def unknown(words: list[bytes]) -> ErrorReply:
    """The error for a command that the server doesn't know."""
    args = " ".join(f"'{word.decode('latin-1')[:40]}'" for word in words[1:3])
    return ErrorReply(
        f"ERR unknown command '{words[0].decode('latin-1')}', with args beginning with: {args} "
    )


def protocol(words: list[bytes], now: int) -> int:
    """The protocol after a command: HELLO can switch it."""
    switches = words[0].upper() == b"HELLO" and words[1:2] in ([b"2"], [b"3"])
    return int(words[1]) if switches else now


def reply(words: list[bytes], protocol: int, number: int) -> Any:
    """The reply to a command that is not one of the module, on the connection with this number."""
    name, *rest = words
    match name.upper():
        case b"HELLO":
            return hello(rest, protocol, number)
        case b"PING":
            return rest[0] if rest else "PONG"
        case b"ECHO":
            return rest[0] if rest else b""
        case b"AUTH" | b"SELECT" | b"READONLY" | b"READWRITE" | b"QUIT" | b"RESET":
            return "OK"
        case b"CLIENT":
            return of_client(rest)
        case b"INFO":
            return INFO.encode()
        case b"COMMAND":
            return []
        case b"CONFIG":
            return {} if rest[:1] == [b"GET"] else "OK"
        case b"CLUSTER":
            return ErrorReply("ERR This instance has cluster support disabled")
        case b"ROLE":
            return [b"master", 0, []]
        case b"TIME":
            return [b"1795342731", b"501000"]
    return unknown(words)


def hello(rest: list[bytes], protocol: int, number: int) -> Any:
    """Introduce the server."""
    if rest and rest[0] not in (b"2", b"3"):
        return ErrorReply("NOPROTO unsupported protocol version")
    return {
        b"server": b"redis",
        b"version": b"7.0.15",
        b"proto": protocol,
        b"id": number + 1,
        b"mode": b"standalone",
        b"role": b"master",
        b"modules": [],
    }


def of_client(rest: list[bytes]) -> Any:
    """CLIENT SETNAME, SETINFO, ID and others."""
    what = rest[0].upper() if rest else b""
    if what == b"MAINT_NOTIFICATIONS":
        return ErrorReply("ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.")
    if what == b"GETNAME":
        return b""
    return NUMBERS.get(what, "OK")


def task_reply(model: Model, sent: Sent) -> Any:
    """TASK.GET and TASK.LEN, which a worker may send. Its user has no rights for the module's other commands."""
    if sent.name == "TASK.LEN":
        return sum(task.state == "ready" for task in model.tasks)
    if sent.name == "TASK.GET" and len(sent.words) > 2:
        asked = sent.words[2].partition(b"@")[0].decode("utf-8", "replace")
        task = next((task for task in model.tasks if task.id == asked), None)
        return task and {
            b"id": task.id.encode(),
            b"state": task.state.encode(),
            b"payload": task.payload,
            b"lease-ms": round(task.lease_s * 1000),
        }
    name = sent.name.lower()
    return ErrorReply(f"NOPERM this user has no permissions to run the '{name}' command")
