"""Processes that a task's function forks. The task is the parent's: a child answers nothing, and ends where it ends.

In a child there is only the thread that forked, in the midst of the worker's code: its locks, threads and connections
are the parent's, and so is the event loop.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Coroutine, Generator, Mapping
from typing import Any, NoReturn

# Handlers of signals that stood where a worker's stand now: a child has them again.
HANDLERS: dict[int, Any] = {}
# The signals that a thread let through before it forked.
MASK = threading.local()


@types.coroutine
def in_this_process(coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Await a coroutine; in a child that was forked meanwhile the event loop doesn't go on, nor the tasks beside."""
    pid = os.getpid()
    give: Callable[[Any], Any] = coroutine.send
    what: Any = None
    while True:
        try:
            step = give(what)
        except StopIteration as ended:
            return ended.value
        if os.getpid() != pid:
            end(
                RuntimeError(
                    "a process forked by an async function can't await: the event loop belongs to its parent"
                )
            )
        try:
            give, what = coroutine.send, (yield step)
        except BaseException as error:
            give, what = coroutine.throw, error
        if os.getpid() != pid:
            end(None)


def end(error: BaseException | None) -> NoReturn:
    """End this process as `sys.exit` or an exception would, but without the parent's handlers for its own end."""
    status = 0
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            status = error.code or 0
        else:
            status = 1
            print(error.code, file=sys.stderr)
    elif error is not None:
        status = 1
        traceback.print_exception(error)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass
    os._exit(status & 0xFF)


def install(handlers: Mapping[int, Any]) -> None:
    """Install handlers of signals. None stands for one that Python didn't install; it can't be put back."""
    for number, handler in handlers.items():
        signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def hold_signals() -> None:
    """Before a fork: a signal that came to the child before it has its own handlers would be lost."""
    if HANDLERS:
        MASK.before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLERS)


def release_signals() -> None:
    """After it, in the parent."""
    if (mask := MASK.__dict__.pop("before", None)) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def free_child() -> None:
    """After it, in the child."""
    install(HANDLERS)
    HANDLERS.clear()
    release_signals()


os.register_at_fork(before=hold_signals, after_in_parent=release_signals, after_in_child=free_child)
