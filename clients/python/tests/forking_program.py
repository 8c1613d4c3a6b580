"""A worker as a program of its own, whose functions fork: forking_program.py port how, which is run or serve."""

import asyncio
import multiprocessing
import os
import sys
import time

import redis
from taskslot import Queue, Worker, current

PORT, HOW = int(sys.argv[1]), sys.argv[2]

client = redis.Redis(port=PORT)
worker = Worker(Queue(client, "mail"), concurrency=4, lease_ms=1000)


def child_ended(pid):
    """Wait for a child: the status that it ended with."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def exits():
    """The child exits as a program does."""
    if (pid := os.fork()) == 0:
        sys.exit(3)
    return child_ended(pid)


def returns():
    """The child comes back, as from a function."""
    if (pid := os.fork()) == 0:
        return "child"
    return child_ended(pid)


def raises():
    """The child breaks."""
    if (pid := os.fork()) == 0:
        raise ValueError("in the child")
    return child_ended(pid)


def says():
    """What the child prints last isn't lost."""
    if (pid := os.fork()) == 0:
        print("from the child")
        sys.exit("over")
    return child_ended(pid)


def outlives():
    """The child lives on while the parent has answered."""
    client.incr("came")
    if os.fork() == 0:
        while not client.exists("go"):
            time.sleep(0.01)
        sys.exit(0)
    return "parent"


def tells_progress():
    """The child can't, and knows so; it may look and wait."""
    if (pid := os.fork()) == 0:
        try:
            current().progress("half")
        except RuntimeError:
            sys.exit(0 if not current().wait(0.01) and current().task.id else 4)
    return child_ended(pid)


def is_terminated():
    """A signal ends the child of multiprocessing: the worker's handlers aren't its own."""
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join()
    return child.exitcode


def maps():
    """A pool of processes works."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, -2, -3])


def pushes():
    """The child uses the queue of its parent, on connections of its own."""
    if (pid := os.fork()) == 0:
        worker.queue.push("not a call", delay_ms=3_600_000)
        sys.exit(0)
    return child_ended(pid)


async def exits_async():
    """The same of a coroutine."""
    return exits()


async def returns_async():
    """And the child that comes back."""
    await asyncio.sleep(0)
    return returns()


async def awaits():
    """The child would go on in the event loop."""
    later = asyncio.get_running_loop().create_future()
    if (pid := os.fork()) == 0:
        await later
    return await asyncio.to_thread(child_ended, pid)


FUNCTIONS = [
    exits, returns, raises, says, outlives, tells_progress, is_terminated, maps, pushes, exits_async, returns_async,
    awaits,
]  # fmt: skip

if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    for one in FUNCTIONS:
        worker.task(one.__name__)(one)
    status = worker.run() if HOW == "run" else asyncio.run(worker.serve())
    print("ended", flush=True)
    sys.exit(status)
