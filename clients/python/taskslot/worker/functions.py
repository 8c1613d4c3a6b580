"""The registered functions of a worker, sync or async."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

from ..calls import Call
from ..codecs import Codec
from ..values import plain
from .parameters import Parameters
from .policy import NO_POLICY, Policy, Retain

P = ParamSpec("P")
R = TypeVar("R")

# The default, if neither the push nor the queue's setting says how long. Callers usually ask for a result after the
# task has ended, so it has to be kept for a while.
RETAIN_MS = 60_000

# The longest run that counts, so that one long run among many short ones is soon forgotten.
LONG_S = 0.01


class Function(Generic[P, R]):
    """A registered function. It can be called as before. `call` makes the payload that has a worker call it."""

    def __init__(
        self,
        function: Callable[P, R],
        name: str,
        codec: Codec,
        retain_ms: Retain = "default",
        policy: Policy = NO_POLICY,
    ) -> None:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{name} is a generator: a task's function must return its result")
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name
        self.codec = codec
        self.retain_ms = retain_ms
        self.policy = policy
        self.parameters = Parameters(function, name)
        self.usual_s = LONG_S  # how long the last runs took, about
        # The second check is for objects with an async __call__.
        self.is_async = any(inspect.iscoroutinefunction(one) for one in (function, type(function).__call__))

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

        Raises TypeError if the function doesn't accept these arguments, and TypeError or ValueError, which names the
        argument, if the codec can't write them, or if the function's annotation can't read what is written.
        """
        self.parameters.bound(args, kwargs)
        return self.payload(args, kwargs)

    def payload(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """The payload of a call with arguments that the function accepts."""
        typed = self.parameters.readers
        try:
            if typed:
                args, kwargs = self.parameters.written(args, kwargs, self.codec)
            payload = Call(self.name, args, kwargs).payload(self.codec)
        except (ArithmeticError, RecursionError, TypeError, ValueError) as error:
            raise self.parameters.unwritable(args, kwargs, self.codec, error) from error
        if typed:
            # As the worker will, so that the mistake is seen where it was made.
            call = Call.read(payload, self.codec)
            self.parameters.read(call.args, call.kwargs)
        return payload

    @functools.cached_property
    def run(self) -> Callable[..., Any]:
        """What a worker calls with the arguments of a payload: the function, after its annotations have read them."""
        if not self.parameters.readers:
            return self.function

        def run(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = self.parameters.read(args, kwargs)
            return self.function(*args, **kwargs)

        return run

    def written_result(self, value: Any, codec: Codec) -> bytes:
        """What the function returned, as bytes. Raises TypeError or ValueError if the codec can't write it."""
        if self.parameters.result_reader is not None:
            value = plain(value, getattr(codec, "has_bytes", False))
        return codec.dumps(value)


AnyFunction = Function[..., Any]
F = TypeVar("F", bound=Function[..., Any])


def registered(made: F, functions: dict[str, AnyFunction]) -> F:
    """Add a function to others. Raises ValueError if there is one of its name."""
    if functions.setdefault(made.name, made) is not made:
        raise ValueError(f"{made.name} is already registered")
    return made


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
