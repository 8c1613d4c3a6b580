"""Calls the hooks of middleware. An exception of a hook is logged, and changes nothing.

`Fail` and `GiveBack` are answers, not mistakes: what comes before a function or a push can refuse with them.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ..commands import Payload
from ..middleware import Middleware
from .context import TaskContext
from .outcomes import Fail, GiveBack

log = logging.getLogger("taskslot")


class Hooks:
    """The hooks that the middleware of a worker or an app define, each in a list of its own."""

    def __init__(self, middleware: Sequence[Middleware]) -> None:
        for one in middleware:
            if not isinstance(one, Middleware):
                raise TypeError(f"middleware must be objects of taskslot.Middleware, not {one!r}")
        self._middleware = middleware
        self._around = [one for one in middleware if any(defines(one, name) for name in AROUND)]

    @property
    def read_tasks(self) -> bool:
        """Whether a hook gets to see tasks, of which it may want to know more than their payload."""
        return any(defines(one, name) for one in self._middleware for name in OF_TASKS)

    def around(self, context: TaskContext) -> Around | None:
        """What to call around the function of a task; None if no middleware has a hook for that."""
        return Around(self._around, context) if self._around else None

    def on_push(self, task: str, headers: Mapping[str, Payload]) -> dict[str, Payload]:
        """The headers of a push, with those that middleware adds. Raises `Fail` and `GiveBack` of a hook."""
        made = dict(headers)
        for one in self._middleware:
            if defines(one, "on_push"):
                guarded(one, "on_push", task, made, can_refuse=True)
        return made

    def failed(self, context: TaskContext, error: BaseException, next_ms: int) -> None:
        """Tell the middleware what comes of a failure, by the server's reply."""
        if next_ms < 0:
            self.call("on_dead", context, error)
        elif next_ms:
            self.call("on_retry", context, error, next_ms)

    def call(self, hook: str, *args: Any) -> None:
        """Call a hook of all middleware."""
        for one in self._middleware:
            if defines(one, hook):
                guarded(one, hook, *args)


AROUND = ("around", "before", "after")
REFUSALS = (Fail, GiveBack)
OF_TASKS = (*AROUND, "on_retry", "on_dead")


@dataclass(slots=True)
class Entered:
    """A middleware whose hooks after the function have to be called."""

    one: Middleware
    manager: AbstractContextManager[Any] | None
    is_before_function: bool = False  # False if its `before` refused, so that its `after` is not called


class Around:
    """The hooks around the function of one task."""

    def __init__(self, middleware: Sequence[Middleware], context: TaskContext) -> None:
        self._middleware = middleware
        self._context = context
        self._entered: list[Entered] = []
        self._pid = os.getpid()

    def begin(self) -> None:
        """Call what comes before the function. Raises `Fail` and `GiveBack` of a hook, after the ends of the others."""
        try:
            for one in self._middleware:
                self._enter(one)
        except BaseException as refusal:
            self.end(refusal)
            raise

    def _enter(self, one: Middleware) -> None:
        manager = guarded(one, "around", self._context, can_refuse=True) if defines(one, "around") else None
        of = Entered(one, entered(one, manager) if manager is not None else None)
        self._entered.append(of)
        if defines(one, "before"):
            guarded(one, "before", self._context, can_refuse=True)
        of.is_before_function = True

    def end(self, error: BaseException | None) -> None:
        """Call what comes after the function. A process that the function forked calls nothing."""
        if os.getpid() != self._pid:
            return
        told = (type(error), error, error.__traceback__) if error is not None else (None, None, None)
        while self._entered:
            of = self._entered.pop()
            if of.is_before_function and defines(of.one, "after"):
                guarded(of.one, "after", self._context, error)
            if of.manager is not None:
                leave(of.one, of.manager, error, told)

    def run(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call a function between these hooks. If it returns an awaitable, `end` is left to the caller."""
        self.begin()
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            self.end(error)
            raise
        if not inspect.isawaitable(value):
            self.end(None)
        return value


def entered(one: Middleware, manager: AbstractContextManager[Any]) -> AbstractContextManager[Any] | None:
    """Enter a context manager. None if that raised, so that it must not be left. Raises `Fail` and `GiveBack`."""
    try:
        manager.__enter__()
    except REFUSALS:
        raise
    except BaseException:
        log.exception("around of %s failed", name_of(one))
        return None
    return manager


def leave(
    one: Middleware, manager: AbstractContextManager[Any], error: BaseException | None, told: Any
) -> None:
    """Leave a context manager, which lets the function's own exception through."""
    try:
        manager.__exit__(*told)
    except BaseException as raised:
        if raised is not error:
            log.exception("around of %s failed", name_of(one))


def guarded(one: Middleware, hook: str, *args: Any, can_refuse: bool = False) -> Any:
    """Call a hook. If it raises, that is logged, and the value is None; `Fail` and `GiveBack` can go on up."""
    try:
        return getattr(one, hook)(*args)
    except BaseException as error:
        if can_refuse and isinstance(error, REFUSALS):
            raise
        log.exception("%s of %s failed", hook, name_of(one))
        return None


def name_of(one: Middleware) -> str:
    """The name of a middleware in the log."""
    return type(one).__name__


def defines(one: Middleware, hook: str) -> bool:
    """Whether a middleware has a hook of its own."""
    return getattr(type(one), hook) is not getattr(Middleware, hook) or hook in vars(one)
