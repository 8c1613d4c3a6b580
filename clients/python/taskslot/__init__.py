"""taskslot: the client library of the taskslot module for Redis and Valkey.

    import redis, taskslot

    mail = taskslot.Queue(redis.Redis(), "mail")
    mail.push("welcome:bob")
    for task in mail.claim(block_ms=5000):
        mail.ack(task)

`Queue` and `ShardedQueue` have a method for each command. `AsyncQueue` and `AsyncShardedQueue` are their asyncio
versions. `Worker` runs functions for tasks. `docs/` at the root of the repository explains tasks, queues and commands.
"""

from ._async.queue import AsyncQueue
from ._async.sharded import AsyncShardedQueue
from ._sync.queue import Queue
from ._sync.sharded import ShardedQueue
from .calls import call
from .codecs import JSON, MSGPACK, Codec
from .commands import ClaimOptions, PushOptions, ScheduleOptions, TaskOptions
from .errors import (
    CancelAsked,
    LeaseLost,
    OutOfMemory,
    Paused,
    QueueBroken,
    QueueFull,
    Refused,
    TaskslotError,
    UnknownTask,
    WrongType,
)
from .replies import (
    Answer,
    Group,
    Info,
    Load,
    Meta,
    Next,
    Result,
    Schedule,
    Settings,
    Task,
    TaskError,
    TaskId,
    TaskView,
    WorkerView,
)
from .worker import Fail, GiveBack, TaskContext, Worker, current

__version__ = "0.2.0"

# An older name of `TaskContext`.
Running = TaskContext

__all__ = [
    "Answer",
    "AsyncQueue",
    "AsyncShardedQueue",
    "CancelAsked",
    "ClaimOptions",
    "Codec",
    "Fail",
    "GiveBack",
    "Group",
    "Info",
    "JSON",
    "LeaseLost",
    "Load",
    "MSGPACK",
    "Meta",
    "Next",
    "OutOfMemory",
    "Paused",
    "PushOptions",
    "Queue",
    "QueueBroken",
    "QueueFull",
    "Refused",
    "Result",
    "Running",
    "Schedule",
    "ScheduleOptions",
    "Settings",
    "ShardedQueue",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskId",
    "TaskOptions",
    "TaskView",
    "TaskslotError",
    "UnknownTask",
    "Worker",
    "WorkerView",
    "WrongType",
    "call",
    "current",
]
