"""The bytes of effects of this version, read as the events of version 3; and effects of versions 3 and 5.

In version 3 the events are a list of MessagePack maps, each of a name and a list of fields. Since version 4, frequent
events have a shorter form. Since version 6, the last four bytes are a checksum of the queue's name, the effect and its
payloads.
"""

from __future__ import annotations

from collections.abc import Callable

import msgpack

from harness.checksums import CHECKSUM_BYTES, checksum

EFFECT_VERSION = 6
# In version 3: the version, and six bytes each for the number and the instant.
OLD_HEAD_BYTES = 13
BITS = (1 << 64) - 1
END, OTHER = 0, 1

Read = Callable[["Reader"], object]


class Reader:
    """Takes values off the front of the events of version 4."""

    def __init__(self, rest: bytes):
        self.rest = rest
        # The first instant, to which others are relative.
        self.base = 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        taken, self.rest = self.rest[:count], self.rest[count:]
        assert len(taken) == count, "the effect ends too early"
        return taken

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def number(self) -> int:
        """A varint."""
        byte = self.byte()
        return byte if byte < 0x80 else byte & 0x7F | self.number() << 7

    def signed(self) -> int:
        """A varint whose lowest bit is the sign."""
        coded = self.number()
        return coded >> 1 ^ -(coded & 1)

    def text(self) -> bytes:
        """A length and that many bytes."""
        return self.take(self.number())

    def flag(self) -> bool:
        """A byte that is 0 or 1."""
        return (False, True)[self.byte()]

    def instant(self) -> int:
        """An instant."""
        instant = self.base + self.signed() & BITS
        self.base = self.base or instant
        return instant

    def id(self) -> list:
        """A task's id."""
        return [self.instant(), self.number()]

    def handle(self) -> list:
        """A handle."""
        return [self.id(), self.base * 1000 + self.signed() & BITS, int.from_bytes(self.take(4), "little")]

    def lease(self) -> list:
        """A lease of a claim."""
        handle, lease_ms = self.handle(), self.number()
        return [*handle, lease_ms, self.instant() + lease_ms & BITS]

    def due(self) -> dict:
        """An instant and its clock."""
        return {"cw"[self.byte()]: self.instant()}

    def then(self) -> dict:
        """What becomes of a task."""
        name = "rdx"[self.byte()]
        return {name: self.due() if name == "d" else self.instant()}

    def end(self) -> list:
        """What an ACK leaves."""
        return [self.instant(), self.number(), self.maybe(Reader.text)]

    def answer(self) -> dict:
        """A remembered reply."""
        return {"c": [self.many(Reader.handle)]} if self.flag() else {"p": [self.id(), self.number()]}

    def unique(self) -> list:
        """A token and how long it is held."""
        token, name = self.text(), "eslx"[self.byte()]
        return [token, {name: self.instant()} if name in "lx" else name]

    def options(self) -> list:
        """The options of a push."""
        bits = self.number()
        kinds = [
            (Reader.signed, 0),
            (Reader.signed, None),
            (Reader.number, None),
            (Reader.text, b""),
            (Reader.text, b""),
            (Reader.unique, None),
            (Reader.number, None),
            (Reader.number, None),
        ]
        options = [read(self) if bits >> bit & 1 else default for bit, (read, default) in enumerate(kinds)]
        # The name of a batch came later, and is left out if there is none.
        return [*options, self.text()] if bits >> len(kinds) & 1 else options

    def when(self) -> object:
        """When a held task is ready once it waits for nothing any more."""
        name = "ndw"[self.byte()]
        return {name: self.number() if name == "d" else self.instant()} if name != "n" else name

    def release(self) -> object:
        """What becomes of a held task."""
        name = "hrdx"[self.byte()]
        return {name: self.due()} if name == "d" else name

    def maybe(self, read: Read) -> object:
        """A value or none."""
        return read(self) if self.flag() else None

    def many(self, read: Read) -> list:
        """A count and that many values."""
        return [read(self) for _ in range(self.number())]

    def event(self, kind: int) -> dict:
        """An event after the number of its kind. A last field that is none is left out, as in version 3."""
        if kind == OTHER:
            return msgpack.unpackb(self.text())
        name, *reads = KINDS[kind]
        fields = [read(self) for read in reads]
        if name in ("ack", "extend", "fail", "requeue") and fields[-1] is None:
            fields.pop()
        return {name: fields}


def maybe(read: Read) -> Read:
    """Reads a value or none."""
    return lambda reader: reader.maybe(read)


def many(read: Read) -> Read:
    """Reads several values."""
    return lambda reader: reader.many(read)


R = Reader
KINDS = {
    2: ("push", R.id, R.number, maybe(R.due), R.options),
    3: ("claim", R.instant, R.text, R.flag, many(R.lease)),
    4: ("ack", R.id, R.flag, maybe(R.end)),
    5: ("req", R.text, R.instant, R.instant, R.answer),
    6: ("take", many(R.id), R.instant),
    9: ("extend", R.id, R.instant, maybe(R.text)),
    10: ("stall", many(lambda reader: [reader.id(), reader.maybe(R.then)])),
    11: ("due", many(R.id), R.instant),
    12: ("fail", R.id, R.then, R.text, R.instant, maybe(R.text)),
    13: ("requeue", R.id, R.then, R.flag, maybe(R.text)),
    20: (
        *("after", R.id, R.number, R.instant, R.when),
        *(many(lambda reader: [reader.id(), reader.flag()]), lambda reader: "wrx"[reader.byte()], R.options),
    ),
    21: ("told", maybe(R.id), R.instant, many(lambda reader: [reader.id(), reader.release()])),
}


def is_whole(key: bytes, effect: bytes, *payloads: bytes) -> bool:
    """Whether an effect of this version has the checksum of what it came with."""
    return effect[-CHECKSUM_BYTES:] == checksum(key, effect[:-CHECKSUM_BYTES], *payloads)


def addressed(key: bytes, effect: bytes, *payloads: bytes) -> list[bytes]:
    """The command that sends an effect to another queue. One of this version gets another checksum for that."""
    if effect[:1] == bytes([EFFECT_VERSION]):
        covered = effect[:-CHECKSUM_BYTES]
        effect = covered + checksum(key, covered, *payloads)
    return [b"TASK._APPLY", key, effect, *payloads]


def as_5(effect: bytes) -> bytes:
    """The same effect in version 5, which had no checksum: it can be changed, and is for any queue."""
    assert effect[0] == EFFECT_VERSION, "the version of effects"
    return b"\5" + effect[1:-CHECKSUM_BYTES]


def unpack(effect: bytes) -> tuple[int, int, list[dict]]:
    """The number, the instant and the events of an effect of this version. Its checksum is not looked at."""
    assert effect[0] == EFFECT_VERSION, "the version of effects"
    reader, events = Reader(effect[1:-CHECKSUM_BYTES]), []
    while (kind := reader.byte()) != END:
        events.append(reader.event(kind))
    number, at = reader.number(), reader.instant()
    assert not reader.rest, "the effect ends with its instant"
    return number, at, events


def pack_as_3(number: int, at: int, events: object) -> bytes:
    """An effect of version 3."""
    return b"\3" + number.to_bytes(6, "big") + at.to_bytes(6, "big") + msgpack.packb(events)
