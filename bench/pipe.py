"""The client of the benchmarks: sends prepared commands in batches of one size.

The client must not affect what is measured, and all contenders must be treated alike. So a batch is one write of
prepared commands with a PING at its end, and the next one is sent when that PING is answered. For the same number of
tasks the server then reads, works and writes equally often, however slow the client is in between.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

Reply = bytes | int | list | None

PING = b"PING\r\n"
PONG = b"+PONG\r\n"
# The size of one read, in bytes: enough for the replies to a batch of 1 KB payloads.
READ_BYTES = 1 << 20


def encode(*words: bytes | int) -> bytes:
    """A command in RESP."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        text = b"%d" % word if isinstance(word, int) else word
        parts.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(parts)


def decode(data: bytes) -> list[Reply]:
    """All replies (RESP2) in `data`, without the PONGs between batches. Raises RuntimeError for an error reply."""
    replies, at = [], 0
    while at < len(data):
        reply, at = decode_one(data, at)
        if reply != b"PONG":
            replies.append(reply)
    return replies


def decode_one(data: bytes, at: int) -> tuple[Reply, int]:
    """The reply that begins at `at`, and the position of the next one."""
    end = data.index(b"\r\n", at)
    kind, text, rest = data[at], data[at + 1 : end], end + 2
    match kind:
        case 0x2B:  # +
            return text, rest
        case 0x3A:  # :
            return int(text), rest
        case 0x24:  # $
            size = int(text)
            return (None, rest) if size < 0 else (data[rest : rest + size], rest + size + 2)
        case 0x2A:  # *
            items = []
            for _ in range(int(text)):
                item, rest = decode_one(data, rest)
                items.append(item)
            return items, rest
    raise RuntimeError(f"the server answered {data[at:end].decode('utf-8', 'replace')}")


def batches(calls: Sequence[bytes], size: int) -> Iterator[bytes]:
    """The calls as writes of `size` calls, each with a PING at its end."""
    for start in range(0, len(calls), size):
        yield b"".join(calls[start : start + size]) + PING


class Pipe:
    """A connection over a unix socket. It sends a batch only when the one before it is answered."""

    def __init__(self, path: str, calls_a_write: int):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(path)
        self._calls_a_write = calls_a_write

    def send(self, writes: Sequence[bytes]) -> bytes:
        """Send prepared writes, each when the one before it is answered. Returns all replies."""
        answer = bytearray()
        for write in writes:
            self._socket.sendall(write)
            while True:
                data = self._socket.recv(READ_BYTES)
                if not data:
                    raise RuntimeError("the server closed the connection")
                answer += data
                if answer.endswith(PONG):
                    break
        return bytes(answer)

    def prepared(self, calls: Sequence[bytes]) -> list[bytes]:
        """The calls as prepared writes."""
        return list(batches(calls, self._calls_a_write))

    def ask(self, *words: bytes | int) -> Reply:
        """Send one command outside the measurement, and return its reply."""
        return decode(self.send([encode(*words) + PING]))[0]

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
