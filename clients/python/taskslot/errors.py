"""What can go wrong, by name. Errors of the connection stay those of the client (redis-py's or valkey-py's)."""

from __future__ import annotations


class TaskslotError(Exception):
    """Base of all that this library raises by itself; the text is the server's, where there is one."""


class LeaseLost(TaskslotError):
    """The task lives on without this lease (`STALE`): it ran out, was given back, or another worker has it now."""


class CancelAsked(TaskslotError):
    """Somebody cancelled the task while this worker has it (`CANCELLED`): stop, and ack, fail or requeue it."""


class QueueFull(TaskslotError):
    """A bound of the queue is reached (`QFULL`); nothing was pushed."""


class Paused(TaskslotError):
    """The queue is paused for pushes (`PAUSED`); nothing was pushed."""


class QueueBroken(TaskslotError):
    """A change of the queue failed half way (`BROKEN`): it can be read, and the server's log says why."""


class WrongType(TaskslotError):
    """The key holds another type (`WRONGTYPE`)."""


class OutOfMemory(TaskslotError):
    """The server is out of memory (`OOM`): it takes no push, no result to be kept, no progress, no new settings."""


class UnknownTask(TaskslotError):
    """There is no such task: its id is wrong, or it is over and was not kept."""


class Refused(TaskslotError):
    """The server refused the command for another reason, as a rule a bad argument (`ERR`); nothing changed."""


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
    """The error that a server's error reply means, by its first word."""
    code, _, message = text.partition(" ")
    kind = BY_CODE.get(code)
    return kind(message) if kind else Refused(text)
