"""The library's exceptions, one for each error code of the server.

Errors of the connection are those of the client (redis-py or valkey-py).
"""

from __future__ import annotations


class TaskslotError(Exception):
    """The base of the library's exceptions. The text is that of the server's error, if there is one.

    `is_repeat` says that the library had sent the command before and got no reply, so it may have been executed then.
    """

    is_repeat = False


class LeaseLost(TaskslotError):
    """The lease is over, but the task is not (`STALE`): it was requeued, it stalled, or another worker has it."""


class CancelAsked(TaskslotError):
    """The task was cancelled while this worker holds it (`CANCELLED`). Stop, then ack, fail or requeue it."""


class QueueFull(TaskslotError):
    """A limit of the queue is reached (`QFULL`). Nothing was pushed."""


class TokensFull(QueueFull):
    """One more UNIQUE token would exceed `tokens-max` (`QFULL`). Nothing was pushed; without a token it would be."""


class Paused(TaskslotError):
    """Pushes to the queue are paused (`PAUSED`). Nothing was pushed."""


class QueueBroken(TaskslotError):
    """The queue is damaged, so it can only be read (`BROKEN`). The server's log has the reason."""


class WrongType(TaskslotError):
    """The key holds another type (`WRONGTYPE`)."""


class OutOfMemory(TaskslotError):
    """The server is out of memory (`OOM`). It refuses pushes, results to be kept, progress and new settings."""


class UnknownTask(TaskslotError):
    """There is no such task: the id is wrong, or the task ended and was not kept."""


class NotDone(TaskslotError):
    """A task whose result is needed has not ended done. `state` says how it is: dead, cancelled, or not ended yet."""

    def __init__(self, text: str, state: str | None = None) -> None:
        super().__init__(text)
        self.state = state


class NotEnded(NotDone, TimeoutError):
    """The task has not ended within the time that `result` waited."""


class TaskDead(NotDone):
    """The task whose result is needed is dead. `error` says what was raised, `traceback` where, if that is known."""

    def __init__(self, task: str, error: str | None, traceback: str | None = None) -> None:
        super().__init__(f"task {task} is dead: {error}" if error else f"task {task} is dead", "dead")
        self.task = task
        self.error = error
        self.traceback = traceback
        if traceback:
            self.add_note(f"In the worker:\n{traceback}")


class TimedOut(TaskslotError, TimeoutError):
    """The function of the running task has taken longer than its `timeout_ms`."""


class Refused(TaskslotError):
    """The server refused the command for another reason, usually a bad argument (`ERR`). Nothing was changed."""


BY_CODE: dict[str, type[TaskslotError]] = {
    "STALE": LeaseLost,
    "CANCELLED": CancelAsked,
    "QFULL": QueueFull,
    "PAUSED": Paused,
    "BROKEN": QueueBroken,
    "WRONGTYPE": WrongType,
    "OOM": OutOfMemory,
}


def of_reply(text: str) -> TaskslotError:
    """The exception for a server's error reply, by the code at its start."""
    code, _, message = text.partition(" ")
    if code == "QFULL" and "tokens-max" in message:
        return TokensFull(message)
    kind = BY_CODE.get(code)
    return kind(message) if kind else Refused(text)
