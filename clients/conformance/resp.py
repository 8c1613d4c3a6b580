"""Reads commands and writes replies, in RESP2 and in RESP3."""

from __future__ import annotations

import asyncio
from typing import Any


class ErrorReply(str):
    """An error reply, with its code."""


class Garbled(Exception):
    """The bytes are not a command."""


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    """Read a command: an array of bulk strings. Raises `IncompleteReadError` if the connection ends."""
    line = await reader.readuntil(b"\r\n")
    if not line.startswith(b"*"):
        raise Garbled(f"expected a command, not {line[:40]!r}")
    words = []
    for _ in range(int(line[1:])):
        header = await reader.readuntil(b"\r\n")
        if not header.startswith(b"$"):
            raise Garbled(f"expected a bulk string, not {header[:40]!r}")
        words.append((await reader.readexactly(int(header[1:]) + 2))[:-2])
    return words


def packed(value: Any, protocol: int) -> bytes:
    """A reply. `str` is a simple string, `bytes` a bulk string, and `None` the null of the protocol."""
    match value:
        case ErrorReply():
            return b"-%b\r\n" % value.encode()
        case str():
            return b"+%b\r\n" % value.encode()
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(value), value)
        case int():
            return b":%d\r\n" % value
        case None:
            return b"_\r\n" if protocol == 3 else b"$-1\r\n"
        case list():
            return b"*%d\r\n" % len(value) + b"".join(packed(one, protocol) for one in value)
        case dict():
            flat = [part for pair in value.items() for part in pair]
            start = b"%%%d\r\n" % len(value) if protocol == 3 else b"*%d\r\n" % len(flat)
            return start + b"".join(packed(part, protocol) for part in flat)
    raise TypeError(f"no reply has the type {type(value).__name__}")


def command(*words: object) -> bytes:
    """A command as a client sends it."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


async def read_reply(reader: asyncio.StreamReader) -> Any:
    """Read a RESP2 reply. An error reply is an `ErrorReply`."""
    line = (await reader.readuntil(b"\r\n"))[:-2]
    kind, rest = line[:1], line[1:]
    match kind:
        case b"+":
            return rest.decode()
        case b"-":
            return ErrorReply(rest.decode("utf-8", "replace"))
        case b":":
            return int(rest)
        case b"$":
            return None if rest == b"-1" else (await reader.readexactly(int(rest) + 2))[:-2]
        case b"*":
            return None if rest == b"-1" else [await read_reply(reader) for _ in range(int(rest))]
    raise Garbled(f"not a reply: {line[:40]!r}")
