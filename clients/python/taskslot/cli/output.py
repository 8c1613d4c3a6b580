"""Writes the output of commands: lines for people or JSON lines for scripts on stdout, notes on stderr."""

from __future__ import annotations

import base64
import codecs
import io
import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)


def in_its_place(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that the stream's encoding lacks: our own symbols by ASCII ones, all others by escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    return "".join(
        PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in part
    ), error.end


PLAIN = {
    "…": "...",
    "–": "-",
    "—": "-",
    "·": "-",
    "×": "x",
    "→": "->",
    "≥": ">=",
    "≤": "<=",
    "’": "'",
    "ρ": "rho",
}


def take_any_text() -> None:
    """Let stdout and stderr accept any text, even if their encoding is not UTF-8."""
    codecs.register_error("taskslot", in_its_place)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="taskslot")


def line(text: str = "") -> None:
    """Write a line to stdout."""
    sys.stdout.write(text + "\n")


def json_line(value: Any) -> None:
    """Write a value as one line of JSON to stdout."""
    text = json.dumps(plain(value), ensure_ascii=False)
    text = "".join(letter if letter.isprintable() else escaped(letter) for letter in text)
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        text = json.dumps(plain(value))
    sys.stdout.write(text + "\n")


def escaped(letter: str) -> str:
    """A character as JSON's escape sequence. Used for characters that can control a terminal; the value is the same."""
    return json.dumps(letter)[1:-1] if ord(letter) > 0x7F else f"\\u{ord(letter):04x}"


def note(text: str) -> None:
    """Write a line to stderr: for people, not for pipes."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")


def plain(value: Any) -> Any:
    """A value as JSON types: a dataclass as a map of its known fields, bytes as UTF-8 text or as base64."""
    if is_dataclass(value) and not isinstance(value, type):
        found: dict[str, Any] = {}
        for item in fields(value):
            one = getattr(value, item.name)
            if item.name == "more":
                found.update({str(name): plain(more) for name, more in one.items()})
            elif one is not None and one != ():
                found.update(named(item.name, one))
        return found
    if isinstance(value, Mapping):
        return {key: one for name, of in value.items() for key, one in named(str(name), of).items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return text_or_base64(value)[0] if isinstance(value, bytes) else value


def named(name: str, value: Any) -> dict[str, Any]:
    """A field as a map. If the bytes of `payload` are not UTF-8, its name becomes `payload_base64`."""
    if isinstance(value, bytes):
        text, is_text = text_or_base64(value)
        return {name if is_text else f"{name}_base64": text}
    return {name: plain(value)}


def text_or_base64(data: bytes) -> tuple[str, bool]:
    """Bytes as UTF-8 text and True, or as base64 and False."""
    try:
        return data.decode(), True
    except UnicodeDecodeError:
        return base64.b64encode(data).decode(), False


def progress() -> Progress:
    """Progress bars on stderr, which disappear when the work is done. None if stderr is not a terminal."""
    console = Console(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
