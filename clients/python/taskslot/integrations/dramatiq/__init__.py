"""A Dramatiq broker whose queues are taskslot's.

    import dramatiq
    from taskslot.integrations.dramatiq import TaskslotBroker

    dramatiq.set_broker(TaskslotBroker("redis://127.0.0.1:6379"))

Delays, priorities, leases and dead letters are the server's. Everything else is Dramatiq: actors, middleware, results,
the command line. It needs Dramatiq: `pip install "taskslot[dramatiq]"`.
"""

from .broker import TaskslotBroker
from .consumer import TaskslotConsumer
from .holdings import TaskslotMessage

__all__ = ["TaskslotBroker", "TaskslotConsumer", "TaskslotMessage"]
