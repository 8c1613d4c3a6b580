"""Shows bytes of a client to people: JSON with the kind of each piece, text, MessagePack, or a hex dump. Pure.

Everything here is hostile. A piece is plain text that a template escapes; what could change how a line looks, such as
control characters and marks that turn the direction of a text, is written as an escape sequence. The work and the
output are bounded, whatever the size of the bytes.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ...calls import BadPayload, Call
from ...codecs import JSON
from ...printable import printable, shortened
from ...tracebacks import parted

# How many bytes of a value are shown as text, and as a hex dump; and how long a value can be to be read as a whole.
TEXT_BYTES, DUMP_BYTES, READ_BYTES = 16 * 1024, 1024, 1024 * 1024
# The bytes in a line of a hex dump.
ROW_BYTES = 16
# Deeper JSON is not indented further: its spaces would be many times as long as the value.
MOST_INDENT = 12
# A token that was cut, such as `tru` or `-`, is shorter than this.
CUT_TOKEN = 10

Kind = Literal["", "key", "string", "number", "word"]
Form = Literal["empty", "JSON", "text", "MessagePack", "bytes"]

# The tokens of JSON. An open string at the end of a cut text is a token too, and so is any other letter.
TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      |(?P<string>"(?:[^"\\]|\\.)*(?:"|\\?$))
      |(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      |(?P<word>true|false|null|NaN|-?Infinity)
      |(?P<open>[\[{])
      |(?P<close>[\]}])
      |(?P<mark>[,:])""",
    re.VERBOSE | re.DOTALL,
)


class Piece(NamedTuple):
    """A piece of a shown value: its text, and what it is, for its colour."""

    text: str
    kind: Kind = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A value as a page shows it: its form, its size in bytes, its pieces, and whether these are its beginning only.

    `shown_bytes` says how many of its bytes are shown; None if that is not known.
    """

    form: Form
    size: int
    pieces: tuple[Piece, ...] = ()
    is_cut: bool = False
    shown_bytes: int | None = None


def shown(data: bytes) -> Shown:
    """Bytes as a page shows them."""
    size = len(data)
    if not data:
        return Shown("empty", 0)
    part = data[:TEXT_BYTES]
    if (text := as_text(part, is_whole=len(part) == size)) is not None:
        if is_json(data, text):
            return Shown("JSON", size, tuple(json_pieces(text)), len(part) < size, len(part))
        return Shown("text", size, (Piece(printable(text, "\n\t")),), len(part) < size, len(part))
    if size <= READ_BYTES and (packed := unpacked(data)) is not None:
        pieces = tuple(json_pieces(packed[:TEXT_BYTES]))
        return Shown("MessagePack", size, pieces, len(packed) > TEXT_BYTES)
    part = data[:DUMP_BYTES]
    return Shown("bytes", size, (Piece("\n".join(dumped(part))),), len(part) < size, len(part))


def as_text(part: bytes, is_whole: bool) -> str | None:
    """The beginning of a value as text, without a character that was cut at its end. None if it is something else."""
    try:
        text = part.decode()
    except UnicodeDecodeError as error:
        if is_whole or error.start < len(part) - 3:
            return None
        text = part[: error.start].decode()
    # Numbers of four bytes and the like have zeros. Other control characters are also in logs, and are escaped.
    return None if "\0" in text else text


def is_json(data: bytes, text: str) -> bool:
    """Whether a value is JSON. Of one that is cut, whether its beginning looks like a list or a map."""
    if len(data) > len(text.encode()):
        is_complete = all(kind != "rest" or len(token) < CUT_TOKEN for kind, token in tokens(text))
        return text.lstrip()[:1] in ("{", "[") and is_complete
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def tokens(text: str) -> Iterator[tuple[str, str]]:
    """The tokens of JSON, without spaces: the kind and the text of each. They end where the text is no JSON."""
    at = 0
    while (match := TOKEN.match(text, at)) is not None:
        if match.lastgroup != "space":
            yield str(match.lastgroup), match.group()
        at = match.end()
    if at < len(text):
        yield "rest", text[at:]


def json_pieces(text: str) -> Iterator[Piece]:
    """JSON as indented pieces, each value as it was written: a long number or an escape sequence is not changed."""
    found = list(tokens(text))
    depth = 0
    for number, (kind, token) in enumerate(found):
        before = found[number - 1][0] if number else ""
        after = found[number + 1] if number + 1 < len(found) else ("", "")
        if kind == "open":
            depth += 1
            yield Piece(token if after[0] == "close" else token + line(depth))
        elif kind == "close":
            depth = max(0, depth - 1)
            yield Piece(token if before == "open" else line(depth) + token)
        elif kind == "mark":
            yield Piece(": " if token == ":" else "," + line(depth))
        else:
            yield Piece(printable(token), kind_of(kind, after[1]))


def kind_of(kind: str, after: str) -> Kind:
    """What a token is: a string before a colon is a key."""
    if kind == "string":
        return "key" if after == ":" else "string"
    return "number" if kind == "number" else "word" if kind == "word" else ""


def line(depth: int) -> str:
    """The end of a line, and the indent of the next one."""
    return "\n" + "  " * min(depth, MOST_INDENT)


def unpacked(data: bytes) -> str | None:
    """MessagePack as the text of JSON; None if the package msgpack is missing, or for anything but a list or a map."""
    try:
        value = importlib.import_module("msgpack").unpackb(data, strict_map_key=False)
        if not isinstance(value, list | dict):
            return None
        return json.dumps(value, ensure_ascii=False, default=in_words)
    except Exception:  # the package may be missing, and the bytes can be anything
        return None


def in_words(value: Any) -> str:
    """A value of MessagePack that JSON has not: bytes, an instant, an extension."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes: {value[:ROW_BYTES].hex(' ')}{' …' if len(value) > ROW_BYTES else ''}"
    return str(value)


def dumped(data: bytes) -> Iterator[str]:
    """The lines of a hex dump: the offset, the bytes, and what of them is ASCII."""
    for at in range(0, len(data), ROW_BYTES):
        row = data[at : at + ROW_BYTES]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"{at:06x}  {row.hex(' '):<{ROW_BYTES * 3 - 1}}  {text}"


# ---- one line


def preview(data: bytes | None, width: int = 120) -> str:
    """Bytes as one line of at most `width` characters: as a call of a function, as text, or the first bytes in hex."""
    if not data:
        return ""
    part = data[: width * 4]
    if (text := as_text(part, is_whole=len(part) == len(data))) is None:
        return f"{len(data):,} bytes: {data[:ROW_BYTES].hex(' ')}{' …' if len(data) > ROW_BYTES else ''}"
    if data[:1] == b"{" and len(data) <= TEXT_BYTES and (called := call_in_words(data)) is not None:
        return shortened(printable(called), width)
    return shortened(printable(" ".join(text.split())), width)


def call_in_words(data: bytes) -> str | None:
    """A payload of a worker as a call: `mail.send("bob", subject="hi")`. None if it is no call."""
    try:
        call = Call.read(data, JSON)
        values = [written(value) for value in call.args]
        values += [f"{name}={written(value)}" for name, value in call.kwargs.items()]
    except (BadPayload, ValueError, RecursionError):
        return None
    return f"{call.task}({', '.join(values)})"


def written(value: Any) -> str:
    """A value as JSON in one line. Half a surrogate pair stays an escape sequence."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def first_line(error: str | None, width: int = 160) -> str:
    """What was raised, without its traceback, in one line."""
    return shortened(printable(" ".join(parted((error or "")[:8192])[0].split())), width)
