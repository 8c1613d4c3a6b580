"""Reads data of others without running code: pickles of plain data only, and what JSON can hold of them."""

from __future__ import annotations

import io
import json
import math
import pickle
import zlib
from typing import Any

# A job's data may be this long when decompressed. What is longer was probably made to fill the memory.
LONGEST = 64 * 1024 * 1024
# The most values and levels of one job's arguments, for the same reason: a short pickle can hold a list many times.
MOST_VALUES, DEEPEST = 1_000_000, 100


class NotPlain(ValueError):
    """The data can't be read without running code, or can't be written as JSON. The text says what is in it."""


class PlainUnpickler(pickle.Unpickler):
    """Reads pickles that hold numbers, text, bytes and containers of these.

    A pickle can name any function and have it called. All such names come through `find_class`.
    """

    def find_class(self, module: str, name: str, /) -> Any:
        """Refuse every name."""
        raise NotPlain(f"its pickle holds an object of {f'{module}.{name}'[:100]}, which is not read")

    def persistent_load(self, pid: Any, /) -> Any:
        """Refuse references to objects elsewhere."""
        raise NotPlain("its pickle refers to an object elsewhere")


def from_json(text: str | bytes) -> Any:
    """What a JSON text holds. Raises NotPlain."""
    try:
        return json.loads(text)
    except RecursionError:
        raise NotPlain("its JSON is too deep") from None
    except ValueError:
        raise NotPlain("its JSON can't be read") from None


def unpickled(data: bytes) -> Any:
    """The plain data in a pickle. Raises NotPlain."""
    try:
        return PlainUnpickler(io.BytesIO(data)).load()
    except NotPlain:
        raise
    except Exception:  # damaged pickles raise nearly everything
        raise NotPlain("its pickle can't be read") from None


def decompressed(data: bytes) -> bytes:
    """Data that may be compressed by zlib. Raises NotPlain if it is too long."""
    reader = zlib.decompressobj()
    try:
        text = reader.decompress(data, LONGEST)
    except zlib.error:
        return data
    if reader.unconsumed_tail:
        raise NotPlain(f"its data is longer than {LONGEST} bytes")
    return text


def as_json(value: Any) -> str:
    """A value as JSON that reads as the same value, except that tuples become lists. Raises NotPlain."""
    check(value)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotPlain("its arguments hold text that is not UTF-8") from None
    return text


def check(value: Any) -> None:
    """Raise NotPlain unless JSON can hold a value. Only what JSON would change or refuse is refused."""
    rest, seen = [(value, 0)], 0
    while rest:
        one, depth = rest.pop()
        seen += 1
        if seen > MOST_VALUES or depth > DEEPEST:
            raise NotPlain("its arguments are too large or too deep")
        if isinstance(one, dict):
            if not all(isinstance(key, str) for key in one):
                raise NotPlain(
                    "its arguments hold a dict with keys that are not text, which JSON would change"
                )
            rest += [(inner, depth + 1) for inner in one.values()]
        elif isinstance(one, list | tuple):
            rest += [(inner, depth + 1) for inner in one]
        elif isinstance(one, float) and not math.isfinite(one):
            raise NotPlain("its arguments hold a number that JSON lacks (NaN or infinity)")
        elif one is not None and type(one) not in (str, int, float, bool):
            raise NotPlain(f"its arguments hold a value of type {type(one).__name__}, which JSON lacks")
