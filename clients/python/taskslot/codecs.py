"""Encodes values as bytes and decodes them: JSON, or MessagePack on request. Never pickle.

Reading a payload must not run code, and tasks should be readable for people and for other languages.
"""

from __future__ import annotations

import importlib
import json
from typing import Any, Protocol


class Codec(Protocol):
    """Writes and reads values. Any object with a name and these two methods is a codec."""

    @property
    def name(self) -> str:
        """The codec's name in error texts."""

    def dumps(self, value: Any, /) -> bytes:
        """Write a value; raises TypeError or ValueError for one that can't be written."""

    def loads(self, data: bytes, /) -> Any:
        """Read a value; raises an exception if the bytes are not in this format."""


# Made once: `json.dumps` makes one for each call that has options.
WRITER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Json:
    """JSON as UTF-8 without spaces. Tuples become lists and keys strings; NaN and infinity are refused."""

    name = "JSON"

    def dumps(self, value: Any, /) -> bytes:
        """Write a value."""
        return WRITER.encode(value).encode()

    def loads(self, data: bytes, /) -> Any:
        """Read a value."""
        return json.loads(data)


class MessagePack:
    """MessagePack, with the package msgpack (`pip install msgpack`). Shorter than JSON, and has bytes.

    Tuples become lists.
    """

    name = "MessagePack"
    has_bytes = True

    def dumps(self, value: Any, /) -> bytes:
        """Write a value."""
        return bytes(msgpack().packb(value))

    def loads(self, data: bytes, /) -> Any:
        """Read a value."""
        return msgpack().unpackb(data, strict_map_key=False)


def msgpack() -> Any:
    """The package msgpack, imported when it is first used. Raises ModuleNotFoundError."""
    try:
        return importlib.import_module("msgpack")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("MSGPACK needs the package msgpack: pip install msgpack") from error


JSON = Json()
MSGPACK = MessagePack()
