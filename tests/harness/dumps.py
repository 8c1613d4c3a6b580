"""Takes the payloads of DUMP and RESTORE apart and puts them together, to make payloads that no server would.

A payload is an object as in an RDB file, two bytes for the RDB version, and a CRC64 of both. A module's value is a type
byte, the module's id, fields that each begin with the number of their kind, and a 0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

MODULE_2 = 7  # the type byte of a module's value
EOF, STRING = 0, 5  # the kinds of fields of a module's value

# ---- the checksum


def _table() -> list[int]:
    """The CRC64 of each byte, with the polynomial of Jones, reflected, as in Redis' crc64.c."""
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
        table.append(crc)
    return table


TABLE = _table()


def crc64(data: bytes, crc: int = 0) -> int:
    """Redis' CRC64 of the data, continued from the CRC64 of the data before it."""
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def opened(payload: bytes) -> tuple[bytes, bytes]:
    """The object in a payload and the RDB version. Checks the checksum."""
    assert crc64(payload[:-8]) == int.from_bytes(payload[-8:], "little")
    return payload[:-10], payload[-10:-8]


def sealed(value: bytes, version: bytes) -> bytes:
    """A payload with a correct checksum."""
    return value + version + crc64(value + version).to_bytes(8, "little")


def sealed_flips(value: bytes, version: bytes, first: int = 0) -> Iterator[tuple[int, bytes]]:
    """Payloads in which one bit of the object is flipped, from byte `first` on, with the bit's number.

    Their checksums are correct. This CRC is linear, so the change depends only on the position of the flipped bit.
    """
    crc = crc64(value + version)
    changes = [TABLE[1 << bit] for bit in range(8)]
    for at in reversed(range(first, len(value) + len(version))):
        if at < len(value):
            for bit, change in enumerate(changes):
                flipped = value[:at] + bytes([value[at] ^ 1 << bit]) + value[at + 1 :]
                yield at * 8 + bit, flipped + version + (crc ^ change).to_bytes(8, "little")
        changes = [TABLE[change & 0xFF] ^ change >> 8 for change in changes]


# ---- lengths and strings, as in RDB files


def length(n: int) -> bytes:
    """A length or number in the shortest form."""
    if n < 1 << 6:
        return bytes([n])
    if n < 1 << 14:
        return bytes([0x40 | n >> 8, n & 0xFF])
    return b"\x80" + n.to_bytes(4, "big") if n < 1 << 32 else b"\x81" + n.to_bytes(8, "big")


def string(data: bytes, claimed: int | None = None) -> bytes:
    """A string field. `claimed` is a length to write instead of the true one."""
    return length(STRING) + length(len(data) if claimed is None else claimed) + data


def read_length(data: bytes, at: int) -> tuple[int, int]:
    """Read a length. Returns it and the position after it."""
    first = data[at]
    match first >> 6:
        case 0:
            return first, at + 1
        case 1:
            return (first & 0x3F) << 8 | data[at + 1], at + 2
    size = {0x80: 4, 0x81: 8}[first]
    return int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size


def without_clocks(payload: bytes) -> bytes:
    """A payload without its node's clock readings, which differ between two copies of the same queue."""
    value, version = opened(payload)
    before, strings = fields(value)
    return sealed(value_of(before, [each for each in strings if each[:1] != b"k"]), version)


def fields(value: bytes) -> tuple[bytes, list[bytes]]:
    """Split a module's value into the part before its fields and the fields, all strings (`rdbcompression no`)."""
    assert value[0] == MODULE_2
    _, at = read_length(value, 1)
    head, strings = value[:at], []
    while True:
        kind, at = read_length(value, at)
        if kind == EOF:
            assert at == len(value)
            return head, strings
        assert kind == STRING
        if value[at] >> 6 == 3:  # a number: servers store short strings that look like numbers this way
            size = 1 << (value[at] & 0x3F)
            number = int.from_bytes(value[at + 1 : at + 1 + size], "little", signed=True)
            strings.append(str(number).encode())
            at += 1 + size
            continue
        size, at = read_length(value, at)
        strings.append(value[at : at + size])
        at += size


def value_of(head: bytes, strings: list[bytes]) -> bytes:
    """A module's value with these strings as fields."""
    return head + b"".join(map(string, strings)) + length(EOF)


# ---- pages: the module's own form of tasks


def varint(n: int) -> bytes:
    """A number as a varint: seven bits in each byte, the lowest first."""
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out + bytes([n]))


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a varint. Returns the number and the position after it."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


@dataclass
class Entry:
    """The stored entry of a task that was touched: 45 bytes."""

    slot: int
    bits: int
    rank: int
    instant: int
    lease: int
    nonce: int
    lease_ms: int
    held_ms: int
    worker: int
    deliveries: int
    failures: int
    stalls: int

    @property
    def is_leased(self) -> bool:
        """Whether a worker has the task."""
        return self.bits & 3 == 2


ENTRY = struct.Struct("<BB6s6s7sIIIIIHH")


@dataclass
class Page:
    """A page: its first order number, the base of its ids, and a record or none for each slot."""

    first: int = 0
    base: tuple[int, int] = (0, 0)
    records: list[bytes] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    @classmethod
    def read(cls, chunk: bytes) -> Page:
        """Parse the chunk of a page."""
        assert chunk[:1] == b"p"
        numbers, at = [], 1
        for _ in range(5):
            number, at = read_varint(chunk, at)
            numbers.append(number)
        first, ms, seq, slots, entries = numbers
        page = cls(first, (ms, seq))
        for _ in range(slots):
            size, at = read_varint(chunk, at)
            page.records.append(chunk[at : at + size])
            at += size
        for words in ENTRY.iter_unpack(chunk[at:]):
            numbers = [int.from_bytes(word, "little") if isinstance(word, bytes) else word for word in words]
            page.entries.append(Entry(*numbers))
        assert len(page.entries) == entries
        return page

    def chunk(self, slots: int | None = None, entries: int | None = None) -> bytes:
        """The page as a chunk. `slots` and `entries` are numbers to write instead of the true ones."""
        counts = (
            len(self.records) if slots is None else slots,
            len(self.entries) if entries is None else entries,
        )
        out = b"p" + b"".join(map(varint, (self.first, *self.base, *counts)))
        out += b"".join(varint(len(record)) + record for record in self.records)
        for entry in self.entries:
            slot, bits, *short, nonce, lease_ms, held_ms, worker, deliveries, failures, stalls = vars(
                entry
            ).values()
            short = [number.to_bytes(size, "little") for number, size in zip(short, (6, 6, 7), strict=True)]
            out += ENTRY.pack(
                slot, bits, *short, nonce, lease_ms, held_ms, worker, deliveries, failures, stalls
            )
        return out
