"""How values become bytes and bytes values: JSON, or MessagePack where somebody asks for it. Never pickle.

A payload that is read must not be able to run code, and a task should be readable for people and other languages.
"""

from __future__ import annotations

import importlib
import json
from typing import Any, Protocol


class Codec(Protocol):
    """What writes and reads values; anything with a name and these two methods will do."""

    @property
    def name(self) -> str:
        """What errors call it."""

    def dumps(self, value: Any, /) -> bytes:
        """Write a value; raises TypeError or ValueError for one that can't be written."""

    def loads(self, data: bytes, /) -> Any:
        """Read a value; raises an exception where these are no such bytes."""


class Json:
    """JSON as UTF-8 without spaces. Tuples become lists and keys strings; NaN and infinity are refused."""

    name = "JSON"

    def dumps(self, value: Any, /) -> bytes:
        """Write a value."""
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

    def loads(self, data: bytes, /) -> Any:
        """Read a value."""
        return json.loads(data)


class MessagePack:
    """MessagePack, by the package msgpack (`pip install msgpack`): shorter, and knows bytes. Tuples become lists."""

    name = "MessagePack"

    def dumps(self, value: Any, /) -> bytes:
        """Write a value."""
        return bytes(msgpack().packb(value))

    def loads(self, data: bytes, /) -> Any:
        """Read a value."""
        return msgpack().unpackb(data, strict_map_key=False)


def msgpack() -> Any:
    """The package, which only those need who use it."""
    try:
        return importlib.import_module("msgpack")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("MSGPACK needs the package msgpack: pip install msgpack") from error


JSON = Json()
MSGPACK = MessagePack()
