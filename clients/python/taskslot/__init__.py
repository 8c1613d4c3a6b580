"""taskslot: the client library of the taskslot module for Redis and Valkey.

    import redis, taskslot

    mail = taskslot.Queue(redis.Redis(), "mail")
    mail.push("welcome:bob")
    for task in mail.claim(block_ms=5000):
        mail.ack(task)

`Queue` and `ShardedQueue` have a method for each command. `AsyncQueue` and `AsyncShardedQueue` are their asyncio
versions. `Worker` runs functions for tasks. `chain`, `group` and `chord` make flows of tasks. `docs/` at the root of
the repository explains tasks, queues and commands.
"""

from . import records as records  # it sets up the library's logger
from ._async.batch import AsyncBatch
from ._async.queue import AsyncQueue
from ._async.sharded import AsyncShardedQueue
from ._sync.batch import Batch
from ._sync.queue import Queue
from ._sync.sharded import ShardedQueue
from .app import App, AppTask, DeployFailed, Pushed
from .calls import call
from .codecs import JSON, MSGPACK, Codec
from .commands import (
    CallbackOptions,
    ClaimOptions,
    FlowOptions,
    PushOptions,
    ScheduleOptions,
    StepOptions,
    TaskOptions,
)
from .errors import (
    CancelAsked,
    LeaseLost,
    NotDone,
    NotEnded,
    OutOfMemory,
    Paused,
    QueueBroken,
    QueueFull,
    Refused,
    TaskDead,
    TaskslotError,
    TimedOut,
    TokensFull,
    UnknownTask,
    WrongType,
)
from .flows import Flow, chain, chord, group, step
from .middleware import Middleware
from .replies import (
    Answer,
    BatchCounts,
    BatchInfo,
    Durations,
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
    Times,
    WorkerView,
)
from .worker import Fail, GiveBack, LeaseKeeper, TaskContext, Worker, current

__version__ = "0.2.0"

# An older name of `TaskContext`.
Running = TaskContext

__all__ = [
    "Answer",
    "App",
    "AppTask",
    "AsyncBatch",
    "AsyncQueue",
    "AsyncShardedQueue",
    "Batch",
    "BatchCounts",
    "BatchInfo",
    "CallbackOptions",
    "CancelAsked",
    "ClaimOptions",
    "Codec",
    "DeployFailed",
    "Durations",
    "Fail",
    "Flow",
    "FlowOptions",
    "GiveBack",
    "Group",
    "Info",
    "JSON",
    "LeaseKeeper",
    "LeaseLost",
    "Load",
    "MSGPACK",
    "Meta",
    "Middleware",
    "Next",
    "NotDone",
    "NotEnded",
    "OutOfMemory",
    "Paused",
    "PushOptions",
    "Pushed",
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
    "StepOptions",
    "Task",
    "TaskContext",
    "TaskDead",
    "TaskError",
    "TaskId",
    "TaskOptions",
    "TaskView",
    "TaskslotError",
    "TimedOut",
    "Times",
    "TokensFull",
    "UnknownTask",
    "Worker",
    "WorkerView",
    "WrongType",
    "call",
    "chain",
    "chord",
    "current",
    "group",
    "step",
]
