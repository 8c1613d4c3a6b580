"""Handles processes that a task's function forks. The task stays with the parent; a child ends where the function ends.

A child only has the thread that forked, in the middle of the worker's code. Its locks, threads, connections and event
loop belong to the parent, so it must not use them.
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

# The signal handlers that a running worker has replaced. A child gets them back.
HANDLERS: dict[int, Any] = {}
# The signal mask of a thread from before it forked.
MASK = threading.local()


@types.coroutine
def in_this_process(coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Await a coroutine. If it forks, the child ends here, so that it never runs the event loop or other tasks."""
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
    """End this process as `sys.exit` or the exception would, but without running the parent's exit handlers."""
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
    """Install signal handlers. None stands for a handler that Python didn't install, which can't be restored."""
    for number, handler in handlers.items():
        signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def hold_signals() -> None:
    """Before a fork, block signals: one that reached the child before it has its handlers would be lost."""
    if HANDLERS:
        MASK.before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLERS)


def release_signals() -> None:
    """After a fork, in the parent: unblock the signals."""
    if (mask := MASK.__dict__.pop("before", None)) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def free_child() -> None:
    """After a fork, in the child: restore the handlers from before the worker, and unblock the signals."""
    install(HANDLERS)
    HANDLERS.clear()
    release_signals()


os.register_at_fork(before=hold_signals, after_in_parent=release_signals, after_in_child=free_child)
