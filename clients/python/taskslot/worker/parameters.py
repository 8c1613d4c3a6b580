"""The parameters of a function: which arguments it takes, how they are written into a payload, and read from it."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from types import SimpleNamespace
from typing import Any, get_args, get_origin, get_type_hints

from ..calls import BadPayload
from ..codecs import Codec
from ..values import Read, Unreadable, plain, reader_of

log = logging.getLogger("taskslot")

Args = tuple[Any, ...]
Kwargs = Mapping[str, Any]
# What `async def` and its like are annotated with if a plain function returns them: the value is the last argument.
AWAITABLES = ("Awaitable", "Coroutine", "Future", "Task")
# From Python 3.14 on, annotations are evaluated when they are asked for, unless it is asked like this.
LAZILY: dict[str, Any] = (
    {"annotation_format": importlib.import_module("annotationlib").Format.FORWARDREF}
    if sys.version_info >= (3, 14)
    else {}
)


class BadArguments(BadPayload):
    """An argument of a call can't be read by the function's annotation."""


class Parameters:
    """The parameters of a function. Annotations are evaluated when they are first needed, so they can name anything."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function = function
        self._name = name

    @cached_property
    def signature(self) -> inspect.Signature:
        """The function's signature."""
        return inspect.signature(self._function, **LAZILY)

    @cached_property
    def readers(self) -> Mapping[str, Read]:
        """The readers of those parameters that need reading, by their names."""
        found = {
            one.name: self._reader(one.annotation, one.name) for one in self.signature.parameters.values()
        }
        return {name: read for name, read in found.items() if read is not None}

    @cached_property
    def result_reader(self) -> Read | None:
        """The reader of what the function returns; None if that needs no reading."""
        return self._reader(self.signature.return_annotation, "return")

    @cached_property
    def _places(self) -> tuple[list[str], str | None, str | None]:
        """The names of the parameters by place, and those of `*args` and `**kwargs`."""
        of = self.signature.parameters.values()
        by_place = [one.name for one in of if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
        others = [next((one.name for one in of if one.kind is kind), None) for kind in VARIADIC]
        return by_place, others[0], others[1]

    def bound(self, args: Args, kwargs: Kwargs) -> inspect.BoundArguments:
        """The arguments by their names. Raises TypeError if the function doesn't take them."""
        try:
            return self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._name}: {error}") from None

    def written(self, args: Args, kwargs: Kwargs, codec: Codec) -> tuple[Args, dict[str, Any]]:
        """The arguments as plain values, as far as annotations will read them back."""
        has_bytes = getattr(codec, "has_bytes", False)
        return self._each(args, kwargs, lambda name, value: plain(value, has_bytes))

    def read(self, args: Args, kwargs: Kwargs) -> tuple[Args, dict[str, Any]]:
        """The arguments as the annotations say. Raises `BadArguments`."""
        return self._each(args, kwargs, self._read)

    def unwritable(self, args: Args, kwargs: Kwargs, codec: Codec, error: Exception) -> Exception:
        """The error for arguments that the codec can't write, which names the first of them."""
        by_place, rest, _ = self._places
        names = [*by_place[: len(args)], *[f"*{rest}"] * (len(args) - len(by_place))]
        for name, value in [*zip(names, args, strict=True), *kwargs.items()]:
            try:
                codec.dumps(
                    plain(value, getattr(codec, "has_bytes", False)) if name in self.readers else value
                )
            except Exception as why:
                hint = "" if name in self.readers else ", and it has no annotation that reads it"
                text = f"argument {name!r} of {self._name} can't be written as {codec.name}{hint}: {why}"
                return (ValueError if isinstance(why, ValueError) else TypeError)(text)
        return error

    def _each(
        self, args: Args, kwargs: Kwargs, turn: Callable[[str, Any], Any]
    ) -> tuple[Args, dict[str, Any]]:
        """The arguments, each that has a reader turned."""
        readers = self.readers
        by_place, rest, names = self._places
        by_place = by_place + [rest or ""] * (len(args) - len(by_place))
        turned = tuple(
            turn(name, value) if name in readers else value
            for name, value in zip(by_place, args, strict=False)
        )
        known = self.signature.parameters
        return turned, {
            name: turn(of, value) if (of := name if name in known else names or "") in readers else value
            for name, value in kwargs.items()
        }

    def _read(self, name: str, value: Any) -> Any:
        try:
            return self.readers[name](value)
        except (Unreadable, RecursionError) as error:
            why = error if isinstance(error, Unreadable) else type(error).__name__
            raise BadArguments(f"argument {name!r} of {self._name} can't be read: {why}") from None

    def _reader(self, annotation: Any, name: str) -> Read | None:
        """The reader for an annotation. If it can't be evaluated, the value stays as it is, and this is logged."""
        if annotation is inspect.Parameter.empty or annotation is None:
            return None
        try:
            holder = SimpleNamespace(__annotations__={"it": annotation})
            hint = get_type_hints(holder, globalns=names_around(self._function))["it"]
            if getattr(get_origin(hint), "__name__", "") in AWAITABLES and get_args(hint):
                hint = get_args(hint)[-1]
            return reader_of(hint)
        except Exception as error:
            what = "result" if name == "return" else f"argument {name!r}"
            log.warning(
                "the annotation of the %s of %s can't be evaluated, so it is not converted: %s: %s",
                *(what, self._name, type(error).__name__, error),
            )
            return None


VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def names_around(function: Callable[..., Any]) -> dict[str, Any]:
    """The global names that a function's annotations can use."""
    inner = inspect.unwrap(function)
    of = getattr(inner, "func", inner)  # of functools.partial
    if not hasattr(of, "__globals__"):
        of = getattr(type(of).__call__, "__wrapped__", type(of).__call__)
    return dict(getattr(of, "__globals__", {}))
