"""Calls the hooks of middleware. An exception of a hook is logged, and changes nothing."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from ..commands import Payload
from ..middleware import Middleware
from .context import TaskContext

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
        """The headers of a push, with those that middleware adds."""
        made = dict(headers)
        self.call("on_push", task, made)
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
OF_TASKS = (*AROUND, "on_retry", "on_dead")


class Around:
    """The hooks around the function of one task."""

    def __init__(self, middleware: Sequence[Middleware], context: TaskContext) -> None:
        self._middleware = middleware
        self._context = context
        self._entered: list[tuple[Middleware, AbstractContextManager[Any] | None]] = []
        self._pid = os.getpid()

    def begin(self) -> None:
        """Call what comes before the function."""
        for one in self._middleware:
            manager = guarded(one, "around", self._context) if defines(one, "around") else None
            self._entered.append((one, entered(one, manager) if manager is not None else None))
            if defines(one, "before"):
                guarded(one, "before", self._context)

    def end(self, error: BaseException | None) -> None:
        """Call what comes after the function. A process that the function forked calls nothing."""
        if os.getpid() != self._pid:
            return
        told = (type(error), error, error.__traceback__) if error is not None else (None, None, None)
        while self._entered:
            one, manager = self._entered.pop()
            if defines(one, "after"):
                guarded(one, "after", self._context, error)
            if manager is not None:
                leave(one, manager, error, told)

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
    """Enter a context manager. None if that raised, so that it must not be left."""
    try:
        manager.__enter__()
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


def guarded(one: Middleware, hook: str, *args: Any) -> Any:
    """Call a hook. If it raises, that is logged, and the value is None."""
    try:
        return getattr(one, hook)(*args)
    except BaseException:
        log.exception("%s of %s failed", hook, name_of(one))
        return None


def name_of(one: Middleware) -> str:
    """The name of a middleware in the log."""
    return type(one).__name__


def defines(one: Middleware, hook: str) -> bool:
    """Whether a middleware has a hook of its own."""
    return getattr(type(one), hook) is not getattr(Middleware, hook) or hook in vars(one)
