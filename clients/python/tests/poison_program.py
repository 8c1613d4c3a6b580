"""A worker program in which one task ends the process, like a crash in C or the OOM killer: poison_program.py PORT."""

import os
import sys
import time

import redis
from taskslot import Queue, Worker

worker = Worker(Queue(redis.Redis(port=int(sys.argv[1])), "mail"), concurrency=4, lease_ms=1500)


@worker.task("poison")
def poison():
    """End the process after a while."""
    time.sleep(0.7)
    os._exit(3)


@worker.task("innocent", retain_ms=60_000)
def innocent():
    """Run for longer than the lease and the first backoffs."""
    time.sleep(2)


if __name__ == "__main__":
    sys.exit(worker.run())
