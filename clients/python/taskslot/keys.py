"""Keys as `str`. A key can be any bytes: those that are not UTF-8 become lone surrogates, and the same bytes again.

Such a text can't be printed or sent as UTF-8: `printable` escapes it for people, `key_word` makes a word of a command.
"""

from __future__ import annotations


def key_text(key: bytes) -> str:
    """A key of the server as text, from which `key_bytes` makes the same bytes again."""
    return key.decode("utf-8", "surrogateescape")


def key_bytes(key: str) -> bytes:
    """The bytes of a key."""
    return key.encode("utf-8", "surrogateescape")


def key_word(key: str) -> str | bytes:
    """A key as a word of a command: the text itself, which the client encodes, unless the key is no text."""
    if key.isascii():
        return key
    try:
        key.encode()
    except UnicodeEncodeError:
        return key_bytes(key)
    return key
