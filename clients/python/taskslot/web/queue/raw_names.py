"""Replies in which names keep their bytes: those that are not UTF-8 are surrogates, and can be sent again.

The library's own replies show such bytes as U+FFFD, so a link that names a group would lead nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from ...commands import Command, Word
from ...replies import Reply, converters, text

R = TypeVar("R")
N = TypeVar("N", bound=Reply)
# The entry of the table of converters that reads names and other texts.
AS_TEXT = text


def sendable(command: Command[R]) -> Command[R]:
    """The command with its texts as the bytes that they stand for."""
    return replace(command, words=tuple(as_bytes(word) for word in command.words))


def as_bytes(word: Word) -> Word:
    """A word with its surrogates as the bytes that they stand for. Cluster clients want a command's name as text."""
    return word.encode("utf-8", "surrogateescape") if isinstance(word, str) and not word.isascii() else word


def name_of(value: Any) -> str:
    """A name with its bytes."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def items(reply: Any) -> Iterable[tuple[Any, Any]]:
    """The names and values of a map, in RESP2 or RESP3, as they came."""
    return reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)


def read(kind: type[N], reply: Any) -> N:
    """Read a map of the server as `kind.read` does, with names that keep their bytes."""
    known, kept = converters(kind), dict[str, Any]()  # type: ignore[arg-type]
    for raw, value in items(reply):
        name = text(raw)
        if name == "headers":
            kept[name] = {name_of(header): of for header, of in items(value)}
        elif known.get(name.replace("-", "_")) is AS_TEXT and value is not None:
            kept[name] = name_of(value)
        else:
            kept[name] = value
    return kind.read(kept)
