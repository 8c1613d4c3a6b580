"""A module for `dramatiq dramatiq_program`, whose actor waits until a test lets it go on. PORT is a variable."""

import os
import time

import dramatiq
import redis
from taskslot.integrations.dramatiq import TaskslotBroker

client = redis.Redis(port=int(os.environ["PORT"]))
broker = TaskslotBroker(client)
dramatiq.set_broker(broker)


@dramatiq.actor
def waits():
    """Count the start, and wait."""
    client.incr("came")
    while client.get("go") is None:
        time.sleep(0.01)
    client.incr("went")
