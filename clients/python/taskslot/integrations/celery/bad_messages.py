"""Keeps a bad message from ending the Celery worker that gets it: it becomes a dead task, and the worker goes on.

Celery takes many fields of a message for granted. What it raises of one with a wrong type ends the worker, and the next
one, because the message is then first in the queue again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from ...errors import TaskslotError
from ...tracebacks import described

log = logging.getLogger("taskslot")

# The longest time limit that is plausible.
LONGEST_S = 50 * 365 * 86400

# The Celery worker of this process, if there is one.
_worker: list[Any] = []


def on_worker_init(sender: Any, **_: Any) -> None:
    """Keep bad messages from ending a worker that starts."""
    _worker[:] = [sender]
    # Not only within a delivery: a task that waits for a free process is handed to the pool when another one ends.
    sender._process_task = partial(hand_to_pool, sender, sender._process_task)


def is_bad(channel: Any, error: Exception) -> bool:
    """Whether a Celery worker raised this because of a message that came on this channel.

    What other consumers of Kombu raise is for those who call them.
    """
    tasks = [getattr(getattr(one, "consumer", None), "task_consumer", None) for one in _worker]
    return any(one is not None and one.channel is channel for one in tasks) and blames_message(channel, error)


def blames_message(channel: Any, error: Exception) -> bool:
    """Whether an error is that of a message, and not of the process, of its pool, or of a server."""
    from celery.exceptions import BackendError

    if isinstance(error, RecursionError | KeyError):  # Kombu counts KeyError among the errors of a connection
        return True
    # RuntimeError: the pool is broken or closed, or no thread can be started.
    of_others = (TaskslotError, BackendError, ResponseError, MemoryError, RuntimeError)
    return not isinstance(error, (*of_others, *channel.connection_errors))


def hand_to_pool(worker: Any, hand_over: Callable[[Any], None], request: Any) -> None:
    """Let the pool run a task. If it can't because of the message, make this dead."""
    channel = request.message.channel
    if not hasattr(channel, "held"):  # another broker
        return hand_over(request)
    try:
        check_time_limits(request.time_limits)
        hand_over(request)
    except Exception as error:
        if not blames_message(channel, error):
            raise
        if worker.semaphore is not None:  # the place in the pool that the task would have had
            worker.semaphore.release()
        bury(channel, request.message.delivery_tag, error)


def check_time_limits(limits: Any) -> None:
    """Raise ValueError unless they are two, each a number or None. Others end the worker later, in its event loop."""
    if not isinstance(limits, list | tuple) or len(limits) != 2:
        raise ValueError(f"timelimit must be two numbers, not {limits!r:.100}")
    for one in limits:
        if not (one is None or (isinstance(one, int | float) and 0 <= one <= LONGEST_S)):
            raise ValueError(f"timelimit must be two numbers of seconds, not {limits!r:.100}")


def bury(channel: Any, tag: str, error: Exception) -> None:
    """Make a message dead that the worker can't take, and let the worker forget it."""
    from celery.worker import state

    why = f"the worker can't take it: {described(error)}"
    log.error("message %s is dead: %s", tag, why, exc_info=error)
    channel.qos.bury(tag, why)
    for request in list(state.requests.values()):
        if request.message.delivery_tag == tag:
            state.task_ready(request)
