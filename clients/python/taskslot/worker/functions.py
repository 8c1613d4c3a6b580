"""The registered functions of a worker, sync or async."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Literal, ParamSpec, TypeVar

from ..calls import Call
from ..codecs import Codec

P = ParamSpec("P")
R = TypeVar("R")

# How long finished tasks of a function are kept, in ms. None leaves it to the push and the queue's setting.
Retain = int | Literal["default"] | None
# The default, if neither the push nor the queue's setting says how long. Callers usually ask for a result after the
# task has ended, so it has to be kept for a while.
RETAIN_MS = 60_000

# The longest run that counts, so that one long run among many short ones is soon forgotten.
LONG_S = 0.01


class Function(Generic[P, R]):
    """A registered function. It can be called as before. `call` makes the payload that has a worker call it."""

    def __init__(self, function: Callable[P, R], name: str, codec: Codec, retain_ms: Retain) -> None:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{name} is a generator: a task's function must return its result")
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name
        self.codec = codec
        self.retain_ms = retain_ms
        self.usual_s = LONG_S  # how long the last runs took, about
        # The second check is for objects with an async __call__.
        self.is_async = any(inspect.iscoroutinefunction(one) for one in (function, type(function).__call__))

    @functools.cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    def retain_of(self, is_kept: bool) -> int | None:
        """How long to keep a finished task. `is_kept`: the push or the queue's setting says it, which None leaves."""
        if self.retain_ms != "default":
            return self.retain_ms
        return None if is_kept else RETAIN_MS

    def took(self, seconds: float) -> None:
        """Note how long a run took, for `usual_s`."""
        seconds = min(seconds, LONG_S)
        self.usual_s = seconds if self.usual_s == LONG_S else self.usual_s + (seconds - self.usual_s) / 8

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> bytes:
        """The payload of a call, to be pushed: `queue.push(send.call("bob"), delay_ms=500)`.

        Raises TypeError if the function doesn't accept these arguments, or if the codec can't write them.
        """
        self._signature.bind(*args, **kwargs)
        return Call(self.name, args, kwargs).payload(self.codec)


AnyFunction = Function[..., Any]


def name_of(function: Callable[..., Any]) -> str:
    """The default name of a function: `module.function`.

    A module that runs as a program is named `__main__`. Its file's name is used instead, because producers import it
    under that name.
    """
    module = function.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        module = spec.name if spec else Path(file).stem if file else module
    return f"{module}.{function.__qualname__}"
