"""Typed values as plain ones that every codec and every language has, and back by an annotation.

A codec writes strings, numbers, booleans, None, lists and maps with string keys. `plain` turns datetimes, UUIDs,
dataclasses, models of pydantic and so on into these. `reader_of` makes the function that turns them back, from the
annotation of an argument, a result or a field. It is None for what needs no reading, such as `int` or `list[str]`.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import types
from collections import abc
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache, partial
from pathlib import Path, PurePath
from typing import Annotated, Any, NewType, Union, get_args, get_origin, get_type_hints, is_typeddict
from uuid import UUID

from .printable import printable

Read = Callable[[Any], Any]

# How much of a key an error shows.
MOST_OF_KEY = 100


class Unreadable(ValueError):
    """A value can't be read by its annotation. The text says why without showing any of the value."""


# ---- to plain values


def plain(value: Any, has_bytes: bool = False) -> Any:
    """A value with everything in it turned into plain values; what can't be turned stays as it is.

    `has_bytes` says that the codec writes bytes itself. Otherwise they become base64.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        return {plain(key): plain(of, has_bytes) for key, of in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one, has_bytes) for one in value]
    if isinstance(value, Enum):
        return plain(value.value, has_bytes)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value) if has_bytes else base64.b64encode(value).decode()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID | PurePath):
        return str(value)
    if is_model(type(value)):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            item.name: plain(getattr(value, item.name), has_bytes)
            for item in dataclasses.fields(value)
            if item.init
        }
    return value


def is_model(kind: Any) -> bool:
    """Whether a class is a model of pydantic, which is not imported for that."""
    return hasattr(kind, "model_validate") and hasattr(kind, "model_dump")


# ---- and back


def reader_of(hint: Any) -> Read | None:
    """The function that reads a plain value by an annotation; None if it is right as it is.

    The function raises `Unreadable`. Annotations that are not known here read nothing.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return reader_of(args[0])
    if origin in (Union, types.UnionType):
        return union_reader(args)
    if isinstance(hint, NewType):
        return reader_of(hint.__supertype__)
    if hasattr(hint, "__value__"):  # type Ids = list[UUID]
        return reader_of(hint.__value__)
    kind: Any = hint if origin is None else origin
    return reader_of_class(hint, kind, args) if isinstance(kind, type) else None


def reader_of_class(hint: Any, kind: Any, args: tuple[Any, ...]) -> Read | None:
    """The reader of a class, or of a generic class with its arguments."""
    if kind in SCALARS:
        return partial(read_scalar, kind)
    if issubclass(kind, Enum):
        return partial(read_with, kind, kind)
    if is_model(kind):
        return partial(read_with, hint, kind.model_validate)
    if dataclasses.is_dataclass(kind):
        return partial(read_fields, kind)
    if is_typeddict(kind):
        return partial(read_keys, kind)
    return collection_reader(kind, args)


def union_reader(kinds: tuple[Any, ...]) -> Read | None:
    """A reader that takes the first kind that a value fits."""
    readers = [(kind, reader_of(kind)) for kind in kinds]
    return partial(read_one_of, readers) if any(read for _, read in readers) else None


def collection_reader(kind: type, args: tuple[Any, ...]) -> Read | None:
    """The reader of a list, a tuple, a set or a map; None for other classes."""
    if issubclass(kind, tuple):
        if hasattr(kind, "_fields"):
            return partial(read_named_tuple, kind)
        if len(args) == 2 and args[1] is Ellipsis:
            return partial(read_items, tuple, reader_of(args[0]))
        return (
            partial(read_tuple, [reader_of(arg) for arg in args])
            if args
            else partial(read_items, tuple, None)
        )
    if kind in SETS:
        return partial(read_items, SETS[kind], reader_of(args[0]) if args else None)
    if kind in LISTS:
        item = reader_of(args[0]) if args else None
        return partial(read_items, list, item) if item else None
    if kind in MAPS and len(args) == 2:
        key = KEYS.get(args[0]) or reader_of(args[0])
        of = reader_of(args[1])
        return partial(read_map, key, of) if key or of else None
    return None


LISTS = (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable)
SETS = {set: set, frozenset: frozenset, abc.Set: frozenset, abc.MutableSet: set}
MAPS = (dict, abc.Mapping, abc.MutableMapping)
# Keys of maps are strings in JSON.
KEYS: Mapping[Any, Read] = {
    int: lambda key: read_with(int, int, key),
    float: lambda key: read_with(float, float, key),
}


def number_of_seconds(value: Any) -> timedelta:
    """A span as it is written."""
    return timedelta(seconds=value)


def of_base64(value: Any) -> bytes:
    """Bytes as they are written."""
    return base64.b64decode(value, validate=True)


def of_iso(kind: Any) -> Read:
    """The reader of a class that has `fromisoformat`."""
    return lambda value: kind.fromisoformat(value)


SCALARS: Mapping[Any, Read] = {
    datetime: of_iso(datetime),
    date: of_iso(date),
    time: of_iso(time),
    timedelta: number_of_seconds,
    UUID: UUID,
    Decimal: lambda value: Decimal(value if isinstance(value, str) else str(value)),
    bytes: of_base64,
    bytearray: lambda value: bytearray(of_base64(value)),
    Path: Path,
    PurePath: PurePath,
}


def read_scalar(kind: Any, value: Any) -> Any:
    """Read a value of one of the classes in `SCALARS`. A codec may have brought it as it is."""
    return value if isinstance(value, kind) else read_with(kind, SCALARS[kind], value)


def read_with(hint: Any, read: Read, value: Any) -> Any:
    """Read a value with a function that can raise anything."""
    try:
        return read(value)
    except Unreadable:
        raise
    except (ArithmeticError, AttributeError, TypeError, ValueError, binascii.Error) as error:
        raise Unreadable(f"it is no {name_of(hint)}: {reason(error)}") from None


def read_one_of(readers: Iterable[tuple[Any, Read | None]], value: Any) -> Any:
    """Read a value as the first kind that it fits."""
    for kind, read in readers:
        if read is None:
            if is_plainly(kind, value):
                return value
            continue
        try:
            return read(value)
        except Unreadable:
            continue
    raise Unreadable(f"it is none of {', '.join(name_of(kind) for kind, _ in readers)}")


def is_plainly(kind: Any, value: Any) -> bool:
    """Whether a plain value fits an annotation that needs no reading."""
    kind = get_origin(kind) or kind
    if kind is float and type(value) is int:
        return True
    if kind in (bool, int):
        return type(value) is kind
    return not isinstance(kind, type) or kind is object or isinstance(value, kind)


def read_items(made: Callable[[Iterable[Any]], Any], item: Read | None, value: Any) -> Any:
    """Read a list as a list, a tuple or a set."""
    must_be(value, list | tuple | set | frozenset, "list")
    # What can't be hashed can't be in a set.
    return read_with(made, made, value if item is None else [item(one) for one in value])


def read_tuple(items: list[Read | None], value: Any) -> Any:
    """Read a list as a tuple of a fixed length."""
    must_be(value, list | tuple, "list")
    if len(value) != len(items):
        raise Unreadable(f"it has {len(value)} items, not {len(items)}")
    return tuple(one if read is None else read(one) for read, one in zip(items, value, strict=True))


def read_named_tuple(kind: Any, value: Any) -> Any:
    """Read a list as a named tuple."""
    must_be(value, list | tuple, "list")
    readers = [readers_of(kind).get(name) for name in kind._fields]
    pairs = zip(readers, value, strict=False)
    items = [one if read is None else read(one) for read, one in pairs]
    return read_with(kind, lambda _: kind(*items), value)


def read_map(key: Read | None, of: Read | None, value: Any) -> Any:
    """Read the keys and values of a map."""
    must_be(value, Mapping, "map")
    return {
        (name if key is None else key(name)): (one if of is None else of(one)) for name, one in value.items()
    }


def read_keys(kind: Any, value: Any) -> Any:
    """Read a map as a TypedDict. Keys that it doesn't know stay."""
    must_be(value, Mapping, "map")
    return {name: read_field(kind, name, one) for name, one in value.items()}


def read_fields(kind: Any, value: Any) -> Any:
    """Read a map as a dataclass. Fields that it doesn't know are left out: a newer producer may have added them."""
    if isinstance(value, kind):
        return value
    must_be(value, Mapping, "map")
    names = [item.name for item in dataclasses.fields(kind) if item.init and item.name in value]
    given = {name: read_field(kind, name, value[name]) for name in names}
    return read_with(kind, lambda _: kind(**given), value)


def read_field(kind: Any, name: str, value: Any) -> Any:
    """Read a field of a class. The error names it."""
    if (read := readers_of(kind).get(name)) is None:
        return value
    try:
        return read(value)
    except Unreadable as error:
        raise Unreadable(f"{name} of {name_of(kind)}: {error}") from None


@cache
def readers_of(kind: Any) -> Mapping[str, Read | None]:
    """The reader of each field of a class. Found when a value is first read, so that a class can contain itself."""
    try:
        hints = get_type_hints(kind)
    except Exception as error:
        raise Unreadable(f"the annotations of {name_of(kind)} can't be evaluated: {error}") from None
    return {name: reader_of(hint) for name, hint in hints.items()}


def must_be(value: Any, kind: Any, what: str) -> None:
    """Raise `Unreadable` for a value of another kind."""
    if not isinstance(value, kind):
        raise Unreadable(f"it is no {what}")


def name_of(hint: Any) -> str:
    """An annotation as a reader would write it."""
    return hint.__name__ if isinstance(hint, type) else str(hint).removeprefix("typing.")


def reason(error: Exception) -> str:
    """Why a value can't be read, without the value: pydantic's own words, or the class of the exception."""
    problems = getattr(error, "errors", None)
    if not callable(problems):
        return type(error).__name__
    texts = [": ".join(filter(None, (place_of(one["loc"]), one["msg"]))) for one in problems()[:3]]
    return "; ".join(texts)


def place_of(loc: Iterable[Any]) -> str:
    """Where in a value a problem of pydantic is. Its keys are those of the value: anyone's text."""
    return printable(".".join(str(part)[:MOST_OF_KEY] for part in loc))
