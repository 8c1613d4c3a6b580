"""The checksums of what the module writes to an AOF: of effects, of the parts of queues, and of stamps of clocks."""

from __future__ import annotations

import zlib

CHECKSUM_BYTES = 4
# Begins a word that carries its checksum: a part of a queue, or a stamp.
MARK = b"\xc1"


def checksum(*words: bytes) -> bytes:
    """The checksum of some words."""
    whole = b"".join(len(word).to_bytes(4, "little") + word for word in words)
    return zlib.crc32(whole).to_bytes(CHECKSUM_BYTES, "little")


def sealed(content: bytes, *beside: bytes) -> bytes:
    """The word that carries this with a checksum, beside other words."""
    return MARK + checksum(*beside, content) + content


def opened(word: bytes, *beside: bytes) -> bytes:
    """What a word with a checksum carries. Fails if the checksum is another one."""
    content = word[len(MARK) + CHECKSUM_BYTES :]
    assert word == sealed(content, *beside), "its checksum"
    return content


def plain_part(words: list[bytes]) -> list[bytes]:
    """A TASK._LOAD as older versions wrote it: without a number and a checksum, so it fits any queue."""
    name, key, kind, word = words
    assert name == b"TASK._LOAD", words
    content = opened(word, key, kind)
    # The number is a varint: bytes with the highest bit, then one without.
    behind = next(at for at, byte in enumerate(content, 1) if byte < 0x80)
    return [name, key, kind, content[behind:]]
